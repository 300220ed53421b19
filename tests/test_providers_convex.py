"""The Convex client: what it sends, what it reads, and what it never keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from conftest import BEGAN, FakeClock
from http_fakes import Platform, door, ok
from pydantic import SecretStr

from rollback_lib.errors import BadParameters, PlanViolation, ReadRefused, Unreachable
from rollback_lib.http import Service
from rollback_lib.model import Redactor, RequestClass
from rollback_lib.providers.convex import CLIENT_HEADER, CONTROL_RULES, CONVEX_RULES, ConvexClient, Doors
from rollback_lib.providers.convex_facts import (
    Audit,
    Cron,
    Live,
    Module,
    NotAvailable,
    Schema,
    Waiting,
    same_schema,
)
from rollback_lib.providers.convex_key import Credential

NAME = "happy-otter-123"
SECRET = "eyJ2MiI6IjI3MTgyODE4MjgifQ=="
KEY = f"prod:{NAME}|{SECRET}"
URL = "https://happy-otter-123.convex.cloud"
MS = 1790000000000
AT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
PUSHED = {
    "actor": {"kind": "token", "token_id": 7, "member_id": 12, "client_id": None},
    "action": "push_config_with_components",
    "createTime": MS,
    "metadata": {
        "message": "Deployed from Vercel • abc1234",
        "component_diffs": [
            {
                "component_path": "",
                "component_diff": {
                    "module_diff": {"added": ["trainers.js"], "removed": ["old.js"]},
                    "schema_diff": {"previous_schema": "{}", "next_schema": "{}"},
                },
            }
        ],
    },
}


@dataclass(frozen=True)
class Settings:
    """Which deployment."""

    url: str = URL
    deployment: str = NAME


@dataclass
class Scene:
    """A client and what its platforms saw."""

    convex: ConvexClient
    platform: Platform
    clock: FakeClock
    redactor: Redactor


def scene(*script: Any, key: str | None = KEY, settings: Settings | None = None) -> Scene:
    """Make a client of a platform that answers from one script, wherever it is asked."""
    platform, clock, redactor = Platform(list(script)), FakeClock(), Redactor()
    credential = Credential(SecretStr(key) if key else None, "environment variable CONVEX_DEPLOY_KEY")

    def way(name: str, url: str, rules: Any, scheme: str) -> Any:
        headers = (("authorization", SecretStr(f"{scheme} {key}")), CLIENT_HEADER)
        return door(Service(name, url, rules, headers, credential.source), platform, clock, redactor)

    deployment = way("convex", URL, CONVEX_RULES, "Convex")
    doors = Doors(deployment, deployment, way("control", "https://api.convex.test", CONTROL_RULES, "Bearer"))
    client = ConvexClient(doors, settings or Settings(), credential, redactor, clock)
    return Scene(client, platform, clock, redactor)


def value(found: Any) -> httpx.Response:
    """Answer like a function that succeeded."""
    return ok({"status": "success", "value": found})


def failure(words: str, **more: Any) -> httpx.Response:
    """Answer like a function that failed: with 200."""
    return ok({"status": "error", "errorMessage": words, **more})


# Which deployment


def test_identity_is_read_from_where_the_key_leads():
    """The key's own address first, then the deployment."""
    made = scene(
        httpx.Response(200, json=URL + "/"),
        ok({"kind": "cloud", "id": 42, "deploymentType": "prod", "projectId": 1, "projectSlug": "app"}),
        ok({"convexCloudUrl": URL, "convexSiteUrl": "https://happy-otter-123.convex.site"}),
    )
    found = made.convex.identity()
    assert (found.name, found.kind, found.type, found.id, found.project) == (NAME, "cloud", "prod", 42, "app")
    assert (found.url, found.site_url) == (URL, "https://happy-otter-123.convex.site")
    assert made.platform.lines == [
        "POST /api/deployment/url_for_key",
        "GET /api/v1/deployment_info",
        "GET /api/v1/get_canonical_urls",
    ]
    asked, *rest = made.platform.seen
    assert (asked.url.host, asked.headers["authorization"]) == ("api.convex.test", f"Bearer {KEY}")
    assert json.loads(asked.content) == {"deployKey": KEY}
    assert {request.headers["authorization"] for request in rest} == {f"Convex {KEY}"}
    assert {request.headers["convex-client"] for request in rest} == {"npm-cli-1.48.0"}


