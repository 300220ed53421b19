"""What the tests of conformance stand on: simulated companies on loopback, and the official command line.

A plugin that each of them names, not a conftest: its name would hide the other tests' one, run together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from vercel_cli import Cli

from rollback_lib.simulator import Jobs, Serving, WorldSpec, serve

__all__ = ["Company", "company"]

QUIET = {"history_s": 1800, "older_deployments": 25}  # no more of a past than the tools look at


class Company:
    """A simulated company that is served, and the command line that speaks to it."""

    def __init__(self, serving: Serving) -> None:
        self.serving, self.vercel = serving, Cli(serving)

    def role(self, name: str) -> str:
        """Return a deployment by its part in the past: bad, stable, staged, ..."""
        return self.serving.world.hosting.roles[name]

    def url(self, name: str) -> str:
        """Return the host of a deployment by its part in the past."""
        return self.serving.world.hosting.deployments[self.role(name)].url

    @property
    def serves(self) -> set[str]:
        """What the production domains point at, by the parts in the past."""
        parts = {id_: part for part, id_ in self.serving.world.hosting.roles.items()}
        return {parts.get(id_ or "", "another") for id_ in self.serving.world.outcome_view().live.values()}

    @property
    def pinned(self) -> bool:
        """Whether new builds are kept from going live."""
        return not self.serving.world.outcome_view().auto_assign

    @property
    def done(self) -> list[str]:
        """What was done to the platform since the world began, in words."""
        return [effect.what for effect in self.serving.world.outcome_view().effects]


@pytest.fixture
def company() -> Iterator[Callable[..., Company]]:
    """Serve companies; each ends with the test."""
    with ExitStack() as stack:

        def begin(**spec: Any) -> Company:
            wanted = {"jobs": Jobs(pending_s=0.05, running_s=0.2, build_s=0.4), **QUIET, **spec}
            return Company(stack.enter_context(serve(WorldSpec(**wanted))))

        yield begin
