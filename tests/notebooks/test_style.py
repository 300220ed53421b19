"""The notebooks hold together with plan and code: ids, titles, short cells, no logic, no outputs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

from rollback_lib import procedures
from rollback_lib.plan import load_plan

ROOT = Path(__file__).parents[2]
PLAN = load_plan(ROOT)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROCEDURES = {getattr(procedures, name).number: getattr(procedures, name) for name in procedures.__all__}
LONGEST_CELL = 5  # lines; the parameters cell is a list of names
BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.Try,
    ast.FunctionDef,
    ast.ClassDef,
    ast.With,
    ast.Lambda,
    ast.ListComp,
)


def cells_of(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Path:
    return request.param


def number_of(notebook: Path) -> int:
    return int(notebook.stem.partition("_")[0])


def test_every_step_of_the_plan_has_its_cell_its_heading_and_its_method(notebook: Path):
    """Step ids, the plan's titles and the procedure's methods say the same thing in the same order."""
    number = number_of(notebook)
    steps = PLAN.procedure(number).steps
    cells = {cell.id: cell for cell in cells_of(notebook)}
    methods = {getattr(member, "step_id", ""): name for name, member in vars(PROCEDURES[number]).items()}
    order = [cell.id for cell in cells_of(notebook)]
    for step in steps:
        cell_id = step.id.lower().replace(".", "-")
        assert cells[f"{cell_id}-text"].source.startswith(f"### {step.id} {step.title}\n")
        assert f"rollback.{methods[step.id]}(" in cells[cell_id].source
        assert order.index(f"{cell_id}-text") + 1 == order.index(cell_id)
    positions = [order.index(step.id.lower().replace(".", "-")) for step in steps]
    assert positions == sorted(positions)


def test_gate_stands_right_before_the_step_that_changes_production(notebook: Path):
    """Nothing that changes production comes before its gate's cell."""
    order = [cell.id for cell in cells_of(notebook) if cell.cell_type == "code"]
    gates = [cell_id for cell_id in order if re.fullmatch(r"p\d-g\d", cell_id)]
    changing = [
        cell.id.removesuffix("-text")
        for cell in cells_of(notebook)
        if "**Changes production.**" in cell.source
    ]
    assert gates
    for cell_id in changing:
        assert order[order.index(cell_id) - 1] in gates


def test_cells_are_short_and_hold_no_logic(notebook: Path):
    """One to five lines, no branch, loop or definition; only the procedure's class is imported."""
    for cell in cells_of(notebook):
        if cell.cell_type != "code" or "parameters" in cell.metadata.get("tags", ()):
            continue
        tree = ast.parse(cell.source)
        assert 1 <= len([line for line in cell.source.splitlines() if line.strip()]) <= LONGEST_CELL, cell.id
        assert not [node for node in ast.walk(tree) if isinstance(node, BRANCHES)], cell.id
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert all(
            isinstance(node, ast.ImportFrom) and node.module == "rollback_lib.procedures" for node in imports
        ), cell.id


def test_parameters_cell_has_the_models_names_and_safe_defaults(notebook: Path):
    """The tagged cell declares each parameter with the model's default, one a line, and touches nothing but a drill."""
    tagged = [cell for cell in cells_of(notebook) if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(tagged[0].source).body}
    fields = PROCEDURES[number_of(notebook)].parameters_model.model_fields
    assert given == {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    assert given["environment"] == "drill"
    assert "nbmake" in tagged[0].metadata


def test_committed_without_outputs_and_never_running_on_past_an_exception(notebook: Path):
    """No outputs, no execution counts, and no tag that lets papermill run past a closed gate."""
    for cell in cells_of(notebook):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert "raises-exception" not in cell.metadata.get("tags", ())


def test_ids_are_readable(notebook: Path):
    """Cell ids name the step, so that a diff or a failing cell does too."""
    for cell in cells_of(notebook):
        assert re.fullmatch(r"p\d-(title|parameters|open|close|s\d+|g\d+)(-[a-z]+)?", cell.id), cell.id
