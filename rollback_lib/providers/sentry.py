"""Sentry: how many requests fail, since when, and a mark where we rolled back.

- One metric decides and verifies: the configured one, a fraction of root server spans.
- No data is never 0 %: an empty window, a null, 0 of 0, or a value that is no fraction give no rate, with the reason.
- A window is whole seconds, begun no earlier and ended no later than asked for.
- Incomplete buckets are dropped: they are still being filled.
- A deploy is listed before it is marked: marking has no idempotency key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollback_lib.clock import Clock, to_iso
from rollback_lib.errors import OutcomeUnknown
from rollback_lib.http import Api, Heard, Reply, Rule, path_part
from rollback_lib.model import Pass, RequestClass
from rollback_lib.providers.pages import pages
from rollback_lib.providers.settings import SentrySettings
from rollback_lib.providers.shapes import (
    Shape,
    a_list,
    a_mapping,
    a_number,
    a_text,
    a_whole,
    epoch_time,
    iso_time,
    items,
    mapping_of,
    needed,
)

__all__ = ["SENTRY_RULES", "Issue", "MarkedDeploy", "RatePoint", "RateReading", "SentryClient"]

SENTRY_RULES = (
    Rule("GET", r"/api/0/", RequestClass.READ),
    Rule("GET", r"/api/0/organizations/[^/]+/environments/", RequestClass.READ),
    Rule("GET", r"/api/0/projects/[^/]+/[^/]+/environments/", RequestClass.READ),
    Rule("GET", r"/api/0/organizations/[^/]+/events/", RequestClass.READ),
    Rule("GET", r"/api/0/organizations/[^/]+/events-timeseries/", RequestClass.READ),
    Rule("GET", r"/api/0/organizations/[^/]+/issues/", RequestClass.READ),
    Rule("GET", r"/api/0/organizations/[^/]+/releases/[^/]+/deploys/", RequestClass.READ),
    Rule("POST", r"/api/0/organizations/[^/]+/releases/", RequestClass.PREPARE),
    Rule("POST", r"/api/0/organizations/[^/]+/releases/[^/]+/deploys/", RequestClass.PREPARE),
)

REQUESTS = "is_transaction:true span.op:http.server"  # root server spans: one each request
P95 = "p95(span.duration)"
COUNT = "count()"
FAILURE_RATE = "failure_rate()"
FAILURES = "failure_count()"
NO_FAILURE = frozenset(
    {"", "ok", "cancelled", "unknown"}
)  # statuses that the platform does not count as failed
NAME_LIMIT = 64  # characters
_MARK_AGAIN = (
    "Look at the release's deploys in Sentry; running the cell again lists them first and marks it once."
)
_CURSOR = re.compile(r'cursor="([^"]*)"')


@dataclass(frozen=True)
class RateReading:
    """The share of failed requests in one window; `count` is for the reader to judge whether it is enough."""

    rate: float | None  # a fraction; None: no data
    count: int  # all requests of the window
    failures: int | None  # where the platform counts them
    p95_ms: float | None
    start: datetime
    end: datetime
    metric: str
    source: str
    note: str  # why there is no rate, or what limits its worth
    doubt: str = (
        ""  # why the platform itself does not vouch for the value: extrapolated, or not all data read
    )


@dataclass(frozen=True)
class RatePoint:
    """One complete bucket of the error rate over time."""

    at: datetime  # its beginning
    rate: float | None
    count: int | None


@dataclass(frozen=True)
class Issue:
    """A group of errors."""

    id: str
    short_id: str
    title: str
    culprit: str
    level: str
    status: str
    count: int
    users: int
    first_seen: datetime | None
    last_seen: datetime | None
    permalink: str


@dataclass(frozen=True)
class MarkedDeploy:
    """A deploy on record in Sentry."""

    id: str
    version: str
    environment: str
    name: str
    already: bool  # it was there before: nothing was sent


class SentryClient:
    """Reads and marks one project in one environment.

    Args:
        api: The door to Sentry, with `SENTRY_RULES`.
        settings: Organization, project, environment, metric.
        clock: For the age of issues.
    """

    def __init__(self, api: Api, settings: SentrySettings, clock: Clock) -> None:
        self._api, self._settings, self._clock = api, settings, clock

    @property
    def heard(self) -> Heard | None:
        """Return Sentry's time beside ours, as its latest answer told it."""
        return self._api.heard

    # Reads

    def scopes(self) -> frozenset[str] | None:
        """Read what the token may do; None if Sentry does not say.

        The root of the interface tells it (`IndexEndpoint` in Sentry's source; `sentry-cli info` shows it).

        Raises:
            ReadRefused: The token is not accepted.
            Unreachable: No usable answer.
        """
        told = a_mapping(mapping_of(self._api.read("GET", "/api/0/")).get("auth")).get("scopes")
        return frozenset(filter(None, map(a_text, told))) if isinstance(told, list) else None

    def environments(self, *, of_project: bool = True) -> tuple[str, ...]:
        """List the environments that the project, or the whole organization, has reported from, hidden ones too.

        Raises:
            ReadRefused: No such organization or project, or the token may not see it (`project:read`, `org:read`).
            Unreachable: No usable answer.
        """
        organization, project = path_part(self._settings.organization), path_part(self._settings.project)
        place = f"projects/{organization}/{project}" if of_project else f"organizations/{organization}"
        reply = self._api.read("GET", f"/api/0/{place}/environments/", params=[("visibility", "all")])
        return tuple(a_text(raw.get("name")) or "" for raw in items(reply))

    def error_rate(self, start: datetime, end: datetime, *, release: str | None = None) -> RateReading:
        """Read the share of failed requests between two instants.

        Telemetry arrives late: choose `end` some two minutes before now on the real platform.

        Args:
            start: Aware; rounded up to a whole second.
            end: Aware; rounded down to a whole second.
            release: Only requests served by this release.

        Raises:
            Unreachable: No usable answer.
        """
        start, end = _whole(start, up=True), _whole(end, up=False)
        window = _Window(start, end, self._settings.error_metric)
        if end <= start:
            return window.without_rate("the window is shorter than a second")
        reply = self._rate_table(window, release)
        if not reply.success:
            return self._by_status(window, release)
        rows = items(reply, "data")
        return window.reading(rows[0] if rows else {}, "", _doubt(reply))

    def series(self, start: datetime, end: datetime, interval_s: int) -> tuple[RatePoint, ...]:
        """Read the error rate over time, oldest first, without the buckets still being filled.

        Args:
            start: Aware.
            end: Aware.
            interval_s: Width of a bucket; the platform may choose another one.

        Raises:
            Unreachable: No usable answer.
        """
        metric = self._settings.error_metric
        asked = [("yAxis", metric), ("yAxis", COUNT), ("query", REQUESTS), ("interval", str(interval_s))]
        between = _between(_whole(start, up=True), _whole(end, up=False))
        params = [("dataset", "spans"), *asked, *between, *self._where()]
        reply = self._api.read("GET", self._path("events-timeseries"), params=params)
        lines = [a_mapping(line) for line in a_list(mapping_of(reply).get("timeSeries"))]
        rates, counts = _points(lines, metric), _points(lines, COUNT)
        return tuple(_point(at, rates[at], counts.get(at)) for at in sorted(rates))

    def issues(self, query: str, since: datetime, limit: int = 25) -> tuple[Issue, ...]:
        """List the most frequent issues seen since an instant.

        Args:
            query: In Sentry's search language, e.g. `is:unresolved`; empty for all.
            since: Aware.
            limit: At most 100.

        Raises:
            Unreachable: No usable answer.
        """
        minutes = max(1, math.ceil((self._clock.now() - since).total_seconds() / 60))
        asked = [("query", query), ("sort", "freq"), ("limit", str(limit)), ("statsPeriod", f"{minutes}m")]
        reply = self._api.read("GET", self._path("issues"), params=[*asked, *self._where()])
        found = (_issue(reply, raw) for raw in items(reply))
        return tuple(issue for issue in found if issue.last_seen is None or issue.last_seen >= since)

    # Changes

    def mark_deploy(self, version: str, environment: str, name: str, url: str, permit: Pass) -> MarkedDeploy:
        """Mark on a release that it was deployed, unless that mark is there already.

        A release that Sentry does not know is made first.

        Args:
            version: The release, e.g. `web@1.4.1`.
            environment: E.g. production.
            name: Tells this deploy from others, e.g. `rollback INC-42`; cut at 64 characters.
            url: Where to read more; may be empty.
            permit: For harmless changes.

        Raises:
            Unreachable: The list could not be read, or there was no connection; nothing was marked.
            NotApplied: Refused; nothing was marked.
            OutcomeUnknown: No clear answer; it may be marked.
        """
        environment, name = environment[:NAME_LIMIT], name[:NAME_LIMIT]
        listed = self._deploys(version)
        if listed is None:
            self._make_release(version, permit)
        for raw in listed or ():
            if raw.get("name") == name and raw.get("environment") == environment:
                return MarkedDeploy(a_text(raw.get("id")) or "", version, environment, name, already=True)
        body = {"environment": environment, "name": name} | ({"url": url} if url else {})
        path = self._path("releases", version, "deploys")
        reply = self._api.change("POST", path, permit=permit, json=body, if_unanswered=_MARK_AGAIN)
        found = a_text(a_mapping(reply.json).get("id"))
        if not found:
            raise OutcomeUnknown(
                f"{reply.source} answered {reply.status} without the deploy's id: {reply.words}.",
                "Unknown: the deploy may or may not be marked. Production is not touched by this.",
                _MARK_AGAIN,
            )
        return MarkedDeploy(found, version, environment, name, already=False)

    # Below the surface

    def _path(self, *parts: str) -> str:
        """Build a path; every published one ends in a slash."""
        organization = path_part(self._settings.organization)
        return f"/api/0/organizations/{organization}/{'/'.join(path_part(part) for part in parts)}/"

    def _where(self) -> list[tuple[str, str]]:
        where = (("project", self._settings.project), ("environment", self._settings.environment))
        return [(name, text) for name, text in where if text]

    def _events(
        self, window: _Window, fields: Sequence[str], release: str | None, more: Sequence[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        query = REQUESTS if release is None else f'{REQUESTS} release:"{_quoted(release)}"'
        named = [("field", field) for field in fields]
        between = _between(window.start, window.end)
        return [("dataset", "spans"), *named, ("query", query), *between, *self._where(), *more]

    def _rate_table(self, window: _Window, release: str | None) -> Reply:
        """Ask for numerator, denominator and latency out of the same rows."""
        by_status = window.metric == FAILURE_RATE
        fields = [COUNT, *([FAILURES] if by_status else []), window.metric, P95]
        params = self._events(window, fields, release, [("per_page", "1")])
        # Some servers answer failure_rate() with 500 for good: then the statuses are counted one by one.
        also = frozenset({500}) if by_status else frozenset[int]()
        return self._api.read("GET", self._path("events"), params=params, also=also)

    def _by_status(self, window: _Window, release: str | None) -> RateReading:
        def fetch(cursor: str) -> Reply:
            more = [("per_page", "100"), *([("cursor", cursor)] if cursor else [])]
            params = self._events(window, ["span.status", COUNT], release, more)
            return self._api.read("GET", self._path("events"), params=params)

        count, failures, doubts = 0, 0, dict[str, None]()
        for reply in pages(fetch, _next):
            doubts[_doubt(reply)] = None
            for row in items(reply, "data"):
                spans = a_whole(row.get(COUNT)) or 0
                count += spans
                failures += 0 if (a_text(row.get("span.status")) or "") in NO_FAILURE else spans
        note = "counted by span.status, because Sentry answered 500 to failure_rate(); no p95"
        row = {COUNT: count, FAILURES: failures, FAILURE_RATE: failures / count if count else None}
        return window.reading(row, note, _joined(*doubts))

    def _deploys(self, version: str) -> list[Shape] | None:
        """List a release's deploys; None if the release is not known."""
        path = self._path("releases", version, "deploys")

        def fetch(cursor: str) -> Reply:
            params = [("cursor", cursor)] if cursor else []
            return self._api.read("GET", path, params=params, also=frozenset({404}))

        found: list[Shape] = []
        for reply in pages(fetch, _next):
            if not reply.success:
                return None
            found += items(reply)
        return found

    def _make_release(self, version: str, permit: Pass) -> None:
        body = {"version": version, "projects": [self._settings.project]}
        path = self._path("releases")
        self._api.change("POST", path, permit=permit, json=body, if_unanswered=_MARK_AGAIN)


@dataclass(frozen=True)
class _Window:
    """What a rate is asked for."""

    start: datetime
    end: datetime
    metric: str

    def without_rate(self, why: str) -> RateReading:
        """Return a reading that has no rate."""
        return self._reading(None, {}, why, "")

    def reading(self, row: Mapping[str, Any], how: str, doubt: str) -> RateReading:
        """Read one row of the table, whichever way an empty window is told."""
        rate, note = a_number(row.get(self.metric)), _joined(how, doubt)
        if not a_whole(row.get(COUNT)):
            return self._reading(None, row, _joined("no requests in the window", note), doubt)
        if rate is None:
            return self._reading(None, row, _joined(f"Sentry gives no {self.metric}", note), doubt)
        if not 0 <= rate <= 1:
            odd = f"{self.metric} is {rate:g}, which is no fraction"
            return self._reading(None, row, _joined(odd, note), doubt)
        return self._reading(rate, row, note, doubt)

    def _reading(self, rate: float | None, row: Mapping[str, Any], note: str, doubt: str) -> RateReading:
        return RateReading(
            rate=rate,
            count=a_whole(row.get(COUNT)) or 0,
            failures=a_whole(row.get(FAILURES)),
            p95_ms=a_number(row.get(P95)),
            start=self.start,
            end=self.end,
            metric=self.metric,
            source=f"Sentry events, {self.metric}, {to_iso(self.start)} to {to_iso(self.end)}",
            note=note,
            doubt=doubt,
        )


def _whole(instant: datetime, *, up: bool) -> datetime:
    seconds = instant.timestamp()
    return datetime.fromtimestamp(math.ceil(seconds) if up else math.floor(seconds), UTC)


def _between(start: datetime, end: datetime) -> list[tuple[str, str]]:
    return [(name, f"{at:%Y-%m-%dT%H:%M:%S}") for name, at in (("start", start), ("end", end))]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _doubt(reply: Reply) -> str:
    """Say what limits the worth of the numbers, where the platform tells."""
    body = mapping_of(reply)
    meta = a_mapping(body.get("meta"))
    told = (body.get("confidence"), a_mapping(meta.get("accuracy")).get("confidence"))
    low = any("low" in a_mapping(entry).values() for entries in told for entry in a_list(entries))
    partial = meta.get("dataScanned") == "partial"
    return _joined(
        "extrapolated from few samples (confidence low)" if low else "",
        "Sentry scanned only part of the data" if partial else "",
    )


def _next(reply: Reply) -> str:
    """Find the next page in the `Link` header; it is named even at the end, with results="false"."""
    for part in reply.headers.get("link", "").split(","):
        if 'rel="next"' in part and 'results="true"' in part:
            cursor = _CURSOR.search(part)
            return cursor[1] if cursor is not None else ""
    return ""


def _points(lines: Sequence[Shape], axis: str) -> dict[datetime, float | None]:
    """Collect the complete values of one axis by their time."""
    return {
        at: a_number(value.get("value"))
        for line in lines
        if line.get("yAxis") == axis
        for value in map(a_mapping, a_list(line.get("values")))
        if not value.get("incomplete") and (at := epoch_time(value.get("timestamp"))) is not None
    }


def _point(at: datetime, rate: float | None, count: float | None) -> RatePoint:
    requests = None if count is None else round(count)
    return RatePoint(at, rate if requests != 0 and rate is not None and 0 <= rate <= 1 else None, requests)


def _issue(reply: Reply, raw: Shape) -> Issue:
    def text(name: str) -> str:
        return a_text(raw.get(name)) or ""

    return Issue(
        id=needed(reply, raw, "id"),
        short_id=text("shortId"),
        title=text("title"),
        culprit=text("culprit"),
        level=text("level"),
        status=text("status"),
        count=a_whole(raw.get("count")) or 0,
        users=a_whole(raw.get("userCount")) or 0,
        first_seen=iso_time(raw.get("firstSeen")),
        last_seen=iso_time(raw.get("lastSeen")),
        permalink=text("permalink"),
    )
