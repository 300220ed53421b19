"""The Sentry client: one metric, no data never taken for zero, a deploy marked once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stamina
from conftest import BEGAN, FakeClock
from http_fakes import Pass, Platform, door, ok, unanswered, unconnected
from pydantic import SecretStr

from rollback_lib.errors import NotApplied, OutcomeUnknown, PlanViolation, Unreachable
from rollback_lib.http import Service
from rollback_lib.model import RequestClass
from rollback_lib.providers.sentry import SENTRY_RULES, RatePoint, SentryClient

TOKEN = "sentry-token-77aa"
START, END = datetime(2026, 11, 23, 21, 40, tzinfo=UTC), datetime(2026, 11, 23, 21, 50, tzinfo=UTC)
HTTP_5XX, FAILURE = "http_response_rate(5)", "failure_rate()"
ROW = {"count()": 8421, HTTP_5XX: 0.031, "p95(span.duration)": 3180.25}
DEPLOYS = "/api/0/organizations/derrimut/releases/web%401.4.1/deploys/"
RELEASES = "/api/0/organizations/derrimut/releases/"


@pytest.fixture(autouse=True)
def _retries() -> None:
    """Retries are on here; the suite's own fixture puts them back."""
    stamina.set_active(True)


@dataclass(frozen=True)
class Settings:
    """Which project, by which measure."""

    organization: str = "derrimut"
    project: str = "web"
    environment: str = "production"
    error_metric: str = HTTP_5XX


def client(*script: Any, metric: str = HTTP_5XX) -> tuple[SentryClient, Platform, FakeClock]:
    """Make a client of a platform that answers from a script."""
    platform, clock = Platform(list(script)), FakeClock()
    headers = (("authorization", SecretStr(f"Bearer {TOKEN}")),)
    service = Service(
        "sentry", "https://us.sentry.test", SENTRY_RULES, headers, "environment variable SENTRY_AUTH_TOKEN"
    )
    return SentryClient(door(service, platform, clock), Settings(error_metric=metric), clock), platform, clock


def table(*rows: Any, **more: Any) -> httpx.Response:
    """Make an answer of events/."""
    return ok({"data": list(rows), "meta": {"dataset": "spans"}} | more)


# Error rate


def test_error_rate_asks_one_question_and_reads_its_row():
    """Rate, count and latency come from the same rows, of root server spans of this project and environment."""
    sentry, platform, _ = client(table(ROW))
    reading = sentry.error_rate(START, END)
    assert platform.lines == ["GET /api/0/organizations/derrimut/events/"]
    assert platform.query() == [
        ("dataset", "spans"),
        ("field", "count()"),
        ("field", HTTP_5XX),
        ("field", "p95(span.duration)"),
        ("query", "is_transaction:true span.op:http.server"),
        ("start", "2026-11-23T21:40:00"),
        ("end", "2026-11-23T21:50:00"),
        ("project", "web"),
        ("environment", "production"),
        ("per_page", "1"),
    ]
    assert b"count%28%29" in platform.last.url.query
    assert (reading.rate, reading.count, reading.failures, reading.p95_ms) == (0.031, 8421, None, 3180.25)
    assert (reading.start, reading.end, reading.metric, reading.note) == (START, END, HTTP_5XX, "")


def test_failure_rate_also_asks_for_the_failures():
    """With that metric Sentry counts the numerator too."""
    row = {"count()": 8421, "failure_count()": 261, FAILURE: 0.031, "p95(span.duration)": 3180.25}
    sentry, platform, _ = client(table(row), metric=FAILURE)
    reading = sentry.error_rate(START, END, release='web@1.4.2"x')
    assert (reading.rate, reading.failures) == (0.031, 261)
    assert [text for name, text in platform.query() if name == "field"] == [
        "count()",
        "failure_count()",
        FAILURE,
        "p95(span.duration)",
    ]
    assert ("query", 'is_transaction:true span.op:http.server release:"web@1.4.2\\"x"') in platform.query()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [{"count()": None, HTTP_5XX: None, "p95(span.duration)": None}],
        [{"count()": 0, HTTP_5XX: 0, "p95(span.duration)": 0}],
        [{"count()": "0", HTTP_5XX: 0.0}],
    ],
)
def test_empty_window_in_any_shape_has_no_rate(rows):
    """No requests is no data, never 0 %."""
    sentry, _, _ = client(table(*rows))
    reading = sentry.error_rate(START, END)
    assert (reading.rate, reading.count) == (None, 0)
    assert "no requests" in reading.note


