"""What procedure 2 finds and returns: small frozen values that show themselves in a cell and survive a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rollback_lib.model import digest_of
from rollback_lib.procedures.revisions import Push, Revision
from rollback_lib.procedures.shown import WARNS, Listing, Notice, some
from rollback_lib.providers.convex_facts import STAGED, Cron, Function, Module, Schema
from rollback_lib.providers.repository import Change

__all__ = [
    "Chosen",
    "Difference",
    "Fit",
    "Pushed",
    "Pushes",
    "Rehearsal",
    "difference",
    "fit_of",
    "push_text",
]

PUSH_ROW = ("now", "pushed (UTC)", "commit", "author", "message", "known by")
COMMIT_ROW = ("", "commit", "live from (UTC)", "author", "message")
FITTING = 5  # pushes that are taken back: as many as fit a cell
MESSAGE = 50  # characters


@dataclass(frozen=True)
class Pushes:
    """What is known of the code that was put live, oldest first."""

    pushes: tuple[Push, ...]
    source: str
    notes: tuple[str, ...]

    def listing(self) -> Listing:
        """Return them as a table, newest first; the last one is what is live."""
        rows = tuple(
            ("LIVE" if push is self.pushes[-1] else "", f"{push.at:%Y-%m-%d %H:%M:%S}", *_commit_cells(push))
            for push in reversed(self.pushes)
        )
        live = f"Live now: {push_text(self.pushes[-1])}" if self.pushes else "Live now: not known"
        note = "\n".join([live, f"From: {self.source}", *(f"{WARNS} {note}" for note in self.notes)])
        return Listing("Pushes of the backend, newest first", PUSH_ROW, rows, note, bold=(0,) if rows else ())


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
    undo_of: str = ""  # the run whose push is undone; empty: this is a rollback

    @property
    def sha(self) -> str:
        """Return the commit's full sha."""
        return self.revision.commit.sha

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._listings()))

    def _repr_html_(self) -> str:
        return "".join(listing._repr_html_() for listing in self._listings())

    def _listings(self) -> tuple[Listing, ...]:
        """Return what it shows: the commits that matter, and the files that differ."""
        commit, undone = self.revision.commit, self.revision.undone
        others = [push for push in undone if self.suspect is None or push.at != self.suspect.at]
        left = len(others) - FITTING
        rows = (
            self._target_row(),
            *([self._row("undone" if self.undo_of else "suspect", self.suspect)] if self.suspect else []),
            *(self._row("taken back too", push) for push in others[:FITTING]),
        )
        what = f"Undoes run {self.undo_of}, back to" if self.undo_of else "Last stable commit"
        lines = (
            f"Goes back to: {commit.sha}, of {commit.committed_at:%Y-%m-%d %H:%M} UTC; {_lived(self.revision)}",
            *(["Suspect: not known"] if self.suspect is None else []),
            f"Live now: {push_text(self.live) if self.live else 'not known'}",
            f"Issue began: {self.issue_at:%Y-%m-%d %H:%M:%S} UTC ({self.issue_from})",
            f"Takes back: {f'{len(undone)} push(es)' if undone else 'not known'}"
            + (f", of which {left} are not shown" if left > 0 else ""),
            *(f"{WARNS} {note}" for note in self.notes),
        )
        top = Listing(
            f"{what}: {commit.short} {commit.subject}", COMMIT_ROW, rows, "\n".join(lines), bold=(0,)
        )
        return (top, self._files()) if self.changes else (top,)

    def _files(self) -> Listing:
        rows = tuple((change.what, change.path, _lines(change)) for change in self.changes)
        return Listing(
            f"Files of the backend that differ from what is live: {len(rows)}", ("", "file", "lines"), rows
        )

    def _target_row(self) -> tuple[str, ...]:
        commit, since = self.revision.commit, self.revision.live_from
        lived = f"{since:%Y-%m-%d %H:%M:%S}" if since is not None else "not known"
        return "goes back to", commit.short, lived, commit.author, commit.subject[:MESSAGE]

    def _row(self, role: str, push: Push) -> tuple[str, ...]:
        told = f"{role}, live now" if push == self.live else role
        commit, author, message, _ = _commit_cells(push)
        return told, commit, f"{push.at:%Y-%m-%d %H:%M:%S}", author, message


@dataclass(frozen=True)
class Difference:
    """What changes for callers when a commit replaces what is live; names, sorted."""

    added: tuple[str, ...]  # functions
    removed: tuple[str, ...]
    changed: tuple[str, ...]  # other arguments, results, kind or visibility
    tables: tuple[str, ...]  # with what happens to each
    crons: tuple[str, ...]
    indexes: tuple[str, ...] = ()  # with what happens to each
    filled: tuple[str, ...] = ()  # those that Convex fills before the code goes live

    def told(self) -> dict[str, str]:
        """Say it, a kind a line; empty where nothing differs by name or shape."""
        kinds = (
            ("functions that come back", self.added),
            ("functions that go away", self.removed),
            ("functions that change", self.changed),
            ("schema", self.tables),
            ("indexes", self.indexes),
            ("crons", self.crons),
        )
        return {what: some(names) for what, names in kinds if names}


@dataclass(frozen=True)
class Fit:
    """Which documents were held against a schema."""

    checked: bool  # any at all
    words: str


