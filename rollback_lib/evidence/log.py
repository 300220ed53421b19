"""The plan's rollback log, as a table: one row a run, in the plan's columns plus outcome and run.

- Every run has its row: an open one says so, and one whose journal is damaged says that in its outcome.
- All cells are text, under pandas 2 and 3 alike; nothing is filled in that no journal says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback_lib.errors import JournalError
from rollback_lib.evidence.account import Account, account_of
from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.journal import FILE_NAME, read_journal

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["as_csv", "as_text", "rollback_log"]

OUTCOME, RUN = "Outcome", "Run"


def rollback_log(archive: Archive, columns: tuple[str, ...]) -> DataFrame:
    """Return the rollback log of an archive, newest run first.

    Args:
        archive: Where the runs are.
        columns: The plan's columns, in its order; `Outcome` and `Run` are added.

    Plan: Rollback Log.
    """
    from pandas import DataFrame

    wanted = [*(column for column in columns if column not in (OUTCOME, RUN)), OUTCOME, RUN]
    rows = [_row(run, wanted) for run in archive.runs()]
    return DataFrame(rows, columns=wanted, dtype="string")


def as_text(log: DataFrame) -> str:
    """Write the log for a terminal; nothing is cut off."""
    cells = [[str(name) for name in log.columns], *([str(cell) for cell in row] for row in log.to_numpy())]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "No runs yet." if log.empty else "\n".join(lines)


def as_csv(log: DataFrame) -> str:
    """Write the log as CSV with a header line."""
    return log.to_csv(index=False, lineterminator="\n")


def _row(run: RunFolder, columns: list[str]) -> dict[str, str]:
    cells = dict.fromkeys(columns, "") | _cells(run)
    return {column: " ".join(cells[column].split()) for column in columns}


def _cells(run: RunFolder) -> dict[str, str]:
    """Give the cells that the journal knows; all of it is read, so that a damaged one is not taken at its word."""
    try:
        reading = read_journal(run.folder / FILE_NAME)
        account = account_of(reading.lines)
    except JournalError as exc:
        return {OUTCOME: f"broken: {run.broken or exc.happened}", RUN: run.run}
    if reading.defect is not None:
        outcome = f"damaged: journal line {reading.defect.line}: {reading.defect.reason}"
    else:
        outcome = _outcome(account)
    return _from_opening(account) | account.outcome.log | {OUTCOME: outcome, RUN: account.run.run}


def _outcome(account: Account) -> str:
    ending = account.outcome
    if ending.closed:
        return ending.outcome
    return f"{ending.outcome} (provisional)" if ending.at else f"{ending.outcome} (not closed)"


def _from_opening(account: Account) -> dict[str, str]:
    """Fill what is known from the start, for a run that never got as far as a row of its own."""
    run = account.run
    return {
        "Date": run.opened_at[:10],
        "Environment": run.environment,
        "Reason": run.reason,
        "Deployed By": run.by,
    }
