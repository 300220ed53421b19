"""Which machine a process is on, as far as it matters whether another process can be looked at from here.

- Two containers may have one host name and see nothing of each other's processes; a number of the one is a stranger's
  in the other. So a machine is its host name, its boot and its process namespace, where the system tells them.
- Where it tells none (no /proc), the host name alone has to do.
- What was written without it, by an older version, is of a machine that nobody can name: it is never this one.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["Machine"]

_PROC = Path("/proc")


@dataclass(frozen=True)
class Machine:
    """Where a process runs.

    Args:
        host: Its name.
        boot: A text for its boot and process namespace; empty: the system tells none; None: nobody wrote it down.
    """

    host: str
    boot: str | None

    @classmethod
    def here(cls, proc: Path = _PROC) -> Self:
        """Return the machine of this process.

        Args:
            proc: Where the system tells of its processes.
        """
        return cls(socket.gethostname(), _boot(proc))

    @classmethod
    def told(cls, data: Mapping[str, Any]) -> Self:
        """Return the machine that somebody wrote down by `asdict`, or an older version by its host name alone."""
        boot = data.get("boot")
        return cls(str(data.get("host", "an unknown machine")), boot if isinstance(boot, str) else None)

    def written(self) -> dict[str, str | None]:
        """Return what `told` reads again."""
        return asdict(self)

    def is_surely(self, other: Machine) -> bool:
        """Say whether both are one machine, beyond doubt."""
        return self.boot is not None and self == other


def _boot(proc: Path) -> str:
    """Return a short text for this boot and process namespace; it gives neither away."""
    told = []
    with contextlib.suppress(OSError, ValueError):
        told.append((proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        told.append(str((proc / "self/ns/pid").readlink()))  # pid:[4026531836]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16] if told else ""