def test_key_that_leads_elsewhere_is_found_out_before_the_deployment_is_asked():
    """The deployment of the parameters is never shown a key that belongs to another address."""
    made = scene(httpx.Response(200, json="https://cold-fox-9.convex.cloud"))
    with pytest.raises(BadParameters) as caught:
        made.convex.identity()
    assert "https://cold-fox-9.convex.cloud" in caught.value.happened
    assert URL in caught.value.happened
    assert made.platform.lines == ["POST /api/deployment/url_for_key"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"prod:cold-fox-9|{SECRET}", "is for the prod deployment cold-fox-9, expected happy-otter-123"),
        (f"dev:cold-fox-9|{SECRET}", "is for the dev deployment cold-fox-9"),
        (f"cold-fox-9|{SECRET}", "is for the own deployment cold-fox-9"),
        (f"preview:team:project|{SECRET}", "a key that makes preview deployments"),
        (f"project:team:project|{SECRET}", "the token of a whole project"),
        (SECRET, "no whole key (it has no | sign)"),
        ("prod:happy-otter-123|", "of an unknown form"),
        (None, "CONVEX_DEPLOY_KEY is not given"),
    ],
)
def test_key_of_another_kind_or_deployment_is_refused_before_anything_is_sent(key, words):
    """What a key is for stands in it; the refusal names both, and nothing of the secret."""
    made = scene(ok(), key=key)
    with pytest.raises(BadParameters) as caught:
        made.convex.identity()
    assert words in caught.value.happened
    assert SECRET not in str(caught.value)
    assert made.platform.seen == []


@pytest.mark.parametrize("kind", ["prod:", "dev:", "preview:", "custom:", ""])
def test_key_of_the_deployment_is_taken_whatever_its_kind(kind):
    """Preview keys of one deployment and admin keys name it too."""
    assert scene(ok(), key=f"{kind}{NAME}|{SECRET}").convex.require_key().deployment == NAME


@pytest.mark.parametrize(
    ("told", "name", "running"),
    [
        ({"system": "none", "usage_limit": "none", "user": "none"}, "running", True),
        ({"system": "none", "usage_limit": "none", "user": "paused"}, "paused", False),
        ({"system": "suspended", "usage_limit": "none", "user": "none"}, "suspended", False),
        ({"system": "none", "usage_limit": "exceeded", "user": "none"}, "disabled", False),
    ],
)
def test_state_says_whether_functions_run(told, name, running):
    """Paused by a person, limited by the plan and stopped by Convex are told apart."""
    found = scene(value(told)).convex.state()
    assert (found.name, found.running, bool(found.why)) == (name, running, not running)


# Who pushed what


def test_audit_log_is_read_page_by_page_with_the_same_beginning():
    """Oldest first; `from` stays on every page."""
    paused = {"actor": {"kind": "member", "member_id": 3}, "action": "pause_deployment", "createTime": MS + 5}
    made = scene(
        ok({"items": [PUSHED], "pagination": {"hasMore": True, "nextCursor": "c1"}}),
        ok({"items": [paused], "pagination": {"hasMore": False, "nextCursor": None}}),
    )
    found = made.convex.audit_log(AT)
    assert isinstance(found, Audit)
    assert [event.action for event in found.events] == ["push_config_with_components", "pause_deployment"]
    (push,) = found.pushes
    assert (push.at, push.actor, push.message) == (
        AT,
        "token 7 of member 12",
        "Deployed from Vercel • abc1234",
    )
    assert (push.added, push.removed, push.schema_changed) == (("trainers.js",), ("old.js",), True)
    assert found.events[1].actor == "member 3"
    first, second = made.platform.query(0), made.platform.query(1)
    assert first == [("from", str(MS)), ("limit", "100")]
    assert second == [*first, ("cursor", "c1")]


