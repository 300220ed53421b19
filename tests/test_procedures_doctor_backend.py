"""The doctor at Convex: each thing that would keep an earlier commit from being pushed again, and what cannot be seen."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from app_repository import AppRepository, lockfile
from conftest import FakeClock
from consultations import DOWN, Consultation

from rollback_lib.errors import BadParameters, ReadRefused, Unreachable
from rollback_lib.node import node_version
from rollback_lib.procedures.doctor import Finding
from rollback_lib.procedures.doctor.examining import all_checks
from rollback_lib.procedures.doctor.finding import Once, finding_of
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.providers.command_line import PINNED
from rollback_lib.providers.convex_facts import (
    Audit,
    AuditEvent,
    BackendState,
    Called,
    DeploymentIdentity,
    Function,
    NotAvailable,
)
from rollback_lib.providers.convex_logs import Executions
from rollback_lib.providers.repository import Repository

KEY = "prod:happy-otter-123|2718281828"
AT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
REFUSED = ReadRefused("convex: answered 403.", "Nothing was changed.", "Ask for leave.")
SILENT = Unreachable("convex: no answer.", "Nothing was changed.", "Try again.")


@dataclass
class Backend:
    """A deployment that answers what it is told to; an error is raised."""

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def answer(*_: Any) -> Any:
            self.asked.append(name)
            told = self.answers[name]
            if isinstance(told, Exception):
                raise told
            return told

        return answer


@dataclass
class Ward:
    """A project, its app's repository and its backend."""

    company: Consultation
    app: AppRepository
    sha: str
    backend: Backend

    def titles(self) -> list[str]:
        """List the checks of the subject."""
        return [title for title, _ in self._checks(Readings(self.company.given()))]

    def told(self, title: str, **answers: Any) -> tuple[str, str, str]:
        """Make one check with some answers replaced; give its three words."""
        found = self.look(title, **answers)
        return found.status.value, found.seen, found.todo

    def look(
        self, title: str, environment: str = "drill", environ: dict[str, str] | None = None, **answers: Any
    ) -> Finding:
        """Make one check with some answers replaced."""
        readings = Readings(self.company.given(environ=environ or {}))
        told = Backend(self.backend.answers | answers)
        readings.clients = Once("Secrets: file", lambda: SimpleNamespace(convex=told))  # type: ignore[arg-type]
        checks = dict(self._checks(readings))
        if environment != "drill":
            readings.given = self.company.given(environment=environment)
        try:
            return checks[title].look(readings)
        except Exception as exc:  # noqa: BLE001 - what the doctor makes of it is what is tested
            return finding_of(exc, checks[title].if_refused, DOWN)

    def _checks(self, readings: Readings) -> list[tuple[str, Any]]:
        return [(check.title, check) for check in all_checks(readings) if check.subject == "Convex"]


@pytest.fixture
def ward(tmp_path: Path, clock: FakeClock) -> Ward:
    """A deployment with nothing wrong, whose last push named the newest commit."""
    company = Consultation(tmp_path, clock)
    company.write_secrets(CONVEX_DEPLOY_KEY=KEY)
    app = AppRepository.begin(company.home / ".rollback" / "convex-app")
    sha = app.commit(
        "Name the trainer",
        {
            "package-lock.json": lockfile(convex="1.48.0"),
            "convex/users.ts": "export const a = process.env.CLERK_KEY;\n",
        },
    )
    pushed = AuditEvent("push_config_with_components", AT, "token 7", f"Deployed from Vercel • {sha[:7]}")
    answers = {
        "identity": DeploymentIdentity(
            "happy-otter-123", "cloud", "prod", 1, "derrimut", "http://127.0.0.1:7405", ""
        ),
        "state": BackendState("running", ""),
        "last_push": pushed,
        "audit_log": Audit(AT, (pushed,)),
        "functions": (Function("users:list", "Query", True, ""),),
        "executions": Executions(AT, AT, 12, 0, (), (), complete=True, note=""),
        "variables": ("CLERK_KEY", "OTHER"),
        "query": Called("users:getUserByClerkId", ok=True, value={"_id": "1", "email": "a"}),
    }
    return Ward(company, app, sha, Backend(answers))


