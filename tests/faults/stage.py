"""A broken company on loopback, and a procedure run in it by the real command, as a pipeline would.

- Each stage has a world, an archive and a state folder of its own; what is shortened is waiting, never a check.
- The command is in a session of its own; nothing here is ever sent a signal but what this stage has started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repository import ROOT
from standing_in import stand_in
from waits import INGEST_LAG_S, SHORT_WAITS

from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.providers.child import Slot
from rollback_lib.simulator import Jobs, Serving, WorldSpec, serve
from rollback_lib.simulator.convex.furnishing import CROWD
from rollback_lib.simulator.convex.spec import ConvexSpec

INJECT = Path(__file__).parent / "inject"
LONGEST_S = 90.0  # one run of the notebook takes a few seconds

POLICY: dict[str, Any] = {
    **SHORT_WAITS,
    "heartbeat_s": 0.3,
    "request_timeout_s": 8,  # a machine that is busy with other tests is no unreachable platform
    "read_deadline_s": 24,
    "slack_deadline_s": 8,
}


@dataclass(frozen=True)
class Scenario:
    """How a company is broken, and which notebook is run against that with what."""

    notebook: str
    world: WorldSpec
    given: dict[str, Any] = field(default_factory=dict)  # parameters
    new_machine: bool = False  # nothing was ever installed there

    @property
    def procedure(self) -> int:
        """Return the number of the procedure."""
        return int(self.notebook.partition("_")[0])


JOBS = Jobs(pending_s=0.05, running_s=0.1)
FRONTEND = WorldSpec(history_s=1800, traffic_rps=20, ingest_lag_s=INGEST_LAG_S, jobs=JOBS)
BACKEND = WorldSpec(
    history_s=600,
    ingest_lag_s=INGEST_LAG_S,
    jobs=JOBS,
    convex=ConvexSpec(
        live="bad",
        documents=40,
        visitors=tuple(visitor.model_copy(update={"every_s": 0.1}) for visitor in CROWD),
    ),
)
BACKEND_FAILS = {"reason": "Members' accounts cannot be opened since the latest push of the backend"}
SCENARIOS: dict[str, Scenario] = {
    "severity P0": Scenario("1_vercel_rollback", FRONTEND),
    "severity P1": Scenario(
        "1_vercel_rollback",
        FRONTEND,
        {
            "severity": "P1",
            "criterion": "P1.T3",
            "reason": "Error rate above 10 % since the last deployment",
        },
    ),
    "backend P0": Scenario("2_convex_rollback", BACKEND, BACKEND_FAILS),
    "backend P0 on a new machine": Scenario("2_convex_rollback", BACKEND, BACKEND_FAILS, new_machine=True),
}


@dataclass(frozen=True)
class Ended:
    """How one process of the command ended."""

    code: int
    said: str


class Running:
    """One process of the command."""

    def __init__(self, process: subprocess.Popen[bytes], words: Path) -> None:
        self.process, self._words = process, words

    def wait(self) -> Ended:
        """Wait until it has ended; one that does not is killed, and that is an error."""
        try:
            code = self.process.wait(LONGEST_S)
        except subprocess.TimeoutExpired as exc:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"`rollback run` has not ended within {LONGEST_S:g} s: {self.said}") from exc
        return Ended(code, self.said)

    @property
    def said(self) -> str:
        """Return what it has written so far."""
        return self._words.read_text(encoding="utf-8", errors="replace")


@dataclass
class Stage:
    """One world and the runs in it."""

    serving: Serving
    folder: Path
    scenario: str
    variables: Mapping[str, str] = field(default_factory=dict)  # for each process
    _started: int = 0

    def start(self, *, run: str = "", environment: Mapping[str, str] | None = None) -> Running:
        """Start the command on the scenario's procedure: a new run, or the one named."""
        notebook = SCENARIOS[self.scenario].notebook
        words = ["run", notebook, "-e", "drill", "--world", "given", "-f", str(self._parameters())]
        return self._start(*words, *(("-p", f"run={run}") if run else ()), environment=environment or {})

    def say(self, *words: str) -> Ended:
        """Give the command other words, and wait for its end."""
        return self._start(*words, environment={}).wait()

    def _start(self, *words: str, environment: Mapping[str, str]) -> Running:
        self._started += 1
        told = self.folder / f"said-{self._started}.txt"
        with told.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "rollback_lib.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment(environment),
                start_new_session=True,
            )
        return Running(process, told)

    @property
    def scratch(self) -> Path | None:
        """Return where a drill's pushes are prepared; None where the company has no backend."""
        convex = self.serving.platform.get("convex")
        return None if convex is None else Path(f"{convex['repository']}.work")

    @property
    def program(self) -> Slot | None:
        """Return the place of the command line that pushes."""
        if self.scratch is None:
            return None
        return Slot(self.scratch / "runs" / "convex" / self.serving.platform["convex"]["deployment"] / "push")

    @property
    def archive(self) -> Archive:
        """Return the archive of this stage."""
        return Archive(self.folder / "incidents")

    def run_on_disk(self) -> RunFolder | None:
        """Return the run that has begun, by what is on disk; None where no first line is whole."""
        begun = [run for run in self.archive.runs() if not run.broken]
        assert len(begun) <= 1, f"more than one run has begun: {', '.join(map(str, begun))}"
        return begun[0] if begun else None

    def _parameters(self) -> Path:
        place = self.folder / "parameters.json"
        platform = {**self.serving.platform, "archive": str(self.folder / "incidents")}
        given = {"platform": platform, "policy": POLICY} | SCENARIOS[self.scenario].given
        place.write_text(json.dumps(given), encoding="utf-8")
        return place

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join([str(INJECT), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {
            **os.environ,
            **self.variables,
            **self.serving.variables,
            "ROLLBACK_HOME": str(ROOT),
            "PYTHONPATH": path,
            **more,
        }


@contextmanager
def stage(scenario: str, *, official: bool = True) -> Iterator[Stage]:
    """Serve a world for as long as the block runs; its folder is gone afterwards.

    Args:
        scenario: Which.
        official: Whether it takes the official command line to push; else another one stands in for it.
    """
    chosen = SCENARIOS[scenario]
    with serve(chosen.world) as serving, tempfile.TemporaryDirectory(prefix="crash-") as folder:
        own = Path(folder) / "cache"
        variables = {"ROLLBACK_CACHE": str(own)} if chosen.new_machine else {}
        if (backend := serving.world.convex) is not None and not official and not chosen.new_machine:
            stand_in(own, {role: sha for sha, role in backend.commits.items() if role in ("good", "bad")}, {})
            variables["ROLLBACK_CACHE"] = str(own)
        yield Stage(serving, Path(folder), scenario, variables)


def lines_of(folder: Path) -> tuple[Line, ...]:
    """Read a run's journal."""
    return read_journal(folder / FILE_NAME).lines


def is_there(pid: int) -> bool:
    """Say whether a process is there and not merely waiting for its parent to take notice of its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}


def await_end(pid: int, within_s: float = 30.0) -> None:
    """Wait until a process has ended.

    Raises:
        AssertionError: It has not.
    """
    deadline = time.monotonic() + within_s
    while is_there(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there after {within_s:g} s"
        time.sleep(0.02)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that this stage has started; one that has ended is left alone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
