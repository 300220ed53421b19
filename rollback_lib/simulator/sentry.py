"""The Sentry of a simulated company, served at the root of its own port.

- Rates, latencies, errors and releases follow from the world's own spans; nothing here sets one.
- A span is visible once the ingest lag has passed since it began, and not before.
- A path without its trailing slash is not found (404); it is not redirected.
- A caller is known by the token, and may do what the token's scopes allow, before anything else is looked at.
- A 429 carries neither `Retry-After` nor a JSON content type.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rollback_lib.simulator import company
from rollback_lib.simulator.sentry_endpoints import Endpoints, catch_up
from rollback_lib.simulator.sentry_query import Refusal
from rollback_lib.simulator.sentry_state import SentryState, World

__all__ = ["SentryState", "World", "catch_up", "changes", "make_app", "rate_limited_response"]

_ORGANIZATION_ID = "4507"
_EVENT_SCOPES = frozenset({"org:read", "org:write", "org:admin"})
_ISSUE_SCOPES = frozenset({"event:read", "event:write", "event:admin"})
_PROJECT_SCOPES = frozenset({"project:read", "project:write", "project:admin"})
_RELEASE_WRITE = frozenset({"project:releases", "project:write", "project:admin", "org:ci"})
_RELEASE_READ = _RELEASE_WRITE | {"project:read"}
_NOT_FOUND = "The requested resource does not exist"


def changes(method: str, _path: str) -> bool:
    """Tell whether a request changes something in the monitoring; what is not known is taken to."""
    return method.upper() not in ("GET", "HEAD", "OPTIONS")


def rate_limited_response(now_ms: int, limit: int = 50) -> Response:
    """Build the answer to a caller that asks too often; the headers say when it may ask again."""
    text = f"You are attempting to use this endpoint too frequently. Limit is {limit} requests in 1 seconds"
    return Response(
        json.dumps({"detail": text}),
        status_code=429,
        media_type="text/html",
        headers=_limit_headers(now_ms, limit, limit),
    )


def _limit_headers(now_ms: int, limit: int, used: int) -> dict[str, str]:
    return {
        "X-Sentry-Rate-Limit-Limit": str(limit),
        "X-Sentry-Rate-Limit-Remaining": str(max(0, limit - used)),
        "X-Sentry-Rate-Limit-Reset": str(now_ms // 1000 + 1),
        "X-Sentry-Rate-Limit-ConcurrentLimit": str(limit),
        "X-Sentry-Rate-Limit-ConcurrentRemaining": str(limit - 1),
    }


@dataclass(frozen=True)
class _Way:
    """One verb of a path: who may go it, and where it leads."""

    path: str
    verb: str
    scopes: frozenset[str]
    endpoint: Callable[[Request, int, Any], Response]
    remembers: bool = False  # it looks at the whole past


def make_app(world: World) -> Starlette:
    """Build the application of one world's monitoring."""
    door, api = _Door(world), Endpoints(world)
    base, project = "/api/0/organizations/{organization}", "/api/0/projects/{organization}/{project}"
    release = f"{base}/releases/{{version}}/"
    ways = (
        _Way(f"{base}/environments/", "GET", _EVENT_SCOPES, api.environments),
        _Way(f"{project}/environments/", "GET", _PROJECT_SCOPES, api.environments),
        _Way(f"{base}/events/", "GET", _EVENT_SCOPES, api.events),
        _Way(f"{base}/events-timeseries/", "GET", _EVENT_SCOPES, api.series),
        _Way(f"{base}/issues/", "GET", _ISSUE_SCOPES, api.issues, remembers=True),
        _Way(f"{base}/releases/", "GET", _RELEASE_READ, api.list_releases, remembers=True),
        _Way(f"{base}/releases/", "POST", _RELEASE_WRITE, api.make_release, remembers=True),
        _Way(release, "GET", _RELEASE_READ, api.get_release, remembers=True),
        _Way(f"{release}deploys/", "GET", _RELEASE_READ, api.list_deploys, remembers=True),
        _Way(f"{release}deploys/", "POST", _RELEASE_WRITE, api.make_deploy, remembers=True),
    )
    by_path: dict[str, dict[str, _Way]] = {}
    for way in ways:
        by_path.setdefault(way.path, {})[way.verb] = way
    routes = [Route(path, door.guarded(verbs), methods=list(verbs)) for path, verbs in by_path.items()]
    routes.append(Route("/api/0/", door.index))
    app = Starlette(routes=routes, exception_handlers={404: _not_routed, 405: _not_allowed})
    app.router.redirect_slashes = False
    return app


