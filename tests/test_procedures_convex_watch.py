"""What procedure 2 makes of what it sees after its push: each check says what was seen, and passes on nothing less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from backend_watched import PUSHED_AT, Watched, calls
from conftest import BEGAN

from rollback_lib.errors import CheckFailed, Unreachable
from rollback_lib.journal import FILE_NAME
from rollback_lib.model import CheckStatus
from rollback_lib.parameters.platform import Query
from rollback_lib.procedures.shown import Listing
from rollback_lib.providers.convex_facts import AuditEvent, Called, Function, Live, Schema, Table
from rollback_lib.providers.convex_logs import FunctionErrors


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


BROKEN, MISHAP = FunctionErrors("mail:send", 4, 4), FunctionErrors("users:list", 900, 5)


def test_function_that_fails_each_time_is_not_passed_however_few_its_calls(watched: Watched):
    """Under one per cent of all calls, and yet nobody gets a mail: it is named, with how many of its calls."""
    watched.backend.answers["executions"] = calls(983, 9, MISHAP, BROKEN)
    with pytest.raises(CheckFailed, match=r"mail:send 4 of 4, users:list 5 of 900"):
        verify(watched)
    (check,) = watched.checks("P2.C2")
    assert "0.92 % of 983 Convex function calls failed" in check.seen
    assert "no function that fails each time" in check.wanted


@pytest.mark.parametrize(
    ("function", "min_requests", "status"),
    [
        (FunctionErrors("mail:send", 2, 2), 50, "passed"),
        (FunctionErrors("mail:send", 3, 3), 50, "failed"),
        (FunctionErrors("mail:send", 4, 3), 50, "passed"),
        (FunctionErrors("mail:send", 2, 2), 2, "failed"),
        (FunctionErrors("mail:send", 1, 0), 0, "passed"),
    ],
)
def test_few_calls_are_believed_by_how_few_policy_takes(
    tmp_path: Path, function: FunctionErrors, min_requests: int, status: str
):
    """Three calls that all fail, or as few as policy would judge all functions by."""
    watched = Watched(tmp_path, policy={"min_requests": min_requests})
    watched.backend.answers["executions"] = calls(983, function.failed, function)
    check = watched.rollback._watch.executions(PUSHED_AT)
    assert check.status.value == status


def test_failing_functions_are_shown_in_the_cell(watched: Watched, monkeypatch):
    """All of them, with how many of their calls; the check's line has the worst three, and no more."""
    shown: list[object] = []
    monkeypatch.setattr("rollback_lib.procedures.convex_watch.show", shown.append)
    some = [FunctionErrors(f"f{number}:g", 100, 1) for number in range(5)]
    watched.backend.answers["executions"] = calls(983, 5, *some)
    verify(watched)
    (table,) = map(repr, shown)
    assert [f"f{number}:g" in table for number in range(5)] == [True] * 5
    (check,) = watched.checks("P2.C2")
    assert check.seen.endswith(": f0:g 1 of 100, f1:g 1 of 100, f2:g 1 of 100 and 2 more")


# Functions that the commit does not have

GONE = FunctionErrors("messages:react", 37, 37, 37)
FEW = FunctionErrors("orders:count", 2, 2, 2)


def test_calls_of_what_went_away_are_counted_apart_and_are_never_passed(watched: Watched, monkeypatch):
    """Nothing of the commit is bad, and yet a part of the app fails: the check says both, and how it goes on."""
    shown: list[object] = []
    monkeypatch.setattr("rollback_lib.procedures.convex_watch.show", shown.append)
    watched.backend.answers["executions"] = calls(1000, 42, MISHAP, GONE, FEW)
    listing = verify(watched)
    (check,) = watched.checks("P2.C2")
    assert check.status is CheckStatus.UNKNOWN
    assert check.seen.startswith("0.31 % of 961 Convex function calls failed, ")
    assert check.seen.endswith(
        "; besides, 39 call(s) of functions that went away failed: messages:react 37, orders:count 2"
    )
    assert "each time" not in check.seen
    assert "end this run, then roll the frontend back as well (procedure 1)" in listing
    (table,) = shown
    assert [row[0] for row in table.rows if row[2] == "not in this commit"] == [
        "messages:react",
        "orders:count",
    ]


