"""The command: what is wrong is told in three lines with its exit code, and nothing else happens."""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from conftest import FakeClock
from parameters_project import configured, edit, project
from rehearsal import Rehearsal
from repository import ROOT
from test_procedures_vercel_rollback import all_cells
from typer.main import get_command

from rollback_lib.cli import app, main
from rollback_lib.cli.running import _world, standing
from rollback_lib.errors import GateClosed
from rollback_lib.parameters import load_contacts
from rollback_lib.simulator import DEFAULT_PORTS


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a project of its own."""
    folder = tmp_path / "home"
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    return folder


def rollback(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    import os

    environment = {**os.environ, "ROLLBACK_HOME": str(home)}
    command = [sys.executable, "-m", "rollback_lib.cli", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def looked(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Give the command words in this process, which has loaded it already: for what begins no run and serves nothing."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("ROLLBACK_HOME", str(home))
        patch.setattr(sys, "argv", ["rollback", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return subprocess.CompletedProcess(words, ended.value.code or 0, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(("run", "9_nothing", "--world", "given"), 2, "There is no notebook", id="notebook"),
        pytest.param(("run", "1_vercel_rollback", "-p", "severity"), 2, "is not NAME=VALUE", id="-p"),
        pytest.param(
            ("run", "1_vercel_rollback", "-f", "nowhere.yaml"),
            2,
            f"The parameter file nowhere.yaml, given by -f, is not there; it was looked for from {Path.cwd()}.",
            id="-f",
        ),
        pytest.param(("run", "1_vercel_rollback", "-f", "/"), 2, "given by -f, is a folder", id="-f folder"),
        pytest.param(
            ("run", "1_vercel_rollback", "--world", "given", "-p", "issue_started_at=-20"),
            2,
            "write -20m",
            id="-20",
        ),
        pytest.param(("run", "1_vercel_rollback", "--world", "flat"), 2, "is unknown", id="world"),
        pytest.param(("drill", "--only", "nothing"), 2, "No scenario nothing", id="scenario"),
        pytest.param(("verify", "P9"), 2, "no run is named", id="verify"),
        pytest.param(("record", "P9", "--notebook", "x.ipynb"), 2, "no run is named", id="record"),
        pytest.param(("report", "P9"), 2, "no run is named", id="report"),
        pytest.param(("status", "-e", "nowhere"), 2, "known are production, staging, drill", id="status"),
        pytest.param(("status", "--phones", "-e", "nowhere"), 2, "has no people for nowhere", id="phones"),
    ],
)
def test_wrong_words_are_told_in_three_lines_and_write_nothing(
    home: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    """Happened, now, next; no traceback; no folder."""
    done = (rollback if "given" in words else looked)(home, *words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "  Now:  " in done.stderr
    assert "  Next: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "incidents").exists()


def test_unknown_environment_is_refused_by_the_notebook_before_any_run(home: Path) -> None:
    """The known environments are named."""
    done = rollback(home, "run", "1_vercel_rollback", "-e", "prod")
    assert done.returncode == 2
    assert "production, staging, drill" in done.stderr
    assert not (home / "incidents").exists()
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        "Go on:   see to what is named above, then give the same command again; -p NAME=VALUE"
    )


def test_production_that_is_not_configured_names_the_lines_to_fill_in(home: Path) -> None:
    """As committed, production cannot be touched by accident."""
    done = rollback(home, "run", "1_vercel_rollback", "-e", "production")
    assert done.returncode == 2
    assert "production is not configured yet" in done.stderr
    assert "parameters/production.yaml, line" in done.stderr


def test_simulator_says_which_port_is_taken(home: Path) -> None:
    """A second simulator names the port instead of failing oddly."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((DEFAULT_PORTS.host, DEFAULT_PORTS.vercel))
            taken.listen()
        except OSError:
            pass  # somebody's simulator is running: the port is taken all the same
        done = rollback(home, "simulator")
    assert done.returncode == 2
    assert re.search(r"Port 740\d of 127\.0\.0\.1", done.stderr)


