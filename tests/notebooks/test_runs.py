"""The notebook itself, headless: papermill as it is, the rollback command, and a gate that stays closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from rollback_lib.evidence.archive import Archive
from rollback_lib.evidence.record import verify_record
from rollback_lib.simulator import Serving, WorldSpec, serve

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "1_vercel_rollback.ipynb"


@pytest.fixture
def company() -> Iterator[Serving]:
    with serve(WorldSpec(history_s=1800, traffic_rps=20)) as serving:
        yield serving


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "incidents"


def environment(company: Serving) -> dict[str, str]:
    return {**os.environ, **company.secrets, "ROLLBACK_HOME": str(ROOT)}


def parameters(company: Serving, archive: Path, **given) -> dict:
    tree = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
    return {**tree, "platform": {**company.platform, "archive": str(archive)}, **given}


def written(tmp_path: Path, given: dict) -> Path:
    place = tmp_path / "given.yaml"
    place.write_text(yaml.safe_dump(given), encoding="utf-8")
    return place


def child(company: Serving, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment(company),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_plain_papermill_rolls_back_and_the_copy_is_attached_afterwards(
    company: Serving, archive: Path, tmp_path: Path
):
    """Papermill alone, no wrapper: exit 0, production recovered, a record that verifies, then with its notebook."""
    out = tmp_path / "out.ipynb"
    done = child(
        company,
        sys.executable,
        "-m",
        "papermill",
        str(NOTEBOOK),
        str(out),
        "-f",
        str(written(tmp_path, parameters(company, archive))),
    )
    assert done.returncode == 0, done.stderr
    view = company.world.outcome_view()
    assert set(view.live.values()) == {view.roles["stable"]}
    (run,) = Archive(archive).runs()
    assert run.outcome == "verified"
    before = verify_record(run.folder)
    assert before.ok
    assert before.notebook == "not attached"
    attached = child(
        company, sys.executable, "-m", "rollback_lib.cli", "record", str(run.folder), "--notebook", str(out)
    )
    assert attached.returncode == 0, attached.stderr
    assert verify_record(run.folder).notebook == "attached"


@pytest.mark.parametrize(
    ("given", "code", "outcome", "moved"),
    [
        pytest.param({}, 0, "verified", True, id="verified"),
        pytest.param({"severity": "P2", "criterion": ""}, 3, "refused", False, id="refused"),
        pytest.param({"deployment": "dpl_nobody"}, 1, "failed", False, id="failed"),
        pytest.param({"dry_rnu": True}, 2, None, False, id="misspelt"),
        pytest.param({"dry_run": "no"}, 2, None, False, id="flag as text"),
    ],
)
def test_run_command_tells_the_outcome_by_its_exit_code(
    company: Serving, archive: Path, tmp_path: Path, given: dict, code: int, outcome: str | None, moved: bool
):
    """The exit code, the result file and the world agree; bad parameters begin no run."""
    told, place = tmp_path / "result.json", written(tmp_path, parameters(company, archive, **given))
    done = child(
        company,
        sys.executable,
        "-m",
        "rollback_lib.cli",
        "run",
        "1_vercel_rollback",
        "-e",
        "drill",
        "--world",
        "given",
        "-f",
        str(place),
        "--result",
        str(told),
    )
    assert done.returncode == code, done.stdout + done.stderr
    result = json.loads(told.read_text(encoding="utf-8"))
    assert result["outcome"] == outcome
    assert bool(company.world.outcome_view().effects) is moved
    assert len(Archive(archive).runs()) == (1 if outcome else 0)
    if outcome:
        assert verify_record(Path(result["folder"])).notebook == "attached"
    assert "Traceback" not in done.stdout + done.stderr


def test_run_all_with_default_parameters_stops_at_the_closed_gate(
    company: Serving, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    """An engineer who runs all cells as they are changes nothing: the step after the gate refuses and says what is missing."""
    for name, value in {**company.secrets, "ROLLBACK_HOME": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {**company.platform, "archive": str(archive)}
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source += f"\nplatform = {where!r}\n"
    with pytest.raises(CellExecutionError) as caught:
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert caught.value.ename == "GateClosed"
    assert "severity is not set" in caught.value.evalue
    assert company.world.outcome_view().effects == ()
    assert [entry for entry in company.world.ledger.entries() if entry.changes] == []
