"""A world: its past, its clock, its credentials, its ledger, and what it tells a judge."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from simulated import Company, StandingClock

from rollback_lib.errors import BadParameters
from rollback_lib.simulator import Broken, Jobs, RollingRelease, World, WorldSpec
from rollback_lib.simulator.deployments import AliasTable
from rollback_lib.simulator.ledger import Asked, Ledger, weight_of
from rollback_lib.yamlfile import load_model

HOUR_MS = 3_600_000
PROJECT_ENV = "/v10/projects/prj_drill/env"


@pytest.fixture
def company():
    """The default world."""
    return Company()


# --- the past -----------------------------------------------------------------------------------------------


def test_same_seed_writes_the_same_past():
    """Two worlds of one seed that begin at the same moment have the same deployments and the same timeline."""
    one, two = World(WorldSpec(seed=7), StandingClock()), World(WorldSpec(seed=7), StandingClock())
    assert one.hosting.deployments == two.hosting.deployments
    assert one.hosting.production == two.hosting.production


def test_other_seed_writes_another_past():
    """The ids of two seeds have nothing in common."""
    one, two = World(WorldSpec(seed=7), StandingClock()), World(WorldSpec(seed=8), StandingClock())
    assert not set(one.hosting.deployments) & set(two.hosting.deployments)


def test_past_holds_together(company):
    """Whoever served the domains was ready before, and no two deployments were created at one moment."""
    hosting = company.world.hosting
    for host in hosting.project.production_hosts:
        for at_ms, id_ in hosting.aliases.moves(host):
            assert hosting.deployments[id_].ready_ms < at_ms
    created = [item.created_ms for item in hosting.deployments.values()]
    assert len(set(created)) == len(created) > 100


def test_culprit_was_created_before_the_issue_and_served_when_it_began(company):
    """The bad deployment is older than the issue, and live at its beginning and now."""
    world, bad = company.world, company.role("bad")
    assert world.hosting.deployments[bad].created_ms < world.issue_ms
    assert world.hosting.aliases.at("derrimut247.drill", world.issue_ms) == bad
    assert company.live() == "bad"


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("ineligible", ("READY", "PROMOTED", "production", False)),
        ("deleted", ("DELETED", "PROMOTED", "production", False)),
        ("staged", ("READY", "STAGED", "production", False)),
        ("hotfix", ("READY", "STAGED", "production", False)),
        ("canceled", ("CANCELED", None, "production", False)),
        ("error", ("ERROR", None, "production", False)),
        ("preview_before", ("READY", None, None, False)),
        ("preview_after", ("READY", None, None, False)),
        ("second", ("READY", "PROMOTED", "production", True)),
        ("stable", ("READY", "PROMOTED", "production", True)),
    ],
)
def test_what_misleads_is_there(company, role, seen):
    """The default world has each kind of deployment that is no answer, beside those that are one."""
    item = company.world.hosting.deployments[company.role(role)]
    assert (item.state, item.substate, item.target, item.is_rollback_candidate) == seen


def test_details_that_mislead(company):
    """One has no commit, one says `true` for a time, the newest of all is another project's."""
    deployments = company.world.hosting.deployments
    assert deployments[company.role("second")].sha == ""
    assert deployments[company.role("third")].alias_assigned is True
    newest = max(deployments.values(), key=lambda item: item.created_ms)
    assert newest.project_id == "prj_admin"
    assert deployments[company.role("hotfix")].created_ms > company.world.issue_ms


def test_last_job_is_hours_old_and_fits_the_timeline(company):
    """The alias job that the project still shows ended long before, and the domains moved with it."""
    job = company.world.hosting.project.last_job
    assert job.status == "succeeded"
    assert company.world.began_ms - job.requested_ms > 5 * HOUR_MS
    assert company.world.hosting.aliases.at("derrimut247.drill", job.requested_ms + 5_000) == job.to_id


def test_without_traps_they_are_absent():
    """The switch leaves only what an honest past has."""
    company = Company(traps=False, hotfix="none", stale_job="none", older_deployments=3)
    assert set(company.world.hosting.roles) == {"bad", "stable", "second", "third"}
    assert company.world.hosting.project.last_job is None


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        (WorldSpec(), "stable"),
        (WorldSpec(plan="hobby"), "stable"),
        (WorldSpec(broken=Broken(also_broken=2)), "third"),
        (WorldSpec(broken=Broken(went_live_by="promote")), "stable"),
        (WorldSpec(hotfix="live"), "stable"),
        (WorldSpec(broken=Broken(cause="outside")), None),
    ],
    ids=["default", "hobby", "two more are bad", "promoted culprit", "hotfix went live", "not the code"],
)
def test_right_target_is_the_last_eligible_that_served_before_the_culprit(spec, target):
    """The judge's answer follows from who served and who is well."""
    company = Company(spec)
    expected = company.world.expected_target()
    assert (None if expected is None else company.name(expected)) == target


