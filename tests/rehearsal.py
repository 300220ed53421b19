"""Procedure 1 against a simulated company in this process: one clock for both, no socket, no waiting.

The company is the real simulator, the procedure the real class; only the wire between them is short.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from conftest import FakeClock
from parameters_project import project
from runs import let_go, lines_of

from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import World, WorldSpec, app, sentry, slack, vercel
from rollback_lib.simulator.faults import Door

__all__ = ["GIVEN", "Rehearsal"]

PORTS = {7401: ("vercel", vercel), 7402: ("sentry", sentry), 7403: ("slack", slack), 7404: ("app", app)}
GIVEN = {
    "mode": "headless",
    "operator": "ana",
    "severity": "P0",
    "criterion": "P0.T1",
    "reason": "Pages answer with errors",
    "impact": "Members cannot sign in",
    "issue_started_at": "-20m",
    "confirm": "derrimut-platform",
}

QUIET = {"heartbeat_s": 600, "lease_ttl_s": 3600}  # the heart beats in real time; these clocks stand still


class Rehearsal:
    """A company, a project folder, and runs of procedure 1."""

    def __init__(self, folder: Path, clock: FakeClock, spec: WorldSpec | None = None) -> None:
        self.home, self.clock = project(folder), clock
        self._runs: list[VercelRollback] = []
        self.begin(spec or WorldSpec())

    def begin(self, spec: WorldSpec) -> None:
        """Begin a new world at the same addresses, with no more of a past than the procedure looks at."""
        little = {"history_s": 1200.0, "traffic_rps": 20.0}
        asked = {name: value for name, value in little.items() if name not in spec.model_fields_set}
        self.world = World(spec.model_copy(update=asked), self.clock)
        self.transport = _Short(self.world, self.clock)
        secrets = self.home / ".secrets" / "drill.env"
        secrets.parent.mkdir(exist_ok=True)
        tokens = {
            token.name: token.value
            for token in spec.tokens
            if token.name.isupper() and token.name != "SLACK_WEBHOOK_URL"
        }
        secrets.write_text("".join(f"{name}={value}\n" for name, value in tokens.items()), encoding="utf-8")
        secrets.chmod(0o600)

    def close(self) -> None:
        """End it; whatever is still held back is dropped, and no heart of a run goes on beating."""
        self.transport.close()
        for run in self._runs:
            if run.heartbeat is not None:
                run.heartbeat.stop()

    def open(self, **given: Any) -> VercelRollback:
        """Open the notebook's procedure with headless parameters."""
        policy = {**QUIET, **given.pop("policy", {})}
        run = VercelRollback.open(
            {**GIVEN, "policy": policy, **given}, clock=self.clock, transport=self.transport
        )
        self._runs.append(run)
        return run

    def role(self, name: str) -> str:
        """Return a deployment of the company by its part in the past: bad, stable, hotfix, ..."""
        return self.world.hosting.roles[name]

    def live(self) -> set[str | None]:
        """Return what the production domains serve."""
        return set(self.world.outcome_view().live.values())

    def sent(self, path: str, service: str = "vercel") -> list[Any]:
        """Return the world's ledger entries of changing requests whose path holds a text."""
        return [
            entry
            for entry in self.world.ledger.entries()
            if entry.service == service and entry.changes and path in entry.path
        ]

    lines = staticmethod(lines_of)
    restart = staticmethod(let_go)


class _Short(httpx.BaseTransport):
    """Takes each request straight to the service of its port; who waits too long for an answer gives up.

    What was asked is then done later all the same, when the clock has come that far, as over a real wire.
    """

    def __init__(self, world: World, clock: FakeClock) -> None:
        self._doors = {
            port: Door(world, name, module.make_app(world), sleep=self._held_back)
            for port, (name, module) in PORTS.items()
        }
        self.before: dict[str, Callable[[], object]] = {}  # what happens right before a path is first asked
        self.after: dict[str, Callable[[], object]] = {}  # what happens right after it was first answered
        self._clock = clock
        self._waiting: dict[asyncio.Task[Any], tuple[float, asyncio.Event]] = {}  # until when, by the clock
        self._runner, self._one_at_a_time = asyncio.Runner(), threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._one_at_a_time:
            for path in [path for path in self.before if path in request.url.path]:
                self.before.pop(path)()
            try:
                return self._runner.run(self._in_time(request))
            except RuntimeError as exc:
                if "connection to cut" not in str(exc):
                    raise
                raise httpx.ReadError("connection reset by peer", request=request) from exc
            finally:
                for path in [path for path in self.after if path in request.url.path]:
                    self.after.pop(path)()

    def close(self) -> None:
        """Drop what is still held back; nobody waits for it any more."""
        held = list(self._waiting)
        for task in held:
            task.cancel()
        self._runner.run(self._ended(held))
        self._runner.close()

    @staticmethod
    async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _in_time(self, request: httpx.Request) -> httpx.Response:
        """Answer, letting as much time pass as the answer is held back for, up to the request's own limit."""
        limit = self._clock.monotonic() + request.extensions.get("timeout", {}).get("read", 60.0)
        self._wake()
        answering = asyncio.create_task(self._answer(request))
        while not (await asyncio.wait({answering}, timeout=0.001))[0]:
            due = self._waiting.get(answering)
            if due is None:
                continue
            self._clock.advance(max(0.0, min(due[0], limit) - self._clock.monotonic()))
            if due[0] > limit:
                raise httpx.ReadTimeout("timed out", request=request)
            self._wake()
        return answering.result()

    def _wake(self) -> None:
        """Let go on what has been held back for long enough."""
        for task, (at, event) in list(self._waiting.items()):
            if at <= self._clock.monotonic():
                event.set()
                del self._waiting[task]

    async def _held_back(self, seconds: float) -> None:
        task, event = asyncio.current_task(), asyncio.Event()
        assert task is not None
        self._waiting[task] = (self._clock.monotonic() + seconds, event)
        await event.wait()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        if request.url.port not in self._doors:
            raise httpx.ConnectError("nobody listens there", request=request)
        answer = await httpx.ASGITransport(self._doors[request.url.port]).handle_async_request(copy)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())
