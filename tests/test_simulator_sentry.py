"""The simulated Sentry keeps the monitoring's contract; section numbers are those of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from in_process import client_of

from rollback_lib.simulator import sentry
from rollback_lib.simulator.spans import Span, status_of
from rollback_lib.simulator.spec import WorldSpec
from rollback_lib.simulator.switches import SentrySpec

NOW_MS = 1_795_471_500_000  # 2026-11-23T22:05:00Z, a whole minute
ORG = "/api/0/organizations/derrimut"
ROOT = "is_transaction:true span.op:http.server"
ALL_SCOPES = frozenset({"org:read", "event:read", "project:read", "project:releases"})
GOOD, BAD = "web@1.4.1", "web@1.4.2"


class FakeWorld:
    """A world of given spans, whose clock stands still until it is moved."""

    def __init__(self, switches: SentrySpec | None = None, lag_s: float = 1.0) -> None:
        self.spec = WorldSpec(ingest_lag_s=lag_s, sentry=switches or SentrySpec())
        self.now = NOW_MS
        self.served: list[Span] = []
        self.tokens = {"Bearer good": ALL_SCOPES}
        self.sentry = sentry.SentryState(self.spec)
        self.asked: list[tuple[int, int]] = []

    def now_ms(self) -> int:
        return self.now

    def spans(self, since_ms: int, until_ms: int) -> list[Span]:
        self.asked.append((since_ms, until_ms))
        found = [span for span in self.served if since_ms <= span.ts_ms < min(until_ms, self.now)]
        return sorted(found, key=lambda span: span.ts_ms)

    def token_scopes(self, authorization: str | None, service: str) -> frozenset[str] | None:
        assert service == "sentry"
        return self.tokens.get(authorization or "")


def span(ago_s: float = 60, **but: Any) -> Span:
    """Give one request of so long ago."""
    code = but.get("http_status", 200)
    facts: dict[str, Any] = {
        "ts_ms": NOW_MS - round(ago_s * 1000),
        "duration_ms": 100.0,
        "op": "http.server",
        "is_transaction": True,
        "status": None if code is None else status_of(code),
        "http_status": code,
        "environment": "production",
        "release": BAD,
        "project": "web",
        "transaction": "GET /membership",
        "user": None,
    }
    return Span(**{**facts, **but})


def spread(count: int, ago_s: float = 300, **but: Any) -> list[Span]:
    """Give that many requests, a tenth of a second apart, ending before `ago_s`."""
    return [span(ago_s + index / 10, **but) for index in range(count)]


def sentry_instant(ms: int) -> str:
    """Write an instant as a client would."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Sentry:
    """A world and a client of its monitoring."""

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.client = client_of(sentry.make_app(world), Authorization="Bearer good")

    def get(self, path: str, *pairs: tuple[str, str]) -> httpx.Response:
        return self.client.get(f"{ORG}/{path}", params=list(pairs))

    def table(self, *fields: str, query: str = ROOT, **params: str) -> httpx.Response:
        asked = {
            "dataset": "spans",
            "query": query,
            "statsPeriod": "10m",
            "environment": "production",
            **params,
        }
        return self.get(
            "events/", *(("field", field) for field in fields), *((k, v) for k, v in asked.items() if v != "")
        )

    def row(self, *fields: str, **params: str) -> dict[str, Any]:
        (row,) = self.rows(*fields, **params)
        return row

    def rows(self, *fields: str, **params: str) -> list[dict[str, Any]]:
        response = self.table(*fields, **params)
        assert response.status_code == 200, response.text
        return response.json()["data"]


@pytest.fixture
def build() -> Callable[..., Sentry]:
    """Give a maker of worlds from their spans."""

    def made(spans: Iterable[Span] = (), switches: SentrySpec | None = None, lag_s: float = 1.0) -> Sentry:
        world = FakeWorld(switches, lag_s)
        world.served = list(spans)
        return Sentry(world)

    return made


# --- the table -------------------------------------------------------------------------------------------


def test_table_call_answers_the_documented_shape(build):
    """§2: literal keys, a ratio for the rate, milliseconds, and types and units beside them."""
    api = build([*spread(970), *spread(30, http_status=500)])
    answer = api.table(
        "count()", "failure_count()", "failure_rate()", "p95(span.duration)", per_page="1"
    ).json()
    assert answer["data"] == [
        {"count()": 1000, "failure_count()": 30, "failure_rate()": 0.03, "p95(span.duration)": 100.0}
    ]
    meta = answer["meta"]
    assert meta["fields"] == {
        "count()": "integer",
        "failure_count()": "integer",
        "failure_rate()": "percentage",
        "p95(span.duration)": "duration",
    }
    assert meta["units"] == {
        "count()": None,
        "failure_count()": None,
        "failure_rate()": None,
        "p95(span.duration)": "millisecond",
    }
    assert meta["accuracy"] == {"confidence": [{}]}
    assert answer["confidence"] == [{}]
    assert (meta["dataset"], meta["dataScanned"], meta["datasetReason"]) == ("spans", "full", "unchanged")


def test_failures_follow_the_status_and_lost_ones_stay_in_the_denominator(build):
    """§2: ok, cancelled and unknown are no failures, 404 is one, a span without status only counts as a span."""
    statuses = ["ok", "cancelled", "unknown", "not_found", "internal_error", None]
    api = build(span(status=status) for status in statuses)
    row = api.row("count()", "failure_count()", "failure_rate()")
    assert row == {"count()": 6, "failure_count()": 2, "failure_rate()": pytest.approx(1 / 3)}