def test_hobby_world_was_served_by_the_eligible_one_just_before():
    """On that plan only the very previous one may be gone back to, so it is the stable one."""
    company = Company(plan="hobby")
    assert company.name(company.world.hosting.previous) == "stable"


def test_promoted_culprit_is_told_by_the_job_alone():
    """Built long before it went live, its own alias time points elsewhere; the last job names it."""
    company = Company(broken=Broken(went_live_by="promote"))
    bad, job = company.world.hosting.deployments[company.role("bad")], company.world.hosting.project.last_job
    assert bad.alias_assigned < company.world.issue_ms - 4 * HOUR_MS
    assert (job.kind, job.to_id, job.status) == ("promote", bad.id, "succeeded")
    assert job.requested_ms < company.world.issue_ms


def test_alias_moves_out_of_order_are_refused():
    """The table of hosts is history: nothing is put in before what happened already."""
    table = AliasTable()
    table.move("a.drill", "dpl_1", 100)
    with pytest.raises(ValueError, match="already moved"):
        table.move("a.drill", "dpl_2", 99)
    assert table.moves("a.drill") == [(100, "dpl_1")]


# --- time ---------------------------------------------------------------------------------------------------


def test_what_was_due_happened_at_its_time_however_late_somebody_looks():
    """A job that nobody watched moved the domains when it was due, not when it was asked about."""
    company = Company(jobs=Jobs(pending_s=1, running_s=2))
    company.rollback()
    company.wait(60)
    view = company.world.outcome_view()
    moved = [effect.at_ms - company.world.began_ms for effect in view.effects if effect.what == "host moved"]
    assert moved == [3_000, 3_000, 3_000]
    assert view.now_ms == company.world.began_ms + 60_000


def test_clock_that_is_set_back_does_not_turn_the_world_back(company):
    """The world's time stands still until the machine's has caught up."""
    company.wait(10)
    before = company.world.now_ms()
    company.wait(-5)
    assert company.world.now_ms() == before


def test_skewed_platform_is_ahead_of_the_machine():
    """The platforms' clock is ahead by the skew; the ledger keeps the machine's time."""
    company = Company(clock_skew_s=40)
    company.rollback()
    machine_ms = company.world.machine_ms()
    assert company.world.now_ms() == machine_ms + 40_000
    assert company.project()["lastAliasRequest"]["requestedAt"] == machine_ms + 40_000
    assert company.world.ledger.entries()[0].at_ms == machine_ms


# --- credentials --------------------------------------------------------------------------------------------


def test_known_token_has_its_scopes_on_its_own_service_only(company):
    """A token opens the service it belongs to and no other."""
    world = company.world
    bearer = f"Bearer {world.token('SENTRY_AUTH_TOKEN')}"
    assert "org:read" in world.token_scopes(bearer, "sentry")
    assert world.token_scopes(bearer, "vercel") is None
    assert world.token_scopes(None, "sentry") is None
    assert world.token_scopes("Bearer ", "sentry") is None


def test_ledger_names_the_caller_and_never_the_token(company):
    """Known, wrong and absent tokens are told apart by name."""
    company.project()
    company.client("wrong").get("/v9/projects/prj_drill")
    company.client(None).get("/v9/projects/prj_drill")
    assert [entry.caller for entry in company.world.ledger.entries()] == [
        "VERCEL_TOKEN",
        "stranger",
        "nobody",
    ]


def test_spec_shows_no_token_value():
    """Neither repr nor str of a spec holds a credential, and seeds give different ones."""
    spec = WorldSpec()
    assert all(token.value and token.value not in repr(spec) + str(spec) for token in spec.tokens)
    assert spec.tokens[0].value != WorldSpec(seed=2).tokens[0].value
    assert "-" not in spec.tokens[0].value  # the official command line refuses such a one


# --- the spec as a file -------------------------------------------------------------------------------------


def test_spec_is_read_from_a_file(tmp_path):
    """A scenario's world: lists, nested values and a fault's `from` are understood."""
    path = tmp_path / "world.yaml"
    path.write_text(
        "seed: 3\nbroken: {health_red: false, pages: [{path: /sign-in, share: 0.5}]}\n"
        "faults:\n- {service: vercel, kind: '429', nth: {from: 2}}\n- {service: slack, kind: slow, nth: [1, 3]}\n"
    )
    spec = load_model(path, WorldSpec)
    assert (spec.seed, spec.broken.pages[0].share, spec.faults[0].nth.first, spec.faults[1].nth) == (
        3,
        0.5,
        2,
        (1, 3),
    )
    assert WorldSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


def test_misspelt_field_of_a_spec_is_refused(tmp_path):
    """A field that does not exist is named with its line."""
    path = tmp_path / "world.yaml"
    path.write_text("seed: 3\nissue_age: 5\n")
    with pytest.raises(BadParameters, match=r"line 2.*issue_age"):
        load_model(path, WorldSpec)


def test_rolling_release_without_its_staged_hotfix_is_refused():
    """What cannot go together is refused when the spec is made."""
    with pytest.raises(ValidationError, match="hotfix: staged"):
        WorldSpec(rolling_release=RollingRelease(), hotfix="failed")


