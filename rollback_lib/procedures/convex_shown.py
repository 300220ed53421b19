"""What procedure 2 finds and returns: small frozen values that show themselves in a cell and survive a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rollback_lib.model import digest_of
from rollback_lib.procedures.revisions import Push, Revision
from rollback_lib.providers.convex_facts import Cron, Function, Module, Schema
from rollback_lib.providers.repository import Change

__all__ = ["PUSH_ROW", "Chosen", "Difference", "Pushed", "Pushes", "Rehearsal", "difference", "push_row"]

PUSH_ROW = ("pushed (UTC)", "commit", "author", "message", "known by")
SHOWN = 12  # lines of one kind


@dataclass(frozen=True)
class Pushes:
    """What is known of the code that was put live, oldest first."""

    pushes: tuple[Push, ...]
    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """The last stable commit of the backend before the issue, and what was decided on the way to it."""

    revision: Revision
    suspect: Push | None
    live: Push | None
    issue_at: datetime
    issue_from: str
    changes: tuple[Change, ...]  # of the functions' folder, from what is live to the commit
    notes: tuple[str, ...]

    @property
    def sha(self) -> str:
        """Return the commit's full sha."""
        return self.revision.commit.sha

    def __repr__(self) -> str:
        commit = self.revision.commit
        files = [f"  {change.what:8}{change.path}{_lines(change)}" for change in self.changes]
        return "\n".join(
            [
                f"Last stable commit: {commit.short}  {commit.subject}",
                f"  by {commit.author}, {commit.committed_at:%Y-%m-%d %H:%M} UTC; {_lived(self.revision)}",
                f"Suspect: {self.suspect!r}" if self.suspect else "Suspect: not known",
                f"Live now: {self.live!r}" if self.live else "Live now: not known",
                f"Issue began {self.issue_at:%Y-%m-%d %H:%M:%S} UTC ({self.issue_from})",
                f"Takes back {len(self.revision.undone)} push(es); {len(self.changes)} backend file(s) differ",
                *_cut(files),
                *(f"  note: {note}" for note in self.notes),
            ]
        )


@dataclass(frozen=True)
class Difference:
    """What changes for callers when a commit replaces what is live; names, sorted."""

    added: tuple[str, ...]  # functions
    removed: tuple[str, ...]
    changed: tuple[str, ...]  # other arguments, results, kind or visibility
    tables: tuple[str, ...]  # with what happens to each
    crons: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say it, a kind a line."""
        told = (
            ("functions that come back", self.added),
            ("functions that go", self.removed),
            ("functions that change", self.changed),
            ("tables", self.tables),
            ("crons", self.crons),
        )
        return [f"{what}: {', '.join(names)}" for what, names in told if names] or [
            "no function, table or cron differs by name or shape"
        ]


@dataclass(frozen=True)
class Rehearsal:
    """What Convex said to a dry run of the commit, held against the live data."""

    sha: str
    at: datetime
    seconds: float
    version: str  # of the convex package that pushes
    modules: tuple[Module, ...]  # what will be live
    functions: tuple[Function, ...] | None  # None: the command line did not say
    schema: Schema | None
    difference: Difference | None
    warnings: tuple[str, ...]
    output: str  # file of the record

    @property
    def digest(self) -> str:
        """Return the digest of the code that will be live."""
        return digest_of([vars(module) for module in self.modules])

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"Dry run of {self.sha[:12]}: Convex would take it ({self.seconds:.0f} s, convex {self.version}); nothing was changed",
                *_cut(
                    [f"  {line}" for line in self.difference.lines()]
                    if self.difference
                    else ["  what differs from what is live could not be read"]
                ),
                *(f"  warning: {text}" for text in self.warnings),
                f"  output: {self.output}",
            ]
        )


@dataclass(frozen=True)
class Pushed:
    """The commit was pushed; whether it is live is for the next step to see."""

    source: str  # sha of what was live; empty: nobody knows
    target: str
    sent_at: datetime
    seen: Literal["happened", "running", "not happened", "failed half way", "unclear"]
    detail: str

    def __repr__(self) -> str:
        return f"Backend: {self.source[:12] or 'unknown'} → {self.target[:12]}: {self.seen} ({self.detail})"


def difference(
    live: tuple[Function, ...],
    target: tuple[Function, ...],
    schemas: tuple[Schema | None, Schema | None],
    crons: tuple[tuple[Cron, ...] | None, tuple[str, ...]],
) -> Difference:
    """Compare what is live with what a commit was analysed as.

    Args:
        live: The functions that are live.
        target: Those of the commit.
        schemas: The schema that is enforced, and the commit's.
        crons: The crons that are live (None: not known), and the commit's by name.
    """
    old, new = {one.name: one for one in live}, {one.name: one for one in target}
    now, then = (dict(schema.tables) if schema is not None else {} for schema in schemas)
    tables = [
        *(f"{name} (no schema any more)" for name in now.keys() - then.keys()),
        *(f"{name} (gets a schema)" for name in then.keys() - now.keys()),
        *(f"{name} (another schema)" for name in now.keys() & then.keys() if now[name] != then[name]),
    ]
    running = {cron.name for cron in crons[0]} if crons[0] is not None else set(crons[1])
    return Difference(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(name for name in old.keys() & new.keys() if _differs(old[name], new[name]))),
        tables=tuple(sorted(tables)),
        crons=(
            *(f"{name} (stops)" for name in sorted(running - set(crons[1]))),
            *(f"{name} (comes back)" for name in sorted(set(crons[1]) - running)),
        ),
    )


def push_row(push: Push) -> tuple[str, ...]:
    """Return a push as a row under `PUSH_ROW`."""
    commit = push.commit
    return (
        f"{push.at:%Y-%m-%d %H:%M:%S}",
        commit.short if commit else "nobody knows",
        commit.author if commit else push.by or "-",
        (commit.subject if commit else push.told or "-")[:50],
        push.known_by,
    )


def _differs(old: Function, new: Function) -> bool:
    shapes = old.shape != new.shape if old.shape and new.shape else False
    return shapes or (old.type, old.public) != (new.type, new.public)


def _lived(revision: Revision) -> str:
    if revision.live_from is None:
        return "not known to have been live"
    until = f" to {revision.live_until:%Y-%m-%d %H:%M}" if revision.live_until else ""
    return f"live from {revision.live_from:%Y-%m-%d %H:%M}{until} UTC ({revision.known_by})"


def _lines(change: Change) -> str:
    return f"  +{change.added} -{change.removed}" if change.added is not None else ""


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"  ... and {more} more"]
