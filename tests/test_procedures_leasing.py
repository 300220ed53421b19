"""Who acts on an environment, as procedure 1 lives with it: two operators, two machines, a store on a bad day."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import time
from pathlib import Path

import pytest
from conftest import FakeClock
from parameters_project import project
from rehearsal import Rehearsal
from stores import BadDay, older

from rollback_lib.consent import lease as lease_module
from rollback_lib.consent.lease import Holder, Lease, Tenancy, Terms, peek
from rollback_lib.errors import GateClosed, LeaseHeld, OutcomeUnknown, RollbackError, Unreachable
from rollback_lib.evidence.archive import Archive
from rollback_lib.evidence.record import verify_record
from rollback_lib.journal import FILE_NAME
from rollback_lib.procedures import VercelRollback
from rollback_lib.procedures import leasing as leasing_module
from rollback_lib.procedures.again import recorded_parameters, reopen
from rollback_lib.procedures.handover import fetch
from rollback_lib.simulator import Fault, WorldSpec
from rollback_lib.store import Store

BEN = Holder("P1-ben", "ben", "desk-b", 202, "b2")
TERMS = Terms(3600, 5, "ask")
KEY = "leases/drill/00000001"
LONGEST_S = 20.0


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


def to_end(rollback: VercelRollback) -> None:
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    rollback.close()


def holder(rollback: VercelRollback) -> Tenancy:
    found = peek(rollback.session.store, "drill")
    assert found is not None
    return found


def take_for_ben(store: Store, from_run: str = "") -> Lease:
    return Lease.take(store, "drill", BEN, terms=TERMS, clock=FakeClock(), from_run=from_run)


def outcome(rollback: VercelRollback) -> dict:
    return json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))["outcome"]


def events(company: Rehearsal, rollback: VercelRollback, *names: str) -> list[str]:
    """List the run's events, those of requests with what they are about."""
    return [
        f"{line.event} {line.data['name']}" if "name" in line.data else line.event
        for line in company.lines(rollback)
        if not names or line.event.startswith(names)
    ]


def warnings(company: Rehearsal, rollback: VercelRollback) -> list[str]:
    return [line.data["text"] for line in company.lines(rollback) if line.event == "warning"]


def mirrored(rollback: VercelRollback) -> bytes:
    store = rollback.session.store
    found = [store.get(key) for key in store.keys(f"runs/{rollback.journal.run}/journal")]
    told = [line for piece in found if piece for line in piece.data.splitlines(keepends=True)]
    return b"".join(line for line in told if not line.startswith(b"hmac-sha256 "))


# One operator


def test_run_holds_its_environment_from_the_first_cell_to_the_last(company: Rehearsal):
    """Taken before the first step, given back before the last line; all of it in the journal and in the store."""
    rollback = company.open()
    assert str(holder(rollback).holder) == str(Holder.here(rollback.journal.run, "ana"))
    to_end(rollback)
    assert holder(rollback).released
    told = events(company, rollback)
    assert told[:3] == ["run.opened", "prepare.intent lease on drill", "prepare.done lease on drill"]
    assert told[-3:] == [
        "prepare.intent end of the lease on drill",
        "prepare.done end of the lease on drill",
        "run.closed",
    ]
    assert mirrored(rollback) == (rollback.folder / FILE_NAME).read_bytes()
    assert verify_record(rollback.folder).ok
    kept = {path.name for path in (rollback.folder / "attachments").iterdir()}
    assert {
        Path(key).name for key in rollback.session.store.keys(f"runs/{rollback.journal.run}/attachments")
    } == kept


def test_line_of_the_effect_is_in_the_store_before_the_platform_sees_the_request(company: Rehearsal):
    """Whoever fetches the run knows of every change that may have been made."""
    rollback = company.open()
    stable = to_gate(rollback)
    seen: list[str] = []
    company.transport.before["/rollback/"] = lambda: seen.append(mirrored(rollback).decode().splitlines()[-1])
    rollback.move_production(stable)
    assert json.loads(seen[0])["event"] == "effect.sending"


def test_dry_run_takes_nothing_and_is_kept_from_nothing(company: Rehearsal):
    """It only looks, also while somebody else acts, and leaves nothing in the store."""
    store = Store.open("state", company.home, company.open(dry_run=True).session.resolved.secrets.redactor)
    assert store.keys("leases") == store.keys("runs") == ()
    take_for_ben(store)
    rollback = company.open(dry_run=True)
    with pytest.raises(GateClosed):
        rollback.move_production(to_gate(rollback))
    assert store.keys("leases") == (f"{KEY}/claim",)
    assert store.keys("runs") == ()


