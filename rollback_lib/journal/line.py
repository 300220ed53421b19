"""One line of a journal, and what a journal file holds.

- Reading changes nothing and stops at the first line that does not hold.
- Only the exact bytes that were written count, so no two readers can take a line differently.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rollback_lib.errors import JournalError
from rollback_lib.model import RunId

__all__ = [
    "FILE_NAME",
    "GENESIS",
    "LOCK_NAME",
    "VERSION",
    "Defect",
    "Line",
    "Reading",
    "canonical",
    "line_hash",
    "read_journal",
]

FILE_NAME = "journal.jsonl"
LOCK_NAME = ".lock"
VERSION = 1
GENESIS = "0" * 64
DEEPEST = 64  # levels of nesting in a line; no Python's own limit, which differs, decides what is a journal
_FIELD_TYPES = {
    "seq": int,
    "at": str,
    "run": str,
    "event": str,
    "by": str,
    "data": dict,
    "prev": str,
    "hash": str,
}


@dataclass(frozen=True)
class Line:
    """One event of a run, as it stands in the file."""

    seq: int
    at: str  # ISO 8601, UTC
    run: RunId
    event: str  # run.opened, step.done, effect.sending, ...
    step: str | None
    by: str
    data: dict[str, Any]
    prev: str
    hash: str

    def text(self) -> str:
        """Write the line as it goes to disk, without its newline."""
        return canonical(self._body() | {"hash": self.hash})

    def holds(self) -> bool:
        """Say whether the hash fits the content."""
        return self.hash == line_hash(self._body())

    def _body(self) -> dict[str, Any]:
        return {
            "v": VERSION,
            "seq": self.seq,
            "at": self.at,
            "run": self.run,
            "event": self.event,
            "step": self.step,
            "by": self.by,
            "data": self.data,
            "prev": self.prev,
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a line of the file.

        Raises:
            ValueError: Not a journal line of this version.
        """
        try:
            raw = json.loads(text)
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc
        if _deeper_than(DEEPEST, raw):
            raise ValueError("nested too deeply")
        if not isinstance(raw, dict) or raw.pop("v", None) != VERSION:
            raise ValueError(f"not a journal line of version {VERSION}")
        kinds = {name: type(value) for name, value in raw.items()}
        if kinds.pop("step", int) not in (str, type(None)) or kinds != _FIELD_TYPES:
            raise ValueError("its fields are not those of a journal line")
        return cls(**raw)


@dataclass(frozen=True)
class Defect:
    """The first place where a journal does not hold together."""

    line: int  # from 1
    reason: str


@dataclass(frozen=True)
class Reading:
    """What a journal file holds: its good lines, a torn end, the first defect."""

    lines: tuple[Line, ...]
    torn: bytes
    defect: Defect | None

    @property
    def head(self) -> str:
        """Return the hash of the last good line."""
        return self.lines[-1].hash if self.lines else GENESIS


def read_journal(path: Path) -> Reading:
    """Read a journal file without changing it; lines after the first defect are not returned.

    Raises:
        JournalError: The file cannot be read at all.
    """
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise JournalError(
            f"{path} cannot be read: {exc.strerror}.",
            "What the run did is not known from here.",
            "Restore the file from the archive or another copy.",
        ) from exc
    *complete, torn = raw.split(b"\n")
    lines: list[Line] = []
    for number, text in enumerate(complete, start=1):
        reason = _refuse(text, lines)
        if reason is not None:
            return Reading(tuple(lines), torn, Defect(number, reason))
    return Reading(tuple(lines), torn, None)


def _refuse(text: bytes, lines: list[Line]) -> str | None:
    """Append the line to `lines` if it continues them; else say why it does not."""
    try:
        line = Line.parse(text.decode("utf-8"))
    except ValueError as exc:
        return f"not readable: {exc}"
    run = lines[0].run if lines else line.run
    reasons = (
        (not line.holds(), "its hash does not fit its content"),
        (line.text().encode() != text, "it is not spelled as it was written"),
        (line.prev != (lines[-1].hash if lines else GENESIS), "it does not follow the line before it"),
        (line.seq != len(lines) + 1, f"expected number {len(lines) + 1}, found {line.seq}"),
        (line.run != run, f"it belongs to run {line.run}, not {run}"),
    )
    reason = next((reason for applies, reason in reasons if applies), None)
    if reason is None:
        lines.append(line)
    return reason


def _deeper_than(levels: int, value: Any) -> bool:
    """Say whether lists and mappings are nested deeper than so many levels; does not recurse itself."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels + 1):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def canonical(body: dict[str, Any]) -> str:
    """Write a line's content the one way in which it is hashed and stored.

    Raises:
        ValueError: Nested so deeply that no reader would take it.
    """
    if _deeper_than(DEEPEST, body):
        raise ValueError("a line of the journal is nested too deeply")
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def line_hash(body: dict[str, Any]) -> str:
    """Return the hash of a line's content, `prev` included and `hash` left out."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()
