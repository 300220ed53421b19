"""What earlier runs of procedure 2 in the same incident pushed.

- Only runs against the same deployment count: drills of one minute share an incident, not a company.
"""

from __future__ import annotations

from rollback_lib.evidence.archive import Archive
from rollback_lib.journal import FILE_NAME, read_journal
from rollback_lib.procedures.session import Session

__all__ = ["commits_gone_back_to"]


def commits_gone_back_to(session: Session) -> dict[str, str]:
    """Map each commit that this incident's other runs have pushed to the run that did."""
    tried: dict[str, str] = {}
    here = session.resolved.platform.model_dump(mode="json")["convex"]
    for other in Archive(session.resolved.archive_root).runs():
        same = (other.incident, other.procedure, other.environment) == (
            session.incident,
            2,
            session.parameters.environment,
        )
        if not same or other.broken or other.run == session.journal.run:
            continue
        lines = read_journal(other.folder / FILE_NAME).lines
        intents = {line.data["name"]: line for line in lines if line.event == "effect.intent"}
        for line in lines:
            if line.event == "effect.done" and lines[0].data["parameters"]["platform"].get("convex") == here:
                tried[intents[line.data["name"]].data["before"]["target"]] = other.run
    return tried