def test_response_rate_counts_only_spans_with_a_code(build):
    """§2: spans with a 5xx over spans that have a status code; 404 belongs to class 4."""
    api = build([span(http_status=200), span(http_status=404), span(http_status=503), span(http_status=None)])
    row = api.row("count()", "http_response_rate(5)", "http_response_rate(4)", "http_response_rate(1)")
    third = pytest.approx(1 / 3)
    assert row == {
        "count()": 4,
        "http_response_rate(5)": third,
        "http_response_rate(4)": third,
        "http_response_rate(1)": 0.0,
    }


def test_durations_are_summarised_by_quantile(build):
    """§2: p50 to p100, average and maximum of the durations in milliseconds."""
    api = build(span(duration_ms=float(number)) for number in range(1, 102))
    row = api.row(
        *(f"{name}(span.duration)" for name in ("p50", "p75", "p90", "p95", "p99", "p100", "avg", "max"))
    )
    assert list(row.values()) == pytest.approx([51, 76, 91, 96, 100, 101, 51, 101])


def test_quantile_between_two_durations_is_interpolated(build):
    """§2: a quantile is a float, not one of the durations."""
    api = build(span(duration_ms=float(number)) for number in range(1, 101))
    assert api.row("p95(span.duration)") == {"p95(span.duration)": pytest.approx(95.05)}


def test_counts_per_time_and_of_people(build):
    """§2: epm and eps divide by the window; §3: count_unique leaves out requests without a user."""
    users = ["a", "a", "b", None] * 30
    api = build(span(ago_s=10 + index, user=user) for index, user in enumerate(users))
    row = api.row("epm()", "eps()", "count_unique(user)")
    assert row == {"epm()": pytest.approx(12), "eps()": pytest.approx(0.2), "count_unique(user)": 2}


def test_equation_is_keyed_by_its_own_text(build):
    """§2: error percent by the server, under the literal equation."""
    api = build([*spread(98), *spread(2, http_status=500)])
    label = "equation|failure_rate() * 100"
    assert api.row(label) == {label: pytest.approx(2.0)}


def test_functions_are_grouped_by_the_keys_beside_them(build):
    """§2: the fallback, counts by status, among them the rows of spans without one."""
    api = build([*spread(3), *spread(2, http_status=500), span(http_status=None)])
    rows = api.rows("span.status", "count()", sort="-count()")
    assert rows == [
        {"span.status": "ok", "count()": 3},
        {"span.status": "internal_error", "count()": 2},
        {"span.status": None, "count()": 1},
    ]


def test_keys_alone_list_the_spans_themselves(build):
    """§3: without a function each span is a row, the newest first."""
    api = build([span(90, transaction="GET /old"), span(30, transaction="GET /new")])
    assert api.rows("transaction") == [{"transaction": "GET /new"}, {"transaction": "GET /old"}]


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("is_transaction:true", 4),
        ("is_transaction:false", 1),
        ("span.op:http.server", 4),
        ("!span.op:http.server", 1),
        (f'release:"{GOOD}"', 1),
        (f'!release:"{GOOD}"', 4),
        ('transaction:"GET /api/checkout"', 1),
        ("transaction:*checkout", 1),
        ('transaction:"GET [x]*"', 1),
        ("transaction:[GET*, nothing]", 0),
        ("span.status:internal_error", 1),
        ("span.status:[internal_error, not_found]", 2),
        ("!span.status:ok", 3),
        ("has:span.status", 4),
        ("!has:span.status", 1),
        ("span.status_code:500", 1),
        ("span.duration:>500", 1),
        ("span.duration:<=0.1s", 4),
        ("span.status:ok span.duration:>500", 1),
        ("", 5),
    ],
    ids=str,
)
def test_query_terms_choose_the_spans(build, query, seen):
    """§2: terms, all of which hold, with negation, quotes, lists and comparisons."""
    api = build(
        [
            span(release=GOOD, transaction="GET [x] y"),
            span(http_status=500, transaction="GET /api/checkout"),
            span(http_status=404),
            span(http_status=200, duration_ms=900.0),
            span(http_status=None, op="db", is_transaction=False),
        ]
    )
    assert api.row("count()", query=query) == {"count()": seen}


def test_window_of_start_and_end_holds_its_start_only(build):
    """§3: start and end are UTC, with or without a zone; the window is half open."""
    api = build([span(120), span(60), span(60.001)])
    start, end = "2026-11-23T22:03:00", "2026-11-23T22:04:00Z"
    assert sentry_instant(NOW_MS - 120_000) == start
    assert api.row("count()", statsPeriod="", start=start, end=end) == {"count()": 2}


