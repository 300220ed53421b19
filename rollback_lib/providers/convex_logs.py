"""How many function calls fail, read from Convex's own log of executions.

- The log is a long poll: an answer comes when there is something, or after up to a minute. Silence is no data, never 0 %.
- What began before the window or in its first millisecond, what ended after it, our own administrative reads, and
  attempts that Convex makes again do not count: a call that was under way when a push went live ran the code before it.
- An answer that is lost is asked for again from the same place, which is ours to keep. Convex remembers its newest
  calls only: an answer as long as that memory may lack what came before it, and that is said.
- A call of a function that is not there stands in the log as a call that failed, by the name that was asked for.
- Reading ends at the window's end or at the deadline, whichever comes first; what was read until then counts, and it
  is said from when to when it was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_lib.clock import Clock, to_iso
from rollback_lib.errors import ReadRefused, Unreachable
from rollback_lib.http import Reply
from rollback_lib.providers.convex_facts import function_name
from rollback_lib.providers.shapes import Shape, a_list, a_mapping, a_number, a_text, epoch_time, mapping_of

__all__ = ["Executions", "FunctionErrors", "LogReader"]

LONGEST_POLL_S = 65.0  # Convex holds a request open for up to a minute
IDLE_S = 0.5  # before asking again after an answer that brought nothing: some answer at once
LONGEST_PAUSE_S = 8.0  # before asking again for an answer that was lost; it begins with IDLE_S and doubles
REMEMBERED = 1000  # executions that Convex keeps in memory, as its own backend is set up
SEAMLESS_S = (
    1.0  # where so many calls come at once, the first of them is not further from what was read before
)
MOST_SAMPLES = 5
SAMPLE_LIMIT = 200  # characters of one error
_OURS = ("_system/", "testQuery")
# What Convex itself says where the name that was asked for leads nowhere; what a function throws is "Uncaught ...".
_NOT_THERE = ("Could not find ", "Couldn't find ")


@dataclass(frozen=True)
class FunctionErrors:
    """One function's calls in a window."""

    name: str
    calls: int
    failed: int
    not_found: int = 0  # of those that failed: from outside, and Convex found no public function of this name


@dataclass(frozen=True)
class Executions:
    """The function calls that began and ended in a window."""

    start: datetime  # from here to the end is what was read, which may be less than was asked for
    end: datetime
    calls: int
    failed: int
    functions: tuple[FunctionErrors, ...]  # the most failures first
    samples: tuple[str, ...]  # function and first line of its error
    complete: bool  # the log was seen up to the end that was asked for, without a gap
    note: str  # why there is no share, or what limits its worth

    @property
    def share(self) -> float | None:
        """Return the share of calls that failed, a fraction; None: no data."""
        return self.failed / self.calls if self.calls else None

    def apart(self, there: Collection[str]) -> tuple[Executions, tuple[FunctionErrors, ...]]:
        """Part the calls that found no function from all others: what is left, and what was taken out, most first.

        Args:
            there: The functions that may be called. A call of one of them that found none stays where it is.
        """
        gone = tuple(
            FunctionErrors(one.name, one.not_found, one.not_found, one.not_found)
            for one in self.functions
            if one.not_found and one.name not in there
        )
        taken = {one.name: one.calls for one in gone}
        parted = (
            replace(one, calls=one.calls - less, failed=one.failed - less, not_found=one.not_found - less)
            for one in self.functions
            for less in (taken.get(one.name, 0),)
        )
        total = sum(taken.values())
        left = replace(
            self,
            calls=self.calls - total,
            failed=self.failed - total,
            functions=_worst_first(one for one in parted if one.calls),
            samples=tuple(one for one in self.samples if not _is_of(one, taken)),
        )
        return left, _worst_first(gone)


