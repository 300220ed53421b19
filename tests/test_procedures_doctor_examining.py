"""The whole examination: every check has a finding, in time, whatever is broken, and nothing secret in it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import DOWN, Consultation, down

from rollback_lib.procedures.doctor import Examined, examine, would_work
from rollback_lib.procedures.doctor import examining as module
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, ok
from rollback_lib.procedures.doctor.readings import Readings

SUBJECTS = (
    "This machine",
    "Parameters",
    "Secrets",
    "Approvals",
    "Vercel",
    "Convex",
    "Sentry",
    "Slack",
    "App",
    "Clocks",
    "Records",
)


def by_name(examined: tuple[Examined, ...]) -> dict[str, Finding]:
    """Give the findings by subject and check."""
    return {f"{one.subject}: {one.check}": one.finding for one in examined}


def test_sound_company_would_work(tmp_path: Path, clock: FakeClock) -> None:
    """Every subject is looked at; only the machine's real clock and the plan's age stand out here."""
    sound = Consultation(tmp_path, clock)
    sound.edit(
        "drill.yaml", "clock_skew_s: 5", "clock_skew_s: 99999999"
    )  # the store's files carry the real time
    examined = examine(sound.given(), limit_s=60)
    assert would_work(examined), [one for one in examined if one.finding.status in ("wrong", "unknown")]
    assert tuple(dict.fromkeys(one.subject for one in examined)) == SUBJECTS
    assert len(by_name(examined)) == len(examined) > 40
    assert not [entry for entry in sound.world.ledger.entries() if entry.changes]


def test_everything_down_is_unknown_in_time(tmp_path: Path, clock: FakeClock) -> None:
    """Nothing that only a platform can tell is ok; what is here is still looked at."""
    sick = Consultation(tmp_path, clock, faults=down("vercel", "sentry", "slack", "app", kind="reset_before"))
    began = time.monotonic()
    found = by_name(examine(sick.given()))
    assert time.monotonic() - began < 10
    outside = {name for name in found if name.startswith(("Vercel", "Sentry", "Slack", "App:", "Clocks"))}
    assert {found[name].status for name in outside} == {"unknown"}
    assert len(outside) > 25
    assert found["Parameters: plan.yaml"].status == found["Secrets: VERCEL_TOKEN"].status == "ok"
    roots = {name for name in outside if not found[name].after}
    assert {found[name].todo for name in roots} == {DOWN}


def test_nothing_at_all_is_told_check_by_check(tmp_path: Path, clock: FakeClock) -> None:
    """A folder without a plan, parameters or people: findings, no traceback."""
    sick = Consultation(tmp_path, clock)
    for name in ("drill.yaml", "contacts.yaml", "plan.yaml"):
        (sick.home / "parameters" / name).unlink()
    found = by_name(examine(sick.given()))
    for name in ("plan.yaml", "drill.yaml", "contacts.yaml"):
        assert found[f"Parameters: {name}"].status == "wrong"
    assert found["Vercel: project"].status == "unknown"
    assert not [finding for finding in found.values() if "mistake in the runbook" in finding.todo]


def test_check_that_hangs_is_unknown_and_keeps_nobody_waiting(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told; the thread that hangs ends with the process."""
    never = threading.Event()

    def hang(_: Readings) -> Finding:
        never.wait(30)
        return ok("too late")

    def fail(_: Readings) -> Finding:
        raise KeyError("team")

    checks = (
        Check("A", "hangs", hang),
        Check("A", "fails", fail),
        Check("A", "answers", lambda _: ok("fine")),
    )
    monkeypatch.setattr(module, "all_checks", lambda _: checks)
    began = time.monotonic()
    hangs, fails, answers = (
        one.finding for one in examine(Consultation(tmp_path, clock).given(), limit_s=0.3)
    )
    assert time.monotonic() - began < 5
    never.set()
    assert (hangs.status, hangs.seen, hangs.todo) == ("unknown", "no answer within 0.3 s", DOWN)
    assert (fails.status, "KeyError" in fails.seen) == ("unknown", True)
    assert answers.status == "ok"


def test_no_secret_and_no_telephone_number_is_in_any_finding(tmp_path: Path, clock: FakeClock) -> None:
    """Also where a platform, or a file, repeats it."""
    sick = Consultation(tmp_path, clock)
    token = sick.environ["VERCEL_TOKEN"]
    sick.edit("drill.yaml", "project: derrimut-platform", f"project: {token}")
    sick.edit("contacts.yaml", "name: Lee Lead", 'name: "+61 000 000 002"')
    examined = examine(sick.given(), limit_s=60)
    told = "\n".join(f"{one.finding.seen} {one.finding.todo}" for one in examined)
    assert by_name(examined)["Parameters: drill.yaml"].status == "wrong"
    for secret in (*sick.environ.values(), "+61 000 000 002"):
        assert secret not in told


def test_order_of_the_checks_does_not_matter(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first takes a reading; who tells of it stays the same."""
    sick = Consultation(tmp_path, clock)
    sick.write_secrets(SENTRY_AUTH_TOKEN="sntryu_2718281828459")
    plain = by_name(examine(sick.given(), limit_s=60))
    in_order = module.all_checks
    monkeypatch.setattr(module, "all_checks", lambda readings: in_order(readings)[::-1])
    turned = by_name(examine(sick.given(), limit_s=60))
    rates = ("Sentry: error rate", "Records: store's clock")
    assert {name: finding for name, finding in turned.items() if name not in rates} == {
        name: finding for name, finding in plain.items() if name not in rates
    }
    assert plain["Sentry: token"] == replace(turned["Sentry: token"])
