"""A run's journal as the judge reads it: by its own parser, and by its own computation of the chain.

- Every line that can be read counts as a claim, also behind a line that does not hold.
- The chain holds only for the exact bytes: sorted keys, no spaces, one line an event, each hash over its line.
- A last line without its end is no claim: nothing was sent on its strength.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["JOURNAL", "Line", "Told", "ms_of", "read_told"]

JOURNAL = "journal.jsonl"
_NOTHING_BEFORE = "0" * 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = ("run.closed", "run.provisional")
_ACTS = ("step.", "effect.", "gate.", "job.", "check")


@dataclass(frozen=True)
class Line:
    """One claim of the run."""

    seq: int
    at_ms: int  # by the machine's clock
    event: str
    step: str | None
    by: str  # key of the operator
    data: dict[str, Any]
    hash: str

    def __str__(self) -> str:
        return f"journal line {self.seq} ({self.event})"

    @property
    def name(self) -> str:
        """What the claim is about, as an intent names it."""
        return str(self.data.get("name", ""))


@dataclass(frozen=True)
class Told:
    """What a journal tells."""

    lines: tuple[Line, ...]
    fault: str  # the first place where it does not hold together; empty: it does
    torn: int  # bytes of a last line that was never completed

    def of(self, *events: str) -> Iterator[Line]:
        """Give the lines of these events, oldest first."""
        return (line for line in self.lines if line.event in events)

    def last(self, *events: str, before: int | None = None) -> Line | None:
        """Give the newest line of these events, before a number if one is given."""
        found = [line for line in self.of(*events) if before is None or line.seq < before]
        return found[-1] if found else None

    @property
    def opening(self) -> dict[str, Any]:
        """What the run said of itself when it was opened, with what was filled in since."""
        said: dict[str, Any] = {}
        for line in self.of("run.opened", "run.continued"):
            said |= line.data if line.event == "run.opened" else line.data.get("filled", {})
        return said

    @property
    def parameters(self) -> dict[str, Any]:
        """The run's parameters as it wrote them down."""
        found = self.opening.get("parameters")
        return found if isinstance(found, dict) else {}

    @property
    def word(self) -> Line | None:
        """The line that says how the run ended; None where it went on after its last word, or said none."""
        last = self.last(*_WORDS)
        later = last is not None and any(
            line.event.startswith(_ACTS) for line in self.lines if line.seq > last.seq
        )
        return None if later else last

    @property
    def is_closed(self) -> bool:
        """The run said that it is over for good."""
        return self.last("run.closed") is not None


def read_told(folder: Path | None) -> Told:
    """Read the journal in a run's folder; none at all is an empty one with a fault."""
    try:
        raw = (folder / JOURNAL).read_bytes() if folder is not None else b""
    except OSError as exc:
        return Told((), f"{JOURNAL} cannot be read: {exc.strerror}", 0)
    *complete, torn = raw.split(b"\n")
    lines: list[Line] = []
    fault, before = "", _NOTHING_BEFORE
    for number, text in enumerate(complete, start=1):
        body = _body(text)
        reason = _reason(body, text, number, before, lines)
        fault = fault or (f"line {number} {reason}" if reason else "")
        if body is not None:
            before = str(body.get("hash", ""))
            lines += _line(body)
    return Told(tuple(lines), fault, len(torn))


def ms_of(text: str) -> int:
    """Turn ISO 8601 into milliseconds since the epoch, rounded down."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def _body(text: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _reason(body: dict[str, Any] | None, text: bytes, number: int, before: str, lines: list[Line]) -> str:
    """Say why a line does not continue the chain; empty if it does."""
    if body is None:
        return "is no JSON object"
    covered = {name: value for name, value in body.items() if name != "hash"}
    if hashlib.sha256(_spelled(covered)).hexdigest() != body.get("hash"):
        return "has a hash that is not its content's"
    if _spelled(body) != text:
        return "is not spelled in the one way that counts"
    if body.get("prev") != before:
        return "does not follow the line before it"
    if body.get("seq") != number:
        return f"has the number {body.get('seq')}"
    return "cannot be understood" if not _line(body) or len(lines) != number - 1 else ""


def _line(body: dict[str, Any]) -> list[Line]:
    """Read one line; an empty list where a field is missing or of another kind."""
    try:
        step = body["step"]
        data = body["data"]
        if not isinstance(data, dict) or not isinstance(body["seq"], int):
            return []
        at_ms = ms_of(body["at"])
        event, by, hashed = (str(body[name]) for name in ("event", "by", "hash"))
        return [Line(body["seq"], at_ms, event, step, by, data, hashed)]
    except (KeyError, TypeError, ValueError):
        return []


def _spelled(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
