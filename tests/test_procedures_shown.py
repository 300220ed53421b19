"""What a cell shows, as plain text and as HTML."""

from __future__ import annotations

import re
from html import unescape

import pytest
from conftest import FakeClock
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from rollback_lib.model import Check, CheckStatus
from rollback_lib.procedures.shown import (
    _BADGE,
    LONGEST,
    Listing,
    Notice,
    Progress,
    Tone,
    checks_listing,
    show,
    some,
)

EVIL = "<script>alert('x')</script> & \"co\""


def listing(rows: int = 2, note: str = "") -> Listing:
    """Give a table of that many rows."""
    return Listing(
        "Deployments", ("deployment", "state"), tuple((f"dpl_{n}", "READY") for n in range(rows)), note
    )


def test_a_listing_stands_in_columns_in_plain_text() -> None:
    """A record, a terminal and a notebook without widgets keep this."""
    shown = Listing("After", ("id", "what"), (("P1.C2", "Health"), ("P1.C4.1", "User login")), "all is well")
    assert repr(shown).splitlines() == [
        "After",
        "id       what",
        "P1.C2    Health",
        "P1.C4.1  User login",
        "all is well",
    ]


def test_a_listing_without_rows_shows_its_head() -> None:
    """Nothing found is shown as that."""
    assert repr(listing(0)).splitlines() == ["Deployments", "deployment  state"]


def test_a_cell_with_line_breaks_stays_on_its_line() -> None:
    """A platform's words of several lines do not break the columns."""
    shown = Listing("After", ("what", "seen"), (("Health\n", "no answer:\n  timed out"), ("Page", "ok")))
    assert repr(shown).splitlines()[1:] == ["what    seen", "Health  no answer: timed out", "Page    ok"]


@pytest.mark.parametrize(("rows", "left"), [(LONGEST, None), (LONGEST + 1, 1), (LONGEST + 30, 30)])
def test_a_long_listing_is_cut_and_says_so(rows: int, left: int | None) -> None:
    """Twenty rows fit a cell; how many are left out is said in both forms."""
    shown = listing(rows, "note")
    for text in (repr(shown), shown._repr_html_()):
        assert text.count("READY") == LONGEST
        assert ("more" in text) is (left is not None)
        assert left is None or f"... and {left} more" in text


def test_a_long_cell_wraps_so_that_what_was_wanted_stays_in_sight() -> None:
    """A domain after the other in one cell does not push the threshold off the screen; ids stay on their line."""
    domains = ", ".join(f"www{n}.derrimut247.drill" for n in range(9))
    words, whole = "the commit's schema is enforced", "dpl_" + 28 * "x"
    html = Listing("After", ("seen", "wanted"), ((domains, "dpl_1 live"), (words, whole)))._repr_html_()
    assert f"anywhere'>{domains}</td>" in html
    assert f"min-width:13em'>{words}</td>" in html.replace("&#x27;", "'")
    assert f"nowrap'>{whole}</td>" in html
    assert "nowrap'>dpl_1 live</td>" in html


def test_nothing_in_a_listing_is_taken_for_markup() -> None:
    """A commit's message is text, whatever it holds."""
    html = Listing(EVIL, (EVIL,), ((EVIL,),), EVIL)._repr_html_()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 4
    assert "&amp;" in html


def test_each_line_of_a_listings_note_stands_on_its_own_in_html() -> None:
    """Outcome, state and undo below a table are lines, not one run of words."""
    html = listing(1, "Outcome: verified\nUndo: promote dpl_1")._repr_html_()
    assert "<div><b>Outcome:</b> verified</div><div><b>Undo:</b> promote dpl_1</div>" in html


def test_a_row_that_stands_out_does_so_in_html_and_no_other() -> None:
    """Bold, in the place given; plain text has the word alone."""
    shown = Listing("All", ("now", "id"), (("", "dpl_0"), ("LIVE", "dpl_1"), ("", "dpl_2")), bold=(1,))
    rows = shown._repr_html_().split("<tr>")[2:]
    assert ["font-weight:bold" in row for row in rows] == [False, True, False]
    assert repr(shown).splitlines()[2:4] == ["      dpl_0", "LIVE  dpl_1"]


@pytest.mark.parametrize("tone", ["stop", "go"])
def test_a_notice_with_a_tone_lifts_its_state_and_what_is_loud_in_the_same_words(tone: Tone) -> None:
    """CLOSED stands on a colour, what is missing as well; nothing of it changes the text, or lets markup in."""
    lines = ("to: dpl_good", f"missing: the name {EVIL}", "see https://good.drill/x", f"{EVIL}: 1")
    notice = Notice("Gate P1.G1 - DRILL: CLOSED", lines, tone, loud=("missing",))
    assert repr(notice) == repr(Notice(notice.title, lines))
    html = notice._repr_html_()
    state, to, missing, see, _ = html.split("<div ")[0], *html.split("<div ")[1:]
    assert ";color:#fff;" in state
    assert state.endswith(">CLOSED</span></b>")
    assert "<b>to:</b> dpl_good" in to
    assert "<b>missing:</b> the name" in missing
    assert ["font-weight:bold" in line for line in (to, missing, see)] == [False, True, False]
    assert "href='https://good.drill/x'" in see
    assert "<script" not in html
    words = re.sub("<[^>]+>", "", html).replace(" ", "")
    assert unescape(words) == "".join((notice.title, *lines)).replace(" ", "")


