"""What tests do with a run, whichever procedure it is of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.procedures.base import Procedure

__all__ = ["let_go", "lines_of", "opened_elsewhere"]

_OPENS = """
import json, sys
from rollback_lib import procedures
from rollback_lib.errors import RollbackError
try:
    rollback = getattr(procedures, sys.argv[1]).open(json.loads(sys.argv[2]))
except RollbackError as exc:
    print(json.dumps([type(exc).__name__, exc.happened, exc.state, exc.next_step]))
else:
    print(json.dumps(["opened", rollback.journal.run, "", ""]))
"""


def lines_of(rollback: Procedure) -> tuple[Line, ...]:
    """Return the run's journal as it stands on disk."""
    reading = read_journal(rollback.folder / FILE_NAME)
    assert reading.defect is None
    return reading.lines


def let_go(rollback: Procedure) -> None:
    """Let go of the run, as a kernel that ends does."""
    rollback.before_seal()
    assert rollback.heartbeat is not None
    rollback.heartbeat.stop()
    rollback.journal.release()


def opened_elsewhere(procedure: str, given: dict[str, Any], **environ: str) -> tuple[str, str, str, str]:
    """Open a run in another process, which gets no farther than that; return its error in its parts.

    Args:
        procedure: The name of its class.
        given: The notebook's parameters.
        environ: Variables besides those of this process.
    """
    child = subprocess.run(
        [sys.executable, "-c", _OPENS, procedure, json.dumps(given)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    kind, happened, state, next_step = json.loads(child.stdout.splitlines()[-1])
    return kind, happened, state, next_step
