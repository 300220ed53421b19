"""`rollback run` that is cancelled, then resumed, aborted or undone by the command: journal, channel, exit code, world."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from waits import INGEST_LAG_S, SHORT_WAITS

from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.evidence.record import verify_record
from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.simulator import Fault, Serving, WorldSpec, serve

LONGEST_S = 60.0


class Company:
    """A served world, and the command run against it."""

    def __init__(self, serving: Serving, folder: Path) -> None:
        self.serving, self.folder, self.archive = serving, folder, folder / "incidents"
        self.environment = {**os.environ, **serving.variables, "ROLLBACK_HOME": str(ROOT)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rollback_lib.cli", *words]

    def start(self, **given) -> subprocess.Popen[str]:
        """Begin a headless run; return its process."""
        tree = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
        platform = {**self.serving.platform, "archive": str(self.archive)}
        place = self.folder / "given.yaml"
        place.write_text(yaml.safe_dump({**tree, "platform": platform, "policy": SHORT_WAITS, **given}), encoding="utf-8")
        words = ("run", "1_vercel_rollback", "-e", "drill", "--world", "given", "-f", str(place))
        return subprocess.Popen(
            self.command(*words),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def say(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command to its end."""
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self) -> RunFolder:
        """Return the newest run."""
        return Archive(self.archive).runs()[0]

    def lines(self) -> tuple[Line, ...]:
        return read_journal(self.run().folder / FILE_NAME).lines

    def rollbacks(self) -> list[bool]:
        """Say for each rollback that arrived whether it was applied."""
        return [
            entry.applied
            for entry in self.serving.world.ledger.entries()
            if entry.changes and "/rollback/" in entry.path
        ]


def company(folder: Path, *faults: Fault) -> Iterator[Company]:
    with serve(WorldSpec(history_s=1800, traffic_rps=20, ingest_lag_s=INGEST_LAG_S, faults=faults)) as serving:
        yield Company(serving, folder)


@pytest.fixture
def slow_to_answer(tmp_path: Path) -> Iterator[Company]:
    """The rollback is made at once, and its answer comes late."""
    late = Fault(service="vercel", kind="slow", method="POST", path="*/rollback/*", delay_s=2.5, hold="reply")
    yield from company(tmp_path, late)


@pytest.fixture
def slow_to_list(tmp_path: Path) -> Iterator[Company]:
    """The list of deployments comes late."""
    late = Fault(service="vercel", kind="slow", method="GET", path="*/deployments", delay_s=2.5, hold="reply")
    yield from company(tmp_path, late)


def until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not happened():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stop(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    said, _ = process.communicate(timeout=LONGEST_S)
    return process.returncode, said


def seen(company: Company, event: str, step: str | None = None) -> bool:
    try:
        begun = (company.run().folder / FILE_NAME).exists()  # its folder is made a moment before
    except IndexError:
        return False  # no run yet
    return begun and any(line.event == event and step in (None, line.step) for line in company.lines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cancelled_while_the_rollback_is_under_way_then_resumed(slow_to_answer: Company, number: int):
    """Its answer never read: the platform is asked, the channel told; resumed, it is verified, and sent once in all."""
    company = slow_to_answer
    process = company.start()
    until(process, lambda: company.rollbacks() == [True])
    code, said = stop(process, number)
    assert code == 1, said
    assert "rollback resume" in said
    assert "Traceback (most recent call last)" not in said
    assert [line.data["signal"] for line in company.lines() if line.event == "run.interrupted"] == [
        signal.Signals(number).name
    ]
    assert seen(company, "effect.recovered")
    assert company.run().outcome == "failed"
    assert verify_record(company.run().folder).ok
    texts = [message.text for message in company.serving.world.slack.messages("C0INCIDENTS")]
    assert any("stopped by" in text for text in texts)

    done = company.say("resume", str(company.run().folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert company.run().outcome == "verified"
    assert company.rollbacks() == [True]
    assert len(Archive(company.archive).runs()) == 1


def test_cancelled_before_the_rollback_sends_nothing_then_aborted(slow_to_list: Company):
    """Stopped while reading: nothing left, no message, no further cell; aborted by the command it is refused."""
    company = slow_to_list
    process = company.start()
    until(process, lambda: seen(company, "step.started", "P1.S2"))
    code, said = stop(process, signal.SIGTERM)
    assert code == 1, said
    assert not seen(company, "step.started", "P1.S3")
    assert company.serving.world.slack.messages("C0INCIDENTS") == []
    done = company.say("abort", str(company.run().folder), "--reason", "the job was cancelled on purpose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert company.run().outcome == "refused"
    assert company.rollbacks() == []
    again = company.say("resume", str(company.run().folder))
    assert again.returncode == 2
    assert "is closed (refused)" in again.stderr


def test_undo_by_the_command_is_a_run_of_its_own(tmp_path: Path):
    """Rolled back, then undone with its own gate: without the typed name it is refused, with it production is back."""
    for it in company(tmp_path):
        process = it.start()
        said, _ = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 0, said
        first = it.run()
        closed = it.say("undo", str(first.folder), "--reason", "the fix was elsewhere")
        assert closed.returncode == 3, closed.stdout + closed.stderr
        undone = it.say(
            "undo", str(first.folder), "--reason", "the fix was elsewhere", "-p", "confirm=derrimut-platform"
        )
        assert undone.returncode == 1, undone.stdout + undone.stderr  # it brought back what was broken
        assert it.run().run != first.run
        live = set(it.serving.world.outcome_view().live.values())
        assert live == {it.serving.world.hosting.roles["bad"]}
        told = json.loads((it.run().folder / "record.json").read_text(encoding="utf-8"))
        assert told["outcome"]["outcome"] == "failed"
