"""What every command writes to, and what it is hung on.

- Nothing that is printed is obeyed by the terminal: runs, requests and keys in the store come from others, and could
  draw an approver another request than the one that is signed.
"""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

__all__ = ["app", "err", "out"]

app = typer.Typer(
    help="Executable rollback runbooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class _Shown(Console):
    """A console that shows texts and lets none of them steer the terminal."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, without what a terminal would obey."""
        from rollback_lib.http.reply import readable

        super().print(*(readable(one) if isinstance(one, str) else one for one in objects), **how)


out, err = _Shown(highlight=False, soft_wrap=True), _Shown(stderr=True, highlight=False, soft_wrap=True)
