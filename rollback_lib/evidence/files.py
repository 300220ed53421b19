"""The files of a run's folder: what is in it, their digests, and writing one whole or not at all.

- A file is either as it was or completely new, also after a crash; it is synced before its name is.
- Only ordinary files can be evidence: a link points at something that may change, a pipe never ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from rollback_lib.errors import JournalError
from rollback_lib.journal import LOCK_NAME

__all__ = [
    "NOTEBOOK_MANIFEST_NAME",
    "NOTEBOOK_NAME",
    "RECORD_NAME",
    "REPORT_NAME",
    "Found",
    "digest_of_bytes",
    "inventory",
    "sealed",
    "write_whole",
]

RECORD_NAME = "record.json"
REPORT_NAME = "report.html"
NOTEBOOK_NAME = "notebook.ipynb"
NOTEBOOK_MANIFEST_NAME = "notebook.json"
OUTSIDE = (RECORD_NAME, LOCK_NAME, NOTEBOOK_NAME, NOTEBOOK_MANIFEST_NAME)  # what a record does not cover
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Found:
    """One file as it is on disk."""

    path: str  # within the run's folder, with forward slashes
    sha256: str  # empty: not an ordinary file
    size: int


def digest_of_bytes(raw: bytes) -> str:
    """Return the sha256 of bytes."""
    return hashlib.sha256(raw).hexdigest()


def inventory(folder: Path) -> tuple[Found, ...]:
    """List every file that a record covers, by name; links and other non-files without a digest.

    Raises:
        OSError: A file cannot be read.
    """
    found = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(place) / name
            inside = path.relative_to(folder).as_posix()
            if inside not in OUTSIDE:
                found.append(_measure(path, inside))
    return tuple(sorted(found, key=lambda file: file.path))


def sealed(folder: Path) -> tuple[Found, ...]:
    """List the files for a record; leave out what an interrupted write left behind.

    Raises:
        JournalError: Something is not an ordinary file, so it cannot be evidence; nothing was written.
        OSError: A file cannot be read.
    """
    found = [
        file
        for file in inventory(folder)
        if file.path not in {_part(Path(name)).name for name in (*OUTSIDE, REPORT_NAME)}
    ]
    odd = [file.path for file in found if not file.sha256]
    if odd:
        raise JournalError(
            f"{folder} holds what is not an ordinary file: {', '.join(odd)}.",
            "The record was not written; the journal is complete.",
            f"Move it out of the folder, then: rollback record {folder.name}",
        )
    return tuple(found)


def write_whole(path: Path, raw: bytes) -> None:
    """Write a file so that its name holds either the old content or all of the new.

    Raises:
        OSError: It was not written; what was there before is untouched.
    """
    part = _part(path)
    try:
        with part.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _measure(path: Path, inside: str) -> Found:
    if not stat.S_ISREG(path.lstat().st_mode):
        return Found(inside, "", 0)
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return Found(inside, digest.hexdigest(), size)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error
