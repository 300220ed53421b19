"""The doctor at Vercel: each thing that would keep a rollback from working, and what cannot be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from consultations import DOWN, Consultation, down

from rollback_lib.simulator import RollingRelease

TITLES = ("token", "role", "project", "domain", "plan", "production", "candidates", "candidate's preview")


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


def test_sound_company_is_fine(sound: Consultation) -> None:
    """All of it is seen, by reads alone, and each finding says what was seen."""
    found = {title: sound.told("Vercel", title) for title in TITLES}
    assert {title: told[0] for title, told in found.items()} == dict.fromkeys(TITLES, "ok")
    assert "runbook" in found["token"][1]
    assert found["role"][1] == "member of Derrimut"
    assert "prj_drill" in found["project"][1]
    live = sound.world.live().id
    assert live in found["production"][1]
    assert sound.world.hosting.roles["stable"] in found["candidates"][1]
    assert not [entry for entry in sound.world.ledger.entries() if entry.changes]


def test_personal_account_has_its_owner(tmp_path: Path, clock: FakeClock) -> None:
    """There is no team to be a member of."""
    sound = Consultation(tmp_path, clock, team_id=None)
    sound.edit("drill.yaml", "team_id: team_drill", 'team_id: ""')
    assert sound.told("Vercel", "role")[:2] == ("ok", "personal account: its owner may roll back")


def test_refused_token_is_wrong_and_hides_what_needs_it(sound: Consultation) -> None:
    """What it is needed for says so once, by the name of the check."""
    sound.write_secrets(VERCEL_TOKEN="vck2718281828459")
    status, seen, todo = sound.told("Vercel", "token")
    assert (status, "403" in seen) == ("wrong", True)
    assert "Make a new token" in todo
    assert sound.look("Vercel", "role").after == "Vercel: token"
    assert sound.told("Vercel", "project")[0] == "wrong"
    for title in ("domain", "plan", "production", "candidates"):
        assert sound.look("Vercel", title).after == "Vercel: project"


def test_token_that_is_not_given_asks_nothing(sound: Consultation) -> None:
    """The secret's own check tells it."""
    sound.write_secrets(VERCEL_TOKEN="")
    for title in ("token", "role", "project", "domain", "plan", "production", "candidates"):
        found = sound.look("Vercel", title)
        assert (found.status, found.after) == ("unknown", "Secrets: VERCEL_TOKEN")
    assert sound.asked("vercel") == []


def test_outage_is_unknown_and_never_wrong(tmp_path: Path, clock: FakeClock) -> None:
    """An answer of 503 says nothing about token or project."""
    sick = Consultation(tmp_path, clock, faults=down("vercel"))
    for title in ("token", "project"):
        status, seen, todo = sick.told("Vercel", title)
        assert (status, "503" in seen, todo) == ("unknown", True, DOWN)
    for title in ("role", "domain", "plan", "production", "candidates", "candidate's preview"):
        assert sick.look("Vercel", title).status == "unknown"


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("OWNER", "ok"),
        ("DEVELOPER", "unknown"),
        ("CONTRIBUTOR", "unknown"),
        ("VIEWER", "wrong"),
        ("BILLING", "wrong"),
        ("SECURITY", "wrong"),
    ],
)
def test_role_decides_who_may_roll_back(tmp_path: Path, clock: FakeClock, role: str, status: str) -> None:
    """Owners and members may; of others it is not known, or known that they may not."""
    told = Consultation(tmp_path, clock, role=role).told("Vercel", "role")
    assert told[0] == status
    assert role.lower() in told[1]


def test_other_team_is_wrong(sound: Consultation) -> None:
    """The token does not belong to the team that is named."""
    sound.edit("drill.yaml", "team_drill", "team_other")
    status, seen, todo = sound.told("Vercel", "role")
    assert (status, "403" in seen) == ("wrong", True)
    assert "platform.vercel.team_id" in todo


def test_missing_project_is_wrong(sound: Consultation) -> None:
    """The advice names the parameter, not the platform's words alone."""
    sound.edit("drill.yaml", "project: derrimut-platform", "project: derrimut-shop")
    status, seen, todo = sound.told("Vercel", "project")
    assert (status, "404" in seen) == ("wrong", True)
    assert "platform.vercel.project" in todo


