"""`parameters/plan.yaml` says what the customer's plan says; the expected words and numbers stand here again."""

from __future__ import annotations

import math
import pickle
import re
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from repository import ROOT

import rollback_lib.plan
from rollback_lib.errors import BadParameters
from rollback_lib.model import Severity
from rollback_lib.plan import Limit, Plan, load_plan, loading, messages, values, whole

HOME = Path(__file__).parents[1]

STEPS = {
    1: [
        "Access Vercel Dashboard",
        "Go to Deployments",
        "Identify last stable deployment",
        "Promote to Production",
        "Monitor rollback",
        "Verify rollback successful",
    ],
    2: [
        "Access Convex Dashboard",
        "Navigate to Deployments",
        "Identify last stable deployment",
        "Rollback deployment",
        "Wait for rollback to complete",
        "Verify functions working",
        "Test backend functionality",
    ],
    3: [
        "Enable Maintenance Mode",
        "Notify stakeholders",
        "Access Convex Dashboard",
        "Navigate to Backups",
        "Select backup to restore",
        "Confirm restore point",
        "Execute restore",
        "Monitor restore progress",
        "Verify database integrity",
        "Test application functionality",
        "Disable Maintenance Mode",
        "Communicate restoration complete",
    ],
    4: [
        "Access Vercel Dashboard",
        "Go to Settings → Environment Variables",
        "Identify changed variable",
        "Revert to previous value",
        "Trigger redeployment",
        "Verify variable updated",
        "Monitor for issue resolution",
    ],
}
CRITERIA = {
    1: [
        "Deployment completes without errors",
        "Health endpoint returns 200 OK",
        "Error rate decreased to normal levels (< 1%)",
        "Critical user flows functional",
    ],
    2: [
        "Rollback completes without errors",
        "Functions executing normally",
        "Queries returning expected results",
        "No schema incompatibility errors",
    ],
    3: [
        "Restore completes without errors",
        "Critical tables verified",
        "Application functional",
        "No ongoing errors",
    ],
    4: [],
}
TRIGGERS = {
    "P0": [
        "Complete service outage (site completely down)",
        "Critical security vulnerability discovered",
        "Database corruption or data loss",
        "Payment processing completely broken (100% failure rate)",
        "User authentication completely broken (cannot login)",
    ],
    "P1": [
        "Major feature broken affecting >50% of users",
        "Performance degradation (response times >2x normal)",
        "Error rate >10% sustained for >15 minutes",
        "Payment processing failure rate >50%",
        "Data integrity issues (wrong data displayed)",
    ],
    "P2": [
        "Minor feature broken affecting <10% of users",
        "UI/UX issues not affecting functionality",
        "Non-critical errors (error rate 1-10%)",
        "Performance issues isolated to specific features",
        "Simple configuration errors",
    ],
}
# metric, comparison, threshold, sustained_s
LIMITS = {
    "P0.T4": [("payment_failure_rate", ">=", 1.0, None)],
    "P1.T1": [("share_of_users", ">", 0.5, None)],
    "P1.T2": [("response_time_ratio", ">", 2.0, None)],
    "P1.T3": [("error_rate", ">", 0.1, 900.0)],
    "P1.T4": [("payment_failure_rate", ">", 0.5, None)],
    "P2.T1": [("share_of_users", "<", 0.1, None)],
    "P2.T3": [("error_rate", ">=", 0.01, None), ("error_rate", "<=", 0.1, None)],
}
ONLY_A_PERSON_KNOWS = ["P0.T2", "P0.T3", "P1.T1", "P1.T5", "P2.T1", "P2.T2", "P2.T5"]
# issue, severity, action, approval required, procedures it can mean
MATRIX = [
    ("Site completely down", "P0", "Immediate Vercel rollback", "No (notify after)", (1,)),
    ("Security vulnerability", "P0", "Immediate Vercel rollback", "No (notify after)", (1,)),
    ("Database corruption", "P0", "Database restore", "Yes (CTO)", (3,)),
    ("Payment 100% failing", "P0", "Immediate rollback", "No (notify after)", (1, 2, 4)),
    ("Auth completely broken", "P0", "Immediate rollback", "No (notify after)", (1, 2, 4)),
    ("Error rate >10%", "P1", "Rollback", "Yes (Eng Lead)", (1, 2, 4)),
    ("Major feature broken", "P1", "Rollback or hotfix", "Yes (Eng Lead)", (1, 2, 4)),
    ("Performance degradation", "P1", "Rollback or hotfix", "Yes (Eng Lead)", (1, 2, 4)),
    ("Minor feature broken", "P2", "Hotfix preferred", "No", ()),
    ("UI/UX issues", "P2", "Hotfix next sprint", "No", ()),
]
CHECKLIST = {
    "Verify rollback successful": [
        "Application accessible",
        "Critical flows working",
        "Error rate decreased",
    ],
    "Monitor error rates": ["Check Sentry", "Expected: < 1% error rate"],
    "Test critical flows": [
        "User login",
        "Membership page",
        "Trainer booking",
        "Marketplace",
        "AI plan generator",
    ],
    "Document issue": [
        "Create incident ticket",
        "Record timeline of events",
        "Document rollback actions taken",
    ],
    "Notify stakeholders": [
        "Engineering team (Slack: #incidents)",
        "Product team",
        "Customer support (if customer impact)",
    ],
    "Investigate root cause": [
        "Review error logs",
        "Identify what caused issue",
        "Determine if data loss occurred",
    ],
    "Plan fix": ["Create hotfix plan", "Schedule development work", "Set timeline for fix deployment"],
    "Post-mortem meeting": [
        "Schedule within 24 hours",
        "Invite: Engineering team, Product lead",
        "Agenda: Root cause, prevention, process improvement",
    ],
    "Update documentation": [
        "Document lessons learned",
        "Update rollback procedures if needed",
        "Add to knowledge base",
    ],
    "Fix and redeploy": ["Develop fix", "Test thoroughly in staging", "Deploy with monitoring"],
}
FLOWS = {
    "User Authentication": [
        "Can sign in with email/password",
        "Can sign in with Google",
        "Session persists after refresh",
        "Can sign out",
    ],
    "Membership": [
        "Membership page loads",
        "Tiers displayed correctly",
        "Stripe checkout accessible",
        "Membership status accurate for existing users",
    ],
    "Trainer Booking": [
        "Trainer list loads",
        "Can select trainer",
        "Can choose date/time",
        "Stripe checkout accessible",
    ],
    "Marketplace": ["Products display", "Can add to cart", "Cart persists", "Checkout accessible"],
    "Admin Dashboard": [
        "Dashboard loads (admin users)",
        "User list loads",
        "Organizations list loads",
        "Reports accessible",
    ],
}
LEAD, CTO, ON_CALL = "engineering_lead", "cto", "on_call_engineer"


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Give the project's own plan; it is frozen, so the tests may share it."""
    return load_plan(HOME)