def test_function_that_is_there_and_fails_stays_failed_beside_what_went_away(watched: Watched):
    """The commit is bad all the same; both are told, and both ways to go on."""
    watched.app.named = lambda *_: ("messages:react",)
    watched.backend.answers["executions"] = calls(1000, 41, BROKEN, GONE)
    with pytest.raises(CheckFailed, match=r"mail:send 4 of 4; besides, 37 call") as caught:
        verify(watched)
    assert [check.status.value for check in watched.checks("P2.C2")] == ["failed"]
    assert "roll the frontend back as well (procedure 1)" in caught.value.next_step


def test_too_few_calls_of_what_is_there_are_no_data_beside_what_went_away(watched: Watched):
    """All that was called is gone: nothing is known of the commit's own functions."""
    watched.backend.answers["executions"] = calls(37, 37, GONE)
    verify(watched)
    (check,) = watched.checks("P2.C2")
    assert check.status is CheckStatus.UNKNOWN
    assert check.seen.startswith("unknown of 0 Convex function calls failed")


def test_calls_are_judged_alike_where_nobody_knows_what_is_there(watched: Watched):
    """The list was read before the wait, and cannot be read after it: then a failure is a failure."""
    first = watched.backend.answers["functions"]

    def read(start, end):
        watched.backend.answers["functions"] = DOWN
        return calls(1000, 37, GONE)(start, end)

    watched.backend.answers |= {"functions": first, "executions": read}
    with pytest.raises(CheckFailed, match="messages:react 37 of 37"):
        verify(watched)
    warned = [line.data["text"] for line in watched.journal.find("warning")]
    assert any("all calls are judged alike" in text for text in warned)


def test_function_that_is_no_longer_public_counts_as_gone_for_who_calls_it(watched: Watched):
    """It is on the list, and yet nobody outside finds it."""
    hidden = Function("messages:react", "Mutation", public=False, shape="s")
    watched.backend.answers |= {"functions": (hidden,), "executions": calls(1000, 37, GONE)}
    check = watched.rollback._watch.executions(PUSHED_AT)
    assert check.status is CheckStatus.UNKNOWN
    assert "besides, 37 call(s) of functions that went away" in check.seen


# What functions say of their failures

SECRET = "sk_live_2718281828"
TWO = Schema((("memberships", "d2"), ("users", "d1")), validated=True)
DOWN = Unreachable("convex: no answer.", "Nothing was changed.", "Try again.")


def failing_with_a_secret(watched: Watched, *, known: bool) -> None:
    """Let each function repeat a variable's value in its error; the redactor blanks it as an answer comes in."""

    def variables() -> tuple[str, ...]:
        watched.redactor.learn([SECRET])
        return ("MAIL_KEY",)

    def told(_: object = None, __: object = None) -> str:
        return watched.redactor.redact(f"Error: mail refused key {SECRET}")

    def executions(start, end):
        return calls(100, 40, samples=(f"mail:send: {told()}",))(start, end)

    query = Query(path="users:get", args={}, fields=())
    watched.settings = SimpleNamespace(**vars(watched.settings) | {"canary": query, "queries": (query,)})
    watched.backend.answers |= {
        "variables": variables if known else DOWN,
        "executions": executions,
        "query": lambda *_: Called("users:get", ok=False, error=told()),
    }


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cell", ["verify", "queries"])
def test_kernel_that_begins_anew_shows_no_variable_that_a_function_repeats(
    watched: Watched, cell: str, *, known: bool
):
    """The variables are read before a function's words come in; where they cannot be, its words are left out."""
    failing_with_a_secret(watched, known=known)
    rollback = watched.kernel()
    ask: Callable[[], Listing] = partial(rollback.verify_functions, watched.chosen, watched.pushed)
    if cell == "queries":
        watched.done("P2.S6")
        ask = rollback.test_queries
    with pytest.raises(CheckFailed) as caught:
        ask()
    kept = (rollback.folder / FILE_NAME).read_text(encoding="utf-8")
    assert "2718281828" not in f"{caught.value}{kept}"
    assert ("mail refused key" in str(caught.value)) is known
    assert ("is left out, for what the variables hold is not known" in kept) is not known


