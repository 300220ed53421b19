"""The plan's messages are sent in its own words, with their fields filled in and nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_lib.errors import BadParameters
from rollback_lib.plan import Plan, load_plan

HOME = Path(__file__).parents[1]

ALERT = """\
🚨 INCIDENT ALERT - Rollback in Progress

Issue: [Brief description]
Severity: P0/P1/P2
Action: Rolling back to deployment [deployment ID]
Expected Completion: [ETA]
Impact: [User impact description]
Status Updates: Will update every 15 minutes

@engineering-lead @cto"""
FOLLOW_UP = """\
✅ ROLLBACK COMPLETE

Rolled back to: [deployment ID]
Completion Time: [timestamp]
Status: Application stable
Current Error Rate: [X%]
Next Steps: Root cause investigation, hotfix planning

Post-mortem scheduled: [date/time]"""
ALERT_FIELDS = {
    "issue": "Sign-in answers 500",
    "severity": "P1",
    "target": "dpl_stable",
    "eta": "22:10 UTC",
    "impact": "Nobody can sign in",
    "mentions": "<@U0LEE> <@U0CAT>",
}
FOLLOW_UP_FIELDS = {
    "target": "dpl_stable",
    "completion_time": "2026-11-23T22:04:10Z",
    "error_rate": "0.3%",
    "postmortem": "2026-11-24 10:00 UTC",
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Give the project's own plan; it is frozen, so the tests may share it."""
    return load_plan(HOME)


def test_texts_in_the_plan_are_verbatim(plan: Plan) -> None:
    """Every character of the four messages is the customer's."""
    assert plan.message("alert", procedure=1).text == ALERT
    assert plan.message("follow_up", procedure=1).text == FOLLOW_UP
    started = plan.message("restore_started", procedure=3).text
    assert started == "Database restore in progress. ETA: 30 minutes"
    complete = plan.message("restore_complete", procedure=3).text
    assert complete == "Database restored successfully. Monitoring for issues."
    assert {message.channel for message in plan.messages} == {"incidents"}


def test_alert_is_filled_and_otherwise_verbatim(plan: Plan) -> None:
    """The alert names one severity, the target and the people; the rest is the plan's text."""
    assert plan.message("alert", procedure=1).fill(**ALERT_FIELDS) == (
        "🚨 INCIDENT ALERT - Rollback in Progress\n"
        "\n"
        "Issue: Sign-in answers 500\n"
        "Severity: P1\n"
        "Action: Rolling back to deployment dpl_stable\n"
        "Expected Completion: 22:10 UTC\n"
        "Impact: Nobody can sign in\n"
        "Status Updates: Will update every 15 minutes\n"
        "\n"
        "<@U0LEE> <@U0CAT>"
    )


def test_follow_up_is_filled_and_otherwise_verbatim(plan: Plan) -> None:
    """The follow-up names target, time, rate and post-mortem; the rest is the plan's text."""
    assert plan.message("follow_up", procedure=1).fill(**FOLLOW_UP_FIELDS) == (
        "✅ ROLLBACK COMPLETE\n"
        "\n"
        "Rolled back to: dpl_stable\n"
        "Completion Time: 2026-11-23T22:04:10Z\n"
        "Status: Application stable\n"
        "Current Error Rate: 0.3%\n"
        "Next Steps: Root cause investigation, hotfix planning\n"
        "\n"
        "Post-mortem scheduled: 2026-11-24 10:00 UTC"
    )


@pytest.mark.parametrize(
    ("procedure", "action", "rolled_back"),
    [
        (2, "Action: Rolling back to commit 4f2a91c", "Rolled back to: commit 4f2a91c"),
        (3, "Action: Rolling back to backup 4f2a91c", "Rolled back to: backup 4f2a91c"),
        (4, "Action: Rolling back variable 4f2a91c", "Rolled back variable: 4f2a91c"),
    ],
)
def test_other_procedures_differ_in_the_target_line_only(
    plan: Plan, procedure: int, action: str, rolled_back: str
) -> None:
    """For procedures 2-4 one line names commit, backup or variable; no other line differs."""
    for name, fields, line in (("alert", ALERT_FIELDS, action), ("follow_up", FOLLOW_UP_FIELDS, rolled_back)):
        given = {**fields, "target": "4f2a91c"}
        first = plan.message(name, procedure=1).fill(**given).split("\n")
        other = plan.message(name, procedure=procedure).fill(**given).split("\n")
        assert [now for was, now in zip(first, other, strict=True) if now != was] == [line]