def test_open_cell_run_again_keeps_the_lease(company: Rehearsal):
    """In the same kernel it is the same generation; after a restart the next one, at once."""
    first = company.open(mode="interactive")
    again = company.open(mode="interactive")
    assert holder(again).generation == 1
    company.restart(again)
    first.before_seal()
    _other_process(pytest.MonkeyPatch())
    third = company.open(mode="interactive")
    assert (third.journal.run, holder(third).generation) == (first.journal.run, 2)
    assert warnings(company, third) == []


def _other_process(patch: pytest.MonkeyPatch, host: str = "") -> None:
    """Be another process from here on; on another machine if one is named."""
    patch.setattr(lease_module, "_PROCESS", secrets.token_hex(4))
    if host:
        patch.setattr(socket, "gethostname", lambda: host)


def test_it_is_kept_while_a_person_reads(company: Rehearsal):
    """No cell runs for longer than the lease lives: the heartbeat is heard of, and nobody else gets it."""
    rollback = company.open(mode="interactive", policy={"heartbeat_s": 0.05})
    store = rollback.session.store
    older(store, f"{KEY}/claim", 4000)
    deadline = time.monotonic() + LONGEST_S
    while f"{KEY}/beat" not in store.keys("leases") and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(LeaseHeld):
        Lease.take(store, "drill", BEN, terms=Terms(3600, 5, "take"), clock=FakeClock())
    while mirrored(rollback) != (rollback.folder / FILE_NAME).read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mirrored(rollback) == (rollback.folder / FILE_NAME).read_bytes()
    company.restart(rollback)


# Given back when the run stops


def test_refused_run_gives_it_back_and_takes_it_again_with_its_cell(company: Rehearsal):
    """Nobody has to wait for an approval of somebody else's run; both are in the journal."""
    rollback = company.open(severity="P1", criterion="P1.T3", policy={"approval_wait_s": 0})
    stable = to_gate(rollback)
    with pytest.raises(GateClosed):
        rollback.move_production(stable)
    assert outcome(rollback)["outcome"] == "refused"
    assert holder(rollback).released
    assert verify_record(rollback.folder).ok
    rollback.gate("P1.G1", stable)
    assert not holder(rollback).released
    with pytest.raises(GateClosed):
        rollback.move_production(stable)
    told = events(company, rollback, "prepare.done")
    assert [text for text in told if "lease on drill" in text] == [
        "prepare.done lease on drill",
        "prepare.done end of the lease on drill",
    ] * 2


def test_run_whose_environment_went_to_somebody_else_reads_on_and_acts_no_more(company: Rehearsal):
    """Its reading cells warn; its gate refuses and names who acts now."""
    company.begin(WorldSpec(faults=(Fault(service="vercel", kind="503", path="/v6/deployments*", nth=(1,)),)))
    rollback = company.open()
    rollback.access_dashboard()
    with pytest.raises(Unreachable):
        rollback.go_to_deployments()
    take_for_ben(rollback.session.store)
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    assert any(
        "reads on without the lease" in text and "P1-ben" in text for text in warnings(company, rollback)
    )
    with pytest.raises(LeaseHeld, match="held by run P1-ben of ben"):
        rollback.gate("P1.G1", stable)
    assert outcome(rollback)["outcome"] == "refused"
    assert holder(rollback).holder == BEN


def test_run_with_a_change_in_doubt_keeps_it(company: Rehearsal):
    """Whoever comes next has to say that they act in its place; also once the run is closed as unknown."""
    company.begin(
        WorldSpec(
            faults=(
                Fault(service="vercel", kind="reset_after", method="POST", path="*/rollback/*"),
                Fault(service="vercel", kind="503", method="GET", path="/v9/projects/*", nth={"from": 6}),
            )
        )
    )
    rollback = company.open()
    stable = to_gate(rollback)
    with pytest.raises(OutcomeUnknown):
        rollback.move_production(stable)
    assert outcome(rollback)["outcome"] == "unknown"
    assert not holder(rollback).released
    rollback.abort("nobody can tell")
    assert outcome(rollback)["outcome"] == "unknown"
    assert not holder(rollback).released
    with pytest.raises(LeaseHeld):
        company.open(new_run=True)


