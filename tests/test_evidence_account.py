"""The account of a run says what its journal says, and never more."""

from __future__ import annotations

from pathlib import Path

import pytest
from journals import RUN, Story, whole_story

from rollback_lib.errors import JournalError
from rollback_lib.evidence.account import Account, account_of, ending_of
from rollback_lib.model import RequestClass


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Give a run that was opened and has done one step."""
    return Story(tmp_path / RUN).opened().step("P1.S1", "Access Vercel Dashboard", 2.0)


def told(story: Story) -> Account:
    """Tell the account of what was written so far."""
    return account_of(story.journal.lines)


def test_whole_run_is_told(tmp_path: Path) -> None:
    """Facts, steps, gate, checks, effect, message, remark and ending are those of the journal."""
    account = told(whole_story(tmp_path / RUN))
    assert (account.run.run, account.run.procedure, account.run.reason) == (
        RUN,
        1,
        "Error rate 34 % since 21:50 UTC",
    )
    assert account.run.opened_at == "2026-11-23T21:58:00.000Z"
    assert (account.plan_version, account.versions["python"]) == ("1.0.0", "3.11.7")
    assert account.parameters["policy"] == {"min_requests": 50, "update_every_s": 900.0}
    assert [(s.step, s.status, s.seconds) for s in account.steps] == [
        ("P1.S1", "done", 2.0),
        ("P1.S2", "done", 0.4),
        ("P1.S3", "done", 6.0),
        ("P1.S4", "done", 3.5),
        ("P1.S5", "done", 4.0),
        ("P1.S6", "done", 9.0),
    ]
    assert account.steps[0].title == "Access Vercel Dashboard"
    assert (account.steps[0].started_at, account.steps[0].ended_at) == (
        "2026-11-23T21:58:01.000Z",
        "2026-11-23T21:58:03.000Z",
    )
    assert [(m.name, m.end, m.intent["text"]) for m in account.messages] == [
        ("message alert", "done", "🚨 INCIDENT ALERT - Rollback in Progress")
    ]
    assert [(r.kind, r.text) for r in account.remarks] == [
        ("warning", "the preview was not reviewed by a person")
    ]
    assert (account.outcome.outcome, account.outcome.closed) == ("verified", True)
    assert account.outcome.undo == f"rollback undo {RUN}"
    assert account.outcome.log["Method"] == "Vercel"


def test_journal_without_opening_is_refused(tmp_path: Path) -> None:
    """An account needs a beginning."""
    story = Story(tmp_path / RUN)
    with pytest.raises(JournalError, match=r"run\.opened"):
        told(story)
    story.write("note", text="first")
    with pytest.raises(JournalError, match="but with note"):
        told(story)


def test_fields_of_the_wrong_kind_read_as_empty(tmp_path: Path) -> None:
    """Whatever a forged journal has in its fields, the account is told and not broken by it."""
    story = Story(tmp_path / RUN)
    story.write("run.opened", procedure="one", parameters=[1], versions=3, reason=None)
    story.write("gate.shown", "P1.G1", gate="P1.G1", effect="x", will_not_undo=7)
    story.write("check", id=None, required="no")
    story.write("step.done", "P1.S1", seconds="long")
    story.write("effect.answered", "P1.S4", attempt="x", status="200")
    story.write("run.closed", outcome=5, still_open="all", log=[])
    account = told(story)
    assert (account.run.procedure, account.parameters, account.run.reason) == (0, {}, "")
    assert (account.gates[0].effect, account.checks[0].required, account.steps[0].seconds) == ({}, True, None)
    assert (account.outcome.outcome, account.outcome.still_open, account.outcome.log) == ("5", (), {})
    assert account.effects[0].end == "open"


def test_step_tried_again_keeps_its_last_try_and_the_count(story: Story) -> None:
    """A step that failed and was run again is told as it ended, with the number of tries."""
    story.write("step.started", "P1.S2", title="Go to Deployments")
    story.write(
        "step.failed",
        "P1.S2",
        error="Unreachable",
        happened="no answer from Vercel",
        state="unchanged",
        next_step="again",
    )
    failed = told(story).steps[1]
    assert (failed.status, failed.detail, failed.tries, failed.seconds) == (
        "failed",
        "no answer from Vercel",
        1,
        None,
    )
    story.step("P1.S2", "Go to Deployments", 1.0)
    again = told(story).steps[1]
    assert (again.status, again.detail, again.tries, again.seconds) == ("done", "", 2, 1.0)
    assert again.started_at > failed.started_at


def test_step_cut_off_stays_started(story: Story) -> None:
    """A step without an end is not shown as done."""
    story.write("step.started", "P1.S2", title="Go to Deployments")
    assert (told(story).steps[1].status, told(story).steps[1].ended_at) == ("started", "")
    story.write("step.interrupted", "P1.S2", error="KeyboardInterrupt")
    assert (told(story).steps[1].status, told(story).steps[1].detail) == ("interrupted", "KeyboardInterrupt")


def test_skipped_step_is_told_with_its_reason(story: Story) -> None:
    """A skipped step was never started and says why."""
    story.write("step.skipped", "P1.S6", reason="Sentry is down")
    skipped = told(story).steps[1]
    assert (skipped.status, skipped.detail, skipped.tries, skipped.started_at) == (
        "skipped",
        "Sentry is down",
        0,
        "",
    )


def test_check_counts_as_last_seen(story: Story) -> None:
    """Of several looks the last one counts, whichever way it went."""
    story.check("P1.C2").check("P1.C3", "unknown").check("P1.C3").check("P1.C2", "failed")
    assert [(c.id, c.status, c.looks) for c in told(story).checks] == [
        ("P1.C2", "failed", 2),
        ("P1.C3", "passed", 2),
    ]


def test_effect_is_told_with_each_attempt_and_answer(story: Story) -> None:
    """Attempts, what came back, what the platform showed and how it ended stand in order."""
    story.effect("refused", "unclear", "accepted")
    (effect,) = told(story).effects
    assert [(a.attempt, a.kind, a.status) for a in effect.attempts] == [
        (1, "refused", 403),
        (2, "unclear", None),
        (3, "accepted", 201),
    ]
    assert {(a.service, a.method, a.path) for a in effect.attempts} == {
        ("vercel", "POST", "/v9/projects/prj_drill/rollback/dpl_2")
    }
    assert effect.intent["inverse"] == "roll back to dpl_1"
    assert (effect.end, effect.detail["detail"], len(effect.observed)) == ("done", "dpl_2 has the domains", 3)


def test_effect_cut_off_is_open(story: Story) -> None:
    """An attempt without an answer and an effect without an end are told as that."""
    story.effect("cut off")
    (effect,) = told(story).effects
    assert (effect.end, effect.attempts[0].kind, effect.attempts[0].answered_at) == ("open", "", "")


def test_effect_begun_anew_is_told_twice(story: Story) -> None:
    """A second intent of the same name is another attempt at it, not a change of the first."""
    story.effect("unclear")
    story.write(
        "effect.failed", "P1.S4", name="roll production back to dpl_2", reason="not seen on the platform"
    )
    story.effect("accepted")
    assert [(e.end, [a.kind for a in e.attempts]) for e in told(story).effects] == [
        ("failed", ["unclear"]),
        ("done", ["accepted"]),
    ]


def test_effects_and_messages_of_one_name_are_kept_apart(story: Story) -> None:
    """A harmless change is never told among the effects."""
    story.effect("accepted")
    story.journal.prepare("roll production back to dpl_2", step=None).done()
    assert (len(told(story).effects), len(told(story).messages)) == (1, 1)
    assert RequestClass.EFFECT.value == "effect"


def test_gate_is_told_as_it_stands(story: Story) -> None:
    """Shown, mistyped, confirmed, approved, opened: each is in the account, the last of opened and refused counts."""
    story.gate_shown()
    story.write("gate.mistyped", "P1.G1", gate="P1.G1", typed="derimut", way="panel")
    assert told(story).gates[0].status == "confirmed"
    story.gate_refused()
    refused = told(story).gates[0]
    assert (refused.status, refused.missing) == ("refused", ("no approval by the engineering lead yet",))
    story.gate_opened()
    (gate,) = told(story).gates
    assert (gate.status, gate.missing, gate.mistyped, gate.times_shown) == ("opened", (), 1, 1)
    assert gate.effect == {
        "from": "dpl_1 (2 days, a41c)",
        "to": "dpl_2 (9 days, 77fe)",
        "method": "instant rollback",
    }
    assert (gate.environment, gate.digest, gate.will_not_undo) == ("drill", "d" * 64, ("the Convex backend",))
    assert [(a.person, a.role, a.way, a.at) for a in gate.approvals] == [
        ("Lee Lead", "engineering_lead", "slack", "2026-11-23T21:59:00.000Z")
    ]
    assert [(a.role, a.person) for a in gate.asked] == [("engineering_lead", "")]
    assert (gate.confirmed_by, gate.confirmed_way) == ("Ana Operator", "confirm parameter")


def test_how_each_approval_was_given_and_what_spoke_against_it_is_told(story: Story) -> None:
    """By which key, attested by whom; an approval that fell says why, until the gate opened by it again."""
    signed = {"role": "engineering_lead", "person": "Lee Lead", "way": "signature", "key": "SHA256:abc"}
    spoken = {"role": "cto", "person": "Cat Chief", "way": "spoken", "attested_by": "Ana Operator"}
    story.gate_shown()
    story.write("approval.seen", "P1.G1", gate="P1.G1", evidence="approvals/x", **signed)
    story.write("approval.seen", "P1.G1", gate="P1.G1", **spoken)
    story.write("approval.fallen", "P1.G1", gate="P1.G1", reason="refused by Dee Deputy", **signed)
    lee, cat = told(story).gates[0].approvals
    assert (lee.way, lee.key, lee.evidence) == ("signature", "SHA256:abc", "approvals/x")
    assert (lee.against, cat.against) == ("refused by Dee Deputy", "")
    assert (cat.way, cat.attested_by) == ("spoken", "Ana Operator")
    story.write("gate.opened", "P1.G1", gate="P1.G1", approvals=[signed, spoken])
    assert [one.against for one in told(story).gates[0].approvals] == ["", ""]
    story.write(
        "approval.fallen", "P1.G1", gate="P1.G1", role="cto", person="Nobody", way="spoken", reason="x"
    )
    assert [one.against for one in told(story).gates[0].approvals] == ["", ""]


def test_torn_line_and_continuation_are_told(story: Story) -> None:
    """That a session was cut off, and who went on, is part of the account."""
    story.write("journal.torn", bytes=17, kept_in="journal.torn-4.txt")
    story.write("run.continued", mode="interactive", operator="Ben Second")
    account = told(story)
    assert [s.operator for s in account.sessions] == ["Ana Operator", "Ben Second"]
    assert "17 bytes" in account.remarks[0].text
    assert "journal.torn-4.txt" in account.remarks[0].text


def test_run_without_an_end_is_unknown(story: Story) -> None:
    """A run that nobody closed is unknown, never success, whatever its steps did."""
    ending = told(story).outcome
    assert (ending.outcome, ending.closed, ending.log) == ("unknown", False, {})
    assert "cut off before anything that changes production" in ending.why


def test_newest_provisional_outcome_counts(story: Story) -> None:
    """The last provisional word stands as long as no effect follows it."""
    story.provisional("failed").provisional("refused", "no approval by the engineering lead yet")
    story.write("run.continued", mode="interactive", operator="Ana Operator")
    ending = told(story).outcome
    assert (ending.outcome, ending.closed, ending.state) == ("refused", False, "production is unchanged")


def test_effect_after_a_provisional_outcome_makes_it_unknown(story: Story) -> None:
    """A run left as refused, gone on with and cut off in its effect is not refused any more."""
    story.provisional("refused").effect("cut off")
    ending = told(story).outcome
    assert (ending.outcome, ending.closed) == ("unknown", False)
    assert "roll production back to dpl_2" in ending.why
    story.provisional("failed")
    assert told(story).outcome.outcome == "failed"


def test_ending_reads_no_further_than_it_must(tmp_path: Path) -> None:
    """The ending is found from the end; older lines are not asked for."""
    lines = iter(reversed(whole_story(tmp_path / RUN).journal.lines))
    assert ending_of(lines).outcome == "verified"
    assert next(lines).event == "step.done"


def test_account_is_the_same_each_time(tmp_path: Path) -> None:
    """The same lines give the same account, as JSON gives it back."""
    lines = whole_story(tmp_path / RUN).journal.lines
    assert account_of(lines).plain() == account_of(list(lines)).plain()
