"""Who is suspect, and what may be gone back to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import BEGAN
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_lib.model import DeploymentId, ProjectId
from rollback_lib.procedures.candidates import (
    Suspect,
    find_suspect,
    refusal,
    stable_candidates,
    went_live,
)
from rollback_lib.providers.vercel import AliasJob, Deployment, Project

PROJECT = ProjectId("prj_drill")
DAY = timedelta(hours=24)
ISSUE = BEGAN


def at(hours: float) -> datetime:
    """Give an instant that many hours after the issue began; before it where negative."""
    return ISSUE + timedelta(hours=hours)


def deployment(name: str, created_h: float, **changed: Any) -> Deployment:
    """Give a production deployment that was live once; `live_h` is when it got its domains, an hour after by default."""
    live_h = changed.pop("live_h", created_h + 0.1)
    live_at = None if live_h is None else at(live_h)
    facts: dict[str, Any] = {
        "id": DeploymentId(f"dpl_{name}"),
        "name": "derrimut-platform",
        "project_id": PROJECT,
        "url": f"derrimut-{name}.drill",
        "target": "production",
        "state": "READY",
        "substate": "PROMOTED",
        "created_at": at(created_h),
        "ready_at": at(created_h + 0.05),
        "aliased": True,
        "aliased_at": live_at,
        "alias_error": "",
        "rollback_candidate": True,
        "checks_state": "completed",
        "checks_conclusion": "succeeded",
        "commit_sha": f"{name:f<40}",
        "commit_ref": "main",
        "commit_message": f"change {name}",
        "commit_author": "dev",
        "creator": "dev",
        "source": "git",
        "action": "",
        "deleted": False,
        "custom_environment": "",
        "inspector_url": "",
        "hosts": (),
    }
    return Deployment(**(facts | changed))


def project(job: AliasJob | None = None) -> Project:
    """Give the project with its last rollback or promotion."""
    return Project(
        PROJECT, "derrimut-platform", "team_drill", None, True, job, False, False, "main", "", None, ""
    )


def job(source: str, target: str, hours: float | None, **changed: Any) -> AliasJob:
    """Give a rollback that succeeded."""
    requested = None if hours is None else at(hours)
    facts: dict[str, Any] = {
        "from_id": f"dpl_{source}",
        "to_id": f"dpl_{target}",
        "status": "succeeded",
        "requested_at": requested,
        "type": "rollback",
    }
    return AliasJob(**(facts | changed))


# Three builds; the newest was live when the issue began.
OLD, GOOD, BAD = deployment("old", -72), deployment("good", -48), deployment("bad", -2)
HOTFIX = deployment("hotfix", 0.5)
HISTORY = (BAD, GOOD, OLD)


def suspect_of(deployments: tuple[Deployment, ...], last: AliasJob | None = None) -> Suspect | None:
    """Find the suspect."""
    return find_suspect(deployments, project(last), ISSUE, DAY)


def offered(
    deployments: tuple[Deployment, ...], suspect: Deployment = BAD, current: str | None = "dpl_bad"
) -> list[str]:
    """List what may be gone back to, by name."""
    found = stable_candidates(deployments, suspect, current, project())
    return [candidate.deployment.id.removeprefix("dpl_") for candidate in found]


# The suspect by alias time


def test_the_suspect_is_what_was_live_though_created_before_the_issue() -> None:
    """The newest one whose domains came before the issue, in whatever order they are listed."""
    for listed in (HISTORY, HISTORY[::-1], (GOOD, BAD, OLD)):
        found = suspect_of(listed)
        assert found is not None
        assert found == Suspect(BAD, at(-1.9), ())


def test_the_suspect_is_told_by_when_it_got_the_domains_not_by_when_it_was_built() -> None:
    """An older build that was promoted later was the live one."""
    early_built = deployment("early", -60, live_h=-1)
    found = suspect_of((BAD, early_built, GOOD))
    assert found is not None
    assert found.deployment == early_built


def test_one_that_got_its_domains_after_the_issue_began_is_not_the_suspect() -> None:
    """A build of before the issue that went live after it did not cause it."""
    late = deployment("late", -1, live_h=0.2)
    found = suspect_of((late, *HISTORY))
    assert found is not None
    assert found.deployment == BAD


def test_one_that_got_its_domains_exactly_when_the_issue_began_is_the_suspect() -> None:
    """The limit itself belongs to before: that is how a bad deployment looks."""
    now = deployment("now", -0.1, live_h=0)
    found = suspect_of((now, *HISTORY))
    assert found is not None
    assert found.deployment == now


@pytest.mark.parametrize(
    "changed",
    [
        {"substate": "STAGED"},
        {"substate": None, "state": "ERROR"},
        {"substate": "ROLLING"},
        {"target": None},
        {"target": "staging"},
        {"project_id": ProjectId("prj_other")},
        {"aliased": False, "aliased_at": None},
    ],
    ids=["staged", "failed", "rolling", "preview", "staging", "another project's", "never aliased"],
)
def test_what_never_served_our_production_is_not_the_suspect(changed: dict[str, Any]) -> None:
    """Newer than the live one, and not live."""
    found = suspect_of((deployment("newer", -1, **changed), *HISTORY))
    assert found is not None
    assert found.deployment == BAD


def test_a_deleted_deployment_can_be_the_suspect() -> None:
    """Somebody who deleted the bad build did not undo that it was live."""
    gone = replace(BAD, deleted=True, state="DELETED")
    found = suspect_of((gone, GOOD))
    assert found is not None
    assert found.deployment == gone


@pytest.mark.parametrize(
    "deployments",
    [(), (HOTFIX,), (deployment("staged", -5, substate="STAGED"),)],
    ids=["none", "later", "staged"],
)
def test_nothing_live_when_the_issue_began_is_no_suspect(deployments: tuple[Deployment, ...]) -> None:
    """Nothing is named on suspicion of suspicion."""
    assert suspect_of(deployments) is None


def test_without_an_alias_time_the_end_of_its_build_counts_and_that_is_said() -> None:
    """`aliasAssigned: true` gives no time: the note says that the time is uncertain."""
    timeless = deployment("timeless", -1, live_h=None)
    assert went_live(timeless) == timeless.ready_at
    found = suspect_of((timeless, *HISTORY))
    assert found is not None
    assert found.deployment == timeless
    assert found.live_since == timeless.ready_at
    assert found.notes == (
        "uncertain: Vercel gives no time for its domains; the time its build was ready is used",
    )


@pytest.mark.parametrize(
    "changed",
    [{"aliased": False}, {"substate": "STAGED"}, {"ready_at": None}],
    ids=["no alias", "staged", "not ready"],
)
def test_without_an_alias_time_only_what_was_live_and_ready_has_a_time(changed: dict[str, Any]) -> None:
    """A time is not made up."""
    assert went_live(deployment("x", -1, live_h=None, **changed)) is None


@pytest.mark.parametrize(("live_h", "long"), [(-23.9, False), (-24, False), (-24.1, True), (-720, True)])
def test_a_suspect_that_was_live_for_long_is_an_unlikely_cause(live_h: float, long: bool) -> None:
    """Code that ran well for more than a day rarely breaks by itself: the note says where else to look."""
    found = suspect_of((deployment("lasting", live_h - 1, live_h=live_h),))
    assert found is not None
    assert any("an unlikely cause; look first at what else changed" in note for note in found.notes) is long


# The suspect corrected by the last rollback or promotion


def test_a_rollback_before_the_issue_makes_its_target_the_suspect() -> None:
    """What was gone back to was live when this issue began, though its own alias time is older."""
    found = suspect_of(HISTORY, job("bad", "good", -1))
    assert found is not None
    assert (found.deployment, found.live_since) == (GOOD, at(-1))
    assert found.notes == ("live since a rollback at 2026-11-23 20:58:00 UTC, not since its own alias time",)


def test_how_long_it_was_live_counts_from_that_rollback() -> None:
    """Gone back to an hour ago: it has not been live for long, however old its build is."""
    found = suspect_of(HISTORY, job("bad", "old", -1))
    assert found is not None
    assert found.deployment == OLD
    assert not any("unlikely cause" in note for note in found.notes)


def test_a_deployment_that_took_the_domains_after_that_job_is_the_suspect() -> None:
    """A job before the newest deployment corrects nothing."""
    found = suspect_of(HISTORY, job("good", "old", -3))
    assert found is not None
    assert found == Suspect(BAD, at(-1.9), ())


def test_a_rollback_after_the_issue_points_at_what_it_moved_away_from() -> None:
    """A colleague rolled back since: the suspect is what they left, not what is live now."""
    found = suspect_of(HISTORY, job("bad", "good", 0.3))
    assert found is not None
    assert (found.deployment, found.live_since) == (BAD, at(-1.9))
    assert found.notes == (
        "a rollback at 2026-11-23 22:16:00 UTC, after the issue began, has moved production away from dpl_bad",
    )
    assert "bad" not in offered(HISTORY, found.deployment, "dpl_good")


def test_a_rollback_from_a_hotfix_of_after_the_issue_does_not_make_the_hotfix_the_suspect() -> None:
    """Issue, hotfix, rollback from the hotfix: the suspect is still what was live when the issue began."""
    history = (HOTFIX, *HISTORY)
    found = suspect_of(history, job("hotfix", "old", 1))
    assert found is not None
    assert found.deployment == BAD
    assert offered(history, found.deployment, "dpl_old") == ["good"]


def test_a_staged_build_promoted_after_the_issue_is_not_the_suspect() -> None:
    """Its domains' time is that of its build where Vercel keeps it; the job says what was live before."""
    staged = deployment("staged", -1)
    found = suspect_of((staged, *HISTORY), job("bad", "staged", 0.2, type="promote"))
    assert found is not None
    assert found.deployment == BAD
    assert any(note.startswith("a promote at 2026-11-23 22:10:00 UTC") for note in found.notes)


