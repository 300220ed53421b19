"""Functions of the simulated backend: they really run, on the data there is, within the platform's rules."""

from __future__ import annotations

import time

import pytest
from convex_tiny import app

from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.callers import NOBODY, Caller
from rollback_lib.simulator.convex.spec import ALL_ACTIONS, ConvexSpec, Visitor
from rollback_lib.simulator.convex.storage import SCHEDULED, Range
from rollback_lib.simulator.refusal import Refusal

ADMIN = Caller("key", frozenset(ALL_ACTIONS))
REPL = 'import { query } from "convex:/_system/repl/wrappers.js";\n'


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000.0

    def __call__(self) -> float:
        return self.ms


@pytest.fixture(scope="module")
def living():
    """One backend for all tests: a process is slow to start."""
    clock = Clock()
    backend = Backend(ConvexSpec(variables={"SECRET": "abc"}), 1, clock)
    backend.install(app())
    yield backend, clock
    backend.close()


@pytest.fixture
def backend(living):
    made, _ = living
    made.set_paused(False)
    for row in made.storage.scan(Range("users"), None, 1_000):
        made.storage.delete(row.document["_id"])
    return made


def call(backend, name, args=None, caller=ADMIN, kind=None):
    return backend.functions.call(f"users:{name}", args or {}, caller, kind)


def clerks(backend):
    return [row.document["clerkId"] for row in backend.storage.scan(Range("users"), None, 1_000)]


def test_query_finds_what_a_mutation_wrote(backend):
    """By index; what the functions print comes along."""
    id_ = call(backend, "add", {"clerkId": "u1", "name": "Ann"}).value
    outcome = call(backend, "getUserByClerkId", {"clerkId": "u1"})
    assert outcome.value["_id"] == id_
    assert outcome.value["name"] == "Ann"
    assert [line["messages"] for line in outcome.lines] == [["'looking'", "'u1'"]]
    assert call(backend, "getUserByClerkId", {"clerkId": "u2"}).value is None


def test_many_documents_come_in_their_order(backend):
    """However they are handed over: all of them, once."""
    backend.storage.insert_many("users", ({"clerkId": f"u{n}"} for n in range(300)))
    assert [one["clerkId"] for one in call(backend, "list").value] == [f"u{n}" for n in range(300)]


def test_failed_mutation_leaves_nothing_behind(backend):
    """All or nothing; the error carries its data."""
    outcome = call(backend, "addAndFail", {"clerkId": "u1"})
    assert (outcome.has_data, outcome.data) == (True, {"code": "TAKEN"})
    assert outcome.error.startswith("Uncaught")
    assert clerks(backend) == []


def test_part_of_a_mutation_that_fails_is_undone_alone(backend):
    """What a mutation catches does not undo what it did itself."""
    said, data = call(backend, "tries", {"clerkId": "outer"}).value
    assert said.startswith("Uncaught")
    assert data == {"code": "TAKEN"}
    assert clerks(backend) == ["outer"]


def test_document_is_changed_and_taken_away(backend):
    """A field is put in, another taken out."""
    id_ = call(backend, "add", {"clerkId": "u1", "name": "Ann"}).value
    call(backend, "edit", {"id": id_, "value": {"clerkId": "u2", "name": {"$undefined": None}}})
    document = backend.storage.get(id_)
    assert (document["clerkId"], "name" in document) == ("u2", False)
    call(backend, "remove", {"id": id_})
    assert clerks(backend) == []


def test_document_that_does_not_fit_the_live_schema_is_not_written(backend):
    """With the platform's words for it."""
    outcome = call(backend, "add", {"clerkId": "u1", "age": 3})
    assert 'Failed to insert or update a document in table "users" because it does not match the schema' in (
        outcome.error
    )
    assert "extra field `age`" in outcome.error
    assert clerks(backend) == []


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        (
            "getUserByClerkId",
            {"clerkId": 1},
            "ArgumentValidationError: Value does not match validator.\nPath: .clerkId",
        ),
        ("lying", {}, "ReturnsValidationError: Value does not match validator."),
        ("broken", {}, "Uncaught Error: it broke\n    at"),
        ("writes", {"clerkId": "u"}, "Queries may not write"),
        ("fetches", {}, "Can't use fetch() in queries and mutations."),
        ("outside", {}, "fetch failed"),
        ("edit", {"id": "nosuch", "value": {}}, "nonexistent document"),
    ],
)
def test_call_that_breaks_a_rule_fails(backend, name, args, words):
    """And nothing was written."""
    assert words in call(backend, name, args).error
    assert clerks(backend) == []


