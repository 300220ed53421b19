"""What a run found is told as a post-mortem asks for it: since when, which suspect, what was chosen and why."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from journals import RUN, Story
from pydantic import TypeAdapter
from test_evidence_report import HOSTILE, page_of
from test_procedures_convex_shown import NOW, chosen, push

from rollback_lib.evidence.findings import findings_of
from rollback_lib.procedures.convex_shown import Chosen
from rollback_lib.procedures.revisions import Push, Revision
from rollback_lib.providers.repository import Change


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Give a run that was opened with a time counted from then."""
    return Story(tmp_path / RUN).opened(parameters={"issue_started_at": "-20m"})


def found(story: Story, result: Chosen | dict[str, Any], step: str = "P2.S3") -> dict[str, tuple[str, ...]]:
    """Let step 3 find something, and return what is told of it."""
    plain = TypeAdapter(Chosen).dump_python(result, mode="json") if isinstance(result, Chosen) else result
    story.write("step.done", step, seconds=1.0, result=plain)
    return {one.what: one.lines for one in findings_of(story.journal.lines)}


def test_backend_rollback_answers_the_first_questions(story: Story) -> None:
    """Since when, what was live and whose it was, what was chosen and why, and what was taken back."""
    bad = push("b", 1)
    bad = Push(bad.at, bad.commit, "audit log", "Deployed from Vercel • bbbbbbb", "token 7")
    good = push("a", 7, "Name the trainer", "Ana Example")
    told = found(
        story,
        chosen(
            revision=Revision(good.commit, good.at, bad.at, "audit log", (bad,)),
            suspect=bad,
            live=bad,
            notes=("it had been live for 30 h",),
        ),
    )
    began = NOW - timedelta(minutes=50)
    assert told["Issue began"] == (
        f"{began:%Y-%m-%d %H:%M:%S} UTC (from the error rate in Sentry, -20m counted from the opening)",
    )
    assert told["Suspect"] == (
        "bbbbbbbbbbbb Memberships by tier",
        f"by Lee Lead, committed {bad.at:%Y-%m-%d %H:%M:%S} UTC",
        f"pushed {bad.at:%Y-%m-%d %H:%M:%S} UTC by token 7 (audit log)",
        "its message: Deployed from Vercel • bbbbbbb",
    )
    assert told["Chosen"][0] == "aaaaaaaaaaaa Name the trainer"
    assert told["Chosen"][2:] == (
        f"live from {good.at:%Y-%m-%d %H:%M:%S} UTC to {bad.at:%Y-%m-%d %H:%M:%S} UTC (audit log)",
        "because it is the last one on record before the suspect with other backend code",
    )
    assert told["In doubt"] == ("it had been live for 30 h",)
    assert told["Taken back"] == (" · ".join(told["Suspect"]),)
    assert told["Files that differ"] == ("changed convex/users.ts (+1 -3)", "added convex/logo.png")
    assert "Live then" not in told
    text = page_of(story).text
    assert "What was found" in text
    assert "by Lee Lead, committed" in text


def test_long_list_of_files_says_how_many_it_leaves_out(story: Story) -> None:
    """The page stays one that is read."""
    files = tuple(Change(f"convex/{number}.ts", "added", 1, 0) for number in range(43))
    told = found(story, chosen(changes=files))["Files that differ"]
    assert (len(told), told[-1]) == (41, "and 3 more: step 3 shows them all")


def test_why_a_commit_was_chosen_is_told_as_it_was(tmp_path: Path, story: Story) -> None:
    """A person named it, git alone had it, or a run is undone: no reason is made up."""
    good = push("a", 7)
    by_git = Revision(good.commit, None, None, "git", (), ("not known to have been live",))
    told = found(story, chosen(revision=by_git, suspect=None, live=push("c", 0.5)))
    assert (told["Suspect"], told["Live then"][0][:3]) == (("not known",), "ccc")
    assert told["Chosen"][-2:] == (
        "not known to have been live",
        "because git has it as the last one before the suspect with other backend code",
    )
    assert "Taken back" not in told
    named = Story(tmp_path / "P2-named").opened(parameters={"commit": "aaaa"})
    assert found(named, chosen())["Chosen"][-1] == "because the parameter commit names it: aaaa"
    undo = Story(tmp_path / "P2-undo").opened()
    undone = found(undo, chosen(undo_of="P2-1"))
    assert undone["Chosen"][-1] == "because run P2-1 is undone"
    assert "Suspect" not in undone