def test_audit_log_that_does_not_end_is_no_audit_log():
    """A cursor that comes again: the newest pushes would be missing unseen."""
    made = scene(ok({"items": [PUSHED], "pagination": {"hasMore": True, "nextCursor": "c1"}}))
    with pytest.raises(Unreachable, match="comes again"):
        made.convex.audit_log(AT)


@pytest.mark.parametrize(
    ("code", "message", "days"),
    [
        ("AuditLogsDisabled", "Audit logs are not available on this plan.", None),
        ("AuditLogsTooOld", "Audit logs are only available for the last 90 days.", 90),
        (
            "Forbidden",
            "You do not have permission to perform this operation (deployment:auditLog:view).",
            None,
        ),
    ],
)
def test_audit_log_of_a_plan_without_one_is_not_available(code, message, days):
    """That is no failure: the runbook falls back to git and says why."""
    found = scene(ok({"code": code, "message": message}, 403)).convex.audit_log(AT)
    assert found == NotAvailable(code, message, days)


def test_audit_log_refused_for_another_reason_is_an_error():
    """A key of another deployment is no plan without audit log."""
    made = scene(ok({"code": "BadDeployKey", "message": "The provided deploy key was invalid"}, 403))
    with pytest.raises(ReadRefused, match="was invalid"):
        made.convex.audit_log(AT)


def test_last_push_is_read_from_the_systems_own_table():
    """Told on every plan; its time is the row's."""
    row = {
        "_creationTime": float(MS),
        "action": "push_config_with_components",
        "member_id": 12,
        "metadata": {},
    }
    made = scene(value(row), value(None))
    found = made.convex.last_push()
    assert found is not None
    assert (found.at, found.actor, found.message) == (AT, "member 12", "")
    assert made.platform.body()["path"] == "_system/frontend/deploymentEvents:lastPushEvent"
    assert made.convex.last_push() is None


# What runs


def test_functions_are_named_as_people_call_them():
    """By module without .js, HTTP actions by verb and path; internal ones are told apart."""
    spec = [
        {"identifier": "users.js:list", "functionType": "Query", "visibility": {"kind": "public"}},
        {"identifier": "crons.js:default", "functionType": "Mutation", "visibility": {"kind": "internal"}},
        {"functionType": "HttpAction", "method": "POST", "path": "/stripe"},
    ]
    found = scene(value(spec)).convex.functions()
    assert [(one.name, one.type, one.public) for one in found] == [
        ("POST /stripe", "HttpAction", True),
        ("crons", "Mutation", False),
        ("users:list", "Query", True),
    ]


def test_function_that_takes_something_else_has_another_shape():
    """So that a changed function is seen though its name stays."""

    def shape(**validators: Any) -> str:
        told = {"identifier": "a.js:b", "functionType": "Query", "visibility": {"kind": "public"}}
        (found,) = scene(value([told | validators])).convex.functions()
        return found.shape

    assert shape(args={"type": "object", "value": {}}) != shape(args={"type": "any"})
    assert shape(args={"type": "any"}, returns={"type": "any"}) == shape()


def test_live_code_is_known_by_its_digests():
    """What runs equals a bundle only if each module is there, unchanged, and no other."""
    hashes = [
        {"path": "users.js", "environment": "isolate", "hash": "a" * 64},
        {"path": "schema.js", "environment": "isolate", "hash": "b" * 64},
    ]
    made = scene(ok({"moduleHashes": hashes, "udfServerVersion": "1.48.0", "config": {}}))
    live = made.convex.live()
    assert made.platform.body() == {"version": "1.48.0", "adminKey": KEY}
    assert live.server_version == "1.48.0"
    users = Module("users.js", "isolate", "a" * 64)
    assert live.runs([users])
    assert not live.runs([Module("users.js", "isolate", "c" * 64)])
    assert not live.runs([users, Module("plans.js", "isolate", "d" * 64)])
    assert not Live((users, Module("extra.js", "isolate", "e" * 64)), "").runs([users])


