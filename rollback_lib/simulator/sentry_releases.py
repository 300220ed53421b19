"""Releases and deploys as the monitoring keeps them.

- A release is there once somebody made it or a span named it; making it twice is no error.
- A deploy belongs to a release that is there; posting it twice makes two, there is no idempotency key.
- A body that does not fit is refused by field, and nothing is kept of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rollback_lib.simulator.sentry_errors import Seen
from rollback_lib.simulator.sentry_query import Refusal, iso, parse_time

__all__ = ["Deploy", "Release", "ReleaseBook", "checked_deploy", "checked_release"]

_MAX_NAME = 64
_MAX_URL = 2048
_MAX_VERSION = 200
_REQUIRED = "This field is required."
_FIRST_RELEASE_ID = 1_700_001
_FIRST_DEPLOY_ID = 98_765


@dataclass(frozen=True)
class Deploy:
    """That a release went to an environment."""

    number: str
    environment: str
    name: str | None
    url: str | None
    started: str | None
    finished: str
    projects: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """Write it as the API does."""
        return {
            "id": self.number,
            "environment": self.environment,
            "name": self.name,
            "url": self.url,
            "dateStarted": self.started,
            "dateFinished": self.finished,
        }


@dataclass
class Release:
    """One version of the company's software."""

    number: int
    version: str
    created_ms: int
    projects: set[str]
    deploys: list[Deploy] = field(default_factory=list)  # oldest first
    first_event_ms: int | None = None
    last_event_ms: int | None = None

    def json(self, new_groups: int, project_ids: Mapping[str, int]) -> dict[str, Any]:
        """Write it as the API does."""
        return {
            "id": self.number,
            "version": self.version,
            "shortVersion": self.version,
            "status": "open",
            "dateCreated": iso(self.created_ms),
            "dateReleased": None,
            "newGroups": new_groups,
            "commitCount": 0,
            "deployCount": len(self.deploys),
            "lastDeploy": self.deploys[-1].json() if self.deploys else None,
            "projects": [
                {"id": project_ids[slug], "slug": slug, "name": slug} for slug in sorted(self.projects)
            ],
            "firstEvent": None if self.first_event_ms is None else iso(self.first_event_ms),
            "lastEvent": None if self.last_event_ms is None else iso(self.last_event_ms),
        }


@dataclass
class ReleaseBook:
    """All releases of the organization."""

    _by_version: dict[str, Release] = field(default_factory=dict)
    _next_deploy: int = _FIRST_DEPLOY_ID

    def observe(self, releases: Mapping[str, Seen]) -> None:
        """Take in what the spans tell."""
        for version, seen in releases.items():
            release, _ = self.make(version, seen.projects, seen.first_ms)
            release.first_event_ms, release.last_event_ms = seen.first_ms, seen.last_ms
            # A slow request that began earlier than all known ones is heard of later.
            release.created_ms = min(release.created_ms, seen.first_ms)

    def make(self, version: str, projects: Iterable[str], at_ms: int) -> tuple[Release, bool]:
        """Give the release of that version, and whether it is new."""
        known = self._by_version.get(version)
        if known is not None:
            known.projects.update(projects)
            return known, False
        number = _FIRST_RELEASE_ID + len(self._by_version)
        release = self._by_version[version] = Release(number, version, at_ms, set(projects))
        return release, True

    def get(self, version: str) -> Release:
        """Give a release that has to be there.

        Raises:
            Refusal: It is not.
        """
        release = self._by_version.get(version)
        if release is None:
            raise Refusal("The requested resource does not exist", 404)
        return release

    def newest_first(self, containing: str = "") -> list[Release]:
        """List the releases whose version holds a text."""
        found = [release for release in self._by_version.values() if containing in release.version]
        return sorted(found, key=lambda release: (release.created_ms, release.number), reverse=True)

    def deploy(self, release: Release, body: Mapping[str, Any], now_ms: int) -> Deploy:
        """Note a deploy of a release, from a checked body."""
        deploy = Deploy(
            str(self._next_deploy),
            body["environment"],
            body.get("name"),
            body.get("url"),
            _instant(body.get("dateStarted")),
            _instant(body.get("dateFinished")) or iso(now_ms),
            tuple(body.get("projects") or sorted(release.projects)),
        )
        self._next_deploy += 1
        release.deploys.append(deploy)
        return deploy


def _instant(text: str | None) -> str | None:
    return None if text is None else iso(parse_time(text))


def checked_release(body: Any, projects: Iterable[str]) -> tuple[str, list[str]]:
    """Read version and projects of a release to be made.

    Raises:
        Refusal: By field.
    """
    if not isinstance(body, dict):
        raise Refusal("Invalid data. Expected a dictionary.", fields={"non_field_errors": "Not an object."})
    version, slugs = body.get("version"), body.get("projects")
    bad = {
        "version": _version_fault(version),
        "projects": _REQUIRED if not slugs else _projects_fault(slugs, projects),
    }
    _refuse(bad)
    assert isinstance(version, str), "checked above"
    assert isinstance(slugs, list), "checked above"
    return version, slugs


def _version_fault(version: Any) -> str | None:
    if version in (None, ""):
        return _REQUIRED
    if not isinstance(version, str) or len(version) > _MAX_VERSION:
        return f"Give at most {_MAX_VERSION} characters."
    if version in (".", "..") or version.strip() != version or set(version) & set("/\\\r\n\t"):
        return "Not a valid name of a release."
    return None


def checked_deploy(body: Any, projects: Iterable[str]) -> Mapping[str, Any]:
    """Check the body of a deploy.

    Raises:
        Refusal: By field.
    """
    if not isinstance(body, dict):
        raise Refusal("Invalid data. Expected a dictionary.", fields={"non_field_errors": "Not an object."})
    faults: dict[str, Callable[[Any], str | None]] = {
        "name": _text_fault(_MAX_NAME),
        "url": _url_fault,
        "dateStarted": _time_fault,
        "dateFinished": _time_fault,
        "projects": lambda slugs: _projects_fault(slugs, projects),
    }
    environment = body.get("environment")
    bad = {name: fault(body[name]) for name, fault in faults.items() if body.get(name) is not None}
    bad["environment"] = _REQUIRED if environment in (None, "") else _text_fault(_MAX_NAME)(environment)
    _refuse(bad)
    return body


def _refuse(bad: Mapping[str, str | None]) -> None:
    found = {name: fault for name, fault in bad.items() if fault is not None}
    if found:
        raise Refusal("The body is not valid.", fields=found)


def _text_fault(limit: int) -> Callable[[Any], str | None]:
    def fault(value: Any) -> str | None:
        if isinstance(value, str) and len(value) <= limit:
            return None
        return f"Ensure this field is a text of no more than {limit} characters."

    return fault


def _url_fault(value: Any) -> str | None:
    fits = isinstance(value, str) and len(value) <= _MAX_URL
    parts = urlsplit(value) if fits else None
    sound = parts is not None and parts.scheme in ("http", "https") and parts.netloc != ""
    return None if sound else "Enter a valid URL."


def _time_fault(value: Any) -> str | None:
    try:
        parse_time(value if isinstance(value, str) else "")
    except Refusal:
        return "Give the time as ISO 8601."
    return None


def _projects_fault(slugs: Any, projects: Iterable[str]) -> str | None:
    known = set(projects)
    sound = isinstance(slugs, list) and all(isinstance(slug, str) and slug in known for slug in slugs)
    return None if sound else "Invalid project slugs"
