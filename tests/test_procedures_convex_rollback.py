"""Procedure 2 against a simulated company whose backend takes pushes of the official command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from backend_scenes import BACKEND_GIVEN, until_pushed

from rollback_lib.errors import BadParameters, NotApplied, PlanViolation
from rollback_lib.model import CheckStatus, Outcome
from rollback_lib.node import cache_folder
from rollback_lib.procedures import ConvexRollback
from rollback_lib.procedures.convex_rehearse import own_folder
from rollback_lib.providers.checkout import Checkout
from rollback_lib.simulator import Serving, WorldSpec, serve
from rollback_lib.simulator.convex.spec import ConvexSpec


def begin(serving: Serving, monkeypatch: pytest.MonkeyPatch, tmp_path, **more: Any) -> ConvexRollback:
    """Open a headless run in a served world."""
    for name, value in serving.variables.items():
        monkeypatch.setenv(name, value)
    given = {
        **BACKEND_GIVEN,
        "platform": {**serving.platform, "archive": str(tmp_path / "incidents")},
        "policy": {"min_requests": 3},  # a busy machine has fewer visitors
    }
    return ConvexRollback.open(given | more)


def company(**convex: Any) -> WorldSpec:
    """Give a company whose backend has its app."""
    return WorldSpec(history_s=600, convex=ConvexSpec(live="bad", **convex))


def last_message(serving: Serving) -> str:
    """Tell by its audit log what the backend runs: the message of its last push."""
    assert serving.world.convex is not None
    return str(serving.world.convex.audit.rows[-1].metadata.get("message"))


def test_bad_commit_is_rolled_back_and_proven(monkeypatch, tmp_path):
    """The suspect is passed over, the last good commit is rehearsed, pushed once, and everything is looked at."""
    with serve(company()) as serving:
        rollback = begin(serving, monkeypatch, tmp_path)
        rollback.access_dashboard()
        rollback.go_to_deployments()
        chosen = rollback.identify_stable_deployment()
        assert chosen.revision.commit.subject == "Name the trainer in reminders"
        rehearsal = rollback.rehearse(chosen)
        (checked_out,) = Path(serving.platform["convex"]["repository"]).parent.glob(
            f"**/{rollback.journal.run}/{chosen.sha}"
        )
        assert rehearsal.difference is not None
        assert "bookings:listForTrainer" in rehearsal.difference.added
        assert "bookings:listByTrainer" in rehearsal.difference.removed
        assert rehearsal.difference.crons == ("forget old check-ins (stops)",)
        assert any(
            "calls functions that the commit does not have: bookings:listByTrainer" in text
            for text in rehearsal.warnings
        )
        assert rehearsal.reads is not None
        assert set(rehearsal.reads) <= set(serving.world.convex.variables)
        shown = f"{chosen!r}{chosen._repr_html_()}{rehearsal!r}{rehearsal._repr_html_()}"
        secrets = [serving.secrets["CONVEX_DEPLOY_KEY"], *serving.world.convex.variables.values()]
        assert [secret for secret in secrets if secret in shown] == []
        assert "NOT stopped" in repr(rollback.freeze())
        rollback.gate("P2.G1", chosen)
        pushed = rollback.roll_back(chosen)
        rollback.wait(chosen, pushed)
        rollback.verify_functions(chosen, pushed)
        rollback.test_queries()
        rollback.close()
        closed = rollback.journal.last("run.closed").data
        assert Outcome(closed["outcome"]) is Outcome.VERIFIED
        assert set(rollback.session.plan.checklist_lines) < set(closed["still_open"])
        assert any(
            "main; builds of it: NOT stopped" in text
            for text in rollback.journal.last("run.closed").data["still_open"]
        )
        assert not checked_out.exists()
        statuses = {check.id: check.status for check in rollback.last_checks()}
        assert set(statuses.values()) == {CheckStatus.PASSED}
        assert {"P2.C1", "P2.C2", "P2.C3", "P2.C4", "P2.PIN"} <= set(statuses)
        finished = [e for e in serving.world.ledger.entries() if e.weight == "production" and e.applied]
        assert [entry.path for entry in finished] == ["/api/deploy2/finish_push"]
        assert last_message(serving).startswith(f"rollback to {chosen.sha}")


def test_full_disk_is_no_traceback(monkeypatch, tmp_path):
    """What cannot be laid out is said, with what to do, and the run stays in order."""
    with serve(company()) as serving:
        rollback = begin(serving, monkeypatch, tmp_path)
        rollback.access_dashboard()
        rollback.go_to_deployments()
        chosen = rollback.identify_stable_deployment()

        def full(*_: Any) -> None:
            raise shutil.Error("no space left on device")

        monkeypatch.setattr(Checkout, "furnish", full)
        with pytest.raises(BadParameters, match=r"cannot be laid out in .*: no space left"):
            rollback.rehearse(chosen)
        assert rollback.journal.last("run.provisional") is not None


def test_undo_pushes_what_was_live_again_as_a_run_of_its_own(monkeypatch, tmp_path):
    """It says what it brings back; once somebody else has pushed, there is nothing to undo any more."""
    with serve(company()) as serving:
        first = begin(serving, monkeypatch, tmp_path)
        until_pushed(first)
        bad = first.identify_stable_deployment().suspect.commit
        first.abort("the frontend needs the newer functions")
        undo = begin(serving, monkeypatch, tmp_path, undo=str(first.journal.run), new_run=True)
        chosen, _ = until_pushed(undo)
        assert chosen.revision.commit == bad
        warnings = [line.data["text"] for line in undo.journal.find("warning")]
        assert any("undoing brings back what was rolled back" in text for text in warnings)
        assert last_message(serving).startswith(f"undo of run {first.journal.run}: pushes {bad.sha} again (")
        posted = [message.text for message in serving.world.slack.messages()]
        (alert,) = [text for text in posted if "Undo in Progress" in text]
        assert f"Action: Undoing run {first.journal.run}: pushing commit {bad.short} again" in alert
        undo.abort("seen enough")
        posted = [message.text for message in serving.world.slack.messages()]
        assert any(
            f"⚠️ Undo of run {first.journal.run}: " in text and "Outcome failed" in text for text in posted
        )
        late = begin(serving, monkeypatch, tmp_path, undo=str(first.journal.run), new_run=True)
        late.access_dashboard()
        late.go_to_deployments()
        with pytest.raises(BadParameters, match="cannot be undone: somebody pushed since"):
            late.identify_stable_deployment()


def test_commit_that_the_data_does_not_fit_is_refused_before_the_gate(monkeypatch, tmp_path):
    """Convex names the document; the run says which field and which ways are left, and nothing has changed."""
    with serve(company(since_bad=3)) as serving:
        rollback = begin(serving, monkeypatch, tmp_path)
        rollback.access_dashboard()
        rollback.go_to_deployments()
        chosen = rollback.identify_stable_deployment()
        with pytest.raises(PlanViolation, match="was not rehearsed"):
            rollback.gate("P2.G1", chosen)
        before = last_message(serving)
        with pytest.raises(NotApplied, match=r"of table memberships, field tier does not fit") as caught:
            rollback.rehearse(chosen)
        assert "widen it" in caught.value.next_step
        assert "Nothing was changed" in caught.value.state
        assert last_message(serving) == before
        assert not [e for e in serving.world.ledger.entries() if e.weight == "production"]
        checkouts = own_folder("checkouts", "drill", Path(serving.platform["convex"]["repository"]))
        assert len(list(checkouts.glob("*/*"))) == 1
        rollback.abort("rolled forward instead")
        assert list(checkouts.glob("*/*")) == []


def test_drills_push_from_folders_that_go_with_their_worlds(tmp_path):
    """Two worlds at once have deployments of one name, and neither lock nor checkout in common; production has the cache."""
    for kind in ("runs", "checkouts"):
        ours, theirs = (own_folder(kind, "drill", tmp_path / world / "repository") for world in ("a", "b"))
        assert ours.is_relative_to(tmp_path / "a")
        assert theirs.is_relative_to(tmp_path / "b")
        assert not ours.is_relative_to(tmp_path / "a" / "repository")  # it is no part of the clone
        assert own_folder(kind, "production", tmp_path / "a" / "repository") == cache_folder() / kind
