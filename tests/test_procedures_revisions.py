"""Which commit was pushed when, which push is the suspect, and what may be pushed again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from test_procedures_candidates import DAY, ISSUE, at, deployment

from rollback_lib.procedures.revisions import (
    Finding,
    Push,
    find_suspect,
    named_revision,
    pushes_by_builds,
    pushes_by_log,
    stable_revisions,
    unpushed_revisions,
)
from rollback_lib.providers.convex_facts import AuditEvent
from rollback_lib.providers.push_words import push_message
from rollback_lib.providers.repository import Commit


def commit(name: str, hours: float = -10.0) -> Commit:
    """Give a commit whose sha begins with its name."""
    return Commit(f"{name:0<40}", (), "dev", at(hours), at(hours), f"change {name}")


COMMITS = {commit(name).sha: commit(name) for name in ("a1", "b2", "c3", "d4")}


def mentioned(text: str) -> Commit | None:
    """Find the commit that a text names."""
    return next((one for sha, one in COMMITS.items() if sha[:7] in text), None)


def worded(text: str) -> Commit | None:
    """Find the commit whose message a text is."""
    return next((one for one in COMMITS.values() if one.message == text.strip()), None)


FIND = Finding(mentioned, worded)


def event(hours: float, message: str = "") -> AuditEvent:
    """Give a push as the audit log has it."""
    return AuditEvent("push_config_with_components", at(hours), "member 12", message)


def push(name: str | None, hours: float) -> Push:
    """Give a push of a commit."""
    return Push(at(hours), commit(name) if name else None, "audit log")


def never(_one: Commit, _other: Commit) -> bool:
    """Say that no two commits have the same code."""
    return False


def same_sha(one: Commit, other: Commit) -> bool:
    """Say that each commit has code of its own."""
    return one.sha == other.sha


def names(revisions) -> list[str]:
    """List commits by their names."""
    return [revision.commit.sha.rstrip("0") for revision in revisions]


# --- which commit a push put live


def test_a_push_is_known_by_the_commit_in_its_message():
    """The message counts also where a build was going on at that time."""
    build = deployment("b2", -2, commit_sha=commit("b2").sha)
    (found,) = pushes_by_log([event(-1.99, "Deployed from Vercel • a100000")], [build], FIND)
    assert found.commit == commit("a1")
    assert (found.known_by, found.by, found.at) == ("audit log", "member 12", at(-1.99))


def test_a_push_without_a_commit_in_it_is_known_by_the_build_it_fell_into():
    """A laptop's push says nothing; Vercel's build at that very time says what it built."""
    builds = [
        deployment(name, hours, commit_sha=commit(name).sha) for name, hours in (("a1", -5), ("b2", -2))
    ]
    first, second = pushes_by_log([event(-4.99), event(-1.98, "hotfix")], builds, FIND)
    assert (first.commit, second.commit) == (commit("a1"), commit("b2"))
    assert (first.assumed, second.assumed) == (True, True)
    assert second.known_by.startswith("ASSUMED: Vercel was building it at that moment (dpl_b2)")


def test_a_push_is_known_by_the_text_of_its_message():
    """CI passes what git says of the commit; no build is needed for it, and one of the same commit adds nothing."""
    told = event(-1.99, f"{commit('a1').message}\n")
    for builds in ([], [deployment("a1", -2, commit_sha=commit("a1").sha)]):
        (found,) = pushes_by_log([told], builds, FIND)
        assert (found.commit, found.assumed) == (commit("a1"), False)
        assert found.known_by == "audit log, by the text of its message"
    (last,) = pushes_by_builds([], told, FIND)
    assert last.commit == commit("a1")


def test_text_that_the_build_of_that_moment_contradicts_names_nothing():
    """A subject may have been typed by hand: neither is believed, and both are told."""
    builds = [deployment("b2", -2, commit_sha=commit("b2").sha)]
    (found,) = pushes_by_log([event(-1.99, commit("a1").message)], builds, FIND)
    assert (found.commit, found.assumed) == (None, False)
    assert "its message names a10000000000, Vercel build dpl_b2 at that time another" in found.known_by


def test_build_of_a_commit_that_is_not_in_the_clone_assumes_nothing():
    """Nobody knows the commit then, and nothing is said to be assumed."""
    builds = [deployment("e5", -2, commit_sha="e5" * 20)]
    (found,) = pushes_by_log([event(-1.99, "fix things")], builds, FIND)
    assert (found.commit, found.assumed, found.known_by) == (None, False, "audit log")


def test_what_is_assumed_is_told_of_suspect_and_of_what_is_offered():
    """In a sentence: neither the one nor the other is sure to have been live."""
    guess = replace(push("b2", -1), assumed=True)
    suspect = find_suspect([push("a1", -5), guess], ISSUE, DAY)
    assert suspect is not None
    assert suspect.notes[0].startswith("ASSUMED, not known, that b20000000000 was live from 2026-")
    pushes = [replace(push("a1", -5), assumed=True), push("c3", -4), push("b2", -1)]
    sure, assumed = stable_revisions(pushes, pushes[-1], never)
    assert (sure.assumed, sure.notes) == (False, ())
    assert assumed.assumed
    assert assumed.notes[0].startswith("ASSUMED, not known, that a10000000000 was live from 2026-")
    assert named_revision(commit("a1"), pushes, pushes[-1]).assumed


@pytest.mark.parametrize(
    "builds",
    [
        [],
        [deployment("a1", -5, commit_sha=commit("a1").sha)],
        [deployment(name, -2, commit_sha=commit(name).sha) for name in ("a1", "b2")],
        [deployment("a1", -2, commit_sha="")],
    ],
    ids=["no build", "build was over", "two at once", "build without a commit"],
)
def test_a_push_that_nothing_tells_of_has_no_commit(builds):
    """Nobody guesses what a laptop pushed."""
    (found,) = pushes_by_log([event(-1.99, "fix things")], builds, FIND)
    assert found.commit is None
    assert found.told == "fix things"


@pytest.mark.parametrize("names", [("b2",), ("d4",)], ids=["another commit", "the same"])
def test_message_that_the_build_of_that_moment_contradicts_names_nothing(names):
    """A text that tells of another commit is no proof, nor is a build that may be a coincidence; that is said."""
    builds = [deployment(name, -2, commit_sha=commit(name).sha) for name in names]
    (found,) = pushes_by_log([event(-1.99, "as asked after d400000")], builds, FIND)
    assert found.commit == (commit("d4") if names == ("d4",) else None)
    if names != ("d4",):
        assert "its message names d40000000000, Vercel build dpl_b2 at that time another" in found.known_by


def test_our_own_push_is_known_also_while_a_colleagues_build_goes_on():
    """What a program wrote about itself is no guess; a build of the bad code goes on beside many a rollback."""
    builds = [deployment("b2", -2, commit_sha=commit("b2").sha)]
    told = push_message(commit("a1").sha, "INC-20261123-2158", "P2-20261123-215800-a1b2")
    (found,) = pushes_by_log([event(-1.99, told)], builds, FIND)
    assert (found.commit, found.known_by) == (commit("a1"), "audit log")


def test_without_a_log_each_build_that_came_to_its_end_was_a_push():
    """Oldest first; a failed build pushed nothing, and the last push is told by Convex."""
    builds = [
        deployment("b2", -2, commit_sha=commit("b2").sha),
        deployment("c3", -1, commit_sha=commit("c3").sha, state="ERROR"),
        deployment("a1", -5, commit_sha=commit("a1").sha),
    ]
    found = pushes_by_builds(builds, event(-0.5, f"rollback to {commit('d4').sha}"), FIND)
    assert [one.commit for one in found] == [commit("a1"), commit("b2"), commit("d4")]
    assert found[0].known_by == "Vercel build dpl_a1"
    inside_the_last = pushes_by_builds(builds, event(-1.98), FIND)
    assert [one.commit for one in inside_the_last] == [commit("a1"), commit("b2")]


# --- the suspect


def test_suspect_is_what_was_live_when_the_issue_began():
    """Not the newest push: a hotfix that came after cannot have begun it."""
    found = find_suspect([push("a1", -5), push("b2", -1), push("c3", 0.2)], ISSUE, DAY)
    assert found is not None
    assert found.push == push("b2", -1)
    assert "1 push(es) came after the issue began" in found.notes[0]
    assert "c30000000000" in found.notes[0]


def test_pushes_of_our_own_runs_are_no_doubt_and_never_the_suspect():
    """A second rollback of the incident is not told of the first as of somebody else's push, whenever the issue began."""
    told = push_message(commit("a1").sha, "INC-1", "P2-20261123-215800-a1b2")
    ours = replace(push("a1", 0.2), told=told)
    found = find_suspect([push("b2", -1), ours], ISSUE, DAY, "INC-1")
    assert found is not None
    assert found.notes == ()
    assert find_suspect([push("b2", -1), replace(ours, at=at(-0.5))], ISSUE, DAY, "INC-1") == found
    assert find_suspect([replace(ours, at=at(-0.5))], ISSUE, DAY, "INC-1") is None
    earlier = find_suspect([push("b2", -1), replace(ours, at=at(-0.5))], ISSUE, DAY, "INC-2")
    assert earlier is not None
    assert earlier.push.commit == commit("a1")  # what another incident's run left may be the next one's cause


