"""The Vercel client: what it sends, and every shape that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from conftest import FakeClock
from http_fakes import Pass, Platform, door, ok, unanswered, unconnected
from pydantic import SecretStr

from rollback_lib.errors import BadParameters, NotApplied, OutcomeUnknown, PlanViolation, Unreachable
from rollback_lib.http import Service
from rollback_lib.model import RequestClass
from rollback_lib.providers.vercel import VERCEL_RULES, VercelClient, judge_vercel

TOKEN = "vercel-token-81c2"
SHA = "0123456789abcdef0123456789abcdef01234567"
LISTED = {
    "uid": "dpl_A",
    "name": "web",
    "projectId": "prj_1",
    "url": "web-abc123.vercel.app",
    "inspectorUrl": "https://vercel.com/t/web/A",
    "created": 1790000000000,
    "createdAt": 1790000000000,
    "ready": 1790000060000,
    "state": "READY",
    "readyState": "READY",
    "readySubstate": "PROMOTED",
    "target": "production",
    "source": "git",
    "creator": {"uid": "u1", "email": "a@b.c", "username": "ana"},
    "meta": {
        "githubCommitSha": SHA,
        "githubCommitRef": "main",
        "githubCommitMessage": "Fix the booking form",
        "githubCommitAuthorLogin": "ana-gh",
    },
    "aliasAssigned": 1790000061000,
    "aliasError": None,
    "isRollbackCandidate": True,
    "checksState": "completed",
    "checksConclusion": "succeeded",
}
PROJECT = {
    "id": "prj_1",
    "name": "web",
    "accountId": "team_1",
    "targets": {"production": {"id": "dpl_A", "url": "web-abc123.vercel.app", "readyState": "READY"}},
    "autoAssignCustomDomains": False,
    "lastAliasRequest": {
        "fromDeploymentId": "dpl_B",
        "toDeploymentId": "dpl_A",
        "jobStatus": "in-progress",
        "requestedAt": 1790000000000,
        "type": "rollback",
    },
}


@dataclass(frozen=True)
class Settings:
    """Which project, in which team."""

    team_id: str = "team_1"
    project: str = "prj_1"


def client(*script: Any, settings: Settings | None = None) -> tuple[VercelClient, Platform, FakeClock]:
    """Make a client of a platform that answers from a script."""
    platform, clock = Platform(list(script)), FakeClock()
    headers = (("authorization", SecretStr(f"Bearer {TOKEN}")),)
    source = "environment variable VERCEL_TOKEN"
    service = Service("vercel", "https://api.vercel.test", VERCEL_RULES, headers, source, judge=judge_vercel)
    return VercelClient(door(service, platform, clock), settings or Settings()), platform, clock


def listed(**changed: Any) -> dict[str, Any]:
    """Return a deployment of a list, changed; a None removes the field."""
    merged = LISTED | changed
    return {name: value for name, value in merged.items() if name not in changed or value is not None}


def only(**changed: Any) -> Any:
    """Read one deployment out of a list of one."""
    vercel, _, _ = client(ok({"deployments": [listed(**changed)], "pagination": {"next": None}}))
    (found,) = vercel.deployments()
    return found


# Deployments


def test_deployment_of_a_list_is_read_whole():
    """Everything that the contract's example says is there."""
    found = only()
    assert (found.id, found.name, found.project_id, found.url) == (
        "dpl_A",
        "web",
        "prj_1",
        "web-abc123.vercel.app",
    )
    assert (found.target, found.state, found.substate) == ("production", "READY", "PROMOTED")
    assert found.created_at == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert found.ready_at == datetime(2026, 9, 21, 14, 14, 20, tzinfo=UTC)
    assert found.aliased_at == datetime(2026, 9, 21, 14, 14, 21, tzinfo=UTC)
    assert found.aliased is True
    assert found.rollback_candidate is True
    assert (found.checks_state, found.checks_conclusion) == ("completed", "succeeded")
    assert (found.commit_sha, found.commit_ref) == (SHA, "main")
    assert (found.commit_message, found.commit_author) == ("Fix the booking form", "ana-gh")
    assert (found.creator, found.source, found.action, found.deleted) == ("ana", "git", "", False)


