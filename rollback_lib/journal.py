"""The append-only account of a run: one JSON line an event, synced, chained by hash.

- A line is on disk (written and synced) when `append` returns; if it raises, it is not, and nothing may be sent on its strength.
- Each `hash` covers its line and the hash before it: a changed, missing or reordered line shows.
- A torn last line was never synced, so nothing was sent on its strength; it is set aside in a file of its own, never dropped.
- One process writes a journal at a time; whoever comes second is told who holds it.
- No secret reaches the file: every value passes the redactor.
- Two threads of the process may append; lines do not mix.

A line: `{v, seq, at, run, event, step, by, data, prev, hash}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from filelock import FileLock, Timeout

from rollback_lib.clock import Clock, to_iso
from rollback_lib.errors import GateClosed, JournalError, LeaseHeld, PlanViolation
from rollback_lib.model import Answer, Redactor, RequestClass, RunId, Sending

__all__ = ["FILE_NAME", "Defect", "Intent", "Journal", "Line", "Reading", "read_journal"]

FILE_NAME = "journal.jsonl"
VERSION = 1
GENESIS = "0" * 64
_STRENGTH = {RequestClass.READ: 0, RequestClass.PREPARE: 1, RequestClass.EFFECT: 2}


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
        return _canonical(self._body() | {"hash": self.hash})

    def holds(self) -> bool:
        """Say whether the hash fits the content."""
        return self.hash == _hash(self._body())

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
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.pop("v", None) != VERSION:
            raise ValueError(f"not a journal line of version {VERSION}")
        try:
            return cls(**raw)
        except TypeError as exc:
            raise ValueError(str(exc)) from exc


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
    complete, _, torn = raw.rpartition(b"\n")
    lines: list[Line] = []
    for number, text in enumerate(complete.split(b"\n") if complete else (), start=1):
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
    if not line.holds():
        return "its hash does not fit its content"
    if line.prev != (lines[-1].hash if lines else GENESIS):
        return "it does not follow the line before it"
    if line.seq != len(lines) + 1:
        return f"expected number {len(lines) + 1}, found {line.seq}"
    lines.append(line)
    return None


@dataclass
class Journal:
    """The open journal of one run; get it by `begin` or `resume`."""

    folder: Path
    run: RunId
    by: str
    clock: Clock
    redactor: Redactor
    may_prepare: bool = True  # a dry run withholds it
    _lines: list[Line] = field(default_factory=list)
    _guard: threading.RLock = field(default_factory=threading.RLock)
    _lock: FileLock | None = None

    _open: ClassVar[dict[Path, Journal]] = {}

    @classmethod
    def begin(cls, folder: Path, run: RunId, *, by: str, clock: Clock, redactor: Redactor) -> Self:
        """Create the folder and an empty journal in it, held by this process.

        Raises:
            JournalError: The folder exists already or cannot be made; nothing was sent.

        """
        try:
            folder.mkdir(parents=True, exist_ok=False)
            (folder / FILE_NAME).touch()
            _sync_folder(folder)
            _sync_folder(folder.parent)
        except OSError as exc:
            raise _cannot_write(folder, exc) from exc
        return cls._held(folder, run, by, clock, redactor)

    @classmethod
    def resume(cls, folder: Path, run: RunId, *, by: str, clock: Clock, redactor: Redactor) -> Self:
        """Open the journal of an earlier session and hold it; a torn end is set aside and noted.

        Raises:
            LeaseHeld: Another process has it open; nothing was sent.
            JournalError: A line does not hold: the record was changed or damaged.

        """
        already = cls._open.get(folder.resolve())
        if already is not None:
            already.by, already.clock, already.redactor = by, clock, redactor
            return already  # type: ignore[return-value]  # the registry holds what this classmethod made
        journal = cls._held(folder, run, by, clock, redactor)
        try:
            journal._take_over()  # noqa: SLF001 - the class's own constructor
        except BaseException:
            journal.release()
            raise
        return journal

    @classmethod
    def _held(cls, folder: Path, run: RunId, by: str, clock: Clock, redactor: Redactor) -> Self:
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as exc:
            raise LeaseHeld(
                f"Run {run} is open in another process (its lock {folder / '.lock'} is held).",
                "This process sent nothing.",
                "Go on in that notebook or kernel, or shut it down and run this cell again.",
            ) from exc
        journal = cls(folder, run, by, clock, redactor, _lock=lock)
        cls._open[folder.resolve()] = journal
        return journal

    def release(self) -> None:
        """Let go of the journal, so that another process may continue the run."""
        self._open.pop(self.folder.resolve(), None)
        if self._lock is not None:
            self._lock.release()

    @property
    def path(self) -> Path:
        """Return the file's path."""
        return self.folder / FILE_NAME

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return all lines so far."""
        with self._guard:
            return tuple(self._lines)

    @property
    def head(self) -> str:
        """Return the hash of the last line."""
        with self._guard:
            return self._lines[-1].hash if self._lines else GENESIS

    def find(self, event: str, step: str | None = None) -> Iterator[Line]:
        """Yield the lines of one event, of one step if given, oldest first."""
        return (line for line in self.lines if line.event == event and (step is None or line.step == step))

    def last(self, event: str, step: str | None = None) -> Line | None:
        """Return the newest line of an event, of one step if given."""
        return max(self.find(event, step), key=lambda line: line.seq, default=None)

    def append(self, event: str, *, step: str | None = None, data: dict[str, Any] | None = None) -> Line:
        """Write one event and sync it; it is on disk when this returns.

        Raises:
            JournalError: It is not on disk (disk full, folder gone); nothing may be sent on its strength.

        """
        with self._guard:
            body: dict[str, Any] = {
                "v": VERSION,
                "seq": len(self._lines) + 1,
                "at": to_iso(self.clock.now()),
                "run": self.run,
                "event": event,
                "step": step,
                "by": self.by,
                "data": self.redactor.clean(data or {}),
                "prev": self.head,
            }
            body = json.loads(_canonical(body))  # what a reader will see, so that hashes agree
            digest = _hash(body)
            body.pop("v")
            line = Line(**body, hash=digest)
            self._write(line.text() + "\n")
            self._lines.append(line)
            return line

    def prepare(self, name: str, *, step: str | None, data: dict[str, Any] | None = None) -> Intent:
        """Write down that a harmless change is about to be made, and return the pass for it.

        Raises:
            GateClosed: A dry run; nothing is sent.
            JournalError: The intent is not on disk; nothing may be sent.

        """
        if not self.may_prepare:
            raise GateClosed(
                f"{name}: not sent, this is a dry run.",
                "Nothing was sent.",
                "Open a run with dry_run = False to send it.",
            )
        return Intent(self, name, step, data or {})

    def _take_over(self) -> None:
        reading = read_journal(self.path)
        if reading.defect is not None:
            raise JournalError(
                f"{self.path}, line {reading.defect.line}: {reading.defect.reason}.",
                "The journal was changed or damaged; what the run did is not certain. Nothing was sent now.",
                "Look at the platform yourself, keep this folder as it is, and begin a new run (new_run = True).",
            )
        self._lines = list(reading.lines)
        if reading.torn:
            aside = self.folder / f"journal.torn-{len(self._lines) + 1}.txt"
            self._set_aside(reading.torn, aside)
            self.append("journal.torn", data={"bytes": len(reading.torn), "kept_in": aside.name})

    def _set_aside(self, torn: bytes, aside: Path) -> None:
        try:
            with aside.open("xb") as copy:
                copy.write(torn)
                copy.flush()
                os.fsync(copy.fileno())
            with self.path.open("r+b") as file:
                file.truncate(file.seek(0, os.SEEK_END) - len(torn))
                os.fsync(file.fileno())
            _sync_folder(self.folder)
        except OSError as exc:
            raise _cannot_write(self.path, exc) from exc

    def _write(self, text: str) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except OSError as exc:
            raise _cannot_write(self.path, exc) from exc
        try:
            size = os.fstat(descriptor).st_size
            self._write_all(descriptor, text.encode(), size)
        except OSError as exc:
            raise _cannot_write(self.path, exc) from exc
        finally:
            os.close(descriptor)

    def _write_all(self, descriptor: int, raw: bytes, size: int) -> None:
        try:
            written = 0
            while written < len(raw):
                written += os.write(descriptor, raw[written:])
            os.fdatasync(descriptor)
        except OSError:
            with contextlib.suppress(
                OSError
            ):  # half a line is set aside on the next resume if this fails too
                os.ftruncate(descriptor, size)
            raise


class Intent:
    """The pass for one harmless change: every attempt is written down before it leaves.

    The intent itself is on disk once this object exists.
    """

    request_class = RequestClass.PREPARE

    def __init__(self, journal: Journal, name: str, step: str | None, data: dict[str, Any]) -> None:
        self.journal, self.name, self.step = journal, name, step
        self.attempts = 0
        self.line = self._note("intent", data)

    def admit(self, sending: Sending) -> None:
        """Write down that this request leaves now.

        Raises:
            PlanViolation: The request does more than this pass allows; nothing leaves.
            JournalError: The line is not on disk; nothing leaves.

        """
        if _STRENGTH[sending.request_class] > _STRENGTH[self.request_class]:
            raise PlanViolation(
                f"{sending.method} {sending.path} changes production, but was sent with leave for harmless requests only ({self.name}).",
                "Nothing was sent.",
                "This is a mistake in the runbook, not yours: report it, and act by the platform's own dashboard.",
            )
        self.attempts += 1
        self._note("sending", _sent(sending) | {"attempt": self.attempts})

    def answered(self, sending: Sending, answer: Answer) -> None:
        """Write down what came back for the attempt."""
        found = {"attempt": self.attempts, "kind": answer.kind, "status": answer.status, "text": answer.text}
        self._note("answered", found | {"method": sending.method, "path": sending.path})

    def done(self, data: dict[str, Any] | None = None) -> None:
        """Write down that it has happened."""
        self._note("done", data or {})

    def failed(self, reason: str) -> None:
        """Write down that it has not happened, and why."""
        self._note("failed", {"reason": reason})

    def unknown(self, reason: str) -> None:
        """Write down that nobody can say whether it has happened."""
        self._note("unknown", {"reason": reason})

    def _note(self, what: str, data: dict[str, Any]) -> Line:
        return self.journal.append(
            f"{self.request_class.value}.{what}", step=self.step, data={"name": self.name} | data
        )


def _sent(sending: Sending) -> dict[str, Any]:
    return {
        "service": sending.service,
        "method": sending.method,
        "path": sending.path,
        "body_sha256": sending.body_sha256,
        "class": sending.request_class.value,
        "deadline_s": sending.deadline_s,
    }


def _canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(body).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(place: Path, exc: OSError) -> JournalError:
    return JournalError(
        f"The journal cannot be written: {place}: {exc.strerror}.",
        "Nothing more was sent. What was sent before is in the journal up to its last line.",
        "Free space or restore the folder, then run this cell again. If production cannot wait, act by the platform's own dashboard.",
    )
