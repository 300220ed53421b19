"""The outside judge of a drill: by the world's ledger and state, and by the bytes that the run left.

- It shares no code with what it judges: it parses the journal itself, computes the chain itself, reads the world.
- It judges the invariants 1 to 8, 10 and 11; each comes out as held, broken or not judged, with the evidence.
- What it cannot see it does not call held.
- It changes nothing, neither in the world nor in the folder.
"""

from __future__ import annotations

from collections.abc import Callable

from rollback_lib.drills.oracle.case import Bench, Case
from rollback_lib.drills.oracle.claims import judge_claims
from rollback_lib.drills.oracle.decision import judge_decision
from rollback_lib.drills.oracle.folder import judge_record
from rollback_lib.drills.oracle.leaks import judge_leaks
from rollback_lib.drills.oracle.places import judge_places
from rollback_lib.drills.oracle.sendings import judge_leave, judge_maintenance, judge_once, judge_order
from rollback_lib.drills.oracle.verdict import Finding, Inquiry, Verdict
from rollback_lib.drills.oracle.words import judge_words

__all__ = ["Case", "Finding", "Verdict", "judge"]

_JUDGES: dict[int, Callable[[Bench, Inquiry], None]] = {
    1: judge_order,
    2: judge_once,
    3: judge_claims,
    4: judge_words,
    5: judge_maintenance,
    6: judge_record,
    7: judge_leaks,
    8: judge_places,
    10: judge_leave,
    11: judge_decision,
}


def judge(case: Case) -> Verdict:
    """Judge one run; never raises for what it finds in the run's folder: what cannot be understood is broken.

    Raises:
        BadParameters: The project's plan or contacts cannot be read.
    """
    bench = Bench(case)
    findings = []
    for invariant, judged in _JUDGES.items():
        inquiry = Inquiry(invariant)
        try:
            judged(bench, inquiry)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
            inquiry.breaks(f"what the run left cannot be understood: {type(exc).__name__}: {exc}")
        findings.append(inquiry.finding())
    return Verdict(tuple(findings))
