"""What a run tells people, in the plan's own words: the alert before its change, the notice after it, the follow-up.

- The alert is said before the effect and in the channel; all else in its thread.
- The follow-up of the plan is said only where all is well; anything else says what was left.
- A run that undoes another one says so each time, in the same words for every procedure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rollback_lib.consent.policy import Demand
from rollback_lib.model import Outcome
from rollback_lib.procedures.session import Session
from rollback_lib.providers.slack import escape

__all__ = ["Telling"]


@dataclass
class Telling:
    """Tells the incidents channel of one run."""

    session: Session
    number: int  # the procedure's

    @property
    def postmortem_h(self) -> int:
        """Return within how many hours the plan wants the post-mortem."""
        return next(task.within_h for task in self.session.plan.tasks if task.within_h is not None)

    def begin(self, target: str) -> None:
        """Post the plan's alert."""
        plan, parameters = self.session.plan, self.session.parameters
        latest = self.session.clock.now() + timedelta(minutes=plan.procedure(self.number).duration_min[1])
        text = self._filled(
            "alert",
            issue=escape(parameters.reason),
            severity=parameters.severity,
            target=target,
            eta=f"{latest:%H:%M} UTC",
            impact=escape(parameters.impact),
            mentions=self.mention(("engineering_lead", "cto")),
        )
        self.session.thread.say("alert", text, in_thread=False)

    def leads(self, demand: Demand) -> None:
        """Notify those who need not approve but must know; after the effect, so that it does not wait for Slack."""
        if demand.notify_after:
            told = f"{self.mention(demand.notify_after)} {self._undo}{escape(demand.rule)}. Operator: {self.session.operator.name}. Run {self.session.journal.run}."
            self.session.thread.say("notice", told)

    def stable(self, target: str, rate: str, left: tuple[str, ...] = ()) -> None:
        """Post the plan's follow-up: all is well, but for what is left to do at once."""
        now = self.session.clock.now()
        by = now + timedelta(hours=self.postmortem_h)
        text = self._filled(
            "follow_up",
            target=target,
            completion_time=f"{now:%Y-%m-%d %H:%M} UTC",
            error_rate=escape(rate),
            postmortem=f"to be held by {by:%Y-%m-%d %H:%M} UTC",
        )
        self.session.thread.say("follow-up", f"{text}{_still_open(left)}")

    def unwell(self, outcome: Outcome, why: str, state: str, rate: str, left: tuple[str, ...] = ()) -> None:
        """Post what is not well.

        It has a name of its own by outcome: where a session was cut off after one, and it came otherwise, the other is
        said too.
        """
        self.session.thread.say(
            f"follow-up {outcome}",
            f"⚠️ {self._undo}{escape(state)} Outcome {outcome}: {escape(why)}\nCurrent error rate: {escape(rate)}{_still_open(left)}",
        )

    def _filled(self, name: str, **fields: str) -> str:
        template = self.session.plan.message(name, procedure=self.number)
        run = self.session.undo_of
        return template.for_undo().fill(**fields, run=run) if run else template.fill(**fields)

    @property
    def _undo(self) -> str:
        """Return what goes before a sentence that else would be read as a rollback's."""
        return f"Undo of run {self.session.undo_of}: " if self.session.undo_of else ""

    def mention(self, roles: tuple[str, ...]) -> str:
        """Name the people of roles so that Slack tells them."""
        people = dict.fromkeys(self.session.resolved.contacts.holders(role)[0].slack for role in roles)
        return " ".join(f"<@{user}>" for user in people)


def _still_open(left: tuple[str, ...]) -> str:
    return "".join(f"\n⚠️ Still open: {escape(one)}" for one in left)