@pytest.mark.parametrize(
    ("assigned", "more", "aliased", "timed"),
    [
        (1790000061000, {}, True, True),
        ("1790000061000", {}, True, True),
        (True, {}, True, False),
        (True, {"aliasAssignedAt": 1790000061000}, True, True),
        (False, {"aliasAssignedAt": 1790000061000}, False, False),
        (None, {}, False, False),
        (0, {}, False, False),
    ],
)
def test_alias_assigned_in_any_type_is_understood(assigned, more, aliased, timed):
    """A number is a time, true is only a truth."""
    found = only(aliasAssigned=assigned, **more)
    assert found.aliased is aliased
    assert (found.aliased_at is not None) is timed


@pytest.mark.parametrize("prefix", ["github", "gitlab", "bitbucket", "git"])
def test_commit_is_found_under_any_git_host(prefix):
    """Each git host has its own prefix."""
    meta = {f"{prefix}Commit{name}": name for name in ("Sha", "Ref", "Message", "AuthorName")}
    found = only(meta=meta)
    assert (found.commit_sha, found.commit_ref) == ("Sha", "Ref")
    assert (found.commit_message, found.commit_author) == ("Message", "AuthorName")


@pytest.mark.parametrize("meta", [{}, None, {"gitDirty": "1"}, "odd"])
def test_deployment_without_commit_is_read(meta):
    """A deployment from the command line may have no commit."""
    assert only(meta=meta).commit_sha == ""


def test_deployment_with_absent_fields_is_read():
    """Optional fields may be missing or null; unknown states are kept as written."""
    vercel, _, _ = client(
        ok(
            {
                "id": "dpl_A",
                "url": "https://a.vercel.app/",
                "createdAt": 1,
                "readyState": "PONDERING",
                "gitSource": {"sha": SHA, "ref": "main"},
                "project": {"id": "prj_9"},
                "checksConclusion": None,
                "customEnvironment": {"slug": "qa"},
                "aliasError": {"code": "x", "message": "y"},
            }
        )
    )
    found = vercel.deployment("dpl_A")
    assert (found.state, found.substate, found.target) == ("PONDERING", None, None)
    assert (found.project_id, found.url, found.commit_sha, found.commit_ref) == (
        "prj_9",
        "a.vercel.app",
        SHA,
        "main",
    )
    assert found.rollback_candidate is None
    assert (found.checks_conclusion, found.ready_at, found.custom_environment) == (None, None, "qa")
    assert found.alias_error == "x: y"


@pytest.mark.parametrize(
    "changed",
    [
        {"deleted": 1790000061000},
        {"softDeletedByRetention": True},
        {"readyState": "DELETED", "state": "DELETED"},
    ],
)
def test_deleted_deployment_is_seen_as_such(changed):
    """Each way in which a deployment can be gone counts."""
    assert only(**changed).deleted is True


@pytest.mark.parametrize("missing", ["uid", "url", "createdAt"])
def test_deployment_without_what_is_needed_is_unreachable(missing):
    """Without an id, an address or a time nothing can be decided."""
    changed = {missing: None} | ({"created": None} if missing == "createdAt" else {})
    with pytest.raises(Unreachable, match="vercel: GET /v6/deployments"):
        only(**changed)


def test_list_is_read_page_by_page_with_until():
    """The next page is asked for with the time that the last one named, and a repeated deployment counts once."""
    vercel, platform, _ = client(
        ok(
            {
                "deployments": [listed(), listed(uid="dpl_B")],
                "pagination": {"count": 2, "next": 1540095775951, "prev": 1},
            }
        ),
        ok({"deployments": [listed(uid="dpl_B"), listed(uid="dpl_C")], "pagination": {"next": None}}),
    )
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    found = list(vercel.deployments(since=since, until=until, state="READY"))
    assert [deployment.id for deployment in found] == ["dpl_A", "dpl_B", "dpl_C"]
    first, second = platform.query(0), platform.query(1)
    assert sorted(first) == sorted(
        [
            ("projectId", "prj_1"),
            ("target", "production"),
            ("since", "1767225600000"),
            ("until", "1796083200000"),
            ("state", "READY"),
            ("limit", "100"),
            ("teamId", "team_1"),
        ]
    )
    assert ("until", "1540095775951") in second
    assert ("until", "1796083200000") not in second


