"""What a run found out before it changed anything, as its journal says: since when, what was live, what was chosen and why.

- Times are instants: a span such as -20m is counted from when the run was opened.
- What is not on record is left out; nothing is worked out anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollback_lib.clock import parse_instant
from rollback_lib.evidence.fields import mapping, mappings, number, text, texts, whole
from rollback_lib.journal import Line

__all__ = ["Finding", "findings_of"]

_CHOICES = ("P1.S3", "P2.S3")  # the steps that find what to go back to
_RATE = "P2.C2"  # the check of the calls after the push
SHORT = 12  # digits of a commit
MOST_FILES = 40  # that are listed


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    what: str
    lines: tuple[str, ...]


def findings_of(lines: Sequence[Line]) -> tuple[Finding, ...]:
    """Tell what was found, in the order in which a post-mortem asks; empty where nothing was."""
    chosen = next(
        (mapping(line.data, "result") for line in lines if line.event == "step.done" and line.step in _CHOICES), {}
    )  # fmt: skip
    given = _given(lines)
    found = [Finding("Issue began", _began(chosen, given, lines[0].at if lines else ""))]
    if mapping(chosen, "revision"):
        found += _commit_found(chosen, given)
    elif mapping(chosen, "deployment"):
        found += _deployment_found(chosen, given)
    found += [Finding("Calls before", _calls(lines)), Finding("Calls after", _calls_after(lines))]
    return tuple(one for one in found if one.lines)


def _given(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the notebook's parameters as they were last: an empty one may have been filled in later."""
    kept = {"run.opened": "parameters", "run.continued": "filled"}
    given: dict[str, Any] = {}
    for line in lines:
        if line.event in kept:
            given |= mapping(line.data, kept[line.event])
    return given


def _began(chosen: dict[str, Any], given: dict[str, Any], opened_at: str) -> tuple[str, ...]:
    told = text(given, "issue_started_at")
    if text(chosen, "issue_at"):
        counted = f", {told} counted from the opening" if told.startswith("-") else ""
        return (f"{_instant(text(chosen, 'issue_at'))} ({text(chosen, 'issue_from')}{counted})",)
    try:
        at = parse_instant(told, datetime.fromisoformat(opened_at))
    except (ValueError, OverflowError):
        return ()
    return (f"{_instant(at.isoformat())} (as given: {told})",)


def _commit_found(chosen: dict[str, Any], given: dict[str, Any]) -> Iterator[Finding]:
    """Tell what procedure 2 found."""
    suspect, revision = mapping(chosen, "suspect"), mapping(chosen, "revision")
    undo, undone = text(chosen, "undo_of"), mappings(revision, "undone")
    yield Finding("Undone" if undo else "Suspect", tuple(_push(suspect)) or ("not known",))
    live = mapping(chosen, "live")
    if live and live != suspect:
        yield Finding("Live then", tuple(_push(live)))
    yield Finding(
        "Chosen", (*_commit(mapping(revision, "commit")), _lived(revision), _why(revision, given, undo))
    )
    doubts = dict.fromkeys((*texts(chosen, "notes"), *texts(revision, "notes")))
    yield Finding("In doubt", tuple(doubts))
    yield Finding("Taken back", tuple(" · ".join(_push(push)) for push in undone))
    yield Finding("Files that differ", _files(mappings(chosen, "changes")))


def _deployment_found(chosen: dict[str, Any], given: dict[str, Any]) -> Iterator[Finding]:
    """Tell what procedure 1 found."""
    suspect, undo = mapping(chosen, "suspect"), text(chosen, "undo_of")
    told = _deployment(mapping(suspect, "deployment"))
    since = text(suspect, "live_since")
    yield Finding(
        "Undone" if undo else "Suspect", (*told, *([f"live since {_instant(since)}"] if since else []))
    )
    named = "named in the parameter deployment" if text(given, "deployment") else ""
    why = f"undoes run {undo}" if undo else named or "the last stable one before the suspect"
    yield Finding("Chosen", (*_deployment(mapping(chosen, "deployment")), why))
    yield Finding("In doubt", (*texts(suspect, "notes"), *texts(chosen, "notes")))
    yield Finding("Taken back", tuple(" · ".join(_deployment(one)) for one in mappings(chosen, "undone")))


