"""The official command line, as it really is, pushing to a stand-in: what it sends, what is read from it, what is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import convex_stub
import pytest
from app_repository import AppRepository
from convex_stub import KEY, NAME, VALUE, ConvexStub
from http_fakes import Pass
from pydantic import SecretStr

from rollback_lib.clock import SystemClock
from rollback_lib.consent.gates import Ask
from rollback_lib.errors import BadParameters, JournalError, LeaseHeld, PlanViolation, Unreachable
from rollback_lib.model import GateId, Redactor, RequestClass
from rollback_lib.node import cache_folder, installed
from rollback_lib.providers.checkout import Checkout
from rollback_lib.providers.command_line import command_line
from rollback_lib.providers.convex_cli import ConvexCli, Telling, cli_path, push_arguments
from rollback_lib.providers.convex_facts import Live
from rollback_lib.providers.convex_key import Credential
from rollback_lib.providers.repository import Repository

APP = Path(__file__).with_name("convex_app")
PREPARE = RequestClass.PREPARE
CODE = "/api/deploy2/"
VIOLATION = (
    'Document with ID "j57abc" in table "users" does not match the schema: Object is missing the required field '
    "`email`. Consider wrapping the field validator in `v.optional(...)` if this is expected.\n\n"
    'Object: {name: "Ana Secretperson"}\nValidator: v.object({email: v.string(), name: v.string()})'
)


@dataclass(frozen=True)
class Settings:
    """Which deployment."""

    url: str
    api_url: str
    deployment: str = NAME


@dataclass
class Scene:
    """A commit, a deployment and the command line between them."""

    stub: ConvexStub
    cli: ConvexCli
    checkout: Checkout
    repository: Repository
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """What the push is called."""
        return f"rollback to {self.checkout.sha} (INC-1?)"

    def deploy(self, permit: Pass | None = None, **more: Any) -> Any:
        """Push, with a pass for it."""
        telling = Telling(self.folder / "push.log", self.lines.append)
        given = {"message": self.message, "permit": permit or Pass(), "telling": telling} | more
        return self.cli.deploy(self.checkout, **given)

    def dry_run(self, permit: Pass | None = None) -> Any:
        """Ask whether it would be taken."""
        telling = Telling(self.folder / "dry.log", self.lines.append)
        return self.cli.dry_run(self.checkout, permit or Pass(PREPARE), telling)

    def kept(self) -> str:
        """Everything that a run leaves on disk, the app's own files aside."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        left = [path for path in files if not path.is_relative_to(self.checkout.folder)]
        return "\n".join(path.read_text(errors="replace") for path in left if ".git" not in path.parts)


@pytest.fixture(scope="session")
def packages() -> Path:
    """The command line, installed by its lockfile; kept in the machine's cache between runs."""
    return installed(APP, cache_folder())


@pytest.fixture
def stub() -> Iterator[ConvexStub]:
    """A deployment that takes everything."""
    with ConvexStub().serving() as serving:
        yield serving


@pytest.fixture
def scene(stub: ConvexStub, packages: Path, tmp_path: Path) -> Scene:
    """An app of one commit, checked out and furnished."""
    return made(stub, packages, tmp_path)


def made(stub: ConvexStub, packages: Path, folder: Path, key: str = KEY, **environ: str) -> Scene:
    """Make a scene in a folder."""
    app = AppRepository.begin(folder / "app")
    files = {str(path.relative_to(APP)): path.read_text() for path in APP.rglob("*") if path.is_file()}
    sha = app.commit("an app", {name: text for name, text in files.items() if "node_modules" not in name})
    repository = Repository(app.folder)
    checkout = repository.checkout(sha, folder / "out" / "checkout")
    checkout.furnish(packages)
    redactor = Redactor()
    redactor.learn([key, key.partition("|")[2], VALUE])
    credential = Credential(SecretStr(key), "environment variable CONVEX_DEPLOY_KEY")
    settings = Settings(stub.address, stub.address)
    cli = ConvexCli(settings, credential, redactor, SystemClock(), folder / "scratch", environ=environ)
    return Scene(stub, cli, checkout, repository, folder)


# A push


