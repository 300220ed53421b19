"""The journal that is being written, and the pass that writes each changing request into it.

- A line is on disk when `append` returns; nothing is ever written behind bytes that are not this process's own.
- An `Intent` is on disk once it exists, and each attempt before it leaves.
"""

from __future__ import annotations

import contextlib
import itertools
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
from rollback_lib.journal.line import (
    FILE_NAME,
    GENESIS,
    LOCK_NAME,
    VERSION,
    Line,
    canonical,
    line_hash,
    read_journal,
)
from rollback_lib.model import Answer, Redactor, RequestClass, RunId, Sending

__all__ = ["Intent", "Journal"]

_STRENGTH = {RequestClass.READ: 0, RequestClass.PREPARE: 1, RequestClass.EFFECT: 2}


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
    _pid: int = field(default_factory=os.getpid)
    _size: int = 0  # bytes of the file that were written here or found whole

    _open: ClassVar[dict[Path, Journal]] = {}

    @classmethod
    def begin(cls, folder: Path, run: RunId, *, by: str, clock: Clock, redactor: Redactor) -> Self:
        """Create the folder and an empty journal in it, held by this process.

        Raises:
            JournalError: The folder exists already or cannot be made; nothing was sent.
        """
        folder = folder.absolute()  # a notebook's working directory may change under it
        missing = [parent for parent in folder.parents if not parent.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=False)
            (folder / FILE_NAME).touch()
            for made in (folder, folder.parent, *(parent.parent for parent in missing)):
                _sync_folder(made)
        except OSError as exc:
            raise _cannot_write(folder, exc) from exc
        return cls._held(folder, run, by, clock, redactor)

    @classmethod
    def resume(cls, folder: Path, run: RunId, *, by: str, clock: Clock, redactor: Redactor) -> Self:
        """Open the journal of an earlier session and hold it; a torn end is set aside and noted.

        Raises:
            LeaseHeld: Another process has it open; nothing was sent.
            JournalError: There is none, or a line does not hold: the record was changed or damaged.
        """
        folder = folder.absolute()
        already = cls._open.get(folder.resolve())
        if already is not None and already._goes_on(run):  # noqa: SLF001 - the class's own constructor
            already.by, already.clock, already.redactor = by, clock, redactor
            return already  # type: ignore[return-value]  # the registry holds what this classmethod made
        if already is not None:
            already.release()
        read_journal(folder / FILE_NAME)  # before the lock, which would make the folder of a mistyped name
        journal = cls._held(folder, run, by, clock, redactor)
        try:
            journal._take_over()  # noqa: SLF001 - the class's own constructor
        except BaseException:
            journal.release()
            raise
        return journal

    @classmethod
    def _held(cls, folder: Path, run: RunId, by: str, clock: Clock, redactor: Redactor) -> Self:
        lock = FileLock(folder / LOCK_NAME, thread_local=False)  # opened in one thread, let go of in another
        try:
            lock.acquire(timeout=0)
        except Timeout as exc:
            raise LeaseHeld(
                f"Run {run} is open in another process ({_last_written(folder)}; its lock {folder / LOCK_NAME} is held).",
                "This process sent nothing.",
                "Go on in that notebook or kernel, or shut it down and run this cell again.",
            ) from exc
        except OSError as exc:
            raise _cannot_write(folder / LOCK_NAME, exc) from exc
        journal = cls(folder, run, by, clock, redactor, _lock=lock)
        cls._open[folder.resolve()] = journal
        return journal

    def release(self) -> None:
        """Let go of the journal, so that another process may continue the run; nothing more is written here."""
        with self._guard:
            self._open.pop(self.folder.resolve(), None)
            if self._lock is not None and self._pid == os.getpid():  # a forked child frees nothing
                self._lock.release()

    @property
    def held(self) -> bool:
        """Say whether this process holds the journal and may write to it."""
        return self._lock is not None and self._lock.is_locked and self._pid == os.getpid()

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
            JournalError: It is not on disk (disk full, folder gone, file changed by somebody else, journal let go of);
                nothing may be sent on its strength.
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
            body = json.loads(canonical(body))  # what a reader will see, so that hashes agree
            digest = line_hash(body)
            body.pop("v")
            line = Line(**body, hash=digest)
            text = line.text() + "\n"
            self._write(text)
            self._lines.append(line)
            self._size += len(
                text.encode()
            )  # last: interrupted before it, the next line is refused, not numbered twice
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

    def _goes_on(self, run: RunId) -> bool:
        """Say whether this object may be handed out again: held, for that run, and the file as it was left."""
        with self._guard, contextlib.suppress(OSError):
            return self.held and self.run == run and self.path.stat().st_size == self._size
        return False

    def _take_over(self) -> None:
        reading = read_journal(self.path)
        if reading.defect is not None:
            raise JournalError(
                f"{self.path}, line {reading.defect.line}: {reading.defect.reason}.",
                "The journal was changed or damaged; what the run did is not certain. Nothing was sent now.",
                "Look at the platform yourself, keep this folder as it is, and begin a new run (new_run = True).",
            )
        if reading.lines and reading.lines[0].run != self.run:
            raise JournalError(
                f"{self.path} is the journal of run {reading.lines[0].run}, not of {self.run}.",
                "Nothing was sent.",
                "Name the run as its folder and its first line do, or begin a new run (new_run = True).",
            )
        self._lines = list(reading.lines)
        self._size = self.path.stat().st_size - len(reading.torn)
        if reading.torn:
            aside = self._free_name()
            self._set_aside(reading.torn, aside)
            self.append("journal.torn", data={"bytes": len(reading.torn), "kept_in": aside.name})

    def _free_name(self) -> Path:
        """Name a file for the torn end; one that a session killed right here left behind is kept too."""
        stem = f"journal.torn-{len(self._lines) + 1}"
        names = (self.folder / (f"{stem}.txt" if n == 1 else f"{stem}-{n}.txt") for n in itertools.count(1))
        return next(path for path in names if not path.exists())

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
        if not self.held:
            raise JournalError(
                f"The journal of run {self.run} is not held by this process any more: {self.path}.",
                "Nothing more was sent by it.",
                "Run the notebook's open cell again; it takes the journal up or says who has it.",
            )
        raw = text.encode()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            try:
                self._refuse_foreign(os.fstat(descriptor).st_size)
                self._write_all(descriptor, raw)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise _cannot_write(self.path, exc) from exc

    def _refuse_foreign(self, size: int) -> None:
        """Write nothing behind bytes that are not ours: half a line that could not be cut off, or another hand's."""
        if size != self._size:
            raise JournalError(
                f"{self.path} has {size} bytes, expected {self._size}: it is not as this process left it.",
                "Nothing more was sent. What was sent before is in the journal up to its last whole line.",
                "Run the notebook's open cell again: it reads the file afresh, or says what is wrong with it.",
            )

    def _write_all(self, descriptor: int, raw: bytes) -> None:
        try:
            written = 0
            while written < len(raw):
                written += os.write(descriptor, raw[written:])
            os.fdatasync(descriptor)
        except BaseException:  # an operator's interrupt too must not leave a line that nobody was told of
            with contextlib.suppress(OSError):  # if this fails too, nothing is written behind it
                os.ftruncate(descriptor, self._size)
            raise


