"""Showing a gate, taking the answer, and finding it again: the same for every procedure.

- Interactive: a panel, which returns at once. Headless: the parameter `confirm`, then waiting for approvals as policy says.
- A gate lives as long as its kernel; after a restart its cell is run again, and looks again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rollback_lib.consent.gates import Ask, Gate
from rollback_lib.consent.policy import Demand, demand
from rollback_lib.errors import GateClosed
from rollback_lib.parameters import load_contacts
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import Notice

if TYPE_CHECKING:  # a rollback that needs no approval does not wait for these to be loaded
    from rollback_lib.consent.approvals import SlackApprovals
    from rollback_lib.consent.signed import SignedApprovals
    from rollback_lib.consent.spoken import SpokenApprovals
    from rollback_lib.consent.ways import Ways

__all__ = ["GateKeeper"]


@dataclass
class GateKeeper:
    """The gates of one run in this kernel."""

    session: Session
    number: int
    _gates: dict[str, Gate] = field(default_factory=dict)

    def put(self, ask: Ask, facts: tuple[str, ...]) -> Notice:
        """Show a gate and take the answer as the mode has it; returns at once when interactive."""
        wanted, session = self.demand(), self.session
        ways = self._ways(wanted.roles) if wanted.roles else None
        gate = Gate(ask, wanted, session.journal, session.leasing, session.parameters.dry_run, ways)
        self._gates[ask.gate] = gate
        gate.show()
        from rollback_lib.procedures.panel import gate_panel, gate_text

        if self.session.parameters.mode == "headless":
            self._answer(gate)
            return gate_text(gate, facts)
        gate.look()
        spoken = ways.spoken if ways is not None else None
        gate_panel(
            gate,
            facts,
            by=session.operator.name,
            now=lambda: f"{session.clock.now():%H:%M:%S} UTC",
            spoken=spoken,
        )
        return Notice(f"Gate {ask.gate} is shown above; the next cell refuses until it is open.")

    def opened(self, gate_id: str) -> Gate:
        """Return a gate that is open, after looking once more for its approvals.

        Raises:
            GateClosed: Not shown in this kernel, or something is missing; nothing was sent.
        """
        gate = self._gates.get(gate_id)
        if gate is None:
            raise GateClosed(
                f"Gate {gate_id} has not been shown since this notebook was opened.",
                "Nothing was sent that changes production.",
                "Run the gate's cell above, then this one.",
            )
        gate.look()
        gate.require_open()
        return gate

    def demand(self) -> Demand:
        """Return what the plan asks before an effect of this run."""
        parameters = self.session.parameters
        found = demand(self.session.plan, parameters.severity, parameters.criterion, self.number)
        unsaid = tuple(
            f"{name} is empty: say it in a sentence in the parameters cell"
            for name in ("reason", "impact")
            if not getattr(parameters, name).strip()
        )
        return replace(found, refusals=(*found.refusals, *unsaid))

    def used(self, gate_id: str) -> None:
        """Say in Slack that what was approved is done; after the effect, so that it does not wait for Slack."""
        intent = next(
            (line for line in self.session.journal.find("effect.intent") if line.data["gate"] == gate_id),
            None,
        )
        asked = self.session.journal.last("approval.requested") is not None
        if intent is not None and asked:
            self._slack(()).mark_used(intent.data["digest"], intent.data["name"])

    def _ways(self, roles: tuple[str, ...]) -> Ways:
        from rollback_lib.consent.ways import Ways

        session, order = self.session, self.session.resolved.policy.approval_ways
        interactive = session.parameters.mode == "interactive"
        return Ways(
            journal=session.journal,
            store=session.store,
            people=lambda: load_contacts(session.resolved.home, session.parameters.environment),
            incident=session.incident,
            order=order,
            slack=self._slack(order) if "slack" in order else None,
            signed=self._signed(roles) if "signature" in order else None,
            spoken=self._spoken() if "spoken" in order and interactive else None,
        )

    def _slack(self, order: tuple[str, ...]) -> SlackApprovals:
        from rollback_lib.consent.approvals import SlackApprovals

        session = self.session
        by_signature = f"\nOr sign it: `rollback approve {{digest}} -e {session.parameters.environment}`"
        return SlackApprovals(
            session.clients.slack,
            session.journal,
            session.resolved.contacts,
            session.resolved.platform.slack.incidents_channel,
            session.operator,
            session.clock,
            session.resolved.policy.approval_ttl_s,
            by_signature if "signature" in order else "",
        )

    def _signed(self, roles: tuple[str, ...]) -> SignedApprovals:
        from rollback_lib.consent.signed import SignedApprovals

        session, resolved = self.session, self.session.resolved
        return SignedApprovals(
            store=session.store,
            journal=session.journal,
            contacts=resolved.contacts,
            operator=session.operator,
            clock=session.clock,
            ttl_s=resolved.policy.approval_ttl_s,
            incident=session.incident,
            roles=roles,
            signers=resolved.home / resolved.signers,
            signers_shown=str(resolved.signers),
        )

    def _spoken(self) -> SpokenApprovals:
        from rollback_lib.consent.spoken import SpokenApprovals

        session = self.session
        return SpokenApprovals(
            session.journal,
            session.resolved.contacts,
            session.operator,
            session.clock,
            session.resolved.policy.approval_ttl_s,
        )

    def _answer(self, gate: Gate) -> None:
        """Answer for a headless run: the confirm parameter, then approvals until the time to wait is over."""
        confirm = self.session.parameters.confirm
        typed = confirm if isinstance(confirm, str) else confirm.get(gate.ask.gate, "")
        if typed:
            gate.confirm(typed, by=self.session.operator.name, way="confirm parameter")
        policy, clock = self.session.resolved.policy, self.session.clock
        deadline = clock.monotonic() + policy.approval_wait_s
        gate.look()
        while gate.waits_for_approval and clock.monotonic() < deadline:
            clock.sleep(policy.approval_poll_s)
            gate.look()
