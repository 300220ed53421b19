"""What each Sentry endpoint of a world answers, once the caller has been let in.

- An endpoint gets the request, one reading of the clock and the decoded body.
- Spans that have not arrived yet are not seen by any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollback_lib.simulator import company
from rollback_lib.simulator.sentry_errors import (
    ISSUE_KINDS,
    ISSUE_SORTS,
    Issue,
    Memory,
    Seen,
    issue_json,
    matches,
)
from rollback_lib.simulator.sentry_paging import page_of
from rollback_lib.simulator.sentry_query import Refusal, Window, keys_of, parse_terms, parse_window, select
from rollback_lib.simulator.sentry_releases import checked_deploy, checked_release
from rollback_lib.simulator.sentry_series import Freshness, bucketed, interval_of, time_series
from rollback_lib.simulator.sentry_state import SentryState, World
from rollback_lib.simulator.sentry_table import Question, parse_columns, parse_sort, table, table_meta
from rollback_lib.simulator.spans import Span

__all__ = ["Endpoints", "catch_up"]

_MAX_TOP_EVENTS = 10


async def catch_up(world: World) -> None:
    """Read a world's past bit by bit, so that nobody else of the world waits for all of it at once.

    The first question about issues or releases does this; a server that does it as soon as it is up
    spares its first caller the wait.
    """
    now_ms = world.now_ms()
    while _memory(world, now_ms).advance(world.sentry.arrived_ms(now_ms)):  # noqa: ASYNC110 - waits for nothing
        await asyncio.sleep(0)


def _memory(world: World, now_ms: int) -> Memory:
    state = world.sentry
    if state.memory is None:
        state.memory = Memory(world.spans, now_ms - state.history_ms)
    return state.memory


class Endpoints:
    """The endpoints of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _state(self) -> SentryState:
        return self._world.sentry

    def environments(self, request: Request, _now_ms: int, _: Any) -> Response:
        """List the environments that a project, or the whole organization, has reported from."""
        wanted, known = request.path_params.get("project"), self._state.projects
        if wanted is not None and wanted not in {*known, *map(str, known.values())}:
            raise Refusal("The requested resource does not exist", 404)
        elsewhere = wanted in {
            company.SENTRY_OTHER_PROJECT,
            str(known[company.SENTRY_OTHER_PROJECT]),
        }  # which has no previews
        names = (company.ENVIRONMENT,) if elsewhere else (company.ENVIRONMENT, company.ENVIRONMENT_PREVIEW)
        found = [{"id": str(at), "name": name, "isHidden": False} for at, name in enumerate(names, 1)]
        return JSONResponse(found)

    def events(self, request: Request, now_ms: int, _: Any) -> Response:
        """Answer the table call."""
        labels = request.query_params.getlist("field")
        question = self._question(request, labels, parse_window(request.query_params, now_ms))
        self._stumble(labels)
        rows = table(self._visible(question, now_ms), question, self._state.switches)
        page, headers = page_of(rows, request.query_params, request.url)
        meta = table_meta(page, question, self._state.switches)
        return JSONResponse(
            {"data": page, "meta": meta, "confidence": meta["accuracy"]["confidence"]}, headers=headers
        )

    def series(self, request: Request, now_ms: int, _: Any) -> Response:
        """Answer the time series call."""
        params = request.query_params
        labels = params.getlist("yAxis") or ["count()"]
        asked = parse_window(params, now_ms)
        interval_ms = interval_of(params.get("interval"), asked)
        question = self._question(request, labels, bucketed(asked, interval_ms))
        _refuse_grouping(params.get("topEvents"), params.getlist("groupBy"), params.get("sort"))
        if any(column.groups for column in question.columns):
            raise Refusal("yAxis takes functions only")
        self._stumble(labels)
        found = time_series(
            self._visible(question, now_ms),
            question,
            interval_ms,
            self._state.switches,
            Freshness(now_ms, self._state.lag_ms),
        )
        window = question.window
        meta = {"dataset": question.dataset, "start": window.start_ms, "end": window.end_ms}
        return JSONResponse({"meta": meta, "timeSeries": found})

    def issues(self, request: Request, now_ms: int, _: Any) -> Response:
        """List issues that have events in the window."""
        params = request.query_params
        window = parse_window(params, now_ms)
        terms = parse_terms(params.get("query", "is:unresolved"), ISSUE_KINDS)
        order = ISSUE_SORTS.get(params.get("sort") or "date")
        if order is None:
            raise Refusal(f"sort must be one of: {', '.join(ISSUE_SORTS)}")
        projects, environments = self._projects(request), _environments(request)
        found: list[tuple[Issue, list[Span]]] = []
        for issue in self._remember(now_ms)[0]:
            events = issue.within(window, environments)
            if events and issue.project in projects and matches(issue, terms):
                found.append((issue, events))
        found.sort(key=lambda pair: order(*pair), reverse=True)
        page, headers = page_of(found, params, request.url, name="limit")
        url = f"{request.url.scheme}://{request.url.netloc}/organizations/{company.SENTRY_ORGANIZATION}"
        return JSONResponse(
            [
                issue_json(issue, events, now_ms, self._state.projects[issue.project], url)
                for issue, events in page
            ],
            headers=headers,
        )

    def list_releases(self, request: Request, now_ms: int, _: Any) -> Response:
        """List releases, the newest first."""
        counts = self._observed(now_ms)
        projects = self._projects(request)
        found = [
            release.json(counts.get(release.version, 0), self._state.projects)
            for release in self._state.releases.newest_first(request.query_params.get("query", ""))
            if release.projects & projects
        ]
        page, headers = page_of(found, request.query_params, request.url)
        return JSONResponse(page, headers=headers)

    def get_release(self, request: Request, now_ms: int, _: Any) -> Response:
        """Show one release."""
        counts = self._observed(now_ms)
        release = self._state.releases.get(request.path_params["version"])
        return JSONResponse(release.json(counts.get(release.version, 0), self._state.projects))

    def make_release(self, _: Request, now_ms: int, body: Any) -> Response:
        """Make a release, or find that it is there."""
        version, projects = checked_release(body, self._state.projects)
        counts = self._observed(now_ms)
        release, new = self._state.releases.make(version, projects, now_ms)
        return JSONResponse(release.json(counts.get(version, 0), self._state.projects), 201 if new else 208)

    def list_deploys(self, request: Request, now_ms: int, _: Any) -> Response:
        """List the deploys of a release, the newest first."""
        self._observed(now_ms)
        release = self._state.releases.get(request.path_params["version"])
        found = [deploy.json() for deploy in reversed(release.deploys)]
        page, headers = page_of(found, request.query_params, request.url)
        return JSONResponse(page, headers=headers)

    def make_deploy(self, request: Request, now_ms: int, body: Any) -> Response:
        """Note a deploy of a release."""
        self._observed(now_ms)
        release = self._state.releases.get(request.path_params["version"])
        checked = checked_deploy(body, release.projects)
        return JSONResponse(self._state.releases.deploy(release, checked, now_ms).json(), 201)

    def _question(self, request: Request, labels: Sequence[str], window: Window) -> Question:
        params = request.query_params
        dataset = params.get("dataset")
        keys = keys_of(dataset)
        assert dataset is not None, "refused above"
        columns = parse_columns(labels, dataset)
        return Question(
            dataset=dataset,
            columns=columns,
            terms=parse_terms(params.get("query", ""), {key.name: key.kind for key in keys.values()}),
            window=window,
            projects=self._projects(request),
            environments=_environments(request),
            sort=() if "yAxis" in params else parse_sort(params.getlist("sort"), columns),
            extrapolate=params.get("disableAggregateExtrapolation") not in ("1", "true"),
        )

    def _visible(self, question: Question, now_ms: int) -> list[Span]:
        """List the spans in question that have arrived."""
        window = question.window
        until_ms = min(window.end_ms, self._state.arrived_ms(now_ms))
        if question.dataset == "spans":
            spans = self._world.spans(window.start_ms, until_ms) if window.start_ms < until_ms else []
        elif question.dataset == "errors":
            spans = [span for issue in self._remember(now_ms)[0] for span in issue.within(window, None)]
        else:
            spans = []
        return select(
            spans,
            question.terms,
            keys_of(question.dataset),
            project=question.projects,
            environment=question.environments,
        )

    def _remember(self, now_ms: int) -> tuple[list[Issue], dict[str, Seen]]:
        return _memory(self._world, now_ms).read(self._state.arrived_ms(now_ms))

    def _observed(self, now_ms: int) -> dict[str, int]:
        """Bring the releases up to date; give how many issues each began."""
        issues, releases = self._remember(now_ms)
        self._state.releases.observe(releases)
        counts: dict[str, int] = {}
        for issue in issues:
            counts[issue.first_release] = counts.get(issue.first_release, 0) + 1
        return counts

    def _projects(self, request: Request) -> frozenset[str]:
        known = self._state.projects
        asked = request.query_params.getlist("project")
        if not asked or "-1" in asked:
            return frozenset(known)
        return frozenset(self._project(value) for value in asked)

    def _project(self, value: str) -> str:
        known = self._state.projects
        if value.isdecimal():
            for slug, number in known.items():
                if number == int(value):
                    return slug
        elif not self._state.switches.project_slugs:
            raise Refusal("Invalid project parameter. Values must be numbers.")
        elif value in known:
            return value
        raise Refusal("You do not have permission to perform this action.", 403)

    def _stumble(self, labels: Sequence[str]) -> None:
        """Fail where some self-hosted versions do."""
        if self._state.switches.failure_rate_fails and any("failure_rate()" in label for label in labels):
            raise Refusal("Internal Error", 500)


def _environments(request: Request) -> frozenset[str] | None:
    return frozenset(request.query_params.getlist("environment")) or None


def _refuse_grouping(top: str | None, group_by: Sequence[str], sort: str | None) -> None:
    """Refuse incomplete grouping, and fail on a complete one, as the real service was seen to do."""
    if top is not None and not (top.isdecimal() and 1 <= int(top) <= _MAX_TOP_EVENTS):
        raise Refusal(f"topEvents must be between 1 and {_MAX_TOP_EVENTS}")
    if top is not None and not (group_by and sort):
        raise Refusal("topEvents needs groupBy and sort")
    if group_by:
        raise Refusal("Internal Error", 500)
