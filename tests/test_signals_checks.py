"""How production is judged after a rollback; the app and Sentry are asked over their real interfaces."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import httpx
import pytest
from conftest import BEGAN, FakeClock
from http_fakes import Platform, door, ok

from rollback_lib.errors import Unreachable
from rollback_lib.http import Service
from rollback_lib.model import Check, CheckStatus
from rollback_lib.providers.app import AppClient
from rollback_lib.providers.sentry import SENTRY_RULES, RateReading, SentryClient
from rollback_lib.signals.checks import (
    RateLimits,
    check_health,
    check_page,
    judge_rate,
    percent,
    read_rate,
    side_by_side,
)

PASSED, FAILED, UNKNOWN = CheckStatus.PASSED, CheckStatus.FAILED, CheckStatus.UNKNOWN
LIMITS = RateLimits(threshold=0.01, min_requests=50, window_s=300, lag_s=120)
METRIC = "http_response_rate(5)"


@dataclass(frozen=True)
class Settings:
    """Where the app and Sentry are."""

    url: str = "https://derrimut247.drill"
    preview: str = "https://{url}"
    health_path: str = "/api/health"
    version_path: str = "/api/version"
    organization: str = "derrimut"
    project: str = "web"
    environment: str = "production"
    error_metric: str = METRIC


def app_of(platform: Platform, clock: FakeClock) -> AppClient:
    """Give the app's client with the platform behind it."""
    return AppClient(Settings(), lambda service: door(service, platform, clock), None)


def sentry_of(platform: Platform, clock: FakeClock) -> SentryClient:
    """Give Sentry's client with the platform behind it."""
    api = door(Service("sentry", "https://sentry.drill", SENTRY_RULES), platform, clock)
    return SentryClient(api, Settings(), clock)


def reading(
    rate: float | None, *, count: int = 600, window_s: float = 300, note: str = "", doubt: str = ""
) -> RateReading:
    """Give what Sentry said about a window."""
    end = BEGAN + timedelta(seconds=window_s)
    return RateReading(rate, count, None, None, BEGAN, end, METRIC, "Sentry events", note, doubt)


def judged(found: RateReading | str, before: float | None = 0.34, limits: RateLimits = LIMITS) -> Check:
    """Judge a reading as procedure 1's third criterion."""
    return judge_rate("P1.C3", "Error rate decreased to normal levels (< 1%)", found, before, limits)


# The error rate


@pytest.mark.parametrize(
    ("rate", "status"),
    [(0.0, PASSED), (0.0099999, PASSED), (0.01, FAILED), (0.0100001, FAILED), (0.34, FAILED), (1.0, FAILED)],
)
def test_a_rate_passes_strictly_below_the_threshold_only(rate: float, status: CheckStatus) -> None:
    """Below 1 % is normal; 1 % itself is not."""
    assert judged(reading(rate)).status is status


@pytest.mark.parametrize(("count", "status"), [(0, UNKNOWN), (49, UNKNOWN), (50, PASSED), (51, PASSED)])
def test_too_little_traffic_is_unknown(count: int, status: CheckStatus) -> None:
    """A few quiet requests do not show that production is well."""
    assert judged(reading(0.0, count=count)).status is status


def test_too_little_traffic_is_unknown_also_where_all_of_it_fails() -> None:
    """Too little is no evidence in either direction."""
    assert judged(reading(1.0, count=49)).status is UNKNOWN


@pytest.mark.parametrize(("window_s", "status"), [(299, UNKNOWN), (300, PASSED), (301, PASSED)])
def test_a_window_shorter_than_asked_for_is_unknown(window_s: float, status: CheckStatus) -> None:
    """The rate has to be normal for the whole window."""
    assert judged(reading(0.0, window_s=window_s)).status is status


def test_no_data_is_unknown_never_zero_percent() -> None:
    """A window without a rate shows nothing, and the reason is in the text."""
    check = judged(reading(None, note="no requests in the window"))
    assert check.status is UNKNOWN
    assert check.seen.startswith("no rate from 600 requests (no requests in the window)")


@pytest.mark.parametrize(
    ("rate", "status"), [(0.0, UNKNOWN), (0.0099, UNKNOWN), (0.01, FAILED), (0.34, FAILED)]
)
def test_a_rate_that_sentry_does_not_vouch_for_never_passes(rate: float, status: CheckStatus) -> None:
    """Few samples or a part of the data may hide failures; what they show all the same has failed."""
    assert judged(reading(rate, note="confidence low", doubt="confidence low")).status is status