@pytest.mark.parametrize("procedure", [1, 2, 3, 4])
def test_undo_names_the_run_and_is_nowhere_called_a_rollback(plan: Plan, procedure: int) -> None:
    """Two lines are ours, for each procedure; every other one is the plan's."""
    for name, fields in (("alert", ALERT_FIELDS), ("follow_up", FOLLOW_UP_FIELDS)):
        template, given = plan.message(name, procedure=procedure), {**fields, "target": "4f2a91c"}
        plain = template.fill(**given).split("\n")
        told = template.for_undo().fill(**given, run="P1-20261123").split("\n")
        ours = [now for was, now in zip(plain, told, strict=True) if now != was]
        assert len(ours) == 2
        assert "run P1-20261123" in ours[1]
        assert "4f2a91c" in ours[1]
        assert not any("roll" in line.lower() for line in told)


def test_value_that_looks_like_a_field_is_left_alone(plan: Plan) -> None:
    """What a person wrote is put in once and not filled again, whatever it looks like."""
    odd = {**ALERT_FIELDS, "issue": r"[ETA] \1 P0/P1/P2 {severity} @engineering-lead @cto"}
    said = plan.message("alert", procedure=1).fill(**odd)
    assert said.split("\n")[2] == rf"Issue: {odd['issue']}"
    assert said.count("22:10 UTC") == 1


@pytest.mark.parametrize("name", ["alert", "follow_up"])
def test_missing_or_empty_field_is_refused_by_name(plan: Plan, name: str) -> None:
    """No message leaves with a hole: each field in turn is missed, empty or blank."""
    template = plan.message(name, procedure=1)
    full = ALERT_FIELDS if name == "alert" else FOLLOW_UP_FIELDS
    assert [field.name for field in template.fields] == list(full)
    for missing in full:
        rest = {key: value for key, value in full.items() if key != missing}
        with pytest.raises(BadParameters, match=f"{missing} is missing"):
            template.fill(**rest)
        for blank in ("", " \n"):
            with pytest.raises(BadParameters, match=f"{missing} is empty") as caught:
                template.fill(**rest, **{missing: blank})
            assert ", ".join(full) in caught.value.next_step


def test_unknown_field_is_refused(plan: Plan) -> None:
    """A misspelt field is refused instead of being dropped."""
    with pytest.raises(BadParameters, match="it has no field 'etta'"):
        plan.message("alert", procedure=1).fill(**ALERT_FIELDS, etta="22:10")
    with pytest.raises(BadParameters, match="it has no field 'eta'"):
        plan.message("restore_started", procedure=3).fill(eta="22:10")


@pytest.mark.parametrize("severity", ["P3", "p1", "P0/P1/P2"])
def test_severity_in_an_alert_is_one_of_the_three(plan: Plan, severity: str) -> None:
    """The alert names exactly one of the plan's severities."""
    with pytest.raises(BadParameters, match="expected one of P0, P1, P2"):
        plan.message("alert", procedure=1).fill(**{**ALERT_FIELDS, "severity": severity})


def test_restore_messages_need_no_field(plan: Plan) -> None:
    """The database restore's messages are sent as they stand."""
    template = plan.message("restore_started", procedure=3)
    assert template.fill() == template.text


def test_mentions_are_the_lead_and_the_cto(plan: Plan) -> None:
    """The alert says which roles it calls, so that they can be looked up."""
    field = next(one for one in plan.message("alert", procedure=1).fields if one.name == "mentions")
    assert field.roles == ("engineering_lead", "cto")


def test_updates_are_promised_every_15_minutes(plan: Plan) -> None:
    """The promise in the alert is also a number."""
    assert next(one for one in plan.messages if one.name == "alert").update_every_min == 15


def test_unknown_message_or_procedure_is_refused_with_the_known_ones(plan: Plan) -> None:
    """A message that the plan does not have, or not for this procedure, is refused."""
    with pytest.raises(BadParameters, match="known: alert, follow_up, restore_started, restore_complete"):
        plan.message("farewell", procedure=1)
    with pytest.raises(BadParameters, match="known: 3"):
        plan.message("restore_started", procedure=1)
    with pytest.raises(BadParameters, match="known: 1, 2, 3, 4"):
        plan.message("alert", procedure=5)
