"""The `rollback` command.

- An expected fault prints its three lines and ends with its exit code, never a traceback.
- Exit codes of `run`: 0 verified, 1 failed, 2 bad parameters, 3 refused by a gate, 4 completed but unverified,
  5 somebody else holds the run, 6 unknown: a person must look.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rollback_lib.errors import BadParameters, RollbackError
from rollback_lib.parameters import ENVIRONMENTS, known_environment, load_contacts, project_home, read_layer
from rollback_lib.yamlfile import load_tree

if TYPE_CHECKING:
    from rollback_lib.drills.drill import Drilled
    from rollback_lib.evidence.archive import Archive, RunFolder
    from rollback_lib.simulator import Serving

__all__ = ["app", "main"]

app = typer.Typer(
    help="Executable rollback runbooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out, _err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
_SECRETS_FILE = Path(".secrets") / "drill.env"


def main() -> None:
    """Run the command; expected faults end here."""
    try:
        app()
    except RollbackError as exc:
        from rollback_lib.execute import exit_code_of_error

        _err.print(f"{type(exc).__name__}: {exc}", markup=False)
        sys.exit(exit_code_of_error(type(exc).__name__))


@app.command()
def run(  # noqa: PLR0917 - typer makes options of them
    notebook: Annotated[str, typer.Argument(help="The notebook, by name or path: 1_vercel_rollback")],
    environment: Annotated[
        str, typer.Option("-e", "--environment", help="drill, staging or production")
    ] = "drill",
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="NAME=VALUE; a Python literal or a text")
    ] = None,
    file: Annotated[list[Path] | None, typer.Option("-f", help="A YAML or JSON file of parameters")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", help="Leave the executed notebook here as well")
    ] = None,
    world: Annotated[
        str,
        typer.Option(
            help="drill only: 'fresh' starts one, 'running' takes the one at drill.yaml's addresses, 'given' the one in the parameters"
        ),
    ] = "fresh",
    result: Annotated[Path | None, typer.Option(help="Write outcome and record folder here as JSON")] = None,
) -> None:
    """Run a procedure's notebook headless through papermill; the outcome comes from its journal."""
    home = project_home(None, os.environ)
    injected = _injected(home, environment, file or [], parameter or [])
    with _world(environment, world) as serving:
        if serving is not None:
            injected["platform"] = {**serving.platform, **injected.get("platform", {})}
            os.environ.update(serving.secrets)
        code = _execute(home, notebook, injected, output, result)
    raise typer.Exit(code)


def _execute(
    home: Path, notebook: str, injected: dict[str, Any], output: Path | None, result: Path | None
) -> int:
    from rollback_lib.execute import execute

    path = Path(notebook) if notebook.endswith(".ipynb") else home / "notebooks" / f"{notebook}.ipynb"
    done = execute(path, injected, output=output, told=lambda line: _out.print(f"  {line}", markup=False))
    if done.error:
        _err.print(done.error, markup=False)
    _out.print(f"Outcome: {done.outcome or 'no run was begun'} (exit code {done.exit_code})", markup=False)
    if done.folder is not None:
        _out.print(f"Record:  {done.folder}", markup=False)
    if result is not None:
        result.write_text(
            json.dumps({"outcome": done.outcome, "folder": str(done.folder) if done.folder else None}),
            encoding="utf-8",
        )
    return done.exit_code


def _injected(home: Path, environment: str, files: list[Path], pairs: list[str]) -> dict[str, Any]:
    """Collect what is injected: the drill's own file, then the files given, then single values."""
    injected: dict[str, Any] = {}
    if environment == "drill":
        injected.update(load_tree(home / "parameters" / "drill.yaml")[0])
        for layer in ("platform", "policy"):
            injected.pop(layer, None)  # they come from the environment's file anyway
    for path in files:
        injected.update(load_tree(path)[0])
    for pair in pairs:
        name, found, text = pair.partition("=")
        if not found:
            raise BadParameters(
                f"-p {pair!r} is not NAME=VALUE.", "Nothing was run.", "Write -p severity=P1."
            )
        injected[name] = _literal(text)
    return injected | {"environment": environment, "mode": "headless"}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@contextmanager