@pytest.mark.parametrize("value", [None, "x", 3.1, -0.1, float("nan"), True])
def test_rate_that_is_no_fraction_is_no_rate(value):
    """A value of another kind than promised is not judged, and the reading says so."""
    row = {"count()": 500, HTTP_5XX: value}
    content = __import__("json").dumps({"data": [row]})
    sentry, _, _ = client(httpx.Response(200, text=content))
    reading = sentry.error_rate(START, END)
    assert (reading.rate, reading.count) == (None, 500)
    assert HTTP_5XX in reading.note


@pytest.mark.parametrize(("value", "rate"), [(0, 0.0), (1, 1.0), ("0.5", 0.5), (0.0, 0.0)])
def test_rate_at_the_ends_of_its_range_is_a_rate(value, rate):
    """Zero of many is a good rate, all of many a bad one; numbers may come as text."""
    sentry, _, _ = client(table({"count()": "500", HTTP_5XX: value}))
    reading = sentry.error_rate(START, END)
    assert (reading.rate, reading.count, reading.p95_ms) == (rate, 500, None)


def test_window_is_whole_seconds_inside_the_one_asked_for():
    """The start is rounded up and the end down: nothing before a rollback gets into a window after it."""
    sentry, platform, _ = client(table(ROW))
    reading = sentry.error_rate(START + timedelta(seconds=0.2), END + timedelta(seconds=0.9))
    assert (reading.start, reading.end) == (START + timedelta(seconds=1), END)
    assert ("start", "2026-11-23T21:40:01") in platform.query()
    assert ("end", "2026-11-23T21:50:00") in platform.query()


@pytest.mark.parametrize("length", [timedelta(0), timedelta(seconds=0.9), timedelta(seconds=-5)])
def test_window_of_no_length_is_not_asked_for(length):
    """There is nothing in it, and Sentry would refuse it."""
    sentry, platform, _ = client(table(ROW))
    assert sentry.error_rate(START, START + length).rate is None
    assert platform.seen == []


def test_times_of_another_zone_are_sent_as_utc():
    """Sentry reads a time without a zone as UTC."""
    zone = __import__("zoneinfo").ZoneInfo("Australia/Melbourne")
    sentry, platform, _ = client(table(ROW))
    sentry.error_rate(START.astimezone(zone), END.astimezone(zone))
    assert ("start", "2026-11-23T21:40:00") in platform.query()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"confidence": [{HTTP_5XX: "low"}]}, "confidence low"),
        ({"meta": {"accuracy": {"confidence": [{HTTP_5XX: "low"}]}}}, "confidence low"),
        ({"meta": {"dataScanned": "partial"}}, "part of the data"),
        ({"confidence": [{}], "meta": {"accuracy": {"confidence": None}, "dataScanned": "full"}}, ""),
    ],
)
def test_doubts_that_sentry_tells_are_noted(more, words):
    """A rate out of few samples is a rate, with a note and the doubt that keeps it from counting."""
    sentry, _, _ = client(table(ROW, **more))
    reading = sentry.error_rate(START, END)
    assert reading.rate == 0.031
    assert words in reading.note
    assert reading.note == reading.doubt
    assert bool(reading.doubt) is bool(words)


def test_statuses_counted_out_of_a_part_of_the_data_are_doubtful():
    """Any page of the way around may say that it did not look at everything."""
    rows = table({"span.status": "ok", "count()": 100}, meta={"dataScanned": "partial"})
    sentry, _, _ = client(ok({}, 500), rows, metric="failure_rate()")
    reading = sentry.error_rate(START, END)
    assert reading.rate == 0.0
    assert "part of the data" in reading.doubt
    assert "counted by span.status" in reading.note
    assert "counted by span.status" not in reading.doubt


