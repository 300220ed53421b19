"""Procedure 1: Vercel deployment rollback.

- The plan's "Promote to Production" on an older production deployment is Vercel's instant rollback; a real promote by parameter.
- What was live when the issue began is the suspect; it, what is live now and anything newer are never offered.
- Between gate and effect the platform is read again: if it moved, nothing is sent.
- Accepted is not done, READY is not live: the job is polled for our target and type, then production is read back.
- A rollback pins production; if the pin or the live deployment moves before the run is closed, the outcome says failed.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import ClassVar

from rollback_lib.errors import BadParameters, CheckFailed, OutcomeUnknown, PlanViolation, RollbackError
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.model import Check, CheckStatus, DeploymentId, Outcome
from rollback_lib.parameters import Id, RunParameters
from rollback_lib.procedures.base import Procedure, step
from rollback_lib.procedures.effects import Seen
from rollback_lib.procedures.shown import Listing, Notice, checks_listing
from rollback_lib.procedures.vercel_facts import (
    Moved,
    Stable,
    deployments_listing,
    on_off,
    project_lines,
    skew_of,
    skew_text,
)
from rollback_lib.procedures.vercel_move import Kind, Move
from rollback_lib.procedures.vercel_search import Search
from rollback_lib.procedures.vercel_watch import Watch

__all__ = ["VercelParameters", "VercelRollback"]


class VercelParameters(RunParameters):
    """The notebook's parameters."""

    read_by: ClassVar[dict[str, str]] = {
        "deployment": "P1.S3",
        "issue_started_at": "P1.S3",
        "undo": "P1.S3",
    }

    deployment: str = ""  # empty: the last stable one before the issue
    method: Kind = "rollback"
    undo: Id = ""  # a run whose change is to be undone; empty: a rollback


