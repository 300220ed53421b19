"""`vercel promote` and `vercel redeploy` change the simulated production as they change a real one."""

from __future__ import annotations

import pytest

from rollback_lib.simulator import Fault, Jobs, RollingRelease
from rollback_lib.simulator import company as facts

pytest_plugins = ["served"]

PROJECT = f"/v9/projects/{facts.PROJECT_ID}"
READS = ("GET /v2/user 200", f"GET /teams/{facts.TEAM_SLUG} 200")


def promotion(world, role: str, status: str) -> str:
    """Give the request that asks for a promotion."""
    return f"POST /v10/projects/{facts.PROJECT_ID}/promote/{world.role(role)} {status}"


def ledger_body(world, path: str) -> object:
    """Give the body of the last request to a path."""
    return [entry.body for entry in world.serving.world.ledger.entries() if entry.path == path][-1]


def test_promote_moves_all_domains_and_ends_a_pin(company):
    """The undo of a rollback: production moves, and new builds go live again."""
    world = company()
    world.vercel("rollback", world.role("stable"), "--yes")
    assert (world.serves, world.pinned) == ({"stable"}, True)
    ran = world.vercel("promote", world.url("staged"), "--yes")
    assert ran.code == 0
    assert f"was promoted to {world.url('staged')} ({world.role('staged')})" in ran.said[-1]
    assert ran.steps == (
        *READS,
        f"GET /v13/deployments/{world.url('staged')} 200",
        f"GET {PROJECT} 200",
        promotion(world, "staged", "201"),
        f"GET {PROJECT}?rollbackInfo=true 200",
        f"GET /v13/deployments/{world.role('staged')} 200",
    )
    assert ran.teamless == READS
    assert (world.serves, world.pinned) == ({"staged"}, False)


def test_promote_status_tells_what_the_last_promotion_did(company):
    """Read from the project, as the rollback's is."""
    world = company()
    world.vercel("promote", world.role("staged"), "--yes")
    ran = world.vercel("promote", "status", facts.PROJECT_NAME)
    assert ran.code == 0
    assert f"was promoted to {world.url('staged')}" in ran.said[-1]
    assert ran.sent("POST") == []


def test_promote_status_ignores_the_job_of_hours_ago(company):
    """The project still has it; it is not in progress."""
    ran = company().vercel("promote", "status", facts.PROJECT_NAME)
    assert (ran.code, ran.said[-1]) == (0, "> No deployment promotion in progress")


@pytest.mark.parametrize(
    ("spec", "role", "status", "words"),
    [
        ({}, "bad", "409", "is already the current production deployment. (409)"),
        ({}, "error", "422", "cannot be promoted. (422)"),
        (
            {"promote_again": "422"},
            "stable",
            "422",
            "has been promoted before; roll back to it instead. (422)",
        ),
        (
            {"promote_again": "409"},
            "stable",
            "409",
            "has been promoted before; roll back to it instead. (409)",
        ),
    ],
)
def test_promotion_that_is_refused_moves_nothing(company, spec, role, status, words):
    """The platform's words and status reach the person; nothing is retried."""
    world = company(**spec)
    ran = world.vercel("promote", world.role(role), "--yes")
    assert ran.code == 1
    assert ran.said[-1].endswith(words)
    assert ran.sent("POST") == [promotion(world, role, status)]
    assert (world.serves, world.done) == ({"bad"}, [])


def test_failed_promotion_names_the_domains_that_did_not_move(company):
    """The aliases of a promotion are read as those of a rollback."""
    fault = Fault(service="vercel", method="POST", path="*/promote/*", kind="partial")
    world = company(faults=(fault,))
    ran = world.vercel("promote", world.role("staged"), "--yes")
    assert ran.code == 1
    assert ran.requests[-1] == f"GET {PROJECT}/promote/aliases?failedOnly=true&limit=20 200"
    assert ran.said[-1].split() == [">", "failed", facts.DOMAINS[1], f"({world.role('bad')})"]
    assert world.serves == {"bad", "staged"}