@pytest.mark.parametrize(("notebook", "has_one"), [("1_vercel_rollback", False), ("2_convex_rollback", True)])
def test_a_fresh_world_has_a_backend_where_the_notebook_is_about_one(notebook: str, has_one: bool) -> None:
    """Procedure 2 finds broken functions to roll back; procedure 1 does not wait for what it never looks at."""
    with _world("drill", "fresh", f"notebooks/{notebook}.ipynb") as serving:
        assert serving is not None
        backend = serving.world.convex
        assert (backend is not None and backend.live.app.key != backend.expected_code) is has_one
        assert ("convex" in serving.platform) is has_one


def test_log_status_verify_and_report_of_a_run(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run left is found by its beginning; the log has the plan's columns; phones are told on demand only."""
    company = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(company.home))
    run = company.open(severity="")
    company.restart(run)
    said = [
        looked(company.home, *words) for words in (("status",), ("log",), ("log", "--csv"), ("verify", "P1"))
    ]
    assert run.journal.run in said[0].stdout
    assert f"drill is held by run {run.journal.run} of ana on " in said[0].stdout
    assert "under way, or cut off" in said[0].stdout
    assert "Deployed By" in said[1].stdout
    assert said[2].stdout.startswith(
        "Date,Environment,Reason,Method,Duration,Data Loss,Deployed By,Approved By,Outcome,Run"
    )
    assert said[3].returncode == 1  # begun, but no record yet
    phones = [person.phone for person in run.session.resolved.contacts.people.values()]
    assert not [phone for phone in phones for done in said if phone in done.stdout + done.stderr]
    asked = looked(company.home, "status", "--phones")
    assert asked.returncode == 0
    assert run.session.resolved.contacts.holders("cto")[0].phone in asked.stdout


def test_status_says_of_a_stopped_run_why_it_stopped_and_how_to_go_on(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that a gate refused is not taken for one that is over."""
    company = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(company.home))
    run = company.open(confirm="")
    with pytest.raises(GateClosed):
        all_cells(run)
    told = looked(company.home, "status").stdout
    assert "stopped, so far refused\n    Gate P1.G1 (Promote to Production) is closed: the name " in told
    assert "Go on with one: rollback resume RUN. End one: rollback abort RUN --reason ..." in told
    shell = "-p NAME=VALUE stands for the parameters cell"
    resume = f"rollback resume {run.journal.run} ({shell})"
    end = f"or end it: rollback abort {run.journal.run} --reason ..."
    assert list(standing(run.folder, told=True)) == [
        f"Open:    go on with it, which runs the cell again: {resume}; {end}"
    ]
    (held,) = standing(run.folder, told=True, held=True)
    assert held.startswith("Open:    once nobody else acts (rollback status -e drill), go on with it")
    run.abort("over")
    *_, again = standing(run.folder, told=True)
    told = f"rollback run NOTEBOOK -e drill -p incident={run.session.incident} -p new_run=True ..."
    assert again == f"Again:   this run is over; another one in its incident: {told}"


def test_a_run_that_ended_says_where_production_is_and_what_is_left_to_do(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unattended as well: the pin is the first thing that is forgotten."""
    company = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(company.home))
    run = company.open()
    all_cells(run)
    now, undo, *to_do = standing(run.folder, told=False)
    assert now == f"Now:     Production was left on {company.role('stable')}, pinned."
    assert f"rollback undo {run.journal.run}" in undo
    assert to_do[0].startswith("To do:   production is pinned")
    assert "To do:   post-rollback checklist, Immediate (0-15 minutes): Document issue - " in "\n".join(to_do)
    assert list(standing(run.folder, told=True)) == to_do
    assert not [line for line in to_do if not line.startswith("To do:   ")]  # well ended: no other run


def test_phones_are_those_of_the_environment_asked_for(tmp_path: Path) -> None:
    """In production the made-up people of the drill are nobody to ring."""
    home = configured(tmp_path)
    drill, production = (load_contacts(home, name).holders("cto")[0] for name in ("drill", "production"))
    for environment, asked, other in (("drill", drill, production), ("production", production, drill)):
        done = looked(home, "status", "--phones", "-e", environment)
        assert f"Who approves in {environment.upper()}" in done.stdout
        assert ("made-up" in done.stdout) is (environment == "drill")
        assert asked.phone in done.stdout
        assert other.phone not in done.stdout


