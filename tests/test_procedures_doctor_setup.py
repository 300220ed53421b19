"""The doctor at home: packages, the project's files, and the secrets."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import Consultation
from parameters_project import configured, line_number
from repository import ROOT

SECRETS = ("VERCEL_TOKEN", "SENTRY_AUTH_TOKEN", "SLACK_BOT_TOKEN")


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


# The machine


def test_packages_are_held_against_the_lock(sound: Consultation) -> None:
    """As locked is fine, another version a warning; without a lock there is nothing to hold them against."""
    assert sound.told("This machine", "Python and packages")[0] == "not checked"
    lock = sound.home / "requirements.lock"
    shutil.copy(ROOT / "requirements.lock", lock)
    assert sound.told("This machine", "Python and packages")[0] in ("ok", "warning")
    ours = metadata.version("httpx")
    lock.write_text(f"httpx=={ours} ; python_full_version == '3.11.*' \\\n    --hash=sha256:0\nhttpx==0.1\n")
    assert sound.told("This machine", "Python and packages")[0] == "ok"
    lock.write_text("httpx==0.1 \\\n    --hash=sha256:0\nnever-installed==1.0\n", encoding="utf-8")
    status, seen, _ = sound.told("This machine", "Python and packages")
    assert (status, f"httpx {ours} (locked 0.1)" in seen, "never-installed" in seen) == (
        "warning",
        True,
        False,
    )


def test_missing_package_is_wrong(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the project asks for itself has to be there."""
    monkeypatch.setattr(
        metadata, "requires", lambda _: ["httpx>=0.28", "no-such-thing>=1", "x ; extra == 'dev'"]
    )
    status, seen, _ = sound.told("This machine", "Python and packages")
    assert (status, "not installed: no-such-thing" in seen) == ("wrong", True)


# The project's files


def test_plan_that_does_not_load_is_wrong_and_its_review_unknown(sound: Consultation) -> None:
    """With its line."""
    assert sound.told("Parameters", "plan.yaml")[0] == "ok"
    sound.edit("plan.yaml", "version: 1.0.0", "edition: 1.0.0")
    status, seen, _ = sound.told("Parameters", "plan.yaml")
    assert (status, "version" in seen) == ("wrong", True)
    assert sound.look("Parameters", "plan's review").after == "Parameters: plan.yaml"


def test_overdue_review_is_a_warning(sound: Consultation) -> None:
    """The plan is followed all the same; how late it is stands there."""
    status, seen, todo = sound.told("Parameters", "plan's review")
    assert (status, seen) == ("warning", "was due on 2025-02-09, 652 days ago")
    assert "next_review" in todo
    sound.edit("plan.yaml", "next_review: 2025-02-09", "next_review: 2026-11-23")
    assert sound.told("Parameters", "plan's review") == ("ok", "next on 2026-11-23", "")


def test_placeholders_are_named_with_their_lines(sound: Consultation) -> None:
    """As committed, production is not configured, and nothing that needs it is looked at."""
    status, seen, todo = sound.told("Parameters", "production.yaml", environment="production")
    line = line_number(sound.home, "production.yaml", "team_id: CHANGE-ME")
    assert (status, f"line {line}: platform.vercel.team_id" in seen.splitlines()) == ("wrong", True)
    assert "parameters/production.yaml" in todo
    status, seen, _ = sound.told("Parameters", "contacts.yaml", environment="production")
    assert (status, "production.people.lead.phone" in seen, "staging" in seen) == ("wrong", True, False)
    found = sound.look("Vercel", "token", environment="production")
    assert found.status == "unknown"


def test_configured_production_is_fine(tmp_path: Path, sound: Consultation) -> None:
    """Nothing is sent to find that out."""
    home = configured(tmp_path / "other")
    for name in ("production.yaml", "contacts.yaml"):
        assert sound.told("Parameters", name, environment="production", home=home)[0] == "ok"
    assert sound.world.ledger.entries() == []


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (
            "drill.yaml",
            "request_timeout_s: 3",
            "request_timeout_s: 0",
            "request_timeout_s must be more than 0",
        ),
        ("drill.yaml", "http://127.0.0.1:7401", "https://api.vercel.com", "platform.vercel.api_url"),
        ("contacts.yaml", "slack: U0LEE", "slack: lee", "must be a Slack user id"),
    ],
)
def test_wrong_value_is_named_with_its_line(
    sound: Consultation, name: str, old: str, new: str, says: str
) -> None:
    """A drill that would reach a real platform is refused as well."""
    sound.edit(name, old, new)
    status, seen, _ = sound.told("Parameters", name)
    assert (status, says in seen, ", line " in seen) == ("wrong", True, True)


