"""What a push says of itself in Convex's audit log, and which commit that names.

- Our own forms, of a rollback and of an undo, are made and read here; the commit that one names is that of the push,
  whatever else the text holds. It names incident and run too; that of the run which it undoes is not the push's own.
- Git's own trailers, and those that people put beside them, name other commits: what was reverted, picked or mended.
"""

from __future__ import annotations

import re

__all__ = ["certain_digits", "incident_of", "is_of_revert", "named_digits", "push_message", "run_of"]

_DIGITS = r"(?<![0-9A-Za-z])[0-9a-f]{7,40}(?![0-9A-Za-z])"
_OURS = re.compile(
    r"(?:rollback to ([0-9a-f]{40})|undo of run \S+: pushes ([0-9a-f]{40}) again) \((\S+), run (\S+)\)"
)
_OF_CI = re.compile(r"Deployed from .{1,60} • ([0-9a-f]{7,40})\s*")  # the official command line's default
# "This reverts commit a1.", "reverts commits a1 and b2", "reversing changes made to a1", "(cherry picked from commit
# a1)", "Merge commit 'a1'", "Fixes: a1", "backport of a1".
_OF_OTHERS = re.compile(
    rf"""\b(?:revert(?:s|ed|ing)?|reversing\s+changes\s+made\s+to|cherry[\s-]?pick(?:ed|s)?(?:\s+(?:from|of))?
    |back-?port(?:s|ed)?(?:\s+(?:from|of))?|fix(?:es|ed|up)?|broken\s+(?:by|since|in)|introduced\s+(?:by|in)
    |merge[sd]?):?\s+(?:(?:of\s+)?commits?\s+)?['"(]?{_DIGITS}(?:(?:\s*,\s*|\s+and\s+|\s*,\s+and\s+)(?:commit\s+)?{_DIGITS})*""",
    re.IGNORECASE | re.VERBOSE,
)
# Git's own subjects of one, "Revert "a""; and what it writes below: "This reverts commit a1".
_REVERT = re.compile(r"\A\s*(?:revert|reapply)\b|\bThis reverts (?:commits?|merge)\b", re.IGNORECASE)


def push_message(sha: str, incident: str, run: str, undo_of: str = "") -> str:
    """Return what a push of ours says of itself; at most 1,024 bytes.

    Args:
        sha: Of the commit that is pushed.
        incident: In which.
        run: Which pushes.
        undo_of: The run that it undoes; empty: it is a rollback.
    """
    what = f"undo of run {undo_of}: pushes {sha} again" if undo_of else f"rollback to {sha}"
    return f"{what} ({incident}, run {run})"


def incident_of(text: str) -> str:
    """Return the incident in which a push of ours was made; empty: it is none of ours."""
    found = _OURS.fullmatch(text.strip())
    return found[3] if found is not None else ""


def run_of(text: str) -> str:
    """Return the run that made a push of ours; empty: it is none of ours."""
    found = _OURS.fullmatch(text.strip())
    return found[4] if found is not None else ""


def is_of_revert(text: str) -> bool:
    """Say whether a text is a revert's: as the message of a push it may tell of what was taken back, not of what went live."""
    return _REVERT.search(text) is not None


def certain_digits(text: str) -> str:
    """Return the digits of the commit that a program has written into a message as its own; empty: none."""
    found = _OURS.fullmatch(text.strip()) or _OF_CI.fullmatch(text.strip())
    return (found[1] or found[2]) if found is not None else ""


def named_digits(text: str) -> tuple[str, ...]:
    """List what may be the sha of the commit that was pushed, the longest first; that of another commit is left out."""
    certain = certain_digits(text)
    if certain:
        return (certain,)
    return tuple(sorted(set(re.findall(_DIGITS, _OF_OTHERS.sub(" ", text))), key=len, reverse=True))