def test_store_that_is_gone_at_the_end_is_a_warning(company: Rehearsal, monkeypatch: pytest.MonkeyPatch):
    """The rollback is done and closed all the same; the lease expires by itself."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    _break_store(rollback, company)
    shown: list[object] = []
    monkeypatch.setattr(leasing_module, "show", shown.append)
    rollback.close()
    assert outcome(rollback)["outcome"] == "verified"
    assert verify_record(rollback.folder).ok
    assert any("was not given back; it expires by itself" in text for text in warnings(company, rollback))
    assert "another machine could not go on with it" in repr(shown)


def _break_store(
    rollback: VercelRollback, company: Rehearsal, *, lease: bool = True, mirror: bool = True
) -> BadDay:
    """Make the store unreachable for the run from here on."""
    leasing = rollback.session.leasing
    store = BadDay(rollback.session.store, company.clock, down=True)
    assert leasing._lease is not None
    if lease:
        leasing._lease.store = store
    if mirror:
        leasing.mirror.store = store
    return store


# Two operators


def test_second_operator_is_refused_before_a_run_is_begun(company: Rehearsal):
    """No folder, no journal line, nothing sent; the first one's run is as it was."""
    first = company.open()
    before = company.lines(first)
    with pytest.raises(LeaseHeld) as caught:
        company.open(new_run=True)
    assert f"drill is held by run {first.journal.run} of ana" in caught.value.happened
    assert len(Archive(company.home / "incidents").runs()) == 1
    assert company.lines(first) == before
    to_end(first)


def test_one_who_is_overtaken_while_opening_leaves_a_run_that_says_so(company: Rehearsal):
    """Free at the first look, taken at the second: refused on record, and let go of."""
    store = Store.open("state", company.home, company.open(dry_run=True).session.resolved.secrets.redactor)
    looked = _between_look_and_claim(store)
    with looked, pytest.raises(LeaseHeld, match="P1-ben"):
        company.open()
    (run,) = [run for run in Archive(company.home / "incidents").runs() if not _is_dry(run.folder)]
    assert (run.outcome, run.is_closed, run.has_record) == ("refused", False, True)
    assert verify_record(run.folder).ok
    take_for_ben(store).release()
    assert company.open(run=run.run).journal.run == run.run


def _between_look_and_claim(store: Store) -> pytest.MonkeyPatch:
    """Let Ben take the lease right before the next claim is put."""
    patch, create = pytest.MonkeyPatch(), Store.create

    def overtaken(self: Store, key: str, data: bytes) -> bool:
        patch.undo()
        take_for_ben(store)
        return create(self, key, data)

    patch.setattr(Store, "create", overtaken)
    return patch.context()  # type: ignore[return-value]


def _is_dry(folder: Path) -> bool:
    return '"dry_run":true' in (folder / FILE_NAME).read_text().splitlines()[0]


def test_taking_over_is_on_record_and_waited_out(company: Rehearsal):
    """What the other one had under way is over before anything leaves here."""
    first = company.open(mode="interactive")
    to_gate(first)
    company.clock.slept.clear()
    second = company.open(new_run=True, take_over=first.journal.run)
    (line,) = [line for line in company.lines(second) if line.event == "lease.taken_over"]
    assert {key: line.data[key] for key in ("from_run", "operator", "expired", "by")} == {
        "from_run": first.journal.run,
        "operator": "ana",
        "expired": False,
        "by": "the parameter take_over",
    }
    assert any(text.startswith("lease taken over. drill is held by") for text in warnings(company, second))
    stable = to_gate(second)
    began = company.clock.monotonic()
    second.move_production(stable)
    assert max(company.clock.slept) == pytest.approx(5, abs=0.5)  # 2 s and the request's time-out
    assert company.clock.monotonic() - began >= 4.5
    assert len(company.sent("/rollback/")) == 1


def test_what_the_one_before_still_had_under_way_shows_before_anything_leaves(
    company: Rehearsal, monkeypatch: pytest.MonkeyPatch
):
    """Its request lands while the take-over is waited out: production moved since the gate, so nothing is sent."""
    first = company.open(mode="interactive")
    to_gate(first)
    second = company.open(new_run=True, take_over=first.journal.run)
    stable, sleep = to_gate(second), company.clock.sleep

    def lands_meanwhile(seconds: float) -> None:
        sleep(seconds)
        if seconds > 1:
            world = company.world
            world.hosting.promote(company.role("hotfix"), by=first.journal.run, at_ms=world.now_ms())

    monkeypatch.setattr(company.clock, "sleep", lands_meanwhile)
    with pytest.raises(GateClosed, match="the platform changed since it was shown"):
        second.move_production(stable)
    assert company.sent("/rollback/") == []