def test_list_that_goes_in_a_circle_is_unreachable():
    """The same page again would never end."""
    vercel, platform, _ = client(ok({"deployments": [listed()], "pagination": {"next": 5}}))
    with pytest.raises(Unreachable, match="does not end"):
        list(vercel.deployments())
    assert len(platform.seen) == 2


def test_list_ends_at_the_pages_asked_for():
    """Whoever needs the newest ones does not read all."""
    answers = [
        ok({"deployments": [listed(uid=f"dpl_{n}")], "pagination": {"next": 100 - n}}) for n in range(9)
    ]
    vercel, platform, _ = client(*answers)
    assert len(list(vercel.deployments(max_pages=3))) == 3
    assert len(platform.seen) == 3


def test_list_is_read_only_as_far_as_needed():
    """A page nobody asks for is not fetched."""
    vercel, platform, _ = client(ok({"deployments": [listed()], "pagination": {"next": 5}}))
    assert next(vercel.deployments()).id == "dpl_A"
    assert len(platform.seen) == 1


@pytest.mark.parametrize("body", [{}, {"deployments": None}, {"items": []}, "text", 7])
def test_answer_without_a_list_is_unreachable(body):
    """No list is not an empty list."""
    vercel, _, _ = client(ok(body))
    with pytest.raises(Unreachable, match="deployments"):
        list(vercel.deployments())


def test_html_in_place_of_json_is_unreachable():
    """A login page is named as what it is."""
    vercel, _, _ = client(httpx.Response(200, text="<html><title>Sign in</title>"))
    with pytest.raises(Unreachable, match="HTML page titled 'Sign in'"):
        vercel.project()


@pytest.mark.parametrize("text", ["dpl_A/..", "", "https://a.vercel.app", "a b"])
def test_deployment_by_something_else_is_bad_parameters(text):
    """What is neither id nor host is not sent."""
    vercel, platform, _ = client(ok(LISTED))
    with pytest.raises(BadParameters):
        vercel.deployment(text)
    assert platform.seen == []


# Project


def test_project_is_read_with_rollback_info_and_team():
    """The flag that makes the alias job visible is always sent."""
    vercel, platform, _ = client(ok(PROJECT))
    project = vercel.project()
    assert platform.lines == ["GET /v9/projects/prj_1"]
    assert platform.query() == [("rollbackInfo", "true"), ("teamId", "team_1")]
    assert project.production_id == "dpl_A"
    assert project.auto_assign is False
    job = project.last_alias_job
    assert (job.from_id, job.to_id, job.status, job.type) == ("dpl_B", "dpl_A", "in-progress", "rollback")
    assert job.requested_at == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert job.ended is False
    assert (project.rolling_release, project.paused) == (False, False)


def test_personal_account_names_no_team():
    """Without a team id there is no teamId, not an empty one."""
    vercel, platform, _ = client(ok(PROJECT), settings=Settings(team_id=""))
    vercel.project()
    assert platform.query() == [("rollbackInfo", "true")]


@pytest.mark.parametrize("null", [True, False])
def test_project_with_little_in_it_is_read(null):
    """Fields may be null or absent; what is not said is not known."""
    fields = (
        "targets",
        "autoAssignCustomDomains",
        "lastAliasRequest",
        "rollingRelease",
        "link",
        "crons",
        "paused",
    )
    vercel, _, _ = client(ok({"id": "prj_1", "name": "web"} | (dict.fromkeys(fields) if null else {})))
    project = vercel.project()
    assert (project.production, project.production_id, project.auto_assign) == (None, None, None)
    assert project.last_alias_job is None
    assert (project.rolling_release, project.paused) == (False, False)


