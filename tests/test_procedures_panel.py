"""The gate's panel and the review tick, driven as a person would: look, type, click, read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from approvers import Scene
from conftest import FakeClock
from consents import FREE, LEAD, NAME, By, Tenure, approval_for, begin, events, make_ask
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output

from rollback_lib.consent.gates import Approval, Ask, Gate
from rollback_lib.consent.policy import Demand
from rollback_lib.errors import JournalError
from rollback_lib.journal import Journal
from rollback_lib.procedures.panel import Asked, gate_panel, gate_text, tick_box
from rollback_lib.procedures.shown import Notice

Collect = Callable[[Ask, str], tuple[Approval | None, str]]
FACTS = ("reviewed by a person: no",)


@pytest.fixture(autouse=True)
def _notebook() -> Iterator[None]:
    """Have IPython running, as in a kernel."""
    InteractiveShell.instance()
    yield
    InteractiveShell.clear_instance()
    ipywidgets.Widget.close_all()


@dataclass
class Cell:
    """What a cell's output holds: its plain texts as they stand now, and its widgets."""

    captured: CapturedIO
    updates: list[Any] = field(default_factory=list)

    @property
    def plain(self) -> str:
        """Return the first output's plain text, after all updates in place."""
        texts = [
            output
            for output in self._outputs
            if "application/vnd.jupyter.widget-view+json" not in output.data
        ]
        first = texts[0]
        same = [one for one in texts if one.transient == first.transient]
        assert len({str(one.transient) for one in texts}) == 1  # updated in place, never another output
        return str(same[-1].data["text/plain"])

    @property
    def _outputs(self) -> list[Any]:
        return [*self.captured.outputs, *self.updates]

    def find(self, kind: type[Any]) -> Any:
        """Find the one widget of a kind."""
        views = [
            output.data["application/vnd.jupyter.widget-view+json"]["model_id"]
            for output in self.captured.outputs
            if "application/vnd.jupyter.widget-view+json" in output.data
        ]
        found = [widget for view in views for widget in _below(_widget(view)) if type(widget) is kind]
        assert len(found) == 1
        return found[0]

    def do(self, act: Callable[[], None]) -> None:
        """Let the person act; what it changes in the output is kept."""
        with capture_output() as later:
            act()
        self.updates += later.outputs

    def type_and_click(self, text: str) -> None:
        """Type into the field and press the button."""
        self.find(ipywidgets.Text).value = text
        self.do(self.find(ipywidgets.Button).click)


def _widget(model_id: str) -> Any:
    return ipywidgets.widgets.widget._instances[model_id]


