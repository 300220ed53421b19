"""The project's own files, as the tests about the project itself see them."""

from __future__ import annotations

import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rollback_lib"
SOURCES = tuple(sorted(PACKAGE.rglob("*.py")))
NOTEBOOKS = tuple(sorted((ROOT / "notebooks").glob("*.ipynb")))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def files() -> tuple[Path, ...]:
    """List what is in version control, and what would be with the next `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted({path for path in found if path.is_file()}))


def texts(*endings: str) -> dict[str, str]:
    """Read the files in version control whose names end so, by their path under the project."""
    chosen = [path for path in files() if path.name.endswith(endings)]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in chosen}


def module_name(path: Path) -> str:
    """Turn a source file's path into the name to import it by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