def test_push_of_a_commit_sends_its_code_and_its_message(scene):
    """With the official client's own requests; written down before and after."""
    permit = Pass()
    done = scene.deploy(permit)
    assert (done.kind, done.code, done.refusal) == ("done", 0, None)
    assert done.ending == f"Deployed Convex functions to {scene.stub.address}"
    pushed = scene.stub.last(CODE + "start_push").json()
    assert pushed["dryRun"] is False
    assert [module["path"] for module in pushed["appDefinition"]["changedModules"]] == ["users.js"]
    finished = scene.stub.last(CODE + "finish_push").json()
    assert (finished["message"], finished["dryRun"]) == (scene.message, False)
    assert permit.order == ["admit", "answered"]
    assert permit.kinds == ["accepted"]
    (sending,) = permit.sendings
    assert (sending.service, sending.method, sending.request_class) == ("convex", "CLI", RequestClass.EFFECT)
    assert sending.path.startswith("convex deploy --typecheck disable --message rollback%20to%20")
    assert scene.checkout.sha in sending.path
    assert scene.lines == done.text.splitlines()
    assert (scene.folder / "push.log").read_text() == done.text + "\n"


def test_gate_that_names_a_push_lets_that_push_through_and_no_other(scene):
    """Its message names the commit; a question mark in it hides nothing."""
    permit = Pass()
    scene.deploy(permit)
    (sending,) = permit.sendings

    def lets_through(message: str) -> bool:
        named = f"CLI {cli_path(push_arguments(message))}"
        ask = Ask(GateId("P2.G1"), "t", "drill", {}, {}, (), NAME, (named,))
        return ask.lets_through(sending)

    assert lets_through(scene.message)
    assert not lets_through(scene.message.replace("INC-1", "INC-2"))
    assert not lets_through(scene.message.replace(scene.checkout.sha, "0" * 40))


def test_dry_run_changes_nothing_and_tells_what_convex_found(scene):
    """Functions and schema of the commit, as Convex analysed them; the pass for harmless changes is enough."""
    permit = Pass(PREPARE)
    done = scene.dry_run(permit)
    assert (done.kind, permit.kinds) == ("done", ["accepted"])
    assert scene.stub.last(CODE + "start_push").json()["dryRun"] is True
    assert scene.stub.last(CODE + "finish_push").json()["dryRun"] is True
    assert permit.sendings[0].request_class is PREPARE
    found = done.analysis
    assert found is not None
    assert [(one.name, one.type, one.public) for one in found.functions] == [("users:list", "Query", True)]
    assert [name for name, _ in found.schema.tables] == ["users"]
    assert (found.crons, found.components) == ((), False)
    assert "startPush" not in done.text
    assert "(left out here: what Convex answered to the push)" in done.text


def test_bundle_is_what_a_push_then_sends(scene):
    """So that what is live can be compared with a commit, whoever pushed it."""
    bundle = scene.cli.bundle(scene.checkout)
    assert (bundle.sha, bundle.version) == (scene.checkout.sha, "1.48.0")
    assert [module.path for module in bundle.modules] == ["users.js"]
    assert CODE + "start_push" not in scene.stub.paths
    hashes = [
        {"path": one.path, "environment": one.environment, "hash": one.sha256} for one in bundle.modules
    ]
    scene.stub.answers("/api/get_config_hashes", (200, convex_stub._HASHES | {"moduleHashes": hashes}))
    scene.deploy()
    pushed = scene.stub.last(CODE + "start_push").json()["appDefinition"]
    assert pushed["changedModules"] == []
    assert [one["sha256"] for one in pushed["unchangedModuleHashes"]] == [
        one.sha256 for one in bundle.modules
    ]
    assert scene.cli.bundle(scene.checkout) == bundle
    assert Live(bundle.modules, "").runs(bundle.modules)
    assert "2718281828" not in scene.kept()


def test_bundle_holds_no_path_of_this_machine_and_is_the_same_elsewhere(scene, packages, stub, tmp_path):
    """What another machine made of the same commit is recognised."""
    scene.deploy()
    pushed = json.dumps(scene.stub.last(CODE + "start_push").json()["appDefinition"])
    assert str(packages) not in pushed
    assert "../node_modules/convex/" in pushed
    other = made(stub, packages, tmp_path / "another" / "deeper")
    assert other.cli.bundle(other.checkout).modules == scene.cli.bundle(scene.checkout).modules