@dataclass(repr=False, eq=False)
class VercelRollback(Procedure):
    """Reverts application code to the previous version. Plan: Procedure 1."""

    number: ClassVar[int] = 1
    parameters_model: ClassVar[type[RunParameters]] = VercelParameters
    effect_steps: ClassVar[frozenset[str]] = frozenset({"P1.S4"})
    needs: ClassVar[tuple[str, ...]] = ("VERCEL_TOKEN", "SENTRY_AUTH_TOKEN", "SLACK_BOT_TOKEN")
    _evidence: threading.Thread | None = None

    @step("P1.S1")
    def access_dashboard(self) -> Notice:
        """Show the project as Vercel has it now; changes nothing.

        Raises:
            Unreachable: Vercel gave no usable answer.

        Plan: Procedure 1, step 1.
        """
        project = self.session.clients.vercel.project()
        skew_s = skew_of(self.session.clients.vercel.heard)
        if skew_s is not None and abs(skew_s) > self.session.resolved.policy.clock_skew_s:
            self.session.warn(
                f"{skew_text(skew_s)}: every time in this run's journal is off by that, and no error rate after the rollback can be trusted. Set the clock (NTP) if you can, then run all cells again"
            )
        return Notice(f"Vercel project {project.name} ({project.id})", project_lines(project))

    @step("P1.S2")
    def go_to_deployments(self) -> Listing:
        """List the production deployments, newest first, the live one marked; changes nothing.

        Raises:
            Unreachable: Vercel gave no usable answer.

        Plan: Procedure 1, step 2.
        """
        live = self.session.clients.vercel.project().production_id
        return deployments_listing(self._search.deployments(), live)

    @step("P1.S3")
    def identify_stable_deployment(self) -> Stable:
        """Find the last stable deployment before the issue, or check the one that was asked for; changes nothing.

        With the parameter `undo` it is what that run left, whatever was wrong with it.

        Raises:
            BadParameters: No time of the issue, no suspect, no candidate, or the one asked for is not fit.
            Unreachable: Vercel gave no usable answer.

        Plan: Procedure 1, step 3.
        """
        return self._search.undone() if self.session.parameters.undo else self._search.stable()

    @property
    def _found(self) -> Stable | None:
        """Return what step 3 of this run found and wrote down."""
        found: Stable | None = self.recorded("P1.S3", type(self).identify_stable_deployment)
        return found

    def review(self, stable: Stable) -> Notice | None:
        """Ask a person to look at the deployment's own address; headless it is recorded as not reviewed.

        Returns nothing where a box is shown: that one says how it stands, also once it is ticked.

        Plan: Procedure 1, step 3.
        """
        if self.journal.last("review") is None:
            data = {
                "deployment": stable.deployment.id,
                "reviewed": False,
                "mode": self.session.parameters.mode,
            }
            self.journal.append("review", step="P1.S3", data=data)
        if self.session.parameters.mode == "interactive" and not self._reviewed and stable.preview:
            from rollback_lib.procedures.panel import Asked, tick_box

            look = f"Open {stable.preview} and look whether this is the right version."
            asked = Asked(
                Notice("Not reviewed yet", (look,)),
                "I have looked at it: it is the right version",
                Notice("Reviewed", (stable.preview,)),
                "NOT recorded as reviewed",
            )
            tick_box(asked, partial(self._tick_review, stable))
            return None
        return Notice(
            f"{stable.deployment.id}: {'reviewed' if self._reviewed else 'not reviewed'} by a person"
        )

    def gate(self, gate_id: str, stable: Stable) -> Notice:
        """Show what is about to happen and ask for the project's name and, by the plan, an approval; returns at once.

        Headless the parameter `confirm` answers, and an approval is waited for as long as policy says.

        Raises:
            BadParameters: Not a gate of this procedure.
            Unreachable: Vercel gave no usable answer.
        """
        if gate_id != "P1.G1":
            raise BadParameters(
                f"Procedure 1 has no gate {gate_id!r}; it has P1.G1.",
                "Nothing was sent.",
                'rollback.gate("P1.G1", stable)',
            )
        return self.run_gate(gate_id, partial(self._show_gate, stable))

    def _show_gate(self, stable: Stable) -> Notice:
        self._refuse_other(stable)
        earlier = self.carrier.settle(self._move.effect(stable))
        if earlier is not None:
            return Notice(f"Gate P1.G1 was passed earlier in this run: {earlier.detail}.")
        reviewed = f"reviewed by a person: {'yes' if self._reviewed else 'no'}"
        return self.keeper.put(
            self._move.ask(stable),
            (
                reviewed,
                f"phones of the approvers: rollback status --phones -e {self.session.parameters.environment}",
            ),
        )

    @step("P1.S4")
    def move_production(self, stable: Stable) -> Moved:
        """Point production at the stable deployment, without rebuilding it. Changes production.

        Returns once Vercel has accepted; production has not necessarily moved yet.

        Raises:
            GateClosed: The gate is not open, or the platform moved since; nothing was sent.
            NotApplied: Vercel refused; production is unchanged by this run.
            OutcomeUnknown: Production may have moved; nothing is sent again until a person has looked.

        Plan: Procedure 1, step 4.
        """
        self._refuse_other(stable)
        effect = self._move.effect(stable)
        found = self.carrier.settle(effect)
        if found is None:
            gate = self.keeper.opened("P1.G1")
            self.telling.begin(stable.deployment.id)
            found = self.carrier.carry_out(effect, gate, partial(self._move.require_unmoved, gate, stable))
        self.telling.leads(self.keeper.demand())
        self.keeper.used("P1.G1")
        first = next(self.journal.find("effect.sending", "P1.S4"))
        return Moved(
            stable.live,
            stable.deployment.id,
            datetime.fromisoformat(first.at),
            found.seen.value,
            found.detail,
        )

    @step("P1.S5")
    def monitor(self, moved: Moved) -> Check:
        """Wait until the job is over and production is proven to be the target.

        Raises:
            CheckFailed: The job failed, was skipped or production is elsewhere; says which domains moved.
            OutcomeUnknown: Not over within the deadline.

        Plan: Procedure 1, step 5.
        """
        found = self._watch.until_over(moved)
        if found.seen is Seen.BROKEN:
            title = self.session.plan.criterion("P1.C1").text
            self.session.note_check(
                Check("P1.C1", title, CheckStatus.FAILED, found.detail, "job succeeded", "Vercel")
            )
            raise self._watch.half_way(moved, found)
        check = self.session.note_check(self._watch.proof_of_live(moved.target, self._own_sha(moved.target)))
        if check.status is not CheckStatus.PASSED:
            raise CheckFailed(
                f"The job is over, but production is not shown to be {moved.target}: {check.seen}.",
                self._watch.where_domains_are(moved.target),
                "Run this cell again to look once more; if it stays so, look at the Vercel dashboard and begin a new run.",
            )
        return check

    @step("P1.S6")
    def verify(self, stable: Stable) -> Listing:
        """Look at what is live, health, error rate and critical pages until all are well or the time is over.

        A check without data is shown as unknown and lowers the outcome; it does not raise.

        Raises:
            CheckFailed: A required check failed; says what production serves.

        Plan: Procedure 1, step 6.
        """
        target = stable.deployment.id
        looked = self._watch.until_well(stable, self._own_sha(target))
        checks = [self.session.note_check(check) for check in looked]
        failed = [check for check in checks if check.status is CheckStatus.FAILED]
        if failed:
            raise self._not_well(target, failed)
        return checks_listing("After the rollback", checks)

    def _not_well(self, target: DeploymentId, failed: list[Check]) -> CheckFailed:
        """Say what failed, and claim no more of production than was seen."""
        gone = next((check for check in failed if check.id == "P1.C1"), None)
        if gone is not None:
            return CheckFailed(
                f"Production is no longer on {target} alone: {gone.seen}.",
                self._watch.where_domains_are(target),
                "Ask in the incidents channel who moved it and why. If the rollback is still wanted, begin a new run (new_run = True): it looks at everything again.",
            )
        seen = "; ".join(f"{c.title}: {c.seen} (wanted {c.wanted})" for c in failed)
        return CheckFailed(
            f"After the rollback to {target}: {seen}.",
            self._watch.where_domains_are(target),
            "Run this cell again to look once more. If it stays so, this deployment is bad too or the cause is elsewhere: begin a new run (new_run = True) with an older deployment, or triage again.",
        )

    def _own_sha(self, target: DeploymentId) -> str:
        """Return the target's commit if it tells the target from every other deployment; else nothing."""
        shas = [deployment.commit_sha for deployment in self._search.deployments()]
        own = next((d.commit_sha for d in self._search.deployments() if d.id == target), "")
        return own if shas.count(own) == 1 else ""

    # -- the parts, made once a kernel

    @cached_property
    def _search(self) -> Search:
        return Search(self.session)

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self.session, self._kinds)

    @cached_property
    def _move(self) -> Move:
        return Move(self.session, self._kinds, self._watch)

    @property
    def _kinds(self) -> tuple[Kind, ...]:
        parameters = self.session.parameters
        return ("promote", "rollback") if parameters.undo else (parameters.method,)

    @property
    def _reviewed(self) -> bool:
        return any(line.data["reviewed"] for line in self.journal.find("review"))

    def _tick_review(self, stable: Stable) -> None:
        data = {"deployment": stable.deployment.id, "reviewed": True, "by": self.session.operator.name}
        self.journal.append("review", step="P1.S3", data=data)

    # -- gate and effect

    def _refuse_other(self, stable: Stable) -> None:
        """Refuse anything but what step 3 found and wrote down: gate and approval are about that."""
        if stable != self._found:
            raise PlanViolation(
                f"{stable.deployment.id} as given is not what procedure 1, step 3 of this run found.",
                "Nothing was sent.",
                "Run the cell of procedure 1, step 3 again and use its result; for another deployment set the parameter deployment and begin a new run (new_run = True).",
            )

    def tell_end(self, outcome: Outcome, why: str) -> None:
        """Post the plan's follow-up if all is well, else what is not."""
        rate = next((check.seen for check in self.last_checks() if check.id == "P1.C3"), "unknown")
        if outcome is Outcome.VERIFIED:
            self.telling.stable(self._target, rate.split(" of ")[0])
        elif self.is_known:
            self.telling.unwell(outcome, why, self.state_and_undo()[0], rate)

    # -- opening and closing

    def settle(self) -> None:
        """Ask Vercel what became of a rollback that was sent and not answered."""
        found = self._found
        if self.effect_sent and found is not None:
            with contextlib.suppress(OutcomeUnknown):  # on record as unknown
                self.carrier.settle(self._move.effect(found))

    def at_open(self) -> None:
        """Keep Sentry's view of the moment, which fades; beside the steps, so that none waits for it."""
        self._evidence = threading.Thread(
            target=self._keep_issues, args=("open",), name="evidence", daemon=True
        )
        self._evidence.start()

    def before_seal(self) -> None:
        """Wait for the evidence, so that the record covers it; its reads end by their own deadline."""
        if self._evidence is not None:
            self._evidence.join()

    def at_close(self) -> None:
        """Look whether the pin or the live deployment moved since."""
        self._keep_issues("close")
        self.session.note_check(self._as_left())

    def tidy(self) -> None:
        """Nothing is kept outside the folder here."""

    def _as_left(self) -> Check:
        title, wanted = (
            "Production still as this run left it",
            f"{self._target} live" + (", auto-assign off" if self._move.pins else ""),
        )
        try:
            project = self.session.clients.vercel.project()
        except RollbackError as exc:
            return Check("P1.PIN", title, CheckStatus.UNKNOWN, exc.reason, wanted, "Vercel project")
        live = self._watch.live_by_records(self._target, title)
        pin = f"auto-assign {on_off(project.auto_assign)}"
        if live.status is not CheckStatus.PASSED or (self._move.pins and project.auto_assign is not False):
            status = CheckStatus.UNKNOWN if live.status is CheckStatus.UNKNOWN else CheckStatus.FAILED
            return Check("P1.PIN", title, status, f"{live.seen}; {pin}", wanted, live.source)
        return Check("P1.PIN", title, CheckStatus.PASSED, f"{live.seen}; {pin}", wanted, live.source)

    def still_open(self) -> tuple[str, ...]:
        """List what a person still has to do; where nothing was sent, nothing that follows from a rollback."""
        if not self.effect_sent:
            return tuple(self.session.thread.warnings)
        lines = [
            "critical flows: only their pages were looked at; sign in, book and pay once yourself",
            *self.session.plan.checklist_lines,
            f"post-mortem within {self.telling.postmortem_h} hours",
        ]
        if self._move.pins:
            lines.insert(
                0, "production is pinned: new builds stay staged until a different, fixed build is promoted"
            )
        if not self._reviewed:
            lines.append(f"{self._target} was not reviewed by a person")
        return (*lines, *self.session.thread.warnings)

    def state_and_undo(self) -> tuple[str, str]:
        """Say what production looks like now, and how to undo what was done."""
        intent = self.journal.last("effect.intent", "P1.S4")
        if intent is None or not self.effect_sent:
            return "This run changed nothing of production.", "Nothing to undo."
        undo = f"To undo: {intent.data['inverse']}."
        if effect_in_doubt(self.journal.lines):
            return (
                f"UNKNOWN: {intent.data['name']} was sent, and nobody can say yet whether it happened.",
                undo,
            )
        if self.journal.last("effect.done", "P1.S4") is None:
            return "This run changed nothing of production: what it sent was refused.", "Nothing to undo."
        return self._where_left(), undo

    def _where_left(self) -> str:
        """Say what was last seen of the move, and no more."""
        seen = {check.id: check for check in self.last_checks()}
        last = seen.get("P1.PIN") or seen.get("P1.C1")
        if last is not None and last.status is CheckStatus.PASSED:
            return f"Production was left on {self._target}{', pinned' if self._move.pins else ''}."
        asked = f"This run asked Vercel to move production to {self._target}"
        if last is not None and last.status is CheckStatus.FAILED:
            return f"{asked}; it is not there, or not as it was left: {last.seen}."
        return f"{asked}; whether it is there was not seen."

    @property
    def _target(self) -> str:
        found = self.journal.last("step.done", "P1.S3")
        return str(found.data["result"]["deployment"]["id"]) if found is not None else "unknown"

    def _keep_issues(self, moment: str) -> None:
        """Keep the unresolved issues as an attachment; a Sentry that is down is a warning."""
        place = self.folder / "attachments" / f"sentry-issues-{moment}.json"
        if place.exists():
            return
        try:
            since = self.now() - timedelta(hours=self.session.resolved.policy.issues_lookback_h)
            issues = self.session.clients.sentry.issues("is:unresolved", since)
        except RollbackError as exc:
            self.journal.append(
                "warning", data={"text": f"Sentry's issues at {moment} were not kept: {exc.happened}"}
            )
            return
        place.parent.mkdir(exist_ok=True)
        rows = self.journal.redactor.clean(
            [{key: str(value) for key, value in vars(issue).items()} for issue in issues]
        )
        place.write_text(json.dumps(rows, indent=1), encoding="utf-8")
