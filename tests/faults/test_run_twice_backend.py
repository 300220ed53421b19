"""Procedure 2 started a second time by another process: while the first waits at its gate, and when it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend_company import Company, cells
from repository import ROOT
from runs import opened_elsewhere

from rollback_lib.errors import BadParameters


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    found = Company(tmp_path, monkeypatch)
    yield found
    found.close()


def elsewhere(company: Company, **given: Any) -> tuple[str, str, str, str]:
    """Open a run in another process; return its error in its parts."""
    return opened_elsewhere("ConvexRollback", company.given(**given), PYTHONPATH=str(ROOT))


def test_second_run_is_turned_away_at_the_gate_and_goes_back_to_nothing_after_the_end(company: Company):
    """It sends nothing, twice: it is told who has the environment, and that the rollback was made already."""
    company.begin()
    first = company.open()
    notebook = cells(first)
    for name in ("access", "list", "find", "rehearse", "gate"):
        notebook[name]()
    before = company.lines(first)
    kind, happened, state, next_step = elsewhere(company, new_run=True)
    assert kind == "LeaseHeld"
    assert first.journal.run in happened
    assert "othing was sent" in state or "sent nothing" in state
    assert next_step
    told = [line.event for line in company.lines(first)[len(before) :]]
    assert [event for event in told if event.startswith(("effect.", "step."))] == []
    assert company.finishes == ()
    for name in ("push", "wait", "verify", "query", "close"):
        notebook[name]()
    company.let_go(first)
    assert company.finishes == ((200, True),)
    second = company.open()
    try:
        assert second.journal.run != first.journal.run
        notebook = cells(second)
        notebook["access"]()
        notebook["list"]()
        with pytest.raises(BadParameters, match="not done unasked") as caught:
            notebook["find"]()
        assert f"the suspect {company.sha('bad')[:12]} already" in caught.value.happened
        assert f"to {company.sha('good')[:12]} at" in caught.value.happened
        assert "othing was changed" in caught.value.state
        assert "commit" in caught.value.next_step
    finally:
        company.let_go(second)
    assert company.finishes == ((200, True),)
    assert company.live == "good"
    assert company.judged(first).broken == ()