# What keeps it from being sent


@pytest.mark.parametrize(("permit", "words"), [(None, "without leave"), (Pass(PREPARE), "for prepare only")])
def test_push_without_a_strong_enough_pass_is_not_begun(scene, permit, words):
    """The gate alone gives it."""
    with pytest.raises(PlanViolation, match=words):
        scene.cli.deploy(scene.checkout, scene.message, permit, Telling())
    assert scene.stub.seen == []


def test_push_that_cannot_be_written_down_is_not_begun(scene):
    """Nothing leaves before its line is on disk."""
    with pytest.raises(JournalError):
        scene.deploy(Pass(refuse=JournalError("a", "b", "c")))
    assert scene.stub.seen == []
    assert scene.cli.left() is None


def test_folder_that_is_not_the_commit_is_not_pushed(scene):
    """Somebody worked in it."""
    (scene.checkout.folder / "convex" / "users.ts").write_text("export const other = 1;\n")
    with pytest.raises(PlanViolation, match=r"convex/users\.ts"):
        scene.deploy()
    assert scene.stub.seen == []


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("rollback", PlanViolation),
        ("{sha} " + "é" * 512, BadParameters),
        ("{sha}\nsecond line", BadParameters),
    ],
)
def test_message_that_does_not_serve_is_not_sent(scene, message, error):
    """It names the commit, and Convex takes it."""
    with pytest.raises(error, match="message of the push"):
        scene.deploy(message=message.replace("{sha}", scene.checkout.sha))
    assert scene.stub.seen == []


def test_key_of_another_deployment_is_not_used(stub, packages, tmp_path):
    """It says so itself."""
    other = made(stub, packages, tmp_path, key="prod:cold-fox-9|2718281828deploykey")
    with pytest.raises(BadParameters, match="cold-fox-9"):
        other.deploy()
    assert stub.seen == []


def test_commit_without_a_command_line_is_pushed_by_the_pinned_one(scene):
    """With the commit's own library; what it sends is what its own would have sent."""
    own = scene.cli.bundle(scene.checkout)
    (scene.checkout.folder / "node_modules" / "convex" / "bin" / "main.js").unlink()
    assert command_line(scene.checkout, "").instead
    assert scene.cli.bundle(scene.checkout).modules == own.modules
    assert (scene.dry_run().kind, scene.deploy().kind) == ("done", "done")
    assert scene.stub.paths.count(CODE + "finish_push") == 2


# What it says when it is refused


def refused(code: str, message: str, status: int = 400) -> convex_stub.Answer:
    """Answer like Convex."""
    return status, {"code": code, "message": message}


def evaluated(**index: Any) -> convex_stub.Answer:
    """Answer with what a push would do to an index."""
    told = {
        "name": "users.by_x",
        "type": "database",
        "fields": ["x"],
        "needsBackfill": True,
        "numDocs": 5_000_000,
    }
    component = {"definitionPath": "", "schemaValidation": True, "tables": [], "indexes": [told | index]}
    return 200, {"componentSchemaEvaluations": {"": component}, "newComponentDefinitions": []}