def fit_of(schema: Schema | None, unlisted: tuple[str, ...] | None) -> Fit:
    """Say which documents Convex holds against a schema: those of the tables that it lists, where it is enforced.

    Args:
        schema: As Convex read it; None: the code has none.
        unlisted: Tables with documents that it does not list; None: not read.
    """
    if schema is None:
        return Fit(False, "it has no schema, as far as Convex said: no document was checked")
    if not schema.validated:
        return Fit(False, "its schema is not enforced (schemaValidation: false): no document was checked")
    if not schema.tables:
        return Fit(False, "its schema lists no table: no document was checked")
    fits = f"its schema fits every document of the {len(schema.tables)} table(s) that it lists"
    if unlisted is None:
        return Fit(True, f"{fits}; whether there are other tables was not read")
    return Fit(True, f"{fits}; not checked: {some(unlisted)}" if unlisted else fits)


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
    reads: tuple[str, ...] | None = None  # environment variables, by name; None: an old run did not say
    unset: tuple[str, ...] = ()  # those of them that are not set
    fails: str = ""  # which scheduled calls will fail; empty: none is known to
    unlisted: tuple[str, ...] | None = (
        None  # tables with documents that the schema does not list; None: not read
    )
    was_live: bool | None = None  # its modules were what ran, before any push; None: an old run did not say

    @property
    def digest(self) -> str:
        """Return the digest of the code that will be live."""
        return digest_of([vars(module) for module in self.modules])

    def __repr__(self) -> str:
        return repr(self._listing())

    def _repr_html_(self) -> str:
        return self._listing()._repr_html_()

    def differs(self) -> dict[str, str]:
        """Say what changes for callers, a kind a line."""
        if self.difference is None:
            return {"what differs": "could not be read"}
        return self.difference.told() or {
            "what differs": "no function, table, index or cron, by name or shape"
        }

    def takes(self, limit_s: float) -> str:
        """Say for how long the push will be under way.

        Args:
            limit_s: After which the command line is ended.
        """
        filled = self.difference.filled if self.difference is not None else ()
        if not filled:
            return "usually under 2 minutes"
        limit = f"usually under 2 minutes, here up to {limit_s / 60:.3g}, then it is ended"
        return f"{limit}: Convex fills {some(filled)} before the code goes live"

    def variables(self) -> str:
        """Say of the environment variables that the commit reads whether they are set; never their values."""
        if not self.reads:
            return "none" if self.reads is not None else "not looked at"
        return f"NOT set: {some(self.unset)}" if self.unset else f"all set: {some(self.reads)}"

    def told(self) -> tuple[str, ...]:
        """Say it in lines for who reads the record; the warnings are on record by themselves."""
        listing = self._listing()
        rows = (f"{what}: {which}" for what, which in listing.rows)
        return (
            listing.title,
            *rows,
            *(line for line in listing.note.splitlines() if not line.startswith(WARNS)),
        )

    @property
    def fit(self) -> Fit:
        """Return which documents Convex held against the commit's schema."""
        if self.functions is None:
            return Fit(False, "what its schema is was not said, nor which documents were held against it")
        return fit_of(self.schema, self.unlisted)

    def _listing(self) -> Listing:
        rows = (*self.differs().items(), ("environment variables it reads", self.variables()))
        lines = (
            *(f"{WARNS} {text}" for text in self.warnings),
            f"Asked: {self.at:%H:%M:%S} UTC, {self.seconds:.0f} s, with convex {self.version}; {self.fit.words}",
            f"Output: {self.output}, in the record",
        )
        title = f"Dry run of {self.sha[:12]}: Convex would take it; nothing was changed"
        return Listing(title, ("once it is live", ""), rows, "\n".join(lines))


@dataclass(frozen=True)
class Pushed:
    """The commit was pushed; whether it is live is for the next step to see."""

    source: str  # sha of what was live; empty: nobody knows
    target: str
    sent_at: datetime
    seen: Literal["happened", "running", "not happened", "failed half way", "unclear"]
    detail: str

    def __repr__(self) -> str:
        return repr(self._notice())

    def _repr_html_(self) -> str:
        return self._notice()._repr_html_()

    def _notice(self) -> Notice:
        """Say no more than is known: accepted is not live."""
        word = {"happened": "LIVE", "running": "ACCEPTED"}.get(self.seen, self.seen.upper())
        lines = (
            f"in place of: {self.source[:12] or 'a commit that nobody knows'}",
            f"sent: {self.sent_at:%H:%M:%S} UTC",
            f"seen: {self.detail}",
            "next: run the next cell; it proves what is live",
        )
        taken = self.seen in ("happened", "running")
        return Notice(f"Push of {self.target[:12]}: {word}", lines, "go" if taken else "stop")


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
    indexes, filled = _indexes(*schemas)
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
        indexes=indexes,
        filled=filled,
    )


def _indexes(live: Schema | None, target: Schema | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say what happens to each index, and name those that are filled first; a staged one holds nothing up."""
    now, then = (dict(schema.indexes or ()) if schema is not None else {} for schema in (live, target))
    told = {name: f"{name} (goes away)" for name in now.keys() - then.keys()}
    for name, fields in then.items():
        if name not in now:
            told[name] = f"{name} (comes back, {fields})"
        elif now[name] != fields:
            told[name] = f"{name} (changes to {fields})"
    filled = (name for name in told if name in then and not then[name].startswith(STAGED))
    return tuple(told[name] for name in sorted(told)), tuple(sorted(filled))


def push_text(push: Push) -> str:
    """Write a push in a line: which commit, since when, and who says so."""
    what = f"{push.commit.short} {push.commit.subject}" if push.commit else "a commit that nobody knows"
    return f"{what}, live since {push.at:%Y-%m-%d %H:%M:%S} UTC ({push.known_by})"


def _commit_cells(push: Push) -> tuple[str, str, str, str]:
    """Return a push's commit, author, message and who says so."""
    commit = push.commit
    return (
        commit.short if commit else "nobody knows",
        commit.author if commit else push.by or "-",
        (commit.subject if commit else push.told or "-")[:MESSAGE],
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
    return f"+{change.added} -{change.removed}" if change.added is not None else ""
