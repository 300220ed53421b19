"""What earlier runs did to production, read from their journals: to undo it, and to go back to nothing twice.

- Only runs of the same procedure, in the same environment, count.
- Within an incident only those against the same place count: drills of one minute share an incident, not a company.
  A place is what names it; what else the parameters say of the platform may change while an incident is on.
- A journal that does not hold is gone by as far as it holds, and that is said: what came after may have been tried, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollback_lib.errors import BadParameters
from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.procedures.session import Session

__all__ = ["Done", "refuse_unasked", "tried_before", "what_was_done"]

_UNCHANGED = "Nothing was changed."
_NAMED_BY = {"vercel": "project", "convex": "deployment"}
_SERVED_AT = {
    "vercel": "api_url",
    "convex": "url",
}  # which tells drills apart: all their worlds have the same names


@dataclass(frozen=True)
class Done:
    """What an earlier run did to production."""

    run: str
    left: str  # what was live before it; empty: nobody knew
    target: str  # what it made live
    at: datetime
    before: Mapping[str, Any]  # the state that it replaced, as its intent has it


def what_was_done(session: Session, number: int, run: str) -> Done:
    """Read from a run's journal what it did.

    Raises:
        BadParameters: No such run, another environment's or procedure's, or nothing that can be undone.
    """
    found = Archive(session.resolved.archive_root).find(run)
    environment = session.parameters.environment
    if (found.procedure, found.environment) != (number, environment) or found.broken:
        trouble = found.broken or f"it is of procedure {found.procedure} in {found.environment}"
        raise _cannot(found, trouble, f"Name a run of procedure {number} in this environment.")
    reading = read_journal(found.folder / FILE_NAME)
    lines = reading.lines
    if reading.defect is not None:
        told = f"its journal does not hold from line {reading.defect.line} on: {reading.defect.reason}"
        raise _cannot(
            found, told, "Nobody can say what it did: look at the platform's own dashboard and act there."
        )
    if effect_in_doubt(lines):
        raise _cannot(
            found,
            "nobody can say whether its change happened",
            f"Settle that first: rollback resume {found.run}",
        )
    done = _last_change(found.run, lines)
    if done is None:
        raise _cannot(found, "it changed nothing", "There is nothing to undo.")
    return done


def tried_before(session: Session, number: int, place: str) -> dict[str, str]:
    """Map each target that this incident's other runs have gone back to already to the run that did; warn of what is unknown.

    Args:
        session: Of this run.
        number: The procedure's.
        place: The part of the platform that has to be the same: vercel, convex.
    """
    tried: dict[str, str] = {}
    here = _where(session.resolved.platform.model_dump(mode="json"), place, session.parameters.environment)
    for other in Archive(session.resolved.archive_root).runs():
        if other.incident != session.incident or other.run == session.journal.run:
            continue
        if other.broken:
            if other.run.startswith(f"P{number}-"):
                _warn_of_gap(session, other, other.broken)
            continue
        if (other.procedure, other.environment) != (number, session.parameters.environment):
            continue
        reading = read_journal(other.folder / FILE_NAME)
        if _where(reading.lines[0].data["parameters"]["platform"], place, other.environment) != here:
            continue
        if reading.defect is not None:
            _warn_of_gap(
                session,
                other,
                f"it does not hold from line {reading.defect.line} on: {reading.defect.reason}",
            )
        done = _last_change(other.run, reading.lines)
        if done is not None:
            tried[done.target] = other.run
    return tried


def refuse_unasked(session: Session, already: str, parameter: str) -> None:
    """Go further back than where production was moved already only if a person is there: a pipeline stops, others are warned.

    Args:
        session: Of this run.
        already: What was done, and that it looks well.
        parameter: By which what to go back to is named: deployment, commit.

    Raises:
        BadParameters: The run is headless.
    """
    if session.parameters.mode == "headless":
        raise BadParameters(
            f"Going further back is not done unasked: {already}.",
            _UNCHANGED,
            f"If it is not well after all, name the {parameter} to go back to in the parameter {parameter}, or run the notebook by hand.",
        )
    session.warn(already)


def _where(platform: Mapping[str, Any], place: str, environment: str) -> tuple[Any, ...]:
    """Return what tells a place of the platform from every other."""
    settings = platform.get(place) or {}
    name = settings.get(_NAMED_BY[place])
    return (name, settings.get(_SERVED_AT[place])) if environment == "drill" else (name,)


def _warn_of_gap(session: Session, other: RunFolder, why: str) -> None:
    session.warn(
        f"run {other.run} of this incident has a damaged journal ({why}): what it went back to may be offered again; ask who ran it"
    )


def _last_change(run: str, lines: tuple[Line, ...]) -> Done | None:
    done = next((line for line in reversed(lines) if line.event == "effect.done"), None)
    if done is None:
        return None
    intent = next(
        line for line in lines if line.event == "effect.intent" and line.data["name"] == done.data["name"]
    )
    before = intent.data["before"]
    return Done(run, before["live"], before["target"], datetime.fromisoformat(done.at), before)


def _cannot(found: RunFolder, why: str, next_step: str) -> BadParameters:
    return BadParameters(f"Run {found.run} cannot be undone: {why}.", _UNCHANGED, next_step)
