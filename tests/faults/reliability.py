"""docs/reliability.md: what was tried, what passed, how long it took, and what cannot be tried.

- Every figure is counted from results; none is written by hand.
- What was not tried stands beside what was; a failure is named.
- What was tried with earlier sources only stands by itself: it shows what once held, not that it still does.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from points import HOW_SAID, VICTIM_SAID, How, Victim
from repository import ROOT
from results import Result, Trees, procedure_of

PAGE = ROOT / "docs" / "reliability.md"
CRASHES = {
    1: "Crash points of procedure 1",
    2: "Crash points of procedure 2",
}
KINDS = {
    "test_bad_days.py": "Bad days of procedure 1",
    "test_bad_days_backend.py": "Bad days of procedure 2",
    "test_run_twice_backend.py": "Bad days of procedure 2",
    "test_forgeries.py": "Forged approvals",
    "test_mutants.py": "Mutants: seeded mistakes in the code, each to be caught",
}
_OTHERS = "Tests of the torture itself"
_KIND = re.compile(r"\[[^,]+, (?P<victim>\w+): (?P<how>\w+), ")


@dataclass(frozen=True)
class Facts:
    """Where and with what it was tried."""

    day: str
    cores: int
    machine: str
    python: str
    trees: Trees

    @classmethod
    def of_here(cls, trees: Trees) -> Facts:
        """Say it of this machine and this moment."""
        return cls(
            f"{datetime.now(UTC):%Y-%m-%d}",
            len(os.sched_getaffinity(0)),
            f"{platform.system()} {platform.machine()}",
            platform.python_version(),
            trees,
        )


@dataclass(frozen=True)
class Group:
    """The tests of one kind."""

    title: str
    tests: tuple[str, ...]
    results: tuple[Result, ...]
    earlier: tuple[Result, ...] = ()  # of those that were not tried with these sources

    @property
    def passed(self) -> tuple[Result, ...]:
        """Return those that did."""
        return tuple(result for result in self.results if result.passed)

    @property
    def failed(self) -> tuple[Result, ...]:
        """Return those that did not."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def left(self) -> tuple[str, ...]:
        """Return the tests without a result."""
        done = {result.test for result in self.results}
        return tuple(test for test in self.tests if test not in done)

    @property
    def seconds(self) -> float:
        """Return how long they took, one after the other."""
        return sum(result.seconds for result in self.results)


def groups_of(
    tests: Iterable[str], results: Mapping[str, Result], earlier: Mapping[str, Result] | None = None
) -> list[Group]:
    """Sort tests and their results by kind; a result whose test is gone counts for nothing."""
    sorted_out: dict[str, list[str]] = {title: [] for title in (*CRASHES.values(), *KINDS.values(), _OTHERS)}
    for test in tests:
        file = test.partition("::")[0].rpartition("/")[2]
        sorted_out[_crash_title(test) or KINDS.get(file, _OTHERS)].append(test)
    return [
        Group(title, tuple(found), _of(found, results), _of(found, earlier or {}))
        for title, found in sorted_out.items()
        if found
    ]


def _of(tests: Iterable[str], results: Mapping[str, Result]) -> tuple[Result, ...]:
    return tuple(results[test] for test in tests if test in results)


def page(groups: Iterable[Group], facts: Facts) -> str:
    """Write the page."""
    listed = list(groups)
    rows = [_row(group) for group in listed]
    crashes = [line for group in listed if group.title in CRASHES.values() for line in _crashes(group)]
    failed = [f"- `{result.test}`" for group in listed for result in group.failed]
    failed += [
        f"- with earlier sources: `{result.test}`"
        for group in listed
        for result in group.earlier
        if not result.passed
    ]
    return "\n".join(
        [
            "# What was tried, and what came of it",
            "",
            "Written by `make torture`, from its results; `make reliability` writes it again without trying anything. What each",
            "kind of trial asks for stands at the top of its file in `tests/faults/`.",
            "",
            f"{facts.day}, {facts.cores} cores, {facts.machine}, Python {facts.python}; {_sources(facts.trees, listed)}.",
            "",
            "| what | there are | tried | passed | seconds | with earlier sources only: tried | passed |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "Seconds are those of the trials one after the other; several run at the same time. A change of any file that a trial",
            "depends on makes its result an earlier one: it shows what held then, and the trial is due again.",
            "",
            *crashes,
            "## Failed",
            "",
            *(failed or ["Nothing."]),
            "",
            *_LIMITS,
        ]
    )


