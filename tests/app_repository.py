"""A small repository of an app, made with the git command, for tests of what reads one."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["AppRepository"]

FIRST = 1_790_000_000  # seconds since the epoch; each commit is a minute later


@dataclass
class AppRepository:
    """A repository that is written to commit by commit."""

    folder: Path
    made: int = 0

    @classmethod
    def begin(cls, folder: Path) -> AppRepository:
        """Make an empty one whose branch is main."""
        folder.mkdir(parents=True)
        made = cls(folder)
        made.git("init", "--quiet", "--initial-branch=main", ".")
        return made

    def git(self, *arguments: str, **environ: str) -> str:
        """Run git in it, with nobody's settings."""
        nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
        people = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in _ANA.items()}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=nobody | people | environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, files: dict[str, str | None]) -> None:
        """Write files, or remove those that are None."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, message: str, files: dict[str, str | None]) -> str:
        """Write files and commit them; return the commit's sha."""
        self.write(files)
        at = f"{FIRST + 60 * self.made} +0000"
        self.made += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message, GIT_AUTHOR_DATE=at, GIT_COMMITTER_DATE=at)
        return self.git("rev-parse", "HEAD")


_ANA = {"NAME": "Ana Example", "EMAIL": "ana@example.com"}


def lockfile(**versions: str) -> str:
    """Write a lockfile that names packages."""
    packages: dict[str, Any] = {
        f"node_modules/{name}": {"version": version} for name, version in versions.items()
    }
    return json.dumps({"lockfileVersion": 3, "packages": {"": {}} | packages})