# What is seen at once, and what is waited for


def test_what_is_seen_at_once_is_written_down_before_the_wait_begins(watched: Watched):
    """The time beside functions and schema is the time at which they were read, not five minutes later."""
    verify(watched)
    began = {name: watched.journal.last("check", name) for name in ("P2.S6.1", "P2.C4", "P2.C2")}
    at = {name: datetime.fromisoformat(line.at) for name, line in began.items() if line is not None}
    assert at == {"P2.S6.1": BEGAN, "P2.C4": BEGAN, "P2.C2": BEGAN + timedelta(seconds=300)}


def test_what_fails_at_once_stops_the_cell_at_once(watched: Watched):
    """Nobody waits five minutes to hear that a function is missing."""
    watched.backend.answers["functions"] = ()
    with pytest.raises(CheckFailed, match="missing users:list"):
        verify(watched)
    assert "executions" not in watched.backend.asked
    assert watched.clock.now() == BEGAN
    assert [check.status.value for check in watched.checks("P2.C4")] == ["passed"]


def test_cell_that_is_run_again_judges_what_comes_from_then_on(watched: Watched):
    """Somebody has repaired what failed: the calls from before that are on record, and are not held against it."""
    asked = []

    def read(start, end):
        asked.append((start, end))
        return calls(100, 60 if len(asked) == 1 else 0)(start, end)

    watched.backend.answers["executions"] = read
    with pytest.raises(CheckFailed):
        verify(watched)
    watched.clock.advance(120)
    again = watched.clock.now()
    watched.rollback = watched.kernel()  # also in a new kernel
    verify(watched)
    assert asked == [
        (PUSHED_AT, BEGAN + timedelta(seconds=300)),
        (again, again + timedelta(seconds=300)),
    ]
    assert [check.status.value for check in watched.checks("P2.C2")] == ["failed", "passed"]


def test_window_of_a_cell_that_is_run_again_never_begins_before_the_push(watched: Watched):
    """Convex's clock goes before ours: the newest push is what the window begins with."""
    watched.backend.answers["executions"] = calls(100, 60)
    with pytest.raises(CheckFailed):
        verify(watched)
    ahead = watched.clock.now() + timedelta(seconds=4)
    watched.backend.answers["last_push"] = replace(watched.backend.answers["last_push"], at=ahead)
    watched.backend.answers["executions"] = calls(100)
    verify(watched)
    assert f"{ahead:%H:%M:%S}-" in watched.checks("P2.C2")[-1].source


# Whether the commit is live


def live_then(watched: Watched, after: object) -> None:
    """Let the commit's code be seen once; from then on it is as told."""
    first = watched.backend.answers["live"]

    def told() -> object:
        watched.backend.answers["live"] = after
        return first

    watched.backend.answers["live"] = told


def test_code_that_was_seen_to_be_live_is_not_asked_for_a_second_time(tmp_path: Path):
    """A read that fails right after says nothing of somebody else's push, and does not undo what was seen."""
    watched = Watched(tmp_path)
    live_then(watched, DOWN)
    watched.rollback.wait(watched.chosen, watched.pushed)
    assert [check.status.value for check in watched.checks("P2.C1")] == ["passed"]


def test_other_code_that_is_seen_is_told_as_that(tmp_path: Path):
    """Somebody pushed: what was seen in the wait is what the check and the error say."""
    watched = Watched(tmp_path)
    watched.backend.answers |= {"live": Live((), "1.48.0"), "last_push": pushed_by_a_colleague(watched)}
    with pytest.raises(CheckFailed, match="does not run the code of aaaaaaaaaaaa: somebody else pushed"):
        watched.rollback.wait(watched.chosen, watched.pushed)
    assert [check.status.value for check in watched.checks("P2.C1")] == ["failed"]


