"""Procedure 2: Convex backend rollback.

- The plan's "Rollback to this deployment" does not exist in Convex: an earlier commit is pushed again, by the official
  command line, from a folder of its own, with its own lockfile.
- A dry run comes first: Convex holds the commit's schema against the live data, and nothing is changed by it. What the
  schema does not list, or does not enforce, it does not look at, and that is said.
- Code only: data, environment variables and the frontend stay as they are, and the gate says so.
- Accepted is not done: what is live is told by the digests of the modules, then functions and queries are looked at.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import ClassVar

from rollback_lib.errors import BadParameters, CheckFailed, OutcomeUnknown, PlanViolation, RollbackError
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.model import Check, CheckStatus, Outcome
from rollback_lib.parameters import Id, RunParameters
from rollback_lib.procedures.base import Procedure, step
from rollback_lib.procedures.convex_before import CallsBefore
from rollback_lib.procedures.convex_push import PushAgain
from rollback_lib.procedures.convex_rehearse import Rehearsing
from rollback_lib.procedures.convex_search import BackendSearch
from rollback_lib.procedures.convex_shown import Chosen, Pushed, Rehearsal
from rollback_lib.procedures.convex_watch import BackendWatch
from rollback_lib.procedures.shown import WARNS, Listing, Notice, checks_listing, show

__all__ = ["ConvexParameters", "ConvexRollback"]


class ConvexParameters(RunParameters):
    """The notebook's parameters."""

    read_by: ClassVar[dict[str, str]] = {"commit": "P2.S3", "issue_started_at": "P2.S3", "undo": "P2.S3"}

    commit: Id = ""  # empty: the last stable one before the issue
    undo: Id = ""  # a run whose push is to be undone; empty: a rollback


