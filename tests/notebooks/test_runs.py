"""The notebook as others run it: nbmake and plain papermill, against a simulated company on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from repository import ROOT

from rollback_lib.cli.running import _REPOSITORY, _backend
from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.evidence.record import verify_record
from rollback_lib.model import Outcome
from rollback_lib.simulator import DEFAULT_PORTS, Serving, WorldSpec, serve

NOTEBOOK = ROOT / "notebooks" / "1_vercel_rollback.ipynb"
BACKEND_NOTEBOOK = ROOT / "notebooks" / "2_convex_rollback.ipynb"


@dataclass
class Company:
    """A broken company at addresses of its own, and a project folder whose drill.yaml leads there."""

    serving: Serving
    home: Path

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment as a person would, with this project as its home."""
        environment = {**os.environ, "ROLLBACK_HOME": str(self.home), "PYTEST_ADDOPTS": ""}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def only_run(self) -> RunFolder:
        """Return the one run that there is."""
        (found,) = Archive(self.home / "incidents").runs()
        return found

    @property
    def is_recovered(self) -> bool:
        """Say whether every domain of production is healthy on the last stable deployment, by the world itself."""
        view = self.serving.world.outcome_view()
        return view.healthy and view.production == self.target and set(view.live.values()) == {self.target}

    def __post_init__(self) -> None:
        self.target = self.serving.world.expected_target()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Start a company, with no more of a past than the procedure looks at."""
    yield from _served(tmp_path / "home", WorldSpec(history_s=2400, traffic_rps=25))


@pytest.fixture
def company_with_backend(tmp_path: Path) -> Iterator[Company]:
    """Start a company as `rollback simulator --backend` does."""
    home = tmp_path / "home"
    yield from _served(home, WorldSpec(history_s=600, convex=_backend(home / _REPOSITORY)))


def _served(home: Path, spec: WorldSpec) -> Iterator[Company]:
    shutil.copytree(ROOT / "parameters", home / "parameters")
    with serve(spec) as serving:
        drill = home / "parameters" / "drill.yaml"
        text = drill.read_text(encoding="utf-8")
        for name, address in serving.addresses.items():
            text = text.replace(f"http://{DEFAULT_PORTS.host}:{getattr(DEFAULT_PORTS, name)}", address)
        drill.write_text(text, encoding="utf-8")
        serving.write_secrets(home / ".secrets" / "drill.env")
        yield Company(serving, home)


def test_nbmake_runs_the_notebook_and_production_is_recovered(company, tmp_path):
    """`pytest --nbmake` needs nothing but a running company: the parameters are the notebook's own."""
    done = company.run(
        "pytest", "--nbmake", str(NOTEBOOK), "-p", "no:cacheprovider", "-p", "no:xdist", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    run = company.only_run()
    assert (run.outcome, run.is_closed) == (Outcome.VERIFIED, True)
    assert company.is_recovered
    assert "notebook: not attached" in str(verify_record(run.folder))


def test_plain_papermill_runs_the_notebook_and_its_copy_can_be_attached(company, tmp_path):
    """Plain papermill with the drill's own file needs nothing else; the record gets the executed notebook afterwards."""
    out = tmp_path / "out.ipynb"
    file = company.home / "parameters" / "drill.yaml"
    done = company.run(
        "papermill", str(NOTEBOOK), str(out), "-f", str(file), "--no-progress-bar", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    run = company.only_run()
    assert run.outcome is Outcome.VERIFIED
    assert company.is_recovered
    attached = company.run("rollback_lib.cli", "record", str(run.run), "--notebook", str(out), cwd=tmp_path)
    assert attached.returncode == 0, attached.stderr
    verified = company.run("rollback_lib.cli", "verify", str(run.run), cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout
    assert "notebook: not attached" not in verified.stdout
    secrets = [value for value in company.serving.secrets.values() if len(value) > 8]
    held = "".join(path.read_text(encoding="utf-8") for path in run.folder.rglob("*") if path.is_file())
    assert secrets
    assert [value for value in secrets if value in held] == []


def test_plain_papermill_runs_procedure_2_and_the_backend_is_recovered(company_with_backend, tmp_path):
    """The drill's own file leads to the backend of the simulator and to its repository, and what it pushed is what runs."""
    company, file = company_with_backend, company_with_backend.home / "parameters" / "drill.yaml"
    command = ("papermill", str(BACKEND_NOTEBOOK), str(tmp_path / "out.ipynb"), "-f", str(file))
    done = company.run(*command, "--no-progress-bar", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert company.only_run().outcome is Outcome.VERIFIED
    backend = company.serving.world.outcome_view().convex
    assert (backend.code, backend.failed_calls) == (backend.expected_code, 0)
    assert str(backend.pushes[-1].message).startswith("rollback to ")


def test_default_parameters_stop_at_the_closed_gate(company, tmp_path):
    """Run All with the notebook as it is changes nothing: the step after the gate refuses."""
    done = company.run(
        "papermill",
        str(NOTEBOOK),
        str(tmp_path / "out.ipynb"),
        "-p",
        "issue_started_at",
        "-20m",
        "--no-progress-bar",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "GateClosed" in done.stderr
    run = company.only_run()
    assert (run.outcome, run.is_closed) == (Outcome.REFUSED, False)
    assert not company.serving.world.outcome_view().effects