def test_taking_over_in_the_middle_is_told_in_the_incidents_thread(company: Rehearsal):
    """The people who were alerted learn who acts now."""
    rollback = company.open()
    stable = to_gate(rollback)
    rollback.monitor(rollback.move_production(stable))
    company.restart(rollback)
    take_for_ben(rollback.session.store, rollback.journal.run)
    again = company.open(run=rollback.journal.run, take_over="P1-ben")
    assert any("message take-over from P1-ben" in text for text in events(company, again, "prepare.done"))


def test_parameter_that_was_left_in_its_cell_takes_over_once(company: Rehearsal):
    """The other one took it back: running all cells again does not take it once more unasked."""
    store = Store.open("state", company.home, company.open(dry_run=True).session.resolved.secrets.redactor)
    take_for_ben(store)
    rollback = company.open(take_over="P1-ben", mode="interactive")
    company.restart(rollback)
    take_for_ben(store, rollback.journal.run)
    with pytest.raises(LeaseHeld, match="held by run P1-ben"):
        company.open(take_over="P1-ben", mode="interactive", run=rollback.journal.run)


def test_lease_lost_right_before_the_effect_lets_nothing_leave(company: Rehearsal):
    """Taken over between the gate and the request: refused, with the truth about what was sent."""
    rollback = company.open()
    stable = to_gate(rollback)
    company.transport.before["/v9/projects/"] = lambda: take_for_ben(
        rollback.session.store, rollback.journal.run
    )
    with pytest.raises(LeaseHeld) as caught:
        rollback.move_production(stable)
    assert "no longer has the lease on drill. run P1-ben of ben" in caught.value.happened
    assert caught.value.state == "This run has sent nothing that changes production."
    assert company.sent("/rollback/") == []
    assert "effect.sending" not in {line.event for line in company.lines(rollback)}
    assert outcome(rollback)["outcome"] == "refused"
    assert holder(rollback).holder == BEN
    assert verify_record(rollback.folder).ok


# A store on a bad day


@pytest.mark.parametrize("what", ["lease", "mirror"])
def test_store_that_is_gone_right_before_the_effect_lets_nothing_leave(company: Rehearsal, what: str):
    """Told what to do; once it is back the cell sends once."""
    rollback = company.open()
    stable = to_gate(rollback)
    store = _break_store(rollback, company, lease=what == "lease", mirror=what == "mirror")
    with pytest.raises(Unreachable) as caught:
        rollback.move_production(stable)
    assert caught.value.state == "This run has sent nothing that changes production."
    assert company.sent("/rollback/") == []
    assert company.live() == {company.role("bad")}
    assert outcome(rollback)["outcome"] == "failed"
    answered = [line.data["kind"] for line in company.lines(rollback) if line.event == "effect.answered"]
    assert answered == ([] if what == "lease" else ["not_sent"])
    store.down = False
    rollback.move_production(stable)
    assert len(company.sent("/rollback/")) == 1


def test_store_that_is_gone_begins_no_run(company: Rehearsal):
    """Who acts is not known: no folder, no lock, nothing sent."""
    (company.home / "state").write_text("not a folder")
    with pytest.raises(RollbackError, match=r"cannot be made|could not"):
        company.open()
    assert not (company.home / "incidents").exists()


# Two machines that share one store


class Machines:
    """Two project folders with one company and one store; one of them is `here` at a time."""

    def __init__(self, company: Rehearsal, folder: Path) -> None:
        self.company, self.patch = company, pytest.MonkeyPatch()
        self.homes = {"a": company.home, "b": project(folder / "b")}
        shutil.copytree(company.home / ".secrets", self.homes["b"] / ".secrets")
        self.state = str(folder / "shared")
        self.go_to("a")

    def go_to(self, machine: str) -> None:
        self.patch.setenv("ROLLBACK_HOME", str(self.homes[machine]))
        _other_process(self.patch, f"desk-{machine}")

    def open(self, **given) -> VercelRollback:
        return self.company.open(platform={"state": self.state}, **given)

    def bring(self, rollback: VercelRollback) -> Path:
        store = Store.open(self.state, self.homes["b"], rollback.session.resolved.secrets.redactor)
        secrets = rollback.session.resolved.secrets
        found = fetch(store, rollback.journal.run, self.homes["b"] / "incidents", secrets)
        assert found is not None
        return found

    def resume(self, folder: Path, **given) -> VercelRollback:
        found = reopen(
            folder, mode="headless", clock=self.company.clock, transport=self.company.transport, **given
        )
        assert isinstance(found, VercelRollback)
        return found


@pytest.fixture
def machines(company: Rehearsal, tmp_path: Path):
    found = Machines(company, tmp_path)
    yield found
    found.patch.undo()


