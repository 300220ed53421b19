"""All checks side by side, and what each of them saw, whatever happens to one of them.

- Every check runs, also where others fail; whatever ends it becomes its finding, never a traceback.
- What has not ended in time is `unknown`; nobody waits for it, its thread dies with the process.
- No finding holds a secret or a telephone number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from rollback_lib.procedures.doctor import (
    approvers,
    backend,
    chat,
    clocks,
    hosting,
    keeping,
    monitoring,
    setup,
    site,
)
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Examined, Finding, finding_of, unknown
from rollback_lib.procedures.doctor.readings import Circumstances, Readings

__all__ = ["LIMIT_S", "all_checks", "examine"]

LIMIT_S = 7.0  # so that the whole command, Python's own start included, ends within ten
_SUBJECTS = (setup, approvers, hosting, backend, monitoring, chat, site, clocks, keeping)
_DOWN = "Look at the network and at the platform's status page, then ask again."


def examine(given: Circumstances, limit_s: float = LIMIT_S) -> tuple[Examined, ...]:
    """Look at everything that a rollback in this environment would need.

    Sends reads only, but for one object that is put into the state store and taken away (a prepare; `read_only` leaves
    it out).

    Args:
        given: Which environment, and how.
        limit_s: When to stop waiting, in seconds of real time.
    """
    readings = Readings(given)
    checks = all_checks(readings)
    return tuple(
        Examined(check.subject, check.title, _clean(readings, finding))
        for check, finding in zip(checks, _side_by_side(checks, readings, limit_s), strict=True)
    )


def all_checks(readings: Readings) -> tuple[Check, ...]:
    """List all checks, in the order in which they are shown."""
    return tuple(check for subject in _SUBJECTS for check in subject.checks(readings))


def _side_by_side(checks: Sequence[Check], readings: Readings, limit_s: float) -> list[Finding]:
    """Run each check in a thread of its own: a slow platform must not keep a quick check waiting."""
    late = unknown(f"no answer within {limit_s:g} s", readings.given.when_down or _DOWN)
    found = dict.fromkeys(range(len(checks)), late)
    threads = [
        threading.Thread(target=_run, args=(check, readings, found, at), name=f"doctor-{at}", daemon=True)
        for at, check in enumerate(checks)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [found[at] for at in range(len(checks))]


def _run(check: Check, readings: Readings, found: dict[int, Finding], at: int) -> None:
    try:
        found[at] = check.look(readings)
    except Exception as exc:  # noqa: BLE001 - every check has a finding, whatever ended it
        found[at] = finding_of(exc, check.if_refused, readings.given.when_down or _DOWN)


def _clean(readings: Readings, finding: Finding) -> Finding:
    return replace(finding, seen=readings.redact(finding.seen), todo=readings.redact(finding.todo))
