"""How a run ends other than well: aborted, or stopped from outside; what is claimed, told and left open."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.errors import BadParameters, CheckFailed, GateClosed, PlanViolation
from rollback_lib.evidence.record import verify_record
from rollback_lib.procedures import VercelRollback
from rollback_lib.procedures.shown import Notice
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


def outcome(rollback: VercelRollback) -> dict:
    return json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))["outcome"]


def said(company: Rehearsal) -> list[str]:
    return [entry.path for entry in company.sent("chat.postMessage", "slack")]


def test_aborted_before_any_effect_is_refused_and_nobody_is_disturbed(company: Rehearsal):
    """Nothing left: the run is closed as refused, production is as it was, no message is posted."""
    rollback = company.open()
    to_gate(rollback)
    rollback.abort("false alarm: the status page says so")
    assert outcome(rollback)["outcome"] == "refused"
    assert outcome(rollback)["state"] == "This run changed nothing of production."
    assert "false alarm" in outcome(rollback)["why"]
    assert outcome(rollback)["still_open"] == []  # no pin, no checklist: nothing was rolled back
    assert company.live() == {company.role("bad")}
    assert said(company) == []
    assert verify_record(rollback.folder).ok


def test_aborted_after_the_effect_is_failed_and_says_where_production_is(company: Rehearsal):
    """Production stays where the effect put it; channel and record say so, and how to undo it."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.move_production(stable)
    company.clock.advance(5)
    company.world.advance()
    closed = repr(rollback.abort("the lead wants to look first"))
    assert "Still open: post-rollback checklist, Immediate (0-15 minutes): Test critical flows - " in closed
    assert outcome(rollback)["outcome"] == "failed"
    assert stable.deployment.id in outcome(rollback)["state"]
    assert stable.live in outcome(rollback)["undo"]
    pinned, flows, *rest = outcome(rollback)["still_open"]
    checklist = [text for text in rest if text.startswith("post-rollback checklist, ")]
    assert checklist == list(rollback.session.plan.checklist_lines)
    report = unescape((rollback.folder / "report.html").read_text(encoding="utf-8"))
    assert [text for text in checklist if f"<li>{text}</li>" not in report] == []
    assert pinned.startswith("production is pinned")
    assert "only their pages were looked at" in flows
    assert company.live() == {stable.deployment.id}
    assert any("the lead wants to look first" in text for text in _texts(company))
    assert verify_record(rollback.folder).ok


def test_aborted_after_a_refused_effect_says_that_nothing_changed(company: Rehearsal):
    """Vercel refused: failed, and production is as it was."""
    company.begin(
        WorldSpec(faults=(Fault(service="vercel", kind="deny", method="POST", path="*/rollback/*"),))
    )
    rollback = company.open()
    stable = to_gate(rollback)
    with pytest.raises(Exception, match="403"):
        rollback.move_production(stable)
    rollback.abort("token lacks the role")
    assert outcome(rollback)["outcome"] == "failed"
    assert outcome(rollback)["state"].startswith("This run changed nothing of production")
    assert company.live() == {company.role("bad")}


def test_aborted_while_nobody_can_tell_is_unknown(company: Rehearsal):
    """The answer was lost and Vercel cannot be read: the run is closed as unknown, never as refused or failed."""
    company.begin(
        WorldSpec(
            faults=(
                Fault(service="vercel", kind="reset_after", method="POST", path="*/rollback/*"),
                Fault(service="vercel", kind="503", method="GET", path="/v9/projects/*", nth={"from": 6}),
            )
        )
    )
    rollback = company.open()
    stable = to_gate(rollback)
    with pytest.raises(Exception, match="Nobody can say yet"):
        rollback.move_production(stable)
    rollback.abort("handing over to the platform team")
    assert outcome(rollback)["outcome"] == "unknown"
    assert outcome(rollback)["state"].startswith("UNKNOWN")