def test_project_with_everything_is_read():
    """A rolling release, a pause, the link and the cron jobs are seen."""
    more = {
        "rollingRelease": {"target": "production"},
        "paused": True,
        "link": {"type": "github", "org": "derrimut", "repo": "web", "productionBranch": "main"},
        "crons": {"deploymentId": "dpl_Z"},
        "rollbackDescription": {"description": "INC-1"},
        "targets": {
            "production": {"id": "dpl_A", "meta": {"githubCommitSha": SHA}, "readySubstate": "PROMOTED"}
        },
    }
    vercel, _, _ = client(ok(PROJECT | more))
    project = vercel.project()
    assert (project.rolling_release, project.paused) == (True, True)
    assert (project.repository, project.production_branch) == ("derrimut/web", "main")
    assert (project.crons_deployment_id, project.rollback_description) == ("dpl_Z", "INC-1")
    assert project.production.commit_sha == SHA


def test_unknown_job_status_is_kept_and_has_not_ended():
    """A status nobody knows is neither success nor an end."""
    job = PROJECT["lastAliasRequest"] | {"jobStatus": "dithering", "fromDeploymentId": None}
    vercel, _, _ = client(ok(PROJECT | {"lastAliasRequest": job}))
    found = vercel.project().last_alias_job
    assert (found.status, found.ended, found.from_id) == ("dithering", False, None)


# Aliases and domains


@pytest.mark.parametrize("inner", [True, False])
def test_alias_moves_in_both_shapes_are_read(inner):
    """One source nests the host, the other does not."""
    alias = {"alias": "app.example.com", "deploymentId": "dpl_B"} if inner else "app.example.com"
    vercel, platform, _ = client(
        ok({"aliases": [{"id": "1", "status": "failed", "alias": alias}], "pagination": {}})
    )
    (move,) = vercel.alias_moves("rollback", failed_only=True)
    assert (move.alias, move.status) == ("app.example.com", "failed")
    assert move.deployment_id == ("dpl_B" if inner else None)
    assert platform.lines == ["GET /v9/projects/prj_1/rollback/aliases"]
    assert ("failedOnly", "true") in platform.query()


def test_alias_moves_of_a_promotion_have_their_own_path_and_may_be_empty():
    """An empty object means none."""
    vercel, platform, _ = client(ok({}))
    assert vercel.alias_moves("promote") == ()
    assert platform.lines == ["GET /v1/projects/prj_1/promote/aliases"]


def test_alias_moves_are_asked_for_by_the_projects_id():
    """The official tool never names the project there: whether Vercel would take a name is not known."""
    vercel, platform, _ = client(ok(PROJECT), ok({}), settings=Settings(project="web"))
    vercel.alias_moves("rollback")
    assert platform.lines == ["GET /v9/projects/web", "GET /v9/projects/prj_1/rollback/aliases"]


def test_alias_record_tells_what_a_host_serves():
    """The deployment may stand at the top or inside."""
    for body in ({"alias": "a.com", "deploymentId": "dpl_A"}, {"deployment": {"id": "dpl_A", "url": "x"}}):
        vercel, platform, _ = client(ok(body))
        assert vercel.alias("a.com").deployment_id == "dpl_A"
        assert platform.lines == ["GET /v4/aliases/a.com"]


def test_host_without_alias_record_is_none():
    """No record is an answer."""
    vercel, _, _ = client(ok({"error": {"code": "not_found"}}, 404))
    assert vercel.alias("a.com") is None


def test_alias_record_of_nothing_is_read():
    """An alias may point at no deployment."""
    vercel, _, _ = client(ok({"alias": "a.com", "deploymentId": None, "redirect": "b.com"}))
    found = vercel.alias("a.com")
    assert (found.deployment_id, found.redirect) == (None, "b.com")


def test_production_domains_are_listed():
    """Redirects and branch domains can be told from the rest."""
    domains = [
        {"name": "a.com", "verified": True},
        {"name": "www.a.com", "redirect": "a.com", "gitBranch": None},
    ]
    vercel, platform, _ = client(ok({"domains": domains, "pagination": {"next": None}}))
    first, second = vercel.domains()
    assert (first.host, first.redirect, first.verified) == ("a.com", "", True)
    assert (second.host, second.redirect, second.git_branch) == ("www.a.com", "a.com", "")
    assert ("production", "true") in platform.query()


