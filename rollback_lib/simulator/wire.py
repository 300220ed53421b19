"""The connections of the served worlds, so that one can really be cut.

- A cut is a reset by the kernel, not an answer: the caller cannot tell whether its request was done.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Wire", "cut"]

_AT_ONCE = struct.pack("ii", 1, 0)  # linger on, for zero seconds: a reset instead of a goodbye
_open: dict[tuple[int, str, int], asyncio.Transport] = {}  # server port, client host, client port


class Wire(H11Protocol):
    """The server's own protocol, which also remembers its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as H11Protocol has it
        """Remember a new connection."""
        super().connection_made(transport)
        if self.server is not None and self.client is not None:
            _open[self.server[1] or 0, self.client[0], self.client[1]] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that is gone."""
        if self.server is not None and self.client is not None:
            _open.pop((self.server[1] or 0, self.client[0], self.client[1]), None)
        super().connection_lost(exc)


async def cut(scope: Scope, receive: Receive) -> None:
    """Abort the connection of a request, so that the caller's kernel reports a reset."""
    transport = _open.get((scope["server"][1], *scope["client"]))
    if transport is None:
        raise RuntimeError("only a served request has a connection to cut")
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
