"""`rollback run`: exit code, result file, record and world tell the same outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from waits import INGEST_LAG_S, SHORT_WAITS

from rollback_lib.evidence.archive import Archive
from rollback_lib.evidence.record import verify_record
from rollback_lib.simulator import Serving, WorldSpec, serve


NO_TRAFFIC = {"min_requests": 100_000, "verify_deadline_s": 2}  # more than there is: the error rate has no data


@pytest.fixture
def company() -> Iterator[Serving]:
    with serve(WorldSpec(history_s=1800, traffic_rps=20, ingest_lag_s=INGEST_LAG_S)) as serving:
        yield serving


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "incidents"


def environment(company: Serving) -> dict[str, str]:
    return {**os.environ, **company.variables, "ROLLBACK_HOME": str(ROOT)}


def parameters(company: Serving, archive: Path, **given) -> dict:
    tree = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
    own = {"platform": {**company.platform, "archive": str(archive)}, "policy": SHORT_WAITS | given.pop("policy", {})}
    return {**tree, **own, **given}


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


@pytest.mark.parametrize(
    ("given", "code", "outcome", "moved"),
    [
        pytest.param({}, 0, "verified", True, id="verified"),
        pytest.param({"severity": "P2", "criterion": ""}, 3, "refused", False, id="refused"),
        pytest.param({"deployment": "dpl_nobody"}, 1, "failed", False, id="failed"),
        pytest.param(
            {"policy": NO_TRAFFIC | {"unverified_is_success": True}},  # whatever the policy: 0 is for verified alone
            4,
            "completed_unverified",
            True,
            id="unverified",
        ),
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
    if outcome == "verified":
        assert done.stderr == ""
