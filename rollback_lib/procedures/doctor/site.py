"""The app as a visitor sees it: health, which build answers, and the critical pages by their text.

- A page that fails (5xx) says nothing about its path or text: that is unknown. One that answers without its text is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rollback_lib.parameters import Page
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, not_checked, ok, unknown, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings

__all__ = ["FAILING_NOW", "checks"]

FAILING = 500  # from this status on the app itself says that it fails
FAILING_NOW = "The app is failing now: that is an incident, not a quiet day. See to it, then ask again."


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject, one for each critical page."""
    yield Check("App", "health", health)
    yield Check("App", "version", version)
    try:
        pages = readings.platform.app.pages
    except NotKnown:
        return
    for one in pages:
        yield Check("App", one.flow, partial(page, which=one))


def health(readings: Readings) -> Finding:
    """See that the health endpoint answers 200."""
    seen = readings.health.tell()
    told = f"{readings.clients.use().app.health_url()} answers {seen.status}"
    if seen.ok:
        return ok(told)
    return wrong(told, FAILING_NOW if seen.status >= FAILING else "Correct platform.app.url or .health_path.")


def version(readings: Readings) -> Finding:
    """See that the app tells which build answers, and that Vercel agrees."""
    path = readings.platform.app.version_path
    if not path:
        return not_checked("no version_path: what is live is judged by Vercel's own records")
    seen = readings.version.tell()
    if seen.sha is None and seen.deployment is None:
        return wrong(
            f"{path} answers {seen.status} without sha or deployment",
            'Have it answer {"sha": ..., "deployment": ...}, or set version_path to "".',
        )
    return _agrees(readings, f"{path}: {seen.deployment or seen.sha}", seen.deployment, seen.sha)


def _agrees(readings: Readings, told: str, deployment: str | None, sha: str | None) -> Finding:
    try:
        live = readings.project.use().production
    except NotKnown:
        live = None
    if live is None:
        return unknown(f"{told}; what Vercel has live is not known", "See Vercel, above.")
    same = live.id == deployment if deployment is not None else live.commit_sha == sha
    if same:
        return ok(f"{told}, as Vercel says")
    return warning(
        f"{told}, but Vercel has {live.id} live",
        "If no deployment is under way: does the path name its own build, is it cached?",
    )


def page(readings: Readings, which: Page) -> Finding:
    """See that a critical page answers and shows its text."""
    readings.health.use()  # where nobody answers at all, one check says so
    seen = readings.clients.use().app.page(which.path, which.marker)
    told = f"{which.path} answers {seen.status}"
    if seen.ok:
        return ok(f"{told} with {which.marker!r}")
    if seen.status >= FAILING:
        return unknown(told, FAILING_NOW)
    lacking = "" if seen.marker_found else f", without {which.marker!r}"
    return wrong(
        f"{told}{lacking}",
        "Correct path or marker in platform.app.pages: as it is, a good deployment would look bad.",
    )
