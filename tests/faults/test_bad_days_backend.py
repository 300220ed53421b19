"""The bad days of procedure 2: on each, what is claimed, what is on disk and what is true in the world agree.

- Each day is one row: how the world or the command line is broken, where the run stops, its outcome, what is live in the end.
- On every day the same holds besides: the outside judge of drills breaks nothing, code went live no more often than was
  written down, and an error says all of its three parts.
- A day that needs the official command line itself, and one that is much like another, is left to `make torture`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from backend_company import Company, Day, cells, outcome_of
from backend_days import DAYS
from backend_days_around import MORE_DAYS

from rollback_lib.errors import RollbackError
from rollback_lib.procedures import ConvexRollback


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    found = Company(tmp_path, monkeypatch)
    yield found
    found.close()


def marked(day: Day) -> object:
    """Leave a day to the torture, unless it is a quick one."""
    return pytest.param(day, id=day.name, marks=() if day.quick else pytest.mark.torture)


@pytest.mark.parametrize("day", [marked(day) for day in (*DAYS, *MORE_DAYS)])
def test_bad_day(company: Company, day: Day):
    """The run stops where it should, says what is so, and leaves world, journal and record in agreement."""
    company.official, company.behaviour = day.official, day.behaviour
    company.begin(convex=day.convex, **day.world)
    rollback, error, stopped = lived_through(company, day)
    try:
        if rollback is None:
            assert error is not None
            assert isinstance(error, day.error or ())
        else:
            assert (type(error), stopped) == (day.error or type(None), day.stops), error
            assert outcome_of(rollback) == day.outcome
            claims_no_more_than_is_true(company, rollback)
        assert company.live == day.live
        assert company.finishes == day.pushes
        if error is not None:
            tells_all_of_it(error, day)
        if rollback is not None:
            warned = [line.data["text"] for line in company.lines(rollback) if line.event == "warning"]
            if day.after is not None:
                day.after(company, company.lines(rollback))
            assert [text for text in day.warns if not any(text in one for one in warned)] == [], warned
    finally:
        if rollback is not None:
            company.let_go(rollback)


def lived_through(company: Company, day: Day) -> tuple[ConvexRollback | None, RollbackError | None, str]:
    """Run all cells with what happens meanwhile; return the run, what stopped it and in which cell."""
    try:
        day.meanwhile.get("open", lambda _: None)(company)
        given = day.given(company) if callable(day.given) else day.given
        rollback = company.open(**given)
    except RollbackError as exc:
        return None, exc, "open"
    for name, cell in cells(rollback).items():
        day.meanwhile.get(name, lambda _: None)(company)
        try:
            cell()
        except RollbackError as exc:
            return rollback, exc, name
    return rollback, None, ""


def claims_no_more_than_is_true(company: Company, rollback: ConvexRollback) -> None:
    """Hold the journal and the record against the world, by the outside judge."""
    verdict = company.judged(rollback)
    assert verdict.broken == (), str(verdict)
    lines = company.lines(rollback)
    assert lines[-1].event in ("run.closed", "run.provisional")
    assert lines[-1].data["outcome"] == outcome_of(rollback)
    assert sum(applied for _, applied in company.finishes) <= 1
    if outcome_of(rollback) == "verified":
        assert company.live == "good"


def tells_all_of_it(error: RollbackError, day: Day) -> None:
    """What happened, what state things are in, what to do next: each there, and each true."""
    assert [words for words in day.says if words not in error.happened] == [], str(error)
    assert day.state in error.state, str(error)
    assert day.next_step in error.next_step, str(error)
    text = f"{error.happened} {error.state} {error.next_step}"
    assert "  " not in text
    assert re.search(r"(?<!\.)\.\.(?!\.)", text) is None, text
    assert error.happened.endswith(".")
    assert "Vercel dashboard" not in text
    assert "2718281828" not in text