def test_failure_rate_that_answers_500_is_counted_by_status():
    """The documented way around: statuses one by one, over all pages, by the same definition."""
    first = table(
        {"span.status": "ok", "count()": 8160},
        {"span.status": None, "count()": 39},
        {"span.status": "internal_error", "count()": 200},
    )
    first.headers["link"] = (
        '<https://x/?cursor=0:0:1>; rel="previous"; results="false"; cursor="0:0:1", '
        '<https://x/?cursor=0:100:0>; rel="next"; results="true"; cursor="0:100:0"'
    )
    second = table(
        {"span.status": "not_found", "count()": "61"},
        {"span.status": "unknown", "count()": 40},
        {"span.status": "cancelled", "count()": 0},
    )
    second.headers["link"] = '<https://x/>; rel="next"; results="false"; cursor="0:200:0"'
    sentry, platform, _ = client(ok({"detail": "Internal Error"}, 500), first, second, metric=FAILURE)
    reading = sentry.error_rate(START, END, release="web@1")
    assert (reading.count, reading.failures) == (8500, 261)
    assert reading.rate == pytest.approx(261 / 8500)
    assert reading.p95_ms is None
    assert "500" in reading.note
    assert len(platform.seen) == 3
    assert [text for name, text in platform.query(1) if name == "field"] == ["span.status", "count()"]
    assert ("query", 'is_transaction:true span.op:http.server release:"web@1"') in platform.query(1)
    assert ("cursor", "0:100:0") in platform.query(2)


def test_way_around_of_an_empty_window_has_no_rate():
    """0 of 0 is no data there too."""
    sentry, _, _ = client(ok({}, 500), table(), metric=FAILURE)
    reading = sentry.error_rate(START, END)
    assert (reading.rate, reading.count) == (None, 0)


def test_other_metric_that_answers_500_is_unreachable():
    """Another definition would be another number: there is no way around, only retries."""
    sentry, platform, _ = client(ok({"detail": "Internal Error"}, 500))
    with pytest.raises(Unreachable, match="Internal Error"):
        sentry.error_rate(START, END)
    assert len(platform.seen) == 4


@pytest.mark.parametrize(
    "answer", [ok({"detail": "x"}), ok([1]), httpx.Response(200, text="<html>"), httpx.Response(200)]
)
def test_answer_without_a_table_is_unreachable(answer):
    """No table is not an empty table."""
    sentry, _, _ = client(answer)
    with pytest.raises(Unreachable):
        sentry.error_rate(START, END)


def test_limit_without_retry_after_and_json_is_waited_out():
    """Sentry's 429 names its reset in a header of its own."""
    reset = str(int(BEGAN.timestamp()) + 2)
    limited = httpx.Response(
        429, text='{"detail":"too frequently"}', headers={"x-sentry-rate-limit-reset": reset}
    )
    sentry, _, clock = client(limited, table(ROW))
    assert sentry.error_rate(START, END).rate == 0.031
    assert clock.slept == [2]


# Series


def line(axis: str, *values: tuple[int, Any, bool]) -> dict[str, Any]:
    """Draw one axis."""
    return {
        "yAxis": axis,
        "meta": {"interval": 60000},
        "values": [
            {"timestamp": at, "value": value, "incomplete": incomplete} for at, value, incomplete in values
        ],
    }


@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
def test_series_drops_what_is_incomplete_and_reads_either_unit_of_time(unit):
    """A bucket still being filled says nothing; one without requests has no rate."""
    began = int(START.timestamp())
    rates = line(
        HTTP_5XX,
        (began * unit, 0.012, False),
        ((began + 60) * unit, 0.0, False),
        ((began + 120) * unit, 0.5, True),
    )
    counts = line(
        "count()",
        (began * unit, 812, False),
        ((began + 60) * unit, 0, False),
        ((began + 120) * unit, 4, True),
    )
    sentry, platform, _ = client(ok({"meta": {}, "timeSeries": [counts, rates]}))
    points = sentry.series(START, END, 60)
    assert points == (RatePoint(START, 0.012, 812), RatePoint(START + timedelta(seconds=60), None, 0))
    assert platform.lines == ["GET /api/0/organizations/derrimut/events-timeseries/"]
    query = platform.query()
    assert [text for name, text in query if name == "yAxis"] == [HTTP_5XX, "count()"]
    assert {("interval", "60"), ("start", "2026-11-23T21:40:00"), ("end", "2026-11-23T21:50:00")} <= set(
        query
    )


@pytest.mark.parametrize(
    "body", [{}, {"timeSeries": None}, {"timeSeries": []}, {"timeSeries": [{"yAxis": HTTP_5XX}, 3]}]
)
def test_series_of_nothing_is_empty(body):
    """Nothing drawn: no points."""
    sentry, _, _ = client(ok(body))
    assert sentry.series(START, END, 60) == ()


