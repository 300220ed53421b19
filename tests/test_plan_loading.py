"""A plan file that does not hold together is refused with its lines, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_lib.errors import BadParameters
from rollback_lib.plan import load_plan

HOME = Path(__file__).parents[1]
GOOD = (HOME / "parameters" / "plan.yaml").read_text(encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a project folder with a good plan of its own."""
    (tmp_path / "parameters").mkdir()
    (tmp_path / "parameters" / "plan.yaml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def refused(home: Path, old: str, new: str) -> tuple[str, str]:
    """Change the plan in one place; return the changed text and what its refusal says."""
    assert GOOD.count(old) == 1, f"{GOOD.count(old)} places"
    path = home / "parameters" / "plan.yaml"
    changed = GOOD.replace(old, new)
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(BadParameters) as caught:
        load_plan(home)
    assert caught.value.state.startswith("Nothing was sent")
    assert path.read_text(encoding="utf-8") == changed
    return changed, caught.value.happened


def test_good_copy_is_read_from_the_folder_given(home: Path) -> None:
    """The plan is that of the project's folder, not of the place where the library is installed."""
    path = home / "parameters" / "plan.yaml"
    path.write_text(GOOD.replace("version: 1.0.0", "version: 9.9.9"), encoding="utf-8")
    assert load_plan(home).version == "9.9.9"


def test_missing_plan_is_refused_by_its_path(tmp_path: Path) -> None:
    """Without a plan nothing begins, and nothing is made up in its place."""
    with pytest.raises(BadParameters) as caught:
        load_plan(tmp_path)
    assert str(tmp_path / "parameters" / "plan.yaml") in caught.value.happened
    assert list(tmp_path.iterdir()) == []


# what is replaced, by what, the words on the line to be named, what is said of it
SHAPE = [
    pytest.param("version: 1.0.0", "version: 1", "version: 1\n", "valid string", id="number-as-version"),
    pytest.param("version: 1.0.0", "verison: 1.0.0", "verison", "Extra inputs", id="unknown-key"),
    pytest.param("version: 1.0.0", "version: 1.0.0\nversion: 2", "version: 2", "written twice", id="twice"),
    pytest.param("next_review: 2025-02-09", "next_review: soon", "next_review", "valid date", id="no-date"),
    pytest.param("id: P0.T5, ", "", "- {text: User auth", "id: Field required", id="no-id"),
    pytest.param(
        "title: Promote to Production", 'title: ""', 'title: ""', "should match pattern", id="empty-title"
    ),
    pytest.param(
        "threshold: 0.10, sustained_s",
        "threshold: 10, sustained_s",
        "limits: [{metric: error_rate",
        "error_rate is a fraction from 0 to 1, got 10",
        id="percent-for-fraction",
    ),
    pytest.param(
        "threshold: 0.10, sustained_s",
        "threshold: .nan, sustained_s",
        "limits: [{metric: error_rate",
        "error_rate is a fraction from 0 to 1, got nan",
        id="threshold-is-no-number",
    ),
    pytest.param(
        "threshold: 0.10, sustained_s: 900",
        'threshold: "0.10"',
        'threshold: "0.10"',
        "valid number",
        id="text",
    ),
    pytest.param("sustained_s: 900", "sustained_s: 0", "sustained_s: 0", "greater than 0", id="no-time"),
    pytest.param(
        "{metric: response_time_ratio",
        "{metric: latency",
        "{metric: latency",
        "metric: Input should be 'error_rate'",
        id="unknown-metric",
    ),
    pytest.param(
        'metric: health_status, comparison: "=="',
        'metric: health_status, comparison: "~"',
        'comparison: "~"',
        "comparison: Input should be '<'",
        id="unknown-comparison",
    ),
    pytest.param(
        "duration_min: [20, 30]", "duration_min: [30, 20]", "duration_min: [30", "[least, most]", id="span"
    ),
    pytest.param(
        "reached_by: [phone]", "reached_by: [pager]", "reached_by: [pager]", "'email' or 'phone'", id="pager"
    ),
    pytest.param(
        "    approval_text: Yes (CTO)\n    approval: [cto]",
        "    approval_text: Yes (CTO)\n    approval: [ceo]",
        "approval: [ceo]",
        "'engineering_lead', 'cto' or 'on_call_engineer'",
        id="unknown-role",
    ),
    pytest.param(
        "{name: eta, placeholder",
        "{name: arrival, placeholder",
        "{name: arrival",
        "name: Input should be 'issue'",
        id="unknown-field-name",
    ),
    pytest.param(
        "{step: P1.S1, status: code", "{step: P1.S1, status: done", "status: done", "status", id="done"
    ),
]
NUMBERING = [
    pytest.param(
        "id: P1.S4\n", "id: P1.S5\n", "id: P1.S5\n        title: Promote", "expected P1.S4", id="gap"
    ),
    pytest.param(
        "id: P1.S4\n", "id: P1.S3\n", "id: P1.S3\n        title: Promote", "there already", id="twice"
    ),
    pytest.param(
        "id: P2.S1,", "id: P1.S1,", "id: P1.S1, title: Access Convex", "expected P2.S1", id="other's"
    ),
    pytest.param(
        "number: 3\n", "number: 5\n", "number: 5\n", "expected procedure 3 here, got 5", id="number"
    ),
    pytest.param(
        "id: P1.C2\n", "id: P1.C9\n", "id: P1.C9\n", "expected P1.C2 here, got P1.C9", id="criterion"
    ),
    pytest.param("id: P3.A2,", "id: P3.A1,", "id: P3.A1, text: Identify", "expected P3.A2", id="post-action"),
    pytest.param("id: P1.T3\n", "id: P0.T3\n", "id: P0.T3\n", "expected P1.T3 here, got P0.T3", id="trigger"),
    pytest.param("id: M5\n", "id: M4\n", "id: M4\n    issue: Auth", "expected M5 here, got M4", id="matrix"),
    pytest.param(
        "id: P5.I5\n", "id: P5.I1\n", "id: P5.I1\n        title: Notify", "expected P5.I5", id="task"
    ),
    pytest.param(
        "id: P5.I8.2,", "id: P5.I8.3,", 'id: P5.I8.3, text: "Invite', "expected P5.I8.2", id="point"
    ),
    pytest.param("id: F3\n", "id: F7\n", "id: F7\n", "expected F3 here, got F7", id="flow-group"),
    pytest.param("id: F2.3,", "id: F3.3,", "id: F3.3, text: Stripe", "expected F2.3", id="flow-test"),
    pytest.param(
        "window_min: [15, 60]", "window_min: [20, 60]", "window_min: [20", "begin at minute 15", id="hole"
    ),
]
REFERENCES = [
    pytest.param(
        "procedures: [3]\n    hotfix",
        "procedures: [7]\n    hotfix",
        "procedures: [7]",
        "no 7; known: 1, 2, 3, 4",
        id="row",
    ),
    pytest.param(
        "triggers: [P0.T4]", "triggers: [P0.T6]", "triggers: [P0.T6]", "there is no P0.T6", id="criterion"
    ),
    pytest.param(
        "triggers: [P1.T3]",
        "triggers: [P0.T1]",
        "triggers: [P0.T1]\n  - id: M7",
        "known: P1.T1",
        id="severity",
    ),
    pytest.param("- procedure: 3\n", "- procedure: 8\n", "- procedure: 8\n", "there is no 8", id="authority"),
    pytest.param(
        "    - severity: P2\n      text: Eval",
        "    - severity: P1\n      text: Eval",
        "- severity: P1\n      text: Eval",
        "P1 is there already",
        id="severity-ruled-twice",
    ),
    pytest.param(
        "    - severity: P2\n      text: Eval",
        "    - severity: P1\n      text: Eval",
        "  severities:\n    - severity: P0\n      text",
        "P2 missing",
        id="severity-without-rule",
    ),
    pytest.param(
        "  - {id: cto, title: CTO, reached_by: [email, phone]}\n", "", "roles:\n", "cto missing", id="no-cto"
    ),
    pytest.param(
        "    flow: Trainer booking", "    flow: Trainers", "flow: Trainers", "no Trainers", id="flow-group"
    ),
    pytest.param(
        "flows: [User login, Membership page, Trainer booking]\n",
        "flows: [User login, Sauna]\n",
        "flows: [User login, Sauna]",
        "there is no Sauna",
        id="flow-of-a-step",
    ),
    pytest.param(
        "        tests_flows: true\n",
        "",
        "checklist:\n",
        "one task with tests_flows, got none",
        id="no-flows",
    ),
    pytest.param(
        "- {id: engineering, title: Eng",
        "- {id: incidents, title: Eng",
        "- {id: incidents, title: Eng",
        "incidents is there already",
        id="channel-twice",
    ),
    pytest.param(
        "title: Follow-up Message\n    channel: incidents",
        "title: Follow-up Message\n    channel: alarms",
        "channel: alarms",
        "no channel alarms",
        id="channel-of-a-message",
    ),
    pytest.param(
        "Deployed By, Approved By]", "Deployed By]", "example:", "expected 7 cells", id="log-example"
    ),
    pytest.param(
        "Data Loss, Deployed By", "Reason, Deployed By", "columns:", "Reason is there already", id="column"
    ),
    pytest.param(
        "next_review: 2025-02-09", "next_review: 2025-01-09", "next_review", "not after", id="review"
    ),
]
CONTRADICTIONS = [
    pytest.param(
        "    approval_text: Yes (CTO)\n    approval: [cto]",
        "    approval_text: No (notify after)\n    approval: []",
        "approval: []\n    notify_after: false\n    procedures: [3]",
        "M3 asks nobody, the approval authority asks cto",
        id="corruption-without-the-cto",
    ),
    pytest.param(
        "    - procedure: 3\n      text: Database Restore (Requires CTO approval)\n      approval: [cto]",
        "    - procedure: 3\n      text: Database Restore (Requires CTO approval)\n      approval: []",
        "approval: [cto]\n    notify",
        "M3 asks cto, the approval authority asks nobody",
        id="restore-without-the-cto",
    ),
    pytest.param(
        "text: Requires Engineering Lead approval\n      approval: [engineering_lead]",
        "text: Requires Engineering Lead approval\n      approval: []",
        "approval: [engineering_lead]\n    notify_after: false\n    procedures: [1, 2, 4]\n    hotfix: none",
        "M6 asks engineering_lead, the approval authority asks nobody for procedure 1 at severity P1",
        id="p1-without-the-lead",
    ),
    pytest.param(
        "approval_text: Yes (CTO)",
        "approval_text: Nobody",
        "approval: [cto]\n    notify",
        "plan says 'Nobody', the roles are: cto",
        id="words",
    ),
    pytest.param(
        "    notify_after: false\n    procedures: [3]",
        "    notify_after: true\n    procedures: [3]",
        "notify_after: true\n    procedures: [3]",
        "the plan says 'Yes (CTO)'",
        id="notify-after",
    ),
]
MESSAGES = [
    pytest.param(
        '      - {name: eta, placeholder: "[ETA]"}\n',
        "",
        "text: |-\n      🚨",
        "[ETA] is the placeholder of no field",
        id="unfilled",
    ),
    pytest.param(
        "Expected Completion: [ETA]",
        "Expected Completion: soon",
        "text: |-\n      🚨",
        "[ETA] of the field eta is 0 times",
        id="gone",
    ),
    pytest.param(
        "Expected Completion: [ETA]",
        "Expected Completion: [ETA] [ETA]",
        "text: |-\n      🚨",
        "2 times in the text",
        id="doubled",
    ),
    pytest.param(
        "{name: completion_time,",
        "{name: error_rate,",
        '{name: error_rate, placeholder: "[X%]"}',
        "error_rate is there already",
        id="field-twice",
    ),
    pytest.param(
        '2, line: "Action: Rolling back to commit [commit]',
        '2, line: "Action: Rolling back',
        '- {procedure: 2, line: "Action: Rolling back"',
        "[commit] of the field target is 0 times",
        id="variant-without-its-target",
    ),
    pytest.param(
        'replaces: "✅ ROLLBACK COMPLETE"',
        'replaces: "✅ ROLLBACK DONE"',
        'replaces: "✅ ROLLBACK DONE"',
        "'✅ ROLLBACK DONE' is no line of the message",
        id="undo-of-no-line",
    ),
    pytest.param(
        "run [run]; pushed again: commit [commit]",
        "run [run]; pushed again",
        'undo:\n      - replaces: "✅ ROLLBACK COMPLETE"',
        "for procedure 2: [commit] of the field target is 0 times in the text",
        id="undo-without-its-target",
    ),
    pytest.param(
        'target_line: "Rolled back to: [deployment ID]"',
        'target_line: "Rolled back"',
        'target_line: "Rolled back"',
        "not exactly one line",
        id="target-line",
    ),
    pytest.param(
        '- {procedure: 4, line: "Rolled back variable',
        '- {procedure: 2, line: "Rolled back variable',
        '- {procedure: 2, line: "Rolled back variable',
        "2 is there already",
        id="variant-twice",
    ),
    pytest.param(
        '- {procedure: 4, line: "Rolled back variable',
        '- {procedure: 2, line: "Rolled back variable',
        'variants:\n      - {procedure: 2, line: "Rolled',
        "no line for procedure 4",
        id="variant-missing",
    ),
    pytest.param(
        "- name: restore_started",
        "- name: restore_complete",
        "- name: restore_complete\n    title: Communicate",
        "restore_complete is there already",
        id="message-twice",
    ),
    pytest.param(
        "- name: restore_started",
        "- name: restore_complete",
        "messages:\n",
        "restore_started missing",
        id="message-missing",
    ),
    pytest.param(
        "update_every_min: 15",
        "update_every_min: 20",
        "update_every_min: 20",
        "does not say every 20 minutes",
        id="updates",
    ),
]
COVERAGE = [
    pytest.param(
        "  - {step: P4.S6, status: planned, comment: By hand with the Vercel command line.}\n",
        "",
        "coverage:\n",
        "no row for P4.S6",
        id="missing",
    ),
    pytest.param(
        "{step: P4.S6,",
        "{step: P4.S7,",
        "- {step: P4.S7, status: planned, comment: By hand in Sentry",
        "P4.S7 is there already",
        id="twice",
    ),
    pytest.param("{step: P4.S6,", "{step: P4.S8,", "{step: P4.S8,", "there is no P4.S8", id="unknown"),
    pytest.param(
        "{step: P4.S6, status: planned, comment: By hand with the Vercel command line.}",
        "{step: P4.S6, status: manual}",
        "- {step: P4.S6, status: manual}",
        "comment: Field required",
        id="no-comment",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "named", "said"),
    [*SHAPE, *NUMBERING, *REFERENCES, *CONTRADICTIONS, *MESSAGES, *COVERAGE],
)
def test_wrong_plan_is_refused_at_its_line(home: Path, old: str, new: str, named: str, said: str) -> None:
    """A fault is named with the file, the line that a person has to look at, and what is wrong with it."""
    changed, happened = refused(home, old, new)
    assert changed.count(named) == 1, f"{changed.count(named)} places"
    line = changed[: changed.index(named)].count("\n") + 1
    there = [one for one in happened.split("\n") if f"plan.yaml, line {line}: " in one]
    assert any(said in one for one in there), happened


def test_several_faults_are_listed_together(home: Path) -> None:
    """A plan with two faults is corrected in one go: both are named."""
    _, happened = refused(home, "id: P1.S4\n", "id: P1.S9\n")
    assert "expected P1.S4 here, got P1.S9" in happened
    assert "no row for P1.S9" in happened


def test_procedure_without_steps_is_refused(home: Path) -> None:
    """A procedure that lost its steps is no procedure; the fault is named where they should be."""
    begin, end = GOOD.index("    steps:\n      - id: P4.S1"), GOOD.index("    criteria: []")
    changed, happened = refused(home, GOOD[begin:end], "    steps: []\n")
    line = changed[: changed.index("    steps: []")].count("\n") + 1
    assert f"plan.yaml, line {line}: procedure 4 has no step" in happened