def test_schema_is_read_per_table():
    """A table whose documents must look otherwise has another digest."""

    def tables(kind: str) -> dict[str, str]:
        made = {"tables": [{"tableName": "users", "indexes": [], "documentType": {"type": kind}}]}
        found = scene(value({"active": json.dumps(made | {"schemaValidation": True})})).convex.schema()
        assert found is not None
        assert found.validated
        return dict(found.tables)

    assert set(tables("any")) == {"users"}
    assert tables("any") != tables("object")
    assert scene(value({})).convex.schema() is None
    with pytest.raises(Unreachable, match="a schema"):
        scene(value({"active": "{"})).convex.schema()


INDEXED: dict[str, Any] = {
    "tableName": "users",
    "indexes": [{"indexDescriptor": "by_clerk", "fields": ["clerkId", "at"]}],
    "searchIndexes": [{"indexDescriptor": "words", "searchField": "bio", "filterFields": ["gym", "at"]}],
    "vectorIndexes": [
        {"indexDescriptor": "near", "vectorField": "face", "dimensions": 8, "filterFields": []}
    ],
    "stagedDbIndexes": [{"indexDescriptor": "later", "fields": ["gym"]}],
    "documentType": {"type": "any"},
}


def schema_with(**table: Any) -> Schema:
    """Read a schema of one table."""
    made = {"tables": [INDEXED | table], "schemaValidation": True}
    found = scene(value({"active": json.dumps(made)})).convex.schema()
    assert found is not None
    return found


def test_schema_has_its_indexes():
    """Of every kind, with their fields; the field that Convex adds to each does not tell two apart."""
    told = schema_with()
    assert told.indexes == (
        ("users.by_clerk", "by clerkId, at"),
        ("users.later", "staged, by gym"),
        ("users.near", "vectors of face (8)"),
        ("users.words", "search in bio, filtered by at, gym"),
    )
    full = [{"indexDescriptor": "by_clerk", "fields": ["clerkId", "at", "_creationTime"]}]
    assert same_schema(schema_with(indexes=full), told)


def test_schemas_that_differ_in_an_index_are_not_the_same():
    """Gone, with other fields or staged: each is another schema; one of which no indexes are known is compared without."""
    told = schema_with()
    others = (
        schema_with(indexes=[]),
        schema_with(indexes=[{"indexDescriptor": "by_clerk", "fields": ["at", "clerkId"]}]),
        schema_with(indexes=[], stagedDbIndexes=[*INDEXED["stagedDbIndexes"], *INDEXED["indexes"]]),
    )
    assert [same_schema(told, other) for other in others] == [False] * 3
    assert same_schema(replace(told, indexes=None), others[0])
    assert not same_schema(replace(told, indexes=None), schema_with(documentType={"type": "object"}))
    assert same_schema(None, None)
    assert not same_schema(told, None)


