"""Killed at a point and run again: production changed once, each message posted once, the run verified.

Here are some points around procedure 1's change of production and its journal, and some of the command line that makes
procedure 2's change; `make torture` takes every point there is.
"""

from __future__ import annotations

import pytest
from crash import prove
from enumerated import CleanRuns, points_asked_for
from points import CHANGING, CHILD, REQUEST, Place, Point, every_point

EFFECT = Place("effect.sending", "P1.S4")
FINISH = Place(REQUEST, None, "convex deploy: finish_push")
BEFORE_AND_AFTER = ("unsent", "lost", "answered")
QUICK = [
    *(Point("severity P0", "kernel", how, EFFECT) for how in BEFORE_AND_AFTER),
    Point("severity P0", "run", "lost", EFFECT),
    Point("severity P0", "held", "unsent", EFFECT),
    Point("severity P0", "kernel", "torn", Place("run.opened", None)),
    Point("severity P0", "both", "torn", Place("effect.intent", "P1.S4")),
    Point("severity P0", "stopped", "answered", EFFECT),
    Point("severity P0", "run", "lost", Place("prepare.sending", None, "dead-man notice taken back")),
]
QUICK_BACKEND = [
    Point("backend P0", "all", "late", FINISH),
]
_ASKED_FOR = points_asked_for()


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> CleanRuns:
    """Give what runs without faults pass and leave behind, by scenario."""
    own = tmp_path_factory.getbasetemp()
    return CleanRuns(own.parent if own.name.startswith("popen-") else own)


@pytest.mark.parametrize("point", _ASKED_FOR or [*QUICK, *QUICK_BACKEND], ids=str)
def test_run_killed_at_a_point_is_brought_to_its_end_by_running_it_again(point: Point, clean):
    """Whoever dies where: the notebook run again in a new process leaves what a run without faults leaves."""
    troubles = prove(point, clean[point.scenario])
    assert not troubles, "\n".join(troubles)


@pytest.mark.parametrize(("scenario", "quick"), [("severity P0", QUICK), ("backend P0", QUICK_BACKEND)])
def test_points_are_those_that_a_run_passes(scenario, quick, clean):
    """Each line of the journal and each changing request has its points, and the quick ones are among them."""
    places = [place for place in clean[scenario].places if place.event not in {CHILD, REQUEST}]
    points = every_point(scenario, clean[scenario].places)
    torn = {point.place for point in points if (point.victim, point.how) == ("kernel", "torn")}
    assert torn == set(places)
    sent = {
        point.place
        for point in points
        if (point.victim, point.how) == ("both", "answered") and point.place.event != REQUEST
    }
    assert sent == {place for place in places if place.event.endswith(".sending") and not place.by_child}
    assert set(quick) <= set(points)


def test_points_of_a_program_are_its_beginning_and_each_request_that_changes_something(clean):
    """The command line is killed, and outlives others, at each step of a push and of a dry run; so is each other program."""
    places = clean["backend P0"].places
    pushing = ("convex deploy --dry-run", "convex deploy")
    steps = ("start_push", "wait_for_schema", "finish_push")
    asked = [place.said for place in places if place.event == REQUEST]
    assert asked == [f"{program}: {step}" for program in pushing for step in steps]
    begun = [place.said for place in places if place.event == CHILD]
    assert set(begun) == set(CHANGING) - {"npm ci"}  # whose packages were installed before
    points = every_point("backend P0", places)
    victims = ("kernel", "both", "run", "held", "stopped", "child", "group", "pair", "all")
    at_once = {(victim, how) for victim in victims for how in ("lost", "late", "answered")}
    held_up = {(victim, how) for victim in ("kernel", "both") for how in ("slow", "outlived")}
    assert {(point.victim, point.how) for point in points if point.place == FINISH} == at_once | held_up
    assert {point.victim for point in points if point.place.event == CHILD} >= {"kernel", "child", "all"}
