"""Approvals by a ✅ in Slack, by user id, on a request that names exactly what is asked.

- A person is their Slack user id; display names can be changed by anyone and count for nothing.
- Who asks does not approve; bots and deleted users do not count; a ❌ by any holder of the role blocks.
- A list of reactions cut short by Slack is unknown, never a refusal and never an approval.
- The request names run, gate and digest; another digest needs another request.
- What was seen, and when, is in the journal: a reaction can be taken back later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollback_lib.clock import Clock, to_iso
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.errors import GateClosed, RollbackError
from rollback_lib.journal import Journal, Line
from rollback_lib.model import UserId
from rollback_lib.parameters import Contacts, Person
from rollback_lib.providers.slack import Reactions, SlackClient, SlackUser, escape

__all__ = ["SlackApprovals", "Verdict", "judge_reactions"]

APPROVE, REFUSE = "white_check_mark", "x"


@dataclass(frozen=True)
class Verdict:
    """What the reactions on a request amount to."""

    approver: Person | None
    reason: str  # why there is no approval (yet); empty with one


def judge_reactions(
    reactions: Reactions, holders: tuple[Person, ...], *, requester: str, users: Mapping[UserId, SlackUser]
) -> Verdict:
    """Decide on one request: who, if anyone, approved it.

    Args:
        reactions: What Slack lists on the request.
        holders: Who may approve: the person of the role, then deputies.
        requester: Slack user id of the operator who asks.
        users: The accounts behind the ids that reacted, as Slack describes them now.
    """
    by_id = {person.slack: person for person in holders if person.slack != requester}

    def counts(user: UserId) -> bool:
        account = users.get(user)
        return user in by_id and account is not None and not account.is_bot and not account.deleted

    blockers = [by_id[user].name for user in reactions.users(REFUSE) if counts(user)]
    if blockers:
        return Verdict(None, f"refused by {', '.join(blockers)} (❌ on the request)")
    if reactions.incomplete(REFUSE):
        return Verdict(
            None, "Slack listed only some of the people who put ❌: unknown whether one of them blocks"
        )
    approvers = [by_id[user] for user in reactions.users(APPROVE) if counts(user)]
    if approvers:
        return Verdict(approvers[0], "")
    if reactions.incomplete(APPROVE):
        return Verdict(
            None, "Slack listed only some of the people who put ✅: unknown whether one of them may approve"
        )
    if requester in reactions.users(APPROVE):
        return Verdict(None, "the ✅ is the operator's own: nobody approves their own request")
    return Verdict(
        None,
        f"no ✅ yet by {' or '.join(person.name for person in by_id.values()) or 'anybody else with the role'}",
    )


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

        Never raises for Slack's troubles: no approval and the reason are returned.
        """
        try:
            request = self._request(ask, role)
            reactions = self.slack.reactions(request["channel"], request["ts"])
            verdict = self._judge(reactions, role)
        except RollbackError as exc:
            return None, f"Slack could not be asked: {exc.happened}"
        if verdict.approver is None:
            return None, verdict.reason
        return self._seen(ask, role, request, verdict.approver), ""

    def _judge(self, reactions: Reactions, role: str) -> Verdict:
        holders = self.contacts.holders(role)
        known = {person.slack for person in holders}
        reacted = {*reactions.users(APPROVE), *reactions.users(REFUSE)} & known
        users = {user: self.slack.user(user) for user in sorted(reacted)}
        return judge_reactions(reactions, holders, requester=self.operator.slack, users=users)

    def _request(self, ask: Ask, role: str) -> dict[str, str]:
        asked = self._asked(ask, role)
        if asked is not None:
            self._refuse_stale(asked)
            return {"channel": asked.data["channel"], "ts": asked.data["ts"]}
        leave = self.journal.prepare(
            f"approval request to {role}", step=ask.gate, data={"digest": ask.digest}
        )
        metadata = {
            "event_type": "runbook_approval",
            "event_payload": {"run": self.journal.run, "gate": ask.gate, "role": role, "digest": ask.digest},
        }
        posted = self.slack.post(self.channel, self._text(ask, role), leave, metadata=metadata)
        leave.done({"channel": posted.channel, "ts": posted.ts})
        data = {
            "gate": ask.gate,
            "role": role,
            "channel": posted.channel,
            "ts": posted.ts,
            "digest": ask.digest,
            "permalink": self._permalink(posted.channel, posted.ts),
        }
        self.journal.append("approval.requested", step=ask.gate, data=data)
        return {"channel": posted.channel, "ts": posted.ts}

    def _asked(self, ask: Ask, role: str) -> Line | None:
        fitting = [
            line
            for line in self.journal.find("approval.requested", ask.gate)
            if line.data["role"] == role and line.data["digest"] == ask.digest
        ]
        return fitting[-1] if fitting else None

    def _refuse_stale(self, asked: Line) -> None:
        from datetime import datetime

        age_s = (self.clock.now() - datetime.fromisoformat(asked.at)).total_seconds()
        if age_s > self.ttl_s:
            raise GateClosed(
                f"the request is {age_s / 60:.0f} minutes old; an approval counts for {self.ttl_s / 60:.0f} minutes",
                "Nothing was sent.",
                "Begin a new run (new_run = True) and ask again.",
            )

    def _seen(self, ask: Ask, role: str, request: dict[str, str], person: Person) -> Approval:
        permalink = self._permalink(request["channel"], request["ts"])
        approval = Approval(
            ask.gate,
            ask.digest,
            role,
            person.name,
            person.slack,
            "slack",
            to_iso(self.clock.now()),
            permalink,
        )
        self.journal.append("approval.seen", step=ask.gate, data=vars(approval))
        self._mark_used(request, person)
        return approval

    def _mark_used(self, request: dict[str, str], person: Person) -> None:
        """Say on the request that it was answered, so that later reactions are visibly moot."""
        try:
            leave = self.journal.prepare("approval request marked as answered", step=None, data=request)
            self.slack.update(
                request["channel"],
                request["ts"],
                f"Approved by <@{person.slack}> for run {self.journal.run}. Later reactions change nothing.",
                leave,
            )
            leave.done()
        except RollbackError as exc:
            self.journal.append(
                "warning",
                data={"text": f"the approval request could not be marked as answered: {exc.happened}"},
            )

    def _permalink(self, channel: str, ts: str) -> str:
        try:
            return self.slack.permalink(channel, ts)
        except RollbackError:
            return ""  # a convenience for the reader; channel and ts are what counts

    def _text(self, ask: Ask, role: str) -> str:
        names = " ".join(
            f"<@{person.slack}>"
            for person in self.contacts.holders(role)
            if person.slack != self.operator.slack
        )
        effect = "\n".join(f"• {escape(key)}: {escape(value)}" for key, value in ask.effect.items())
        undone = "\n".join(f"• {escape(text)}" for text in ask.will_not_undo) or "• nothing known"
        return (
            f"Approval needed by the {role.replace('_', ' ')}: {names}\n"
            f"*{escape(ask.title)}* on {escape(ask.environment)}, asked by <@{self.operator.slack}>\n{effect}\n"
            f"This will NOT undo:\n{undone}\n"
            f"Run {self.journal.run}, gate {ask.gate}, digest {ask.digest[:16]}\n"
            "React with ✅ to approve or ❌ to refuse. An approval counts for exactly this and nothing else."
        )
