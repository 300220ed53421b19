"""The `rollback` command.

- An expected fault prints its three lines and ends with its exit code, never a traceback.
- Each module adds commands to `app`; which of them there are is listed in `main`'s module alone.
"""

from __future__ import annotations

import sys

from rollback_lib.cli import approving, continuing, doctoring, looking, running  # noqa: F401 - they add their commands
from rollback_lib.cli.console import app, err
from rollback_lib.errors import RollbackError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command; expected faults end here."""
    try:
        app()
    except RollbackError as exc:
        from rollback_lib.execute import exit_code_of_error

        err.print(f"{type(exc).__name__}: {exc}", markup=False)
        sys.exit(exit_code_of_error(type(exc).__name__))
