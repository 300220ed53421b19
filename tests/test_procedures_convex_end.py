"""How a rollback of the backend ends: what is left to do, what the channel hears, and what the log says of the data."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from backend_watched import Watched, calls
from conftest import BEGAN

from rollback_lib.errors import CheckFailed, Unreachable
from rollback_lib.model import Outcome
from rollback_lib.procedures.convex_rehearse import FEW
from rollback_lib.procedures.convex_shown import Difference
from rollback_lib.providers.convex_facts import Function, Scheduled, Waiting
from rollback_lib.providers.convex_logs import FunctionErrors
from rollback_lib.providers.convex_push import Analysis

GONE = Difference((), ("bookings:listByTrainer",), (), (), ())
DOWN = Unreachable("vercel: no answer.", "Nothing was changed.", "Try again.")
STILL = "the live frontend (dpl_1, bbbbbbbbbbbb) calls functions that the commit does not have: bookings:listByTrainer"


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A run whose push took a function away that the live frontend calls."""
    made = Watched(tmp_path, rehearsal={"difference": GONE})
    made.app.named = lambda *_: ("bookings:listByTrainer",)
    made.done("P2.S5")
    return made


def verified(watched: Watched) -> tuple[str, tuple[str, ...]]:
    """End the run as verified; return what the channel hears and what is still open."""
    rollback = watched.rollback
    rollback.verify_functions(watched.chosen, watched.pushed)
    rollback.at_close()
    rollback.tell_end(Outcome.VERIFIED, "every required check passed")
    (told,) = watched.said
    return told, rollback.still_open()


def test_frontend_that_calls_what_is_gone_is_still_open_and_the_channel_hears_of_it(watched: Watched):
    """It was warned of before the gate; nobody reads of a stable application without it."""
    told, still_open = verified(watched)
    assert f"Still open: {STILL}: roll the frontend back as well (procedure 1)" in told
    assert still_open[0] == f"{STILL}: roll the frontend back as well (procedure 1)"


def test_channel_hears_of_the_frontend_also_where_not_all_is_well(watched: Watched):
    """A run that could not verify all of it leaves the same thing open."""
    watched.rollback.at_close()
    watched.rollback.tell_end(Outcome.COMPLETED_UNVERIFIED, "P2.C2 unknown")
    (told,) = watched.said
    assert f"Still open: {STILL}: roll the frontend back" in told


def test_frontend_that_was_rolled_back_meanwhile_is_not_told_as_open(watched: Watched):
    """What counts is the frontend that is live at the end."""
    watched.app.named = lambda *_: ()
    told, still_open = verified(watched)
    assert "Still open" not in told
    assert not any("frontend" in text for text in still_open)


def test_frontend_that_cannot_be_read_at_the_end_is_said_to_be_unknown(watched: Watched):
    """Nobody knows is not the same as nothing."""

    def down() -> None:
        raise DOWN

    watched.vercel.project = down
    told, still_open = verified(watched)
    assert "what the live frontend calls is not known: vercel: no answer" in told
    assert "what the live frontend calls is not known: vercel: no answer" in still_open


def test_push_that_was_refused_leaves_nothing_open_of_the_frontend(tmp_path: Path):
    """Nothing went away: the backend runs what it ran before."""
    watched = Watched(tmp_path, rehearsal={"difference": GONE}, taken=False)
    watched.app.named = lambda *_: ("bookings:listByTrainer",)
    watched.rollback.at_close()
    assert not any("frontend" in text for text in watched.rollback.still_open())


def test_nothing_is_open_of_the_frontend_where_nothing_went_away(tmp_path: Path):
    """It is not even asked for."""
    watched = Watched(tmp_path)
    watched.done("P2.S5")
    watched.vercel.project = None
    told, _ = verified(watched)
    assert "Still open" not in told


def test_rate_in_the_channel_says_of_what_it_is_and_when(watched: Watched):
    """A share of Convex function calls in a window is not the app's error rate, and is not told as that."""
    watched.backend.answers["executions"] = calls(983)
    told, _ = verified(watched)
    assert "Current Error Rate: 0.00 % of 983 Convex function calls failed, 21:57:40-22:03:00 UTC" in told, (
        told
    )


def test_warning_before_the_gate_says_when_the_frontend_can_be_rolled_back(watched: Watched):
    """One run acts on an environment at a time: the other procedure is refused until this one is over."""
    (warning,) = watched.rollback._rehearsing._surroundings((), GONE)
    assert warning.startswith(f"{STILL}; roll the frontend back as well (procedure 1)")
    assert (
        "refused while this run has the environment, which is until it is closed, about 5 min after"
        in warning
    )


def test_calls_of_what_is_gone_are_not_laid_to_the_commit(watched: Watched):
    """Where they may be what fails, another commit mends nothing: the frontend has to go back."""
    watched.backend.answers["executions"] = calls(100, 40)
    with pytest.raises(CheckFailed) as caught:
        watched.rollback.verify_functions(watched.chosen, watched.pushed)
    assert "roll the frontend back as well (procedure 1)" in caught.value.next_step
    assert "rollback.abort" in caught.value.next_step


CALLED = FunctionErrors("bookings:listByTrainer", 37, 37, 37)


