"""The points at which a run is killed: every one that a run without faults passes, none chosen by chance.

- A point is named by what the journal says there, not by a line number, so that it stays the same point when lines move.
- Around each line: before it, in its middle, after it. Around each changing request: before it leaves; arrived and never
  done; arrived and done only after the death; done, and the answer unread.
- Victims: the kernel alone; the whole machine; the process that runs the notebook, whose kernel then goes as it goes, or
  is halted and meets the next process alive; and the same process asked to end by SIGTERM, as a cancelled job is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rollback_lib.journal import Line

Victim: TypeAlias = Literal["kernel", "both", "run", "held", "stopped"]
How: TypeAlias = Literal["before", "torn", "after", "unsent", "lost", "late", "answered"]

AROUND_LINE: dict[Victim, tuple[How, ...]] = {
    "kernel": ("before", "torn", "after"),
    "both": ("torn",),
    "run": ("before", "after"),  # it does not write the journal: there is no line of its own to tear
}
AROUND_REQUEST: dict[Victim, tuple[How, ...]] = {
    "kernel": ("unsent", "lost", "late", "answered"),
    "both": ("unsent", "lost", "late", "answered"),
    "run": ("unsent", "lost", "late", "answered"),
    "held": ("unsent", "lost", "late", "answered"),
    "stopped": ("lost", "late", "answered"),
}
BEGINNINGS = ("step.started", "gate.shown", "run.closing")
AT_BEGINNINGS: dict[Victim, tuple[How, ...]] = {"held": ("torn",), "stopped": ("after",)}
HOW_SAID: dict[How, str] = {
    "before": "before a line of the journal",
    "torn": "in the middle of a line",
    "after": "after a line",
    "unsent": "before a request leaves",
    "lost": "request arrived, never done",
    "late": "request arrived, done after the death",
    "answered": "request done, answer unread",
}
VICTIM_SAID: dict[Victim, str] = {
    "kernel": "the kernel",
    "both": "kernel and `rollback run`",
    "run": "`rollback run`, its kernel orphaned",
    "held": "`rollback run`, its kernel halted",
    "stopped": "`rollback run` by SIGTERM",
}


@dataclass(frozen=True)
class Place:
    """A line of the journal, by what it says."""

    event: str
    step: str | None
    said: str = ""  # the name of a message or request: which of them comes first is chance
    nth: int = 1  # of those that say the same

    def __str__(self) -> str:
        return " ".join(
            [self.event, *filter(None, (self.step, self.said)), *([f"#{self.nth}"] if self.nth > 1 else [])]
        )

    @property
    def kind(self) -> tuple[str, str | None, str]:
        """Return what tells it from other places of any run."""
        return self.event, self.step, self.said


@dataclass(frozen=True)
class Point:
    """Who dies where."""

    scenario: str
    victim: Victim
    how: How
    place: Place

    def __str__(self) -> str:
        return f"{self.scenario}, {self.victim}: {self.how}, {self.place}"


def places(lines: Iterable[Line]) -> list[Place]:
    """Name every line of a journal."""
    met: Counter[tuple[str, str | None, str]] = Counter()
    found = []
    for line in lines:
        name = str(line.data.get("name", "")).partition(", digest")[0]  # that one differs from run to run
        said = name if line.event.startswith("prepare.") else ""
        kind = line.event, line.step, said
        met[kind] += 1
        found.append(Place(*kind, met[kind]))
    return found


def every_point(scenario: str, found: Iterable[Place]) -> list[Point]:
    """Give all points of a run that passes these places."""
    points = []
    for place in found:
        around = [AROUND_LINE]
        if place.event in BEGINNINGS:
            around.append(AT_BEGINNINGS)
        if place.event in {"prepare.sending", "effect.sending"}:
            around.append(AROUND_REQUEST)
        points += [
            Point(scenario, victim, how, place)
            for victim in VICTIM_SAID
            for hows in around
            for how in hows.get(victim, ())
        ]
    return points


def only_new(found: Iterable[Place], known: Iterable[Place]) -> list[Place]:
    """Leave out the places of a run that another one passes too."""
    kinds = {place.kind for place in known}
    return [place for place in found if place.kind not in kinds]
