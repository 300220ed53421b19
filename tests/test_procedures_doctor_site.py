"""The doctor at the app: health, version and pages as a visitor gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from consultations import DOWN, Consultation, down

PAGES = ("User login", "Membership page", "Trainer booking", "Marketplace", "AI plan generator")


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


def test_sound_app_is_fine(sound: Consultation) -> None:
    """Health is 200, the version is Vercel's, each page shows its text."""
    found = {title: sound.told("App", title) for title in ("health", "version", *PAGES)}
    assert {told[0] for told in found.values()} == {"ok"}
    assert sound.world.live().id in found["version"][1]


def test_app_that_fails_now_is_an_incident(tmp_path: Path, clock: FakeClock) -> None:
    """Health is wrong; whether path and text of a page are right cannot be told."""
    sick = Consultation(tmp_path, clock, broken={})
    status, seen, todo = sick.told("App", "health")
    assert (status, "503" in seen, "incident" in todo) == ("wrong", True, True)
    assert {sick.look("App", title).status for title in PAGES} == {"unknown"}
    assert sick.told("App", "version")[0] == "ok"


def test_app_that_does_not_answer_is_told_once(tmp_path: Path, clock: FakeClock) -> None:
    """No answer at all: one check says so, the others name it."""
    sick = Consultation(tmp_path, clock, faults=down("app", kind="reset_before"))
    status, seen, todo = sick.told("App", "health")
    assert (status, "got no answer" in seen, todo) == ("unknown", True, DOWN)
    assert {sick.look("App", title).after for title in ("version", *PAGES)} == {"App: health"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("path: /membership,", "path: /members,", "answers 404"),
        ("marker: Membership plans", "marker: Our plans", "answers 200, without 'Our plans'"),
    ],
)
def test_page_that_is_described_wrongly_is_wrong(sound: Consultation, old: str, new: str, says: str) -> None:
    """A good deployment would look bad on the night."""
    sound.edit("drill.yaml", old, new)
    status, seen, todo = sound.told("App", "Membership page")
    assert (status, says in seen, "platform.app.pages" in todo) == ("wrong", True, True)
    assert sound.told("App", "Marketplace")[0] == "ok"


def test_health_path_that_is_elsewhere_is_wrong(sound: Consultation) -> None:
    """404 is no health."""
    sound.edit("drill.yaml", "health_path: /api/health", "health_path: /healthz")
    status, seen, todo = sound.told("App", "health")
    assert (status, "404" in seen, ".health_path" in todo) == ("wrong", True, True)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ('""', "not checked", "no version_path"),
        ("/api/build", "wrong", "without sha or deployment"),
        ("/membership", "wrong", "without sha or deployment"),
    ],
)
def test_version_path_is_tried(sound: Consultation, path: str, status: str, says: str) -> None:
    """None is a choice; one that tells nothing is wrong."""
    sound.edit("drill.yaml", "version_path: /api/version", f"version_path: {path}")
    told = sound.told("App", "version")
    assert (told[0], says in told[1]) == (status, True)


def test_version_that_vercel_does_not_have_live_is_a_warning(sound: Consultation) -> None:
    """A page of another build, or of a cache, would verify nothing."""
    hosting = sound.world.hosting
    hosting.move_host("derrimut247.drill", hosting.roles["stable"], sound.world.now_ms(), "alias", "ana")
    status, seen, _ = sound.told("App", "version")
    assert (status, "but Vercel has" in seen) == ("warning", True)


def test_version_without_vercel_is_unknown(sound: Consultation) -> None:
    """It answers; whether it is right cannot be seen."""
    sound.write_secrets(VERCEL_TOKEN="")
    status, seen, _ = sound.told("App", "version")
    assert (status, "not known" in seen) == ("unknown", True)


def test_sha_alone_is_compared_with_vercel(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app may tell its commit only."""
    from rollback_lib.providers import app

    plain = app.AppClient.version

    def without_deployment(self: Any, deployment: str | None = None) -> app.VersionReading:
        seen = plain(self, deployment)
        return app.VersionReading(seen.status, seen.sha, None, seen.raw, seen.protected)

    monkeypatch.setattr(app.AppClient, "version", without_deployment)
    assert sound.told("App", "version")[0] == "ok"
