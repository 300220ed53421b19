"""Which points there are: those that runs without faults pass, made once before all tests; without them a test makes its own."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crash import Clean, clean_run
from points import AT_A_LINE, Place, Point, every_point, only_new
from stage import SCENARIOS

POINTS_VARIABLE = "TORTURE_POINTS"


def write_points(place: Path) -> None:
    """Make the runs without faults and keep what they passed."""
    kept = {name: _told(clean_run(name)) for name in SCENARIOS}
    place.write_text(json.dumps(kept, indent=1), encoding="utf-8")


@dataclass
class CleanRuns(Mapping[str, Clean]):
    """The runs without faults, by scenario: those kept for the torture, else each is made when it is first asked for.

    Args:
        folder: Where those that are made here are kept, for all processes of one test run.
    """

    folder: Path
    _found: dict[str, Clean] = field(default_factory=dict)

    def __getitem__(self, scenario: str) -> Clean:
        if scenario not in self._found:
            kept = os.environ.get(POINTS_VARIABLE)
            self._found[scenario] = _kept(Path(kept))[scenario] if kept else self._made(scenario)
        return self._found[scenario]

    def __iter__(self) -> Iterator[str]:
        return iter(SCENARIOS)

    def __len__(self) -> int:
        return len(SCENARIOS)

    def _made(self, scenario: str) -> Clean:
        """Make the run, unless another process of the same test run has, or is at it."""
        place = self.folder / f"clean-{scenario.replace(' ', '-')}.json"
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                place.write_text(json.dumps({scenario: _told(clean_run(scenario))}), encoding="utf-8")
        return _kept(place)[scenario]


def loaded_by_procedure(kept: Path) -> dict[int, set[str]]:
    """Return which files the runs without faults have loaded, by procedure; empty where none was made yet."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for name, clean in (_kept(kept) if kept.exists() else {}).items():
        found[SCENARIOS[name].procedure] |= set(clean.loaded)
    return dict(found)


def points_asked_for() -> list[Point]:
    """Return every point of every scenario where the torture has asked for them; of a procedure's later ones only what is new.

    Those around what leaves the machine come before those at the lines of its journal: the time may not do for all.
    """
    kept = os.environ.get(POINTS_VARIABLE)
    known: defaultdict[int, list[Place]] = defaultdict(list)
    points: list[Point] = []
    for name, found in (_kept(Path(kept)) if kept else {}).items():
        before = known[SCENARIOS[name].procedure]
        points += every_point(name, only_new(found.places, before))
        before += found.places
    return sorted(points, key=lambda point: (SCENARIOS[point.scenario].procedure, point.how in AT_A_LINE))


def _told(found: Clean) -> dict[str, Any]:
    return vars(found) | {"places": [asdict(place) for place in found.places]}


def _kept(place: Path) -> dict[str, Clean]:
    kept = json.loads(place.read_text(encoding="utf-8"))
    return {
        name: Clean(
            tuple(Place(**place) for place in told["places"]),
            Counter(told["posts"]),
            Counter(told["deeds"]),
            tuple(told["loaded"]),
        )
        for name, told in kept.items()
    }
