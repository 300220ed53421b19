"""Procedure 1 as a whole, good day and bad days: what is claimed, what is on disk, what is true in the world."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.clock import to_iso
from rollback_lib.errors import (
    BadParameters,
    CheckFailed,
    GateClosed,
    OutcomeUnknown,
    PlanViolation,
    Unreachable,
)
from rollback_lib.evidence.record import verify_record
from rollback_lib.model import DeploymentId
from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import Broken, Fault, Jobs, WorldSpec


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


def to_gate(rollback: VercelRollback):
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    rollback.review(stable)
    rollback.gate("P1.G1", stable)
    return stable


def all_cells(rollback: VercelRollback):
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    return rollback.close()


def record_of(rollback: VercelRollback) -> dict:
    return json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))


def events(company: Rehearsal, rollback: VercelRollback) -> list[str]:
    return [line.event for line in company.lines(rollback)]


def test_good_day_is_verified_and_production_is_on_the_last_stable_deployment(company: Rehearsal):
    """A P0 rollback ends verified, moves every production domain once and leaves a record that verifies."""
    rollback = company.open()
    all_cells(rollback)
    assert record_of(rollback)["outcome"]["outcome"] == "verified"
    assert company.live() == {company.role("stable")}
    assert company.world.outcome_view().auto_assign is False
    assert len(company.sent("/rollback/")) == 1
    assert verify_record(rollback.folder).ok


def test_every_changing_request_of_the_world_has_its_line_before_it(company: Rehearsal):
    """Each changing request in the ledger stands in the journal as sent, and none but those."""
    rollback = company.open()
    all_cells(rollback)
    sent = [
        (line.data["method"], line.data["path"].partition("?")[0])
        for line in company.lines(rollback)
        if line.event.endswith(".sending")
    ]
    seen = [
        (entry.method, entry.path.partition("?")[0])
        for entry in company.world.ledger.entries()
        if entry.changes
    ]
    assert len(seen) > 3
    assert seen == sent


def test_alert_comes_before_the_effect_and_the_follow_up_after_it(company: Rehearsal):
    """The plan's messages stand in the channel, filled, in the right order, leads notified for severity P0."""
    rollback = company.open()
    all_cells(rollback)
    order = [(line.event, line.data.get("name", "")) for line in company.lines(rollback)]
    alert = order.index(("prepare.done", "message alert"))
    effect = next(i for i, (event, _) in enumerate(order) if event == "effect.sending")
    follow_up = order.index(("prepare.done", "message follow-up"))
    assert alert < effect < follow_up
    texts = [
        line.data["text"]
        for line in company.lines(rollback)
        if line.event == "prepare.intent" and "text" in line.data
    ]
    assert f"Action: Rolling back to deployment {company.role('stable')}" in texts[0]
    assert "<@U0LEE>" in texts[0]
    assert "<@U0CAT>" in texts[0]
    assert "<@U0ANA>" in texts[1]  # severity P0: the on-call engineer is told too
    assert not any("[" in text and "]" in text for text in texts)


def test_severity_p1_waits_for_the_engineering_lead(company: Rehearsal):
    """With the lead's ✅ the gate opens, and the log names who approved."""
    rollback = company.open(severity="P1", criterion="P1.T3")
    all_cells(rollback)
    assert record_of(rollback)["outcome"]["log"]["Approved By"] == "Lee Lead"
    assert company.live() == {company.role("stable")}