def test_abort_asks_the_platform_before_it_claims_anything(
    company: Rehearsal, monkeypatch: pytest.MonkeyPatch
):
    """The answer was lost, but Vercel shows it: aborted as failed with production on the target, not as unknown."""
    company.begin(
        WorldSpec(faults=(Fault(service="vercel", kind="reset_after", method="POST", path="*/rollback/*"),))
    )
    rollback = company.open()
    stable = to_gate(rollback)
    monkeypatch.setattr(rollback.carrier, "_after_trouble", _cut_off)
    with pytest.raises(KeyboardInterrupt):
        rollback.move_production(stable)
    company.clock.advance(5)
    company.world.advance()
    rollback.abort("enough")
    assert outcome(rollback)["outcome"] == "failed"
    assert stable.deployment.id in outcome(rollback)["state"]


@pytest.mark.parametrize("reason", ["", "  "])
def test_abort_wants_a_reason(company: Rehearsal, reason: str):
    """Without one the run stays as it was."""
    rollback = company.open()
    with pytest.raises(BadParameters, match="reason"):
        rollback.abort(reason)
    assert rollback.journal.last("run.closed") is None


def test_closed_run_cannot_be_aborted(company: Rehearsal):
    """A closed run is never changed."""
    rollback = company.open()
    rollback.abort("false alarm")
    lines = len(company.lines(rollback))
    with pytest.raises(PlanViolation, match="is closed"):
        rollback.abort("again")
    assert len(company.lines(rollback)) == lines


def test_aborted_run_runs_no_step_any_more(company: Rehearsal):
    """Running a cell below by mistake sends nothing."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.abort("false alarm")
    with pytest.raises(PlanViolation, match="is closed"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []


def test_stopped_from_outside_before_the_effect_is_failed_and_stays_open(company: Rehearsal):
    """A cancelled job: provisional record, how to go on, nobody disturbed."""
    rollback = company.open()
    to_gate(rollback)
    rollback.interrupted("SIGTERM")
    assert outcome(rollback)["outcome"] == "failed"
    assert f"rollback resume {rollback.journal.run}" in outcome(rollback)["next_step"]
    assert said(company) == []
    assert rollback.journal.last("run.closed") is None
    assert verify_record(rollback.folder).ok


def test_stopped_from_outside_after_the_effect_tells_the_channel(company: Rehearsal):
    """Production has moved and nobody watches it any more: the channel hears that, and the run can go on."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.move_production(stable)
    rollback.interrupted("SIGTERM")
    assert any("stopped by SIGTERM" in text and stable.deployment.id in text for text in _texts(company))
    company.restart(rollback)
    again = company.open(run=rollback.journal.run)
    stable = to_gate(again)
    again.monitor(again.move_production(stable))
    again.verify(stable)
    again.close()
    assert outcome(again)["outcome"] == "verified"
    assert len(company.sent("/rollback/")) == 1


def test_stopped_after_it_was_closed_changes_nothing(company: Rehearsal):
    """The signal came after the last line: the outcome stays."""
    rollback = company.open()
    rollback.abort("false alarm")
    lines = len(company.lines(rollback))
    rollback.interrupted("SIGTERM")
    assert len(company.lines(rollback)) == lines


def test_gate_that_refused_and_then_aborted_stays_refused(company: Rehearsal):
    """No approval came, the engineer gives up: refused."""
    company.begin(WorldSpec(personas=()))
    rollback = company.open(severity="P1", criterion="P1.T3")
    stable = to_gate(rollback)
    with pytest.raises(GateClosed):
        rollback.move_production(stable)
    rollback.abort("nobody reachable; hotfix instead")
    assert outcome(rollback)["outcome"] == "refused"


