"""Beginning a run, or going on with one: its journal, its first line, and that the parameters are still the same.

- Nothing is written before it is known which run it is.
- An empty parameter may be filled in as long as nothing was sent; what was said stays said.
- The headless runner learns from a file which run this is.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rollback_lib.clock import Clock
from rollback_lib.consent.policy import criterion_refusals
from rollback_lib.errors import BadParameters
from rollback_lib.evidence.archive import HANDOVER_VARIABLE, Archive, RunFolder
from rollback_lib.http import Transport
from rollback_lib.journal import FILE_NAME, Journal, Line, read_journal
from rollback_lib.messages.thread import Thread
from rollback_lib.model import Severity, digest_of
from rollback_lib.parameters import Resolved
from rollback_lib.plan import Plan
from rollback_lib.procedures.identity import Identity, choose
from rollback_lib.procedures.leasing import Leasing, look_first
from rollback_lib.procedures.session import Session
from rollback_lib.providers import connect
from rollback_lib.store import open_store

__all__ = ["begin_session", "last_drill", "refuse_criterion", "unfinished"]

_NOT_DECISIVE = frozenset(
    {"confirm", "incident", "injected", "mode", "new_run", "run", "secrets", "take_over"}
)


def refuse_criterion(plan: Plan, severity: Severity | Literal[""], criterion: str) -> None:
    """Refuse a criterion that is not the plan's, or not of the severity given, before a run is begun with it.

    Raises:
        BadParameters: It does not fit; nothing was sent, no run was begun.
    """
    if not criterion:
        return  # the gate asks for it where the plan does
    refusals = criterion_refusals(plan, severity or plan.severity_of(criterion), criterion)
    if refusals:
        raise BadParameters(
            f"{'; '.join(refusals)}.",
            "Nothing was sent; no run was begun or changed.",
            "Correct criterion or severity in the parameters cell.",
        )


def unfinished(resolved: Resolved, number: int, run: str) -> list[str]:
    """Tell of other runs of this procedure and environment that moved production and were not closed."""
    parameters = resolved.parameters
    if (parameters.environment, parameters.mode) == ("drill", "headless"):
        return []  # each has a world of its own
    told = []
    for other in Archive(resolved.archive_root).open_runs(number, parameters.environment):
        lines = read_journal(other.folder / FILE_NAME).lines
        sent = next((line for line in lines if line.event == "effect.sending"), None)
        if sent is not None and other.run != run and (other.environment, other.mode) != ("drill", "headless"):
            told.append(
                f'run {other.run} sent a change of production at {sent.at} and is not closed: to go on with it, set run = "{other.run}" and new_run = False'
            )
    return told


def last_drill(archive_root: Path, number: int) -> str:
    """Say when this procedure was last drilled to its end, and with what outcome."""
    drills = (
        run
        for run in Archive(archive_root).runs()
        if run.environment == "drill" and run.procedure == number and run.is_closed
    )
    newest = next(drills, None)
    if newest is None:
        return "none in this archive"
    return f"{newest.started_at:%Y-%m-%d %H:%M} UTC, {newest.outcome}"


def begin_session(
    number: int, resolved: Resolved, plan: Plan, clock: Clock, transport: Transport | None
) -> Session:
    """Decide which run it is, look whether its environment is free, and put together what it works with.

    Raises:
        BadParameters: No run fits, or it was begun with other parameters; nothing was sent.
        LeaseHeld: Somebody else acts on the environment, or has the run open; no run was begun.
        Unreachable: The store cannot say who acts on the environment; no run was begun.
        JournalError: The journal cannot be written or does not hold.
    """
    store = open_store(resolved.platform, resolved.home, resolved.secrets)
    began_before = partial(_is_the_one_that_new_run_began, resolved)
    identity = choose(Archive(resolved.archive_root), resolved.parameters, number, clock.now(), began_before)
    look = look_first(store, resolved, identity)
    journal = _open_journal(identity, number, resolved, plan, clock)
    clients = connect(resolved.platform, resolved.policy, resolved.secrets, clock, transport)
    channel = resolved.platform.slack.incidents_channel
    thread = Thread(clients.slack, journal, channel, clock, plan.update_every_min)
    leasing = Leasing(store, resolved, journal, thread, clock, look)
    return Session(
        plan, resolved, clients, journal, identity.incident, resolved.operator, thread, clock, store, leasing
    )


def _open_journal(identity: Identity, number: int, resolved: Resolved, plan: Plan, clock: Clock) -> Journal:
    """Begin or continue the run's journal.

    Raises:
        BadParameters: It was begun with other parameters; nothing was sent.
        LeaseHeld: The run is open in another process.
        JournalError: The journal cannot be written or does not hold.
    """
    parameters = resolved.parameters
    make = Journal.begin if identity.is_new else Journal.resume
    journal = make(
        identity.folder, identity.run, by=parameters.operator, clock=clock, redactor=resolved.secrets.redactor
    )
    journal.may_prepare = not parameters.dry_run
    if identity.is_new:
        journal.append("run.opened", data=_opening(number, resolved, plan, identity.incident, identity.run))
    else:
        filled = _refuse_other_parameters(journal, resolved)
        _refuse_other_plan(journal, plan)
        by = {"operator": parameters.operator, "operator_name": resolved.operator.name}
        journal.append("run.continued", data={"mode": parameters.mode, **by, "filled": filled})
    handover = os.environ.get(HANDOVER_VARIABLE)
    if handover:
        Path(handover).write_text(str(identity.folder), encoding="utf-8")
    return journal


def _opening(number: int, resolved: Resolved, plan: Plan, incident: str, run: str) -> dict[str, Any]:
    parameters = resolved.parameters
    names = ("environment", "mode", "severity", "criterion", "reason", "impact", "operator", "dry_run")
    said = {name: getattr(parameters, name) for name in names}
    return said | {
        "procedure": number,
        "title": plan.procedure(number).title,
        "incident": incident,
        "run": run,
        "operator_name": resolved.operator.name,
        "log_columns": list(plan.log_columns),  # a mapping in a journal has no order of its own
        "parameters": resolved.public(),
        "fingerprint": resolved.fingerprint(),
        "versions": _versions(),
        "plan_version": plan.version,
        "plan_digest": digest_of(plan.model_dump(mode="json")),
    }


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    names = ("rollback-runbooks", "httpx", "ipykernel", "ipywidgets", "papermill", "pydantic")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _is_the_one_that_new_run_began(resolved: Resolved, found: RunFolder) -> bool:
    lines = read_journal(found.folder / FILE_NAME).lines
    if not lines or lines[0].data["parameters"].get("new_run") is not True:
        return False
    _, changed = _compared(lines, resolved)
    return not changed


def _refuse_other_parameters(journal: Journal, resolved: Resolved) -> dict[str, Any]:
    """Return what was filled in since the run was begun; refuse what was changed."""
    filled, changed = _compared(journal.lines, resolved)
    if changed:
        run = journal.run
        journal.release()
        raise BadParameters(
            f"Run {run} was begun with other parameters (changed: {', '.join(changed)}).",
            "Nothing was sent; the run is as it was.",
            "Put the parameters back to go on with it, or set new_run = True to begin another run.",
        )
    return filled


def _compared(lines: tuple[Line, ...], resolved: Resolved) -> tuple[dict[str, Any], list[str]]:
    """Return what was filled in since a run was begun, and the names of what was changed.

    An empty parameter may be filled in as long as nothing was sent, and another operator may go on.
    """
    before: dict[str, Any] = {}
    for line in lines:
        if line.event == "run.opened":
            before |= line.data["parameters"]
        elif line.event == "run.continued":
            before |= line.data["filled"]
    now = resolved.public()
    differing = {name: now[name] for name in _decisive(now) if before.get(name) != now[name]}
    sent = any(line.event == "effect.sending" for line in lines)
    done = {line.step for line in lines if line.event == "step.done"}
    read = {name for name, step in type(resolved.parameters).read_by.items() if step in done}
    fixed = {name for name in differing if before.get(name) or sent or name in read}
    return differing, sorted(fixed - {"operator"})


def _refuse_other_plan(journal: Journal, plan: Plan) -> None:
    """Refuse to go on under a plan that was edited since the run was begun."""
    opened = next(journal.find("run.opened"))
    if opened.data["plan_digest"] == digest_of(plan.model_dump(mode="json")):
        return
    run = journal.run
    journal.release()
    raise BadParameters(
        f"Run {run} was begun under another parameters/plan.yaml (then version {opened.data['plan_version']}, now {plan.version}).",
        "Nothing was sent; the run is as it was.",
        "Put the plan back to go on with it, or set new_run = True to begin another run.",
    )


def _decisive(public: dict[str, Any]) -> list[str]:
    """Name what decides what a run does; which run it is, its mode and what opens its gates do not."""
    return [name for name in public if name not in _NOT_DECISIVE]
