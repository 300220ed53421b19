"""What procedure 2 makes of what it sees after its push: each check says what was seen, and passes on nothing less."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from backend_watched import Watched, calls
from conftest import BEGAN

from rollback_lib.errors import CheckFailed
from rollback_lib.model import CheckStatus


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A run whose push is over."""
    made = Watched(tmp_path)
    made.done("P2.S5")
    return made


def verify(watched: Watched) -> str:
    """Run the cell of step 6; return what it shows."""
    return repr(watched.rollback.verify_functions(watched.chosen, watched.pushed))


# The log of calls


def test_log_that_was_not_read_to_its_end_is_no_data(watched: Watched):
    """Ten good seconds of five minutes say nothing of the rest, and the window that was read is the one that is told."""

    def broken_off(start, _):
        return calls(983, complete=False, note="the log was not seen up to its end")(
            start, start + timedelta(seconds=10)
        )

    watched.backend.answers["executions"] = broken_off
    shown = verify(watched)
    (check,) = watched.checks("P2.C2")
    assert check.status is CheckStatus.UNKNOWN
    assert check.source.endswith("21:57:40-21:57:50 UTC"), check.source
    assert "the log was not seen up to its end" in check.seen
    assert "the log was not seen up to its end" in shown


def test_errors_that_were_seen_count_also_where_the_log_broke_off(watched: Watched):
    """Too many calls failed already: what was not read cannot mend that."""
    watched.backend.answers["executions"] = calls(100, 40, complete=False, note="the log broke off")
    with pytest.raises(CheckFailed, match=r"40\.00 % of 100 Convex function calls failed"):
        verify(watched)


def test_share_is_told_with_what_it_counts_and_its_window(watched: Watched):
    """Neither the cell nor the channel has to guess of what it is, and when."""
    shown = verify(watched)
    (check,) = watched.checks("P2.C2")
    assert check.status is CheckStatus.PASSED
    end = BEGAN + timedelta(seconds=300)
    assert check.seen == f"0.00 % of 1000 Convex function calls failed, 21:57:40-{end:%H:%M:%S} UTC"
    assert check.seen in shown
