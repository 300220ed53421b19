"""Which calls failed before the push: kept when procedure 2 is opened, whatever Convex is like, and in nobody's way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from backend_past import BackendPast
from conftest import BEGAN
from runs import lines_of

from rollback_lib.errors import RollbackError
from rollback_lib.evidence.report import render_report
from rollback_lib.procedures import ConvexRollback
from rollback_lib.procedures.convex_before import KEPT_IN

SECRET = "whsec_2718281828/Zq+7"


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackendPast]:
    """A backend whose function for members fails for most, and names a secret in its error."""
    made = BackendPast(tmp_path, monkeypatch)
    made.variables = {"STRIPE_SECRET": SECRET}
    made.calls = [
        called(
            "users.js:getUserByClerkId", ago, f"Uncaught Error: no tier, key {SECRET}" if ago % 3 else None
        )
        for ago in range(10, 100, 10)
    ] + [called("memberships.js:plans", 15)]
    yield made
    made.close()


def called(name: str, ago_s: float, error: str | None = None) -> dict[str, Any]:
    """Give a call as the function log has it."""
    at = (BEGAN - timedelta(seconds=ago_s)).timestamp()
    return {"kind": "Completion", "identifier": name, "timestamp": at, "executionTime": 0.01, "error": error}


def ended(run: ConvexRollback) -> dict[str, Any] | None:
    """End a run, and return what it kept; None: nothing."""
    run.abort("looked at")
    place = run.folder / KEPT_IN
    return json.loads(place.read_text()) if place.exists() else None


def warned(run: ConvexRollback) -> list[str]:
    """List its warnings."""
    return [line.data["text"] for line in lines_of(run) if line.event == "warning"]


def test_calls_that_failed_before_are_kept_and_told(past):
    """By function, with a sample, and without what the deployment's variables hold; the report has the share."""
    run = past.open()
    kept = ended(run)
    assert kept is not None
    assert (kept["calls"], kept["failed"]) == (10, 6)
    assert kept["functions"][0] == {
        "name": "users:getUserByClerkId",
        "calls": 9,
        "failed": 6,
        "not_found": 0,
    }
    assert kept["samples"] == ["users:getUserByClerkId: Uncaught Error: no tier, key [redacted]"]
    for place in run.folder.rglob("*"):
        assert not place.is_file() or SECRET not in place.read_text(errors="replace")
    (told,) = [line.data for line in lines_of(run) if line.event == "calls"]
    assert (told["calls"], told["kept_in"], "samples" in told) == (10, KEPT_IN, False)
    shown = render_report(run.folder).read_text()
    assert "60.0 % of 10 calls failed" in shown
    assert "users:getUserByClerkId: 6 of 9 failed" in shown


def test_texts_of_errors_are_not_kept_where_the_variables_are_not_known(past):
    """Nobody could take their values out; the counts by function are kept, and it is said why no more is."""
    past.variables = 403
    run = past.open()
    kept = ended(run)
    assert kept is not None
    assert (kept["failed"], kept["samples"]) == (6, [])
    assert "texts of errors are not kept: the deployment's variables are not known" in kept["note"]
    assert "no tier" not in "".join(place.read_text() for place in run.folder.rglob("*.json*"))


def test_convex_that_is_down_is_warned_of_once_and_stops_nothing(past):
    """Opening works, and so does ending."""
    past.down = True
    run = past.open()
    with pytest.raises(RollbackError):
        run.access_dashboard()
    assert ended(run) is None
    (told,) = [text for text in warned(run) if "which calls failed before is not known" in text]
    assert "the log gave no answer" in told


def test_convex_that_hangs_holds_up_neither_opening_nor_the_end(past, monkeypatch):
    """What comes after the record was sealed is dropped, so that the record holds."""
    waited = threading.Event()
    monkeypatch.setattr("rollback_lib.procedures.convex_before.WAIT_S", 0.2)
    past.held_back = waited
    began = time.monotonic()
    run = past.open()
    assert time.monotonic() - began < 2
    (reader,) = [thread for thread in threading.enumerate() if thread.name == "calls before"]
    run.abort("looked at")
    waited.set()
    reader.join(10)
    assert not (run.folder / KEPT_IN).exists()
    assert [text for text in warned(run) if "Convex had not answered yet" in text] != []


def test_what_was_kept_stays_when_the_run_is_continued(past):
    """What fails later is no evidence from before; nothing is asked again."""
    run = past.open()
    run._before._thread.join(10)
    asked = past.asked.count("/api/stream_function_logs")
    past.calls = []
    past.open(run=run.journal.run)
    assert past.asked.count("/api/stream_function_logs") == asked
    assert json.loads((run.folder / KEPT_IN).read_text())["calls"] == 10
