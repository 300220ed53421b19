"""Reading JSON that may be absent, null or of another type than promised.

- A missing or odd optional field is None; nothing is guessed.
- What the next step cannot do without, and is not there, raises `Unreachable` naming request and field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rollback_lib.clock import from_ms
from rollback_lib.errors import Unreachable
from rollback_lib.http import Reply

__all__ = [
    "Shape",
    "a_list",
    "a_mapping",
    "a_number",
    "a_text",
    "a_whole",
    "epoch_time",
    "flag",
    "iso_time",
    "items",
    "mapping_of",
    "ms_time",
    "needed",
    "unusable",
]

Shape = Mapping[str, Any]

LATEST_SECONDS = 1e11  # the year 5138


def unusable(reply: Reply, expected: str) -> Unreachable:
    """Make the error for an answer that is not what was asked for."""
    return Unreachable(
        f"{reply.source} answered {reply.status}, expected {expected}, got: {reply.words if reply.json is None else _kind(reply.json)}.",
        "Nothing was changed by this request.",
        "Run the cell again; if it stays so, check that the address in the parameters is the platform's API.",
    )


def mapping_of(reply: Reply) -> Shape:
    """Return the reply's JSON object.

    Raises:
        Unreachable: It is none.
    """
    if isinstance(reply.json, dict):
        return reply.json
    raise unusable(reply, "a JSON object")


def items(reply: Reply, *names: str) -> list[Shape]:
    """Return the objects of a list: the reply itself, or under one of the names. What is no object is left out.

    Raises:
        Unreachable: There is no such list.
    """
    found = reply.json
    if isinstance(found, dict):
        found = next((found[name] for name in names if isinstance(found.get(name), list)), None)
    if not isinstance(found, list):
        raise unusable(reply, f"a list{f' called {names[0]!r}' if names else ''}")
    return [item for item in found if isinstance(item, dict)]


def needed(reply: Reply, shape: Shape, *names: str) -> str:
    """Return the first of some text fields that is there.

    Raises:
        Unreachable: None of them is.
    """
    for name in names:
        text = a_text(shape.get(name))
        if text:
            return text
    raise unusable(reply, f"a field {names[0]!r}")


def a_mapping(value: Any) -> Shape:
    """Return an object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def a_list(value: Any) -> list[Any]:
    """Return a list as it is, anything else as an empty one."""
    return value if isinstance(value, list) else []


def a_text(value: Any) -> str | None:
    """Return a text, a number as text, anything else as None."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def a_number(value: Any) -> float | None:
    """Return a finite number, also out of text; true and false are none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def a_whole(value: Any) -> int | None:
    """Return a whole number, also out of text or a float."""
    number = a_number(value)
    return None if number is None else round(number)


def flag(value: Any) -> bool | None:
    """Return true or false as they are, anything else as None."""
    return value if isinstance(value, bool) else None


def ms_time(value: Any) -> datetime | None:
    """Read milliseconds since the epoch."""
    number = a_number(value)
    if number is None:
        return None
    try:
        return from_ms(number)
    except (ValueError, OverflowError, OSError):
        return None


def epoch_time(value: Any) -> datetime | None:
    """Read an epoch in seconds or, if it is too large for that, in milliseconds; sources differ."""
    number = a_number(value)
    return None if number is None else ms_time(number if number > LATEST_SECONDS else number * 1000)


def iso_time(value: Any) -> datetime | None:
    """Read ISO 8601; without a zone it is UTC, as the platforms write it."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).astimezone(UTC)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with the fields {', '.join(map(str, value)) or '(none)'}"[:200]
    return f"a {type(value).__name__}"