def test_suspect_that_was_live_for_long_or_is_unknown_is_said_to_be_so():
    """Old code rarely begins to fail by itself; code that nobody knows cannot be compared."""
    found = find_suspect([push(None, -49)], ISSUE, DAY)
    assert found is not None
    assert "not on record" in found.notes[0]
    assert "live for 49 h before the issue began" in found.notes[1]
    assert "look first at what else changed then: environment variables, data" in found.notes[1]
    assert find_suspect([push("a1", 0.1)], ISSUE, DAY) is None
    assert find_suspect([push("a1", 0)], ISSUE, timedelta(0)) is not None


# --- what may be pushed again


def test_last_stable_revision_comes_first_with_what_it_takes_back():
    """Everything after it is undone, a colleague's hotfix included, newest first."""
    pushes = [push("a1", -9), push("b2", -5), push("c3", -1), push("d4", 0.2)]
    found = stable_revisions(pushes, pushes[2], never)
    assert names(found) == ["b2", "a1"]
    assert found[0].undone == (pushes[3], pushes[2])
    assert (found[0].live_from, found[0].live_until) == (at(-5), at(-1))
    assert found[1].live_until == at(-5)


def test_never_offered_are_suspect_live_one_later_ones_and_those_gone_back_to():
    """A suspect that had been live before is no way back either."""
    pushes = [push("a1", -9), push("c3", -8), push("b2", -5), push("d4", -4), push("c3", -1), push("d4", 0.2)]
    assert names(stable_revisions(pushes, pushes[4], never)) == ["b2", "a1"]
    assert names(stable_revisions(pushes, pushes[4], never, {commit("b2").sha})) == ["a1"]


