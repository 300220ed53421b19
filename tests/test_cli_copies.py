"""The notebooks that people work in: copies, of which none that was worked in is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from parameters_project import ROOT, project

from rollback_lib.cli.copies import COPIES, lay_out

NAME = "1_vercel_rollback.ipynb"
NOW = datetime(2026, 11, 24, 0, 10, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a project with one notebook."""
    folder = project(tmp_path)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / NAME).write_text("committed", encoding="utf-8")
    return folder


def work_in(home: Path, text: str, ago: timedelta) -> Path:
    """Save the copy as JupyterLab does, some time before NOW."""
    copy = home / COPIES / NAME
    copy.write_text(text, encoding="utf-8")
    saved = (NOW - ago).timestamp()
    os.utime(copy, (saved, saved))
    return copy


def read(home: Path) -> dict[str, str]:
    return {place.name: place.read_text(encoding="utf-8") for place in (home / COPIES).glob("*.ipynb")}


def test_first_time_each_notebook_is_copied(home: Path) -> None:
    """As committed, outputs and parameters of nobody."""
    assert lay_out(home, NOW) == ()
    assert read(home) == {NAME: "committed"}


@pytest.mark.parametrize(
    "ago", [timedelta(minutes=12), timedelta(hours=23)], ids=["before midnight", "a day ago"]
)
def test_copy_that_was_worked_in_within_a_day_is_left_alone(home: Path, ago: timedelta) -> None:
    """An incident goes on where it is, also past midnight, and also where the committed notebook has changed."""
    lay_out(home, NOW)
    work_in(home, "new_run = True, run P1-...", ago)
    (home / "notebooks" / NAME).write_text("committed anew", encoding="utf-8")
    assert lay_out(home, NOW) == ()
    assert read(home) == {NAME: "new_run = True, run P1-..."}


def test_copy_that_was_left_for_a_day_is_put_aside_and_made_anew(home: Path) -> None:
    """The next person does not go on with its parameters, and its outputs are still there, twice a day as well."""
    aside = ["1_vercel_rollback.2026-11-22.ipynb", "1_vercel_rollback.2026-11-22-2.ipynb"]
    for at, text in enumerate(("first", "second")):
        lay_out(home, NOW)
        work_in(home, text, timedelta(hours=25))
        assert [place.name for place in lay_out(home, NOW)] == [aside[at]]
    assert read(home) == {NAME: "committed", aside[0]: "first", aside[1]: "second"}
    assert (home / "notebooks" / NAME).read_text(encoding="utf-8") == "committed"


def test_copy_that_nobody_worked_in_follows_the_committed_notebook(home: Path) -> None:
    """Nothing is put aside for it; where it is not known whether it was worked in, it is kept."""
    lay_out(home, NOW)
    (home / "notebooks" / NAME).write_text("committed anew", encoding="utf-8")
    assert lay_out(home, NOW) == ()
    assert read(home) == {NAME: "committed anew"}
    (home / COPIES / ".made.json").write_text("torn", encoding="utf-8")
    work_in(home, "committed anew", timedelta(hours=25))
    (home / "notebooks" / NAME).write_text("committed last", encoding="utf-8")
    assert [place.name for place in lay_out(home, NOW)] == ["1_vercel_rollback.2026-11-22.ipynb"]
    assert read(home)[NAME] == "committed last"


def test_lab_serves_the_copies_and_leaves_the_committed_notebooks_alone(home: Path, tmp_path: Path) -> None:
    """JupyterLab opens the copies, although their folder is a hidden one, and sees nothing of the committed ones."""
    committed = (ROOT / "notebooks" / NAME).read_bytes()
    (home / "notebooks" / "no_notebook.md").write_text("beside the committed ones", encoding="utf-8")
    (home / "notebooks" / NAME).write_bytes(committed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "ServerApp": {"open_browser": False, "port": port, "port_retries": 0},
        "IdentityProvider": {"token": ""},
    }
    (tmp_path / "jupyter_server_config.json").write_text(json.dumps(config), encoding="utf-8")
    variables = {**os.environ, "ROLLBACK_HOME": str(home), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "rollback_lib.cli", "lab", "-e", "production"]
    lab = subprocess.Popen(
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        served = _get(f"http://127.0.0.1:{port}/api/contents/{NAME}", lab)
        assert [cell["id"] for cell in served["content"]["cells"]][:2] == ["p1-title", "p1-parameters"]
        assert served["writable"]
        listed = _get(f"http://127.0.0.1:{port}/api/contents", lab)
        assert [one["name"] for one in listed["content"]] == [NAME]
    finally:
        os.killpg(lab.pid, signal.SIGTERM)
        said = lab.communicate(timeout=60)[0]
    assert 'No simulated company is running. Set environment = "production"' in said
    assert (home / "notebooks" / NAME).read_bytes() == committed


def _get(address: str, lab: subprocess.Popen[str]) -> dict:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urlopen(address) as reply:  # noqa: S310 - loopback
                return json.load(reply)
        except URLError:
            assert lab.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