@dataclass(repr=False, eq=False)
class ConvexRollback(Procedure):
    """Reverts backend functions and schema. Plan: Procedure 2."""

    number: ClassVar[int] = 2
    parameters_model: ClassVar[type[RunParameters]] = ConvexParameters
    effect_steps: ClassVar[frozenset[str]] = frozenset({"P2.S4"})
    needs: ClassVar[tuple[str, ...]] = ("CONVEX_DEPLOY_KEY", "VERCEL_TOKEN", "SLACK_BOT_TOKEN")
    _left: tuple[str, ...] = ()  # what was found at the close that still calls what is gone

    @step("P2.S1")
    def access_dashboard(self) -> Notice:
        """Show the deployment as it is now; changes nothing.

        Raises:
            BadParameters: The key leads to another deployment, or none is described.
            Unreachable: Convex gave no usable answer.

        Plan: Procedure 2, step 1.
        """
        convex = self._search.convex
        identity, state, last = convex.identity(), convex.state(), convex.last_push()
        tables = convex.tables()
        documents = sum(table.documents for table in tables)
        lines = [
            f"{identity.type or identity.kind} deployment at {identity.url}",
            f"state: {state.name}{f' ({state.why})' if state.why else ''}",
            f"last push: {last.at:%Y-%m-%d %H:%M:%S} UTC by {last.actor}, {last.message or 'without a message'}"
            if last
            else "last push: none on record",
            f"{len(tables)} tables, {documents:,} documents: "
            + ", ".join(f"{table.name} {table.documents:,}" for table in tables),
        ]
        if not state.running:
            self.session.warn(
                f"the deployment is {state.name}: code can be pushed, but no function will answer until it runs again"
            )
        return Notice(f"Convex deployment {identity.name}", tuple(lines))

    @step("P2.S2")
    def go_to_deployments(self) -> Listing:
        """List what was pushed and when, newest first; changes nothing.

        Raises:
            BadParameters: No repository of the app.
            Unreachable: Convex gave no usable answer.

        Plan: Procedure 2, step 2.
        """
        return self._search.pushes.listing()

    @step("P2.S3")
    def identify_stable_deployment(self) -> Chosen:
        """Find the last commit that was live before the issue, or check the one that was asked for; changes nothing.

        With the parameter `undo` it is what that run left, whatever was wrong with it.

        Raises:
            BadParameters: No time of the issue, no suspect, no candidate, or the one asked for is not fit.
            Unreachable: Convex gave no usable answer.

        Plan: Procedure 2, step 3.
        """
        return self._search.undone() if self.session.parameters.undo else self._search.chosen()

    def rehearse(self, chosen: Chosen) -> Rehearsal:
        """Ask Convex whether it would take the commit, with the data as it is now; changes nothing.

        Raises:
            NotApplied: It would refuse it; says which document stands in the way, and what can be done.
            Unreachable: The commit's packages cannot be had, or Convex gave no usable answer.

        Plan: Procedure 2, step 3.
        """
        self._refuse_other(chosen)
        try:
            self.session.leasing.hold_for_reading()
            earlier = self._rehearsing.last(chosen.sha)
            if earlier is not None and self.effect_sent:
                return earlier
            self._push.await_earlier()
            return self._rehearsing.rehearse(chosen)
        except RollbackError as exc:
            self.stopped_at("P2.S3", exc)
            raise

    def freeze(self) -> Notice | None:
        """Ask a person to have builds of the branch stopped; headless it is recorded as not done.

        Returns nothing where a box is shown: that one says how it stands, also once it is ticked.

        Plan: Procedure 2; a build or CI job pushes the branch's code, which is the bad one.
        """
        branch = self._search.settings.branch
        if self.journal.last("freeze") is None:
            self.journal.append("freeze", data={"frozen": False, "mode": self.session.parameters.mode})
        if self.session.parameters.mode == "interactive" and not self._frozen:
            from rollback_lib.procedures.panel import Asked, tick_box

            asked = Asked(
                Notice(
                    f"Builds of {branch} are {self._freezing()}",
                    (
                        "Vercel: Settings, Git, Ignored Build Step: the command exit 0",
                        "CI: switch off the workflow that deploys; cancel what runs or waits already",
                        f"Until {self._mended}. This changes nothing by itself; the tick is kept in the record.",
                    ),
                ),
                f"Builds of {branch} are stopped",
                Notice(f"Builds of {branch} are stopped, as {self.session.operator.name} ticked"),
                "NOT recorded as stopped",
            )
            tick_box(asked, self._tick_freeze)
            return None
        return Notice(f"Builds of {branch}: {self._freezing()}")

    @property
    def _frozen(self) -> bool:
        return any(line.data["frozen"] for line in self.journal.find("freeze"))

    def _tick_freeze(self) -> None:
        self.journal.append("freeze", data={"frozen": True, "by": self.session.operator.name})

    def _freezing(self) -> str:
        """Say who had builds stopped, and when."""
        line = next((line for line in self.journal.find("freeze") if line.data["frozen"]), None)
        if line is None:
            undo = bool(self.session.parameters.undo)
            return f"NOT stopped: the next one pushes {'what the branch holds' if undo else 'the bad code again'}"
        return f"stopped, said {line.data['by']} at {datetime.fromisoformat(line.at):%H:%M} UTC; let them go on once {self._mended}"

    @property
    def _mended(self) -> str:
        """Say when a build of the branch does no harm any more."""
        return "the branch holds what is live" if self.session.parameters.undo else "a fix is merged"

    def gate(self, gate_id: str, chosen: Chosen) -> Notice:
        """Show what is about to happen and ask for the deployment's name and, by the plan, an approval; returns at once.

        Raises:
            BadParameters: Not a gate of this procedure.
            PlanViolation: The commit was not rehearsed.
            Unreachable: Convex gave no usable answer.
        """
        if gate_id != "P2.G1":
            raise BadParameters(
                f"Procedure 2 has no gate {gate_id!r}; it has P2.G1.",
                "Nothing was sent.",
                'rollback.gate("P2.G1", chosen)',
            )
        return self.run_gate(gate_id, partial(self._show_gate, chosen))

    def _show_gate(self, chosen: Chosen) -> Notice:
        self._refuse_other(chosen)
        self._push.await_earlier()
        earlier = self.carrier.settle(self._push.effect(chosen))
        if earlier is not None:
            return Notice(f"Gate P2.G1 was passed earlier in this run: {earlier.detail}.")
        self._push.warn_of_others()
        return self.keeper.put(self._push.ask(chosen, self._freezing()), self._gate_facts(chosen))

    def _gate_facts(self, chosen: Chosen) -> tuple[str, ...]:
        """Say what a person has to know beside what is asked; what is not in order stands out."""
        warning = ". ".join(
            self.session.plan.procedure(self.number).warnings
        )  # it begins with a ⚠ of its own
        fit = self._push.rehearsed(chosen.sha).fit
        done = "the dry run did" if fit.checked else "NOT done by the dry run"
        builds = f"builds of {self._search.settings.branch}: {self._freezing()}"
        return (
            f"{warning}: {done}; {fit.words}",
            builds if self._frozen else f"{WARNS} {builds}",
            f"phones of the approvers: rollback status --phones -e {self.session.parameters.environment}",
        )

    @step("P2.S4")
    def roll_back(self, chosen: Chosen) -> Pushed:
        """Push the commit. Changes production.

        Raises:
            GateClosed: The gate is not open, or the deployment moved since; nothing was sent.
            NotApplied: Convex refused; the backend runs what it ran before.
            OutcomeUnknown: The backend may run either code; nothing is sent again until a person has looked.

        Plan: Procedure 2, step 4.
        """
        self._refuse_other(chosen)
        effect = self._push.effect(chosen)
        self._push.await_earlier()
        found = self.carrier.settle(effect)
        if found is None:
            gate = self.keeper.opened("P2.G1")
            self.telling.begin(chosen.revision.commit.short)
            found = self.carrier.carry_out(effect, gate, partial(self._push.require_unmoved, gate, chosen))
        self.telling.leads(self.keeper.demand())
        self.keeper.used("P2.G1")
        first = next(self.journal.find("effect.sending", "P2.S4"))
        source = chosen.live.commit.sha if chosen.live and chosen.live.commit else ""
        return Pushed(source, chosen.sha, datetime.fromisoformat(first.at), found.seen.value, found.detail)

    @step("P2.S5")
    def wait(self, chosen: Chosen, pushed: Pushed) -> Listing:
        """Wait until the push is over and the commit's code is proven to be live.

        Raises:
            CheckFailed: Other code is live.
            OutcomeUnknown: Not over within the deadline.

        Plan: Procedure 2, step 5.
        """
        found = self._watch.until_live(chosen, pushed)
        title = self.session.plan.criterion("P2.C1").text
        check = self.session.note_check(self._watch.told_live(found, chosen, "P2.C1", title))
        if check.status is not CheckStatus.PASSED:
            raise CheckFailed(
                f"The backend does not run the code of {chosen.revision.commit.short}: {check.seen}.",
                "What was live before, or somebody else's push, is live.",
                "Ask in the incidents channel who pushed. Then begin a new run (new_run = True), which looks again.",
            )
        return checks_listing("The push is over", [check])

    @step("P2.S6")
    def verify_functions(self, chosen: Chosen, pushed: Pushed) -> Listing:
        """Look whether the functions are the commit's, run without errors, and the schema fits; changes nothing.

        What is seen at once is shown, and stops the cell where it is bad, before the calls are waited for. Run again,
        it judges the calls from then on.

        Raises:
            CheckFailed: A required check failed.

        Plan: Procedure 2, step 6.
        """
        rehearsal = self._push.rehearsed(chosen.sha)
        title = "Functions after the rollback"
        at_once = [self._watch.functions(rehearsal), self._watch.schema(rehearsal)]
        show(self._noted(title, at_once))
        calls = [self._watch.executions(self._judged_from(pushed))]
        self._noted(title, calls)
        return checks_listing(title, [*at_once, *calls], self._watch.way_out)

    @step("P2.S7")
    def test_queries(self) -> Listing:
        """Make the plan's query for the canary user, and those of the parameters; changes nothing.

        Raises:
            CheckFailed: A query failed, or found nobody.

        Plan: Procedure 2, step 7.
        """
        return self._noted("Queries after the rollback", [self._watch.canary(), *self._watch.queries()])

    def _noted(self, title: str, checks: list[Check]) -> Listing:
        for check in checks:
            self.session.note_check(check)
        failed = [check for check in checks if check.status is CheckStatus.FAILED]
        if failed:
            self._refuse_other_code()
            seen = "; ".join(f"{c.title}: {c.seen} (wanted {c.wanted})" for c in failed)
            raise CheckFailed(
                f"After the rollback: {seen}.",
                self.state_and_undo()[0],
                self._what_now(failed),
            )
        return checks_listing(title, checks)

    def _refuse_other_code(self) -> None:
        """Stop where what failed is not the commit's code at all: somebody pushed since it was seen to be live."""
        chosen, title = self._recorded(), self.session.plan.criterion("P2.C1").text
        check = self.session.note_check(self._watch.live(chosen, "P2.C1", title))
        if check.status is CheckStatus.FAILED:
            raise CheckFailed(
                f"The backend no longer runs the code of {chosen.revision.commit.short}: {check.seen}.",
                self.state_and_undo()[0],
                "Ask in the incidents channel who pushed, and whether it is meant to stay. Then begin a new run (new_run = True), which looks again.",
            )

    def _what_now(self, failed: list[Check]) -> str:
        """Say what to do where a check failed: a paused deployment answers no function, whatever its code.

        Nor does the commit answer what only a newer frontend calls: another commit would not mend that.
        """
        with contextlib.suppress(RollbackError):
            state = self._search.convex.state()
            if not state.running:
                return f"Resume the deployment in Convex's dashboard (Settings), which is {state.name}; then run this cell again."
        again = "Run this cell again to look once more. If it stays so, this commit is bad too or the cause is elsewhere: begin a new run (new_run = True) with an older commit, or triage again."
        if any(check.id == "P2.C2" for check in failed):
            left = self._left_behind(self._recorded())
            if left:
                return f'{left[0][0].upper()}{left[0][1:]}. If it is those calls that fail, end this run first (rollback.abort("...")). {again}'
        return again

    def _judged_from(self, pushed: Pushed) -> datetime:
        """Return from when on calls are judged: since the push, and where they were judged before, from now on.

        What was repaired after the cell had failed is not held against it for ever.
        """
        last = self._search.convex.last_push()
        live_since = max(pushed.sent_at, last.at) if last is not None else pushed.sent_at
        judged_before = self.journal.last("check", "P2.C2") is not None
        return max(live_since, self.now()) if judged_before else live_since

    # -- the parts, made once a kernel

    @cached_property
    def _before(self) -> CallsBefore:
        return CallsBefore(self.session)

    @cached_property
    def _search(self) -> BackendSearch:
        return BackendSearch(self.session)

    @cached_property
    def _rehearsing(self) -> Rehearsing:
        return Rehearsing(self.session, self._search)

    @cached_property
    def _push(self) -> PushAgain:
        return PushAgain(self.session, self._rehearsing)

    @cached_property
    def _watch(self) -> BackendWatch:
        return BackendWatch(self.session, self._push)

    def _refuse_other(self, chosen: Chosen) -> None:
        """Refuse anything but what step 3 found and wrote down: gate and approval are about that."""
        recorded = self.journal.last("step.done", "P2.S3")
        if recorded is None or chosen != self._recorded():
            raise PlanViolation(
                "The commit as given is not what procedure 2, step 3 of this run found.",
                "Nothing was sent.",
                "Run the cell of procedure 2, step 3 again and use its result; for another commit set the parameter commit and begin a new run (new_run = True).",
            )

    def _recorded(self) -> Chosen:
        """Return what step 3 found and wrote down; look for it where it has not."""
        found: Chosen | None = self.recorded("P2.S3", type(self).identify_stable_deployment)
        return found if found is not None else self.identify_stable_deployment()

    # -- opening and closing

    def settle(self) -> None:
        """Ask Convex what became of a push that was sent and not answered, once its command line has ended."""
        if self.effect_sent and self.journal.last("step.done", "P2.S3") is not None:
            if self._push.is_under_way:
                return  # stays in doubt: whoever goes on waits for it
            with contextlib.suppress(OutcomeUnknown):  # on record as unknown
                self.carrier.settle(self._push.effect(self._recorded()))

    def at_open(self) -> None:
        """Keep which calls fail, which Convex forgets; beside the steps, so that none waits for it."""
        self._before.begin()

    def before_seal(self) -> None:
        """See to what a command line has left whose process died, and to the evidence; not known is as good as nothing."""
        with contextlib.suppress(RollbackError, OSError, ValueError):
            self._before.note()
        with contextlib.suppress(RollbackError, OSError):
            self._push.take_over_output()

    def at_close(self) -> None:
        """Look whether the backend still runs what this run pushed."""
        title = "Backend still as this run left it"
        chosen = self._recorded()
        self.session.note_check(self._watch.live(chosen, "P2.PIN", title))
        self._left = self._left_behind(chosen)

    def _left_behind(self, chosen: Chosen) -> tuple[str, ...]:
        """Say what goes on calling functions that are gone: it was warned of before the push, and may be mended since."""
        if self.journal.last("effect.done", "P2.S4") is None:
            return ()
        return self._watch.left_behind(self._rehearsing.last(chosen.sha))

    def tidy(self) -> None:
        """Remove the run's checkouts; parameters that describe no deployment any more name no place of them."""
        with contextlib.suppress(RollbackError):
            self._rehearsing.clear()

    def tell_end(self, outcome: Outcome, why: str) -> None:
        """Post the plan's follow-up if all is well, else what is not."""
        rate = next((check.seen for check in self.last_checks() if check.id == "P2.C2"), "unknown")
        if outcome is Outcome.VERIFIED:
            self.telling.stable(self._target[:12], rate, self._left)
        elif self.is_known:
            self.telling.unwell(outcome, why, self.state_and_undo()[0], rate, self._left)

    @property
    def data_loss(self) -> str:
        """Say of the data no more than is known: what the bad code wrote stays, and a call that fails does not happen."""
        if not self.effect_sent:
            return super().data_loss
        rehearsed = self.journal.last("rehearsed")
        fails = rehearsed.data["rehearsal"].get("fails", "") if rehearsed is not None else ""
        return f"none by this rollback; {fails}" if fails else "none by this rollback"

    def still_open(self) -> tuple[str, ...]:
        """List what a person still has to do."""
        if not self.effect_sent:
            return tuple(self.session.thread.warnings)
        branch, undo = self._search.settings.branch, self.session.parameters.undo
        todo = (
            f"see that {branch} holds what is live again (run {undo} is undone)"
            if undo
            else f"revert the bad commit on {branch}"
        )
        return (
            *self._left,
            f"{todo}; builds of it: {self._freezing()}",
            *self.session.plan.checklist_lines,
            f"post-mortem within {self.telling.postmortem_h} hours",
            *self.session.thread.warnings,
        )

    def state_and_undo(self) -> tuple[str, str]:
        """Say what production looks like now, and how to undo what was done."""
        intent = self.journal.last("effect.intent", "P2.S4")
        if intent is None or not self.effect_sent:
            return "This run changed nothing of production.", "Nothing to undo."
        undo = f"To undo: {intent.data['inverse']}."
        if effect_in_doubt(self.journal.lines):
            return (
                f"UNKNOWN: {intent.data['name']} was sent, and nobody can say yet whether it happened.",
                undo,
            )
        if self.journal.last("effect.done", "P2.S4") is None:
            return "This run changed nothing of production: what it sent was refused.", "Nothing to undo."
        seen = {check.id: check for check in self.last_checks()}
        last = seen.get("P2.PIN") or seen.get("P2.C1")
        if last is not None and last.status is CheckStatus.PASSED:
            return f"The backend runs the code of {self._target[:12]}.", undo
        asked = f"This run pushed {self._target[:12]} to the backend"
        if last is None:
            return f"{asked}; whether it is live was not seen.", undo
        unread = "whether it is live now could not be read" if last.status is CheckStatus.UNKNOWN else ""
        return f"{asked}; {unread or 'not seen there'}: {last.seen}.", undo

    @property
    def _target(self) -> str:
        found = self.journal.last("step.done", "P2.S3")
        return str(found.data["result"]["revision"]["commit"]["sha"]) if found is not None else "unknown"
