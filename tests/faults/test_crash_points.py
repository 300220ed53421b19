"""Killed at a point and run again: production moved once, each message posted once, the run verified.

Here are all points around the change of production and some around the journal; `make torture` takes every point there is.
"""

from __future__ import annotations

import pytest
from crash import Clean, prove
from enumerated import clean_runs, points_asked_for
from points import Place, Point, every_point

EFFECT = Place("effect.sending", "P1.S4")
BEFORE_AND_AFTER = ("unsent", "lost", "late", "answered")
QUICK = [
    *(Point("severity P0", "kernel", how, EFFECT) for how in BEFORE_AND_AFTER),
    *(Point("severity P0", "run", how, EFFECT) for how in BEFORE_AND_AFTER),
    Point("severity P0", "held", "unsent", EFFECT),
    Point("severity P0", "kernel", "torn", Place("run.opened", None)),
    Point("severity P0", "both", "torn", Place("effect.intent", "P1.S4")),
    Point("severity P0", "both", "torn", Place("effect.answered", "P1.S4")),
    Point("severity P0", "run", "after", Place("step.started", "P1.S6")),
    Point("severity P0", "both", "torn", Place("run.closed", None)),
    Point("severity P0", "kernel", "after", Place("run.closed", None)),
    Point("severity P0", "stopped", "answered", EFFECT),
]


@pytest.fixture(scope="session")
def clean() -> dict[str, Clean]:
    """Give what runs without faults pass and leave behind, by scenario."""
    return clean_runs()


@pytest.mark.parametrize("point", points_asked_for() or QUICK, ids=str)
def test_run_killed_at_a_point_is_brought_to_its_end_by_running_it_again(point: Point, clean):
    """Whoever dies where: the notebook run again in a new process leaves what a run without faults leaves."""
    assert prove(point, clean[point.scenario]) == []


def test_points_are_those_that_a_run_passes(clean):
    """Each line of the journal and each changing request has its points, and the quick ones are among them."""
    places = clean["severity P0"].places
    points = every_point("severity P0", places)
    torn = {point.place for point in points if (point.victim, point.how) == ("kernel", "torn")}
    assert torn == set(places)
    sent = {point.place for point in points if (point.victim, point.how) == ("both", "answered")}
    assert sent == {place for place in places if place.event.endswith(".sending")}
    assert EFFECT in sent
    assert set(QUICK) <= set(points)
