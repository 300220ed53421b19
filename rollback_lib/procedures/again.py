"""Opening a run again from its own journal: what it was told stands there, only its secrets do not.

- The journal's parameters are the run's; nothing is changed or filled in on the way. Whose lease is taken over is said anew.
- Whoever opens it again is on record as its operator from then on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollback_lib import procedures
from rollback_lib.clock import Clock
from rollback_lib.errors import BadParameters, JournalError
from rollback_lib.http import Transport
from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.model import Mode
from rollback_lib.procedures.base import Procedure

__all__ = ["notebook_of", "recorded_parameters", "reopen"]

# By the plan's number: its class in `rollback_lib.procedures`, which is loaded when it is asked for, and its notebook.
_PROCEDURES = {1: ("VercelRollback", "1_vercel_rollback"), 2: ("ConvexRollback", "2_convex_rollback")}


def recorded_parameters(lines: tuple[Line, ...]) -> dict[str, Any]:
    """Return the notebook's parameters as the run goes on with them.

    Outside drills `platform` and `policy` are left out: there they are the environment's file.

    Raises:
        JournalError: The journal does not begin with an opened run.
        BadParameters: It is a run of a procedure that this version does not have.
    """
    opened = _opened(lines)
    told = dict(opened.data["parameters"])
    for line in lines:
        if line.event == "run.continued":
            told |= line.data["filled"]
    procedure, _ = _procedure(opened)
    from_file = set() if told["environment"] == "drill" else {"platform", "policy"}
    names = set(procedure.parameters_model.model_fields) - from_file
    given = {name: told[name] for name in names if name in told}
    return given | {"run": opened.run, "incident": opened.data["incident"], "new_run": False, "take_over": ""}


def reopen(
    folder: Path,
    *,
    mode: Mode,
    operator: str = "",
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> Procedure:
    """Open a run again as it was begun.

    Args:
        folder: The run's.
        mode: `interactive` prompts for secrets that are missing.
        operator: Key of who goes on with it; empty: who was its operator.
        clock: The machine's, unless another is given.
        transport: The network, unless something else stands in for it.

    Raises:
        BadParameters: Files, secrets or the run are not as they have to be; nothing was sent.
        LeaseHeld: The run is open in another process.
        JournalError: The journal does not hold.
    """
    lines = read_journal(folder / FILE_NAME).lines
    given = recorded_parameters(lines) | {"mode": mode} | ({"operator": operator} if operator else {})
    procedure, _ = _procedure(_opened(lines))
    return procedure.open(given, clock=clock, transport=transport)


def notebook_of(lines: tuple[Line, ...]) -> str:
    """Return the name of the notebook that a run is of."""
    return _procedure(_opened(lines))[1]


def _opened(lines: tuple[Line, ...]) -> Line:
    if lines and lines[0].event == "run.opened":
        return lines[0]
    raise JournalError(
        "The journal does not begin with an opened run.",
        "The run was cut off before it sent anything.",
        "Begin another one.",
    )


def _procedure(opened: Line) -> tuple[type[Procedure], str]:
    number = opened.data["procedure"]
    if number not in _PROCEDURES:
        raise BadParameters(
            f"Run {opened.run} is of procedure {number}, which this version does not have.",
            "Nothing was sent; the run is as it was.",
            "Use the version that began it.",
        )
    name, notebook = _PROCEDURES[number]
    return getattr(procedures, name), notebook