def test_severity_p1_without_approval_is_refused_and_goes_on_when_it_is_there(company: Rehearsal):
    """No approval: refused, nothing sent; the same run goes on once the lead has reacted, asking once only."""
    company.begin(WorldSpec(personas=()))
    rollback = company.open(severity="P1", criterion="P1.T3")
    stable = to_gate(rollback)
    with pytest.raises(GateClosed, match="engineering lead"):
        rollback.move_production(stable)
    assert record_of(rollback)["outcome"]["outcome"] == "refused"
    assert company.sent("/rollback/") == []
    run, asked = rollback.journal.run, next(rollback.journal.find("approval.requested"))
    company.restart(rollback)

    company.world.slack.react("U0LEE", asked.data["channel"], asked.data["ts"], "white_check_mark")
    again = company.open(severity="P1", criterion="P1.T3", run=run)
    all_cells(again)
    assert company.live() == {company.role("stable")}
    asked_by = [line.data["way"] for line in again.journal.find("approval.requested")]
    assert sorted(asked_by) == ["signature", "slack"]  # each way once


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"severity": ""}, "severity is not set", id="no severity"),
        pytest.param(
            {"severity": "P0", "criterion": ""}, "needs a claimed criterion", id="P0 without criterion"
        ),
        pytest.param({"severity": "P2", "criterion": ""}, "prefers a hotfix", id="P2"),
        pytest.param({"confirm": ""}, "has not been typed", id="nothing typed"),
        pytest.param({"confirm": "Derrimut-platform"}, "has not been typed", id="other case"),
        pytest.param({"confirm": {"P1.G2": "derrimut-platform"}}, "has not been typed", id="another gate"),
        pytest.param({"reason": " "}, "reason is empty", id="no reason"),
        pytest.param({"dry_run": True}, "dry run", id="dry run"),
    ],
)
def test_closed_gate_lets_nothing_through(company: Rehearsal, given: dict, says: str):
    """Whatever is missing, the step refuses, the outcome is refused, and nothing that changes anything left."""
    rollback = company.open(**given)
    stable = to_gate(rollback)
    with pytest.raises(GateClosed, match=says):
        rollback.move_production(stable)
    assert record_of(rollback)["outcome"]["outcome"] == "refused"
    assert [entry for entry in company.world.ledger.entries() if entry.changes] == []


def test_step_out_of_order_sends_nothing(company: Rehearsal):
    """A later step before an earlier one is refused by name, and not a single request leaves for it."""
    rollback = company.open()
    rollback.before_seal()
    before = len(company.world.ledger.entries())
    with pytest.raises(PlanViolation, match=r"P1\.S1"):
        rollback.go_to_deployments()
    assert len(company.world.ledger.entries()) == before


def test_run_all_again_after_a_restart_sends_nothing_twice(company: Rehearsal):
    """Restart kernel and run all: every step returns what is recorded, production is told once."""
    rollback = company.open()
    stable = to_gate(rollback)
    moved = rollback.move_production(stable)
    company.restart(rollback)

    again = company.open(run=rollback.journal.run)
    assert to_gate(again) == stable
    assert again.move_production(stable) == moved
    again.monitor(moved)
    again.verify(stable)
    again.close()
    assert len(company.sent("/rollback/")) == 1
    assert len(company.sent("chat.postMessage", "slack")) == len(
        {line.data["name"] for line in company.lines(again) if line.event == "prepare.sending"}
    )


def test_finished_step_run_again_says_that_it_is_from_the_record(
    company: Rehearsal, monkeypatch: pytest.MonkeyPatch
):
    """A cell whose result is an hour old is not taken for a fresh look."""
    shown: list[object] = []
    monkeypatch.setattr("rollback_lib.procedures.base.show", shown.append)
    rollback = company.open()
    rollback.access_dashboard()
    done_at = company.clock.now()
    company.clock.advance(3600)
    shown.clear()
    sent = len(company.world.ledger.entries())
    rollback.access_dashboard()
    (notice,) = shown
    assert (
        f"P1.S1 was done at {to_iso(done_at)}: this is what was seen then; nothing was asked again"
        in repr(notice)
    )
    assert len(company.world.ledger.entries()) == sent


def test_gate_and_effect_do_not_say_that_an_earlier_step_was_not_done_again(
    company: Rehearsal, monkeypatch: pytest.MonkeyPatch
):
    """The notice of a repeated step stands below a repeated step only: at the effect it would read as not sent."""
    shown: list[object] = []
    monkeypatch.setattr("rollback_lib.procedures.base.show", shown.append)
    all_cells(company.open())
    assert not [thing for thing in shown if "nothing was asked again" in repr(thing)]


