"""Invariant 11: what was done is what was shown and approved, and the world was still as it was then.

- The request is one that the gate named, and leads where the gate said, in the way the gate said.
- One digest in what was shown, opened, approved and intended, and it is that of what was shown.
- Each role that the plan asks approved: a holder, no operator of the run, in a way that policy allows, not too long ago,
  really in the world's chat or by a key of its people.
- The platform was read again before each attempt, and nothing of production had moved between that and the gate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from rollback_lib.drills.oracle.case import Bench
from rollback_lib.drills.oracle.lines import Line, ms_of
from rollback_lib.drills.oracle.pairs import Sent
from rollback_lib.drills.oracle.papers import why_no_signature
from rollback_lib.drills.oracle.pushes import commit_of
from rollback_lib.drills.oracle.truth import named
from rollback_lib.drills.oracle.verdict import Inquiry

__all__ = ["judge_decision"]

_WAYS = {
    "rollback": "instant rollback",
    "promote": "promote",
    "deploy": "convex deploy",
}  # verb in the path -> words at the gate
_APPROVED = "white_check_mark"
_SHOWN = ("gate", "title", "environment", "effect", "state", "will_not_undo", "typed_wanted", "requests")
_DIGEST_VERSION = 1


def judge_decision(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 11: each effect that left is the one that was decided on."""
    for sent in bench.pairs.effects:
        if sent.intent is None:
            inquiry.leaves_open(f"{sent.line} has no intent that says what was decided")
            continue
        shown = _of_gate(bench, sent, "gate.shown")
        opened = _of_gate(bench, sent, "gate.opened")
        if shown is None:
            inquiry.breaks(f"{sent.line}: gate {sent.intent.data.get('gate')} was never shown")
            continue
        faults = (
            *_other_request(sent, shown),
            *_other_digest(sent, shown, opened),
            *_not_approved(bench, sent, opened),
            *_moved(bench, sent, shown),
        )
        for reason in faults:
            inquiry.breaks(f"{sent.line}: {reason}")
    inquiry.sees(f"{len(bench.pairs.effects)} attempt(s), each as decided on a state that still held")


def _of_gate(bench: Bench, sent: Sent, event: str) -> Line | None:
    """Find the last line about the gate that the intent names, before the attempt."""
    assert sent.intent is not None
    gate = sent.intent.data.get("gate")
    found = [
        line for line in bench.told.of(event) if line.seq < sent.line.seq and line.data.get("gate") == gate
    ]
    return found[-1] if found else None


def _other_request(sent: Sent, shown: Line) -> Iterator[str]:
    effect = shown.data.get("effect")
    effect = effect if isinstance(effect, dict) else {}
    to = str(effect.get("to", "")).partition(" ")[0]
    if sent.target != to:
        yield f"it leads to {sent.target}; the gate named {to} ({shown})"
    if sent.verb not in _WAYS or _WAYS[sent.verb] not in str(effect.get("what")):
        yield f"it is a {sent.verb}; the gate spoke of {effect.get('what')} ({shown})"
    asked = f"{sent.line.data.get('method')} {sent.path}"
    if asked not in shown.data.get("requests", ()):
        yield f"{asked} is none of the requests that the gate named ({shown})"


def _other_digest(sent: Sent, shown: Line, opened: Line | None) -> Iterator[str]:
    assert sent.intent is not None
    wanted = sent.intent.data.get("digest")
    covered = {"v": _DIGEST_VERSION} | {name: shown.data.get(name) for name in _SHOWN}
    told = hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    if told != shown.data.get("digest"):
        yield f"the digest of what was shown is {told}, not the one that {shown} tells"
    for line in (shown, *([opened] if opened is not None else [])):
        if line.data.get("digest") != wanted:
            yield f"the intent is of digest {wanted}, {line} of {line.data.get('digest')}"
    for approval in _list(opened):
        if approval.get("digest") != wanted:
            yield f"{approval.get('person')} approved digest {approval.get('digest')}, the intent is of {wanted}"


def _not_approved(bench: Bench, sent: Sent, opened: Line | None) -> Iterator[str]:
    """Name the roles of which no approval counted when the request left."""
    given = [
        *_list(opened),
        *(line.data for line in bench.told.of("approval.seen") if line.seq < sent.line.seq),
    ]
    opening = bench.told.opening
    ruling = bench.plan.approval(
        opening.get("severity") or "P0", int(opening.get("procedure", 1)), opening.get("criterion") or None
    )
    for role in dict.fromkeys((*ruling.required, *(str(one.get("role")) for one in _list(opened)))):
        reasons = [_does_not_count(bench, sent, one) for one in given if one.get("role") == role]
        if "" not in reasons:
            yield f"no approval by the {role} counted: {'; '.join(dict.fromkeys(reasons)) or 'there is none'}"


