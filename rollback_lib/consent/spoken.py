"""Approvals that were spoken: heard by the operator, who attests who said it, how and when.

- Only where policy allows it, and only by a person at the notebook; a headless run has nobody who could hear.
- It is the weakest way, and every account of it says so: spoken, and by whom it is attested.
- Who is named must hold the role and must not have operated the run; the time must be just before now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollback_lib.clock import Clock, to_iso
from rollback_lib.consent.four_eyes import operators_of, others_with
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.errors import NotApproved
from rollback_lib.journal import Journal
from rollback_lib.parameters import Contacts, Person

__all__ = ["SpokenApprovals"]

WAY = "spoken"
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_NOT_TAKEN = "Nothing was written down as approved."


@dataclass
class SpokenApprovals:
    """Takes down what the operator attests."""

    journal: Journal
    contacts: Contacts
    operator: Person
    clock: Clock
    ttl_s: float

    def speakers(self, role: str) -> tuple[Person, ...]:
        """Return who could have said yes: holders of the role who have not operated this run."""
        return others_with(role, self.contacts, operators_of(self.journal, self.operator))

    def attest(self, ask: Ask, role: str, speaker: str, at: str) -> Approval:
        """Write down that somebody approved by word of mouth.

        Args:
            ask: What was read out to them.
            role: In which they spoke.
            speaker: Their key in the contacts.
            at: When, as HH:MM in UTC, within the time that an approval counts.

        Raises:
            NotApproved: It would not count; nothing was written down.
            JournalError: Not on record; nothing counts as approved.
        """
        person = next((one for one in self.speakers(role) if one.key == speaker), None)
        if person is None:
            names = ", ".join(one.name for one in self.speakers(role)) or "nobody"
            raise NotApproved(
                f"{speaker or 'Nobody'} cannot have approved as {role.replace('_', ' ')}.",
                _NOT_TAKEN,
                f"Choose who said it: {names}. Nobody approves what they operate.",
            )
        spoken_at = self._instant(at)
        approval = Approval(
            gate=ask.gate,
            digest=ask.digest,
            role=role,
            person=person.name,
            slack_user=person.slack,
            way=WAY,
            seen_at=to_iso(spoken_at),
            expires_at=to_iso(spoken_at + timedelta(seconds=self.ttl_s)),
            attested_by=self.operator.name,
        )
        self.journal.append("approval.seen", step=ask.gate, data=vars(approval))
        return approval

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Find what was attested for exactly this; say how to attest where nothing was."""
        for line in reversed(tuple(self.journal.find("approval.seen", ask.gate))):
            if line.data["way"] != WAY:
                continue
            found = Approval(**line.data)
            if (found.role, found.digest) == (role, ask.digest) and not self.objection(ask, found):
                return found, ""
        return None, "nothing was attested as spoken"

    def objection(self, _: Ask, approval: Approval) -> str:
        """Say why what was attested does not count any more, or nothing."""
        if approval.slack_user not in {one.slack for one in self.speakers(approval.role)}:
            return f"{approval.person} does not hold the role, or has operated this run"
        if self.clock.now() > datetime.fromisoformat(approval.expires_at):
            return f"it counted until {approval.expires_at}"
        return ""

    def _instant(self, at: str) -> datetime:
        now = self.clock.now().astimezone(UTC)
        if not _TIME.fullmatch(at):
            raise NotApproved(f"{at!r} is no time.", _NOT_TAKEN, "Write when it was said, as HH:MM in UTC.")
        hour, minute = map(int, at.split(":"))
        said = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if said > now:  # before midnight
            said -= timedelta(days=1)
        if now - said > timedelta(seconds=self.ttl_s):
            raise NotApproved(
                f"{at} UTC is longer ago than an approval counts ({self.ttl_s / 60:.0f} minutes), or has not come yet.",
                _NOT_TAKEN,
                f"Write when it was said, as HH:MM in UTC; it is {now:%H:%M} now.",
            )
        return said
