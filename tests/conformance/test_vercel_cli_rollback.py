"""`vercel rollback` moves the simulated production as it moves a real one, and fails where that one fails.

Of each call: what it says, its exit code, what it asked of the platform, and what became of the world.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from vercel_cli import linked

from rollback_lib.simulator import Fault, Jobs
from rollback_lib.simulator import company as facts

pytest_plugins = ["served"]

PROJECT = f"/v9/projects/{facts.PROJECT_ID}"
READS = ("GET /v2/user 200", f"GET /teams/{facts.TEAM_SLUG} 200")
POLL = f"GET {PROJECT}?rollbackInfo=true 200"
FAILED_ALIASES = f"GET {PROJECT}/rollback/aliases?failedOnly=true&limit=20 200"


def fault_of_job(kind: str, **more) -> dict:
    """Let the job fail that the first rollback starts."""
    return {"faults": (Fault(service="vercel", method="POST", path="*/rollback/*", kind=kind, **more),)}


def post(world, role: str, status: str) -> str:
    """Give the request that asks for a rollback."""
    return f"POST {PROJECT}/rollback/{world.role(role)} {status}"


def test_rollback_moves_all_domains_and_pins_them(company):
    """The whole sequence of requests is the recorded one, each for the team."""
    world = company()
    ran = world.vercel("rollback", world.url("stable"), "--yes")
    assert ran.code == 0
    assert f"was rolled back to {world.url('stable')} ({world.role('stable')})" in ran.said[-1]
    assert ran.steps == (
        *READS,
        f"GET /v13/deployments/{world.url('stable')} 200",
        f"GET {PROJECT} 200",
        post(world, "stable", "201"),
        POLL,
        f"GET /v13/deployments/{world.role('stable')} 200",
    )
    assert ran.teamless == READS
    assert (world.serves, world.pinned) == ({"stable"}, True)
    assert world.done == [
        "rollback requested",
        *["host moved"] * 3,
        "rollback succeeded",
        "auto-assign set",
    ]
    entry = next(entry for entry in world.serving.world.ledger.entries() if entry.method == "POST")
    assert (entry.body, entry.applied, entry.caller) == ({}, True, "VERCEL_TOKEN")


def test_rollback_polls_four_times_a_second_until_the_job_is_done(company):
    """The simulator's jobs take their time, and the command line sees them pending and running."""
    world = company(jobs=Jobs(pending_s=0.3, running_s=0.7))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    polls = [at for at, asked in zip(ran.at_ms, ran.requests, strict=True) if asked == POLL]
    assert ran.code == 0
    assert polls[-1] - polls[0] >= 600
    assert (polls[-1] - polls[0]) / (len(polls) - 1) >= 150  # a busy machine hears the first one late


def test_rollback_without_waiting_ends_at_the_request(company):
    """What was accepted is not done yet."""
    world = company(jobs=Jobs(pending_s=60, running_s=60))
    ran = world.vercel("rollback", world.role("stable"), "--yes", "--timeout", "0")
    assert ran.code == 0
    assert "Successfully requested rollback" in ran.said[-2]
    assert ran.requests[-1] == post(world, "stable", "201")
    assert (world.serves, world.done) == ({"bad"}, ["rollback requested"])


@pytest.mark.parametrize(
    ("role", "status", "words"),
    [
        ("ineligible", "422", "is not eligible for rollback. (422)"),
        ("staged", "422", "is not eligible for rollback. (422)"),
        ("preview_before", "422", "is not eligible for rollback. (422)"),
        ("error", "422", "is not eligible for rollback. (422)"),
        ("bad", "422", "is already the current one. (422)"),
    ],
)
def test_deployment_that_cannot_be_gone_back_to_is_refused(company, role, status, words):
    """The platform's words and status reach the person, nothing is retried, nothing moves."""
    world = company()
    ran = world.vercel("rollback", world.role(role), "--yes")
    assert ran.code == 1
    assert ran.said[-1] == f"Error: Deployment {world.role(role)} {words}"
    assert ran.sent("POST") == [post(world, role, status)]
    assert (world.serves, world.pinned, world.done) == ({"bad"}, False, [])


