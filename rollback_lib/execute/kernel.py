"""The kernel of a headless run: what passes between it and papermill is encrypted, and what its process says is kept.

- They meet at sockets in a folder of this run's own: a port that was free when it was chosen may be taken by the time the
  kernel listens, and the run would end before it began.
- A kernel writes to its process's stderr only what is about itself: a library's warning, the trace of an interrupt.
  That is shown where the kernel died of itself, and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["last_words", "manager_class"]

LONGEST_SOCKET = 90  # characters of a socket's path, which systems limit to about a hundred
WORDS_SHOWN = 2_000  # characters from the end


def manager_class(started: Callable[[Any], None], words: Path) -> type[Any]:
    """Return a class of kernel manager for papermill.

    Args:
        started: Called with the manager when it is made, so that somebody else can reach the kernel's process.
        words: Where the kernel's process writes its stderr.
    """
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            if self.has_trait("transport_encryption"):
                self.transport_encryption = "auto"  # other accounts of this machine need not read along
            meeting = str(words.with_name("k"))
            if os.name == "posix" and len(meeting) <= LONGEST_SOCKET:
                self.transport, self.ip = "ipc", meeting
            started(self)

        async def _async_start_kernel(self, **named: Any) -> None:
            with words.open("ab") as file:
                await super()._async_start_kernel(**{"stderr": file, **named})

        start_kernel = _async_start_kernel

    return Manager


def last_words(words: Path) -> str:
    """Return the end of what the kernel's process said, for whoever has to find out why it died; empty if nothing."""
    if not words.exists():
        return ""
    return words.read_text(encoding="utf-8", errors="replace").strip()[-WORDS_SHOWN:]
