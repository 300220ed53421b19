"""The official `convex` command against the simulated backend: what it says, how it ends, what is so afterwards."""

from __future__ import annotations

import json
import re

import pytest
from convex_cli import USERS, Cli, make_app

from rollback_lib.simulator import Fault, TokenSpec, WorldSpec, serve
from rollback_lib.simulator.convex.spec import ConvexSpec

PUSH = (
    "POST /api/get_config_hashes 200",
    "POST /api/deploy2/evaluate_schema 404",
    "POST /api/deploy2/evaluate_push 200",
    "POST /api/deploy2/start_push 200",
    "POST /api/deploy2/wait_for_schema 200",
)
NEWER = USERS + "export const revision = query({ args: {}, handler: async () => 2 });\n"
QUIET = ("--typecheck", "disable")
SECRET = "clerk2718281828"


class Company:
    """A company with a backend that serves the app, and the command line that speaks to it."""

    def __init__(self, serving, folder) -> None:
        self.serving, self.folder, self.convex = serving, folder, Cli(serving, folder)
        self.backend = serving.world.convex

    @property
    def functions(self):
        return sorted(self.backend.live.functions)

    @property
    def messages(self):
        return [row.metadata["message"] for row in self.backend.audit.rows if row.action.startswith("push")]

    @property
    def address(self):
        return self.serving.addresses["convex"]


@pytest.fixture
def company(tmp_path):
    """The app is live, pushed by the command line itself, with three users."""
    tokens = (
        TokenSpec(name="CONVEX_DEPLOY_KEY", service="convex"),
        TokenSpec(
            name="viewer",
            service="convex",
            value="prod:happy-otter-123|2718281828",
            scopes=("deployment:data:view",),
        ),
        TokenSpec(name="bypass", service="app", scopes=("bypass",)),
    )
    spec = WorldSpec(
        convex=ConvexSpec(variables={"CLERK_SECRET": SECRET}),
        tokens=tokens,
        history_s=60,
        older_deployments=3,
    )
    with serve(spec) as serving:
        made = Company(serving, make_app(tmp_path / "app"))
        assert made.convex("deploy", *QUIET, "--message", "first").code == 0
        users = [{"clerkId": f"u{n}", "name": f"Member {n}"} for n in range(3)]
        made.ids = made.backend.storage.insert_many("users", users)
        yield made


def test_deploy_lets_the_code_go_live(company):
    """All functions of the app, with its indexes; the message is in the account; each step once."""
    assert company.functions == [
        "users.js:add",
        "users.js:broken",
        "users.js:getUserByClerkId",
        "users.js:tidy",
    ]
    make_app(company.folder, users=NEWER)
    ran = company.convex("deploy", *QUIET, "--message", "second")
    assert (ran.code, ran.out) == (0, "")
    assert ran.said[-1] == f"✔ Deployed Convex functions to {company.address}"
    assert ran.requests[: len(PUSH)] == PUSH
    assert ran.requests[len(PUSH) :] in (
        ("POST /api/deploy2/finish_push 200",),
        ("POST /api/deploy2/finish_push 200", "POST /api/deploy2/report_push_completed 200"),
    )
    assert "users.js:revision" in company.functions
    assert company.messages == ["first", "second"]
    assert company.backend.live.index_fields == {"users.by_clerk": ("clerkId", "_creationTime")}


def test_dry_run_tells_what_would_be_and_changes_nothing(company):
    """It goes all the way, but for the last step."""
    make_app(company.folder, users=NEWER)
    ran = company.convex("deploy", "--dry-run", *QUIET)
    assert ran.code == 0
    assert ran.said[-1] == f"✔ Would have deployed Convex functions to {company.address}"
    assert ran.requests == (*PUSH, "POST /api/get_config_hashes 200", "POST /api/deploy2/finish_push 200")
    assert "users.js:revision" not in company.functions
    assert company.messages == ["first"]


def test_push_request_of_what_is_live_holds_no_changed_module(company):
    """The way to see what is live: a dry run tells of indexes only, and of Node's version always."""

    def changed():
        ran = company.convex("deploy", "--write-push-request", str(company.folder / "request"), *QUIET)
        assert ran.requests == ("POST /api/get_config_hashes 200",)
        request = json.loads((company.folder / "request.json").read_text(encoding="utf-8"))
        return [module["path"] for module in request["appDefinition"]["changedModules"]]

    # The generated files that the first deploy left are others than those it began with, and so are the source maps.
    company.convex("deploy", *QUIET, "--message", "second")
    assert changed() == []
    make_app(company.folder, users=NEWER)
    assert changed() == ["users.js"]
    assert company.messages == ["first", "second"]


