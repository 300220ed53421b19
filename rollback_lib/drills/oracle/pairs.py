"""Which line of a journal stands for which request that reached the world.

- A line stands for one request at most: same service, verb, path, query and digest of the body. One of the official
  command line stands for all the requests of one push (`pushes`).
- It was written before the request arrived, and its answer after that; the order of both sides is kept. Where several
  fit, one that was answered comes first: one that was not may never have left.
- What a run of the same world sent besides is told apart by that run's own lines.
- What keeps a notice up that was begun on record needs no line of its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rollback_lib.drills.oracle.lines import Line, Told
from rollback_lib.drills.oracle.pushes import COMMAND_LINE, commit_of, gather, is_of_push
from rollback_lib.simulator.ledger import Entry

__all__ = ["Pairs", "Sent", "pair"]

_BLANKED = re.compile(
    r"\[[A-Za-z_]+\]"
)  # in the place of a secret; each side blanks as much of an address as it likes
# A notice is pushed ahead by scheduling it anew and taking the old one back; only its beginning and end are journaled.
_KEPT_UP = ("/api/chat.scheduleMessage", "/api/chat.deleteScheduledMessage")
_ENDS = ("done", "failed", "unknown")
_ROUNDED_MS = 1  # the ledger's times are rounded, the journal's cut off
_NEVER_LEFT = "not_sent"
_Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Sent:
    """One attempt, as the journal has it."""

    line: Line
    kind: str  # effect or prepare
    intent: Line | None  # the one that was open when it left
    answer: Line | None
    entry: Entry | None = None  # the request that arrived, if one did; of a push, the one that finishes it
    is_late: bool = False  # it was written only after the request had arrived
    group: tuple[Entry, ...] = ()  # all the requests of a push

    @property
    def name(self) -> str:
        """The change that it is an attempt of."""
        return self.line.name

    @property
    def path(self) -> str:
        """The path without its query."""
        return str(self.line.data.get("path", "")).partition("?")[0]

    @property
    def is_push(self) -> bool:
        """It was a run of the official command line."""
        return self.line.data.get("method") == COMMAND_LINE

    @property
    def target(self) -> str:
        """What the request is about: the last part of the path, or the commit in the message of a push."""
        return commit_of(self.path) if self.is_push else self.path.rpartition("/")[2]

    @property
    def verb(self) -> str:
        """The part of the path before the last, or the command: what is to be done with it."""
        if self.is_push:
            return " ".join(self.path.split()[1:2])
        return self.path.rpartition("/")[0].rpartition("/")[2]

    @property
    def answered(self) -> str:
        """The kind of its answer; empty where none is on record."""
        return str(self.answer.data.get("kind", "")) if self.answer is not None else ""


@dataclass(frozen=True)
class Pairs:
    """Both sides, held against each other."""

    sent: tuple[Sent, ...]
    orphans: tuple[Entry, ...]  # changed something and stand in no journal

    @property
    def effects(self) -> tuple[Sent, ...]:
        """The attempts of changes of production, in order."""
        return tuple(sent for sent in self.sent if sent.kind == "effect")

    def of(self, name: str, kind: str) -> tuple[Sent, ...]:
        """The attempts of one change, in order."""
        return tuple(sent for sent in self.sent if sent.name == name and sent.kind == kind)


def pair(told: Told, others: Iterable[Told], entries: Sequence[Entry]) -> Pairs:
    """Hold the attempts of a run, and of other runs in the same world, against the ledger's changing requests."""
    own = _attempts(told)
    copied = {line.hash for line in told.lines}  # another machine's copy of this very run is no other run
    foreign = [sent for other in others for sent in _attempts(other) if sent.line.hash not in copied]
    waiting: dict[_Key, list[Sent]] = defaultdict(list)
    pushes: list[Sent] = []
    for sent in sorted((*own, *foreign), key=lambda sent: sent.line.at_ms):
        if sent.answered != _NEVER_LEFT:
            (pushes if sent.is_push else waiting[_key_of_line(sent.line)]).append(sent)
    found, orphans = gather(pushes, filter(is_of_push, entries), _fits)  # by the attempt's own line
    for entry in entries:
        if is_of_push(entry):
            continue
        candidates = waiting[_key_of_entry(entry)]
        all_fitting = [sent for sent in candidates if _fits(sent, entry)]
        fitting = next((sent for sent in all_fitting if sent.answer), next(reversed(all_fitting), None))
        chosen = fitting or next(iter(candidates), None)
        if chosen is None:
            orphans.append(entry)
            continue
        candidates.remove(chosen)
        found[id(chosen.line)] = replace(chosen, entry=entry, is_late=fitting is None)
    held = tuple(found.get(id(sent.line), sent) for sent in own)
    return Pairs(held, tuple(entry for entry in orphans if not _is_renewal(entry, [*held, *found.values()])))


def _is_renewal(entry: Entry, sent: Sequence[Sent]) -> bool:
    """Tell whether a request keeps up a notice whose beginning is on record, and its end is not yet."""
    if entry.path not in _KEPT_UP:
        return False
    about = [
        one for one in sent if one.path in _KEPT_UP and one.entry is not None and one.entry.seq < entry.seq
    ]
    latest = max(about, key=lambda one: one.entry.seq if one.entry is not None else 0, default=None)
    return latest is not None and latest.path == _KEPT_UP[0]


def _attempts(told: Told) -> list[Sent]:
    attempts = []
    for line in told.lines:
        kind, _, what = line.event.partition(".")
        if what == "sending":
            attempts.append(Sent(line, kind, _open_intent(told, kind, line), _answer_to(told, kind, line)))
    return attempts


def _open_intent(told: Told, kind: str, line: Line) -> Line | None:
    """Find the intent that an attempt belongs to; none where it was ended before or never written."""
    events = (f"{kind}.intent", *(f"{kind}.{end}" for end in _ENDS))
    about = [one for one in told.of(*events) if one.name == line.name and one.seq < line.seq]
    return about[-1] if about and about[-1].event == events[0] else None


def _answer_to(told: Told, kind: str, line: Line) -> Line | None:
    """Find the answer to an attempt: the next of the change, unless another attempt comes first."""
    later = (
        one
        for one in told.of(f"{kind}.answered", f"{kind}.sending")
        if one.name == line.name and one.seq > line.seq
    )
    following = next(later, None)
    return following if following is not None and following.event.endswith("answered") else None


def _fits(sent: Sent, entry: Entry) -> bool:
    answered_ms = sent.answer.at_ms if sent.answer is not None else None
    in_time = answered_ms is None or entry.at_ms <= answered_ms + _ROUNDED_MS
    return sent.line.at_ms <= entry.at_ms and in_time


def _key_of_line(line: Line) -> _Key:
    data = line.data
    service, method, path, digest = (
        str(data.get(name, "")) for name in ("service", "method", "path", "body_sha256")
    )
    return (
        service.partition(" ")[0],
        method,
        _open(path),
        digest,
    )  # "slack webhook": another door to the same house


def _key_of_entry(entry: Entry) -> _Key:
    target = f"{entry.path}?{entry.query}" if entry.query else entry.path
    return entry.service, entry.method, _open(target), entry.body_sha256


def _open(path: str) -> str:
    """Leave out a path that holds a secret: then the service, the verb and the body have to tell."""
    return "" if _BLANKED.search(path) else path
