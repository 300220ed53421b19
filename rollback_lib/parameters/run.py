"""The parameters of a notebook, which each procedure's model extends.

- Names and defaults are those of the notebook's parameters cell; with the defaults only a drill is touched.
- A flag is true or false; papermill's "no" and "FALSE" are texts, and refused.
- Ids become folder names, so they hold nothing that could lead elsewhere.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rollback_lib.clock import parse_instant
from rollback_lib.model import Mode
from rollback_lib.yamlfile import Frozen

__all__ = ["ENVIRONMENTS", "PROCEDURE_PARAMETERS", "Id", "Instant", "RunParameters"]

ENVIRONMENTS = ("production", "staging", "drill")

# What the procedures' models add. A parameter file may hold them, because papermill's -f reads the same file.
PROCEDURE_PARAMETERS = frozenset(
    {
        "backup",  # procedure 3: the backup to go back to
        "commit",  # procedure 2: the commit to push again
        "deployment",  # procedure 1: the deployment to go back to
        "method",  # procedure 1: rollback or promote
        "undo",  # procedure 1: the run whose change is to be undone
        "snapshot",  # procedure 4: the snapshot that holds the previous value
        "variable",  # procedure 4: the environment variable
    }
)

_A_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)  # any will do: only the form is judged


def _id(text: str) -> str:
    if re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,79})?", text) is None:
        raise ValueError("must be an id of letters, digits, dot, dash and underscore, or empty")
    return text


def _instant(text: str) -> str:
    if text:
        try:
            parse_instant(text, _A_MOMENT)
        except (ValueError, OverflowError) as exc:
            raise ValueError(
                "must be a time with its zone such as 2026-11-23T21:50:00Z, "
                "a span before now such as -20m (s, m, h or d), or empty"
            ) from exc
    return text


def _with_unit(given: Any) -> Any:
    """Tell a bare number apart, which a shell makes of -20: quotes would not help there."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise ValueError(  # noqa: TRY004 - what pydantic tells the operator
            f"is the number {given}, without a unit: write -{abs(given)}m for that many minutes before now "
            "(s, m, h or d), or a time with its zone such as 2026-11-23T21:50:00Z"
        )
    return given


def _sentence(text: str) -> str:
    if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text) is not None:
        raise ValueError(
            "must be plain text: it holds a control character, a turned direction or half a character"
        )
    return text


Id = Annotated[str, AfterValidator(_id)]
Sentence = Annotated[
    str, AfterValidator(_sentence)
]  # goes to Slack, the platforms, the terminal and the record
Instant = Annotated[str, BeforeValidator(_with_unit), AfterValidator(_instant)]


class RunParameters(Frozen):
    """What every procedure's notebook can be told."""

    read_by: ClassVar[
        dict[str, str]
    ] = {}  # parameter -> the step that reads it; once that is done, it is settled

    environment: str = "drill"
    mode: Mode = "interactive"
    incident: Id = ""
    run: Id = ""
    severity: Literal["", "P0", "P1", "P2"] = ""
    criterion: Sentence = ""
    reason: Sentence = ""
    impact: Sentence = ""
    operator: str = ""
    issue_started_at: Instant = ""
    confirm: str | dict[str, str] = ""  # the text that the gate asks for, or one text a gate
    new_run: bool = False
    take_over: Id = ""  # the run whose lease on the environment is taken over although it was not given back
    dry_run: bool = False
    platform: dict[str, Any] = Field(default_factory=dict)  # drill only: override the file, key by key
    policy: dict[str, Any] = Field(default_factory=dict)
