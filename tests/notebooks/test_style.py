"""The notebooks as they are committed: the plan's steps and nothing else, empty of output, safe by default."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from repository import NOTEBOOKS, ROOT

from rollback_lib import procedures
from rollback_lib.parameters import RunParameters
from rollback_lib.plan import Plan, load_plan
from rollback_lib.procedures.base import Procedure

MOST_LINES = 5  # of code in a cell; what needs more belongs in the procedure, with a test
BRANCHES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.If,
    ast.IfExp,
    ast.For,
    ast.While,
    ast.Try,
    ast.With,
    ast.comprehension,
)

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@cache
def notebook(path: Path) -> Any:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


@cache
def plan() -> Plan:
    """Read the customer's plan."""
    return load_plan(ROOT)


def code_cells(path: Path) -> list[Any]:
    """List the code cells."""
    return [cell for cell in notebook(path).cells if cell.cell_type == "code"]


def parameters_cell(path: Path) -> Any:
    """Find the one cell that papermill injects behind."""
    (found,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    return found


def procedure_class(path: Path) -> type[Procedure]:
    """Find the class that the notebook imports: the only thing that it imports."""
    imports = [
        node
        for cell in code_cells(path)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    (only,) = imports
    assert isinstance(only, ast.ImportFrom)
    assert only.module == "rollback_lib.procedures"
    (name,) = only.names
    found = getattr(procedures, name.name)
    assert issubclass(found, Procedure)
    return found


def test_notebook_is_valid_and_empty_of_output(path):
    """What a run printed, and how often it ran, is in records and never in version control."""
    nbformat.validate(notebook(path))
    for cell in code_cells(path):
        assert cell.outputs == [], cell.id
        assert cell.execution_count is None, cell.id
    assert "widgets" not in notebook(path).metadata


def test_notebook_has_every_step_of_the_plan_in_its_order(path):
    """A step's cells carry its id, its heading the plan's own title, and its text the plan's place."""
    number = procedure_class(path).number
    cells = notebook(path).cells
    ids = [cell.id for cell in cells]
    assert len(set(ids)) == len(ids)
    positions = []
    for step in plan().procedure(number).steps:
        cell_id = step.id.lower().replace(".", "-")
        assert cell_id in ids, step.id
        text = cells[ids.index(f"{cell_id}-text")].source
        assert text.splitlines()[0] == f"### {step.id} {step.title}"
        assert f"(Plan: Procedure {number}, step {step.id.rpartition('S')[2]})" in text
        positions.append((ids.index(f"{cell_id}-text"), ids.index(cell_id)))
    assert positions == sorted(positions)
    assert all(code == text + 1 for text, code in positions)
    headings = re.findall(r"^### (P\d\.S\d+)\b", "\n".join(cell.source for cell in cells), re.MULTILINE)
    assert headings == [step.id for step in plan().procedure(number).steps]


def test_step_cell_calls_the_method_of_that_step(path):
    """The cell with the id of a step runs that step and no other."""
    cls = procedure_class(path)
    steps = {method.step_id: name for name, method in inspect.getmembers(cls) if hasattr(method, "step_id")}
    for cell in code_cells(path):
        called = {
            node.func.attr
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        expected = {name for step_id, name in steps.items() if step_id.lower().replace(".", "-") == cell.id}
        assert called & set(steps.values()) == expected, cell.id
    assert set(steps) == {step.id for step in plan().procedure(cls.number).steps}


def test_cells_hold_no_logic(path):
    """What needs a branch, a loop or more than a few lines stands in the procedure, where it has tests."""
    for cell in code_cells(path):
        if cell.id == parameters_cell(path).id:
            continue
        tree = ast.parse(cell.source)
        assert [type(node).__name__ for node in ast.walk(tree) if isinstance(node, BRANCHES)] == [], cell.id
        assert len(cell.source.splitlines()) <= MOST_LINES, cell.id


def test_gate_stands_right_before_what_changes_production(path):
    """The code cell before a step that changes production is a gate's."""
    order = [cell.id for cell in code_cells(path)]
    changing = [
        cell.id.removesuffix("-text")
        for cell in notebook(path).cells
        if "**Changes production.**" in cell.source
    ]
    assert changing
    for cell_id in changing:
        assert re.fullmatch(r"p\d-g\d", order[order.index(cell_id) - 1]), cell_id


def test_no_cell_lets_a_failure_pass(path):
    """A cell tagged to raise would let papermill run on past a closed gate; nothing may block or leave quietly."""
    for cell in code_cells(path):
        assert "raises-exception" not in cell.metadata.get("tags", [])
        assert not re.search(r"\b(?:input|exit|quit|sys\.exit)\s*\(", cell.source), cell.id


def test_parameters_are_the_models_with_its_safe_defaults(path):
    """The cell declares exactly what the procedure takes; run as it is, it touches a drill and no more."""
    declared: dict[str, Any] = {}
    for node in ast.parse(parameters_cell(path).source).body:
        assert isinstance(node, ast.Assign)
        (target,) = node.targets
        assert isinstance(target, ast.Name)
        declared[target.id] = ast.literal_eval(node.value)
    model = procedure_class(path).parameters_model
    assert issubclass(model, RunParameters)
    assert declared == model().model_dump()
    assert declared["environment"] == "drill"
    assert (declared["mode"], declared["confirm"]) == ("interactive", "")


def test_parameters_for_nbmake_are_declared_ones(path):
    """What nbmake injects is part of the notebook, so that `pytest --nbmake notebooks` needs nothing else."""
    mock = parameters_cell(path).metadata["nbmake"]["mock"]
    procedure_class(path).parameters_model.model_validate(mock)
    assert mock["mode"] == "headless"
    assert "environment" not in mock


def test_title_says_what_an_operator_must_know(path):
    """The first cell answers what it reverts, how long, with what loss, who approves and how to undo."""
    first = notebook(path).cells[0]
    number = procedure_class(path).number
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# Procedure {number}: {plan().procedure(number).title}\n")
    for topic in ("Reverts", "Plan", "Duration", "Downtime", "Data loss", "Approval", "Undo"):
        assert re.search(rf"^\| {topic} \| \S", first.source, re.MULTILINE), topic
    assert f"Rollback Plan {plan().version}" in first.source
