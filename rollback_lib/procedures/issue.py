"""When the issue began: as the operator says, or where the error rate rose.

- On the platform's clock. A time counted from now is refused where this machine's clock is far off: the wrong thing
  could become the suspect.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback_lib.clock import parse_instant
from rollback_lib.errors import BadParameters, RollbackError
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.vercel_facts import skew_text
from rollback_lib.providers.sentry import RatePoint
from rollback_lib.signals.onset import onset

__all__ = ["issue_began"]

_UNCHANGED = "Nothing was changed."
_SAY_WHEN = 'Set issue_started_at, for example "-20m" or "2026-11-23T21:50:00Z".'


def issue_began(session: Session, skew_s: float) -> tuple[datetime, str]:
    """Tell when the issue began, on the platform's clock, and how that is known.

    Args:
        session: Of the run; its parameter `issue_started_at` comes first.
        skew_s: How far the platform's clock is ahead of ours, in seconds.

    Raises:
        BadParameters: It is not given and the error rate does not show it, or it is counted by a clock that is off.
    """
    given = session.parameters.issue_started_at
    if given:
        return _as_given(session, given, skew_s), "as given"
    policy = session.resolved.policy
    end = session.clock.now() + timedelta(seconds=skew_s - policy.telemetry_lag_s)
    limit = session.plan.criterion("P1.C3").limit  # what the plan calls normal, whatever the procedure
    found = (
        onset(_series(session, end - timedelta(seconds=policy.onset_lookback_s), end), limit.threshold)
        if limit
        else None
    )
    if found is None:
        raise BadParameters(
            "When the issue began is not given, and Sentry's error rate shows no rise that is still on.",
            _UNCHANGED,
            _SAY_WHEN,
        )
    return found, "from the error rate in Sentry"


def _as_given(session: Session, given: str, skew_s: float) -> datetime:
    """Read the parameter; "-20m" counts from when the run was opened, so a clock that is far off is refused."""
    opened = datetime.fromisoformat(next(session.journal.find("run.opened")).at)
    instant = parse_instant(given, opened)
    if not given.strip().startswith("-"):
        return instant  # whatever this machine's clock says
    if abs(skew_s) > session.resolved.policy.clock_skew_s:
        raise BadParameters(
            f'issue_started_at is "{given}", counted from now, but {skew_text(skew_s)}: the wrong deployment could become the suspect.',
            _UNCHANGED,
            'Set this machine\'s clock, or write issue_started_at with date, time and zone as Sentry shows it ("2026-11-23T21:50:00Z"); then begin a new run (new_run = True).',
        )
    return instant + timedelta(seconds=skew_s)


def _series(session: Session, start: datetime, end: datetime) -> tuple[RatePoint, ...]:
    try:
        return session.clients.sentry.series(start, end, 60)
    except RollbackError as exc:
        raise BadParameters(
            f"When the issue began is not given, and Sentry cannot be asked: {exc.happened}",
            _UNCHANGED,
            _SAY_WHEN,
        ) from exc
