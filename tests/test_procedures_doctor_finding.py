"""Findings: what a check's end means, and readings that are taken once."""

from __future__ import annotations

import threading

import pytest

from rollback_lib.errors import (
    BadParameters,
    JournalError,
    LeaseHeld,
    OutcomeUnknown,
    ReadRefused,
    RollbackError,
    Unreachable,
)
from rollback_lib.procedures.doctor import Examined, Finding, Status, would_work
from rollback_lib.procedures.doctor.finding import NotKnown, Once, finding_of, ok


@pytest.mark.parametrize(
    ("kind", "status", "todo"),
    [
        (ReadRefused, "wrong", "Make a new one."),
        (Unreachable, "unknown", "Look at the network."),
        (LeaseHeld, "unknown", "Wait."),
        (OutcomeUnknown, "unknown", "Wait."),
        (BadParameters, "wrong", "Wait."),
        (JournalError, "wrong", "Wait."),
    ],
)
def test_what_ended_a_check_becomes_a_finding(kind: type[RollbackError], status: str, todo: str) -> None:
    """A refusal is wrong, an outage unknown; what is to be done is what helps there."""
    found = finding_of(kind("It broke.", "Now.", "Wait."), "Make a new one.", "Look at the network.")
    assert (found.status, found.seen, found.todo) == (status, "It broke.", todo)


def test_refusal_without_special_advice_keeps_the_error_own() -> None:
    """The error says what to do."""
    assert finding_of(ReadRefused("It broke.", "Now.", "Wait."), "", "x").todo == "Wait."


def test_broken_check_is_unknown_and_says_that_it_is_ours() -> None:
    """Never a traceback, never fine."""
    found = finding_of(KeyError("team"), "", "")
    assert (found.status, "KeyError: 'team'" in found.seen, "report it" in found.todo) == (
        "unknown",
        True,
        True,
    )


def test_what_builds_on_another_check_names_it() -> None:
    """Its trouble is not repeated."""
    found = finding_of(NotKnown("Vercel: token"), "x", "y")
    assert found == Finding(
        Status.UNKNOWN, "cannot be seen before “Vercel: token” is right", after="Vercel: token"
    )


def test_reading_is_taken_once_by_many() -> None:
    """Threads that come while it is being taken wait for the one that takes it."""
    taken: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def read() -> int:
        taken.append(1)
        begun.set()
        assert go_on.wait(5)
        return 7

    once, seen = Once("Vercel: project", read), []
    threads = [threading.Thread(target=lambda: seen.append(once.use())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert (seen, taken) == ([7] * 4, [1])


def test_failed_reading_is_told_by_one_and_named_by_others() -> None:
    """It is not tried again either: a second answer would make two truths of one table."""
    tried: list[int] = []

    def read() -> int:
        tried.append(1)
        raise Unreachable("No answer.", "Now.", "Wait.")

    once = Once("Vercel: project", read)
    built_on_it = Once("Vercel: plan", once.use)
    with pytest.raises(Unreachable):
        once.tell()
    for other in (once, built_on_it):
        with pytest.raises(NotKnown) as caught:
            other.use()
        assert caught.value.told_by == "Vercel: project"
    assert tried == [1]


@pytest.mark.parametrize("status", Status)
def test_only_wrong_and_unknown_speak_against_a_rollback(status: Status) -> None:
    """A warning, or what was left out by choice, does not."""
    examined = [Examined("a", "b", ok("fine")), Examined("a", "c", Finding(status, "seen"))]
    assert would_work(examined) is (status not in ("wrong", "unknown"))