def test_where_two_may_have_been_live_neither_is_offered_and_that_is_said() -> None:
    """An earlier move is not on record any more: both are kept away from, and the note says why."""
    found = suspect_of(HISTORY, job("good", "bad", 0.2, type="promote"))  # good had been gone back to, when?
    assert found is not None
    assert found.deployment == GOOD
    assert "uncertain: dpl_good or dpl_bad was live then" in found.notes[1]
    assert offered(HISTORY, found.deployment, "dpl_bad") == ["old"]


def test_of_two_that_may_have_been_live_the_one_built_first_is_the_suspect() -> None:
    """Also where the one built first got its domains last."""
    early_built = deployment("early", -60, live_h=-1)
    found = suspect_of((*HISTORY, early_built), job("bad", "good", 0.2))
    assert found is not None
    assert found.deployment == early_built
    assert set(offered((*HISTORY, early_built), found.deployment, "dpl_good")) == {"old"}


@pytest.mark.parametrize(
    "last",
    [
        job("bad", "good", 0.3, status="pending"),
        job("bad", "good", -1, status="in-progress"),
        job("bad", "good", -1, status="failed"),
        job("bad", "good", -1, status="skipped"),
        job("bad", "good", -1, status="unknown"),
        job("bad", "good", None),
        job("bad", "elsewhere", -1),
        job("elsewhere", "good", 0.3),
        job("bad", "good", -1, to_id=None),
        None,
    ],
    ids=[
        "pending",
        "in progress",
        "failed",
        "skipped",
        "unknown status",
        "without a time",
        "to what is not listed",
        "from what is not listed",
        "to nothing",
        "none",
    ],
)
def test_a_job_that_proves_nothing_corrects_nothing(last: AliasJob | None) -> None:
    """Only a job that succeeded, at a known time, between known deployments moves the suspicion."""
    assert suspect_of(HISTORY, last) == Suspect(BAD, at(-1.9), ())