def test_hosts_of_a_deployment_are_listed():
    """Only what points at it now."""
    vercel, platform, _ = client(
        ok({"aliases": [{"uid": "1", "alias": "a.com", "created": "2026"}, {"uid": "2"}]})
    )
    assert vercel.deployment_aliases("dpl_A") == ("a.com",)
    assert platform.lines == ["GET /v2/deployments/dpl_A/aliases"]


def test_build_log_is_read():
    """The endpoint answers with a bare list."""
    event = {"type": "stdout", "created": 1790000000000, "text": "Compiled", "level": "info"}
    older = {"type": "stderr", "payload": {"text": "warn", "date": 1790000000000}}
    vercel, platform, _ = client(ok([event, older]))
    first, second = vercel.build_log("dpl_A")
    assert (first.type, first.text, first.level) == ("stdout", "Compiled", "info")
    assert (second.text, second.at) == ("warn", first.at)
    assert ("follow", "0") in platform.query()


def test_owner_of_the_token_is_read():
    """Who it is, so that a wrong token is noticed before an incident."""
    vercel, _, _ = client(ok({"user": {"id": "usr_1", "username": "ana", "defaultTeamId": "team_1"}}))
    found = vercel.whoami()
    assert (found.id, found.username, found.default_team_id) == ("usr_1", "ana", "team_1")


# Changes


CHANGES = {
    "rollback": (
        lambda vercel, permit: vercel.rollback("dpl_old", permit, "INC-1"),
        "POST /v1/projects/prj_1/rollback/dpl_old",
    ),
    "promote": (
        lambda vercel, permit: vercel.promote("dpl_old", permit),
        "POST /v10/projects/prj_1/promote/dpl_old",
    ),
    "auto-assign": (lambda vercel, permit: vercel.set_auto_assign(True, permit), "PATCH /v9/projects/prj_1"),
}
each_change = pytest.mark.parametrize(("change", "line"), CHANGES.values(), ids=CHANGES)


def test_rollback_sends_what_the_contract_says():
    """Path with the project's id, empty object as body, reason and team in the query, empty answer accepted."""
    vercel, platform, _ = client(httpx.Response(201))
    accepted = vercel.rollback("dpl_old", Pass(), "INC-1  error\nrate " + "x" * 300)
    assert (accepted.type, accepted.deployment_id, accepted.queued) == ("rollback", "dpl_old", False)
    assert platform.lines == ["POST /v1/projects/prj_1/rollback/dpl_old"]
    assert platform.body() == {}
    query = dict(platform.query())
    assert query["teamId"] == "team_1"
    assert query["description"].startswith("INC-1 error rate x")
    assert len(query["description"]) == 250


def test_rollback_without_reason_sends_none():
    """An empty reason is left out."""
    vercel, platform, _ = client(httpx.Response(201))
    vercel.rollback("dpl_old", Pass(), "")
    assert platform.query() == [("teamId", "team_1")]


def test_project_given_by_name_is_looked_up_before_it_is_changed():
    """Rollback takes the project's id; a name is resolved once, by a read before the request is written down."""
    events: list[Any] = []
    vercel, platform, _ = client(ok(PROJECT), httpx.Response(201), settings=Settings(project="web"))
    platform.events = events
    vercel.rollback("dpl_old", Pass(events=events), "INC-1")
    assert platform.lines == ["GET /v9/projects/web", "POST /v1/projects/prj_1/rollback/dpl_old"]
    assert [name for name, _ in events] == ["seen", "admit", "seen", "answered"]
    vercel.promote("dpl_old", Pass())
    assert platform.lines[2:] == ["POST /v10/projects/prj_1/promote/dpl_old"]


@pytest.mark.parametrize(("status", "queued"), [(200, False), (201, False), (202, True), (204, False)])
def test_promote_tells_accepted_from_queued(status, queued):
    """202 waits behind a rolling release."""
    vercel, platform, _ = client(httpx.Response(status))
    assert vercel.promote("dpl_old", Pass()).queued is queued
    assert platform.body() == {}


