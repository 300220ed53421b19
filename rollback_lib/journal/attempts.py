"""Which attempts of a change may have arrived, as a journal's lines tell it.

- An attempt is in doubt once it left, until its own answer says that it was refused or never went out.
- An attempt without any answer is in doubt, and so is one that was accepted.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollback_lib.journal.line import Line
from rollback_lib.model import RequestClass

__all__ = ["effect_in_doubt", "in_doubt"]

_SURELY_NOT = ("refused", "not_sent")


def in_doubt(lines: Iterable[Line], request_class: RequestClass, name: str) -> tuple[Line, ...]:
    """Return the `sending` lines of a change whose request may have arrived, oldest first.

    Args:
        lines: Of one run, in order.
        request_class: Of the change.
        name: Of the change, as its intent has it.
    """
    found: list[Line] = []
    for line in lines:
        kind, _, what = line.event.partition(".")
        if kind != request_class.value or line.data.get("name") != name:
            continue
        if what == "sending":
            found.append(line)
        elif what == "answered" and found and line.data["kind"] in _SURELY_NOT:
            found.pop()  # an answer follows its own attempt
    return tuple(found)


def effect_in_doubt(lines: Iterable[Line]) -> bool:
    """Say whether any change of production may have arrived without being known to be done."""
    every = tuple(lines)
    sent = {line.data["name"] for line in every if line.event == "effect.sending"}
    done = {line.data["name"] for line in every if line.event == "effect.done"}
    return any(in_doubt(every, RequestClass.EFFECT, name) for name in sent - done)
