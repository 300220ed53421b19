"""Procedure 1 the other way round: going back to what a run left.

- Only what that run did is undone, and only while production is still where it left it.
- What is gone back to was left for a reason: how it looks on its own address is shown, whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rollback_lib.errors import BadParameters
from rollback_lib.evidence.archive import Archive, RunFolder
from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.model import DeploymentId
from rollback_lib.procedures.session import Session

__all__ = ["Undone", "tried_before", "what_was_done"]

_UNCHANGED = "Nothing was changed."


@dataclass(frozen=True)
class Undone:
    """What an earlier run did to production."""

    run: str
    left: DeploymentId  # what was live before it
    target: DeploymentId  # what it moved production to
    at: datetime
    project: str


def what_was_done(session: Session, run: str) -> Undone:
    """Read from a run's journal what it did.

    Raises:
        BadParameters: No such run, another environment's or procedure's, or nothing that can be undone.
    """
    found = Archive(session.resolved.archive_root).find(run)
    environment = session.parameters.environment
    if (found.procedure, found.environment) != (1, environment) or found.broken:
        trouble = found.broken or f"it is of procedure {found.procedure} in {found.environment}"
        raise _cannot(found, trouble, "Name a run of procedure 1 in this environment.")
    reading = read_journal(found.folder / FILE_NAME)
    lines = reading.lines
    if reading.defect is not None:
        told = f"its journal does not hold from line {reading.defect.line} on: {reading.defect.reason}"
        raise _cannot(found, told, "Nobody can say what it did: look at the Vercel dashboard and act there.")
    if effect_in_doubt(lines):
        raise _cannot(
            found,
            "nobody can say whether its change happened",
            f"Settle that first: rollback resume {found.run}",
        )
    done = _moved(lines)
    if done is None:
        raise _cannot(found, "it changed nothing", "There is nothing to undo.")
    return _undone(found.run, lines, done)


def tried_before(session: Session) -> dict[str, str]:
    """Map each deployment that this incident's other runs have gone back to already to the run that did.

    Only runs against the same project at the same address count: drills of one minute share an incident, not a company.
    """
    tried: dict[str, str] = {}
    here = session.resolved.platform.vercel.model_dump(mode="json")
    for other in Archive(session.resolved.archive_root).runs():
        same = (other.incident, other.procedure, other.environment) == (
            session.incident,
            1,
            session.parameters.environment,
        )
        if not same or other.broken or other.run == session.journal.run:
            continue
        lines = read_journal(other.folder / FILE_NAME).lines
        done = _moved(lines)
        if done is not None and lines[0].data["parameters"]["platform"]["vercel"] == here:
            tried[_undone(other.run, lines, done).target] = other.run
    return tried


def _moved(lines: tuple[Line, ...]) -> Line | None:
    done = [line for line in lines if line.event == "effect.done" and line.step == "P1.S4"]
    return done[-1] if done else None


def _undone(run: str, lines: tuple[Line, ...], done: Line) -> Undone:
    intent = next(
        line for line in lines if line.event == "effect.intent" and line.data["name"] == done.data["name"]
    )
    before = intent.data["before"]
    return Undone(
        run,
        DeploymentId(before["live"]),
        DeploymentId(before["target"]),
        datetime.fromisoformat(done.at),
        before["project"],
    )


def _cannot(found: RunFolder, why: str, next_step: str) -> BadParameters:
    return BadParameters(f"Run {found.run} cannot be undone: {why}.", _UNCHANGED, next_step)
