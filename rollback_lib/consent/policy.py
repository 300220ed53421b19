"""What the plan asks before an effect: values in, a decision out, nothing read or sent.

- Severity P0 goes on without approval, but only on the claim of a P0 criterion by its id.
- Severity P1 needs the engineering lead; an approval is never given by who asks for it.
- Severity P2 is pointed to the hotfix; no severity at all opens nothing.
- The stricter rule wins where the plan says two things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rollback_lib.model import Severity
from rollback_lib.plan import Plan

__all__ = ["Demand", "criterion_refusals", "demand"]


@dataclass(frozen=True)
class Demand:
    """What has to be there before a gate opens."""

    roles: tuple[str, ...]  # one approval by a holder of each
    notify_after: tuple[str, ...]  # roles told afterwards
    refusals: tuple[str, ...]  # why it cannot open at all as asked; empty: it can
    rule: str  # the plan's rule in words


def demand(plan: Plan, severity: Severity | Literal[""], criterion: str, procedure: int) -> Demand:
    """Decide what the plan asks for this severity and procedure.

    Args:
        plan: The customer's plan.
        severity: `P0`, `P1`, `P2`, or empty where the operator has not said.
        criterion: The id of a trigger of the plan (such as `P0.T1`) that the operator claims; may be empty but for P0.
        procedure: The plan's procedure number.

    Plan: When to Rollback; Rollback Decision Matrix; Rollback Approval Authority.
    """
    if not severity:
        return Demand(
            (),
            (),
            ("severity is not set: set severity to P0, P1 or P2 in the parameters cell",),
            "no severity, no effect",
        )
    refusals = criterion_refusals(plan, severity, criterion)
    if severity == "P2":
        refusals = (
            *refusals,
            "severity P2: the plan prefers a hotfix; a rollback needs severity P1 (and the engineering lead) or P0",
        )
    claimed = plan.trigger(criterion) if criterion and not refusals else None
    ruling = plan.approval(severity, procedure, claimed.id if claimed else None)
    words = f"severity {severity}" + (f", criterion {claimed.id} ({claimed.text})" if claimed else "")
    needs = (
        f"approval by {' and '.join(role.replace('_', ' ') for role in ruling.required)}"
        if ruling.required
        else "no approval needed, notify after"
    )
    return Demand(ruling.required, ruling.notify_after, refusals, f"{words}: {needs}")


def criterion_refusals(plan: Plan, severity: Severity, criterion: str) -> tuple[str, ...]:
    """Say why a claimed criterion does not fit its severity; empty if it does."""
    known = {trigger.id: group.severity for group in plan.severities for trigger in group.triggers}
    fitting = "; ".join(
        f"{trigger.id} {trigger.text}"
        for group in plan.severities
        if group.severity == severity
        for trigger in group.triggers
    )
    if not criterion:
        return (
            (f"severity P0 needs a claimed criterion: set criterion to one of: {fitting}",)
            if severity == "P0"
            else ()
        )
    if criterion not in known:
        return (f"criterion {criterion!r} is not in the plan; severity {severity} has: {fitting}",)
    if known[criterion] != severity:
        return (
            f"criterion {criterion} is one of severity {known[criterion]}, not {severity}; severity {severity} has: {fitting}",
        )
    return ()
