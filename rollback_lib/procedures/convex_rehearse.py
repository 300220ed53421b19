"""Procedure 2, between step 3 and the gate: the commit in a folder of its own, and a dry run against the live data.

- What is pushed later is what was rehearsed: same folder, same packages, same command line, by digest of each module.
- A dry run is a real question: Convex holds the commit's schema against every stored document of the tables that it
  lists, where it is enforced. Nothing goes live.
- A refusal says which document stands in the way, and which ways are left. Nothing was changed then.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rollback_lib.errors import BadParameters, NotApplied, RollbackError, Unreachable
from rollback_lib.journal import Intent
from rollback_lib.node import cache_folder, installed
from rollback_lib.procedures.convex_refused import told, ways
from rollback_lib.procedures.convex_search import BackendSearch
from rollback_lib.procedures.convex_shown import Chosen, Difference, Rehearsal, difference
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import Progress, some
from rollback_lib.providers.checkout import Checkout
from rollback_lib.providers.command_line import CommandLine, command_line
from rollback_lib.providers.convex_cli import CliRun, ConvexCli, Telling
from rollback_lib.providers.convex_facts import Schema, Waiting
from rollback_lib.providers.convex_key import KEY_NAME, Credential
from rollback_lib.providers.convex_push import Analysis, too_old, unknown_option

__all__ = ["Rehearsing", "own_folder"]

_DRY_RUN = "attachments/convex-dry-run.txt"
_UNCHANGED = "Nothing was changed by this run."
FEW = 5  # functions that are named of the calls that wait
_NO_OTHER_CODE = (
    "the commit's functions run already, byte for byte: only schema, components or configuration can differ, "
    "and that this push is live is told by its message alone"
)
_MESSAGE = "dry run"  # a command line that takes none is found out here, not behind the gate


def own_folder(kind: str, environment: str, repository: Path) -> Path:
    """Return where this machine keeps what belongs to pushes: in its cache; in a drill beside the world's repository.

    Worlds that run side by side have deployments of one name, and a drill's checkouts are to go with its world.
    """
    if environment == "drill":
        return repository.with_name(f"{repository.name}.work") / kind
    return cache_folder() / kind


@dataclass(frozen=True)
class Frontend:
    """What the live frontend has to do with functions that a commit does not have."""

    calls: str = ""  # which of them it calls, in a sentence; empty: none, or it is not known
    unknown: str = ""  # why it is not known; empty: it is
    names: tuple[str, ...] = ()  # of those that it calls


@dataclass
class Rehearsing:
    """Prepares and rehearses the push of one run."""

    session: Session
    search: BackendSearch

    @cached_property
    def cli(self) -> ConvexCli:
        """Return the official command line for the deployment."""
        secrets = self.session.resolved.secrets
        value = secrets.optional(KEY_NAME)
        source = secrets.source(KEY_NAME) if value is not None else f"environment variable {KEY_NAME}"
        return ConvexCli(
            self.search.settings,
            Credential(value, source),
            secrets.redactor,
            self.session.clock,
            self._own_folder("runs"),
        )

    @property
    def project(self) -> str:
        """Return where the app's package.json is, below the root of the repository."""
        return self.search.repository.project_folder

    def rehearse(self, chosen: Chosen) -> Rehearsal:
        """Ask Convex whether it would take the commit; changes nothing.

        Raises:
            NotApplied: Convex would refuse it; says why, and what can be done.
            BadParameters: No key, no packages, no command line.
            LeaseHeld: Another push of this machine is under way.
            Unreachable: The packages cannot be had, or the command line did not come to an answer.
        """
        progress = Progress(f"Dry run of {chosen.revision.commit.short}", self.session.clock)
        known = self.search.convex.variables()  # taught to the redactor before any output is kept
        progress.stage(
            "checks the commit out, with its packages; on this machine's first time that takes minutes"
        )
        checkout = self.checkout(chosen.sha)
        began = self.session.clock.now()
        done = self._accepted(chosen, checkout, progress)
        progress.stage("makes its code as it would be pushed, and compares it with what is live")
        bundle = self.cli.bundle(checkout, self.project, most_s=self.longest_s)
        pushing = command_line(checkout, self.project)
        analysis = done.analysis
        differs = self._difference(analysis)
        reads = self.search.repository.variables(chosen.sha)
        unset = tuple(sorted(set(reads) - set(known)))
        waiting, fails = self._waiting(analysis)
        was_live = self.search.convex.live().runs(bundle.modules)
        found = Rehearsal(
            sha=chosen.sha,
            at=began,
            seconds=round(done.elapsed_s, 1),
            version=pushing.version or self.search.repository.files(chosen.sha).convex_version,
            modules=bundle.modules,
            functions=analysis.functions if analysis else None,
            schema=analysis.schema if analysis else None,
            difference=differs,
            warnings=(*_of_the_push(was_live, pushing), *self._surroundings(unset, differs), *waiting),
            output=_DRY_RUN,
            reads=reads,
            unset=unset,
            fails=fails,
            unlisted=self.unlisted(analysis.schema if analysis else None),
            was_live=was_live,
        )
        self._put_down(found)
        return found

    def _accepted(self, chosen: Chosen, checkout: Checkout, progress: Progress) -> CliRun:
        """Ask Convex, and return what it said; refused, or without an answer, that is raised."""
        progress.stage("asks Convex: convex deploy --dry-run")
        done = self._dry_run(checkout, progress)
        if done.kind != "done":
            how = "Convex would refuse it" if done.kind == "refused" else "no answer"
            progress.note(f"{how}, for the reason below; nothing was changed")
            raise self._refused(chosen, done)
        return done

    def _put_down(self, found: Rehearsal) -> None:
        for text in found.warnings:  # shown with what is returned
            self.session.journal.append("warning", data={"text": text})
        lines, dumped = list(found.told()), _ADAPTER.dump_python(found, mode="json")
        data = {"sha": found.sha, "rehearsal": dumped, "told": lines}
        self.session.journal.append("rehearsed", step="P2.S3", data=data)

    def unlisted(self, schema: Schema | None) -> tuple[str, ...] | None:
        """Name the tables with documents that a schema does not list: Convex holds none of those against it.

        Returns:
            None where they cannot be read.
        """
        listed = {name for name, _ in schema.tables} if schema is not None else set()
        try:
            tables = self.search.convex.tables()
        except RollbackError:
            return None
        return tuple(table.name for table in tables if table.documents and table.name not in listed)

    @property
    def longest_s(self) -> float:
        """Return for how long the command line may run."""
        return self.session.resolved.policy.push_limit_s

    def last(self, sha: str) -> Rehearsal | None:
        """Return the latest rehearsal of a commit in this run; None if there is none."""
        lines = [line for line in self.session.journal.find("rehearsed") if line.data["sha"] == sha]
        return _ADAPTER.validate_python(lines[-1].data["rehearsal"]) if lines else None

    def checkout(self, sha: str) -> Checkout:
        """Return the commit in a folder of this run's own, with its packages.

        Raises:
            BadParameters: No repository, no such commit, no lockfile of npm, a link where its packages have to lie, or a
                disk that does not take it.
            Unreachable: The packages cannot be had.
        """
        place = self._checkouts / sha
        try:
            made = self.search.repository.checkout(sha, place)
            made.require_own_place(self.project)  # before npm installs anything there
            made.furnish(installed(made.folder / self.project, cache_folder()), self.project)
        except OSError as exc:
            raise BadParameters(
                f"Commit {sha[:12]} cannot be laid out in {place}: {exc.strerror or exc}.",
                "Nothing was sent to Convex.",
                "Make room there, or name another folder (ROLLBACK_CACHE); then run this cell again.",
            ) from exc
        return made

    def clear(self) -> None:
        """Remove what this run has checked out; gone already is as good."""
        shutil.rmtree(self._checkouts, ignore_errors=True)

    @property
    def _checkouts(self) -> Path:
        """Return where this run checks out: another run may rehearse the same commit at the same time."""
        deployment = self.search.settings.deployment
        return self._own_folder("checkouts") / deployment / self.session.journal.run

    def _own_folder(self, kind: str) -> Path:
        return own_folder(kind, self.session.parameters.environment, self.search.repository.folder)

    def _dry_run(self, checkout: Checkout, progress: Progress) -> CliRun:
        intent = Intent(
            self.session.journal,
            f"dry run of {checkout.sha}",
            "P2.S3",
            {"deployment": self.search.settings.deployment, "commit": checkout.sha},
        )
        telling = Telling(self._file(_DRY_RUN), progress.note)
        try:
            done = self.cli.dry_run(
                checkout, intent, telling, message=_MESSAGE, project=self.project, most_s=self.longest_s
            )
        except RollbackError as exc:
            intent.failed(exc.happened)
            raise
        if done.kind == "done":
            intent.done({"seconds": round(done.elapsed_s, 1)})
        else:
            intent.failed(done.ending)
        return done

    def _refused(self, chosen: Chosen, done: CliRun) -> RollbackError:
        """Tell Convex's own refusal apart from a command line that came to no answer."""
        short, output = chosen.revision.commit.short, self._file(_DRY_RUN)
        if option := unknown_option(done.text):
            return too_old(chosen.sha, option)
        if done.kind == "refused":
            return NotApplied(
                f"Convex would refuse commit {short}: {told(done)}.",
                _UNCHANGED,
                f"{ways(done, 'then run this cell again.')} The whole output: {output}",
            )
        return Unreachable(
            f"The command line did not come to say whether Convex would take commit {short}: {done.ending}.",
            _UNCHANGED,
            f"Run this cell again. If it stays so, name another commit in the parameter commit, or roll forward with a fix. The whole output: {output}",
        )

    def _difference(self, analysis: Analysis | None) -> Difference | None:
        if analysis is None:
            return None
        convex = self.search.convex
        try:
            crons = convex.crons()
        except RollbackError:
            crons = None
        try:
            schemas = convex.schema(), analysis.schema
        except RollbackError:
            schemas = None, None
        return difference(convex.functions(), analysis.functions, schemas, (crons, analysis.crons))

    def _surroundings(self, unset: tuple[str, ...], differs: Difference | None) -> tuple[str, ...]:
        """Say what the commit's code misses around it: its variables, and what the live frontend calls."""
        found = []
        if unset:
            found.append(
                f"the commit reads environment variables that are not set: {', '.join(unset)}; what reads them fails"
            )
        if differs is not None and differs.removed:
            frontend = self.frontend(differs.removed)
            found += [f"{frontend.calls}; {self._procedure_1()}"] if frontend.calls else []
            found += [frontend.unknown] if frontend.unknown else []
        return tuple(found)

    def _procedure_1(self) -> str:
        """Say how the frontend comes to fit, and when: one run acts on an environment at a time."""
        window_s = self.session.resolved.policy.error_window_s
        told = f"{window_s / 60:g} min" if window_s >= 60 else f"{window_s:g} s"  # noqa: PLR2004 - where minutes read better
        return f"roll the frontend back as well (procedure 1): it is refused while this run has the environment, which is until it is closed, about {told} after the push; to have it first, abort this run"

    def frontend(self, gone: tuple[str, ...]) -> Frontend:
        """Say which functions that go, or are gone, are named by the frontend that is live now."""
        try:
            vercel = self.session.clients.vercel
            live = vercel.project().production_id
            sha = vercel.deployment(live).commit_sha if live else ""
            commit = self.search.repository.mentioned(sha) if sha else None
            named = self.search.repository.named(commit.sha, gone) if commit is not None else ()
        except RollbackError as exc:
            return Frontend(unknown=f"what the live frontend calls is not known: {exc.reason}")
        if commit is None:
            missing = f"the repository has no commit {sha or 'of it'}"
            return Frontend(unknown=f"what the live frontend calls is not known: {missing}")
        if not named:
            return Frontend()
        what = f"the live frontend ({live}, {commit.short}) calls functions that the commit does not have"
        return Frontend(f"{what}: {', '.join(named)}", names=named)

    def _waiting(self, analysis: Analysis | None) -> tuple[tuple[str, ...], str]:
        """Say what will run against the commit's code, for it outlives every push; and of that what will fail."""
        if analysis is None:
            return ("what Convex found in the code is not known: its functions cannot be compared",), ""
        found = ["components are pushed too, and are not compared here"] if analysis.components else []
        try:
            scheduled = self.search.convex.scheduled()
        except RollbackError as exc:
            return (*found, f"functions that wait to be run are not known: {exc.reason}"), ""
        known = {function.name for function in analysis.functions}
        least = "" if scheduled.complete else "at least "
        lost = tuple(one for one in scheduled.waiting if one.function not in known)
        kept = tuple(one for one in scheduled.waiting if one.function in known)
        fails = (
            f"{least}{len(lost)} scheduled call(s) will fail: the commit has no {_named(lost)}"
            if lost
            else ""
        )
        if fails:
            found.append(fails)
        if kept:
            found.append(
                f"{least}{len(kept)} scheduled call(s) will run with the code of this commit: {_named(kept)}"
            )
        if not scheduled.complete:
            read = f"{len(scheduled.waiting):,}"
            found.append(
                f"more calls wait than the {read} that were read: what becomes of the others is not known"
            )
        return tuple(found), fails

    def _file(self, name: str) -> Path:
        return self.session.journal.folder / name


def _of_the_push(was_live: bool, pushing: CommandLine) -> tuple[str, ...]:
    """Say where a push cannot be told by the code that runs, and where it is not the commit's own command line that pushes."""
    return (*([_NO_OTHER_CODE] if was_live else []), *([pushing.instead] if pushing.instead else []))


def _named(waiting: tuple[Waiting, ...]) -> str:
    """Name a few of the functions, and when the first is due."""
    names = some(sorted({one.function for one in waiting}), FEW)
    return f"{names} (the first is due {_due(waiting[0].at)})"


def _due(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at is not None else "at an unknown time"


_ADAPTER: TypeAdapter[Any] = TypeAdapter(Rehearsal)
