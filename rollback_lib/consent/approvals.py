"""Approvals by a ✅ in Slack, by user id, on a request that names exactly what is asked.

- A person is their Slack user id; display names can be changed by anyone and count for nothing.
- Who asks, or has asked in this run, does not approve; bots and deleted users do not count;
  a ❌ by any holder of the role blocks.
- A list of reactions cut short by Slack is unknown, never a refusal and never an approval.
- The request names run, gate and digest, and is posted once; another digest needs another request.
- What was seen, and when, is in the journal and counts from then on: a reaction can be taken back later.
- An approval counts for a limited time from its request on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_lib.clock import Clock, to_iso
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.errors import JournalError, RollbackError
from rollback_lib.journal import Journal, Line
from rollback_lib.model import UserId
from rollback_lib.parameters import Contacts, Person
from rollback_lib.providers.posting import Message, post_once
from rollback_lib.providers.slack import Reactions, SlackClient, SlackUser, escape

__all__ = ["SlackApprovals", "Verdict", "judge_reactions"]

APPROVE, REFUSE = "white_check_mark", "x"
EVENT_TYPE = "runbook_approval"


@dataclass(frozen=True)
class Verdict:
    """What the reactions on a request amount to."""

    approver: Person | None
    reason: str  # why there is no approval (yet); empty with one


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
        return Verdict(None, f"refused by {', '.join(blockers)} (❌ on the request)")
    if reactions.incomplete(REFUSE):
        return Verdict(
            None, "Slack listed only some of the people who put ❌: unknown whether one of them blocks"
        )
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

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Look once for the approval, posting the request first if this exact thing was not asked yet.

        Never raises for Slack's troubles: no approval and the reason are returned. What was approved before,
        by the journal, is not asked again.

        Raises:
            JournalError: The run cannot be recorded; nothing counts as approved.
        """
        seen = self._seen_before(ask, role)
        if seen is not None:
            return seen, ""
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

    def _seen_before(self, ask: Ask, role: str) -> Approval | None:
        """Find the approval in the journal: the restarted kernel goes on with it, also while Slack is down."""
        able = {person.slack for person in self.contacts.holders(role)} - self._askers()
        for line in self.journal.find("approval.seen", ask.gate):
            found = Approval(**line.data)
            fits = (found.role, found.digest) == (role, ask.digest) and found.slack_user in able
            if fits and self.clock.now() <= datetime.fromisoformat(found.expires_at):
                return found
        return None

    def _judge(self, request: _Request, role: str) -> Verdict:
        reactions = self.slack.reactions(request.channel, request.ts)
        holders = self.contacts.holders(role)
        reacted = {*reactions.users(APPROVE), *reactions.users(REFUSE)} & {one.slack for one in holders}
        users = {user: self.slack.user(user) for user in sorted(reacted)}
        return judge_reactions(reactions, holders, askers=self._askers() | {request.asked_by}, users=users)

    def _askers(self) -> set[str]:
        """Return everybody who has operated this run: nobody of them approves it."""
        keys = {
            line.data["operator"]
            for event in ("run.opened", "run.continued")
            for line in self.journal.find(event)
        }
        return {self.operator.slack} | {one.slack for key, one in self.contacts.people.items() if key in keys}

    def _request(self, ask: Ask, role: str) -> _Request:
        line = self._asked(ask, role)
        return _Request.from_line(line if line is not None else self._post(ask, role), self.ttl_s)

    def _asked(self, ask: Ask, role: str) -> Line | None:
        fitting = [
            line
            for line in self.journal.find("approval.requested", ask.gate)
            if line.data["role"] == role and line.data["digest"] == ask.digest
        ]
        return fitting[-1] if fitting else None

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
            "slack",
            to_iso(self.clock.now()),
            self._permalink(request.channel, request.ts),
            to_iso(request.expires),
        )
        self.journal.append("approval.seen", step=ask.gate, data=vars(approval))
        self._mark_answered(ask, role, request, person)
        return approval

    def _mark_answered(self, ask: Ask, role: str, request: _Request, person: Person) -> None:
        """Say below the request that it was answered, so that later reactions are visibly moot."""
        data = {"channel": request.channel, "ts": request.ts}
        leave = self.journal.prepare("approval request marked as answered", step=ask.gate, data=data)
        answer = f"*Approved by <@{person.slack}>.* Later reactions change nothing."
        text = f"{self._text(ask, role, request.asked_by)}\n{answer}"
        try:
            self.slack.update(request.channel, request.ts, text, leave)
        except JournalError:
            raise
        except RollbackError as exc:
            leave.failed(exc.happened)
            told = f"the approval request could not be marked as answered: {exc.happened}"
            self.journal.append("warning", data={"text": told})
        else:
            leave.done()

    def _permalink(self, channel: str, ts: str) -> str:
        try:
            return self.slack.permalink(channel, ts)
        except RollbackError:
            return ""  # a convenience for the reader; channel and ts are what counts

    def _text(self, ask: Ask, role: str, asked_by: str = "") -> str:
        asked_by = asked_by or self.operator.slack
        names = " ".join(
            f"<@{person.slack}>" for person in self.contacts.holders(role) if person.slack != asked_by
        )
        effect = "\n".join(f"• {escape(key)}: {escape(value)}" for key, value in ask.effect.items())
        undone = "\n".join(f"• {escape(text)}" for text in ask.will_not_undo) or "• nothing known"
        return (
            f"Approval needed by the {role.replace('_', ' ')}: {names}\n"
            f"*{escape(ask.title)}* on {escape(ask.environment)}, asked by <@{asked_by}>\n{effect}\n"
            f"This will NOT undo:\n{undone}\n"
            f"Run {self.journal.run}, gate {ask.gate}, digest {ask.digest[:16]}\n"
            "React with ✅ to approve or ❌ to refuse. An approval counts for exactly this and nothing else."
        )
