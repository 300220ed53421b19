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
from rollback_lib.simulator.convex_app import prepared
from rollback_lib.simulator.convex_app.revisions import files

__all__ = ["stand_in"]

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
    real = cache_folder()
    cache.mkdir()
    (cache / "pushes").symlink_to(real / "pushes")
    programs = []
    for role, sha in commits.items():
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                (Path(folder) / name).write_bytes(files(role)[name])
            kept = installed(Path(folder), real).parent.name
        packages = cache / "node_modules" / kept / "node_modules"
        program = packages / "convex" / "bin" / "main.js"
        if not program.exists():
            program.parent.mkdir(parents=True)
            (packages / ".package-lock.json").touch()
            program.write_bytes(PROGRAM.read_bytes())
            (packages / "convex" / "behaviour.json").write_text(json.dumps(behaviour))
            (packages / "convex" / "pushes").mkdir()
            programs.append(program)
        pushed = packages / "convex" / "pushes" / f"{sha}.json"
        pushed.write_text(json.dumps(dict(prepared(role, real).request)))
    return programs
