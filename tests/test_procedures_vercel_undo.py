"""Going back once more, and going forward again: a second rollback in one incident, and the undo of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.errors import BadParameters, CheckFailed, NotApplied, RollbackError
from rollback_lib.journal import FILE_NAME
from rollback_lib.procedures import VercelRollback
from rollback_lib.procedures.earlier import tried_before
from rollback_lib.simulator import Broken, Fault, Jobs, WorldSpec


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


def to_gate(rollback: VercelRollback):
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    rollback.gate("P1.G1", stable)
    return stable


def moved(rollback: VercelRollback):
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    return stable


def all_cells(rollback: VercelRollback) -> str:
    """Run to the end; return the outcome."""
    stable = moved(rollback)
    try:
        rollback.verify(stable)
        rollback.close()
    except CheckFailed:
        if rollback.journal.last("run.closed") is None:
            raise
    return str(_outcome(rollback)["outcome"])


def _outcome(rollback: VercelRollback) -> dict:
    return json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))["outcome"]


def done_and_left(company: Rehearsal, **given) -> VercelRollback:
    rollback = company.open(**given)
    all_cells(rollback)
    company.restart(rollback)
    return rollback


def test_second_rollback_in_the_incident_goes_further_back(company: Rehearsal):
    """The first candidate is bad too: the next run passes it over, with the reason, and heals production."""
    company.begin(WorldSpec(broken=Broken(also_broken=1)))
    first = company.open(deployment=company.role("stable"))
    stable = moved(first)
    with pytest.raises(CheckFailed):
        first.verify(stable)
    first.abort("it is bad too")
    company.restart(first)

    second = company.open(incident=first.session.incident)
    assert all_cells(second) == "verified"
    target = second.identify_stable_deployment().deployment
    assert target.id == company.world.expected_target() != stable.deployment.id
    assert len(company.sent("/rollback/")) == 2


def test_third_rollback_does_not_return_to_what_failed_first(company: Rehearsal):
    """A and B were tried in this incident: neither is offered again; named on purpose, it may be."""
    first = done_and_left(company)
    older = {"deployment": company.role("second")}
    second = done_and_left(company, incident=first.session.incident, **older)
    a, b = (run.identify_stable_deployment().deployment.id for run in (first, second))
    third = company.open(incident=first.session.incident, mode="interactive", new_run=True)
    third.access_dashboard()
    third.go_to_deployments()
    stable = third.identify_stable_deployment()
    assert stable.deployment.id not in (a, b)
    assert stable.suspect.deployment.id == company.role("bad")
    warned = [line.data["text"] for line in company.lines(third) if line.event == "warning"]
    assert any(a in text and first.journal.run in text for text in warned)
    company.restart(third)
    named = company.open(incident=first.session.incident, deployment=a, take_over=third.journal.run)
    assert to_gate(named).deployment.id == a


@pytest.mark.parametrize("kept", [0, 5])
def test_damaged_journal_of_another_run_of_the_incident_is_warned_of(company: Rehearsal, kept: int):
    """What stood behind the damage may have been tried, too: whoever chooses is told so, once."""
    first = done_and_left(company)
    place = first.folder / FILE_NAME
    lines = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(b"".join(lines[:kept]) + b"no line\n" + b"".join(lines[kept:]))
    second = company.open(incident=first.session.incident, deployment=company.role("second"))
    to_gate(second)
    warned = [line.data["text"] for line in company.lines(second) if line.event == "warning"]
    (told,) = [text for text in warned if first.journal.run in text and "damaged" in text]
    assert "may be offered again" in told


def test_runs_against_another_address_do_not_count(company: Rehearsal):
    """Drills of one minute share an incident, not a company: what another world's run did says nothing here."""
    first = done_and_left(company)
    platform = first.session.resolved.platform
    elsewhere = platform.model_copy(
        update={"vercel": platform.vercel.model_copy(update={"api_url": "http://127.0.0.1:7999"})}
    )
    here = company.open(incident=first.session.incident)
    assert tried_before(here.session, 1, "vercel") == {
        first.identify_stable_deployment().deployment.id: first.journal.run
    }
    there = replace(here.session, resolved=replace(here.session.resolved, platform=elsewhere))
    assert tried_before(there, 1, "vercel") == {}


def test_undo_promotes_what_was_left_and_ends_the_pin(company: Rehearsal):
    """A run of its own, with its own gate and record; production is back on what the first run left."""
    first = done_and_left(company)
    undo = company.open(undo=first.journal.run, incident=first.session.incident)
    stable = to_gate(undo)
    assert stable.deployment.id == company.role("bad")
    assert f"Undoes run {first.journal.run}" in repr(stable)
    undo.monitor(undo.move_production(stable))
    assert company.live() == {company.role("bad")}
    posted = [message.text for message in company.world.slack.messages("C0INCIDENTS")]
    (alert,) = [text for text in posted if "Undo in Progress" in text]
    assert (
        f"Action: Undoing run {first.journal.run}: deployment {company.role('bad')} goes live again" in alert
    )
    assert company.world.outcome_view().auto_assign is True
    assert [entry.path.partition("?")[0].split("/")[4] for entry in company.sent("/dpl_")] == [
        "rollback",
        "promote",
    ]
    with pytest.raises(CheckFailed):
        undo.verify(stable)  # it was rolled back for a reason
    assert undo._where_it_stands().startswith(f"Undo of run {first.journal.run}: P1.S6 Verify rollback")
    assert f"heard of the undo of run {first.journal.run} on drill" in undo._silence(company.clock.now())
    assert first._where_it_stands().startswith("Rollback: P1.S6 ")
    posted = [message.text for message in company.world.slack.messages("C0INCIDENTS")]
    assert (
        f"⚠️ Undo of run {first.journal.run} stopped at step 6: Verify rollback successful (out" in posted[-1]
    )
    undo.abort("seen enough")
    assert _outcome(undo)["log"]["Method"].endswith(f"(undo of {first.journal.run})")


