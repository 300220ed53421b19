"""What of an environment variable's value would give it away, for the redactor.

- Each value, each line of it, and their forms in JSON and in addresses.
- Ordinary words, numbers and bare addresses are left out: blanking `production` everywhere would hide what matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

__all__ = ["revealing"]

SHORTEST = 8  # characters; a shorter value would blank ordinary words
# A word of small letters; a number or version; an address without a path, which tells a host and no more.
_ORDINARY = re.compile(
    r"[a-z]{1,20}|[0-9.]+|https?://[A-Za-z0-9.:-]+/?|[a-z0-9-]+(\.[a-z0-9-]+)+|(\.{0,2}/)?[a-z]+(/[a-z]+)*"
)


def revealing(values: Iterable[str]) -> list[str]:
    """Return what must not be shown of some values, in each form in which a message might hold it."""
    found: list[str] = []
    for value in values:
        lines = [value, *value.splitlines()] if "\n" in value else [value]
        telling = [line for line in map(str.strip, lines) if _is_telling(line)]
        found += [form for line in telling for form in (line, json.dumps(line)[1:-1], quote(line, safe=""))]
    return list(dict.fromkeys(found))


def _is_telling(value: str) -> bool:
    return len(value) >= SHORTEST and _ORDINARY.fullmatch(value) is None
