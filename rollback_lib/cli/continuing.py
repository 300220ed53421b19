"""Commands that go on with a run, end it, or undo what one did."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollback_lib.cli.console import app, out
from rollback_lib.cli.finding import bring_run, find_run
from rollback_lib.cli.running import carry_out, given_pairs
from rollback_lib.errors import BadParameters
from rollback_lib.parameters import project_home

if TYPE_CHECKING:
    from rollback_lib.evidence.archive import RunFolder
    from rollback_lib.journal import Line

__all__: list[str] = []

_Operator = Annotated[
    str, typer.Option("--operator", help="Your key in contacts.yaml; empty: who operated the run before")
]
_Result = Annotated[Path | None, typer.Option(help="Write outcome and record folder here as JSON")]


@app.command()
def abort(
    run: Annotated[str, typer.Argument(help="Run id, its beginning, or its folder")],
    reason: Annotated[str, typer.Option(help="Why, in a sentence; goes into the record")],
    operator: _Operator = "",
) -> None:
    """End an open run on record: sends nothing that changes production, undoes nothing."""
    from rollback_lib.procedures.again import reopen

    home = project_home(None, os.environ)
    which = _open_run(find_run(home, run))
    procedure = reopen(
        which.folder, mode="interactive" if sys.stdin.isatty() else "headless", operator=operator
    )
    out.print(repr(procedure.abort(reason)), markup=False)


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="Run id, its beginning, or its folder")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", help="NAME=VALUE over what the run was begun with, such as confirm=..."),
    ] = None,
    operator: _Operator = "",
    result: _Result = None,
) -> None:
    """Go on with an open run headless, from where it stopped, also one of another machine: what is done is not done again."""
    from rollback_lib.procedures.again import notebook_of, recorded_parameters

    home = project_home(None, os.environ)
    which = _open_run(bring_run(home, run))
    lines = _lines(which)
    given = recorded_parameters(lines) | given_pairs(parameter or [])
    given |= {"mode": "headless"} | ({"operator": operator} if operator else {})
    raise typer.Exit(carry_out(home, notebook_of(lines), given, None, result))


@app.command()
def undo(
    run: Annotated[str, typer.Argument(help="The run whose change is to be undone")],
    reason: Annotated[str, typer.Option(help="Why, in a sentence")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            help="NAME=VALUE over what that run was begun with: severity, criterion, impact, confirm, ...",
        ),
    ] = None,
    operator: _Operator = "",
    result: _Result = None,
) -> None:
    """Undo what a run did to production, headless, as a run of its own: with its own gate, approval and record."""
    from rollback_lib.procedures.again import notebook_of, recorded_parameters

    home = project_home(None, os.environ)
    which = find_run(home, run)
    lines = _lines(which)
    recorded = recorded_parameters(lines)
    given = recorded | {name: "" for name in ("deployment", "commit") if name in recorded}
    given |= {
        "undo": which.run,
        "run": "",
        "new_run": True,
        "reason": reason,
        "mode": "headless",
        "confirm": "",
    }
    given |= given_pairs(parameter or []) | ({"operator": operator} if operator else {})
    raise typer.Exit(carry_out(home, notebook_of(lines), given, None, result))


def _lines(which: RunFolder) -> tuple[Line, ...]:
    from rollback_lib.journal import FILE_NAME, read_journal

    return read_journal(which.folder / FILE_NAME).lines


def _open_run(which: RunFolder) -> RunFolder:
    """Refuse a run that cannot go on.

    Raises:
        BadParameters: It is closed, or cannot be read.
    """
    trouble = f"cannot be read: {which.broken}" if which.broken else f"is closed ({which.outcome})"
    if which.broken or which.is_closed:
        raise BadParameters(
            f"Run {which.run} {trouble}.",
            "Nothing was sent; the run is as it was.",
            "Look at its record, or begin another run.",
        )
    return which
