"""Showing a gate, taking the answer, and finding it again: the same for every procedure.

- Interactive: a panel, which returns at once. Headless: the parameter `confirm`, then waiting for approvals as policy says.
- A gate lives as long as its kernel; after a restart its cell is run again, and looks again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rollback_lib.consent.approvals import SlackApprovals
from rollback_lib.consent.gates import Ask, Gate
from rollback_lib.consent.policy import Demand, demand
from rollback_lib.errors import GateClosed
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import Notice

__all__ = ["GateKeeper"]


@dataclass
class GateKeeper:
    """The gates of one run in this kernel."""

    session: Session
    number: int
    _gates: dict[str, Gate] = field(default_factory=dict)

    def put(self, ask: Ask, facts: tuple[str, ...]) -> Notice:
        """Show a gate and take the answer as the mode has it; returns at once when interactive."""
        gate = Gate(
            ask,
            self.demand(),
            self.session.journal,
            self.session.parameters.dry_run,
            self._approvals().collect,
        )
        self._gates[ask.gate] = gate
        gate.show()
        from rollback_lib.procedures.panel import gate_panel, gate_text

        if self.session.parameters.mode == "headless":
            self._answer(gate)
            return gate_text(gate, facts)
        gate.look()
        gate_panel(
            gate, facts, by=self.session.operator.name, now=lambda: f"{self.session.clock.now():%H:%M:%S} UTC"
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

    def _approvals(self) -> SlackApprovals:
        session = self.session
        return SlackApprovals(
            session.clients.slack,
            session.journal,
            session.resolved.contacts,
            session.resolved.platform.slack.incidents_channel,
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
