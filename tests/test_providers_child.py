"""A program that we began: seen by whoever comes next, also after we were killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback_lib.clock import SystemClock
from rollback_lib.errors import BadParameters, LeaseHeld
from rollback_lib.providers.child import Child, Slot

CLOCK = SystemClock()
ENVIRON = {"PATH": os.defpath, "SECRET": "2718281828"}
# Begins a program in a slot and waits to be killed.
BEGIN = """
import sys
from pathlib import Path
from rollback_lib.clock import SystemClock
from rollback_lib.providers.child import Slot
slot = Slot(Path(sys.argv[1]))
child = slot.start(["/bin/sh", "-c", sys.argv[2]], cwd=Path("/"), environ={"PATH": "/usr/bin:/bin"},
                   what={"what": "a push", "sha": "abc"}, clock=SystemClock())
print(child.pid, flush=True)
child.follow(lambda line: print(line, flush=True), 60, SystemClock())
"""


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    """A place that nothing runs in, at the beginning and at the end."""
    made = Slot(tmp_path / "slot")
    yield made
    made.end(CLOCK)


def start(slot: Slot, script: str, **more: Any) -> Child:
    """Begin a shell script."""
    what = {"what": "a push", "sha": "abc"}
    given: dict[str, Any] = {
        "cwd": slot.folder.parent,
        "environ": ENVIRON,
        "what": what,
        "clock": CLOCK,
    } | more
    return slot.start(["/bin/sh", "-c", script], **given)


class Hurried(SystemClock):
    """A clock that can be put forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        """Return the machine's own, put forward."""
        return super().monotonic() + self.ahead_s


def eventually(seen: Any, most_s: float = 10) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + most_s
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Say whether a process has ended, its last traces aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_lines_and_exit_code_come_back(slot):
    """Of both outputs, in order, the last one also without its end; whatever the arguments hold."""
    lines: list[str] = []
    child = start(slot, "echo one; echo two >&2; printf 'three; $(four)'; exit 7")
    ended = child.follow(lines.append, 10, CLOCK)
    assert lines == ["one", "two", "three; $(four)"]
    assert (ended.code, ended.timed_out) == (7, False)
    assert slot.running() is None


def test_environment_is_what_was_given_and_nothing_is_typed_into_it(slot, monkeypatch):
    """Nothing of ours gets in; a question ends at once."""
    monkeypatch.setenv("OURS", "x")
    lines: list[str] = []
    start(slot, 'echo "${OURS-none} $SECRET"; read answer || echo no answer').follow(lines.append, 10, CLOCK)
    assert lines == ["none 2718281828", "no answer"]


def test_program_that_takes_too_long_is_ended_with_all_it_began(slot):
    """Also where it does not want to."""
    lines: list[str] = []
    hurried = Hurried()

    def heard(line: str) -> None:
        lines.append(line)
        hurried.ahead_s = 1000.0 if len(lines) > 1 else 0.0

    child = start(slot, "trap '' TERM; echo begun; sleep 60 & echo $!; sleep 60; sleep 60")
    ended = child.follow(heard, 900, hurried)
    assert (ended.code, ended.timed_out) == (None, True)
    eventually(lambda: gone(child.pid) and gone(int(lines[1])))
    assert slot.running() is None


def test_command_that_a_person_is_told_ends_it_with_all_it_began(slot):
    """The number leads the group: ended by it alone, the program that the shell waits for would go on."""
    child = start(slot, "sleep 60 & echo $! >began; wait")
    began = slot.folder.parent / "began"
    eventually(lambda: began.exists() and began.read_text().endswith("\n") and slot.left().pid)
    assert os.getpgid(slot.left().pid) == slot.left().pid == child.pid
    subprocess.run(["/bin/sh", "-c", f"kill -- -{slot.left().pid}"], check=True)
    assert child.follow(lambda _: None, 10, CLOCK).code is None
    eventually(lambda: gone(int(began.read_text())))
    assert slot.running() is None


@pytest.mark.parametrize("told", [{"boot": "another"}, {}], ids=["another container", "older version"])
def test_number_of_another_machine_ends_nothing_here(slot, monkeypatch, told):
    """A folder may be shared by containers: there the number is a stranger's."""
    monkeypatch.setattr("rollback_lib.providers.child.PATIENCE_S", 0.1)
    child = start(slot, "sleep 60")
    eventually(lambda: slot.left().pid)
    place = slot.folder / "what"
    what = json.loads(place.read_text())
    place.write_text(json.dumps({name: what[name] for name in what if name != "boot"} | told))
    assert slot.left().pid is None
    assert not slot.end(CLOCK)
    assert child._process.poll() is None
    place.write_text(json.dumps(what))
    assert slot.end(CLOCK)


