"""The client, the repository and the official command line together, on the company's app and its simulated backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback_lib.clock import SystemClock
from rollback_lib.http import Limits
from rollback_lib.model import Answer, RequestClass, Sending
from rollback_lib.node import cache_folder, installed
from rollback_lib.parameters.platform import Convex
from rollback_lib.parameters.secrets import Secrets
from rollback_lib.providers.checkout import Checkout
from rollback_lib.providers.clients import convex_client
from rollback_lib.providers.convex import ConvexClient
from rollback_lib.providers.convex_cli import ConvexCli, Telling
from rollback_lib.providers.convex_facts import Audit
from rollback_lib.providers.convex_key import Credential
from rollback_lib.providers.repository import Repository
from rollback_lib.simulator import WorldSpec, serve
from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.code import PushedApp
from rollback_lib.simulator.convex.spec import ConvexSpec
from rollback_lib.simulator.convex_app import (
    CANARY,
    Documents,
    build_repository,
    prepared,
    seed_documents,
    variables,
)
from rollback_lib.simulator.convex_app.repository import History

LIMITS = Limits(10, 1, 30, 1, 10)


@dataclass
class Leave:
    """A pass for anything."""

    request_class: RequestClass = RequestClass.EFFECT

    def admit(self, sending: Sending) -> None:
        """Let it through."""

    def answered(self, sending: Sending, answer: Answer) -> None:
        """Forget it."""


@dataclass
class Company:
    """The company with the bad revision live, and all that a rollback needs."""

    backend: Backend
    history: History
    convex: ConvexClient
    cli: ConvexCli
    repository: Repository
    folder: Path
    began: datetime

    def checkout(self, role: str) -> Checkout:
        """Check out a revision, with its packages."""
        made = self.repository.checkout(self.history.commit(role).sha, self.folder / "out" / role)
        made.furnish(installed(made.folder, cache_folder()))
        return made


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Begin it; half an hour ago the bad revision went live."""
    spec = WorldSpec(convex=ConvexSpec(variables=variables(1)), history_s=60, older_deployments=3)
    with serve(spec) as serving:
        backend = serving.world.convex
        now_ms = round(backend.now_ms())
        live_ms = now_ms - 1_500_000
        history = build_repository(tmp_path / "app", now_ms, live_ms)
        backend.install(
            PushedApp.from_request(prepared("bad", cache_folder()).request), "bad push", at_ms=live_ms
        )
        wanted = Documents(2000, 1, now_ms, live_ms)
        seed_documents(wanted, backend.storage.insert_many)
        settings = Convex(
            url=serving.addresses["convex"],
            api_url=serving.addresses["convex_api"],
            deployment=backend.name,
            repository=str(history.folder),
        )
        key = serving.world.token("CONVEX_DEPLOY_KEY")
        secrets = Secrets.open("drill", tmp_path, {"CONVEX_DEPLOY_KEY": key}, None)
        clock = SystemClock()
        convex = convex_client(settings, secrets, clock, LIMITS)
        credential = Credential(secrets.get("CONVEX_DEPLOY_KEY"), "test")
        cli = ConvexCli(settings, credential, secrets.redactor, clock, tmp_path / "scratch")
        began = datetime.fromtimestamp(now_ms / 1000, UTC)
        yield Company(backend, history, convex, cli, Repository(history.folder), tmp_path, began)


def canary(company: Company) -> Any:
    """Look the canary up, as the plan's test does."""
    return company.convex.query("users:getUserByClerkId", {"clerkId": CANARY})


def test_deployment_and_what_is_live_are_read_as_they_are(company):
    """Identity, state, pushes, functions, schema, sizes, crons, waiting functions, variables, log."""
    convex, backend = company.convex, company.backend
    assert convex.identity().name == backend.name
    assert convex.state().running
    backend.set_paused(True)
    assert convex.state().name == "paused"
    assert convex.functions()
    assert "paused" in canary(company).error
    backend.set_paused(False)
    audit = convex.audit_log(company.began - timedelta(hours=1))
    assert isinstance(audit, Audit)
    assert [push.message for push in audit.pushes] == ["bad push"]
    assert convex.last_push() == audit.pushes[-1]
    assert {"checkIns:record", "users:getUserByClerkId"} <= {one.name for one in convex.functions()}
    sizes = {table.name: table.documents for table in convex.tables()}
    assert sizes["users"] > 100
    assert {name for name, _ in convex.schema().tables} <= set(sizes) | {"checkIns"}
    assert all(cron.function and cron.schedule for cron in convex.crons())
    assert convex.crons()
    assert convex.scheduled().complete
    assert set(convex.variables()) == set(variables(1))
    found = canary(company)
    assert (found.ok, found.value) == (False, None)
    now = datetime.fromtimestamp(backend.now_ms() / 1000, UTC)
    read = convex.executions(company.began, now + timedelta(seconds=1), deadline_s=5)
    assert read.failed >= 1
    assert read.functions[0].name == "users:getUserByClerkId"


def test_good_revision_pushed_again_is_live_and_heals_what_was_broken(company):
    """From its commit: the dry run tells what will be there, the push puts it there, and what is live shows it."""
    bad, good = company.checkout("bad"), company.checkout("good")
    was = company.cli.bundle(bad)
    wanted = company.cli.bundle(good)
    assert company.convex.live().runs(was.modules)
    assert not company.convex.live().runs(wanted.modules)
    dry = company.cli.dry_run(good, Leave(RequestClass.PREPARE), Telling())
    assert (dry.kind, dry.refusal) == ("done", None)
    assert company.convex.live().runs(was.modules)
    message = f"rollback to {good.sha}"
    done = company.cli.deploy(good, message, Leave(), Telling(company.folder / "push.log"))
    assert done.kind == "done", done.text
    assert company.convex.live().runs(wanted.modules)
    assert company.convex.last_push().message == message
    assert company.repository.mentioned(company.convex.last_push().message).sha == good.sha
    assert dry.analysis is not None
    assert company.convex.functions() == dry.analysis.functions
    assert company.convex.schema() == dry.analysis.schema
    assert tuple(cron.name for cron in company.convex.crons()) == dry.analysis.crons
    found = canary(company)
    assert (found.ok, found.lacks(["_id", "clerkId"])) == (True, ())


def test_revision_whose_schema_the_data_does_not_fit_is_refused_with_the_document(company):
    """By the older command line that its lockfile pins; nothing is changed."""
    narrow = company.checkout("narrow")
    assert company.repository.files(narrow.sha).convex_version == "1.42.3"
    before = company.convex.live()
    done = company.cli.dry_run(narrow, Leave(RequestClass.PREPARE), Telling())
    assert (done.kind, done.refusal.kind) == ("refused", "schema"), done.text
    assert done.refusal.table in {"users", "bookings"}
    assert done.refusal.document
    assert done.refusal.field
    assert "Object: (left out here" in done.text
    assert company.convex.live() == before


def test_commit_is_told_apart_by_what_its_build_does(company):
    """Each build on Vercel pushes the backend too."""
    files = company.repository.files(company.history.commit("good").sha)
    assert files.build_pushes
