"""The archive: where records live, as folders `<incident>/<run>`.

- Listing reads only the first and the last lines of each journal; whether a record holds is `record.verify_record`.
- A folder that cannot be read as a run is listed as broken, with the reason; it is never left out.
- Nothing here writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rollback_lib.errors import BadParameters
from rollback_lib.evidence.account import ending_of
from rollback_lib.evidence.fields import text, whole
from rollback_lib.evidence.files import RECORD_NAME
from rollback_lib.journal import FILE_NAME, Line
from rollback_lib.model import Outcome

__all__ = ["HANDOVER_VARIABLE", "Archive", "RunFolder"]

HANDOVER_VARIABLE = (
    "ROLLBACK_HANDOVER"  # a file that the headless runner reads to learn which run's folder it is
)

BLOCK_BYTES = 1 << 16
LONGEST_LINE = 1 << 24  # bytes; a first line beyond it is no journal's
MOST_LISTED = 10  # candidates named in an error


@dataclass(frozen=True)
class RunFolder:
    """One run in the archive, as its first and last lines tell it."""

    folder: Path
    incident: str
    run: str
    procedure: int
    title: str
    environment: str
    mode: str
    severity: str
    operator: str
    started_at: datetime  # of a broken one: when its folder last changed
    is_closed: bool
    outcome: Outcome
    why: str
    broken: str = ""  # why it cannot be read; empty: it can

    @property
    def has_record(self) -> bool:
        """Say whether a record, provisional or sealed, is there."""
        return (self.folder / RECORD_NAME).exists()

    def __str__(self) -> str:
        standing = (
            f"broken: {self.broken}"
            if self.broken
            else f"{'closed' if self.is_closed else 'open'}, {self.outcome}"
        )
        return f"{self.incident}/{self.run} ({standing})"


@dataclass(frozen=True)
class Archive:
    """All runs below one folder."""

    root: Path

    def runs(self) -> tuple[RunFolder, ...]:
        """List all runs, newest first; none where the folder is not there yet.

        Raises:
            BadParameters: The root cannot be listed.
        """
        try:
            folders = list(_run_folders(self.root)) if self.root.exists() else []
        except OSError as exc:
            raise BadParameters(
                f"The archive {self.root} cannot be listed: {exc.strerror}.",
                "Nothing was sent.",
                "Correct platform.archive, or the permissions of the folder.",
            ) from exc
        found = (read_run_folder(folder) for folder in folders)
        return tuple(sorted(found, key=lambda run: (run.started_at, run.run), reverse=True))

    def open_runs(self, procedure: int, environment: str) -> tuple[RunFolder, ...]:
        """List the runs of a procedure and environment that are not closed, newest first."""
        return tuple(
            run
            for run in self.runs()
            if not run.broken
            and not run.is_closed
            and (run.procedure, run.environment) == (procedure, environment)
        )

    def find(self, name: str) -> RunFolder:
        """Find a run by its id, by the beginning of it if that is unique, or by the path of its folder.

        A broken run is found too; its `broken` says why.

        Raises:
            BadParameters: None fits, or more than one does; the candidates are named.
        """
        if name and (Path(name) / FILE_NAME).is_file():
            return read_run_folder(Path(name).absolute())
        runs = self.runs()
        fitting = [run for run in runs if name in (run.run, f"{run.incident}/{run.run}")]
        fitting = fitting or [run for run in runs if name and run.run.startswith(name)]
        if len(fitting) == 1:
            return fitting[0]
        candidates = ", ".join(str(run) for run in (fitting or runs)[:MOST_LISTED]) or "none"
        fault = f"{len(fitting)} runs fit" if fitting else "no run is named"
        raise BadParameters(
            f"{fault} {name!r} in {self.root}. {'They are' if fitting else 'The newest are'}: {candidates}.",
            "Nothing was sent.",
            "Give the whole run id, incident/run, or the path of the run's folder.",
        )


def read_run_folder(folder: Path) -> RunFolder:
    """Read one folder as a run; broken, with the reason, where it is none."""
    try:
        opened = _first_line(folder / FILE_NAME)
        ending = ending_of(lines_backwards(folder / FILE_NAME))
        return RunFolder(
            folder=folder,
            incident=text(opened.data, "incident"),
            run=opened.run,
            procedure=whole(opened.data, "procedure") or 0,
            title=text(opened.data, "title"),
            environment=text(opened.data, "environment"),
            mode=text(opened.data, "mode"),
            severity=text(opened.data, "severity"),
            operator=text(opened.data, "operator"),
            started_at=datetime.fromisoformat(opened.at).astimezone(UTC),
            is_closed=ending.closed,
            outcome=Outcome(ending.outcome),
            why=ending.why,
        )
    except OSError as exc:
        return _broken(folder, f"{FILE_NAME} cannot be read: {exc.strerror}")
    except ValueError as exc:
        return _broken(folder, f"{FILE_NAME}: {exc}")


def lines_backwards(path: Path) -> Iterator[Line]:
    """Yield the whole lines of a journal, newest first, reading no more of the file than is asked for.

    Raises:
        ValueError: A line does not hold by itself; the chain between lines is not looked at.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest, torn = b"", True
        while position > 0:
            size = min(BLOCK_BYTES, position)
            position -= size
            file.seek(position)
            rest, *whole_lines = (file.read(size) + rest).split(b"\n")
            if torn and whole_lines:  # after the last newline: nothing, or a line that was never completed
                whole_lines.pop()
                torn = False
            yield from (_line(raw) for raw in reversed(whole_lines))
        if not torn:
            yield _line(rest)


def _first_line(path: Path) -> Line:
    with path.open("rb") as file:
        raw = file.readline(LONGEST_LINE)
    if not raw.endswith(b"\n"):
        raise ValueError("its first line is missing or was never completed")
    line = _line(raw.rstrip(b"\n"))
    if line.event != "run.opened":
        raise ValueError(f"it begins with {line.event}, not with run.opened")
    return line


def _line(raw: bytes) -> Line:
    line = Line.parse(raw.decode("utf-8"))
    if not line.holds():
        raise ValueError(f"line {line.seq}: its hash does not fit its content")
    return line


def _run_folders(root: Path) -> Iterator[Path]:
    """Yield what should be run folders: two levels down, or one where somebody put a run there."""
    for incident in _folders(root):
        try:
            misplaced = (incident / FILE_NAME).exists() or (incident / RECORD_NAME).exists()
            yield from (incident,) if misplaced else tuple(_folders(incident))
        except OSError:  # not ours to read: listed itself, as broken
            yield incident


def _folders(place: Path) -> Iterator[Path]:
    for path in place.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            yield path


def _broken(folder: Path, reason: str) -> RunFolder:
    return RunFolder(
        folder=folder,
        incident=folder.parent.name,
        run=folder.name,
        procedure=0,
        title="",
        environment="",
        mode="",
        severity="",
        operator="",
        started_at=datetime.fromtimestamp(folder.stat().st_mtime, UTC),
        is_closed=False,
        outcome=Outcome.UNKNOWN,
        why=reason,
        broken=reason,
    )
