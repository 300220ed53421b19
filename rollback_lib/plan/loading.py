"""Reading the plan's file, and refusing one that does not hold together.

- All faults are listed at once, each with the line to look at.
- Ids are consecutive: a step that was moved, doubled or dropped is seen.
- Whatever names a procedure, a criterion, a role, a flow or a channel names one that exists.
- The decision matrix asks for the same roles as the approval authority, which is the one the gates use.
- Each message has its fields in its text exactly once, and no bracket of the plan is left unfilled.
- Each step of each procedure has exactly one row in the coverage table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from rollback_lib.errors import BadParameters
from rollback_lib.model import Severity
from rollback_lib.plan.messages import Message, MessageName, Template
from rollback_lib.plan.values import Procedure, Role
from rollback_lib.plan.whole import Plan
from rollback_lib.yamlfile import line_of, load_model, load_tree

__all__ = ["load_plan"]

Place = tuple[str | int, ...]
Fault = tuple[Place, str]

_BRACKETS = re.compile(r"\[[^\]]*\]")


def load_plan(home: Path) -> Plan:
    """Read `parameters/plan.yaml` under the project's folder, whole and consistent.

    Raises:
        BadParameters: The file is missing, wrong, or refers to what is not there, with its lines. Nothing was sent.
    """
    path = home / "parameters" / "plan.yaml"
    plan = load_model(path, Plan)
    faults = list(_faults(plan))
    if faults:
        _, node = load_tree(path)
        listed = "\n".join(f"  {path}, line {line_of(node, loc)}: {text}" for loc, text in faults)
        raise BadParameters(
            f"{path.name} does not hold together:\n{listed}",
            "Nothing was sent; no run was begun or changed.",
            "Correct the lines named above.",
        )
    return plan


def _faults(plan: Plan) -> Iterator[Fault]:
    yield from _numbering_faults(plan)
    yield from _set_faults(plan)
    yield from _matrix_faults(plan)
    yield from _flow_faults(plan)
    for at, message in enumerate(plan.messages):
        yield from _message_faults(plan, message, ("messages", at))
    yield from _coverage_faults(plan)
    if plan.next_review <= plan.last_updated:
        yield ("next_review",), f"{plan.next_review} is not after the last update, {plan.last_updated}"


def _numbering_faults(plan: Plan) -> Iterator[Fault]:
    for at, group in enumerate(plan.severities):
        place: Place = ("severities", at, "triggers")
        yield from _misnumbered(place, f"{group.severity}.T", [one.id for one in group.triggers])
    for at, procedure in enumerate(plan.procedures):
        if procedure.number != at + 1:
            yield ("procedures", at, "number"), f"expected procedure {at + 1} here, got {procedure.number}"
        yield from _procedure_faults(procedure, ("procedures", at))
    yield from _misnumbered(("decision_matrix",), "M", [row.id for row in plan.decision_matrix])
    yield from _checklist_numbering(plan)
    yield from _misnumbered(("critical_flows",), "F", [group.id for group in plan.critical_flows])
    for at, flow in enumerate(plan.critical_flows):
        yield from _misnumbered(
            ("critical_flows", at, "tests"), f"{flow.id}.", [one.id for one in flow.tests]
        )


def _procedure_faults(procedure: Procedure, place: Place) -> Iterator[Fault]:
    mine = f"P{procedure.number}"
    if not procedure.steps:
        yield (*place, "steps"), f"procedure {procedure.number} has no step"
    yield from _misnumbered((*place, "steps"), f"{mine}.S", [str(one.id) for one in procedure.steps])
    yield from _misnumbered((*place, "criteria"), f"{mine}.C", [one.id for one in procedure.criteria])
    yield from _misnumbered((*place, "post_actions"), f"{mine}.A", [one.id for one in procedure.post_actions])


def _checklist_numbering(plan: Plan) -> Iterator[Fault]:
    before, ends_at = 0, 0
    for at, phase in enumerate(plan.checklist):
        place: Place = ("checklist", at)
        if phase.window_min[0] != ends_at:
            yield (*place, "window_min"), f"expected to begin at minute {ends_at}, got {phase.window_min[0]}"
        ends_at = phase.window_min[1]
        yield from _misnumbered((*place, "tasks"), "P5.I", [task.id for task in phase.tasks], before)
        before += len(phase.tasks)
        for nth, task in enumerate(phase.tasks):
            inside: Place = (*place, "tasks", nth, "points")
            yield from _misnumbered(inside, f"{task.id}.", [point.id for point in task.points])


def _misnumbered(place: Place, prefix: str, ids: Sequence[str], before: int = 0) -> Iterator[Fault]:
    """Yield the ids that are not prefix 1, prefix 2, ...; the first is enough, those after it follow from it."""
    for at, got in enumerate(ids):
        expected = f"{prefix}{before + at + 1}"
        if got != expected:
            twice = " (it is there already)" if got in ids[:at] else ""
            yield (*place, at, "id"), f"expected {expected} here, got {got}{twice}"
            return


def _set_faults(plan: Plan) -> Iterator[Fault]:
    """Yield what is missing from, or doubled in, the lists that must hold each name once."""
    authority = plan.approval_authority
    severities, numbers = get_args(Severity), [one.number for one in plan.procedures]
    yield from _not_each_once(("severities",), severities, [one.severity for one in plan.severities])
    place: Place = ("approval_authority", "severities")
    yield from _not_each_once(place, severities, [one.severity for one in authority.severities])
    place = ("approval_authority", "procedures")
    yield from _odd_ones(place, "procedure", numbers, [one.procedure for one in authority.procedures])
    yield from _not_each_once(("roles",), get_args(Role), [one.id for one in plan.roles])
    yield from _not_each_once(("messages",), get_args(MessageName), [one.name for one in plan.messages])
    channels = [one.id for one in plan.channels]
    yield from _odd_ones(("channels",), "id", channels, channels)
    columns = plan.log.columns
    yield from _odd_ones(("log", "columns"), None, columns, columns)
    if len(plan.log.example) != len(columns):
        yield (
            ("log", "example"),
            f"expected {len(columns)} cells as there are columns, got {len(plan.log.example)}",
        )


def _not_each_once(place: Place, wanted: Iterable[str], got: Sequence[str]) -> Iterator[Fault]:
    missing = [name for name in wanted if name not in got]
    if missing:
        yield place, f"{', '.join(missing)} missing"
    yield from _odd_ones(place, None, got, got)


def _odd_ones(
    place: Place, key: str | None, known: Sequence[object], got: Sequence[object]
) -> Iterator[Fault]:
    """Yield those that are not known or come a second time; `key` is where in the row they stand."""
    for at, name in enumerate(got):
        there: Place = (*place, at) if key is None else (*place, at, key)
        if name not in known:
            yield there, f"there is no {name}; known: {', '.join(map(str, known))}"
        elif name in got[:at]:
            yield there, f"{name} is there already"


def _matrix_faults(plan: Plan) -> Iterator[Fault]:
    numbers = [one.number for one in plan.procedures]
    for at, row in enumerate(plan.decision_matrix):
        place: Place = ("decision_matrix", at)
        group = next((one for one in plan.severities if one.severity == row.severity), None)
        known = [one.id for one in group.triggers] if group is not None else []
        yield from _odd_ones((*place, "triggers"), None, known, row.triggers)
        yield from _odd_ones((*place, "procedures"), None, numbers, row.procedures)
        if row.approval_text.startswith("Yes") != bool(row.approval):
            said = ", ".join(row.approval) or "nobody"
            yield (*place, "approval"), f"the plan says {row.approval_text!r}, the roles are: {said}"
        if ("notify after" in row.approval_text) != row.notify_after:
            yield (*place, "notify_after"), f"the plan says {row.approval_text!r}"
        yield from _contradictions(plan, at)


def _contradictions(plan: Plan, at: int) -> Iterator[Fault]:
    row, authority = plan.decision_matrix[at], plan.approval_authority
    by_severity = {one.severity: one.approval for one in authority.severities}
    by_procedure = {one.procedure: one.approval for one in authority.procedures}
    for number in row.procedures:
        asked = by_procedure.get(number, by_severity.get(row.severity, ()))
        if set(asked) != set(row.approval):
            ours, theirs = ", ".join(row.approval) or "nobody", ", ".join(asked) or "nobody"
            where = f"for procedure {number} at severity {row.severity}"
            text = f"{row.id} asks {ours}, the approval authority asks {theirs} {where}"
            yield ("decision_matrix", at, "approval"), text


def _flow_faults(plan: Plan) -> Iterator[Fault]:
    marked = [task.id for task in plan.tasks if task.tests_flows]
    if len(marked) != 1:
        yield ("checklist",), f"expected one task with tests_flows, got {', '.join(marked) or 'none'}"
    names = plan.flow_names
    for at, procedure in enumerate(plan.procedures):
        for nth, step in enumerate(procedure.steps):
            yield from _odd_ones(("procedures", at, "steps", nth, "flows"), None, names, step.flows)
    for at, group in enumerate(plan.critical_flows):
        if group.flow is not None and group.flow not in names:
            yield ("critical_flows", at, "flow"), f"there is no {group.flow}; known: {', '.join(names)}"


def _message_faults(plan: Plan, message: Message, place: Place) -> Iterator[Fault]:
    names = [one.name for one in message.fields]
    yield from _odd_ones((*place, "fields"), "name", names, names)
    yield from _served_faults(plan, message, place)
    if message.channel not in [one.id for one in plan.channels]:
        yield (*place, "channel"), f"there is no channel {message.channel}"
    every = message.update_every_min
    if every is not None and f"every {every} minutes" not in message.text:
        yield (*place, "update_every_min"), f"the text does not say every {every} minutes"
    if message.variants and message.text.split("\n").count(message.target_line or "") != 1:
        yield (*place, "target_line"), "it is not exactly one line of the text"
    yield from _template_faults(message, place)
    yield from _undo_faults(message, place)


def _served_faults(plan: Plan, message: Message, place: Place) -> Iterator[Fault]:
    numbers = [one.number for one in plan.procedures]
    as_it_stands, by_variant = message.procedures, [one.procedure for one in message.variants]
    yield from _odd_ones((*place, "procedures"), None, numbers, as_it_stands)
    others = [number for number in numbers if number not in as_it_stands]
    yield from _odd_ones((*place, "variants"), "procedure", others, by_variant)
    missing = [str(number) for number in others if number not in by_variant]
    if message.variants and missing:
        yield (*place, "variants"), f"no line for procedure {', '.join(missing)}"


def _template_faults(message: Message, place: Place) -> Iterator[Fault]:
    plain = len(message.procedures)
    for at, template in enumerate(message.templates()):
        there: Place = (*place, "text") if at < plain else (*place, "variants", at - plain)
        for text in _fields_out_of_place(template):
            yield there, text


def _undo_faults(message: Message, place: Place) -> Iterator[Fault]:
    """Name lines of an undo that take the place of none, and those that lose a field."""
    served = {one.replaces for one in message.undo}
    lines = {line for template in message.templates() for line in template.text.split("\n")}
    for at, one in enumerate(message.undo):
        if one.replaces not in lines:
            yield (*place, "undo", at, "replaces"), f"{one.replaces!r} is no line of the message"
    for template in message.templates():
        if served & set(template.text.split("\n")):
            for text in _fields_out_of_place(template.for_undo()):
                yield (*place, "undo"), f"for procedure {template.procedure}: {text}"


def _fields_out_of_place(template: Template) -> Iterator[str]:
    placeholders = [one.placeholder for one in template.fields]
    for field in template.fields:
        times = template.text.count(field.placeholder)
        if times != 1:
            yield f"{field.placeholder} of the field {field.name} is {times} times in the text, expected once"
    for bracket in _BRACKETS.findall(template.text):
        if bracket not in placeholders:
            yield f"{bracket} is the placeholder of no field"


def _coverage_faults(plan: Plan) -> Iterator[Fault]:
    steps = [str(step.id) for step in plan.steps]
    covered = Counter(str(row.step) for row in plan.coverage)
    missing = [step for step in steps if step not in covered]
    if missing:
        yield ("coverage",), f"no row for {', '.join(missing)}"
    yield from _odd_ones(("coverage",), "step", steps, [str(row.step) for row in plan.coverage])
