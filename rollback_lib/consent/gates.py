"""The point where a person, or policy on their behalf, lets an effect through.

- A gate returns at once; it opens by the typed name of the target and, where the plan asks, by approvals.
- What it lets through is named by a digest of the effect and of the state it was decided on;
  if either moved since, the gate no longer opens.
- The typed text is never prefilled and compared exactly.
- Only an open gate gives a permit, and a permit asks its gate again before each request leaves.
- Everything shown, typed and approved is in the journal before it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollback_lib.consent.policy import Demand
from rollback_lib.errors import GateClosed
from rollback_lib.journal import Intent, Journal
from rollback_lib.model import GateId, RequestClass, Sending, digest_of

__all__ = ["Approval", "Ask", "Gate", "Permit"]


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

    @property
    def digest(self) -> str:
        """Return the digest that an approval names: the effect and the state it was decided on."""
        return digest_of([self.gate, self.environment, self.effect, self.state])


@dataclass(frozen=True)
class Approval:
    """Evidence that a named person with a role allowed exactly this."""

    gate: GateId
    digest: str
    role: str
    person: str
    slack_user: str
    way: str  # slack
    seen_at: str  # ISO 8601
    permalink: str = ""


@dataclass
class Gate:
    """One gate of one run."""

    ask: Ask
    demand: Demand
    journal: Journal
    dry_run: bool = False
    collect: Callable[[Ask, str], tuple[Approval | None, str]] | None = (
        None  # (ask, role) -> approval, or why not yet
    )
    _typed_by: str = ""
    _approvals: list[Approval] = field(default_factory=list)
    _opened: bool = False

    def show(self) -> None:
        """Write down what is put before the person."""
        self.journal.append(
            "gate.shown",
            step=self.ask.gate,
            data={
                "gate": self.ask.gate,
                "digest": self.ask.digest,
                "effect": dict(self.ask.effect),
                "environment": self.ask.environment,
                "will_not_undo": list(self.ask.will_not_undo),
                "typed_wanted": self.ask.typed_wanted,
                "rule": self.demand.rule,
            },
        )

    def confirm(self, typed: str, *, by: str, way: str) -> bool:
        """Take the typed text; only the target's exact name counts. Return whether it did."""
        if typed != self.ask.typed_wanted:
            self.journal.append(
                "gate.mistyped",
                step=self.ask.gate,
                data={"gate": self.ask.gate, "typed": typed[:80], "way": way},
            )
            return False
        if not self._typed_by:
            self._typed_by = by
            data = {"gate": self.ask.gate, "digest": self.ask.digest, "typed_by": by, "way": way}
            self.journal.append("gate.confirmed", step=self.ask.gate, data=data)
        return True

    def look(self) -> None:
        """Ask once for each approval that is still missing, and open if nothing is."""
        for role in self.demand.roles:
            if self.collect is not None and not any(approval.role == role for approval in self._approvals):
                approval, _ = self.collect(self.ask, role)
                if approval is not None and approval.digest == self.ask.digest:
                    self._approvals.append(approval)
        if not self._opened and not self._closed_by():
            self._opened = True
            data = {
                "gate": self.ask.gate,
                "digest": self.ask.digest,
                "approvals": [vars(approval) for approval in self._approvals],
                "policy": self.demand.rule,
            }
            self.journal.append("gate.opened", step=self.ask.gate, data=data)

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
        return tuple(approval.person for approval in self._approvals)

    def require_open(self) -> None:
        """Let pass, or refuse naming what is missing.

        Raises:
            GateClosed: Nothing was sent.
        """
        missing = self._closed_by()
        if missing or not self._opened:
            raise self.closed(missing or ("the gate has not been opened: run its cell",))

    def require_unmoved(self, state: dict[str, Any]) -> None:
        """Refuse if the state that the gate was decided on is no longer the platform's.

        Raises:
            GateClosed: Something moved between preview and effect; nothing was sent.
        """
        if digest_of(state) == digest_of(self.ask.state):
            return
        moved = [
            f"{key}: was {self.ask.state.get(key)!r}, is {state.get(key)!r}"
            for key in sorted({*state, *self.ask.state})
            if state.get(key) != self.ask.state.get(key)
        ]
        self.journal.append(
            "gate.refused", step=self.ask.gate, data={"gate": self.ask.gate, "missing": moved}
        )
        raise GateClosed(
            f"Gate {self.ask.gate} no longer fits: the platform changed since it was shown ({'; '.join(moved)}).",
            "This run sent nothing that changes production.",
            "Somebody else may be acting: ask in the incidents channel. Then begin a new run (new_run = True), which looks again.",
        )

    def closed(self, missing: tuple[str, ...]) -> GateClosed:
        """Write the refusal down and return the error to raise."""
        self.journal.append(
            "gate.refused", step=self.ask.gate, data={"gate": self.ask.gate, "missing": list(missing)}
        )
        return GateClosed(
            f"Gate {self.ask.gate} ({self.ask.title}) is closed: {'; '.join(missing)}.",
            "This run has sent nothing that changes production.",
            f"See to what is missing, then run this cell again. The run stays open: {self.journal.run}.",
        )

    def permit(self, name: str, *, step: str, data: dict[str, Any]) -> Permit:
        """Write the effect's intent down and give its permit.

        Raises:
            GateClosed: The gate is not open; nothing was sent.
        """
        self.require_open()
        return Permit(self, name, step, data)

    def _closed_by(self) -> tuple[str, ...]:
        missing = list(self.demand.refusals)
        if self.dry_run:
            missing.append("this is a dry run: it gives no permit for effects")
        if not self._typed_by:
            missing.append(
                f"the name {self.ask.typed_wanted!r} has not been typed (headless: the parameter confirm)"
            )
        approved = {approval.role for approval in self._approvals}
        words = "no approval by the {} yet (✅ on the request in the incidents channel)"
        missing.extend(
            words.format(role.replace("_", " ")) for role in self.demand.roles if role not in approved
        )
        return tuple(missing)


class Permit(Intent):
    """The pass for one effect, from an open gate."""

    request_class: RequestClass = RequestClass.EFFECT

    def __init__(self, gate: Gate, name: str, step: str, data: dict[str, Any]) -> None:
        gate.require_open()
        self.gate = gate
        super().__init__(gate.journal, name, step, {"gate": gate.ask.gate, "digest": gate.ask.digest} | data)

    def admit(self, sending: Sending) -> None:
        """Ask the gate once more, then write down that the request leaves now.

        Raises:
            GateClosed: The gate is not open; nothing leaves.
            JournalError: The line is not on disk; nothing leaves.
        """
        self.gate.require_open()
        super().admit(sending)
