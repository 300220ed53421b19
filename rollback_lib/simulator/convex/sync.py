"""The websocket of a deployment, as far as the official clients use it: queries that are told again as they change.

- Each transition begins where the last one ended; its time grows.
- A query is asked again whenever data or state has changed, and told again only where its answer is another one.
- Calls of functions are written to the ledger; questions are not, they change nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from rollback_lib.simulator.convex import keys, system, values, wire
from rollback_lib.simulator.convex.callers import NOBODY, Caller
from rollback_lib.simulator.convex.functions import Outcome
from rollback_lib.simulator.convex.logs import as_text
from rollback_lib.simulator.ledger import Asked
from rollback_lib.simulator.refusal import Refusal

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend
    from rollback_lib.simulator.world import World

__all__ = ["converse"]

_LOOK_S = 0.05
_NORMAL = 1000


@dataclass
class _Session:
    """One connection."""

    world: World
    backend: Backend
    socket: WebSocket
    caller: Caller = NOBODY
    queries: dict[int, dict[str, Any]] = field(default_factory=dict)
    told: dict[int, str] = field(default_factory=dict)
    query_set: int = 0
    identity: int = 0
    ts: int = 0
    seen: tuple[int, int] = (-1, -1)

    async def hear(self, message: dict[str, Any]) -> None:
        """Do what a message of the client asks."""
        match message.get("type"):
            case "Connect" | "Event":
                return
            case "Authenticate":
                await self._authenticate(message)
            case "ModifyQuerySet":
                await self._modify(message)
            case "Mutation" | "Action":
                await self._call(message)
            case other:
                await self._fatal(f"Unknown message {other}")

    async def look(self) -> None:
        """Tell what has changed since the last time."""
        if self.seen == self.backend.version or not self.queries:
            return
        self.seen = self.backend.version
        changes = await self._changes(list(self.queries))
        if changes:
            await self._transition(changes, self.query_set, self.identity)

    async def _authenticate(self, message: dict[str, Any]) -> None:
        try:
            if message["tokenType"] == "Admin":
                self.caller = keys.of_key(message["value"], self.world.keys("convex"), self.backend.name)
            elif message["tokenType"] == "User":
                self.caller = keys.caller_of(f"Bearer {message['value']}", None, (), self.backend.name)
            else:
                self.caller = NOBODY
        except Refusal as refusal:
            words = {"type": "AuthError", "error": refusal.message, "baseVersion": message["baseVersion"]}
            await self.socket.send_json({**words, "authUpdateAttempted": False})
            await self.socket.close(_NORMAL)
            return
        self.told.clear()
        changes = await self._changes(list(self.queries))
        await self._transition(changes, self.query_set, int(message["baseVersion"]) + 1)

    async def _modify(self, message: dict[str, Any]) -> None:
        changes: list[dict[str, Any]] = []
        self.seen = self.backend.version
        for one in message["modifications"]:
            number = one["queryId"]
            if one["type"] == "Add":
                self.queries[number] = one
                changes += await self._changes([number])
            else:
                self.queries.pop(number, None)
                self.told.pop(number, None)
                changes.append({"type": "QueryRemoved", "queryId": number})
        await self._transition(changes, int(message["newVersion"]), self.identity)

    async def _changes(self, numbers: list[int]) -> list[dict[str, Any]]:
        changes = []
        for number in numbers:
            asked = self.queries[number]
            outcome = await run_in_threadpool(self._outcome, asked["udfPath"], asked.get("args") or [{}])
            change = self._change(number, outcome)
            known = json.dumps({**change, "errorMessage": outcome.error}, sort_keys=True)
            if self.told.get(number) != known:
                self.told[number] = known
                changes.append(change)
        return changes

    def _outcome(self, path: str, args: list[Any]) -> Outcome:
        number = self.backend.number(8)
        try:
            if path.startswith(system.PREFIX):
                return Outcome(number, value=system.ask(self.backend, path, args[0], self.caller))
            return self.backend.functions.call(path, args[0], self.caller, "query", "SyncWorker")
        except system.Unknown as exc:
            return Outcome(number, error=str(exc), told_to_all=True)
        except Refusal as refusal:
            return Outcome(number, error=refusal.message, told_to_all=True)

    def _change(self, number: int, outcome: Outcome) -> dict[str, Any]:
        told = self.caller.is_admin or not self.backend.spec.hides_errors
        lines = [as_text(line) for line in outcome.lines] if told else []
        if outcome.error is None:
            change = {"type": "QueryUpdated", "value": values.exact(outcome.value)}
        else:
            data = {"errorData": values.exact(outcome.data)} if outcome.has_data else {}
            change = {"type": "QueryFailed", "errorMessage": wire.failure(outcome, told=told), **data}
        return {**change, "queryId": number, "logLines": lines, "journal": None}

    async def _transition(self, changes: list[dict[str, Any]], query_set: int, identity: int) -> None:
        start = self._version()
        self.query_set, self.identity = query_set, identity
        self.ts = max(self.ts + 1, round(self.backend.now_ms() * 1_000_000))
        await self.socket.send_json(
            {
                "type": "Transition",
                "startVersion": start,
                "endVersion": self._version(),
                "modifications": changes,
            }
        )

    def _version(self) -> dict[str, Any]:
        ts = base64.b64encode(self.ts.to_bytes(8, "little")).decode()
        return {"querySet": self.query_set, "identity": self.identity, "ts": ts}

    async def _call(self, message: dict[str, Any]) -> None:
        """Run a mutation or an action."""
        kind = message["type"]
        path, args = message["udfPath"], (message.get("args") or [{}])[0]
        asked = Asked(
            "convex",
            "POST",
            f"/api/{kind.lower()}",
            json.dumps({"path": path, "args": args}).encode(),
            self.caller.name,
        )
        entry = self.world.ledger.open(self.world.machine_ms(), asked)
        try:
            outcome = await run_in_threadpool(
                self.backend.functions.call, path, args, self.caller, kind.lower(), "SyncWorker"
            )
        except Refusal as refusal:
            outcome = Outcome(self.backend.number(8), error=refusal.message, told_to_all=True)
        entry.status, entry.applied = 200, outcome.error is None
        told = self.caller.is_admin or not self.backend.spec.hides_errors
        result = values.exact(outcome.value) if outcome.error is None else wire.failure(outcome, told=told)
        self.ts = max(self.ts + 1, round(self.backend.now_ms() * 1_000_000))
        await self.socket.send_json(
            {
                "type": f"{kind}Response",
                "requestId": message["requestId"],
                "success": outcome.error is None,
                "result": result,
                **({"ts": self._version()["ts"]} if kind == "Mutation" and outcome.error is None else {}),
                **({"errorData": values.exact(outcome.data)} if outcome.has_data else {}),
                "logLines": [as_text(line) for line in outcome.lines] if told else [],
            }
        )

    async def _fatal(self, words: str) -> None:
        await self.socket.send_json({"type": "FatalError", "error": words})
        await self.socket.close(_NORMAL)


async def converse(world: World, backend: Backend, socket: WebSocket) -> None:
    """Serve one connection to its end."""
    await socket.accept()
    session = _Session(world, backend, socket)
    heard = asyncio.create_task(socket.receive_json())
    try:
        while True:
            done, _ = await asyncio.wait((heard,), timeout=_LOOK_S)
            if done:
                await session.hear(heard.result())
                heard = asyncio.create_task(socket.receive_json())
            else:
                await session.look()
    except (WebSocketDisconnect, RuntimeError, json.JSONDecodeError):
        return  # the client is gone, or speaks another language
    finally:
        heard.cancel()