@pytest.mark.parametrize("status", ["409", "422"])
def test_undo_of_what_vercel_does_not_promote_again_goes_by_rollback_and_says_pinned(
    company: Rehearsal, status: str
):
    """Refused because it was promoted before: the second request of the same gate moves production; the pin stays."""
    company.begin(WorldSpec(promote_again=status))
    first = done_and_left(company)
    undo = company.open(undo=first.journal.run)
    stable = to_gate(undo)
    undo.monitor(undo.move_production(stable))
    assert company.live() == {company.role("bad")}
    assert company.world.outcome_view().auto_assign is False
    assert [entry.applied for entry in company.sent("/promote/")] == [False]
    assert len(company.sent("/rollback/")) == 2
    undo.abort("look")
    assert "pinned" in _outcome(undo)["state"]


def test_undo_refused_for_another_reason_is_not_tried_by_the_other_request(company: Rehearsal):
    """No permission to promote: nothing else is tried."""
    first = done_and_left(company)
    company.world.faults.add((Fault(service="vercel", kind="deny", method="POST", path="*/promote/*"),))
    undo = company.open(undo=first.journal.run)
    stable = to_gate(undo)
    with pytest.raises(NotApplied):
        undo.move_production(stable)
    assert len(company.sent("/rollback/")) == 1
    assert company.live() == {first.identify_stable_deployment().deployment.id}


def test_run_whose_journal_was_changed_is_not_undone(company: Rehearsal):
    """Its first and last lines are sound, so it is listed as any other; what it did cannot be read from the rest."""
    first = done_and_left(company)
    path = first.folder / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    done = next(at for at, line in enumerate(lines) if b'"effect.done"' in line)
    path.write_bytes(
        b"".join(
            [*lines[: done + 1], lines[done + 1].replace(b'"by":"ana"', b'"by":"dee"'), *lines[done + 2 :]]
        )
    )
    undo = company.open(undo=first.journal.run)
    with pytest.raises(BadParameters, match=f"does not hold from line {done + 2} on"):
        to_gate(undo)
    assert len(company.sent("/dpl_")) == 1


def test_undo_of_an_undo_goes_back_again(company: Rehearsal):
    """What was done last is undone, whatever it was."""
    first = done_and_left(company)
    undo = company.open(undo=first.journal.run)
    moved(undo)
    undo.abort("wrong after all")
    company.restart(undo)
    again = company.open(undo=undo.journal.run)
    assert all_cells(again) in ("verified", "completed_unverified")
    assert company.live() == {first.identify_stable_deployment().deployment.id}


def test_undo_is_refused_when_production_has_moved_since(company: Rehearsal):
    """A colleague has promoted a fix: undoing would overrun it."""
    first = done_and_left(company)
    company.world.hosting.promote(company.role("hotfix"), by="dee", at_ms=company.world.now_ms())
    company.clock.advance(10)
    company.world.advance()
    undo = company.open(undo=first.journal.run)
    undo.access_dashboard()
    undo.go_to_deployments()
    with pytest.raises(BadParameters, match=r"not on .* any more"):
        undo.identify_stable_deployment()
    assert company.live() == {company.role("hotfix")}


def test_undo_of_a_run_that_changed_nothing_is_refused(company: Rehearsal):
    """There is nothing to undo."""
    first = company.open(confirm="")
    to_gate(first)
    first.abort("not needed")
    company.restart(first)
    undo = company.open(undo=first.journal.run)
    undo.access_dashboard()
    undo.go_to_deployments()
    with pytest.raises(BadParameters, match="changed nothing"):
        undo.identify_stable_deployment()


@pytest.mark.parametrize("name", ["P1-20990101-000000-ffff", "nonsense"])
def test_undo_of_an_unknown_run_is_refused_by_name(company: Rehearsal, name: str):
    """The newest ones are listed."""
    undo = company.open(undo=name)
    undo.access_dashboard()
    undo.go_to_deployments()
    with pytest.raises(RollbackError, match="no run is named"):
        undo.identify_stable_deployment()


def sent_twice(company: Rehearsal, path: str) -> None:
    """Put a proxy before Vercel that loses the first answer to a change, asks again and brings back the second one."""
    once = company.transport.handle_request

    def twice(request: httpx.Request) -> httpx.Response:
        answer = once(request)
        return once(request) if path in request.url.path and request.method == "POST" else answer

    company.transport.handle_request = twice  # type: ignore[method-assign]  # the wire, seen from outside


@pytest.mark.parametrize("undo", [False, True], ids=["rollback", "undo"])
def test_change_that_a_proxy_sent_twice_is_watched_and_never_told_as_refused(company: Rehearsal, undo: bool):
    """The second answer is 409, because the first request is under way: it is that one that counts."""
    company.begin(WorldSpec(jobs=Jobs(pending_s=2, running_s=4)))
    begun = done_and_left(company) if undo else None
    before = len(company.sent("/v1"))
    sent_twice(company, "/promote/" if undo else "/rollback/")
    again = company.open(undo=begun.journal.run, new_run=True) if begun is not None else company.open()
    stable = to_gate(again)
    found = again.move_production(stable)
    assert found.detail.startswith("refused, because it is under way already")
    again.monitor(found)
    assert company.live() == {stable.deployment.id}
    assert sum(entry.applied for entry in company.sent("/v1")[before:]) == 1