@pytest.mark.parametrize("dry", [("--dry-run",), ()], ids=["dry run", "deploy"])
def test_schema_that_the_data_does_not_fit_is_refused(company, dry):
    """With document, table and reason; nothing goes live."""
    make_app(company.folder, fields="clerkId: v.string(), name: v.number()", users=NEWER)
    ran = company.convex("deploy", *dry, *QUIET)
    assert ran.code == 1
    assert ran.requests == PUSH
    said = "\n".join(ran.said)
    assert "✖ Schema validation failed.\n" in said
    assert (
        f'Document with ID "{company.ids[0]}" in table "users" does not match the schema: Value does not match '
        'validator.\nPath: .name\nValue: "Member 0"\nValidator: v.float64()' in said
    )
    assert "users.js:revision" not in company.functions
    assert company.messages == ["first"]


def test_code_that_cannot_be_loaded_is_refused(company):
    """With the place in the author's own file."""
    make_app(company.folder, users=USERS + 'throw new Error("not at import");\n')
    ran = company.convex("deploy", *QUIET)
    said = "\n".join(ran.said)
    assert ran.code == 1
    assert "InvalidModules: Hit an error while pushing:" in said
    assert "Failed to analyze users.js: Uncaught Error: not at import" in said
    assert re.search(r"at <anonymous> \(\.\./convex/users\.ts:\d+:\d+\)", said)
    assert company.messages == ["first"]


def test_variable_that_the_app_requires_and_nobody_set_stops_the_push(company):
    """Not the dry run: the platform looks only as the push goes live."""
    config = """
import { defineApp } from "convex/server";
import { v } from "convex/values";
export default defineApp({ env: { STRIPE_KEY: v.string(), DEBUG: v.optional(v.string()) } });
"""
    make_app(company.folder, users=NEWER, **{"convex.config": config})
    assert company.convex("deploy", "--dry-run", *QUIET).code == 0
    ran = company.convex("deploy", *QUIET)
    assert ran.code == 1
    assert any("STRIPE_KEY is declared as required in convex.config.ts" in line for line in ran.said)
    assert company.messages == ["first"]


def test_colleague_who_begins_a_push_meanwhile_stops_this_one(company):
    """The command line calls it a race."""
    company.serving.world.faults.add((Fault(service="convex", kind="push_race", path="*/wait_for_schema"),))
    make_app(company.folder, fields="clerkId: v.string(), name: v.string(), plan: v.optional(v.any())")
    ran = company.convex("deploy", *QUIET)
    assert ran.code == 1
    assert any("Schema was overwritten by another push." in line for line in ran.said)
    assert company.messages == ["first"]


def test_lost_reply_of_the_last_step_is_exit_1_though_the_code_is_live(company):
    """The command line sends it again, and is refused: only the account tells that it is live."""
    company.serving.world.faults.add((Fault(service="convex", kind="reset_after", path="*/finish_push"),))
    make_app(company.folder, users=NEWER)
    ran = company.convex("deploy", *QUIET, "--message", "second")
    assert ran.code == 1
    assert ran.requests[len(PUSH) :] == (
        "POST /api/deploy2/finish_push cut",
        "POST /api/deploy2/finish_push 400",
    )
    assert any("ConcurrentPush" in line for line in ran.said)
    assert "users.js:revision" in company.functions
    assert company.messages == ["first", "second"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("prod:happy-otter-123|2718281828", "deployment:deploy"),
        ("prod:happy-otter-123|wrong2718281828", "401"),
    ],
    ids=["lacks a permission", "is none"],
)
def test_deploy_with_a_key_that_will_not_do(company, key, words):
    """Nothing goes live."""
    ran = company.convex("deploy", *QUIET, key=key)
    assert ran.code == 1
    assert words in "\n".join(ran.said)
    assert company.messages == ["first"]


def test_run_calls_a_function_and_shows_what_it_prints(company):
    """The value on the output, the prints for people."""
    ran = company.convex("run", "users:getUserByClerkId", '{"clerkId": "u1"}')
    assert ran.code == 0
    value = json.loads(ran.out)
    assert (value["_id"], value["name"]) == (company.ids[1], "Member 1")
    assert any("'looking for' 'u1'" in line for line in ran.said)
    assert ran.requests == ("POST /api/function 200",)


