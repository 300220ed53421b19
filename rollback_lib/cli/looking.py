"""Commands that look at runs and records, and those that complete a record; none of them talks to a platform."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollback_lib.cli.console import app, out
from rollback_lib.cli.finding import archives, find_run, store_of
from rollback_lib.errors import BadParameters, RollbackError
from rollback_lib.parameters import known_environment, load_phones, project_home

if TYPE_CHECKING:
    from rollback_lib.evidence.archive import RunFolder

__all__: list[str] = []


@app.command()
def status(
    environment: Annotated[str, typer.Option("-e", "--environment")] = "drill",
    phones: Annotated[
        bool, typer.Option("--phones", help="Who approves, with telephone numbers; on this terminal only")
    ] = False,
) -> None:
    """Show who acts on an environment and its open runs, or whom to ring."""
    home = project_home(None, os.environ)
    if phones:
        _phones(home, environment)
        return
    known_environment(environment)
    runs = [one for archive in archives(home) for one in archive.runs()]
    found = [one for one in runs if not one.broken and not one.is_closed and one.environment == environment]
    for one in runs:
        if one.broken:
            out.print(f"{one.run}  {one.incident}  CANNOT BE READ: {one.broken}", markup=False)
    for one in found:
        stopped = f"stopped, so far {one.outcome}" if one.has_record else "under way, or cut off"
        out.print(
            f"{one.run}  {one.incident}  procedure {one.procedure}  begun {one.started_at:%Y-%m-%d %H:%M} UTC  {stopped}",
            markup=False,
        )
        if one.has_record and one.why:
            out.print(f"    {one.why.splitlines()[0]}", markup=False)
    if found:
        out.print(
            "Go on with one: rollback resume RUN. End one: rollback abort RUN --reason ...", markup=False
        )
    else:
        out.print(f"No open run in {environment}.", markup=False)
    out.print(_lease(home, environment), markup=False)


def _lease(home: Path, environment: str) -> str:
    """Say who has the environment's lease, or why that is not known; the open runs are told all the same."""
    from rollback_lib.consent.lease import peek

    try:
        found = peek(store_of(home, environment), environment)
    except RollbackError as exc:
        return f"Who acts on {environment} is not known: {exc.happened}"
    return found.standing() if found is not None else f"{environment} is free; nobody has held it yet."


def _phones(home: Path, environment: str) -> None:
    """Print whom to ring; what is wrong in the file comes below the numbers that can be read.

    Raises:
        BadParameters: A line of the file is wrong, or nothing of it can be read.
    """
    phones = load_phones(home, environment)
    made_up = " (made-up people of the simulated company)" if environment == "drill" else ""
    out.print(f"Who approves in {environment.upper()}{made_up}:", markup=False)
    for line in phones.lines:
        out.print(f"{line.role:18} {line.name:20} {line.number}", markup=False)
    if phones.fault is not None:
        raise phones.fault


@app.command()
def verify(run: Annotated[str, typer.Argument(help="Run id, its beginning, or its folder")]) -> None:
    """Check a record: every file, the journal's chain, the claimed outcome. Works offline."""
    from rollback_lib.evidence.record import verify_record

    which = find_run(project_home(None, os.environ), run)
    found = verify_record(which.folder)
    out.print(str(found), markup=False)
    if not which.has_record:
        out.print(
            f"The run has no record yet, as after a killed session. Write it: rollback record {which.run}",
            markup=False,
        )
    raise typer.Exit(0 if found.ok else 1)


@app.command()
def record(
    run: str,
    notebook: Annotated[Path | None, typer.Option("--notebook", help="The executed notebook")] = None,
) -> None:
    """Write a run's record as its journal stands, after a killed session; or attach the executed notebook to it."""
    from rollback_lib.evidence.record import attach_notebook, seal_run

    home = project_home(None, os.environ)
    folder = find_run(home, run).folder
    place = seal_run(folder) if notebook is None else attach_notebook(folder, notebook)
    out.print(f"{'Written' if notebook is None else 'Attached'}: {place}", markup=False)


@app.command()
def log(csv: Annotated[bool, typer.Option("--csv", help="As comma-separated values")] = False) -> None:
    """Print the rollback log in the plan's columns, one row a run."""
    from pandas import concat

    from rollback_lib.evidence.log import as_csv, as_text, rollback_log
    from rollback_lib.plan import load_plan

    home = project_home(None, os.environ)
    columns = load_plan(home).log_columns
    table = concat([rollback_log(archive, columns) for archive in archives(home)], ignore_index=True)
    out.print(as_csv(table) if csv else as_text(table), markup=False)


@app.command()
def report(run: str) -> None:
    """Print where a run's report is; it is written with the record."""
    home = project_home(None, os.environ)
    found: RunFolder = find_run(home, run)
    place = found.folder / "report.html"
    if not place.is_file():
        raise BadParameters(
            f"Run {found.run} has no report yet.",
            "The record is as it was.",
            "It is written when a step fails or the run is closed.",
        )
    out.print(str(place), markup=False)