def test_series_with_odd_points_keeps_the_good_ones():
    """A point without time is left out, one without value is no evidence."""
    sentry, _, _ = client(
        ok(
            {
                "timeSeries": [
                    line(HTTP_5XX, (None, 1, False), (1795470600, None, False), (1795470660, 0.2, False))
                ]
            }
        )
    )
    assert [(point.rate, point.count) for point in sentry.series(START, END, 60)] == [
        (None, None),
        (0.2, None),
    ]


# Issues


def test_issues_since_an_instant_are_listed():
    """Counts come as text; what was last seen before the instant is left out."""
    raw = {
        "id": "1",
        "shortId": "WEB-1",
        "title": "TypeError",
        "culprit": "GET /membership",
        "level": "error",
        "status": "unresolved",
        "count": "150",
        "userCount": 12,
        "firstSeen": "2026-11-23T21:00:00Z",
        "lastSeen": "2026-11-23T21:55:00.123Z",
        "permalink": "https://sentry.test/1",
    }
    old = raw | {"id": "2", "lastSeen": "2026-11-23T20:00:00Z"}
    bare = {"id": 3}
    sentry, platform, _ = client(ok([raw, old, bare]))
    first, last = sentry.issues("is:unresolved", BEGAN - timedelta(minutes=30, seconds=1))
    assert (first.short_id, first.count, first.users, first.level) == ("WEB-1", 150, 12, "error")
    assert first.last_seen == datetime(2026, 11, 23, 21, 55, 0, 123000, tzinfo=UTC)
    assert (last.id, last.count, last.last_seen) == ("3", 0, None)
    assert {("query", "is:unresolved"), ("sort", "freq"), ("limit", "25"), ("statsPeriod", "31m")} <= set(
        platform.query()
    )


# Marking a deploy


def mark(sentry: SentryClient, permit: Pass | None) -> Any:
    """Mark a rollback on release web@1.4.1."""
    return sentry.mark_deploy(
        "web@1.4.1", "production", "rollback INC-42", "https://vercel.test/dpl_x", permit
    )


MARKED = {"id": "98765", "environment": "production", "name": "rollback INC-42"}


def test_deploy_is_marked_once_listed():
    """The list is read first, then the mark is written down and sent to the encoded release."""
    sentry, platform, _ = client(ok([MARKED | {"name": "deploy 7"}]), ok(MARKED, 201))
    permit = Pass(RequestClass.PREPARE, platform.events)
    found = mark(sentry, permit)
    assert (found.id, found.already) == ("98765", False)
    assert platform.lines == [f"GET {DEPLOYS}", f"POST {DEPLOYS}"]
    assert platform.body() == {
        "environment": "production",
        "name": "rollback INC-42",
        "url": "https://vercel.test/dpl_x",
    }
    assert [name for name, _ in platform.events] == ["seen", "admit", "seen", "answered"]


def test_deploy_that_is_marked_already_is_not_marked_again():
    """There is no idempotency key: the list is."""
    sentry, platform, _ = client(ok([MARKED]))
    permit = Pass(RequestClass.PREPARE)
    found = mark(sentry, permit)
    assert (found.id, found.already) == ("98765", True)
    assert permit.events == []
    assert platform.lines == [f"GET {DEPLOYS}"]


@pytest.mark.parametrize("status", [201, 208])
def test_release_that_is_not_known_is_made_first(status):
    """Both new and already there are fine."""
    sentry, platform, _ = client(
        ok({"detail": "gone"}, 404), ok({"version": "web@1.4.1"}, status), ok(MARKED, 201)
    )
    permit = Pass(RequestClass.PREPARE)
    assert mark(sentry, permit).already is False
    assert platform.lines == [f"GET {DEPLOYS}", f"POST {RELEASES}", f"POST {DEPLOYS}"]
    assert platform.body(1) == {"version": "web@1.4.1", "projects": ["web"]}
    assert permit.order == ["admit", "answered"] * 2


