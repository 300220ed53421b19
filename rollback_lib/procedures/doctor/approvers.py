"""Who could let a rollback through: for each role that the plan asks, a second person, and a key where keys count.

- Nobody approves their own request, so a role that one person holds alone is closed to a rollback of that person's.
- A signers file that cannot be read as a whole counts for nothing, and neither does a key that ssh-keygen does not know.
- Without any key for a role its approvals hang on Slack: a warning, or wrong where signatures are the only way.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

from rollback_lib.consent.four_eyes import others_with
from rollback_lib.consent.signatures import fingerprint
from rollback_lib.errors import NotApproved
from rollback_lib.plan import Plan
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, not_checked, ok, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings

__all__ = ["checks", "roles_asked"]

_BY_KEY = "signature"


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject: the keys, and two for each role that the plan asks to approve."""
    yield Check("Approvals", "signers", signers)
    try:
        roles = roles_asked(readings.plan.use())
    except NotKnown:
        return
    for role in roles:
        name = role.replace("_", " ")
        yield Check("Approvals", f"{name} approves", partial(four_eyes, role=role))
        yield Check("Approvals", f"{name} signs", partial(has_key, role=role))


def signers(readings: Readings) -> Finding:
    """See that the keys that may approve are keys, and belong to people of the environment."""
    if _BY_KEY not in readings.policy.approval_ways:
        return not_checked("approvals by signature are not allowed here (policy.approval_ways)")
    found = readings.signers.tell()
    if shutil.which("ssh-keygen") is None:
        return wrong(
            "ssh-keygen is not installed here: no signature can be verified",
            "Install OpenSSH's client (Debian: apt-get install openssh-client).",
        )
    known = readings.contacts.use().people
    nobody = sorted({name for name, _ in found.keys if name not in known})
    if nobody:
        return wrong(
            f"{found.shown}: {', '.join(nobody)} is nobody in contacts.yaml",
            "Name people by their key there.",
        )
    for name, public in found.keys:
        try:
            fingerprint(public)
        except NotApproved as exc:
            return wrong(f"{found.shown}, {name}: {exc.happened}", exc.next_step)
    people = ", ".join(dict.fromkeys(name for name, _ in found.keys))
    return ok(f"{found.shown}: {f'keys of {people}' if people else 'no key in it'}")


def four_eyes(readings: Readings, role: str) -> Finding:
    """See who could operate and still find somebody else to approve."""
    contacts = readings.contacts.use()
    stuck = [
        person
        for person in contacts.people.values()
        if not others_with(role, contacts, frozenset({person.key}))
    ]
    told = " or ".join(person.name for person in contacts.holders(role))
    if len(stuck) == len(contacts.people):
        return wrong(f"{told}, and there is nobody else to operate", "Name a second person in contacts.yaml.")
    if stuck:
        alone = stuck[0].name
        return warning(
            f"{told} alone: a rollback that {alone} operates cannot be approved",
            f"Name a deputy for {role} in contacts.yaml, or have {alone} never operate.",
        )
    return ok(told)


def has_key(readings: Readings, role: str) -> Finding:
    """See that somebody who holds the role can approve when Slack cannot be reached."""
    ways = readings.policy.approval_ways
    if _BY_KEY not in ways:
        return not_checked("approvals by signature are not allowed here (policy.approval_ways)")
    found, holders = readings.signers.use(), readings.contacts.use().holders(role)
    able = [person.name for person in holders if found.of(person.key)]
    if able:
        return ok(" or ".join(able))
    told = f"{found.shown} has no key of {' or '.join(person.name for person in holders)}"
    todo = f"Put a public key of {holders[0].name} there; parameters/signers/production shows the form."
    others = [way for way in ways if way != _BY_KEY]
    if not others:
        return wrong(f"{told}, and there is no other way", todo)
    return warning(f"{told}: approvals hang on {' and '.join(others)}", todo)


def roles_asked(plan: Plan) -> tuple[str, ...]:
    """List the roles that some rollback needs the approval of, in the plan's order."""
    authority = plan.approval_authority
    asked = {role for rule in authority.severities for role in rule.approval}
    asked |= {role for rule in authority.procedures for role in rule.approval}
    asked |= {role for row in plan.decision_matrix for role in row.approval}
    return tuple(entry.id for entry in plan.roles if entry.id in asked)
