"""Where runs are, by what a person types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import ENVIRONMENTS, read_layer

if TYPE_CHECKING:
    from rollback_lib.evidence.archive import Archive, RunFolder

__all__ = ["archives", "find_run", "short"]


def archives(home: Path) -> list[Archive]:
    """Return the archives that the environments' files name, each once."""
    from rollback_lib.evidence.archive import Archive

    named = (
        read_layer(home, environment).platform.get("archive", "incidents") for environment in ENVIRONMENTS
    )
    return [Archive(home / Path(name).expanduser()) for name in dict.fromkeys(named) if "://" not in name]


def find_run(home: Path, run: str) -> RunFolder:
    """Find a run in whichever archive it is.

    Raises:
        BadParameters: In none of them.
    """
    *others, last = archives(home)
    for archive in others:
        try:
            return archive.find(run)
        except BadParameters:
            continue
    return last.find(run)


def short(path: Path, home: Path) -> str:
    """Write a path below the project's folder without it."""
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
