"""What a push says of itself in Convex's audit log, and which commit that names.

- Our own form is made and read here; a commit that it names is that of the push, whatever else the text holds. It names
  the incident too.
- Git's own trailers, and those that people put beside them, name other commits: what was reverted, picked or mended.
"""

from __future__ import annotations

import re

__all__ = ["certain_digits", "incident_of", "named_digits", "push_message"]

_DIGITS = r"(?<![0-9A-Za-z])[0-9a-f]{7,40}(?![0-9A-Za-z])"
_OURS = re.compile(r"rollback to ([0-9a-f]{40}) \((\S+), run \S+\)")
_OF_CI = re.compile(r"Deployed from .{1,60} • ([0-9a-f]{7,40})\s*")  # the official command line's default
# "This reverts commit a1.", "reverts commits a1 and b2", "reversing changes made to a1", "(cherry picked from commit
# a1)", "Merge commit 'a1'", "Fixes: a1", "backport of a1".
_OF_OTHERS = re.compile(
    rf"""\b(?:revert(?:s|ed|ing)?|reversing\s+changes\s+made\s+to|cherry[\s-]?pick(?:ed|s)?(?:\s+(?:from|of))?
    |back-?port(?:s|ed)?(?:\s+(?:from|of))?|fix(?:es|ed|up)?|broken\s+(?:by|since|in)|introduced\s+(?:by|in)
    |merge[sd]?):?\s+(?:(?:of\s+)?commits?\s+)?['"(]?{_DIGITS}(?:(?:\s*,\s*|\s+and\s+|\s*,\s+and\s+)(?:commit\s+)?{_DIGITS})*""",
    re.IGNORECASE | re.VERBOSE,
)


def push_message(sha: str, incident: str, run: str) -> str:
    """Return what a push of ours says of itself; at most 1,024 bytes."""
    return f"rollback to {sha} ({incident}, run {run})"


def incident_of(text: str) -> str:
    """Return the incident in which a push of ours was made; empty: it is none of ours."""
    found = _OURS.fullmatch(text.strip())
    return found[2] if found is not None else ""


def certain_digits(text: str) -> str:
    """Return the digits of the commit that a program has written into a message as its own; empty: none."""
    found = _OURS.fullmatch(text.strip()) or _OF_CI.fullmatch(text.strip())
    return found[1] if found is not None else ""


def named_digits(text: str) -> tuple[str, ...]:
    """List what may be the sha of the commit that was pushed, the longest first; that of another commit is left out."""
    certain = certain_digits(text)
    if certain:
        return (certain,)
    return tuple(sorted(set(re.findall(_DIGITS, _OF_OTHERS.sub(" ", text))), key=len, reverse=True))
