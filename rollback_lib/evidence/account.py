"""What a run did, told from the lines of its journal.

- The same lines always give the same account: no clock, no file, nothing but the lines.
- Everything is kept: a change that was tried twice stands there twice, a step that was cut off stays started.
- An outcome counts only while no effect was begun after it; else it is unknown.
- A line with a field less than expected is told with that field empty; only a missing beginning is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from rollback_lib.errors import JournalError
from rollback_lib.evidence.changes import Change, changes_of
from rollback_lib.evidence.consents import Gate, gates_of
from rollback_lib.evidence.fields import mapping, number, text, texts, whole
from rollback_lib.journal import Line
from rollback_lib.model import Outcome

__all__ = [
    "Account",
    "CheckSeen",
    "Ending",
    "Remark",
    "RunFacts",
    "Session",
    "StepTaken",
    "account_of",
    "ending_of",
]

CLOSED, PROVISIONAL = "run.closed", "run.provisional"
REMARKED = ("warning", "note", "journal.torn", "run.interrupted", "run.aborted")
REFUSALS = ("GateClosed", "NotApproved")  # errors of a step that was not let through
EFFECT_BEGUN = ("effect.intent", "effect.sending")


@dataclass(frozen=True)
class RunFacts:
    """Which run it is: what, where, why, by whom."""

    incident: str
    run: str
    procedure: int
    title: str
    environment: str
    mode: str
    severity: str
    criterion: str
    reason: str
    impact: str
    operator: str
    operator_name: str
    dry_run: bool
    fingerprint: str
    opened_at: str

    @property
    def by(self) -> str:
        """Name the operator as people do; an old run knows only how the parameters spell them."""
        return self.operator_name or self.operator


@dataclass(frozen=True)
class Session:
    """One sitting: the first, or one that continued the run."""

    at: str
    mode: str
    operator: str  # by name, where the run has it


@dataclass(frozen=True)
class Ending:
    """How the run stands at its last line."""

    outcome: str
    why: str
    at: str  # of the line that says so; empty where none does
    closed: bool
    state: str = ""  # of production, in words
    next_step: str = ""
    still_open: tuple[str, ...] = ()
    undo: str = ""
    log: dict[str, str] = field(default_factory=dict)  # the row of the rollback log


@dataclass(frozen=True)
class StepTaken:
    """One step of the plan: when, how long, how it ended."""

    step: str
    title: str
    status: str  # started (cut off), done, failed, refused (by a gate), skipped, interrupted
    started_at: str  # of its last try
    ended_at: str
    seconds: float | None
    tries: int
    detail: str  # why it failed or was skipped


@dataclass(frozen=True)
class CheckSeen:
    """One check as it was last seen."""

    id: str
    title: str
    status: str
    seen: str
    wanted: str
    source: str
    required: bool
    at: str
    looks: int  # how often it was looked at


@dataclass(frozen=True)
class Remark:
    """A warning or a note."""

    at: str
    kind: str  # warning, note, torn
    text: str


@dataclass(frozen=True)
class Account:
    """Everything that a record says about a run, but for its files."""

    run: RunFacts
    outcome: Ending
    plan_version: str
    parameters: dict[str, Any]
    versions: dict[str, str]
    sessions: tuple[Session, ...]
    steps: tuple[StepTaken, ...]
    gates: tuple[Gate, ...]
    checks: tuple[CheckSeen, ...]
    effects: tuple[Change, ...]
    messages: tuple[Change, ...]
    remarks: tuple[Remark, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON gives it back, for a record or a comparison with one."""
        return dict(json.loads(json.dumps(asdict(self))))


def account_of(lines: Sequence[Line]) -> Account:
    """Tell what the lines of one run say.

    Raises:
        JournalError: They do not begin with the opening of a run; nothing was written.
    """
    if not lines or lines[0].event != "run.opened":
        raise JournalError(
            f"The journal does not begin with run.opened but with {lines[0].event if lines else 'nothing'}.",
            "Nothing was written.",
            "The run was cut off before it began; begin a new run (new_run = True).",
        )
    opened = lines[0].data
    return Account(
        run=_facts(lines[0]),
        outcome=_in_order(ending_of(reversed(lines)), texts(opened, "log_columns")),
        plan_version=text(opened, "plan_version"),
        parameters=mapping(opened, "parameters"),
        versions={str(name): str(version) for name, version in mapping(opened, "versions").items()},
        sessions=tuple(_session(line) for line in lines if line.event in ("run.opened", "run.continued")),
        steps=_steps(lines),
        gates=gates_of(lines),
        checks=_checks(lines),
        effects=changes_of(lines, "effect"),
        messages=changes_of(lines, "prepare"),
        remarks=tuple(_remark(line) for line in lines if line.event in REMARKED),
    )