def test_sound_deployment_is_fine(ward: Ward) -> None:
    """Each thing is seen; what cannot be seen, and what is not installed here, is said."""
    found = {title: ward.told(title) for title in ward.titles()}
    states = {title: told[0] for title, told in found.items()}
    assert states.pop("leave to push") == "not checked"
    assert states.pop("command line") == "warning"
    assert set(states.values()) == {"ok"}
    assert len(states) == 10
    assert "happy-otter-123 (prod)" in found["deploy key"][1]
    assert ward.sha[:12] in found["last push"][1]
    assert "1 pushes" in found["audit log"][1]
    assert "convex 1.48.0" in found["command line"][1]
    assert KEY.partition("|")[2] not in str(found)


def test_environment_without_a_backend_says_so_and_asks_nothing(ward: Ward) -> None:
    """Neither a drill without its backend nor parameters without one make a rollback of the frontend look broken."""
    ward.company.write_secrets()
    assert ward.titles() == ["deployment"]
    assert ward.told("deployment")[0] == "not checked"
    assert "--backend" in ward.told("deployment")[1]
    text = (ward.company.home / "parameters" / "drill.yaml").read_text(encoding="utf-8")
    begin, end = text.index("  convex:"), text.index("  archive:")
    ward.company.edit("drill.yaml", text[begin:end], "")
    assert "platform.convex" in ward.told("deployment")[1]


def test_key_that_leads_elsewhere_is_wrong_and_hides_what_needs_it(ward: Ward) -> None:
    """What builds on it names it, and asks nothing."""
    other = BadParameters(
        "The deploy key leads to another deployment.", "Nothing was sent.", "Set the right one."
    )
    assert ward.told("deploy key", identity=other) == ("wrong", other.happened, "Set the right one.")
    for title in ("state", "last push", "audit log", "functions", "function log", "variables", "canary"):
        found = ward.look(title, identity=other)
        assert (found.status, found.after) == ("unknown", "Convex: deploy key")


def test_key_of_another_kind_is_wrong_in_production(ward: Ward) -> None:
    """A development deployment is no production."""
    dev = DeploymentIdentity("happy-otter-123", "cloud", "dev", 1, "derrimut", "https://a.convex.cloud", "")
    assert ward.look("deploy key", environment="production", identity=dev).status == "wrong"
    assert ward.look("deploy key", environment="staging", identity=dev).status == "ok"


