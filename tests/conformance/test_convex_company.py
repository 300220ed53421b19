"""The simulated company's own backend: really broken, and really healed by pushing the last good revision again."""

from __future__ import annotations

import subprocess
import time

import httpx
import pytest

from rollback_lib.node import cache_folder
from rollback_lib.simulator import Fault, WorldSpec, serve
from rollback_lib.simulator.convex.spec import ConvexSpec
from rollback_lib.simulator.convex_app import CANARY, prepared

SPEC = WorldSpec(convex=ConvexSpec(live="bad", documents=200), history_s=60, older_deployments=3)


@pytest.fixture
def serving():
    with serve(SPEC) as made:
        yield made


def canary(serving):
    body = {"path": "users:getUserByClerkId", "args": {"clerkId": CANARY}}
    return httpx.post(f"{serving.addresses['convex']}/api/query", json=body, trust_env=False).json()


def push(serving, role):
    """Push a revision as it was recorded; gives the last answer."""
    key = serving.world.token("CONVEX_DEPLOY_KEY")
    with httpx.Client(
        base_url=f"{serving.addresses['convex']}/api/deploy2", trust_env=False, timeout=60
    ) as http:
        body = {**prepared(role, cache_folder()).request, "adminKey": key, "dryRun": False}
        started = http.post("/start_push", json=body).json()
        change = {"adminKey": key, "schemaChange": started["schemaChange"], "timeoutMs": 20_000}
        status = http.post("/wait_for_schema", json=change).json()
        if status["type"] != "complete":
            return status
        done = {"adminKey": key, "startPush": started, "dryRun": False, "message": f"rollback to {role}"}
        return http.post("/finish_push", json=done).json()


def test_bad_code_fails_the_members_and_the_last_good_one_serves_them(serving):
    """The error share of the log follows from real calls."""
    assert canary(serving)["status"] == "error"
    before = serving.world.outcome_view().convex
    assert "componentDiffs" in push(serving, "good")
    assert canary(serving)["value"]["clerkId"] == CANARY
    until = time.monotonic() + 20
    while serving.world.outcome_view().convex.calls < 5 and time.monotonic() < until:
        time.sleep(0.1)
    after = serving.world.outcome_view().convex
    assert after.failed_calls == 0
    assert after.code != before.code
    assert after.pushes[:-1] == before.pushes
    assert (after.pushes[-1].message, after.pushes[-1].by) == ("rollback to good", "token")


def test_older_schema_is_refused_by_what_members_did_since(serving):
    """With a document that is really there; the bad code stays."""
    status = push(serving, "narrow")
    assert (status["type"], status["tableName"]) == ("failed", "users")
    id_ = status["error"].split('"')[1]
    assert serving.world.convex.storage.get(id_) is not None
    assert canary(serving)["status"] == "error"


def test_what_the_bad_code_wrote_keeps_the_last_good_schema_out():
    """Then rolling the code back is refused, until somebody has seen to the data."""
    spec = SPEC.model_copy(update={"convex": ConvexSpec(live="bad", documents=200, since_bad=3)})
    with serve(spec) as serving:
        status = push(serving, "good")
        assert (status["type"], status["tableName"]) == ("failed", "memberships")
        assert "extra field `tier`" in status["error"]
        assert canary(serving)["status"] == "error"


def test_pushes_commits_and_builds_name_the_same(serving):
    """The account's messages are commits of the repository, and so are the hosting's builds."""
    repository = serving.platform["convex"]["repository"]
    log = subprocess.run(
        ["git", "-C", repository, "log", "--format=%H"], capture_output=True, text=True, check=True
    ).stdout.split()
    pushes = serving.world.outcome_view().convex.pushes
    assert [push.message.rpartition(" ")[2] for push in pushes][-2:] == [log[1][:7], log[0][:7]]
    builds = {
        role: serving.world.hosting.deployments[id_].sha for role, id_ in serving.world.hosting.roles.items()
    }
    assert (builds["bad"], builds["stable"]) == (log[0], log[1])


def test_colleague_can_push_any_revision(serving):
    """Such as the bad one again, after the rollback."""
    fault = Fault(service="convex", kind="colleague_push", path="*/finish_push", pushes="bad", delay_s=0.1)
    serving.world.faults.add((fault,))
    push(serving, "good")
    until = time.monotonic() + 20
    while serving.world.outcome_view().convex.pushes[-1].by != "member" and time.monotonic() < until:
        time.sleep(0.05)
    assert canary(serving)["status"] == "error"


def test_world_begins_anew_with_everything(serving):
    """Repository, code and documents; what was pushed is gone."""
    push(serving, "good")
    serving.reset()
    assert canary(serving)["status"] == "error"
    assert serving.world.outcome_view().convex.pushes[-1].message.startswith("Deployed from Vercel")
    assert sum(serving.world.outcome_view().convex.documents.values()) == 200
