"""The port that steers a served world: for scenarios and judges, never for a client under test.

- It answers on loopback names only, so that no web page can reach it.
- It shows what was done and what is true; it has no way to set an error rate or an outcome.
- It shows no credential.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollback_lib.simulator.spec import Fault, WorldSpec
from rollback_lib.simulator.world import World
from rollback_lib.yamlfile import problems

__all__ = ["Stage", "make_app"]


class Stage(Protocol):
    """What the control port steers."""

    @property
    def world(self) -> World:
        """The world that is served now."""

    def reset(self, spec: WorldSpec | None = None) -> None:
        """Begin a new world, of the same spec unless another is given."""

    def close(self) -> None:
        """Ask for the end of it all."""


def make_app(stage: Stage, platform: Callable[[], dict[str, Any]]) -> Starlette:
    """Build the control port."""
    desk = _Desk(stage, platform)
    return Starlette(
        routes=[
            Route("/healthz", desk.healthz),
            Route("/state", desk.state),
            Route("/ledger", desk.ledger),
            Route("/spec", desk.spec),
            Route("/reset", desk.reset, methods=["POST"]),
            Route("/faults", desk.faults, methods=["GET", "POST", "DELETE"]),
            Route("/shutdown", desk.shutdown, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


class _Desk:
    """The handlers."""

    def __init__(self, stage: Stage, platform: Callable[[], dict[str, Any]]) -> None:
        self._stage, self._platform = stage, platform

    async def healthz(self, _request: Request) -> Response:
        """Say that the world is served, and where."""
        return JSONResponse({"ok": True, "platform": self._platform()})

    async def state(self, _request: Request) -> Response:
        """Say what is true in the world and what was done to it."""
        return JSONResponse(self._stage.world.outcome_view().as_json())

    async def ledger(self, _request: Request) -> Response:
        """List every request to every service."""
        return JSONResponse({"entries": self._stage.world.ledger.as_json()})

    async def spec(self, _request: Request) -> Response:
        """Say how the world was meant to be, without its credentials."""
        return JSONResponse(_without_values(self._stage.world.spec))

    async def reset(self, request: Request) -> Response:
        """Begin anew, with another spec if the body has one."""
        raw = await request.body()
        try:
            spec = WorldSpec.model_validate_json(raw) if raw.strip() else None
        except ValidationError as exc:
            return _wrong(exc)
        self._stage.reset(spec)
        return JSONResponse({"ok": True})

    async def faults(self, request: Request) -> Response:
        """List the faults and how often each was met; add some; or take all away."""
        book = self._stage.world.faults
        if request.method == "DELETE":
            book.clear()
        if request.method == "POST":
            try:
                wanted = _read_faults(await request.body())
            except ValidationError as exc:
                return _wrong(exc)
            except ValueError:
                return JSONResponse({"problems": ["the body is neither a fault nor a list of faults"]}, 400)
            book.add(wanted)
        return JSONResponse({"faults": book.as_json()})

    async def shutdown(self, _request: Request) -> Response:
        """Ask for the end; it comes after this answer."""
        self._stage.close()
        return JSONResponse({"ok": True})


def _read_faults(raw: bytes) -> tuple[Fault, ...]:
    """Read one fault, a list of them, or `{"faults": [...]}`."""
    tree = json.loads(raw)
    if isinstance(tree, dict) and "faults" in tree:
        tree = tree["faults"]
    tree = [tree] if isinstance(tree, dict) else tree
    if not isinstance(tree, list):
        raise ValueError(tree)  # noqa: TRY004 - one kind of error for all that is no fault
    return tuple(Fault.model_validate_json(json.dumps(item)) for item in tree)


def _wrong(exc: ValidationError) -> Response:
    return JSONResponse({"problems": [text for _, text in problems(exc)]}, 400)


def _without_values(spec: WorldSpec) -> dict[str, Any]:
    tree: dict[str, Any] = spec.model_dump(mode="json", by_alias=True)
    for token in tree["tokens"]:
        del token["value"]
    return tree