@pytest.mark.parametrize(
    ("count", "own", "rate", "status", "seen"),
    [
        (106, 56, 0.0, PASSED, "0.00 % of 50 requests, without 56 of this run's own"),
        (106, 57, 0.0, UNKNOWN, "0.00 % of 49 requests, without 57 of this run's own"),
        (140, 140, 0.0, UNKNOWN, "no rate from 0 requests, without 140 of this run's own"),
        (200, 100, 0.006, FAILED, "1.20 % of 100 requests, without 100 of this run's own"),
        (20, 40, 0.5, UNKNOWN, "no rate from 0 requests, without 40 of this run's own"),
        (200, 150, 0.9, FAILED, "100.00 % of 50 requests, without 150 of this run's own"),
    ],
)
def test_our_own_looks_are_no_traffic(
    count: int, own: int, rate: float, status: CheckStatus, seen: str
) -> None:
    """They would make a quiet night look like traffic, and water the failures of visitors down."""
    check = judge_rate("P1.C3", "Error rate", reading(rate, count=count), 0.34, LIMITS, own=own)
    assert (check.status, check.seen) == (status, seen)


def test_a_rate_that_could_not_be_read_is_unknown_with_the_reason() -> None:
    """Sentry down is no success."""
    check = judged("sentry: GET /api/0/... answered 503")
    assert (check.status, check.seen) == (UNKNOWN, "not read: sentry: GET /api/0/... answered 503")


@pytest.mark.parametrize(
    ("rate", "status"),
    [(0.0, UNKNOWN), (0.0099999, UNKNOWN), (0.01, FAILED)],
    ids=["none", "below", "at the limit"],
)
def test_without_a_baseline_a_decrease_cannot_be_shown(rate: float, status: CheckStatus) -> None:
    """A normal rate after an unknown one is unknown; too high a rate has failed whatever was before."""
    check = judged(reading(rate), before=None)
    assert check.status is status
    assert "the rate before is unknown, so a decrease cannot be shown" in check.seen


@pytest.mark.parametrize(
    ("before", "status", "remark"),
    [
        (0.0, UNKNOWN, True),
        (0.005, UNKNOWN, True),
        (0.0050001, PASSED, True),
        (0.0099999, PASSED, True),
        (0.01, PASSED, False),
        (0.34, PASSED, False),
    ],
)
def test_a_normal_rate_passes_only_below_what_it_was_before(
    before: float, status: CheckStatus, remark: bool
) -> None:
    """A decrease has to be shown; where the rate was normal before too, the text says what that is worth."""
    check = judged(reading(0.005), before=before)
    assert check.status is status
    assert ("it was normal before too, so it says little about the cause" in check.seen) is remark


def test_a_check_says_what_was_seen_wanted_and_where() -> None:
    """One line tells the tired reader all of it."""
    check = judged(reading(0.004), before=0.34)
    assert check.seen == "0.40 % of 600 requests"
    assert check.wanted == "< 1.00 %, below 34.00 % before, over at least 50 requests"
    assert check.source == f"Sentry {METRIC}, 21:58:00-22:03:00 UTC"
    assert check.required
    assert (check.id, check.title) == ("P1.C3", "Error rate decreased to normal levels (< 1%)")


def test_the_threshold_is_the_given_one() -> None:
    """The limit comes from the plan, not from here."""
    assert judged(reading(0.015), limits=replace(LIMITS, threshold=0.02)).status is PASSED
    assert judged(reading(0.02), limits=replace(LIMITS, threshold=0.02)).status is FAILED


def test_a_percentage_is_written_for_people() -> None:
    """Fractions inside, percent in text, and unknown stays unknown."""
    assert [percent(rate) for rate in (0.0312, 0.0, 1.0, None)] == ["3.12 %", "0.00 %", "100.00 %", "unknown"]


