"""Who could let a rollback through: for each role that the plan asks, a second person, and a key where keys count.

- Nobody approves their own request, so a role that one person holds alone is closed to a rollback of that person's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rollback_lib.plan import Plan
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, ok, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings

__all__ = ["checks", "roles_asked"]


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject, one for each role that the plan asks to approve."""
    try:
        roles = roles_asked(readings.plan.use())
    except NotKnown:
        return
    for role in roles:
        yield Check("Approvals", f"{role.replace('_', ' ')} approves", partial(four_eyes, role=role))


def four_eyes(readings: Readings, role: str) -> Finding:
    """See who could operate and still find somebody else to approve."""
    contacts = readings.contacts.use()
    holders = contacts.holders(role)
    told = " or ".join(person.name for person in holders)
    alone = holders[0] if len(holders) == 1 else None
    if len(contacts.people) < 2:  # noqa: PLR2004 - four eyes
        return wrong(f"{told}, and there is nobody else to operate", "Name a second person in contacts.yaml.")
    if alone is not None:
        return warning(
            f"{told} alone: a rollback that {alone.name} operates cannot be approved",
            f"Name a deputy for {role} in contacts.yaml, or have {alone.name} never operate.",
        )
    return ok(told)


def roles_asked(plan: Plan) -> tuple[str, ...]:
    """List the roles that some rollback needs the approval of, in the plan's order."""
    authority = plan.approval_authority
    asked = {role for rule in authority.severities for role in rule.approval}
    asked |= {role for rule in authority.procedures for role in rule.approval}
    asked |= {role for row in plan.decision_matrix for role in row.approval}
    return tuple(entry.id for entry in plan.roles if entry.id in asked)
