"""The rollback plan as frozen values: criteria, procedures, approvals, checklist, messages.

- All of it comes from `parameters/plan.yaml`; no threshold, step title, approval rule or message is written here.
- Ids are consecutive and in their place, and whatever refers to something refers to what exists: else the
  file is refused with its lines, and no plan is given out.
- The decision matrix and the approval authority say the same; where the plan contradicts itself, the file
  holds the stricter rule.
"""

from __future__ import annotations

from rollback_lib.plan.loading import load_plan
from rollback_lib.plan.messages import (
    FieldName,
    Message,
    MessageField,
    MessageName,
    Template,
    UndoLine,
    Variant,
)
from rollback_lib.plan.values import (
    Authority,
    Channel,
    Comparison,
    Coverage,
    CoverageStatus,
    Criterion,
    Document,
    Entry,
    FlowGroup,
    Limit,
    LogTemplate,
    MatrixRow,
    Metric,
    Phase,
    Point,
    Procedure,
    ProcedureRule,
    Role,
    RoleEntry,
    SeverityCriteria,
    SeverityRule,
    Step,
    Task,
    Trigger,
)
from rollback_lib.plan.whole import Approval, Plan

__all__ = [
    "Approval",
    "Authority",
    "Channel",
    "Comparison",
    "Coverage",
    "CoverageStatus",
    "Criterion",
    "Document",
    "Entry",
    "FieldName",
    "FlowGroup",
    "Limit",
    "LogTemplate",
    "MatrixRow",
    "Message",
    "MessageField",
    "MessageName",
    "Metric",
    "Phase",
    "Plan",
    "Point",
    "Procedure",
    "ProcedureRule",
    "Role",
    "RoleEntry",
    "SeverityCriteria",
    "SeverityRule",
    "Step",
    "Task",
    "Template",
    "Trigger",
    "UndoLine",
    "Variant",
    "load_plan",
]