@pytest.mark.parametrize("body", [{"autoAssignCustomDomains": True}, None, {"id": "prj_1"}])
def test_auto_assign_is_set_and_read_back(body):
    """What Vercel says it is now, or that it did not say."""
    vercel, platform, _ = client(ok(body))
    assert vercel.set_auto_assign(True, Pass()) is (
        True if body and "autoAssignCustomDomains" in body else None
    )
    assert platform.body() == {"autoAssignCustomDomains": True}
    assert platform.query() == [("teamId", "team_1")]


@each_change
def test_change_is_written_down_before_it_leaves(change, line):
    """Admit, send, write down the answer: in this order, once."""
    vercel, platform, _ = client(httpx.Response(201))
    permit = Pass(events=platform.events)
    change(vercel, permit)
    assert [name for name, _ in platform.events] == ["admit", "seen", "answered"]
    assert platform.lines == [line]
    assert permit.sendings[0].request_class is RequestClass.EFFECT
    assert permit.kinds == ["accepted"]


@each_change
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 410, 422])
def test_refused_change_is_not_applied_with_the_platforms_words(change, line, status):
    """Refused is refused; it is not sent again."""
    vercel, platform, _ = client(ok({"error": {"code": "nope", "message": "The thing is so."}}, status))
    permit = Pass()
    with pytest.raises(NotApplied, match=f"answered {status}: nope: The thing is so"):
        change(vercel, permit)
    assert permit.kinds == ["refused"]
    assert platform.lines == [line]


@pytest.mark.parametrize("status", [200, 201])
def test_web_page_in_answer_to_a_change_is_outcome_unknown(status):
    """Something in between has answered: whether Vercel ever heard of it, nobody knows."""
    vercel, platform, _ = client(httpx.Response(status, text="<html><title>Just a moment...</title></html>"))
    permit = Pass()
    with pytest.raises(OutcomeUnknown, match="Just a moment"):
        vercel.rollback("dpl_old", permit, "INC-1")
    assert permit.kinds == ["unclear"]
    assert len(platform.lines) == 1


@pytest.mark.parametrize(("job", "told"), [("rollback", False), ("promote", True)])
@pytest.mark.parametrize("status", [409, 422])
def test_refused_promote_names_the_rollback_as_the_other_way(job, told, status):
    """Vercel may refuse to promote what was promoted before; a rollback to it is then the way."""
    vercel, _, _ = client(ok({"error": {"code": "x"}}, status))
    with pytest.raises(NotApplied) as caught:
        vercel.promote("dpl_old", Pass()) if job == "promote" else vercel.rollback("dpl_old", Pass(), "INC-1")
    assert ("promoted before" in caught.value.happened) is told
    assert ('method = "rollback"' in caught.value.next_step) is told


def test_refusals_say_what_they_usually_mean():
    """The plan's limit, and a target that is current already, are explained."""
    for status, words in (
        (402, "Hobby"),
        (409, "current"),
        (422, "current"),
        (410, "deleted"),
        (404, "team"),
    ):
        vercel, _, _ = client(ok({"error": {"code": "x"}}, status))
        with pytest.raises(NotApplied) as caught:
            vercel.rollback("dpl_old", Pass(), "INC-1")
        assert words in caught.value.happened


@each_change
@pytest.mark.parametrize("fault", unanswered(), ids=repr)
def test_change_without_answer_is_outcome_unknown(change, line, fault):
    """No answer: production may have moved, and nothing is sent again."""
    vercel, platform, _ = client(fault, httpx.Response(201))
    permit = Pass()
    with pytest.raises(OutcomeUnknown) as caught:
        change(vercel, permit)
    assert permit.kinds == ["unclear"]
    assert platform.lines == [line]
    assert "again" in caught.value.next_step


@each_change
@pytest.mark.parametrize("fault", unconnected(), ids=lambda fault: type(fault).__name__)
def test_change_without_connection_has_not_left(change, line, fault):
    """No connection: nothing left, and the journal says so."""
    vercel, platform, _ = client(fault)
    permit = Pass()
    with pytest.raises(Unreachable):
        change(vercel, permit)
    assert permit.kinds == ["not_sent"]
    assert platform.lines == [line]


