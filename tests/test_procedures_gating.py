"""Gates as procedure 1 puts them: which ways are open in which mode, waiting, and the last look before the effect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from approvers import public_of
from conftest import FakeClock
from rehearsal import Rehearsal
from repository import ROOT
from test_procedures_vercel_rollback import all_cells, record_of, to_gate

from rollback_lib.errors import GateClosed
from rollback_lib.evidence.record import verify_record
from rollback_lib.parameters import read_layer
from rollback_lib.simulator import Persona, Signer, WorldSpec
from rollback_lib.simulator.signing import SigningDesk

P1 = {"severity": "P1", "criterion": "P1.T3"}


@dataclass
class WatchedClock(FakeClock):
    """A clock that lets the company's signers act whenever somebody waits."""

    desk: SigningDesk | None = None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.desk is not None:
            self.desk.act()


@pytest.fixture
def clock() -> WatchedClock:
    return WatchedClock()


@pytest.fixture
def company(tmp_path: Path, clock: WatchedClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


def signers(company: Rehearsal, *people: str) -> Path:
    """Write the signers file that drill.yaml names."""
    place = company.home / ".secrets" / "drill-keys" / "allowed_signers"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{name} {public_of(name)}\n" for name in people))
    return place


def test_headless_waits_for_a_signature_while_nobody_answers_in_slack(
    company: Rehearsal, clock: WatchedClock
) -> None:
    """Every way is looked at again and again until the time is over; a deputy's signature goes through."""
    company.begin(WorldSpec(personas=()))
    keys = company.home / ".secrets" / "drill-keys"
    clock.desk = SigningDesk([Signer(person="dee", after_s=0)], company.home / "state", keys)
    rollback = company.open(**P1)
    all_cells(rollback)
    record = record_of(rollback)
    assert record["outcome"]["outcome"] == "verified"
    assert record["outcome"]["log"]["Approved By"] == "Dee Deputy"
    assert company.live() == {company.role("stable")}
    (gate,) = record["gates"]
    assert {one["way"] for one in gate["asked"]} == {"slack", "signature"}
    assert [(one["person"], one["way"]) for one in gate["approvals"]] == [("Dee Deputy", "signature")]
    assert verify_record(rollback.folder).ok


def test_headless_gives_up_when_the_time_is_over(company: Rehearsal, clock: WatchedClock) -> None:
    """Refused, with both requests out, and how to go on."""
    company.begin(WorldSpec(personas=()))
    signers(company, "lee")
    rollback = company.open(**P1)
    before = clock.monotonic()
    stable = to_gate(rollback)
    assert 5 <= clock.monotonic() - before < 8  # approval_wait_s of the drill
    with pytest.raises(GateClosed, match="slack: no ✅ yet by Lee Lead or Dee Deputy; signature: nobody has"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []


def test_refusal_after_the_gate_opened_stops_the_effect(company: Rehearsal) -> None:
    """A ❌ that comes between the gate and the change: nothing is sent."""
    rollback = company.open(**P1)
    stable = to_gate(rollback)
    (asked,) = [line for line in rollback.journal.find("approval.requested") if line.data["way"] == "slack"]
    company.world.slack.react("U0DEE", asked.data["channel"], asked.data["ts"], "x")
    with pytest.raises(GateClosed, match="refused by Dee Deputy"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []
    assert record_of(rollback)["outcome"]["outcome"] == "refused"
    assert list(rollback.journal.find("effect.intent")) == []


def test_refusal_while_the_alert_is_being_posted_still_stops_the_effect(company: Rehearsal) -> None:
    """The last look comes after the messages, right before the platform is read and the request sent."""
    rollback = company.open(**P1)
    stable = to_gate(rollback)
    (asked,) = [line for line in rollback.journal.find("approval.requested") if line.data["way"] == "slack"]

    def refuse() -> None:
        company.world.slack.react("U0DEE", asked.data["channel"], asked.data["ts"], "x")

    company.transport.before["chat.postMessage"] = refuse
    with pytest.raises(GateClosed, match="refused by Dee Deputy"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []


def test_key_taken_out_after_the_gate_opened_stops_the_effect(
    company: Rehearsal, clock: WatchedClock
) -> None:
    """The signers file counts as it is at the last look."""
    company.begin(WorldSpec(personas=()))
    desk = SigningDesk(
        [Signer(person="lee", after_s=0)], company.home / "state", company.home / ".secrets" / "drill-keys"
    )
    clock.desk = desk
    rollback = company.open(**P1)
    stable = to_gate(rollback)
    assert desk.signers_file is not None
    desk.signers_file.write_text("# nobody\n")
    with pytest.raises(GateClosed, match="has no key of lee"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []
    assert rollback.journal.last("approval.fallen") is not None


def test_approval_of_an_earlier_state_does_not_carry_a_moved_world(
    company: Rehearsal, clock: WatchedClock
) -> None:
    """A colleague promotes between gate and effect: approved, and nothing is sent all the same."""
    company.begin(WorldSpec(personas=()))
    keys = company.home / ".secrets" / "drill-keys"
    clock.desk = SigningDesk([Signer(person="lee", after_s=0)], company.home / "state", keys)
    rollback = company.open(**P1)
    stable = to_gate(rollback)
    company.world.hosting.promote(company.role("hotfix"), "colleague", company.world.now_ms())
    clock.advance(5)
    with pytest.raises(GateClosed, match="no longer fits"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []
    assert not list(company.home.glob("state/approvals/drill/*/used"))


def test_spoken_where_the_policy_allows_it_and_a_person_is_there(company: Rehearsal) -> None:
    """Attested in the notebook: it opens, and log, record and report say how it was given."""
    company.begin(WorldSpec(personas=()))
    rollback = company.open(**P1, mode="interactive", policy={"approval_ways": ["slack", "spoken"]})
    stable = to_gate(rollback)
    gate = rollback.keeper._gates["P1.G1"]
    assert gate.confirm("derrimut-platform", by="Ana Operator", way="panel")
    assert any(text.startswith("spoken: ring them") for text in gate.advice)
    gate.source.spoken.attest(gate.ask, "engineering_lead", "lee", f"{company.clock.now():%H:%M}")
    rollback.monitor(rollback.move_production(stable))
    rollback.verify(stable)
    rollback.close()
    told = "Lee Lead (spoken, attested by Ana Operator)"
    assert record_of(rollback)["outcome"]["log"]["Approved By"] == told
    assert "spoken, attested by Ana Operator" in (rollback.folder / "report.html").read_text(encoding="utf-8")


def test_headless_nobody_can_attest_what_was_spoken(company: Rehearsal) -> None:
    """Only a person at the notebook hears; a pipeline does not."""
    rollback = company.open(**P1, policy={"approval_ways": ["spoken"]})
    stable = to_gate(rollback)
    assert rollback.keeper._gates["P1.G1"].source.spoken is None
    with pytest.raises(GateClosed, match="is open without a person here"):
        rollback.move_production(stable)
    assert company.sent("/rollback/") == []


@pytest.mark.parametrize("environment", ["production", "staging", "drill"])
def test_spoken_approvals_are_allowed_nowhere_as_committed(environment: str) -> None:
    """Whoever wants them writes it into the file, with a review."""
    assert read_layer(ROOT, environment).policy["approval_ways"] == ["slack", "signature"]


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_as_committed_nobody_has_a_key(environment: str) -> None:
    """The signers files explain themselves, and let nobody approve."""
    lines = (ROOT / "parameters" / "signers" / environment).read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(line.startswith("#") for line in lines)
    assert f'namespaces="rollback@{environment}"' in "\n".join(lines)


def test_severity_p0_asks_for_nothing_and_puts_nothing_into_the_store(company: Rehearsal) -> None:
    """No approval, no request, no mark: nothing between the typed name and the effect."""
    company.begin(WorldSpec(personas=(Persona(user="U0LEE", reaction="x"),)))
    all_cells(company.open())
    assert company.live() == {company.role("stable")}
    assert not (company.home / "state" / "approvals").exists()