async def _not_routed(request: Request, _: Exception) -> Response:
    """Answer a path that leads nowhere; the commonest cause is a missing slash."""
    path = request.url.path
    if path.endswith("/"):
        return Response(status_code=404)
    hint = f"There is no such route; a trailing slash may be missing. Try {path}/"
    if request.headers.get("content-type", "").startswith("application/json"):
        return JSONResponse({"info": hint}, 404)
    return PlainTextResponse(hint + "\n", 404)


async def _not_allowed(request: Request, exc: Exception) -> Response:
    headers = exc.headers if isinstance(exc, HTTPException) else None
    return JSONResponse({"detail": f'Method "{request.method}" not allowed.'}, 405, headers)


class _Door:
    """What stands before every endpoint: the limit, the token, the organization, the scope."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _state(self) -> SentryState:
        return self._world.sentry

    def guarded(self, verbs: dict[str, _Way]) -> Callable[[Request], Awaitable[Response]]:
        """Put token, limit, scope and organization before the endpoints of a path."""

        async def handle(request: Request) -> Response:
            raw, now_ms = await request.body(), self._world.now_ms()
            way = verbs["GET" if request.method == "HEAD" else request.method]
            limit = self._state.switches.limit_per_s
            used = self._state.count_call(request.headers.get("authorization", ""), way.path, now_ms)
            if used > limit:
                return rate_limited_response(now_ms, limit)
            try:
                self._admit(request, way.scopes)
                if way.remembers:
                    await catch_up(self._world)
                response = way.endpoint(request, now_ms, _decoded(raw) if way.verb == "POST" else None)
            except Refusal as exc:
                response = self._refused(exc)
            response.headers.update(_limit_headers(now_ms, limit, used))
            return response

        return handle

    async def index(self, request: Request) -> Response:
        """Tell what the token may do; without one there is nothing to tell, and that is no fault."""
        auth = None
        if request.headers.get("authorization") is not None:
            try:
                auth = {"scopes": sorted(self._scopes(request))}
            except Refusal as exc:
                return self._refused(exc)
        return JSONResponse({"version": "0", "auth": auth, "user": None})

    def _scopes(self, request: Request) -> frozenset[str]:
        authorization = request.headers.get("authorization")
        held = self._world.token_scopes(authorization, "sentry")
        if held is None:
            missing = authorization is None
            raise Refusal(
                "Authentication credentials were not provided." if missing else "Invalid token", 401
            )
        return held

    def _admit(self, request: Request, wanted: frozenset[str]) -> None:
        held = self._scopes(request)
        if request.path_params["organization"] not in (company.SENTRY_ORGANIZATION, _ORGANIZATION_ID):
            raise Refusal(_NOT_FOUND, 404)
        if not held & wanted:
            raise Refusal("You do not have permission to perform this action.", 403)

    def _refused(self, exc: Refusal) -> Response:
        if exc.fields is not None:
            return JSONResponse({name: [fault] for name, fault in exc.fields.items()}, exc.status)
        if self._state.switches.detail == "object":
            return JSONResponse(
                {"detail": {"message": exc.detail, "code": f"error-{exc.status}", "extra": {}}}, exc.status
            )
        return JSONResponse({"detail": exc.detail}, exc.status)


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as exc:
        raise Refusal("JSON parse error") from exc