def test_stats_period_overrides_start_and_end(build):
    """§3: with both given, the period counts; without a unit it is seconds."""
    api = build([span(20), span(50)])
    start, end = sentry_instant(NOW_MS - 3_600_000), sentry_instant(NOW_MS)
    assert api.row("count()", statsPeriod="30", start=start, end=end) == {"count()": 1}
    assert api.row("count()", statsPeriod="1m", start=start, end=end) == {"count()": 2}


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ({"statsPeriod": "10x"}, "Invalid statsPeriod: '10x'"),
        ({"statsPeriod": "10M"}, "Invalid statsPeriod: '10M'"),
        ({"statsPeriod": "", "start": "2026-11-23T22:03:00"}, "start and end are both required"),
        ({"statsPeriod": "", "end": "2026-11-23T22:03:00"}, "start and end are both required"),
        (
            {"statsPeriod": "", "start": "2026-11-23T22:03:00", "end": "2026-11-23T22:00:00"},
            "start must be before end",
        ),
    ],
    ids=str,
)
def test_bad_windows_are_refused_in_the_documented_words(build, params, detail):
    """§9: 400 with the sentence."""
    response = build().table("count()", **params)
    assert (response.status_code, response.json()) == (400, {"detail": detail})


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        (["nonsense()"], {}),
        (["count"], {}),
        (["p95(span.status)"], {}),
        (["http_response_rate(6)"], {}),
        (["count_unique(nothing)"], {}),
        (["equation|failure_rate()"], {}),
        ([], {}),
        ([f"tags[t{number},string]" for number in range(21)], {}),
        (["count()"], {"dataset": "transactions"}),
        (["count()"], {"dataset": ""}),
        (["count()"], {"sort": "-failure_rate()"}),
        (["count()"], {"per_page": "101"}),
        (["count()"], {"per_page": "0"}),
        (["count()"], {"cursor": "x"}),
        (["count()"], {"query": "just words"}),
        (["count()"], {"query": "nokey:1"}),
        (["count()"], {"query": "is_transaction:perhaps"}),
        (["count()"], {"query": "span.duration:long"}),
        (["count()"], {"statsPeriod": "", "start": "soon", "end": "later"}),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(build, fields, params):
    """§3, §9, §10: unknown dataset, field, sort, page size or term is a 400 with a detail, never an empty row."""
    response = build([span()]).table(*fields, **params)
    assert response.status_code == 400
    assert isinstance(response.json()["detail"], str)


def test_environments_and_projects_narrow_the_rows(build):
    """§1, §3: both repeat; a project is an id or a slug, and -1 is all of them."""
    api = build([span(), span(environment="preview"), span(project="admin"), span(environment="staging")])

    def count(*pairs: tuple[str, str]) -> int:
        asked = [("dataset", "spans"), ("field", "count()"), ("statsPeriod", "10m"), *pairs]
        return api.get("events/", *asked).json()["data"][0]["count()"]

    assert count() == 4
    assert count(("environment", "production"), ("environment", "preview")) == 3
    assert count(("project", "4509")) == count(("project", "web")) == 3
    assert count(("project", "web"), ("project", "admin")) == count(("project", "-1")) == 4


def test_foreign_project_is_forbidden(build):
    """§9: a project that the caller cannot see is a 403."""
    for project in ("999", "nobodys"):
        assert build().table("count()", project=project).status_code == 403


def test_older_server_takes_no_project_slug(build):
    """§1: only newer servers take a slug."""
    api = build([span()], SentrySpec(project_slugs=False))
    assert api.table("count()", project="web").status_code == 400
    assert api.row("count()", project="4509") == {"count()": 1}


def test_pages_are_linked_until_there_are_no_more_results(build):
    """§3: the Link header carries the next cursor, and `results="false"` on the last page."""
    api = build(span(transaction=f"GET /{number}") for number in range(5))
    first = api.table("transaction", "count()", per_page="2", sort="transaction")
    assert 'rel="next"; results="true"; cursor="0:2:0"' in first.headers["link"]
    assert 'rel="previous"; results="false"' in first.headers["link"]
    seen, cursor = [row["transaction"] for row in first.json()["data"]], "0:2:0"
    while cursor:
        page = api.table("transaction", "count()", per_page="2", sort="transaction", cursor=cursor)
        seen += [row["transaction"] for row in page.json()["data"]]
        after = page.headers["link"].rpartition('rel="next"')[2]
        cursor = after.partition('cursor="')[2].rstrip('"') if 'results="true"' in after else ""
    assert seen == [f"GET /{number}" for number in range(5)]


def test_last_full_page_is_the_last(build):
    """§3: nothing after the last row, also where it fills its page."""
    api = build(span(transaction=f"GET /{number}") for number in range(4))
    first, last = (api.table("transaction", "count()", per_page="2", cursor=f"0:{at}:0") for at in (0, 2))
    assert 'rel="next"; results="true"' in first.headers["link"]
    assert 'rel="next"; results="false"' in last.headers["link"]
    assert 'rel="previous"; results="true"' in last.headers["link"]


def test_sort_puts_rows_without_a_value_last(build):
    """§3: sorting down or up by a value that a row lacks keeps that row at the end."""
    api = build(
        [span(http_status=None, transaction="none"), span(transaction="ok")], SentrySpec(empty_window="nulls")
    )
    for order in ("http_response_rate(5)", "-http_response_rate(5)"):
        rows = api.rows("transaction", "http_response_rate(5)", sort=order)
        assert [row["transaction"] for row in rows] == ["ok", "none"]


@pytest.mark.parametrize(
    ("empty", "data"),
    [
        ("no_rows", []),
        ("nulls", [{"count()": None, "failure_rate()": None}]),
        ("zeros", [{"count()": 0, "failure_rate()": 0.0}]),
    ],
)
def test_empty_window_answers_as_the_world_is_switched(build, empty, data):
    """§2: no rows, nulls or zeros, all of which a client has to take for "no data"."""
    api = build([], SentrySpec(empty_window=empty))
    assert api.rows("count()", "failure_rate()") == data