class Intent:
    """The pass for one harmless change: every attempt is written down before it leaves.

    The intent itself is on disk once this object exists.
    """

    request_class: RequestClass = RequestClass.PREPARE

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
        _refuse_stronger(self.request_class, sending, self.name)
        self.attempts += 1
        self._note("sending", _sent(sending) | {"attempt": self.attempts})

    def answered(self, sending: Sending, answer: Answer) -> None:
        """Write down what came back for the attempt.

        Raises:
            JournalError: The line is not on disk, though the request has left; the error says so.
        """
        found = {"attempt": self.attempts, "kind": answer.kind, "status": answer.status, "text": answer.text}
        try:
            self._note("answered", found | {"method": sending.method, "path": sending.path})
        except JournalError as exc:
            raise JournalError(exc.happened, self._left(sending, answer), exc.next_step) from exc

    def done(self, data: dict[str, Any] | None = None) -> None:
        """Write down that it has happened."""
        self._note("done", data or {})

    def failed(self, reason: str) -> None:
        """Write down that it has not happened, and why."""
        self._note("failed", {"reason": reason})

    def unknown(self, reason: str) -> None:
        """Write down that nobody can say whether it has happened."""
        self._note("unknown", {"reason": reason})

    def renewal(self) -> Renewal:
        """Return the pass for doing the same again and again, which says nothing new and is not written down."""
        return Renewal()

    def _left(self, sending: Sending, answer: Answer) -> str:
        """Say what is so when an answer could not be written down."""
        came = f"{answer.kind.replace('_', ' ')}{f' ({answer.status})' if answer.status is not None else ''}"
        moved = self.request_class is RequestClass.EFFECT and answer.kind not in ("refused", "not_sent")
        may = " Production may have moved." if moved else ""
        return f"{sending.method} {sending.path.partition('?')[0]} had left before; its answer was: {came}. That is not on record.{may}"

    def _note(self, what: str, data: dict[str, Any]) -> Line:
        return self.journal.append(
            f"{self.request_class.value}.{what}", step=self.step, data={"name": self.name} | data
        )


class Renewal:
    """The pass for renewing what an intent began; harmless requests only."""

    request_class: RequestClass = RequestClass.PREPARE

    def admit(self, sending: Sending) -> None:
        """Let a harmless request pass.

        Raises:
            PlanViolation: The request does more; nothing leaves.
        """
        _refuse_stronger(self.request_class, sending, "a renewal")

    def answered(self, sending: Sending, answer: Answer) -> None:
        """Keep nothing: the beginning and the end are on record."""


def _refuse_stronger(allowed: RequestClass, sending: Sending, name: str) -> None:
    if _STRENGTH[sending.request_class] > _STRENGTH[allowed]:
        raise PlanViolation(
            f"{sending.method} {sending.path} changes production, but was sent with leave for harmless requests only ({name}).",
            "Nothing was sent.",
            "This is a mistake in the runbook, not yours: report it, and act by the platform's own dashboard.",
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


def _last_written(folder: Path) -> str:
    try:
        last = read_journal(folder / FILE_NAME).lines[-1]
    except (JournalError, IndexError):
        return "it has written nothing yet"
    return f"last written by {last.by} at {last.at}"


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
