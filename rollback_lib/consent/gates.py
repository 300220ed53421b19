"""The point where a person, or policy on their behalf, lets an effect through.

- A gate returns at once; it opens by the typed name of the target and, where the plan asks, by approvals.
- What it lets through is named by a digest of the effect and of the state it was decided on;
  if either moved since, the gate no longer opens.
- The typed text is never prefilled and compared exactly; where the target has no name, nothing opens.
- An approval counts for its gate, its role and its digest, until it expires or something speaks against it;
  it is asked for again at every look, the last one right before the effect.
- Approvals let one effect of one run through; what they were used for is put down before it is sent.
- Nobody is asked for an approval that could not open the gate anyway.
- Only an open gate gives a permit, and a permit asks its gate again before each request leaves: whatever is prepared
  between the last look and the request, what it finds is looked at again.
- A request leaves only while the run holds its environment, and once another machine could know of it.
- Everything shown, typed and approved is in the journal before it counts.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from rollback_lib.consent.policy import Demand
from rollback_lib.errors import GateClosed, LeaseHeld, PlanViolation, RollbackError, Unreachable
from rollback_lib.journal import Intent, Journal
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.model import Answer, GateId, RequestClass, Sending, canonical_text, digest_of

__all__ = [
    "DIGEST_SHOWN",
    "LOOK_COUNTS_S",
    "Approval",
    "Ask",
    "Gate",
    "Permit",
    "Source",
    "Tenure",
    "what_moved",
]

DIGEST_SHOWN = 16  # characters of a digest by which people tell requests apart
DIGEST_VERSION = 1

LOOK_COUNTS_S = 2.0  # a look at gate and platform that is older does not count for a request that leaves now
TYPED_LIMIT = 80  # characters of a wrong text that are kept


@dataclass(frozen=True)
class Ask:
    """What a gate puts before a person."""

    gate: GateId
    title: str  # Promote to Production
    environment: str
    effect: dict[str, str]  # from, to and whatever else names the effect exactly
    state: dict[str, Any]  # what it was decided on, read from the platform
    will_not_undo: tuple[str, ...]
    typed_wanted: str  # the target's own name, as the platform gives it
    requests: tuple[str, ...] = ()  # what it may let through: verb and path, as "POST /v1/..."

    @property
    def digest(self) -> str:
        """Return the digest that an approval names: all that is shown, and the state it was decided on."""
        return digest_of({"v": DIGEST_VERSION} | vars(self))

    def plain(self) -> dict[str, Any]:
        """Return all of it as JSON-like data, of which the digest is made."""
        told: dict[str, Any] = json.loads(canonical_text(vars(self)))
        return told

    @property
    def short(self) -> str:
        """Return the digest as people are shown it."""
        return self.digest[:DIGEST_SHOWN]

    def lets_through(self, sending: Sending) -> bool:
        """Say whether a request is one that was asked for; a prefix of the platform's address is its own matter."""
        sent = sending.path.partition("?")[0]
        named = (request.partition(" ") for request in self.requests)
        return any(path and sending.method == verb and sent.endswith(path) for verb, _, path in named)


@dataclass(frozen=True)
class Approval:
    """Evidence that a named person with a role allowed exactly this."""

    gate: GateId
    digest: str
    role: str
    person: str
    slack_user: str
    way: str  # slack, signature, spoken
    seen_at: str  # ISO 8601
    permalink: str = ""
    expires_at: str = ""  # ISO 8601; empty: it counts as long as its digest does
    evidence: str = ""  # signature: where the store keeps the signed approval
    key: str = ""  # signature: the signing key's fingerprint
    attested_by: str = ""  # spoken: who heard it

    @property
    def told(self) -> str:
        """Say who approved, and how where that is not by their own hand."""
        return f"{self.person} (spoken, attested by {self.attested_by})" if self.attested_by else self.person