def test_span_is_seen_once_the_lag_has_passed(build):
    """§4, §10: what began less than the lag ago is not there yet."""
    api = build([span(ago_s=0.5)], lag_s=2.0)
    api.world.now = NOW_MS + 1_499
    assert api.row("count()") == {"count()": 0}
    api.world.now = NOW_MS + 1_500
    assert api.row("count()") == {"count()": 1}


def test_sampled_counts_are_extrapolated_with_low_confidence(build):
    """§2, what surprises 4: counts are scaled up, the rate is not, and the answer says how far to trust it."""
    spans = [span(60 + index / 50, http_status=500 if index % 10 == 0 else 200) for index in range(4000)]
    api = build(spans, SentrySpec(sample_rate=0.25))
    answer = api.table("count()", "failure_rate()").json()
    row = answer["data"][0]
    assert row["count()"] == pytest.approx(4000, rel=0.1)
    assert row["failure_rate()"] == pytest.approx(0.1, abs=0.03)
    assert answer["confidence"] == [{"count()": "low", "failure_rate()": "low"}]
    raw = api.row("count()", disableAggregateExtrapolation="1")
    assert raw["count()"] == pytest.approx(1000, rel=0.1)


def test_used_up_quota_leaves_later_requests_out(build):
    """§6: what is served after the quota is used up never arrives, however long one waits; the window is just empty."""
    last_s = NOW_MS / 1000 - 100
    api = build([*spread(5, ago_s=200), *spread(7, ago_s=20)], SentrySpec(taken_until_s=last_s))
    assert api.row("count()") == {"count()": 5}
    api.world.now = NOW_MS + 200_000
    assert api.row("count()") == {"count()": 5}


@pytest.mark.parametrize("scanned", ["full", "partial"])
def test_answer_says_whether_all_data_was_scanned(build, scanned):
    """§2, §4: table and series both tell it."""
    api = build([span()], SentrySpec(data_scanned=scanned))
    assert api.table("count()").json()["meta"]["dataScanned"] == scanned
    series = api.get(
        "events-timeseries/",
        ("dataset", "spans"),
        ("yAxis", "count()"),
        ("query", ROOT),
        ("statsPeriod", "10m"),
    )
    assert series.json()["timeSeries"][0]["meta"]["dataScanned"] == scanned


def test_errors_dataset_counts_events_not_requests(build):
    """§3: error events are the failed requests; people are counted once; 404 leaves none."""
    api = build([*spread(5, http_status=500, user="ana"), *spread(50), *spread(3, http_status=404)])
    row = api.row("count()", "count_unique(user)", dataset="errors", query="")
    assert row == {"count()": 5, "count_unique(user)": 1}
    assert api.table("failure_rate()", dataset="errors", query="").status_code == 400


def test_datasets_without_content_are_empty(build):
    """§3: the other published datasets exist."""
    assert build([span()]).row("count()", dataset="logs", query="") == {"count()": 0}


# --- the time series --------------------------------------------------------------------------------------


def series(api: Sentry, *axes: str, **params: str) -> dict[str, Any]:
    """Ask for a time series."""
    asked = {"dataset": "spans", "query": ROOT, "interval": "60", "statsPeriod": "5m", **params}
    response = api.get("events-timeseries/", *(("yAxis", axis) for axis in axes), *asked.items())
    assert response.status_code == 200, response.text
    return response.json()


def test_series_has_a_value_per_bucket_in_milliseconds(build):
    """§4: timestamps, bounds and interval are milliseconds; each axis tells its type and unit."""
    api = build([*spread(9, ago_s=121), *spread(1, ago_s=121, http_status=500)])
    answer = series(api, "failure_rate()", "p95(span.duration)")
    assert answer["meta"] == {"dataset": "spans", "start": NOW_MS - 300_000, "end": NOW_MS}
    rate, p95 = answer["timeSeries"]
    assert rate["yAxis"] == "failure_rate()"
    assert rate["meta"] == {
        "valueType": "percentage",
        "valueUnit": None,
        "interval": 60_000,
        "dataScanned": "full",
    }
    assert (p95["meta"]["valueType"], p95["meta"]["valueUnit"]) == ("duration", "millisecond")
    assert [bucket["timestamp"] for bucket in rate["values"]] == [
        NOW_MS - 300_000 + index * 60_000 for index in range(5)
    ]
    filled = rate["values"][2]
    assert filled == {
        "timestamp": NOW_MS - 180_000,
        "value": 0.1,
        "incomplete": False,
        "sampleCount": 10,
        "sampleRate": 1.0,
        "confidence": "high",
    }


def test_bucket_within_the_lag_is_incomplete(build):
    """§4: a bucket is incomplete when its end is not before now minus the lag."""
    values = series(build(lag_s=120.0), "count()")["timeSeries"][0]["values"]
    assert [bucket["incomplete"] for bucket in values] == [False, False, True, True, True]
    assert values[-1]["incompleteReason"] == "INCOMPLETE_BUCKET"
    assert values[-1]["value"] == 0.0
    assert "sampleCount" not in values[-1]