def test_tables_come_with_their_sizes():
    """System tables are left out; the page after the first is read too."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if asked["path"] == "_system/cli/tableSize:default":
            return value({"users": 3, "plans": 0}[asked["args"]["tableName"]])
        if asked["args"]["paginationOpts"]["cursor"] is None:
            return value({"page": [{"name": "users"}], "isDone": False, "continueCursor": "c"})
        return value(
            {"page": [{"name": "plans"}, {"name": "_storage"}], "isDone": True, "continueCursor": "e"}
        )

    assert [(one.name, one.documents) for one in scene(answer).convex.tables()] == [
        ("plans", 0),
        ("users", 3),
    ]


def test_crons_are_read_with_their_clock():
    """Whole numbers come as text."""
    crons = [
        {
            "name": "b",
            "cronSpec": {"udfPath": "a.js:b", "cronSchedule": {"type": "interval", "seconds": "3600"}},
        },
        {
            "name": "a",
            "cronSpec": {
                "udfPath": "a.js:c",
                "cronSchedule": {"type": "daily", "hourUTC": "3", "minuteUTC": "15"},
            },
        },
        {
            "name": "c",
            "cronSpec": {"udfPath": "a.js:d", "cronSchedule": {"type": "cron", "cronExpr": "0 4 * * *"}},
        },
    ]
    assert scene(value(crons)).convex.crons() == (
        Cron("a", "a:c", "daily at 03:15 UTC"),
        Cron("b", "a:b", "every 3600 s"),
        Cron("c", "a:d", "0 4 * * *"),
    )


def test_waiting_functions_are_read_by_an_inline_query_page_by_page():
    """Only what has not run yet, soonest first, without arguments."""
    late = {"name": "mail.js:send", "at": MS + 60000, "running": False}
    soon = {"name": "mail.js:sweep", "at": MS, "running": True}
    made = scene(
        value({"waiting": [late], "isDone": False, "cursor": 'c"1'}),
        value({"waiting": [soon], "isDone": True, "cursor": "end"}),
    )
    found = made.convex.scheduled()
    assert found.complete
    assert found.waiting == (
        Waiting("mail:sweep", AT, running=True),
        Waiting("mail:send", AT + timedelta(minutes=1), running=False),
    )
    first, second = made.platform.body(0), made.platform.body(1)
    assert (first["bundle"]["path"], first["adminKey"]) == ("testQuery.js", KEY)
    assert 'ctx.db.system.query("_scheduled_functions")' in first["bundle"]["source"]
    assert "cursor: null" in first["bundle"]["source"]
    assert 'cursor: "c\\"1"' in second["bundle"]["source"]
    assert "args" not in first["bundle"]["source"]


def test_too_many_waiting_functions_are_said_to_be_incomplete():
    """The list ends; that it does is told."""
    made = scene(value({"waiting": [], "isDone": False, "cursor": "again"}))
    assert made.convex.scheduled().complete is False


def test_values_of_environment_variables_are_redacted_and_not_kept():
    """Names only; every form of a value is blanked from then on, ordinary words are not."""
    values = {
        "STRIPE_KEY": "sk_live_2718281828",
        "JWT": "-----BEGIN KEY-----\nMIIB2718281828\n-----END KEY-----",
        "STAGE": "production",
        "SITE": "https://derrimut247.com.au",
        "HOOK": "https://hooks.example.com/services/2718281828",
        "QUOTED": 'a"2718281828',
    }
    made = scene(ok({"environmentVariables": values}))
    assert made.convex.variables() == tuple(sorted(values))
    shown = made.redactor.redact(
        json.dumps(values) + " MIIB2718281828 https%3A%2F%2Fhooks.example.com%2Fservices%2F2718281828"
    )
    assert "2718281828" not in shown
    assert '"production"' in shown
    assert '"https://derrimut247.com.au"' in shown
    assert "2718281828" not in f"{made.convex!r}{vars(made.convex)!r}"


# Whether functions answer


def test_query_that_fails_at_200_is_a_failure():
    """The status alone proves nothing; the request's id is no part of the reason."""
    words = "[Request ID: ab12] Server Error\nUncaught Error: no such user"
    made = scene(failure(words, errorData={"code": 1}), value({"name": "Ana"}), value(None))
    failed = made.convex.query("users:get", {"clerkId": "u"})
    assert (failed.ok, failed.error, failed.data) == (
        False,
        "Server Error\nUncaught Error: no such user",
        {"code": 1},
    )
    found = made.convex.query("users:get", {"clerkId": "u"})
    assert (found.ok, found.value, found.lacks(["name", "email"])) == (True, {"name": "Ana"}, ("email",))
    empty = made.convex.query("users:get", {})
    assert (empty.ok, empty.value, empty.lacks(["name"])) == (True, None, ("name",))
    assert made.platform.body(0) == {"path": "users:get", "args": {"clerkId": "u"}, "format": "json"}
    assert "Ana" not in repr(found)


def test_failure_said_with_560_is_read_like_one_at_200():
    """Convex's own clients take it for the same."""
    made = scene(ok({"status": "error", "errorMessage": "no"}, 560))
    assert made.convex.query("a:b", {}).ok is False


@pytest.mark.parametrize("body", [{}, {"status": "perhaps"}, []])
def test_answer_that_is_neither_success_nor_failure_is_unreachable(body):
    """Unknown is never success."""
    with pytest.raises(Unreachable):
        scene(ok(body)).convex.query("a:b", {})