def test_the_gate_names_what_is_live_by_its_commit_and_how_bad_it_is(company: Rehearsal):
    """Whoever types the name or approves sees what is left, severity, criterion and impact."""
    rollback = company.open()
    stable = to_gate(rollback)
    (shown,) = (line for line in company.lines(rollback) if line.event == "gate.shown")
    effect, left = shown.data["effect"], stable.suspect.deployment
    assert left.id == stable.live
    assert effect["from"] == f"{left.id} {left.commit_sha[:8]} {left.commit_message}"
    assert effect["severity"] == "P0, criterion P0.T1 (Complete service outage (site completely down))"
    assert effect["impact"] == rollback.session.parameters.impact != ""


def test_other_parameters_are_refused_but_empty_ones_may_be_filled_in(company: Rehearsal):
    """A run goes on with the same parameters only; what was empty may be said later, what was said may not change."""
    rollback = company.open(severity="", criterion="")
    run = rollback.journal.run
    company.restart(rollback)
    again = company.open(run=run)
    company.restart(again)
    with pytest.raises(BadParameters, match="severity"):
        company.open(run=run, severity="P1", criterion="")


def test_closed_run_is_refused(company: Rehearsal):
    """A closed run is never changed."""
    rollback = company.open()
    all_cells(rollback)
    company.restart(rollback)
    with pytest.raises(BadParameters, match="closed"):
        company.open(run=rollback.journal.run)


def spec(**fault) -> WorldSpec:
    return WorldSpec(faults=(Fault(service="vercel", method="POST", path="*/rollback/*", **fault),))


def test_answer_lost_before_anything_happened_is_looked_for_then_sent_again(company: Rehearsal):
    """Nothing happened on the platform: seen so, then sent once more as a new attempt with its own intent."""
    company.begin(spec(kind="reset_before"))
    rollback = company.open()
    all_cells(rollback)
    assert [entry.applied for entry in company.sent("/rollback/")] == [False, True]
    order = [event for event in events(company, rollback) if event.startswith("effect.")]
    assert order.index("effect.observed") < len(order) - 1 - order[::-1].index("effect.sending")


@pytest.mark.parametrize("with_retry_after", [True, False])
def test_too_many_requests_is_waited_out_and_sent_again(company: Rehearsal, with_retry_after: bool):
    """429 means not applied: after its wait the effect is a new journaled attempt."""
    company.begin(spec(kind="429", with_retry_after=with_retry_after))
    rollback = company.open()
    all_cells(rollback)
    assert [entry.applied for entry in company.sent("/rollback/")] == [False, True]
    attempts = [line.data["attempt"] for line in company.lines(rollback) if line.event == "effect.sending"]
    assert attempts == [1, 2]


def test_stuck_job_is_unknown_and_can_be_watched_further(company: Rehearsal):
    """A job that never ends is unknown, not failed and not done; running the cell again sends nothing."""
    company.begin(spec(kind="job_stuck"))
    rollback = company.open()
    stable = to_gate(rollback)
    moved = rollback.move_production(stable)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            rollback.monitor(moved)
    assert record_of(rollback)["outcome"]["outcome"] == "unknown"
    assert len(company.sent("/rollback/")) == 1


