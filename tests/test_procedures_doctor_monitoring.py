"""The doctor at Sentry: token, scopes, names, and whether the metric gives data."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import DOWN, Consultation, down, held_by

TITLES = ("token", "scopes", "organization", "project", "environment", "error rate")


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


def test_sound_monitoring_is_fine(sound: Consultation) -> None:
    """The rate is shown with the number of requests that it stands on."""
    found = {title: sound.told("Sentry", title) for title in TITLES}
    assert {title: told[0] for title, told in found.items()} == dict.fromkeys(TITLES, "ok")
    assert "http_response_rate(5)" in found["error rate"][1]
    assert "requests in the last hour" in found["error rate"][1]


def test_refused_token_is_wrong_and_hides_what_needs_it(sound: Consultation) -> None:
    """401 is a clear answer."""
    sound.write_secrets(SENTRY_AUTH_TOKEN="sntryu_2718281828459")
    status, seen, todo = sound.told("Sentry", "token")
    assert (status, "401" in seen, "SENTRY_AUTH_TOKEN" in todo) == ("wrong", True, True)
    for title in ("scopes", "organization", "error rate"):
        assert sound.look("Sentry", title).after == "Sentry: token"


def test_outage_is_unknown_and_never_wrong(tmp_path: Path, clock: FakeClock) -> None:
    """An answer of 503 says nothing about token or names."""
    sick = Consultation(tmp_path, clock, faults=down("sentry"))
    status, seen, todo = sick.told("Sentry", "token")
    assert (status, "503" in seen, todo) == ("unknown", True, DOWN)
    assert {sick.look("Sentry", title).status for title in TITLES} == {"unknown"}


@pytest.mark.parametrize(
    ("scope", "then_wrong"),
    [
        ("org:read", {"scopes", "organization", "error rate"}),
        ("event:read", {"scopes"}),
        ("project:read", {"scopes", "project"}),
    ],
)
def test_each_missing_scope_is_named(
    tmp_path: Path, clock: FakeClock, scope: str, then_wrong: set[str]
) -> None:
    """By its name and by what it is for; what needs it is refused, the rest is fine."""
    sick = Consultation(tmp_path, clock, tokens=held_by("SENTRY_AUTH_TOKEN", scope))
    status, seen, todo = sick.told("Sentry", "scopes")
    assert (status, scope in seen, scope in todo) == ("wrong", True, True)
    assert {title for title in TITLES if sick.look("Sentry", title).status == "wrong"} == then_wrong


def test_stronger_scope_is_enough(tmp_path: Path, clock: FakeClock) -> None:
    """Any scope of a row of the documented table lets the request in."""
    tokens = held_by(
        "SENTRY_AUTH_TOKEN",
        "org:read",
        "event:read",
        "project:read",
        also=("org:admin", "event:write", "project:write"),
    )
    sound = Consultation(tmp_path, clock, tokens=tokens)
    assert {sound.look("Sentry", title).status for title in TITLES} == {"ok"}


def test_scopes_that_are_not_told_are_unknown(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never taken for none, and never for all."""
    from rollback_lib.providers.sentry import SentryClient

    monkeypatch.setattr(SentryClient, "scopes", lambda _: None)
    status, seen, _ = sound.told("Sentry", "scopes")
    assert (status, seen) == ("unknown", "Sentry does not say what the token may do")


@pytest.mark.parametrize(
    ("title", "old", "new"),
    [
        ("organization", "organization: derrimut", "organization: elsewhere"),
        ("project", "project: web", "project: shop"),
    ],
)
def test_name_that_is_not_there_is_wrong(sound: Consultation, title: str, old: str, new: str) -> None:
    """The advice names the parameter."""
    sound.edit("drill.yaml", old, new)
    status, seen, todo = sound.told("Sentry", title)
    assert (status, "404" in seen, f"platform.sentry.{title}" in todo) == ("wrong", True, True)


def test_environment_that_never_reported_is_wrong(sound: Consultation) -> None:
    """A rate of an environment that is not there would be no data on the night; those that are there are named."""
    sound.edit("drill.yaml", "environment: production  #", "environment: prod  #")
    status, seen, _ = sound.told("Sentry", "environment")
    assert (status, "production" in seen) == ("wrong", True)
    assert sound.told("Sentry", "error rate")[0] == "unknown"


def test_unknown_metric_is_wrong(sound: Consultation) -> None:
    """Sentry refuses a field that it does not know."""
    sound.edit("drill.yaml", "http_response_rate(5)", "http_failure_ratio()")
    status, seen, todo = sound.told("Sentry", "error rate")
    assert (status, "400" in seen) == ("wrong", True)
    assert "error_metric" in todo


def test_sparse_data_is_unknown(tmp_path: Path, clock: FakeClock) -> None:
    """Fewer requests than a run would take for data: no verification could rest on them."""
    quiet = Consultation(tmp_path, clock, traffic_rps=0.004)
    status, seen, _ = quiet.told("Sentry", "error rate")
    assert (status, "fewer than 50" in seen) == ("unknown", True)


def test_no_data_is_unknown_and_never_zero(tmp_path: Path, clock: FakeClock) -> None:
    """An empty hour gives no rate."""
    status, seen, _ = Consultation(tmp_path, clock, traffic_rps=0).told("Sentry", "error rate")
    assert (status, "no http_response_rate(5)" in seen) == ("unknown", True)
    assert "0.00" not in seen
