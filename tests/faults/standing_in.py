"""A command line that stands in for the official one, put where the installed packages of the commits are kept.

It sends the same requests and takes a tenth of the time (`quick_convex.js`): for what is not about the program itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollback_lib.node import cache_folder, installed
from rollback_lib.providers.command_line import PINNED
from rollback_lib.simulator.convex_app import prepared
from rollback_lib.simulator.convex_app.revisions import files

__all__ = ["grow_old", "stand_in", "stand_in_for_the_pinned"]

PROGRAM = Path(__file__).with_name("quick_convex.js")


def stand_in(cache: Path, commits: Mapping[str, str], behaviour: Mapping[str, Any]) -> list[Path]:
    """Install it in a cache of its own.

    Args:
        cache: Where to, a folder that is not there yet; what `ROLLBACK_CACHE` then has to name.
        commits: The commits that it is able to push, by the part that they play in the app's past.
        behaviour: Where it breaks off, and what it does not know.

    Returns:
        The programs: one for each set of packages.
    """
    cache.mkdir()
    (cache / "pushes").symlink_to(cache_folder() / "pushes")
    programs = []
    for role, sha in commits.items():
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                (Path(folder) / name).write_bytes(files(role)[name])
            program = _put(cache, Path(folder), behaviour, {role: sha})
        if program not in programs:
            programs.append(program)
    return programs


def stand_in_for_the_pinned(cache: Path, commits: Mapping[str, str]) -> None:
    """Put it where the command line is kept that is pinned for commits whose own does not serve."""
    program = _put(cache, PINNED, {}, commits)
    _say_version(program, json.loads((PINNED / "package.json").read_text())["dependencies"]["convex"])


def grow_old(program: Path, version: str) -> None:
    """Let a command line be of a version that cannot do what is asked of it."""
    _say_version(program, version)
    told = program.parents[1] / "behaviour.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"unknown": ["--message"]}))


def _say_version(program: Path, version: str) -> None:
    (program.parents[1] / "package.json").write_text(json.dumps({"name": "convex", "version": version}))


def _put(cache: Path, project: Path, behaviour: Mapping[str, Any], commits: Mapping[str, str]) -> Path:
    """Put it where the packages of a project's lockfile are kept, able to push these commits."""
    real = cache_folder()
    packages = cache / "node_modules" / installed(project, real).parent.name / "node_modules"
    program = packages / "convex" / "bin" / "main.js"
    if not program.exists():
        program.parent.mkdir(parents=True)
        (packages / ".package-lock.json").touch()
        program.write_bytes(PROGRAM.read_bytes())
        (packages / "convex" / "behaviour.json").write_text(json.dumps(behaviour))
        (packages / "convex" / "pushes").mkdir()
    for role, sha in commits.items():
        pushed = packages / "convex" / "pushes" / f"{sha}.json"
        pushed.write_text(json.dumps(dict(prepared(role, real).request)))
    return program