def test_public_names_are_those_of_the_parts() -> None:
    """The package offers what its modules offer, but for their internal types, and nothing else."""
    parts = {name for module in (loading, messages, values, whole) for name in module.__all__}
    assert set(rollback_lib.plan.__all__) == parts - {"Span", "Text"}
    assert all(hasattr(rollback_lib.plan, name) for name in rollback_lib.plan.__all__)


def test_head_names_version_dates_and_documents(plan: Plan) -> None:
    """A record can quote the plan's version, its dates and what belongs to it."""
    assert (plan.title, plan.version) == ("Rollback Plan - Derrimut Platform", "1.0.0")
    assert (plan.last_updated, plan.next_review) == (date(2025, 1, 9), date(2025, 2, 9))
    assert {one.title: one.path for one in plan.related_documents} == {
        "Deployment Checklist": "./DEPLOYMENT_CHECKLIST.md",
        "Runbooks": "./docs/RUNBOOKS.md",
        "Incident Response Plan": "./INCIDENT_RESPONSE_PLAN.md",
        "Backup Strategy": "./BACKUP_STRATEGY.md",
    }


@pytest.mark.parametrize("number", STEPS)
def test_steps_have_the_plans_titles_in_order(plan: Plan, number: int) -> None:
    """Each step keeps the plan's number and its own title."""
    steps = plan.procedure(number).steps
    assert [step.title for step in steps] == STEPS[number]
    assert [step.id for step in steps] == [f"P{number}.S{at}" for at in range(1, len(steps) + 1)]
    assert [step.label for step in steps] == [
        f"procedure {number}, step {at}" for at in range(1, len(steps) + 1)
    ]


@pytest.mark.parametrize("number", CRITERIA)
def test_success_criteria_are_the_plans(plan: Plan, number: int) -> None:
    """Each success criterion keeps the plan's words; procedure 4 has none."""
    criteria = plan.procedure(number).criteria
    assert [one.text for one in criteria] == CRITERIA[number]
    assert [one.id for one in criteria] == [f"P{number}.C{at}" for at in range(1, len(criteria) + 1)]


