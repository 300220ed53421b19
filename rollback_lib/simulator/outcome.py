"""What is true in a world, for whoever judges a run from outside.

- It is taken at one moment; everything due until then has happened.
- It says what is so and what was done, never whether that was right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rollback_lib.simulator.convex.view import ConvexView
from rollback_lib.simulator.deployments import AliasJob
from rollback_lib.simulator.hosting import Effect

__all__ = ["OutcomeView"]


@dataclass(frozen=True)
class OutcomeView:
    """The state of a world at one moment, and the changes since it began; times are the world's."""

    now_ms: int
    began_ms: int
    issue_ms: int  # when the issue began
    clock_skew_s: float
    live: Mapping[str, str | None]  # production host -> deployment
    production: str  # the deployment that the project names
    auto_assign: bool
    crons: str | None
    last_job: AliasJob | None
    healthy: bool  # what the first domain serves does not carry the fault
    roles: Mapping[str, str]  # role in the past -> deployment
    expected_target: str | None  # where a right first rollback goes
    effects: tuple[Effect, ...]
    convex: ConvexView | None = None  # None: this company's backend is not simulated

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)