@pytest.mark.parametrize(
    ("interval", "width_ms"),
    [("30", 30_000), ("1m", 60_000), ("5m", 300_000), ("x", 60_000), ("0", 60_000)],
)
def test_interval_is_seconds_or_has_a_unit_and_falls_back(build, interval, width_ms):
    """§4: an interval that is not valid gives way to a default."""
    answer = series(build(), "count()", interval=interval)
    assert answer["timeSeries"][0]["meta"]["interval"] == width_ms


def test_series_without_axis_counts(build):
    """§4: the default axis is count()."""
    answer = series(build([span(90)]))
    assert [one["yAxis"] for one in answer["timeSeries"]] == ["count()"]
    assert sum(bucket["value"] for bucket in answer["timeSeries"][0]["values"]) == 1


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        ([("topEvents", "5")], 400),
        ([("topEvents", "11"), ("groupBy", "release"), ("sort", "-count()")], 400),
        ([("topEvents", "5"), ("groupBy", "release"), ("sort", "-count()")], 500),
        ([("yAxis", "release")], 400),
    ],
    ids=str,
)
def test_grouped_series_fail_as_the_service_did(build, pairs, status):
    """§4: topEvents needs its companions, and grouped queries answered 500."""
    response = build().get("events-timeseries/", ("dataset", "spans"), ("statsPeriod", "5m"), *pairs)
    assert response.status_code == status


def test_failure_rate_can_be_broken_on_the_server(build):
    """§2, §10: the switch makes failure_rate() a 500 in both calls; other columns go on working."""
    api = build([span()], SentrySpec(failure_rate_fails=True))
    for path, name in (("events/", "field"), ("events-timeseries/", "yAxis")):
        pairs = [("dataset", "spans"), ("statsPeriod", "10m"), (name, "failure_rate()")]
        response = api.get(path, *pairs)
        assert (response.status_code, response.json()) == (500, {"detail": "Internal Error"})
    assert api.row("http_response_rate(5)") == {"http_response_rate(5)": 0.0}


# --- issues ------------------------------------------------------------------------------------------------


def test_issues_grow_out_of_failing_spans(build):
    """§7: one issue per transaction and status, with its count as a text, and none for a 404."""
    api = build(
        [
            *(span(600 - index, http_status=500, user=f"u{index % 3}", release=BAD) for index in range(150)),
            span(300, http_status=503, transaction="GET /other"),
            span(200, http_status=404),
        ]
    )
    found = api.get("issues/", ("statsPeriod", "24h"), ("sort", "freq"), ("project", "4509")).json()
    assert [(issue["shortId"], issue["count"], issue["userCount"]) for issue in found] == [
        ("WEB-1", "150", 3),
        ("WEB-2", "1", 0),
    ]
    issue = found[0]
    assert issue["title"] == "GET /membership: internal_error"
    assert (issue["culprit"], issue["level"], issue["status"]) == ("GET /membership", "error", "unresolved")
    assert issue["firstSeen"] == sentry_instant(NOW_MS - 600_000) + ".000000Z"
    assert issue["lastSeen"] == sentry_instant(NOW_MS - 451_000) + ".000000Z"
    assert issue["project"] == {"id": "4509", "slug": "web", "name": "web", "platform": "javascript-nextjs"}
    assert len(issue["stats"]["24h"]) == 24
    assert sum(count for _, count in issue["stats"]["24h"]) == 150
    assert all(epoch_s % 3600 == 0 for epoch_s, _ in issue["stats"]["24h"])
    assert issue["permalink"].endswith(f"/organizations/derrimut/issues/{issue['id']}/")


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        (None, {"a", "b"}),
        ("", {"a", "b"}),
        ("is:unresolved", {"a", "b"}),
        ("is:resolved", set()),
        (f'firstRelease:"{BAD}"', {"b"}),
        (f'release:"{BAD}"', {"a", "b"}),
        (f'!release:"{BAD}"', set()),
        (f'is:unresolved firstRelease:"{GOOD}"', {"a"}),
        ("transaction:b", {"b"}),
    ],
    ids=str,
)
def test_issues_are_searched(build, query, titles):
    """§7: the release an issue began with is another question than the releases it was seen in."""
    api = build(
        [
            span(500, http_status=500, transaction="a", release=GOOD),
            span(400, http_status=500, transaction="a", release=BAD),
            span(300, http_status=500, transaction="b", release=BAD),
        ]
    )
    pairs = [] if query is None else [("query", query)]
    found = api.get("issues/", ("statsPeriod", "24h"), *pairs).json()
    assert {issue["culprit"] for issue in found} == titles


def test_issue_outside_window_or_environment_is_not_listed(build):
    """§7: statsPeriod and environment decide which events count; first sight is older all the same."""
    api = build(
        [
            span(3000, http_status=500),
            span(30, http_status=500),
            span(20, http_status=500, environment="preview"),
        ]
    )
    (issue,) = api.get("issues/", ("statsPeriod", "10m"), ("environment", "production")).json()
    assert issue["count"] == "1"
    assert issue["firstSeen"] == sentry_instant(NOW_MS - 3_000_000) + ".000000Z"
    assert api.get("issues/", ("statsPeriod", "10m"), ("environment", "staging")).json() == []


