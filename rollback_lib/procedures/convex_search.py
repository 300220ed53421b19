"""Procedure 2, steps 1 to 3: what the backend runs, who pushed it when, and which commit may be pushed again.

- Reads only. What is uncertain is a warning in the run, not a guess.
- Convex's audit log comes first; where the plan has none, Vercel's builds; where those tell of nothing before the
  issue, git alone. Then nobody knows what was live, and a pipeline goes back to nothing that was not named.
- A commit that a person names needs no suspect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from rollback_lib.clock import to_iso
from rollback_lib.errors import BadParameters, RollbackError
from rollback_lib.parameters.platform import Convex
from rollback_lib.procedures.convex_shown import Chosen, Pushes
from rollback_lib.procedures.earlier import refuse_unasked, tried_before, what_was_done
from rollback_lib.procedures.issue import issue_began
from rollback_lib.procedures.revisions import (
    Finding,
    Push,
    Revision,
    SuspectPush,
    find_suspect,
    named_revision,
    pushes_by_builds,
    pushes_by_log,
    stable_revisions,
    unpushed_revisions,
)
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.vercel_facts import skew_of
from rollback_lib.providers.backend_code import BackendCode
from rollback_lib.providers.convex import ConvexClient
from rollback_lib.providers.convex_facts import Audit, AuditEvent, NotAvailable
from rollback_lib.providers.push_words import run_of
from rollback_lib.providers.repository import Commit, Repository
from rollback_lib.providers.vercel import Deployment

__all__ = ["BackendSearch", "push_fingerprint"]

SHOWN_AT_MOST = 5
_LOOKBACK = timedelta(days=30)
_MARGIN = timedelta(hours=1)  # the log's edge moves while it is read
_UNCHANGED = "Nothing was changed."


@dataclass
class BackendSearch:
    """Finds the last stable commit of the backend for one run."""

    session: Session

    @property
    def convex(self) -> ConvexClient:
        """Return the client of the deployment.

        Raises:
            BadParameters: The environment's parameters describe none.
        """
        client = self.session.clients.convex
        if client is None:
            raise BadParameters(
                f"The parameters of {self.session.parameters.environment} describe no Convex deployment.",
                _UNCHANGED,
                f"Fill in platform.convex in parameters/{self.session.parameters.environment}.yaml.",
            )
        return client

    @property
    def settings(self) -> Convex:
        """Return where the deployment and its repository are."""
        assert self.convex is not None  # raises where they are not given
        settings = self.session.resolved.platform.convex
        assert settings is not None
        return settings

    @cached_property
    def repository(self) -> Repository:
        """Return the app's repository."""
        return Repository(self.settings.clone(self.session.resolved.home), self.settings.functions_folder)

    @cached_property
    def pushes(self) -> Pushes:
        """Read what was pushed when, from the best source that there is; once a kernel.

        Raises:
            BadParameters: No repository.
            Unreachable: Convex gave no usable answer.
        """
        last = (
            self.convex.last_push()
        )  # before all else: whoever pushes while it is read is noticed at the gate
        self.session.journal.append("pushes.read", step="P2.S2", data={"last": push_fingerprint(last)})
        state = self.repository.state()
        notes = [
            f"the clone {state.folder} is shallow: commits before its edge are not known"
        ] * state.shallow
        builds = self._builds()
        if isinstance(builds, str):
            notes.append(f"Vercel's builds are not known: {builds}")
            builds = ()
        since = self.session.clock.now() - _LOOKBACK
        log = self._log(since)
        if not isinstance(log, NotAvailable):
            older = (
                (last,) if last is not None and last.at < log.since else ()
            )  # live since before the log begins
            found = pushes_by_log((*older, *log.pushes), builds, self._finding)
            return Pushes(found, "Convex audit log", tuple(notes))
        notes.append(f"Convex's audit log cannot be read: {log.reason}")
        pushing = [build for build in builds if self._pushes_backend(build)]
        found = pushes_by_builds(pushing, last, self._finding)
        source = "Vercel's builds and the last push" if pushing else "the last push alone"
        return Pushes(found, source, tuple(notes))

    @property
    def _finding(self) -> Finding:
        return Finding(self.repository.mentioned, self.repository.worded)

    @property
    def seen_last(self) -> str:
        """Return the fingerprint of what was the last push when step 3 decided; empty: nothing was read yet."""
        decided = self.session.journal.last("step.done", "P2.S3")
        read = [
            line.data["last"]
            for line in self.session.journal.find("pushes.read")
            if decided is None or line.seq < decided.seq
        ]
        return str(read[-1]) if read else ""

    def chosen(self) -> Chosen:
        """Find the last stable commit, or check the one asked for.

        Raises:
            BadParameters: No time of the issue, no suspect, no candidate, or the one asked for is not fit.
            Unreachable: Convex gave no usable answer.
        """
        issue_at, issue_from = issue_began(self.session, skew_of(self.convex.heard) or 0.0)
        pushes = self.pushes
        gone = tried_before(self.session, 2, "convex")
        live = pushes.pushes[-1] if pushes.pushes else None
        suspect = self._suspect(pushes.pushes, issue_at)
        if live is not None and not self.session.parameters.commit:
            self._refuse_further_back_unasked(live, suspect.push if suspect else None, gone)
        doubts = suspect.notes if suspect else _no_suspect(pushes.pushes, issue_at)
        for note in (*pushes.notes, *doubts):
            self.session.warn(note)
        revision = self._revision(pushes.pushes, suspect, issue_at, gone)
        return Chosen(
            revision=revision,
            suspect=suspect.push if suspect else None,
            live=live,
            issue_at=issue_at,
            issue_from=issue_from,
            notes=(*doubts, *revision.notes, *self._taken_in(revision.commit)),
            changes=self.repository.changes(live.commit.sha, revision.commit.sha)
            if live and live.commit
            else (),
        )

    def undone(self) -> Chosen:
        """Look at what the run that is to be undone left, and whether the backend still runs what it pushed.

        Raises:
            BadParameters: Nothing that can be undone, somebody pushed since, or nobody knows what it left.
            Unreachable: Convex gave no usable answer.
        """
        done = what_was_done(self.session, 2, self.session.parameters.undo)
        last, deployment = self.convex.last_push(), self.settings.deployment
        reasons = (
            (
                done.before["deployment"] != deployment,
                f"it pushed to {done.before['deployment']}, this is {deployment}",
            ),
            (not done.left, "nobody knows which commit was live before it"),
            (
                last is None or run_of(last.message) != done.run,
                f"somebody pushed since: {last.message or 'without a message'}"
                if last
                else "no push is on record",
            ),
        )
        trouble = next((reason for applies, reason in reasons if applies), "")
        if trouble:
            raise BadParameters(
                f"Run {done.run} cannot be undone: {trouble}.",
                _UNCHANGED,
                "Look at the list of pushes; to push another commit, name it in the parameter commit.",
            )
        left, target = self.repository.commit(done.left), self.repository.commit(done.target)
        self.session.warn(f"undoing brings back what was rolled back: {left.short} {left.subject}")
        live = Push(done.at, target, f"run {done.run}")
        return Chosen(
            revision=Revision(left, None, done.at, f"left by run {done.run}", (live,)),
            suspect=live,
            live=live,
            issue_at=done.at,
            issue_from=f"when run {done.run} pushed",
            changes=self.repository.changes(target.sha, left.sha),
            notes=(),
            undo_of=done.run,
        )

    def _log(self, since: datetime) -> Audit | NotAvailable:
        """Read the audit log, as far back as it goes."""
        log = self.convex.audit_log(since)
        if isinstance(log, NotAvailable) and log.days is not None:
            kept = timedelta(days=log.days) - _MARGIN
            return self.convex.audit_log(self.session.clock.now() - kept)
        return log

    def _builds(self) -> tuple[Deployment, ...] | str:
        """Read Vercel's production deployments, or why they cannot be read: Convex's own log may do without."""
        try:
            return tuple(self.session.clients.vercel.deployments(target="production"))
        except RollbackError as exc:
            return exc.reason

    def _pushes_backend(self, build: Deployment) -> bool:
        commit = self.repository.mentioned(build.commit_sha)
        return commit is not None and self.repository.files(commit.sha).build_pushes

    @cached_property
    def _code(self) -> BackendCode:
        return BackendCode(self.repository)

    def _taken_in(self, commit: Commit) -> tuple[str, ...]:
        """Say where a commit's functions take in code that the list of differing files does not show."""
        outside, folder = self._code.outside(commit.sha), self.settings.functions_folder
        told = f"code from outside {folder} is taken in, too ({outside}): the files listed are those of {folder} alone"
        return (told,) if outside else ()

    def _same_code(self, one: Commit, other: Commit) -> bool:
        return self._code.same(one.sha, other.sha)

    def _suspect(self, pushes: Sequence[Push], issue_at: datetime) -> SuspectPush | None:
        long_live = timedelta(hours=self.session.resolved.policy.suspect_live_long_h)
        return find_suspect(pushes, issue_at, long_live, self.session.incident)

    def _refuse_further_back_unasked(self, live: Push, suspect: Push | None, gone: Mapping[str, str]) -> None:
        """Stop where the backend is off the suspect already and well: a pipeline that is started twice goes back once."""
        if not self._is_off(live, suspect, gone) or self._is_unwell():
            return
        to = live.commit.short if live.commit is not None else "a commit that nobody knows"
        left = "that nobody knows" if suspect is None else f"of {suspect.at:%H:%M:%S} UTC"
        if suspect is not None and suspect.commit is not None:
            left = suspect.commit.short
        already = f"the backend was moved off the suspect {left} already, to {to} at {live.at:%H:%M:%S} UTC, and no query of the parameters says that it is not well there"
        refuse_unasked(self.session, already, "commit")

    def _is_off(self, live: Push, suspect: Push | None, gone: Collection[str]) -> bool:
        """Say whether what is live may be the cure: ours, older than the suspect, or code that nobody can put back."""
        if suspect is None:
            return live.of_incident(self.session.incident)
        if live.at <= suspect.at:
            return False
        if live.commit is None or suspect.commit is None:
            return live.commit is None or live.commit.sha in gone
        if live.commit.sha == suspect.commit.sha:
            return False  # pushed again, such as by an undo
        return live.commit.sha in gone or live.commit.committed_at < suspect.commit.committed_at

    def _is_unwell(self) -> bool:
        """Say whether a query of the parameters fails, or finds other than it should."""
        canary = self.settings.canary
        for query in (*([canary] if canary is not None else []), *self.settings.queries):
            if self.convex.query(query.path, query.args).trouble(query.fields):
                return True
        return False

    def _revision(
        self,
        pushes: Sequence[Push],
        suspect: SuspectPush | None,
        issue_at: datetime,
        gone: Collection[str],
    ) -> Revision:
        found = self._found(pushes, suspect.push if suspect else None, issue_at, gone)
        asked = self.session.parameters.commit
        if asked:
            return self._asked_for(asked, found, pushes, suspect)
        if not found:
            raise BadParameters(
                "No commit can be gone back to: none that is known was live before the suspect with other backend code.",
                _UNCHANGED,
                "Roll forward: fix and deploy. Or name a commit in the parameter commit. Check issue_started_at first.",
            )
        if found[0].live_from is None and self.session.parameters.mode == "headless":
            raise BadParameters(
                f"Nothing tells which commit was live before the issue; {found[0].commit.short} is only the last one on {self.settings.branch}.",
                _UNCHANGED,
                "Name the commit to go back to in the parameter commit, or run the notebook by hand. Check issue_started_at first.",
            )
        return found[0]

    def _found(
        self, pushes: Sequence[Push], suspect: Push | None, issue_at: datetime, gone: Collection[str]
    ) -> tuple[Revision, ...]:
        """List what is offered: what was live before the suspect, else what git has from before it."""
        found = stable_revisions(pushes, suspect, self._same_code, gone) if suspect is not None else ()
        earlier = suspect is not None and any(push.at < suspect.at for push in pushes)
        if found or earlier or self.session.parameters.commit:
            return found
        live = pushes[-1].commit if pushes else None
        refused = {*gone, *([live.sha] if live is not None else [])}
        history = self.repository.history(self.settings.branch, first_parent=True)
        known = suspect.commit if suspect is not None else None
        until = issue_at if suspect is None else suspect.at
        return unpushed_revisions(history, until, self._same_code, known, refused)

    def _asked_for(
        self, asked: str, found: tuple[Revision, ...], pushes: Sequence[Push], suspect: SuspectPush | None
    ) -> Revision:
        """Take the commit that a person named, also where it is not known to have been live; never the suspect itself."""
        commit = self.repository.commit(asked)
        listed = next((one for one in found if one.commit.sha == commit.sha), None)
        if listed is not None:
            return listed
        suspected = suspect.push.commit if suspect is not None else None
        if suspected is not None and commit.sha == suspected.sha:
            fit = ", ".join(one.commit.short for one in found[:SHOWN_AT_MOST]) or "there is none"
            raise BadParameters(
                f"Commit {commit.short} is the suspect, which was live when the issue began.",
                _UNCHANGED,
                f"Choose another: {fit}.",
            )
        revision = named_revision(commit, pushes, suspect.push if suspect is not None else None)
        notes = list(revision.notes)
        if suspected is not None and self._same_code(commit, suspected):
            notes.append(
                f"its files of the backend are those of the suspect {suspected.short}: pushing it may mend nothing; the dry run tells what differs"
            )
        for note in notes:
            self.session.warn(note)
        return replace(revision, notes=tuple(notes))


def _no_suspect(pushes: Sequence[Push], issue_at: datetime) -> tuple[str, ...]:
    known = f"no push is on record from before {to_iso(issue_at)}, when the issue began"
    return (f"{known}: the suspect is not known; check issue_started_at",) if pushes else ()


def push_fingerprint(push: AuditEvent | None) -> str:
    """Return a push as text that tells it from every other, by Convex's own time."""
    return f"{to_iso(push.at)} {push.actor} {push.message}".strip() if push is not None else "none"
