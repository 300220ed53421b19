"""One deployment: its data, its live code, its variables, and the account of what was done to it.

- Code is live as a whole; whoever asks gets the one revision that was live when the question came.
- Time is the world's. Things that are due happen in a thread of their own, while the deployment is open.
- Each kind of state tells when it changed, so that whoever watches looks again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from rollback_lib.simulator.convex.audit import AuditLog
from rollback_lib.simulator.convex.callers import NOBODY, Caller
from rollback_lib.simulator.convex.code import PushedApp, Revision, canonical, evaluate
from rollback_lib.simulator.convex.functions import SCHEDULER, Functions
from rollback_lib.simulator.convex.logs import FunctionLog
from rollback_lib.simulator.convex.push import Pushes
from rollback_lib.simulator.convex.spec import ALL_ACTIONS, ConvexSpec
from rollback_lib.simulator.convex.storage import SCHEDULED, Range, Storage
from rollback_lib.simulator.convex.view import ConvexView, Push
from rollback_lib.simulator.convex.worker import Worker

__all__ = ["NOTHING_LIVE", "Backend"]

_TICK_S = 0.05
_STOP_S = 2.0
_AT_ONCE = 50
NOTHING_LIVE = Revision(PushedApp(()), {}, {}, None, (), {}, ())


class Backend:
    """The state of one deployment.

    Args:
        spec: How it begins.
        seed: What ids and numbers follow from.
        now_ms: Tells the world's time.
    """

    def __init__(self, spec: ConvexSpec, seed: int, now_ms: Callable[[], float]) -> None:
        self.spec, self.name, self.now_ms = spec, spec.deployment, now_ms
        self.began_ms = now_ms()
        self.storage = Storage(seed, now_ms)
        self.worker = Worker()
        self.logs = FunctionLog()
        self.audit = AuditLog()
        self.pushes = Pushes(self)
        self.functions = Functions(self)
        self.paused: bool = spec.paused
        self.variables: Mapping[str, str] = dict(spec.variables)
        self.live: Revision = NOTHING_LIVE
        self.last_push_ms: float | None = None
        self.was_live: list[tuple[float, str]] = []  # since when which code, by its key, oldest first
        self.releases: dict[str, PushedApp] = {}  # what a colleague may push, by its part in the past
        self.commits: Mapping[str, str] = {}  # sha -> its part in the past
        self.expected_code = ""  # where a right rollback from the world's beginning leads to, by its key
        self.find_release: Callable[[str], PushedApp | None] = lambda _: None
        self.visitors = spec.visitors
        self._changes = 0
        self._random = Random(f"convex numbers:{seed}")  # noqa: S311 - repeatable, not secret
        self.address: str = ""  # where it is served; known once it is
        self.site: str = ""
        self.saw_colleague: Callable[[], None] = lambda: None
        self._agenda: list[tuple[float, Callable[[], None]]] = []
        self._ended = threading.Event()
        self._calling: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Let things happen by themselves from now on: scheduled functions, visitors."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live_on, name="convex", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self.worker.close()
        if self._thread is not None:
            self._thread.join(_STOP_S)
        self.storage.close()

    def number(self, size: int) -> str:
        """Give a number that was not given before, as hex digits of so many bytes."""
        return self._random.randbytes(size).hex()

    # --- code ----------------------------------------------------------------------------------------------

    def evaluated(self, app: PushedApp) -> Revision:
        """Evaluate pushed code with the variables of now; raises Refusal where it cannot be loaded."""
        return evaluate(app, self.worker, self.variables, self.storage.table_name)

    def install(self, app: PushedApp, message: str | None = None, at_ms: float | None = None) -> None:
        """Let code be live as of a moment, as an earlier push would have made it.

        Args:
            app: The code.
            message: Of that push.
            at_ms: When; None: now.

        Raises:
            Refusal: It cannot be loaded.
        """
        self.pushes.install(app, message, self.now_ms() if at_ms is None else at_ms)

    def release(self, role: str) -> Revision:
        """Give what a colleague pushes: by its part in the past, else what is live."""
        app = self.releases.get(role) or (self.find_release(role) if role else None)
        return self.live if app is None else self.evaluated(app)

    def went_live(self, revision: Revision, at_ms: float | None) -> None:
        """Note that code is live."""
        self.live = revision
        self.last_push_ms = self.now_ms() if at_ms is None else at_ms
        self.was_live.append((self.last_push_ms, revision.app.key))
        self.changed()

    def code_of(self, sha: str) -> str:
        """Give the key of a commit's code; empty where nobody here knows the commit."""
        role = self.commits.get(sha, "")
        app = self.releases.get(role) or (self.find_release(role) if role else None)
        return app.key if app is not None else ""

    def push_by_colleague(self, role: str) -> None:
        """Let a colleague's push go live, whole and at once."""
        self.pushes.colleague(self.release(role))
        self.saw_colleague()

    def is_query(self, path: str) -> bool:
        """Tell whether a path leads to a query, or nowhere."""
        function = self.live.functions.get(canonical(path))
        return function is None or function.kind == "Query"

    @property
    def info(self) -> dict[str, Any]:
        """What the deployment says of itself."""
        return {
            "kind": "cloud",
            "id": 31,
            "deploymentType": "prod",
            "projectId": 21,
            "projectName": "Derrimut Platform",
            "projectSlug": "derrimut-platform",
            "teamId": 11,
            "reference": "production",
        }

    # --- variables, pause ----------------------------------------------------------------------------------

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """Let these be the variables."""
        self.variables = dict(variables)
        self.changed()

    def set_paused(self, paused: bool) -> None:
        """Let no function run, or let them run again."""
        self.paused = paused
        self.changed()

    def view(self) -> ConvexView:
        """Say what is true here now. Do not ask while holding a lock of the world: a function may want both."""
        since = self.last_push_ms or 0.0
        calls = [entry for entry in self.logs.entries() if entry.began_ms > since]
        rows = [row for row in self.audit.rows if row.action == "push_config_with_components"]
        return ConvexView(
            deployment=self.name,
            code=self.live.app.key,
            expected_code=self.expected_code,
            functions=tuple(sorted(self.live.functions)),
            paused=self.paused,
            variables=tuple(sorted(self.variables)),
            last_push_ms=None if self.last_push_ms is None else round(self.last_push_ms),
            pushes=tuple(Push(row.at_ms, row.metadata["message"], str(row.actor["kind"])) for row in rows),
            documents={name: self.storage.count(name) for name in self.storage.tables()},
            calls=len(calls),
            failed_calls=sum(entry.error is not None for entry in calls),
        )

    # --- for whoever watches -------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, int]:
        """What is another one after each change of data or state."""
        return self._changes, self.storage.version

    def changed(self) -> None:
        """Note that something other than data has changed."""
        self._changes += 1

    # --- by itself -----------------------------------------------------------------------------------------

    def at(self, after_s: float, happen: Callable[[], None]) -> None:
        """Let something happen some time from now."""
        self._agenda.append((self.now_ms() + after_s * 1000, happen))

    def _live_on(self) -> None:
        while not self._ended.wait(_TICK_S):
            due = [one for one in self._agenda if one[0] <= self.now_ms()]
            for one in due:
                self._agenda.remove(one)
                one[1]()
            if not self.paused:
                self._run_due()
                self._let_visit()

    def _run_due(self) -> None:
        """Run the scheduled functions whose time has come."""
        now_ms = self.now_ms()
        for row in self.storage.scan(Range(SCHEDULED), None, _AT_ONCE * 20):
            job = row.document
            if job["state"]["kind"] == "pending" and job["scheduledTime"] <= now_ms:
                self._run_job(job)

    def _run_job(self, job: dict[str, Any]) -> None:
        self.storage.replace(job["_id"], {**job, "state": {"kind": "inProgress"}})
        caller = Caller("scheduler", frozenset(ALL_ACTIONS))
        outcome = self.functions.call(
            job["name"].replace(".js:", ":"), job["args"][0], caller, origin=SCHEDULER
        )
        state = {"kind": "success"} if outcome.error is None else {"kind": "failed", "error": outcome.error}
        self.storage.replace(job["_id"], {**job, "state": state, "completedTime": self.now_ms()})

    def _let_visit(self) -> None:
        """Let visitors call what they call, each at its own pace."""
        now_ms = self.now_ms()
        for place, visitor in enumerate(self.visitors):
            if self._calling.get(place, 0.0) <= now_ms and not self._ended.is_set():
                self._calling[place] = now_ms + visitor.every_s * 1000
                self.functions.call(
                    visitor.path, json.loads(visitor.args), NOBODY, visitor.kind, "SyncWorker"
                )
