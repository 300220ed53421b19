"""The company's app, served at the root of its own port.

- Which deployment answers is decided by the alias of the host asked for, at that moment.
- A broken deployment breaks what a visitor really gets; nothing tells a check apart from a visitor.
- A deployment's own address needs the bypass secret; the domains do not.
- Every request is one more that the monitoring sees.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from rollback_lib.simulator import company, pages
from rollback_lib.simulator.deployments import Deployment
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.spans import Span, status_of
from rollback_lib.simulator.world import World

__all__ = ["OWN_ADDRESS", "make_app"]

OWN_ADDRESS = "/_deployment/{url}"  # where a deployment itself can be looked at
_SLOWEST_S = 5.0  # nobody waits longer, however slow the build is meant to be
_COOKIE = "derrimut_session"
_PATHS = tuple(page.path for page in company.PAGES)


@dataclass(frozen=True)
class _Visit:
    """One request and who answers it."""

    request: Request
    deployment: Deployment
    path: str
    base: str  # what stands before the app's own paths in links
    at_ms: int
    member: str | None


def make_app(world: World) -> Starlette:
    """Build the app of one world."""
    site = _Site(world)
    both = ["GET", "POST"]
    return Starlette(
        routes=[
            Route(OWN_ADDRESS + "{path:path}", site.own_address, methods=both),
            Route("/{path:path}", site.domain, methods=both),
        ]
    )


class _Site:
    """All that a visitor can reach."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._luck = Random(f"app:{world.spec.seed}")  # noqa: S311 - repeatable, not secret

    async def domain(self, request: Request) -> Response:
        """Answer at one of the company's domains; any other name means the first of them."""
        host = request.headers.get("host", "").partition(":")[0]
        known = self._world.hosting.project.production_hosts
        deployment = self._world.live(host if host in known else known[0])
        return await self._visit(request, deployment, "/" + request.path_params["path"], "")

    async def own_address(self, request: Request) -> Response:
        """Answer at a deployment's own address."""
        url, path = request.path_params["url"], request.path_params["path"] or "/"
        if not self._may_pass(request):
            return HTMLResponse(pages.protected(), 401)
        try:
            self._world.advance()
            deployment = self._world.hosting.find(url)
        except Refusal:
            return HTMLResponse(pages.error(404), 404, {"x-vercel-error": "DEPLOYMENT_NOT_FOUND"})
        if deployment.state != "READY" or deployment.url != url:
            return HTMLResponse(pages.error(404), 404, {"x-vercel-error": "DEPLOYMENT_NOT_FOUND"})
        return await self._visit(request, deployment, path, OWN_ADDRESS.format(url=url))

    def _may_pass(self, request: Request) -> bool:
        name = "x-vercel-protection-bypass"
        shown = request.headers.get(name) or request.query_params.get(name)
        return shown is not None and shown in self._world.hosting.project.bypass_secrets

    async def _visit(self, request: Request, deployment: Deployment, path: str, base: str) -> Response:
        at_ms = self._world.advance()
        visit = _Visit(request, deployment, path, base, at_ms, self._member(request))
        broken = self._world.breakage.strikes(deployment, at_ms)
        factor = self._world.spec.broken.slow_factor if broken else 1.0
        duration_ms = self._world.spec.latency_ms * factor
        if factor > 1:
            await asyncio.sleep(min(duration_ms / 1000, _SLOWEST_S))
        response = await self._answer(visit, broken)
        response.headers["x-vercel-id"] = f"syd1::drill-{at_ms}"
        self._world.saw(_span(visit, response.status_code, duration_ms, self._world.spec.sentry_project))
        return response

    async def _answer(self, visit: _Visit, broken: bool) -> Response:
        """Answer as the deployment would."""
        failing = self._world.breakage.of_page(visit.path) if broken else None
        if failing is not None and self._luck.random() < failing.share:
            return HTMLResponse(pages.error(failing.status), failing.status)
        if visit.request.method == "POST":
            return await self._post(visit)
        if failing is not None and failing.marker_missing:
            return HTMLResponse(pages.hollow())
        return self._get(visit, broken)

    def _get(self, visit: _Visit, broken: bool) -> Response:
        path = visit.path
        if path == company.HEALTH_PATH:
            red = broken and self._world.spec.broken.health_red
            return JSONResponse({"status": "error" if red else "ok"}, 503 if red else 200)
        if path == company.VERSION_PATH:
            return JSONResponse({"sha": visit.deployment.sha, "deployment": visit.deployment.id})
        if path == "/sign-in":
            return HTMLResponse(pages.sign_in(visit.base, visit.member))
        if path in _PATHS:
            return HTMLResponse(pages.page(path, visit.base, visit.member))
        if path == "/":
            return HTMLResponse(pages.home(visit.base, visit.member))
        return HTMLResponse(pages.error(404), 404)

    async def _post(self, visit: _Visit) -> Response:
        """Sign a member in or out."""
        if visit.path == "/sign-out":
            response: Response = RedirectResponse(f"{visit.base}/", 303)
            response.delete_cookie(_COOKIE)
            return response
        if visit.path != "/sign-in":
            return HTMLResponse(pages.error(405), 405)
        form = parse_qs((await visit.request.body()).decode("utf-8", "replace"))
        email, password = form.get("email", [""])[0], form.get("password", [""])[0]
        if (email, password) != (company.MEMBER_EMAIL, self._world.token("member")):
            return HTMLResponse(pages.sign_in(visit.base, None, "Wrong email or password."), 401)
        response = RedirectResponse(f"{visit.base}/", 303)
        response.set_cookie(_COOKIE, "member", httponly=True, samesite="lax")
        return response

    @staticmethod
    def _member(request: Request) -> str | None:
        return company.MEMBER_EMAIL if request.cookies.get(_COOKIE) == "member" else None


def _span(visit: _Visit, status: int, duration_ms: float, project: str) -> Span:
    return Span(
        ts_ms=visit.at_ms,
        duration_ms=duration_ms,
        op="http.server",
        is_transaction=True,
        status=status_of(status),
        http_status=status,
        environment=company.ENVIRONMENT
        if visit.deployment.target == "production"
        else company.ENVIRONMENT_PREVIEW,
        release=visit.deployment.release,
        project=project,
        transaction=f"{visit.request.method} {visit.path}",
        user=visit.member,
    )
