"""What procedure 2 shows: the commit it would go back to, what a dry run found, and how a push stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from pydantic import TypeAdapter

from rollback_lib.procedures.convex_shown import (
    Chosen,
    Difference,
    Pushed,
    Pushes,
    Rehearsal,
    difference,
)
from rollback_lib.procedures.revisions import Push, Revision
from rollback_lib.procedures.shown import NAMES
from rollback_lib.providers.convex_facts import Schema
from rollback_lib.providers.repository import Change, Commit

EVIL = "<script>alert('x')</script> & \"co\""
NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
DIFFERS = Difference(("orders:count",), ("checkIns:record",), (), ("checkIns (no schema any more)",), ())


def push(digit: str, hours: float, subject: str = "Memberships by tier", author: str = "Lee Lead") -> Push:
    """Give a push of the commit of that digit, so many hours ago."""
    at = NOW - timedelta(hours=hours)
    return Push(at, Commit(digit * 40, (), author, at, at, subject), "audit log")


def chosen(**more: Any) -> Chosen:
    """Give what step 3 finds: the commit `a` before the suspect `b`, which is live."""
    good, bad = push("a", 7, "Name the trainer"), push("b", 1)
    facts: dict[str, Any] = {
        "revision": Revision(good.commit, good.at, bad.at, "audit log", (bad,)),
        "suspect": bad,
        "live": bad,
        "issue_at": NOW - timedelta(minutes=50),
        "issue_from": "from the error rate in Sentry",
        "changes": (
            Change("convex/users.ts", "changed", 1, 3),
            Change("convex/logo.png", "added", None, None),
        ),
        "notes": (),
    }
    return Chosen(**(facts | more))


def rehearsal(**more: Any) -> Rehearsal:
    """Give a dry run that Convex would take."""
    facts: dict[str, Any] = {
        "sha": "a" * 40,
        "at": NOW,
        "seconds": 5.3,
        "version": "1.48.0",
        "modules": (),
        "functions": (),
        "schema": Schema((("users", "d1"),), validated=True),
        "difference": DIFFERS,
        "warnings": (),
        "output": "attachments/convex-dry-run.txt",
        "reads": ("MAIL_FROM",),
        "unlisted": (),
    }
    return Rehearsal(**(facts | more))


def pushed(seen: str = "running", **more: Any) -> Pushed:
    """Give a push as its step returns it."""
    facts: dict[str, Any] = {"source": "b" * 40, "target": "a" * 40, "sent_at": NOW, "detail": "accepted"}
    return Pushed(seen=seen, **(facts | more))


def words(html: str) -> list[str]:
    """Return what a reader of a page sees of it, part by part."""
    return [part.strip() for part in unescape(re.sub("<[^>]+>", "\n", html)).splitlines() if part.strip()]


def test_the_push_that_is_live_is_marked_and_named_below() -> None:
    """The newest stands first, says LIVE and stands out; the others do not."""
    shown = Pushes((push("a", 7), push("b", 1)), "Convex audit log", ("the clone is shallow",)).listing()
    assert [row[0] for row in shown.rows] == ["LIVE", ""]
    assert [row[2] for row in shown.rows] == ["b" * 12, "a" * 12]
    assert shown.bold == (0,)
    assert shown.note.splitlines() == [
        f"Live now: {'b' * 12} Memberships by tier, live since 2026-11-23 21:00:00 UTC (audit log)",
        "From: Convex audit log",
        "⚠ the clone is shallow",
    ]


def test_no_push_on_record_is_not_taken_for_nothing_live() -> None:
    """An empty list says that it is not known."""
    shown = Pushes((), "the last push alone", ()).listing()
    assert (shown.rows, shown.bold) == ((), ())
    assert "Live now: not known" in repr(shown)


def test_a_push_whose_commit_nobody_knows_says_so() -> None:
    """Its own message stands in the commit's place, and no sha is made up."""
    shown = Pushes((Push(NOW, None, "audit log", "by hand", "token 7"),), "Convex audit log", ()).listing()
    assert shown.rows == (("LIVE", "2026-11-23 22:00:00", "nobody knows", "token 7", "by hand", "audit log"),)
    assert "a commit that nobody knows" in shown.note


def test_a_candidate_is_a_table_of_what_is_left_and_what_is_gone_back_to() -> None:
    """The commit to go back to is the row that stands out; the suspect is told from it, and whether it is live."""
    html = chosen()._repr_html_()
    back, suspect = html.split("<tr>")[2:4]
    assert (words(back)[:2], "font-weight:bold" in back) == (["goes back to", "a" * 12], True)
    assert (words(suspect)[:2], "font-weight:bold" in suspect) == (["suspect, live now", "b" * 12], False)
    assert f"<b>Goes back to:</b> {'a' * 40}" in html
    assert "<b>Takes back:</b> 1 push(es)</div>" in html
    files = ["changed", "convex/users.ts", "+1 -3", "added", "convex/logo.png"]
    assert words(html)[-8:] == [
        "Files of the backend that differ from what is live: 2",
        "file",
        "lines",
        *files,
    ]