class LogReader:
    """Reads one window of the log."""

    def __init__(
        self, poll: Callable[[str, float], Reply], clock: Clock, start: datetime, end: datetime
    ) -> None:
        self._poll, self._clock, self._start, self._end = poll, clock, start, end
        self._counted = _Counted()
        self._cursor = float(round(start.timestamp() * 1000))
        self._past_end = self._answered = False
        self._read = [start, start]  # from when to when the log was seen
        self._lost, self._gap = "", ""  # why the newest answer did not come; what is missing for good
        self._pause_s = IDLE_S

    def read(self, deadline_s: float) -> Executions:
        """Read until the window's end is seen, or for `deadline_s` seconds.

        Raises:
            ReadRefused: The key may not read the log.
        """
        deadline = self._clock.monotonic() + deadline_s
        while not self._past_end:
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                break
            self._once(left_s, deadline)
        if self._past_end:
            self._read[1] = self._end
        start, end = self._read
        return self._counted.told(start, end, complete=self._past_end and not self._gap, notes=self._notes())

    def _notes(self) -> list[str]:
        """Say what limits the worth of what was read."""
        found = [self._gap]
        if not self._answered:
            found.append(self._lost or "the log did not answer")
        elif not self._past_end:
            lost = f": {self._lost}" if self._lost else ""
            found.append(f"the log was not seen up to {to_iso(self._end)}{lost}")
        if self._read[0] > self._start:
            found.append(f"Convex no longer had the calls before {self._read[0]:%H:%M:%S} UTC")
        return [note for note in found if note]

    def _once(self, left_s: float, deadline: float) -> None:
        """Ask once; an answer that is lost leaves everything as it was."""
        asked = self._clock.now()
        try:
            body = mapping_of(self._poll(f"{self._cursor:.3f}", min(LONGEST_POLL_S, left_s)))
        except ReadRefused:
            raise
        except Unreachable as exc:
            self._was_lost(asked, exc, deadline)
            return
        entries = [a_mapping(raw) for raw in a_list(body.get("entries"))]
        self._remember(entries)
        self._answered, self._lost, self._pause_s = True, "", IDLE_S
        for entry in entries:
            self._count(entry)
        self._read[1] = max(self._read[1], min(asked, self._end))
        moved = a_number(body.get("newCursor"))
        went_on = moved is not None and moved > self._cursor
        self._cursor = moved if moved is not None and went_on else self._cursor
        # What is answered after the window's end, and brings nothing, has seen all of it.
        self._past_end = self._past_end or (not entries and asked > self._end)
        if not went_on and not self._past_end:
            self._clock.sleep(min(IDLE_S, left_s))

    def _was_lost(self, asked: datetime, exc: Unreachable, deadline: float) -> None:
        """See to an answer that did not come: wait a little, unless the time is over."""
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0:
            # Held open to the end of our time: Convex had nothing to tell. It has not answered the question before
            # where that was lost, so then this one's silence tells nothing.
            self._past_end = self._answered and not self._lost and asked > self._end
            return
        self._lost = f"the log gave no answer: {exc.reason}"
        self._clock.sleep(min(self._pause_s, left_s))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _remember(self, entries: list[Shape]) -> None:
        """See whether an answer may lack what Convex has forgotten since the one before."""
        if len(entries) < REMEMBERED:
            return
        first = next(filter(None, (epoch_time(entry.get("timestamp")) for entry in entries)), None)
        if first is None or first - self._read[1] <= timedelta(seconds=SEAMLESS_S):
            return
        if self._answered:
            self._gap = f"calls from {self._read[1]:%H:%M:%S} to {first:%H:%M:%S} UTC may be missing"
        else:
            self._read = [min(first, self._end), min(first, self._end)]

    def _count(self, entry: Shape) -> None:
        at = epoch_time(entry.get("timestamp"))
        if at is not None:
            self._read[1] = max(self._read[1], min(at, self._end))
            self._past_end = self._past_end or at > self._end
        name = function_name(a_text(entry.get("identifier")) or "unknown")
        if entry.get("kind") != "Completion" or at is None or at > self._end:
            return
        if at - timedelta(seconds=a_number(entry.get("executionTime")) or 0.0) <= self._start:
            return
        if entry.get("willRetry") is True or name.startswith(_OURS):
            return
        # What the commit's own code calls, and a component's, is the commit's: only who calls from outside can be too new.
        inner = bool(entry.get("parentExecutionId") or entry.get("componentPath"))
        self._counted.add(name, a_text(entry.get("error")), inner=inner)


@dataclass
class _Counted:
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    not_found: Counter[str] = field(default_factory=Counter)
    samples: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, error: str | None, *, inner: bool) -> None:
        self.calls[name] += 1
        if error is None:
            return
        self.failed[name] += 1
        first = next((line.strip() for line in error.splitlines() if line.strip()), "no text")
        self.not_found[name] += not inner and first.startswith(_NOT_THERE)
        self.samples.setdefault(f"{name}: {first[:SAMPLE_LIMIT]}")

    def told(self, start: datetime, end: datetime, *, complete: bool, notes: list[str]) -> Executions:
        functions = (
            FunctionErrors(name, calls, self.failed[name], self.not_found[name])
            for name, calls in self.calls.items()
        )
        calls = self.calls.total()
        none = [] if calls else ["no function call ended in the window"]
        return Executions(
            start=start,
            end=end,
            calls=calls,
            failed=self.failed.total(),
            functions=_worst_first(functions),
            samples=tuple(self.samples)[:MOST_SAMPLES],
            complete=complete,
            note="; ".join([*none, *notes]),
        )


def _worst_first(functions: Iterable[FunctionErrors]) -> tuple[FunctionErrors, ...]:
    return tuple(sorted(functions, key=lambda one: (-one.failed, -one.calls, one.name)))


def _is_of(sample: str, functions: Collection[str]) -> bool:
    """Say whether a sample is of a call that found none of these functions."""
    name, _, text = sample.partition(": ")
    return name in functions and text.startswith(_NOT_THERE)
