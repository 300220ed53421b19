"""The simulated hosting platform, held against the contract; the section is named in each docstring."""

from __future__ import annotations

import json

import pytest
from simulated import PROJECT, Company

from rollback_lib.simulator import Broken, Fault, Jobs, RollingRelease, WorldSpec

ENV = "/v10/projects/prj_drill/env"
LIST = "/v6/deployments"
OWN = {"projectId": "prj_drill"}


@pytest.fixture
def company():
    """The default world: a team on the pro plan."""
    return Company()


def code(response) -> tuple[int, str]:
    """Read status and code of an error."""
    return response.status_code, response.json()["error"]["code"]


def all_pages(company, **params):
    """Walk the list as §1 says: until=next, until next is null."""
    found, until = [], None
    while True:
        reply = company.vercel.get(LIST, params={**params, **({"until": until} if until else {})}).json()
        found += reply["deployments"]
        until = reply["pagination"]["next"]
        if until is None:
            return found


# --- §1 conventions -----------------------------------------------------------------------------------------


def test_missing_and_wrong_tokens_are_refused(company):
    """§1: 401 or 403 with code `forbidden` and `Not authorized`, and the mark by which the official tool knows why."""
    missing, wrong = company.client(None).get(PROJECT), company.client("wrong").get(PROJECT)
    assert (code(missing), code(wrong)) == ((401, "forbidden"), (403, "forbidden"))
    assert wrong.json()["error"] == {
        "code": "forbidden",
        "message": "Not authorized",
        "invalidToken": True,
    }
    assert missing.json()["error"]["missingToken"] is True


def test_token_without_the_right_to_change_reads_only():
    """§1: 403 where the role is too low; nothing is changed."""
    tokens = [{"name": "VERCEL_TOKEN", "service": "vercel", "scopes": ["read"]}]
    company = Company(WorldSpec.model_validate_json(json.dumps({"tokens": tokens})))
    assert company.vercel.get(PROJECT).status_code == 200
    assert code(company.rollback()) == (403, "forbidden")
    assert company.world.hosting.effects == []


@pytest.mark.parametrize(("status", "expected"), [(403, "forbidden"), (404, "not_found")])
def test_team_resource_without_its_team_is_refused(status, expected):
    """§1: 403 (Trying to access resource under scope ...) or 404."""
    company = Company(missing_team_status=status)
    bare = company.client(company.world.token("VERCEL_TOKEN"), team_id=None)
    for reply in (
        bare.get(PROJECT),
        bare.get(LIST),
        bare.post("/v9/projects/prj_drill/rollback/dpl_x", json={}),
    ):
        assert code(reply) == (status, expected)
    assert bare.get(PROJECT, params={"slug": "derrimut"}).status_code == 200
    assert "under scope" in bare.get(PROJECT, params={"teamId": "team_other"}).json()["error"]["message"]


def test_personal_account_names_no_team():
    """§1, §8: a personal account omits the team, and its things carry no `team`."""
    company = Company(team_id=None)
    assert company.vercel.get(PROJECT, params={"teamId": "team_drill"}).status_code == 403
    assert company.vercel.get(PROJECT).json()["accountId"] == "usr_drill"
    deployment = company.vercel.get(f"/v13/deployments/{company.role('bad')}").json()
    assert "team" not in deployment
    assert deployment["ownerId"] == "usr_drill"
    assert "defaultTeamId" not in company.vercel.get("/v2/user").json()["user"]


def test_any_version_in_the_path_is_understood(company):
    """§1: versions differ between sources; all of them are routed."""
    for path in ("/v1/projects/prj_drill", "/v99/projects/derrimut-platform", "/v7/deployments"):
        assert company.vercel.get(path).status_code == 200
    assert company.vercel.get("/teams/derrimut").json()["id"] == "team_drill"
    assert company.vercel.get("/projects/prj_drill/custom-environments").json() == {"environments": []}


def test_wrong_method_and_unknown_path_have_the_platform_error_shape(company):
    """§1: 405 `method_unknown`, 404 `not_found`."""
    wrong = company.vercel.delete(PROJECT)
    assert code(wrong) == (405, "method_unknown")
    assert wrong.json()["error"]["message"].startswith("This endpoint only responds to GET")
    assert code(company.vercel.get("/v1/nothing/here")) == (404, "not_found")


def test_unknown_query_is_ignored_and_bad_values_are_refused(company):
    """§1: 400 `bad_request` for a schema error only."""
    assert company.vercel.get(LIST, params={"whatever": "1"}).status_code == 200
    for wrong in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"until": "soon"}, {"state": "GONE"}):
        assert code(company.vercel.get(LIST, params=wrong)) == (400, "bad_request")
    assert code(company.vercel.post("/v13/deployments", content=b"{")) == (400, "bad_request")


# --- §2 deployments -----------------------------------------------------------------------------------------


def test_list_is_paged_newest_first_without_loss(company):
    """§1, §2a: 20 a page by default, `until=next` leads on, nothing is lost or twice."""
    first = company.vercel.get(LIST, params=OWN).json()
    assert first["pagination"]["count"] == len(first["deployments"]) == 20
    found = all_pages(company, **OWN)
    created = [item["created"] for item in found]
    assert created == sorted(created, reverse=True)
    own = [item for item in company.world.hosting.deployments.values() if item.project_id == "prj_drill"]
    assert sorted(item["uid"] for item in found) == sorted(item.id for item in own)
    assert len(own) > 100


