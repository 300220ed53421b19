"""What a drill says of production, by the world itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from repository import ROOT

from rollback_lib.drills.drill import _production
from rollback_lib.drills.scenario import load_scenarios, real_pace
from rollback_lib.parameters import read_layer
from rollback_lib.simulator import OutcomeView, World, WorldSpec
from rollback_lib.simulator.convex.furnishing import VISITORS
from rollback_lib.simulator.convex.logs import _KEPT
from rollback_lib.simulator.convex.view import ConvexView, Push
from rollback_lib.simulator.hosting import Effect

NOTEBOOK = "2_convex_rollback"
PUSHED = Push(2_000, "rollback to it", "token")
EARLIER = Push(500, "the bad one", "token")
RECOVERED = {"code": "good", "pushes": (EARLIER, PUSHED), "calls": 200, "failed_calls": 1}


@pytest.fixture(scope="module")
def world() -> OutcomeView:
    return replace(World(WorldSpec(history_s=0)).outcome_view(), began_ms=1_000, effects=())


def backend(**changed) -> ConvexView:
    """Give a backend whose bad code was live when the world began, at 1,000 ms."""
    before = {"code": "bad", "pushes": (EARLIER,), "calls": 80, "failed_calls": 40}
    fixed = {"deployment": "d", "functions": (), "variables": (), "documents": {}, "last_push_ms": None}
    return ConvexView(**{"expected_code": "good", "paused": False} | fixed | before | changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({}, "untouched", id="nothing-pushed"),
        pytest.param(RECOVERED, "recovered", id="pushed-and-well"),
        pytest.param(RECOVERED | {"pushes": (EARLIER, PUSHED, PUSHED)}, "elsewhere", id="pushed-twice"),
        pytest.param(RECOVERED | {"code": "older"}, "elsewhere", id="another-commit"),
        pytest.param(RECOVERED | {"failed_calls": 2}, "elsewhere", id="one-in-a-hundred-fails"),
        pytest.param(RECOVERED | {"calls": 0, "failed_calls": 0}, "elsewhere", id="nobody-calls"),
        pytest.param(RECOVERED | {"paused": True}, "elsewhere", id="paused"),
    ],
)
def test_procedure_2_is_judged_by_the_backend(world, changed, said):
    """Recovered is one push of the expected code, with functions that answer; a push from before the world is none."""
    assert _production(replace(world, convex=backend(**changed)), None, NOTEBOOK) == said


def test_procedure_2_that_moved_the_frontend_is_elsewhere(world):
    """Whatever the backend does, a change of the hosting was none of its business."""
    moved = replace(world, convex=backend(**RECOVERED), effects=(Effect(2_000, "host moved", "runbook", {}),))
    assert _production(moved, None, NOTEBOOK) == "elsewhere"


def test_procedure_1_is_not_judged_by_the_backend(world):
    """A rollback of the frontend leaves the backend alone, and is judged by the frontend."""
    assert _production(replace(world, convex=backend(**RECOVERED)), None, "1_vercel_rollback") == "untouched"


@pytest.mark.parametrize("environment", ["drill", "production"])
def test_visitors_of_the_backend_give_the_window_data_and_the_log_keeps_it(environment):
    """In a drill's seconds and in production's minutes alike: more calls than are asked for, fewer than are forgotten."""
    scenario = load_scenarios(ROOT, ("convex_rollback_p0",))["convex_rollback_p0"]
    world = (scenario if environment == "drill" else real_pace(scenario)).world
    assert world.convex is not None
    policy = read_layer(ROOT, environment).policy
    calls = sum(policy["error_window_s"] / one.every_s for one in world.convex.visitors or VISITORS)
    assert 2 * policy["min_requests"] <= calls <= _KEPT / 2
