"""What the Sentry of a world keeps, and what it needs to know of its world.

- The state holds what callers made (releases, deploys) and what has been remembered of the spans.
- It has no clock of its own: every reading comes from the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from rollback_lib.simulator import company
from rollback_lib.simulator.sentry_errors import Memory
from rollback_lib.simulator.sentry_releases import ReleaseBook
from rollback_lib.simulator.spans import Span
from rollback_lib.simulator.spec import WorldSpec

__all__ = ["SentryState", "World"]

_OTHER_PROJECT_ID = 4510


class World(Protocol):
    """What the monitoring needs to know of its world."""

    @property
    def spec(self) -> WorldSpec:
        """Return the world as data."""

    @property
    def sentry(self) -> SentryState:
        """Return what the monitoring keeps."""

    def now_ms(self) -> int:
        """Return the platforms' time."""

    def spans(self, since_ms: int, until_ms: int, /) -> Sequence[Span]:
        """List what was served in [since, until), oldest first."""

    def token_scopes(self, authorization: str | None, service: Literal["sentry"], /) -> frozenset[str] | None:
        """Give what a caller may do; None for an unknown one."""


class SentryState:
    """What the monitoring keeps besides the world's spans."""

    def __init__(self, spec: WorldSpec, began_ms: int = 0) -> None:
        self.switches = spec.sentry
        until_s = spec.sentry.taken_until_s
        self._taken_until_ms = None if until_s is None else began_ms + round(until_s * 1000)
        self.history_ms = round(spec.history_s * 1000)
        self.lag_ms = round(spec.ingest_lag_s * 1000)
        self.projects = {
            spec.sentry_project: company.SENTRY_PROJECT_ID,
            company.SENTRY_OTHER_PROJECT: _OTHER_PROJECT_ID,
        }
        self.releases = ReleaseBook()
        self.memory: Memory | None = None  # begins with the first question
        self._calls: dict[tuple[str, str], tuple[int, int]] = {}

    def arrived_ms(self, now_ms: int) -> int:
        """Give the instant before which all that began, and was taken in, has arrived."""
        arrived_ms = now_ms - self.lag_ms + 1
        return arrived_ms if self._taken_until_ms is None else min(arrived_ms, self._taken_until_ms)

    def count_call(self, caller: str, endpoint: str, now_ms: int) -> int:
        """Count a request in its second; give how many there were, with this one."""
        second = now_ms // 1000
        since, count = self._calls.get((caller, endpoint), (second, 0))
        count = count + 1 if since == second else 1
        self._calls[caller, endpoint] = (second, count)
        return count