def test_hobby_goes_back_one_step_only(company):
    """The plan's limit is a 402 with the platform's own words."""
    world = company(plan="hobby")
    ran = world.vercel("rollback", world.role("second"), "--yes")
    assert ran.code == 1
    assert (
        ran.said[-1]
        == "Error: To roll back further than the previous production deployment, upgrade to pro (402)"
    )
    assert (world.serves, world.done) == ({"bad"}, [])


@pytest.mark.parametrize(
    ("wanted", "status", "words"),
    [
        ("dpl_nosuch", "404", "Can't find the deployment"),
        ("nosuch.vercel.drill", "404", "Can't find the deployment"),
        ("deleted", "410", "has been deleted. (410)"),
    ],
)
def test_deployment_that_is_not_there_is_not_asked_for(company, wanted, status, words):
    """It is looked up first, and that is the end of it."""
    world = company()
    wanted = world.role(wanted) if wanted == "deleted" else wanted
    ran = world.vercel("rollback", wanted, "--yes")
    assert ran.code == 1
    assert words in ran.said[-1]
    assert ran.requests == (*READS, f"GET /v13/deployments/{wanted} {status}")
    assert world.done == []


def test_deployment_of_another_project_is_not_asked_for(company):
    """The command line goes by the deployment's own project, which this token cannot see."""
    world = company()
    ran = world.vercel("rollback", world.role("other"), "--yes")
    assert ran.code == 1
    assert ran.said[-1] == f'Error: There is no project for "{facts.OTHER_PROJECT_ID}"'
    assert ran.sent("POST") == []


def test_refused_token_ends_at_the_first_question(company):
    """A wrong token is told as what it is."""
    world = company()
    ran = world.vercel("rollback", world.role("stable"), "--yes", token="vck2718281828")
    assert ran.code == 1
    assert "Error: You do not have access to the specified account" in ran.said
    assert ran.requests == ("GET /v2/user 403",)
    assert world.done == []


def test_token_without_the_right_to_change_is_refused(company):
    """The refusal of the one request that changes something is told with its status."""
    world = company(**fault_of_job("deny"))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    assert (ran.code, ran.said[-1]) == (1, "Error: Not authorized (403)")
    assert ran.sent("POST") == [post(world, "stable", "403")]
    assert (world.serves, world.done) == ({"bad"}, [])


def test_wrong_team_ends_before_anything_is_looked_up(company):
    """The scope is settled first."""
    world = company()
    ran = world.vercel("rollback", world.role("stable"), "--yes", scope="another")
    assert ran.code == 1
    assert "Error: The specified scope does not exist" in ran.said
    assert ran.requests == ("GET /v2/user 200", "GET /teams/another 403", "GET /v1/teams 200")
    assert world.done == []


def test_team_of_the_token_is_taken_where_none_is_named(company):
    """A token of a team's member has a team by default, and every request names it."""
    world = company()
    ran = world.vercel("rollback", world.role("stable"), "--yes", scope=None)
    assert ran.code == 0
    assert ran.teamless == ("GET /v2/user 200",)
    assert world.serves == {"stable"}


def test_personal_account_names_no_team(company):
    """Where everything belongs to a person, no request has a team."""
    world = company(team_id=None)
    ran = world.vercel("rollback", world.role("stable"), "--yes", scope=None)
    assert ran.code == 0
    assert ran.teamless == ran.requests
    assert (world.serves, world.pinned) == ({"stable"}, True)


@pytest.mark.parametrize(
    ("kind", "failed", "serves"),
    [
        ("job_failed", [*facts.DOMAINS, facts.AUTOMATIC_ALIAS], {"bad"}),
        ("partial", [facts.DOMAINS[1]], {"bad", "stable"}),
    ],
)
def test_failed_job_names_the_domains_that_did_not_move(company, kind, failed, serves):
    """Each of them is told with the deployment that it still serves; then, too, when one asks again."""
    world = company(**fault_of_job(kind))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    again = world.vercel("rollback", "status", facts.PROJECT_NAME)
    for told in (ran, again):
        assert told.code == 1
        assert told.requests[-1] == FAILED_ALIASES
        lines = [line.split()[1:] for line in told.said if line.startswith("> ") and " failed " in line]
        assert lines == [["failed", host, f"({world.role('bad')})"] for host in failed]
        assert any(line.startswith("Error: Failed to remap all aliases") for line in told.said)
    assert (world.serves, world.pinned) == (serves, False)


