"""The whole plan, and looking things up in it.

- An unknown id is refused with the known ones listed; nothing is guessed from a near miss.
- Who approves follows from severity, procedure and criterion alone; the stricter of two rules holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple, TypeVar

from rollback_lib.errors import BadParameters
from rollback_lib.model import Severity
from rollback_lib.plan.messages import Message, Template
from rollback_lib.plan.values import (
    Authority,
    Channel,
    Coverage,
    Criterion,
    Document,
    FlowGroup,
    LogTemplate,
    MatrixRow,
    Phase,
    Procedure,
    Role,
    RoleEntry,
    SeverityCriteria,
    Step,
    Task,
    Text,
    Trigger,
)
from rollback_lib.yamlfile import Frozen

__all__ = ["Approval", "Plan"]

T = TypeVar("T")
K = TypeVar("K", int, str)
_NOTHING_SENT = "Nothing was sent; no run was begun or changed."


class Approval(NamedTuple):
    """Roles that must approve before, and roles that are told after."""

    required: tuple[Role, ...]
    notify_after: tuple[Role, ...]


class Plan(Frozen):
    """The whole plan; look things up by their ids."""

    title: Text
    version: Text
    last_updated: date
    next_review: date
    related_documents: tuple[Document, ...]
    severities: tuple[SeverityCriteria, ...]
    procedures: tuple[Procedure, ...]
    decision_matrix: tuple[MatrixRow, ...]
    roles: tuple[RoleEntry, ...]
    approval_authority: Authority
    checklist: tuple[Phase, ...]
    critical_flows: tuple[FlowGroup, ...]
    messages: tuple[Message, ...]
    log: LogTemplate
    channels: tuple[Channel, ...]
    coverage: tuple[Coverage, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps of all procedures, in order."""
        return tuple(step for procedure in self.procedures for step in procedure.steps)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All items of the post-rollback checklist, in order."""
        return tuple(task for phase in self.checklist for task in phase.tasks)

    @property
    def checklist_lines(self) -> tuple[str, ...]:
        """The post-rollback checklist in lines: what is due at once item by item, each later phase by its titles."""
        lines: list[str] = []
        for phase in self.checklist:
            when = f"post-rollback checklist, {phase.title} ({phase.window})"
            if phase.window_min[0] == 0:
                lines += (f"{when}: {task.title} - {_points(task)}" for task in phase.tasks)
            else:
                lines.append(f"{when}: {'; '.join(task.title for task in phase.tasks)}")
        return tuple(lines)

    @property
    def flow_names(self) -> tuple[str, ...]:
        """The names of the critical flows, as the post-rollback checklist has them."""
        return tuple(point.text for task in self.tasks if task.tests_flows for point in task.points)

    @property
    def update_every_min(self) -> int | None:
        """How often an update is promised while a rollback is under way, in minutes; None if it is not."""
        return next((one.update_every_min for one in self.messages if one.name == "alert"), None)

    @property
    def log_columns(self) -> tuple[str, ...]:
        """The columns of the rollback log, in order."""
        return self.log.columns

    def procedure(self, number: int) -> Procedure:
        """Look up a procedure; an unknown number is BadParameters and lists the known ones."""
        return _find("procedure", number, ((known.number, known) for known in self.procedures))

    def step(self, step_id: str) -> Step:
        """Look up a step such as P1.S4; an unknown id is BadParameters and lists the known ones."""
        return _find("step", step_id, ((str(step.id), step) for step in self.steps))

    def criterion(self, criterion_id: str) -> Criterion:
        """Look up a success criterion such as P1.C3; an unknown id is BadParameters and lists the known ones."""
        every = (criterion for procedure in self.procedures for criterion in procedure.criteria)
        return _find("success criterion", criterion_id, ((one.id, one) for one in every))

    def trigger(self, trigger_id: str) -> Trigger:
        """Look up a criterion for rolling back such as P0.T1; an unknown id is BadParameters and lists the known."""
        every = (trigger for group in self.severities for trigger in group.triggers)
        return _find("rollback criterion", trigger_id, ((one.id, one) for one in every))

    def task(self, task_id: str) -> Task:
        """Look up a checklist item such as P5.I4; an unknown id is BadParameters and lists the known ones."""
        return _find("checklist item", task_id, ((task.id, task) for task in self.tasks))

    def role(self, role: str) -> RoleEntry:
        """Look up a role such as cto; an unknown one is BadParameters and lists the known ones."""
        return _find("role", role, ((str(known.id), known) for known in self.roles))

    def coverage_of(self, step_id: str) -> Coverage:
        """Tell who carries out a step; an unknown id is BadParameters and lists the known ones."""
        return _find("step", step_id, ((str(row.step), row) for row in self.coverage))

    def severity_of(self, trigger_id: str) -> Severity:
        """Tell which severity a criterion for rolling back belongs to.

        Raises:
            BadParameters: There is no such criterion. Nothing was sent.
        """
        self.trigger(trigger_id)
        return next(
            group.severity
            for group in self.severities
            if any(trigger.id == trigger_id for trigger in group.triggers)
        )

    def approval(self, severity: Severity, procedure: int, trigger: str | None = None) -> Approval:
        """Tell which roles approve before, and which are told after.

        A rule for the procedure stands in the place of the severity's; the roles it replaces are told after.
        A criterion can only add roles: database corruption needs the CTO whatever is rolled back.

        Args:
            severity: Of the incident.
            procedure: Its number in the plan.
            trigger: The criterion claimed, such as P0.T3, where there is one.

        Raises:
            BadParameters: Unknown, or the criterion is not one of this severity. Nothing was sent.
        """
        rule = _find(
            "severity", severity, ((str(one.severity), one) for one in self.approval_authority.severities)
        )
        number = self.procedure(procedure).number
        own = [one.approval for one in self.approval_authority.procedures if one.procedure == number]
        claimed = self._matrix_roles(severity, trigger)
        required = own[0] if own else (*rule.approval, *claimed)
        replaced = tuple(role for role in rule.approval if role not in required)
        return Approval(tuple(dict.fromkeys(required)), tuple(dict.fromkeys((*rule.notify_after, *replaced))))

    def message(self, name: str, *, procedure: int) -> Template:
        """Look up a message for a procedure, ready to be filled.

        Raises:
            BadParameters: There is no such message, or not for this procedure. Nothing was sent.
        """
        message = _find("message", name, ((str(one.name), one) for one in self.messages))
        each = ((template.procedure, template) for template in message.templates())
        return _find(f"message {name!r} for procedure", procedure, each)

    def _matrix_roles(self, severity: Severity, trigger: str | None) -> tuple[Role, ...]:
        if trigger is None:
            return ()
        belongs_to = self.severity_of(trigger)
        if belongs_to != severity:
            raise BadParameters(
                f"Criterion {trigger} belongs to severity {belongs_to}, not to severity {severity}.",
                _NOTHING_SENT,
                f"Give severity {belongs_to}, or a criterion of severity {severity}.",
            )
        rows = (row for row in self.decision_matrix if trigger in row.triggers)
        return tuple(role for row in rows for role in row.approval)


def _points(task: Task) -> str:
    return "; ".join(point.text for point in task.points)


def _find(kind: str, wanted: K, known: Iterable[tuple[K, T]]) -> T:
    found = dict(known)
    if wanted not in found:
        raise BadParameters(
            f"The plan has no {kind} {wanted!r}; known: {_listed(found)}.",
            _NOTHING_SENT,
            "Give one of the known.",
        )
    return found[wanted]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names) or "none"
