"""Running scenarios: a fresh world each, each run headless in a process of its own, the outcome held against the expected.

- The world's addresses go in as the notebook's `platform`, its tokens as environment variables of the child only, under the names that drills have.
- What a run claims and what the world shows must both be as expected, and the oracle must find nothing broken.
- An undo is begun by the command that the run before it told, as whoever reads that would type it.
- A scenario whose faults never struck has rehearsed nothing, whatever its outcome.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rollback_lib.drills.oracle import Case, Verdict, judge
from rollback_lib.drills.scenario import Expected, Scenario, Undo
from rollback_lib.model import Outcome
from rollback_lib.simulator import OutcomeView, Serving, serve
from rollback_lib.simulator.convex.view import ConvexView

__all__ = ["Drilled", "run_scenarios"]

_BACKEND = "2_"  # notebooks of procedure 2
_WELL = 0.01  # the share of failed calls below which functions are well
_THERE_AND_BACK = 2  # pushes of a rollback and of its undo
_MOVED = "host moved"
_UNDOES = re.compile(r"\brollback (undo \S+ --reason \.\.\. -p confirm=\S+)")
LONGEST_S = 1800.0  # a drill in real time waits for real windows


@dataclass(frozen=True)
class Drilled:
    """What came of one run of a scenario."""

    name: str  # the scenario's; of an undo, with that word behind it
    expected: Expected
    outcome: Outcome | None
    production: str
    exit_code: int
    folder: Path | None
    seconds: float
    said: str  # the child's own words
    verdict: Verdict
    lacking: str = ""  # what did not come about that the scenario rehearses

    @property
    def came_right(self) -> bool:
        """Say whether claim and world are both as the scenario expects."""
        return self.outcome == self.expected.outcome and self.production == self.expected.production

    @property
    def as_expected(self) -> bool:
        """Say whether it came right, lacks nothing, and the oracle found nothing broken."""
        return self.came_right and not self.lacking and not self.verdict.broken


def run_scenarios(
    scenarios: Mapping[str, Scenario],
    home: Path,
    policy: Mapping[str, Any],
    *,
    at_once: int,
    told: Callable[[Drilled], None],
) -> list[Drilled]:
    """Run scenarios side by side; `told` hears of the runs of each when it is over.

    Args:
        scenarios: By name.
        home: The project's folder.
        policy: Values over the drill's policy.
        at_once: How many run at the same time.
        told: Called for each run as its scenario ends.
    """

    def one(name: str) -> list[Drilled]:
        done = _drill(name, scenarios[name], home, policy)
        for drilled in done:
            told(drilled)
        return done

    longest_first = sorted(scenarios, key=lambda name: scenarios[name].undo is None)
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return [drilled for done in pool.map(one, longest_first) for drilled in done]


def _drill(name: str, scenario: Scenario, home: Path, policy: Mapping[str, Any]) -> list[Drilled]:
    """Run a scenario in a world of its own; what is to be undone is, if it came right."""
    with serve(scenario.world) as serving, tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        stage = _Stage(name, scenario, serving, home, Path(scratch), serving.world.outcome_view())
        done = [stage.run(policy)]
        if scenario.undo is not None and done[0].came_right:
            done += stage.undo(scenario.undo, done.pop())
        unmet = [f"{fault.kind} of {fault.path}" for fault in serving.world.faults.never_struck()]
    if unmet:
        done[-1] = replace(done[-1], lacking=f"nothing met the fault {', '.join(unmet)}")
    return done


@dataclass(frozen=True)
class _Stage:
    """The world of one scenario, and the runs in it."""

    name: str
    scenario: Scenario
    serving: Serving
    home: Path
    scratch: Path
    before: OutcomeView  # the world as it began

    def run(self, policy: Mapping[str, Any]) -> Drilled:
        """Run the notebook."""
        given = dict(self.scenario.parameters)
        given["platform"] = {**self.serving.platform, **given.get("platform", {})}
        given["policy"] = {**policy, **given.get("policy", {})}
        injected = self.scratch / "parameters.json"
        injected.write_text(json.dumps(given), encoding="utf-8")
        words = ("run", self.scenario.notebook, "-e", "drill", "-f", str(injected), "--world", "given")
        return self._judged(self.name, words, self.scenario.expected)

    def undo(self, undo: Undo, first: Drilled) -> list[Drilled]:
        """Undo a run; return what came of both. Where it told no command for that, it lacks one and stands alone."""
        told = _UNDOES.search(first.said)
        if told is None or first.folder is None:
            return [replace(first, lacking="it told no command that undoes it")]
        words = [undo.reason if word == "..." else word for word in shlex.split(told[1])]
        return [first, self._judged(f"{self.name}, undo", words, undo.expected, (first.folder,))]

    def _judged(
        self, name: str, words: Sequence[str], expected: Expected, others: tuple[Path, ...] = ()
    ) -> Drilled:
        """Give the command these words, and look at what came of it before anything else happens in the world."""
        began = time.monotonic()
        report = self.scratch / "result.json"
        report.unlink(missing_ok=True)
        child = self._child([*words, "--result", str(report)])
        result = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        world = self.serving.world
        production = _production(world.outcome_view(), self.before, self.scenario.notebook)
        folder = Path(result["folder"]) if result.get("folder") else None
        signers = self.serving.platform.get("signers")
        case = Case(
            world,
            folder,
            self.home,
            said=child.stdout + child.stderr,
            exit_code=child.returncode,
            outcome=result.get("outcome"),
            state=self.serving.state,
            signers=Path(signers) if signers else None,
            others=others,
        )
        verdict = judge(case)
        return Drilled(
            name=name,
            expected=expected,
            outcome=Outcome(result["outcome"]) if result.get("outcome") else None,
            production=production,
            exit_code=child.returncode,
            folder=folder,
            seconds=time.monotonic() - began,
            said=case.said,
            verdict=verdict,
        )

    def _child(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "rollback_lib.cli", *words],
            capture_output=True,
            text=True,
            env={**os.environ, **self.serving.variables, "ROLLBACK_HOME": str(self.home)},
            check=False,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
        )


def _production(view: OutcomeView, before: OutcomeView, notebook: str) -> str:
    """Say where production is, by the world itself; of procedure 2 it is the backend that counts."""
    if notebook.startswith(_BACKEND) and view.convex is not None and before.convex is not None:
        return _backend(view.convex, before.convex, view)
    if not view.effects:
        return "untouched"
    target = before.expected_target
    if view.production == target and set(view.live.values()) == {target} and view.healthy:
        return "recovered"
    moved = any(effect.what == _MOVED for effect in view.effects)
    return "undone" if moved and _hosting(view) == _hosting(before) else "elsewhere"


def _hosting(view: OutcomeView) -> tuple[str, dict[str, str | None], bool]:
    """Return what a rollback of the frontend changes."""
    return view.production, dict(view.live), view.auto_assign


def _backend(now: ConvexView, before: ConvexView, view: OutcomeView) -> str:
    pushed = [push for push in now.pushes if push.at_ms > view.began_ms]
    if not pushed and not view.effects:
        return "untouched"
    heals = now.calls > 0 and now.failed_calls < _WELL * now.calls and not now.paused
    if len(pushed) == 1 and now.code == now.expected_code and heals and not view.effects:
        return "recovered"
    undone = len(pushed) == _THERE_AND_BACK and now.code == before.code and now.paused == before.paused
    return "undone" if undone and not view.effects else "elsewhere"
