"""Mistakes that somebody could make in the code, each in one place, and what must catch it.

- The old text stands in its file exactly once: a mutant whose place has changed fails, so that none rots.
- What catches it is a test by name; the outside judge is one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]

GATES, ROLLBACK = "tests/test_consent_gates.py", "tests/test_procedures_vercel_rollback.py"
EFFECTS, JUDGE = "tests/test_procedures_effects.py", "tests/test_drills_oracle.py"


@dataclass(frozen=True)
class Mutant:
    """One mistake."""

    name: str
    file: str  # below rollback_lib
    old: str
    new: str
    caught_by: str  # a test's id

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


MUTANTS = (
    Mutant(
        "a line is not synced",
        "journal/book.py",
        "            os.fdatasync(descriptor)\n",
        "            pass\n",
        "tests/test_journal.py::test_line_is_synced_before_append_returns",
    ),
    Mutant(
        "the request leaves before its line",
        "http/door.py",
        "        self.permit.admit(sending)\n        try:\n            reply = self.means.wire.exchange(outgoing)\n",
        "        try:\n            reply = self.means.wire.exchange(outgoing)\n            self.permit.admit(sending)\n",
        f"{GATES}::test_a_request_meets_its_line_on_disk",
    ),
    Mutant(
        "the permit does not ask its gate",
        "consent/gates.py",
        "        self.gate.require_open()\n        sent = self.gate.sent_so_far()",
        "        sent = self.gate.sent_so_far()",
        f"{EFFECTS}::test_a_gate_that_closes_between_intent_and_request_stops_it",
    ),
    Mutant(
        "the permit lets any request through",
        "consent/gates.py",
        "        if not self.gate.ask.lets_through(sending):\n",
        "        if False:\n",
        f"{ROLLBACK}::test_permit_of_one_request_admits_no_other",
    ),
    Mutant(
        "a lost answer is sent again without a look",
        "procedures/effects.py",
        "        found = self._watch(effect, _left_at(doubtful[0]), self.patience.observe_s)\n        if found.seen in _REACHED:\n            return found\n",
        "        return None\n        found = self._watch(effect, _left_at(doubtful[0]), self.patience.observe_s)\n",
        f"{JUDGE}::test_honest_run_is_held_everywhere[lost]",
    ),
    Mutant(
        "what was cut off is sent again unasked",
        "procedures/effects.py",
        "        earlier = self.settle(effect)\n        if earlier is not None:\n            return earlier\n        for _",
        "        for _",
        f"{EFFECTS}::test_cut_off_after_it_may_have_left_the_platform_is_asked_first",
    ),
    Mutant(
        "a refusal is swallowed",
        "procedures/effects.py",
        "                permit.failed(exc.happened)\n                raise exc\n            return already\n",
        '                return Observation(Seen.RUNNING, "accepted by the platform")\n            return already\n',
        f"{JUDGE}::test_honest_run_is_held_everywhere[denied]",
    ),
    Mutant(
        "an attempt without an answer is no doubt",
        "journal/attempts.py",
        '        if what == "sending":\n            found.append(line)\n',
        '        if what == "answered" and line.data["kind"] == "accepted":\n            found.append(line)\n',
        f"{ROLLBACK}::test_sent_without_an_answer_is_never_told_as_nothing_sent",
    ),
    Mutant(
        "secrets are not taken out of the journal",
        "journal/book.py",
        '                "data": self.redactor.clean(data or {}),\n',
        '                "data": data or {},\n',
        "tests/test_journal.py::test_known_secret_reaches_no_line",
    ),
    Mutant(
        "somebody else's job is taken for ours",
        "procedures/vercel_watch.py",
        "        elif job.to_id != target or job.type not in self.moves:\n",
        "        elif False:\n",
        "tests/faults/test_bad_days.py::test_bad_day[colleague promotes right after our effect]",
    ),
    Mutant(
        "a skipped job is success",
        "procedures/vercel_watch.py",
        '    if job.status == "succeeded" or (job.status == "skipped" and project.production_id == target):\n',
        '    if job.status in ("succeeded", "skipped"):\n',
        "tests/faults/test_bad_days.py::test_bad_day[job skipped]",
    ),
    Mutant(
        "the state is not compared before the effect",
        "consent/gates.py",
        "        moved = what_moved(self.ask.state, state)\n        if not moved:\n            return\n",
        "        moved = what_moved(self.ask.state, state)\n        return\n",
        f"{ROLLBACK}::test_world_moved_between_gate_and_effect_closes_the_gate",
    ),
    Mutant(
        "an approval counts whatever its digest",
        "consent/gates.py",
        "        return (approval.gate, approval.digest) == (\n            self.ask.gate,\n            self.ask.digest,\n        ) and not self._expired(approval)\n",
        "        return approval.gate == self.ask.gate and not self._expired(approval)\n",
        f"{GATES}::test_an_approval_of_something_else_does_not_count",
    ),
    Mutant(
        "an expired approval counts",
        "consent/gates.py",
        "        return bool(ends) and self.journal.clock.now() > datetime.fromisoformat(ends)\n",
        "        return False\n",
        f"{GATES}::test_an_approval_stops_counting_when_it_expires",
    ),
    Mutant(
        "who asks may approve",
        "consent/approvals.py",
        "    approvers = [person for person in by_holders(APPROVE) if person.slack not in askers]\n",
        "    approvers = by_holders(APPROVE)\n",
        "tests/test_consent_approvals.py::test_nobody_approves_their_own_request",
    ),
    Mutant(
        "the typed name is compared without its case",
        "consent/gates.py",
        "        if not typed or typed != self.ask.typed_wanted:\n",
        "        if not typed or typed.casefold() != self.ask.typed_wanted.casefold():\n",
        f"{ROLLBACK}::test_closed_gate_lets_nothing_through",
    ),
    Mutant(
        "the lease is not asked before the request",
        "consent/gates.py",
        "            self.gate.tenure.require(sending.deadline_s)\n",
        "            pass\n",
        "tests/test_procedures_leasing.py::test_lease_lost_right_before_the_effect_lets_nothing_leave",
    ),
    Mutant(
        "a signature is verified for any environment",
        "consent/signed.py",
        '    for name in ("environment", "incident", "run", "gate", "digest"):\n        if getattr(other, name) != getattr(wanted, name):\n            return f"it is for another {name} ({getattr(other, name)[:60]})"\n    differing = [name for name in Request.model_fields if getattr(other, name) != getattr(wanted, name)]\n    if differing:\n',
        "    differing: list[str] = []\n    if differing:\n",
        "tests/faults/test_forgeries.py::test_forged_approval_lets_nothing_through",
    ),
    Mutant(
        "what is unknown counts as passed",
        "procedures/ending.py",
        "            if check.required and check.status in (CheckStatus.UNKNOWN, CheckStatus.SKIPPED)\n",
        "            if check.required and check.status is CheckStatus.SKIPPED\n",
        f"{JUDGE}::test_honest_run_is_held_everywhere[quiet]",
    ),
    Mutant(
        "a page is judged by its status alone",
        "signals/checks.py",
        "    passed = reading.status == 200 and reading.marker_found  # noqa: PLR2004 - HTTP's OK\n",
        "    passed = reading.status == 200\n",
        "tests/test_signals_checks.py",
    ),
    Mutant(
        "a handful of requests is enough for an error rate",
        "signals/checks.py",
        "        or reading.count < limits.min_requests\n",
        "",
        "tests/test_signals_checks.py",
    ),
    Mutant(
        "a rollback is sent as a harmless request",
        "providers/vercel.py",
        '    Rule("POST", r"/v1/projects/[^/]+/rollback/[^/]+", RequestClass.EFFECT),\n',
        '    Rule("POST", r"/v1/projects/[^/]+/rollback/[^/]+", RequestClass.PREPARE),\n',
        f"{JUDGE}::test_honest_run_is_held_everywhere[P0]",
    ),
)