def test_frontend_rollback_is_told_too(story: Story) -> None:
    """Suspect, choice and what was taken back are deployments there."""
    one = {
        "id": "dpl_1",
        "commit_sha": "b" * 40,
        "commit_message": "Break it\n\nbody",
        "commit_author": "Lee Lead",
        "created_at": "2026-11-23T21:30:00Z",
    }
    other = {"id": "dpl_2", "commit_sha": "", "creator": "ana", "created_at": "2026-11-22T21:30:00Z"}
    suspect = {"deployment": one, "live_since": "2026-11-23T21:35:00Z", "notes": ["uncertain"]}
    result = {
        "deployment": other,
        "suspect": suspect,
        "undone": [one],
        "issue_at": "2026-11-23T21:38:00Z",
        "issue_from": "as given",
        "notes": [],
    }
    told = found(story, result, "P1.S3")
    assert told["Issue began"] == ("2026-11-23 21:38:00 UTC (as given, -20m counted from the opening)",)
    assert told["Suspect"] == (
        "dpl_1 bbbbbbbbbbbb Break it",
        "by Lee Lead, created 2026-11-23 21:30:00 UTC",
        "live since 2026-11-23 21:35:00 UTC",
    )
    assert told["Chosen"] == (
        "dpl_2 without a commit on record",
        "by ana, created 2026-11-22 21:30:00 UTC",
        "the last stable one before the suspect",
    )
    assert told["In doubt"] == ("uncertain",)


def test_time_of_the_issue_is_an_instant_though_nothing_was_chosen(story: Story, tmp_path: Path) -> None:
    """A run that stopped earlier has what was given; no time is no heading."""
    assert findings_of(story.journal.lines)[0].lines == ("2026-11-23 21:38:00 UTC (as given: -20m)",)
    for given in ({}, {"issue_started_at": "soon"}, {"issue_started_at": None}):
        silent = Story(tmp_path / f"P2-{given.get('issue_started_at', 'none')}").opened(parameters=given)
        assert findings_of(silent.journal.lines) == ()
        assert "What was found" not in page_of(silent).text
    late = Story(tmp_path / "P2-late").opened(parameters={"issue_started_at": ""})
    late.write("run.continued", filled={"issue_started_at": "2026-11-23T21:40:00Z"})
    assert "21:40:00 UTC" in findings_of(late.journal.lines)[0].lines[0]


def test_share_of_failed_calls_stands_before_beside_after(story: Story) -> None:
    """With the functions that failed, what limits it, where it is kept, and what the last look afterwards saw."""
    story.write(
        "calls",
        start="2026-11-23T21:48:00+00:00",
        end="2026-11-23T21:58:00+00:00",
        calls=50,
        failed=17,
        functions=[
            {"name": "users:get", "calls": 20, "failed": 17},
            {"name": "memberships:plans", "calls": 30, "failed": 0},
        ],
        note="the log was not seen to its end",
        kept_in="attachments/x.json",
    )
    for seen in ("9 % of 20 calls failed", "0.0 % of 40 calls failed"):
        story.write("check", "P2.C2", id="P2.C2", status="passed", seen=seen, source="Convex: function log")
    told = {one.what: one.lines for one in findings_of(story.journal.lines)}
    assert told["Calls before"] == (
        "34.0 % of 50 calls failed, from 2026-11-23 21:48:00 UTC to 2026-11-23 21:58:00 UTC",
        "users:get: 17 of 20 failed",
        "the log was not seen to its end",
        "kept in attachments/x.json",
    )
    assert told["Calls after"] == ("0.0 % of 40 calls failed (Convex: function log)",)


def test_hostile_and_misshapen_findings_do_nothing(story: Story) -> None:
    """Markup is shown as text; a field of another shape is as good as none."""
    commit = {"sha": HOSTILE, "message": HOSTILE, "author": HOSTILE, "committed_at": HOSTILE}
    pushed = {"at": HOSTILE, "commit": commit, "known_by": HOSTILE, "told": HOSTILE, "by": HOSTILE}
    revision = {"commit": commit, "undone": [pushed, 7], "live_from": HOSTILE, "notes": [HOSTILE]}
    found(story, {"revision": revision, "suspect": pushed, "live": 3, "changes": [{"path": HOSTILE}, None]})
    story.write("calls", calls="many", failed=None, functions=[HOSTILE], note=HOSTILE)
    page = page_of(story)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert "alert(1)" in page.text
    assert re.search("no call is on record", page.text)
    story.write("step.done", "P2.S3", result="nonsense")
    assert page_of(story).text
