"""Pushing code to the simulated backend: what goes live, what is refused, and what is left then."""

from __future__ import annotations

import json
import time

import brotli
import httpx
import pytest
from convex_tiny import ADULTS, USERS, app, field, object_of, push_body

from rollback_lib.simulator import Fault, WorldSpec, serve
from rollback_lib.simulator.convex.code import Module, PushedApp
from rollback_lib.simulator.convex.spec import ConvexSpec

QUIET = {"history_s": 60, "older_deployments": 3}
SECRET = "env2718281828"


class Deployment:
    """A served deployment, and a client that pushes to it as the official command line does."""

    def __init__(self, serving) -> None:
        self.world, self.backend = serving.world, serving.world.convex
        self.key = self.world.token("CONVEX_DEPLOY_KEY")
        self.http = httpx.Client(base_url=serving.addresses["convex"], trust_env=False, timeout=30)
        self.http.headers["Authorization"] = f"Convex {self.key}"

    def post(self, path, body, *, packed=False):
        raw = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if packed:
            raw, headers["Content-Encoding"] = brotli.compress(raw), "br"
        return self.http.post(path, content=raw, headers=headers)

    def start(self, pushed, *, dry=False):
        return self.post("/api/deploy2/start_push", push_body(pushed, self.key, dry=dry), packed=True)

    def wait(self, started, timeout_ms=10_000):
        body = {"adminKey": self.key, "schemaChange": started["schemaChange"], "timeoutMs": timeout_ms}
        return self.post("/api/deploy2/wait_for_schema", {**body, "dryRun": False}).json()

    def finish(self, started, *, dry=False, message=None):
        body = {"adminKey": self.key, "startPush": started, "dryRun": dry, "message": message}
        return self.post("/api/deploy2/finish_push", body, packed=True)

    def push(self, pushed, *, dry=False, message=None):
        """Push to the end; gives the last answer."""
        reply = self.start(pushed, dry=dry)
        if reply.status_code != 200:
            return reply.json()
        status = self.wait(reply.json())
        if status["type"] != "complete":
            return status
        return self.finish(reply.json(), dry=dry, message=message).json()

    def value(self, name, args=None):
        return self.post("/api/query", {"path": f"users:{name}", "args": args or {}}).json().get("value")

    @property
    def messages(self):
        return [row.metadata["message"] for row in self.backend.audit.rows]


NEWER = "export const revision = query(() => 2);"


def newer(document=USERS, **more):
    return app(document, NEWER, **more)


@pytest.fixture
def deployment():
    """A deployment with live code and three users."""
    with serve(
        WorldSpec(convex=ConvexSpec(variables={"SECRET": SECRET, "MAIL_FROM": SECRET}), **QUIET)
    ) as serving:
        made = Deployment(serving)
        made.backend.install(app(), "first", at_ms=1_000)
        made.backend.storage.insert_many("users", [{"clerkId": f"u{n}"} for n in range(3)])
        yield made
        made.http.close()


def test_push_goes_live_with_its_message(deployment):
    """New functions answer, the account has a row, the time of the last push has moved."""
    before = deployment.backend.last_push_ms
    done = deployment.push(newer(), message="two")
    assert done["componentDiffs"][""]["schemaDiff"] is None
    assert deployment.value("revision") == 2
    assert deployment.messages == ["first", "two"]
    assert deployment.backend.last_push_ms > before
    row = deployment.backend.audit.rows[-1]
    assert (row.action, row.actor["kind"]) == ("push_config_with_components", "token")


def test_dry_run_changes_nothing(deployment):
    """It is evaluated and checked, and then nothing."""
    live = deployment.backend.live
    assert deployment.push(newer(), dry=True, message="two") == {
        "authDiff": {"added": [], "removed": []},
        "definitionDiffs": {},
        "componentDiffs": {},
    }
    assert deployment.backend.live is live
    assert deployment.messages == ["first"]


@pytest.mark.parametrize("dry", [True, False])
def test_schema_that_a_document_does_not_fit_is_refused(deployment, dry):
    """With the id of the document and the platform's words; the old code stays."""
    odd = deployment.backend.storage.insert("users", {"clerkId": "u9", "age": "old"})
    status = deployment.push(
        newer(object_of(clerkId=field("string"), age=field("number", optional=True))), dry=dry
    )
    assert (status["type"], status["tableName"], status["componentPath"]) == ("failed", "users", "")
    assert status["error"] == (
        f'Document with ID "{odd}" in table "users" does not match the schema: Value does not match validator.\n'
        'Path: .age\nValue: "old"\nValidator: v.float64()'
    )
    assert deployment.value("revision") is None
    assert deployment.messages == ["first"]


def test_failed_schema_cannot_be_finished_all_the_same(deployment):
    """Whoever goes on in spite of it changes nothing."""
    started = deployment.start(newer(ADULTS)).json()
    assert deployment.wait(started)["type"] == "failed"
    assert deployment.finish(started).json()["code"] == "SchemaNotValidated"
    assert deployment.messages == ["first"]