def _sources(trees: Trees, groups: Iterable[Group]) -> str:
    """Say which sources it was; a crash point depends on those alone that its procedure's runs may load."""
    parts = [f"for procedure {number}'s crash points {tree}" for number, tree in trees.by_procedure.items()]
    earlier = sorted({result.tree for group in groups for result in group.earlier})
    return ", ".join([f"sources {trees.everything}", *parts, *(f"earlier {tree}" for tree in earlier)])


def _row(group: Group) -> str:
    before = sum(result.passed for result in group.earlier)
    figures = (len(group.tests), len(group.results), len(group.passed), round(group.seconds))
    return f"| {' | '.join(map(str, (group.title, *figures, len(group.earlier), before)))} |"


def _crashes(group: Group) -> list[str]:
    """Count the crash points by victim and place, earlier ones as well; a cell says passed of those there are."""
    there_are = Counter(map(_kind, group.tests))
    passed = Counter(_kind(result.test) for result in (*group.results, *group.earlier) if result.passed)
    hows = [how for how in HOW_SAID if any(there_are[victim, how] for victim in VICTIM_SAID)]
    lines = [
        f"## {group.title} by victim and place",
        "",
        *_SAID[group.title],
        "",
        f"| who dies | {' | '.join(HOW_SAID[how] for how in hows)} |",
        f"|---|{'---|' * len(hows)}",
    ]
    for victim, said in VICTIM_SAID.items():
        if not any(there_are[victim, how] for how in hows):
            continue
        cells = [
            f"{passed[victim, how]} of {there_are[victim, how]}" if there_are[victim, how] else ""
            for how in hows
        ]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    return [*lines, ""]


def _crash_title(test: str) -> str:
    """Return the title of the procedure whose crash point a test is; empty: it is none."""
    return CRASHES.get(procedure_of(test), "")


def _kind(test: str) -> tuple[Victim | str, How | str]:
    found = _KIND.search(test)
    return (found["victim"], found["how"]) if found else ("", "")


_SAID = {
    CRASHES[1]: [
        "Killed by SIGKILL (the last row: asked to end by SIGTERM), then run again in a new process to the end: production moved",
        "once, each message posted once, the run closed once and verified, its record whole. Passed of those there are,",
        "with these sources or with earlier ones:",
    ],
    CRASHES[2]: [
        "Killed in the same ways. What changes production is a program here, the official command line, which may live on, die",
        "with its kernel, or die alone: at its beginning, and at each request of a dry run and of a push. Then run again in a new",
        "process to the end: one push went live, each message was posted once, the run is closed once and verified, its record",
        "is whole, and neither the deploy key nor unredacted output is left. At places that are not about that program, one that",
        "sends the same requests, and is quicker, stands in for it. Passed of those there are, with these sources or with earlier ones:",
    ],
}
_LIMITS = [
    "## What this cannot try",
    "",
    "- Loss of power. SIGKILL leaves what was written in the hands of the kernel of the operating system, so that a line that was",
    "  never synced survives it. That each line is synced before anything leaves is held by the tests of the journal.",
    "- A request that the platform takes on seconds after its sender has died and after the next process has looked. No platform",
    "  here offers a key by which it would refuse the second of two equal requests. The time to look is `observe_s`.",
    "- The real platforms. They are simulated by the contracts that were read; the official clients check the simulator.",
    "- Points inside a single write or a single answer: a line is torn in its middle, an answer is read or not.",
    "",
]