def test_what_was_pushed_after_the_suspect_is_taken_back_too() -> None:
    """Each stands in the table up to a screen's worth; how many more there are is said."""
    later = tuple(push(digit, hours / 10) for hours, digit in enumerate("123456", start=1))
    good, bad = push("a", 7), push("b", 1)
    many = chosen(revision=Revision(good.commit, good.at, bad.at, "audit log", (*later, bad)), live=later[0])
    roles = [row[0] for row in many._listings()[0].rows]
    assert roles == ["goes back to", "suspect", "taken back too, live now", *["taken back too"] * 4]
    assert "Takes back: 7 push(es), of which 1 are not shown" in repr(many)


def test_an_undo_is_not_called_a_stable_commit() -> None:
    """It brings back what was rolled back: title and role say so."""
    text = repr(chosen(undo_of="P2-1"))
    assert text.startswith(f"Undoes run P2-1, back to: {'a' * 12} Name the trainer")
    assert "undone, live now" in text
    assert "table" not in text
    assert "stable" not in text


def test_nobody_knows_the_suspect_or_what_is_live_and_it_is_said() -> None:
    """What is not known is a line of its own, never left out."""
    alone = Revision(push("a", 7).commit, None, None, "git", ())
    text = repr(chosen(revision=alone, suspect=None, live=None, notes=("not known to have been live",)))
    assert "Takes back: not known" in text
    assert "Suspect: not known" in text
    assert "Live now: not known" in text
    assert "⚠ not known to have been live" in text


def test_a_dry_run_tells_each_kind_of_difference_on_its_own_row() -> None:
    """Functions that come back and go away, schema, and whether what the code reads is set; a kind without any is left out."""
    shown = rehearsal()._listing()
    assert shown.title == f"Dry run of {'a' * 12}: Convex would take it; nothing was changed"
    assert dict(shown.rows) == {
        "functions that come back": "orders:count",
        "functions that go away": "checkIns:record",
        "schema": "checkIns (no schema any more)",
        "environment variables it reads": "all set: MAIL_FROM",
    }
    assert "its schema fits every document" in shown.note


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"difference": None}, "could not be read"),
        (
            {"difference": Difference((), (), (), (), ())},
            "no function, table, index or cron, by name or shape",
        ),
        ({"reads": ("A", "B"), "unset": ("B",)}, "NOT set: B"),
        ({"reads": ()}, "none"),
        ({"reads": None}, "not looked at"),
        ({"schema": Schema((), validated=False)}, "its schema is not enforced"),
        ({"schema": None}, "it has no schema, as far as Convex said"),
        ({"unlisted": ("checkIns", "visits")}, "the 1 table(s) that it lists; not checked: checkIns, visits"),
        ({"unlisted": None}, "whether there are other tables was not read"),
    ],
    ids=[
        "not read",
        "no difference",
        "variable unset",
        "reads none",
        "old run",
        "not enforced",
        "no schema",
        "table not listed",
        "tables not read",
    ],
)
def test_a_dry_run_claims_no_more_than_was_found(more: dict[str, Any], told: str) -> None:
    """What could not be compared, or is not enforced, is never shown as in order."""
    shown = repr(rehearsal(**more))
    assert told in shown
    assert ("its schema fits every document" in shown) is ("schema" not in more)


def test_a_hundred_functions_are_counted_and_no_wall_of_names() -> None:
    """A name too many is counted; the record has them all."""
    names = tuple(f"orders:f{n:03}" for n in range(NAMES + 88))
    (row,) = rehearsal(difference=Difference((), names, (), (), ())).differs().values()
    assert row.endswith(f"{names[NAMES - 1]} and 88 more")


def test_a_warning_of_the_dry_run_stands_out_and_is_not_told_twice_in_the_record() -> None:
    """On a tint in the cell; the record has its warnings beside what it tells of the dry run."""
    warned = rehearsal(warnings=("16 scheduled call(s) will run with the code of this commit",))
    assert re.search("<div style='background:[^']*'>⚠ 16 scheduled", warned._repr_html_())
    assert "⚠ 16 scheduled" in repr(warned)
    assert warned.told() == rehearsal().told()
    assert "functions that go away: checkIns:record" in warned.told()


