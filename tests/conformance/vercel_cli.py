"""The official `vercel` command, run against a simulated company in the name of its runbook."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tools import place, run, tool

from rollback_lib.simulator import Serving, company

__all__ = ["Cli", "Ran", "linked"]

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
    """Calls the command line.

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
        world = self._serving.world
        before = len(world.ledger.entries())
        command = [
            *tool("vercel", "dist/vc.js"),
            *args,
            "--api",
            self._serving.addresses["vercel"],
            "--token",
            token or world.token("VERCEL_TOKEN"),
            *(("--scope", scope) if scope else ()),
        ]
        # Without these two it reports its use, and asks a registry for a newer release.
        quiet = {"VERCEL_TELEMETRY_DISABLED": "1", "NO_UPDATE_NOTIFIER": "1"}
        with place() as where:
            done = run(command, where, folder, **quiet)
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
