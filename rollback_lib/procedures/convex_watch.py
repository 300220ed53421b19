"""Procedure 2, steps 5 to 7: is the commit live, do its functions run, do queries answer as they should.

- Reads only. What is live is told by the digests of its modules, never by an exit code.
- The share of failed calls is judged in a window that begins after the push; too few calls, or a log that was not read
  to the window's end, are no data.
- A function that fails each time is broken, however small its share of all calls.
- A call of a function that is not there fails by whoever goes on calling it, not by the commit: it is counted apart, and
  what is called so is never passed. Where the list of functions cannot be read, all calls are judged alike.
- 200 is no success: a function's failure comes with it. Nobody to look up is no success either.
- What a function says of its failure may hold what a variable of the deployment holds, and a kernel that begins anew
  knows none of them: they are read before it, and without them it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rollback_lib.errors import OutcomeUnknown, RollbackError
from rollback_lib.model import Check, CheckStatus
from rollback_lib.parameters.platform import Query
from rollback_lib.procedures.convex_before import unknown_variables
from rollback_lib.procedures.convex_push import PushAgain
from rollback_lib.procedures.convex_shown import Chosen, Pushed, Rehearsal, fit_of
from rollback_lib.procedures.effects import Observation, Seen, pauses
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.shown import WARNS, Listing, Progress, show, some
from rollback_lib.providers.convex import ConvexClient
from rollback_lib.providers.convex_facts import same_schema
from rollback_lib.providers.convex_logs import Executions, FunctionErrors
from rollback_lib.signals.checks import percent

__all__ = ["BackendWatch"]

_SOURCE = "Convex"
SHOWN = 5
IN_SEEN = 3  # failing functions in a line; the cell shows all
CALLED_GONE = "calls.gone"  # the journal's line of what was called though it is gone
_BACK = "roll the frontend back as well (procedure 1)"
WAY_OUT = (
    "Whoever calls what is not in this commit is newer than it, and another commit mends that no better: end this run, "
    f"then {_BACK}"
)
ALWAYS = 3  # calls that must all fail for a function to be taken for broken


@dataclass
class BackendWatch:
    """Looks at the backend for one run."""

    session: Session
    push: PushAgain

    @property
    def convex(self) -> ConvexClient:
        """Return the client of the deployment."""
        return self.push.rehearsing.search.convex

    def until_live(self, chosen: Chosen, pushed: Pushed) -> Observation:
        """Look until the push is over.

        Raises:
            OutcomeUnknown: Not over within the deadline.
        """
        policy, clock = self.session.resolved.policy, self.session.clock
        deadline = clock.monotonic() + policy.push_deadline_s
        progress = Progress(f"Waiting for {chosen.revision.commit.short}", clock)
        progress.stage(f"asks Convex what is live, for at most {policy.push_deadline_s:g} s")
        found = Observation(Seen.UNCLEAR, "not asked yet")
        for pause in pauses(policy.poll_first_s, policy.poll_max_s):
            try:
                found = self.push.observe(chosen, pushed.sent_at)
            except RollbackError as exc:
                found = Observation(Seen.UNCLEAR, exc.reason)
            progress.note(found.detail)
            if found.seen in (Seen.HAPPENED, Seen.BROKEN) or found.overtaken:
                return found
            if clock.monotonic() >= deadline:
                break
            clock.sleep(pause)
        raise OutcomeUnknown(
            f"The push of {chosen.revision.commit.short} is not seen to be over after {policy.push_deadline_s:g} s: {found.detail}.",
            "The backend may run either code.",
            "Run this cell again to look once more; Convex's dashboard shows the last push (History).",
        )

    def live(self, chosen: Chosen, check_id: str, title: str) -> Check:
        """Check that the commit's code is what runs."""
        try:
            found = self.push.observe(chosen, chosen.issue_at)
        except RollbackError as exc:
            wanted = _code_of(chosen)
            return Check(check_id, title, CheckStatus.UNKNOWN, exc.reason, wanted, _SOURCE)
        return self.told_live(found, chosen, check_id, title)

    def told_live(self, found: Observation, chosen: Chosen, check_id: str, title: str) -> Check:
        """Make the check of what was observed."""
        status = CheckStatus.PASSED if found.seen is Seen.HAPPENED else CheckStatus.FAILED
        source = f"{_SOURCE}: live modules, last push"
        return Check(check_id, title, status, found.detail, _code_of(chosen), source)

    def functions(self, rehearsal: Rehearsal) -> Check:
        """Check that the functions that are there are those of the commit."""
        title, same = "Functions are those of the commit", "the commit's, and no others"
        source = f"{_SOURCE}: list of functions"
        if rehearsal.functions is None:
            return Check("P2.S6.1", title, CheckStatus.UNKNOWN, "the commit's are not known", same, source)
        try:
            live = {(one.name, one.type, one.public) for one in self.convex.functions()}
        except RollbackError as exc:
            return Check("P2.S6.1", title, CheckStatus.UNKNOWN, exc.reason, same, source)
        wanted = {(one.name, one.type, one.public) for one in rehearsal.functions}
        if live == wanted:
            seen = f"{len(live)} functions, all of them the commit's"
            return Check("P2.S6.1", title, CheckStatus.PASSED, seen, same, source)
        missing, besides = sorted(wanted - live)[:SHOWN], sorted(live - wanted)[:SHOWN]
        seen = f"missing {', '.join(one[0] for one in missing) or 'none'}; besides {', '.join(one[0] for one in besides) or 'none'}"
        return Check("P2.S6.1", title, CheckStatus.FAILED, seen, same, source)

    def executions(self, since: datetime) -> Check:
        """Check the share of function calls that fail, in a window after the push."""
        policy = self.session.resolved.policy
        title = self.session.plan.criterion("P2.C2").text
        limit = self.session.plan.criterion("P1.C3").limit  # what the plan calls a normal error rate
        threshold = limit.threshold if limit is not None else 0.0
        wanted = f"< {percent(threshold)} of at least {policy.min_requests} calls, and no function that fails each time"
        end = max(since, self.session.clock.now()) + timedelta(seconds=policy.error_window_s)
        progress = Progress("Function calls after the push", self.session.clock)
        progress.stage(f"reads which calls fail, until {end:%H:%M:%S} UTC and a little longer")
        unsaid = self._learn()
        try:
            read = self.convex.executions(since, end, policy.verify_deadline_s)
        except RollbackError as exc:
            return Check("P2.C2", title, CheckStatus.UNKNOWN, exc.reason, wanted, f"{_SOURCE}: function log")
        found, gone = self._apart(read)
        self._show_failing(found, gone)
        self._keep(found, gone)
        check = self._judged(found, unsaid or next(iter(found.samples), ""), threshold, wanted)
        return _with_gone(check, gone)

    def _apart(self, read: Executions) -> tuple[Executions, tuple[FunctionErrors, ...]]:
        """Part the calls of functions that are not there from all others; not known what is there: none is parted."""
        if not any(one.not_found for one in read.functions):
            return read, ()
        try:
            there = {one.name for one in self.convex.functions() if one.public}
        except RollbackError as exc:
            self.session.warn(
                f"whether the functions that are called are there could not be read: {exc.reason}; all calls are judged alike"
            )
            return read, ()
        return read.apart(there)

    def _keep(self, found: Executions, gone: tuple[FunctionErrors, ...]) -> None:
        """Write down what was called though it is gone: the close says so, also in another kernel; the newest look counts."""
        if gone or self.session.journal.last(CALLED_GONE) is not None:
            told = {"functions": {one.name: one.calls for one in gone}, "window": _window(found)}
            self.session.journal.append(CALLED_GONE, step="P2.S6", data=told)

    @property
    def way_out(self) -> str:
        """Say what to do where functions were called that are gone; empty where none was."""
        kept = self.session.journal.last(CALLED_GONE)
        return f"{WARNS} {WAY_OUT}" if kept is not None and kept.data["functions"] else ""

    def left_behind(self, rehearsal: Rehearsal | None) -> tuple[str, ...]:
        """Say what goes on calling functions that are gone: what the live frontend names, and what was seen to be called.

        What is both is said once.
        """
        kept = self.session.journal.last(CALLED_GONE)
        called: dict[str, int] = kept.data["functions"] if kept is not None else {}
        differs = rehearsal.difference if rehearsal is not None else None
        gone = {*called, *(differs.removed if differs is not None else ())}
        if not gone:
            return ()
        frontend = self.push.rehearsing.frontend(tuple(sorted(gone)))
        window = kept.data["window"] if kept is not None else ""
        both = {name: count for name, count in called.items() if name in frontend.names}
        others = {name: count for name, count in called.items() if name not in both}
        seen = f" (calls that failed, {window}: {_counted(both)})" if both else ""
        todo = _BACK if frontend.unknown else "the live frontend does not name them: see what else calls them"
        return (
            *([f"{frontend.calls}{seen}: {_BACK}"] if frontend.calls else []),
            *(
                [f"calls of functions that went away failed, {window}: {_counted(others)}; {todo}"]
                if others
                else []
            ),
            *([frontend.unknown] if frontend.unknown else []),
        )

    def _judged(self, found: Executions, sample: str, threshold: float, wanted: str) -> Check:
        """Judge what was read of the log: all of the window, or what it shows beyond doubt."""
        policy, title = self.session.resolved.policy, self.session.plan.criterion("P2.C2").text
        source = f"{_SOURCE}: function log, {_window(found)}"
        seen = f"{percent(found.share)} of {found.calls} Convex function calls failed, {_window(found)}"
        seen += f" ({found.note})" if found.note else ""
        always = self._always(found)
        if found.failed:
            named = sorted((one for one in found.functions if one.failed), key=lambda one: one not in always)
            seen += f": {some(map(_of_calls, named), IN_SEEN)}"
        enough = found.share is not None and found.calls >= policy.min_requests
        too_many = enough and found.share is not None and found.share >= threshold
        passed = enough and found.complete and not always and not too_many
        if sample and found.failed and not passed:
            seen += f"; {sample}"
        status = CheckStatus.FAILED if always or too_many else CheckStatus.UNKNOWN
        return Check("P2.C2", title, CheckStatus.PASSED if passed else status, seen, wanted, source)

    def _always(self, found: Executions) -> tuple[FunctionErrors, ...]:
        """Return the functions that failed each time, however few their calls are among all of them.

        The plan wants no errors in the log. A single call, or two, may be one visitor's mishap; three are believed,
        or fewer where policy takes fewer calls for enough to judge all functions by.
        """
        enough = max(1, min(ALWAYS, self.session.resolved.policy.min_requests))
        return tuple(one for one in found.functions if one.calls >= enough and one.failed == one.calls)

    def _show_failing(self, found: Executions, gone: tuple[FunctionErrors, ...]) -> None:
        """Show each function that failed, with how many of its calls; what is not there comes last."""
        always = self._always(found)
        failing = [one for one in found.functions if one.failed]
        failing.sort(key=lambda one: one not in always)
        if not failing and not gone:
            return
        rows = (
            *(
                (one.name, f"{one.failed} of {one.calls}", "each time" if one in always else "")
                for one in failing
            ),
            *((one.name, f"{one.calls} of {one.calls}", "not in this commit") for one in gone),
        )
        bold = tuple(at for at, row in enumerate(rows) if row[2])
        show(Listing("Functions that fail after the push", ("function", "failed", ""), rows, bold=bold))

    def schema(self, rehearsal: Rehearsal) -> Check:
        """Check that the enforced schema is the commit's: Convex held its tables' documents against it at the push."""
        title, wanted = self.session.plan.criterion("P2.C4").text, "the commit's schema is enforced"
        source = f"{_SOURCE}: enforced schema"
        try:
            live = self.convex.schema()
        except RollbackError as exc:
            return Check("P2.C4", title, CheckStatus.UNKNOWN, exc.reason, wanted, source)
        if rehearsal.functions is None:
            return Check("P2.C4", title, CheckStatus.UNKNOWN, "the commit's is not known", wanted, source)
        if not same_schema(live, rehearsal.schema):
            return Check("P2.C4", title, CheckStatus.FAILED, "another schema is enforced", wanted, source)
        fit = fit_of(live, self.push.rehearsing.unlisted(live))
        status = CheckStatus.PASSED if fit.checked else CheckStatus.UNKNOWN
        return Check("P2.C4", title, status, f"the commit's: {fit.words}", wanted, source)

    def canary(self) -> Check:
        """Check the plan's own query, for a user who exists for such checks."""
        title = self.session.plan.criterion("P2.C3").text
        query = self.push.rehearsing.search.settings.canary
        if query is None:
            seen = "no canary user is named in the parameters (convex.canary): unchecked"
            return Check("P2.C3", title, CheckStatus.UNKNOWN, seen, "a user", "parameters")
        return self._query(query, "P2.C3", title)

    def queries(self) -> list[Check]:
        """Check the further queries of the parameters."""
        found = self.push.rehearsing.search.settings.queries
        return [
            self._query(query, f"P2.S7.{number}", f"Query {query.path}")
            for number, query in enumerate(found, start=1)
        ]

    def _query(self, query: Query, check_id: str, title: str) -> Check:
        wanted = f"an answer with {', '.join(query.fields)}" if query.fields else "an answer that is not null"
        source = f"{_SOURCE}: {query.path}"
        unsaid = self._learn()
        try:
            called = self.convex.query(query.path, query.args)
        except RollbackError as exc:
            return Check(check_id, title, CheckStatus.UNKNOWN, exc.reason, wanted, source)
        trouble = f"it failed; {unsaid}" if unsaid and not called.ok else called.trouble(query.fields)
        if trouble:
            return Check(check_id, title, CheckStatus.FAILED, trouble, wanted, source)
        return Check(check_id, title, CheckStatus.PASSED, wanted, wanted, source)

    def _learn(self) -> str:
        """Have it learnt what must not be shown; where that cannot be, say that functions' own words are left out."""
        why = unknown_variables(self.convex)
        return f"what it said is left out, for what the variables hold is not known: {why}" if why else ""


def _with_gone(check: Check, gone: tuple[FunctionErrors, ...]) -> Check:
    """Tell with a check what was called though it is gone: with that it is not passed, and no worse than it is."""
    if not gone:
        return check
    count = sum(one.calls for one in gone)
    which = some((f"{one.name} {one.calls}" for one in gone), IN_SEEN)
    seen = f"{check.seen}; besides, {count} call(s) of functions that went away failed: {which}"
    status = CheckStatus.UNKNOWN if check.status is CheckStatus.PASSED else check.status
    return replace(check, status=status, seen=seen)


def _counted(called: dict[str, int]) -> str:
    """Write functions with how often each was called."""
    return some(f"{name} {count}" for name, count in called.items())


def _window(found: Executions) -> str:
    return f"{found.start:%H:%M:%S}-{found.end:%H:%M:%S} UTC"


def _of_calls(one: FunctionErrors) -> str:
    return f"{one.name} {one.failed} of {one.calls}"


def _code_of(chosen: Chosen) -> str:
    return f"the code of {chosen.revision.commit.short}"
