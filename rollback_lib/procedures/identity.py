"""Which incident and run this is: continue the open one, begin a new one, or refuse.

- No incident and run given: the one open run of this procedure and environment goes on, else one begins.
- A headless drill without a run begins a new one, and nobody goes on with it unasked; production insists on an incident.
- A closed run is refused, and an incident whose run is closed too, unless a new one is asked for.
- `new_run` that was left on goes on with the run that it began, as long as nothing else was changed: a kernel that is
  restarted must not begin a third one.
- A run named and a new one asked for contradict each other: refused.
- Nothing is written until the answer is known.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rollback_lib.errors import BadParameters
from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.model import IncidentId, RunId
from rollback_lib.parameters import RunParameters

__all__ = ["Identity", "choose"]

_INCIDENT = re.compile(r"INC-[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SAFE = "Nothing was sent; no run was begun or changed."


@dataclass(frozen=True)
class Identity:
    """The incident and run that a notebook is about."""

    incident: IncidentId
    run: RunId
    folder: Path
    is_new: bool


def choose(
    archive: Archive,
    parameters: RunParameters,
    procedure: int,
    now: datetime,
    goes_on: Callable[[RunFolder], bool],
) -> Identity:
    """Decide which run to continue or begin.

    Args:
        archive: Where runs are.
        parameters: What the notebook was given.
        procedure: The plan's number.
        now: The current instant.
        goes_on: Says whether a run was begun with `new_run` and could go on with these parameters.

    Raises:
        BadParameters: Nothing fits, or more than one does; nothing was written or sent.
    """
    if parameters.incident and not _INCIDENT.fullmatch(parameters.incident):
        raise BadParameters(
            f"incident {parameters.incident!r} is not an incident id.",
            _SAFE,
            "Write it as INC-20261123-2158: letters, digits, dot, dash.",
        )
    if parameters.run:
        return _given(archive, parameters, procedure)
    if not parameters.new_run and not _headless_drill(parameters.environment, parameters.mode):
        open_run = _the_open_one(archive, parameters, procedure)
        if open_run is not None:
            return _continue(open_run)
        _refuse_a_second_run(archive, parameters, procedure)
    if parameters.new_run and not _headless_drill(parameters.environment, parameters.mode):
        begun = next((run for run in _open_ones(archive, parameters, procedure) if goes_on(run)), None)
        if begun is not None:
            return _continue(begun)
    return _begin(archive, parameters, procedure, now)


def _given(archive: Archive, parameters: RunParameters, procedure: int) -> Identity:
    if parameters.new_run:
        raise BadParameters(
            f"run {parameters.run} is named, and new_run = True asks for another.",
            _SAFE,
            "Empty run to begin a new one, or set new_run = False to go on with that one.",
        )
    found = archive.find(parameters.run)
    if found.broken:
        raise BadParameters(
            f"run {parameters.run} cannot be read: {found.broken}.",
            _SAFE,
            "Keep its folder as it is, look at the platform yourself, and begin a new run (empty run, new_run = True).",
        )
    if parameters.incident and found.incident != parameters.incident:
        raise BadParameters(
            f"run {found.run} belongs to incident {found.incident}, not {parameters.incident}.",
            _SAFE,
            "Correct incident or run.",
        )
    if (found.procedure, found.environment) != (procedure, parameters.environment):
        raise BadParameters(
            f"run {found.run} is of procedure {found.procedure} in {found.environment}, not procedure {procedure} in {parameters.environment}.",
            _SAFE,
            "Correct run or environment, or open the notebook of that procedure.",
        )
    if found.is_closed:
        raise BadParameters(
            f"run {found.run} is closed ({found.outcome}); a closed run is never changed.",
            _SAFE,
            "Empty the parameter run and set new_run = True to begin another.",
        )
    return _continue(found)


def _open_ones(archive: Archive, parameters: RunParameters, procedure: int) -> list[RunFolder]:
    """List what may be gone on with unasked, newest first."""
    return [
        run
        for run in archive.open_runs(procedure, parameters.environment)
        if (not parameters.incident or run.incident == parameters.incident)
        and not _headless_drill(run.environment, run.mode)
    ]


def _the_open_one(archive: Archive, parameters: RunParameters, procedure: int) -> RunFolder | None:
    found = _open_ones(archive, parameters, procedure)
    if len(found) > 1:
        listed = ", ".join(f"{run.run} ({run.incident})" for run in found)
        raise BadParameters(
            f"More than one run of procedure {procedure} is open in {parameters.environment}: {listed}.",
            _SAFE,
            "Set run to the one to go on with, end the others (rollback abort RUN --reason ...), or set new_run = True for another.",
        )
    return found[0] if found else None


def _refuse_a_second_run(archive: Archive, parameters: RunParameters, procedure: int) -> None:
    """Refuse to go back once more by accident: the incident's run of this procedure is closed already."""
    wanted = (parameters.incident, procedure, parameters.environment)
    closed = next(
        (
            run
            for run in archive.runs()
            if run.is_closed and (run.incident, run.procedure, run.environment) == wanted
        ),
        None,
    )
    if closed is not None:
        raise BadParameters(
            f"run {closed.run} of incident {closed.incident} is closed ({closed.outcome}); a closed run is never changed.",
            _SAFE,
            "Set new_run = True to begin another run in this incident.",
        )


def _headless_drill(environment: str, mode: str) -> bool:
    return environment == "drill" and mode == "headless"


def _continue(found: RunFolder) -> Identity:
    return Identity(IncidentId(found.incident), RunId(found.run), found.folder, is_new=False)


def _begin(archive: Archive, parameters: RunParameters, procedure: int, now: datetime) -> Identity:
    if parameters.environment == "production" and not parameters.incident:
        raise BadParameters(
            "production needs an incident id, and none is given.",
            _SAFE,
            f'Set incident, for example incident = "INC-{now:%Y%m%d-%H%M}".',
        )
    incident = IncidentId(parameters.incident or f"INC-{now:%Y%m%d-%H%M}")
    run = RunId(f"P{procedure}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    return Identity(incident, run, archive.root / incident / run, is_new=True)
