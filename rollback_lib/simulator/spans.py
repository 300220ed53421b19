"""One request that the world served, as the monitoring sees it.

- A span is a fact: it is made by the world's traffic or by a real request to the app, never edited.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Span", "status_of"]

_STATUS_BY_CODE = {
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    413: "failed_precondition",
    429: "resource_exhausted",
    499: "cancelled",
    501: "unimplemented",
    503: "unavailable",
    504: "deadline_exceeded",
}
_CLIENT_ERROR = 400
_SERVER_ERROR = 500


class Span(NamedTuple):
    """One served request (a root server span); a plain tuple, because a world has tens of thousands."""

    ts_ms: int  # when it began, on the world's clock
    duration_ms: float
    op: str  # "http.server"
    is_transaction: bool
    status: str | None
    http_status: int | None
    environment: str
    release: str
    project: str  # the monitoring project's slug
    transaction: str  # "GET /membership"
    user: str | None


def status_of(http_status: int) -> str:
    """Name the span status that the monitoring's own client library gives an HTTP code."""
    named = _STATUS_BY_CODE.get(http_status)
    if named is not None:
        return named
    if http_status < _CLIENT_ERROR:
        return "ok"
    return "invalid_argument" if http_status < _SERVER_ERROR else "internal_error"