def test_a_dry_run_of_before_still_loads() -> None:
    """A run that was begun before the variables were kept goes on, and one from before indexes were."""
    adapter = TypeAdapter(Rehearsal)
    kept = adapter.dump_python(rehearsal(), mode="json")
    for name in ("reads", "unset", "unlisted", "was_live"):
        del kept[name]
    del kept["schema"]["indexes"]
    for name in ("indexes", "filled"):
        del kept["difference"][name]
    found = adapter.validate_python(kept)
    assert found.variables() == "not looked at"
    assert "whether there are other tables was not read" in found.fit.words
    assert (found.was_live, found.schema.indexes, found.takes(900)) == (None, None, "usually under 2 minutes")


def indexed(**indexes: str) -> Schema:
    """Give a schema with these indexes of one table."""
    named = ((f"users.{name}", fields) for name, fields in indexes.items())
    return Schema((("users", "d1"),), validated=True, indexes=tuple(named))


def test_indexes_that_come_back_change_or_go_are_told() -> None:
    """A push fills those that it adds before the code goes live: what it takes is said by them."""
    live = indexed(kept="by a", changed="by a", gone="by a")
    target = indexed(kept="by a", changed="by b", new="by a", later="staged, by c")
    found = difference((), (), (live, target), ((), ()))
    assert found.indexes == (
        "users.changed (changes to by b)",
        "users.gone (goes away)",
        "users.later (comes back, staged, by c)",
        "users.new (comes back, by a)",
    )
    assert found.filled == ("users.changed", "users.new")
    assert found.told()["indexes"].startswith("users.changed (changes to by b), users.gone")
    assert "indexes" in repr(rehearsal(difference=found))


@pytest.mark.parametrize(
    ("filled", "takes"),
    [
        ((), "usually under 2 minutes"),
        (("users.new",), "usually under 2 minutes, here up to 15, then it is ended: Convex fills users.new"),
    ],
    ids=["nothing to fill", "an index"],
)
def test_time_that_a_push_takes_is_told_by_what_it_fills(filled: tuple[str, ...], takes: str) -> None:
    """Two minutes are promised where no index comes back; else the limit after which it is ended."""
    found = Difference((), (), (), (), (), filled=filled)
    assert rehearsal(difference=found).takes(900.0).startswith(takes)


def test_schema_that_is_not_there_has_no_indexes() -> None:
    """A commit without one takes all indexes away; one that brings one fills them all."""
    assert difference((), (), (indexed(a="by a"), None), ((), ())).indexes == ("users.a (goes away)",)
    assert difference((), (), (None, indexed(a="by a")), ((), ())).filled == ("users.a",)


@pytest.mark.parametrize(
    ("seen", "word", "colour"),
    [
        ("running", "ACCEPTED", "#1b6e2f"),
        ("happened", "LIVE", "#1b6e2f"),
        ("failed half way", "FAILED HALF WAY", "#b3261e"),
        ("unclear", "UNCLEAR", "#b3261e"),
    ],
)
def test_a_push_that_was_accepted_is_not_called_live(seen: str, word: str, colour: str) -> None:
    """The word says how far it is known, on its colour, and the next step is named."""
    shown = pushed(seen)
    assert repr(shown).splitlines()[0] == f"Push of {'a' * 12}: {word}"
    assert f"background:{colour}" in shown._repr_html_()
    assert "next: run the next cell" in repr(shown)
    assert ("LIVE" in repr(shown)) is (seen == "happened")


SHOWN: dict[str, Callable[[], Any]] = {
    "pushes": lambda: Pushes((push("a", 7, EVIL, EVIL),), EVIL, (EVIL,)).listing(),
    "chosen": lambda: chosen(
        suspect=push("c", 1, EVIL, EVIL), issue_from=EVIL, changes=(Change(EVIL, EVIL, 1, 1),), notes=(EVIL,)
    ),
    "rehearsal": lambda: rehearsal(
        difference=Difference((EVIL,), (EVIL,), (EVIL,), (EVIL,), (EVIL,)), warnings=(EVIL,), reads=(EVIL,)
    ),
    "pushed": lambda: pushed("running", detail=EVIL),
}


@pytest.mark.parametrize("what", SHOWN)
def test_nothing_that_a_platform_wrote_is_taken_for_markup(what: str) -> None:
    """Messages, authors, paths and names of functions are text, whatever they hold."""
    html = SHOWN[what]()._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("what", SHOWN)
def test_the_page_and_the_plain_text_say_the_same(what: str) -> None:
    """What papermill and a terminal keep is every word of what JupyterLab shows."""
    shown = SHOWN[what]()
    plain = re.sub(r"\s", "", repr(shown))
    missing = [part for part in words(shown._repr_html_()) if re.sub(r"\s", "", part) not in plain]
    assert missing == []
