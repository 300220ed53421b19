"""What all procedures share: open, steps in order, gates, continuing, failing, closing.

- A step runs only when those before it are done or skipped; a finished step returns its recorded result and sends nothing.
- The failing step itself journals, tells the incidents channel and writes the provisional record before it raises:
  headless, the close cell is never reached.
- Outcome words mean what they say: nothing unknown is counted as success.
- "Restart kernel and run all" is always safe.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from getpass import getpass
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter

from rollback_lib.clock import Clock, SystemClock
from rollback_lib.errors import (
    BadParameters,
    CheckFailed,
    GateClosed,
    JournalError,
    NotApplied,
    OutcomeUnknown,
    PlanViolation,
    RollbackError,
)
from rollback_lib.evidence.record import seal_run
from rollback_lib.http import Transport
from rollback_lib.journal import Journal, Line
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.messages.thread import Thread
from rollback_lib.model import Check, CheckStatus, Outcome
from rollback_lib.parameters import RunParameters, notebook_cells, resolve
from rollback_lib.plan import load_plan
from rollback_lib.procedures.gating import GateKeeper
from rollback_lib.procedures.opening import last_drill, open_journal, refuse_criterion, unfinished
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import Listing, Notice, show
from rollback_lib.providers import connect
from rollback_lib.providers.slack import escape

__all__ = ["Procedure", "step"]

P = ParamSpec("P")
R = TypeVar("R")


def step(step_id: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a method as the plan's step: in order, recorded, returned as recorded when run again."""

    def wrap(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            procedure = cast("Procedure", args[0])
            return cast("R", procedure.run_step(step_id, functools.partial(method, *args, **kwargs), method))

        run.step_id = step_id  # type: ignore[attr-defined]  # read by the tests that hold plan, code and notebooks together
        return run

    return wrap


@dataclass(repr=False, eq=False)
class Procedure(ABC):
    """Base of the procedures; subclasses have one method a plan step."""

    session: Session

    number: ClassVar[int]
    parameters_model: ClassVar[type[RunParameters]]
    effect_steps: ClassVar[frozenset[str]]  # those that change production
    needs: ClassVar[tuple[str, ...]]  # secrets without which it does not open

    @classmethod
    def open(
        cls, namespace: Mapping[str, Any], *, clock: Clock | None = None, transport: Transport | None = None
    ) -> Self:
        """Check the parameters, then begin a run or continue the open one.

        Sends nothing. Safe to run again.

        Args:
            namespace: The notebook's `globals()`.
            clock: The machine's, unless another is given.
            transport: The network, unless something else stands in for it.

        Raises:
            BadParameters: A name, type, value, file or secret is wrong; no run was begun.
            LeaseHeld: The run is open in another process.
            JournalError: The run's journal cannot be written or does not hold.
        """
        clock = clock or SystemClock()
        resolved = resolve(
            namespace, cls.parameters_model, cells=notebook_cells(namespace), ask=getpass, needs=cls.needs
        )
        plan = load_plan(resolved.home)
        refuse_criterion(plan, resolved.parameters.severity, resolved.parameters.criterion)
        journal, incident = open_journal(cls.number, resolved, plan, clock)
        clients = connect(resolved.platform, resolved.policy, resolved.secrets, clock, transport)
        thread = Thread(
            clients.slack,
            journal,
            resolved.platform.slack.incidents_channel,
            clock,
            plan.update_every_min,
        )
        procedure = cls(Session(plan, resolved, clients, journal, incident, resolved.operator, thread, clock))
        procedure.at_open()
        for text in unfinished(resolved, cls.number, journal.run):
            procedure.session.warn(text)
        show(procedure)
        return procedure

    @abstractmethod
    def at_open(self) -> None:
        """Fetch what fades; for subclasses. Must not raise for a service that is down."""

    # -- what the notebook calls on every procedure

    def skip(self, step_id: str, *, reason: str) -> Notice:
        """Leave a step out, on record; the outcome can then be no better than completed_unverified.

        Raises:
            PlanViolation: Out of order, done already, or a step with an effect.
        """
        self._in_order(step_id)
        if step_id in self.effect_steps:
            raise PlanViolation(
                f"{step_id} changes production; it cannot be skipped.",
                "Nothing was sent.",
                "Run its cell, or leave the run open.",
            )
        if self._line("step.done", step_id) is not None:
            raise PlanViolation(
                f"{step_id} is done; it cannot be skipped.", "Nothing was sent.", "Go on with the next cell."
            )
        if not reason.strip():
            raise BadParameters(
                "skip needs a reason.", "Nothing was sent.", f'rollback.skip("{step_id}", reason="...")'
            )
        self.journal.append("step.skipped", step=step_id, data={"reason": reason})
        return Notice(f"{step_id} skipped: {reason}")

    def __repr__(self) -> str:
        return repr(self._summary())

    def _repr_html_(self) -> str:
        return self._summary()._repr_html_()

    # -- the parts

    @cached_property
    def keeper(self) -> GateKeeper:
        """Return the run's gates."""
        return GateKeeper(self.session, self.number)

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

    # -- steps

    def run_step(self, step_id: str, job: Callable[[], Any], method: Callable[..., Any]) -> Any:
        """Run one step, or return its recorded result.

        Raises:
            PlanViolation: Out of order, or the run is closed; nothing was sent.
        """
        done = self._line("step.done", step_id)
        if done is not None:
            show(
                Notice(
                    f"{step_id} was done at {done.at}: this is what was seen then; nothing was asked again"
                )
            )
            return _adapter(method).validate_python(done.data["result"])
        self._in_order(step_id)
        title = self.session.plan.step(step_id).title
        self.journal.append("step.started", step=step_id, data={"title": title})
        began = self.session.clock.monotonic()
        try:
            result = job()
        except RollbackError as exc:
            self._failed(step_id, exc)
            raise
        except BaseException as exc:
            self.journal.append("step.interrupted", step=step_id, data={"error": type(exc).__name__})
            raise
        seconds = round(self.session.clock.monotonic() - began, 3)
        self.journal.append(
            "step.done",
            step=step_id,
            data={"seconds": seconds, "result": _adapter(method).dump_python(result, mode="json")},
        )
        return result

    def run_gate(self, gate_id: str, job: Callable[[], Notice]) -> Notice:
        """Show a gate; what fails there is recorded as a failing step is."""
        try:
            return job()
        except RollbackError as exc:
            self._failed(gate_id, exc)
            raise

    @property
    def effect_sent(self) -> bool:
        """Say whether any request that changes production has left."""
        return self.journal.last("effect.sending") is not None

    @property
    def effect_settled(self) -> bool:
        """Say whether what was sent is known to be done or not done."""
        last = max(
            (line for line in self.journal.lines if line.event.startswith("effect.")),
            key=lambda line: line.seq,
            default=None,
        )
        return last is None or last.event in ("effect.done", "effect.failed", "effect.recovered")

    def _line(self, event: str, step_id: str) -> Line | None:
        return self.journal.last(event, step_id)

    def _in_order(self, step_id: str) -> None:
        if self.journal.last("run.closed") is not None:
            raise PlanViolation(
                f"Run {self.journal.run} is closed; {step_id} was not run.",
                "Nothing was sent.",
                "Set new_run = True in the parameters cell and run all cells from the top.",
            )
        for earlier in self.session.plan.procedure(self.number).steps:
            if earlier.id == step_id:
                return
            if self._line("step.done", earlier.id) is None and self._line("step.skipped", earlier.id) is None:
                raise PlanViolation(
                    f"{step_id} comes after {earlier.id} ({earlier.title}), which is not done.",
                    "Nothing was sent.",
                    f"Run the cell of {earlier.id} first.",
                )

    def _failed(self, step_id: str, error: RollbackError) -> None:
        """Journal, tell and record a failing step; a journal that cannot be written stops at that."""
        if isinstance(error, JournalError):
            return
        self.before_seal()
        outcome = self._outcome_of(error)
        data = {
            "error": type(error).__name__,
            "happened": error.happened,
            "state": error.state,
            "next_step": error.next_step,
        }
        self.journal.append("step.failed", step=step_id, data=data)
        if self.session.thread.said("alert"):
            tries = sum(1 for _ in self.journal.find("step.failed"))
            self.session.thread.say(
                f"failure {tries}",
                f"⚠️ Rollback stopped at {step_id} (outcome: {outcome}).\n{escape(error.happened)}\nNow: {escape(error.state)}",
            )
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

    def _outcome_of(self, error: RollbackError) -> Outcome:
        if isinstance(error, OutcomeUnknown) or effect_in_doubt(self.journal.lines):
            return Outcome.UNKNOWN
        if isinstance(error, GateClosed):
            return Outcome.FAILED if self.effect_sent else Outcome.REFUSED
        if isinstance(error, CheckFailed | NotApplied) or not self.effect_sent:
            return Outcome.FAILED
        return Outcome.UNKNOWN if not self.effect_settled else Outcome.FAILED

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
        self._seal()  # also where a session was killed between closing and sealing
        outcome, result = Outcome(closed.data["outcome"]), self._result(closed)
        lenient = self.session.resolved.policy.unverified_is_success
        if outcome is Outcome.VERIFIED or (lenient and outcome is Outcome.COMPLETED_UNVERIFIED):
            return result
        show(result)
        raise CheckFailed(
            f"Run {self.journal.run} is closed as {outcome}: {closed.data['why']}.",
            closed.data["state"],
            f"{closed.data['undo']} Record: {self.folder}",
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
        outcome, why = self._judge()
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
        closing = self.journal.append("run.closing", data=data)
        self.session.thread.say(
            "witness",
            f"Record of run {self.journal.run}: outcome {outcome}, journal line {closing.seq}, sha256 {closing.hash}",
        )
        return self.journal.append("run.closed", data=data)

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

    # -- for subclasses

    @abstractmethod
    def before_seal(self) -> None:
        """Wait for whatever still writes into the run's folder."""

    @abstractmethod
    def at_close(self) -> None:
        """Look once more at what must not have moved; note checks."""

    @abstractmethod
    def tell_end(self, outcome: Outcome, why: str) -> None:
        """Post the follow-up."""

    @abstractmethod
    def still_open(self) -> tuple[str, ...]:
        """List what a person still has to do."""

    @abstractmethod
    def state_and_undo(self) -> tuple[str, str]:
        """Say what production looks like now, and how to undo what was done."""

    @abstractmethod
    def log_row(self, outcome: Outcome) -> dict[str, str]:
        """Fill the plan's rollback-log columns."""

    def duration_text(self) -> str:
        """Say how long the run has taken so far, in the log's words."""
        opened = next(self.journal.find("run.opened"))
        seconds = (self.now() - datetime.fromisoformat(opened.at)).total_seconds()
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"  # noqa: PLR2004 - where minutes read better

    # -- shown

    def _summary(self) -> Notice:
        resolved, parameters = self.session.resolved, self.session.parameters
        done = [line.step or "" for line in self.journal.find("step.done")]
        procedure = self.session.plan.procedure(self.number)
        return Notice(
            f"Procedure {self.number}: {procedure.title} - {parameters.environment.upper()}, {parameters.mode}",
            (
                f"incident {self.session.incident}, run {self.journal.run}, operator {self.session.operator.name}",
                f"severity {parameters.severity or 'not set'}, criterion {parameters.criterion or 'not set'}; plan {self.session.plan.version}, expected {procedure.duration}",
                f"last drill: {last_drill(resolved.archive_root, self.number)}",
                f"done already: {', '.join(done)}" if done else "a new run: no step done yet",
                f"record: {_relative(self.folder, resolved.home)}",
            ),
        )

    def _result(self, closed: Line) -> Listing:
        log = closed.data["log"]
        rows = tuple((check.id, check.title, check.status.value, check.seen) for check in self.last_checks())
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
        return Listing(f"Run {self.journal.run} closed", ("check", "what", "status", "seen"), rows, note)


def _adapter(method: Callable[..., Any]) -> TypeAdapter[Any]:
    return _adapter_of(get_type_hints(method)["return"])


@functools.cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _relative(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