@pytest.mark.parametrize(
    ("number", "title", "texts", "minutes"),
    [
        (1, "Vercel Deployment Rollback", ("5 minutes", "Minimal (< 1 minute)"), ((5, 5), (0, 1))),
        (2, "Convex Backend Rollback", ("10 minutes", "Minimal (< 2 minutes)"), ((10, 10), (0, 2))),
        (
            3,
            "Database Restore from Backup",
            ("20-30 minutes", "10-20 minutes (application in maintenance mode)"),
            ((20, 30), (10, 20)),
        ),
        (4, "Environment Variable Rollback", ("5 minutes", "None (triggers redeployment)"), ((5, 5), (0, 0))),
    ],
)
def test_procedure_says_how_long_and_how_much_downtime(
    plan: Plan,
    number: int,
    title: str,
    texts: tuple[str, str],
    minutes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    """Duration and downtime stand in the plan's words and as minutes."""
    found = plan.procedure(number)
    assert (found.number, found.title) == (number, title)
    assert (found.duration, found.downtime) == texts
    assert (found.duration_min, found.downtime_min) == minutes


def test_procedures_say_impact_warnings_and_use(plan: Plan) -> None:
    """What a procedure reverts and what it warns of are in the plan's words."""
    assert [one.impact for one in plan.procedures] == [
        "Reverts application code to previous version",
        "Reverts backend functions and schema",
        "Restores database to backup point (data loss possible)",
        "Reverts environment variable values",
    ]
    assert [one.warnings for one in plan.procedures] == [
        (),
        ("⚠️ WARNING: This rolls back database schema changes", "Ensure data compatibility before executing"),
        (
            "⚠️ CRITICAL: This is a destructive operation",
            "⚠️ Data created after backup timestamp will be lost",
            "⚠️ Requires CTO approval",
        ),
        (),
    ]
    assert [one.use_when for one in plan.procedures] == [
        None,
        None,
        None,
        "Environment variable change caused issue",
    ]
    assert [one.target for one in plan.procedures] == ["deployment", "commit", "backup", "variable"]


def test_steps_keep_the_plans_sub_points_and_commands(plan: Plan) -> None:
    """What the plan says below a step is there: lines, commands and lines below lines."""
    look_for = plan.step("P1.S3").points[0]
    assert look_for.text == "Look for:"
    assert look_for.points == (
        "Deployment marked with ✓ (successful)",
        "Timestamp BEFORE issue started",
        '"Production" badge (if rolling back production)',
        "Review deployment preview to confirm it's correct version",
    )
    assert plan.step("P1.S6").points[0].command == "curl https://derrimut247.com.au/api/health"
    assert plan.step("P2.S7").points[0].command == (
        """npx convex query users:getUserByClerkId '{"clerkId":"test_user_id"}'"""
    )
    assert plan.step("P4.S6").command == "vercel env ls"
    assert [point.text for point in plan.step("P1.S4").points] == [
        "Click on the stable deployment",
        'Click "Promote to Production" button',
        'Click "Promote" to confirm',
    ]


def test_steps_say_how_long_they_take(plan: Plan) -> None:
    """The minutes that the plan names below its steps are numbers."""
    assert {step.id: step.expected_min for step in plan.steps if step.expected_min is not None} == {
        "P1.S5": (1, 2),
        "P2.S5": (1, 2),
        "P3.S8": (10, 20),
    }
    assert {step.id: step.monitor_min for step in plan.steps if step.monitor_min is not None} == {
        "P3.S11": 15
    }


def test_post_restore_actions_belong_to_procedure_3(plan: Plan) -> None:
    """Only the database restore has actions that follow it."""
    assert [one.text for one in plan.procedure(3).post_actions] == [
        "Document data loss window",
        "Identify affected users (if any)",
        "Plan data recovery (if possible)",
        "Communicate data loss to stakeholders",
    ]
    assert [one.number for one in plan.procedures if one.post_actions] == [3]


def test_verified_means_200_and_below_one_percent(plan: Plan) -> None:
    """The limits of success are exactly the plan's, and no other criterion has one."""
    limits = {
        one.id: one.limit
        for procedure in plan.procedures
        for one in procedure.criteria
        if one.limit is not None
    }
    assert limits == {
        "P1.C2": Limit(metric="health_status", comparison="==", threshold=200),
        "P1.C3": Limit(metric="error_rate", comparison="<", threshold=0.01),
    }


@pytest.mark.parametrize("severity", TRIGGERS)
def test_criteria_for_rolling_back_are_the_plans(plan: Plan, severity: str) -> None:
    """Each criterion keeps the plan's words and finds back to its severity."""
    group = next(one for one in plan.severities if one.severity == severity)
    assert [one.text for one in group.triggers] == TRIGGERS[severity]
    for at, one in enumerate(group.triggers, start=1):
        assert one.id == f"{severity}.T{at}"
        assert plan.severity_of(one.id) == severity


def test_severities_keep_heading_and_rule(plan: Plan) -> None:
    """What to do at each severity is said in the plan's words."""
    assert [(one.title, one.rule) for one in plan.severities] == [
        ("Immediate Rollback (P0 - Critical)", "Execute rollback immediately without approval:"),
        ("Rollback with Approval (P1 - High)", "Execute rollback after consulting Engineering Lead:"),
        ("Consider Hotfix Instead (P2 - Medium)", "Evaluate whether hotfix is faster than rollback:"),
    ]


def test_limits_of_criteria_are_the_plans_numbers(plan: Plan) -> None:
    """Every number of a criterion is data, as a fraction where it is a share; no other criterion has one."""
    found = {
        one.id: [(limit.metric, limit.comparison, limit.threshold, limit.sustained_s) for limit in one.limits]
        for group in plan.severities
        for one in group.triggers
        if one.limits
    }
    assert found == LIMITS


def test_criteria_say_what_only_a_person_knows(plan: Plan) -> None:
    """What no signal can tell is marked, so that it is asked."""
    every = [one for group in plan.severities for one in group.triggers]
    assert [one.id for one in every if one.known_by == "person"] == ONLY_A_PERSON_KNOWS


@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        (">", False, False, True),
        (">=", False, True, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
    ],
)
def test_limit_is_compared_just_below_on_and_just_above(
    comparison: str, below: bool, at: bool, above: bool
) -> None:
    """The plan's comparison decides on the threshold itself; a value that is no number never holds."""
    limit = Limit.model_validate({"metric": "error_rate", "comparison": comparison, "threshold": 0.1})
    around = (math.nextafter(0.1, 0), 0.1, math.nextafter(0.1, 1))
    assert tuple(limit.holds(value) for value in around) == (below, at, above)
    assert not limit.holds(math.nan)


