"""One thread beside the cells: what has to happen again and again also while a person reads.

- It beats in real time, also where the run's own clock stands still.
- A beat that fails does not stop the others; once the run cannot be recorded any more, all of it ends.
- Nothing of it is left when `stop` returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rollback_lib.errors import JournalError, RollbackError

__all__ = ["Heartbeat"]


@dataclass
class Heartbeat:
    """Calls each beat every so many seconds until it is stopped."""

    every_s: float
    beats: Sequence[Callable[[], None]]
    on_trouble: Callable[[RollbackError], None]
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat; the first beat comes after one interval."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; a beat under way is waited for."""
        self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self.every_s):
            for beat in self.beats:
                if not self._beat(beat):
                    return

    def _beat(self, beat: Callable[[], None]) -> bool:
        """Beat once; say whether to go on."""
        try:
            beat()
        except JournalError:
            return False  # let go of by this process, or not to be written: no one is left to speak for
        except RollbackError as exc:
            try:
                self.on_trouble(exc)
            except JournalError:
                return False
        return True
