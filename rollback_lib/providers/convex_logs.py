"""How many function calls fail, read from Convex's own log of executions.

- The log is a long poll: an answer comes when there is something, or after up to a minute. Silence is no data, never 0 %.
- What began before the window or ended after it, our own administrative reads, and attempts that Convex makes again do
  not count: a call that was under way when a push went live ran the code before it.
- Reading ends at the window's end or at the deadline, whichever comes first; what was read until then counts, and it
  is said that it may not be all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_lib.clock import Clock, to_iso
from rollback_lib.errors import ReadRefused, Unreachable
from rollback_lib.http import Reply
from rollback_lib.providers.convex_facts import function_name
from rollback_lib.providers.shapes import Shape, a_list, a_mapping, a_number, a_text, epoch_time, mapping_of

__all__ = ["Executions", "FunctionErrors", "LogReader"]

LONGEST_POLL_S = 65.0  # Convex holds a request open for up to a minute
IDLE_S = 0.5  # before asking again after an answer that brought nothing: some answer at once
MOST_SAMPLES = 5
SAMPLE_LIMIT = 200  # characters of one error
_OURS = ("_system/", "testQuery")


@dataclass(frozen=True)
class FunctionErrors:
    """One function's calls in a window."""

    name: str
    calls: int
    failed: int


@dataclass(frozen=True)
class Executions:
    """The function calls that began and ended in a window."""

    start: datetime
    end: datetime
    calls: int
    failed: int
    functions: tuple[FunctionErrors, ...]  # the most failures first
    samples: tuple[str, ...]  # function and first line of its error
    complete: bool  # the log was seen up to the window's end
    note: str  # why there is no share, or what limits its worth

    @property
    def share(self) -> float | None:
        """Return the share of calls that failed, a fraction; None: no data."""
        return self.failed / self.calls if self.calls else None


class LogReader:
    """Reads one window of the log."""

    def __init__(
        self, poll: Callable[[str, float], Reply], clock: Clock, start: datetime, end: datetime
    ) -> None:
        self._poll, self._clock, self._start, self._end = poll, clock, start, end
        self._counted = _Counted()
        self._cursor = float(round(start.timestamp() * 1000))
        self._past_end = self._answered = False

    def read(self, deadline_s: float) -> Executions:
        """Read until the window's end is seen, or for `deadline_s` seconds.

        Raises:
            ReadRefused: The key may not read the log.
        """
        deadline, trouble = self._clock.monotonic() + deadline_s, ""
        while not self._past_end and not trouble:
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                break
            trouble = self._once(left_s, deadline)
        return self._counted.told(self._start, self._end, complete=self._past_end, trouble=trouble)

    def _once(self, left_s: float, deadline: float) -> str:
        """Ask once; return what is wrong with asking again, or nothing."""
        asked = self._clock.now()
        try:
            reply = self._poll(f"{self._cursor:.3f}", min(LONGEST_POLL_S, left_s))
        except ReadRefused:
            raise
        except Unreachable as exc:
            if self._clock.monotonic() < deadline:
                return f"the log gave no answer: {exc.reason}"
            # Held open to the end of our time: Convex had nothing to tell. A log that never answered tells nothing.
            self._past_end = self._answered and asked > self._end
            return "" if self._answered else "the log did not answer"
        self._answered = True
        body = mapping_of(reply)
        entries = [a_mapping(raw) for raw in a_list(body.get("entries"))]
        for entry in entries:
            self._count(entry)
        moved = a_number(body.get("newCursor"))
        went_on = moved is not None and moved > self._cursor
        self._cursor = moved if moved is not None and went_on else self._cursor
        # What is answered after the window's end, and brings nothing, has seen all of it.
        self._past_end = self._past_end or (not entries and asked > self._end)
        if not went_on and not self._past_end:
            self._clock.sleep(min(IDLE_S, left_s))
        return ""

    def _count(self, entry: Shape) -> None:
        at = epoch_time(entry.get("timestamp"))
        if at is not None and at > self._end:
            self._past_end = True
        name = function_name(a_text(entry.get("identifier")) or "unknown")
        if entry.get("kind") != "Completion" or at is None or at > self._end:
            return
        if at - timedelta(seconds=a_number(entry.get("executionTime")) or 0.0) < self._start:
            return
        if entry.get("willRetry") is True or name.startswith(_OURS):
            return
        self._counted.add(name, a_text(entry.get("error")))


@dataclass
class _Counted:
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    samples: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, error: str | None) -> None:
        self.calls[name] += 1
        if error is None:
            return
        self.failed[name] += 1
        first = next((line.strip() for line in error.splitlines() if line.strip()), "no text")
        self.samples.setdefault(f"{name}: {first[:SAMPLE_LIMIT]}")

    def told(self, start: datetime, end: datetime, *, complete: bool, trouble: str) -> Executions:
        functions = (FunctionErrors(name, calls, self.failed[name]) for name, calls in self.calls.items())
        calls = self.calls.total()
        note = "" if complete else trouble or f"the log was not seen up to {to_iso(end)}"
        if not calls:
            note = "; ".join(filter(None, ("no function call ended in the window", note)))
        return Executions(
            start=start,
            end=end,
            calls=calls,
            failed=self.failed.total(),
            functions=tuple(sorted(functions, key=lambda one: (-one.failed, -one.calls, one.name))),
            samples=tuple(self.samples)[:MOST_SAMPLES],
            complete=complete,
            note=note,
        )
