"""A run of procedure 2 whose push is over, on a clock that stands still: what it looks at is scripted, all else is real.

Nothing is served and nothing is pushed: what a step says, shows and writes down of what it is told is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from conftest import BEGAN, FakeClock
from pydantic import TypeAdapter
from repository import ROOT

from rollback_lib.journal import Journal
from rollback_lib.model import Check, CheckStatus, IncidentId, Redactor, RunId
from rollback_lib.plan import load_plan
from rollback_lib.procedures import ConvexRollback
from rollback_lib.procedures.base import _adapter
from rollback_lib.procedures.convex_push import push_message
from rollback_lib.procedures.convex_rehearse import Rehearsing
from rollback_lib.procedures.convex_shown import Chosen, Difference, Pushed, Rehearsal
from rollback_lib.procedures.revisions import Push, Revision
from rollback_lib.procedures.session import Session
from rollback_lib.providers.convex_facts import (
    AuditEvent,
    BackendState,
    Called,
    Function,
    Live,
    Module,
    Schema,
    Table,
)
from rollback_lib.providers.convex_logs import Executions, FunctionErrors
from rollback_lib.providers.repository import Commit

__all__ = ["GOOD", "PUSHED_AT", "Backend", "Watched", "calls"]

GOOD, BAD = "a" * 40, "b" * 40
INCIDENT, RUN = IncidentId("INC-1"), RunId("P2-1")
PUSHED_AT = BEGAN - timedelta(seconds=20)
FUNCTIONS = (Function("users:list", "Query", True, "s"),)
SCHEMA = Schema((("memberships", "d2"), ("users", "d1")), validated=True)


def calls(
    count: int = 1000,
    failed: int = 0,
    *functions: FunctionErrors,
    samples: tuple[str, ...] = (),
    complete: bool = True,
    note: str = "",
) -> Callable[[datetime, datetime], Executions]:
    """Make the reading of a window's log."""

    def read(start: datetime, end: datetime) -> Executions:
        return Executions(start, end, count, failed, functions, samples, complete, note)

    return read


@dataclass
class Backend:
    """The deployment as it is told; an error in place of an answer is raised."""

    clock: FakeClock
    redactor: Redactor
    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)
    heard: None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def answer(*given: Any) -> Any:
            self.asked.append(name)
            told = self.answers[name]
            if isinstance(told, Exception):
                raise told
            return told(*given) if callable(told) else told

        return answer

    def executions(self, start: datetime, end: datetime, _: float) -> Executions:
        """Wait for the window's end, then tell what was read."""
        self.asked.append("executions")
        self.clock.at = max(self.clock.at, end)
        told = self.answers["executions"]
        if isinstance(told, Exception):
            raise told
        return cast("Executions", told(start, end))