def test_action_calls_others_and_each_stands_in_the_log(backend):
    """Its mutation is done, also the one that only it may call."""
    before = len(backend.logs.entries())
    id_, hidden = call(backend, "both", {"clerkId": "u1"}).value
    assert (hidden, backend.storage.get(id_)["clerkId"]) == ("hidden", "u1")
    new = backend.logs.entries()[before:]
    assert [(entry.identifier, entry.caller) for entry in new] == [
        ("users.js:add", "Action"),
        ("users.js:hidden", "Action"),
        ("users.js:both", "HttpApi"),
    ]
    assert {entry.request_id for entry in new} == {new[-1].request_id}


def test_each_call_stands_in_the_log_with_its_error(backend):
    """In full, whatever the caller was told."""
    outcome = call(backend, "broken", caller=NOBODY, kind="query")
    entry = backend.logs.entries()[-1]
    assert (entry.identifier, entry.kind, entry.request_id) == (
        "users.js:broken",
        "Query",
        outcome.request_id,
    )
    assert "it broke" in entry.error
    assert entry.identity == "unknown"


@pytest.mark.parametrize(
    ("name", "caller", "kind", "words"),
    [
        ("nope", NOBODY, "query", "Could not find public function for 'users:nope'"),
        ("hidden", NOBODY, "query", "Could not find public function for 'users:hidden'"),
        (
            "nope",
            ADMIN,
            None,
            "Could not find function for 'users:nope'. Did you forget to run `npx convex dev`?",
        ),
        ("add", NOBODY, "query", "Trying to execute users.js:add as Query, but it is defined as Mutation."),
    ],
)
def test_function_that_is_not_there_for_the_caller(backend, name, caller, kind, words):
    """A hidden one is not there for those without a key."""
    assert words in call(backend, name, caller=caller, kind=kind).error


def test_key_that_may_not_run_what_is_internal(backend):
    """Named in the refusal."""
    lesser = Caller("key", frozenset({"deployment:deploy"}))
    with pytest.raises(Refusal) as refused:
        call(backend, "hidden", caller=lesser)
    assert (refused.value.status, refused.value.code) == (403, "OperationNotPermitted")
    assert "deployment:functions:runInternalQueries" in refused.value.message
    assert call(backend, "hidden").value == "hidden"


def test_paused_deployment_runs_nothing(backend):
    """Everybody is told why."""
    backend.set_paused(True)
    outcome = call(backend, "add", {"clerkId": "u1"})
    assert outcome.error.startswith("Cannot run functions while this deployment is paused.")
    assert outcome.told_to_all
    assert clerks(backend) == []


def test_functions_see_variables_and_the_worlds_time(backend):
    """The variables of now; one moment for a whole query."""
    assert call(backend, "secret").value == "abc"
    assert call(backend, "when").value == 1_800_000_000_000


def test_inline_query_reads_and_nothing_else(backend):
    """Documents, filters, the scheduled functions; writing is not there."""
    backend.storage.insert_many("users", [{"clerkId": "a"}, {"clerkId": "b"}])
    job = call(backend, "later", {"in_s": 1000}).value
    source = """export default query({ handler: async (ctx) => [
      (await ctx.db.query('users').filter((q) => q.eq(q.field('clerkId'), 'b')).collect()).length,
      (await ctx.db.query('users').withIndex('by_clerk', (q) => q.gt('clerkId', 'a')).first()).clerkId,
      await ctx.db.query('users').count(),
      (await ctx.db.system.query('_scheduled_functions').collect()).map((job) => [job._id, job.name]),
      typeof ctx.db.insert,
    ] });"""
    outcome = backend.functions.call_inline(REPL + source, {}, ADMIN)
    assert outcome.error is None
    assert outcome.value == [1, "b", 2, [[job, "users.js:add"]], "undefined"]
    backend.storage.delete(job)


def test_scheduled_function_runs_when_it_is_due(living):
    """Not before, and not while the deployment is paused."""
    backend, clock = living
    job = call(backend, "later", {"in_s": 60}).value
    backend._run_due()
    assert backend.storage.get(job)["state"] == {"kind": "pending"}
    clock.ms += 61_000
    backend._run_due()
    assert backend.storage.get(job)["state"] == {"kind": "success"}
    assert "later" in clerks(backend)
    clock.ms = 1_800_000_000_000.0
    assert backend.storage.scan(Range(SCHEDULED), None, 9)


def test_call_without_end_ends_and_the_next_one_runs(backend, monkeypatch):
    """The process is replaced; nothing else is lost."""
    monkeypatch.setattr("rollback_lib.simulator.convex.worker._LONGEST_S", 0.5)
    assert "timed out" in call(backend, "endless").error
    monkeypatch.undo()
    assert call(backend, "add", {"clerkId": "after"}).error is None
    assert clerks(backend) == ["after"]