def test_close_after_a_failed_check_is_still_failed(company: Rehearsal):
    """Aborting is not needed to end a run whose steps are done."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    company.world.hosting.project.auto_assign = True
    with pytest.raises(CheckFailed):
        rollback.close()
    assert outcome(rollback)["outcome"] == "failed"


def _texts(company: Rehearsal) -> list[str]:
    incidents = company.world.slack.messages("C0INCIDENTS")
    return [message.text for message in incidents]


def test_stop_that_the_channel_hears_of_names_the_step_and_what_comes_next(company: Rehearsal):
    """As the plan names it; short enough for a phone, with nothing that Slack takes for markup, and no secret's half."""
    secret = f"a phrase 2718281828 of words that go on and on, and on{' and on' * 9}"
    rollback = company.open()
    rollback.session.resolved.secrets.redactor.learn([secret])
    rollback.move_production(to_gate(rollback))
    company.world.advance()

    def fail() -> None:
        raise CheckFailed(
            "<b> is down.", "Nothing & nobody moved.", f"{'Look at it. ' * 30}{secret}{' and more' * 9}"
        )

    with pytest.raises(CheckFailed):
        rollback.run_step("P1.S5", fail, type(rollback).monitor)
    told = _texts(company)[-1]
    said = "⚠️ Rollback stopped at step 5: Monitor rollback (outcome: failed).\n&lt;b&gt; is down.\n"
    assert told.startswith(f"{said}Now: Nothing &amp; nobody moved.\nNext: Look at it. Look")
    assert "2718" not in told
    assert told.endswith(" ...")
    assert len(told) < 600


def test_stop_at_the_gate_names_the_step_behind_it(company: Rehearsal):
    """After the change, when people know of the run: it is looked at anew what is allowed."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.move_production(stable)
    company.world.advance()

    def fail() -> Notice:
        raise GateClosed("Closed.", "Nothing was sent.", "Ask the lead.")

    with pytest.raises(GateClosed):
        rollback.run_gate("P1.G1", fail)
    told = _texts(company)[-1]
    assert told.startswith("⚠️ Rollback stopped at the gate before step 4: Promote to Production (outcome: ")
    assert told.endswith("\nNext: Ask the lead.")


def _cut_off(*_: object) -> None:
    raise KeyboardInterrupt


def test_end_that_turned_out_otherwise_before_it_was_closed_is_told_anew(company: Rehearsal):
    """Cut off right after "complete" was posted; a colleague moves production: the channel hears how it really ended."""
    rollback = company.open()
    stable = to_gate(rollback)
    moved = rollback.move_production(stable)
    company.clock.advance(5)
    rollback.monitor(moved)
    rollback.verify(stable)

    def die() -> None:
        raise KeyboardInterrupt

    company.transport.after["chat.postMessage"] = die
    with pytest.raises(KeyboardInterrupt):
        rollback.close()
    company.restart(rollback)
    company.world.hosting.promote(company.role("hotfix"), by="dee", at_ms=company.world.now_ms())
    company.clock.advance(5)

    again = company.open(run=rollback.journal.run)
    with pytest.raises(CheckFailed, match="closed as failed"):
        again.close()
    posted = [message.text for message in company.world.slack.messages("C0INCIDENTS")]
    told = [text for text in posted if "ROLLBACK COMPLETE" in text or "Outcome " in text]
    assert len(told) == 2
    assert "Outcome failed" in told[-1]
    assert "outcome failed" in posted[-1]  # the record's witness


def test_what_a_run_keeps_outside_its_folder_goes_before_its_last_line(company: Rehearsal, monkeypatch):
    """Nobody comes back to a run that is closed: killed in between, it would be left for good."""
    tidied = []

    def tidy(rollback: VercelRollback) -> None:
        tidied.append((rollback.journal.last("run.closing") is not None, rollback.journal.last("run.closed")))

    monkeypatch.setattr(VercelRollback, "tidy", tidy)
    rollback = company.open()
    to_gate(rollback)
    rollback.abort("it was the other system")
    assert tidied == [(True, None)]
