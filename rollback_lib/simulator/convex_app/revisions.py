"""The app's revisions: what each commit changes, who made it, and what part it plays.

- A commit's files stand in `commits/`, only those it adds or changes; `dot_x` there is `.x` in the app.
- A role names a revision, so that scenarios, tests and judges need not guess.
- The documents of a world fit `bad`, which is live, and `good`; a schema from before `merge` refuses some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["BRANCH", "REVISIONS", "Revision", "files", "of_role"]

BRANCH = "main"
_COMMITS = Path(__file__).parent / "commits"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True)
class Revision:
    """One commit of the app, as it was made."""

    role: str
    message: str
    author: str  # the name in the company's mail address
    before_live_s: float  # how long before the bad commit went live it was committed; below zero: after
    parents: tuple[str, ...]  # their roles
    overlays: tuple[str, ...] = ()  # folders of `commits/`, laid over the first parent's files
    removes: tuple[str, ...] = ()
    branch: str = BRANCH
    authored_before_s: float = 0  # how long before it was committed it was written


REVISIONS = (
    Revision("first", "Members, products and orders", "lee", 62 * _DAY, (), ("01-first",)),
    Revision(
        "memberships",
        "Sell memberships\n\nPlans and prices as on the posters; members come from Clerk by webhook.",
        "ana",
        47 * _DAY,
        ("first",),
        ("02-memberships",),
    ),
    Revision(
        "narrow",
        "Book a trainer\n\nWith a reminder two hours before, and a calendar for the trainers.",
        "dee",
        33 * _DAY,
        ("memberships",),
        ("03-narrow",),
    ),
    Revision(
        "waitlist",
        "Put members on a waitlist where a session is taken\n\nThe trainers' calendar goes: nobody subscribed to it.",
        "dee",
        21 * _DAY,
        ("narrow",),
        ("05-waitlist",),
        removes=("convex/feeds.ts",),
        branch="work/waitlist",
        authored_before_s=4 * _DAY,
    ),
    Revision("upgrade", "Bump convex to 1.48.0", "ana", 20 * _DAY, ("narrow",), ("04-upgrade",)),
    Revision(
        "merge",
        "Merge branch 'work/waitlist'",
        "lee",
        18 * _DAY,
        ("upgrade", "waitlist"),
        ("05-waitlist",),
        removes=("convex/feeds.ts",),
    ),
    Revision(
        "frontend",
        "Show prices with tax in the marketplace",
        "ana",
        35 * _HOUR,
        ("merge",),
        ("07-frontend",),
    ),
    Revision(
        "good", "Name the trainer in reminders", "dee", 5 * _HOUR + 4 * _MINUTE, ("frontend",), ("08-good",)
    ),
    Revision(
        "bad",
        "Memberships by tier\n\nEssential, Plus and Black. Run memberships:backfillTier after the deploy.",
        "lee",
        4 * _MINUTE,
        ("good",),
        ("09-bad",),
    ),
    Revision(
        "hotfix",
        "Show members without a tier as Essential",
        "lee",
        -11 * _MINUTE,
        ("bad",),
        ("10-hotfix",),
        branch="hotfix/membership-tier",
    ),
)
_BY_ROLE = {revision.role: revision for revision in REVISIONS}


def of_role(role: str) -> Revision:
    """Give the revision that plays a part.

    Raises:
        KeyError: None does.
    """
    return _BY_ROLE[role]


@cache
def files(role: str) -> dict[str, bytes]:
    """Give all files of a revision by their path. The result is shared: do not change it.

    Raises:
        KeyError: No revision has that role.
    """
    revision = _BY_ROLE[role]
    found = dict(files(revision.parents[0])) if revision.parents else {}
    for overlay in revision.overlays:
        found |= _overlay(_COMMITS / overlay)
    return {path: data for path, data in sorted(found.items()) if path not in revision.removes}


def _overlay(folder: Path) -> dict[str, bytes]:
    return {
        "/".join(
            f".{part.removeprefix('dot_')}" if part.startswith("dot_") else part
            for part in path.relative_to(folder).parts
        ): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
