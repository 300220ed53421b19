"""The doctor's clocks: a platform's time is heard from whatever it answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import Consultation, down

from rollback_lib.procedures.doctor.clocks import agreement

NAMES = ("Vercel", "Sentry", "Slack", "App")


@pytest.mark.parametrize(
    ("skew_s", "status"), [(0, "ok"), (4, "ok"), (-4, "ok"), (600, "wrong"), (-600, "wrong")]
)
def test_skew_beyond_the_policy_is_wrong(
    tmp_path: Path, clock: FakeClock, skew_s: float, status: str
) -> None:
    """Five seconds are allowed here; ten minutes would make every window a guess."""
    company = Consultation(tmp_path, clock, clock_skew_s=skew_s)
    told = [company.told("Clocks", name) for name in NAMES]
    assert {one[0] for one in told} == {status}
    if status == "wrong":
        expected = (
            f"its clock is 600 s {'ahead of' if skew_s > 0 else 'behind'} this machine's; 5 s are allowed"
        )
        assert {one[1] for one in told} == {expected}


def test_refusal_tells_the_time_too(tmp_path: Path, clock: FakeClock) -> None:
    """A wrong token does not hide a wrong clock."""
    company = Consultation(tmp_path, clock, clock_skew_s=600)
    company.write_secrets(VERCEL_TOKEN="vck2718281828459", SENTRY_AUTH_TOKEN="sntryu_2718281828459")
    assert [company.told("Clocks", name)[0] for name in NAMES] == ["wrong"] * 4


def test_silence_tells_no_time(tmp_path: Path, clock: FakeClock) -> None:
    """Not asked, or no answer: unknown, by the check that tells why."""
    company = Consultation(tmp_path, clock, faults=down("sentry", kind="reset_before"))
    company.write_secrets(VERCEL_TOKEN="")
    assert company.look("Clocks", "Vercel").after == "Secrets: VERCEL_TOKEN"
    assert company.look("Clocks", "Sentry").after == "Sentry: token"
    assert company.look("Clocks", "Slack").status == "ok"


@pytest.mark.parametrize(
    ("ahead_s", "within_s", "status"),
    [(5.4, 0.5, "ok"), (5.6, 0.5, "wrong"), (-5.6, 0.5, "wrong"), (8, 3, "ok")],
)
def test_what_is_not_known_is_not_held_against_a_clock(ahead_s: float, within_s: float, status: str) -> None:
    """A slow answer leaves more room."""
    assert agreement(ahead_s, within_s, 5).status == status