def _world(environment: str, world: str) -> Iterator[Serving | None]:
    if world not in ("fresh", "running", "given"):
        raise BadParameters(
            f"--world {world!r} is unknown.", "Nothing was run.", "Choose fresh, running or given."
        )
    if environment != "drill" or world != "fresh":
        yield None
        return
    from rollback_lib.simulator import WorldSpec, serve

    with serve(WorldSpec()) as serving:
        yield serving


@app.command()
def drill(
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Production's waits and windows, in a world of the same pace")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A scenario of parameters/scenarios; may be repeated")
    ] = None,
    at_once: Annotated[int, typer.Option(help="How many drills run at the same time")] = 4,
) -> None:
    """Run the scenarios against simulated companies; ends with 0 if every outcome is the expected one."""
    from rollback_lib.drills.drill import run_scenarios
    from rollback_lib.drills.scenario import load_scenarios, real_pace

    home = project_home(None, os.environ)
    scenarios = load_scenarios(home, tuple(only or ()))
    policy: dict[str, Any] = {}
    if realtime:
        policy = read_layer(home, "production").policy
        scenarios = {name: real_pace(scenario) for name, scenario in scenarios.items()}
    _out.print(
        f"Drilling {len(scenarios)} scenario(s) against simulated companies on this machine ...", markup=False
    )
    done = run_scenarios(scenarios, home, policy, at_once=at_once, told=_tell)
    _tell_records(done, home)
    bad = [drilled for drilled in done if not drilled.as_expected]
    for drilled in bad:
        _err.print(f"--- {drilled.name}\n{drilled.said}", markup=False)
    _out.print(
        "All outcomes as expected." if not bad else f"{len(bad)} outcome(s) NOT as expected.", markup=False
    )
    raise typer.Exit(1 if bad else 0)


def _tell(drilled: Drilled) -> None:
    expected = drilled.scenario.expected
    came = f"{drilled.outcome or 'no run'}, production {drilled.production}"
    verdict = (
        "as expected"
        if drilled.as_expected
        else f"EXPECTED {expected.outcome}, production {expected.production}"
    )
    _out.print(f"  {drilled.name}: {came}, {drilled.seconds:.1f} s - {verdict}", markup=False)


def _tell_records(done: list[Drilled], home: Path) -> None:
    _out.print("Records, each with journal, executed notebook and report.html:", markup=False)
    for drilled in done:
        place = _short(drilled.folder, home) if drilled.folder else "none: no run was begun"
        _out.print(f"  {drilled.name}: {place}", markup=False)


@app.command()
def simulator(
    reset: Annotated[bool, typer.Option("--reset", help="Renew the world that is running")] = False,
) -> None:
    """Serve the default simulated company at drill.yaml's addresses until interrupted."""
    from rollback_lib.simulator import DEFAULT_PORTS, WorldSpec, reset_running, serve

    if reset:
        _out.print(reset_running(DEFAULT_PORTS), markup=False)
        return
    home = project_home(None, os.environ)
    with serve(WorldSpec(), DEFAULT_PORTS) as serving:
        serving.write_secrets(home / _SECRETS_FILE)
        _out.print(f"A broken production is running. Its tokens are in {_SECRETS_FILE}.", markup=False)
        for name, address in serving.addresses.items():
            _out.print(f"  {name:8} {address}", markup=False)
        _out.print("Stop it with Ctrl-C; break it afresh with: rollback simulator --reset", markup=False)
        _wait()


@app.command()
def lab() -> None:
    """Start a drill world and JupyterLab on the notebooks; both end together."""
    from rollback_lib.simulator import DEFAULT_PORTS, WorldSpec, serve

    home = project_home(None, os.environ)
    with serve(WorldSpec(), DEFAULT_PORTS) as serving:
        serving.write_secrets(home / _SECRETS_FILE)
        _out.print(
            "A broken production is running on this machine. Open 1_vercel_rollback.ipynb and run it cell by cell.",
            markup=False,
        )
        command = [sys.executable, "-m", "jupyter", "lab", f"--notebook-dir={home / 'notebooks'}"]
        if os.geteuid() == 0:
            command.append("--allow-root")
        environment = {**os.environ, "ROLLBACK_HOME": str(home)}
        done = subprocess.run(command, check=False, env=environment)  # noqa: S603 - our own command
        raise typer.Exit(done.returncode)


