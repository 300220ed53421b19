"""The doctor on approvals: for each role that the plan asks, is there somebody besides the operator."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import Consultation
from repository import ROOT

from rollback_lib.plan import load_plan
from rollback_lib.procedures.doctor.approvers import roles_asked


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


def test_roles_are_those_that_the_plan_asks() -> None:
    """Who is only told afterwards approves nothing."""
    assert roles_asked(load_plan(ROOT)) == ("engineering_lead", "cto")


def test_role_with_a_deputy_is_fine(sound: Consultation) -> None:
    """Whoever of them operates, the other approves."""
    assert sound.told("Approvals", "engineering lead approves") == ("ok", "Lee Lead or Dee Deputy", "")


def test_role_of_one_is_closed_to_that_one(sound: Consultation) -> None:
    """Others may still operate: a warning that names who must not."""
    status, seen, todo = sound.told("Approvals", "cto approves")
    assert (status, "Cat Chief alone" in seen, "deputy for cto" in todo) == ("warning", True, True)


def test_one_person_cannot_be_four_eyes(sound: Consultation) -> None:
    """Nobody approves their own request, and there is nobody else."""
    contacts = sound.home / "parameters" / "contacts.yaml"
    contacts.write_text(
        """
drill:
  people:
    lee: {name: Lee Lead, slack: U0LEE, email: lee@derrimut247.drill, phone: "+61 000 000 002"}
  roles:
    engineering_lead: {person: lee}
    cto: {person: lee}
    on_call_engineer: {person: lee}
""",
        encoding="utf-8",
    )
    for role in ("engineering lead", "cto"):
        status, seen, _ = sound.told("Approvals", f"{role} approves")
        assert (status, "nobody else to operate" in seen) == ("wrong", True)


def test_unknown_people_leave_it_unknown(sound: Consultation) -> None:
    """The file's own check tells why."""
    (sound.home / "parameters" / "contacts.yaml").unlink()
    assert sound.look("Approvals", "cto approves").after == "Parameters: contacts.yaml"