def test_caller_that_must_not_go_on_ends_the_program(slot):
    """What is asked each second goes up; the program is ended first."""
    child = start(slot, "sleep 60")

    def keep() -> None:
        raise LeaseHeld("a", "b", "c")

    with pytest.raises(LeaseHeld):
        child.follow(lambda _: None, 30, CLOCK, keep)
    assert slot.running() is None


def test_second_program_is_not_begun_while_one_runs(slot):
    """The refusal says what runs; the first one goes on undisturbed."""
    go_on = slot.folder.parent / "go-on"
    child = start(slot, f"while [ ! -e {go_on} ]; do sleep 0.05; done; echo end")
    eventually(lambda: (slot.folder / "pid").exists() and (slot.folder / "pid").read_text())
    with pytest.raises(LeaseHeld, match=rf"a push is still running .* \(process {child.pid}\)"):
        start(Slot(slot.folder), "echo second")
    go_on.touch()
    lines: list[str] = []
    assert child.follow(lines.append, 10, CLOCK).code == 0
    assert lines == ["end"]
    start(slot, "true").follow(lines.append, 10, CLOCK)


@pytest.mark.parametrize("seen", ["running", "ended"])
def test_program_outlives_a_killed_parent_and_is_found(slot, seen):
    """After a SIGKILL: the lock tells that it runs; its output and exit code are there once it has ended."""
    go_on = slot.folder.parent / "go-on"
    script = f"echo begun; while [ ! -e {go_on} ]; do sleep 0.05; done; echo finished; exit 3"
    parent = subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(slot.folder), script], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == "begun\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    found = slot.running()
    assert found is not None
    assert (found.pid, found.code, found.what["what"], found.what["sha"]) == (pid, None, "a push", "abc")
    assert found.output == "begun\n"
    with pytest.raises(LeaseHeld):
        start(slot, "echo second")
    assert slot.wait(0.1, CLOCK) is False
    if seen == "running":
        assert slot.end(CLOCK)
        assert gone(pid)
        left = slot.left()
        assert left is not None
        assert (left.code, left.output) == (None, "begun\n")
    else:
        go_on.touch()
        assert slot.wait(10, CLOCK)
        left = slot.left()
        assert left is not None
        assert (left.code, left.output) == (3, "begun\nfinished\n")
    slot.clear()
    assert slot.left() is None


def test_kill_of_the_shell_alone_hides_nothing(slot):
    """The program itself holds the lock as well."""
    child = start(slot, "echo $$; exec sleep 60")
    eventually(lambda: slot.read_from(0) != b"")
    inner = int(slot.read_from(0))
    os.kill(child.pid, signal.SIGKILL)
    child._process.wait()
    assert slot.running() is not None
    os.kill(inner, signal.SIGKILL)
    eventually(lambda: slot.running() is None)


def test_what_is_kept_is_for_its_user_alone(slot):
    """The output is not redacted."""
    start(slot, "echo $SECRET").follow(lambda _: None, 10, CLOCK)
    assert stat.S_IMODE(slot.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((slot.folder / "output").stat().st_mode) == 0o600
    assert "2718281828" in slot.read_from(0).decode()
    slot.clear()
    assert [path.name for path in slot.folder.iterdir()] == ["lock"]


def test_program_that_is_not_there_is_an_exit_code(slot):
    """The shell says so."""
    child = slot.start(["/nowhere/node"], cwd=slot.folder.parent, environ=ENVIRON, what={}, clock=CLOCK)
    assert child.follow(lambda _: None, 10, CLOCK).code == 127


def test_folder_that_is_not_there_begins_nothing(slot, tmp_path):
    """Nor is the place taken by it."""
    with pytest.raises(BadParameters, match="cannot be run"):
        start(slot, "true", cwd=tmp_path / "nowhere")
    assert slot.running() is None


def test_whoever_only_looks_makes_no_folder(tmp_path):
    """A place that a wrong parameter names is not made by asking what runs there."""
    unused = Slot(tmp_path / "unused" / "push")
    assert (unused.running(), unused.left()) == (None, None)
    assert unused.wait(0, CLOCK)
    assert unused.end(CLOCK)
    unused.clear()
    assert list(tmp_path.iterdir()) == []


def test_files_that_a_killed_run_had_made_are_gone_when_the_next_begins_or_clears(slot):
    """A program's files lie in a folder that is empty at its beginning, and are removed with its output."""
    begun = start(slot, f"echo secret >{slot.made}/push.json")
    begun._process.wait(10)
    assert [path.name for path in slot.made.iterdir()] == ["push.json"]
    seen: list[str] = []
    start(slot, f"ls {slot.made}; echo secret >{slot.made}/again").follow(seen.append, 20, CLOCK)
    assert seen == []
    slot.clear()
    assert not slot.made.exists()
