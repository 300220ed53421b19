"""What was looked at or seen to before a gate, as a run's journal says: a dry run, a person's look, builds that were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollback_lib.evidence.fields import text, texts
from rollback_lib.journal import Line

__all__ = ["Preparation", "preparations_of"]

_TICKS = {
    "review": ("Preview", "reviewed", "was the right version, said {by}", "not looked at by a person"),
    "freeze": ("Builds", "frozen", "were stopped, said {by}", "NOT stopped, as far as this run knows"),
}


@dataclass(frozen=True)
class Preparation:
    """One thing that was done before the change and changed nothing."""

    at: str
    what: str
    lines: tuple[str, ...]


def preparations_of(lines: Sequence[Line]) -> tuple[Preparation, ...]:
    """Return each kind as it was last."""
    found: dict[str, Preparation] = {}
    for line in lines:
        if line.event == "rehearsed":
            found[line.event] = Preparation(line.at, "Dry run", texts(line.data, "told"))
        elif line.event in _TICKS:
            what, key, yes, no = _TICKS[line.event]
            told = yes.format(by=text(line.data, "by")) if line.data.get(key) is True else no
            found[line.event] = Preparation(line.at, what, (told,))
    return tuple(found.values())
