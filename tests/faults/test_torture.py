"""The torture's own machinery: it goes on where it stopped, stops in time, and its page says what was found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from points import CHILD, REQUEST, Place, every_point
from reliability import KINDS, PAGE, Facts, groups_of, page
from repository import ROOT
from results import Result, Trees, read_earlier, read_results, write_result

TREE, OF_2 = "0123456789abcdef", "fedcba9876543210"
TREES = Trees(TREE, {1: TREE, 2: OF_2})
FIGURES = re.compile(r"\| (\d+( of \d+)?)? ?(?=\|)")  # of one cell, or an empty one
FACTS = Facts("2026-11-25", 2, "Linux x86_64", "3.11.7", TREES)
CRASH_TEST = "tests/faults/test_crash_points.py::test_run"
POINT = f"{CRASH_TEST}[severity P0, {{}}, effect.sending P1.S4]"
TESTS = [
    POINT.format("kernel: torn"),
    POINT.format("kernel: late"),
    POINT.format("both: torn"),
    *(f"tests/faults/{name}::test_one" for name in KINDS),
    f"{CRASH_TEST}[backend P0, group: late, request convex deploy: finish_push]",
    f"{CRASH_TEST}[backend P0 on a new machine, all: amid, child npm ci]",
]

SOURCES = {  # what is changed, and whose crash points have to be tried anew
    "rollback_lib/both.py": {1, 2},
    "rollback_lib/first.py": {1},
    "rollback_lib/second.py": {2},
    "rollback_lib/neither.py": {1, 2},  # a run may need it once something has failed
    "notebooks/1_vercel_rollback.ipynb": {1},
    "notebooks/2_convex_rollback.ipynb": {2},
    "parameters/plan.yaml": {1, 2},
    "requirements.lock": {1, 2},
    "tests/faults/stage.py": {1, 2},
    "tests/faults/inject/sitecustomize.py": {1, 2},
    "tests/faults/quick_convex.js": {1, 2},
    "tests/faults/test_crash_points.py": {1, 2},
    "tests/faults/test_forgeries.py": set(),
}


def result(test: str, *, passed: bool = True, seconds: float = 8.4, tree: str = "") -> Result:
    return Result(tree or TREES.of(test), test, passed, seconds, "" if passed else "it broke")


def shape(text: str) -> list[str]:
    """Return a page's lines without its figures, its day and machine, and what has failed."""
    before, _, rest = text.partition("## Failed\n")
    kept = f"{before}## What this{rest.partition('## What this')[2]}"
    return [FIGURES.sub("| 0 ", line) for line in kept.splitlines() if not re.match(r"\d{4}-", line)]


def test_page_counts_what_was_found():
    """There are, tried, passed and seconds by kind; crash points by victim and place; failures by name."""
    results = {test: result(test) for test in TESTS[:2]}
    results[TESTS[3]] = result(TESTS[3], passed=False)
    results[TESTS[-2]] = result(TESTS[-2])
    lines = page(groups_of(TESTS, results), FACTS).splitlines()
    assert "| Crash points of procedure 1 | 3 | 2 | 2 | 17 | 0 | 0 |" in lines
    assert "| Crash points of procedure 2 | 2 | 1 | 1 | 8 | 0 | 0 |" in lines
    assert "| Bad days of procedure 1 | 1 | 1 | 0 | 8 | 0 | 0 |" in lines
    assert "| Bad days of procedure 2 | 2 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert "| Forged approvals | 1 | 0 | 0 | 0 | 0 | 0 |" in lines
    kernel = next(line for line in lines if line.startswith("| the kernel |"))
    assert kernel.split(" | ")[1:] == ["1 of 1", "1 of 1 |"]
    assert next(line for line in lines if line.startswith("| kernel and")).count("0 of 1") == 1
    backend = lines[lines.index("## Crash points of procedure 2 by victim and place") :]
    program = next(line for line in backend if line.startswith("| the program and the shell"))
    assert program.split(" | ")[1:] == ["1 of 1", " |"]
    assert next(line for line in backend if line.startswith("| kernel, `roll")).count("0 of 1") == 1
    assert lines[lines.index("## Failed") + 2] == f"- `{TESTS[3]}`"
    said = f"sources {TREE}, for procedure 1's crash points {TREE}, for procedure 2's crash points {OF_2}"
    assert f"2026-11-25, 2 cores, Linux x86_64, Python 3.11.7; {said}." in lines


def test_page_tells_apart_what_was_tried_with_earlier_sources_only():
    """It counts as neither tried nor passed; among the crash points it is shown; where it failed, it is named."""
    earlier = {test: result(test, tree="earlier0") for test in TESTS[1:3]}
    earlier[TESTS[3]] = result(TESTS[3], passed=False, tree="earlier1")
    groups = groups_of(TESTS, {TESTS[0]: result(TESTS[0])}, earlier)
    lines = page(groups, FACTS).splitlines()
    assert "| Crash points of procedure 1 | 3 | 1 | 1 | 8 | 2 | 2 |" in lines
    assert "| Bad days of procedure 1 | 1 | 0 | 0 | 0 | 1 | 0 |" in lines
    kernel = next(line for line in lines if line.startswith("| the kernel |"))
    assert kernel.split(" | ")[1:] == ["1 of 1", "1 of 1 |"]
    assert lines[lines.index("## Failed") + 2] == f"- with earlier sources: `{TESTS[3]}`"
    assert lines[5].endswith(f"for procedure 2's crash points {OF_2}, earlier earlier0, earlier earlier1.")
    assert [len(group.left) for group in groups][:2] == [2, 2]  # due again, or never tried


