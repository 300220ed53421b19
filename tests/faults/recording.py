"""A plugin of pytest for the torture: leaves out what has passed, begins nothing after the time is over, keeps each result.

- A result is on disk as soon as its test is over, so that a torture that is stopped goes on where it was.
- What was not begun is not counted as anything.
- `TORTURE_TREES` has the digests of the sources as JSON.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from results import Result, Trees, read_results, write_result

CRASHES = "test_crash_points.py::test_run_killed"  # the point says it all
RESULTS, TREES, UNTIL = "TORTURE_RESULTS", "TORTURE_TREES", "TORTURE_UNTIL"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed with these sources; put down all that there is."""
    done = read_results(Path(os.environ[RESULTS]), trees_given())
    passed = [item for item in items if item.nodeid in done and done[item.nodeid].passed]
    if passed:
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in passed]


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:  # noqa: ARG001 - as pytest calls it
    """Begin nothing more once the time is over."""
    return True if time.time() > float(os.environ[UNTIL]) else None


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str]:
    """Print no dots: each test has its line."""
    return report.outcome if report.when == "call" or not report.passed else "", "", ""


def pytest_configure(config: pytest.Config) -> None:
    """Keep results in the process that hears of all of them."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Keeper(), "keeper")


def trees_given() -> Trees:
    """Return the digests that results are kept under."""
    return Trees.from_json(os.environ[TREES])


class Keeper:
    """Writes down each test that is over."""

    def __init__(self) -> None:
        self._took: defaultdict[str, float] = defaultdict(float)
        self._why: dict[str, str] = {}
        self._over = 0
        self._trees = trees_given()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up a test's three phases; at the last one write and print."""
        self._took[report.nodeid] += report.duration
        if not report.passed:
            self._why[report.nodeid] = report.longreprtext
        if report.when == "teardown":
            self._over += 1
            self._tell(report.nodeid, self._why.pop(report.nodeid, ""))

    def _tell(self, test: str, why: str) -> None:
        seconds = round(self._took.pop(test), 2)
        write_result(Path(os.environ[RESULTS]), Result(self._trees.of(test), test, not why, seconds, why))
        name = test.partition("[")[2].rstrip("]") if CRASHES in test else test.rpartition("/")[2]
        sys.stdout.write(f"{self._over:5} {'FAILED' if why else 'passed'} {seconds:6.1f} s  {name}\n")
        sys.stdout.flush()
