"""Which command line of Convex pushes a commit: its own, else one that is pinned here.

- Its own is that of the packages that its lockfile names: what pushed it once pushes it again.
- Where those hold none, or one that cannot say which commit a push is, the pinned one does it with the commit's own
  library; whoever decides is told.
- A commit whose package.json does not name convex is pushed by none of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from rollback_lib.errors import BadParameters
from rollback_lib.node import cache_folder, installed, is_installed
from rollback_lib.providers.checkout import Checkout

__all__ = ["OLDEST", "PINNED", "CommandLine", "command_line", "is_too_old", "pinned_is_here"]

PINNED = Path(__file__).with_name("pinned_convex")
OLDEST = (1, 36)  # the first that knows `--message`
_PROGRAM = Path("convex") / "bin" / "main.js"
_NUMBERS = re.compile(r"(\d+)\.(\d+)\.\d+")


@dataclass(frozen=True)
class CommandLine:
    """A program that pushes."""

    program: Path
    version: str  # empty: it does not say
    instead: str = ""  # why it is not the commit's own; empty: it is


def command_line(checkout: Checkout, project: str, cache: Path | None = None) -> CommandLine:
    """Choose the command line for a commit; the pinned one is installed if it has to be, and was not yet.

    Args:
        checkout: The commit, with its packages installed.
        project: Where package.json is, below the checkout's folder.
        cache: Where installations are kept; None: `cache_folder`.

    Raises:
        BadParameters: The commit's package.json does not name convex.
        Unreachable: The pinned one is needed and cannot be had.
    """
    folder = checkout.folder / project
    own = folder / "node_modules" / _PROGRAM
    version = _version(own)
    if own.is_file() and not is_too_old(version):
        return CommandLine(own, version)
    if "convex" not in _dependencies(folder / "package.json"):
        raise BadParameters(
            f"Commit {checkout.sha[:12]} has no convex among its packages ({folder / 'package.json'}).",
            "Nothing was sent.",
            "Take a revision whose package.json and package-lock.json name convex.",
        )
    packages = installed(PINNED, cache if cache is not None else cache_folder())
    pinned = _version(packages / _PROGRAM)
    short = checkout.sha[:12]
    why = (
        f"the command line of {short}, convex {version}, cannot say which commit a push is"
        if own.is_file()
        else f"the packages of {short} hold no command line of Convex"
    )
    instead = f"{why}: convex {pinned} pushes it, which is pinned here, with the commit's own library"
    return CommandLine(packages / _PROGRAM, pinned, instead)


def pinned_is_here(cache: Path) -> bool:
    """Say whether the pinned one is on this machine, so that it needs no network.

    Args:
        cache: Where installations are kept.
    """
    return is_installed(hashlib.sha256((PINNED / "package-lock.json").read_bytes()).hexdigest(), cache)


def is_too_old(version: str) -> bool:
    """Say whether a version's command line cannot do what is asked of it; one that is not known is not."""
    found = _NUMBERS.match(version)
    return found is not None and (int(found[1]), int(found[2])) < OLDEST


def _version(program: Path) -> str:
    """Read the version from the package of a command line; empty: it does not say."""
    told = _read(program.parents[1] / "package.json").get("version")
    return told if isinstance(told, str) else ""


def _dependencies(manifest: Path) -> set[str]:
    told = _read(manifest)
    kinds = (told.get(kind) for kind in ("dependencies", "devDependencies", "peerDependencies"))
    return {name for named in kinds if isinstance(named, dict) for name in named}


def _read(path: Path) -> dict[str, object]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
