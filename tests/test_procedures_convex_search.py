"""Which commit procedure 2 goes back to, in the light of what is on record and of what other runs did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backend_past import BackendPast

from rollback_lib.errors import BadParameters
from rollback_lib.providers.push_words import push_message

INCIDENT = "INC-20261123-2158"


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackendPast]:
    """A backend that nothing was pushed to yet."""
    made = BackendPast(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def shas(past: BackendPast) -> dict[str, str]:
    """Three commits of other backend code each, pushed one after the other; the last, before the issue began."""
    made = {name: past.commit(name, users=f"{name}\n") for name in ("old", "good", "bad")}
    past.pushes = [
        (90, f"release {made['old']}"),
        (60, f"release {made['good']}"),
        (30, f"release {made['bad']}"),
    ]
    return made


# --- what is live


def test_last_stable_commit_is_what_was_live_before_the_suspect(past, shas):
    """The good day, by the audit log alone."""
    chosen = past.search().chosen()
    assert (chosen.sha, chosen.suspect.commit.sha) == (shas["good"], shas["bad"])
    assert chosen.live == chosen.suspect
    assert chosen.notes == ()


def test_push_of_a_revert_is_not_taken_for_the_commit_that_it_reverts(past, shas):
    """CI tells git's message, which names the bad commit: neither is that live, nor does an undo push it."""
    past.app.git("revert", "--no-edit", shas["bad"])
    revert = past.app.git("rev-parse", "HEAD")
    told = past.app.git("log", "-1", "--format=%B")
    assert shas["bad"] in told
    past.pushes.append((10, told))
    past.builds = [(11, 9, revert)]
    assert past.search().pushes.pushes[-1].commit.sha == revert
    past.builds = []
    assert past.search().pushes.pushes[-1].commit is None


def test_push_with_the_subject_or_the_message_of_a_commit_is_that_commits(past):
    """A CI that passes what git says, and no build on Vercel: good and suspect are known all the same."""
    told = {"old": "old", "good": "good\n\nTold at length.", "bad": "bad"}
    made = {name: past.commit(text, users=f"{name}\n") for name, text in told.items()}
    past.pushes = [(90, "old"), (60, f"{told['good']}\n"), (30, "bad")]
    search = past.search()
    chosen = search.chosen()
    assert (chosen.sha, chosen.suspect.commit.sha) == (made["good"], made["bad"])
    assert chosen.notes == ()
    assert "(audit log, by the text of its message)" in repr(chosen)
    assert repr(search.pushes.listing()).count("by the text of its message") >= 3


def test_commit_of_a_build_of_that_moment_is_told_as_assumed(past, shas):
    """In the list, with what is chosen, and as a warning of the run: that build need not have pushed."""
    past.pushes = [(90, ""), (60, ""), (30, f"release {shas['bad']}")]
    past.builds = [(61, 59, shas["good"])]
    search = past.search()
    chosen = search.chosen()
    assert (chosen.sha, chosen.revision.assumed) == (shas["good"], True)
    assert "ASSUMED: Vercel was building it at that moment" in repr(search.pushes.listing())
    assert any(
        note.startswith(f"ASSUMED, not known, that {shas['good'][:12]} was live") for note in chosen.notes
    )
    assert "ASSUMED" in repr(chosen)


def test_pipeline_does_not_go_further_back_from_a_well_backend_for_a_tag_like_the_day(past, shas):
    """Our own push is known whatever tags there are: a healthy backend is not pushed back once more, unasked."""
    past.app.git("tag", "20261123", shas["bad"])
    past.pushes.append((10, push_message(shas["good"], "INC-20261123-2148", "P2-20261123-214800-a1b2")))
    with pytest.raises(BadParameters, match="further back is not done unasked") as caught:
        past.search().chosen()
    assert shas["good"][:12] in caught.value.happened
    past.well = False
    assert past.search().chosen().sha == shas["old"]


def test_pipeline_does_not_replace_what_nobody_knows_while_the_backend_is_well(past, shas):
    """What somebody pushed since may be the cure; a person goes on, with a warning."""
    past.pushes.append((10, "hotfix by hand"))
    with pytest.raises(BadParameters, match="further back is not done unasked") as caught:
        past.search().chosen()
    assert "a commit that nobody knows" in caught.value.happened
    assert past.search(mode="interactive").chosen().sha == shas["good"]
    past.well = False
    assert past.search().chosen().sha == shas["good"]


# --- the same backend code


def test_commit_whose_code_outside_the_functions_folder_is_the_suspects_trouble_is_offered(past):
    """The bundler takes in what functions import: good and bad differ in one such file alone."""
    past.commit("functions", users='import { tier } from "../src/lib/tier";\n')
    made = {name: past.app.commit(name, {"src/lib/tier.ts": f"{name}\n"}) for name in ("old", "good", "bad")}
    past.pushes = [(90 - 30 * at, f"release {sha}") for at, sha in enumerate(made.values())]
    chosen = past.search().chosen()
    assert chosen.sha == made["good"]
    assert any("convex/users.ts: ../src/lib/tier" in note for note in chosen.notes)


def test_commit_of_the_frontend_alone_is_passed_over(past, shas):
    """Nothing of the backend differs between it and the suspect: pushing it would mend nothing."""
    frontend = past.app.commit("frontend alone", {"app/page.tsx": "p\n"})
    past.pushes = [*past.pushes[:2], (40, f"release {shas['bad']}"), (30, f"release {frontend}")]
    chosen = past.search().chosen()
    assert (chosen.sha, chosen.suspect.commit.sha) == (shas["good"], frontend)