def ending_of(newest_first: Iterable[Line]) -> Ending:
    """Tell how the run stands; reads no further back than to the line that decides it."""
    for line in newest_first:
        if line.event in (CLOSED, PROVISIONAL):
            return _said(line)
        if line.event in EFFECT_BEGUN:
            why = (
                f"not closed, and after its last effect ({text(line.data, 'name')}) nothing says how it ended"
            )
            return _unknown(why, "Look at the platform, then open the run again.")
    why = "not closed: it is going on, or it was cut off before anything that changes production"
    return _unknown(why, "Open the run again to go on with it or to abort it.")


def _unknown(why: str, next_step: str) -> Ending:
    return Ending(Outcome.UNKNOWN.value, why, "", closed=False, next_step=next_step)


def _said(line: Line) -> Ending:
    data = line.data
    return Ending(
        outcome=text(data, "outcome"),
        why=text(data, "why"),
        at=line.at,
        closed=line.event == CLOSED,
        state=text(data, "state"),
        next_step=text(data, "next_step"),
        still_open=texts(data, "still_open"),
        undo=text(data, "undo"),
        log={name: str(cell) for name, cell in mapping(data, "log").items()},
    )


def _in_order(ending: Ending, columns: Sequence[str]) -> Ending:
    """Put the row of the log into the order of the plan's columns; what the plan does not name comes after."""
    known = [name for name in columns if name in ending.log]
    others = [name for name in ending.log if name not in columns]
    return replace(ending, log={name: ending.log[name] for name in (*known, *others)})


def _facts(opened: Line) -> RunFacts:
    data = opened.data
    said = [field.name for field in fields(RunFacts) if field.type == "str"]
    return RunFacts(
        procedure=whole(data, "procedure") or 0,
        dry_run=data.get("dry_run") is True,
        **({name: text(data, name) for name in said} | {"run": opened.run, "opened_at": opened.at}),
    )


def _session(line: Line) -> Session:
    return Session(
        line.at, text(line.data, "mode"), text(line.data, "operator_name") or text(line.data, "operator")
    )


def _steps(lines: Sequence[Line]) -> tuple[StepTaken, ...]:
    taken: dict[str, StepTaken] = {}
    for line in lines:
        kind, _, what = line.event.partition(".")
        if kind == "step" and line.step is not None:
            taken[line.step] = _step_after(taken.get(line.step), line, what)
    return tuple(taken.values())


def _step_after(before: StepTaken | None, line: Line, what: str) -> StepTaken:
    """Tell how a step stands after one more of its lines."""
    data = line.data
    tries = before.tries if before is not None else 0
    title = text(data, "title") or (before.title if before is not None else "")
    if what == "started":
        return StepTaken(str(line.step), title, what, line.at, "", None, tries + 1, "")
    began = before.started_at if before is not None else ""
    detail = next((text(data, key) for key in ("happened", "reason", "error") if data.get(key)), "")
    if what == "failed" and text(data, "error") in REFUSALS:
        what = "refused"
    return StepTaken(str(line.step), title, what, began, line.at, number(data, "seconds"), tries, detail)


def _checks(lines: Sequence[Line]) -> tuple[CheckSeen, ...]:
    seen: dict[str, CheckSeen] = {}
    for line in lines:
        if line.event == "check":
            name = text(line.data, "id")
            seen[name] = _check(line, seen[name].looks + 1 if name in seen else 1)
    return tuple(seen.values())


def _check(line: Line, looks: int) -> CheckSeen:
    name, title, status, saw, wanted, source = (
        text(line.data, key) for key in ("id", "title", "status", "seen", "wanted", "source")
    )
    required = line.data.get("required") is not False
    return CheckSeen(name, title, status, saw, wanted, source, required, line.at, looks)


def _remark(line: Line) -> Remark:
    if line.event == "run.interrupted":
        return Remark(line.at, "note", f"the run was stopped from outside by {text(line.data, 'signal')}")
    if line.event == "run.aborted":
        return Remark(line.at, "note", f"{line.by} aborted the run: {text(line.data, 'reason')}")
    if line.event != "journal.torn":
        return Remark(line.at, line.event, text(line.data, "text"))
    size, kept = text(line.data, "bytes"), text(line.data, "kept_in")
    return Remark(
        line.at,
        "torn",
        f"a session was cut off while writing: {size} bytes of a torn line are kept in {kept}",
    )