@pytest.mark.parametrize(
    ("title", "answers", "status", "words"),
    [
        ("deploy key", {"identity": SILENT}, "unknown", "no answer"),
        ("state", {"state": BackendState("paused", "paused by a person")}, "wrong", "no function answers"),
        ("last push", {"last_push": None}, "wrong", "nothing was ever pushed"),
        (
            "last push",
            {"last_push": AuditEvent("push_config", AT, "member 3", "")},
            "warning",
            "without a message",
        ),
        (
            "last push",
            {"last_push": AuditEvent("push_config", AT, "member 3", "by hand")},
            "warning",
            "no commit",
        ),
        (
            "audit log",
            {"audit_log": NotAvailable("AuditLogsDisabled", "on no paid plan")},
            "warning",
            "no paid plan",
        ),
        ("audit log", {"audit_log": NotAvailable("AuditLogsTooOld", "too old", 7)}, "ok", "7 days"),
        ("functions", {"functions": ()}, "wrong", "none is live"),
        ("functions", {"functions": REFUSED}, "wrong", "403"),
        (
            "function log",
            {"executions": Executions(AT, AT, 0, 0, (), (), False, "it was silent")},
            "unknown",
            "silent",
        ),
        ("function log", {"executions": REFUSED}, "wrong", "403"),
        ("variables", {"variables": ("OTHER",)}, "warning", "CLERK_KEY"),
        ("variables", {"variables": REFUSED}, "wrong", "403"),
        ("canary", {"query": Called("users:getUserByClerkId", ok=True)}, "wrong", "nobody was found"),
        ("canary", {"query": Called("a", ok=True, value={"_id": 1})}, "wrong", "without email"),
        (
            "canary",
            {"query": Called("a", ok=False, error="Server Error\nat line 3")},
            "unknown",
            "fails: Server Error",
        ),
        ("query memberships:plans", {"query": SILENT}, "unknown", "no answer"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(
    ward: Ward, title: str, answers: dict[str, Any], status: str, words: str
) -> None:
    """Each by its own check, with what to do about it."""
    found = ward.told(title, **answers)
    assert found[0] == status
    assert words in found[1]
    assert found[2] or status == "ok"


def test_repository_that_cannot_serve_is_wrong(ward: Ward, tmp_path: Path) -> None:
    """A shallow clone, one that is not there, a branch that is not."""
    ward.app.commit("Another", {"a.txt": "a"})
    shallow = tmp_path / "shallow"
    ward.app.git("clone", "--quiet", "--depth=1", f"file://{ward.app.folder}", str(shallow))
    ward.company.edit("drill.yaml", ".rollback/convex-app", str(shallow))
    assert "--unshallow" in ward.told("app's repository")[2]
    ward.company.edit("drill.yaml", str(shallow), str(ward.app.folder) + "\n    branch: release")
    assert ward.told("app's repository")[0] == "wrong"
    ward.company.edit("drill.yaml", str(ward.app.folder), str(tmp_path / "nowhere"))
    assert ward.told("app's repository")[0] == "wrong"
    assert ward.look("variables").after == "Convex: app's repository"


def test_packages_on_this_machine_are_seen(ward: Ward, tmp_path: Path) -> None:
    """Whether a push would need a network is told by the cache; a branch without a lockfile cannot be pushed."""
    environ = {"ROLLBACK_CACHE": str(tmp_path / "cache")}
    assert ward.look("command line", environ=environ).status == "warning"
    install(tmp_path / "cache", Repository(ward.app.folder).files(ward.sha).lockfile_sha256)
    assert ward.look("command line", environ=environ).status == "ok"
    ward.app.commit("No lockfile", {"package-lock.json": None})
    assert ward.look("command line", environ=environ).status == "wrong"


def test_command_line_that_is_too_old_needs_the_pinned_one_on_this_machine(
    ward: Ward, tmp_path: Path
) -> None:
    """Else the night needs a network for it."""
    sha = ward.app.commit("Old", {"package-lock.json": lockfile(convex="1.35.2")})
    environ = {"ROLLBACK_CACHE": str(tmp_path / "cache")}
    install(tmp_path / "cache", Repository(ward.app.folder).files(sha).lockfile_sha256)
    told = ward.look("command line", environ=environ)
    assert (told.status, "the pinned one, which does, is not on this machine" in told.seen) == (
        "warning",
        True,
    )
    pinned = (PINNED / "package-lock.json").read_bytes()
    install(tmp_path / "cache", hashlib.sha256(pinned).hexdigest())
    assert ward.look("command line", environ=environ).status == "ok"


def install(cache: Path, lockfile_sha256: str) -> None:
    """Let packages be on this machine."""
    machine = f"{sys.platform}-{platform.machine().lower()}"
    kept = cache / "node_modules" / f"{lockfile_sha256}-node{node_version()}-{machine}" / "node_modules"
    kept.mkdir(parents=True)
    (kept / ".package-lock.json").touch()


def test_what_a_function_says_is_left_out_where_it_may_hold_a_variable(ward: Ward) -> None:
    """The variables are read first; what they hold is not known where they cannot be."""
    fails = Called("users:getUserByClerkId", ok=False, error="mail refused key 2718281828")
    told = ward.told("canary", query=fails, variables=REFUSED)
    assert "is left out, for what the variables hold is not known" in told[1]
    assert "2718281828" not in str(told)
    assert "mail refused key" in ward.told("canary", query=fails)[1]


def test_no_canary_is_a_warning(ward: Ward) -> None:
    """The plan's query would stay unchecked."""
    line = (
        '    canary: {path: "users:getUserByClerkId", args: {clerkId: test_user_id}, fields: [_id, email]}\n'
    )
    ward.company.edit("drill.yaml", line, "")
    assert ward.told("canary")[0] == "warning"
