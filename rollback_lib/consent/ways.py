"""All the ways in which a gate can be approved, in the policy's order, and what an approval was used for.

- Every way asks; the first that has an approval gives it. A way that is down holds up no other.
- A ❌ in Slack by a holder of the role stops an approval by any way, until the effect.
- Contacts are read again at each look: who lost a role since approves nothing any more.
- An approval is for one effect of one run: that is put into the store before the effect is intended, once.
  Without the store no signature counts; a ✅ or a spoken approval is this run's own, and only warns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rollback_lib.consent.approvals import SlackApprovals
from rollback_lib.consent.documents import folder_of
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.consent.signed import SignedApprovals
from rollback_lib.consent.spoken import SpokenApprovals
from rollback_lib.errors import JournalError, RollbackError
from rollback_lib.journal import Journal
from rollback_lib.model import canonical_text
from rollback_lib.parameters import Contacts
from rollback_lib.store import Store

__all__ = ["Ways"]


class Way(Protocol):
    """One way of approval."""

    contacts: Contacts

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Look once."""

    def objection(self, ask: Ask, approval: Approval) -> str:
        """Look again at one of its own."""


@dataclass
class Ways:
    """The source of approvals of one gate."""

    journal: Journal
    store: Store
    people: Callable[[], Contacts]  # as they stand now
    incident: str
    order: tuple[str, ...]  # as the policy has it
    slack: SlackApprovals | None = None
    signed: SignedApprovals | None = None
    spoken: SpokenApprovals | None = None

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Look once by each way, asking where this exact thing was not asked yet.

        Raises:
            JournalError: The run cannot be recorded; nothing counts as approved.
        """
        trouble = self._refresh()
        if trouble:
            return None, trouble
        reasons = []
        for name, way in self._ways():
            found, reason = way.collect(ask, role)
            if found is not None:
                why = self._in_the_way(ask, found)
                return (None, why) if why else (found, "")
            reasons.append(f"{name}: {reason}")
        if not reasons:  # spoken alone, headless
            return None, f"none of the policy's ways ({', '.join(self.order)}) is open without a person here"
        return None, "; ".join(reasons)

    def objection(self, ask: Ask, approval: Approval) -> str:
        """Look again at an approval that was found; say why it does not count any more, or nothing."""
        trouble = self._refresh()
        way = dict(self._ways()).get(approval.way)
        if trouble or way is None:
            return trouble or f"approval by {approval.way} is not allowed any more"
        return way.objection(ask, approval) or self._in_the_way(ask, approval)

    def use(self, ask: Ask, effect: str, approvals: tuple[Approval, ...]) -> str:
        """Put down what the approvals are used for, once; say why they may not be used for it, or nothing.

        Raises:
            JournalError: Not on record; stop.
        """
        name, key = f"approvals used for {effect}", self._use_key(ask)
        if any(line.data["name"] == name for line in self.journal.find("prepare.done", ask.gate)):
            return ""
        mark = {"v": 1, "kind": "used rollback approval", "digest": ask.digest, "gate": ask.gate}
        mark |= {"incident": self.incident, "run": self.journal.run, "effect": effect}
        leave = self.journal.prepare(name, step=ask.gate, data={"store": key, "mark": mark})
        try:
            ours = self.store.create(key, canonical_text(mark).encode())
        except JournalError:
            raise
        except RollbackError as exc:
            leave.unknown(exc.happened)
            return self._without_the_store(approvals, exc)
        if not ours:
            leave.failed("used already")
            return self._taken(ask, effect) or "the approvals were used already"
        leave.done()
        return ""

    def advice(self, ask: Ask) -> tuple[str, ...]:
        """Say how it can be approved, a line a way."""
        told = []
        if self.slack is not None:
            link = self.slack.where(ask)
            told.append(f"✅ on the request in the incidents channel{f': {link}' if link else ''}")
        if self.signed is not None:
            told.append(
                f"signature: rollback approve {ask.short} -e {ask.environment} (without the shared store: send them attachments/approval-request-{ask.short}.json of this run)"
            )
        if self.spoken is not None:
            told.append("spoken: ring them, read it out, and attest it in the notebook")
        return tuple(told)

    def _ways(self) -> tuple[tuple[str, Way], ...]:
        known = {"slack": self.slack, "signature": self.signed, "spoken": self.spoken}
        return tuple((name, way) for name in self.order if (way := known[name]) is not None)

    def _refresh(self) -> str:
        """Take the contacts as they stand now."""
        try:
            contacts = self.people()
        except RollbackError as exc:
            return f"nobody knows who holds the role: {exc.happened.splitlines()[0]}"
        for _, way in self._ways():
            way.contacts = contacts
        return ""

    def _in_the_way(self, ask: Ask, approval: Approval) -> str:
        """Say what stands against an approval besides its own way."""
        if approval.way != "slack" and self.slack is not None:
            refused = self.slack.refusal(ask, approval.role)
            if refused:
                return refused
        if approval.way != "signature":
            return ""
        try:
            return self._taken(ask)
        except RollbackError as exc:
            return f"whether it was used before cannot be told: {exc.happened.rstrip('.')}"

    def _use_key(self, ask: Ask) -> str:
        return f"{folder_of(ask.environment, ask.digest)}/used"

    def _taken(self, ask: Ask, effect: str = "") -> str:
        """Say what the approvals were used for, if that is anything but this run (and effect)."""
        found = self.store.get(self._use_key(ask))
        if found is None:
            return ""
        mark = _mark_of(found.data)
        same = (mark.get("run"), mark.get("gate"), mark.get("digest")) == (
            self.journal.run,
            ask.gate,
            ask.digest,
        )
        if same and effect in ("", mark.get("effect")):
            return ""
        return f"the approvals were used already, for {mark.get('effect') or 'something else'} of run {mark.get('run') or 'unknown'}"

    def _without_the_store(self, approvals: tuple[Approval, ...], exc: RollbackError) -> str:
        if any(approval.way == "signature" for approval in approvals):
            return f"a signature counts once, and that it is used now cannot be put down: {exc.happened.rstrip('.')}"
        data = {"text": f"that the approvals are used could not be put into the store: {exc.happened}"}
        self.journal.append("warning", data=data)
        return ""


def _mark_of(raw: bytes) -> dict[str, str]:
    """Read a mark; one that cannot be read is nobody's."""
    try:
        mark = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in mark.items()} if isinstance(mark, dict) else {}