class Source(Protocol):
    """Where approvals come from."""

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Look once for an approval of a role; without one say why not yet."""

    def objection(self, ask: Ask, approval: Approval) -> str:
        """Look again at an approval that was found; say why it does not count any more, or nothing."""

    def use(self, ask: Ask, effect: str, approvals: tuple[Approval, ...]) -> str:
        """Put down what the approvals are used for; say why they may not be used for it, or nothing."""

    def advice(self, ask: Ask) -> tuple[str, ...]:
        """Say how it can be approved, for whoever waits."""


class Tenure(Protocol):
    """A run's hold on its environment, asked before each request that changes it."""

    def settle(self) -> None:
        """Wait until what whoever held it before may have under way is over."""

    def require(self, deadline_s: float) -> None:
        """Let a request pass that is over within its deadline, or raise `LeaseHeld` or `Unreachable`."""

    def hand_over(self, deadline_s: float) -> None:
        """Tell other machines that the request leaves, or raise `LeaseHeld` or `Unreachable`."""


@dataclass
class Gate:
    """One gate of one run."""

    ask: Ask
    demand: Demand
    journal: Journal
    tenure: Tenure
    dry_run: bool = False
    source: Source | None = None  # None: nobody can approve
    _typed_by: str = ""
    _approvals: list[Approval] = field(default_factory=list)
    _reasons: dict[str, str] = field(
        default_factory=dict
    )  # role -> why there was no approval at the last look
    _opened: bool = False
    looked: float = float(
        "-inf"
    )  # when it was last looked at, monotonic; the platform is looked at right after

    def show(self) -> None:
        """Write down what is put before the person."""
        self.journal.append(
            "gate.shown",
            step=self.ask.gate,
            data={
                **self.ask.plain(),
                "digest": self.ask.digest,
                "rule": self.demand.rule,
            },
        )

    def confirm(self, typed: str, *, by: str, way: str) -> bool:
        """Take the typed text; only the target's exact name counts. Return whether it did."""
        if not typed or typed != self.ask.typed_wanted:
            kept = self.journal.redactor.redact(typed)[
                :TYPED_LIMIT
            ]  # a cut secret would not be known any more
            data = {"gate": self.ask.gate, "typed": kept, "way": way}
            self.journal.append("gate.mistyped", step=self.ask.gate, data=data)
            return False
        if not self._typed_by:
            self._typed_by = by
            data = {"gate": self.ask.gate, "digest": self.ask.digest, "typed_by": by, "way": way}
            self.journal.append("gate.confirmed", step=self.ask.gate, data=data)
        return True

    def look(self) -> None:
        """Look again at each approval, ask once for each that is missing, and open if nothing is."""
        if not self.demand.refusals and not self.dry_run:
            self._drop_what_is_objected_to()
            for role in self._unapproved():
                self._ask_for(role)
        self.looked = self.journal.clock.monotonic()
        if not self._opened and not self._closed_by():
            data = {
                "gate": self.ask.gate,
                "digest": self.ask.digest,
                "approvals": [vars(approval) for approval in self._counting()],
                "policy": self.demand.rule,
            }
            self.journal.append("gate.opened", step=self.ask.gate, data=data)
            self._opened = True  # only once it is on disk

    def missing(self) -> tuple[str, ...]:
        """Say what keeps the gate closed; empty when it is open."""
        return self._closed_by()

    @property
    def waits_for_approval(self) -> bool:
        """Say whether nothing but an approval is missing."""
        return (
            bool(self._typed_by) and not self.dry_run and not self.demand.refusals and bool(self._closed_by())
        )

    @property
    def is_open(self) -> bool:
        """Say whether effects may pass."""
        return self._opened and not self._closed_by()

    @property
    def approvers(self) -> tuple[str, ...]:
        """Return who approved, as people are named."""
        return tuple(approval.told for approval in self._counting())

    @property
    def advice(self) -> tuple[str, ...]:
        """Say how what is missing can be approved; nothing where no approval is missing."""
        asked = self.source is not None and not self.demand.refusals and not self.dry_run
        return self.source.advice(self.ask) if self.source and asked and self._unapproved() else ()

    def require_open(self) -> None:
        """Let pass, or refuse naming what is missing.

        Raises:
            GateClosed: Nothing was sent.
        """
        missing = self._closed_by()
        if missing or not self._opened:
            raise self.closed(missing or ("the gate has not been opened: run its cell",))

    def reconfirm(self) -> None:
        """Look once more right before the effect: what was approved may have been refused or taken away since.

        After a take-over this waits first: what the other one has under way has to show in the look that follows.

        Raises:
            GateClosed: Something speaks against an approval, or is missing; nothing was sent.
        """
        self.tenure.settle()
        self.look()
        self.require_open()

    def require_unmoved(self, state: dict[str, Any]) -> None:
        """Refuse if the state that the gate was decided on is no longer the platform's.

        Raises:
            GateClosed: Something moved between preview and effect; nothing was sent.
        """
        moved = what_moved(self.ask.state, state)
        if not moved:
            return
        self._refuse(moved)
        raise GateClosed(
            f"Gate {self.ask.gate} no longer fits: the platform changed since it was shown ({'; '.join(moved)}).",
            self.sent_so_far(),
            "Somebody else may be acting: ask in the incidents channel. Then begin a new run (new_run = True), which looks again.",
        )

    def closed(self, missing: tuple[str, ...]) -> GateClosed:
        """Write the refusal down and return the error to raise."""
        self._refuse(missing)
        return GateClosed(
            f"Gate {self.ask.gate} ({self.ask.title}) is closed: {'; '.join(missing)}.",
            self.sent_so_far(),
            f"{self._what_next()}. The run stays open: {self.journal.run}.",
        )

    def _refuse(self, missing: Sequence[str]) -> None:
        """Write a refusal down; what opens the gate again has to be on record after it."""
        self._opened = False
        data = {"gate": self.ask.gate, "missing": list(missing)}
        self.journal.append("gate.refused", step=self.ask.gate, data=data)

    def _what_next(self) -> str:
        if self.dry_run:
            return "A dry run ends here: all was looked at, nothing was changed. To act, set dry_run = False and new_run = True, and run all cells"
        if self.demand.refusals:
            return "Correct the parameters cell, then run it, the open cell and all cells below them again (a value that was not empty cannot be changed within a run: then set new_run = True as well)"
        wanted, ways = self.ask.typed_wanted, "; or ".join(self.advice)
        todo = [f"Type {wanted} at the gate"] if wanted and not self._typed_by else []
        todo += [f"Have it approved: {ways}"] if ways else []
        again = f"rollback resume {self.journal.run} -p confirm={shlex.quote(wanted)}"
        return f"{'. '.join(todo) or 'See to what is missing'}. Then run this cell again (headless: {again})"

    def permit(self, name: str, *, step: str, data: dict[str, Any], check: Callable[[], None]) -> Permit:
        """Write the effect's intent down and give its permit.

        Args:
            name: Of the effect.
            step: The plan's step.
            data: What belongs to the intent: the state before, the inverse.
            check: Asked right before this was called, and again before each attempt that leaves later than at once; raises if
                the platform is no longer as it was decided on.

        Raises:
            GateClosed: The gate is not open, or its approvals were used for something else; nothing was sent.
        """
        self.require_open()
        counting = self._counting()
        taken = self.source.use(self.ask, name, counting) if self.source is not None and counting else ""
        if taken:
            raise self.closed((taken,))
        return Permit(self, name, step, data, check)

    def sent_so_far(self) -> str:
        """Say truly whether anything that changes production has left."""
        if effect_in_doubt(self.journal.lines):
            return (
                "UNKNOWN: this run sent a change before that got no clear answer; it may still take effect."
            )
        if self.journal.last("effect.done") is not None:
            return "This run's change of production was made earlier; nothing more was sent now."
        if self.journal.last("effect.sending") is not None:
            return "What this run sent was refused; production was not changed by it."
        return "This run has sent nothing that changes production."

    def _ask_for(self, role: str) -> None:
        """Look for one approval, and remember why there is none."""
        if self.source is None:
            return
        found, reason = self.source.collect(self.ask, role)
        self._reasons[role] = reason
        if found is not None and found.role == role and self._counts(found):
            self._approvals.append(found)

    def _drop_what_is_objected_to(self) -> None:
        """Take out each approval that no longer counts, on record; the gate is then not open any more."""
        if self.source is None:
            return
        for approval in self._counting():
            reason = self.source.objection(self.ask, approval)
            if not reason:
                continue
            self._approvals.remove(approval)
            self._reasons[approval.role] = reason
            self._opened = False
            data = {"gate": self.ask.gate, "digest": self.ask.digest, "role": approval.role}
            data |= {"person": approval.person, "way": approval.way, "reason": reason}
            self.journal.append("approval.fallen", step=self.ask.gate, data=data)

    def _counts(self, approval: Approval) -> bool:
        return (approval.gate, approval.digest) == (
            self.ask.gate,
            self.ask.digest,
        ) and not self._expired(approval)

    def _expired(self, approval: Approval) -> bool:
        ends = approval.expires_at
        return bool(ends) and self.journal.clock.now() > datetime.fromisoformat(ends)

    def _counting(self) -> tuple[Approval, ...]:
        return tuple(approval for approval in self._approvals if self._counts(approval))

    def _unapproved(self) -> tuple[str, ...]:
        approved = {approval.role for approval in self._counting()}
        return tuple(role for role in self.demand.roles if role not in approved)

    def _closed_by(self) -> tuple[str, ...]:
        wanted = self.ask.typed_wanted
        missing = list(self.demand.refusals)
        if self.dry_run:
            missing.append("this is a dry run: it gives no permit for effects")
        if not wanted:
            missing.append("the platform gives no name for the target, so nothing can be typed to open it")
        elif not self._typed_by:
            missing.append(f"the name {wanted!r} has not been typed (headless: the parameter confirm)")
        missing.extend(self._unapproved_because(role) for role in self._unapproved())
        return tuple(missing)

    def _unapproved_because(self, role: str) -> str:
        words = role.replace("_", " ")
        old = next((one for one in self._approvals if one.role == role and self._expired(one)), None)
        if old is not None:
            return f"the approval by the {words}, {old.person}, counted until {old.expires_at}"
        reason = self._reasons.get(role) or "nobody could be asked"
        return f"no approval by the {words} yet ({reason})"