def test_run_of_a_mutation_writes(company):
    """An internal one too: the key may."""
    ran = company.convex("run", "users:add", '{"clerkId": "u9", "name": "New"}')
    assert company.backend.storage.get(json.loads(ran.out))["clerkId"] == "u9"
    assert company.convex("run", "users:tidy").code == 0
    assert {company.backend.storage.get(id_)["plan"] for id_ in company.ids} == {"plus"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("users:broken",), "Uncaught Error: it broke"),
        (
            ("users:add", '{"clerkId": "x"}'),
            "ArgumentValidationError: Object is missing the required field `name`",
        ),
        (("users:nope",), "Could not find function for 'users:nope'"),
    ],
)
def test_run_that_fails_ends_with_1_and_says_why(company, args, words):
    """Though every answer had status 200; one that is not there lists those that are."""
    ran = company.convex("run", *args)
    said = "\n".join(ran.said)
    assert (ran.code, ran.out) == (1, "")
    assert words in said
    if "nope" in args[0]:
        assert "• users:getUserByClerkId" in said
    assert company.backend.storage.count("users") == 3


def test_inline_query_reads(company):
    """What is written on the command line runs in the backend."""
    query = 'await ctx.db.query("users").withIndex("by_clerk", (q) => q.gt("clerkId", "u0")).collect()'
    ran = company.convex("run", "--inline-query", query)
    assert ran.code == 0
    assert [user["clerkId"] for user in json.loads(ran.out)] == ["u1", "u2"]
    assert ran.requests == ("POST /api/run_test_function 200",)


def test_inline_query_that_writes_fails(company):
    """There is nothing to write with."""
    ran = company.convex("run", "--inline-query", 'await ctx.db.insert("users", {})')
    assert ran.code == 1
    assert company.backend.storage.count("users") == 3


def test_data_lists_tables_and_documents(company):
    """By the websocket."""
    assert company.convex("data").out.split() == ["users"]
    ran = company.convex("data", "users", "--format", "jsonLines")
    assert ran.code == 0
    assert [json.loads(line)["clerkId"] for line in ran.out.splitlines()] == ["u2", "u1", "u0"]


def test_env_lists_and_sets_variables(company):
    """Set over HTTP, read over the websocket; no value is in the ledger."""
    assert company.convex("env", "list").out == f"CLERK_SECRET={SECRET}\n"
    ran = company.convex("env", "set", "PLAN", "pro")
    assert ran.code == 0
    assert ran.requests == ("POST /api/update_environment_variables 200",)
    assert company.convex("env", "get", "PLAN").out == "pro\n"
    assert dict(company.backend.variables) == {"CLERK_SECRET": SECRET, "PLAN": "pro"}
    assert company.convex("env", "remove", "PLAN").code == 0
    assert dict(company.backend.variables) == {"CLERK_SECRET": SECRET}
    assert SECRET not in json.dumps(company.serving.world.ledger.as_json())


def test_function_spec_is_that_of_the_live_code(company):
    """Functions with their validators, and where they are."""
    ran = company.convex("function-spec")
    spec = json.loads(ran.out)
    found = {one["identifier"]: one for one in spec["functions"]}
    assert spec["url"] == company.address
    assert sorted(found) == company.functions
    assert found["users.js:tidy"]["visibility"] == {"kind": "internal"}
    assert found["users.js:add"]["returns"] == {"type": "id", "tableName": "users"}


def test_logs_show_calls_with_their_errors(company):
    """The history first; it goes on waiting until it is interrupted."""
    company.convex("run", "users:getUserByClerkId", '{"clerkId": "u1"}')
    company.convex("run", "users:broken")
    ran = company.convex.until("it broke", "logs", "--history", "10", "--success")
    assert "[CONVEX Q(users.js:getUserByClerkId)] [LOG] 'looking for' 'u1'" in ran.out
    assert "Uncaught Error: it broke" in ran.out
    assert ran.requests[0] == "GET /api/stream_function_logs 200"
    assert len(ran.requests) <= 2  # no tight loop: the second request is held


def test_run_on_a_paused_deployment_is_refused(company):
    """A push is not."""
    company.backend.set_paused(True)
    ran = company.convex("run", "users:getUserByClerkId", '{"clerkId": "u1"}')
    assert ran.code == 1
    assert "while this deployment is paused" in "\n".join(ran.said)
    make_app(company.folder, users=NEWER)
    assert company.convex("deploy", *QUIET).code == 0
    assert "users.js:revision" in company.functions