def seen_to_be_called(watched: Watched, *functions: FunctionErrors) -> list[str]:
    """Let functions be called in step 6 that are gone, close in another kernel; return what is left behind."""
    watched.backend.answers["executions"] = calls(1000, sum(one.failed for one in functions), *functions)
    watched.rollback.verify_functions(watched.chosen, watched.pushed)
    watched.rollback = watched.kernel()
    watched.rollback.at_close()
    watched.rollback.tell_end(Outcome.COMPLETED_UNVERIFIED, "P2.C2 unknown")
    (told,) = watched.said
    left = [text for text in watched.rollback.still_open() if "bookings:" in text or "orders:" in text]
    assert all(text in told for text in left)
    return left


def test_calls_of_what_went_away_are_still_open_and_said_once(watched: Watched):
    """What the live frontend names and what was seen to fail are one thing."""
    (left,) = seen_to_be_called(watched, CALLED)
    assert left == (
        f"{STILL} (calls that failed, 21:57:40-22:03:00 UTC: bookings:listByTrainer 37): "
        "roll the frontend back as well (procedure 1)"
    )


def test_calls_that_the_live_frontend_does_not_make_are_still_open(watched: Watched):
    """Open tabs, another app: it was seen, so it is said, and not laid to the frontend that is live."""
    watched.app.named = lambda *_: ()
    (left,) = seen_to_be_called(watched, CALLED)
    assert left == (
        "calls of functions that went away failed, 21:57:40-22:03:00 UTC: bookings:listByTrainer 37; "
        "the live frontend does not name them: see what else calls them"
    )


def test_calls_are_still_open_also_where_the_difference_was_not_known(tmp_path: Path):
    """The dry run could not tell what goes away; the log does."""
    watched = Watched(tmp_path, rehearsal={"difference": None})
    watched.app.named = lambda _, names: tuple(names)
    watched.done("P2.S5")
    (left,) = seen_to_be_called(watched, CALLED, FunctionErrors("orders:count", 3, 3, 3))
    assert "bookings:listByTrainer, orders:count (calls that failed" in left


def test_newest_look_decides_what_is_called_though_it_is_gone(watched: Watched):
    """The frontend was rolled back by hand: the next look finds no such call, and the close says nothing of it."""
    watched.backend.answers["executions"] = calls(1000, 37, CALLED)
    watched.rollback.verify_functions(watched.chosen, watched.pushed)
    watched.app.named = lambda *_: ()
    watched.backend.answers["executions"] = calls()
    watched.rollback._watch.executions(BEGAN)
    watched.rollback.at_close()
    assert not any("bookings:" in text for text in watched.rollback.still_open())


# What waits to be run, and the data


def waiting(watched: Watched, *names: str, complete: bool = True) -> tuple[tuple[str, ...], str]:
    """Let calls wait, a minute apart, and say what the dry run makes of them."""
    due = BEGAN + timedelta(hours=1)
    calls_ = tuple(
        Waiting(name, due + timedelta(minutes=number), running=False) for number, name in enumerate(names)
    )
    watched.backend.answers["scheduled"] = Scheduled(calls_, complete)
    analysis = Analysis((Function("users:list", "Query", True, "s"),), None, (), components=False)
    return watched.rollback._rehearsing._waiting(analysis)


def test_calls_that_wait_are_named_with_when_the_first_is_due(watched: Watched):
    """Those that will fail, and those that will run with the code of this commit."""
    told, fails = waiting(watched, "users:list", "mail:send", "checkIns:forget", "mail:send")
    assert told == (
        "3 scheduled call(s) will fail: the commit has no checkIns:forget, mail:send (the first is due 2026-11-23 22:59:00 UTC)",
        "1 scheduled call(s) will run with the code of this commit: users:list (the first is due 2026-11-23 22:58:00 UTC)",
    )
    assert fails == told[0]


def test_more_calls_than_were_read_are_never_told_as_all(watched: Watched):
    """Their number is a least one, and what becomes of the others is not known."""
    told, fails = waiting(watched, "users:list", "mail:send", complete=False)
    assert fails.startswith("at least 1 scheduled call(s) will fail")
    assert told[1].startswith("at least 1 scheduled call(s) will run")
    assert told[2] == "more calls wait than the 2 that were read: what becomes of the others is not known"
    told, fails = waiting(watched, "users:list", complete=False)
    assert (fails, len(told)) == ("", 2)


def test_many_functions_that_wait_are_counted(watched: Watched):
    """A few names, and how many more."""
    told, _ = waiting(watched, *(f"mail:f{number}" for number in range(FEW + 2)))
    assert "mail:f4 and 2 more (the first" in told[0]


@pytest.mark.parametrize(
    ("fails", "wanted"),
    [
        ("", "none by this rollback"),
        (
            "3 scheduled call(s) will fail: the commit has no mail:send",
            "none by this rollback; 3 scheduled call(s) will fail: the commit has no mail:send",
        ),
    ],
)
def test_log_claims_no_more_of_the_data_than_is_known(tmp_path: Path, fails: str, wanted: str):
    """What the bad code wrote is not this rollback's to judge; calls that will fail are named."""
    watched = Watched(tmp_path, rehearsal={"fails": fails})
    assert watched.rollback.log_row(Outcome.VERIFIED)["Data Loss"] == wanted
