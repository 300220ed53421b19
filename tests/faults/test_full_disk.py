"""A disk that is full at the worst moments of procedure 1: nothing unrecorded leaves, nothing is sent twice afterwards.

- Full for real: the process may not make a file longer (RLIMIT_FSIZE), so half a line is written and then refused.
- Full by the usual error: ENOSPC from the write itself.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.errors import JournalError
from rollback_lib.evidence.record import verify_record
from rollback_lib.journal import FILE_NAME, read_journal
from rollback_lib.procedures import VercelRollback

Full = Callable[[Path, str], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def no_longer_file(folder: Path, _event: str) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes more than the journal has now."""
    journal = folder / FILE_NAME
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (journal.stat().st_size + 40 if journal.exists() else 40, limits[1])
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def no_space_for(_folder: Path, event: str) -> Iterator[None]:
    """Fail the write of one kind of line, half of which is on disk then."""
    write = os.write

    def full(descriptor: int, raw: bytes) -> int:
        if f'"event":"{event}"'.encode() in raw:
            write(descriptor, raw[: len(raw) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, raw)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "write", full)
        yield


each_way = pytest.mark.parametrize(
    "full",
    [
        pytest.param(no_longer_file, id="file size", marks=pytest.mark.torture),
        pytest.param(no_space_for, id="ENOSPC"),
    ],
)


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    yield found
    found.close()


def to_gate(rollback: VercelRollback) -> Any:
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    rollback.gate("P1.G1", stable)
    return stable


def to_the_end(rollback: VercelRollback, stable: Any) -> str:
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    rollback.close()
    assert verify_record(rollback.folder).ok
    record = json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))
    return str(record["outcome"]["outcome"])


def moves(company: Rehearsal) -> list[bool]:
    """Tell of each of our requests to move production whether it was applied."""
    return [entry.applied for entry in company.sent("/rollback/")]


def whole(rollback: VercelRollback) -> bool:
    """Tell whether the journal on disk ends with a whole line."""
    reading = read_journal(rollback.folder / FILE_NAME)
    return reading.defect is None and reading.torn == b""


@each_way
def test_full_at_open_sends_nothing_and_leaves_no_run_in_the_way(company: Rehearsal, full: Full):
    """The run's first line cannot be written: no request leaves, and once there is space a run begins as ever."""
    with full(company.home, "run.opened"), pytest.raises(JournalError, match="cannot be written") as caught:
        company.open()
    assert company.world.ledger.entries() == []
    assert "Free space" in caught.value.next_step
    rollback = company.open()
    assert to_the_end(rollback, to_gate(rollback)) == "verified"


@each_way
@pytest.mark.parametrize("event", ["effect.intent", "effect.sending"])
@pytest.mark.parametrize("restarted", [False, True], ids=["same kernel", "restarted"])
def test_full_before_the_effect_keeps_it_in(company: Rehearsal, full: Full, event: str, restarted: bool):
    """Not on disk, not sent; with space again the same cell goes on, and production is told once."""
    rollback = company.open()
    stable = to_gate(rollback)
    with full(rollback.folder, event), pytest.raises(JournalError) as caught:
        rollback.move_production(stable)
    assert "Nothing more was sent" in caught.value.state
    assert moves(company) == []
    assert company.live() == {company.role("bad")}
    assert whole(rollback)
    if restarted:
        company.restart(rollback)
        rollback = company.open(run=rollback.journal.run)
        stable = to_gate(rollback)
    assert to_the_end(rollback, stable) == "verified"
    assert moves(company) == [True]


@each_way
@pytest.mark.parametrize("restarted", [False, True], ids=["same kernel", "restarted"])
def test_full_right_after_the_effect_left_says_so_and_asks_first(
    company: Rehearsal, full: Full, restarted: bool
):
    """The answer cannot be written down: production may have moved, is said; afterwards it is asked, not sent again."""
    rollback = company.open()
    stable = to_gate(rollback)
    with contextlib.ExitStack() as stack:
        company.transport.before["/rollback/"] = lambda: stack.enter_context(
            full(rollback.folder, "effect.answered")
        )
        with pytest.raises(JournalError) as caught:
            rollback.move_production(stable)
    assert "had left before; its answer was: accepted (201)" in caught.value.state
    assert "Production may have moved" in caught.value.state
    assert moves(company) == [True]
    assert whole(rollback)
    if restarted:
        company.restart(rollback)
        rollback = company.open(run=rollback.journal.run)
        stable = to_gate(rollback)
    assert to_the_end(rollback, stable) == "verified"
    assert moves(company) == [True]
    assert any(line.event == "effect.recovered" for line in company.lines(rollback))


@each_way
@pytest.mark.parametrize("event", ["run.closing", "run.closed"])
@pytest.mark.parametrize("restarted", [False, True], ids=["same kernel", "restarted"])
def test_full_at_close_closes_nothing_and_says_nothing_twice(
    company: Rehearsal, full: Full, event: str, restarted: bool
):
    """The last line cannot be written: the run is open; with space again it is closed once and told once."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    with full(rollback.folder, event), pytest.raises(JournalError):
        rollback.close()
    assert whole(rollback)
    assert rollback.journal.last("run.closed") is None
    if restarted:
        company.restart(rollback)
        rollback = company.open(run=rollback.journal.run)
    assert to_the_end(rollback, stable) == "verified"
    texts = [message.text for message in company.world.slack.messages("C0INCIDENTS")]
    assert len([text for text in texts if "ROLLBACK COMPLETE" in text]) == 1
    assert moves(company) == [True]
    assert sum(line.event == "run.closed" for line in company.lines(rollback)) == 1