def test_domain_of_another_project_is_wrong(sound: Consultation) -> None:
    """Its alias would tell of somebody else's deployment; the project's own domains are named."""
    sound.edit("drill.yaml", "domain: derrimut247.drill", "domain: shop.drill")
    status, seen, todo = sound.told("Vercel", "domain")
    assert (status, "platform.app.domain" in todo) == ("wrong", True)
    assert "www.derrimut247.drill" in seen


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("verified", False, "wrong"), ("redirect", "www.derrimut247.drill", "warning")],
)
def test_domain_that_serves_nothing_itself_is_told(
    sound: Consultation, monkeypatch: pytest.MonkeyPatch, field: str, value: Any, status: str
) -> None:
    """Not verified: it serves nothing. A redirect: its alias record tells nothing of what is live."""
    from rollback_lib.simulator import vercel_projects

    plain = vercel_projects._domain
    monkeypatch.setattr(vercel_projects, "_domain", lambda *given: plain(*given) | {field: value})
    assert sound.told("Vercel", "domain")[0] == status


def test_hobby_plan_reaches_one_step_back(tmp_path: Path, clock: FakeClock) -> None:
    """However many candidates the list shows."""
    sound = Consultation(tmp_path, clock, plan="hobby")
    assert sound.told("Vercel", "plan")[0] == "warning"
    assert sound.told("Vercel", "candidates")[1].startswith("1 to go back to")


@pytest.mark.parametrize(
    ("state", "status", "says"),
    [
        ({"auto_assign": False}, "warning", "pinned"),
        ({"paused": True}, "wrong", "PAUSED"),
    ],
)
def test_production_that_is_held_is_told(
    sound: Consultation, state: dict[str, bool], status: str, says: str
) -> None:
    """Pinned: a rollback works, and somebody forgot to end one. Paused: nothing answers."""
    for name, value in state.items():
        setattr(sound.world.hosting.project, name, value)
    told = sound.told("Vercel", "production")
    assert (told[0], says in told[1]) == (status, True)


def test_rolling_release_is_a_warning(tmp_path: Path, clock: FakeClock) -> None:
    """A rollback would stop it."""
    sound = Consultation(tmp_path, clock, rolling_release=RollingRelease())
    assert sound.told("Vercel", "production")[0] == "warning"


def test_nothing_to_go_back_to_is_wrong(sound: Consultation) -> None:
    """The live deployment is the only one that ever was in production and still is there."""
    live = sound.world.live().id
    for deployment in sound.world.hosting.deployments.values():
        if deployment.id != live:
            deployment.retained = False
    status, seen, _ = sound.told("Vercel", "candidates")
    assert (status, live in seen) == ("wrong", True)
    assert sound.told("Vercel", "candidate's preview")[0] == "not checked"


def test_live_deployment_that_the_list_does_not_show_is_unknown(tmp_path: Path, clock: FakeClock) -> None:
    """Pinned long ago, with a page of others since: nothing is said about what comes before it."""
    sound = Consultation(tmp_path, clock, older_deployments=300)
    hosting = sound.world.hosting
    oldest = min(
        (one for one in hosting.deployments.values() if one.is_rollback_candidate),
        key=lambda one: one.created_ms,
    )
    hosting.rollback(oldest.id, "ana", sound.world.now_ms(), "", None)
    clock.advance(60)
    assert sound.world.live().id == oldest.id
    status, seen, _ = sound.told("Vercel", "candidates")
    assert (status, oldest.id in seen) == ("unknown", True)


@pytest.mark.parametrize(
    ("given", "says"), [("", "no bypass secret"), ("app2718281828459", "although a bypass")]
)
def test_closed_preview_is_a_warning(sound: Consultation, given: str, says: str) -> None:
    """Without the bypass secret, or with a wrong one, a person has to look at the candidate."""
    sound.write_secrets(VERCEL_AUTOMATION_BYPASS_SECRET=given)
    status, seen, todo = sound.told("Vercel", "candidate's preview")
    assert (status, says in seen.replace("and no", "no")) == ("warning", True), seen
    assert "VERCEL_AUTOMATION_BYPASS_SECRET" in todo


def test_candidate_that_is_bad_itself_is_a_warning(tmp_path: Path, clock: FakeClock) -> None:
    """Procedure 1 would pass it over."""
    sick = Consultation(tmp_path, clock, broken={"also_broken": 3})
    status, seen, _ = sick.told("Vercel", "candidate's preview")
    assert (status, "503" in seen) == ("warning", True)
