"""A backend with a past, for what procedure 2 decides: real clone, real clients, and a wire that answers in this process.

It tells what was pushed when, as Convex and Vercel do, and answers queries; it takes no push.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from app_repository import AppRepository
from backend_scenes import BACKEND_GIVEN
from conftest import BEGAN, FakeClock
from parameters_project import project
from rehearsal import QUIET
from runs import let_go

from rollback_lib.procedures import ConvexRollback
from rollback_lib.procedures.convex_search import BackendSearch
from rollback_lib.providers.push_words import push_message

__all__ = ["BackendPast"]

NAME = "happy-otter-123"


@dataclass
class BackendPast(httpx.BaseTransport):
    """What was pushed, and runs that look at it."""

    folder: Path
    patch: pytest.MonkeyPatch
    pushes: list[tuple[float, str]] = field(default_factory=list)  # minutes before now, message; oldest first
    builds: list[tuple[float, float, str]] = field(default_factory=list)  # begun and ready, minutes; sha
    logged: list[tuple[float, str]] | None = None  # what the audit log has of it; None: all
    log_kept: bool = True  # whether the plan has an audit log
    well: bool = True  # whether queries find what they should
    down: bool = False  # whether Convex answers at all
    variables: dict[str, str] | int = field(default_factory=dict)  # or the status of a refusal
    calls: list[dict[str, Any]] = field(default_factory=list)  # entries of the function log
    held_back: threading.Event | None = None  # what the function log waits for
    asked: list[str] = field(default_factory=list)
    _runs: list[ConvexRollback] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the project, the clone and the clock."""
        self.home, self.clock = project(self.folder), FakeClock()
        self.app = AppRepository.begin(self.folder / "app")
        self.patch.setenv("ROLLBACK_HOME", str(self.home))
        self.patch.setenv("CONVEX_DEPLOY_KEY", f"prod:{NAME}|2718281828")
        for name in ("VERCEL_TOKEN", "SLACK_BOT_TOKEN"):
            self.patch.setenv(name, f"{name.lower()}-2718281828")

    def commit(self, message: str, **files: str | None) -> str:
        """Commit files of the functions' folder, each by its name without ending."""
        return self.app.commit(message, {f"convex/{name}.ts": text for name, text in files.items()})

    def open(self, **given: Any) -> ConvexRollback:
        """Open a run in this world."""
        platform = given.pop("platform", {})
        convex = {"repository": str(self.app.folder), **platform.pop("convex", {})}
        named = {"platform": {"convex": convex, **platform}, "policy": {**QUIET, **given.pop("policy", {})}}
        run = ConvexRollback.open(BACKEND_GIVEN | named | given, clock=self.clock, transport=self)
        self._runs.append(run)
        return run

    def search(self, **given: Any) -> BackendSearch:
        """End the run before, open one of its own, and return what it decides with."""
        for run in self._runs[-1:]:
            if run.journal.last("run.closed") is None:
                run.abort("looked at")
        return BackendSearch(self.open(new_run=True, **given).session)

    def pushed(self, name: str, minutes: float, **given: Any) -> str:
        """Let a run push a commit and end, as its journal and Convex have it afterwards; return the run.

        Args:
            name: Its sha.
            minutes: Before now.
            given: Parameters of the run.
        """
        search = self.search(**given)
        journal, change = search.session.journal, {"name": "push the commit again", "gate": "P2.G1"}
        before = {"live": "", "target": name, "deployment": NAME}
        journal.append("effect.intent", step="P2.S4", data={**change, "before": before, "inverse": "none"})
        journal.append("effect.done", step="P2.S4", data={**change, "seen": "happened", "detail": "live"})
        self.pushes.append((minutes, push_message(name, search.session.incident, journal.run)))
        return str(journal.run)

    def close(self) -> None:
        """Let go of all runs."""
        for run in self._runs:
            let_go(run)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as Convex or Vercel does."""
        body = json.loads(request.read() or b"{}")
        told = str(body.get("path", "")) or request.url.path
        self.asked.append(told)
        if self.down and request.url.port in (7405, 7406):
            raise httpx.ConnectError("connection refused", request=request)
        status, answer = self._answer(told, request)
        return httpx.Response(status, json=answer)

    def _answer(self, told: str, request: httpx.Request) -> tuple[int, Any]:
        known = {
            "_system/frontend/deploymentEvents:lastPushEvent": self._last,
            "/api/v1/list_audit_log_events": self._log,
            "/v6/deployments": self._listed,
            "/api/v1/list_environment_variables": self._variables,
            "/api/stream_function_logs": lambda: self._called_since(float(request.url.params["cursor"])),
            "users:getUserByClerkId": self._found,
            "memberships:plans": self._found,
        }
        return known[told]() if told in known else (404, {"code": "NotFound", "message": f"no {told} here"})

    def _last(self) -> tuple[int, Any]:
        return 200, {"status": "success", "value": self._event(*self.pushes[-1]) if self.pushes else None}

    def _listed(self) -> tuple[int, Any]:
        return 200, {"deployments": [self._build(*build) for build in self.builds], "pagination": {}}

    def _variables(self) -> tuple[int, Any]:
        if isinstance(self.variables, int):
            return self.variables, {"code": "Forbidden", "message": "not for this key"}
        return 200, {"environmentVariables": self.variables}

    def _called_since(self, cursor: float) -> tuple[int, Any]:
        if self.held_back is not None:
            self.held_back.wait(30)
        found = [entry for entry in self.calls if entry["timestamp"] * 1000 > cursor]
        newest = max((entry["timestamp"] * 1000 for entry in found), default=cursor)
        return 200, {"entries": found, "newCursor": newest}

    def _found(self) -> tuple[int, Any]:
        value = {"_id": "u1", "email": "member@example.com"} if self.well else None
        return 200, {"status": "success", "value": value}

    def _log(self) -> tuple[int, Any]:
        if not self.log_kept:
            words = "Audit logs are not available on your plan."
            return 403, {"code": "AuditLogsDisabled", "message": words}
        kept = self.pushes if self.logged is None else self.logged
        return 200, {"items": [self._event(*push) for push in kept], "pagination": {"hasMore": False}}

    @staticmethod
    def _event(minutes: float, message: str) -> dict[str, Any]:
        return {
            "action": "push_config_with_components",
            "actor": {"kind": "token", "token_id": 7},
            "createTime": _ms(minutes),
            "metadata": {"message": message or None},
        }

    @staticmethod
    def _build(begun: float, ready: float, sha: str) -> dict[str, Any]:
        return {
            "uid": f"dpl_{sha[:8]}",
            "url": "app.vercel.drill",
            "target": "production",
            "readyState": "READY",
            "readySubstate": "PROMOTED",
            "createdAt": _ms(begun),
            "ready": _ms(ready),
            "meta": {"githubCommitSha": sha},
        }


def _ms(minutes: float) -> int:
    return round((BEGAN - timedelta(minutes=minutes)).timestamp() * 1000)