def test_promotion_waits_for_a_rolling_release(company):
    """It is queued, which the command line says and then leaves."""
    world = company(rolling_release=RollingRelease(percentage=10))
    ran = world.vercel("promote", world.role("stable"), "--yes")
    assert ran.code == 0
    assert "Promotion has been queued" in ran.said[-1]
    assert ran.requests[-1] == promotion(world, "stable", "202")
    assert world.serves == {"bad"}
    status = world.vercel("promote", "status", facts.PROJECT_NAME)
    assert (status.code, status.said[-1]) == (
        0,
        "> Rolling Release serving traffic at initial percentage 10",
    )


def test_promoting_a_preview_builds_it_anew(company):
    """Another deployment, with production's variables, that nobody waits for."""
    world = company(jobs=Jobs(build_s=60))
    ran = world.vercel("promote", world.role("preview_before"), "--yes")
    assert ran.code == 0
    assert "Successfully created new deployment of derrimut-platform" in ran.said[-1]
    assert ran.sent("POST") == ["POST /v13/deployments 200"]
    assert ledger_body(world, "/v13/deployments") == {
        "deploymentId": world.role("preview_before"),
        "name": facts.PROJECT_NAME,
        "target": "production",
        "meta": {"action": "promote"},
    }
    assert (world.serves, world.done) == ({"bad"}, ["deployment created"])


def test_redeploy_builds_again_and_takes_the_domains(company):
    """Waited for until it is ready; its address is all that stands on stdout."""
    world = company()
    ran = world.vercel("redeploy", world.url("stable"))
    assert ran.code == 0
    assert ran.said[-1].startswith("✓ Ready")
    assert ran.steps[:5] == (
        *READS,
        f"GET /v13/deployments/{world.url('stable')} 200",
        "POST /v13/deployments?forceNew=1 200",
        f"GET {PROJECT} 200",
    )
    assert ledger_body(world, "/v13/deployments") == {
        "deploymentId": world.role("stable"),
        "meta": {"action": "redeploy"},
        "name": facts.PROJECT_NAME,
        "target": "production",
    }
    view = world.serving.world.outcome_view()
    made = world.serving.world.hosting.deployments[view.production]
    assert ran.out.strip() == f"https://{made.url}"
    assert set(view.live.values()) == {made.id}
    assert made.sha == world.serving.world.hosting.deployments[world.role("stable")].sha


def test_redeploy_does_not_go_live_while_production_is_pinned(company):
    """It is ready, and the visitors get what was rolled back to."""
    world = company()
    world.vercel("rollback", world.role("stable"), "--yes")
    ran = world.vercel("redeploy", world.role("second"))
    assert ran.code == 0
    assert ran.said[-1].startswith("✓ Ready")
    assert not any("Aliased" in line for line in ran.said)
    assert (world.serves, world.pinned) == ({"stable"}, True)


def test_redeploy_without_waiting_ends_at_the_request(company):
    """Its address is there before it is."""
    world = company(jobs=Jobs(build_s=60))
    ran = world.vercel("redeploy", world.role("stable"), "--no-wait")
    assert ran.code == 0
    assert ran.out.startswith("https://derrimut-platform-")
    assert "Deployment is still processing" in ran.said[-1]
    assert ran.requests[-1] == "POST /v13/deployments?forceNew=1 200"
    assert (world.serves, world.done) == ({"bad"}, ["deployment created"])


def test_redeploy_whose_build_fails_leaves_production_alone(company):
    """The build's own error is told."""
    world = company(jobs=Jobs(build_s=3, build_outcome="error"))
    ran = world.vercel("redeploy", world.role("stable"))
    assert (ran.code, ran.said[-1]) == (1, 'Error: Command "npm run build" exited with 1')
    assert world.serves == {"bad"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("dpl_nosuch", "Can't find the deployment"), ("deleted", "has been deleted. (410)")],
)
def test_redeploy_of_what_is_not_there_builds_nothing(company, wanted, words):
    """It is looked up first."""
    world = company()
    ran = world.vercel("redeploy", world.role(wanted) if wanted == "deleted" else wanted)
    assert ran.code == 1
    assert words in ran.said[-1]
    assert (ran.sent("POST"), world.done) == ([], [])
