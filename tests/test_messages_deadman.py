"""The dead-man notice, against the simulated Slack: it comes when a run falls silent, and only then."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.errors import CheckFailed
from rollback_lib.messages.deadman import DeadMan
from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import Fault, WorldSpec


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


def to_gate(rollback: VercelRollback):
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    rollback.gate("P1.G1", stable)
    return stable


def notice(rollback: VercelRollback) -> DeadMan:
    assert rollback.dead_man is not None
    return rollback.dead_man


def scheduled(company: Rehearsal) -> list:
    return company.world.slack.scheduled()


def texts(company: Rehearsal) -> list[str]:
    company.world.advance()
    return [message.text for message in company.world.slack.messages("C0INCIDENTS")]


def pass_minutes(company: Rehearsal, minutes: float) -> None:
    company.clock.advance(minutes * 60)


def test_nothing_is_scheduled_before_people_were_alerted(company: Rehearsal):
    """A run that nobody has heard of has no silence to report."""
    rollback = company.open()
    to_gate(rollback)
    notice(rollback).beat()
    assert scheduled(company) == []


def test_a_run_that_falls_silent_is_told_of_by_slack_itself(company: Rehearsal):
    """Killed after the effect: fifteen minutes later the channel reads who, where, and what to do."""
    rollback = company.open()
    rollback.move_production(to_gate(rollback))
    notice(rollback).beat()
    assert len(scheduled(company)) == 1
    pass_minutes(company, 16)
    told = [text for text in texts(company) if "Nothing was heard" in text]
    assert len(told) == 1
    assert "P1.S4" in told[0]
    assert "rollback status -e drill" in told[0]
    assert rollback.journal.run in told[0]


def test_a_run_that_lives_pushes_it_ahead_and_leaves_one(company: Rehearsal):
    """However long a person reads: one notice stands, always in the future, and none is posted."""
    rollback = company.open()
    rollback.move_production(to_gate(rollback))
    for _ in range(12):
        notice(rollback).beat()
        pass_minutes(company, 2)
    assert len(scheduled(company)) == 1
    assert not [text for text in texts(company) if "Nothing was heard" in text]


def test_pushes_come_no_oftener_than_slack_bears(company: Rehearsal):
    """A heart that beats every second does not fill Slack's minute."""
    rollback = company.open()
    rollback.move_production(to_gate(rollback))
    for _ in range(30):
        notice(rollback).beat()
        company.clock.advance(1)
    assert len(company.sent("chat.scheduleMessage", "slack")) == 1


def test_closing_takes_it_back_on_record(company: Rehearsal):
    """The run has said itself how it ended: nothing is left in Slack, begin and end are in the journal."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    notice(rollback).beat()
    rollback.verify(stable)
    rollback.close()
    assert scheduled(company) == []
    named = [line.data["name"] for line in company.lines(rollback) if line.event == "prepare.done"]
    assert "dead-man notice" in named
    assert "dead-man notice taken back" in named
    pass_minutes(company, 30)
    assert not [text for text in texts(company) if "Nothing was heard" in text]


def test_next_session_replaces_the_notice_of_a_dead_one(company: Rehearsal):
    """Its pushes were not on record: what stands in Slack is found by the run's name."""
    rollback = company.open()
    rollback.move_production(to_gate(rollback))
    notice(rollback).beat()
    pass_minutes(company, 2)
    notice(rollback).beat()
    run = rollback.journal.run
    company.restart(rollback)
    again = company.open(run=run)
    notice(again).beat()
    assert len(scheduled(company)) == 1
    again.abort("enough")
    assert scheduled(company) == []


def test_notice_of_another_run_is_left_alone(company: Rehearsal):
    """A second run takes the environment over: each takes back its own notice."""
    first = company.open()
    first.move_production(to_gate(first))
    notice(first).beat()
    second = company.open(incident="INC-OTHER", take_over=str(first.journal.run))
    second.abort("not this one")
    assert len(scheduled(company)) == 1


def test_slack_that_refuses_is_one_warning_and_holds_up_nothing(company: Rehearsal):
    """The bot lacks the scope or the method fails: said once, the rollback goes on."""
    company.begin(
        WorldSpec(faults=(Fault(service="slack", kind="503", path="*scheduleMessage*", nth={"from": 1}),))
    )
    rollback = company.open()
    stable = to_gate(rollback)
    moved = rollback.move_production(stable)
    for _ in range(3):
        notice(rollback).beat()
        pass_minutes(company, 2)
    told = [line.data["text"] for line in company.lines(rollback) if line.event == "warning"]
    assert sum("dead-man" in text for text in told) == 1
    rollback.monitor(moved)
    rollback.verify(stable)
    try:
        rollback.close()
    except CheckFailed:
        pytest.fail("a notice that was not kept must not fail the run")


def test_a_dry_run_schedules_nothing(company: Rehearsal):
    """Nothing but reads leaves."""
    rollback = company.open(dry_run=True)
    to_gate(rollback)
    notice(rollback).beat()
    notice(rollback).end()
    assert company.sent("", "slack") == []


def test_ahead_is_the_plans_promise(company: Rehearsal):
    """Updates every fifteen minutes, says the plan."""
    assert notice(company.open()).ahead == timedelta(minutes=15)
