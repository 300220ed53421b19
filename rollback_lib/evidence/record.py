"""The sealed record of a run: written from the journal, never the other way round.

- `record.json` says what the journal says, plus the digest of each file; it is written whole or not at all.
- It never touches the journal. A sealed record is never changed; a provisional one is, each time the run stops.
- The executed notebook cannot hash itself, so it has a manifest of its own, which names the record it belongs to.
- What this cannot show: a record, its journal and all its files rewritten together by one hand. For that the
  digest told to others (the incident's thread) is the witness.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rollback_lib.clock import Clock, SystemClock, to_iso
from rollback_lib.errors import BadParameters, JournalError
from rollback_lib.evidence.account import account_of
from rollback_lib.evidence.files import (
    NOTEBOOK_MANIFEST_NAME,
    NOTEBOOK_NAME,
    RECORD_NAME,
    digest_of_bytes,
    sealed,
    write_whole,
)
from rollback_lib.evidence.report import render_report
from rollback_lib.evidence.verification import (
    NotebookManifest,
    Verification,
    read_record,
    record_text,
    verify,
)
from rollback_lib.journal import FILE_NAME, Reading, read_journal

__all__ = ["RECORD_VERSION", "attach_notebook", "record_digest", "seal_run", "verify_record", "write_record"]

RECORD_VERSION = 1


def seal_run(folder: Path, clock: Clock | None = None) -> Path:
    """Write report and record of a run as its journal stands: sealed if it is closed, else provisional.

    Also for a run whose session was killed before it could do so itself.

    Raises:
        JournalError: As `write_record` and `render_report` do; what was written before is untouched.
    """
    closed = account_of(_holding(folder).lines).outcome.closed
    render_report(folder)
    return write_record(folder, provisional=not closed, clock=clock)


def write_record(folder: Path, *, provisional: bool, clock: Clock | None = None) -> Path:
    """Write `record.json` from the journal and the files beside it; the report has to be there already.

    Writing the same sealed record again changes nothing.

    Args:
        folder: The run's folder.
        provisional: Whether the run is still open, so that a later record will replace this one.
        clock: For the instant of sealing; the machine's own by default.

    Raises:
        ValueError: `provisional` and the journal contradict each other.
        JournalError: The journal does not hold, a sealed record is there already and the journal went on,
            or the file cannot be written; the earlier record is untouched.
    """
    reading = _holding(folder)
    account = account_of(reading.lines)
    if provisional is account.outcome.closed:
        raise ValueError(f"provisional={provisional}, but the journal says closed={account.outcome.closed}")
    if _is_sealed_already(folder, reading):
        return folder / RECORD_NAME
    try:
        content = {
            "version": RECORD_VERSION,
            "provisional": provisional,
            **account.plain(),
            "journal": {"lines": len(reading.lines), "head": reading.head},
            "files": [asdict(file) for file in sealed(folder)],
            "sealed_at": to_iso((clock or SystemClock()).now()),
        }
        write_whole(folder / RECORD_NAME, record_text(content))
    except OSError as exc:
        raise _not_written(folder / RECORD_NAME, exc) from exc
    return folder / RECORD_NAME


def record_digest(folder: Path) -> str:
    """Return the sha256 of `record.json`, which is what a witness outside is told.

    Raises:
        JournalError: There is no record.
    """
    return digest_of_bytes(_record_bytes(folder))


def attach_notebook(folder: Path, notebook: Path, clock: Clock | None = None) -> Path:
    """Copy the executed notebook into the record's folder and write its manifest.

    Attaching the same one again changes nothing. When the run went on and has a newer record, a newer
    notebook takes the place of the earlier one.

    Raises:
        BadParameters: It is no notebook, or its outputs do not name this run; nothing was written.
        JournalError: There is no record yet, another notebook is attached to it already, or the files
            cannot be written.
    """
    digest = record_digest(folder)
    raw = _notebook_of(notebook, _run_of(folder))
    manifest = NotebookManifest(
        digest_of_bytes(raw), len(raw), digest, to_iso((clock or SystemClock()).now())
    )
    earlier = NotebookManifest.read(folder / NOTEBOOK_MANIFEST_NAME)
    if earlier is not None and earlier.record_sha256 == digest and earlier.sha256 != manifest.sha256:
        raise JournalError(
            f"Another notebook is attached to this record already (sha256 {earlier.sha256[:12]}…, this one {manifest.sha256[:12]}…).",
            "The attached one is untouched.",
            "Keep the other file outside the record's folder if you need it.",
        )
    try:
        write_whole(folder / NOTEBOOK_NAME, raw)
        if earlier is None or earlier.record_sha256 != digest:
            write_whole(folder / NOTEBOOK_MANIFEST_NAME, record_text(asdict(manifest)))
    except OSError as exc:
        raise _not_written(folder / NOTEBOOK_NAME, exc) from exc
    return folder / NOTEBOOK_NAME


def verify_record(folder: Path) -> Verification:
    """Compare the record with the journal and with every file; offline, and nothing is written.

    Never raises for what it finds: each fault is one of the problems.
    """
    return verify(folder)


def _holding(folder: Path) -> Reading:
    reading = read_journal(folder / FILE_NAME)
    if reading.defect is not None:
        raise JournalError(
            f"{folder / FILE_NAME}, line {reading.defect.line}: {reading.defect.reason}.",
            "No record was written over it: what the run did is not certain.",
            f"Keep the folder as it is and look at it with: rollback verify {folder.name}",
        )
    return reading


def _is_sealed_already(folder: Path, reading: Reading) -> bool:
    """Say whether a sealed record of exactly this journal is there; refuse if it is of another."""
    path = folder / RECORD_NAME
    if not path.exists():
        return False
    content, reason = read_record(path)
    if content is not None and content.get("provisional") is True:
        return False
    if content is None:
        raise JournalError(
            f"{path} is there already and {reason}.",
            "It is untouched, and no other was written.",
            f"Keep a copy of it elsewhere, take it out of the folder, then: rollback record {folder.name}",
        )
    if content.get("journal") != {"lines": len(reading.lines), "head": reading.head}:
        raise JournalError(
            f"{path} is sealed already, and does not fit this journal{f'; it {reason}' if reason else ''}.",
            "The sealed record is untouched.",
            f"Look at it with: rollback verify {folder.name}",
        )
    return True


def _run_of(folder: Path) -> str:
    content, reason = read_record(folder / RECORD_NAME)
    run = content.get("run") if content is not None else None
    name = run.get("run") if isinstance(run, dict) else None
    if not isinstance(name, str) or not name:
        raise JournalError(
            f"{folder / RECORD_NAME} does not say which run it is of{f': it {reason}' if reason else ''}.",
            "Nothing was written.",
            f"Look at it with: rollback verify {folder.name}",
        )
    return name


def _record_bytes(folder: Path) -> bytes:
    try:
        return (folder / RECORD_NAME).read_bytes()
    except OSError as exc:
        raise JournalError(
            f"{folder / RECORD_NAME} cannot be read: {exc.strerror}.",
            "Nothing was written.",
            f"Write the record from the journal first: rollback record {folder.name}",
        ) from exc


def _notebook_of(path: Path, run: str) -> bytes:
    """Read the notebook if its outputs name the run."""
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
    except (OSError, ValueError, RecursionError) as exc:
        raise BadParameters(
            f"{path} cannot be read as a notebook: {exc}.",
            "Nothing was attached.",
            "Name the executed copy (.ipynb).",
        ) from exc
    named = re.compile(rf"(?<![\w-]){re.escape(run)}(?![\w-])")
    if not any(named.search(text) for text in _output_texts(content)):
        raise BadParameters(
            f"{path} does not belong to run {run}: none of its outputs names it.",
            "Nothing was attached.",
            f"Name the notebook that was executed as run {run}, with its outputs.",
        )
    return raw


def _output_texts(notebook: Any) -> Iterator[str]:
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    for cell in cells if isinstance(cells, list) else ():
        if isinstance(cell, dict):
            yield from _texts(cell.get("outputs"))


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside a JSON value; a list of texts, which notebooks keep lines in, as one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield "".join(value)
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _not_written(path: Path, exc: OSError) -> JournalError:
    return JournalError(
        f"{path} cannot be written: {exc.strerror}.",
        "The journal is complete and untouched; what was in the record before is still there.",
        f"Free space or restore the folder, then: rollback record {path.parent.name}",
    )
