"""How long a headless run takes: `rollback run` against the bare papermill command on the same notebook.

Both run procedure 1 against the same simulated company, which answers at once and is renewed before each run, in turn,
so that a machine whose speed drifts drifts for both. What counts is the ratio of the medians; the seconds are of
this machine. Children are measured by the operating system: wall time, and the largest resident memory.

    python benchmarks/headless.py [PAIRS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from rollback_lib.simulator import Jobs, Serving, WorldSpec, serve

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "1_vercel_rollback.ipynb"
AT_ONCE = {
    "telemetry_lag_s": 0,
    "error_window_s": 1,
    "min_requests": 1,
    "verify_poll_s": 0.05,
    "poll_first_s": 0.02,
    "poll_max_s": 0.05,
}
SPEC = WorldSpec(ingest_lag_s=0, jobs=Jobs(pending_s=0, running_s=0), history_s=1800)


def main() -> None:
    """Run pairs and print both medians and their ratio."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with serve(SPEC) as serving, tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch) / "given.json"
        given.write_text(json.dumps(_parameters(serving, Path(scratch))), encoding="utf-8")
        commands = {
            "rollback run": [
                "-m",
                "rollback_lib.cli",
                "run",
                "1_vercel_rollback",
                "-e",
                "drill",
                "--world",
                "given",
                "-f",
                str(given),
            ],
            "papermill": [
                "-m",
                "papermill",
                str(NOTEBOOK),
                str(Path(scratch) / "out.ipynb"),
                "-f",
                str(given),
                "--no-progress-bar",
            ],
        }
        for command in commands.values():  # once uncounted: byte code, page cache
            _once(serving, command)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        memory: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(pairs):
            for name, command in commands.items():
                seconds, megabytes = _once(serving, command)
                taken[name].append(seconds)
                memory[name].append(megabytes)
    for name in commands:
        print(
            f"{name:13} {statistics.median(taken[name]):6.2f} s (min {min(taken[name]):.2f}, max {max(taken[name]):.2f}), largest process {max(memory[name]):.0f} MB"
        )
    ratios = [ours / bare for ours, bare in zip(taken["rollback run"], taken["papermill"], strict=True)]
    print(
        f"ratio rollback run / papermill, pair by pair: median {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})"
    )


def _parameters(serving: Serving, scratch: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
    return {
        **tree,
        "platform": {**serving.platform, "archive": str(scratch / "incidents")},
        "policy": AT_ONCE,
    }


def _once(serving: Serving, command: list[str]) -> tuple[float, float]:
    """Run a command against a renewed world; return its seconds and its largest process in MB."""
    serving.reset()
    environment = {**os.environ, **serving.variables, "ROLLBACK_HOME": str(ROOT)}
    began = time.perf_counter()
    child = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    if status != 0:
        said = child.stderr.read().decode() if child.stderr is not None else ""
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}: {said[-2000:]}")
    child.returncode = 0
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
