"""What a step that is done has left unseen: no line of a check says which step noted it, its place in the journal does.

- A check is of the step in whose look it was noted: between `step.started` and the line that ends the look.
- The newest line of a check is how it stands, whoever noted it; what is not required is not asked for.
- A look that was cut off ends where the run is opened again.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollback_lib.journal import Line
from rollback_lib.model import CheckStatus

__all__ = ["unseen"]

_DONE = "step.done"
_OVER = (_DONE, "step.failed", "step.interrupted", "run.continued")


def unseen(lines: Sequence[Line], step_id: str) -> tuple[str, ...]:
    """Return the required checks of a step that its cell, run again, has to look at once more, each with how it stands.

    They are those of the look with which the step was last done, and of looks since, that are unknown by now; and those
    that it saw to fail itself: such a second look leaves the step done, and the first is not to hide it.
    """
    noted: set[str] = set()
    look: set[str] = set()
    looking = ""
    newest: dict[str, tuple[Line, bool]] = {}  # and whether this step noted it
    for line in lines:
        if line.event == "step.started":
            looking = line.step or ""
        elif line.event == "check":
            newest[line.data["id"]] = line, looking == step_id
            look |= {line.data["id"]} if looking == step_id else set()
        elif line.event in _OVER:
            if looking == step_id:
                noted, look = (look if line.event == _DONE else noted | look), set()
            looking = ""
    standing = ((newest[name][0].data, newest[name][1]) for name in sorted(noted | look))
    return tuple(
        f"{check['id']} {check['status']}"
        for check, own in standing
        if check["required"]
        and (check["status"] == CheckStatus.UNKNOWN or (own and check["status"] == CheckStatus.FAILED))
    )
