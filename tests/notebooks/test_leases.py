"""Two operators and two project folders with one store, as real processes: who goes on, exit codes, the world."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from parameters_project import edit
from repository import ROOT
from waits import INGEST_LAG_S, SHORT_WAITS

from rollback_lib.evidence.archive import Archive
from rollback_lib.evidence.record import verify_record
from rollback_lib.journal import FILE_NAME
from rollback_lib.simulator import Fault, Serving, WorldSpec, serve

LONGEST_S = 120.0
LATE = Fault(service="vercel", kind="slow", method="POST", path="*/rollback/*", delay_s=4, hold="reply")


class Machine:
    """A project folder whose drill names the shared store."""

    def __init__(self, home: Path, shared: Path, company: Serving) -> None:
        self.home, self.company = home, company
        for name in ("parameters", "notebooks"):
            shutil.copytree(ROOT / name, home / name)
        edit(home, "drill.yaml", "state: state", f"state: {shared}")
        platform = {**company.platform, "state": str(shared)}
        self.given = home / "given.yaml"
        tree = yaml.safe_load((home / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
        self.given.write_text(yaml.safe_dump({**tree, "platform": platform, "policy": SHORT_WAITS}), encoding="utf-8")
        self.archive = Archive(home / "incidents")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "rollback_lib.cli", *words],
            env={**os.environ, **self.company.variables, "ROLLBACK_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *words: str) -> subprocess.Popen[str]:
        return self.start(
            "run", "1_vercel_rollback", "-e", "drill", "--world", "given", "-f", str(self.given), *words
        )

    def say(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        return process.wait(LONGEST_S), process.communicate()[0]


@pytest.fixture
def company() -> Iterator[Serving]:
    with serve(WorldSpec(history_s=1800, traffic_rps=20, ingest_lag_s=INGEST_LAG_S, faults=(LATE,))) as serving:
        yield serving


@pytest.fixture
def machines(tmp_path: Path, company: Serving) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "a", tmp_path / "shared", company), Machine(tmp_path / "b", tmp_path / "shared", company)


def rollbacks(company: Serving) -> list[bool]:
    """Say for each rollback that arrived whether it was applied."""
    return [entry.applied for entry in company.world.ledger.entries() if entry.changes and "/rollback/" in entry.path]


def until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_of_two_that_begin_at_once_one_rolls_back(machines: tuple[Machine, Machine], company: Serving):
    """The other one ends with exit code 5, names who acts and what to type, and changes nothing."""
    started = [machine.run() for machine in machines]
    said = [process.communicate(timeout=LONGEST_S)[0] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 5], said
    assert rollbacks(company) == [True]
    winner, loser = (machines[codes.index(code)] for code in (0, 5))
    (run,) = winner.archive.runs()
    refusal = said[codes.index(5)]
    assert f"drill is held by run {run.run} of ana" in refusal
    assert f"-p take_over={run.run}" in refusal
    assert "Traceback" not in refusal
    assert [one.outcome for one in loser.archive.runs()] in ([], ["refused"])  # there where it lost the last moment
    code, status = loser.say("status")
    assert code == 0
    assert f"drill is free; it was last held by run {run.run} of ana" in status


def test_run_of_a_killed_machine_goes_on_on_the_other(machines: tuple[Machine, Machine], company: Serving):
    """Killed between request and reply: fetched by its id, it asks the platform and sends nothing more."""
    first, second = machines
    process = first.run()
    until(process, lambda: rollbacks(company) == [True])
    for one in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
        one.kill()
    process.communicate()
    (run,) = first.archive.runs()
    assert second.archive.runs() == ()
    code, said = second.say("resume", run.run)
    assert code == 0, said
    assert rollbacks(company) == [True]
    (brought,) = second.archive.runs()
    assert (brought.run, brought.outcome) == (run.run, "verified")
    assert verify_record(brought.folder).ok
    code, said = first.say("resume", run.run)
    assert code == 2, said
    assert f"Run {run.run} is closed (verified)" in said  # its journal came back from the store
    journals = [(one.folder / FILE_NAME).read_bytes() for one in (run, brought)]
    assert journals[0] == journals[1]
