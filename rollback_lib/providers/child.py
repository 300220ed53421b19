"""A program that goes on if we end, but never unnoticed: who comes next sees it, waits for it or ends it.

- Who runs is told by a lock that the program itself holds, through a descriptor it inherited; it is free when the program
  is gone, whatever became of us, and of no other program on this machine.
- An interrupt that comes while it begins is put off until it is followed, and can be ended: else it would go on with
  nobody who knows of it.
- Its output goes into a file, not to us: it does not break off with us, and is there afterwards. Its exit code is kept
  beside it by the shell that began it.
- The folder is its user's alone. The output is as the program wrote it, secrets included, and so are the files that it
  makes in `made`: `clear` removes them, and the next start does, whatever became of who began it.
- Works where there are process groups and flock: Linux and macOS.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback_lib.clock import Clock, to_iso
from rollback_lib.errors import BadParameters, LeaseHeld
from rollback_lib.machine import Machine

__all__ = ["Child", "Ended", "Left", "Slot", "interrupts_put_off"]

POLL_S = 0.05
KEEP_S = 1.0  # how often the caller is asked whether to go on
PATIENCE_S = 5.0  # between asking a program to end and ending it
OTHERS_LOOK_S = 1.0  # somebody who only looks holds the lock for a moment
# Writes its own number, which is that of the group as well (`start_new_session`), runs the program, and writes how it ended.
_BEGIN = 'echo $$ >"$1"; code=$2; shift 2; "$@"; ended=$?; echo $ended >"$code"; exit $ended'


@dataclass(frozen=True)
class Left:
    """What is known of the program that ran last, or runs now."""

    what: Mapping[str, Any]  # as its caller described it, and when it began
    pid: (
        int | None
    )  # of its process group; None: it has not said so yet, or the number is not of this machine
    code: int | None  # None: it runs, or was ended from outside
    output: str  # as it wrote it: not redacted


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int | None  # None: ended from outside
    timed_out: bool


class Slot:
    """A place for one program at a time.

    Args:
        folder: Where the lock and the output are; made when the first program begins.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def made(self) -> Path:
        """Return the folder for files that the program makes; it is there, and empty, when one begins."""
        return self._path("made")

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        what: Mapping[str, Any],
        clock: Clock,
    ) -> Child:
        """Begin a program; nothing is asked of it and nothing is typed into it.

        Args:
            command: The program and its arguments.
            cwd: Where it runs.
            environ: All of its environment.
            what: What it does, for who finds it running; no secrets.
            clock: For when it began.

        Raises:
            LeaseHeld: Another one runs. Nothing was begun.
            BadParameters: The folder or the program cannot be used. Nothing was begun.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked() as lock:
                if lock is None:
                    raise self._held()
                self._clear()
                self.made.mkdir(mode=0o700)
                told = json.dumps({**what, **Machine.here().written(), "began_at": to_iso(clock.now())})
                self._path("what").write_text(told, encoding="utf-8")
                return Child(self, self._begin(command, cwd, environ, lock))
        except OSError as exc:
            raise BadParameters(
                f"{command[0]} cannot be run with its output in {self.folder}: {exc.strerror or exc}.",
                "Nothing was sent.",
                "Make room there, or name another folder (ROLLBACK_CACHE).",
            ) from exc

    def _begin(
        self, command: Sequence[str], cwd: Path, environ: Mapping[str, str], lock: int
    ) -> subprocess.Popen[bytes]:
        output = os.open(self._path("output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603 - the caller's program; no shell reads its arguments
                ["/bin/sh", "-c", _BEGIN, "sh", str(self._path("pid")), str(self._path("code")), *command],
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(output)

    def running(self) -> Left | None:
        """Return what runs; None if nothing does."""
        if not self.folder.is_dir():
            return None  # whoever only looks makes nothing
        with self._locked(patience_s=0) as lock:
            return self.left() if lock is None else None

    def left(self) -> Left | None:
        """Return what ran last and was not cleared away, or runs now; None if there is nothing."""
        try:
            what = json.loads(self._path("what").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        output = self.read_from(0).decode(errors="replace")
        # In another container that shares the folder the number is nobody's, or a stranger's.
        pid = self._number("pid") if Machine.told(what).is_surely(Machine.here()) else None
        return Left(what, pid, self._number("code"), output)

    def wait(self, most_s: float, clock: Clock) -> bool:
        """Wait until nothing runs; say whether that is so."""
        deadline = clock.monotonic() + most_s
        while self.running() is not None:
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(POLL_S)
        return True

    def end(self, clock: Clock) -> bool:
        """End what runs: ask first, then force; say whether nothing runs any more. Of another machine nothing is ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            found = self.running()
            if found is None:
                return True
            if found.pid is not None:
                _signal(found.pid, number)
            if self.wait(PATIENCE_S, clock):
                return True
        return False

    def clear(self) -> None:
        """Remove what is kept of the program that ran last; does nothing while one runs."""
        if not self.folder.is_dir():
            return
        with self._locked() as lock:
            if lock is not None:
                self._clear()

    def read_from(self, position: int) -> bytes:
        """Return the output from a position on."""
        try:
            with self._path("output").open("rb") as file:
                file.seek(position)
                return file.read()
        except OSError:
            return b""

    def code(self) -> int | None:
        """Return the exit code; None if it is not written."""
        return self._number("code")

    # Below

    @contextmanager
    def _locked(self, patience_s: float = OTHERS_LOOK_S) -> Iterator[int | None]:
        """Hold the lock while inside; None if another has it. What is begun inside keeps it."""
        descriptor = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor if _lock(descriptor, patience_s) else None
        finally:
            os.close(descriptor)  # frees it, unless a program has inherited it

    def _held(self) -> LeaseHeld:
        found = self.left()
        what = found.what.get("what", "something") if found is not None else "something"
        began = found.what.get("began_at", "a moment ago") if found is not None else "a moment ago"
        return LeaseHeld(
            f"{what} is still running on this machine, since {began}"
            f"{f' (process {found.pid})' if found is not None and found.pid else ''}.",
            "This process sent nothing.",
            "Wait until it has ended and run this cell again: it reads what became of it first.",
        )

    def _clear(self) -> None:
        for name in ("what", "pid", "code", "output"):
            self._path(name).unlink(missing_ok=True)
        shutil.rmtree(self.made, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _number(self, name: str) -> int | None:
        try:
            return int(self._path(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


class Child:
    """A program that we began."""

    def __init__(self, slot: Slot, process: subprocess.Popen[bytes]) -> None:
        self._slot, self._process = slot, process
        self._position, self._rest = 0, b""

    @property
    def pid(self) -> int:
        """Return the number of its process group."""
        return self._process.pid

    def follow(
        self,
        on_line: Callable[[str], None],
        most_s: float,
        clock: Clock,
        keep: Callable[[], None] | None = None,
        let_through: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Hand on its lines until it has ended; whatever stops us ends it first.

        Args:
            on_line: Gets each line without its end; not redacted.
            most_s: It is ended after so many seconds.
            clock: For the wait.
            keep: Asked each second whether it may go on; what it raises ends the program and goes up.
            let_through: Called as soon as whatever stops us would end it: lets an interrupt that was put off through.
        """
        deadline, asked = clock.monotonic() + most_s, clock.monotonic()
        try:
            let_through()
            while self._process.poll() is None:
                self._hand_on(on_line)
                if clock.monotonic() >= deadline:
                    self.end()
                    self._hand_on(on_line, last=True)
                    return Ended(self._slot.code(), timed_out=True)
                if keep is not None and clock.monotonic() - asked >= KEEP_S:
                    asked = clock.monotonic()
                    keep()
                clock.sleep(POLL_S)
        except BaseException:
            self.end()
            raise
        self._hand_on(on_line, last=True)
        return Ended(self._slot.code(), timed_out=False)

    def end(self) -> None:
        """End it and all that it began: ask first, then force; returns when none of it holds the lock any more."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
                break
        _signal(self.pid, signal.SIGKILL)  # what the shell left behind
        deadline = time.monotonic() + PATIENCE_S
        while self._slot.running() is not None and time.monotonic() < deadline:
            time.sleep(POLL_S)  # it is ended, and not gone yet

    def _hand_on(self, on_line: Callable[[str], None], *, last: bool = False) -> None:
        found = self._slot.read_from(self._position)
        self._position += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        if last and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            on_line(line.decode(errors="replace").rstrip("\r"))


@contextmanager
def interrupts_put_off() -> Iterator[Callable[[], None]]:
    """Put an interrupt (SIGINT) off while inside; gives what lets it through, also one that came meanwhile.

    Only the main thread is ever interrupted: in another one nothing is put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))

    def let_through() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
        if came:
            signal.raise_signal(came.pop())

    try:
        yield let_through
    finally:
        let_through()


def _lock(descriptor: int, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        else:
            return True


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