def test_last_page_ends(company):
    """§1: `next` is null at the end, also when the page is just full."""
    count = len(company.world.hosting.deployments)
    assert count > 100
    found = all_pages(company, limit=100)
    assert len(found) == count
    three = company.vercel.get(LIST, params={"sha": found[5]["meta"]["githubCommitSha"], "limit": 1}).json()
    assert three["pagination"]["next"] is None


def test_other_projects_show_without_a_filter_only(company):
    """§2a: `projectId` takes id or name; without it the whole team's deployments come."""
    everything, own = all_pages(company), all_pages(company, projectId="derrimut-platform")
    assert {item["projectId"] for item in everything} == {"prj_drill", "prj_admin"}
    assert {item["projectId"] for item in own} == {"prj_drill"}
    assert everything[0]["projectId"] == "prj_admin"
    assert {i["projectId"] for i in all_pages(company, projectIds="prj_admin")} == {"prj_admin"}
    both = company.vercel.get(LIST, params={"projectId": "prj_drill", "projectIds": "prj_admin"})
    assert code(both) == (400, "bad_request")


@pytest.mark.parametrize(
    ("params", "holds"),
    [
        ({"target": "production"}, lambda item: item["target"] == "production"),
        ({"target": "preview"}, lambda item: item["target"] is None),
        ({"state": "READY"}, lambda item: item["state"] == "READY"),
        ({"state": "ERROR,CANCELED"}, lambda item: item["state"] in ("ERROR", "CANCELED")),
        ({"rollbackCandidate": "true"}, lambda item: item["isRollbackCandidate"] is True),
        ({"rollbackCandidate": "false"}, lambda item: not item["isRollbackCandidate"]),
        ({"branch": "staging"}, lambda item: item["meta"].get("githubCommitRef") == "staging"),
        ({"users": "usr_lee"}, lambda item: item["creator"]["uid"] == "usr_lee"),
        ({"app": "derrimut-admin"}, lambda item: item["projectId"] == "prj_admin"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_list_filters(company, params, holds):
    """§2a: each filter keeps all that fits and nothing else."""
    found, everything = all_pages(company, **params), all_pages(company, limit=100)
    assert found
    assert found == [item for item in everything if holds(item)]


def test_since_and_until_compare_the_creation_time(company):
    """§2a: on `createdAt`, not on when a deployment went live."""
    bad = company.world.hosting.deployments[company.role("bad")]
    found = company.vercel.get(
        LIST, params={**OWN, "since": bad.created_ms - 1, "until": bad.created_ms + 1}
    ).json()
    assert [item["uid"] for item in found["deployments"]] == [bad.id]
    assert bad.alias_assigned > bad.created_ms + 1


def test_listed_deployment_has_the_contract_fields(company):
    """§2a: names, types and the differences between kinds."""
    by_role = {company.name(item["uid"]): item for item in all_pages(company)}
    stable, preview, error = by_role["stable"], by_role["preview_before"], by_role["error"]
    for name in ("uid", "name", "projectId", "url", "inspectorUrl", "created", "createdAt", "state", "readyState",
                 "target", "source", "creator", "meta", "aliasAssigned", "aliasError", "isRollbackCandidate"):  # fmt: skip
        assert name in stable, name
    assert "id" not in stable
    assert "://" not in stable["url"]
    assert stable["state"] == stable["readyState"] == "READY"
    assert (stable["readySubstate"], by_role["hotfix"]["readySubstate"]) == ("PROMOTED", "STAGED")
    assert isinstance(stable["aliasAssigned"], int)
    assert by_role["third"]["aliasAssigned"] is True
    assert (preview["target"], preview["isRollbackCandidate"]) == (None, None)
    assert (error["errorCode"], error["aliasAssigned"], "ready" in error) == (
        "BUILD_UTILS_SPAWN_1",
        None,
        False,
    )
    assert by_role["ineligible"]["softDeletedByRetention"] is True
    assert by_role["deleted"]["state"] == "DELETED"
    assert "githubCommitSha" not in by_role["second"]["meta"]
    assert by_role["second"]["source"] == "cli"


def test_one_deployment_by_id_or_host(company):
    """§2b: `id` in place of `uid`, the team of a team's deployment, no word on eligibility."""
    id_ = company.role("stable")
    by_id = company.vercel.get(f"/v13/deployments/{id_}").json()
    assert by_id == company.vercel.get(f"/v13/deployments/{by_id['url']}").json()
    assert (by_id["id"], by_id["projectId"], by_id["ownerId"], by_id["team"]["id"]) == (
        id_,
        "prj_drill",
        "team_drill",
        "team_drill",
    )
    assert by_id["status"] == by_id["readyState"] == "READY"
    assert by_id["aliasAssigned"] is True
    assert by_id["gitSource"]["sha"] == by_id["meta"]["githubCommitSha"]
    assert "isRollbackCandidate" not in by_id
    assert "uid" not in by_id


def test_domain_resolves_to_what_it_serves_and_history_does_not(company):
    """§2b: a domain leads to the live one; `alias` of an older one is history."""
    assert company.vercel.get("/v13/deployments/derrimut247.drill").json()["id"] == company.role("bad")
    assert (
        "derrimut247.drill"
        in company.vercel.get(f"/v13/deployments/{company.role('stable')}").json()["alias"]
    )


def test_unknown_invalid_and_deleted_deployments(company):
    """§2b: 404 `Deployment not found`; 400 naming `id`; 410 for one that is gone."""
    unknown = company.vercel.get("/v13/deployments/dpl_nobody")
    assert (code(unknown), unknown.json()["error"]["message"]) == ((404, "not_found"), "Deployment not found")
    invalid = company.vercel.get("/v13/deployments/nonsense")
    assert invalid.status_code == 400
    assert "`id`" in invalid.json()["error"]["message"]
    assert company.vercel.get(f"/v13/deployments/{company.role('deleted')}").status_code == 410


# --- §3 rollback --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 9])
def test_rollback_is_accepted_empty_and_runs_its_states(company, version):
    """§3: 201 without body or content type; pending, in-progress, succeeded; only then do domains move."""
    to = company.role("stable")
    reply = company.vercel.post(f"/v{version}/projects/prj_drill/rollback/{to}")
    assert (reply.status_code, reply.content, "content-type" in reply.headers) == (201, b"", False)
    seen = []
    for _ in range(5):
        job = company.project()["lastAliasRequest"]
        seen.append((job["jobStatus"], company.live()))
        company.wait(0.1)
    assert seen == [("pending", "bad"), *[("in-progress", "bad")] * 3, ("succeeded", "stable")]
    assert (job["fromDeploymentId"], job["toDeploymentId"], job["type"]) == (
        company.role("bad"),
        to,
        "rollback",
    )
    assert job["requestedAt"] == company.world.began_ms


def test_rollback_pins_production(company):
    """§3: auto-assign goes off, crons follow, the target of the project moves, all hosts with it."""
    company.rollback()
    company.wait(1)
    project, to = company.project(), company.role("stable")
    assert (project["autoAssignCustomDomains"], project["targets"]["production"]["id"]) == (False, to)
    assert project["crons"]["deploymentId"] == to
    for host in ("derrimut247.drill", "www.derrimut247.drill"):
        assert company.vercel.get(f"/v4/aliases/{host}").json()["deploymentId"] == to


def test_last_rollback_target_is_shown_for_a_moment_only(company):
    """§4: filled transiently, null again once settled, and no signal of the pin."""
    company.rollback()
    company.wait(0.5)
    assert company.project()["lastRollbackTarget"] == {"id": company.role("stable")}
    company.wait(5)
    assert company.project()["lastRollbackTarget"] is None
    assert company.project()["autoAssignCustomDomains"] is False


@pytest.mark.parametrize(
    "role", ["staged", "hotfix", "preview_before", "error", "canceled", "ineligible", "bad"]
)
def test_rollback_to_what_is_not_eligible_is_refused(company, role):
    """§3: 422 for what never served, is no production build, is not ready, not kept, or current."""
    assert company.rollback(role).status_code == 422
    company.wait(5)
    assert company.live() == "bad"
    assert company.project()["autoAssignCustomDomains"] is True


def test_rollback_to_unknown_foreign_or_deleted_deployments_is_refused(company):
    """§3: 404, 410 and, for what is no deployment id, 400."""
    post = company.vercel.post
    assert post("/v9/projects/prj_drill/rollback/dpl_nobody", json={}).status_code == 404
    assert post("/v9/projects/prj_drill/rollback/derrimut.drill", json={}).status_code == 400
    assert company.rollback("other").status_code == 404
    assert company.rollback("deleted").status_code == 410
    to = company.role("stable")
    assert post(f"/v9/projects/prj_other/rollback/{to}", json={}).status_code == 404
    assert post(f"/v9/projects/derrimut-platform/rollback/{to}", json={}).status_code == 404
    assert company.world.hosting.effects == []


def test_hobby_goes_back_one_step_only():
    """§3: 402 with the upgrade text for any but the previous; the previous is accepted."""
    company = Company(plan="hobby")
    refused = company.rollback("second")
    assert refused.status_code == 402
    assert "upgrade to pro" in refused.json()["error"]["message"]
    assert company.rollback("stable").status_code == 201


def test_second_job_while_one_runs_is_a_conflict(company):
    """§3: 409 for rollback and promote alike, until the first has ended."""
    company.rollback()
    assert (company.rollback("second").status_code, company.promote("hotfix").status_code) == (409, 409)
    company.wait(1)
    assert company.rollback("second").status_code == 201
    company.wait(1)
    assert company.live() == "second"


def test_rollback_sent_again_after_it_worked_is_unprocessable(company):
    """§1, §3: a repeat is refused because the first one worked."""
    company.rollback()
    company.wait(1)
    assert company.rollback().status_code == 422
    assert company.live() == "stable"


def test_reason_of_a_rollback_is_kept_and_can_be_changed(company):
    """§3: `description` up to 250 characters; the update changes nothing but the reason."""
    assert company.rollback(description="x" * 251).status_code == 400
    company.rollback(description="INC-1: pages fail")
    assert company.project()["rollbackDescription"]["description"] == "INC-1: pages fail"
    path = f"/v1/projects/prj_drill/rollback/{company.role('stable')}/update-description"
    reply = company.vercel.patch(path, json={"description": "INC-1: membership fails"})
    assert (reply.status_code, reply.content) == (200, b"")
    assert company.project()["rollbackDescription"]["description"] == "INC-1: membership fails"
    other = path.replace(company.role("stable"), company.role("second"))
    assert company.vercel.patch(other, json={"description": "x"}).status_code == 404


def test_stale_job_is_told_before_the_first_request(company):
    """§3: the object persists; the one shown at first is hours old and of another move."""
    job = company.project()["lastAliasRequest"]
    assert (job["type"], job["jobStatus"]) == ("promote", "succeeded")
    assert company.world.began_ms - job["requestedAt"] > 3_600_000
    assert Company(stale_job="rollback").project()["lastAliasRequest"]["type"] == "rollback"
    assert Company(stale_job="none").project()["lastAliasRequest"] is None


def test_last_job_is_told_to_who_asks_only(company):
    """§3: `rollbackInfo=true` is to be sent always; without it the field is not there."""
    assert "lastAliasRequest" not in company.vercel.get(PROJECT).json()


@pytest.mark.parametrize(
    ("kind", "status", "moved"),
    [
        ("job_failed", "failed", "bad"),
        ("job_skipped", "skipped", "bad"),
        ("job_stuck", "in-progress", "bad"),
        ("partial", "failed", "stable"),
    ],
)
def test_job_that_does_not_succeed_leaves_the_pin_as_it_was(kind, status, moved):
    """§3: failed, skipped, stuck and partial jobs; auto-assign and the project's target stay."""
    company = Company(faults=(Fault(service="vercel", kind=kind, method="POST", path="*/rollback/*"),))
    assert company.rollback().status_code == 201
    company.wait(30)
    project = company.project()
    assert (project["lastAliasRequest"]["jobStatus"], company.live()) == (status, moved)
    assert (project["autoAssignCustomDomains"], project["targets"]["production"]["id"]) == (
        True,
        company.role("bad"),
    )


def test_failed_hosts_come_nested_or_flat(company):
    """§3: nested for the CLI, flat under /v1; `failedOnly` gives those that did not move."""
    company = Company(faults=(Fault(service="vercel", kind="partial", method="POST", path="*/rollback/*"),))
    company.rollback()
    company.wait(1)
    nested = company.vercel.get(
        f"{PROJECT}/rollback/aliases", params={"failedOnly": "true", "limit": 20}
    ).json()
    (line,) = nested["aliases"]
    assert (line["status"], line["alias"]) == (
        "failed",
        {"alias": "www.derrimut247.drill", "deploymentId": company.role("bad")},
    )
    flat = company.vercel.get("/v1/projects/prj_drill/rollback/aliases").json()
    assert {item["alias"]: item["status"] for item in flat["aliases"]} == {
        "derrimut247.drill": "completed",
        "www.derrimut247.drill": "failed",
        "derrimut-platform.vercel.drill": "completed",
    }
    assert company.vercel.get(f"{PROJECT}/promote/aliases").json()["aliases"] == []


# --- §3 promote ---------------------------------------------------------------------------------------------


def test_promote_of_a_staged_build_clears_the_pin(company):
    """§3: after a rollback, promoting a fresh build switches auto-assign on again."""
    company.rollback()
    company.wait(1)
    assert company.promote("staged").status_code == 201
    company.wait(1)
    assert (company.live(), company.project()["autoAssignCustomDomains"]) == ("staged", True)
    assert company.project()["lastAliasRequest"]["type"] == "promote"
    staged = company.vercel.get(f"/v13/deployments/{company.role('staged')}").json()
    assert staged["readySubstate"] == "PROMOTED"


def test_promote_switches_auto_assign_on_even_where_it_was_off_by_hand(company):
    """§9.3: what somebody had set false on purpose is true afterwards."""
    company.vercel.patch(PROJECT, json={"autoAssignCustomDomains": False})
    company.promote("staged")
    company.wait(1)
    assert company.project()["autoAssignCustomDomains"] is True


def test_promote_of_the_current_one_is_a_conflict_and_clears_nothing(company):
    """§3: 409 in the known words; the pin stays."""
    company.rollback()
    company.wait(1)
    reply = company.promote("stable")
    assert reply.status_code == 409
    assert reply.json()["error"]["message"] == (
        f"The provided deploymentId ({company.role('stable')}) is already the current production deployment."
    )
    assert company.project()["autoAssignCustomDomains"] is False


def test_promote_of_a_preview_is_unprocessable(company):
    """§3: a preview has to be rebuilt."""
    assert company.promote("preview_before").status_code == 422
    assert company.promote("error").status_code == 422


@pytest.mark.parametrize(
    ("switch", "status", "live"), [("accept", 201, "stable"), ("409", 409, "bad"), ("422", 422, "bad")]
)
def test_promote_of_one_that_was_promoted_before(switch, status, live):
    """§3, the contradiction: accepted, or refused in either way; only accepted ones move."""
    company = Company(promote_again=switch)
    assert company.promote("stable").status_code == status
    company.wait(1)
    assert company.live() == live


def test_undo_by_rollback_moves_traffic_and_keeps_the_pin():
    """§3, undo: where promoting again is refused, rolling forward works but leaves auto-assign off."""
    company = Company(promote_again="422")
    company.rollback()
    company.wait(1)
    assert company.promote("bad").status_code == 422
    assert company.rollback("bad").status_code == 201
    company.wait(1)
    assert (company.live(), company.project()["autoAssignCustomDomains"]) == ("bad", False)


def test_promote_waits_for_a_rolling_release():
    """§3: 202 empty, queued; the job begins when the rolling release has ended."""
    company = Company(rolling_release=RollingRelease(percentage=25, ends_after_s=60))
    state = company.vercel.get("/v1/projects/prj_drill/rolling-release").json()["rollingRelease"]
    assert state["activeStage"]["targetPercentage"] == 25
    assert company.project()["rollingRelease"]
    reply = company.promote("staged")
    assert (reply.status_code, reply.content) == (202, b"")
    company.wait(59)
    assert company.live() == "bad"
    company.wait(2)
    assert company.live() == "staged"
    assert company.vercel.get("/v1/projects/prj_drill/rolling-release").json() == {"rollingRelease": None}
    assert company.project()["rollingRelease"] is None


def test_rollback_stops_a_rolling_release():
    """§3: any active rolling release is stopped."""
    company = Company(rolling_release=RollingRelease(ends_after_s=60))
    company.rollback()
    assert company.project()["rollingRelease"] is None
    company.wait(120)
    assert company.live() == "stable"


def test_colleague_takes_the_job_over():
    """§3: a concurrent promote replaces the job; the first moves nothing; the ledger names who it was."""
    company = Company(
        faults=(
            Fault(
                service="vercel", kind="concurrent_promote", method="POST", path="*/rollback/*", delay_s=0.2
            ),
        )
    )
    company.rollback()
    company.wait(5)
    job = company.project()["lastAliasRequest"]
    assert (job["type"], company.name(job["toDeploymentId"]), job["jobStatus"]) == (
        "promote",
        "hotfix",
        "succeeded",
    )
    assert (company.live(), company.project()["autoAssignCustomDomains"]) == ("hotfix", True)
    moved = {effect.by for effect in company.world.outcome_view().effects if effect.what == "host moved"}
    assert moved == {"colleague"}
    entry = next(entry for entry in company.world.ledger.entries() if entry.caller == "colleague")
    assert (entry.method, entry.weight, entry.applied) == ("POST", "production", True)


def test_colleague_comes_after_the_job():
    """§3: a promote right after a rollback that worked moves production off the target again."""
    company = Company(
        faults=(
            Fault(
                service="vercel", kind="concurrent_promote", method="POST", path="*/rollback/*", delay_s=1,
                promotes="second",
            ),
        )
    )  # fmt: skip
    company.rollback()
    company.wait(0.9)
    assert company.live() == "stable"
    company.wait(1)
    assert company.live() == "second"


# --- §4 project ---------------------------------------------------------------------------------------------


def test_project_has_the_contract_fields(company):
    """§4: by id or name; the live deployment, the pin, the crons, the link."""
    project = company.vercel.get("/v9/projects/derrimut-platform").json()
    assert (project["id"], project["name"], project["accountId"]) == (
        "prj_drill",
        "derrimut-platform",
        "team_drill",
    )
    target = project["targets"]["production"]
    assert (target["id"], target["readySubstate"], target["target"]) == (
        company.role("bad"),
        "PROMOTED",
        "production",
    )
    assert target["meta"]["githubCommitSha"]
    assert project["autoAssignCustomDomains"] is True
    assert project["crons"]["deploymentId"] == company.role("bad")
    assert project["link"]["productionBranch"] == "main"
    assert (project["paused"], project["rollingRelease"], project["lastRollbackTarget"]) == (
        False,
        None,
        None,
    )
    assert len(project["latestDeployments"]) == 5
    assert {item["scope"] for item in project["protectionBypass"].values()} == {"automation-bypass"}


def test_unknown_project_is_not_found(company):
    """§4: 404."""
    assert code(company.vercel.get("/v9/projects/prj_unknown")) == (404, "not_found")


def test_auto_assign_can_be_set_without_moving_traffic(company):
    """§3, §4: PATCH with that one field; anything else is refused."""
    company.rollback()
    company.wait(1)
    assert company.vercel.patch(PROJECT, json={"autoAssignCustomDomains": True}).json()[
        "autoAssignCustomDomains"
    ]
    assert company.live() == "stable"
    assert company.vercel.patch(PROJECT, json={"autoAssignCustomDomains": "yes"}).status_code == 400
    assert company.vercel.patch(PROJECT, json={"surprise": 1}).status_code == 400


def test_domains_of_production_leave_the_branch_out(company):
    """§7a: `production=true` lists what a rollback moves."""
    hosts = [
        item["name"] for item in company.vercel.get(f"{PROJECT}/domains?production=true").json()["domains"]
    ]
    assert hosts == ["derrimut247.drill", "www.derrimut247.drill", "derrimut-platform.vercel.drill"]
    everything = company.vercel.get(f"{PROJECT}/domains").json()["domains"]
    assert {item["name"]: item["gitBranch"] for item in everything}["staging.derrimut247.drill"] == "staging"


# --- §5 builds ----------------------------------------------------------------------------------------------


def redeploy(company, role="stable", **wish):
    """Ask for a build of an earlier deployment's source."""
    body = {"name": "derrimut-platform", "deploymentId": company.role(role), "target": "production", **wish}
    return company.vercel.post("/v13/deployments", params={"forceNew": "1"}, json=body)


def state_of(company, id_):
    """Read a build's state and whether its aliases are set."""
    item = company.vercel.get(f"/v13/deployments/{id_}").json()
    return item["readyState"], item["aliasAssigned"]


def test_redeploy_runs_its_states_and_takes_the_domains(company):
    """§5: 200 in QUEUED, then INITIALIZING, BUILDING, READY; live because auto-assign is on."""
    reply = redeploy(company, meta={"action": "redeploy"})
    made = reply.json()
    assert (reply.status_code, made["readyState"], made["meta"]["action"]) == (200, "QUEUED", "redeploy")
    assert made["team"]["id"] == "team_drill"
    seen = []
    for _ in range(4):
        seen.append(state_of(company, made["id"]))
        company.wait(0.2)
    assert seen == [("QUEUED", False), ("BUILDING", False), ("BUILDING", False), ("READY", True)]
    assert company.world.live().id == made["id"]
    assert company.world.outcome_view().healthy


def test_redeploy_while_pinned_stays_staged(company):
    """§5: it builds but does not take the custom domains; promoting it does, and clears the pin."""
    company.rollback()
    company.wait(1)
    made = redeploy(company).json()
    company.wait(1)
    assert state_of(company, made["id"]) == ("READY", True)
    assert company.vercel.get(f"/v13/deployments/{made['id']}").json()["readySubstate"] == "STAGED"
    assert company.live() == "stable"
    company.vercel.post(f"/v10/projects/prj_drill/promote/{made['id']}", json={})
    company.wait(1)
    assert (company.world.live().id, company.project()["autoAssignCustomDomains"]) == (made["id"], True)


def test_redeploy_sent_twice_builds_twice(company):
    """§1: a second POST creates a second deployment."""
    assert redeploy(company).json()["id"] != redeploy(company).json()["id"]
    assert len(company.world.hosting.deployments) == len(all_pages(company))


def test_redeploy_of_the_culprit_is_as_bad(company):
    """§5: the source is that deployment's; building it again heals nothing."""
    redeploy(company, "bad")
    company.wait(1)
    assert not company.world.outcome_view().healthy


def test_new_commit_builds_without_the_fault(company):
    """§5: a commit that the world has not seen is the fix."""
    body = {
        "name": "derrimut-platform",
        "target": "production",
        "gitSource": {"type": "github", "sha": "f" * 40},
    }
    made = company.vercel.post("/v13/deployments", json=body).json()
    company.wait(1)
    assert (made["meta"]["githubCommitSha"], company.world.live().id) == ("f" * 40, made["id"])
    assert company.world.outcome_view().healthy


def test_build_that_fails_changes_nothing():
    """§5: ERROR with its code and text; the domains stay."""
    company = Company(jobs=Jobs(build_outcome="error"))
    made = redeploy(company).json()
    company.wait(1)
    failed = company.vercel.get(f"/v13/deployments/{made['id']}").json()
    assert (failed["readyState"], failed["errorCode"], failed["aliasAssigned"]) == (
        "ERROR",
        "BUILD_FAILED",
        False,
    )
    assert company.live() == "bad"


def test_build_can_be_cancelled_until_it_is_done(company):
    """§5: PATCH cancel stops it; a ready one cannot be cancelled."""
    made = redeploy(company).json()
    assert company.vercel.patch(f"/v12/deployments/{made['id']}/cancel").json()["readyState"] == "CANCELED"
    company.wait(5)
    assert state_of(company, made["id"]) == ("CANCELED", False)
    assert company.live() == "bad"
    assert company.vercel.patch(f"/v12/deployments/{company.role('stable')}/cancel").status_code == 400


def test_preview_is_promoted_by_rebuilding_it(company):
    """§8: what the official command sends for a preview makes a new production build."""
    made = redeploy(company, "preview_before", meta={"action": "promote"}).json()
    company.wait(1)
    assert company.world.live().id == made["id"] != company.role("preview_before")
    preview = redeploy(company, "stable", target=None).json()
    company.wait(1)
    assert company.vercel.get(f"/v13/deployments/{preview['id']}").json()["target"] is None
    assert company.world.live().id == made["id"]


def test_incomplete_wish_for_a_build_is_refused(company):
    """§5: 400 without name or source, 404 for an unknown source."""
    post = company.vercel.post
    assert post("/v13/deployments", json={"deploymentId": company.role("stable")}).status_code == 400
    assert post("/v13/deployments", json={"name": "x"}).status_code == 400
    assert post("/v13/deployments", json={"name": "x", "deploymentId": "dpl_nobody"}).status_code == 404
    assert redeploy(company, target="staging").status_code == 400
    assert company.world.hosting.effects == []


# --- §6 environment variables -------------------------------------------------------------------------------


def rows(company, **params):
    """List the variables by key and targets."""
    envs = company.vercel.get(ENV, params=params).json()["envs"]
    return {(row["key"], *row["target"]): row for row in envs}


def test_list_gives_ciphertext_and_single_reads_the_value(company):
    """§6: encrypted as ciphertext in the list, plain one by one, sensitive never."""
    listed = rows(company)
    clerk = listed["CLERK_SECRET_KEY", "production"]
    one = company.vercel.get(f"/v1/projects/prj_drill/env/{clerk['id']}").json()
    assert (clerk["decrypted"], one["decrypted"]) == (False, True)
    assert clerk["value"] != one["value"]
    stripe = listed["STRIPE_SECRET_KEY", "production"]
    sensitive = company.vercel.get(f"/v1/projects/prj_drill/env/{stripe['id']}").json()
    assert ("value" in sensitive, sensitive["decrypted"]) == (False, False)
    assert listed["NEXT_PUBLIC_SITE_URL", "production"]["value"] == "https://derrimut247.drill"
    assert len(clerk["id"]) == 16


def test_variables_are_filtered_by_target(company):
    """§6: one key may have several rows, told apart by target."""
    assert ("CLERK_SECRET_KEY", "preview", "development") in rows(company, target="preview")
    assert ("CLERK_SECRET_KEY", "production") not in rows(company, target="preview")


def test_variable_is_created_edited_and_deleted(company):
    """§6: 201 created, 200 edited with a later `updatedAt`, 200 deleted; then it is not there."""
    wish = {"key": "FLAG", "value": "on", "type": "plain", "target": ["production"]}
    reply = company.vercel.post(ENV, json=wish)
    made = reply.json()["created"]
    assert (reply.status_code, reply.json()["failed"], made["value"]) == (201, [], "on")
    company.wait(5)
    path = f"/v9/projects/prj_drill/env/{made['id']}"
    edited = company.vercel.patch(path, json={"value": "off"}).json()
    assert (edited["value"], edited["updatedAt"] - made["updatedAt"]) == ("off", 5_000)
    assert company.vercel.delete(path).json()["id"] == made["id"]
    assert company.vercel.delete(path).status_code == 404
    assert company.vercel.get(f"/v1/projects/prj_drill/env/{made['id']}").status_code == 404


def test_duplicate_variable_conflicts_unless_upserted(company):
    """§6: `ENV_CONFLICT`; an upsert wants the very same targets."""
    wish = {"key": "SENTRY_DSN", "value": "x", "type": "encrypted", "target": ["production", "preview"]}
    refused = company.vercel.post(ENV, json=wish)
    assert code(refused) == (400, "ENV_CONFLICT")
    assert "`SENTRY_DSN`" in refused.json()["error"]["message"]
    assert company.vercel.post(ENV, params={"upsert": "true"}, json=wish).status_code == 201
    other = {**wish, "target": ["production"]}
    assert code(company.vercel.post(ENV, params={"upsert": "true"}, json=other)) == (400, "ENV_CONFLICT")


def test_list_of_variables_may_be_taken_in_part(company):
    """§6: 201 with what failed beside what was made; none made is nothing applied."""
    good = {"key": "NEW", "value": "1", "type": "plain", "target": ["production"]}
    clash = {"key": "SENTRY_DSN", "value": "x", "type": "plain", "target": ["preview"]}
    reply = company.vercel.post(ENV, json=[good, clash]).json()
    assert ([row["key"] for row in reply["created"]], reply["failed"][0]["error"]["code"]) == (
        ["NEW"],
        "ENV_CONFLICT",
    )
    assert company.vercel.post(ENV, json=[clash]).status_code == 201
    assert [entry.applied for entry in company.world.ledger.entries()] == [True, False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "secret"},
        {"target": ["moon"]},
        {"value": 5},
        {"type": "sensitive", "target": ["development"]},
    ],
    ids=str,
)
def test_wrong_variable_is_refused(company, wrong):
    """§6: writable types and targets only; sensitive not for development."""
    wish = {"key": "K", "value": "v", "type": "plain", "target": ["production"], **wrong}
    assert company.vercel.post(ENV, json=wish).status_code == 400
    assert company.vercel.post(ENV, json={"key": "K"}).status_code == 400


def test_many_variables_are_deleted_at_once(company):
    """§6: the batch tells how many and which."""
    ids = [row["id"] for row in rows(company).values()][:2]
    reply = company.vercel.request(
        "DELETE", "/v1/projects/prj_drill/env", json={"ids": [*ids, "nobody"]}
    ).json()
    assert reply == {"deleted": 2, "ids": ids}


def test_old_builds_keep_their_values(company):
    """§6, §9.7: an edit reaches new builds only; a rollback brings the old values back."""
    row = rows(company)["NEXT_PUBLIC_SITE_URL", "production"]
    company.vercel.patch(f"/v9/projects/prj_drill/env/{row['id']}", json={"value": "https://new.drill"})
    made = redeploy(company).json()
    deployments = company.world.hosting.deployments
    assert deployments[made["id"]].env["NEXT_PUBLIC_SITE_URL"] == "https://new.drill"
    assert deployments[company.role("stable")].env["NEXT_PUBLIC_SITE_URL"] == "https://derrimut247.drill"


def test_pull_does_not_give_sensitive_values(company):
    """§6: `[SENSITIVE]` in place of a value that cannot be read."""
    pulled = company.vercel.get("/v3/env/pull/prj_drill/production").json()
    assert pulled["env"]["STRIPE_SECRET_KEY"] == "[SENSITIVE]"
    assert pulled["env"]["CLERK_SECRET_KEY"].startswith("drill")


# --- §7 aliases, logs, protection ---------------------------------------------------------------------------


def test_alias_records_tell_what_is_live(company):
    """§7a: by host and by deployment; a host that is none of ours is not found."""
    alias = company.vercel.get("/v4/aliases/www.derrimut247.drill").json()
    bad = company.role("bad")
    assert (alias["alias"], alias["deploymentId"], alias["deployment"]["id"], alias["projectId"]) == (
        "www.derrimut247.drill",
        bad,
        bad,
        "prj_drill",
    )
    now = [item["alias"] for item in company.vercel.get(f"/v2/deployments/{bad}/aliases").json()["aliases"]]
    assert now == ["derrimut247.drill", "www.derrimut247.drill", "derrimut-platform.vercel.drill"]
    assert company.vercel.get(f"/v2/deployments/{company.role('stable')}/aliases").json() == {"aliases": []}
    assert code(company.vercel.get("/v4/aliases/nobody.drill")) == (404, "not_found")


def test_single_host_moves_past_the_job(company):
    """§7a: no pin, no cron, no change of the project's target."""
    stable, bad = company.role("stable"), company.role("bad")
    reply = company.vercel.post(
        f"/v2/deployments/{stable}/aliases", json={"alias": "derrimut247.drill"}
    ).json()
    assert (reply["alias"], reply["oldDeploymentId"]) == ("derrimut247.drill", bad)
    project = company.project()
    assert company.live() == "stable"
    assert (project["targets"]["production"]["id"], project["autoAssignCustomDomains"]) == (bad, True)
    foreign = company.vercel.post(f"/v2/deployments/{stable}/aliases", json={"alias": "example.drill"})
    assert foreign.status_code == 403


def test_build_log_is_an_array_or_a_stream(company):
    """§7b: JSON array; with `follow=1` one object a line, with the alias event; errors of a failed build."""
    path = f"/v3/deployments/{company.role('stable')}/events"
    lines = company.vercel.get(path, params={"builds": 1, "follow": 0, "limit": 100}).json()
    assert lines[-1]["type"] == "alias-assigned"
    assert [line["created"] for line in lines] == sorted(line["created"] for line in lines)
    stream = company.vercel.get(path, params={"follow": 1})
    assert stream.headers["content-type"].startswith("application/stream+json")
    assert [json.loads(line) for line in stream.text.splitlines()] == lines
    assert company.vercel.get(path, params={"limit": 2, "direction": "backward"}).json() == lines[:-3:-1]
    failed = company.vercel.get(f"/v3/deployments/{company.role('error')}/events").json()
    assert failed[-1]["level"] == "error"


def test_runtime_logs_are_the_failures_that_visitors_met(company):
    """§7b: one object a line, of the bad deployment; a build that served nobody has none."""
    path = "/v1/projects/prj_drill/deployments/{}/runtime-logs"
    reply = company.vercel.get(path.format(company.role("bad")))
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert reply.headers["content-type"].startswith("application/stream+json")
    assert lines[0]["responseStatusCode"] == 500
    assert 100 < len(lines) <= 500
    assert company.vercel.get(path.format(company.role("staged"))).text == ""


def test_bypass_secrets_are_made_and_revoked(company):
    """§7c: PATCH makes a further one; a revoked one opens nothing any more."""
    path = "/v1/projects/prj_drill/protection-bypass"
    made = company.vercel.patch(path, json={"generate": {"note": "drill"}}).json()["protectionBypass"]
    assert len(made) == 2
    old = company.world.bypass
    left = company.vercel.patch(path, json={"revoke": {"secret": old, "regenerate": False}}).json()
    assert old not in left["protectionBypass"]
    assert company.vercel.patch(path, json={"revoke": {"secret": old}}).status_code == 404
    url = company.world.hosting.deployments[company.role("stable")].url
    shown = {"x-vercel-protection-bypass": old}
    assert company.app.get(f"/_deployment/{url}/api/health", headers=shown).status_code == 401


# --- §8 what the official command sends ---------------------------------------------------------------------


def test_user_and_team_lead_the_official_command_on(company):
    """§8: the minimal replies, and the default team of a team's member."""
    user = company.vercel.get("/v2/user").json()["user"]
    assert {"id", "email", "username"} <= set(user)
    assert (user["defaultTeamId"], user["version"]) == ("team_drill", "northstar")
    team = company.vercel.get("/teams/team_drill", params={"teamId": "team_drill"}).json()
    assert (team["id"], team["slug"]) == ("team_drill", "derrimut")
    assert company.vercel.get("/teams/team_other").status_code == 403
    bare = company.client(company.world.token("VERCEL_TOKEN"), team_id=None)
    assert bare.get("/v2/user").status_code == bare.get("/teams/derrimut").status_code == 200


def test_role_of_the_token_is_told_and_counts():
    """§3: owners and members roll back; the team says which of them the token is."""
    for role, status in (("OWNER", 201), ("MEMBER", 201), ("VIEWER", 403), ("DEVELOPER", 403)):
        company = Company(role=role, plan="enterprise")
        team = company.vercel.get("/v2/teams/team_drill").json()
        assert (team["membership"]["role"], team["billing"]["plan"]) == (role, "enterprise")
        assert company.rollback().status_code == status
        company.wait(5)
        assert (company.live() == "stable") is (status == 201)


def test_recorded_sequence_of_a_rollback(company):
    """§8: the requests of `rollback web-old --yes`, in order, with their replies."""
    url = company.world.hosting.deployments[company.role("stable")].url
    assert company.vercel.get("/v2/user").status_code == 200
    target = company.vercel.get(f"/v13/deployments/{url}").json()
    project = company.vercel.get(f"/v9/projects/{target['projectId']}").json()
    assert (
        company.vercel.post(f"/v9/projects/{project['id']}/rollback/{target['id']}", json={}).status_code
        == 201
    )
    company.wait(1)
    job = company.vercel.get(f"/v9/projects/{project['id']}", params={"rollbackInfo": "true"}).json()[
        "lastAliasRequest"
    ]
    assert (job["jobStatus"], job["toDeploymentId"]) == ("succeeded", target["id"])
    assert abs(job["requestedAt"] - company.world.now_ms()) < 180_000
    assert company.vercel.get(f"/v13/deployments/{target['id']}").json()["target"] == "production"


def test_recorded_env_requests(company):
    """§8: what `env add`, `env update` and `env rm` send is taken as it is."""
    body = {"type": "sensitive", "key": "K", "value": "v", "target": ["production"], "visibility": "secret"}
    made = company.vercel.post(ENV, json=body).json()["created"]
    assert (made["visibility"], "value" in made) == ("secret", False)
    update = {"type": "sensitive", "value": "w", "target": ["production"], "visibility": "config", "key": "K"}
    assert company.vercel.patch(f"{ENV}/{made['id']}", json=update).json()["visibility"] == "config"
    assert company.vercel.delete(f"{ENV}/{made['id']}").status_code == 200


def test_promoted_culprit_shows_a_fresh_job():
    """§3: where the culprit went live by a promote, the last job names it, minutes before the issue."""
    company = Company(broken=Broken(went_live_by="promote"))
    job = company.project()["lastAliasRequest"]
    assert (job["type"], company.name(job["toDeploymentId"])) == ("promote", "bad")
    assert job["requestedAt"] < company.world.issue_ms