def silent(rollback: VercelRollback) -> None:
    """Let the run's lease expire by the store's clock, as when its machine is gone."""
    for key in rollback.session.store.keys("leases"):
        older(rollback.session.store, key, 4000)


@pytest.mark.parametrize("arrived", [True, False], ids=["after the request", "before the request"])
def test_run_of_a_machine_that_died_goes_on_on_another_and_changes_production_once(
    company: Rehearsal, machines: Machines, arrived: bool
):
    """What the dead machine knew and could not tell any more is asked of the platform."""
    first = machines.open()
    stable = to_gate(first)
    if arrived:
        first.move_production(stable)
    else:
        company.transport.before["/rollback/"] = _dies
        with pytest.raises(_Died):
            first.move_production(stable)
    assert json.loads(mirrored(first).splitlines()[-1])["event"] == "effect.sending"
    silent(first)
    machines.go_to("b")
    second = machines.resume(machines.bring(first), operator="sam")
    to_end(second)
    assert len(company.sent("/rollback/")) == 1
    assert outcome(second)["outcome"] == "verified"
    assert verify_record(second.folder).ok
    assert mirrored(second) == (second.folder / FILE_NAME).read_bytes()
    assert [line.hash for line in company.lines(second)][:10] == [line.hash for line in company.lines(first)][
        :10
    ]


class _Died(BaseException):
    """The machine is gone."""


def _dies() -> None:
    raise _Died


def test_run_of_a_machine_that_lives_is_not_taken_by_fetching_it(machines: Machines):
    """Its heartbeat is heard: it has to be named, or to fall silent."""
    first = machines.open()
    to_gate(first)
    first.session.leasing.mirror.push()
    machines.go_to("b")
    there = machines.bring(first)
    with pytest.raises(LeaseHeld, match="desk-a") as caught:
        machines.resume(there)
    assert "This very run was going on there" in caught.value.next_step
    assert f'take_over = "{first.journal.run}"' in caught.value.next_step
    silent(first)
    machines.resume(there)


def test_whose_place_is_taken_is_said_anew_when_a_run_is_opened_again(company: Rehearsal):
    """What a run was begun with takes nothing over any more when it goes on by itself."""
    store = Store.open("state", company.home, company.open(dry_run=True).session.resolved.secrets.redactor)
    take_for_ben(store)
    rollback = company.open(take_over="P1-ben")
    assert recorded_parameters(company.lines(rollback))["take_over"] == ""
    assert next(rollback.journal.find("run.opened")).data["parameters"]["take_over"] == "P1-ben"


def test_open_cell_run_again_leaves_one_heartbeat(company: Rehearsal):
    """The earlier one would speak for a run that is closed."""
    first = company.open(mode="interactive")
    second = company.open(mode="interactive")
    assert first.heartbeat is not None
    assert second.heartbeat is not None
    assert first.heartbeat._over.is_set()
    assert not second.heartbeat._over.is_set()


@pytest.mark.parametrize("lease_too", [True, False], ids=["lease", "journal alone"])
def test_machine_that_wakes_up_later_sends_nothing(company: Rehearsal, machines: Machines, lease_too: bool):
    """The lease tells it; and where the lease were blind, the journal in the store does."""
    first = machines.open()
    stable = to_gate(first)
    first.session.leasing.mirror.push()
    silent(first)
    machines.go_to("b")
    second = machines.resume(machines.bring(first))
    second.session.leasing.mirror.push()
    machines.go_to("a")
    if not lease_too:
        machines.patch.setattr(Lease, "require", lambda *_, **__: None)
    with pytest.raises(LeaseHeld) as caught:
        first.move_production(stable)
    said = "no longer has the lease" if lease_too else "was continued on another machine"
    assert said in caught.value.happened
    assert company.sent("/rollback/") == []
    machines.patch.undo()
    machines.go_to("b")
    to_end(second)
    assert len(company.sent("/rollback/")) == 1


def test_machine_that_was_left_behind_does_not_go_on_with_the_run(company: Rehearsal, machines: Machines):
    """Opened again there, it is refused before a line is written; its folder is as it was."""
    first = machines.open(mode="interactive")
    to_gate(first)
    first.session.leasing.mirror.push()
    company.restart(first)
    silent(first)
    machines.go_to("b")
    second = machines.resume(machines.bring(first))
    second.session.leasing.mirror.push()
    before = company.lines(first)
    machines.go_to("a")
    with pytest.raises(LeaseHeld, match="was continued on another machine"):
        machines.open(mode="interactive")
    assert company.lines(first) == before