@pytest.mark.parametrize(
    ("path", "answer", "kind", "seen"),
    [
        pytest.param(
            "start_push",
            refused(
                "MissingEnvironmentVariables",
                "Some declared variables are not set: OPENAI_KEY, STRIPE. Set them.",
            ),
            "variables",
            {"names": ("OPENAI_KEY", "STRIPE")},
            id="variables",
        ),
        pytest.param(
            "start_push",
            refused(
                "AuthConfigMissingEnvironmentVariable",
                "Environment variable CLERK_ISSUER is used in auth config",
            ),
            "variables",
            {"names": ("CLERK_ISSUER",)},
            id="variable of the auth config",
        ),
        pytest.param("wait_for_schema", (200, {"type": "raceDetected"}), "race", {}, id="race"),
        pytest.param("start_push", refused("ConcurrentPush", "x"), "concurrent", {}, id="concurrent"),
        pytest.param(
            "start_push",
            refused(
                "Forbidden", "You do not have permission to perform this operation (deployment:deploy).", 403
            ),
            "permission",
            {"names": ("deployment:deploy",)},
            id="permission",
        ),
        pytest.param(
            "start_push",
            refused("BadDeployKey", "The provided deploy key was invalid for deployment 'x'.", 403),
            "key",
            {},
            id="key of another",
        ),
        pytest.param(
            "start_push",
            refused("BadAdminKey", "The provided admin key was invalid for this instance", 401),
            "key",
            {"code": "BadAdminKey"},
            id="bad key",
        ),
        pytest.param(
            "start_push",
            refused("InvalidModules", "Hit an error while pushing:\nLoading the pushed modules failed"),
            "other",
            {"code": "InvalidModules"},
            id="modules",
        ),
        pytest.param(
            "evaluate_schema",
            evaluated(change="dropped"),
            "prompt",
            {"flag": "--skip-large-indexes-check"},
            id="index",
        ),
    ],
)
def test_refusal_is_read_and_nothing_was_changed(scene, path, answer, kind, seen):
    """Each in Convex's own words; the pass is told that it was refused."""
    scene.stub.answers(CODE + path, answer)
    permit = Pass()
    done = scene.deploy(permit)
    assert (done.kind, done.code, done.refusal.kind, permit.kinds) == ("refused", 1, kind, ["refused"])
    assert {name: getattr(done.refusal, name) for name in seen} == seen
    assert CODE + "finish_push" not in scene.stub.paths


def test_question_that_a_person_has_answered_is_not_asked(scene):
    """By the flag that the refusal names; it stands in what the gate lets through."""
    scene.stub.answers(CODE + "evaluate_schema", evaluated(change="dropped"))
    permit = Pass()
    done = scene.deploy(permit, allow=("--skip-large-indexes-check",))
    assert done.kind == "done"
    assert "users.by_x" in done.text
    assert "--skip-large-indexes-check" in permit.sendings[0].path


def test_document_that_does_not_match_is_named_and_its_content_is_not(scene):
    """Table, id, field and reason; what stands in it is somebody's."""
    scene.stub.answers(
        CODE + "wait_for_schema",
        (
            200,
            {
                "type": "inProgress",
                "components": {
                    "": {"schemaValidationComplete": False, "indexesComplete": 0, "indexesTotal": 2}
                },
            },
        ),
        (200, {"type": "failed", "error": VIOLATION, "componentPath": "", "tableName": "users"}),
    )
    done = scene.dry_run()
    found = done.refusal
    assert (done.kind, found.kind) == ("refused", "schema")
    assert (found.table, found.document, found.field) == ("users", "j57abc", "email")
    assert found.why.startswith("Object is missing the required field `email`.")
    assert "Backfilling indexes (0/2 ready)" in done.text
    assert "Secretperson" not in done.text + found.words + scene.kept()
    assert "Object: (left out here: a document's content)" in done.text
    assert "Validator: v.object({email: v.string(), name: v.string()})" in done.text


def test_control_plane_that_does_not_know_the_key_refuses_it(scene):
    """Before the deployment is asked."""
    scene.stub.answers("/api/deployment/url_for_key", refused("InvalidDeployKey", "bad", 401))
    done = scene.dry_run()
    assert (done.kind, done.refusal.kind) == ("refused", "key")
    assert scene.stub.paths == ["/api/deployment/url_for_key"]
    with pytest.raises(Unreachable, match="did not make the code"):
        scene.cli.bundle(scene.checkout)


# When it is not known what it has done


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([(500, {"code": "InternalServerError", "message": "Try again later."})], id="500"),
        pytest.param([(0, None), refused("ConcurrentPush", "x")], id="lost, then refused"),
        pytest.param([refused("RaceDetected", "Environment variables have changed during push")], id="race"),
    ],
)
def test_end_behind_the_last_request_is_unclear(scene, answers):
    """A lost answer makes it send again: exit code 1 is no proof that nothing changed, whatever was answered last."""
    scene.stub.answers(CODE + "finish_push", *answers)
    permit = Pass()
    done = scene.deploy(permit)
    assert (done.kind, done.code, permit.kinds) == ("unclear", 1, ["unclear"])
    assert scene.stub.paths.count(CODE + "finish_push") == len(answers)