def test_issues_and_releases_of_other_projects_are_left_out(build):
    """§1, §7, §8: `project` narrows these lists too."""
    api = build([span(http_status=500), span(http_status=500, project="admin", release="admin@1")])
    for project, release in (("4509", BAD), ("admin", "admin@1")):
        (issue,) = api.get("issues/", ("project", project)).json()
        assert project in (issue["project"]["id"], issue["project"]["slug"])
        assert [found["version"] for found in api.get("releases/", ("project", project)).json()] == [release]
    assert len(api.get("issues/").json()) == len(api.get("releases/").json()) == 2


def test_issue_window_holds_its_start_and_not_its_end(build):
    """§3, §7: the same half-open window as the table's, for issues and for the errors dataset."""
    api = build([span(ago_s, http_status=500) for ago_s in (120, 90, 60)])
    window = [("start", sentry_instant(NOW_MS - 120_000)), ("end", sentry_instant(NOW_MS - 60_000))]
    (issue,) = api.get("issues/", *window).json()
    assert (issue["count"], issue["firstSeen"]) == ("2", sentry_instant(NOW_MS - 120_000) + ".000000Z")
    params = {"dataset": "errors", "query": "", "statsPeriod": "", **dict(window)}
    rows = api.rows("timestamp", sort="timestamp", **params)
    assert [row["timestamp"] for row in rows] == [
        sentry_instant(NOW_MS - ago_ms) + ".000000Z" for ago_ms in (120_000, 90_000)
    ]


def test_past_is_read_in_portions(build):
    """Whoever asks for issues first does not make the rest of the world wait for all of the past at once."""
    api = build([span(3000, http_status=500)])
    assert len(api.get("issues/").json()) == 1
    assert max(until - since for since, until in api.world.asked) <= 300_000
    assert sum(until - since for since, until in api.world.asked) >= 3_000_000


def test_others_are_answered_while_the_past_is_read(build):
    """A question that comes after one about issues is answered before the past is read to its end."""
    world = build([span(3000, http_status=500)]).world
    transport = httpx.ASGITransport(sentry.make_app(world))

    async def ask_both() -> None:
        headers = {"Authorization": "Bearer good"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://testserver", headers=headers
        ) as client:
            quick = {"dataset": "spans", "field": "count()", "statsPeriod": "7"}
            await asyncio.gather(client.get(f"{ORG}/issues/"), client.get(f"{ORG}/events/", params=quick))

    asyncio.run(ask_both())
    starts = [since for since, _ in world.asked]
    assert 0 < starts.index(NOW_MS - 7_000) < len(starts) - 1


@pytest.mark.parametrize("pair", [("sort", "loudest"), ("limit", "101"), ("query", "some words")], ids=str)
def test_bad_issue_search_is_refused(build, pair):
    """§7: unknown sort, too large a page, text that is no term."""
    assert build().get("issues/", pair).status_code == 400


def test_issue_orders(build):
    """§7: by last sight, first sight, number of events and number of people."""
    api = build(
        [
            *(span(500 - index, http_status=500, transaction="often") for index in range(5)),
            *(span(400 - index, http_status=500, transaction="many", user=f"u{index}") for index in range(3)),
            span(100, http_status=500, transaction="late"),
            span(90, http_status=500, transaction="often"),
        ]
    )
    orders = {"date": "often", "new": "late", "freq": "often", "user": "many"}
    for sort, first in orders.items():
        assert api.get("issues/", ("sort", sort)).json()[0]["culprit"] == first


def test_old_spans_are_read_only_once(build):
    """An error seen stays known while its span is read no more; a slow one that arrives late is still taken in."""
    api = build([span(1000, http_status=500)])
    assert len(api.get("issues/").json()) == 1
    api.world.now += 60_000
    api.world.served.append(
        span(5, http_status=500, transaction="slow")
    )  # began a minute ago, known only now
    api.world.asked.clear()
    assert {issue["culprit"] for issue in api.get("issues/").json()} == {"GET /membership", "slow"}
    assert min(since for since, _ in api.world.asked) > NOW_MS - 130_000


# --- releases and deploys ----------------------------------------------------------------------------------


def make_release(api: Sentry, version: str = GOOD, **body: Any) -> httpx.Response:
    """Post a release."""
    return api.client.post(f"{ORG}/releases/", json={"version": version, "projects": ["web"], **body})


def post_deploy(api: Sentry, version: str = "web%401.4.1", **body: Any) -> httpx.Response:
    """Post a deploy."""
    return api.client.post(f"{ORG}/releases/{version}/deploys/", json=body)


def test_release_is_made_once(build):
    """§8: 201 for a new release, 208 for one that is there."""
    api = build()
    assert [make_release(api).status_code for _ in range(3)] == [201, 208, 208]
    (release,) = api.get("releases/").json()
    assert (release["version"], release["status"], release["deployCount"]) == (GOOD, "open", 0)
    assert isinstance(release["id"], int)


def test_releases_are_known_from_spans_newest_first(build):
    """§8: a release that requests named is there with its first and last event, and the issues it began."""
    api = build([span(900, release=GOOD), span(300, release=BAD, http_status=500), span(200, release=BAD)])
    newest, oldest = api.get("releases/", ("query", "web@"), ("per_page", "20")).json()
    assert (newest["version"], oldest["version"]) == (BAD, GOOD)
    assert (newest["newGroups"], oldest["newGroups"]) == (1, 0)
    assert newest["firstEvent"] == sentry_instant(NOW_MS - 300_000) + ".000000Z"
    assert newest["lastEvent"] == sentry_instant(NOW_MS - 200_000) + ".000000Z"
    assert [project["slug"] for project in newest["projects"]] == ["web"]
    assert api.get("releases/", ("query", "1.4.1")).json() == [oldest]
    assert make_release(api, BAD).status_code == 208
    assert api.get("releases/web%401.4.2/").json()["version"] == BAD


