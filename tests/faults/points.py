"""The points at which a run is killed: every one that a run without faults passes, none chosen by chance.

- A point is named by what the journal says there, not by a line number, so that it stays the same point when lines move.
- Around each line: in its middle, which is right before it with half of it written as well, and after it. Around each
  changing request: before it leaves; arrived and never done; arrived and done only after the death; done, and the answer
  unread.
- Victims: the kernel alone; the whole machine; the process that runs the notebook, whose kernel then goes as it goes, or
  is halted and meets the next process alive; and the same process asked to end by SIGTERM, as a cancelled job is.
- Where a program does the work (npm, git, the official command line), its beginning is a place, and each changing
  request that it makes. It may live on when the kernel dies, die with it, or die alone. At any other place a command
  line that sends the same requests, and is quicker, stands in for the official one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rollback_lib.journal import Line

Victim: TypeAlias = Literal["kernel", "both", "run", "held", "stopped", "child", "group", "pair", "all"]
How: TypeAlias = Literal[
    "torn", "after", "unsent", "lost", "late", "answered", "begun", "amid", "slow", "outlived"
]

CHANGING = (  # programs that do more than read
    "git init",
    "git checkout",
    "npm ci",
    "convex deploy --dry-run",
    "convex deploy --dry-run --write-push-request",
    "convex deploy",
)
LONG = ("npm ci",)  # programs that take long and ask no platform for anything
CHILD, REQUEST = (
    "child",
    "request",
)  # in the place of an event: no line stands for what a program does by itself

DIFFERING = re.compile(", digest|[0-9a-f]{40}")  # digest and commit differ from run to run
AT_A_LINE: tuple[How, ...] = ("torn", "after")
AROUND_LINE: dict[Victim, tuple[How, ...]] = {
    "kernel": ("torn", "after"),
    "both": ("torn",),
    "run": ("after",),  # it does not write the journal: there is no line of its own to tear
}
AROUND_REQUEST: dict[Victim, tuple[How, ...]] = {
    "kernel": ("unsent", "lost", "late", "answered"),
    "both": ("unsent", "lost", "late", "answered"),
    "run": ("unsent", "lost", "late", "answered"),
    "held": ("unsent", "lost", "late", "answered"),
    "stopped": ("lost", "late", "answered"),
}
AROUND_CHILD: dict[Victim, tuple[How, ...]] = {
    "kernel": ("unsent", "begun"),
    "both": ("unsent", "begun"),
    "stopped": ("begun",),
    "child": ("begun",),
    "pair": ("begun",),
    "all": ("begun",),
}
AMID: dict[Victim, tuple[How, ...]] = dict.fromkeys(
    AROUND_CHILD, ("amid",)
)  # asks nobody by which to tell where it is
AROUND_CHILDS_REQUEST: dict[Victim, tuple[How, ...]] = dict.fromkeys(
    ("run", "held", "stopped", "child", "group", "pair", "all"), ("lost", "late", "answered")
) | dict.fromkeys(("kernel", "both"), ("lost", "late", "answered", "slow", "outlived"))
BEGINNINGS = ("step.started", "gate.shown", "run.closing")
AT_BEGINNINGS: dict[Victim, tuple[How, ...]] = {"held": ("torn",), "stopped": ("after",)}
HOW_SAID: dict[How, str] = {
    "torn": "in the middle of a line",
    "after": "after a line",
    "unsent": "before a request leaves or a program begins",
    "lost": "request arrived, never done",
    "late": "request arrived, done after the death",
    "answered": "request done, answer unread",
    "begun": "when a program has just begun",
    "amid": "while a program is at it",
    "slow": "request done after the next process has come",
    "outlived": "request never done, its program dies after the next process has come",
}
VICTIM_SAID: dict[Victim, str] = {
    "kernel": "the kernel",
    "both": "kernel and `rollback run`",
    "run": "`rollback run`, its kernel orphaned",
    "held": "`rollback run`, its kernel halted",
    "stopped": "`rollback run` by SIGTERM",
    "child": "the program alone",
    "group": "the program and the shell that keeps its exit code",
    "pair": "the kernel and the program",
    "all": "kernel, `rollback run` and the program",
}
SURVIVED = ("kernel", "stopped", "pair")  # by `rollback run`, which then has to say what happened


@dataclass(frozen=True)
class Place:
    """A line of the journal, by what it says."""

    event: str
    step: str | None
    said: str = ""  # the name of a message or request: which of them comes first is chance
    nth: int = 1  # of those that say the same
    by_child: bool = False  # what the line announces is the beginning of a program, and no request of ours

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

    @property
    def at_program(self) -> bool:
        """Say whether it is about a program: its beginning, what announces that, or what it requests."""
        return self.place.event in {CHILD, REQUEST} or self.place.by_child


def places(lines: Iterable[Line]) -> list[Place]:
    """Name every line of a journal."""
    met: Counter[tuple[str, str | None, str]] = Counter()
    found = []
    for line in lines:
        name = DIFFERING.split(str(line.data.get("name", "")))[0].strip()
        said = name if line.event.startswith("prepare.") else ""
        kind = line.event, line.step, said
        met[kind] += 1
        found.append(Place(*kind, met[kind], line.data.get("method") == "CLI"))
    return found


def named(event: str, names: Iterable[str]) -> list[Place]:
    """Name what programs are begun or what they request, each once: how often they ask again is chance."""
    return [Place(event, None, name) for name in dict.fromkeys(names)]


def every_point(scenario: str, found: Iterable[Place]) -> list[Point]:
    """Give all points of a run that passes these places."""
    return [
        Point(scenario, victim, how, place)
        for place in found
        for victim in VICTIM_SAID
        for hows in _around(place)
        for how in hows.get(victim, ())
    ]


def _around(place: Place) -> list[dict[Victim, tuple[How, ...]]]:
    """Give who is killed how at a place."""
    if place.event == REQUEST:
        return [AROUND_CHILDS_REQUEST]
    if place.event == CHILD:
        return [AROUND_CHILD, *([AMID] if place.said in LONG else [])]
    around = [AROUND_LINE]
    if place.event in BEGINNINGS:
        around.append(AT_BEGINNINGS)
    if place.event in {"prepare.sending", "effect.sending"} and not place.by_child:
        around.append(AROUND_REQUEST)
    return around


def only_new(found: Iterable[Place], known: Iterable[Place]) -> list[Place]:
    """Leave out the places of a run that another one passes too."""
    kinds = {place.kind for place in known}
    return [place for place in found if place.kind not in kinds]