# Candidates


def test_the_last_stable_one_comes_first() -> None:
    """What was live right before the suspect is the first offer, in whatever order they are listed."""
    for listed in (HISTORY, HISTORY[::-1]):
        assert offered(listed) == ["good", "old"]


def test_the_order_is_by_when_they_were_live() -> None:
    """A build that was promoted late was the last stable one, though built early."""
    late_live = deployment("late", -80, live_h=-3)
    assert offered((late_live, *HISTORY)) == ["late", "good", "old"]


def test_one_without_any_time_of_its_domains_is_ordered_by_its_creation() -> None:
    """It still has its place."""
    timeless = deployment("timeless", -60, live_h=None, ready_at=None)
    assert offered((timeless, *HISTORY)) == ["good", "timeless", "old"]


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    (
        "another project's",
        {"project_id": ProjectId("prj_other")},
        "it belongs to project prj_other, not prj_drill",
    ),
    ("of an unknown project", {"project_id": None}, "it belongs to project None, not prj_drill"),
    ("preview", {"target": None}, "its target is preview, not production"),
    ("staging", {"target": "staging"}, "its target is staging, not production"),
    ("deleted", {"deleted": True}, "it is deleted"),
    ("failed", {"state": "ERROR"}, "its state is ERROR, not READY"),
    ("building", {"state": "BUILDING"}, "its state is BUILDING, not READY"),
    ("canceled", {"state": "CANCELED"}, "its state is CANCELED, not READY"),
    ("of an unknown state", {"state": "unknown"}, "its state is unknown, not READY"),
    ("the suspect", {"id": "dpl_bad"}, "it is the suspect: it was live when the issue began"),
    ("the current one", {"id": "dpl_now"}, "it is live now"),
    ("later", {"created_at": at(-1)}, "it was created after the suspect"),
    ("of the same moment", {"created_at": BAD.created_at}, "it was created after the suspect"),
    ("of after the issue", {"created_at": at(1), "aliased_at": at(2)}, "it was created after the suspect"),
    ("staged", {"substate": "STAGED"}, "it never had production traffic"),
    ("without a substate", {"substate": None}, "it never had production traffic"),
    ("not eligible", {"rollback_candidate": False}, "Vercel says it is not eligible for an instant rollback"),
]


