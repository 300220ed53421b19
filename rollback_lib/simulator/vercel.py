"""The hosting platform's interface, served at the root of its own port.

- A call is made by a known token, for the account that everything belongs to, or it is refused.
- Versions in paths are not looked at, except where the answer's shape depends on one.
- An error has the platform's own shape; a refused call has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rollback_lib.simulator import vercel_deployments as deployments
from rollback_lib.simulator import vercel_env as env
from rollback_lib.simulator import vercel_projects as projects
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.vercel_call import Call, refuse
from rollback_lib.simulator.world import World

__all__ = ["make_app"]

_Handler: TypeAlias = Callable[[Call], Response]
_READING = ("GET", "HEAD")
_WITHOUT_ACCOUNT = (projects.user, projects.team, projects.teams)  # asked before the account is known

_TABLE: dict[str, dict[str, _Handler]] = {
    "/v{version:int}/user": {"GET": projects.user},
    "/v{version:int}/teams": {"GET": projects.teams},
    "/v{version:int}/teams/{team}": {"GET": projects.team},
    "/teams/{team}": {"GET": projects.team},
    "/v{version:int}/deployments": {"GET": deployments.list_deployments, "POST": deployments.create},
    "/v{version:int}/deployments/{deployment}": {"GET": deployments.one},
    "/v{version:int}/deployments/{deployment}/cancel": {"PATCH": deployments.cancel},
    "/v{version:int}/deployments/{deployment}/events": {"GET": deployments.events},
    "/v{version:int}/deployments/{deployment}/aliases": {
        "GET": deployments.deployment_aliases,
        "POST": deployments.add_alias,
    },
    "/v{version:int}/aliases/{host}": {"GET": deployments.host_alias},
    "/v{version:int}/projects/{project}": {"GET": projects.read, "PATCH": projects.edit},
    "/v{version:int}/projects/{project}/domains": {"GET": projects.domains},
    "/v{version:int}/projects/{project}/rolling-release": {"GET": projects.rolling_release},
    "/v{version:int}/projects/{project}/protection-bypass": {"PATCH": projects.edit_bypass},
    "/v{version:int}/projects/{project}/custom-environments": {"GET": projects.custom_environments},
    "/projects/{project}/custom-environments": {"GET": projects.custom_environments},
    "/v{version:int}/projects/{project}/{kind}/aliases": {"GET": projects.job_aliases},
    "/v{version:int}/projects/{project}/rollback/{deployment}": {"POST": projects.rollback},
    "/v{version:int}/projects/{project}/rollback/{deployment}/update-description": {
        "PATCH": projects.describe_rollback
    },
    "/v{version:int}/projects/{project}/promote/{deployment}": {"POST": projects.promote},
    "/v{version:int}/projects/{project}/deployments/{deployment}/runtime-logs": {
        "GET": deployments.runtime_logs
    },
    "/v{version:int}/projects/{project}/env": {
        "GET": env.rows,
        "POST": env.create,
        "DELETE": env.remove_many,
    },
    "/v{version:int}/projects/{project}/env/{row}": {
        "GET": env.get,
        "PATCH": env.change,
        "DELETE": env.remove,
    },
    "/v{version:int}/env/pull/{project}/{target}": {"GET": env.pull},
}


def make_app(world: World) -> Starlette:
    """Build the interface of one world."""
    routes = [Route(path, _Endpoint(world, handlers)) for path, handlers in _TABLE.items()]
    return Starlette(routes=routes, exception_handlers={404: _unknown})


class _Endpoint:
    """One path with its methods."""

    def __init__(self, world: World, handlers: dict[str, _Handler]) -> None:
        self._world, self._handlers = world, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        raw = await request.body()
        with self._world.lock:
            try:
                response = self._answer(request, raw)
            except Refusal as refusal:
                response = refuse(refusal)
        await response(scope, receive, send)

    def _answer(self, request: Request, raw: bytes) -> Response:
        handler = self._handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(self._handlers)
            raise Refusal(405, "method_unknown", f"This endpoint only responds to {allowed}")
        call = Call(
            self._world, request, raw, self._world.advance(), self._world.caller("vercel", request.scope)
        )
        self._check_token(request)
        if handler not in _WITHOUT_ACCOUNT:
            call.check_team()
        return handler(call)

    def _check_token(self, request: Request) -> None:
        authorization = request.headers.get("authorization")
        scopes = self._world.token_scopes(authorization, "vercel")
        if scopes is None:
            status, mark = (403, "invalidToken") if authorization else (401, "missingToken")
            raise Refusal(status, "forbidden", "Not authorized", {mark: True})
        if ("read" if request.method in _READING else "write") not in scopes:
            raise Refusal(403, "forbidden", "Not authorized")


def _unknown(request: Request, _exc: Exception) -> Response:
    return refuse(Refusal(404, "not_found", f"Could not find the resource: {request.url.path}"))
