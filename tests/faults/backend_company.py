"""A company whose backend is broken, served on loopback, and runs of procedure 2 in it, cell by cell in this process.

- The world is the simulator, the procedure the real class. The command line is the official one where a day asks for it
  (`official`), else one that sends the same requests and takes a tenth of the time (`quick_convex.js`).
- What the world has at the end is told by its own ledger and state, never by the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from backend_scenes import BACKEND_GIVEN
from repository import ROOT
from runs import let_go, lines_of
from standing_in import grow_old, stand_in, stand_in_for_the_pinned

from rollback_lib.drills.oracle import Case, Verdict, judge
from rollback_lib.errors import RollbackError
from rollback_lib.journal import Line
from rollback_lib.node import cache_folder
from rollback_lib.procedures import ConvexRollback
from rollback_lib.simulator import Serving, WorldSpec, serve
from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.code import Module, PushedApp
from rollback_lib.simulator.convex.spec import ConvexSpec
from rollback_lib.simulator.convex_app import prepared

__all__ = ["FINISH", "Company", "Day", "cells", "outcome_of"]

FINISH = "/api/deploy2/finish_push"
# Nothing but waiting is shortened; a busy machine has fewer visitors.
POLICY = {
    "min_requests": 3,
    "error_window_s": 2.5,
    "verify_deadline_s": 6,
    "observe_s": 1,
    "push_limit_s": 30,
    "push_deadline_s": 5,
    "request_timeout_s": 8,
    "read_deadline_s": 24,
}


Meanwhile = Callable[["Company"], None]


@dataclass(frozen=True)
class Day:
    """One bad day and its right end."""

    name: str
    error: type[RollbackError] | None  # what stops the run; None: nothing
    stops: str  # the cell in which it stops; empty: none
    outcome: str
    live: str  # the revision that the backend runs at the end, by its part in the past
    pushes: tuple[tuple[int | None, bool], ...] = ()  # our requests to put code live: status, applied
    convex: dict[str, Any] = field(default_factory=dict)
    world: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] | Callable[[Company], dict[str, Any]] = field(default_factory=dict)
    behaviour: dict[str, Any] = field(default_factory=dict)  # of the command line
    meanwhile: dict[str, Meanwhile] = field(default_factory=dict)  # right before a cell
    says: tuple[str, ...] = ()  # in what happened
    state: str = ""  # in the state
    next_step: str = ""  # in what to do next
    after: Callable[[Company, tuple[Line, ...]], None] | None = None  # what is looked at besides
    warns: tuple[str, ...] = ()  # each in some warning of the run
    quick: bool = False  # one of the few that are tried each time
    official: bool = False  # with the official command line


@dataclass
class Company:
    """One world at a time, and the runs in it."""

    folder: Path
    patch: pytest.MonkeyPatch
    official: bool = False
    behaviour: dict[str, Any] = field(default_factory=dict)  # of the command line that stands in
    seen: dict[str, str] = field(default_factory=dict)  # what a day keeps for its end
    _open: ExitStack = field(default_factory=ExitStack)

    def begin(self, *, convex: dict[str, Any] | None = None, **world: Any) -> None:
        """Serve a company whose last push broke its backend."""
        spec = WorldSpec(**{"history_s": 600, **world}, convex=ConvexSpec(live="bad", **(convex or {})))
        self.serving: Serving = self._open.enter_context(serve(spec, state=self.folder / "state"))
        for name, value in self.serving.variables.items():
            self.patch.setenv(name, value)
        self.patch.setenv("ROLLBACK_HOME", str(ROOT))
        bad = PushedApp.from_request(prepared("bad", cache_folder()).request)
        mended = replace(bad, modules=(*bad.modules, Module("hotfix.js", "export const mended = true;")))
        self.backend.releases["hotfix"] = mended  # nobody pushes it from a folder, so it needs no recording
        if not self.official:
            self._stand_in()

    def close(self) -> None:
        """End the world."""
        self._open.close()

    def open(self, **given: Any) -> ConvexRollback:
        """Open the notebook's procedure, headless."""
        return ConvexRollback.open(self.given(**given))

    def given(self, **given: Any) -> dict[str, Any]:
        """Return the parameters of a run in this world."""
        policy = {**POLICY, **given.pop("policy", {})}
        platform = json.loads(json.dumps(self.serving.platform)) | {"archive": str(self.folder / "incidents")}
        for name, part in given.pop("platform", {}).items():
            platform[name] = {**platform[name], **part}
        return {**BACKEND_GIVEN, "platform": platform, "policy": policy, **given}

    # What is true in the world

    @property
    def backend(self) -> Backend:
        """Return the deployment."""
        assert self.serving.world.convex is not None
        return self.serving.world.convex

    @property
    def repository(self) -> Path:
        """Return the app's clone."""
        return Path(self.serving.platform["convex"]["repository"])

    @property
    def live(self) -> str:
        """Name the revision that the backend runs, by its part in the past."""
        parts = {app.key: role for role, app in self.backend.releases.items()}
        parts |= {self.backend.code_of(self.sha(role)): role for role in ("good", "bad", "hotfix")}
        return parts.get(self.backend.live.app.key, "unknown")

    def sha(self, role: str) -> str:
        """Return the commit that plays a part."""
        return next(sha for sha, found in self.backend.commits.items() if found == role)

    @property
    def finishes(self) -> tuple[tuple[int | None, bool], ...]:
        """Return each request of ours that was to put code live: its status, and whether it did."""
        return tuple(
            (entry.status, entry.applied)
            for entry in self.serving.world.ledger.entries()
            if entry.path == FINISH
            and entry.caller != "colleague"
            and not (isinstance(entry.body, dict) and entry.body.get("dryRun"))
        )

    def asked(self, path: str) -> int:
        """Count the requests to a path."""
        return sum(entry.path == path for entry in self.serving.world.ledger.entries())

    # What the run left

    def judged(self, rollback: ConvexRollback) -> Verdict:
        """Let the outside judge of drills look at a run."""
        return judge(Case(self.serving.world, rollback.folder, ROOT, state=self.folder / "state"))

    lines = staticmethod(lines_of)
    let_go = staticmethod(let_go)

    # Below

    def _stand_in(self) -> None:
        """Put the other command line where the installed packages of the commits are kept, in a cache of its own."""
        own = self.folder / "cache"
        none = self.behaviour.get("packages") == "none"
        commits = {} if none else {role: self.sha(role) for role in ("good", "bad")}
        programs = stand_in(own, commits, self.behaviour)
        if self.behaviour.get("pinned"):
            stand_in_for_the_pinned(own, commits)
        self.patch.setenv("ROLLBACK_CACHE", str(own))
        if none or self.behaviour.get("network") == "none":
            self._no_packages()
        if self.behaviour.get("missing"):
            programs[-1].unlink()
        for program in programs if "old" in self.behaviour else ():
            grow_old(program, self.behaviour["old"])

    def _no_packages(self) -> None:
        """Leave npm without a cache and without a network."""
        for name, value in {
            "registry": "http://127.0.0.1:1/",
            "cache": str(self.folder / "npm"),
            "fetch_retries": "0",
        }.items():
            self.patch.setenv(f"npm_config_{name}", value)


def cells(rollback: ConvexRollback) -> dict[str, Callable[[], Any]]:
    """Return the notebook's cells by name, in their order."""
    seen: dict[str, Any] = {}

    def keeping(name: str, cell: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            seen[name] = cell()
            return seen[name]

        return run

    return {
        name: keeping(name, cell)
        for name, cell in {
            "access": rollback.access_dashboard,
            "list": rollback.go_to_deployments,
            "find": rollback.identify_stable_deployment,
            "rehearse": lambda: rollback.rehearse(seen["find"]),
            "gate": lambda: rollback.gate("P2.G1", seen["find"]),
            "push": lambda: rollback.roll_back(seen["find"]),
            "wait": lambda: rollback.wait(seen["find"], seen["push"]),
            "verify": lambda: rollback.verify_functions(seen["find"], seen["push"]),
            "query": rollback.test_queries,
            "close": rollback.close,
        }.items()
    }


def outcome_of(rollback: ConvexRollback) -> str:
    """Read the outcome from the record."""
    record = json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))
    return str(record["outcome"]["outcome"])
