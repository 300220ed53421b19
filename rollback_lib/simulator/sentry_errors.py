"""Errors and releases as they grow out of failing spans: what the monitoring remembers.

- An error event is a request that failed on the server; what visitors mistyped is none.
- Events of one project, transaction and status are one issue, numbered in the order of first sight.
- A span counts once it has arrived, that is once the ingest lag has passed; nothing is edited afterwards.
- The recent minutes are read again each time, because a slow request is known only after its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollback_lib.simulator.sentry_columns import NOT_FAILURES
from rollback_lib.simulator.sentry_query import Term, Window, error_title, iso
from rollback_lib.simulator.spans import Span

__all__ = [
    "ISSUE_KINDS",
    "ISSUE_SORTS",
    "Issue",
    "Memory",
    "Seen",
    "is_error",
    "issue_json",
    "matches",
]

ISSUE_KINDS = {
    "is": "string",
    "release": "string",
    "firstRelease": "string",
    "transaction": "string",
    "title": "string",
    "level": "string",
}
_SERVER_ERROR = 500
_UNSETTLED_MS = 120_000
_PORTION_MS = 300_000
_HOUR_MS = 3_600_000
_DAY_HOURS = 24
_ISSUE_ID_BASE = 6_000_000_000


@dataclass(frozen=True)
class Issue:
    """Errors of one kind, oldest first."""

    number: int
    project: str
    title: str
    events: Sequence[Span]

    @property
    def transaction(self) -> str:
        """Return what was asked for when it failed."""
        return self.events[0].transaction

    @property
    def first_release(self) -> str:
        """Return the release of its first event."""
        return self.events[0].release

    def within(self, window: Window, environments: frozenset[str] | None) -> list[Span]:
        """List its events in a window."""
        return [
            span
            for span in self.events
            if window.holds(span.ts_ms) and (environments is None or span.environment in environments)
        ]


@dataclass
class Seen:
    """When a release was first and last heard of, and by which projects."""

    first_ms: int
    last_ms: int
    projects: set[str] = field(default_factory=set)


@dataclass
class _Account:
    """What a stretch of spans told."""

    issues: dict[tuple[str, str], list[Span]] = field(default_factory=dict)  # by project and title
    releases: dict[str, Seen] = field(default_factory=dict)

    def copy(self) -> _Account:
        return _Account(
            {name: list(events) for name, events in self.issues.items()},
            {
                name: Seen(seen.first_ms, seen.last_ms, set(seen.projects))
                for name, seen in self.releases.items()
            },
        )

    def take_in(self, spans: Sequence[Span]) -> None:
        """Add the spans that follow, oldest first."""
        for span in [span for span in spans if is_error(span)]:
            self.issues.setdefault((span.project, error_title(span)), []).append(span)
        # Two passes that keep the last value of each name: a step per span would take as long as the rest.
        first = {(span.release, span.project): span.ts_ms for span in reversed(spans)}
        last = {(span.release, span.project): span.ts_ms for span in spans}
        for (release, project), first_ms in first.items():
            last_ms = last[release, project]
            seen = self.releases.setdefault(release, Seen(first_ms, last_ms))
            seen.first_ms, seen.last_ms = min(seen.first_ms, first_ms), max(seen.last_ms, last_ms)
            seen.projects.add(project)


class Memory:
    """Errors and releases of all spans that have arrived so far.

    Args:
        spans: Gives the spans of [since, until), oldest first, as the world does.
        since_ms: There is nothing before.
    """

    def __init__(self, spans: Callable[[int, int], Sequence[Span]], since_ms: int) -> None:
        self._spans, self._settled_ms = spans, since_ms
        self._settled = _Account()

    def advance(self, arrived_ms: int) -> bool:
        """Read some minutes of what will not change any more; tells whether there was something to read."""
        until_ms = min(arrived_ms - _UNSETTLED_MS, self._settled_ms + _PORTION_MS)
        if until_ms <= self._settled_ms:
            return False
        self._settled.take_in(self._spans(self._settled_ms, until_ms))
        self._settled_ms = until_ms
        return True

    def read(self, arrived_ms: int) -> tuple[list[Issue], dict[str, Seen]]:
        """Give the issues, in the order of first sight, and the releases of all spans from before `arrived_ms`."""
        while self.advance(arrived_ms):
            pass
        account = self._settled.copy()
        account.take_in(self._spans(self._settled_ms, arrived_ms))
        issues = [
            Issue(number, project, title, events)
            for number, ((project, title), events) in enumerate(account.issues.items(), start=1)
        ]
        return issues, account.releases


def is_error(span: Span) -> bool:
    """Tell whether a request left an error event behind."""
    if span.http_status is not None:
        return span.http_status >= _SERVER_ERROR
    return span.status is not None and span.status not in NOT_FAILURES


def matches(issue: Issue, terms: Sequence[Term]) -> bool:
    """Tell whether an issue passes all terms of a search."""
    values = {
        "firstRelease": issue.first_release,
        "transaction": issue.transaction,
        "title": issue.title,
        "level": "error",
    }
    for term in terms:
        if term.key == "is":  # nobody resolves anything during an incident
            held = term.fits("unresolved") is not term.negated
        elif term.key == "release":
            releases = {span.release for span in issue.events}
            held = any(term.fits(release) for release in releases) is not term.negated
        else:
            held = term.holds(values[term.key])
        if not held:
            return False
    return True


ISSUE_SORTS: dict[str, Callable[[Issue, Sequence[Span]], Any]] = {
    "date": lambda _, events: events[-1].ts_ms,
    "new": lambda issue, _: issue.events[0].ts_ms,
    "freq": lambda _, events: len(events),
    "user": lambda _, events: _users(events),
    # The three below weigh what is not known here; the last sight stands in for them.
    "trends": lambda _, events: events[-1].ts_ms,
    "inbox": lambda _, events: events[-1].ts_ms,
    "recommended": lambda _, events: events[-1].ts_ms,
}


def _users(events: Iterable[Span]) -> int:
    return len({span.user for span in events} - {None})


def issue_json(
    issue: Issue, events: Sequence[Span], now_ms: int, project_id: int, url: str
) -> dict[str, Any]:
    """Write an issue as the list does.

    Args:
        issue: The issue.
        events: Its events within the window of the search; they are what is counted.
        now_ms: The end of its statistics.
        project_id: Of the project that it belongs to.
        url: Where the organization's issues are shown.
    """
    number = str(_ISSUE_ID_BASE + issue.number)
    return {
        "id": number,
        "shortId": f"{issue.project.upper()}-{issue.number}",
        "title": issue.title,
        "culprit": issue.transaction,
        "level": "error",
        "status": "unresolved",
        "substatus": "new" if now_ms - issue.events[0].ts_ms < _DAY_HOURS * _HOUR_MS else "ongoing",
        "count": str(len(events)),
        "userCount": _users(events),
        "firstSeen": iso(issue.events[0].ts_ms),
        "lastSeen": iso(issue.events[-1].ts_ms),
        "permalink": f"{url}/issues/{number}/",
        "project": {
            "id": str(project_id),
            "slug": issue.project,
            "name": issue.project,
            "platform": "javascript-nextjs",
        },
        "metadata": {"title": issue.title},
        "stats": {"24h": _hourly(issue.events, now_ms)},
    }


def _hourly(events: Iterable[Span], now_ms: int) -> list[list[int]]:
    last = now_ms // _HOUR_MS
    counts = dict.fromkeys(range(last - _DAY_HOURS + 1, last + 1), 0)
    for span in events:
        if span.ts_ms // _HOUR_MS in counts:
            counts[span.ts_ms // _HOUR_MS] += 1
    return [[hour * _HOUR_MS // 1000, count] for hour, count in counts.items()]
