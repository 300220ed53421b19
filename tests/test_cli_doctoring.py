"""`rollback doctor` as it is typed: exit codes, a table for people, JSON for machines."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from parameters_project import configured, project

from rollback_lib.simulator import Broken, Serving, WorldSpec, serve

NOWHERE = "http://127.0.0.1:9"
PORTS = {"vercel": 7401, "sentry": 7402, "slack": 7403, "app": 7404}
SOUND = WorldSpec(broken=Broken(pages=(), health_red=False), traffic_rps=0.1, history_s=4000)


def doctor(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, with no way out but over a proxy that is not there."""
    return subprocess.run(
        [sys.executable, "-m", "rollback_lib.cli", "doctor", *words],
        env={**os.environ, "ROLLBACK_HOME": str(home), "COLUMNS": "100", "HTTPS_PROXY": NOWHERE},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def at(home: Path, addresses: dict[str, str]) -> Path:
    """Have the drill's file lead elsewhere than to the usual ports, where somebody's world may be running."""
    path = home / "parameters" / "drill.yaml"
    text = path.read_text(encoding="utf-8")
    for name, port in PORTS.items():
        text = text.replace(f"http://127.0.0.1:{port}", addresses[name])
    path.write_text(text, encoding="utf-8")
    return home


@pytest.fixture
def world() -> Iterator[Serving]:
    """Serve a sound company."""
    with serve(SOUND) as serving:
        yield serving


@pytest.fixture
def mute() -> Iterator[dict[str, str]]:
    """Give addresses where connections are taken and nobody ever answers."""
    with ExitStack() as stack:
        found = {}
        for name in PORTS:
            bound = stack.enter_context(socket.socket())
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            found[name] = f"http://127.0.0.1:{bound.getsockname()[1]}"
        yield found


def test_sound_environment_would_work(tmp_path: Path, world: Serving) -> None:
    """Exit code 0, though there are warnings and what is not checked; what it puts is said; no token is shown."""
    home = at(project(tmp_path), world.addresses)
    world.write_secrets(home / ".secrets" / "drill.env")
    done = doctor(home)
    assert done.returncode == 0, done.stdout
    assert "A rollback would work in DRILL today, as far as can be seen" in done.stdout
    assert "one object in the state store" in done.stdout
    assert not [value for value in world.secrets.values() if value in done.stdout + done.stderr]
    assert not [entry for entry in world.world.ledger.entries() if entry.changes]
    assert max(map(len, done.stdout.splitlines())) <= 110
    told = json.loads(doctor(home, "--json", "--read-only").stdout)
    assert (told["environment"], told["read_only"], told["would_work"]) == ("drill", True, True)
    assert sum(told["counts"].values()) == len(told["findings"]) > 40
    assert set(told["findings"][0]) == {"subject", "check", "status", "seen", "todo", "after"}


def test_an_app_that_fails_is_no_reason_why_a_rollback_would_not_work(tmp_path: Path) -> None:
    """Asked in the middle of an incident it does not talk anybody out of the rollback that the incident needs."""
    with serve(WorldSpec(traffic_rps=0.1, history_s=4000)) as serving:
        home = at(project(tmp_path), serving.addresses)
        serving.write_secrets(home / ".secrets" / "drill.env")
        done = doctor(home)
    assert done.returncode == 1
    assert "The app of DRILL is failing now, which is what a rollback is for" in done.stdout
    assert "NOT" not in done.stdout


def test_drill_without_a_world_says_how_to_start_one(tmp_path: Path, mute: dict[str, str]) -> None:
    """Nobody answers: all of it unknown, in time, with what to type; never a traceback."""
    home = at(project(tmp_path), mute)
    (home / ".secrets").mkdir()
    secrets = home / ".secrets" / "drill.env"
    secrets.write_text("VERCEL_TOKEN=vck2718281828\nSENTRY_AUTH_TOKEN=sntryu_2718281828\n", encoding="utf-8")
    secrets.chmod(0o600)
    began = time.monotonic()
    done = doctor(home, "-e", "drill")
    assert time.monotonic() - began < 15  # the examination takes 7 s at most; the rest is Python's
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    text = " ".join(re.sub(r"\s+", " ", done.stdout).split())
    assert "rollback simulator" in text
    assert "is NOT known to work" in text or "would NOT work" in text
    assert "Begin with:" in done.stdout
    assert not re.search(r"✓ ok\s+(token|project|health)\b", done.stdout)


def test_production_that_is_not_configured_names_its_lines(tmp_path: Path) -> None:
    """Exit code 1, not 2: what is missing is what was asked for."""
    done = doctor(project(tmp_path), "-e", "production")
    assert done.returncode == 1
    assert "platform.vercel.team_id" in done.stdout
    assert "A rollback in PRODUCTION would NOT work as it is" in done.stdout


def test_production_without_tokens_asks_no_platform(tmp_path: Path) -> None:
    """The secrets' own checks tell it; the app, which needs none, is asked all the same."""
    told = json.loads(doctor(configured(tmp_path), "-e", "production", "--json", "--read-only").stdout)
    vercel = [one for one in told["findings"] if one["subject"] == "Vercel"]
    assert {(one["status"], one["after"]) for one in vercel} == {("unknown", "Secrets: VERCEL_TOKEN")}
    health = next(one for one in told["findings"] if (one["subject"], one["check"]) == ("App", "health"))
    assert (health["status"], "got no answer" in health["seen"]) == ("unknown", True)
    assert told["would_work"] is False


@pytest.mark.parametrize("words", [("-e", "prod"), ("-e", "")])
def test_unknown_environment_is_refused_in_three_lines(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 2; the known ones are named."""
    done = doctor(project(tmp_path), *words)
    assert done.returncode == 2
    assert "production, staging, drill" in done.stderr
    assert "  Next: " in done.stderr
    assert done.stdout == ""
