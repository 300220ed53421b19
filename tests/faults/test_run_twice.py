"""The same run, or the same rollback, started a second time by another process: while it is open, and when it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from rehearsal import GIVEN, Rehearsal
from runs import opened_elsewhere

from rollback_lib.errors import BadParameters
from rollback_lib.procedures import VercelRollback


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    yield found
    found.close()


def elsewhere(company: Rehearsal, **given: Any) -> tuple[str, str, str, str]:
    """Open a run in another process; return its error in its parts."""
    return opened_elsewhere("VercelRollback", GIVEN | given, ROLLBACK_HOME=str(company.home))


def to_gate(rollback: VercelRollback) -> Any:
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    rollback.gate("P1.G1", stable)
    return stable


def runs(company: Rehearsal) -> list[str]:
    """List the folders of all runs."""
    return sorted(path.name for path in (company.home / "incidents").glob("*/*"))


def test_run_that_is_open_elsewhere_is_left_alone(company: Rehearsal):
    """The second process is told who has it and sends nothing; the first goes on to the end, sending once."""
    rollback = company.open()
    stable = to_gate(rollback)
    lines = company.lines(rollback)
    kind, happened, state, next_step = elsewhere(company, run=rollback.journal.run)
    assert kind == "LeaseHeld"
    assert rollback.journal.run in happened
    assert "sent nothing" in state or "Nothing was sent" in state
    assert next_step
    assert company.lines(rollback) == lines
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    rollback.close()
    assert [entry.applied for entry in company.sent("/rollback/")] == [True]
    assert runs(company) == [rollback.journal.run]


def test_run_that_is_closed_is_not_opened_again(company: Rehearsal):
    """A second process that names it is refused, and neither production nor the record is touched."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    rollback.close()
    company.restart(rollback)
    files = {path: path.read_bytes() for path in rollback.folder.rglob("*") if path.is_file()}
    kind, happened, state, next_step = elsewhere(company, run=rollback.journal.run)
    assert kind == "BadParameters"
    assert "closed" in happened
    assert "othing was sent" in state
    assert "new_run" in next_step
    assert {path: path.read_bytes() for path in rollback.folder.rglob("*") if path.is_file()} == files
    assert len(company.sent("/rollback/")) == 1


def test_rollback_that_was_made_already_is_not_made_again_by_a_new_run(company: Rehearsal):
    """The same parameters once more, as a pipeline that is started twice: production is well, so nothing goes further back."""
    first = company.open()
    stable = to_gate(first)
    first.monitor(first.move_production(stable))
    first.verify(stable)
    first.close()
    company.restart(first)
    second = company.open()
    assert second.journal.run != first.journal.run
    second.access_dashboard()
    second.go_to_deployments()
    with pytest.raises(BadParameters, match="not done unasked") as caught:
        second.identify_stable_deployment()
    assert f"{company.role('bad')} already, to {company.role('stable')}" in caught.value.happened
    assert len(company.sent("/rollback/")) == 1
    assert company.live() == {company.role("stable")}
    company.restart(second)
    asked = company.open(new_run=True, deployment=company.role("second"), take_over=second.journal.run)
    assert to_gate(asked).deployment.id == company.role("second")