def _below(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _below(child)


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Give the run's journal."""
    return begin(tmp_path, clock)


def shown(
    journal: Journal, demand: Demand = FREE, collect: Collect | None = None, **more: Any
) -> tuple[Cell, Gate]:
    """Run the gate's cell."""
    gate = Gate(
        make_ask(**more), demand, journal, Tenure(), source=By(collect) if collect is not None else None
    )
    gate.show()
    with capture_output() as captured:
        gate_panel(gate, FACTS, by="Ana Operator", now=lambda: "21:58:07 UTC")
    return Cell(captured), gate


def test_the_field_starts_empty_and_the_name_is_nowhere_prefilled(journal: Journal) -> None:
    """What has to be typed is typed by a person: neither value nor placeholder holds it."""
    cell, gate = shown(journal)
    field_ = cell.find(ipywidgets.Text)
    assert field_.value == ""
    assert NAME not in field_.placeholder
    assert not field_.continuous_update
    assert not gate.is_open


def test_the_gate_stands_in_plain_text_before_anything_is_typed(journal: Journal) -> None:
    """Effect, facts, what stays, what is missing and the digest are there without any widget."""
    cell, gate = shown(journal)
    assert cell.plain.splitlines() == [
        "Gate P1.G1 Promote to Production - DRILL: CLOSED",
        "  what: instant rollback",
        "  from: dpl_bad",
        "  to: dpl_good 77fe0000",
        "  reviewed by a person: no",
        f"  rule: {FREE.rule}",
        "  will NOT undo: Convex functions, schema and data",
        f"  missing: the name '{NAME}' has not been typed (headless: the parameter confirm)",
        f"  digest {gate.ask.digest[:16]}",
    ]


@pytest.mark.parametrize(
    "typed", ["yes", "Derrimut-Platform", NAME + " ", "", "d\u0435rrimut-platform"], ids=ascii
)
def test_a_wrong_text_and_a_click_open_nothing_and_that_is_said(journal: Journal, typed: str) -> None:
    """The gate stays closed, the button stays alive, the field is empty again, and the plain text says it."""
    cell, gate = shown(journal)
    cell.type_and_click(typed)
    assert not gate.is_open
    assert "CLOSED" in cell.plain
    assert "21:58:07 UTC: that is not the name; the gate stays closed" in cell.plain
    assert "not the name" in cell.find(ipywidgets.HTML).value
    assert not cell.find(ipywidgets.Button).disabled
    assert cell.find(ipywidgets.Text).value == ""
    assert events(journal, "gate") == ["gate.shown", "gate.mistyped"]


def test_the_right_text_alone_opens_nothing_before_the_click(journal: Journal) -> None:
    """Typing is not yet meaning it."""
    cell, gate = shown(journal)
    cell.find(ipywidgets.Text).value = NAME
    assert not gate.is_open
    assert events(journal, "gate") == ["gate.shown"]


def test_the_right_text_and_a_click_open_and_the_plain_text_says_who_and_when(journal: Journal) -> None:
    """What the saved notebook keeps is that it was opened, by whom and when."""
    cell, gate = shown(journal)
    cell.type_and_click(NAME)
    assert gate.is_open
    lines = cell.plain.splitlines()
    assert lines[0] == "Gate P1.G1 Promote to Production - DRILL: OPEN"
    assert "  21:58:07 UTC: opened by Ana Operator; run the next cell" in lines
    assert not any("missing" in line for line in lines)
    assert cell.find(ipywidgets.Button).disabled
    assert cell.find(ipywidgets.Text).disabled
    assert journal.lines[1].data["typed_by"] == "Ana Operator"
    assert journal.lines[1].data["way"] == "panel"


def test_a_wrong_text_and_then_the_right_one_open(journal: Journal) -> None:
    """A typing error costs another try, nothing else; the text of the first try is replaced."""
    cell, gate = shown(journal)
    cell.type_and_click("derrimut")
    cell.type_and_click(NAME)
    assert gate.is_open
    assert "not the name" not in cell.plain
    assert events(journal, "gate") == ["gate.shown", "gate.mistyped", "gate.confirmed", "gate.opened"]


def test_the_right_text_without_its_approval_says_what_is_missing(journal: Journal) -> None:
    """Typed, but not open: who is waited for stands in both texts, and the next look opens."""
    answers: list[tuple[Approval | None, str]] = [(None, "no ✅ yet by Lee Lead")]
    cell, gate = shown(
        journal, LEAD, lambda ask, role: answers.pop() if answers else (approval_for(ask, role), "")
    )
    cell.type_and_click(NAME)
    assert not gate.is_open
    waits = "name typed by Ana Operator; still missing: no approval by the engineering lead yet"
    assert waits in cell.plain
    assert waits in cell.find(ipywidgets.HTML).value
    gate.look()
    assert gate.is_open
    assert "approved by Lee Lead" in repr(gate_text(gate, FACTS))


def test_after_the_right_text_the_button_looks_again_until_the_gate_is_open(journal: Journal) -> None:
    """The name is typed once; waiting for the approver is a click, not a cell run again."""
    answers: list[tuple[Approval | None, str]] = [(None, "no ✅ yet by Lee Lead")] * 2
    cell, gate = shown(
        journal, LEAD, lambda ask, role: answers.pop() if answers else (approval_for(ask, role), "")
    )
    cell.type_and_click(NAME)
    button = cell.find(ipywidgets.Button)
    assert (button.description, button.disabled) == ("Look again", False)
    cell.do(button.click)
    assert not gate.is_open
    cell.do(button.click)
    assert gate.is_open
    assert button.disabled
    assert events(journal, "gate") == ["gate.shown", "gate.confirmed", "gate.opened"]


def test_while_an_approval_is_missing_the_panel_says_how_to_give_it(journal: Journal) -> None:
    """The exact command to send to the approver stands in the text and in the HTML, until it is approved."""
    answers: list[tuple[Approval | None, str]] = [(None, "nobody has signed it yet")]
    cell, gate = shown(
        journal, LEAD, lambda ask, role: answers.pop() if answers else (approval_for(ask, role), "")
    )
    line = f"to approve: by signature: rollback approve {gate.ask.digest[:16]}"
    assert line in cell.plain
    assert line.replace("to approve:", "<b>to approve:</b>") in gate_text(gate, FACTS)._repr_html_()
    cell.type_and_click(NAME)
    gate.look()
    assert "to approve" not in repr(gate_text(gate, FACTS))


def test_what_is_missing_and_the_state_stand_out_in_html_until_the_gate_is_open(journal: Journal) -> None:
    """One look tells a closed gate from an open one, and what is still to be done."""
    cell, gate = shown(journal)
    closed = gate_text(gate, FACTS)
    assert (closed.tone, closed.loud) == ("stop", ("missing",))
    assert ">CLOSED</span>" in closed._repr_html_()
    assert f"<b>missing:</b> the name &#x27;{NAME}&#x27;" in closed._repr_html_()
    cell.type_and_click(NAME)
    assert gate_text(gate, FACTS).tone == "go"
    assert ">OPEN</span>" in gate_text(gate, FACTS)._repr_html_()


def test_what_is_not_plain_in_the_effect_is_made_visible(journal: Journal) -> None:
    """A commit's message cannot turn the text around in the panel."""
    cell, _ = shown(journal, effect={"to": "dpl_good \u202eevil"})
    assert "dpl_good ⟨U+202E⟩evil" in cell.plain
    assert "\u202e" not in cell.plain


# Word of mouth


class Heard:
    """A gate that may be approved by word of mouth, and the fields for it."""

    def __init__(self, folder: Path, clock: FakeClock, order: tuple[str, ...] = ("slack", "spoken")) -> None:
        self.scene = Scene(folder, clock, order=order)
        self.gate = self.scene.make_gate()
        spoken = self.gate.source.spoken  # type: ignore[union-attr]
        self.gate.look()
        with capture_output() as captured:
            gate_panel(self.gate, FACTS, by="Ana Operator", now=lambda: "21:58:07 UTC", spoken=spoken)
        self.cell = Cell(captured)

    def fill_in(self, who: str, at: str) -> None:
        """Choose who said it and when, and tick."""
        views = ipywidgets.widgets.widget._instances.values()
        place = next(one for one in views if isinstance(one, ipywidgets.Text) and "HH:MM" in one.placeholder)
        self.cell.find(ipywidgets.Dropdown).value = who
        place.value = at
        self.cell.do(lambda: self.box.set_trait("value", True))

    @property
    def box(self) -> Any:
        """The tick."""
        return self.cell.find(ipywidgets.Checkbox)


def test_a_spoken_approval_is_attested_by_choosing_who_when_and_a_tick(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The gate opens, and every text says that it was spoken and who attests it."""
    heard = Heard(tmp_path, clock)
    assert dict(heard.cell.find(ipywidgets.Dropdown).options) == {
        "who said yes": "",
        "Lee Lead": "lee",
        "Dee Deputy": "dee",
    }
    heard.fill_in("dee", "21:55")
    assert heard.gate.is_open
    assert heard.box.disabled
    assert "approved by Dee Deputy (spoken, attested by Ana Operator)" in heard.cell.plain
    assert "21:58:07 UTC: Dee Deputy (spoken, attested by Ana Operator), at 21:55 UTC" in heard.cell.plain


@pytest.mark.parametrize(
    ("who", "at", "says"),
    [("", "21:55", "Nobody cannot have approved"), ("lee", "five to ten", "is no time")],
    ids=["nobody chosen", "no time"],
)
def test_a_tick_without_who_or_when_attests_nothing_and_is_taken_out(
    tmp_path: Path, clock: FakeClock, who: str, at: str, says: str
) -> None:
    """It is said what is missing, and nothing is on record."""
    heard = Heard(tmp_path, clock)
    heard.fill_in(who, at)
    assert not heard.gate.is_open
    assert heard.box.value is False
    assert not heard.box.disabled
    assert says in heard.cell.plain
    assert list(heard.scene.journal.find("approval.seen")) == []


def test_where_policy_does_not_allow_it_there_is_nothing_to_tick(tmp_path: Path, clock: FakeClock) -> None:
    """No field, no mention."""
    heard = Heard(tmp_path, clock, order=("slack",))
    with pytest.raises(AssertionError):
        heard.cell.find(ipywidgets.Checkbox)
    assert "spoken" not in heard.cell.plain


# In trouble


def test_a_click_that_cannot_be_written_down_opens_nothing_and_says_why(journal: Journal) -> None:
    """What a widget's callback raises nobody sees: it is told in the panel, with what to do."""
    cell, gate = shown(journal)
    journal.release()
    cell.type_and_click(NAME)
    assert not gate.is_open
    assert "CLOSED" in cell.plain
    assert "is not held by this process any more" in cell.plain
    assert "Next: Run the notebook's open cell again" in cell.plain
    assert "Run the notebook&#x27;s open cell again" in cell.find(ipywidgets.HTML).value
    assert not cell.find(ipywidgets.Button).disabled


def test_nothing_in_the_panel_is_taken_for_markup(journal: Journal) -> None:
    """A project may have any name."""
    cell, _ = shown(journal, typed_wanted="<img src=x>")
    said = cell.find(ipywidgets.HTML)
    assert "<img" not in said.value
    cell.type_and_click("<b>wrong</b>")
    assert "<img" not in said.value
    assert "<b>wrong" not in said.value


def test_without_ipython_the_panel_does_not_fail(
    journal: Journal, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Run as a plain script, the gate is printed, and a click finds no output to replace."""
    InteractiveShell.clear_instance()
    gate = Gate(make_ask(), FREE, journal, Tenure())
    gate.show()
    gate_panel(gate, FACTS, by="Ana Operator", now=lambda: "21:58:07 UTC")
    assert "CLOSED" in capsys.readouterr().out
    made = ipywidgets.widgets.widget._instances.values()
    next(widget for widget in made if isinstance(widget, ipywidgets.Button)).click()
    assert not gate.is_open
    assert events(journal, "gate") == ["gate.shown", "gate.mistyped"]
    assert caplog.records == []  # where a callback's exception would end


# The review


def test_what_warns_stands_first_and_is_no_part_of_what_stays(journal: Journal) -> None:
    """The plan's warning comes before the effect, the effect's own warnings after it, each with its sign."""
    effect = {"to": "a1b2", "warning 1": "the frontend calls what goes away\u202e"}
    gate = Gate(make_ask(effect=effect), FREE, journal, Tenure())
    lines = gate_text(gate, ("phones: rollback status", "⚠ WARNING: it rolls back the schema")).lines
    assert lines[:4] == (
        "⚠ WARNING: it rolls back the schema",
        "to: a1b2",
        "⚠ warning 1: the frontend calls what goes away⟨U+202E⟩",
        "phones: rollback status",
    )
    assert sum("WARNING" in line for line in lines) == 1


def reviewed(tick: Callable[[], None]) -> Cell:
    """Run the review's cell."""
    with capture_output() as captured:
        look = Notice("Not reviewed yet", ("Open https://derrimut-good.drill and look.",))
        done = Notice("Reviewed", ("https://derrimut-good.drill",))
        tick_box(Asked(look, "I have looked at it", done, "NOT recorded as reviewed"), tick)
    return Cell(captured)


def test_a_review_is_not_ticked_until_somebody_ticks_it() -> None:
    """The box starts empty, and the plain text says not reviewed and where to look."""
    ticks: list[int] = []
    cell = reviewed(lambda: ticks.append(1))
    assert cell.find(ipywidgets.Checkbox).value is False
    assert cell.plain.startswith("Not reviewed yet")
    assert "https://derrimut-good.drill" in cell.plain
    assert ticks == []


def test_a_tick_is_recorded_once_and_shown() -> None:
    """Once ticked it stays: the box is closed and the plain text says reviewed."""
    ticks: list[int] = []
    cell = reviewed(lambda: ticks.append(1))
    box = cell.find(ipywidgets.Checkbox)
    cell.do(lambda: box.set_trait("value", True))
    cell.do(lambda: box.set_trait("value", False))
    assert ticks == [1]
    assert box.disabled
    assert cell.plain == "Reviewed\n  https://derrimut-good.drill"


def test_a_tick_that_cannot_be_recorded_says_so() -> None:
    """Reviewed is shown only where it is on record."""

    def fails() -> None:
        raise JournalError("The journal cannot be written.", "Nothing was sent.", "Free space.")

    cell = reviewed(fails)
    box = cell.find(ipywidgets.Checkbox)
    cell.do(lambda: box.set_trait("value", True))
    assert cell.plain.startswith("NOT recorded as reviewed")
    assert "Free space." in cell.plain
    assert not box.disabled
