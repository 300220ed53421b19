"""Approvals by a ✅ in Slack, by user id, on a request that names exactly what is asked.

- A person is their Slack user id; display names can be changed by anyone and count for nothing.
- Who asks, or has asked in this run, does not approve; bots and deleted users do not count;
  a ❌ by any holder of the role blocks.
- A list of reactions cut short by Slack is unknown, never a refusal and never an approval.
- The request names run, gate and digest, and is posted once; another digest needs another request.
- What was seen, and when, is in the journal and counts from then on: a ✅ can be taken back later. A ❌ stops it all
  the same, also one that came after the ✅, until the effect; if Slack cannot be asked then, what was seen counts.
- An approval counts for a limited time from its request on.
- Once used, the request says so, and for what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_lib.clock import Clock, to_iso
from rollback_lib.consent.four_eyes import operators_of
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.consent.plain import visible
from rollback_lib.errors import JournalError, RollbackError
from rollback_lib.journal import Journal, Line
from rollback_lib.model import GateId, UserId
from rollback_lib.parameters import Contacts, Person
from rollback_lib.providers.posting import Message, post_once
from rollback_lib.providers.slack import Reactions, SlackClient, SlackUser, escape

__all__ = ["SlackApprovals", "Verdict", "judge_reactions"]

WAY = "slack"
APPROVE, REFUSE = "white_check_mark", "x"
EVENT_TYPE = "runbook_approval"


@dataclass(frozen=True)
class Verdict:
    """What the reactions on a request amount to."""

    approver: Person | None
    reason: str  # why there is no approval (yet); empty with one
    blocked: bool = False  # a ❌ that counts, or one that may


def judge_reactions(
    reactions: Reactions,
    holders: tuple[Person, ...],
    *,
    askers: Collection[str],
    users: Mapping[UserId, SlackUser],
) -> Verdict:
    """Decide on one request: who, if anyone, approved it.

    Args:
        reactions: What Slack lists on the request.
        holders: Who may approve: the person of the role, then deputies.
        askers: Slack user ids of the operators who ask or asked; they may refuse, never approve.
        users: The accounts behind the ids that reacted, as Slack describes them now.
    """
    by_id = {person.slack: person for person in holders}

    def by_holders(name: str) -> list[Person]:
        accounts = [(by_id[user], users.get(user)) for user in reactions.users(name) if user in by_id]
        return [
            person
            for person, account in accounts
            if account is not None and not account.is_bot and not account.deleted
        ]

    blockers = [person.name for person in by_holders(REFUSE)]
    if blockers:
        return Verdict(None, f"refused by {', '.join(blockers)} (❌ on the request)", blocked=True)
    if reactions.incomplete(REFUSE):
        reason = "Slack listed only some of the people who put ❌: unknown whether one of them blocks"
        return Verdict(None, reason, blocked=True)
    approvers = [person for person in by_holders(APPROVE) if person.slack not in askers]
    if approvers:
        return Verdict(approvers[0], "")
    return Verdict(None, _why_not_yet(reactions, holders, askers))


def _why_not_yet(reactions: Reactions, holders: tuple[Person, ...], askers: Collection[str]) -> str:
    if reactions.incomplete(APPROVE):
        return "Slack listed only some of the people who put ✅: unknown whether one of them may approve"
    if any(user in askers for user in reactions.users(APPROVE)):
        return "the ✅ is the operator's own: nobody approves their own request"
    others = " or ".join(person.name for person in holders if person.slack not in askers)
    return f"no ✅ yet by {others or 'anybody else with the role'}"


@dataclass(frozen=True)
class _Request:
    """A request as it stands in the channel."""

    channel: str
    ts: str
    asked_by: str  # Slack user id
    expires: datetime

    @classmethod
    def from_line(cls, line: Line, ttl_s: float) -> _Request:
        data = line.data
        expires = datetime.fromisoformat(line.at) + timedelta(seconds=ttl_s)
        return cls(data["channel"], data["ts"], data["asked_by"], expires)


@dataclass
class SlackApprovals:
    """Asks for approvals in the incidents channel and reads the answers."""

    slack: SlackClient
    journal: Journal
    contacts: Contacts
    channel: str
    operator: Person
    clock: Clock
    ttl_s: float
    also: str = ""  # how else it can be approved, for the request's text; {digest} stands for the digest

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Look once for the approval, posting the request first if this exact thing was not asked yet.

        Never raises for Slack's troubles: no approval and the reason are returned. What was approved before,
        by the journal, is not asked again.

        Raises:
            JournalError: The run cannot be recorded; nothing counts as approved.
        """
        seen = self._seen_before(ask, role)
        if seen is not None:
            against = self.objection(ask, seen)
            return (None, against) if against else (seen, "")
        try:
            request = self._request(ask, role)
            if self.clock.now() > request.expires:
                return None, self._too_old()
            verdict = self._judge(request, role)
        except JournalError:
            raise
        except RollbackError as exc:
            return None, f"Slack could not be asked: {exc.happened}"
        if verdict.approver is None:
            return None, verdict.reason
        return self._approved(ask, role, request, verdict.approver), ""

    def objection(self, ask: Ask, approval: Approval) -> str:
        """Say why an approval that was seen does not count any more, or nothing."""
        if approval.slack_user not in self._able(approval.role):
            return f"{approval.person} does not hold the role, or has operated this run"
        try:
            account = self.slack.user(approval.slack_user)
        except RollbackError as exc:
            self._not_asked_again(exc)
            return ""
        if account.deleted or account.is_bot:
            return f"the account of {approval.person} is no person's any more"
        return self.refusal(ask, approval.role)

    def refusal(self, ask: Ask, role: str) -> str:
        """Say who put a ❌ on the request, or that one may hide behind a list cut short; else nothing.

        Slack that cannot be asked refuses nothing.
        """
        line = self._asked(ask, role)
        if line is None:
            return ""
        try:
            verdict = self._judge(_Request.from_line(line, self.ttl_s), role)
        except RollbackError as exc:  # a read: none of these is the journal's
            self._not_asked_again(exc)
            return ""
        return verdict.reason if verdict.blocked else ""

    def _not_asked_again(self, exc: RollbackError) -> None:
        """Write down, once, that a ❌ could not be looked for."""
        text = (
            f"Slack could not be asked again whether anybody refuses, so what was seen counts: {exc.happened}"
        )
        if not any(line.data["text"] == text for line in self.journal.find("warning")):
            self.journal.append("warning", data={"text": text})

    def where(self, ask: Ask) -> str:
        """Return the address of the newest request for this, if there is one."""
        lines = [line for line in self._requests(ask.gate) if line.data["digest"] == ask.digest]
        return str(lines[-1].data["permalink"]) if lines else ""

    def mark_used(self, digest: str, effect: str) -> None:
        """Say on each request of a digest that it was used, and for what; later reactions are then visibly moot."""
        for line in self._requests():
            if line.data["digest"] != digest:
                continue
            name = f"approval request of the {line.data['role'].replace('_', ' ')} marked as used"
            if not any(done.data["name"] == name for done in self.journal.find("prepare.done", line.step)):
                used = f"*Used by run {self.journal.run} at {self.clock.now():%H:%M:%S} UTC: {escape(effect)}.* Reactions change nothing any more."
                self._mark(line, name, used)

    def _seen_before(self, ask: Ask, role: str) -> Approval | None:
        """Find the approval in the journal: the restarted kernel goes on with it, also while Slack is down."""
        able = self._able(role)
        for line in self.journal.find("approval.seen", ask.gate):
            found = Approval(**line.data)
            fits = (found.role, found.digest, found.way) == (role, ask.digest, WAY)
            fits = fits and found.slack_user in able
            if fits and self.clock.now() <= datetime.fromisoformat(found.expires_at):
                return found
        return None

    def _judge(self, request: _Request, role: str) -> Verdict:
        reactions = self.slack.reactions(request.channel, request.ts)
        holders = self.contacts.holders(role)
        reacted = {*reactions.users(APPROVE), *reactions.users(REFUSE)} & {one.slack for one in holders}
        users = {user: self.slack.user(user) for user in sorted(reacted)}
        return judge_reactions(reactions, holders, askers=self._askers() | {request.asked_by}, users=users)

    def _able(self, role: str) -> set[str]:
        """Return the accounts that may approve as things stand now."""
        accounts: set[str] = {person.slack for person in self.contacts.holders(role)}
        return accounts - self._askers()

    def _askers(self) -> set[str]:
        """Return everybody who has operated this run: nobody of them approves it."""
        keys = operators_of(self.journal, self.operator)
        return {self.operator.slack} | {one.slack for key, one in self.contacts.people.items() if key in keys}

    def _request(self, ask: Ask, role: str) -> _Request:
        line = self._asked(ask, role)
        return _Request.from_line(line if line is not None else self._post(ask, role), self.ttl_s)

    def _asked(self, ask: Ask, role: str) -> Line | None:
        fitting = [
            line
            for line in self._requests(ask.gate)
            if line.data["role"] == role and line.data["digest"] == ask.digest
        ]
        return fitting[-1] if fitting else None

    def _requests(self, gate: GateId | None = None) -> list[Line]:
        return [line for line in self.journal.find("approval.requested", gate) if line.data["way"] == WAY]

    def _post(self, ask: Ask, role: str) -> Line:
        """Post the request; an earlier attempt that may have arrived is looked for first."""
        payload = {"run": str(self.journal.run), "gate": str(ask.gate), "role": role, "digest": ask.digest}
        message = Message(
            name=f"approval request to {role}, digest {ask.digest[:16]}",
            channel=self.channel,
            text=self._text(ask, role),
            event_type=EVENT_TYPE,
            payload=payload,
            step=ask.gate,
            data={"digest": ask.digest},
        )
        posted = post_once(self.slack, self.journal, message)
        data = {
            "gate": ask.gate,
            "role": role,
            "way": WAY,
            "text": message.text,
            "channel": posted.channel,
            "ts": posted.ts,
            "digest": ask.digest,
            "asked_by": self.operator.slack,
            "permalink": self._permalink(posted.channel, posted.ts),
        }
        return self.journal.append("approval.requested", step=ask.gate, data=data)

    def _too_old(self) -> str:
        minutes = f"{self.ttl_s / 60:.0f} minutes"
        return f"the request is older than {minutes}, and an approval counts for {minutes}: begin a new run (new_run = True) and ask again"

    def _approved(self, ask: Ask, role: str, request: _Request, person: Person) -> Approval:
        approval = Approval(
            ask.gate,
            ask.digest,
            role,
            person.name,
            person.slack,
            WAY,
            to_iso(self.clock.now()),
            self._permalink(request.channel, request.ts),
            to_iso(request.expires),
        )
        self.journal.append("approval.seen", step=ask.gate, data=vars(approval))
        self._mark_answered(ask, role, person)
        return approval

    def _mark_answered(self, ask: Ask, role: str, person: Person) -> None:
        """Say below the request that it was answered."""
        line = self._asked(ask, role)
        assert line is not None  # it was just judged
        answer = f"*Approved by <@{person.slack}>.* Until the change is made, a ❌ still stops it."
        self._mark(line, "approval request marked as answered", answer)

    def _mark(self, line: Line, name: str, text: str) -> None:
        data = {"channel": line.data["channel"], "ts": line.data["ts"]}
        leave = self.journal.prepare(name, step=line.step, data=data)
        try:
            self.slack.update(data["channel"], data["ts"], f"{line.data['text']}\n{text}", leave)
        except JournalError:
            raise
        except RollbackError as exc:
            leave.failed(exc.happened)
            told = f"the approval request could not be marked{name.partition('marked')[2]}: {exc.happened}"
            self.journal.append("warning", data={"text": told})
        else:
            leave.done()

    def _permalink(self, channel: str, ts: str) -> str:
        try:
            return self.slack.permalink(channel, ts)
        except RollbackError:
            return ""  # a convenience for the reader; channel and ts are what counts

    def _text(self, ask: Ask, role: str) -> str:
        asked_by = self.operator.slack
        names = " ".join(
            f"<@{person.slack}>" for person in self.contacts.holders(role) if person.slack != asked_by
        )
        effect = "\n".join(
            f"• {escape(visible(key))}: {escape(visible(value))}" for key, value in ask.effect.items()
        )
        undone = "\n".join(f"• {escape(visible(text))}" for text in ask.will_not_undo) or "• nothing known"
        return (
            f"Approval needed by the {role.replace('_', ' ')}: {names}\n"
            f"*{escape(ask.title)}* on {escape(ask.environment)}, asked by <@{asked_by}>\n{effect}\n"
            f"This will NOT undo:\n{undone}\n"
            f"Run {self.journal.run}, gate {ask.gate}, digest {ask.short}\n"
            "React with ✅ to approve or ❌ to refuse. An approval counts for exactly this and nothing else."
            f"{self.also.format(digest=ask.short)}"
        )
