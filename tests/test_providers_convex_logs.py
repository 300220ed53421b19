"""Reading Convex's log of calls where answers get lost, and where Convex has forgotten the older ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from conftest import BEGAN, FakeClock

from rollback_lib.errors import Unreachable
from rollback_lib.http import Reply
from rollback_lib.providers.convex_logs import (
    LONGEST_POLL_S,
    REMEMBERED,
    Executions,
    FunctionErrors,
    LogReader,
)

END = BEGAN + timedelta(minutes=5)
LATE = END + timedelta(seconds=1)


def called(at: datetime, error: str | None = None, name: str = "users.js:list") -> dict[str, Any]:
    """Make one line of the log."""
    return {"kind": "Completion", "identifier": name, "timestamp": at.timestamp(), "error": error}


class Log:
    """A log that answers from a script, whose last answer stays; an answer takes its seconds."""

    def __init__(self, *script: Any) -> None:
        self.clock, self.script, self.cursors = FakeClock(), list(script), []

    def poll(self, cursor: str, timeout_s: float) -> Reply:
        self.cursors.append(float(cursor))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step(self, timeout_s)

    def read(self, deadline_s: float = 900) -> Executions:
        return LogReader(self.poll, self.clock, BEGAN, END).read(deadline_s)


def tells(*entries: dict[str, Any], after_s: float = 0.1) -> Callable[[Log, float], Reply]:
    """Answer with lines after some seconds; the cursor goes on to the last of them."""

    def answer(log: Log, _: float) -> Reply:
        log.clock.advance(after_s)
        at = max((entry["timestamp"] * 1000 for entry in entries), default=0.0)
        return Reply(200, {}, "", {"entries": list(entries), "newCursor": at}, 0.1)

    return answer


def lost(after_s: float = 0.1) -> Callable[[Log, float], Reply]:
    """Lose the answer after some seconds, at the latest when the caller's time is over."""

    def answer(log: Log, timeout_s: float) -> Reply:
        log.clock.advance(min(after_s, timeout_s))
        raise Unreachable("convex: the connection broke off.", "Nothing was changed.", "Try again.")

    return answer


def nothing_told(log: Log, _: float) -> Reply:
    """Answer with something that is no log."""
    log.clock.advance(0.1)
    return Reply(200, {}, "<html>", None, 0.1)


def at(seconds: float) -> datetime:
    """Give a moment so long after the window's beginning."""
    return BEGAN + timedelta(seconds=seconds)


def test_answer_that_is_lost_is_asked_for_again_from_the_same_place():
    """Nothing of the window is missing then: what came meanwhile is told by the next answer."""
    log = Log(
        tells(called(at(10)), after_s=10),
        lost(),
        nothing_told,
        tells(called(at(12), "Error: a"), called(LATE), after_s=300),
    )
    found = log.read()
    assert (found.calls, found.failed, found.complete, found.note) == (2, 1, True, "")
    assert (found.start, found.end) == (BEGAN, END)
    assert len(set(log.cursors[1:])) == 1
    assert log.clock.slept == [0.5, 1.0]


def test_log_that_never_comes_back_is_asked_until_the_deadline_and_says_what_it_was_read_to():
    """Ten seconds of five minutes are told as ten seconds, and as not all."""
    log = Log(tells(called(at(10)), after_s=10), lost())
    found = log.read()
    assert (found.calls, found.complete) == (1, False)
    assert (found.start, found.end) == (BEGAN, at(10))
    assert "was not seen up to" in found.note
    assert "the connection broke off" in found.note
    assert log.clock.now() == at(900)
    assert len(log.cursors) < 200  # no circle


def test_silence_after_answers_that_were_lost_is_not_the_end_of_the_log():
    """Where nothing comes through any more, the last question held open tells nothing, though it was asked late."""
    log = Log(tells(called(at(10)), after_s=10), lost(LONGEST_POLL_S))
    found = log.read()
    assert (found.complete, found.end) == (False, at(10))