def test_release_seen_over_a_long_time_keeps_both_ends(build):
    """§8: the first and last event hold however many portions of the past lie between them."""
    ages_s = (4000, 2500, 1000, 40)
    (release,) = build(span(ago_s) for ago_s in ages_s).get("releases/").json()
    ends = [sentry_instant(NOW_MS - ago_s * 1000) + ".000000Z" for ago_s in (ages_s[0], ages_s[-1])]
    assert [release["firstEvent"], release["lastEvent"]] == ends


def test_deploy_marks_the_release(build):
    """§8: only the environment is required, the id is a text, dateFinished defaults to now."""
    api = build()
    make_release(api)
    marked = post_deploy(api, environment="production", name="rollback INC-42", url="https://vercel.drill/x")
    assert marked.status_code == 201
    deploy = marked.json()
    assert set(deploy) == {"id", "environment", "name", "url", "dateStarted", "dateFinished"}
    assert isinstance(deploy["id"], str)
    assert deploy["dateFinished"] == sentry_instant(NOW_MS) + ".000000Z"
    assert api.get("releases/web%401.4.1/deploys/").json() == [deploy]
    shown = api.get("releases/web%401.4.1/").json()
    assert (shown["deployCount"], shown["lastDeploy"]) == (1, deploy)


def test_deploy_posted_twice_is_there_twice(build):
    """§8: there is no idempotency key; the list is how a client finds its first one, the newest first."""
    api = build()
    make_release(api)
    ids = [post_deploy(api, environment="production", name="same").json()["id"] for _ in range(2)]
    assert [deploy["id"] for deploy in api.get("releases/web%401.4.1/deploys/").json()] == ids[::-1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "environment"),
        ({"environment": "x" * 65}, "environment"),
        ({"environment": "production", "name": "x" * 65}, "name"),
        ({"environment": "production", "url": "not an address"}, "url"),
        ({"environment": "production", "dateStarted": "yesterday"}, "dateStarted"),
        ({"environment": "production", "dateFinished": 5}, "dateFinished"),
        ({"environment": "production", "projects": ["nobodys"]}, "projects"),
    ],
    ids=str,
)
def test_bad_deploy_is_refused_by_field_and_leaves_nothing(build, body, field):
    """§8, §9: 400 naming the field; the release has no deploy afterwards."""
    api = build()
    make_release(api)
    response = post_deploy(api, **body)
    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert api.get("releases/web%401.4.1/deploys/").json() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"version": "", "projects": ["web"]}, "version"),
        ({"version": "a/b", "projects": ["web"]}, "version"),
        ({"version": "a"}, "projects"),
        ({"version": "a", "projects": ["nobodys"]}, "projects"),
        (["a"], "non_field_errors"),
    ],
    ids=str,
)
def test_bad_release_is_refused_by_field_and_leaves_nothing(build, body, field):
    """§9: body validation names the field; no release is there afterwards."""
    api = build()
    response = api.client.post(f"{ORG}/releases/", json=body)
    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert api.get("releases/").json() == []


def test_deploy_of_unknown_release_is_not_found(build):
    """§9: 404 with the documented sentence."""
    response = post_deploy(build(), environment="production")
    assert (response.status_code, response.json()) == (
        404,
        {"detail": "The requested resource does not exist"},
    )


def test_body_that_is_no_json_is_refused(build):
    """§9: 400 with a detail."""
    response = build().client.post(f"{ORG}/releases/", content=b"{")
    assert response.status_code == 400
    assert "detail" in response.json()


