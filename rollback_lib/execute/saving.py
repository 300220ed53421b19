"""Saving the executed notebook: whole or not at all, and never in the way of the run.

- It is written beside its place and renamed: a crash leaves the old one or the new one.
- A save that fails (a full disk) is told and the run goes on: the journal is the account, the notebook a copy of it.
- A copy that is older than the run is not passed off as the executed notebook.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["SCHEME", "WholeFiles"]

SCHEME = "whole://"  # papermill picks the handler by the path's beginning


class WholeFiles:
    """papermill's handler for our own scheme.

    Args:
        told: Called with a line when a save fails for the first time.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self.failed = ""  # why the newest save failed; empty: it did not

    def read(self, path: str) -> str:
        """Read a notebook."""
        return Path(path.removeprefix(SCHEME)).read_text(encoding="utf-8")

    def write(self, text: str, path: str) -> None:
        """Save a notebook; where that fails the one before stays."""
        place = Path(path.removeprefix(SCHEME))
        beside = place.with_name(f".{place.name}.part")
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
        except OSError as exc:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            if not self.failed:
                self._told(f"the executed notebook could not be saved: {exc}")
            self.failed = str(exc)
        else:
            self.failed = ""

    def listdir(self, path: str) -> list[str]:
        """List a folder."""
        return [str(found) for found in Path(path.removeprefix(SCHEME)).iterdir()]

    def pretty_path(self, path: str) -> str:
        """Show a path without the scheme."""
        return path.removeprefix(SCHEME)