def test_a_rate_is_read_from_sentry(clock: FakeClock) -> None:
    """The window asked for is the window judged."""
    row = {METRIC: 0.004, "count()": 600}
    found = read_rate(
        sentry_of(Platform([ok({"data": [row]})]), clock), BEGAN, BEGAN + timedelta(seconds=300)
    )
    assert isinstance(found, RateReading)
    assert (found.rate, found.count) == (0.004, 600)
    assert judged(found).status is PASSED


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        ok({"detail": "no"}, 403),
        ok({"detail": "no"}, 500),
        httpx.Response(200, text="<html>"),
    ],
    ids=["down", "forbidden", "broken", "not JSON"],
)
def test_a_sentry_that_cannot_be_asked_is_words_not_an_exception(
    clock: FakeClock, answer: httpx.Response | Exception
) -> None:
    """What could not be read comes back as the reason."""
    found = read_rate(sentry_of(Platform([answer]), clock), BEGAN, BEGAN + timedelta(seconds=300))
    assert isinstance(found, str)
    assert found.startswith("sentry: GET")
    assert judged(found).status is UNKNOWN


# Health and pages


@pytest.mark.parametrize(
    ("answer", "status", "seen"),
    [
        (ok({"status": "ok"}), PASSED, "HTTP 200"),
        (httpx.Response(204), FAILED, "HTTP 204"),
        (httpx.Response(301, headers={"location": "/login"}), FAILED, "HTTP 301"),
        (httpx.Response(401), FAILED, "HTTP 401"),
        (httpx.Response(503), FAILED, "HTTP 503"),
    ],
    ids=["200", "204", "301", "401", "503"],
)
def test_health_passes_with_200_only(
    clock: FakeClock, answer: httpx.Response, status: CheckStatus, seen: str
) -> None:
    """The plan says 200 OK, and means it."""
    check = check_health(app_of(Platform([answer]), clock), "P1.C2", "Health endpoint returns 200 OK")
    assert (check.status, check.seen, check.wanted) == (status, seen, "200 OK")
    assert check.source == "GET https://derrimut247.drill/api/health"
    assert (check.id, check.title, check.required) == ("P1.C2", "Health endpoint returns 200 OK", True)


def test_an_app_that_does_not_answer_has_failed(clock: FakeClock) -> None:
    """No answer on the public address is what its visitors get, too."""
    app = app_of(Platform([httpx.ConnectError("[Errno 111] Connection refused")]), clock)
    check = check_health(app, "P1.C2", "health")
    assert check.status is FAILED
    assert "Connection refused" in check.seen
    page = check_page(app, "P1.C4.1", "User login", "/sign-in", "Sign in to Derrimut")
    assert page.status is FAILED
    assert "Connection refused" in page.seen


@pytest.mark.parametrize(
    ("answer", "status", "seen"),
    [
        (httpx.Response(200, text="<h1>Sign in to Derrimut</h1>"), PASSED, "HTTP 200, text found"),
        (httpx.Response(200, text="<h1>Something went wrong</h1>"), FAILED, "HTTP 200, text missing"),
        (httpx.Response(200), FAILED, "HTTP 200, text missing"),
        (httpx.Response(500, text="<h1>Sign in to Derrimut</h1>"), FAILED, "HTTP 500, text found"),
        (httpx.Response(404, text="not found"), FAILED, "HTTP 404, text missing"),
    ],
    ids=["well", "an error page with 200", "empty", "the text with 500", "404"],
)
def test_a_page_passes_with_its_marker_and_200_together_only(
    clock: FakeClock, answer: httpx.Response, status: CheckStatus, seen: str
) -> None:
    """Neither the status nor the text alone shows that the flow works."""
    app = app_of(Platform([answer]), clock)
    check = check_page(app, "P1.C4.1", "User login", "/sign-in", "Sign in to Derrimut")
    assert (check.status, check.seen) == (status, seen)
    assert (check.wanted, check.source) == ("200 with the text 'Sign in to Derrimut'", "GET /sign-in")


# Side by side


def test_jobs_run_at_the_same_time_and_answer_in_their_order() -> None:
    """Each waits for all the others: one after the other, this would never end."""
    together = threading.Barrier(4, timeout=5)

    def job(number: int) -> int:
        together.wait()
        return number

    assert side_by_side([partial(job, number) for number in range(4)]) == [0, 1, 2, 3]


def test_no_jobs_are_no_results() -> None:
    """Nothing to look at is fine."""
    assert side_by_side([]) == []


def test_the_first_jobs_exception_is_raised_after_all_have_ended() -> None:
    """A job that fails hides none of the others' work, and its own error is the one that is seen."""
    ended: list[str] = []

    def fails() -> str:
        raise Unreachable("Vercel is down", "unchanged", "wait")

    def goes_on() -> str:
        ended.append("second")
        return "second"

    with pytest.raises(Unreachable, match="Vercel is down"):
        side_by_side([fails, goes_on])
    assert ended == ["second"]
