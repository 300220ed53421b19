"""Which points there are: those that runs without faults pass, made once before all tests; without them a test makes its own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from crash import Clean, clean_run
from points import Place, Point, every_point, only_new
from stage import SCENARIOS

POINTS_VARIABLE = "TORTURE_POINTS"


def write_points(place: Path) -> None:
    """Make the runs without faults and keep what they passed."""
    kept = {
        name: {
            "places": [asdict(place) for place in found.places],
            "posts": found.posts,
            "deeds": found.deeds,
        }
        for name, found in _each()
    }
    place.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def clean_runs() -> dict[str, Clean]:
    """Return the runs without faults, by scenario: those kept, else a new one of the first scenario."""
    place = os.environ.get(POINTS_VARIABLE)
    if place is None:
        return dict([next(_each())])
    kept = json.loads(Path(place).read_text(encoding="utf-8"))
    return {
        name: Clean(
            tuple(Place(**place) for place in told["places"]), Counter(told["posts"]), Counter(told["deeds"])
        )
        for name, told in kept.items()
    }


def points_asked_for() -> list[Point]:
    """Return every point of every scenario where the torture has asked for them; of the later scenarios only what is new."""
    if POINTS_VARIABLE not in os.environ:
        return []
    known: list[Place] = []
    points: list[Point] = []
    for name, found in clean_runs().items():
        points += every_point(name, only_new(found.places, known))
        known += found.places
    return points


def _each() -> Iterator[tuple[str, Clean]]:
    for name in SCENARIOS:
        yield name, clean_run(name)