def test_dry_run_that_fails_at_its_end_has_failed(scene):
    """There is nothing that could have happened."""
    scene.stub.answers(CODE + "finish_push", (500, {"code": "InternalServerError", "message": "x"}))
    assert scene.dry_run().kind == "failed"


def test_push_that_takes_too_long_is_ended_and_unclear(scene):
    """Its last request hung."""
    held = Held()
    scene.stub.answers(CODE + "finish_push", held)
    done = scene.deploy(most_s=held.after(scene, 8))
    held.go_on = True
    assert (done.kind, done.code, done.timed_out) == ("unclear", None, True)
    assert scene.cli.left() is None


def test_push_whose_run_must_not_go_on_is_ended_and_unclear(scene):
    """The lease was lost: what is asked each second goes up, and the journal has an answer."""
    held = Held()
    scene.stub.answers(CODE + "start_push", held)

    def keep() -> None:
        if held.reached:
            raise LeaseHeld("somebody else", "b", "c")

    permit = Pass()
    with pytest.raises(LeaseHeld, match="somebody else"):
        scene.deploy(permit, telling=Telling(scene.folder / "push.log", keep=keep))
    held.go_on = True
    assert permit.kinds == ["unclear"]
    assert "Deploying code to deployment" in (scene.folder / "push.log").read_text()
    assert scene.cli.left() is None