def test_phones_that_can_be_read_are_shown_above_the_lines_that_cannot(tmp_path: Path) -> None:
    """One bad line of contacts.yaml takes no other number away, and the command still says that it is bad."""
    home = project(tmp_path)
    edit(home, "contacts.yaml", "U0CAT", "cat")
    edit(home, "contacts.yaml", '"+61 000 000 004"', "0400000004")  # YAML makes a figure of it
    edit(home, "contacts.yaml", '"+61 000 000 001"', "CHANGE-ME")
    done = looked(home, "status", "--phones")
    assert done.returncode == 2
    assert [re.split("  +", line) for line in done.stdout.splitlines()[1:]] == [
        ["engineering lead", "Lee Lead", "+61 000 000 002"],
        ["engineering lead", "Dee Deputy", "0400000004", "(as written: no country code)"],
        ["cto", "Cat Chief", "+61 000 000 003"],
        ["on call engineer", "Ana Operator", "no number that can be read"],
        ["no role", "Sam Support", "+61 000 000 005"],
    ]
    for bad in ("ana.phone", "cat.slack", "dee.phone"):
        assert re.search(rf"contacts.yaml, line \d+: drill.people.{bad} must be", done.stderr), bad
    assert "  Next: Correct the lines named above." in done.stderr
    assert "+61 000" not in done.stderr


def test_phones_are_shown_where_a_name_stands_twice_or_a_role_names_nobody(tmp_path: Path) -> None:
    """What makes the file useless for a run leaves it good enough to ring people."""
    home = project(tmp_path)
    edit(home, "contacts.yaml", "cto: {person: cat", "cto: {person: kat")
    edit(home, "contacts.yaml", "name: Sam Support", "name: Sam Support\n      name: Sam")
    done = looked(home, "status", "--phones")
    assert done.returncode == 2
    assert "'name' is written twice" in done.stderr
    assert re.search("cto +kat +is not among the people", done.stdout)
    assert re.search(r"no role +Cat Chief +\+61 000 000 003", done.stdout)


def test_runs_are_found_where_the_parameters_keep_them(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """platform.archive names another folder: log, status and verify look there; a broken run is never left out."""
    company = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(company.home))
    drill = company.home / "parameters" / "drill.yaml"
    drill.write_text(
        drill.read_text(encoding="utf-8").replace("archive: incidents", "archive: records"), encoding="utf-8"
    )
    run = company.open()
    company.restart(run)
    assert run.folder.is_relative_to(company.home / "records")
    for words in (("status",), ("log",)):
        assert run.journal.run in looked(company.home, *words).stdout
    verified = looked(company.home, "verify", "P1")
    assert "record.json: is missing" in verified.stdout  # found, and not sealed yet
    assert f"rollback record {run.journal.run}" in verified.stdout
    (run.folder / "journal.jsonl").write_text("damaged\n", encoding="utf-8")
    assert "CANNOT BE READ" in looked(company.home, "status").stdout


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    """Nothing is hidden, nothing is documented that is not there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group
    for name, command in commands.items():
        assert command.help, name
        assert f"rollback {name}" in readme, name


def test_status_of_an_environment_whose_store_cannot_be_opened_says_so(home: Path) -> None:
    """The runs are told all the same."""
    done = looked(home, "status", "-e", "production")
    assert done.returncode == 0, done.stderr
    assert "No open run in production." in done.stdout
    (home / "state").write_text("not a folder")
    done = looked(home, "status")
    assert done.returncode == 0, done.stderr
    assert "No open run in drill." in done.stdout
    assert "Who acts on drill is not known: " in done.stdout


def test_run_that_no_archive_and_no_store_knows_is_told_as_such(home: Path) -> None:
    """Looked for in the stores too, and nothing is left behind."""
    done = looked(home, "resume", "P1-20261123-215800-7f3a")
    assert done.returncode == 2
    assert "no run is named 'P1-20261123-215800-7f3a'" in done.stderr
    assert not (home / "incidents").exists()
