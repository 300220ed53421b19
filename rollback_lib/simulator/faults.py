"""What goes wrong between a service and its caller: one door for all services of a world.

- Every request passes it and stands in the ledger, whatever becomes of it. One that its caller broke off is none.
- A fault strikes by the count of matching requests, never by chance.
- A cut connection is cut: the caller's own stack sees it as a failure of transport.
- Without a fault the door changes nothing; each answer bears the time of the world's clock, to the second.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollback_lib.simulator.fault_answers import denied, other_answer, refused, too_many
from rollback_lib.simulator.ledger import Asked, Entry
from rollback_lib.simulator.spec import Fault, Service
from rollback_lib.simulator.wire import cut

if TYPE_CHECKING:
    from rollback_lib.simulator.world import World

__all__ = ["Door", "FaultBook"]

_Sleep: TypeAlias = Callable[[float], Awaitable[Any]]
_log = logging.getLogger(__name__)
_ON_JOBS = (
    "job_failed",
    "job_skipped",
    "job_stuck",
    "partial",
    "concurrent_promote",
    "push_race",
    "concurrent_push",
    "colleague_push",
)
_CLIENT_ERROR = 400


class FaultBook:
    """The faults of a world and how often each has been met."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults: list[tuple[Fault, list[str]]] = [(fault, []) for fault in faults]

    def add(self, faults: tuple[Fault, ...]) -> None:
        """Set further faults; their counting begins now."""
        self._faults += [(fault, []) for fault in faults]

    def clear(self) -> None:
        """Take all faults away."""
        self._faults.clear()

    def strike(self, service: Service, method: str, path: str) -> Fault | None:
        """Count a request and tell the first fault that strikes it."""
        struck: Fault | None = None
        for fault, met in self._faults:
            if fault.service == service and _matches(fault, method, path):
                met.append(path)
                struck = struck or (fault if fault.fires_at(len(met)) else None)
        return struck

    def never_struck(self) -> tuple[Fault, ...]:
        """Tell which faults have struck no request yet; one whose place another took counts as having struck."""
        return tuple(
            fault
            for fault, met in self._faults
            if not any(fault.fires_at(count) for count in range(1, len(met) + 1))
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Give the faults and their counts as plain data."""
        return [
            {**fault.model_dump(mode="json", by_alias=True), "met": len(met)} for fault, met in self._faults
        ]


def _matches(fault: Fault, method: str, path: str) -> bool:
    return fault.method in ("*", method) and fnmatchcase(path, fault.path)


class Door:
    """The middleware that every service of a world stands behind."""

    def __init__(self, world: World, service: Service, app: ASGIApp, sleep: _Sleep = asyncio.sleep) -> None:
        self._world, self._service, self._app, self._sleep = world, service, app, sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the request down and handle it as the fault wants, or plainly."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _whole_body(receive)
        if body is None:
            return
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        plain = _unpacked(scope, body)
        caller = self._world.caller(self._service, scope, plain)
        target = f"{path}?{query}" if query else path
        sent = body if plain is not body else None
        asked = Asked(self._service, scope["method"], target, plain, caller, sent)
        entry = self._world.ledger.open(self._world.machine_ms(), asked)
        fault = self._world.faults.strike(self._service, scope["method"], path)
        entry.fault = fault.kind if fault is not None else None
        scope.setdefault("state", {}).update(entry=entry, fault=fault)
        answer = _Dated(send, self._world.now_ms)
        passage = _Passage(
            self._app, scope, _again(body, receive), answer, entry, self._world.now_ms(), self._sleep
        )
        await _HANDLING.get(fault.kind if fault else "", _plainly)(passage, fault)


@dataclass
class _Passage:
    """One request on its way through the door."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    entry: Entry
    now_ms: int
    sleep: _Sleep

    async def serve(self, send: Send) -> None:
        """Let the service do it; what it changed is told by its own answer."""
        try:
            await self.app(self.scope, self.receive, _Heard(send, self.entry, self.scope["state"]))
        except Exception:
            _log.exception("the simulated %s failed at %s %s", *_named(self.entry))
            raise

    async def serve_unheard(self) -> None:
        """Let the service do it and keep its answer back."""
        await self.serve(_nowhere)

    async def reply(self, response: Response) -> None:
        """Answer in the service's place."""
        self.entry.status = response.status_code
        await response(self.scope, self.receive, self.send)

    async def cut(self) -> None:
        """Break the connection; the caller gets no answer."""
        self.entry.status = None
        await cut(self.scope, self.receive)


class _Dated:
    """Puts the world's time on an answer as it leaves, as every real server does."""

    def __init__(self, send: Send, now_ms: Callable[[], int]) -> None:
        self._send, self._now_ms = send, now_ms

    async def __call__(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            date = formatdate(self._now_ms() // 1000, usegmt=True).encode()
            message = {**message, "headers": [*message.get("headers", ()), (b"date", date)]}
        await self._send(message)


def _named(entry: Entry) -> tuple[str, str, str]:
    return entry.service, entry.method, entry.path


class _Heard:
    """Passes an answer on; the ledger has it before the caller does."""

    def __init__(self, send: Send, entry: Entry, state: Mapping[str, Any]) -> None:
        self._send, self._entry, self._state = send, entry, state
        self._settled = False

    async def __call__(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self._entry.status = message["status"]
        elif not self._settled:
            self._settled = True
            self._entry.applied = self._entry.changes and self._did(bytes(message.get("body", b"")))
        await self._send(message)

    def _did(self, words: bytes) -> bool:
        """Tell whether it was done: as the service marked it, else by status and words."""
        if "applied" in self._state:
            return bool(self._state["applied"])
        if self._entry.status is None or self._entry.status >= _CLIENT_ERROR:
            return False
        return self._entry.service != "slack" or _says_ok(words)


def _says_ok(words: bytes) -> bool:
    """Tell whether the chat means success: it fails with status 200."""
    try:
        answer = json.loads(words)
    except ValueError:
        return words == b"ok"  # of a webhook
    return isinstance(answer, dict) and answer.get("ok") is True


async def _plainly(passage: _Passage, _fault: Fault | None) -> None:
    await passage.serve(passage.send)


async def _reset_before(passage: _Passage, _fault: Fault) -> None:
    await passage.cut()


async def _reset_after(passage: _Passage, _fault: Fault) -> None:
    await passage.serve_unheard()
    await passage.cut()


async def _slow(passage: _Passage, fault: Fault) -> None:
    if fault.hold == "request":
        await passage.sleep(fault.delay_s)
        await passage.serve(passage.send)
        return
    kept: list[Message] = []

    async def keep(message: Message) -> None:
        kept.append(message)

    await passage.serve(keep)
    await passage.sleep(fault.delay_s)
    for message in kept:
        await passage.send(message)


async def _instead(passage: _Passage, fault: Fault) -> None:
    """Answer something else; the service did it before, or it never hears of it."""
    applied = fault.kind == "empty_body" if fault.effect_applied is None else fault.effect_applied
    if applied:
        await passage.serve_unheard()
    await passage.reply(other_answer(passage.entry.service, fault, passage.entry.status))


async def _refused(passage: _Passage, fault: Fault) -> None:
    """Refuse; a service that says it failed may have done it all the same, where the fault says so."""
    if fault.effect_applied:
        await passage.serve_unheard()
    await passage.reply(refused(passage.entry.service, fault, passage.scope["path"]))


async def _too_many(passage: _Passage, fault: Fault) -> None:
    reset_s = passage.now_ms // 1000 + max(1, fault.retry_after_s)
    await passage.reply(too_many(passage.entry.service, fault, reset_s))


async def _deny(passage: _Passage, _fault: Fault) -> None:
    await passage.reply(denied(passage.entry.service))


_HANDLING: dict[str, Callable[[_Passage, Any], Awaitable[None]]] = {
    "429": _too_many,
    "500": _instead,
    "502": _instead,
    "503": _instead,
    "empty_body": _instead,
    "html_body": _instead,
    "reset_before": _reset_before,
    "reset_after": _reset_after,
    "slow": _slow,
    "deny": _deny,
    "refuse": _refused,
    **dict.fromkeys(_ON_JOBS, _plainly),  # the platform reads these from the request
}


async def _nowhere(_message: Message) -> None:
    """Swallow an answer that nobody gets."""


async def _whole_body(receive: Receive) -> bytes | None:
    """Read the body; None where the caller was gone before all of it had arrived."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _unpacked(scope: Scope, body: bytes) -> bytes:
    """Unpack a body that came packed (brotli), so that the ledger can be read."""
    if (b"content-encoding", b"br") not in scope["headers"]:
        return body
    import brotli  # only pushes of code come packed

    try:
        return bytes(brotli.decompress(body))
    except brotli.error:
        return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body once more, then listen to the caller as before."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