# --- who may, and how often ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "path", "scope"),
    [
        ("GET", "events/", "org:read"),
        ("GET", "events-timeseries/", "org:read"),
        ("GET", "issues/", "event:read"),
        ("GET", "releases/", "project:read"),
        ("GET", "releases/", "org:ci"),
        ("GET", "releases/web%401.4.1/deploys/", "project:read"),
        ("POST", "releases/", "project:releases"),
        ("POST", "releases/", "org:ci"),
        ("POST", "releases/web%401.4.1/deploys/", "project:releases"),
    ],
)
def test_each_call_needs_its_scope(build, verb, path, scope):
    """§1: any scope of the call's row lets it in; all the others together do not."""
    api = build()
    everything = {"org:read", "event:read", "project:read", "project:releases", "org:ci"}
    enough = {
        "events/": {"org:read"},
        "events-timeseries/": {"org:read"},
        "issues/": {"event:read"},
        "GET": {"project:read", "project:releases", "org:ci"},
        "POST": {"project:releases", "org:ci"},
    }
    api.world.tokens = {
        "Bearer good": frozenset({scope}),
        "Bearer wrong": frozenset(everything - enough.get(path, enough[verb])),
    }
    body = {} if verb == "POST" else None
    allowed = api.client.request(verb, f"{ORG}/{path}", json=body)
    assert allowed.status_code not in (401, 403)
    refused = api.client.request(verb, f"{ORG}/{path}", json=body, headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 403
    assert refused.json() == {"detail": "You do not have permission to perform this action."}


def test_unknown_token_is_turned_away(build):
    """§9: 401; nothing is made by a stranger."""
    api = build()
    api.client.headers["Authorization"] = "Bearer stolen"
    response = make_release(api)
    assert (response.status_code, response.json()) == (401, {"detail": "Invalid token"})
    del api.client.headers["Authorization"]
    assert make_release(api).status_code == 401
    api.client.headers["Authorization"] = "Bearer good"
    assert api.get("releases/").json() == []


def test_organization_is_known_by_slug_or_id(build):
    """§1, §9: both work; another one does not exist."""
    client = build().client
    assert client.get("/api/0/organizations/4507/releases/").status_code == 200
    response = client.get("/api/0/organizations/acme/releases/")
    assert (response.status_code, response.json()) == (
        404,
        {"detail": "The requested resource does not exist"},
    )


def test_path_without_its_slash_is_not_found(build):
    """§1: no redirect; the hint is plain text, or JSON for who sends JSON; nothing is made."""
    api = build()
    response = api.client.get(f"{ORG}/events?dataset=spans&field=count()")
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/plain")
    assert "trailing slash" in response.text
    posted = api.client.post(f"{ORG}/releases", json={"version": GOOD, "projects": ["web"]})
    assert posted.status_code == 404
    assert "info" in posted.json()
    assert api.get("releases/").json() == []
    assert api.client.get("/api/0/nowhere/").status_code == 404


def test_other_verbs_are_not_allowed(build):
    """A verb that a path does not know is a 405 with a detail."""
    response = build().client.put(f"{ORG}/releases/", json={})
    assert response.status_code == 405
    assert response.json() == {"detail": 'Method "PUT" not allowed.'}


def test_detail_can_be_an_object(build):
    """§9: `detail` may be a dict with message and code."""
    api = build([], SentrySpec(detail="object"))
    detail = api.table("count()", statsPeriod="10x").json()["detail"]
    assert detail["message"] == "Invalid statsPeriod: '10x'"
    assert detail["code"]


def test_rate_limited_answer_has_no_retry_after_and_no_json_type():
    """§9: the text is JSON, the type is not; the reset is epoch seconds in the future."""
    response = sentry.rate_limited_response(NOW_MS)
    assert response.status_code == 429
    assert "retry-after" not in response.headers
    assert "json" not in response.headers["content-type"]
    assert response.headers["x-sentry-rate-limit-reset"] == str(NOW_MS // 1000 + 1)
    assert response.headers["x-sentry-rate-limit-remaining"] == "0"
    assert {"x-sentry-rate-limit-limit", "x-sentry-rate-limit-concurrentlimit"} <= set(response.headers)
    assert b"too frequently" in bytes(response.body)


def test_too_many_calls_in_a_second_are_limited_until_the_next(build):
    """§9: a fixed window per caller and endpoint; headers count down; another endpoint is not touched."""
    api = build([], SentrySpec(limit_per_s=2))
    answers = [api.get("releases/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-sentry-rate-limit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert api.get("issues/").status_code == 200
    api.world.now = int(answers[2].headers["x-sentry-rate-limit-reset"]) * 1000
    assert api.get("releases/").status_code == 200


@pytest.mark.parametrize(
    ("verb", "changing"),
    [("GET", False), ("HEAD", False), ("POST", True), ("put", True), ("DELETE", True)],
)
def test_whatever_is_no_reading_verb_changes(verb, changing):
    """The ledger's question: what changes something."""
    assert sentry.changes(verb, f"{ORG}/releases/") is changing


def test_root_tells_what_the_token_may_do(build):
    """Sentry's own source: the scopes of the token; nothing without one; a wrong one is turned away."""
    api = build()
    api.world.tokens = {"Bearer good": frozenset({"org:read"})}
    assert api.client.get("/api/0/").json() == {
        "version": "0",
        "auth": {"scopes": ["org:read"]},
        "user": None,
    }
    wrong = api.client.get("/api/0/", headers={"Authorization": "Bearer stolen"})
    assert (wrong.status_code, wrong.json()) == (401, {"detail": "Invalid token"})
    del api.client.headers["Authorization"]
    assert api.client.get("/api/0/").json()["auth"] is None


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("organizations/derrimut", ["production", "preview"]),
        ("projects/derrimut/web", ["production", "preview"]),
        ("projects/derrimut/4509", ["production", "preview"]),
        ("projects/derrimut/admin", ["production"]),
        ("projects/derrimut/shop", None),
        ("projects/elsewhere/web", None),
        ("organizations/elsewhere", None),
    ],
)
def test_environments_of_what_is_there(build, place, names):
    """By slug or number; what is not there is 404."""
    response = build().client.get(f"/api/0/{place}/environments/")
    assert response.status_code == (404 if names is None else 200)
    assert names is None or [one["name"] for one in response.json()] == names


def test_environments_need_the_scope_of_their_place(build):
    """Documented: org:read for those of the organization, project:read for those of a project."""
    api = build()
    for scope, status in (("org:read", (200, 403)), ("project:read", (403, 200)), ("event:read", (403, 403))):
        api.world.tokens = {"Bearer good": frozenset({scope})}
        places = ("organizations/derrimut", "projects/derrimut/web")
        assert (
            tuple(api.client.get(f"/api/0/{place}/environments/").status_code for place in places) == status
        )
