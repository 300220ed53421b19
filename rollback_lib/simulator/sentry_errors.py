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
    "find_issues",
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
_HOUR_MS = 3_600_000
_DAY_HOURS = 24
_ISSUE_ID_BASE = 6_000_000_000


@dataclass(frozen=True)
class Issue:
    """Errors of one kind, oldest first."""

    number: int
    project: str
    transaction: str
    title: str
    events: tuple[Span, ...]

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

    def note(self, span: Span) -> None:
        """Take in one span."""
        self.first_ms, self.last_ms = min(self.first_ms, span.ts_ms), max(self.last_ms, span.ts_ms)
        self.projects.add(span.project)


@dataclass
class Memory:
    """Errors and releases of all spans that have arrived so far.

    Args:
        spans: Gives the spans of [since, until), as the world does.
    """

    spans: Callable[[int, int], Sequence[Span]]
    _settled_ms: int = 0
    _errors: list[Span] = field(default_factory=list)
    _releases: dict[str, Seen] = field(default_factory=dict)

    def read(self, arrived_ms: int) -> tuple[list[Span], dict[str, Seen]]:
        """Give the error events and the releases of all spans from before `arrived_ms`."""
        settled_ms = max(arrived_ms - _UNSETTLED_MS, self._settled_ms)
        for span in self.spans(self._settled_ms, settled_ms):
            _note(span, self._errors, self._releases)
        self._settled_ms = settled_ms
        errors = list(self._errors)
        releases = {
            name: Seen(seen.first_ms, seen.last_ms, set(seen.projects))
            for name, seen in self._releases.items()
        }
        for span in self.spans(settled_ms, arrived_ms):
            _note(span, errors, releases)
        return errors, releases


def _note(span: Span, errors: list[Span], releases: dict[str, Seen]) -> None:
    if is_error(span):
        errors.append(span)
    releases.setdefault(span.release, Seen(span.ts_ms, span.ts_ms)).note(span)


def is_error(span: Span) -> bool:
    """Tell whether a request left an error event behind."""
    if span.http_status is not None:
        return span.http_status >= _SERVER_ERROR
    return span.status is not None and span.status not in NOT_FAILURES


def find_issues(errors: Iterable[Span]) -> list[Issue]:
    """Put error events together into issues, in the order of first sight."""
    groups: dict[tuple[str, str], list[Span]] = {}
    for span in sorted(errors, key=lambda span: (span.ts_ms, span.transaction, span.status or "")):
        groups.setdefault((span.project, error_title(span)), []).append(span)
    return [
        Issue(number, project, events[0].transaction, title, tuple(events))
        for number, ((project, title), events) in enumerate(groups.items(), start=1)
    ]


def matches(issue: Issue, terms: Sequence[Term]) -> bool:
    """Tell whether an issue passes all terms of a search."""
    releases = {span.release for span in issue.events}
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