def test_page_in_the_documents_is_one_that_was_generated():
    """Nobody has written into it by hand: but for the figures it is what the generator writes."""
    lines = [Place("step.started", "P1.S4"), Place("prepare.sending", None, "message alert")]
    programs = [Place(CHILD, None, "npm ci"), Place(REQUEST, None, "convex deploy: finish_push")]
    points = [
        *every_point("severity P0", lines),
        *every_point("backend P0", [*lines, *programs]),
    ]
    everything = [
        *(f"{CRASH_TEST}[{point}]" for point in points),
        *TESTS[3:],
        "tests/faults/test_torture.py::test_one",
    ]
    written = PAGE.read_text(encoding="utf-8")
    wanted = shape(page(groups_of(everything, {}), FACTS))
    assert [line for line in shape(written) if line not in wanted] == []
    headings = [line for line in wanted if line.startswith(("#", "| what", "| who", "- "))]
    assert [line for line in headings if line not in shape(written)] == []


def test_newest_result_of_these_very_sources_counts(tmp_path: Path):
    """A result of other sources is an earlier one; a line that was cut off counts for nothing."""
    place = tmp_path / "results.jsonl"
    write_result(place, result("a", passed=False))
    write_result(place, result("a"))
    write_result(place, result("b", tree="another"))
    write_result(place, result(TESTS[-1], tree=TREE))  # of other sources of its procedure
    write_result(place, result(TESTS[-2]))
    with place.open("a", encoding="utf-8") as file:
        file.write('{"tree": "0123')
    found = read_results(place, TREES)
    assert {test: found[test].passed for test in found} == {"a": True, TESTS[-2]: True}
    assert set(read_earlier(place, TREES)) == {"b", TESTS[-1]}


def test_torture_goes_on_where_it_stopped(tmp_path: Path):
    """What has passed is not run again, what has failed is; after the time is over nothing is begun."""
    (tmp_path / "test_x.py").write_text(
        "def test_good():\n    assert True\n\n\ndef test_bad():\n    assert 1 == 2\n", encoding="utf-8"
    )
    place = tmp_path / "results.jsonl"

    def torture(until: float) -> list[str]:
        before = len(place.read_text(encoding="utf-8").splitlines()) if place.exists() else 0
        here = Path(__file__).parent
        path = os.pathsep.join(map(str, (here, here.parent, ROOT)))
        known = {"TORTURE_RESULTS": str(place), "TORTURE_TREES": TREES.to_json(), "TORTURE_UNTIL": str(until)}
        alone = {"PYTHONPATH": path, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        plugins = ("-p", "xdist", "-p", "recording", "-p", "no:cacheprovider")
        subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, "-n", "1", "test_x.py"],
            cwd=tmp_path,
            env={**os.environ, **alone, **known},
            capture_output=True,
            check=False,
        )
        lines = place.read_text(encoding="utf-8").splitlines() if place.exists() else []
        return sorted(re.findall(r"test_\w+(?=\", \"passed)", "".join(lines[before:])))

    assert torture(time.time() + 60) == ["test_bad", "test_good"]
    found = read_results(place, TREES)
    assert {test: result.passed for test, result in found.items()} == {
        "test_x.py::test_good": True,
        "test_x.py::test_bad": False,
    }
    assert "assert 1 == 2" in found["test_x.py::test_bad"].why
    assert torture(time.time() - 1) == []
    assert torture(time.time() + 60) == ["test_bad"]


@pytest.mark.parametrize(
    ("changed", "void"),
    SOURCES.items(),
)
def test_crash_points_depend_on_what_their_procedure_may_load(changed, void, tmp_path, monkeypatch):
    """A change of what only the other procedure loads leaves their results standing; any other test depends on everything."""
    loaded = {1: {"rollback_lib/both.py", "rollback_lib/first.py", "tests/faults/stage.py"}}
    loaded[2] = {"rollback_lib/both.py", "rollback_lib/second.py", "tests/faults/stage.py"}
    paths = [tmp_path / name for name in SOURCES]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as it was", encoding="utf-8")
    monkeypatch.setattr("results.ROOT", tmp_path)
    monkeypatch.setattr("results.files", lambda: paths)
    before = Trees.of_here(loaded)
    (tmp_path / changed).write_text("changed", encoding="utf-8")
    after = Trees.from_json(Trees.of_here(loaded).to_json())
    assert after.everything != before.everything
    assert {number for number in loaded if after.by_procedure[number] != before.by_procedure[number]} == void
    assert [after.of(test) for test in TESTS[3:-2]] == [after.everything] * (len(TESTS) - 5)
