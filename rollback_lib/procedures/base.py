"""What all procedures share: open, steps in order, gates, continuing. How a run ends is in `ending`.

- A step runs only when those before it are done or skipped; a finished step returns its recorded result and sends nothing.
- A finished step that only looks, and left something unseen, looks once more when a person runs its cell again. It stays
  done, whatever becomes of the second look; the newest look of each check counts.
- The failing step itself journals, tells the incidents channel and writes the provisional record before it raises:
  headless, the close cell is never reached.
- "Restart kernel and run all" is always safe.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from getpass import getpass
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, cast, get_type_hints
from weakref import WeakValueDictionary

from pydantic import TypeAdapter

from rollback_lib.clock import Clock, SystemClock
from rollback_lib.errors import (
    BadParameters,
    PlanViolation,
    RollbackError,
)
from rollback_lib.http import Transport
from rollback_lib.messages.deadman import DeadMan
from rollback_lib.parameters import RunParameters, notebook_cells, resolve
from rollback_lib.plan import load_plan
from rollback_lib.procedures.daemon import Heartbeat
from rollback_lib.procedures.effects import Carrier, Patience
from rollback_lib.procedures.ending import Ending
from rollback_lib.procedures.gating import GateKeeper
from rollback_lib.procedures.looking import unseen
from rollback_lib.procedures.opening import begin_session, last_drill, refuse_criterion, unfinished
from rollback_lib.procedures.shown import Notice, show
from rollback_lib.procedures.telling import Telling

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
class Procedure(Ending):
    """Base of the procedures; subclasses have one method a plan step."""

    _told: set[str] = field(default_factory=set)
    # By run folder: one for each run in a process. One that has stopped keeps nothing of its run in memory.
    _beating: ClassVar[WeakValueDictionary[Path, Heartbeat]] = WeakValueDictionary()
    parameters_model: ClassVar[type[RunParameters]]
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
            LeaseHeld: Somebody else acts on the environment, or has the run open; no run was begun.
            Unreachable: The store cannot say who acts on the environment; no run was begun.
            JournalError: The run's journal cannot be written or does not hold.
        """
        clock = clock or SystemClock()
        resolved = resolve(
            namespace, cls.parameters_model, cells=notebook_cells(namespace), ask=getpass, needs=cls.needs
        )
        plan = load_plan(resolved.home)
        refuse_criterion(plan, resolved.parameters.severity, resolved.parameters.criterion)
        procedure = cls(begin_session(cls.number, resolved, plan, clock, transport))
        procedure.take_environment()
        procedure.at_open()
        procedure.begin_heartbeat()
        for text in unfinished(resolved, cls.number, procedure.journal.run):
            procedure.session.warn(text)
        show(procedure)
        return procedure

    def begin_heartbeat(self) -> None:
        """Keep alive, beside the cells, what has to happen also while a person reads: updates and the dead-man notice."""
        session = self.session
        every = session.plan.update_every_min
        beats: list[Callable[[], None]] = list(session.leasing.beats)  # first: they wait for no message
        if every is not None:
            self.dead_man = DeadMan(
                session.clients.slack,
                self.journal,
                session.thread,
                session.clock,
                timedelta(minutes=every),
                self._silence,
            )
            beats += [lambda: session.thread.update_if_due(self._where_it_stands()), self.dead_man.beat]
        earlier = self._beating.get(self.folder)
        if earlier is not None:  # the open cell was run again in this kernel
            earlier.stop()
        self.heartbeat = Heartbeat(session.resolved.policy.heartbeat_s, beats, self._beat_failed)
        self._beating[self.folder] = self.heartbeat
        self.heartbeat.start()

    def _beat_failed(self, exc: RollbackError) -> None:
        if exc.happened not in self._told:
            self._told.add(exc.happened)
            self.journal.append("warning", data={"text": f"beside the cells: {exc.happened}"})

    def _where_it_stands(self) -> str:
        """Say which step the run is at."""
        begun = self.journal.last("step.started")
        if begun is None:
            return f"{self.called}: no step has begun yet."
        done = self._line("step.done", begun.step or "")
        if done is None:
            how = "begun, not done"
        else:
            how = "done" if done.seq > begun.seq else "done, and looked at once more"
        since = datetime.fromisoformat(begun.at)
        return f"{self.called}: {begun.step} {begun.data['title']}: {how} (since {since:%H:%M} UTC)."

    def _silence(self, last: datetime) -> str:
        """Say what people should know when nothing is heard of this run any more."""
        environment = self.session.parameters.environment
        return (
            f"⏰ Nothing was heard of the {self.session.called} on {environment} since {last:%H:%M} UTC; its operator was {self.session.operator.name}. "
            f"{self._where_it_stands()} Somebody look at production, then: rollback status -e {environment}"
        )

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

    @cached_property
    def telling(self) -> Telling:
        """Return what tells people."""
        return Telling(self.session, self.number)

    @cached_property
    def carrier(self) -> Carrier:
        """Return what carries out effects."""
        policy = self.session.resolved.policy
        patience = Patience(
            policy.observe_s,
            policy.poll_first_s,
            policy.poll_max_s,
            policy.effect_attempts,
            policy.effect_again_within_s,
        )
        return Carrier(self.journal, self.session.clock, patience)

    # -- steps

    def run_step(self, step_id: str, job: Callable[[], Any], method: Callable[..., Any]) -> Any:
        """Run one step, or return its recorded result; where that left something unseen, look once more.

        Raises:
            PlanViolation: Out of order, or the run is closed; nothing was sent.
        """
        done = self._line("step.done", step_id)
        if done is not None:
            left = self._left_unseen(step_id)
            if not left:
                show(
                    Notice(
                        f"{step_id} was done at {done.at}: this is what was seen then; nothing was asked again"
                    )
                )
                return self.recorded(step_id, method)
            show(
                Notice(
                    f"{step_id} was done at {done.at} and left {', '.join(left)}: it looks once more; interrupt it to go on without"
                )
            )
        self._in_order(step_id)
        title = self.session.plan.step(step_id).title
        self.journal.append("step.started", step=step_id, data={"title": title})
        began = self.session.clock.monotonic()
        result = self._done(step_id, job)
        seconds = round(self.session.clock.monotonic() - began, 3)
        self.journal.append(
            "step.done",
            step=step_id,
            data={"seconds": seconds, "result": _adapter(method).dump_python(result, mode="json")},
        )
        left = self._left_unseen(step_id)
        if left:
            show(
                Notice(
                    f"{step_id} leaves {', '.join(left)}: run this cell again to look once more, before the run is closed"
                )
            )
        return result

    def _done(self, step_id: str, job: Callable[[], Any]) -> Any:
        """Do a step's work, and tell, record and raise what stops it."""
        try:
            if step_id in self.effect_steps:
                self.session.leasing.hold()
            else:
                self.session.leasing.hold_for_reading()
            return job()
        except RollbackError as exc:
            self.stopped_at(step_id, exc)
            raise
        except BaseException as exc:
            self.journal.append("step.interrupted", step=step_id, data={"error": type(exc).__name__})
            raise

    def _left_unseen(self, step_id: str) -> tuple[str, ...]:
        """Return the checks for which a step that is done looks once more; empty where it repeats what it saw.

        Headless it repeats: nobody asked for a second look there. Whoever resumes a run that died wants its end, and would
        wait for a window, or the whole time of a verification, which the first look has had; what it did not see is in
        the outcome. "Restart kernel and run all" does look again: a person is there, sees why, and can interrupt it.
        """
        over = self.journal.last("run.closed") is not None
        if over or step_id in self.effect_steps or self.session.parameters.mode == "headless":
            return ()
        return unseen(self.journal.lines, step_id)

    def recorded(self, step_id: str, method: Callable[..., Any]) -> Any:
        """Return what a step that is done found, from the journal; None where it is not done."""
        done = self._line("step.done", step_id)
        return None if done is None else _adapter(method).validate_python(done.data["result"])

    def run_gate(self, gate_id: str, job: Callable[[], Notice]) -> Notice:
        """Show a gate; what fails there is recorded as a failing step is."""
        try:
            self.session.leasing.hold()
            return job()
        except RollbackError as exc:
            self.stopped_at(gate_id, exc)
            raise

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

    # -- shown

    def _summary(self) -> Notice:
        resolved, parameters = self.session.resolved, self.session.parameters
        done = dict.fromkeys(line.step or "" for line in self.journal.find("step.done"))
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


def _adapter(method: Callable[..., Any]) -> TypeAdapter[Any]:
    return _adapter_of(get_type_hints(method)["return"])


@functools.cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _relative(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
