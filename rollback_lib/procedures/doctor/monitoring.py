"""Sentry: does the token work, may it read what a rollback needs, are the names right, does the metric give data.

- Which scope lets which request in is Sentry's documented table; any one of a row is enough.
- Few requests in the last hour are unknown, not wrong: the metric may be right and the night quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, ok, unknown, wrong
from rollback_lib.procedures.doctor.readings import Readings

__all__ = ["checks"]

LOOK_BACK = timedelta(hours=1)
_NEEDED = {
    "org:read": ("org:read", "org:write", "org:admin"),
    "event:read": ("event:read", "event:write", "event:admin"),
    "project:read": ("project:read", "project:write", "project:admin"),
}
_FOR = {"org:read": "the error rate", "event:read": "the issues", "project:read": "the project"}
_TOKEN = "Make a new token (an internal integration's) and put it where SENTRY_AUTH_TOKEN comes from."  # noqa: S105 - advice


def checks(_: Readings) -> Iterator[Check]:
    """List the checks of this subject."""
    yield Check("Sentry", "token", token, _TOKEN)
    yield Check("Sentry", "scopes", scopes, _TOKEN)
    yield Check(
        "Sentry",
        "organization",
        organization,
        "Correct platform.sentry.organization (and .api_url: its region), or give the token org:read.",
    )
    yield Check(
        "Sentry", "project", project, "Correct platform.sentry.project, or give the token project:read."
    )
    yield Check("Sentry", "environment", environment)
    yield Check("Sentry", "error rate", error_rate, "Correct platform.sentry.error_metric and .project.")


def token(readings: Readings) -> Finding:
    """See that the token is accepted."""
    readings.sentry_scopes.tell()
    return ok("works")


def scopes(readings: Readings) -> Finding:
    """See that the token may read what a rollback reads."""
    held = readings.sentry_scopes.use()
    if held is None:
        return unknown(
            "Sentry does not say what the token may do", "See below: each read that works has its scope."
        )
    missing = [name for name, enough in _NEEDED.items() if not held.intersection(enough)]
    if missing:
        listed = ", ".join(f"{name} ({_FOR[name]})" for name in missing)
        return wrong(f"missing: {listed}", f"Give the token {' and '.join(missing)}.")
    return ok(", ".join(sorted(held)))


def organization(readings: Readings) -> Finding:
    """See that the organization is there."""
    readings.sentry_scopes.use()
    readings.clients.use().sentry.environments(of_project=False)
    return ok(readings.platform.sentry.organization)


def project(readings: Readings) -> Finding:
    """See that the project is there."""
    readings.environments.tell()
    return ok(readings.platform.sentry.project)


def environment(readings: Readings) -> Finding:
    """See that the project has reported from the environment."""
    known, wanted = readings.environments.use(), readings.platform.sentry.environment
    if wanted not in known:
        return wrong(
            f"the project knows no {wanted!r}; it has {', '.join(known) or 'none'}",
            "Correct platform.sentry.environment: the name as the app reports it.",
        )
    return ok(wanted)


def error_rate(readings: Readings) -> Finding:
    """See that the metric that decides and verifies gives data."""
    readings.sentry_scopes.use()
    policy = readings.policy
    end = readings.given.clock.now() - timedelta(seconds=policy.telemetry_lag_s)
    seen = readings.clients.use().sentry.error_rate(end - LOOK_BACK, end)
    if seen.rate is None:
        return unknown(
            f"no {seen.metric} in the last hour: {seen.note}",
            "See that the app sends its requests as spans, and that platform.sentry names them right.",
        )
    told = f"{seen.rate:.2%} by {seen.metric}, {seen.count} requests in the last hour"
    if seen.count < policy.min_requests:
        return unknown(
            f"{told}: fewer than {policy.min_requests} (policy.min_requests)",
            "Look again at a busier hour; a rollback in a quiet one could not be verified by it.",
        )
    return ok(f"{told}{f' ({seen.note})' if seen.note else ''}")
