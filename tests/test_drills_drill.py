"""What a drill says of production, by the world itself, and when it is not as expected whatever it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from repository import ROOT

from rollback_lib.drills.drill import Drilled, _production, _Stage
from rollback_lib.drills.oracle import Verdict
from rollback_lib.drills.scenario import Expected, load_scenarios, real_pace
from rollback_lib.model import Outcome
from rollback_lib.parameters import read_layer
from rollback_lib.simulator import OutcomeView, World, WorldSpec, serve
from rollback_lib.simulator.convex.furnishing import VISITORS
from rollback_lib.simulator.convex.logs import _KEPT
from rollback_lib.simulator.convex.view import ConvexView, Push
from rollback_lib.simulator.hosting import Effect

NOTEBOOK = "2_convex_rollback"
PUSHED = Push(2_000, "rollback to it", "token")
EARLIER = Push(500, "the bad one", "token")
ASKED, MOVED = (Effect(2_000, what, "runbook", {}) for what in ("rollback requested", "host moved"))
RECOVERED = {"code": "good", "pushes": (EARLIER, PUSHED), "calls": 200, "failed_calls": 1}
UNDONE = {"code": "bad", "pushes": (EARLIER, PUSHED, PUSHED), "calls": 80, "failed_calls": 40}  # well or not


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
        pytest.param(UNDONE, "undone", id="pushed-and-undone"),
        pytest.param(UNDONE | {"pushes": (EARLIER, PUSHED)}, "elsewhere", id="never-left"),
        pytest.param(UNDONE | {"pushes": (EARLIER, *[PUSHED] * 3)}, "elsewhere", id="undone-twice"),
        pytest.param(UNDONE | {"code": "older"}, "elsewhere", id="undone-to-another-commit"),
        pytest.param(UNDONE | {"paused": True}, "elsewhere", id="undone-and-paused"),
    ],
)
def test_procedure_2_is_judged_by_the_backend(world, changed, said):
    """Recovered is one push of the expected code, with functions that answer; undone is one more, of what was live before."""
    before = replace(world, convex=backend())
    assert _production(replace(world, convex=backend(**changed)), before, NOTEBOOK) == said


def test_procedure_2_that_moved_the_frontend_is_elsewhere(world):
    """Whatever the backend does, a change of the hosting was none of its business."""
    moved = replace(world, convex=backend(**RECOVERED), effects=(Effect(2_000, "host moved", "runbook", {}),))
    assert _production(moved, replace(world, convex=backend()), NOTEBOOK) == "elsewhere"


def test_procedure_1_is_not_judged_by_the_backend(world):
    """A rollback of the frontend leaves the backend alone, and is judged by the frontend."""
    before = replace(world, convex=backend())
    assert (
        _production(replace(before, convex=backend(**RECOVERED)), before, "1_vercel_rollback") == "untouched"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({}, "undone", id="there-and-back"),
        pytest.param({"effects": (ASKED,)}, "elsewhere", id="never-moved"),
        pytest.param({"auto_assign": False}, "elsewhere", id="still-pinned"),
        pytest.param({"production": "dpl_other"}, "elsewhere", id="project-names-another"),
        pytest.param({"live": {"domain": "dpl_other"}}, "elsewhere", id="domain-on-another"),
    ],
)
def test_frontend_is_undone_where_it_is_as_it_was(world, changed, said):
    """Moved, and again where it was, with new builds taking the domain again: all of what a rollback changes."""
    there_and_back = replace(world, effects=(ASKED, MOVED, MOVED))
    assert _production(replace(there_and_back, **changed), world, "1_vercel_rollback") == said


def drilled(**changed) -> Drilled:
    """Give a run that came right."""
    right = Expected(outcome=Outcome.VERIFIED, production="recovered")
    came = {"outcome": Outcome.VERIFIED, "production": "recovered", "verdict": Verdict(())}
    fixed = {"exit_code": 0, "folder": ROOT, "seconds": 1.0, "said": "To undo: rollback undo P2-1, by hand"}
    return Drilled(**{"name": "n", "expected": right} | came | fixed | changed)


def test_drill_that_lacks_what_it_rehearses_is_not_as_expected():
    """Whatever its outcome: what did not happen was not rehearsed."""
    assert drilled().as_expected
    assert not drilled(lacking="nothing met the fault").as_expected


def test_run_that_tells_no_command_to_undo_it_is_not_undone(tmp_path):
    """The drill makes up none of its own."""
    scenario = load_scenarios(ROOT, ("vercel_rollback_undone",))["vercel_rollback_undone"]
    assert scenario.undo is not None
    with serve(scenario.world) as serving:
        stage = _Stage("n", scenario, serving, ROOT, tmp_path, serving.world.outcome_view())
        (alone,) = stage.undo(scenario.undo, drilled())
    assert "told no command" in alone.lacking
    assert not alone.as_expected


@pytest.mark.parametrize("environment", ["drill", "production"])
def test_visitors_of_the_backend_give_the_window_data_and_the_log_keeps_it(environment):
    """In a drill's seconds and in production's minutes alike: more calls than are asked for, fewer than are forgotten."""
    scenario = load_scenarios(ROOT, ("convex_rollback_p0",))["convex_rollback_p0"]
    world = (scenario if environment == "drill" else real_pace(scenario)).world
    assert world.convex is not None
    policy = read_layer(ROOT, environment).policy
    calls = sum(policy["error_window_s"] / one.every_s for one in world.convex.visitors or VISITORS)
    assert 2 * policy["min_requests"] <= calls <= _KEPT / 2
