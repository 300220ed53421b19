"""One call of the hosting platform's interface, read as strictly as the platform may read it.

- A parameter that is not understood is ignored; one that is, but has a wrong value, is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from rollback_lib.simulator import company
from rollback_lib.simulator.deployments import Project
from rollback_lib.simulator.hosting import Hosting
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.spec import Fault, WorldSpec
from rollback_lib.simulator.world import World

__all__ = ["Call", "refuse"]

_LIMIT, _MOST = 20, 100
_NOT_FOUND = 404


@dataclass(frozen=True)
class Call:
    """A request whose caller is known and may make it."""

    world: World
    request: Request
    raw: bytes
    now_ms: int
    caller: str

    @property
    def hosting(self) -> Hosting:
        """The platform's state."""
        return self.world.hosting

    @property
    def spec(self) -> WorldSpec:
        """How the world was meant to be."""
        return self.world.spec

    @property
    def fault(self) -> Fault | None:
        """What is to go wrong with the job that this request starts."""
        fault: Fault | None = self.request.scope.get("state", {}).get("fault")
        return fault

    def part(self, name: str) -> str:
        """Give a part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """Give a query parameter, or None where it is absent or empty."""
        return self.request.query_params.get(name) or None

    def queries(self, name: str) -> list[str]:
        """Give all values of a parameter that may be repeated or hold a comma list."""
        values = [*self.request.query_params.getlist(name), *self.request.query_params.getlist(f"{name}[]")]
        return [item for value in values for item in value.split(",") if item]

    def number(self, name: str) -> int | None:
        """Give a whole number from the query."""
        text = self.query(name)
        if text is None:
            return None
        if not text.lstrip("-").isdigit():
            raise Refusal(400, "bad_request", f"Invalid request: `{name}` should be number.")
        return int(text)

    def flag(self, name: str) -> bool | None:
        """Give a boolean from the query: `true`, `false`, `1` or `0`."""
        text = self.query(name)
        if text is None:
            return None
        if text not in ("true", "false", "1", "0"):
            raise Refusal(400, "bad_request", f"Invalid request: `{name}` should be boolean.")
        return text in ("true", "1")

    def limit(self) -> int:
        """Give the page size."""
        limit = self.number("limit")
        if limit is None:
            return _LIMIT
        if not 1 <= limit <= _MOST:
            raise Refusal(400, "bad_request", f"Invalid request: `limit` should be between 1 and {_MOST}.")
        return limit

    def body(self) -> Any:
        """Read the body as JSON; an empty one counts as an empty object."""
        try:
            return json.loads(self.raw) if self.raw.strip() else {}
        except ValueError as exc:
            raise Refusal(400, "bad_request", "Invalid JSON") from exc

    def fields(self) -> dict[str, Any]:
        """Read the body as a JSON object."""
        body = self.body()
        if not isinstance(body, dict):
            raise Refusal(400, "bad_request", "Invalid request: should be object.")
        return body

    def project(self, *, id_only: bool = False) -> Project:
        """Find the project that the path names, by id or, where that is allowed, by name."""
        wanted, project = self.part("project"), self.hosting.project
        if wanted == project.id or (not id_only and wanted == project.name):
            return project
        raise Refusal(404, "not_found", f"Could not find the Project: {wanted}")

    def mark(self, applied: bool) -> None:
        """Say whether anything was changed, where the status alone does not."""
        self.request.scope.setdefault("state", {})["applied"] = applied

    def check_team(self) -> None:
        """Insist on the scope of the account that everything here belongs to."""
        team_id, slug = self.query("teamId"), self.query("slug")
        own = self.spec.team_id
        if own is None:
            allowed = team_id is None and slug is None
        else:
            allowed = team_id == own or (team_id is None and slug == company.TEAM_SLUG)
        if allowed:
            return
        if (
            own is not None
            and team_id is None
            and slug is None
            and self.spec.missing_team_status == _NOT_FOUND
        ):
            raise Refusal(404, "not_found", "Could not find the requested resource.")
        scope = slug or team_id or company.TEAM_SLUG
        raise Refusal(
            403,
            "forbidden",
            f'Not authorized: Trying to access resource under scope "{scope}". You must re-authenticate to this '
            "scope or use a token with access to this scope.",
        )


def refuse(refusal: Refusal) -> JSONResponse:
    """Turn a refusal into the platform's answer."""
    body = {"code": refusal.code, "message": refusal.message, **refusal.extra}
    return JSONResponse({"error": body}, refusal.status)
