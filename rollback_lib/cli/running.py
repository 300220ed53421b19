"""Commands that run notebooks, and those that serve the simulated company.

- Exit codes of `run`: 0 verified, 1 failed, 2 bad parameters, 3 refused by a gate, 4 completed but unverified,
  5 somebody else holds the environment or the run, 6 unknown: a person must look.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollback_lib.cli.console import app, err, out
from rollback_lib.cli.copies import COPIES, lay_out
from rollback_lib.cli.finding import short
from rollback_lib.clock import SystemClock
from rollback_lib.errors import BadParameters
from rollback_lib.model import Outcome
from rollback_lib.parameters import known_environment, project_home, read_layer
from rollback_lib.yamlfile import load_tree

if TYPE_CHECKING:
    from rollback_lib.drills.drill import Drilled
    from rollback_lib.simulator import Serving
    from rollback_lib.simulator.convex.spec import ConvexSpec

__all__ = ["carry_out", "given_pairs", "standing"]

HELD = 5  # exit code: somebody else acts, so this one has nothing to go on with
_IN_A_SHELL = "-p NAME=VALUE stands for the parameters cell"
_SECRETS_FILE = Path(".secrets") / "drill.env"
_STATE = Path("state")  # as drill.yaml has it
_KEYS = Path(".secrets") / "drill-keys"  # drill.yaml names the signers file in it
_REPOSITORY = Path(".rollback") / "convex-app"  # as drill.yaml has it
_PROCEDURE_2 = "2_"
_BACKEND_HELP = "With the company's backend, for procedure 2; the first time on a machine takes npm packages"


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
    with _world(environment, world, notebook) as serving:
        if serving is not None:
            injected["platform"] = {**serving.platform, **injected.get("platform", {})}
            os.environ.update(serving.variables)
        code = carry_out(home, notebook, injected, output, result)
    raise typer.Exit(code)


def carry_out(
    home: Path, notebook: str, injected: dict[str, Any], output: Path | None, result: Path | None
) -> int:
    """Run a notebook headless, print how it ended, and return the exit code.

    Args:
        home: The project's folder.
        notebook: Name or path.
        injected: Parameters by name.
        output: Where to leave the executed copy besides the run's folder.
        result: Where to write outcome and folder as JSON.
    """
    from rollback_lib.execute import execute

    path = Path(notebook) if notebook.endswith(".ipynb") else home / "notebooks" / f"{notebook}.ipynb"
    done = execute(path, injected, output=output, told=lambda line: out.print(f"  {line}", markup=False))
    if done.error:
        err.print(done.error, markup=False)
    out.print(f"Outcome: {done.outcome or 'no run was begun'} (exit code {done.exit_code})", markup=False)
    if done.folder is not None:
        out.print(f"Record:  {done.folder}", markup=False)
        for line in standing(done.folder, told=bool(done.error), held=done.exit_code == HELD):
            out.print(line, markup=False)
    elif done.exit_code:
        out.print(
            f"Go on:   see to what is named above, then give the same command again; {_IN_A_SHELL}",
            markup=False,
        )
    if result is not None:
        result.write_text(
            json.dumps({"outcome": done.outcome, "folder": str(done.folder) if done.folder else None}),
            encoding="utf-8",
        )
    return done.exit_code


def standing(folder: Path, *, told: bool, held: bool = False) -> Iterator[str]:
    """Say how a run was left and, last, how to go on from a terminal: its error speaks of cells.

    Args:
        folder: The run's; its journal is read.
        told: Whether its error has told state and undo already.
        held: Whether it stopped because somebody else acts.
    """
    from rollback_lib.journal import FILE_NAME, read_journal

    lines = read_journal(folder / FILE_NAME).lines
    opened, closed = lines[0], next((line for line in lines if line.event == "run.closed"), None)
    environment = opened.data["environment"]
    if closed is None:
        first = f"once nobody else acts (rollback status -e {environment}), " if held else ""
        yield (
            f"Open:    {first}go on with it, which runs the cell again: rollback resume {opened.run} ({_IN_A_SHELL}); "
            f"or end it: rollback abort {opened.run} --reason ..."
        )
        return
    if not told:
        yield f"Now:     {closed.data['state']}"
        yield f"         {closed.data['undo']}"
    for text in closed.data["still_open"]:
        yield f"To do:   {text}"
    if closed.data["outcome"] != Outcome.VERIFIED:
        yield (
            f"Again:   this run is over; another one in its incident: rollback run NOTEBOOK -e {environment} "
            f"-p incident={opened.data['incident']} -p new_run=True ..."
        )


def _injected(home: Path, environment: str, files: list[Path], pairs: list[str]) -> dict[str, Any]:
    """Collect what is injected: the drill's own file, then the files given, then single values."""
    injected: dict[str, Any] = {}
    if environment == "drill":
        injected.update(load_tree(home / "parameters" / "drill.yaml")[0])
        for layer in ("platform", "policy"):
            injected.pop(layer, None)  # they come from the environment's file anyway
    for path in files:
        injected.update(_given_file(path))
    return injected | given_pairs(pairs) | {"environment": environment, "mode": "headless"}


