"""Runs of procedure 2 in the worlds of the drills' own scenarios, each cell of the notebook in this process.

Nothing is short here: the world is served, and the official command line pushes to it. So there are few.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from repository import ROOT
from runs import let_go

from rollback_lib.drills.oracle import Case
from rollback_lib.drills.scenario import load_scenarios
from rollback_lib.errors import RollbackError
from rollback_lib.procedures import ConvexRollback
from rollback_lib.procedures.convex_shown import Chosen, Pushed
from rollback_lib.simulator import serve
from rollback_lib.yamlfile import load_tree

__all__ = ["BACKEND_GIVEN", "BACKEND_SCENES", "play_backend", "until_pushed"]

BACKEND_GIVEN: dict[str, Any] = {  # parameters of a headless run of procedure 2
    "environment": "drill",
    "mode": "headless",
    "operator": "ana",
    "severity": "P0",
    "criterion": "P0.T1",
    "reason": "Members cannot open their membership",
    "impact": "Members see an error",
    "issue_started_at": "-20m",
    "confirm": {"P2.G1": "happy-otter-123"},
}
BACKEND_SCENES = ("convex_rollback_p0", "convex_rollback_refused_by_schema")


def play_backend(name: str, folder: Path) -> Case:
    """Play a scenario to its end, whatever that is; return it as the judge wants it.

    Args:
        name: Of the scenario.
        folder: An empty one, for the records and what the world's machines share.
    """
    scenario = load_scenarios(ROOT, (name,))[name]
    given = load_tree(ROOT / "parameters" / "drill.yaml")[0] | scenario.parameters
    with serve(scenario.world, state=folder / "state") as serving, _environment(serving.variables):
        given |= {
            "platform": serving.platform | {"archive": str(folder / "incidents")},
            "policy": {"min_requests": 20},  # a busy machine has fewer visitors
        }
        rollback = ConvexRollback.open(given)
        with suppress(RollbackError):  # whatever a cell raises, the notebook stops there
            _all_cells(rollback)
        let_go(rollback)
    return Case(serving.world, rollback.folder, ROOT, state=folder / "state")


def until_pushed(rollback: ConvexRollback) -> tuple[Chosen, Pushed]:
    """Run the cells until the push is seen to be live; return what was chosen and what was sent."""
    rollback.access_dashboard()
    rollback.go_to_deployments()
    chosen = rollback.identify_stable_deployment()
    rollback.rehearse(chosen)
    rollback.gate("P2.G1", chosen)
    pushed = rollback.roll_back(chosen)
    rollback.wait(chosen, pushed)
    return chosen, pushed


def _all_cells(rollback: ConvexRollback) -> None:
    chosen, pushed = until_pushed(rollback)
    rollback.verify_functions(chosen, pushed)
    rollback.test_queries()
    rollback.close()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    wanted = {**variables, "ROLLBACK_HOME": str(ROOT)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
