"""What a text really holds: characters that look like others, turn its direction or cannot be seen are made visible.

- Identifiers are printable ASCII without exception: what is compared by eye cannot be anything else.
- Any other text is shown with each character outside printable ASCII named; those that draw nothing, or over their
  neighbours, are shown by their number alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["is_plain", "odd_characters", "visible"]

_PLAIN = re.compile(r"[ -~]+")
_DRAWN = ("L", "N", "P", "S")  # letters, numbers, punctuation, symbols: classes that show as themselves
_TURNING = ("R", "AL", "AN")  # written from right to left: they would move their neighbours


def is_plain(text: str) -> bool:
    """Say whether a text is an identifier's: printable ASCII, not empty, no space at its ends."""
    return _PLAIN.fullmatch(text) is not None and text == text.strip()


def visible(text: str) -> str:
    """Show a text so that nothing in it is hidden: `caf⟨é U+00E9⟩`, `⟨U+202E⟩`."""
    return "".join(letter if _PLAIN.fullmatch(letter) else f"⟨{_shown(letter)}⟩" for letter in text)


def odd_characters(texts: Iterable[str]) -> tuple[str, ...]:
    """List each character outside printable ASCII once, by number and name, in the order in which they come."""
    found = dict.fromkeys(letter for text in texts for letter in text if not _PLAIN.fullmatch(letter))
    return tuple(f"{_shown(letter)} {unicodedata.name(letter, 'a control character')}" for letter in found)


def _shown(letter: str) -> str:
    number = f"U+{ord(letter):04X}"
    drawn = unicodedata.category(letter)[0] in _DRAWN and unicodedata.bidirectional(letter) not in _TURNING
    return f"{letter} {number}" if drawn else number
