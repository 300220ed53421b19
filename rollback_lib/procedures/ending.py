"""How a run ends: closed, aborted, or stopped by a fault or a signal; and what is said of it each time.

- Outcome words mean what they say: nothing unknown is counted as success.
- Whatever stops a run, it is journaled, told to the incidents channel if that was alerted, and in the record.
- A run that is stopped stays open until it is resumed or aborted; a closed one is never changed.
- Aborting sends nothing that changes production: `refused` before any effect, `failed` after one, `unknown` while
  nobody can tell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from rollback_lib.consent.gates import Approval
from rollback_lib.errors import (
    BadParameters,
    CheckFailed,
    GateClosed,
    JournalError,
    LeaseHeld,
    OutcomeUnknown,
    PlanViolation,
    RollbackError,
)
from rollback_lib.evidence.record import seal_run
from rollback_lib.journal import Journal, Line
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.messages.deadman import DeadMan
from rollback_lib.model import Check, CheckStatus, Outcome
from rollback_lib.procedures.daemon import Heartbeat
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import Listing, Notice, checks_listing, show
from rollback_lib.providers.slack import escape

__all__ = ["Ending"]

MOST_TOLD = 400  # characters of each part of a message; most errors are shorter

_NEXT = {
    Outcome.COMPLETED_UNVERIFIED: "Look yourself at what is not verified, and tell the incidents channel what you saw.",
    Outcome.FAILED: "See to what failed; a person has to decide what comes now.",
    Outcome.REFUSED: "See to what was missing, then begin a new run (new_run = True).",
    Outcome.UNKNOWN: "Look in the platform's own dashboard what is live.",
}


@dataclass(repr=False, eq=False)
class Ending(ABC):
    """What procedures share at their end; subclasses know what to look at and what to say."""

    session: Session

    number: ClassVar[int]  # the plan's number of the procedure
    effect_steps: ClassVar[frozenset[str]]  # those that change production
    heartbeat: Heartbeat | None = None  # beats from open on, until the run has ended
    dead_man: DeadMan | None = None

    # -- the run

    @property
    def journal(self) -> Journal:
        """Return the run's journal."""
        return self.session.journal

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return self.journal.folder

    def now(self) -> datetime:
        """Return the current instant."""
        return self.session.clock.now()

    @property
    def effect_sent(self) -> bool:
        """Say whether any request that changes production has left."""
        return self.journal.last("effect.sending") is not None

    @property
    def is_known(self) -> bool:
        """Say whether people were told of this run, or have to be: a run that nobody heard of ends quietly."""
        return self.effect_sent or self.session.thread.said("alert")

    def _line(self, event: str, step_id: str) -> Line | None:
        return self.journal.last(event, step_id)

    def end_heartbeat(self) -> None:
        """Stop what goes on beside the cells, and take the dead-man notice back: the run says itself how it stands."""
        if self.heartbeat is not None:
            self.heartbeat.stop()
        if self.dead_man is not None:
            self.dead_man.end()

    # -- stopped

    def take_environment(self) -> None:
        """Take the environment's lease for this run; if it cannot be had after all, the run says so and is let go of.

        Raises:
            LeaseHeld: Somebody else was faster; nothing was sent.
            Unreachable: The store gave no usable answer; nothing was sent.
        """
        try:
            self.session.leasing.begin()
        except RollbackError as exc:
            if not isinstance(exc, JournalError):
                self._provisional(f"⚠️ {self.called} stopped when it was opened", self._outcome_of(exc), exc)
            self.journal.release()
            raise

    def stopped_at(self, step_id: str, error: RollbackError) -> None:
        """Journal, tell and record a failing step; a journal that cannot be written stops at that."""
        if isinstance(error, JournalError):
            return
        self.before_seal()
        data = {
            "error": type(error).__name__,
            "happened": error.happened,
            "state": error.state,
            "next_step": error.next_step,
        }
        self.journal.append("step.failed", step=step_id, data=data)
        self._provisional(
            f"⚠️ {self.called} stopped at {self._place(step_id)}", self._outcome_of(error), error
        )

    def interrupted(self, stopped_by: str) -> None:
        """Tell and record that the run was stopped from outside, as a cancelled job is; it stays open.

        Args:
            stopped_by: What stopped it: SIGTERM, SIGINT, the death of its kernel.
        """
        if self.journal.last("run.closed") is not None:
            self._seal()
            return
        self.before_seal()
        self.settle()
        self.journal.append("run.interrupted", data={"signal": stopped_by})
        state, _ = self.state_and_undo()
        outcome = Outcome.UNKNOWN if effect_in_doubt(self.journal.lines) else Outcome.FAILED
        error = RollbackError(
            f"The run was stopped by {stopped_by} before its end.",
            state,
            f"Go on with it: rollback resume {self.journal.run}; or end it: rollback abort {self.journal.run} --reason ...",
        )
        self._provisional(f"⏹ {self.called} stopped by {stopped_by}", outcome, error)

    def _provisional(self, said: str, outcome: Outcome, error: RollbackError) -> None:
        if self.session.parameters.mode == "headless":
            self.end_heartbeat()  # nobody goes on in this process
        if self.session.thread.said("alert"):
            tries = sum(1 for _ in self.journal.find("run.provisional")) + 1
            self.session.thread.say(
                f"failure {tries}",
                f"{said} (outcome: {outcome}).\n{self._short(error.happened)}\n"
                f"Now: {self._short(error.state)}\nNext: {self._short(error.next_step)}",
            )
        if outcome is not Outcome.UNKNOWN:
            self.session.leasing.let_go()
        self.journal.append(
            "run.provisional",
            data={
                "outcome": outcome.value,
                "why": error.happened,
                "state": error.state,
                "next_step": error.next_step,
                "log": self.log_row(outcome),
            },
        )
        self._seal()
        self.session.leasing.copy_up()

    @property
    def called(self) -> str:
        """Return how a sentence that people are told of this run begins."""
        return self.session.called[0].upper() + self.session.called[1:]

    def _place(self, step_id: str) -> str:
        """Name a step, or the gate before one, as the plan does."""
        steps = {str(step.id): step for step in self.session.plan.procedure(self.number).steps}
        if step_id in steps:
            return f"step {steps[step_id].number}: {steps[step_id].title}"
        behind = next((steps[one] for one in steps if one in self.effect_steps), None)
        return f"the gate before step {behind.number}: {behind.title}" if behind else step_id

    def _short(self, text: str) -> str:
        """Return a part of a message as it is posted: a phone shows so much; the record has it whole."""
        told = self.journal.redactor.redact(text)  # first: half a secret is not known again
        if len(told) > MOST_TOLD:
            told = f"{told[:MOST_TOLD].rsplit(' ', 1)[0]} ..."
        return escape(told)

    def _outcome_of(self, error: RollbackError) -> Outcome:
        if isinstance(error, OutcomeUnknown) or effect_in_doubt(self.journal.lines):
            return Outcome.UNKNOWN
        refused = isinstance(error, GateClosed | LeaseHeld) and not self.effect_sent
        return Outcome.REFUSED if refused else Outcome.FAILED

    # -- closing

    def close(self) -> Listing:
        """Close the run: outcome, follow-up message, rollback-log row, what is still open, how to undo, sealed record.

        Raises:
            PlanViolation: A step is neither done nor skipped; the run stays open.
            CheckFailed: The run is closed with an outcome that is not success.
        """
        closed = self.journal.last("run.closed")
        if closed is None:
            closed = self._close()
        self._finish()  # also where a session was killed between closing and sealing
        outcome, result = Outcome(closed.data["outcome"]), self._result(closed)
        lenient = self.session.resolved.policy.unverified_is_success
        if outcome is Outcome.VERIFIED or (lenient and outcome is Outcome.COMPLETED_UNVERIFIED):
            return result
        show(result)
        raise CheckFailed(
            f"Run {self.journal.run} is closed as {outcome}: {closed.data['why']}.",
            closed.data["state"],
            f"{_NEXT[outcome]} {closed.data['undo']} Record: {self.folder}",
        )

    def _close(self) -> Line:
        steps = self.session.plan.procedure(self.number).steps
        missing = [
            s.id
            for s in steps
            if self._line("step.done", s.id) is None and self._line("step.skipped", s.id) is None
        ]
        if missing:
            raise PlanViolation(
                f"The run cannot be closed: {', '.join(missing)} not done.",
                "The run stays open.",
                f"Run the cell of {missing[0]}, or rollback.skip(...) with a reason.",
            )
        self.before_seal()
        self.at_close()
        return self._conclude(*self._judge())

    def _conclude(self, outcome: Outcome, why: str) -> Line:
        """Tell the end, leave its witness, write the last line."""
        self.tell_end(outcome, why)
        log = self.log_row(outcome)
        state, undo = self.state_and_undo()
        data = {
            "outcome": outcome.value,
            "why": why,
            "state": state,
            "still_open": list(self.still_open()),
            "undo": undo,
            "log": log,
        }
        self.end_heartbeat()
        closing = self.journal.append("run.closing", data=data)
        if self.is_known:
            self.session.thread.say(
                f"witness {outcome}",  # cut off after it, the run may still end otherwise
                f"Record of run {self.journal.run}: outcome {outcome}, journal line {closing.seq}, sha256 {closing.hash}",
            )
        self.tidy()  # before its last line: nobody comes back to a run that is closed
        if outcome is not Outcome.UNKNOWN:
            self.session.leasing.let_go()
        return self.journal.append("run.closed", data=data)

    def abort(self, reason: str) -> Listing:
        """End the run here, on record; sends nothing that changes production and undoes nothing.

        The outcome is `refused` before any effect, `failed` after one, `unknown` where nobody can tell what a request
        did; the platform is asked about that first.

        Raises:
            BadParameters: No reason was given; the run is as it was.
            PlanViolation: The run is closed.
        """
        if not reason.strip():
            raise BadParameters(
                "abort needs a reason.", "Nothing was sent; the run is open.", 'rollback.abort("...")'
            )
        if self.journal.last("run.closed") is not None:
            raise PlanViolation(
                f"Run {self.journal.run} is closed; there is nothing to abort.",
                "Nothing was sent.",
                f"Its record: {self.folder}",
            )
        self.before_seal()
        self.settle()
        self.journal.append("run.aborted", data={"reason": reason})
        if self.effect_sent:
            self.at_close()
        closed = self._conclude(
            self._outcome_of_abort(), f"aborted by {self.session.operator.name}: {reason}"
        )
        self._finish()
        return self._result(closed)

    def _outcome_of_abort(self) -> Outcome:
        if effect_in_doubt(self.journal.lines):
            return Outcome.UNKNOWN
        return Outcome.FAILED if self.effect_sent else Outcome.REFUSED

    def _judge(self) -> tuple[Outcome, str]:
        """Decide the outcome from the last state of each check and from skipped steps."""
        checks = self.last_checks()
        if effect_in_doubt(self.journal.lines):
            return Outcome.UNKNOWN, "a change was sent, and nobody can say whether it happened"
        failed = [check for check in checks if check.required and check.status is CheckStatus.FAILED]
        open_ones = [
            check
            for check in checks
            if check.required and check.status in (CheckStatus.UNKNOWN, CheckStatus.SKIPPED)
        ]
        skipped = [line.step for line in self.journal.find("step.skipped")]
        if failed:
            return Outcome.FAILED, "; ".join(f"{check.id} {check.title}: {check.seen}" for check in failed)
        if open_ones or skipped or not checks:
            texts = [f"{check.id} {check.title}: {check.status}, {check.seen}" for check in open_ones]
            return Outcome.COMPLETED_UNVERIFIED, "; ".join(
                [*texts, *(f"{name} skipped" for name in skipped)]
            ) or "nothing was checked"
        return Outcome.VERIFIED, "every required check passed"

    def last_checks(self) -> tuple[Check, ...]:
        """Return each check as it was last seen."""
        newest: dict[str, Line] = {line.data["id"]: line for line in self.journal.find("check")}
        return tuple(
            Check(**(line.data | {"status": CheckStatus(line.data["status"])})) for line in newest.values()
        )

    def _seal(self) -> None:
        """Write report and record; what stands in the way is shown, and hides no error of the run's own."""
        try:
            seal_run(self.folder)
        except (JournalError, OSError) as exc:
            show(
                Notice(
                    f"⚠ The record could not be written: {exc}",
                    (f"The journal is complete: {self.journal.path}",),
                )
            )

    def _finish(self) -> None:
        self._seal()
        self.session.leasing.copy_up()

    # -- for subclasses

    @abstractmethod
    def settle(self) -> None:
        """Ask the platform what became of a change that was sent; must not raise for what cannot be told."""

    @abstractmethod
    def before_seal(self) -> None:
        """Wait for whatever still writes into the run's folder."""

    @abstractmethod
    def at_close(self) -> None:
        """Look once more at what must not have moved; note checks."""

    @abstractmethod
    def tidy(self) -> None:
        """Remove what the run keeps on this machine outside its folder: it is over."""

    @abstractmethod
    def tell_end(self, outcome: Outcome, why: str) -> None:
        """Post the follow-up."""

    @abstractmethod
    def still_open(self) -> tuple[str, ...]:
        """List what a person still has to do."""

    @abstractmethod
    def state_and_undo(self) -> tuple[str, str]:
        """Say what production looks like now, and how to undo what was done."""

    @property
    def method(self) -> str:
        """Return the log's word for what was done."""
        method, undo = self.session.plan.procedure(self.number).method, self.session.parameters.undo
        return f"{method} (undo of {undo})" if undo else method

    @property
    def data_loss(self) -> str:
        """Return the log's word for what is lost of the data."""
        return "None"

    def log_row(self, outcome: Outcome) -> dict[str, str]:
        """Fill the plan's rollback-log columns."""
        parameters = self.session.parameters
        opened = {
            line.data["gate"]: line for line in self.journal.find("gate.opened")
        }  # the last time counts
        approvers = [
            Approval(**approval).told for line in opened.values() for approval in line.data["approvals"]
        ]
        nobody = "not required (severity P0)" if parameters.severity == "P0" else "nobody"
        values = (
            next(self.journal.find("run.opened")).at[:10],
            parameters.environment.capitalize(),
            parameters.reason or "not said",
            self.method,
            self.duration_text(),
            self.data_loss,
            self.session.operator.name,
            ", ".join(dict.fromkeys(approvers)) or nobody,
        )
        return dict(zip(self.session.plan.log_columns, values, strict=True)) | {"Outcome": outcome.value}

    def duration_text(self) -> str:
        """Say how long the run has taken so far, in the log's words."""
        opened = next(self.journal.find("run.opened"))
        seconds = (self.now() - datetime.fromisoformat(opened.at)).total_seconds()
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"  # noqa: PLR2004 - where minutes read better

    def _result(self, closed: Line) -> Listing:
        log = closed.data["log"]
        note = "\n".join(
            [
                f"Outcome: {closed.data['outcome']} - {closed.data['why']}",
                f"Now: {closed.data['state']}",
                f"{closed.data['undo']}",
                *(f"Still open: {text}" for text in closed.data["still_open"]),
                f"Log: {' | '.join(log[column] for column in (*self.session.plan.log_columns, 'Outcome'))}",
                f"Record: {self.folder}",
            ]
        )
        return checks_listing(f"Run {self.journal.run} closed", self.last_checks(), note)
