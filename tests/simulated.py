"""What the tests of the simulator share: a clock that stands still, and clients of one world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from in_process import client_of

from rollback_lib.simulator import World, WorldSpec, app, vercel
from rollback_lib.simulator.faults import Door

BEGAN = datetime(2026, 11, 23, 21, 50, tzinfo=UTC)
PROJECT = "/v9/projects/prj_drill"


class StandingClock:
    """Moves only when it is told to."""

    def __init__(self, now: datetime = BEGAN) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Company:
    """A world on a standing clock, and who talks to it."""

    def __init__(self, spec: WorldSpec | None = None, **fields) -> None:
        self.clock = StandingClock()
        self.world = World(spec or WorldSpec(**fields), self.clock)
        self.vercel = self.client(token=self.world.token("VERCEL_TOKEN"))
        self.app = client_of(Door(self.world, "app", app.make_app(self.world)))

    def client(self, token: str | None, team_id: str | None = "", **door):
        """Speak to the platform; the account's own team is named unless another (or none) is given."""
        team = self.world.spec.team_id if team_id == "" else team_id
        inner = _Named(Door(self.world, "vercel", vercel.make_app(self.world), **door), team)
        return client_of(inner, **({"Authorization": f"Bearer {token}"} if token else {}))

    def wait(self, seconds: float) -> None:
        """Let time pass in the world."""
        self.clock.sleep(seconds)

    def role(self, name: str) -> str:
        """Give the id of a deployment by its part in the past."""
        return self.world.hosting.roles[name]

    def name(self, deployment_id: str | None) -> str:
        """Give the part that a deployment had in the past."""
        return next((role for role, id_ in self.world.hosting.roles.items() if id_ == deployment_id), "?")

    def project(self) -> dict:
        """Read the project with its last alias job."""
        return self.vercel.get(PROJECT, params={"rollbackInfo": "true"}).json()

    def rollback(self, role: str = "stable", **params):
        """Ask for a rollback."""
        return self.vercel.post(f"/v9/projects/prj_drill/rollback/{self.role(role)}", json={}, params=params)

    def promote(self, role: str):
        """Ask for a promotion."""
        return self.vercel.post(f"/v10/projects/prj_drill/promote/{self.role(role)}", json={})

    def live(self) -> str:
        """Name what the first domain serves."""
        return self.name(self.world.live().id)

    def error_rate(self, since_s: float, until_s: float) -> float:
        """Give the share of 5xx among the visitors' requests between two moments, in seconds from the beginning."""
        seen = [span.http_status for span in self.requests(since_s, until_s) if span.http_status is not None]
        return sum(status >= 500 for status in seen) / len(seen)

    def requests(self, since_s: float, until_s: float) -> list:
        """List what belongs in the error rate of production."""
        began_ms = self.world.began_ms
        spans = self.world.spans(began_ms + round(since_s * 1000), began_ms + round(until_s * 1000))
        return [
            span
            for span in spans
            if span.op == "http.server" and span.environment == "production" and span.project == "web"
        ]


class _Named:
    """Adds the team to each request that names none, as a careful client does."""

    def __init__(self, inner, team_id: str | None) -> None:
        self._inner, self._team_id = inner, team_id

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http" and self._team_id and b"teamId=" not in scope["query_string"]:
            query = scope["query_string"]
            scope = {
                **scope,
                "query_string": (query + b"&" if query else b"") + f"teamId={self._team_id}".encode(),
            }
        await self._inner(scope, receive, send)
