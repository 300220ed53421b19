"""Who strikes: from the world's side, while a request is there; and how the kernel is armed to strike by itself.

- A request of the kernel's own is known by the mark that the kernel puts on it; one of a program by what it asks for.
- What a program of the kernel's is, is known by the lock and the number that it leaves.
- A strike is over when the victims are dead, or have had the time to act on being asked to end.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from points import REQUEST, Place, Point
from repository import ROOT
from stage import Running, Stage, await_end, kill, lines_of
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollback_lib.simulator.wire import cut

AT_THE_WORLD = ("lost", "late", "answered", "slow", "outlived")
AT_IT_S, MOST_S = 4.0, 20.0  # that long after the next process has opened the run it is at the gate
ACTED_UPON_S = 1.5  # the kernel is interrupted at once, and looks at the platform then
MARK = b"x-crash-here"
PID_FILE, CHILDREN_FILE, MODULES_FILE = "kernel.pid", "kernel.pid.children", "kernel.pid.modules"
_PUSH = "/api/deploy2/"
_DOOMED: dict[str, tuple[str, ...]] = {
    "kernel": ("kernel",),
    "both": ("run", "kernel"),
    "child": ("program",),
    "group": ("shell", "program"),
    "pair": ("kernel", "shell", "program"),
    "all": ("run", "kernel", "shell", "program"),
}


@dataclass
class Killer:
    """Kills the victim of a point, from the world's side; knows whether the point was reached."""

    point: Point
    stage: Stage
    running: Running | None = None
    struck: bool = False
    _met: int = 0

    @property
    def kernel(self) -> int | None:
        """Return the kernel's process id, as the kernel has left it."""
        place = self.stage.folder / PID_FILE
        return int(place.read_text(encoding="utf-8")) if place.exists() else None

    @property
    def reached(self) -> bool:
        """Say whether somebody was killed at the point."""
        return self.struck or (self.stage.folder / f"{PID_FILE}.struck").exists()

    def environment(self) -> dict[str, str]:
        """Return what arms the kernel."""
        how = "marked" if self.point.how in AT_THE_WORLD else self.point.how
        return _arming(self.stage, how, self.point.victim, self.point.place)

    def is_met_by(self, scope: Scope) -> bool:
        """Count a request; say whether it is the one."""
        if self.struck:
            return False
        if self.point.place.event != REQUEST:
            return any(name.lower() == MARK for name, _ in scope.get("headers", ()))
        here = program_request(scope) == self.point.place.said
        self._met += here
        return here and self._met == self.point.place.nth

    async def strike(self) -> None:
        """Kill, and return when the victim is dead, or has had the time to act on being asked to end."""
        self.struck = True
        assert self.running is not None
        assert self.kernel is not None
        victim, run, kernel = self.point.victim, self.running.process.pid, self.kernel
        if victim == "stopped":
            kill(run, signal.SIGTERM)
            await asyncio.sleep(ACTED_UPON_S)
            return
        if victim == "held":
            kill(kernel, signal.SIGSTOP)
        pids = {"run": run, "kernel": kernel, **self._program()}
        doomed = [pids[who] for who in _DOOMED.get(victim, ("run",))]
        for pid in doomed:
            kill(pid)
        for pid in doomed:
            await_end(pid)

    async def await_next(self) -> None:
        """Wait until the next process has gone on with the run for some seconds."""
        deadline = time.monotonic() + MOST_S
        while time.monotonic() < deadline:
            run = self.stage.run_on_disk()
            if run is not None and any(line.event == "run.continued" for line in lines_of(run.folder)):
                await asyncio.sleep(AT_IT_S)
                return
            await asyncio.sleep(0.1)

    def end_program(self) -> None:
        """Kill the program that lived on."""
        for pid in self._program().values():
            kill(pid)

    def _program(self) -> dict[str, int]:
        """Return the process ids of the program that is under way, and of the shell that keeps its exit code."""
        slot = self.stage.program
        found = slot.running() if slot is not None else None
        if found is None or found.pid is None:
            return {}
        told = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text(encoding="ascii").split()
        return {"shell": found.pid, "program": int(told[0])}


class Tap:
    """Sits between a service's door and the service, and has the victim killed while the request is there."""

    def __init__(self, app: ASGIApp, killer: Killer) -> None:
        self._app, self._killer = app, killer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or strike at it."""
        if not self._killer.is_met_by(scope):
            await self._app(scope, receive, send)
            return
        how = self._killer.point.how
        if how == "lost":
            await self._killer.strike()
            with suppress(RuntimeError):  # who has died has hung up already
                await cut(scope, receive)
            return
        if how == "late":
            await self._killer.strike()
            await self._app(scope, receive, send)
            return
        if how in {"slow", "outlived"}:
            await self._killer.strike()
            await self._killer.await_next()
            if how == "slow":
                await self._app(scope, receive, send)
            else:
                self._killer.end_program()
            return
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)

        await self._app(scope, receive, keep)
        await self._killer.strike()
        for message in kept:
            await send(message)


class Ear:
    """Sits where a tap would, and writes down what programs request."""

    def __init__(self, app: ASGIApp, heard: list[str]) -> None:
        self._app, self._heard = app, heard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if name := program_request(scope):
            self._heard.append(name)
        await self._app(scope, receive, send)


def place_at_doors(here: Stage, make: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put something between each service's door and the service."""
    for door in here.serving._apps.values():
        if hasattr(door, "_app"):
            door._app = make(door._app)


def listening(here: Stage) -> dict[str, str]:
    """Return what lets a run write down the programs that it begins and the modules that it loads, and kill nobody."""
    return _arming(here, "listen", "kernel", Place("", None))


def programs_begun(here: Stage) -> Iterator[str]:
    """Give the names of the programs that a listening kernel has begun."""
    place = here.folder / CHILDREN_FILE
    yield from place.read_text(encoding="utf-8").splitlines() if place.exists() else ()


def loaded(here: Stage) -> Iterator[str]:
    """Give the project's files that listening processes, and this one, have loaded, relative to the root."""
    for name in (here.folder / MODULES_FILE).read_text(encoding="utf-8").splitlines():
        place = ROOT.joinpath(*name.split("."))
        yield from (
            str(path.relative_to(ROOT))
            for path in (place.with_suffix(".py"), place / "__init__.py")
            if path.is_file()
        )
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "/")
        if file.is_relative_to(ROOT) and file.suffix == ".py" and not file.is_relative_to(sys.prefix):
            yield str(file.relative_to(ROOT))


def program_request(scope: Scope) -> str:
    """Name a changing request that a program made; empty for any other."""
    entry = scope.get("state", {}).get("entry")
    if entry is None or not entry.changes or not entry.path.startswith(_PUSH):
        return ""
    dry = isinstance(entry.body, dict) and entry.body.get("dryRun") is True
    return f"convex deploy{' --dry-run' if dry else ''}: {entry.path.removeprefix(_PUSH)}"


def _arming(here: Stage, how: str, victim: str, place: Place) -> dict[str, str]:
    asked = {"how": how, "victim": victim, "pid": str(here.folder / PID_FILE)}
    return {"CRASH_AT": json.dumps(asked | asdict(place))}