def test_skipped_job_moves_nothing_and_ends_well(company):
    """The command line calls it a success, which the runbook must not."""
    world = company(**fault_of_job("job_skipped"))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    assert (ran.code, ran.said[-1]) == (0, "> Rollback was skipped")
    assert (world.serves, world.pinned) == ({"bad"}, False)
    assert world.vercel("rollback", "status", facts.PROJECT_NAME).said[-1] == "> Rollback was skipped"


def test_stuck_job_runs_into_the_deadline(company):
    """The command line gives up; the job is where it was."""
    world = company(**fault_of_job("job_stuck"))
    ran = world.vercel("rollback", world.role("stable"), "--yes", "--timeout", "1s")
    assert ran.code == 1
    assert "The rollback exceeded its deadline" in ran.said[-1]
    assert (world.serves, world.done) == ({"bad"}, ["rollback requested"])
    assert world.vercel("rollback", "status", facts.PROJECT_NAME, "--timeout", "1s").code == 1


def test_colleagues_promotion_is_taken_for_ones_own_rollback(company):
    """The command line looks at neither target nor kind of the job: why the runbook looks at both."""
    world = company(**fault_of_job("concurrent_promote", delay_s=0.02))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    assert ran.code == 0
    assert f"was rolled back to {world.url('hotfix')}" in ran.said[-1]
    assert (world.serves, world.pinned) == ({"hotfix"}, False)


@pytest.mark.parametrize(
    ("kind", "words", "status", "serves"),
    [
        ("500", "Error: An unexpected internal error occurred (500)", "500", {"bad"}),
        ("502", "Error: Response Error (502)", "502", {"bad"}),
        ("429", "Error: The rate limit of 120 exceeded for 'api-drill'.", "429", {"bad"}),
        ("reset_before", "Error: fetch failed", "cut", {"bad"}),
        ("reset_after", "Error: fetch failed", "cut", {"stable"}),
    ],
)
def test_answer_that_never_comes_is_asked_for_four_times(company, kind, words, status, serves):
    """It repeats the request that moves production, although it may have done so: why the runbook sends it once."""
    world = company(**fault_of_job(kind, nth={"from": 1}))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    assert ran.code == 1
    assert ran.said[-1].startswith(words)
    assert ran.sent("POST") == [post(world, "stable", status)] * 4
    assert world.serves == serves
    asked = world.done.count("rollback requested")
    assert asked == (0 if serves == {"bad"} else 1)


def test_limit_that_ends_in_time_is_waited_out(company):
    """Two requests too many, then the third is taken; the header says how long to wait."""
    world = company(**fault_of_job("429", times=2, with_retry_after=True, retry_after_s=2))
    ran = world.vercel("rollback", world.role("stable"), "--yes")
    posts = [at for at, asked in zip(ran.at_ms, ran.requests, strict=True) if asked.startswith("POST")]
    assert ran.code == 0
    assert [asked.rpartition(" ")[2] for asked in ran.sent("POST")] == ["429", "429", "201"]
    assert all(later - at >= 1500 for at, later in pairwise(posts))
    assert world.serves == {"stable"}


def test_status_tells_what_the_last_rollback_did(company):
    """It reads the project and sends nothing else."""
    world = company()
    world.vercel("rollback", world.role("stable"), "--yes")
    ran = world.vercel("rollback", "status", facts.PROJECT_NAME)
    assert ran.code == 0
    assert f"was rolled back to {world.url('stable')}" in ran.said[-1]
    assert ran.requests == (
        *READS,
        f"GET /v9/projects/{facts.PROJECT_NAME} 200",
        POLL,
        f"GET /v13/deployments/{world.role('stable')} 200",
    )


@pytest.mark.parametrize("args", [("rollback",), ("rollback", "status")], ids=" ".join)
def test_rollback_without_a_deployment_only_looks(company, tmp_path, args):
    """The job of hours ago counts as none, and a rollback without a target is no rollback."""
    world = company()
    ran = world.vercel(*args, folder=linked(tmp_path))
    assert (ran.code, ran.said[-1]) == (0, "> No deployment rollback in progress")
    assert ran.requests == (*READS, f"GET {PROJECT} 200", POLL)
    assert world.done == []


def test_status_of_an_unknown_project_fails(company):
    """Its name is looked up first."""
    ran = company().vercel("rollback", "status", "nosuch")
    assert (ran.code, ran.said[-1]) == (1, 'Error: There is no project for "nosuch"')