def test_revision_with_the_suspects_own_backend_code_is_passed_over():
    """A commit that changed only the frontend changes nothing when it is pushed again."""
    pushes = [push("a1", -9), push("b2", -5), push("c3", -1)]

    def same(one: Commit, other: Commit) -> bool:
        return {one, other} == {commit("b2"), commit("c3")}

    assert names(stable_revisions(pushes, pushes[2], same)) == ["a1"]


def test_push_that_nobody_knows_is_no_candidate_and_cannot_be_put_back():
    """It is passed over, and whoever goes further back is told that it is lost."""
    pushes = [push("a1", -9), push(None, -5), push("c3", -1)]
    (found,) = stable_revisions(pushes, pushes[2], never)
    assert found.commit == commit("a1")
    assert "takes back 1 push(es) whose code nobody knows" in found.notes[0]


def test_commits_of_the_branch_are_offered_where_nothing_tells_what_was_pushed():
    """The newest before the issue counts as the suspect; what came after is none of them."""
    history = [commit("d4", 0.5), commit("c3", -1), commit("b2", -5), commit("a1", -9)]

    def same(one: Commit, other: Commit) -> bool:
        return {one.sha, other.sha} == {commit("b2").sha, commit("c3").sha}

    found = unpushed_revisions(history, ISSUE, same)
    assert names(found) == ["a1"]
    assert found[0].live_from is None
    assert "not known to have been live" in found[0].notes[0]
    assert unpushed_revisions(history[:1], ISSUE, same) == ()


def test_commits_of_the_branch_from_before_a_known_suspect_are_offered():
    """Neither it, nor what is live or was gone back to already, nor what came after it."""
    history = [commit("d4", -0.5), commit("c3", -1), commit("b2", -5), commit("a1", -9)]
    assert names(unpushed_revisions(history, ISSUE, same_sha, commit("c3", -1))) == ["b2", "a1"]
    assert names(unpushed_revisions(history, ISSUE, same_sha, commit("c3", -1), {commit("b2").sha})) == ["a1"]
