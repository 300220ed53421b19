"""What every command writes to, and what it is hung on."""

from __future__ import annotations

import typer
from rich.console import Console

__all__ = ["app", "err", "out"]

app = typer.Typer(
    help="Executable rollback runbooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