@pytest.mark.parametrize(
    "read", ["functions", "state", "last_push", "schema", "tables", "crons", "scheduled"], ids=str
)
def test_system_query_that_is_refused_at_200_is_a_refusal(read):
    """The permission that the key lacks is named."""
    made = scene(failure("You do not have permission to perform this operation (deployment:data:view)."))
    with pytest.raises(ReadRefused, match="deployment:data:view") as caught:
        getattr(made.convex, read)()
    assert "environment variable CONVEX_DEPLOY_KEY" in caught.value.next_step


def test_query_that_this_backend_does_not_have_is_said_to_be_so():
    """The key is not blamed for it."""
    made = scene(failure("Could not find public function for '_system/frontend/getSchemas:default'."))
    with pytest.raises(ReadRefused) as caught:
        made.convex.schema()
    assert caught.value.next_step == "This deployment's backend does not tell it."


@pytest.mark.parametrize("answer", [ok({"status": "success"}), ok([]), ok({"moduleHashes": [{"path": "a"}]})])
@pytest.mark.parametrize(
    "read", ["functions", "state", "live", "tables", "crons", "variables", "identity"], ids=str
)
def test_answer_of_another_shape_is_unreachable(read, answer):
    """A page of something else is no empty list."""
    with pytest.raises(Unreachable):
        getattr(scene(answer).convex, read)()


# The log


def entry(at: datetime, error: str | None = None, **more: Any) -> dict[str, Any]:
    """Make one line of the log."""
    told = {"kind": "Completion", "identifier": "users.js:list", "timestamp": at.timestamp(), "error": error}
    return told | more


def page(*entries: dict[str, Any], cursor: float) -> httpx.Response:
    """Answer with some lines."""
    return ok({"entries": list(entries), "newCursor": cursor})


def held(made: Callable[[], Scene], seconds: float = 60) -> Any:
    """Hold the request open until the caller's time is over."""

    def answer(request: httpx.Request) -> httpx.Response:
        made().clock.advance(min(seconds, request.extensions["timeout"]["read"]))
        raise httpx.ReadTimeout("timed out")

    return answer


def test_share_of_failures_counts_what_ended_in_the_window():
    """Neither what came before and after, nor our own reads, nor progress, nor what is tried again."""
    end = BEGAN + timedelta(minutes=1)
    inside, late = BEGAN + timedelta(seconds=5), end + timedelta(seconds=1)
    made = scene(
        page(
            entry(BEGAN - timedelta(seconds=1), "Uncaught Error: before"),
            entry(inside),
            entry(inside, "Uncaught Error: a\n at x", identifier="plans.js:all"),
            entry(inside, "Uncaught Error: b", willRetry=True),
            entry(inside, kind="Progress"),
            entry(inside, "ours", identifier="_system/cli/tables.js:default"),
            entry(inside, "ours", identifier="testQuery.js:default"),
            cursor=1.0e15,
        ),
        page(entry(inside), entry(late, "Uncaught Error: after"), cursor=1.1e15),
    )
    found = made.convex.executions(BEGAN, end, deadline_s=300)
    assert (found.calls, found.failed, found.share) == (3, 1, pytest.approx(1 / 3))
    assert (found.complete, found.note) == (True, "")
    assert [(one.name, one.calls, one.failed) for one in found.functions] == [
        ("plans:all", 1, 1),
        ("users:list", 2, 0),
    ]
    assert found.samples == ("plans:all: Uncaught Error: a",)
    assert made.platform.query(0) == [("cursor", f"{BEGAN.timestamp() * 1000:.3f}")]
    assert made.platform.query(1) == [("cursor", "1000000000000000.000")]


def test_call_that_was_under_way_when_the_window_began_does_not_count():
    """At the moment of a push it ran the code before it, and says nothing of the code that is live."""
    at = BEGAN + timedelta(milliseconds=20)
    made: Scene = scene(
        page(
            entry(at, "Uncaught TypeError: of the old code", executionTime=0.05),
            entry(at, executionTime=0.01),
            cursor=1.0e15,
        ),
        held(lambda: made),
    )
    found = made.convex.executions(BEGAN, BEGAN + timedelta(minutes=1), deadline_s=120)
    assert (found.calls, found.failed) == (1, 0)


