"""Files of NAME=value lines that are private to their owner.

- A file that its group or others could read or write is not read at all.
- A line that is not understood is refused by its number; its text is never repeated.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from rollback_lib.errors import BadParameters
from rollback_lib.parameters.words import UNTOUCHED

__all__ = ["parse", "read_private"]

_PRIVATE_MODES = (0o600, 0o400)
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<inner>.*)(?P=quote)\s*(?:#.*)?""")


def read_private(path: Path, shown: str) -> dict[str, str]:
    """Read a private file's names and values.

    Args:
        path: The file.
        shown: Its name for messages.

    Raises:
        BadParameters: Not there, not private, or not NAME=value lines. Nothing was sent.
    """
    try:
        with path.open("rb") as file:
            _refuse_open_to_others(os.fstat(file.fileno()).st_mode, path, shown)
            text = file.read().decode("utf-8", "replace")  # strict, the error would carry the file's bytes
    except OSError as exc:
        raise BadParameters(
            f"The secrets file {shown} cannot be read: {exc.strerror}.",
            UNTOUCHED,
            "Create it (chmod 600), or correct the variable that names it (ROLLBACK_SECRETS_FILE, in a drill ROLLBACK_DRILL_SECRETS_FILE).",
        ) from exc
    return parse(text, shown)


def parse(text: str, shown: str) -> dict[str, str]:
    """Read NAME=value lines; `#` comments, `export` and one pair of quotes are taken off.

    Raises:
        BadParameters: A line is something else, or a name comes twice. Nothing was sent.
    """
    values: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[1] in values:
            fault = "is not NAME=value" if found is None else f"gives {found[1]} a second time"
            raise BadParameters(f"{shown}, line {number}, {fault}.", UNTOUCHED, "Correct that line.")
        values[found[1]] = _bare(found[2])
    return values


def _bare(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return quoted["inner"] if quoted is not None else re.sub(r"(^|\s)#.*", "", text).strip()


def _refuse_open_to_others(mode: int, path: Path, shown: str) -> None:
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) in _PRIVATE_MODES:
        return
    raise BadParameters(
        f"The secrets file {shown} has mode {stat.S_IMODE(mode):04o}; it must be a file with mode 0600 or 0400, "
        "so that only its owner can read it.",
        UNTOUCHED,
        f"chmod 600 {path}",
    )
