"""Where the project is, whatever folder the notebook happens to run in.

- `ROLLBACK_HOME` decides; without it the nearest folder upwards that holds `parameters/plan.yaml`.
- A folder that is merely called `parameters` (the package of the library is) does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rollback_lib.errors import BadParameters
from rollback_lib.parameters.words import UNTOUCHED

__all__ = ["project_home"]

_MARK = Path("parameters", "plan.yaml")


def project_home(start: Path | None, environ: Mapping[str, str]) -> Path:
    """Find the project's folder.

    Args:
        start: Where to look from, itself included; None is the working directory.
        environ: The process's environment variables.

    Raises:
        BadParameters: Neither `ROLLBACK_HOME` nor a folder upwards is the project. Nothing was sent.
    """
    named = environ.get("ROLLBACK_HOME", "").strip()
    if named:
        return _named(Path(named).expanduser().resolve())
    place = (start or Path.cwd()).resolve()
    for folder in (place, *place.parents):
        if (folder / _MARK).is_file():
            return folder
    raise BadParameters(
        f"No project folder found: neither {place} nor a folder above it has {_MARK}.",
        UNTOUCHED,
        "Set ROLLBACK_HOME to the project's folder, or start from inside it.",
    )


def _named(folder: Path) -> Path:
    if (folder / _MARK).is_file():
        return folder
    raise BadParameters(
        f"ROLLBACK_HOME is {folder}, which has no {_MARK}.",
        UNTOUCHED,
        "Set ROLLBACK_HOME to the project's folder, the one that holds parameters/ and notebooks/.",
    )
