"""How long a rehearsal and a push take: procedure 2's cells against the bare command line of Convex on the same commit.

- Both go back to one commit of a simulated backend that is renewed before each run, in turn, so that a machine whose speed
  drifts drifts for both. The bare one is what a person would type in a work tree of that commit.
- The runbook's cells also make the bundle, compare functions, schema, crons and variables, journal, announce and observe.
- Cold: the runbook's cache of installed packages is empty, the person's work tree has none; npm's own cache is warm.
- Memory is the largest process that either has started, by the operating system.

    python benchmarks/push.py [PAIRS]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from rollback_lib.node import installed, laid_out, node_binary
from rollback_lib.simulator import Serving, WorldSpec, serve
from rollback_lib.simulator.convex.spec import ConvexSpec

ROOT = Path(__file__).parents[1]
SPEC = WorldSpec(history_s=600, convex=ConvexSpec(live="bad"))
TARGET = "good"  # what was live before
POLICY = {"min_requests": 1, "error_window_s": 2, "telemetry_lag_s": 0}
COLD, DRY, PUSH, WHOLE = (
    "packages from nothing",
    "rehearsal, packages there",
    "push",
    "whole run, packages there",
)


@dataclass
class Taken:
    """What was measured of one side: seconds of each run, by what was done, and the largest process."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    megabytes: float = 0.0

    def note(self, what: str, seconds: float, megabytes: float) -> None:
        """Keep one measurement."""
        self.seconds[what].append(seconds)
        self.megabytes = max(self.megabytes, megabytes)


def main() -> None:
    """Run pairs; print both, their difference and their ratio."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ours, bare = Taken(), Taken()
    with serve(SPEC) as serving, tempfile.TemporaryDirectory() as scratch:
        for number in range(pairs + 1):
            counted = number > 0  # the first: byte code, compile cache, page cache
            folder = Path(scratch) / str(number)
            _bare(serving, folder / "bare", bare if counted else Taken())
            _ours(serving, folder / "ours", ours if counted else Taken())
            shutil.rmtree(folder)
    for what, seconds in bare.seconds.items():
        print(f"{what}:")
        print(f"  procedure 2  {_told(ours.seconds[what])} s")
        print(f"  bare         {_told(seconds)} s")
        both = list(zip(ours.seconds[what], seconds, strict=True))
        print(f"  overhead     {_told([a - b for a, b in both])} s")
        print(f"  ratio        {_told([a / b for a, b in both])} pair by pair, {pairs} pairs")
    print(f"{WHOLE}: {_told(ours.seconds[WHOLE])} s")
    print(f"largest process: procedure 2 {ours.megabytes:.0f} MB, bare {bare.megabytes:.0f} MB")


def _told(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} (min {min(values):.2f}, max {max(values):.2f})"


def _ours(serving: Serving, folder: Path, taken: Taken) -> None:
    """Run the notebook twice, with an empty cache and with a full one; keep what its cells took."""
    folder.mkdir(parents=True)
    tree = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
    for name in ("cold", "warm"):
        serving.reset()
        given, result = folder / f"{name}.json", folder / f"{name}-result.json"
        platform = {**serving.platform, "archive": str(folder / "incidents"), "state": str(folder / name)}
        given.write_text(json.dumps({**tree, "platform": platform, "policy": POLICY}), encoding="utf-8")
        command = ["run", "2_convex_rollback", "-e", "drill", "--world", "given", "-f", str(given)]
        environment = {
            "ROLLBACK_HOME": str(ROOT),
            "ROLLBACK_CACHE": str(folder / "cache"),
            **serving.variables,
        }
        seconds, megabytes = _run(
            [sys.executable, "-m", "rollback_lib.cli", *command, "--result", str(result)],
            {**os.environ, **environment},
            ROOT,
        )
        cells = _cells(Path(json.loads(result.read_text(encoding="utf-8"))["folder"]))
        if name == "cold":
            taken.note(COLD, cells["p2-s3-rehearse"], megabytes)
        else:
            taken.note(DRY, cells["p2-s3-rehearse"], megabytes)
            taken.note(PUSH, cells["p2-s4"] + cells["p2-s5"], megabytes)
            taken.note(WHOLE, seconds, megabytes)


def _cells(run: Path) -> dict[str, float]:
    """Read what each cell took, from papermill's own times."""
    notebook = json.loads(next(run.glob("*.ipynb")).read_text(encoding="utf-8"))
    found = {cell["id"]: cell["metadata"].get("papermill", {}) for cell in notebook["cells"]}
    return {name: _between(times) for name, times in found.items() if times.get("end_time")}


def _between(times: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(times[name]) for name in ("start_time", "end_time"))
    return (ended - began).total_seconds()


def _bare(serving: Serving, folder: Path, taken: Taken) -> None:
    """Type what a person would: a work tree, npm ci, a dry run, the push."""
    serving.reset()
    backend = serving.world.convex
    assert backend is not None
    sha = next(sha for sha, role in backend.commits.items() if role == TARGET)
    place = serving.platform["convex"]
    environment = {
        "PATH": os.pathsep.join((str(node_binary().parent), os.defpath)),
        "HOME": str(folder),
        "CI": "1",
        "CONVEX_PROVISION_HOST": place["api_url"],
        "CONVEX_VERSION_API_ORIGIN": "http://127.0.0.1:1",
        "CONVEX_DEPLOY_KEY": serving.secrets["CONVEX_DEPLOY_KEY"],
    }
    folder.mkdir(parents=True)
    tree = folder / "tree"
    began = time.perf_counter()
    _run(
        ["git", "-C", place["repository"], "worktree", "add", "--detach", str(tree), sha], environment, folder
    )
    laid_out(installed(tree, folder / "cache"), tree)
    made = time.perf_counter() - began
    deploy = [str(node_binary()), "node_modules/convex/bin/main.js", "deploy", "--typecheck", "disable"]
    seconds, megabytes = _run([*deploy, "--dry-run"], environment, tree)
    taken.note(COLD, made + seconds, megabytes)
    taken.note(DRY, seconds, megabytes)
    taken.note(PUSH, *_run([*deploy, "--message", f"Back to {sha}"], environment, tree))
    _run(["git", "-C", place["repository"], "worktree", "remove", "--force", str(tree)], environment, folder)


def _run(command: list[str], environment: dict[str, str], folder: Path) -> tuple[float, float]:
    """Run a command; return its seconds and its largest process in MB."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(  # noqa: S603 - our own command, git, or the pinned official one
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            raise SystemExit(f"{command} ended with {child.returncode}: {said.read().decode()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
