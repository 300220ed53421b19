"""Running scenarios: a fresh world each, the notebook headless in a process of its own, the outcome held against the expected.

- The world's addresses go in as the notebook's `platform`, its tokens as environment variables of the child only, under the names that drills have.
- What a run claims and what the world shows must both be as expected, and the oracle must find nothing broken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback_lib.drills.oracle import Case, Verdict, judge
from rollback_lib.drills.scenario import Scenario
from rollback_lib.model import Outcome
from rollback_lib.simulator import OutcomeView, Serving, serve
from rollback_lib.simulator.convex.view import ConvexView

__all__ = ["Drilled", "run_scenarios"]

_BACKEND = "2_"  # notebooks of procedure 2
_WELL = 0.01  # the share of failed calls below which functions are well
LONGEST_S = 1800.0  # a drill in real time waits for real windows


@dataclass(frozen=True)
class Drilled:
    """What came of one scenario."""

    name: str
    scenario: Scenario
    outcome: Outcome | None
    production: str
    exit_code: int
    folder: Path | None
    seconds: float
    said: str  # the child's own words
    verdict: Verdict

    @property
    def came_right(self) -> bool:
        """Say whether claim and world are both as the scenario expects."""
        expected = self.scenario.expected
        return self.outcome == expected.outcome and self.production == expected.production

    @property
    def as_expected(self) -> bool:
        """Say whether it came right, and the oracle found nothing broken."""
        return self.came_right and not self.verdict.broken


def run_scenarios(
    scenarios: Mapping[str, Scenario],
    home: Path,
    policy: Mapping[str, Any],
    *,
    at_once: int,
    told: Callable[[Drilled], None],
) -> list[Drilled]:
    """Run scenarios side by side; `told` hears of each when it is over.

    Args:
        scenarios: By name.
        home: The project's folder.
        policy: Values over the drill's policy.
        at_once: How many run at the same time.
        told: Called as each ends.
    """

    def one(name: str) -> Drilled:
        drilled = _drill(name, scenarios[name], home, policy)
        told(drilled)
        return drilled

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(one, scenarios))


def _drill(name: str, scenario: Scenario, home: Path, policy: Mapping[str, Any]) -> Drilled:
    began = time.monotonic()
    with serve(scenario.world) as serving, tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        target = serving.world.expected_target()
        report = Path(scratch) / "result.json"
        child = _run_child(scenario, serving, home, policy, report)
        result = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        production = _production(serving.world.outcome_view(), target, scenario.notebook)
        folder = Path(result["folder"]) if result.get("folder") else None
        case = Case(
            serving.world,
            folder,
            home,
            said=child.stdout + child.stderr,
            exit_code=child.returncode,
            outcome=result.get("outcome"),
            state=serving.state,
            signers=Path(serving.platform["signers"]) if "signers" in serving.platform else None,
        )
        verdict = judge(case)
    return Drilled(
        name=name,
        scenario=scenario,
        outcome=Outcome(result["outcome"]) if result.get("outcome") else None,
        production=production,
        exit_code=child.returncode,
        folder=folder,
        seconds=time.monotonic() - began,
        said=case.said,
        verdict=verdict,
    )


def _production(view: OutcomeView, target: str | None, notebook: str) -> str:
    """Say where production is, by the world itself; of procedure 2 it is the backend that counts."""
    if notebook.startswith(_BACKEND) and view.convex is not None:
        return _backend(view.convex, view)
    if not view.effects:
        return "untouched"
    recovered = view.production == target and set(view.live.values()) == {target} and view.healthy
    return "recovered" if recovered else "elsewhere"


def _backend(backend: ConvexView, view: OutcomeView) -> str:
    pushed = [push for push in backend.pushes if push.at_ms > view.began_ms]
    if not pushed and not view.effects:
        return "untouched"
    heals = backend.calls > 0 and backend.failed_calls < _WELL * backend.calls and not backend.paused
    recovered = len(pushed) == 1 and backend.code == backend.expected_code and heals and not view.effects
    return "recovered" if recovered else "elsewhere"


def _run_child(
    scenario: Scenario, serving: Serving, home: Path, policy: Mapping[str, Any], report: Path
) -> subprocess.CompletedProcess[str]:
    given = dict(scenario.parameters)
    given["platform"] = {**serving.platform, **given.get("platform", {})}
    given["policy"] = {**policy, **given.get("policy", {})}
    injected = report.with_name("parameters.json")
    injected.write_text(json.dumps(given), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "rollback_lib.cli",
        "run",
        scenario.notebook,
        "-e",
        "drill",
        "-f",
        str(injected),
        "--world",
        "given",
        "--result",
        str(report),
    ]
    environment = {**os.environ, **serving.variables, "ROLLBACK_HOME": str(home)}
    return subprocess.run(  # noqa: S603 - our own command
        command,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=LONGEST_S,
        stdin=subprocess.DEVNULL,
    )