@dataclass
class Watched:
    """The run, its clock, and what it tells people."""

    folder: Path
    rehearsal: dict[str, Any] = field(default_factory=dict)  # what is otherwise in the dry run
    policy: dict[str, Any] = field(default_factory=dict)
    taken: bool = True  # Convex took the push
    mode: str = "headless"
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock, self.redactor = FakeClock(), Redactor()
        self.backend = Backend(self.clock, self.redactor, _answers())
        self.journal = Journal.begin(
            self.folder / RUN, RUN, by="ana", clock=self.clock, redactor=self.redactor
        )
        self.journal.append("run.opened")
        self.chosen = _chosen()
        self.app = SimpleNamespace(
            folder=self.folder / "app", mentioned=lambda _: self.chosen.suspect.commit, named=lambda *_: ()
        )
        self.vercel = SimpleNamespace(
            project=lambda: SimpleNamespace(production_id="dpl_1"),
            deployment=lambda _: SimpleNamespace(commit_sha=BAD),
        )
        dumped = TypeAdapter(Rehearsal).dump_python(_rehearsal(**self.rehearsal), mode="json")
        self.journal.append("rehearsed", step="P2.S3", data={"sha": GOOD, "rehearsal": dumped})
        self.pushed = Pushed(BAD, GOOD, PUSHED_AT, "running", "accepted")
        for number in range(1, 5):
            result = _adapter(ConvexRollback.identify_stable_deployment).dump_python(self.chosen, mode="json")
            self.journal.append("step.done", step=f"P2.S{number}", data={"result": result})
        for event in ("intent", "sending", "done" if self.taken else "refused"):
            data = {"inverse": "rollback undo P2-1", "name": f"push {GOOD}"}
            self.journal.append(f"effect.{event}", step="P2.S4", data=data)
        self.rollback = self.kernel()

    def kernel(self) -> ConvexRollback:
        """Give the procedure as a kernel that has just begun has it."""
        session = self._session()
        rollback = ConvexRollback(session)
        search = cast(
            "Any", SimpleNamespace(convex=self.backend, settings=self.settings, repository=self.app)
        )
        rehearsing = Rehearsing(session, search)
        rehearsing.__dict__["cli"] = SimpleNamespace(left=lambda: None)
        rollback.__dict__ |= {"_search": search, "_rehearsing": rehearsing}
        return rollback

    settings = SimpleNamespace(deployment="happy-otter-123", branch="main", canary=None, queries=())

    def done(self, *steps: str) -> None:
        """Take steps for done."""
        for name in steps:
            self.journal.append("step.done", step=name, data={"result": None})

    def checks(self, check_id: str) -> list[Check]:
        """List what was written down of a check, oldest first."""
        return [
            Check(**(line.data | {"status": CheckStatus(line.data["status"])}))
            for line in self.journal.find("check")
            if line.data["id"] == check_id
        ]

    def _session(self) -> Session:
        nothing = SimpleNamespace(
            hold=lambda: None, hold_for_reading=lambda: None, let_go=lambda: None, copy_up=lambda: None
        )
        thread = SimpleNamespace(
            said=lambda _: False, say=lambda _, text, **__: self.said.append(text), warnings=()
        )
        policy = {
            "error_window_s": 300,
            "verify_deadline_s": 900,
            "min_requests": 50,
            "push_limit_s": 900,
            "push_deadline_s": 60,
            "poll_first_s": 1,
            "poll_max_s": 5,
            "clock_skew_s": 2,
            "unverified_is_success": False,
        } | self.policy
        parameters = SimpleNamespace(
            environment="drill", mode=self.mode, reason="broken", severity="P0", undo=""
        )
        return Session(
            plan=load_plan(ROOT),
            resolved=cast("Any", SimpleNamespace(policy=SimpleNamespace(**policy), parameters=parameters)),
            clients=cast("Any", SimpleNamespace(vercel=self.vercel)),
            journal=self.journal,
            incident=INCIDENT,
            operator=cast("Any", SimpleNamespace(name="Ana Operator")),
            thread=cast("Any", thread),
            clock=self.clock,
            store=cast("Any", None),
            leasing=cast("Any", nothing),
        )


def _answers() -> dict[str, Any]:
    """Give a deployment on which all is well after the push."""
    message = push_message(GOOD, INCIDENT, RUN)
    return {
        "last_push": AuditEvent("push_config_with_components", PUSHED_AT, "token 7", message),
        "live": Live((Module("users.js", "isolate", "h"),), "1.48.0"),
        "functions": FUNCTIONS,
        "schema": SCHEMA,
        "tables": (Table("memberships", 40), Table("users", 300)),
        "variables": ("MAIL_KEY",),
        "state": BackendState("running", ""),
        "query": Called("users:get", ok=True, value={"_id": "1"}),
        "executions": calls(),
    }


def _chosen() -> Chosen:
    def push(sha: str, subject: str, hours: int) -> Push:
        at = BEGAN - timedelta(hours=hours)
        return Push(at, Commit(sha, (), "Lee Lead", at, at, subject), "audit log")

    good, bad = push(GOOD, "Name the trainer", 7), push(BAD, "Memberships by tier", 1)
    revision = Revision(cast("Commit", good.commit), good.at, bad.at, "audit log", (bad,))
    return Chosen(revision, bad, bad, BEGAN - timedelta(minutes=50), "from Sentry", (), ())


def _rehearsal(**more: Any) -> Rehearsal:
    facts: dict[str, Any] = {
        "sha": GOOD,
        "at": BEGAN,
        "seconds": 5.0,
        "version": "1.48.0",
        "modules": (Module("users.js", "isolate", "h"),),
        "functions": FUNCTIONS,
        "schema": SCHEMA,
        "difference": Difference((), (), (), (), ()),
        "warnings": (),
        "output": "attachments/convex-dry-run.txt",
    }
    return Rehearsal(**(facts | more))
