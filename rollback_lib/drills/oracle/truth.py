"""The world's side: what arrived, what was so at any moment, and who changed it.

- Every moment asked for is on the machine's clock, as the journal's and the ledger's are; the world's own clock is
  ahead of it by the spec's skew.
- What changes production is told by the world's own table, never by the run's.
- What somebody else did is told apart by the caller.
"""

from __future__ import annotations

from rollback_lib.simulator import World, company
from rollback_lib.simulator.history import COLLEAGUE
from rollback_lib.simulator.hosting import Effect
from rollback_lib.simulator.ledger import Entry
from rollback_lib.simulator.spans import Span

__all__ = ["Truth", "named"]

_MOVES = ("host moved", "auto-assign set")
_ROUNDED_MS = 1  # the ledger's times are rounded, the journal's cut off
_SERVER_ERROR, _NO_STATUS = 500, 0


class Truth:
    """One world, as the judge asks it."""

    def __init__(self, world: World) -> None:
        with world.lock:
            self._now_ms = world.advance()
            self._world, self._hosting = world, world.hosting
            self.entries = tuple(world.ledger.entries())
            self.effects = tuple(self._hosting.effects)
            self.messages = {(said.channel, said.ts): said for said in world.slack.messages()}
            self.scheduled = tuple(world.slack.scheduled())
        self.hosts = self._hosting.project.production_hosts
        self._skew_ms = round(world.spec.clock_skew_s * 1000)

    # --- what arrived ----------------------------------------------------------------------------------------

    @property
    def changing(self) -> tuple[Entry, ...]:
        """The runbook's requests that change something, in the order in which they came."""
        return tuple(entry for entry in self.entries if entry.changes and entry.caller != COLLEAGUE)

    def reads(self, service: str, until_ms: int, since_ms: int | None = None) -> list[Entry]:
        """List the runbook's requests to a service that changed nothing, up to a moment."""
        return [
            entry
            for entry in self.entries
            if entry.service == service
            and not entry.changes
            and entry.caller != COLLEAGUE
            and entry.at_ms <= until_ms + _ROUNDED_MS
            and (since_ms is None or entry.at_ms >= since_ms)
        ]

    # --- what was so -----------------------------------------------------------------------------------------

    def live(self, at_ms: int) -> dict[str, str | None]:
        """Tell what each production host served at a moment."""
        return {host: self._hosting.aliases.at(host, self._own(at_ms)) for host in self.hosts}

    def production(self, at_ms: int) -> str:
        """Tell the deployment that the project named at a moment."""
        moments = [id_ for since_ms, id_ in self._hosting.production if since_ms <= self._own(at_ms)]
        return moments[-1] if moments else ""

    def is_on(self, target: str, at_ms: int) -> bool:
        """Tell whether the project and every production host were on a deployment."""
        return self.production(at_ms) == target and set(self.live(at_ms).values()) == {target}

    def is_pinned(self, at_ms: int) -> bool:
        """Tell whether later builds were kept off the domains at a moment."""
        later = [
            effect
            for effect in self.effects
            if effect.what == "auto-assign set" and effect.at_ms > self._own(at_ms)
        ]
        now = self._hosting.project.auto_assign
        return (now if not later else not later[0].detail["value"]) is False

    def is_struck(self, deployment_id: str | None, at_ms: int) -> bool:
        """Tell whether a deployment carried the fault at a moment."""
        found = self._hosting.deployments.get(deployment_id or "")
        return found is None or self._world.breakage.strikes(found, self._own(at_ms))

    def lacks_marker(self, host: str, path: str, at_ms: int) -> bool:
        """Tell whether a page that answered well did so without the text that proves it."""
        failing = self._world.breakage.of_page(path)
        struck = self.is_struck(self.live(at_ms).get(host), at_ms)
        return struck and failing is not None and failing.marker_missing

    def steady(self, since_s: int, until_s: int) -> str | None:
        """Tell which deployment all of production was on during a window; None if it moved or was on several.

        Args:
            since_s: Seconds of the world's own clock.
            until_s: Seconds of the world's own clock.
        """
        aliases = self._hosting.aliases
        served = {aliases.at(host, since_s * 1000) for host in self.hosts}
        moved = any(
            since_s * 1000 < at_ms < until_s * 1000 for host in self.hosts for at_ms, _ in aliases.moves(host)
        )
        return served.pop() if len(served) == 1 and not moved else None

    def error_rate(self, since_s: int, until_s: int) -> float | None:
        """Tell the share of server errors among the visitors' requests, in seconds of the world's own clock."""
        spec = self._world.spec
        answered = [
            span
            for span in self._world.spans(since_s * 1000, until_s * 1000)
            if span.op == "http.server"
            and span.environment == company.ENVIRONMENT
            and span.project == spec.sentry_project
        ]
        failed = [span for span in answered if _status(span) >= _SERVER_ERROR]
        return len(failed) / len(answered) if answered else None

    # --- what was done ---------------------------------------------------------------------------------------

    def requested(self, target: str, since_ms: int, until_ms: int) -> bool:
        """Tell whether somebody asked for production to move to a deployment between two moments."""
        return any(
            effect.what.endswith(" requested")
            and effect.detail.get("to") == target
            and self._own(since_ms) <= effect.at_ms <= self._own(until_ms) + _ROUNDED_MS
            for effect in self.effects
        )

    def succeeded(self, target: str, until_ms: int) -> bool:
        """Tell whether a job to a deployment had come to a good end by a moment."""
        return any(
            effect.what.endswith(" succeeded")
            and effect.detail.get("to") == target
            and effect.at_ms <= self._own(until_ms) + _ROUNDED_MS
            for effect in self.effects
        )

    def changes(self, since_ms: int, until_ms: int) -> list[Effect]:
        """List what moved production, or was asked to, after one moment and before another."""
        return [
            effect
            for effect in self.effects
            if self._own(since_ms) < effect.at_ms < self._own(until_ms)
            and (effect.what in _MOVES or effect.what.endswith(" requested"))
            and effect.detail.get("host", self.hosts[0]) in self.hosts
        ]

    def _own(self, at_ms: int) -> int:
        """Turn the machine's time into the world's."""
        return at_ms + self._skew_ms


def named(entry: Entry) -> str:
    """Name an entry of the ledger as evidence does."""
    did = "applied" if entry.applied else "not applied"
    return f"ledger entry {entry.seq} ({entry.method} {entry.path}, {entry.status or 'no answer'}, {did})"


def _status(span: Span) -> int:
    return span.http_status if span.http_status is not None else _NO_STATUS
