"""Invariant 3: every changing request in the ledger has its lines, and whatever the journal says happened did happen.

- Claimed and judged: what was answered, what became of effects and jobs, what was said in the chat, what checks saw.
- A claim is held against the moment it was made at, not against how the world is now.
- That something did not happen is a claim too.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollback_lib.drills.oracle.case import Bench
from rollback_lib.drills.oracle.lines import Line
from rollback_lib.drills.oracle.looks import false_check
from rollback_lib.drills.oracle.pairs import Sent
from rollback_lib.drills.oracle.pushes import finish_of
from rollback_lib.drills.oracle.truth import named
from rollback_lib.drills.oracle.verdict import Inquiry

__all__ = ["judge_claims"]

_CLOCKS_MS = 5_000  # by which the platform's clock may be off, as the runbook allows for
_DIGEST_SHOWN = 16  # characters of a digest that a request for approval shows
_FOR_EVER = "approvals/"
_TAKEN_BACK = "chat.deleteScheduledMessage"
_OK = 200
_BY_WEBHOOK = " by webhook"


def judge_claims(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 3: world and journal tell the same."""
    for entry in bench.pairs.orphans:
        inquiry.breaks(f"{named(entry)} has no line in the journal")
    for sent in bench.pairs.sent:
        for reason in _answer_faults(sent):
            inquiry.breaks(reason)
    claims = 0
    for line in bench.told.lines:
        judged = _JUDGED.get(line.event)
        if judged is not None:
            claims += 1
            for reason in judged(bench, line):
                inquiry.breaks(f"{line}: {reason}")
    arrived = sum(sent.entry is not None for sent in bench.pairs.sent)
    inquiry.sees(f"{arrived} request(s) and {claims} claim(s), the same on both sides")


def _answer_faults(sent: Sent) -> Iterator[str]:
    if sent.answer is None or sent.answered == "not_sent":
        return
    status = sent.answer.data.get("status")
    if sent.is_push:
        yield from _ending_faults(sent)
    if sent.entry is None:
        if status is not None:
            yield f"{sent.answer} tells of an answer ({sent.answered}, {status}) to a request that the world never got"
        return
    if status is not None and sent.entry.status is not None and status != sent.entry.status:
        yield f"{sent.answer} tells of status {status}; {named(sent.entry)}"


def _ending_faults(sent: Sent) -> Iterator[str]:
    """Hold what the command line is said to have come to against what the world got of it."""
    finish = finish_of(sent)
    done = finish is not None and finish.status == _OK
    if sent.answered == "accepted" and not done:
        yield f"{sent.answer} tells that the push was done; {named(finish) if finish else 'nothing finished it'}"
    if sent.answered == "refused" and finish is not None and finish.applied:
        yield f"{sent.answer} tells that the push was refused; {named(finish)}"


def _done_effect(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that an effect was taken on, or has happened."""
    attempts = [sent for sent in bench.pairs.of(line.name, "effect") if sent.line.seq < line.seq]
    if not attempts:
        yield "no attempt of it was ever sent"
        return
    target, seen = attempts[-1].target, line.data.get("seen")
    taken_on = any(sent.entry is not None and sent.entry.applied for sent in attempts)
    since_ms = attempts[0].line.at_ms - _CLOCKS_MS
    if attempts[-1].is_push:
        if seen == "happened" and not bench.backend.runs(target, line.at_ms):
            yield f"the backend did not run the code of {target}"
        elif seen != "happened" and not taken_on:
            yield f"the backend had taken on no push of {target}"
    elif seen == "happened":
        if not bench.truth.succeeded(target, line.at_ms) and bench.truth.production(line.at_ms) != target:
            yield f"production was on {bench.truth.production(line.at_ms)}, not on {target}"
    elif not taken_on and not bench.truth.requested(target, since_ms, line.at_ms):
        yield f"the platform had taken on nothing that leads to {target}"


def _failed_effect(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that an effect did not happen: nothing that was sent for it may have been done by then."""
    attempts = [sent for sent in bench.pairs.of(line.name, "effect") if sent.line.seq < line.seq]
    for sent in attempts:
        arrived = sent.entry is not None and sent.entry.applied
        finish = finish_of(sent) if sent.is_push else None
        if finish is not None and finish.applied and finish.at_ms <= line.at_ms:
            yield f"it is said not to have happened, but the world did it ({named(finish)})"
        elif arrived and bench.truth.requested(sent.target, sent.line.at_ms, line.at_ms):
            yield f"it is said not to have happened, but the world did it ({named(sent.entry)})"  # type: ignore[arg-type]


def _over(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that the platform's job came to a good end."""
    if line.data.get("seen") != "happened":
        return
    target = line.name.rpartition(" ")[2]
    if not bench.truth.succeeded(target, line.at_ms) and bench.truth.production(line.at_ms) != target:
        yield f"no job to {target} had succeeded, and production was on {bench.truth.production(line.at_ms)}"


def _said(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that a message stands in the channel, with the words that were meant."""
    sent = [one for one in bench.pairs.of(line.name, "prepare") if one.line.seq < line.seq]
    if sent and sent[-1].path.endswith(_TAKEN_BACK):
        yield from _still_scheduled(bench)
        return
    yield from _not_in_store(bench, line)
    intents = [one for one in bench.told.of("prepare.intent") if one.name == line.name and one.seq < line.seq]
    meant = intents[-1].data if intents else {}
    text = meant.get("text")
    if line.name.endswith(_BY_WEBHOOK):
        if not any(said.user is None and said.text == text for said in bench.truth.messages.values()):
            yield "no webhook's message with that text stands in any channel"
        return
    place = line.data if "ts" in line.data else meant
    if "ts" not in place:
        return
    message = bench.truth.messages.get((str(place.get("channel")), str(place["ts"])))
    if message is None:
        yield f"no message {place['ts']} stands in channel {place.get('channel')}"
    elif text is not None and message.text != text:
        yield f"message {place['ts']} says something else than was written down"
    elif "digest" in meant and str(meant["digest"])[:_DIGEST_SHOWN] not in message.text:
        yield f"message {place['ts']} does not show the digest that it is to be approved by"
    elif place is meant and message.edited_ts is None:
        yield f"message {place['ts']} was never edited"


def _not_in_store(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that what was put into the store for approvals stands there; it is never taken away."""
    intents = [one for one in bench.told.of("prepare.intent") if one.name == line.name and one.seq < line.seq]
    key = str(intents[-1].data.get("store", "")) if intents else ""
    if bench.case.state is not None and key.startswith(_FOR_EVER) and not (bench.case.state / key).is_file():
        yield f"{key} is not in the store"


def _still_scheduled(bench: Bench) -> Iterator[str]:
    """Name the notices of the run that the chat will post although the run took them back."""
    run = str(bench.told.opening.get("run"))
    for later in bench.truth.scheduled:
        if run in later.draft.text and bench.told.is_closed:
            yield f"message {later.id} will still be posted"


_JUDGED = {
    "effect.done": _done_effect,
    "effect.recovered": _done_effect,
    "effect.failed": _failed_effect,
    "job.over": _over,
    "prepare.done": _said,
    "check": false_check,
}
