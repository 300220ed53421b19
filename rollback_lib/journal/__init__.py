"""The append-only account of a run: one JSON line an event, synced, chained by hash.

- A line is on disk (written and synced) when `append` returns; if it raises, it is not, and nothing may be sent on its strength.
- Each `hash` covers its line and the hash before it: a changed, missing or reordered line shows. Only the exact
  bytes that were written count: what another reader could take differently does not hold.
- A torn last line was never synced, so nothing was sent on its strength; it is set aside in a file of its own, never dropped.
- One process writes a journal at a time; whoever comes second is told who holds it. Who let go of it, or was
  forked from its holder, writes no more.
- No secret reaches the file: every value passes the redactor.
- Two threads of the process may append; lines do not mix.

A line: `{v, seq, at, run, event, step, by, data, prev, hash}`. `line` reads and judges it, `book` writes it.
"""

from __future__ import annotations

from rollback_lib.journal.book import Intent, Journal
from rollback_lib.journal.line import (
    FILE_NAME,
    GENESIS,
    LOCK_NAME,
    Defect,
    Line,
    Reading,
    line_hash,
    read_journal,
)

__all__ = [
    "FILE_NAME",
    "GENESIS",
    "LOCK_NAME",
    "Defect",
    "Intent",
    "Journal",
    "Line",
    "Reading",
    "line_hash",
    "read_journal",
]