@pytest.mark.parametrize("wanted", ["push", "dry run", "bundle"])
def test_interrupt_while_the_command_line_begins_ends_it_and_is_unclear(scene, monkeypatch, wanted):
    """It is a process by then, though nobody knows its number: left alone it would push, and the journal would say not sent."""
    begin = subprocess.Popen.__init__
    begun: list[int] = []

    def interrupted(self: Any, args: Any, *more: Any, **named: Any) -> None:
        begin(self, args, *more, **named)
        if args[0] == "/bin/sh":
            begun.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess.Popen, "__init__", interrupted)
    permit = Pass()
    with pytest.raises(KeyboardInterrupt):
        {
            "push": lambda: scene.deploy(permit),
            "dry run": lambda: scene.dry_run(permit),
            "bundle": lambda: scene.cli.bundle(scene.checkout),
        }[wanted]()
    assert len(begun) == 1
    assert permit.kinds == ([] if wanted == "bundle" else ["unclear"])
    assert (scene.cli.left(), CODE + "finish_push" in scene.stub.paths) == (None, False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@dataclass
class Held:
    """An answer that waits."""

    answer: convex_stub.Answer = (200, convex_stub._FINISHED)
    reached: bool = False
    go_on: bool = False

    def __call__(self) -> convex_stub.Answer:
        self.reached = True
        deadline = time.monotonic() + 30
        while not self.go_on and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.answer

    def after(self, scene: Scene, seconds: float) -> float:
        """Return for how long to let it run: long enough to get here on this machine, measured by a dry run."""
        began = time.monotonic()
        self.go_on = True
        scene.dry_run()
        self.go_on = self.reached = False
        return (time.monotonic() - began) * 2 + seconds / 2


# If we are killed

KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from pydantic import SecretStr
from http_fakes import Pass
from test_providers_convex_cli import Settings
from rollback_lib.clock import SystemClock
from rollback_lib.model import Redactor
from rollback_lib.providers.checkout import Checkout
from rollback_lib.providers.convex_cli import ConvexCli, Telling
from rollback_lib.providers.convex_key import Credential
credential = Credential(SecretStr({key!r}), "test")
cli = ConvexCli(Settings({url!r}, {url!r}), credential, Redactor(), SystemClock(), Path({scratch!r}))
cli.deploy(Checkout(Path({folder!r}), {sha!r}), {message!r}, Pass(), Telling())
"""


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(None, "done"), (refused("ConcurrentPush", "x"), "unclear"), ("ended", "unclear")],
    ids=["goes through", "is refused", "is ended"],
)
def test_push_outlives_a_killed_run_and_is_found_by_the_next(scene, answer, kind):
    """After a SIGKILL at the worst moment: nothing else is begun, and what became of it is read."""
    held = Held()
    scene.stub.answers(CODE + "finish_push", held)
    told = {"tests": str(APP.parent), "key": KEY, "url": scene.stub.address, "sha": scene.checkout.sha}
    told |= {"scratch": str(scene.folder / "scratch"), "folder": str(scene.checkout.folder)}
    script = KILLED.format(**told, message=scene.message)
    environ = os.environ | {"PYTHONPATH": str(APP.parent.parent)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environ)
    _eventually(lambda: held.reached, parent)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    orphan = scene.cli.left()
    assert orphan is not None
    assert (orphan.running, orphan.dry, orphan.sha, orphan.result) == (True, False, scene.checkout.sha, None)
    assert scene.message in orphan.arguments
    with pytest.raises(LeaseHeld, match="convex deploy is still running"):
        scene.dry_run()
    assert scene.cli.await_end(0.1) is False
    if answer == "ended":
        assert scene.cli.end()
    if isinstance(answer, tuple):
        held.answer = answer
    held.go_on = True
    assert scene.cli.await_end(30)
    orphan = scene.cli.left()
    assert orphan is not None
    assert orphan.result is not None
    assert (orphan.running, orphan.result.kind) == (False, kind)
    assert KEY not in orphan.result.text
    scene.cli.clear()
    assert scene.cli.left() is None
    assert scene.stub.paths.count(CODE + "finish_push") == 1


def _eventually(seen: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)


# What it is given and what it leaves


def test_command_line_gets_nothing_of_our_environment(scene, monkeypatch):
    """No login, no other deployment, no build platform's word, no proxy on loopback; the repository's own file is not heeded."""
    for name, text in {
        "CONVEX_DEPLOYMENT": "prod:cold-fox-9",
        "CONVEX_SELF_HOSTED_URL": "http://127.0.0.1:9",
        "VERCEL": "1",
        "VERCEL_ENV": "preview",
        "NODE_OPTIONS": "--require /nowhere.js",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(scene.cli, "_environ", dict(os.environ))
    (scene.checkout.folder / ".git" / "info" / "exclude").write_text("node_modules\n.env.local\n")
    (scene.checkout.folder / ".env.local").write_text(
        "CONVEX_DEPLOY_KEY=prod:cold-fox-9|x\nCONVEX_URL=http://x\n"
    )
    assert scene.deploy().kind == "done"
    assert {one.headers.get("authorization") for one in scene.stub.seen} <= {
        f"Bearer {KEY}",
        f"Convex {KEY}",
        None,
    }


def test_proxy_and_certificates_are_passed_on_where_it_goes_out(stub, packages, tmp_path):
    """Outside drills the way out may lead through one."""
    told = {"HTTPS_PROXY": "http://proxy:3128", "NODE_EXTRA_CA_CERTS": "/ca.pem", "VERCEL": "1"}
    out = made(stub, packages, tmp_path, **told)
    assert "HTTPS_PROXY" not in out.cli._environment(KEY)
    out.cli._settings = Settings("https://x.convex.cloud", "https://api.convex.dev")
    environ = out.cli._environment(KEY)
    assert environ["HTTPS_PROXY"] == "http://proxy:3128"
    assert environ["NODE_EXTRA_CA_CERTS"] == "/ca.pem"
    assert "VERCEL" not in environ
    assert "CONVEX_PROVISION_HOST" not in environ


def test_no_secret_is_kept_anywhere(scene):
    """Neither the key nor what Convex answers with, in a push, a dry run or a failure; the answer that it prints is left out."""
    scene.dry_run()
    scene.deploy()
    scene.stub.answers(CODE + "start_push", refused("InvalidModules", f"told {KEY} and {VALUE}"))
    done = scene.deploy()
    assert "told [redacted] and [redacted]" in done.text
    assert "2718281828" not in scene.kept() + "".join(scene.lines) + repr(scene.cli) + done.refusal.words
