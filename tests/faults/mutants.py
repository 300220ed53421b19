"""The library made to do wrong, one mistake at a time: what is changed, and what has to notice.

- A mistake is one piece of text replaced by another; the old text stands exactly once in its file, else the table is out of date.
- It is noticed by the judge over a scene of `scenes`, under the invariants named here, or by one test.
- Where no invariant is named the scene alone tells: the run ends otherwise than it should.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """One mistake."""

    name: str
    file: str  # below rollback_lib
    old: str
    new: str
    scene: str = ""  # of `scenes`
    broken: frozenset[int] = frozenset()  # invariants that have to be found broken in it, at least
    test: str = ""  # of pytest, where no scene shows it
    is_quick: bool = False  # belongs to `make test`


def only(*invariants: int) -> frozenset[int]:
    """Name invariants."""
    return frozenset(invariants)


MUTANTS = (
    # --- the journal -----------------------------------------------------------------------------------------
    Mutant(
        "line not synced",
        "journal/book.py",
        "            os.fdatasync(descriptor)\n",
        "",
        test="tests/test_journal.py::test_line_is_synced_before_append_returns",
    ),
    Mutant(
        "secret not taken out of the journal",
        "journal/book.py",
        '"data": self.redactor.clean(data or {}),',
        '"data": data or {},',
        test="tests/test_journal.py::test_known_secret_reaches_no_line",
    ),
    Mutant(
        "chain not linked",
        "journal/book.py",
        '"prev": self.head,',
        '"prev": GENESIS,',
        scene="P0",
        broken=only(6),
    ),
    Mutant(
        "line written after its request",
        "http/door.py",
        "        self.permit.admit(sending)\n        try:\n            reply = self.means.wire.exchange(outgoing)\n",
        "        try:\n            reply = self.means.wire.exchange(outgoing)\n            self.permit.admit(sending)\n",
        scene="P0",
        broken=only(1),
        is_quick=True,
    ),
    Mutant(
        "intent not written",
        "journal/book.py",
        'self.line = self._note("intent", data)',
        "self.line = None",
        scene="P0",
        broken=only(1),
    ),
    Mutant(
        "attempt not written",
        "journal/book.py",
        '        self._note("sending", _sent(sending) | {"attempt": self.attempts})\n',
        "",
        scene="P0",
        broken=only(1, 3, 10),
    ),
    # --- classes of requests ---------------------------------------------------------------------------------
    Mutant(
        "change of production called harmless",
        "providers/vercel.py",
        '/rollback/[^/]+", RequestClass.EFFECT)',
        '/rollback/[^/]+", RequestClass.PREPARE)',
        scene="P0",
        broken=only(1),
    ),
    Mutant(
        "change of production called a read",
        "providers/vercel.py",
        '/promote/[^/]+", RequestClass.EFFECT)',
        '/promote/[^/]+", RequestClass.READ)',
        scene="promote",
        broken=only(1),
    ),
    # --- gates and approvals ---------------------------------------------------------------------------------
    Mutant(
        "closed gate lets pass",
        "consent/gates.py",
        "        if missing or not self._opened:\n",
        "        if False:\n",
        scene="refused",
        broken=only(1, 10, 11),
        is_quick=True,
    ),
    Mutant(
        "permit does not ask its gate again",
        "consent/gates.py",
        "        self.gate.require_open()\n        sent = self.gate.sent_so_far()",
        "        sent = self.gate.sent_so_far()",
        test="tests/test_procedures_effects.py::test_a_gate_that_closes_between_intent_and_request_stops_it",
    ),
    Mutant(
        "permit lets any request through",
        "consent/gates.py",
        "        if not self.gate.ask.lets_through(sending):\n",
        "        if False:\n",
        test="tests/test_procedures_vercel_rollback.py::test_permit_of_one_request_admits_no_other",
    ),
    Mutant(
        "dry run has an open gate",
        "consent/gates.py",
        "        if self.dry_run:\n            missing.append",
        "        if False:\n            missing.append",
        test="tests/test_procedures_vercel_rollback.py::test_closed_gate_lets_nothing_through[dry run]",
    ),
    Mutant(
        "digest not compared before the effect",
        "consent/gates.py",
        "        if not moved:\n            return\n",
        "        return\n",
        scene="moved meanwhile",
        broken=only(11),
        is_quick=True,
    ),
    Mutant(
        "plan's approval not asked for",
        "consent/policy.py",
        "return Demand(ruling.required, ",
        "return Demand((), ",
        scene="refused",
        broken=only(11),
    ),
    Mutant(
        "own approval counts",
        "consent/approvals.py",
        "by_holders(APPROVE) if person.slack not in askers]",
        "by_holders(APPROVE)]",
        scene="own approval",
        broken=only(11),
    ),
    Mutant(
        "approval counts for ever",
        "consent/gates.py",
        "return bool(ends) and self.journal.clock.now() > datetime.fromisoformat(ends)",
        "return False",
        scene="old approval",
        broken=only(11),
    ),
    Mutant(
        "approval counts whatever its digest",
        "consent/gates.py",
        "        return (approval.gate, approval.digest) == (\n            self.ask.gate,\n            self.ask.digest,\n        ) and",
        "        return approval.gate == self.ask.gate and",
        test="tests/test_consent_gates.py::test_an_approval_of_something_else_does_not_count",
    ),
    Mutant(
        "signature for another run counts",
        "consent/signed.py",
        '        if why:\n            return None, f"{who}: {why}"\n',
        "",
        scene="signed elsewhere",
        broken=only(11),
    ),
    Mutant(
        "typed name compared without its case",
        "consent/gates.py",
        "if not typed or typed != self.ask.typed_wanted:",
        "if not typed or typed.lower() != self.ask.typed_wanted.lower():",
        scene="typed in other case",
    ),
    Mutant(
        "lease not asked before the request",
        "consent/gates.py",
        "            self.gate.tenure.require(sending.deadline_s)\n",
        "            pass\n",
        test="tests/test_procedures_leasing.py::test_lease_lost_right_before_the_effect_lets_nothing_leave",
    ),
    # --- once ------------------------------------------------------------------------------------------------
    Mutant(
        "sent again without a look",
        "procedures/effects.py",
        "        found = self._watch(effect, _left_at(doubtful[0]), self.patience.observe_s)\n",
        '        found = Observation(Seen.NOT_HAPPENED, "not looked")\n',
        scene="retried",
        broken=only(2),
        is_quick=True,
    ),
    Mutant(
        "what was cut off is sent again",
        "procedures/effects.py",
        "        doubtful = self._doubtful(effect)\n        if not doubtful:\n            return None\n",
        "        return None\n",
        scene="cut off before",
        broken=only(2),
    ),
    Mutant(
        "refusal taken for done",
        "procedures/effects.py",
        "                permit.failed(exc.happened)\n                raise exc\n",
        '                return Observation(Seen.RUNNING, "accepted by the platform")\n',
        scene="denied",
        broken=only(3),
    ),
    # --- what is seen ----------------------------------------------------------------------------------------
    Mutant(
        "somebody else's job taken for ours",
        "procedures/vercel_watch.py",
        "elif job.to_id != target or job.type not in self.moves:",
        "elif False:",
        scene="overtaken",
        broken=only(3),
    ),
    Mutant(
        "skipped job taken for success",
        "procedures/vercel_watch.py",
        '(job.status == "skipped" and project.production_id == target)',
        'job.status == "skipped"',
        scene="job skipped",
        broken=only(3),
        is_quick=True,
    ),
    Mutant(
        "one domain stands for all",
        "procedures/vercel_watch.py",
        "agree = production == target and bool(aliases) and set(aliases.values()) == {target}",
        "agree = production == target and target in aliases.values()",
        scene="moved back",
        broken=only(3, 4),
    ),
    Mutant(
        "page judged by its status",
        "signals/checks.py",
        "reading.status == 200 and reading.marker_found",
        "reading.status == 200",
        scene="hollow page",
        broken=only(3),
    ),
    Mutant(
        "health judged by any answer",
        "signals/checks.py",
        "status = CheckStatus.PASSED if reading.ok else CheckStatus.FAILED",
        "status = CheckStatus.PASSED",
        scene="health red",
        broken=only(3),
    ),
    Mutant(
        "a handful of requests is enough for a rate",
        "signals/checks.py",
        "        or reading.count < limits.min_requests\n",
        "",
        test="tests/test_signals_checks.py",
    ),
    Mutant(
        "error window begins before the rollback",
        "procedures/vercel_watch.py",
        "start = max(_next_second(began), end - timedelta(seconds=limits.window_s))",
        "start = end - timedelta(seconds=limits.window_s)",
        scene="few errors",
        broken=only(3),
    ),
    # --- words and records -----------------------------------------------------------------------------------
    Mutant(
        "verified with an unknown check",
        "procedures/ending.py",
        "check.status in (CheckStatus.UNKNOWN, CheckStatus.SKIPPED)",
        "check.status in (CheckStatus.SKIPPED,)",
        scene="quiet",
        broken=only(4),
        is_quick=True,
    ),
    Mutant(
        "failed although nobody knows",
        "procedures/ending.py",
        "if isinstance(error, OutcomeUnknown) or effect_in_doubt(self.journal.lines):",
        "if isinstance(error, OutcomeUnknown):",
        scene="in doubt",
        broken=only(4),
    ),
    Mutant(
        "attempt without an answer is no doubt",
        "journal/attempts.py",
        '        if what == "sending":\n            found.append(line)\n',
        '        if what == "answered" and line.data["kind"] == "accepted":\n            found.append(line)\n',
        scene="cut off before",
        broken=only(2),
    ),
    Mutant(
        "record leaves a file out",
        "evidence/files.py",
        "return tuple(found)\n",
        'return tuple(file for file in found if "close" not in file.path)\n',
        scene="P0",
        broken=only(6),
    ),
)