def _push(push: dict[str, Any]) -> Iterator[str]:
    if not push:
        return
    yield from _commit(mapping(push, "commit")) or ("a commit that nobody knows",)
    by = f" by {text(push, 'by')}" if text(push, "by") else ""
    yield f"pushed {_instant(text(push, 'at'))}{by} ({text(push, 'known_by')})"
    if text(push, "told"):
        yield f"its message: {text(push, 'told')}"


def _commit(commit: dict[str, Any]) -> tuple[str, ...]:
    if not commit:
        return ()
    subject = text(commit, "message").partition("\n")[0]
    made = f"by {text(commit, 'author')}, committed {_instant(text(commit, 'committed_at'))}"
    return f"{text(commit, 'sha')[:SHORT]} {subject}", made


def _deployment(deployment: dict[str, Any]) -> tuple[str, ...]:
    if not deployment:
        return ()
    sha, subject = (
        text(deployment, "commit_sha")[:SHORT],
        text(deployment, "commit_message").partition("\n")[0],
    )
    author = text(deployment, "commit_author") or text(deployment, "creator") or "unknown"
    made = f"by {author}, created {_instant(text(deployment, 'created_at'))}"
    return f"{text(deployment, 'id')} {sha or 'without a commit on record'} {subject}".rstrip(), made


def _lived(revision: dict[str, Any]) -> str:
    since, until = text(revision, "live_from"), text(revision, "live_until")
    if not since:
        return "not known to have been live"
    ended = f" to {_instant(until)}" if until else ""
    return f"live from {_instant(since)}{ended} ({text(revision, 'known_by')})"


def _why(revision: dict[str, Any], given: dict[str, Any], undo: str) -> str:
    if undo:
        return f"because run {undo} is undone"
    if text(given, "commit"):
        return f"because the parameter commit names it: {text(given, 'commit')}"
    if text(revision, "live_from"):
        return "because it is the last one on record before the suspect with other backend code"
    return "because git has it as the last one before the suspect with other backend code"


def _files(changes: tuple[dict[str, Any], ...]) -> tuple[str, ...]:
    left = len(changes) - MOST_FILES
    return (
        *map(_file, changes[:MOST_FILES]),
        *([f"and {left} more: step 3 shows them all"] if left > 0 else []),
    )


def _file(change: dict[str, Any]) -> str:
    added, removed = whole(change, "added"), whole(change, "removed")
    lines = f" (+{added} -{removed})" if added is not None and removed is not None else ""
    return f"{text(change, 'what')} {text(change, 'path')}{lines}"


def _calls(lines: Sequence[Line]) -> tuple[str, ...]:
    """Tell what failed before; how it was kept stands with it."""
    data = next((line.data for line in lines if line.event == "calls"), None)
    if data is None:
        return ()
    calls, failed = number(data, "calls") or 0, number(data, "failed") or 0
    share = f"{100 * failed / calls:.1f} % of {calls:.0f} calls failed" if calls else "no call is on record"
    window = f"from {_instant(text(data, 'start'))} to {_instant(text(data, 'end'))}"
    failing = [one for one in mappings(data, "functions") if number(one, "failed")]
    told = [f"{text(one, 'name')}: {text(one, 'failed')} of {text(one, 'calls')} failed" for one in failing]
    note, kept = text(data, "note"), text(data, "kept_in")
    return (f"{share}, {window}", *told, *([note] if note else []), *([f"kept in {kept}"] if kept else []))


def _calls_after(lines: Sequence[Line]) -> tuple[str, ...]:
    looks = [line.data for line in lines if line.event == "check" and text(line.data, "id") == _RATE]
    return (f"{text(looks[-1], 'seen')} ({text(looks[-1], 'source')})",) if looks else ()


def _instant(told: str) -> str:
    try:
        return f"{datetime.fromisoformat(told).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return told or "at a time that is not on record"
