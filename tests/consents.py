"""What the tests of gates, approvals and effects share: a run's journal, and a gate with what it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import FakeClock

from rollback_lib.consent.gates import Approval, Ask, Gate
from rollback_lib.consent.policy import Demand
from rollback_lib.errors import RollbackError
from rollback_lib.journal import Journal
from rollback_lib.model import GateId, Redactor, RequestClass, RunId, Sending

__all__ = [
    "FREE",
    "HOME",
    "LEAD",
    "NAME",
    "RUN",
    "By",
    "approval_for",
    "begin",
    "events",
    "make_ask",
    "open_gate",
    "resume",
    "sending",
]

HOME = Path(__file__).parent.parent
RUN = RunId("P1-20261123-215800-7f3a")
NAME = "derrimut-platform"
FREE = Demand((), ("engineering_lead",), (), "severity P0, criterion P0.T1: no approval needed")
LEAD = Demand(("engineering_lead",), (), (), "severity P1: approval by engineering lead")


@dataclass
class By:
    """A source of approvals: what it finds, what speaks against it, what it was used for."""

    find: Callable[[Ask, str], tuple[Approval | None, str]]
    against: str = ""
    taken: str = ""
    used: list[str] = field(default_factory=list)

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        return self.find(ask, role)

    def objection(self, ask: Ask, approval: Approval) -> str:
        assert approval.digest == ask.digest
        return self.against

    def use(self, ask: Ask, effect: str, approvals: tuple[Approval, ...]) -> str:
        assert [approval.digest for approval in approvals] == [ask.digest]
        self.used.append(effect)
        return self.taken

    def advice(self, ask: Ask) -> tuple[str, ...]:
        return (f"by signature: rollback approve {ask.short}",)


def begin(folder: Path, clock: FakeClock, *, secrets: tuple[str, ...] = ()) -> Journal:
    """Begin the journal of a run."""
    redactor = Redactor()
    redactor.learn(secrets)
    return Journal.begin(folder / RUN, RUN, by="ana", clock=clock, redactor=redactor)


def resume(journal: Journal) -> Journal:
    """Open the journal again as another kernel would: a new object that reads the file."""
    journal.release()
    return Journal.resume(
        journal.folder, journal.run, by=journal.by, clock=journal.clock, redactor=journal.redactor
    )


def make_ask(**changed: Any) -> Ask:
    """Give what procedure 1's gate puts before a person."""
    facts: dict[str, Any] = {
        "gate": GateId("P1.G1"),
        "title": "Promote to Production",
        "environment": "drill",
        "effect": {"what": "instant rollback", "from": "dpl_bad", "to": "dpl_good 77fe0000"},
        "state": {"live deployment": "dpl_bad", "auto-assign of domains": "True"},
        "will_not_undo": ("Convex functions, schema and data",),
        "typed_wanted": NAME,
        "requests": ("POST /rollback/dpl_good",),
    }
    return Ask(**(facts | changed))


def approval_for(ask: Ask, role: str = "engineering_lead", **changed: Any) -> Approval:
    """Give an approval of exactly what is asked."""
    facts: dict[str, Any] = {
        "gate": ask.gate,
        "digest": ask.digest,
        "role": role,
        "person": "Lee Lead",
        "slack_user": "U0LEE",
        "way": "slack",
        "seen_at": "2026-11-23T21:58:30.000Z",
    }
    return Approval(**(facts | changed))


@dataclass
class Tenure:
    """A hold on the environment that lets pass unless a test says otherwise, and notes what it was asked."""

    asked: list[str] = field(default_factory=list)
    refusals: dict[str, RollbackError] = field(default_factory=dict)  # by what is asked

    def settle(self) -> None:
        pass

    def require(self, deadline_s: float) -> None:
        self._ask("require", deadline_s)

    def hand_over(self, deadline_s: float) -> None:
        self._ask("hand_over", deadline_s)

    def _ask(self, what: str, deadline_s: float) -> None:
        self.asked.append(f"{what} {deadline_s:g}")
        if what in self.refusals:
            raise self.refusals[what]


def open_gate(
    journal: Journal,
    ask: Ask | None = None,
    collect: Callable[[Ask, str], tuple[Approval | None, str]] | None = None,
    tenure: Tenure | None = None,
) -> Gate:
    """Give a gate that a person has opened; without `collect` no approval is needed."""
    gate = Gate(
        ask or make_ask(),
        FREE if collect is None else LEAD,
        journal,
        tenure or Tenure(),
        source=By(collect) if collect is not None else None,
    )
    gate.show()
    assert gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert gate.is_open
    return gate


def sending(request_class: RequestClass = RequestClass.EFFECT, path: str = "/rollback/dpl_good") -> Sending:
    """Give a changing request as the door describes it."""
    return Sending("vercel", "POST", path, "ab" * 32, request_class, 10.0)


def events(journal: Journal, *kinds: str) -> list[str]:
    """List the journal's events of some kinds, such as `effect`, in order."""
    return [line.event for line in journal.lines if line.event.partition(".")[0] in kinds]
