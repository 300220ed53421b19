"""What is going to happen, and when, on the world's clock.

- Things happen at the moment they are due, in that order, however late somebody looks.
- What happens may put further things on the agenda, also ones that are due at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

__all__ = ["Agenda"]


class Agenda:
    """A list of things due."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = count()

    def at(self, at_ms: int, happen: Callable[[int], None]) -> None:
        """Let something happen at a moment; it is told that moment."""
        heapq.heappush(self._due, (at_ms, next(self._order), happen))

    def run_until(self, now_ms: int) -> None:
        """Let everything happen that is due by now."""
        while self._due and self._due[0][0] <= now_ms:
            at_ms, _, happen = heapq.heappop(self._due)
            happen(at_ms)
