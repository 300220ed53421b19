"""The outside judge on a window of the log: what failed right behind its end for another reason is not held against it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace as Simple

import pytest

from rollback_lib.drills.oracle.backend import BackendTruth
from rollback_lib.drills.oracle.backend_looks import BACKEND_CHECKS

SKEW_S = 2
PUSHED = datetime(2026, 11, 23, 22, 0, tzinfo=UTC).timestamp() * 1000
END = PUSHED + 20_000


def on_world(at_ms):
    return at_ms + SKEW_S * 1000


def call(at_ms, error=None):
    return Simple(
        began_ms=on_world(at_ms), error=error, caller="SyncWorker", took_s=0.01, identifier="users.js:get"
    )


def judged(*, next_push_ms, failing_ms, written_ms=END + 5_000, since="22:00:01"):
    calls = [
        *(call(PUSHED + second * 1000) for second in range(1, 20)),
        call(failing_ms, "Uncaught TypeError"),
    ]
    live = [(on_world(PUSHED), "good"), (on_world(next_push_ms), "hotfix")]
    backend = Simple(
        was_live=live,
        audit=Simple(rows=()),
        logs=Simple(entries=lambda: calls),
        code_of=lambda _: "good",
    )
    truth = BackendTruth(Simple(convex=backend, spec=Simple(clock_skew_s=SKEW_S)))
    looks = [Simple(path="/api/stream_function_logs")]
    bench = Simple(
        backend=truth,
        truth=Simple(reads=lambda *_: looks),
        pairs=Simple(effects=[Simple(target="a" * 40)]),
    )
    seen = "0.00 % of 19 Convex function calls failed"
    line = Simple(at_ms=written_ms, data={"source": f"{since}-22:00:20 UTC", "seen": seen})
    return list(BACKEND_CHECKS["P2.C2"](bench, line, round(PUSHED)))


@pytest.mark.parametrize(
    ("next_push_ms", "failing_ms", "is_held"),
    [
        (END + 300, END + 400, True),  # broken by what was pushed then
        (END + 300, END + 200, False),  # within the second that the end was rounded by
        (END + 60_000, END + 400, False),
        (END + 60_000, END - 5_000, False),
    ],
)
def test_what_the_next_push_broke_is_not_held_against_the_window(next_push_ms, failing_ms, is_held):
    """A failure counts for as long as the pushed code ran, and no longer."""
    assert (judged(next_push_ms=next_push_ms, failing_ms=failing_ms) == []) is is_held


@pytest.mark.parametrize(("failing_ms", "is_held"), [(END + 400, True), (END + 200, False)])
def test_what_was_called_once_the_check_was_written_is_not_held_against_it(failing_ms, is_held):
    """The run's own next query may fail within the second that the end was rounded by."""
    told = judged(next_push_ms=END + 60_000, failing_ms=failing_ms, written_ms=END + 300)
    assert (told == []) is is_held


@pytest.mark.parametrize(("failing_ms", "is_held"), [(PUSHED, True), (PUSHED + 1, False)])
def test_what_was_called_in_the_very_millisecond_of_the_push_is_not_held_against_it(failing_ms, is_held):
    """It may have run the code before it."""
    told = judged(next_push_ms=END + 60_000, failing_ms=failing_ms, since="22:00:00")
    assert (told == []) is is_held