@pytest.mark.parametrize("colour", _BADGE.values())
def test_white_on_a_badge_can_be_read(colour: str) -> None:
    """Its contrast is that of the strictest web guideline for bold text or better, whatever the page's colour."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    assert 1.05 / (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05) > 6


def test_a_notice_is_a_title_and_its_lines() -> None:
    """In both forms, without markup from what it says."""
    notice = Notice("Gate P1.G1: CLOSED", ("missing: the name", EVIL))
    assert repr(notice) == f"Gate P1.G1: CLOSED\n  missing: the name\n  {EVIL}"
    html = notice._repr_html_()
    assert "<b>Gate P1.G1: CLOSED</b>" in html
    assert "<div>&nbsp;&nbsp;missing: the name</div>" in html
    assert "<script" not in html
    assert repr(Notice("alone")) == "alone"


def test_an_address_in_a_notice_is_a_link_and_what_stands_around_it_is_not() -> None:
    """A preview is one click away; no sign behind an address becomes part of the link."""
    html = Notice("Preview", ("open 'https://good.drill/sign-in' or <http://127.0.0.1:7404>",))._repr_html_()
    assert (
        "<a href='https://good.drill/sign-in' target='_blank' rel='noopener'>https://good.drill/sign-in</a>"
        in html
    )
    assert "href='http://127.0.0.1:7404'" in html
    assert html.count("<a ") == 2
    assert "href='javascript" not in Notice("x", ("javascript:alert(1)",))._repr_html_()


def test_showing_puts_a_thing_into_the_running_cell() -> None:
    """In a notebook it is part of the output, as HTML and as plain text."""
    InteractiveShell.instance()
    try:
        with capture_output() as cell:
            show(Notice("⚠ look here"))
    finally:
        InteractiveShell.clear_instance()
    (output,) = cell.outputs
    assert output.data["text/plain"] == "⚠ look here"
    assert "look here" in output.data["text/html"]


def test_outside_a_notebook_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A library that is imported prints nothing."""
    show(Notice("⚠ look here"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "shown",
    [
        Listing("All", ("id",), (("dpl_1",),), f"Live now: x\n⚠ a tab: {EVIL}"),
        Notice("All", ("live: x", f"⚠ a tab: {EVIL}")),
        Notice("Gate: CLOSED", ("live: x", f"⚠ a tab: {EVIL}"), "stop", loud=("missing",)),
        Notice("Gate: OPEN", ("live: x", f"⚠ a tab: {EVIL}"), "go"),
    ],
    ids=["listing", "notice", "closed", "open"],
)
def test_a_line_that_warns_stands_out_wherever_it_stands(shown: Listing | Notice) -> None:
    """On amber, also below an open gate; the line before it does not, and nothing in it is markup."""
    before, warning = shown._repr_html_().split("<div")[-2:]
    assert "⚠ a tab: &lt;script&gt;" in re.sub("</?b>", "", warning)
    assert "rgba(237,160,0" in warning
    assert "rgba" not in before
    assert f"⚠ a tab: {EVIL}" in repr(shown)


def test_checks_that_have_not_passed_stand_out_with_a_sign_of_their_own() -> None:
    """No data is not read over: sign, word and weight differ from what passed."""
    kinds = (CheckStatus.PASSED, CheckStatus.UNKNOWN, CheckStatus.FAILED, CheckStatus.SKIPPED)
    shown = checks_listing(
        "After", (Check(f"P2.C{n}", "Works", kind, "a", "b", "Convex") for n, kind in enumerate(kinds))
    )
    assert [row[2] for row in shown.rows] == ["✓ passed", "? unknown", "✗ failed", "- skipped"]
    assert shown.bold == (1, 2, 3)
    assert shown.rows[0] == ("P2.C0", "Works", "✓ passed", "a", "b")


@pytest.mark.parametrize(
    ("names", "told"),
    [((), ""), (("a", "b"), "a, b"), (("a", "b", "c"), "a, b and 1 more")],
    ids=["none", "as many as fit", "more"],
)
def test_names_in_a_line_are_cut_with_their_number(names: tuple[str, ...], told: str) -> None:
    """None is lost without a word."""
    assert some(names, 2) == told


def test_progress_is_one_output_that_is_replaced(clock: FakeClock) -> None:
    """Each stage has its time; what is said of a stage goes when the next one begins, and nothing piles up."""
    InteractiveShell.instance()
    try:
        with capture_output() as cell:
            progress = Progress("Dry run", clock)
            progress.stage("lays out the commit")
            progress.note(f"  {EVIL} ")
            clock.sleep(61)
            progress.stage("asks Convex")
            progress.note(" ")
    finally:
        InteractiveShell.clear_instance()
    assert len({output.transient["display_id"] for output in cell.outputs}) == 1
    assert "<script" not in "".join(output.data["text/html"] for output in cell.outputs)
    texts = [output.data["text/plain"].splitlines() for output in cell.outputs]
    assert texts[1][-1].strip() == EVIL
    began, later = (line.partition(" UTC ") for line in texts[-1][1:])
    assert (began[2], later[2]) == ("lays out the commit", "asks Convex")
    assert began[0] < later[0]
    assert texts[-1][0] == "Dry run"


def test_progress_outside_a_notebook_goes_nowhere(
    capsys: pytest.CaptureFixture[str], clock: FakeClock
) -> None:
    """A step that is run by a program prints nothing."""
    progress = Progress("Dry run", clock)
    progress.stage("asks Convex")
    progress.note("Uploading")
    assert capsys.readouterr() == ("", "")