@pytest.mark.parametrize(
    ("changed", "reason"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_each_refusal_has_its_reason_and_is_not_offered(changed: dict[str, Any], reason: str) -> None:
    """A person who asks why not reads one reason."""
    unfit = replace(GOOD, **changed)
    assert refusal(unfit, BAD, "dpl_now", project()) == reason
    assert offered((BAD, unfit, OLD), current="dpl_now") == ["old"]


def test_a_fit_one_has_no_refusal() -> None:
    """The base that the refusals are changed from is fit itself."""
    assert refusal(GOOD, BAD, "dpl_now", project()) == ""
    assert refusal(GOOD, BAD, None, project()) == ""


def test_a_hotfix_of_after_the_issue_is_never_offered() -> None:
    """It is newer than what was bad, whether it is live or not, tried and left or staged."""
    tried = replace(HOTFIX, id=DeploymentId("dpl_tried"))
    for current in ("dpl_hotfix", "dpl_bad", None):
        assert offered((HOTFIX, tried, *HISTORY), current=current) == ["good", "old"]


def test_what_is_live_now_is_never_offered_although_it_is_older() -> None:
    """Rolled back already by somebody: the next older one is the offer."""
    assert offered(HISTORY, current="dpl_good") == ["old"]


def test_with_nothing_older_nothing_is_offered() -> None:
    """The first deployment of a project has nothing behind it."""
    assert offered((BAD, HOTFIX)) == []


# What would be undone


def test_what_would_be_undone_is_listed_newest_first_up_to_and_with_the_suspect() -> None:
    """All that was live after the candidate; not what failed, was never live, belongs elsewhere or came later."""
    middle = deployment("middle", -24, deleted=True, state="DELETED")  # its change was live all the same
    others = (
        deployment("failed", -20, state="ERROR", substate=None),
        deployment("staged", -20, substate="STAGED"),
        deployment("foreign", -20, project_id=ProjectId("prj_other")),
        deployment("preview", -20, target=None),
        HOTFIX,
    )
    listed = (*others, middle, *HISTORY)
    good, old = (
        next(one for one in stable_candidates(listed, BAD, "dpl_bad", project()) if one.deployment == wanted)
        for wanted in (GOOD, OLD)
    )
    assert [one.id for one in good.undone] == ["dpl_bad", "dpl_middle"]
    assert [one.id for one in old.undone] == ["dpl_bad", "dpl_middle", "dpl_good"]


def test_commits_missing_from_the_record_are_named() -> None:
    """A deployment without a commit may hide anything: its id is in the notes."""
    listed = (replace(BAD, commit_sha=""), replace(deployment("middle", -24), commit_sha=""), GOOD)
    candidate = next(
        one for one in stable_candidates(listed, listed[0], "dpl_bad", project()) if one.deployment == GOOD
    )
    assert candidate.notes == ("without a commit on record: dpl_bad, dpl_middle",)


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({}, None),
        ({"rollback_candidate": None}, "Vercel does not say whether it is eligible for an instant rollback"),
        ({"checks_conclusion": None}, None),
        ({"checks_conclusion": "skipped"}, None),
        ({"checks_conclusion": "failed"}, "its checks ended as failed"),
        ({"checks_conclusion": "canceled"}, "its checks ended as canceled"),
    ],
    ids=str,
)
def test_doubts_about_a_candidate_are_notes(changed: dict[str, Any], note: str | None) -> None:
    """It is offered all the same; a person reads what is not certain."""
    (candidate,) = stable_candidates((BAD, replace(GOOD, **changed)), BAD, "dpl_bad", project())
    assert candidate.notes == (() if note is None else (note,))


# Whatever the platform lists

HOURS = st.integers(-100, 20)
NAMES = tuple("abcdefgh")


