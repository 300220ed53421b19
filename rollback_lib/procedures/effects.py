"""Carrying out an effect once: intent on disk, then the request, then asking the platform.

- An effect is what we are about to do, how to do it, and how to ask the platform whether it happened.
- Finished before: the recorded result, nothing is sent.
- Cut off before: the platform is asked first. Not sent or not happened: send. Happened or running: recovered.
  Nobody can tell: stop with the question.
- An unclear answer is observed before anything is sent again, and that only a bounded number of times, and not late.
- Where another change has taken its place meanwhile, nothing is sent again: a person has to talk to a person.
- As long as one attempt may have arrived, the platform is asked about it, whatever became of the later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollback_lib.clock import Clock
from rollback_lib.consent.gates import Gate, Permit
from rollback_lib.errors import GateClosed, JournalError, NotApplied, OutcomeUnknown, RollbackError
from rollback_lib.journal import Journal, Line
from rollback_lib.journal.attempts import in_doubt
from rollback_lib.model import Pass, RequestClass

__all__ = ["Carrier", "Effect", "Observation", "Patience", "Seen", "pauses"]


class Seen(StrEnum):
    """What the platform says about an effect."""

    HAPPENED = "happened"
    RUNNING = "running"
    NOT_HAPPENED = "not happened"
    BROKEN = "failed half way"
    UNCLEAR = "unclear"


_REACHED = (Seen.HAPPENED, Seen.RUNNING, Seen.BROKEN)  # the platform has taken it on


@dataclass(frozen=True)
class Observation:
    """The platform's answer to: did it happen?"""

    seen: Seen
    detail: str
    skew_s: float | None = None  # how far the platform's clock is ahead of ours, where it tells
    overtaken: bool = False  # another change took its place and is over: looking longer will not help


@dataclass(frozen=True)
class Effect:
    """One change of production."""

    name: str  # roll production back to dpl_1
    step: str
    before: dict[str, Any]  # the state that it replaces
    inverse: str  # how to undo it, in words
    send: Callable[[Pass], None]
    observe: Callable[[datetime], Observation]  # since when it may have been sent
    look: str = "Look in the platform's own dashboard what is live"  # what a person does who wants to know


@dataclass(frozen=True)
class Patience:
    """How long to look, in seconds, and how often to send."""

    observe_s: float
    poll_first_s: float
    poll_max_s: float
    attempts: int
    again_within_s: float  # of the first attempt


def pauses(first_s: float, longest_s: float) -> Iterator[float]:
    """Yield waits that start short and grow by half each time up to the longest."""
    wait = first_s
    while True:
        yield wait
        wait = min(wait * 1.5, longest_s)