def _given_file(path: Path) -> dict[str, Any]:
    """Read a file of parameters.

    Raises:
        BadParameters: It is not there, or not readable as parameters; nothing was run.
    """
    if not path.exists() or path.is_dir():  # a pipe of the shell is as good as a file
        there = "is a folder" if path.exists() else "is not there"
        raise BadParameters(
            f"The parameter file {path}, given by -f, {there}; it was looked for from {Path.cwd()}.",
            "Nothing was run.",
            "Give its path from that folder, or the whole path.",
        )
    return load_tree(path)[0]


def given_pairs(pairs: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value is a Python literal or a text.

    Raises:
        BadParameters: One has no equals sign; nothing was run.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            raise BadParameters(
                f"-p {pair!r} is not NAME=VALUE.", "Nothing was run.", "Write -p severity=P1."
            )
        found[name] = _literal(text)
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@contextmanager
def _world(environment: str, world: str, notebook: str) -> Iterator[Serving | None]:
    if world not in ("fresh", "running", "given"):
        raise BadParameters(
            f"--world {world!r} is unknown.", "Nothing was run.", "Choose fresh, running or given."
        )
    if environment != "drill" or world != "fresh":
        yield None
        return
    from rollback_lib.simulator import WorldSpec, serve

    with serve(
        WorldSpec(convex=_backend() if Path(notebook).stem.startswith(_PROCEDURE_2) else None)
    ) as serving:
        yield serving


def _backend(repository: Path | None = None) -> ConvexSpec:
    """Give a backend whose latest push has broken it, with its app's repository in a folder, or in one of the world's own."""
    from rollback_lib.simulator.convex.furnishing import CROWD
    from rollback_lib.simulator.convex.spec import ConvexSpec

    return ConvexSpec(live="bad", visitors=CROWD, repository=str(repository or ""))


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
    out.print(
        f"Drilling {len(scenarios)} scenario(s) against simulated companies on this machine ...", markup=False
    )
    done = run_scenarios(scenarios, home, policy, at_once=at_once, told=_tell)
    _tell_records(done, home)
    bad = [drilled for drilled in done if not drilled.as_expected]
    for drilled in bad:
        err.print(f"--- {drilled.name}\n{drilled.said}", markup=False)
        if drilled.verdict.broken:
            err.print(str(drilled.verdict), markup=False)
    out.print(
        "All outcomes as expected." if not bad else f"{len(bad)} outcome(s) NOT as expected.", markup=False
    )
    raise typer.Exit(1 if bad else 0)


def _tell(drilled: Drilled) -> None:
    expected = drilled.expected
    came = f"{drilled.outcome or 'no run'}, production {drilled.production}"
    judged = f"oracle: {drilled.verdict.summary}"
    verdict = "as expected"
    if not drilled.came_right:
        verdict = f"EXPECTED {expected.outcome}, production {expected.production}"
    elif drilled.lacking:
        verdict = f"NOT as expected: {drilled.lacking}"
    elif not drilled.as_expected:
        verdict = "NOT as expected: the claim is right, but the run broke what must always hold"
    out.print(f"  {drilled.name}: {came}, {drilled.seconds:.1f} s, {judged} - {verdict}", markup=False)


def _tell_records(done: list[Drilled], home: Path) -> None:
    out.print("Records, each with journal, executed notebook and report.html:", markup=False)
    for drilled in done:
        place = short(drilled.folder, home) if drilled.folder else "none: no run was begun"
        out.print(f"  {drilled.name}: {place}", markup=False)


@app.command()
def simulator(
    reset: Annotated[bool, typer.Option("--reset", help="Renew the world that is running")] = False,
    backend: Annotated[bool, typer.Option("--backend", help=_BACKEND_HELP)] = False,
) -> None:
    """Serve the default simulated company at drill.yaml's addresses until interrupted."""
    from rollback_lib.simulator import DEFAULT_PORTS, reset_running

    if reset:
        out.print(reset_running(DEFAULT_PORTS), markup=False)
        return
    home = project_home(None, os.environ)
    with _default_world(home, backend=backend) as serving:
        out.print(f"A broken production is running. Its tokens are in {_SECRETS_FILE}.", markup=False)
        for name, address in serving.addresses.items():
            out.print(f"  {name:10} {address}", markup=False)
        out.print(
            f"Its approvers' keys are in {_KEYS}: rollback approve DIGEST --key {_KEYS}/lee", markup=False
        )
        out.print("Stop it with Ctrl-C; break it afresh with: rollback simulator --reset", markup=False)
        _wait()


@app.command()
def lab(
    environment: Annotated[
        str,
        typer.Option(
            "-e",
            "--environment",
            help="drill starts a simulated company beside it; staging and production start none",
        ),
    ] = "drill",
    backend: Annotated[bool, typer.Option("--backend", help=_BACKEND_HELP)] = False,
) -> None:
    """Start JupyterLab on copies of the notebooks, in a drill beside a broken simulated company; both end together."""
    home = project_home(None, os.environ)
    drilled = known_environment(environment) == "drill"
    with _default_world(home, backend=backend) if drilled else nullcontext():
        told = (
            "A broken production is running on this machine."
            if drilled
            else f'No simulated company is running. Set environment = "{environment}" in the parameters cell.'
        )
        notebooks = "1_vercel_rollback.ipynb" + (
            " or 2_convex_rollback.ipynb" if backend or not drilled else ""
        )
        out.print(f"{told} Open {notebooks} and run it cell by cell.", markup=False)
        for place in lay_out(home, SystemClock().now()):
            out.print(f"Not worked in for a day and put aside: {short(place, home)}", markup=False)
        out.print(
            f"The notebooks are copies, in {COPIES}; those under version control stay as they are.",
            markup=False,
        )
        command = [sys.executable, "-m", "jupyter", "lab", f"--notebook-dir={home / COPIES}"]
        if os.geteuid() == 0:
            command.append("--allow-root")
        variables = {**os.environ, "ROLLBACK_HOME": str(home)}
        done = subprocess.run(command, check=False, env=variables)  # noqa: S603 - our own command
        raise typer.Exit(done.returncode)


@contextmanager
def _default_world(home: Path, *, backend: bool) -> Iterator[Serving]:
    """Serve the company of drill.yaml, whose approvers have keys for whoever practises `rollback approve`."""
    from rollback_lib.simulator import DEFAULT_PORTS, Signer, WorldSpec, serve

    people = {"lee": ("engineering_lead",), "dee": ("engineering_lead",), "cat": ("cto",)}
    able = shutil.which("ssh-keygen") is not None  # without it the world is served all the same
    signers = (Signer(person=name, roles=roles, after_s=None) for name, roles in people.items() if able)
    spec = WorldSpec(signers=tuple(signers), convex=_backend(home / _REPOSITORY) if backend else None)
    with serve(spec, DEFAULT_PORTS, state=home / _STATE, keys=home / _KEYS) as serving:
        serving.write_secrets(home / _SECRETS_FILE)
        yield serving


def _wait() -> None:
    over = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    over.wait()
