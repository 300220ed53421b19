"""Which commits the backend has run, which is the suspect, and which may be pushed again. Decides only; reads nothing.

- Convex keeps no code. What was live when is put together from its audit log, from Vercel's builds and from git.
- A push names its commit in its message, by its sha or by its very words; else the one Vercel build that it fell into is
  assumed to; else nobody knows it. Nor does anybody where the two name different commits, unless a program has written
  the message about itself.
- The suspect is what was live when the issue began; no push of this incident's own runs is.
- Never offered: the suspect, what is live now, what was pushed after the suspect, what has the suspect's own backend
  code, and what this incident's other runs went back to already.
- What is not known to have been live is offered last, and has to be named to be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from rollback_lib.providers.convex_facts import AuditEvent
from rollback_lib.providers.push_words import certain_digits, incident_of
from rollback_lib.providers.repository import Commit
from rollback_lib.providers.vercel import Deployment

__all__ = [
    "Finding",
    "Push",
    "Revision",
    "SuspectPush",
    "find_suspect",
    "named_revision",
    "pushes_by_builds",
    "pushes_by_log",
    "stable_revisions",
    "unpushed_revisions",
]

LONGEST_BUILD = timedelta(minutes=45)  # Vercel ends a build after that
MOST_UNPUSHED = 20  # commits that are offered though nothing tells that they were live
Find = Callable[[str], Commit | None]


@dataclass(frozen=True)
class Push:
    """One time that code was put live on the backend."""

    at: datetime
    commit: Commit | None  # None: nobody can say which code it was
    known_by: str  # audit log, Vercel build dpl_1, ...
    told: str = ""  # the push's own message
    by: str = ""  # member 12, token 7; empty: not said
    assumed: bool = False  # the commit is that of a build of the moment, which need not have pushed

    def of_incident(self, incident: str) -> bool:
        """Say whether a run of ours in this incident made it."""
        return incident != "" and incident_of(self.told) == incident

    def __repr__(self) -> str:
        what = f"{self.commit.short} {self.commit.subject}" if self.commit else "a commit that nobody knows"
        return f"{self.at:%Y-%m-%d %H:%M:%S} UTC: {what} ({self.known_by})"


@dataclass(frozen=True)
class SuspectPush:
    """What was live when the issue began."""

    push: Push
    notes: tuple[str, ...]  # what is uncertain, and what speaks against the backend's code as the cause


@dataclass(frozen=True)
class Revision:
    """A commit that may be pushed again."""

    commit: Commit
    live_from: datetime | None  # None: not known to have been live at all
    live_until: datetime | None
    known_by: str
    undone: tuple[Push, ...]  # what it takes back, newest first
    notes: tuple[str, ...] = ()
    assumed: bool = False  # nothing but a build of that moment says that it was live


@dataclass(frozen=True)
class Finding:
    """How the message of a push leads to a commit of the clone."""

    mentioned: Find  # the one that a text names by its sha
    worded: Find  # the one whose subject or message a text is


def pushes_by_log(
    events: Sequence[AuditEvent], builds: Sequence[Deployment], find: Finding
) -> tuple[Push, ...]:
    """Say of each push in the audit log which commit it put live, oldest first.

    Args:
        events: The audit log's pushes, oldest first.
        builds: Vercel's production deployments, any order; their builds push the backend where the build command does.
        find: Finds the commit that a message tells of.
    """
    return tuple(_by_event(event, builds, find) for event in events)


def pushes_by_builds(
    builds: Sequence[Deployment], last: AuditEvent | None, find: Finding
) -> tuple[Push, ...]:
    """Say the same where there is no audit log: each build of production that came to its end has pushed, oldest first.

    Args:
        builds: Vercel's production deployments, whose builds push the backend.
        last: The newest push, which Convex tells on every plan.
        find: Finds the commit that a message tells of.
    """
    found = [
        Push(
            build.ready_at,
            find.mentioned(build.commit_sha) if build.commit_sha else None,
            f"Vercel build {build.id}",
            build.commit_message,
        )
        for build in builds
        if build.state == "READY" and build.ready_at is not None
    ]
    if last is not None and not any(_built_at(build, last.at) for build in builds):
        found.append(_by_event(last, (), find))
    return tuple(sorted(found, key=lambda push: push.at))


def find_suspect(
    pushes: Sequence[Push], issue_at: datetime, long_live: timedelta, incident: str = ""
) -> SuspectPush | None:
    """Find what was live when the issue began; None if nothing on record was.

    Args:
        pushes: Oldest first.
        issue_at: When the issue began.
        long_live: Live for longer than this before the issue: the backend's code is an unlikely cause.
        incident: None of the pushes that its runs made began it, whenever it is said to have begun.
    """
    theirs = [push for push in pushes if not push.of_incident(incident)]
    live = [push for push in theirs if push.at <= issue_at]
    if not live:
        return None
    push = live[-1]
    notes = list(_assumed(push))
    if push.commit is None:
        notes.append("which commit it was is not on record: its code cannot be compared, nor pushed again")
    later = [one for one in theirs if one.at > issue_at]
    if later:
        notes.append(
            f"{len(later)} push(es) came after the issue began; the last one is live now: {later[-1]!r}"
        )
    if issue_at - push.at > long_live:
        hours = (issue_at - push.at).total_seconds() / 3600
        notes.append(
            f"it had been live for {hours:.0f} h before the issue began: the backend's code is an unlikely cause; look first at what else changed then: environment variables, data, and whether Vercel, Convex, Clerk and Stripe report trouble"
        )
    return SuspectPush(push, tuple(notes))


def stable_revisions(
    pushes: Sequence[Push],
    suspect: Push,
    same_code: Callable[[Commit, Commit], bool],
    gone_back_to: Collection[str] = (),
) -> tuple[Revision, ...]:
    """List what may be pushed again, the last stable one first.

    Args:
        pushes: Oldest first, the suspect among them.
        suspect: What was live when the issue began.
        same_code: Says whether two commits have the same backend code.
        gone_back_to: Commits that this incident's other runs pushed already.
    """
    earlier = [push for push in pushes if push.at < suspect.at]
    refused = {*gone_back_to, *(push.commit.sha for push in (suspect, pushes[-1]) if push.commit is not None)}
    found: list[Revision] = []
    for number in range(len(earlier) - 1, -1, -1):
        push = earlier[number]
        commit = push.commit
        if commit is None or commit.sha in refused:
            continue
        refused.add(commit.sha)
        if suspect.commit is not None and same_code(commit, suspect.commit):
            continue
        until = [*earlier[number + 1 :], suspect][0].at
        undone = tuple(one for one in reversed(pushes) if one.at > push.at)
        notes = (*_assumed(push), *_doubts(undone))
        found.append(Revision(commit, push.at, until, push.known_by, undone, notes, push.assumed))
    return tuple(found)


def named_revision(commit: Commit, pushes: Sequence[Push], suspect: Push | None) -> Revision:
    """Say what is known of a commit that a person named and that would not be offered.

    Args:
        commit: The commit.
        pushes: Oldest first.
        suspect: What was live when the issue began; None: not known.
    """
    known = [number for number, push in enumerate(pushes) if push.commit and push.commit.sha == commit.sha]
    before = [number for number in known if suspect is None or pushes[number].at < suspect.at]
    if not before:
        note = "named by the operator; it is not known to have been live before the issue"
        return Revision(commit, None, None, "git", (), (note,))
    push, later = pushes[before[-1]], pushes[before[-1] + 1 :]
    undone = tuple(reversed(later))
    notes = ("named by the operator; it would not have been offered", *_assumed(push), *_doubts(undone))
    until = later[0].at if later else None
    return Revision(commit, push.at, until, push.known_by, undone, notes, push.assumed)


def unpushed_revisions(
    history: Sequence[Commit],
    issue_at: datetime,
    same_code: Callable[[Commit, Commit], bool],
    suspect: Commit | None = None,
    refused: Collection[str] = (),
) -> tuple[Revision, ...]:
    """List commits of production's branch that may have been live, newest first: neither log nor build says so.

    Args:
        history: The branch's own line, newest first.
        issue_at: When the issue began.
        same_code: Says whether two commits have the same backend code.
        suspect: What was live then, if that is known; else the newest one before the issue counts as it.
        refused: Commits that are live now, or that this incident's other runs pushed already.
    """
    until = issue_at if suspect is None else min(issue_at, suspect.committed_at)
    older = [commit for commit in history if commit.committed_at <= until]
    if suspect is None:
        if not older:
            return ()
        suspect, *older = older
    note = "not known to have been live: no audit log and no build tells what was pushed before the issue"
    fitting = (one for one in older if one.sha not in refused and not same_code(one, suspect))
    return tuple(Revision(one, None, None, "git", (), (note,)) for one in islice(fitting, MOST_UNPUSHED))


def _by_event(event: AuditEvent, builds: Sequence[Deployment], find: Finding) -> Push:
    named, by_message = _named(event.message, find)
    if named is not None and certain_digits(event.message):
        return Push(event.at, named, by_message, event.message, event.actor)
    within = {build.commit_sha: build for build in builds if _built_at(build, event.at) and build.commit_sha}
    build = next(iter(within.values())) if len(within) == 1 else None
    built = find.mentioned(build.commit_sha) if build is not None else None
    if build is None or named == built:
        return Push(event.at, named, by_message, event.message, event.actor)
    if named is None:
        known_by = (
            f"ASSUMED: Vercel was building it at that moment ({build.id}); the push itself does not say"
        )
        return Push(event.at, built, known_by, event.message, event.actor, assumed=True)
    known_by = f"audit log: its message names {named.short}, Vercel build {build.id} at that time another"
    return Push(event.at, None, known_by, event.message, event.actor)


def _named(message: str, find: Finding) -> tuple[Commit | None, str]:
    """Return the commit that a message tells of, and how it is known."""
    named = find.mentioned(message) if message else None
    worded = find.worded(message) if message and named is None else None
    return (worded, "audit log, by the text of its message") if worded else (named, "audit log")


def _built_at(build: Deployment, at: datetime) -> bool:
    """Say whether a build was going on: a push during it is its own."""
    return build.created_at <= at <= (build.ready_at or build.created_at + LONGEST_BUILD)


def _assumed(push: Push) -> tuple[str, ...]:
    if not push.assumed or push.commit is None:
        return ()
    why = "a push then does not say its commit, and Vercel was building this one; that build need not have pushed"
    return (
        f"ASSUMED, not known, that {push.commit.short} was live from {push.at:%Y-%m-%d %H:%M} UTC: {why}",
    )


def _doubts(undone: Sequence[Push]) -> tuple[str, ...]:
    unknown = [push for push in undone if push.commit is None]
    if not unknown:
        return ()
    times = ", ".join(f"{push.at:%H:%M:%S} UTC" for push in unknown)
    return (f"takes back {len(unknown)} push(es) whose code nobody knows ({times}): it cannot be put back",)
