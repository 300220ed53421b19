"""A simulated service called without a socket: an ordinary client whose transport is the application itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

__all__ = ["client_of"]


_runner = asyncio.Runner()  # one loop for all calls: a new one for each takes longer than the call


class _InProcess(httpx.BaseTransport):
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return _runner.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await httpx.ASGITransport(self._app).handle_async_request(copy)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


def client_of(app: ASGIApp, **headers: Any) -> httpx.Client:
    """Give a client that talks to the application; it follows no redirects."""
    return httpx.Client(transport=_InProcess(app), base_url="http://testserver", headers=headers)