@st.composite
def any_deployment(draw: st.DrawFn, name: str) -> Deployment:
    """Draw a deployment with any mix of fields, mostly fit ones."""

    def mostly(usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from((usual, usual, usual, usual, *others)))

    return deployment(
        name,
        draw(HOURS),
        live_h=draw(st.one_of(st.none(), HOURS)),
        project_id=mostly(PROJECT, ProjectId("prj_other"), None),
        target=mostly("production", None, "staging"),
        state=mostly("READY", "ERROR", "BUILDING", "DELETED"),
        substate=mostly("PROMOTED", "STAGED", "ROLLING", None),
        deleted=mostly(False, True),
        aliased=mostly(True, False),
        rollback_candidate=mostly(True, False, None),
    )


@st.composite
def any_job(draw: st.DrawFn) -> AliasJob | None:
    """Draw a last job, or none."""
    if draw(st.booleans()):
        return None
    source, target = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
    status = draw(st.sampled_from(("succeeded", "succeeded", "failed", "pending")))
    kind = draw(st.sampled_from(("rollback", "promote")))
    return job(source, target, draw(st.one_of(st.none(), HOURS)), status=status, type=kind)


@settings(deadline=None)  # a busy machine is no failure
@given(
    listed=st.lists(st.sampled_from(NAMES), unique=True).flatmap(
        lambda names: st.tuples(*(any_deployment(name) for name in names))
    ),
    last=any_job(),
    current=st.one_of(st.none(), st.sampled_from(NAMES)),
)
def test_nothing_unfit_is_ever_offered(
    listed: tuple[Deployment, ...], last: AliasJob | None, current: str | None
) -> None:
    """Never the suspect, the current one, a later one, another project's, or one that is not READY in production."""
    live = None if current is None else f"dpl_{current}"
    found = find_suspect(listed, project(last), ISSUE, DAY)
    if found is None:
        return
    suspect = found.deployment
    assert suspect in listed
    candidates = stable_candidates(listed, suspect, live, project(last))
    for candidate in candidates:
        one = candidate.deployment
        assert one.id not in (suspect.id, live)
        assert one.created_at < suspect.created_at
        assert (one.project_id, one.target, one.state, one.substate) == (
            PROJECT,
            "production",
            "READY",
            "PROMOTED",
        )
        assert not one.deleted
        assert one.rollback_candidate is not False
        assert all(one.created_at < undone.created_at <= suspect.created_at for undone in candidate.undone)
    offers = {candidate.deployment.id for candidate in candidates}
    assert all((refusal(one, suspect, live, project()) == "") == (one.id in offers) for one in listed)


@dataclass
class History:
    """Production over time, as it really was, and what the platform remembers of it."""

    deployments: list[Deployment]
    moves: list[tuple[float, str]]  # hour, deployment
    last: AliasJob | None


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw deployments that took production as they were built, and at most one rollback among them.

    A rollback pins production: what is built after it stays staged.
    """
    hours = sorted(draw(st.lists(st.integers(-6, 6), min_size=1, max_size=8, unique=True)))
    moved_at = draw(st.one_of(st.none(), st.integers(1, len(hours) - 1))) if len(hours) > 1 else None
    story = History([], [], None)
    for number, (hour, name) in enumerate(zip(hours, NAMES, strict=False)):
        if number == moved_at:
            target = draw(st.sampled_from(story.deployments))
            source = story.moves[-1][1]
            story.last = job(source.removeprefix("dpl_"), target.id.removeprefix("dpl_"), hour - 0.5)
            story.moves.append((hour - 0.5, target.id))
        pinned = story.last is not None
        built = deployment(name, hour - 0.2, live_h=hour, substate="STAGED" if pinned else "PROMOTED")
        story.deployments.append(built)
        if not pinned:
            story.moves.append((hour, built.id))
    return story


@settings(deadline=None)
@given(histories())
def test_with_at_most_one_move_the_suspect_is_what_was_really_live(story: History) -> None:
    """Deployments and one rollback, before or after the issue: the one that was live is found, and is not offered."""
    live = [name for hour, name in story.moves if hour <= 0]
    found = find_suspect(story.deployments, project(story.last), ISSUE, DAY)
    assert (found.deployment.id if found is not None else None) == (live[-1] if live else None)
    if found is not None:
        now = story.moves[-1][1]
        candidates = stable_candidates(story.deployments, found.deployment, now, project(story.last))
        assert live[-1] not in {candidate.deployment.id for candidate in candidates}
