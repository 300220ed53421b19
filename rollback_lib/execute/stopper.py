"""Stopping a headless run from outside: a cancelled job sends SIGTERM, and kills some seconds later.

- The cell that is running is interrupted, again and again until it gives way; then the kernel is killed.
- No further cell begins.
- In a thread that is not the main one signals are none of our business, and nothing is installed.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Stopper"]

AGAIN_S = 0.5
KILLED_AFTER_S = 6.0  # a pipeline waits 7.5 to 10 s before it kills


class Stopper:
    """Listens for SIGTERM and SIGINT while a notebook runs."""

    def __init__(self) -> None:
        self.signal_name = ""  # of the first signal; empty: none came
        self._before: dict[int, Any] = {}
        self._manager: Any = None  # of the kernel, once there is one
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def follow(self, manager: Any) -> None:
        """Make the kernel's process known here, by its manager."""
        self._manager = manager

    def refuse_more(self) -> None:
        """Let no further cell begin once a signal has come.

        Raises:
            CellExecutionError: What papermill takes for the end of the notebook.
        """
        if self.signal_name:
            from nbclient.exceptions import CellExecutionError

            raise CellExecutionError("", "Stopped", f"by {self.signal_name}")

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.signal_name:
            return  # asked again: it is on its way
        self.signal_name = signal.Signals(number).name
        threading.Thread(target=self._press, name="stopper", daemon=True).start()

    def _press(self) -> None:
        """Interrupt the kernel until the notebook is over; kill it where that does not help."""
        waited = 0.0
        while True:
            self._send(signal.SIGKILL if waited >= KILLED_AFTER_S else signal.SIGINT)
            if self._over.wait(AGAIN_S):
                return
            waited += AGAIN_S

    def _send(self, number: int) -> None:
        process = getattr(getattr(self._manager, "provisioner", None), "process", None)
        if process is None:
            return  # no kernel yet, or none any more
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
