"""What the plan asks before an effect, by severity, criterion and procedure."""

from __future__ import annotations

import pytest
from consents import HOME

from rollback_lib.consent.policy import demand
from rollback_lib.errors import BadParameters
from rollback_lib.plan import Plan, load_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Give the customer's plan."""
    return load_plan(HOME)


def test_p0_with_its_criterion_needs_nobody_and_tells_three_afterwards(plan: Plan) -> None:
    """A claimed P0 criterion lets the rollback through without approval; lead, CTO and on-call are told after."""
    found = demand(plan, "P0", "P0.T1", 1)
    assert (found.roles, found.refusals) == ((), ())
    assert found.notify_after == ("engineering_lead", "cto", "on_call_engineer")
    assert "Complete service outage" in found.rule
    assert "no approval needed, notify after" in found.rule


def test_p0_without_a_criterion_is_refused_naming_those_there_are(plan: Plan) -> None:
    """Going on without approval takes the claim of a P0 criterion by name."""
    (refusal,) = demand(plan, "P0", "", 1).refusals
    assert "set criterion to one of" in refusal
    assert all(f"P0.T{number} " in refusal for number in range(1, 6))
    assert "P1.T" not in refusal


def test_p0_with_a_p1_criterion_is_refused(plan: Plan) -> None:
    """A criterion of another severity is no claim of this one."""
    (refusal,) = demand(plan, "P0", "P1.T3", 1).refusals
    assert refusal.startswith("criterion P1.T3 is one of severity P1, not P0")
    assert "P0.T1 Complete service outage" in refusal


@pytest.mark.parametrize("criterion", ["P0.T9", "p0.t1", "P0.T1 ", "site down"])
@pytest.mark.parametrize("severity", ["P0", "P1"])
def test_an_unknown_criterion_is_refused_whatever_the_severity(
    plan: Plan, severity: str, criterion: str
) -> None:
    """Nothing is guessed from a near miss, and a typing error never loosens or passes silently."""
    (refusal,) = demand(plan, severity, criterion, 1).refusals  # type: ignore[arg-type]  # parametrised
    assert refusal.startswith(f"criterion {criterion!r} is not in the plan; severity {severity} has:")


@pytest.mark.parametrize("criterion", ["", "P1.T3"])
def test_p1_needs_the_engineering_lead(plan: Plan, criterion: str) -> None:
    """Severity P1 is rolled back after the engineering lead's approval, with or without a named criterion."""
    found = demand(plan, "P1", criterion, 1)
    assert (found.roles, found.refusals, found.notify_after) == (("engineering_lead",), (), ())
    assert "approval by engineering lead" in found.rule


def test_p1_with_a_p0_criterion_is_refused(plan: Plan) -> None:
    """What is said must fit together before anybody is asked to approve it."""
    assert demand(plan, "P1", "P0.T1", 1).refusals


@pytest.mark.parametrize("criterion", ["", "P2.T1"])
def test_p2_is_refused_towards_the_hotfix(plan: Plan, criterion: str) -> None:
    """At severity P2 the plan prefers a hotfix; no approval changes that."""
    found = demand(plan, "P2", criterion, 1)
    assert len(found.refusals) == 1
    assert "hotfix" in found.refusals[0]


def test_no_severity_is_refused(plan: Plan) -> None:
    """An operator who has not said the severity opens nothing, and reads what to set."""
    found = demand(plan, "", "P0.T1", 1)
    assert (found.roles, found.notify_after) == ((), ())
    assert len(found.refusals) == 1
    assert "set severity to P0, P1 or P2" in found.refusals[0]


def test_database_corruption_adds_the_cto_whatever_is_rolled_back(plan: Plan) -> None:
    """The stricter of two rules of the plan holds: database corruption is approved by the CTO."""
    found = demand(plan, "P0", "P0.T3", 1)
    assert (found.roles, found.refusals) == (("cto",), ())
    assert "approval by cto" in found.rule


@pytest.mark.parametrize(("severity", "criterion"), [("P0", "P0.T1"), ("P0", "P0.T3"), ("P1", "P1.T5")])
def test_a_database_restore_needs_the_cto_at_any_severity(plan: Plan, severity: str, criterion: str) -> None:
    """Procedure 3 has its own rule."""
    found = demand(plan, severity, criterion, 3)  # type: ignore[arg-type]  # parametrised
    assert (found.roles, found.refusals) == (("cto",), ())


def test_a_refused_claim_still_names_the_severitys_own_approval(plan: Plan) -> None:
    """A criterion that is refused neither adds nor removes an approval."""
    assert demand(plan, "P1", "P0.T3", 1).roles == ("engineering_lead",)
    assert demand(plan, "P0", "nonsense", 1).roles == ()


def test_an_unknown_procedure_is_a_bad_parameter(plan: Plan) -> None:
    """A rule for what the plan does not have is not made up."""
    with pytest.raises(BadParameters, match="no procedure 9"):
        demand(plan, "P1", "", 9)
