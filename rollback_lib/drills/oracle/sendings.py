"""Invariants 1, 2, 5 and 10: what left, in which order, how often, and with whose leave."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

from rollback_lib.drills.oracle.case import Bench
from rollback_lib.drills.oracle.lines import Line, Told
from rollback_lib.drills.oracle.pairs import Sent
from rollback_lib.drills.oracle.truth import named
from rollback_lib.drills.oracle.verdict import Inquiry
from rollback_lib.simulator.ledger import Entry

__all__ = ["judge_leave", "judge_maintenance", "judge_once", "judge_order"]

_SURELY_NOT = ("refused", "not_sent")
_LED_BY = ("vercel", "convex")  # the services that decide what visitors get
_MAINTENANCE = re.compile(
    r"/(?:pause|unpause|routes?|redirects?|firewall|security)(?:/|$)|/maintenance|/(?:un)?pause_deployment$"
)


def judge_order(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 1: each change was written down, intent first, and synced before it left; effects behind their gate."""
    for entry in bench.pairs.orphans:
        inquiry.breaks(f"{named(entry)} left without a line in the journal")
    for sent in bench.pairs.sent:
        if sent.entry is None:
            continue
        for reason in _order_faults(bench.told, sent, sent.entry):
            inquiry.breaks(f"{named(sent.entry)}: {reason}")
    arrived = sum(sent.entry is not None for sent in bench.pairs.sent)
    inquiry.sees(f"{arrived} changing request(s) arrived, each after its line")


def _order_faults(told: Told, sent: Sent, entry: Entry) -> list[str]:
    faults = []
    if sent.is_late:
        faults.append(f"{sent.line} was written when it had arrived, or answered before it did")
    if sent.intent is None:
        faults.append(f"{sent.line} has no intent before it that is still open")
    said = {sent.kind, str(sent.line.data.get("class", ""))}
    if entry.weight == "production" and said != {"effect"}:
        faults.append(f"it changes production, {sent.line} calls it {' and '.join(sorted(said))}")
    if sent.kind == "effect":
        faults += _gate_faults(told, sent, entry)
    return faults


def _gate_faults(told: Told, sent: Sent, entry: Entry) -> list[str]:
    """Say what is wrong with the gate of an effect that arrived."""
    if sent.intent is None:
        return ["no intent names a gate"]
    gate = sent.intent.data.get("gate")
    lines = [line for line in told.of("gate.opened", "gate.refused") if line.data.get("gate") == gate]
    before = [line for line in lines if line.seq < sent.line.seq and line.at_ms <= entry.at_ms]
    if not before:
        return [f"gate {gate} was not open when {sent.line} was written"]
    if before[-1].event != "gate.opened":
        return [f"gate {gate} was refused last ({before[-1]})"]
    return []


def judge_once(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 2: each effect was applied once, and looked for before it was sent again."""
    applied: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    own = [*bench.pairs.orphans, *(sent.entry for sent in bench.pairs.sent if sent.entry is not None)]
    for entry in own:
        if entry.weight == "production" and entry.applied:
            applied[entry.method, entry.path].append(entry)
    for entries in applied.values():
        if len(entries) > 1:
            inquiry.breaks(f"applied {len(entries)} times: {', '.join(map(named, entries))}")
    for name in dict.fromkeys(sent.name for sent in bench.pairs.effects):
        for reason in _repetition_faults(bench.told, bench.pairs.of(name, "effect")):
            inquiry.breaks(f"{name}: {reason}")
    inquiry.sees(f"{len(applied)} effect(s) applied, each once")


def _repetition_faults(told: Told, attempts: tuple[Sent, ...]) -> list[str]:
    """Say which attempt was made although an earlier one had happened, or may have and was not looked for."""
    faults = []
    for earlier, later in pairwise(attempts):
        between = [
            line
            for line in told.lines
            if earlier.line.seq < line.seq < later.line.seq and line.name == later.name
        ]
        if any(line.event in ("effect.done", "effect.recovered") for line in between):
            faults.append(f"{later.line} sends what was done already")
        elif earlier.answered not in _SURELY_NOT and not _was_looked_for(between):
            faults.append(
                f"{later.line} sends again what may have arrived ({earlier.line}), without a look at the platform"
            )
    return faults


def _was_looked_for(between: list[Line]) -> bool:
    return any(
        line.event == "effect.observed" and line.data.get("seen") == "not happened" for line in between
    )


def judge_maintenance(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 5: a maintenance mode that was turned on is off, or the outcome says that it is on."""
    touched = [
        entry
        for entry in bench.truth.changing
        if entry.service in _LED_BY and entry.applied and _MAINTENANCE.search(entry.path)
    ]
    word = bench.told.word
    told = " ".join(map(str, word.data.get("still_open", ()))) if word is not None else ""
    for entry in touched:
        if "maintenance" not in told.lower():
            inquiry.breaks(
                f"{named(entry)} touched what visitors are led to, and the outcome does not say so"
            )
    looked_at = len(bench.truth.changing)
    inquiry.sees(
        f"not used: none of {looked_at} changing request(s) concerns a route, the firewall or a pause"
    )


def judge_leave(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 10: a dry run changes nothing, and no effect passes a gate that is not open."""
    for entry in bench.pairs.orphans:
        if entry.weight == "production":
            inquiry.breaks(f"{named(entry)} passed no gate")
    arrived = [(sent, sent.entry) for sent in bench.pairs.sent if sent.entry is not None]
    for sent, entry in arrived:
        if bench.told.opening.get("dry_run") is True:
            inquiry.breaks(f"{named(entry)} was sent by a dry run")
        elif entry.weight == "production":
            for reason in _gate_faults(bench.told, sent, entry):
                inquiry.breaks(f"{named(entry)}: {reason}")
    dry = "a dry run, " if bench.told.opening.get("dry_run") is True else ""
    inquiry.sees(
        f"{dry}{sum(sent.kind == 'effect' for sent, _ in arrived)} effect(s), each behind its open gate"
    )