@each_change
def test_limited_change_is_admitted_again(change, line):
    """429 with Vercel's own reset in its body: wait, write down, send."""
    reset = {"error": {"code": "rate_limited", "limit": {"reset": int(FakeClock().at.timestamp()) + 4}}}
    vercel, platform, clock = client(ok(reset, 429), httpx.Response(201))
    permit = Pass(events=platform.events)
    change(vercel, permit)
    assert [name for name, _ in platform.events] == ["admit", "seen", "answered"] * 2
    assert permit.kinds == ["refused", "accepted"]
    assert platform.lines == [line, line]
    assert clock.slept == [4]


@each_change
@pytest.mark.parametrize("leave", [None, RequestClass.READ, RequestClass.PREPARE])
def test_change_with_weak_permit_sends_nothing(change, line, leave):
    """Moving production needs the pass of an open gate."""
    vercel, platform, _ = client(httpx.Response(201))
    permit = Pass(leave) if leave is not None else None
    with pytest.raises(PlanViolation):
        change(vercel, permit)
    assert platform.lines == []
    assert permit is None or permit.events == []
    assert line


@pytest.mark.parametrize(
    "target", ["web-abc123.vercel.app", "dpl_", "dpl_a/b", "DPL_a", "dpl_a?x=1", "", SHA]
)
def test_target_that_is_no_deployment_id_is_bad_parameters(target):
    """Rollback and promote take an id and nothing else; nothing is written down or sent."""
    vercel, platform, _ = client(httpx.Response(201))
    permit = Pass()
    for change in (vercel.promote, lambda name, leave: vercel.rollback(name, leave, "INC-1")):
        with pytest.raises(BadParameters, match="dpl_"):
            change(target, permit)
    assert platform.seen == []
    assert permit.events == []


def test_every_listed_change_is_an_effect():
    """Nothing of Vercel that changes something goes out as harmless."""
    for rule in VERCEL_RULES:
        assert (rule.request_class is RequestClass.READ) == (rule.verb == "GET")


def test_token_is_in_no_message():
    """Whatever fails, the token is not told."""
    vercel, _, _ = client(ok({"error": {"code": "forbidden", "message": f"{TOKEN} is bad"}}, 403))
    told = []
    for call in (vercel.project, vercel.whoami, lambda: vercel.rollback("dpl_a", Pass(), TOKEN)):
        with pytest.raises((Unreachable, NotApplied)) as caught:
            call()
        told.append(f"{caught.value}{caught.value!r}")
        assert "VERCEL_TOKEN" in caught.value.next_step
    assert TOKEN not in "".join(told)


def test_team_is_read_with_the_place_of_the_token_in_it():
    """The role says whether the holder may roll back; a personal account has no team to ask for."""
    membership = {"role": "VIEWER", "confirmed": True}
    vercel, platform, _ = client(ok({"id": "team_1", "name": "Derrimut", "membership": membership}))
    team = vercel.team()
    assert (team.id, team.name, team.role, team.confirmed) == ("team_1", "Derrimut", "VIEWER", True)
    assert platform.lines == ["GET /v2/teams/team_1"]
    vercel, platform, _ = client(ok({}), settings=Settings(team_id=""))
    assert vercel.team() is None
    assert platform.seen == []


def test_team_that_says_little_leaves_the_role_unknown():
    """What is not said is empty, never a role."""
    vercel, _, _ = client(ok({"id": "team_1", "slug": "derrimut"}))
    team = vercel.team()
    assert (team.name, team.role, team.confirmed) == ("derrimut", "", None)


def test_plan_of_the_account_stands_with_a_single_deployment():
    """The list does not say it."""
    vercel, _, _ = client(ok(LISTED | {"id": "dpl_A", "plan": "hobby"}))
    assert vercel.deployment("dpl_A").plan == "hobby"
    vercel, _, _ = client(ok({"deployments": [LISTED], "pagination": {"next": None}}))
    assert next(vercel.deployments()).plan == ""
