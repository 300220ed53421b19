"""The parts of the plan: criteria, procedures, approvals, checklist, flows, log, channels, coverage.

- Values only: they are immutable and look nothing up.
- Limits keep the plan's comparison: `>10%` does not hold at exactly 0.10.
- Rates and shares are fractions; a percentage in their place is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from rollback_lib.model import Severity, StepId
from rollback_lib.yamlfile import Frozen

__all__ = [
    "Authority",
    "Channel",
    "Comparison",
    "Coverage",
    "CoverageStatus",
    "Criterion",
    "Document",
    "Entry",
    "FlowGroup",
    "Limit",
    "LogTemplate",
    "MatrixRow",
    "Metric",
    "Phase",
    "Point",
    "Procedure",
    "ProcedureRule",
    "Role",
    "RoleEntry",
    "SeverityCriteria",
    "SeverityRule",
    "Span",
    "Step",
    "Task",
    "Text",
    "Trigger",
]

Comparison = Literal["<", "<=", ">", ">=", "=="]
Metric = Literal[
    "error_rate", "payment_failure_rate", "share_of_users", "response_time_ratio", "health_status"
]
Role = Literal["engineering_lead", "cto", "on_call_engineer"]
CoverageStatus = Literal["code", "manual", "exempt", "planned"]

_COMPARE: dict[Comparison, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
# A percentage written where a fraction belongs would never be reached: 10 is refused, 0.10 is meant.
_RANGE: dict[Metric, tuple[float, float, str]] = {
    "error_rate": (0, 1, "a fraction from 0 to 1"),
    "payment_failure_rate": (0, 1, "a fraction from 0 to 1"),
    "share_of_users": (0, 1, "a fraction from 0 to 1"),
    "response_time_ratio": (1, 100, "a ratio to normal from 1 to 100"),
    "health_status": (100, 599, "an HTTP status"),
}


def _ordered(span: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= span[0] <= span[1]:
        raise ValueError(f"expected [least, most], got {list(span)}")
    return span


Text = Annotated[str, StringConstraints(pattern=r"\S")]
Span = Annotated[tuple[int, int], AfterValidator(_ordered)]


class Limit(Frozen):
    """A number of the plan: a metric, how it is compared, and with what."""

    metric: Metric
    comparison: Comparison
    threshold: float
    sustained_s: float | None = Field(default=None, gt=0)  # must have held for longer than that

    @model_validator(mode="after")
    def _in_range(self) -> Limit:
        least, most, meaning = _RANGE[self.metric]
        if not least <= self.threshold <= most:  # written so that NaN fails too
            raise ValueError(f"{self.metric} is {meaning}, got {self.threshold:g}")
        return self

    def holds(self, value: float) -> bool:
        """Compare one value with the threshold, in the metric's unit; never true for NaN.

        Looks at one value alone: how long it has lasted (`sustained_s`) is for the caller to see.
        """
        return _COMPARE[self.comparison](value, self.threshold)


class Document(Frozen):
    """A related document."""

    title: Text
    path: Text


class Trigger(Frozen):
    """One criterion of 'When to Rollback'; all its limits must hold."""

    id: str
    text: Text
    known_by: Literal["signals", "person"]
    limits: tuple[Limit, ...] = ()


class SeverityCriteria(Frozen):
    """The criteria of one severity, with the plan's heading and rule."""

    severity: Severity
    title: Text
    rule: Text
    triggers: tuple[Trigger, ...]


class Point(Frozen):
    """A line under a step, with its command and its own sub-points."""

    text: Text
    command: Text | None = None
    points: tuple[Text, ...] = ()


class Step(Frozen):
    """One step of a procedure, under the plan's own title."""

    id: StepId
    title: Text
    command: Text | None = None
    points: tuple[Point, ...] = ()
    expected_min: Span | None = None  # how long it takes
    monitor_min: int | None = Field(default=None, gt=0)  # how long to watch afterwards
    flows: tuple[Text, ...] = ()  # which critical flows it tests, by the checklist's names

    @property
    def number(self) -> int:
        """The plan's number of the step within its procedure."""
        return int(self.id.rpartition("S")[2])

    @property
    def label(self) -> str:
        """The step as people say it: "procedure 1, step 4"."""
        return f"procedure {self.id[1 : self.id.index('.')]}, step {self.number}"


class Entry(Frozen):
    """One line of a list in the plan, with its number where it has one."""

    id: str
    text: Text
    limit: Limit | None = None


class Criterion(Entry):
    """A success criterion of a procedure."""


class Procedure(Frozen):
    """One rollback procedure; minutes are (least, most)."""

    number: int
    title: Text
    method: Text  # the word for it in the rollback log
    target: Literal["deployment", "commit", "backup", "variable"]
    duration: Text
    duration_min: Span
    downtime: Text
    downtime_min: Span
    impact: Text
    warnings: tuple[Text, ...] = ()
    use_when: Text | None = None
    steps: tuple[Step, ...]
    criteria: tuple[Criterion, ...]
    post_actions: tuple[Entry, ...] = ()


class MatrixRow(Frozen):
    """One row of the decision matrix, in the plan's words and as data."""

    id: str
    issue: Text
    severity: Severity
    action: Text
    approval_text: Text
    approval: tuple[Role, ...]
    notify_after: bool
    procedures: tuple[int, ...]
    hotfix: Literal["none", "alternative", "preferred", "next_sprint"]
    triggers: tuple[str, ...]


class RoleEntry(Frozen):
    """A role that approves or is told; who holds it is not the plan's business."""

    id: Role
    title: Text
    reached_by: tuple[Literal["email", "phone"], ...]


class SeverityRule(Frozen):
    """Who approves a rollback at this severity, and who is told afterwards."""

    severity: Severity
    text: Text
    approval: tuple[Role, ...]
    notify_after: tuple[Role, ...]


class ProcedureRule(Frozen):
    """Who approves this procedure, at any severity, in the place of the severity's own rule."""

    procedure: int
    text: Text
    approval: tuple[Role, ...]


class Authority(Frozen):
    """The rollback approval authority."""

    severities: tuple[SeverityRule, ...]
    procedures: tuple[ProcedureRule, ...]


class Task(Frozen):
    """One item of the post-rollback checklist with its sub-items."""

    id: str
    title: Text
    points: tuple[Entry, ...]
    tests_flows: bool = False  # its points are the names of the critical flows
    within_h: int | None = Field(default=None, gt=0)


class Phase(Frozen):
    """A part of the checklist with its time frame, in minutes after the rollback."""

    title: Text
    window: Text
    window_min: Span
    tasks: tuple[Task, ...]


class FlowGroup(Frozen):
    """A group of the critical flow tests; `flow` is the checklist's name for it, if it has one."""

    id: str
    title: Text
    flow: Text | None = None
    tests: tuple[Entry, ...]


class LogTemplate(Frozen):
    """The rollback log's columns in order, and the plan's example row."""

    columns: tuple[Text, ...]
    example: tuple[Text, ...]


class Channel(Frozen):
    """A communication channel."""

    id: str
    title: Text
    medium: Literal["slack", "email"]
    address: Text


class Coverage(Frozen):
    """Who carries out a step: the library, a person, nobody, or nobody yet."""

    step: StepId
    status: CoverageStatus
    comment: Text
