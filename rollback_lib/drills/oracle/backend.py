"""The world's side of the backend: what code was live at any moment, who pushed it, and how its functions did.

- Every moment asked for is on the machine's clock; the world's own is ahead of it by the spec's skew.
- A company whose backend is not simulated has none of it.
"""

from __future__ import annotations

from math import inf

from rollback_lib.simulator import World
from rollback_lib.simulator.convex.audit import Row
from rollback_lib.simulator.convex.logs import Completion

__all__ = ["BackendTruth", "failed_share"]

_PUSHED = "push_config_with_components"
_VISITOR = "SyncWorker"  # where the log says that visitors' calls come from


class BackendTruth:
    """The backend of one world, as the judge asks it."""

    def __init__(self, world: World) -> None:
        backend = world.convex
        self._backend = backend
        self._skew_ms = round(world.spec.clock_skew_s * 1000)
        self._was_live = list(backend.was_live) if backend is not None else []
        self._rows = list(backend.audit.rows) if backend is not None else []
        self._calls = backend.logs.entries() if backend is not None else []

    def code(self, at_ms: float) -> str:
        """Tell the key of the code that was live at a moment; empty: none was."""
        found = [key for since_ms, key in self._was_live if since_ms <= at_ms + self._skew_ms]
        return found[-1] if found else ""

    def runs(self, sha: str, at_ms: float) -> bool:
        """Tell whether a commit's code was live at a moment."""
        wanted = self._backend.code_of(sha) if self._backend is not None else ""
        return bool(wanted) and self.code(at_ms) == wanted

    def ran(self, sha: str, since_ms: float, until_ms: float) -> bool:
        """Tell whether a commit's code was live during all of a window."""
        moments = [at_ms - self._skew_ms for at_ms, _ in self._was_live]
        within = [at_ms for at_ms in moments if since_ms < at_ms < until_ms]
        return all(self.runs(sha, at_ms) for at_ms in (since_ms, *within, until_ms))

    def live_since(self, at_ms: float) -> float:
        """Tell since when the code had been live that was live at a moment."""
        found = [since_ms for since_ms, _ in self._was_live if since_ms <= at_ms + self._skew_ms]
        return found[-1] - self._skew_ms if found else at_ms

    def live_until(self, at_ms: float) -> float:
        """Tell when the code that was live at a moment gave way to another; endless where it has not."""
        found = [since_ms for since_ms, _ in self._was_live if since_ms > at_ms + self._skew_ms]
        return found[0] - self._skew_ms if found else inf

    def pushes(self, since_ms: float, until_ms: float) -> list[Row]:
        """List the pushes that went live after one moment and before another."""
        after, before = since_ms + self._skew_ms, until_ms + self._skew_ms
        return [row for row in self._rows if row.action == _PUSHED and after < row.at_ms < before]

    def calls(self, since_ms: float, until_ms: float) -> list[Completion]:
        """List the calls of functions that began between two moments.

        What began in the very millisecond of a push may have run either code, and is of none.
        """
        after, before = since_ms + self._skew_ms, until_ms + self._skew_ms
        pushed = {at_ms for at_ms, _ in self._was_live}
        return [
            call for call in self._calls if after <= call.began_ms <= before and call.began_ms not in pushed
        ]

    def asked(self, path: str, since_ms: float, until_ms: float) -> list[Completion]:
        """List the calls of one function between two moments that no visitor made."""
        module, _, name = path.partition(":")
        identifiers = (path, f"{module.removesuffix('.js')}.js:{name}")
        return [
            call
            for call in self.calls(since_ms, until_ms)
            if call.identifier in identifiers and call.caller != _VISITOR
        ]


def failed_share(calls: list[Completion]) -> float | None:
    """Tell which share of calls failed; None where there were none."""
    return sum(call.error is not None for call in calls) / len(calls) if calls else None
