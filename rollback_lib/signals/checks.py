"""What is looked at after a rollback, and how it is judged.

- A check that has no data or too little traffic is unknown, never passed.
- An app that gives no answer on its public address has failed, whatever the reason.
- The error rate is judged in a window that begins after the rollback and ends before the telemetry's lag.
- A rate that the monitoring itself does not vouch for never passes, and our own looks at the app are no traffic.
- A page counts by its marker text, never by its status alone.
- Checks run side by side in threads; each reads only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from rollback_lib.errors import RollbackError, Unreachable
from rollback_lib.model import Check, CheckStatus
from rollback_lib.providers.app import AppClient
from rollback_lib.providers.sentry import RateReading, SentryClient

__all__ = ["RateLimits", "check_health", "check_page", "judge_rate", "percent", "read_rate", "side_by_side"]

T = TypeVar("T")


@dataclass(frozen=True)
class RateLimits:
    """What an error rate is held against."""

    threshold: float  # strictly below, a fraction
    min_requests: int
    window_s: float
    lag_s: float


def side_by_side(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run reads at the same time; results in the order of the jobs, the first exception raised."""
    if not jobs:
        return []
    with ThreadPoolExecutor(max_workers=len(jobs), thread_name_prefix="check") as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def check_health(app: AppClient, check_id: str, title: str) -> Check:
    """Ask the health endpoint on the public address."""
    source = f"GET {app.health_url()}"
    try:
        reading = app.health()
    except Unreachable as exc:
        return Check(check_id, title, CheckStatus.FAILED, f"no answer: {exc.reason}", "200 OK", source)
    status = CheckStatus.PASSED if reading.ok else CheckStatus.FAILED
    return Check(check_id, title, status, f"HTTP {reading.status}", "200 OK", source)


def check_page(app: AppClient, check_id: str, title: str, path: str, marker: str) -> Check:
    """Ask one page on the public address and look for its marker text."""
    source, wanted = f"GET {path}", f"200 with the text {marker!r}"
    try:
        reading = app.page(path, marker)
    except Unreachable as exc:
        return Check(check_id, title, CheckStatus.FAILED, f"no answer: {exc.reason}", wanted, source)
    passed = reading.status == 200 and reading.marker_found  # noqa: PLR2004 - HTTP's OK
    seen = f"HTTP {reading.status}, text {'found' if reading.marker_found else 'missing'}"
    return Check(check_id, title, CheckStatus.PASSED if passed else CheckStatus.FAILED, seen, wanted, source)


def read_rate(sentry: SentryClient, start: datetime, end: datetime) -> RateReading | str:
    """Read the error rate of a window, or say why it could not be read."""
    try:
        return sentry.error_rate(start, end)
    except RollbackError as exc:
        return exc.reason


def judge_rate(
    check_id: str,
    title: str,
    reading: RateReading | str,
    before: float | None,
    limits: RateLimits,
    *,
    own: int = 0,
) -> Check:
    """Decide whether the error rate is back to normal.

    Passed: enough requests besides our own, strictly below the threshold, and strictly below what it was before.
    Normal but not lower than before is unknown: no decrease is shown. So is a rate that Sentry calls extrapolated
    from few samples, or read from a part of the data.

    Args:
        check_id: The criterion's id.
        title: The criterion's words.
        reading: What was read after the change, or why it was not.
        before: The rate in the window before the change, a fraction; None where unknown.
        limits: Threshold, window and minimum traffic.
        own: Requests of the window that this run made itself, all counted as well: they are taken out.
    """
    wanted = f"< {percent(limits.threshold)}, below {percent(before)} before, over at least {limits.min_requests} requests"
    if isinstance(reading, str):
        return Check(check_id, title, CheckStatus.UNKNOWN, f"not read: {reading}", wanted, "Sentry")
    source = f"Sentry {reading.metric}, {reading.start:%H:%M:%S}-{reading.end:%H:%M:%S} UTC"
    count = max(0, reading.count - own)
    rate = None if reading.rate is None or not count else min(1.0, reading.rate * reading.count / count)
    without = f", without {own} of this run's own" if own else ""
    if rate is None:
        seen = f"no rate from {count} requests{without}"
    else:
        seen = f"{percent(rate)} of {count} requests{without}"
    seen += f" ({reading.note})" if reading.note else ""
    status = _rate_status(replace(reading, rate=rate, count=count), before, limits)
    return Check(check_id, title, status, seen + _remark(before, limits), wanted, source)


def _rate_status(reading: RateReading, before: float | None, limits: RateLimits) -> CheckStatus:
    if (
        reading.end - reading.start < timedelta(seconds=limits.window_s)
        or reading.count < limits.min_requests
        or reading.rate is None
    ):
        return CheckStatus.UNKNOWN
    if reading.rate >= limits.threshold:
        return CheckStatus.FAILED
    lower = before is not None and reading.rate < before
    return CheckStatus.PASSED if lower and not reading.doubt else CheckStatus.UNKNOWN


def _remark(before: float | None, limits: RateLimits) -> str:
    if before is None:
        return "; the rate before is unknown, so a decrease cannot be shown"
    if before < limits.threshold:
        return "; it was normal before too, so it says little about the cause"
    return ""


def percent(rate: float | None) -> str:
    """Write a fraction for people: 0.0312 as 3.12 %; None as unknown."""
    return "unknown" if rate is None else f"{rate * 100:.2f} %"
