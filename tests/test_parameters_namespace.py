"""A notebook's names are the declared ones; a misspelt one is refused before anything happens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from parameters_project import VercelParameters, project, snapshot

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import notebook_cells, resolve
from rollback_lib.parameters.namespace import given_values

DECLARED = tuple(VercelParameters.model_fields)


class Handle:
    """Anything that is no plain data, such as a procedure."""

    def step(self):
        """Return plain data, as a step may."""
        return "done"


def run(*cells):
    """Run cells as a kernel does and pick the parameters."""
    namespace = {"Handle": Handle}
    for cell in cells:
        exec(cell, namespace)  # noqa: S102  # the cells are the test's own
    return given_values(namespace, DECLARED, cells)


def test_declared_names_are_picked():
    """What the parameters cell assigns is given, and nothing else."""
    given_now = run('environment = "drill"; mode = "headless"', "dry_run = True")
    assert given_now == {"environment": "drill", "mode": "headless", "dry_run": True}


@pytest.mark.parametrize(
    "cell",
    [
        "dry_rnu = True",
        "dry_rnu: bool = True",
        "x = dry_rnu = True",
        "(dry_rnu, dry_run) = (True, False)",
        "[dry_run, *dry_rnu] = [True, False]",
        "(dry_run, (reason, dry_rnu)) = (True, ('', None))",
        "dry_run = False; dry_rnu = 1",
        "dry_rnu = {'a': [1, (2.0, None)]}",
        "dry_rnu = not False",
        "dry_rnu = str(5)",
        "# Parameters\ndry_rnu = True\n",
        "%matplotlib inline\ndry_rnu = True",
        "%%time\ndry_rnu = True",
        "!ls\ndry_rnu = True",
        "?dry_run\ndry_rnu = True",
        "import math\ndry_rnu = math.floor(2.5)",
    ],
)
def test_a_misspelt_name_is_refused_with_the_likely_one(cell):
    """However it is assigned, a name that is not declared is told together with the closest one."""
    namespace = {"dry_rnu": True, "math": math, "x": True, "reason": ""}
    with pytest.raises(
        BadParameters, match=r"dry_rnu is no parameter of this notebook \(did you mean dry_run\?\)"
    ):
        given_values(namespace, DECLARED, [cell])


def test_all_misspelt_names_are_told_at_once():
    """One correction round is enough."""
    with pytest.raises(BadParameters, match=r"severty .*severity\?\); criterium .*criterion") as refused:
        run("severty = 'P0'", "criterium = 'P0.T1'")
    assert "del severty, criterium" in refused.value.next_step


def test_a_name_of_another_procedure_is_told_as_such():
    """A parameter that exists elsewhere is refused here."""
    with pytest.raises(
        BadParameters, match="backup is no parameter of this notebook but of another procedure"
    ):
        run("backup = 'b1'")


@pytest.mark.parametrize(
    "cell",
    [
        "_note = 1",
        "import os",
        "def helper(): return 1",
        "handle = Handle()",
        "handle = Handle()\nresult = handle.step()",
        "values = {'a': Handle()}",
        "fraction = {1, 2}",
        "text: str",
        "for i in range(3): pass",
        "gone = 1\ndel gone",
        "thing = Handle(); thing.attribute = 1",
        "",
    ],
)
def test_what_is_no_parameter_is_left_alone(cell):
    """Private names, objects, results of steps, loops and deleted names are no parameters."""
    assert run(cell) == {}


@pytest.mark.parametrize(
    "cell",
    [
        "%%bash\ndry_rnu = True",
        "dry_rnu = = 1",
        "if:",
        "\x00",
        "dry_rnu = '",
        "(" * 5000,
        "dry_rnu = 1 +\n%x",
    ],
)
def test_a_cell_that_is_not_python_does_not_stop_the_reading(cell):
    """Cells for other languages or with broken syntax are passed over; the others still count."""
    assert given_values({"dry_run": True}, DECLARED, [cell, "dry_run = True"]) == {"dry_run": True}


def test_what_runs_after_papermills_cell_does_not_count():
    """Where papermill injected its cell, later scratch work is the notebook's own business."""
    cells = ["dry_run = False", "# Parameters\ndry_run = True\n", "scratch = 5"]
    assert run(*cells) == {"dry_run": True}
    with pytest.raises(BadParameters, match="scratch"):
        run("scratch = 5", *cells[:2])


def test_the_last_injected_cell_is_the_border():
    """A notebook that was executed twice has two injected cells; both are read."""
    with pytest.raises(BadParameters, match="dry_rnu"):
        run("# Parameters\ndry_run = True", "# Parameters\ndry_rnu = True", "scratch = 5")


def test_the_notebooks_own_comment_is_not_papermills():
    """A cell headed `# parameters` does not hide what runs after it."""
    with pytest.raises(BadParameters, match="scratch"):
        run("# parameters\ndry_run = True", "scratch = 5")


def test_cells_come_from_ipython():
    """In a kernel the sources of the cells run so far are found, and a magic among them does no harm."""
    shell = InteractiveShell()
    shell.run_cell("dry_rnu = True", store_history=True)
    shell.run_cell("%pwd", store_history=True)
    cells = notebook_cells(shell.user_ns)
    assert "dry_rnu = True" in cells
    with pytest.raises(BadParameters, match="dry_rnu"):
        given_values(shell.user_ns, DECLARED, cells)


@pytest.mark.parametrize("namespace", [{}, {"In": None}, {"In": "text"}, {"In": [None, 3]}])
def test_outside_ipython_there_are_no_cells(namespace):
    """A plain script has no cells, and its names are taken as they are."""
    assert notebook_cells(namespace) == ()


@given(st.text(max_size=60))
def test_no_cell_can_crash_the_reading(cell):
    """Whatever stands in a cell, reading it ends in the parameters."""
    assert given_values({"dry_run": True}, DECLARED, [cell]) == {"dry_run": True}


def test_a_misspelt_name_leaves_no_file(tmp_path):
    """The refusal comes before anything is read or written."""
    home = project(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(BadParameters, match="dry_rnu"):
        resolve({"dry_rnu": True}, VercelParameters, cells=["dry_rnu = True"], home=home, environ={})
    assert snapshot(tmp_path) == before