def test_decision_matrix_is_the_plans(plan: Plan) -> None:
    """Each row keeps the plan's cells and names the procedures it can mean."""
    rows = [
        (row.issue, row.severity, row.action, row.approval_text, row.procedures)
        for row in plan.decision_matrix
    ]
    assert rows == MATRIX
    assert [row.id for row in plan.decision_matrix] == [f"M{at}" for at in range(1, 11)]
    assert [row.hotfix for row in plan.decision_matrix] == [
        *["none"] * 6,
        *["alternative"] * 2,
        "preferred",
        "next_sprint",
    ]


@pytest.mark.parametrize(
    ("severity", "procedure", "trigger", "expected"),
    [
        pytest.param("P0", 1, None, ((), (LEAD, CTO, ON_CALL)), id="outage-tells-three-roles-after"),
        pytest.param("P0", 1, "P0.T1", ((), (LEAD, CTO, ON_CALL)), id="outage-by-criterion"),
        pytest.param("P0", 2, None, ((), (LEAD, CTO, ON_CALL)), id="p0-backend"),
        pytest.param("P0", 4, None, ((), (LEAD, CTO, ON_CALL)), id="p0-variables"),
        pytest.param("P0", 3, None, ((CTO,), (LEAD, CTO, ON_CALL)), id="p0-restore"),
        pytest.param("P0", 3, "P0.T3", ((CTO,), (LEAD, CTO, ON_CALL)), id="corruption-restore"),
        pytest.param("P0", 1, "P0.T3", ((CTO,), (LEAD, CTO, ON_CALL)), id="corruption-as-ground-for-code"),
        pytest.param("P1", 1, None, ((LEAD,), ()), id="p1-code"),
        pytest.param("P1", 4, "P1.T3", ((LEAD,), ()), id="p1-variables-by-criterion"),
        pytest.param("P1", 3, None, ((CTO,), (LEAD,)), id="p1-restore-tells-the-lead"),
        pytest.param("P1", 3, "P1.T3", ((CTO,), (LEAD,)), id="p1-restore-by-criterion"),
        pytest.param("P2", 1, None, ((LEAD,), ()), id="p2-takes-the-stricter-neighbour"),
        pytest.param("P2", 1, "P2.T1", ((LEAD,), ()), id="p2-by-criterion"),
        pytest.param("P2", 3, None, ((CTO,), (LEAD,)), id="p2-restore"),
    ],
)
def test_approval_follows_severity_procedure_and_criterion(
    plan: Plan,
    severity: Severity,
    procedure: int,
    trigger: str | None,
    expected: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    """Who approves and who is told after is the plan's rule, the stricter one where it has two."""
    approval = plan.approval(severity, procedure, trigger)
    assert (approval.required, approval.notify_after) == expected


def test_criterion_of_another_severity_opens_nothing(plan: Plan) -> None:
    """A criterion of severity P1 cannot be claimed for the freedom of severity P0."""
    with pytest.raises(BadParameters, match=r"P1\.T3 belongs to severity P1, not to severity P0"):
        plan.approval("P0", 1, "P1.T3")


def test_severity_criterion_clash_is_refused_for_a_restore_too(plan: Plan) -> None:
    """Also where the procedure's own rule decides, a criterion must be one of the severity's."""
    with pytest.raises(BadParameters, match=r"P1\.T3 belongs to severity P1"):
        plan.approval("P0", 3, "P1.T3")


def test_roles_are_named_without_their_holders(plan: Plan) -> None:
    """The plan knows the roles and how they are reached; names and numbers are elsewhere."""
    assert [(role.id, role.title, role.reached_by) for role in plan.roles] == [
        (LEAD, "Engineering Lead", ("email", "phone")),
        (CTO, "CTO", ("email", "phone")),
        (ON_CALL, "On-Call Engineer", ("phone",)),
    ]
    assert plan.role("cto").title == "CTO"


def test_checklist_is_the_plans(plan: Plan) -> None:
    """Phases, items and sub-items of the post-rollback checklist are the plan's, with their time frames."""
    assert [(one.title, one.window, one.window_min, len(one.tasks)) for one in plan.checklist] == [
        ("Immediate", "0-15 minutes", (0, 15), 4),
        ("Short-term", "15 minutes - 1 hour", (15, 60), 3),
        ("Long-term", "1-24 hours", (60, 1440), 3),
    ]
    assert {task.title: [point.text for point in task.points] for task in plan.tasks} == CHECKLIST
    assert [task.id for task in plan.tasks] == [f"P5.I{at}" for at in range(1, 11)]
    assert plan.task("P5.I2").points[1].limit == Limit(metric="error_rate", comparison="<", threshold=0.01)
    assert plan.task("P5.I8").within_h == 24


def test_checklist_lines_hold_what_is_due_at_once_item_by_item_and_the_rest_by_title(plan: Plan) -> None:
    """What is still open after a rollback can be worked off from there, without looking for the plan."""
    at_once = [title for title, points in list(CHECKLIST.items())[:4] for title in (title, *points)]
    lines = plan.checklist_lines
    assert [line.partition(": ")[0] for line in lines] == [
        *["post-rollback checklist, Immediate (0-15 minutes)"] * 4,
        "post-rollback checklist, Short-term (15 minutes - 1 hour)",
        "post-rollback checklist, Long-term (1-24 hours)",
    ]
    assert re.split(" - |; ", "; ".join(line.partition(": ")[2] for line in lines[:4])) == at_once
    assert "; ".join(line.partition(": ")[2] for line in lines[4:]).split("; ") == list(CHECKLIST)[4:]


def test_critical_flows_are_the_plans(plan: Plan) -> None:
    """The flow tests are the plan's groups and items, joined to the checklist's names where it has one."""
    assert {group.title: [one.text for one in group.tests] for group in plan.critical_flows} == FLOWS
    assert [group.flow for group in plan.critical_flows] == [
        "User login",
        "Membership page",
        "Trainer booking",
        "Marketplace",
        None,
    ]
    assert plan.critical_flows[1].tests[2].id == "F2.3"


def test_procedure_1_tests_three_of_the_five_flows(plan: Plan) -> None:
    """Step 6 of procedure 1 tests the first three flows of the checklist, the restore all five."""
    assert plan.flow_names == tuple(CHECKLIST["Test critical flows"])
    assert plan.step("P1.S6").flows == plan.flow_names[:3]
    assert plan.step("P3.S10").flows == plan.flow_names


def test_log_columns_are_in_the_plans_order(plan: Plan) -> None:
    """The rollback log has the plan's columns, in order, and its example row."""
    assert plan.log_columns == (
        "Date",
        "Environment",
        "Reason",
        "Method",
        "Duration",
        "Data Loss",
        "Deployed By",
        "Approved By",
    )
    assert plan.log.example == (
        "2025-01-09",
        "Production",
        "Example",
        "Vercel",
        "5 min",
        "None",
        "Dev Name",
        "Lead Name",
    )
    assert plan.procedure(1).method == plan.log.example[3]


def test_channels_are_the_plans(plan: Plan) -> None:
    """Where to tell whom is the plan's list."""
    assert [(one.title, one.medium, one.address) for one in plan.channels] == [
        ("Incidents", "slack", "#incidents"),
        ("Engineering", "slack", "#engineering"),
        ("Email", "email", "engineering@derrimut247.com.au"),
    ]


def test_coverage_has_each_step_once_and_promises_what_has_a_notebook(plan: Plan) -> None:
    """Each step is in the coverage table; only the procedures that have a notebook are said to be carried out by code."""
    assert [row.step for row in plan.coverage] == [step.id for step in plan.steps]
    with_notebook = {int(path.name[0]) for path in (ROOT / "notebooks").glob("[1-4]_*.ipynb")}
    assert [row.step for row in plan.coverage if row.status == "code"] == [
        step.id for number in sorted(with_notebook) for step in plan.procedure(number).steps
    ]
    assert {row.status for row in plan.coverage if row.step[1] not in map(str, with_notebook)} == {"planned"}
    assert "person" in plan.coverage_of("P1.S3").comment
    assert plan.coverage_of("P3.S7").status == "planned"


def test_every_severity_has_criteria_and_a_rule(plan: Plan) -> None:
    """No severity is forgotten, neither among the criteria nor in the approval authority."""
    every = list(get_args(Severity))
    assert [one.severity for one in plan.severities] == every
    assert [one.severity for one in plan.approval_authority.severities] == every


def test_plan_cannot_be_changed(plan: Plan) -> None:
    """A loaded plan is immutable at every depth, lists included."""
    with pytest.raises(ValidationError, match="frozen"):
        plan.version = "2"  # type: ignore[misc]  # the assignment is what is refused
    with pytest.raises(ValidationError, match="frozen"):
        plan.procedures[0].steps[3].title = "x"  # type: ignore[misc]  # as above, further down
    assert isinstance(plan.procedures[0].steps, tuple)
    assert plan.version == "1.0.0"
    assert plan.step("P1.S4").title == "Promote to Production"
    assert hash(plan) == hash(load_plan(HOME))


def test_plan_survives_pickling(plan: Plan) -> None:
    """A plan can be handed to a worker process."""
    assert pickle.loads(pickle.dumps(plan)) == plan  # noqa: S301  # our own bytes, made on this line


@pytest.mark.parametrize(
    ("kind", "wanted", "listed"),
    [
        ("procedure", 5, "1, 2, 3, 4"),
        ("step", "P1.S9", "P1.S1, P1.S2, P1.S3, P1.S4, P1.S5, P1.S6, P2.S1"),
        ("criterion", "P4.C1", "P1.C1, P1.C2, P1.C3, P1.C4, P2.C1"),
        ("trigger", "p0.t1", "P0.T1, P0.T2"),
        ("task", "P5.I11", "P5.I1, P5.I2"),
        ("role", "ceo", "engineering_lead, cto, on_call_engineer"),
        ("coverage_of", "P1.S7", "P1.S1, P1.S2"),
        ("severity_of", "P3.T1", "P0.T1, P0.T2"),
    ],
)
def test_unknown_id_is_refused_with_the_known_ones(
    plan: Plan, kind: str, wanted: str | int, listed: str
) -> None:
    """A wrong id is answered with the right ones, not with a guess."""
    with pytest.raises(BadParameters) as caught:
        getattr(plan, kind)(wanted)
    assert repr(wanted) in caught.value.happened
    assert listed in caught.value.happened
    assert caught.value.state.startswith("Nothing was sent")


def test_unknown_severity_or_procedure_gets_no_approval_rule(plan: Plan) -> None:
    """Who approves is never guessed: an unknown severity or procedure is refused."""
    with pytest.raises(BadParameters, match="known: P0, P1, P2"):
        plan.approval("P3", 1)  # type: ignore[arg-type]  # what a parameter file could hold
    with pytest.raises(BadParameters, match="known: 1, 2, 3, 4"):
        plan.approval("P0", 7)