@dataclass
class Carrier:
    """Carries out effects of one run."""

    journal: Journal
    clock: Clock
    patience: Patience

    def carry_out(self, effect: Effect, gate: Gate, check_state: Callable[[], None]) -> Observation:
        """Make the effect happen once; return whether it happened or is running.

        Args:
            effect: What to do.
            gate: Must be open.
            check_state: Reads the platform and raises if it moved since the gate was shown; asked right before sending, and once more where
                what is prepared for the request takes its time.

        Raises:
            GateClosed: Nothing was sent.
            NotApplied: The platform refused; production is unchanged by this run.
            OutcomeUnknown: Production may have moved; nothing is sent again until a person has looked.
        """
        earlier = self.settle(effect)
        if earlier is not None:
            return earlier
        first_s = self.clock.monotonic()
        times = 0
        while (
            times < self.patience.attempts
            and self.clock.monotonic() - first_s <= self.patience.again_within_s
        ):
            times += 1
            gate.reconfirm()  # before the platform is looked at, which has to be the last thing before the request
            check_state()
            sent = self._send(effect, gate, check_state)
            if sent is not None:
                return sent
        how_often = "once" if times == 1 else f"{times} times"
        reason = (
            f"{effect.name}: sent {how_often} without a clear answer, and the platform shows no sign of it"
        )
        raise self._unknown(effect, reason)

    def settle(self, effect: Effect) -> Observation | None:
        """Settle what earlier attempts left behind; None if nothing of them reached the platform.

        Raises:
            OutcomeUnknown: Nobody can tell; nothing was sent now.
        """
        done = self._line("effect.done", effect)
        if done is not None:
            return Observation(Seen(done.data["seen"]), done.data["detail"])
        doubtful = self._doubtful(effect)
        if not doubtful:
            return None
        failed = self._line("effect.failed", effect)
        looked = (
            failed is not None and failed.seq > doubtful[-1].seq
        )  # it had its time to show: one look is enough
        found = self._watch(effect, _left_at(doubtful[0]), 0.0 if looked else self.patience.observe_s)
        if found.seen in _REACHED:
            self._note(effect, "recovered", found)
            self._note(effect, "done", found)
            return found
        if self._leaves_open(effect, found):
            reason = f"{effect.name}: an earlier attempt may have arrived, and the platform does not show what became of it ({found.detail})"
            raise self._unknown(effect, reason)
        self._note(effect, "failed", found)  # settled: it may be sent again
        return None

    def _send(self, effect: Effect, gate: Gate, check: Callable[[], None]) -> Observation | None:
        """Send once; None where it surely did not happen although the answer was unclear."""
        data = {"before": effect.before, "inverse": effect.inverse}
        permit = gate.permit(effect.name, step=effect.step, data=data, check=check)
        try:
            effect.send(permit)
        except JournalError:
            raise  # it may have left: nothing is known of it, and nothing can be written down
        except RollbackError as exc:
            found = self._after_trouble(effect, permit, exc)
            if found is None:
                return None
        else:
            found = Observation(Seen.RUNNING, "accepted by the platform")
        permit.done({"seen": found.seen.value, "detail": found.detail})
        return found

    def _after_trouble(self, effect: Effect, permit: Permit, exc: RollbackError) -> Observation | None:
        """Find out whether it happened all the same, by this attempt or an earlier one; None: it may be sent again."""
        doubtful = self._doubtful(effect)
        if not doubtful:  # refused, or it never left
            refused = isinstance(exc, NotApplied | GateClosed) and permit.attempts > 0
            already = self._already(effect, _left_at(permit.line)) if refused else None
            if already is None:
                permit.failed(exc.happened)
                raise exc
            return already
        found = self._watch(effect, _left_at(doubtful[0]), self.patience.observe_s)
        if found.seen in _REACHED:
            return found
        if self._leaves_open(effect, found):
            raise self._unknown(effect, f"{exc.happened} {found.detail}") from exc
        if found.overtaken:
            raise self._overtaken(effect, found) from exc
        permit.failed(
            f"{exc.happened} Not seen on the platform within {self.patience.observe_s:g} s: {found.detail}"
        )
        if not isinstance(exc, OutcomeUnknown):
            raise exc
        return None

    def _already(self, effect: Effect, since: datetime) -> Observation | None:
        """See whether a refusal means that it is so already, or under way: platforms refuse what is there."""
        found = self._observe(effect, since)
        self._note(effect, "observed", found)
        if found.seen is Seen.HAPPENED:
            return Observation(found.seen, f"refused, because it was so already: {found.detail}")
        if (
            found.seen is Seen.RUNNING
        ):  # ours, where something on the way sent it a second time; or a colleague's
            return Observation(found.seen, f"refused, because it is under way already: {found.detail}")
        return None

    def _watch(self, effect: Effect, since: datetime, for_s: float) -> Observation:
        """Ask the platform until it shows the effect, or the time to look is over."""
        deadline = self.clock.monotonic() + for_s
        for pause in pauses(self.patience.poll_first_s, self.patience.poll_max_s):
            found = self._observe(effect, since)
            self._note(effect, "observed", found)
            if found.seen in _REACHED or self.clock.monotonic() >= deadline:
                return found
            self.clock.sleep(pause)
        raise AssertionError("pauses never end")

    def _observe(self, effect: Effect, since: datetime) -> Observation:
        try:
            return effect.observe(since)
        except RollbackError as exc:
            return Observation(Seen.UNCLEAR, exc.reason)

    def _doubtful(self, effect: Effect) -> tuple[Line, ...]:
        """Return the attempts that may have arrived: neither refused nor held back."""
        return in_doubt(self.journal.lines, RequestClass.EFFECT, effect.name)

    def _leaves_open(self, effect: Effect, found: Observation) -> bool:
        """Say whether it may still happen: the platform cannot be read, or has accepted it and does not show it."""
        accepted = any(
            line.data["name"] == effect.name and line.data["kind"] == "accepted"
            for line in self.journal.find("effect.answered", effect.step)
        )
        return found.seen is Seen.UNCLEAR or accepted

    def _line(self, event: str, effect: Effect) -> Line | None:
        return next(
            (
                line
                for line in reversed(self.journal.lines)
                if line.event == event and line.step == effect.step and line.data["name"] == effect.name
            ),
            None,
        )

    def _note(self, effect: Effect, what: str, found: Observation) -> None:
        self.journal.append(
            f"effect.{what}",
            step=effect.step,
            data={"name": effect.name, "seen": found.seen.value, "detail": found.detail},
        )

    def _unknown(self, effect: Effect, reason: str) -> OutcomeUnknown:
        self.journal.append("effect.unknown", step=effect.step, data={"name": effect.name, "reason": reason})
        return OutcomeUnknown(
            f"Nobody can say yet whether this happened: {reason}.",
            "Production may or may not have moved. This run sends nothing more by itself.",
            f"{effect.look}, then run this cell again: it asks the platform first.",
        )

    def _overtaken(self, effect: Effect, found: Observation) -> OutcomeUnknown:
        reason = f"{effect.name}: no clear answer came, and another change has taken its place"
        self.journal.append("effect.unknown", step=effect.step, data={"name": effect.name, "reason": reason})
        return OutcomeUnknown(
            f"Nobody can say whether this was live for a moment: {reason}.",
            f"It is not live now: {found.detail}. This run sends nothing more by itself.",
            "Ask in the incidents channel who did that, and whether it is meant to stay. Then begin a new run (new_run = True), which looks again.",
        )


def _left_at(line: Line) -> datetime:
    return datetime.fromisoformat(line.at)
