"""A deployment and the platform's control plane, each served at the root of a port of its own.

- A refused request is answered in the platform's shape, and so is one that nothing is there for.
- A world without a deployment answers nothing here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from rollback_lib.simulator.convex import control_plane, endpoints
from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.call import Call
from rollback_lib.simulator.convex.sync import converse
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.world import World

__all__ = ["make_api", "make_deployment"]


def make_deployment(world: World) -> Starlette:
    """Build the deployment of one world."""
    backend = world.convex
    if backend is None:
        return Starlette(exception_handlers={404: _unknown})

    async def sync(socket: WebSocket) -> None:
        await converse(world, backend, socket)

    sockets: list[BaseRoute] = [
        WebSocketRoute("/api/sync", sync),
        WebSocketRoute("/api/{version}/sync", sync),
    ]
    return _app(world, backend, endpoints.TABLE, sockets)


def make_api(world: World) -> Starlette:
    """Build the control plane of one world."""
    if world.convex is None:
        return Starlette(exception_handlers={404: _unknown})
    return _app(world, world.convex, control_plane.TABLE, [])


def _app(
    world: World, backend: Backend, table: Mapping[str, Mapping[str, Any]], more: list[BaseRoute]
) -> Starlette:
    routes = [Route(path, _Endpoint(world, backend, handlers)) for path, handlers in table.items()]
    return Starlette(routes=[*routes, *more], exception_handlers={404: _unknown})


class _Endpoint:
    """One path with its methods."""

    def __init__(self, world: World, backend: Backend, handlers: Mapping[str, Any]) -> None:
        self._world, self._backend, self._handlers = world, backend, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        call = Call(self._backend, self._world.spec.tokens, request, await request.body())
        try:
            response = await self._answer(call)
        except Refusal as refusal:
            response = _refused(refusal)
        await response(scope, receive, send)

    async def _answer(self, call: Call) -> Response:
        handler = self._handlers.get(call.request.method)
        if handler is None:
            return Response(status_code=405)
        if inspect.iscoroutinefunction(handler):
            answered: Response = await handler(call)
            return answered
        return await run_in_threadpool(handler, call)


def _refused(refusal: Refusal) -> Response:
    return JSONResponse({"code": refusal.code, "message": refusal.message}, refusal.status)


def _unknown(_request: Request, _exc: Exception) -> Response:
    return Response(status_code=404)
