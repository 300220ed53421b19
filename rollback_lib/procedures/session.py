"""Everything a procedure works with, put together when it is opened."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from rollback_lib.clock import Clock
from rollback_lib.journal import Journal
from rollback_lib.messages.thread import Thread
from rollback_lib.model import Check, IncidentId
from rollback_lib.parameters import Person, Resolved
from rollback_lib.plan import Plan
from rollback_lib.procedures.leasing import Leasing
from rollback_lib.procedures.shown import warn
from rollback_lib.providers import Clients
from rollback_lib.store import Store

__all__ = ["Session"]


@dataclass(frozen=True, repr=False)
class Session:
    """The parts that a run is made of."""

    plan: Plan
    resolved: Resolved
    clients: Clients
    journal: Journal
    incident: IncidentId
    operator: Person
    thread: Thread
    clock: Clock
    store: Store  # what machines share: leases, approvals, journals
    leasing: Leasing

    @property
    def parameters(self) -> Any:
        """Return the notebook's parameters, of the procedure's model."""
        return self.resolved.parameters

    @property
    def severity(self) -> str:
        """Name severity and criterion as the plan words it: whoever approves weighs the change by them."""
        parameters = self.parameters
        if not parameters.criterion:
            return parameters.severity or "not set"
        text = self.plan.trigger(parameters.criterion).text
        return f"{parameters.severity or 'not set'}, criterion {parameters.criterion} ({text})"

    @property
    def undo_of(self) -> str:
        """Return the run that this one undoes, its whole id once that was looked up; empty: this is a rollback."""
        found = [line.data["result"] for line in self.journal.find("step.done")]
        whole = next((one["undo_of"] for one in found if isinstance(one, dict) and one.get("undo_of")), None)
        return str(whole or self.parameters.undo)

    @property
    def called(self) -> str:
        """Name what the run does, as people are told: a rollback, or the undo of a run."""
        return f"undo of run {self.undo_of}" if self.undo_of else "rollback"

    def undo_command(self, gate: str) -> str:
        """Write the whole command that undoes this run: without the gate's text it would end at its gate."""
        shown = self.journal.last("gate.shown", gate)
        name = shlex.quote(shown.data["typed_wanted"]) if shown is not None else "NAME"
        return f"rollback undo {self.journal.run} --reason ... -p confirm={name}"

    def warn(self, text: str) -> None:
        """Write a warning down and show it."""
        warn(self.journal, text)

    def note_check(self, check: Check) -> Check:
        """Write a check down."""
        data = {key: getattr(check, key) for key in ("id", "title", "seen", "wanted", "source", "required")}
        self.journal.append("check", step=check.id, data=data | {"status": check.status.value})
        return check