def test_long_names_are_cut_before_they_are_compared():
    """Sentry keeps 64 characters: the second mark must find the first."""
    name = "rollback " + "x" * 100
    sentry, platform, _ = client(ok([MARKED | {"name": name[:64]}]))
    assert sentry.mark_deploy("web@1.4.1", "production", name, "", Pass(RequestClass.PREPARE)).already is True
    sentry, platform, _ = client(ok([]), ok(MARKED, 201))
    sentry.mark_deploy("web@1.4.1", "production", name, "", Pass(RequestClass.PREPARE))
    assert platform.body() == {"environment": "production", "name": name[:64]}


def test_refused_mark_is_not_applied():
    """A body error is told in Sentry's words."""
    sentry, _, _ = client(ok([]), ok({"environment": ["This field is required."]}, 400))
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(NotApplied, match="This field is required"):
        mark(sentry, permit)
    assert permit.kinds == ["refused"]


@pytest.mark.parametrize("fault", unanswered(), ids=repr)
def test_mark_without_answer_is_outcome_unknown(fault):
    """It may be marked; the next call lists first."""
    sentry, platform, _ = client(ok([]), fault, ok(MARKED, 201))
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(OutcomeUnknown):
        mark(sentry, permit)
    assert permit.kinds == ["unclear"]
    assert len(platform.seen) == 2


def test_mark_without_id_is_outcome_unknown():
    """A success that names no deploy is none to rely on."""
    sentry, _, _ = client(ok([]), httpx.Response(201))
    with pytest.raises(OutcomeUnknown):
        mark(sentry, Pass(RequestClass.PREPARE))


@pytest.mark.parametrize("fault", unconnected(), ids=lambda fault: type(fault).__name__)
def test_mark_without_connection_has_not_left(fault):
    """Nothing was marked."""
    sentry, _, _ = client(ok([]), fault)
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(Unreachable):
        mark(sentry, permit)
    assert permit.kinds == ["not_sent"]


def test_limited_mark_is_admitted_again():
    """429, wait until the reset, written down again."""
    reset = str(int(BEGAN.timestamp()) + 3)
    limited = httpx.Response(429, text="slow down", headers={"x-sentry-rate-limit-reset": reset})
    sentry, _, clock = client(ok([]), limited, ok(MARKED, 201))
    permit = Pass(RequestClass.PREPARE)
    mark(sentry, permit)
    assert permit.order == ["admit", "answered"] * 2
    assert permit.kinds == ["refused", "accepted"]
    assert clock.slept == [3]


@pytest.mark.parametrize("leave", [None, RequestClass.READ])
def test_mark_with_weak_permit_sends_nothing(leave):
    """Only the list is read."""
    sentry, platform, _ = client(ok([]), ok(MARKED, 201))
    permit = Pass(leave) if leave is not None else None
    with pytest.raises(PlanViolation):
        mark(sentry, permit)
    assert platform.lines == [f"GET {DEPLOYS}"]
    assert permit is None or permit.events == []


def test_token_is_in_no_message():
    """Whatever fails, the token is not told."""
    sentry, _, _ = client(ok({"detail": {"code": "denied", "message": TOKEN}}, 403))
    with pytest.raises(Unreachable) as caught:
        sentry.error_rate(START, END)
    assert TOKEN not in f"{caught.value}{caught.value!r}"
    assert "SENTRY_AUTH_TOKEN" in caught.value.next_step


# What the token and the project are


@pytest.mark.parametrize(
    ("auth", "scopes"),
    [
        ({"scopes": ["org:read", "event:read"]}, frozenset({"org:read", "event:read"})),
        ({"scopes": []}, frozenset()),
        ({}, None),
        (None, None),
    ],
)
def test_scopes_are_read_from_the_root(auth, scopes):
    """Where Sentry does not say them they are not known, which is not the same as none."""
    sentry, platform, _ = client(ok({"version": "0", "auth": auth, "user": None}))
    assert sentry.scopes() == scopes
    assert platform.lines == ["GET /api/0/"]


def test_environments_are_those_of_the_project_or_of_the_organization():
    """Hidden ones count too: an incident does not ask who tidied up."""
    answer = ok([{"id": "1", "name": "production", "isHidden": True}, {"id": "2", "name": "preview"}])
    sentry, platform, _ = client(answer)
    assert sentry.environments() == ("production", "preview")
    assert platform.query() == [("visibility", "all")]
    assert sentry.environments(of_project=False) == ("production", "preview")
    assert platform.lines == [
        "GET /api/0/projects/derrimut/web/environments/",
        "GET /api/0/organizations/derrimut/environments/",
    ]