def test_commit_with_the_suspects_files_may_be_named_and_is_warned_of(past, shas):
    """Files are no proof, the dry run is; only the suspect itself is refused."""
    frontend = past.app.commit("frontend alone", {"app/page.tsx": "p\n"})
    past.pushes = [*past.pushes[:2], (40, f"release {shas['bad']}"), (30, f"release {frontend}")]
    search = past.search(commit=shas["bad"])
    chosen = search.chosen()
    assert chosen.sha == shas["bad"]
    assert chosen.revision.live_from is not None  # it was, and nothing says otherwise
    told = [line.data["text"] for line in search.session.journal.find("warning")]
    assert any("are those of the suspect" in text and "dry run" in text for text in told)
    with pytest.raises(BadParameters, match=f"{frontend[:12]} is the suspect") as caught:
        past.search(commit=frontend).chosen()
    assert shas["good"][:12] in caught.value.next_step


# --- nothing on record from before the issue


def warnings(search) -> list[str]:
    """List what the run has warned of."""
    return [line.data["text"] for line in search.session.journal.find("warning")]


@pytest.fixture
def unlogged(past, shas) -> dict[str, str]:
    """No audit log on this plan, no build that pushes: Convex tells of the last push alone, made after the issue began."""
    past.log_kept, past.pushes = False, [(10, f"release {shas['bad']}")]
    return shas


def test_commit_that_a_person_names_needs_no_suspect(past, unlogged):
    """The way out that is told has to work: it is gone on with, and said what is not known."""
    search = past.search(commit=unlogged["good"])
    chosen = search.chosen()
    assert (chosen.sha, chosen.suspect) == (unlogged["good"], None)
    assert any("no push is on record from before" in text for text in warnings(search))
    assert any("named by the operator" in text for text in warnings(search))
    assert any("the suspect is not known" in note for note in chosen.notes)


def test_without_a_suspect_git_alone_offers_what_is_older_and_a_pipeline_stops(past, unlogged):
    """The newest on the branch counts as the suspect; nothing is gone back to unasked."""
    chosen = past.search(mode="interactive").chosen()
    assert chosen.sha == unlogged["good"]
    assert any("not known to have been live" in note for note in chosen.notes)
    with pytest.raises(BadParameters, match="Nothing tells which commit was live before the issue") as caught:
        past.search().chosen()
    assert "in the parameter commit" in caught.value.next_step
    assert past.search(commit=unlogged["good"]).chosen().sha == unlogged["good"]


def test_last_push_alone_is_the_suspect_and_git_offers_what_is_older(past, unlogged):
    """It was live when the issue began, as Convex tells on every plan; what was before it is not on record."""
    past.pushes = [(30, f"release {unlogged['good']}")]
    chosen = past.search(mode="interactive").chosen()
    assert (chosen.sha, chosen.suspect.commit.sha) == (unlogged["old"], unlogged["good"])


def test_push_from_before_the_log_begins_is_the_suspect(past, shas):
    """Convex keeps the last push for longer than its log: what runs for weeks is not unknown."""
    past.pushes, past.logged = [(60 * 24 * 40, f"release {shas['bad']}")], []
    search = past.search(mode="interactive")
    assert search.chosen().suspect.commit.sha == shas["bad"]
    assert any("an unlikely cause" in text for text in warnings(search))


@pytest.mark.parametrize("known", [True, False], ids=["log", "no log"])
def test_push_of_our_own_is_never_the_suspect(past, shas, known):
    """Whatever time is given for the issue: what this incident's runs pushed did not begin it."""
    ours = push_message(shas["good"], INCIDENT, "P2-20261123-213800-a1b2")
    past.log_kept = known
    past.pushes = [*past.pushes, (25, ours)] if known else [(25, ours)]
    past.well = False
    given = {"incident": INCIDENT, "mode": "interactive"}
    chosen = past.search(**given).chosen()
    assert (chosen.suspect.commit.sha if known else chosen.suspect) == (shas["bad"] if known else None)
    assert chosen.sha == shas["old"]
    assert past.search(**given, commit=shas["old"]).chosen().sha == shas["old"]


def test_pipeline_does_not_leave_what_our_own_run_pushed_while_it_is_well(past, shas):
    """Also where that push is all that is on record."""
    ours = push_message(shas["good"], INCIDENT, "P2-20261123-213800-a1b2")
    past.log_kept, past.pushes = False, [(25, ours)]
    with pytest.raises(BadParameters, match="further back is not done unasked"):
        past.search(incident=INCIDENT).chosen()


def test_bad_commit_that_an_undo_brought_back_is_left_again(past, shas):
    """It is the suspect still, though a run of this incident pushed it last; what that undid is not offered again."""
    past.pushed(shas["good"], 15, incident=INCIDENT)
    past.pushed(shas["bad"], 10, incident=INCIDENT)
    assert past.search(incident=INCIDENT).chosen().sha == shas["old"]


# --- what other runs of the incident did


def test_commit_that_a_run_of_the_incident_went_back_to_is_not_offered_again(past, shas):
    """Also where the parameters have changed since: a canary is added in the middle of an incident."""
    without = {"platform": {"convex": {"canary": None, "queries": []}}}
    past.pushed(shas["good"], 15, incident=INCIDENT, **without)
    past.pushes.append((5, f"release {shas['bad']}"))  # by the branch's next build
    assert past.search(incident=INCIDENT).chosen().sha == shas["old"]
    other = {"platform": {"convex": {"url": "http://127.0.0.1:7999"}}}
    assert past.search(incident=INCIDENT, **other).chosen().sha == shas["good"]  # another world's deployment
