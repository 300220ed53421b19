"""Invariant 6: the record in a run's folder: the journal's chain, every file by its digest, nothing missing or extra.

- Worked out from the bytes alone, by no code that wrote them.
- The record's own two manifests count: what it covers, and the executed notebook beside it.
- A run that was killed before it could seal its record is judged as far as it came.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollback_lib.drills.oracle.case import NOTEBOOK, NOTEBOOK_MANIFEST, RECORD, Bench
from rollback_lib.drills.oracle.verdict import Inquiry

__all__ = ["judge_record"]

_OUTSIDE = (RECORD, ".lock", NOTEBOOK, NOTEBOOK_MANIFEST)  # what the first manifest does not cover


def judge_record(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 6: the record verifies."""
    folder = bench.case.folder
    if folder is None:
        inquiry.leaves_open("no run was begun, so there is no record")
        return
    if bench.told.fault:
        inquiry.breaks(f"journal: {bench.told.fault}")
    if bench.told.torn and not bench.case.killed:
        inquiry.breaks(f"the journal ends in {bench.told.torn} bytes of a torn line")
    if not (folder / RECORD).exists():
        _judge_missing(bench, inquiry)
        return
    if bench.record is None:
        inquiry.breaks(f"{RECORD} cannot be read")
        return
    for reason in _head_faults(bench, bench.record):
        inquiry.breaks(reason)
    if _went_on(bench, bench.record):
        inquiry.leaves_open(
            "the run went on after its provisional record and was cut off: its files are newer"
        )
        return
    for reason in (*_file_faults(folder, bench.record), *_notebook_faults(folder, bench)):
        inquiry.breaks(reason)
    listed = len(bench.record.get("files", ()))
    inquiry.sees(f"{len(bench.told.lines)} lines chained, {listed} files as the record has them")


def _judge_missing(bench: Bench, inquiry: Inquiry) -> None:
    if bench.told.word is not None and not bench.case.killed:
        inquiry.breaks(f"the run said how it ended ({bench.told.word}), and there is no {RECORD}")
    inquiry.leaves_open(f"there is no {RECORD}: the run was cut off before it was written, or is going on")


def _head_faults(bench: Bench, record: dict[str, Any]) -> Iterator[str]:
    """Say where the record's view of the journal is not a beginning of the journal; sealed, it is all of it."""
    head, lines = record.get("journal"), bench.told.lines
    count = head.get("lines") if isinstance(head, dict) else None
    if not isinstance(head, dict) or not isinstance(count, int) or not 0 < count <= len(lines):
        yield f"{RECORD} tells of {count} journal lines; there are {len(lines)}"
        return
    if lines[count - 1].hash != head.get("head"):
        yield f"{RECORD} has another head for journal line {count} than the journal"
    sealed, closed = record.get("provisional") is False, bench.told.is_closed
    if sealed and (not closed or count != len(lines)):
        yield f"{RECORD} is sealed over {count} lines; the journal has {len(lines)} and is {'' if closed else 'not '}closed"
    if not sealed and closed and not bench.case.killed:
        yield f"the run is closed, and {RECORD} is still provisional"


def _went_on(bench: Bench, record: dict[str, Any]) -> bool:
    head = record.get("journal")
    seen = head.get("lines") if isinstance(head, dict) else None
    word = bench.told.word
    unfinished = bench.case.killed or word is None or (isinstance(seen, int) and word.seq <= seen)
    newer = seen != len(bench.told.lines) or bench.told.torn > 0
    return unfinished and record.get("provisional") is True and newer


def _file_faults(folder: Path, record: dict[str, Any]) -> Iterator[str]:
    listed = {str(file.get("path")): file for file in record.get("files", ())}
    found = dict(_files(folder))
    for name in sorted({*listed, *found}):
        if name not in found:
            yield f"{name} is in {RECORD} and not in the folder"
        elif name not in listed:
            yield f"{name} is in the folder and not in {RECORD}"
        elif listed[name].get("sha256") != _digest(found[name]):
            yield f"{name} is not the file that {RECORD} names"


def _notebook_faults(folder: Path, bench: Bench) -> Iterator[str]:
    """Hold the executed notebook against the second manifest, and that against the record."""
    manifest, notebook = bench.json_of(NOTEBOOK_MANIFEST), folder / NOTEBOOK
    if manifest is None:
        if notebook.exists() and not bench.case.killed:
            yield f"{NOTEBOOK} is there without its manifest"
        return
    if not notebook.exists() or manifest.get("sha256") != _digest(notebook):
        yield f"{NOTEBOOK} is not the file that {NOTEBOOK_MANIFEST} names"
    if manifest.get("record_sha256") != _digest(folder / RECORD):
        yield f"{NOTEBOOK_MANIFEST} belongs to another {RECORD}"


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            inside = path.relative_to(folder).as_posix()
            if inside not in _OUTSIDE:
                yield inside, path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
