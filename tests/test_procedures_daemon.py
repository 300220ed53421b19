"""The heartbeat: it goes on by itself, a failing beat stops nothing but itself, and `stop` leaves nothing behind."""

from __future__ import annotations

import threading
import time

from rollback_lib.errors import JournalError, RollbackError, Unreachable
from rollback_lib.procedures.daemon import Heartbeat


def trouble() -> None:
    raise Unreachable("down", "as it was", "wait")


def test_every_beat_comes_again_and_again() -> None:
    """While nobody does anything."""
    often = threading.Semaphore(0)
    heart = Heartbeat(0.01, [often.release], lambda _: None)
    heart.start()
    assert all(often.acquire(timeout=5) for _ in range(3))
    heart.stop()


def test_a_beat_that_fails_is_told_and_stops_no_other() -> None:
    """One service is down: the others are still cared for."""
    others, told = threading.Semaphore(0), []
    heart = Heartbeat(0.01, [trouble, others.release], told.append)
    heart.start()
    assert all(others.acquire(timeout=5) for _ in range(2))
    heart.stop()
    assert isinstance(told[0], Unreachable)


def test_a_run_that_cannot_be_recorded_beats_no_more() -> None:
    """Its journal was let go of: whoever goes on has a heartbeat of their own."""

    def lost() -> None:
        raise JournalError("not held", "nothing sent", "open again")

    later: list[int] = []
    heart = Heartbeat(0.01, [lost, lambda: later.append(1)], lambda _: None)
    heart.start()
    assert heart._thread is not None
    heart._thread.join(timeout=5)
    assert not heart._thread.is_alive()
    assert later == []


def test_trouble_that_cannot_be_recorded_ends_it_too() -> None:
    """The warning itself finds no journal."""

    def unwritable(_: RollbackError) -> None:
        raise JournalError("not held", "nothing sent", "open again")

    heart = Heartbeat(0.01, [trouble], unwritable)
    heart.start()
    assert heart._thread is not None
    heart._thread.join(timeout=5)
    assert not heart._thread.is_alive()


def test_stop_waits_for_the_beat_that_is_under_way() -> None:
    """Nothing is written after it has returned."""
    begun, ended = threading.Event(), []

    def slow() -> None:
        begun.set()
        time.sleep(0.1)
        ended.append(1)

    heart = Heartbeat(0.01, [slow], lambda _: None)
    heart.start()
    assert begun.wait(5)
    heart.stop()
    count = len(ended)
    assert count >= 1
    time.sleep(0.15)
    assert len(ended) == count


def test_stopped_before_it_was_started_is_no_fault() -> None:
    """A run that failed to open."""
    Heartbeat(0.01, [], lambda _: None).stop()