def test_schema_that_does_not_validate_lets_everything_pass(deployment):
    """As its author wanted."""
    assert "componentDiffs" in deployment.push(newer(ADULTS, validates=False))


def test_only_tables_of_the_schema_are_checked(deployment):
    """Another table keeps what it has."""
    deployment.backend.storage.insert("orders", {"whatever": 1})
    assert "componentDiffs" in deployment.push(newer())
    assert deployment.backend.storage.count("orders") == 1


@pytest.mark.parametrize(
    ("broken", "code", "words"),
    [
        (app(more="throw new Error('no such luck');"), "InvalidModules", "Uncaught Error: no such luck"),
        (app(more="import 'nosuch';"), "InvalidModules", "nosuch"),
        (app(more="this is no code"), "InvalidModules", "Failed to analyze users.js"),
        (app(object_of(a=field("date"))), "InvalidSchema", "Unrecognized validator"),
        (
            app(more="export const odd = query(() => 1, { type: 'date' });"),
            "InvalidModules",
            "Unrecognized validator",
        ),
        (
            PushedApp((Module("users.js", "export const x = 1;"),), Module("schema.js", "export default 1;")),
            "InvalidSchema",
            "not a schema",
        ),
        (
            PushedApp(
                (
                    Module(
                        "mailer.js",
                        "export const send = Object.assign(() => {}, { isMutation: true, isPublic: true });",
                        environment="node",
                    ),
                )
            ),
            "InvalidModules",
            "Only actions can be defined in Node.js",
        ),
    ],
    ids=["throws", "import", "syntax", "schema", "arguments", "no schema", "node"],
)
def test_push_that_cannot_be_loaded_is_refused(deployment, broken, code, words):
    """At once, with what the code said."""
    reply = deployment.start(broken)
    assert (reply.status_code, reply.json()["code"]) == (400, code)
    assert reply.json()["message"].startswith("Hit an error while pushing:\n")
    assert words in reply.json()["message"]
    assert deployment.value("list") is not None


def test_components_are_refused(deployment):
    """What cannot be run here is not taken in part."""
    body = push_body(newer(), deployment.key)
    reply = deployment.post("/api/deploy2/start_push", {**body, "componentDefinitions": [{}]})
    assert (reply.status_code, reply.json()["code"]) == (400, "InvalidConvexConfig")


def test_unchanged_modules_are_named_by_their_hash(deployment):
    """As the command line does it; a hash that is not there any more is a race."""
    body = push_body(newer(), deployment.key)
    hashes = deployment.post(
        "/api/get_config_hashes", {"version": "1.48.0", "adminKey": deployment.key}
    ).json()
    known = {one["path"]: one for one in hashes["moduleHashes"]}
    same = [m for m in newer().modules if known[m.path]["hash"] == m.sha256]
    assert [m.path for m in same] == ["_deps/tiny.js"]
    wanted = body["appDefinition"]
    wanted["changedModules"] = [m.as_json for m in newer().modules if m not in same]
    wanted["unchangedModuleHashes"] = [
        {"path": m.path, "environment": "isolate", "sha256": m.sha256} for m in same
    ]
    started = deployment.post("/api/deploy2/start_push", body).json()
    assert deployment.wait(started) == {"type": "complete"}
    deployment.finish(started)
    assert deployment.value("revision") == 2
    wanted["unchangedModuleHashes"][0]["sha256"] = "0" * 64
    assert deployment.post("/api/deploy2/start_push", body).json()["code"] == "RaceDetected"


def test_other_push_overwrites_a_waiting_schema(deployment):
    """The earlier one is told of the race, and can't be finished any more."""
    first = deployment.start(newer(object_of(clerkId=field("string")))).json()
    second = deployment.start(newer(object_of(clerkId=field("any"))), dry=True).json()
    assert deployment.wait(first) == {"type": "raceDetected"}
    assert deployment.finish(first).json()["code"] == "RaceDetected"
    assert deployment.wait(second) == {"type": "complete"}
    assert deployment.messages == ["first"]


def test_variables_that_changed_meanwhile_stop_a_push(deployment):
    """Nothing goes live that was evaluated with other ones."""
    started = deployment.start(newer()).json()
    deployment.wait(started)
    deployment.backend.set_variables({"SECRET": "other"})
    reply = deployment.finish(started)
    assert (reply.status_code, reply.json()) == (
        400,
        {"code": "RaceDetected", "message": "Environment variables have changed during push"},
    )
    assert deployment.messages == ["first"]


def test_required_variable_that_is_missing_stops_a_push_but_no_dry_run(deployment):
    """The platform looks at them as the push goes live; a dry run never gets there."""
    wanting = newer(required=("STRIPE_KEY", "SECRET"))
    assert "componentDiffs" in deployment.push(wanting, dry=True)
    assert deployment.push(wanting) == {
        "code": "MissingEnvironmentVariables",
        "message": "Required environment variables are not set: STRIPE_KEY. Set them in the Convex dashboard or CLI "
        "before pushing.",
    }
    assert deployment.messages == ["first"]