class Permit(Intent):
    """The pass for one effect, from an open gate."""

    request_class: RequestClass = RequestClass.EFFECT

    def __init__(
        self, gate: Gate, name: str, step: str, data: dict[str, Any], check: Callable[[], None]
    ) -> None:
        gate.require_open()
        self.gate, self.check = gate, check
        super().__init__(gate.journal, name, step, {"gate": gate.ask.gate, "digest": gate.ask.digest} | data)

    def admit(self, sending: Sending) -> None:
        """Ask gate, platform and lease once more, also before a repeated attempt, then write down that the request leaves now.

        The line is in the store as well when this returns; if it cannot get there, the attempt is on record as not sent.

        Raises:
            PlanViolation: Not the request that the gate was about; nothing leaves.
            GateClosed: The gate is not open, or the platform moved; nothing leaves.
            LeaseHeld: Somebody else acts on the environment, or on this run; nothing leaves.
            Unreachable: The store cannot say who does; nothing leaves.
            JournalError: The line is not on disk; nothing leaves.
        """
        if not self.gate.ask.lets_through(sending):
            raise PlanViolation(
                f"{sending.method} {sending.path} is not what gate {self.gate.ask.gate} is about ({' or '.join(self.gate.ask.requests) or 'no request'}).",
                "Nothing was sent.",
                "Run the cells from the top, in order: the gate is about what step 3 found.",
            )
        self._look_again()
        self.gate.require_open()
        sent = self.gate.sent_so_far()  # before the line of an attempt that may not leave
        with _told_truly(sent):
            self.gate.tenure.require(sending.deadline_s)
        super().admit(sending)
        try:
            with _told_truly(sent):
                self.gate.tenure.hand_over(sending.deadline_s)
        except RollbackError as exc:
            self.answered(sending, Answer("not_sent", None, exc.happened))
            raise

    def _look_again(self) -> None:
        """Look at gate and platform once more, unless the look before this permit was given has only just been."""
        clock = self.gate.journal.clock
        if self.attempts or clock.monotonic() - self.gate.looked > LOOK_COUNTS_S:
            self.gate.reconfirm()
            self.check()


@contextmanager
def _told_truly(sent: str) -> Iterator[None]:
    """Say with a refusal what the run has sent before."""
    try:
        yield
    except (LeaseHeld, Unreachable) as exc:
        raise type(exc)(exc.happened, sent, exc.next_step) from exc


def what_moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say part by part how a state differs from an earlier one; empty where it does not."""
    return [
        f"{key}: was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted({*now, *before})
        if _part(now, key) != _part(before, key)
    ]


def _part(state: Mapping[str, Any], key: str) -> str:
    """Return one part of a state as the digest sees it; a part that is not there differs from an empty one."""
    return digest_of([state[key]] if key in state else [])