def test_silent_log_is_no_data():
    """Held open until the deadline without a word: no share, and why."""
    made: Scene = scene(held(lambda: made))
    found = made.convex.executions(BEGAN - timedelta(minutes=5), BEGAN - timedelta(seconds=1), deadline_s=20)
    assert (found.calls, found.share, found.complete) == (0, None, False)
    assert found.note == "no function call ended in the window; the log did not answer"
    assert made.clock.now() - BEGAN <= timedelta(seconds=21)


def test_log_that_answered_and_then_has_nothing_more_is_complete():
    """Held open after the window's end: everything up to it has been seen."""
    start = BEGAN - timedelta(minutes=5)
    made: Scene = scene(page(entry(start + timedelta(seconds=1)), cursor=1.0e15), held(lambda: made))
    found = made.convex.executions(start, BEGAN - timedelta(seconds=1), deadline_s=20)
    assert (found.calls, found.share, found.complete, found.note) == (1, 0.0, True, "")


def test_window_that_is_not_over_at_the_deadline_is_incomplete():
    """What was read counts; that it may not be all is said."""
    at = BEGAN + timedelta(seconds=1)
    made: Scene = scene(page(entry(at, "Uncaught Error: a"), cursor=1.0e15), held(lambda: made))
    found = made.convex.executions(BEGAN, BEGAN + timedelta(hours=1), deadline_s=20)
    assert (found.share, found.complete) == (1.0, False)
    assert "was not seen up to" in found.note


def test_log_that_answers_at_once_with_nothing_is_not_asked_in_a_circle():
    """A pause between questions, and an end at the deadline."""
    made = scene(page(cursor=0.0))
    found = made.convex.executions(BEGAN, BEGAN + timedelta(hours=1), deadline_s=10)
    assert found.share is None
    assert len(made.platform.seen) <= 21
    assert sum(made.clock.slept) == pytest.approx(10)


def test_log_that_breaks_off_leaves_what_was_read():
    """A lost answer ends the reading; it does not undo it."""
    made = scene(page(entry(BEGAN + timedelta(seconds=1)), cursor=1.0e15), httpx.ReadError("reset"))
    found = made.convex.executions(BEGAN, BEGAN + timedelta(hours=1), deadline_s=60)
    assert (found.calls, found.complete) == (1, False)
    assert "reset" in found.note


def test_log_that_the_key_may_not_read_is_refused():
    """It is not asked again."""
    made = scene(ok({"code": "Forbidden", "message": "deployment:logs:view"}, 403))
    with pytest.raises(ReadRefused, match="logs:view"):
        made.convex.executions(BEGAN, BEGAN, deadline_s=60)
    assert len(made.platform.seen) == 1


# The door


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/api/mutation"),
        ("POST", "/api/action"),
        ("POST", "/api/function"),
        ("POST", "/api/deploy2/start_push"),
        ("POST", "/api/deploy2/finish_push"),
        ("POST", "/api/v1/pause_deployment"),
        ("POST", "/api/v1/update_environment_variables"),
        ("POST", "/api/perform_import"),
        ("GET", "/api/query"),
        ("POST", "/api/query/x"),
    ],
)
def test_whatever_no_rule_names_is_an_effect(verb, path):
    """A request that is not known to read changes production."""
    made = scene(ok())
    assert made.convex._api.service.class_of(verb, path) is RequestClass.EFFECT
    with pytest.raises(PlanViolation):
        made.convex._api.read(verb, path)
    assert made.platform.seen == []


def test_key_appears_nowhere_and_the_word_convex_stays():
    """The secret is blanked in what Convex repeats; the name of the platform is no secret."""
    made = scene(ok({"code": "BadAdminKey", "message": f"Convex does not know {KEY}"}, 401))
    with pytest.raises(ReadRefused) as caught:
        made.convex.query("a:b", {})
    assert SECRET not in str(caught.value)
    assert "Convex does not know" in caught.value.happened