def test_world_moved_between_gate_and_effect_closes_the_gate(company: Rehearsal):
    """Production moved after the gate was shown: nothing is sent."""
    rollback = company.open()
    stable = to_gate(rollback)
    company.world.hosting.auto_assign = False
    company.world.hosting.project.auto_assign = False
    with pytest.raises(GateClosed, match="auto-assign"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []


def test_headless_never_chooses_what_it_has_seen_failing(company: Rehearsal):
    """Every candidate is bad on its own address: headless stops and says so; a person may name one."""
    company.begin(WorldSpec(broken=Broken(cause="outside")))
    rollback = company.open()
    rollback.access_dashboard()
    rollback.go_to_deployments()
    with pytest.raises(BadParameters, match="outside the frontend"):
        rollback.identify_stable_deployment()
    assert company.sent("/rollback/") == []


def test_deployment_bad_on_its_own_address_is_passed_over(company: Rehearsal):
    """The newest older deployment is broken too: the one before it is chosen, and that is said."""
    company.begin(WorldSpec(broken=Broken(also_broken=1)))
    rollback = company.open()
    stable = to_gate(rollback)
    assert stable.deployment.id == company.world.expected_target()
    assert any("bad on its own address" in note for note in stable.notes)


@pytest.mark.parametrize("mode", ["interactive", "headless"])
def test_what_nobody_can_look_at_has_to_be_named(company: Rehearsal, mode: str):
    """Addresses that are none: neither a person nor a pipeline gets one of them unasked; named, it is gone back to unseen."""
    for item in company.world.hosting.deployments.values():
        item.url = f"https://evil.example/{item.url}"
    blocked = company.open(mode=mode)
    blocked.access_dashboard()
    blocked.go_to_deployments()
    with pytest.raises(BadParameters, match="cannot be looked at") as caught:
        blocked.identify_stable_deployment()
    assert "name it in the parameter deployment" in caught.value.next_step
    company.restart(blocked)
    rollback = company.open(deployment=company.role("stable"), new_run=True, take_over=blocked.journal.run)
    stable = to_gate(rollback)
    assert (stable.preview, stable.probes, stable.looked_at) == ("", (), "not looked at")
    assert "its address cannot be looked at" in repr(stable)
    rollback.monitor(rollback.move_production(stable))
    assert company.live() == {company.role("stable")}


def test_list_says_never_of_what_never_was_live(company: Rehearsal):
    """A staged build has its own hosts since it was built; the production domains it never had."""
    rollback = company.open()
    rollback.access_dashboard()
    rows = {row[1]: row for row in rollback.go_to_deployments().rows}
    assert rows[company.role("hotfix")][3:5] == ("never", "READY/STAGED")
    assert rows[company.role("bad")][3] == "2026-11-23 21:33"


@pytest.mark.parametrize("role", ["bad", "hotfix", "preview", "failed", "other_project"])
def test_unfit_deployment_asked_for_is_refused_with_its_reason(company: Rehearsal, role: str):
    """What misleads is never gone back to, even when it is asked for by name."""
    rollback = company.open(
        deployment=company.role(role) if role in company.world.hosting.roles else "dpl_unknown"
    )
    rollback.access_dashboard()
    rollback.go_to_deployments()
    with pytest.raises(BadParameters, match="cannot be gone back to"):
        rollback.identify_stable_deployment()
    assert record_of(rollback)["outcome"]["outcome"] == "failed"


def test_time_of_the_issue_is_read_from_the_error_rate(company: Rehearsal):
    """Not told when it began, the run reads it from Sentry and finds the same suspect."""
    rollback = company.open(issue_started_at="")
    stable = to_gate(rollback)
    assert stable.issue_from.startswith("from the error rate")
    assert stable.suspect.deployment.id == company.role("bad")


def test_pin_lost_before_close_fails_the_outcome(company: Rehearsal):
    """Somebody switched auto-assign on again: the run is closed as failed."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    company.world.hosting.project.auto_assign = True
    with pytest.raises(CheckFailed, match="auto-assign on"):
        rollback.close()
    assert record_of(rollback)["outcome"]["outcome"] == "failed"


def test_promote_moves_production_and_leaves_auto_assign_on(company: Rehearsal):
    """By parameter a real promote is sent instead of an instant rollback."""
    rollback = company.open(method="promote")
    all_cells(rollback)
    assert company.live() == {company.role("stable")}
    assert company.world.outcome_view().auto_assign is True
    assert company.sent("/rollback/") == []


def test_token_refused_says_where_it_came_from(company: Rehearsal, monkeypatch: pytest.MonkeyPatch):
    """A wrong token is an error that names its source, never the token."""
    monkeypatch.setenv("ROLLBACK_DRILL_VERCEL_TOKEN", "vck_wrong_token_0123456789")
    rollback = company.open()
    with pytest.raises(Unreachable, match="environment variable ROLLBACK_DRILL_VERCEL_TOKEN") as caught:
        rollback.access_dashboard()
    assert "vck_wrong" not in str(caught.value)


def test_no_token_stands_in_any_file_of_the_run(company: Rehearsal):
    """No file of a run holds a secret or a phone number."""
    rollback = company.open()
    all_cells(rollback)
    secrets = [token.value for token in company.world.spec.tokens if token.name != "member"]
    secrets += [person.phone for person in rollback.session.resolved.contacts.people.values()]
    for path in rollback.folder.rglob("*"):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert not [secret for secret in secrets if secret in text], path


def test_slow_job_is_waited_for(company: Rehearsal):
    """A job of some seconds is polled to its end."""
    company.begin(WorldSpec(jobs=Jobs(pending_s=2, running_s=4)))
    all_cells(company.open())
    assert company.live() == {company.role("stable")}


def test_approved_gate_lets_no_other_deployment_through(company: Rehearsal):
    """What step 3 found is what gate and approval are about: anything else is refused before it is sent."""
    rollback = company.open(severity="P1", criterion="P1.T3")
    stable = to_gate(rollback)
    other = next(
        d
        for d in rollback._search.deployments()
        if d.substate == "PROMOTED" and d.created_at < stable.deployment.created_at
    )
    with pytest.raises(PlanViolation, match="step 3"):
        rollback.move_production(replace(stable, deployment=other))
    assert company.sent("/rollback/") == []
    assert company.live() == {company.role("bad")}


def test_permit_of_one_request_admits_no_other(company: Rehearsal):
    """Even past the steps, the permit itself refuses another target."""
    rollback = company.open()
    stable = to_gate(rollback)
    gate = rollback.keeper.opened("P1.G1")
    permit = gate.permit("x", step="P1.S4", data={}, check=lambda: None)
    with pytest.raises(PlanViolation, match="is not what gate"):
        rollback.session.clients.vercel.rollback(DeploymentId("dpl_another"), permit, "x")
    assert company.sent("/rollback/") == []
    assert stable.deployment.id not in company.live()


def test_world_moved_during_a_429_wait_is_not_overrun(company: Rehearsal):
    """A colleague's fix goes live while we wait out a limit: the repeated attempt does not leave."""
    company.begin(spec(kind="429", retry_after_s=3))
    rollback = company.open()
    stable = to_gate(rollback)
    sleep = company.clock.sleep

    def meanwhile(seconds: float) -> None:
        hosting = company.world.hosting
        if hosting.current != company.role("hotfix") and seconds >= 1:
            hosting.promote(company.role("hotfix"), by="dee", at_ms=company.world.now_ms())
        sleep(seconds)

    company.clock.sleep = meanwhile
    with pytest.raises(GateClosed, match="live deployment"):
        rollback.move_production(stable)
    assert len(company.sent("/rollback/")) == 1
    assert company.live() == {company.role("hotfix")}


def test_domain_left_behind_is_never_verified(company: Rehearsal):
    """The job says succeeded and the app's first domain is right, but another domain still serves the bad one."""
    rollback = company.open()
    stable = to_gate(rollback)
    moved = rollback.move_production(stable)
    company.clock.advance(5)
    company.world.advance()
    company.world.hosting.move_host(
        "www.derrimut247.drill", company.role("bad"), company.world.now_ms(), "by hand", "dee"
    )
    with pytest.raises(CheckFailed, match="not shown to be"):
        rollback.monitor(moved)
    assert record_of(rollback)["outcome"]["outcome"] == "failed"


def test_domain_moved_back_before_close_fails_the_outcome(company: Rehearsal):
    """One domain is pointed back by hand after the verification: the run is closed as failed."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    company.world.hosting.move_host(
        "www.derrimut247.drill", company.role("bad"), company.world.now_ms(), "by hand", "dee"
    )
    with pytest.raises(CheckFailed, match="www"):
        rollback.close()


def test_step_with_an_effect_cannot_be_skipped(company: Rehearsal):
    """What changes production is done or left, never skipped over."""
    rollback = company.open()
    to_gate(rollback)
    with pytest.raises(PlanViolation, match="cannot be skipped"):
        rollback.skip("P1.S4", reason="in a hurry")


def test_skipped_monitoring_is_at_best_unverified(company: Rehearsal):
    """Without the time of the move no error rate can be judged."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.move_production(stable)
    rollback.skip("P1.S5", reason="dashboard shows it done")
    company.clock.advance(5)
    rollback.verify(stable)
    with pytest.raises(CheckFailed, match="completed_unverified"):
        rollback.close()


def test_parameter_that_was_read_already_cannot_be_filled_in(company: Rehearsal):
    """Naming a deployment after step 3 would be recorded and ignored: it is refused."""
    rollback = company.open()
    to_gate(rollback)
    run = rollback.journal.run
    company.restart(rollback)
    with pytest.raises(BadParameters, match="deployment"):
        company.open(run=run, deployment=company.role("stable"))


def test_nobody_who_operated_the_run_approves_it(company: Rehearsal):
    """The lead began the run; under another operator's name the lead's own ✅ still does not count."""
    rollback = company.open(severity="P1", criterion="P1.T3", operator="lee")
    run = rollback.journal.run
    company.restart(rollback)
    again = company.open(severity="P1", criterion="P1.T3", operator="ana", run=run)
    stable = to_gate(again)
    with pytest.raises(GateClosed, match="engineering lead"):
        again.move_production(stable)
    assert company.sent("/rollback/") == []


def test_sent_without_an_answer_is_never_told_as_nothing_sent(company: Rehearsal):
    """503 to the first attempt, then the gate closes: unknown, and the refusal does not claim that nothing was sent."""
    company.begin(spec(kind="503"))
    rollback = company.open()
    stable = to_gate(rollback)
    looks = []

    def moved(seconds: float, sleep=company.clock.sleep) -> None:
        looks.append(seconds)
        company.world.hosting.project.auto_assign = False
        sleep(seconds)

    company.clock.sleep = moved
    with pytest.raises(GateClosed) as caught:
        rollback.move_production(stable)
    assert looks
    assert "UNKNOWN" in caught.value.state
    assert record_of(rollback)["outcome"]["outcome"] == "unknown"


def test_clock_off_by_a_quarter_of_an_hour_is_never_verified(company: Rehearsal):
    """Our clock is slow: what the monitoring has of 'now' is from before the rollback."""
    company.begin(WorldSpec(clock_skew_s=900))
    rollback = company.open(issue_started_at="2026-11-23T21:53:00Z")
    stable = to_gate(rollback)
    assert stable.suspect.deployment.id == company.role("bad")
    warnings = [line.data["text"] for line in company.lines(rollback) if line.event == "warning"]
    assert any("this machine's clock is 900 s behind Vercel's" in text for text in warnings)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    with pytest.raises(CheckFailed, match="clock"):
        rollback.close()
    assert record_of(rollback)["outcome"]["outcome"] == "completed_unverified"


@pytest.mark.parametrize("skew_s", [900, -900])
def test_time_counted_from_now_by_a_wrong_clock_is_refused(company: Rehearsal, skew_s: float):
    """Twenty minutes ago by a clock that is off would name another deployment the suspect: refused before the gate."""
    company.begin(WorldSpec(clock_skew_s=skew_s))
    rollback = company.open(issue_started_at="-20m")
    rollback.access_dashboard()
    rollback.go_to_deployments()
    with pytest.raises(BadParameters, match="this machine's clock is 900 s") as caught:
        rollback.identify_stable_deployment()
    assert ("behind" if skew_s > 0 else "ahead") in caught.value.happened
    assert "with date, time and zone" in caught.value.next_step
    assert company.sent("/rollback/") == []


def test_clock_a_little_off_is_corrected_for(company: Rehearsal):
    """Four seconds are within policy: the time of the issue and the windows are those of the platform's clock."""
    company.begin(WorldSpec(clock_skew_s=4))
    rollback = company.open(issue_started_at="-20m")
    stable = all_cells(rollback) and company.lines(rollback)
    found = next(line for line in stable if line.event == "step.done" and line.step == "P1.S3")
    assert found.data["result"]["issue_at"].startswith("2026-11-23T21:38:04.5")
    assert record_of(rollback)["outcome"]["outcome"] == "verified"


def test_record_that_cannot_be_written_hides_no_error_of_the_run(company: Rehearsal):
    """The folder is full of somebody's directory where the report goes: the step's own refusal is still what is raised."""
    rollback = company.open(confirm="")
    stable = to_gate(rollback)
    rollback.before_seal()
    (rollback.folder / "report.html").mkdir()
    with pytest.raises(GateClosed):
        rollback.move_production(stable)
    assert "run.provisional" in events(company, rollback)


def test_closing_again_seals_what_a_killed_session_left_unsealed(company: Rehearsal):
    """Closed, but killed before the record: running the close cell again writes it and sends nothing."""
    rollback = company.open()
    all_cells(rollback)
    (rollback.folder / "record.json").unlink()
    sent = len(company.world.ledger.entries())
    rollback.close()
    assert verify_record(rollback.folder).ok
    assert len(company.world.ledger.entries()) == sent


@pytest.mark.parametrize("name", ["reason", "impact"])
@pytest.mark.parametrize("text", ["half \ud83d", "hidden \x1b[8m", "turned \u202e", "bell \x07"])
def test_text_that_could_not_be_sent_is_refused_before_a_run_is_begun(
    company: Rehearsal, name: str, text: str
):
    """What the platforms, the terminal or the record could not hold never gets as far as the gate."""
    with pytest.raises(BadParameters, match=f"{name} must be plain text"):
        company.open(**{name: text})
    assert not (company.home / "incidents").exists()
    assert list(company.world.ledger.entries()) == []


@pytest.mark.parametrize(
    ("severity", "criterion", "says"),
    [("P0", "P9.T1", "P9.T1"), ("", "P9.T1", "P9.T1"), ("P0", "P1.T3", "is one of severity P1")],
)
def test_wrong_criterion_is_refused_before_a_run_is_begun_with_it(
    company: Rehearsal, severity: str, criterion: str, says: str
):
    """Found at the gate only, it could not be corrected in that run any more."""
    with pytest.raises(BadParameters, match=says):
        company.open(severity=severity, criterion=criterion)
    assert not (company.home / "incidents").exists()


def test_new_run_beside_one_that_moved_production_says_so(company: Rehearsal):
    """Left in the parameters cell, new_run begins another run after a restart: it is told of the first."""
    first = company.open(mode="interactive", severity="P0")
    stable = first.access_dashboard() and first.go_to_deployments() and first.identify_stable_deployment()
    gate = first.keeper
    first.gate("P1.G1", stable)
    gate._gates["P1.G1"].confirm("derrimut-platform", by="Ana Operator", way="panel")
    first.move_production(stable)
    company.restart(first)
    second = company.open(mode="interactive", new_run=True, take_over=first.journal.run)
    warnings = [line.data["text"] for line in company.lines(second) if line.event == "warning"]
    assert any(first.journal.run in text and "is not closed" in text for text in warnings)


def test_gate_closed_by_a_parameter_says_to_run_the_parameters_again(company: Rehearsal):
    """Running the refusing cell alone again would never help."""
    rollback = company.open(severity="")
    stable = to_gate(rollback)
    with pytest.raises(GateClosed) as caught:
        rollback.move_production(stable)
    assert "parameters cell" in caught.value.next_step


def test_new_run_left_on_after_a_restart_goes_on_and_sends_nothing_twice(company: Rehearsal):
    """Run All with new_run = True still in the cell: the run that it began goes on; with other parameters another begins."""
    first = company.open(mode="interactive", new_run=True)
    first.access_dashboard()
    company.restart(first)
    again = company.open(mode="interactive", new_run=True)
    assert again.journal.run == first.journal.run
    company.restart(again)
    other = company.open(
        mode="interactive",
        new_run=True,
        reason="Something else is broken",
        take_over=again.journal.run,
    )
    assert other.journal.run != first.journal.run