def test_visitors_call_by_themselves():
    """Each at its own pace, as somebody without a key."""
    spec = ConvexSpec(
        visitors=tuple(Visitor(path=f"users:{name}", every_s=0.01) for name in ("list", "broken", "gone"))
    )
    backend = Backend(spec, 1, lambda: time.time() * 1000)
    try:
        backend.install(app())
        backend.open()
        until = time.monotonic() + 20
        while len(backend.logs.entries()) < 6 and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        backend.close()
    seen = {(entry.identifier, entry.error is None, entry.identity) for entry in backend.logs.entries()}
    expected = {("users.js:list", True), ("users.js:broken", False), ("users.js:gone", False)}
    assert {(name, good, "unknown") for name, good in expected} <= seen


@pytest.mark.parametrize("kind", ["query", "mutation", "action"])
@pytest.mark.parametrize(
    ("path", "identifier", "words"),
    [
        ("users:nope", "users.js:nope", "Could not find public function for 'users:nope'. Did you forget"),
        ("gone", "gone.js:default", "Could not find public function for 'gone'. Did you forget"),
        ("users:hidden", "users.js:hidden", "Could not find public function for 'users:hidden'. Did you"),
    ],
)
def test_call_of_what_is_not_there_stands_in_the_log(backend, kind, path, identifier, words):
    """As a call that failed: by the name and as the kind that it was asked for as, also where it is not public."""
    before = len(backend.logs.entries())
    outcome = backend.functions.call(path, {}, NOBODY, kind, "SyncWorker")
    (entry,) = backend.logs.entries()[before:]
    assert (entry.identifier, entry.kind) == (identifier, kind.capitalize())
    assert (entry.caller, entry.identity) == ("SyncWorker", "unknown")
    assert entry.error.startswith(words)
    assert (outcome.error, outcome.request_id) == (entry.error, entry.request_id)


def test_call_as_another_kind_stands_in_the_log(backend):
    """It fails before the function runs, and is a call all the same."""
    call(backend, "add", {"clerkId": "u1"}, NOBODY, "query")
    entry = backend.logs.entries()[-1]
    assert (entry.identifier, entry.kind) == ("users.js:add", "Query")
    assert "Trying to execute users.js:add as Query" in entry.error
    assert clerks(backend) == []


def test_name_of_no_kind_that_leads_nowhere_is_logged_for_the_scheduler_only(backend):
    """Convex looks the kind up before it calls; a scheduled call whose function is gone is logged as a mutation."""
    before = len(backend.logs.entries())
    assert "Could not find function" in call(backend, "nope").error
    assert backend.logs.entries()[before:] == []
    backend.functions.call("users:nope", {}, ADMIN, origin="Scheduler")
    (entry,) = backend.logs.entries()[before:]
    assert (entry.identifier, entry.kind, entry.caller) == ("users.js:nope", "Mutation", "Scheduler")


def test_call_of_a_paused_deployment_stands_in_the_log(backend):
    """Convex refuses it where it looks for the function, and logs it as one that failed."""
    backend.set_paused(True)
    call(backend, "list", caller=NOBODY, kind="query")
    entry = backend.logs.entries()[-1]
    assert (entry.identifier, entry.kind) == ("users.js:list", "Query")
    assert entry.error.startswith("Cannot run functions while this deployment is paused")


@pytest.mark.parametrize("inline", [False, True])
def test_call_whose_code_was_chosen_before_a_push_is_dated_before_it(living, backend, monkeypatch, inline):
    """What the log dates behind a push has run the pushed code, also where a push comes between choice and beginning."""
    _, clock = living
    clock.ms += 100_000  # behind all that other tests have called
    choose = backend.functions._revision

    def push_meanwhile():
        chosen = choose()
        clock.ms += 1
        backend.install(app())
        return chosen

    monkeypatch.setattr(backend.functions, "_revision", push_meanwhile)
    if inline:
        backend.functions.call_inline(REPL + "export default query({ handler: async () => 1 });", {}, ADMIN)
    else:
        call(backend, "getUserByClerkId", {"clerkId": "u1"})
    told = backend.logs.after(0, structured=True)[0][-1]
    assert told["timestamp"] - told["executionTime"] < backend.last_push_ms / 1000
    assert backend.logs.entries()[-1].began_ms < backend.last_push_ms


def test_call_of_a_pushs_very_millisecond_is_not_held_against_its_code(living, backend, monkeypatch):
    """Which code it ran nobody can say."""
    _, clock = living
    clock.ms += 100_000  # behind all that other tests have called
    choose = backend.functions._revision

    def push_meanwhile():
        chosen = choose()
        backend.install(app())
        return chosen

    monkeypatch.setattr(backend.functions, "_revision", push_meanwhile)
    assert call(backend, "broken").error is not None
    assert backend.logs.entries()[-1].began_ms == backend.last_push_ms
    assert (backend.view().calls, backend.view().failed_calls) == (0, 0)