def test_log_that_convex_no_longer_has_from_the_beginning_is_told_from_where_it_has_it():
    """The first answer is as long as Convex's memory: the window begins with it."""
    many = [called(at(60 + number / 100)) for number in range(REMEMBERED)]
    found = Log(tells(*many, after_s=80), tells(called(LATE), after_s=300)).read()
    assert (found.calls, found.complete) == (REMEMBERED, True)
    assert (found.start, found.end) == (at(60), END)
    assert found.note == f"Convex no longer had the calls before {at(60):%H:%M:%S} UTC"


def test_gap_in_the_middle_of_the_log_is_said_and_is_not_complete():
    """After lost answers the next one is as long as Convex's memory: what was between is gone for good."""
    many = [called(at(100 + number / 100)) for number in range(REMEMBERED)]
    found = Log(
        tells(called(at(10)), after_s=10), lost(100), tells(*many), tells(called(LATE), after_s=300)
    ).read()
    assert (found.calls, found.complete) == (REMEMBERED + 1, False)
    assert found.note == f"calls from {at(10):%H:%M:%S} to {at(100):%H:%M:%S} UTC may be missing"


def test_long_answer_that_goes_on_where_the_reading_was_lacks_nothing():
    """A busy app fills an answer, and another Convex may remember more: what follows without a gap is whole."""
    many = [called(at(0.5 + number / 100)) for number in range(2 * REMEMBERED)]
    found = Log(tells(*many, after_s=30), tells(called(LATE), after_s=300)).read()
    assert (found.start, found.calls, found.complete, found.note) == (BEGAN, 2 * REMEMBERED, True, "")


def test_call_that_began_in_the_windows_very_first_millisecond_does_not_count():
    """A push and a call of one millisecond: the call may have run the code before it."""
    found = Log(tells(called(BEGAN, "Error: a"), called(at(0.002)), called(LATE), after_s=301)).read()
    assert (found.calls, found.failed) == (1, 0)


# Functions that are not there

NOT_THERE = "Could not find public function for 'messages:react'. Did you forget to run `npx convex dev`?"


def test_calls_that_found_no_function_are_parted_from_all_others():
    """Share, functions and texts are of what is there; a failure of a function that is there stays its own."""
    reaction = called(at(1), NOT_THERE, "messages.js:react")
    hidden = called(at(2), NOT_THERE, "jobs.js:run")  # is there, and not for everybody
    well = called(at(3), None, "jobs.js:run")
    broken = called(at(4), "Uncaught Error: no mail", "mail.js:send")
    found = Log(tells(reaction, reaction, hidden, well, broken, called(at(5)), called(LATE))).read()
    assert (found.calls, found.failed) == (6, 4)
    left, gone = found.apart({"mail:send", "users:list"})
    assert gone == (FunctionErrors("messages:react", 2, 2, 2), FunctionErrors("jobs:run", 1, 1, 1))
    assert (left.calls, left.failed, left.complete) == (3, 1, True)
    assert [(one.name, one.calls, one.failed) for one in left.functions] == [
        ("mail:send", 1, 1),
        ("jobs:run", 1, 0),
        ("users:list", 1, 0),
    ]
    assert left.samples == ("mail:send: Uncaught Error: no mail",)


def test_function_that_is_there_again_is_not_taken_for_gone():
    """Somebody pushed in between: what failed, failed."""
    found = Log(tells(called(at(1), NOT_THERE, "messages.js:react"), called(LATE))).read()
    assert found.apart({"messages:react"}) == (found, ())


def test_call_from_within_the_code_is_the_codes_own():
    """An action that calls what its own commit does not have is broken, and so is a component."""
    inner = called(at(1), NOT_THERE, "messages.js:react") | {"parentExecutionId": "9f"}
    part = called(at(2), NOT_THERE, "messages.js:react") | {"componentPath": "mail"}
    found = Log(tells(inner, part, called(LATE))).read()
    assert (found.failed, found.apart(())[1]) == (2, ())


def test_words_of_a_function_do_not_make_it_gone():
    """What a function throws comes behind a word of Convex's own."""
    found = Log(tells(called(at(1), "Uncaught Error: Could not find it", "a.js:b"), called(LATE))).read()
    assert found.apart(())[1] == ()