def test_code_that_cannot_be_read_at_the_end_is_not_told_as_gone(watched: Watched):
    """The state says that it could not be read, never that it was not there."""
    watched.backend.answers["live"] = DOWN
    watched.rollback.at_close()
    state, _ = watched.rollback.state_and_undo()
    assert "whether it is live now could not be read: convex: no answer" in state
    watched.backend.answers |= {"live": Live((), "1.48.0"), "last_push": pushed_by_a_colleague(watched)}
    watched.rollback.at_close()
    state, _ = watched.rollback.state_and_undo()
    assert "not seen there: somebody else pushed" in state


def pushed_by_a_colleague(watched: Watched) -> AuditEvent:
    """Give a push after ours."""
    return replace(watched.backend.answers["last_push"], message="hotfix", at=BEGAN)


# The schema


@pytest.mark.parametrize(
    ("schema", "tables", "status", "told"),
    [
        (TWO, ("memberships", "users"), "passed", "every document of the 2 table(s) that it lists"),
        (
            TWO,
            ("checkIns", "memberships", "users"),
            "passed",
            "2 table(s) that it lists; not checked: checkIns",
        ),
        (TWO, DOWN, "passed", "whether there are other tables was not read"),
        (
            Schema(TWO.tables, validated=False),
            ("users",),
            "unknown",
            "not enforced (schemaValidation: false)",
        ),
        (Schema((), validated=True), ("users",), "unknown", "lists no table: no document was checked"),
        (None, ("users",), "unknown", "it has no schema, as far as Convex said: no document was checked"),
    ],
    ids=["all listed", "table not listed", "tables not read", "not enforced", "empty", "none"],
)
def test_schema_claims_no_document_that_was_not_held_against_it(
    tmp_path: Path, schema: Schema | None, tables: Any, status: str, told: str
):
    """Convex looks at the tables that the schema lists, where it is enforced; where it looked at none, none is passed."""
    watched = Watched(tmp_path, rehearsal={"schema": schema})
    watched.done("P2.S5")
    if isinstance(tables, tuple):
        tables = tuple(Table(name, 3) for name in tables)
    watched.backend.answers |= {"schema": schema, "tables": tables}
    verify(watched)
    (check,) = watched.checks("P2.C4")
    assert check.status.value == status
    assert told in check.seen
    assert ("fits every document" in check.seen) is (status == "passed")


def test_table_without_documents_needs_no_schema(watched: Watched):
    """There is nothing in it that could not fit."""
    watched.backend.answers["tables"] = (Table("memberships", 3), Table("old", 0), Table("users", 3))
    verify(watched)
    assert "not checked" not in watched.checks("P2.C4")[0].seen


def test_other_schema_fails(watched: Watched):
    """Somebody else's schema is enforced."""
    watched.backend.answers["schema"] = Schema((("users", "other"),), validated=True)
    with pytest.raises(CheckFailed, match="another schema is enforced"):
        verify(watched)


@pytest.mark.parametrize(
    ("rehearsal", "told"),
    [
        ({"unlisted": ()}, "the dry run did; its schema fits every document of the 2 table(s) that it lists"),
        (
            {"unlisted": ("checkIns",)},
            "the dry run did; its schema fits every document of the 2 table(s) that it lists; not checked: checkIns",
        ),
        ({"schema": None}, "NOT done by the dry run; it has no schema"),
        ({"functions": None}, "NOT done by the dry run; what its schema is was not said"),
    ],
    ids=["whole", "in part", "none", "not said"],
)
def test_gate_repeats_the_plans_warning_with_what_the_dry_run_looked_at(
    tmp_path: Path, rehearsal: dict[str, Any], told: str
):
    """It says that data compatibility is ensured only as far as documents were looked at."""
    watched = Watched(tmp_path, rehearsal=rehearsal)
    first, *_ = watched.rollback._gate_facts(watched.chosen)
    assert first.startswith("⚠️ WARNING: This rolls back database schema changes")
    assert told in first