# Secrets


def test_secrets_are_told_by_their_place_alone(sound: Consultation) -> None:
    """From the environment, else from the file; the value nowhere."""
    status, seen, _ = sound.told("Secrets", "file")
    assert (status, seen) == ("ok", ".secrets/drill.env, mode 0600")
    environ = {"ROLLBACK_DRILL_VERCEL_TOKEN": sound.environ["VERCEL_TOKEN"]}
    told = sound.told("Secrets", "VERCEL_TOKEN", environ=environ)
    assert told[1] == "from environment variable ROLLBACK_DRILL_VERCEL_TOKEN"
    for name in SECRETS:
        status, seen, todo = sound.told("Secrets", name)
        assert (status, seen, todo) == ("ok", "from file .secrets/drill.env", "")
    assert sound.told("Secrets", "bypass secret")[0] == "ok"


@pytest.mark.parametrize("name", SECRETS)
def test_missing_secret_is_wrong(sound: Consultation, name: str) -> None:
    """The two ways to give it are named."""
    sound.write_secrets(**{name: ""})
    status, seen, todo = sound.told("Secrets", name)
    assert (status, seen, name in todo, ".secrets/drill.env" in todo) == ("wrong", "not given", True, True)


def test_secrets_file_that_others_can_read_is_wrong(sound: Consultation) -> None:
    """It is not read at all, and what needs it says so."""
    sound.write_secrets().chmod(0o644)
    status, seen, todo = sound.told("Secrets", "file")
    assert (status, "mode 0644" in seen, "chmod 600" in todo) == ("wrong", True, True)
    assert sound.look("Secrets", "VERCEL_TOKEN").after == "Secrets: file"
    assert sound.look("Slack", "token").after == "Secrets: file"


def test_secret_that_cannot_be_one_hides_nothing_else(sound: Consultation) -> None:
    """A token with a space in it is wrong; the other platforms are looked at."""
    sound.write_secrets(SLACK_BOT_TOKEN="xoxb 2718281828459")
    status, seen, _ = sound.told("Secrets", "SLACK_BOT_TOKEN")
    assert (status, "cannot be a secret" in seen, "2718281828459" in seen) == ("wrong", True, False)
    assert sound.look("Slack", "token").after == "Secrets: SLACK_BOT_TOKEN"
    assert sound.told("Vercel", "token")[0] == "ok"


def test_optional_secrets_are_a_choice(sound: Consultation) -> None:
    """Left out, or given and not to be tried without posting."""
    sound.write_secrets(VERCEL_AUTOMATION_BYPASS_SECRET="")
    assert sound.told("Secrets", "bypass secret")[0] == "not checked"
    assert sound.told("Secrets", "webhook")[0] == "not checked"
    sound.write_secrets(SLACK_WEBHOOK_URL="http://127.0.0.1:7403/services/T0/B0/2718281828459")
    status, seen, _ = sound.told("Secrets", "webhook")
    assert (status, "without posting" in seen, "2718281828459" in seen) == ("not checked", True, False)


def test_webhook_that_leads_elsewhere_is_wrong(sound: Consultation) -> None:
    """A drill's alert must not reach the real channel."""
    sound.write_secrets(SLACK_WEBHOOK_URL="https://hooks.slack.com/services/T0/B0/2718281828459")
    status, seen, _ = sound.told("Secrets", "webhook")
    assert (status, "2718281828459" in seen) == ("wrong", False)


def test_bucket_needs_its_keys(sound: Consultation) -> None:
    """They are asked for where the state store is a bucket, and only there."""
    sound.edit(
        "drill.yaml", "state: state", "state: s3://runbook/drill\n  bucket: {endpoint: http://127.0.0.1:1}"
    )
    for name in ("STORE_ACCESS_KEY_ID", "STORE_SECRET_ACCESS_KEY"):
        assert sound.told("Secrets", name)[0] == "wrong"
    status, seen, _ = sound.told("Records", "state store")
    assert (status, "STORE_ACCESS_KEY_ID" in seen) == ("wrong", True)
