"""The gate and the review tick as ipywidgets; each also leaves plain text that says who, when, what.

- A panel returns at once; nothing waits in a cell.
- The typed text starts empty and is handed to the gate as it is; a wrong one is taken out again.
- What fails in a click is said in the panel: nobody sees what a widget's callback raises.
- What a widget shows is gone from a saved notebook; the plain text below it stays and is updated in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from IPython.display import DisplayHandle, display

from rollback_lib.consent.gates import Gate
from rollback_lib.consent.plain import visible
from rollback_lib.errors import RollbackError
from rollback_lib.procedures.shown import WARNS, Notice

if TYPE_CHECKING:
    from ipywidgets import Widget

    from rollback_lib.consent.spoken import SpokenApprovals

_WIDGET = "(fields to fill in, while the notebook runs; the text above says what came of them)"

__all__ = ["Asked", "gate_panel", "gate_text", "tick_box"]


def gate_text(gate: Gate, facts: tuple[str, ...]) -> Notice:
    """Write a gate as plain text: what it does, what it will not undo, whether it is open and what is missing."""
    ask = gate.ask
    state = "OPEN" if gate.is_open else "CLOSED"
    first = [fact for fact in facts if fact.startswith(WARNS)]
    return Notice(
        f"Gate {ask.gate} {ask.title} - {ask.environment.upper()}: {state}",
        (
            *first,
            *(f"{_sign(key)}{visible(key)}: {visible(value)}" for key, value in ask.effect.items()),
            *(fact for fact in facts if fact not in first),
            f"rule: {gate.demand.rule}",
            *(f"will NOT undo: {visible(text)}" for text in ask.will_not_undo),
            *(f"approved by {name}" for name in gate.approvers),
            *(f"missing: {text}" for text in gate.missing()),
            *(f"to approve: {text}" for text in gate.advice),
            f"digest {ask.short}",
        ),
        tone="go" if gate.is_open else "stop",
        loud=("missing",),
    )


def _sign(key: str) -> str:
    """Let what warns of the effect stand out from what describes it."""
    return f"{WARNS} " if key.startswith("warning") else ""


def gate_panel(
    gate: Gate,
    facts: tuple[str, ...],
    *,
    by: str,
    now: Callable[[], str],
    spoken: SpokenApprovals | None = None,
) -> None:
    """Show the gate with a field for the target's name and a button; return at once.

    Args:
        gate: What is shown.
        facts: More lines for the text.
        by: Who types.
        now: Tells the time for the text.
        spoken: Takes down approvals by word of mouth; None: policy does not allow them.
    """
    import ipywidgets as widgets

    plain = display(gate_text(gate, facts), display_id=True)  # type: ignore[no-untyped-call]  # IPython has no types
    typed = widgets.Text(
        value="", placeholder="type the name exactly", description="Target:", continuous_update=False
    )
    button = widgets.Button(description="Open the gate", button_style="danger", icon="unlock")
    said = widgets.HTML(f"Type <b>{escape(gate.ask.typed_wanted)}</b> to let this change production.")

    def clicked(_: object) -> None:
        try:
            right = typed.disabled or gate.confirm(typed.value, by=by, way="panel")
            gate.look()
        except RollbackError as exc:
            answer = f"{now()}: {exc}"
        else:
            typed.disabled = typed.disabled or right
            button.disabled = gate.is_open
            if right and not gate.is_open:
                button.description, button.icon = "Look again", "refresh"
            answer = _answer(gate, right=right, by=by, at=now())
            if not right:
                typed.value = ""  # it is saved with the notebook, and may be anything
        said.value = _lines(answer)
        _update(plain, gate_text(gate, (*facts, *answer.splitlines())))

    def heard(answer: str) -> None:
        button.disabled = gate.is_open or button.disabled
        said.value = _lines(answer)
        _update(plain, gate_text(gate, (*facts, *answer.splitlines())))

    button.on_click(clicked)
    attesting = [
        _attest_box(gate, role, spoken, now, heard) for role in gate.demand.roles if spoken is not None
    ]
    _put(widgets.VBox([said, widgets.HBox([typed, button]), *attesting]))


def _attest_box(
    gate: Gate, role: str, spoken: SpokenApprovals, now: Callable[[], str], heard: Callable[[str], None]
) -> Widget:
    """Give the fields by which an operator attests a spoken approval: who, when, and a tick."""
    import ipywidgets as widgets

    people = [(person.name, person.key) for person in spoken.speakers(role)]
    who = widgets.Dropdown(options=[("who said yes", ""), *people], value="", description="Spoken:")
    at = widgets.Text(value="", placeholder="HH:MM, UTC", description="at")
    box = widgets.Checkbox(
        value=False,
        indent=False,
        description=f"I read this out to them by phone, and they approved it as {role.replace('_', ' ')}",
    )

    def ticked(change: dict[str, object]) -> None:
        if not change["new"]:
            return
        try:
            approval = spoken.attest(gate.ask, role, who.value, at.value)
            gate.look()
        except RollbackError as exc:
            box.value = False
            heard(f"{now()}: {exc}")
        else:
            box.disabled = who.disabled = at.disabled = True
            heard(f"{now()}: {approval.told}, at {at.value} UTC")

    box.observe(ticked, names="value")
    return widgets.VBox([widgets.HBox([who, at]), box])


def _put(widget: Widget) -> None:
    """Show a widget; its own plain text would stay in a saved notebook as it was at first, not ticked."""
    bundle = widget._repr_mimebundle_() | {"text/plain": _WIDGET}  # what IPython itself asks a widget for
    display(bundle, raw=True)  # type: ignore[no-untyped-call]  # IPython has no types


def _update(plain: DisplayHandle | None, text: Notice) -> None:
    """Replace the plain text; without a notebook there is none to replace."""
    if plain is not None:
        plain.update(text)  # type: ignore[no-untyped-call]  # IPython's own method, without annotations


def _lines(text: str) -> str:
    return "<br>".join(escape(line) for line in text.splitlines())


def _answer(gate: Gate, *, right: bool, by: str, at: str) -> str:
    if not right:
        return f"{at}: that is not the name; the gate stays closed"
    if gate.is_open:
        return f"{at}: opened by {by}; run the next cell"
    return f"{at}: name typed by {by}; still missing: {'; '.join(gate.missing())}"


@dataclass(frozen=True)
class Asked:
    """What a person is asked to do and to tick once it is done."""

    todo: Notice
    label: str  # beside the box
    done: Notice
    failed: str  # where the tick could not be written down


def tick_box(asked: Asked, tick: Callable[[], None]) -> None:
    """Show what a person is asked to do, and a box to tick once it is done; the tick is written down by `tick`."""
    import ipywidgets as widgets

    plain = display(asked.todo, display_id=True)  # type: ignore[no-untyped-call]  # IPython has no types
    box = widgets.Checkbox(value=False, description=asked.label, indent=False)

    def changed(change: dict[str, object]) -> None:
        if not change["new"]:
            return
        try:
            tick()
        except RollbackError as exc:
            _update(plain, Notice(asked.failed, tuple(str(exc).splitlines())))
        else:
            box.disabled = True
            _update(plain, asked.done)

    box.observe(changed, names="value")
    _put(box)
