"""What the judge found: one finding for each invariant, in words, with the evidence.

- A finding is `held`, `broken` or `not judged`; nothing that could not be looked at is called held.
- One thing that does not hold breaks the invariant, whatever else was fine or could not be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["INVARIANTS", "Finding", "Inquiry", "State", "Verdict"]

State = Literal["held", "broken", "not judged"]
INVARIANTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)  # the 9th is about words that only a person can judge
_TITLES = {
    1: "nothing leaves before its line is on disk, no effect without its gate",
    2: "each effect is applied once",
    3: "the world and the journal tell the same",
    4: "the outcome means what it says",
    5: "no maintenance mode is left on in silence",
    6: "the record verifies",
    7: "no secret and no private address in any file or output",
    8: "a drill talks to loopback only",
    10: "a dry run and a closed gate let nothing through",
    11: "what was done is what was approved, on the state it was approved on",
}
_MOST = 5  # pieces of evidence that are shown of one finding


@dataclass(frozen=True)
class Finding:
    """What one invariant came to."""

    invariant: int
    state: State
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        left = len(self.evidence) - _MOST
        shown = [*self.evidence[:_MOST], *([f"and {left} more"] if left > 0 else [])]
        lines = "".join(f"\n    {text}" for text in shown)
        return f"invariant {self.invariant} {self.state}: {_TITLES[self.invariant]}{lines}"


@dataclass(frozen=True)
class Verdict:
    """All findings on one run."""

    findings: tuple[Finding, ...]

    def of(self, state: State) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.state == state)

    @property
    def broken(self) -> tuple[int, ...]:
        """Return the numbers of the broken invariants."""
        return tuple(finding.invariant for finding in self.of("broken"))

    @property
    def summary(self) -> str:
        """Say it in a few words, as `10 held` or `8 held, 1 not judged, 1 BROKEN (3)`."""
        held, left_open = len(self.of("held")), len(self.of("not judged"))
        parts = [f"{held} held"]
        if left_open:
            parts.append(f"{left_open} not judged")
        if self.broken:
            parts.append(f"{len(self.broken)} BROKEN ({', '.join(map(str, self.broken))})")
        return ", ".join(parts)

    def __str__(self) -> str:
        told = (*self.of("broken"), *self.of("not judged"))
        return "\n".join([f"oracle: {self.summary}", *map(str, told)])


class Inquiry:
    """Collects what is seen while one invariant is judged."""

    def __init__(self, invariant: int) -> None:
        self.invariant = invariant
        self._broken: list[str] = []
        self._open: list[str] = []
        self._seen: list[str] = []

    def breaks(self, text: str) -> None:
        """Note something that does not hold."""
        self._broken.append(text)

    def leaves_open(self, reason: str) -> None:
        """Note something that could not be judged, and why."""
        self._open.append(reason)

    def sees(self, text: str) -> None:
        """Note what was looked at and found right."""
        self._seen.append(text)

    def finding(self) -> Finding:
        """Return what it came to."""
        if self._broken:
            return Finding(self.invariant, "broken", tuple(self._broken))
        if self._open:
            return Finding(self.invariant, "not judged", tuple(self._open))
        return Finding(self.invariant, "held", tuple(self._seen))
