"""How a refused value is told to the person who wrote it.

- Each sentence names the value's place and what is allowed there.
- The value itself is repeated only where it cannot be a secret: a flag, a number, one of a few fixed words.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rollback_lib.yamlfile import problems

__all__ = ["UNTOUCHED", "Fault", "Place", "came", "closest", "dotted", "faults"]

Place = tuple[str | int, ...]
Fault = tuple[Place, str]

UNTOUCHED = "Nothing was sent; no run was begun or changed."
LONGEST_SHOWN = 16  # characters; a longer text in such a place may be a token put there by mistake

_SAID = {
    "missing": "is missing",
    "extra_forbidden": "is not a known name here",
    "bool_type": "must be true or false",
    "string_type": "must be text; put a number in quotes",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
}
_BOUNDS = {
    "greater_than": ("must be more than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than_equal": ("must be at most", "le"),
}


def faults(exc: ValidationError) -> list[Fault]:
    """List what was refused as (place, sentence without the place), in our words."""
    given = [text for _, text in problems(exc)]
    errors = exc.errors(include_url=False, include_input=False)
    return [
        (error["loc"], _said(error) or text.partition(": ")[2])
        for error, text in zip(errors, given, strict=True)
    ]


def came(value: Any) -> str:
    """Describe what came in the place of a flag, a number or a fixed word."""
    if isinstance(value, str):
        return (
            f"the text {repr(value) if len(value) <= LONGEST_SHOWN else f'of {len(value)} characters'} came"
        )
    if value is None or isinstance(value, bool | int | float):
        return f"{value!r} came"
    return f"a {type(value).__name__} came"


def closest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean x?)` for the known name most like it, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def dotted(place: Sequence[str | int]) -> str:
    """Write a place as platform.app.pages.2.path."""
    return ".".join(str(part) for part in place)


def _said(error: ErrorDetails) -> str | None:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"{words} {context[limit]:g}"
    return _SAID.get(kind)