def _does_not_count(bench: Bench, sent: Sent, approval: dict[str, Any]) -> str:
    """Say why an approval does not count for an attempt; empty if it does."""
    assert sent.intent is not None
    user, person = str(approval.get("slack_user")), approval.get("person")
    if approval.get("digest") != sent.intent.data.get("digest"):
        return f"that by {person} is of another digest"
    expires = str(approval.get("expires_at") or "")
    if expires and ms_of(expires) < sent.line.at_ms:
        return f"that by {person} counted until {expires}"
    if user in _operators(bench):
        return f"{person} is an operator of the run"
    if user not in bench.holders(str(approval.get("role"))):
        return f"{person} does not hold the role"
    return _why_not_given(bench, sent, approval)


def _why_not_given(bench: Bench, sent: Sent, approval: dict[str, Any]) -> str:
    """Say why an approval was not given as the run tells; empty if it was."""
    way, person = approval.get("way"), approval.get("person")
    if way not in bench.told.parameters.get("policy", {}).get("approval_ways", ()):
        return f"that by {person} came by a way ({way}) that policy does not allow"
    if way == "slack" and not _is_in_chat(bench, sent, approval):
        return f"{person} put no ✅ on the request"
    if way == "signature":
        return why_no_signature(bench, approval)
    return ""


def _operators(bench: Bench) -> set[str]:
    keys = {str(line.data.get("operator")) for line in bench.told.of("run.opened", "run.continued")}
    keys |= {line.by for line in bench.told.lines}
    asked = {str(line.data.get("asked_by")) for line in bench.told.of("approval.requested")}
    return {bench.slack_id(key) for key in keys} | asked


def _is_in_chat(bench: Bench, sent: Sent, approval: dict[str, Any]) -> bool:
    """See the reaction in the world, on a request of that digest; a persona may have taken it back since."""
    user = str(approval.get("slack_user"))
    fickle = any(
        persona.user == user and persona.remove_after_s is not None
        for persona in bench.case.world.spec.personas
    )
    for line in bench.told.of("approval.requested"):
        asked = line.data.get("digest") == approval.get("digest") and line.seq < sent.line.seq
        message = bench.truth.messages.get((str(line.data.get("channel")), str(line.data.get("ts"))))
        if asked and message is not None and (fickle or user in message.reactions.get(_APPROVED, ())):
            return True
    return False


def _moved(bench: Bench, sent: Sent, shown: Line) -> Iterator[str]:
    """Say whether production was looked at again, and whether it had moved by then."""
    earlier = [one for one in bench.pairs.of(sent.name, "effect") if one.line.seq < sent.line.seq]
    arrived_ms = sent.entry.at_ms if sent.entry is not None else sent.line.at_ms
    left_ms = sent.line.at_ms if sent.is_push else arrived_ms  # the command line reads for itself
    opened = _of_gate(bench, sent, "gate.opened")
    since = earlier[-1].line if earlier else opened if opened is not None else shown
    looks = bench.truth.reads(bench.service, left_ms, since.at_ms)
    if not looks:
        yield f"the platform was not read again between {since} and the request"
        return
    decided = bench.truth.reads(bench.service, shown.at_ms)
    decided_ms = decided[-1].at_ms if decided else shown.at_ms
    if sent.is_push:
        yield from _pushed_meanwhile(bench, sent, decided_ms, looks[-1].at_ms)
        return
    for change in bench.truth.changes(decided_ms, looks[-1].at_ms):
        own = earlier and change.detail.get("to") == sent.target
        if not own and sent.entry is not None and sent.entry.applied:
            yield (
                f"production moved after the gate was shown ({change.what} by {change.by}: {change.detail}), "
                f"and the effect was applied all the same ({named(sent.entry)})"
            )


def _pushed_meanwhile(bench: Bench, sent: Sent, since_ms: int, until_ms: int) -> Iterator[str]:
    """Name the pushes of others that a push passed over, although they could be seen before it left."""
    for row in bench.backend.pushes(since_ms, until_ms):
        own = commit_of(quote(str(row.metadata.get("message")))) == sent.target
        if not own and sent.entry is not None and sent.entry.applied:
            yield (
                f"somebody pushed after the gate was shown ({row.metadata.get('message')!r}), and the effect was "
                f"applied all the same ({named(sent.entry)})"
            )


def _list(opened: Line | None) -> list[dict[str, Any]]:
    found = opened.data.get("approvals") if opened is not None else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