def test_message_that_is_too_long_is_refused(deployment):
    """More than 1024 bytes, whatever the letters."""
    assert deployment.push(newer(), message="ä" * 513)["code"] == "PushMessageTooLong"
    assert "componentDiffs" in deployment.push(newer(), message="ä" * 512)


def test_push_that_was_finished_cannot_be_finished_again(deployment):
    """It is live, though the second answer is a refusal."""
    started = deployment.start(newer()).json()
    deployment.wait(started)
    assert deployment.finish(started, message="two").status_code == 200
    assert deployment.finish(started, message="two").json()["code"] == "ConcurrentPush"
    assert deployment.messages == ["first", "two"]


def test_lost_reply_leaves_the_push_live(deployment):
    """The connection is cut after it was done."""
    deployment.world.faults.add((Fault(service="convex", kind="reset_after", path="*/finish_push"),))
    with pytest.raises(httpx.ReadError):
        deployment.push(newer(), message="two")
    assert deployment.value("revision") == 2
    assert deployment.messages == ["first", "two"]


def test_request_that_is_cut_before_leaves_everything(deployment):
    """Nothing was done."""
    deployment.world.faults.add((Fault(service="convex", kind="reset_before", path="*/finish_push"),))
    with pytest.raises(httpx.ReadError):
        deployment.push(newer(), message="two")
    assert deployment.value("revision") is None
    assert deployment.messages == ["first"]


def test_colleague_who_begins_a_push_meanwhile_makes_a_race(deployment):
    """Whatever schema was waiting has to give way."""
    deployment.world.faults.add((Fault(service="convex", kind="push_race", path="*/wait_for_schema"),))
    assert deployment.push(newer(object_of(clerkId=field("any")))) == {"type": "raceDetected"}
    assert deployment.messages == ["first"]


def test_colleague_who_is_quicker_lets_a_push_fail(deployment):
    """His is live then; it stands in the ledger as his."""
    deployment.backend.releases["hotfix"] = app(more="export const hotfix = query(() => 'his');")
    deployment.world.faults.add(
        (Fault(service="convex", kind="concurrent_push", path="*/finish_push", pushes="hotfix"),)
    )
    assert deployment.push(newer(), message="two")["code"] == "ConcurrentPush"
    assert (deployment.value("hotfix"), deployment.value("revision")) == ("his", None)
    assert [
        e.caller for e in deployment.world.ledger.entries() if e.applied and e.weight == "production"
    ] == ["colleague"]
    assert deployment.backend.audit.rows[-1].actor["kind"] == "member"


def test_colleague_who_pushes_afterwards_replaces_what_was_pushed(deployment):
    """As a build that comes later does."""
    deployment.backend.releases["bad"] = app()
    fault = Fault(service="convex", kind="colleague_push", path="*/finish_push", pushes="bad", delay_s=0.1)
    deployment.world.faults.add((fault,))
    deployment.push(newer(), message="two")
    until = time.monotonic() + 10
    while "revision" in str(deployment.backend.live.functions) and time.monotonic() < until:
        time.sleep(0.02)
    assert deployment.value("revision") is None
    assert deployment.messages == ["first", "two", None]


def test_check_that_takes_long_is_told_as_in_progress_first(deployment):
    """Then the outcome; a document that is written meanwhile and does not fit fails it."""
    object.__setattr__(deployment.backend, "spec", ConvexSpec(checked_per_s=4))
    narrow = object_of(
        clerkId=field("string"), name=field("string", optional=True), nick=field("any", optional=True)
    )
    started = deployment.start(newer(narrow)).json()
    assert deployment.wait(started, timeout_ms=50)["type"] == "inProgress"
    assert deployment.wait(started) == {"type": "complete"}
    wide = object_of(clerkId=field("string"))
    started = deployment.start(newer(wide)).json()
    deployment.post("/api/mutation", {"path": "users:add", "args": {"clerkId": "u7", "name": "New"}})
    status = deployment.wait(started)
    assert status["type"] == "failed"
    assert status["error"].startswith(
        'New document in table "users" does not match the schema: Object contains extra'
    )


def test_ledger_weighs_each_step_and_shows_no_secret(deployment):
    """Also where the body was packed: no key, no value of a variable, no program."""
    deployment.push(newer(), dry=True)
    deployment.push(newer())
    deployment.value("list")
    deployment.post("/api/mutation", {"path": "users:add", "args": {"clerkId": "u7"}})
    deployment.post("/api/function", {"path": "users:list", "args": {}})
    told = [(e.path.rpartition("/")[2], e.weight, e.applied) for e in deployment.world.ledger.entries()]
    assert told == [
        ("start_push", "company", True),
        ("wait_for_schema", "company", True),
        ("finish_push", "company", False),
        ("start_push", "company", True),
        ("wait_for_schema", "company", True),
        ("finish_push", "production", True),
        ("query", "nothing", False),
        ("mutation", "production", True),
        ("function", "nothing", False),
    ]
    text = json.dumps(deployment.world.ledger.as_json())
    assert SECRET not in text
    assert deployment.key not in text
    assert "Convex.syscall" not in text
    assert {e.caller for e in deployment.world.ledger.entries()} == {"CONVEX_DEPLOY_KEY"}