def _wait() -> None:
    over = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    over.wait()


@app.command()
def status(
    environment: Annotated[str, typer.Option("-e", "--environment")] = "drill",
    phones: Annotated[
        bool, typer.Option("--phones", help="Who approves, with telephone numbers; on this terminal only")
    ] = False,
) -> None:
    """Show the open runs of an environment, or whom to ring."""
    home = project_home(None, os.environ)
    if phones:
        _phones(home, environment)
        return
    known_environment(environment)
    runs = [one for archive in _archives(home) for one in archive.runs()]
    found = [one for one in runs if not one.broken and not one.is_closed and one.environment == environment]
    for one in runs:
        if one.broken:
            _out.print(f"{one.run}  {one.incident}  CANNOT BE READ: {one.broken}", markup=False)
    for one in found:
        _out.print(
            f"{one.run}  {one.incident}  procedure {one.procedure}  begun {one.started_at:%Y-%m-%d %H:%M} UTC  {one.outcome or 'under way'}",
            markup=False,
        )
    if not found:
        _out.print(f"No open run in {environment}.", markup=False)


def _phones(home: Path, environment: str) -> None:
    contacts = load_contacts(home, environment)
    made_up = " (made-up people of the simulated company)" if environment == "drill" else ""
    _out.print(f"Who approves in {environment.upper()}{made_up}:", markup=False)
    for role in contacts.roles:
        for person in contacts.holders(role):
            _out.print(
                f"{role.replace('_', ' '):18} {person.name:20} {person.phone}",
                markup=False,
            )


@app.command()
def verify(run: Annotated[str, typer.Argument(help="Run id, its beginning, or its folder")]) -> None:
    """Check a record: every file, the journal's chain, the claimed outcome. Works offline."""
    from rollback_lib.evidence.record import verify_record

    which = _find(project_home(None, os.environ), run)
    found = verify_record(which.folder)
    _out.print(str(found), markup=False)
    if not which.has_record:
        _out.print(
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
    folder = _find(home, run).folder
    place = seal_run(folder) if notebook is None else attach_notebook(folder, notebook)
    _out.print(f"{'Written' if notebook is None else 'Attached'}: {place}", markup=False)


@app.command()
def log(csv: Annotated[bool, typer.Option("--csv", help="As comma-separated values")] = False) -> None:
    """Print the rollback log in the plan's columns, one row a run."""
    from pandas import concat

    from rollback_lib.evidence.log import as_csv, as_text, rollback_log
    from rollback_lib.plan import load_plan

    home = project_home(None, os.environ)
    columns = load_plan(home).log_columns
    table = concat([rollback_log(archive, columns) for archive in _archives(home)], ignore_index=True)
    _out.print(as_csv(table) if csv else as_text(table), markup=False)


@app.command()
def report(run: str) -> None:
    """Print where a run's report is; it is written with the record."""
    home = project_home(None, os.environ)
    found: RunFolder = _find(home, run)
    place = found.folder / "report.html"
    if not place.is_file():
        raise BadParameters(
            f"Run {found.run} has no report yet.",
            "The record is as it was.",
            "It is written when a step fails or the run is closed.",
        )
    _out.print(str(place), markup=False)


def _archives(home: Path) -> list[Archive]:
    """Return the archives that the environments' files name, each once."""
    from rollback_lib.evidence.archive import Archive

    named = (
        read_layer(home, environment).platform.get("archive", "incidents") for environment in ENVIRONMENTS
    )
    return [Archive(home / Path(name).expanduser()) for name in dict.fromkeys(named) if "://" not in name]


def _find(home: Path, run: str) -> RunFolder:
    """Find a run in whichever archive it is.

    Raises:
        BadParameters: In none of them.
    """
    archives = _archives(home)
    for archive in archives[:-1]:
        try:
            return archive.find(run)
        except BadParameters:
            continue
    return archives[-1].find(run)


def _short(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


if __name__ == "__main__":
    main()