# --- the ledger ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "method", "path", "weight"),
    [
        ("vercel", "GET", "/v9/projects/prj_drill", "nothing"),
        ("vercel", "POST", "/v1/projects/prj_drill/rollback/dpl_1", "production"),
        ("vercel", "POST", "/v10/projects/prj_drill/promote/dpl_1", "production"),
        ("vercel", "PATCH", "/v9/projects/prj_drill", "production"),
        ("vercel", "POST", "/v13/deployments", "production"),
        ("vercel", "DELETE", "/v9/projects/prj_drill/env/abc", "production"),
        ("vercel", "PUT", "/v1/anything/new", "production"),
        ("vercel", "PATCH", "/v1/projects/prj_drill/rollback/dpl_1/update-description", "company"),
        ("sentry", "GET", "/api/0/organizations/derrimut/events/", "nothing"),
        ("sentry", "POST", "/api/0/organizations/derrimut/releases/", "company"),
        ("slack", "POST", "/api/auth.test", "nothing"),
        ("slack", "POST", "/api/reactions.get", "nothing"),
        ("slack", "GET", "/api/conversations.replies", "nothing"),
        ("slack", "POST", "/api/chat.postMessage", "company"),
        ("slack", "GET", "/api/chat.postMessage", "company"),
        ("slack", "POST", "/services/T0/B0/x", "company"),
        ("app", "POST", "/sign-in", "nothing"),
    ],
)
def test_table_of_what_changes_things(service, method, path, weight):
    """The judge's own table; whatever it does not know counts as a change."""
    assert weight_of(service, method, path) == weight


def test_ledger_tells_applied_from_refused(company):
    """A request that was refused is a change asked for and not made; one that was accepted is both."""
    company.rollback("preview_before")
    company.rollback()
    refused, accepted = company.world.ledger.entries()
    assert (refused.changes, refused.applied, refused.status) == (True, False, 422)
    assert (accepted.changes, accepted.applied, accepted.status) == (True, True, 201)
    assert [refused.seq, accepted.seq] == [1, 2]


def test_ledger_hides_values_and_credentials(company):
    """A variable's value and a token in a query or a text are not written down; the digest of the body is."""
    token = company.world.token("VERCEL_TOKEN")
    body = {
        "key": "K",
        "value": "hunter2hunter2",
        "type": "plain",
        "target": ["production"],
        "comment": f"by {token}",
    }
    company.vercel.post(f"{PROJECT_ENV}?x={token}", json=body)
    (entry,) = company.world.ledger.as_json()
    assert token not in str(entry)
    assert "hunter2" not in str(entry)
    assert entry["body"]["value"] == "[hidden]"
    assert entry["body"]["comment"] == "by [VERCEL_TOKEN]"
    assert len(entry["body_sha256"]) == 64


def test_ledger_keeps_the_address_as_it_was_sent(company):
    """Escapes in path and query stand as they came over the wire."""
    company.vercel.get("/v13/deployments/a%2Eb?withGitRepoInfo=true&teamId=team_drill")
    (entry,) = company.world.ledger.entries()
    assert (entry.path, entry.query) == ("/v13/deployments/a%2Eb", "withGitRepoInfo=true&teamId=team_drill")


def test_forms_and_texts_are_read_too():
    """A body that is no JSON is kept as a form, else as text, with its secrets hidden."""
    ledger = Ledger(hide=lambda text: text)
    form = ledger.open(1, Asked("slack", "POST", "/api/reactions.get", b"token=xoxb&channel=C1"))
    text = ledger.open(1, Asked("slack", "POST", "/api/reactions.get", b"hello"))
    assert form.body == {"token": "[hidden]", "channel": "C1"}
    assert text.body == "hello"


# --- the judge's view ---------------------------------------------------------------------------------------


def test_view_before_and_after_a_rollback(company):
    """The judge sees the move, the pin and the health, each with who did it."""
    before = company.world.outcome_view()
    company.rollback()
    company.wait(1)
    after = company.world.outcome_view()
    assert (before.healthy, before.auto_assign, before.effects) == (False, True, ())
    assert (after.healthy, after.auto_assign, after.production) == (True, False, before.expected_target)
    assert set(after.live.values()) == {before.expected_target}
    assert after.crons == before.expected_target
    assert [effect.what for effect in after.effects] == [
        "rollback requested",
        *["host moved"] * 3,
        "rollback succeeded",
        "auto-assign set",
    ]
    assert {effect.by for effect in after.effects} == {"VERCEL_TOKEN"}
    assert after.as_json()["last_job"]["status"] == "succeeded"


def test_view_is_of_one_moment(company):
    """A view that was taken does not change with the world."""
    company.rollback()
    view = company.world.outcome_view()
    company.wait(1)
    company.world.advance()
    assert view.last_job.status == "pending"
    assert set(view.live.values()) == {company.role("bad")}
