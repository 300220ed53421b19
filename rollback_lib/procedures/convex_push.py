"""Procedure 2: the change itself. What the gate is asked, what is sent, how it is undone, and whether it happened.

- There is no rollback button in Convex: an earlier commit is pushed again by the official command line.
- Between gate and effect the deployment is read again: its last push, its live code and whether it answers.
- An exit code is no proof: what is live is asked of Convex (`convex_sight`).
- A command line that outlived its process is waited for before anything is said or sent: while it is at it, nobody can
  say what will become of its push. On another machine it counts as under way for as long as one may take.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from rollback_lib.clock import to_iso
from rollback_lib.consent.gates import Ask, Gate
from rollback_lib.errors import (
    GateClosed,
    LeaseHeld,
    NotApplied,
    OutcomeUnknown,
    PlanViolation,
    ReadRefused,
    RollbackError,
)
from rollback_lib.model import GateId, Pass, digest_of
from rollback_lib.procedures.convex_refused import told, ways
from rollback_lib.procedures.convex_rehearse import Rehearsing
from rollback_lib.procedures.convex_search import push_fingerprint
from rollback_lib.procedures.convex_shown import Chosen, Rehearsal, push_text
from rollback_lib.procedures.convex_sight import ENDING_S, Sight, elsewhere
from rollback_lib.procedures.effects import Effect, Observation, Seen
from rollback_lib.procedures.handover import lines_in_store
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import Notice, Progress, show
from rollback_lib.procedures.vercel_facts import skew_of
from rollback_lib.providers.convex_cli import Telling, cli_path, push_arguments
from rollback_lib.providers.convex_facts import same_schema
from rollback_lib.providers.push_words import push_message, run_of

__all__ = ["PushAgain"]

_OUTPUT = "attachments/convex-deploy.txt"
_MAY_HAVE = "The backend may run either code. This run sends nothing more by itself."


@dataclass
class PushAgain:
    """Pushes an earlier commit for one run."""

    session: Session
    rehearsing: Rehearsing

    def ask(self, chosen: Chosen, builds: str) -> Ask:
        """Put before a person what is about to happen, from live reads.

        Args:
            chosen: What step 3 found.
            builds: Whether those of the branch were stopped, in words.

        Raises:
            PlanViolation: The commit was not rehearsed in this run.
            GateClosed: The deployment is no longer as the dry run found it; nothing was sent.
            Unreachable: Convex gave no usable answer.
        """
        rehearsal = self.rehearsed(chosen.sha)
        state = self.state(chosen, rehearsal)
        last = self.rehearsing.search.convex.last_push()
        if push_fingerprint(last) != self.rehearsing.search.seen_last:
            when = (
                f"at {last.at:%H:%M:%S} UTC ({last.message or 'without a message'})" if last else "meanwhile"
            )
            raise GateClosed(
                f"Gate P2.G1 was not shown: somebody pushed {when}, after this run had read what was pushed.",
                "This run has sent nothing that changes production.",
                "Ask in the incidents channel who pushed what. Then begin a new run (new_run = True), which looks again.",
            )
        return Ask(
            gate=GateId("P2.G1"),
            title=self.session.plan.step("P2.S4").title,
            environment=self.session.parameters.environment,
            effect=self._told(chosen, rehearsal, builds),
            state=dict(state),
            will_not_undo=self._will_not_undo(chosen),
            typed_wanted=self.rehearsing.search.settings.deployment,
            requests=(f"CLI {self._path(chosen)}",),
        )

    def _told(self, chosen: Chosen, rehearsal: Rehearsal, builds: str) -> dict[str, str]:
        """Say what whoever opens or approves it weighs it by."""
        settings, commit = self.rehearsing.search.settings, chosen.revision.commit
        effect = {
            "what": f"convex deploy (version {rehearsal.version}) of {_what(chosen)}",
            "deployment": f"{settings.deployment} ({settings.url})",
            "from": push_text(chosen.live) if chosen.live else "not known",
            "to": f"{commit.sha} {commit.subject}, by {commit.author}",
            "severity": self.session.severity,
            "why": self.session.parameters.reason,
            "impact": self.session.parameters.impact,
            "dry run": f"Convex would take it, at {rehearsal.at:%H:%M:%S} UTC",
            "data": rehearsal.fit.words,
            **rehearsal.differs(),
            **{f"warning {number}": text for number, text in enumerate(rehearsal.warnings, start=1)},
            "takes": rehearsal.takes(self.rehearsing.longest_s),
            f"builds of {settings.branch}": builds,
            "incident": self.session.incident,
            "run": self.session.journal.run,
        }
        if chosen.revision.assumed:
            effect["warning assumed"] = f"that {commit.short} was live before: {chosen.revision.known_by}"
        if chosen.undo_of:
            effect["undoes"] = f"run {chosen.undo_of}"
        return effect

    def effect(self, chosen: Chosen) -> Effect:
        """Name the change, how to make it, how to undo it and how to see whether it happened."""
        live = chosen.live.commit if chosen.live else None
        deployment = self.rehearsing.search.settings.deployment
        back = self.session.undo_command("P2.G1")
        inverse = (
            f"{back} (pushes {live.short} again)"
            if live
            else "none: nobody knows which commit was live, so it cannot be put back"
        )
        return Effect(
            name=f"push {chosen.sha} to {deployment}",
            step="P2.S4",
            before={
                "live": live.sha if live else "",
                "target": chosen.sha,
                "deployment": deployment,
                "last push": to_iso(chosen.live.at) if chosen.live else "",
            },
            inverse=inverse,
            send=partial(self._send, chosen),
            observe=partial(self.observe, chosen),
            look="Look what runs (Convex dashboard, History; npx convex function-spec --prod)",
        )

    def state(self, chosen: Chosen, rehearsal: Rehearsal) -> dict[str, str]:
        """Read the state that the gate's decision rests on.

        Raises:
            Unreachable: Convex gave no usable answer.
        """
        convex = self.rehearsing.search.convex
        last, live = convex.last_push(), convex.live()
        return {
            "deployment": self.rehearsing.search.settings.deployment,
            "target": chosen.sha,
            "code that will be live": rehearsal.digest,
            "live code": digest_of([vars(module) for module in live.modules]),
            "last push": f"{to_iso(last.at)} {last.message}".strip() if last else "none",
            "state": convex.state().name,
            "environment variables": ", ".join(convex.variables()),
        }

    def require_unmoved(self, gate: Gate, chosen: Chosen) -> None:
        """Refuse if the deployment is no longer as the gate was decided on.

        Raises:
            GateClosed: It moved; nothing was sent.
            Unreachable: Convex gave no usable answer; nothing was sent.
        """
        gate.require_unmoved(self.state(chosen, self.rehearsed(chosen.sha)))

    def rehearsed(self, sha: str) -> Rehearsal:
        """Return the dry run of a commit.

        Raises:
            PlanViolation: There was none in this run.
        """
        found = self.rehearsing.last(sha)
        if found is None:
            raise PlanViolation(
                f"Commit {sha[:12]} was not rehearsed in this run.",
                "Nothing was sent that changes production.",
                "Run the cell of the dry run first.",
            )
        return found

    def observe(self, chosen: Chosen, since: datetime) -> Observation:
        """Ask Convex what runs, and this machine whether a push is still under way.

        Raises:
            Unreachable: No usable answer.
        """
        orphan = self.rehearsing.cli.left()
        if orphan is not None and orphan.running and not orphan.dry:
            return Observation(
                Seen.RUNNING, f"the command line that began at {orphan.began_at} is still at it"
            )
        convex, rehearsal = self.rehearsing.search.convex, self.rehearsed(chosen.sha)
        live, last = convex.live(), convex.last_push()
        runs, skew_s = live.runs(rehearsal.modules), skew_of(convex.heard)
        is_late = last is not None and last.at >= self._earliest(since, skew_s)
        sight = Sight(
            runs=runs,
            enforced=self._enforces(rehearsal) if runs else None,
            ran_before=rehearsal.was_live,
            last=last,
            is_late=is_late,
            is_ours=is_late and last is not None and last.message == self._message(chosen),
        )
        return self._unless_elsewhere(sight.judged(skew_s))

    def _unless_elsewhere(self, found: Observation) -> Observation:
        """Take back that it did not happen while the process that pushes may be at it on another machine."""
        other = elsewhere(self.session.journal.lines, self._longest_elsewhere)
        if found.seen is not Seen.NOT_HAPPENED or other is None or self.session.clock.now() >= other.until:
            return found
        text = f"this run's push on {other.host} may be under way until {other.until:%H:%M:%S} UTC; so far {found.detail}"
        return replace(found, seen=Seen.UNCLEAR, detail=text, overtaken=False)

    def warn_of_others(self) -> None:
        """Warn where a run that this one took the environment over from may still be pushing on another machine."""
        for line in self.session.journal.find("lease.taken_over"):
            run = str(line.data["from_run"])
            try:
                other = elsewhere(lines_in_store(self.session.store, run), self._longest_elsewhere)
            except RollbackError as exc:
                self.session.warn(
                    f"whether run {run}, taken over from, was pushing is not known: {exc.reason}"
                )
                continue
            if other is not None and self.session.clock.now() < other.until:
                self.session.warn(
                    f"run {run}, taken over from, may still be pushing on {other.host} until {other.until:%H:%M:%S} UTC: "
                    "see there that it has ended, or wait; else its push and this one may refuse or replace each other"
                )

    @property
    def _longest_elsewhere(self) -> timedelta:
        policy = self.session.resolved.policy
        return timedelta(seconds=policy.push_limit_s + policy.clock_skew_s + ENDING_S)

    def _enforces(self, rehearsal: Rehearsal) -> bool | None:
        """Say whether the commit's schema is the enforced one; None: one of them is not known."""
        if rehearsal.functions is None:
            return None
        try:
            schema = self.rehearsing.search.convex.schema()
        except ReadRefused:
            return None
        return same_schema(schema, rehearsal.schema)

    @property
    def is_under_way(self) -> bool:
        """Say whether a push that an earlier process began is still under way on this machine."""
        orphan = self.rehearsing.cli.left()
        return orphan is not None and orphan.running and not orphan.dry

    def await_earlier(self) -> None:
        """Wait until the command line that an earlier process began has ended, for as long as a push may take.

        Raises:
            OutcomeUnknown: Its push is still under way; nothing was sent now.
        """
        orphan = self.rehearsing.cli.left()
        if orphan is None or not orphan.running:
            return
        most_s, what = self.session.resolved.policy.push_deadline_s, "dry run" if orphan.dry else "push"
        show(Notice(f"Waits for the {what} that began at {orphan.began_at}, for at most {most_s:g} s"))
        if self.rehearsing.cli.await_end(most_s) or orphan.dry:
            return
        # The number is that of the shell which leads the group: ended alone, it would leave the command line at it.
        ending = f", or end it with all that it began (kill -- -{orphan.pid})" if orphan.pid else ""
        number = f" (process {orphan.pid})" if orphan.pid else ""
        raise OutcomeUnknown(
            f"The push that began at {orphan.began_at} is still under way{number}, {most_s:g} s after it was found.",
            _MAY_HAVE,
            f"Wait for it{ending}; then run this cell again: it asks Convex first.",
        )

    def take_over_output(self) -> None:
        """Keep what a push of this run wrote whose process did not see its end, redacted; remove it as it was written.

        What another run's push has left is that run's.
        """
        cli = self.rehearsing.cli
        orphan = cli.left()
        if orphan is None or orphan.running:
            return
        if not orphan.dry:
            if self.session.journal.run not in map(run_of, orphan.arguments):
                return
            self.rehearsing.search.convex.variables()  # taught to the redactor before any output is kept
            told = cli.left()
            output = self.session.journal.folder / _OUTPUT
            if told is not None and told.result is not None and not output.exists():
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text(told.result.text + "\n", encoding="utf-8")
        cli.clear()

    def _earliest(self, since: datetime, skew_s: float | None) -> datetime:
        return since + timedelta(seconds=(skew_s or 0.0) - self.session.resolved.policy.clock_skew_s)

    def _send(self, chosen: Chosen, permit: Pass) -> None:
        rehearsing = self.rehearsing
        progress = Progress(f"Push of {chosen.revision.commit.short}", self.session.clock)
        progress.stage("lays out the commit as it was rehearsed")
        checkout = rehearsing.checkout(chosen.sha)
        takes = self.rehearsed(chosen.sha).takes(rehearsing.longest_s)
        progress.stage(f"convex deploy; do not interrupt; {takes}")
        telling = Telling(self.session.journal.folder / _OUTPUT, progress.note, self._keep)
        done = rehearsing.cli.deploy(
            checkout,
            self._message(chosen),
            permit,
            telling,
            project=rehearsing.project,
            most_s=rehearsing.longest_s,
        )
        self.session.journal.append("note", data={"text": f"what the command line said: {_OUTPUT}"})
        output = self.session.journal.folder / _OUTPUT
        if done.kind in ("refused", "failed"):
            who = (
                "Convex refused the push"
                if done.kind == "refused"
                else "The command line did not make the push"
            )
            raise NotApplied(
                f"{who} of {chosen.revision.commit.short}: {told(done)}.",
                "This run changed nothing: its code did not go live.",
                f"{ways(done, 'then begin a new run (new_run = True).')} The whole output: {output}",
            )
        if done.kind == "unclear":
            raise OutcomeUnknown(
                f"The command line ended without saying what became of the push of {chosen.revision.commit.short}: {done.ending}.",
                _MAY_HAVE,
                "Run this cell again: it asks Convex first.",
            )

    def _keep(self) -> None:
        """Ask while the command line runs whether the run still holds its environment; what is raised ends it."""
        try:
            self.session.leasing.keep()
        except LeaseHeld as exc:
            raise LeaseHeld(f"The push was ended half way: {exc.happened}", _MAY_HAVE, exc.next_step) from exc

    def _message(self, chosen: Chosen) -> str:
        return push_message(chosen.sha, self.session.incident, self.session.journal.run, chosen.undo_of)

    def _path(self, chosen: Chosen) -> str:
        return cli_path(push_arguments(self._message(chosen)))

    def _will_not_undo(self, chosen: Chosen) -> tuple[str, ...]:
        undo = bool(chosen.undo_of)
        wrote = "any code" if undo else "the bad code"
        frontend = "functions that come back" if undo else "older functions"
        pushes = "what the branch holds, which may be other code" if undo else "the bad code again"
        lines = [
            f"data in the database: documents stay as they are now, whatever {wrote} wrote",
            "environment variables of the deployment",
            f"the frontend: it stays as it is and calls the {frontend}",
            f"the next build or CI job of the branch: it pushes {pushes} unless it is stopped",
        ]
        unknown = chosen.live is None or chosen.live.commit is None
        if unknown:
            lines.append("what is live now: no commit of it is known, so it can NOT be put back")
        return tuple(lines)


def _what(chosen: Chosen) -> str:
    return f"what run {chosen.undo_of} took back" if chosen.undo_of else "an earlier commit"
