"""What the simulated backend answers besides pushes: calls, keys, logs, the account of changes, variables, pause."""

from __future__ import annotations

import base64
import json
import threading
import time

import httpx
import pytest
from convex_tiny import app
from websockets.sync.client import connect

from rollback_lib.simulator import Fault, TokenSpec, WorldSpec, serve
from rollback_lib.simulator.convex.callers import NOBODY
from rollback_lib.simulator.convex.spec import ConvexSpec

LESSER = "prod:happy-otter-123|2718281828a"
OTHER = "prod:calm-llama-9|2718281828b"
ZERO = base64.b64encode(bytes(8)).decode()


@pytest.fixture(scope="module")
def serving():
    """One world for all tests."""
    tokens = (
        TokenSpec(name="CONVEX_DEPLOY_KEY", service="convex"),
        TokenSpec(name="lesser", service="convex", value=LESSER, scopes=("deployment:deploy",)),
        TokenSpec(name="other", service="convex", value=OTHER),
        TokenSpec(name="CONVEX_ACCESS_TOKEN", service="convex_api"),
        TokenSpec(name="bypass", service="app", scopes=("bypass",)),
    )
    spec = WorldSpec(convex=ConvexSpec(), tokens=tokens, history_s=60, older_deployments=3)
    with serve(spec) as made:
        made.world.convex.install(app(), "first", at_ms=1_000)
        yield made


@pytest.fixture
def backend(serving):
    made = serving.world.convex
    made.set_paused(False)
    made.set_variables({"SECRET": "abc"})
    object.__setattr__(made, "spec", ConvexSpec())
    serving.world.faults.clear()
    return made


@pytest.fixture
def http(serving, backend):  # noqa: ARG001 - the backend is put in order before
    key = serving.world.token("CONVEX_DEPLOY_KEY")
    headers = {"Authorization": f"Convex {key}", "Convex-Client": "npm-cli-1.48.0"}
    with httpx.Client(
        base_url=serving.addresses["convex"], headers=headers, trust_env=False, timeout=30
    ) as made:
        yield made


def call(http, name, args=None, *, key=True, kind="query", **more):
    headers = {} if key is True else {"Authorization": key or ""}
    if key is None:
        headers = {"Authorization": ""}
    return http.post(
        f"/api/{kind}", json={"path": f"users:{name}", "args": args or {}, **more}, headers=headers
    )


def test_failure_is_told_with_status_200(http, backend):
    """In full to those with a key; to others nothing but a number, by which the log has it."""
    full = call(http, "broken")
    assert full.status_code == 200
    assert "Uncaught Error: it broke" in full.json()["errorMessage"]
    hidden = call(http, "broken", key=None).json()
    number = backend.logs.entries()[-1].request_id
    assert hidden == {"status": "error", "errorMessage": f"[Request ID: {number}] Server Error"}


def test_data_of_an_error_is_told_to_everybody(http):
    """It is meant for them; the text is not."""
    told = call(http, "addAndFail", {"clerkId": "u1"}, key=None, kind="mutation").json()
    assert told["errorData"] == {"code": "TAKEN"}
    assert told["errorMessage"].endswith("Server Error")


def test_prints_are_told_to_those_with_a_key(http):
    """As text."""
    assert call(http, "getUserByClerkId", {"clerkId": "x"}).json()["logLines"] == ["[LOG] 'looking' 'x'"]
    assert "logLines" not in call(http, "getUserByClerkId", {"clerkId": "x"}, key=None).json()


@pytest.mark.parametrize(
    ("path", "key", "status", "words"),
    [
        ("users:nope", None, 200, "Could not find public function for 'users:nope'"),
        ("users:hidden", None, 200, "Could not find public function"),
        ("_system/cli/tables", None, 200, "Could not find public function"),
        ("", None, 400, "BadConvexFunctionIdentifier"),
        ("users:list", "Convex prod:happy-otter-123|wrong", 401, "BadAdminKey"),
        ("users:list", f"Convex {OTHER}", 401, "The provided admin key was invalid for this instance"),
        ("users:list", "Bearer nonsense", 401, "InvalidAuthHeader"),
        ("_system/cli/tables", f"Convex {LESSER}", 403, "deployment:data:view"),
    ],
)
def test_call_that_is_not_answered(http, path, key, status, words):
    """Each in the platform's own shape."""
    headers = {"Authorization": key or ""}
    reply = http.post("/api/query", json={"path": path, "args": {}}, headers=headers)
    assert (reply.status_code, words in reply.text) == (status, True)


def test_formats_of_values(http, backend):
    """Int64 as text in the clean one; another name of a format is refused."""
    backend.storage.insert("orders", {"n": {"$integer": "BwAAAAAAAAA="}})
    asked = {
        "path": "_system/cli/tableData",
        "args": {"table": "orders", "paginationOpts": {"cursor": None, "numItems": 5}},
    }
    clean = http.post("/api/query", json=asked).json()
    exact = http.post("/api/query", json={**asked, "format": "convex_encoded_json"}).json()
    assert clean["value"]["page"][0]["n"] == "7"
    assert exact["value"]["page"][0]["n"] == {"$integer": "BwAAAAAAAAA="}
    refused = http.post("/api/query", json={**asked, "format": "xml"})
    assert (refused.status_code, refused.json()["code"]) == (400, "BadFormat")


def test_other_ways_to_call(http):
    """By GET, by a path, with the arguments in a list."""
    by_get = http.get("/api/query", params={"path": "users:secret", "args": "{}", "format": "json"})
    by_path = http.post("/api/run/users/secret", json={"args": [{}]})
    assert by_get.json() == by_path.json() == {"status": "success", "value": "abc"}


def test_function_of_any_kind_needs_a_key(http):
    """`convex run` calls by it."""
    assert call(http, "secret", kind="function").json()["value"] == "abc"
    refused = call(http, "secret", kind="function", key=None)
    assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")


def test_key_can_act_as_a_user(http, serving):
    """What stands behind the key is the user; a lesser key may not."""
    who = base64.b64encode(json.dumps({"subject": "u1"}).encode()).decode()
    key = serving.world.token("CONVEX_DEPLOY_KEY")
    assert call(http, "secret", key=f"Convex {key}:{who}").json()["value"] == "abc"
    assert serving.world.convex.logs.entries()[-1].identity == "member_acting_user"
    assert serving.world.ledger.entries()[-1].caller == "CONVEX_DEPLOY_KEY"
    refused = call(http, "secret", key=f"Convex {LESSER}:{who}")
    assert "deployment:functions:actAsUser" in refused.json()["message"]


def test_paused_deployment_answers_the_platforms_own_queries_only(http, serving):
    """Pausing twice is fine, going on twice is not; both stand in the account."""
    assert http.post("/api/v1/unpause_deployment").json() == {
        "code": "UnpauseDeploymentFailed",
        "message": "Deployment is not currently paused.",
    }
    assert [http.post("/api/v1/pause_deployment").status_code for _ in range(2)] == [200, 200]
    assert "while this deployment is paused" in call(http, "list", key=None).json()["errorMessage"]
    state = http.post("/api/query", json={"path": "_system/frontend/backendState:backendState", "args": {}})
    assert state.json()["value"]["user"] == "paused"
    assert http.post("/api/v1/unpause_deployment").content == b""
    assert call(http, "list").json()["status"] == "success"
    actions = [row.action for row in serving.world.convex.audit.rows]
    assert actions[-2:] == ["pause_deployment", "unpause_deployment"]
    told = [(e.weight, e.applied) for e in serving.world.ledger.entries() if "pause_deployment" in e.path]
    assert told[-4:] == [
        ("production", False),
        ("production", True),
        ("production", False),
        ("production", True),
    ]


def test_variables_change_together_or_not_at_all(http, backend, serving):
    """Each change stands in the account without its value; so it does in the ledger."""
    changes = [{"name": "A", "value": "2718281828x"}, {"name": "SECRET", "value": None}]
    assert http.post("/api/update_environment_variables", json={"changes": changes}).status_code == 200
    assert http.get("/api/v1/list_environment_variables").json() == {
        "environmentVariables": {"A": "2718281828x"}
    }
    wrong = [{"name": "B", "value": "b"}, {"name": "1 2", "value": "c"}]
    refused = http.post("/api/v1/update_environment_variables", json={"changes": wrong})
    assert (refused.status_code, dict(backend.variables)) == (400, {"A": "2718281828x"})
    rows = [(row.action, dict(row.metadata)) for row in backend.audit.rows[-2:]]
    assert rows == [
        ("create_environment_variable", {"variable_name": "A"}),
        ("delete_environment_variable", {"variable_name": "SECRET"}),
    ]
    assert "2718281828x" not in json.dumps(serving.world.ledger.as_json())


def test_required_variable_cannot_be_removed(http, backend):
    """As long as the live code declares it."""
    backend.install(app(required=("SECRET",)))
    change = {"changes": [{"name": "SECRET", "value": None}]}
    refused = http.post("/api/v1/update_environment_variables", json=change)
    assert refused.json()["code"] == "RequiredEnvironmentVariable"
    assert dict(backend.variables) == {"SECRET": "abc"}
    backend.install(app())


def test_account_of_changes_comes_in_pages_oldest_first(http, backend):
    """Each page names the next; limits are the platform's."""
    for number in range(4):
        backend.audit.add(2_000 + number, "clear_tables", {"n": number})
    found, cursor = [], None
    while True:
        params = {"from": 2_000, "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = http.get("/api/v1/list_audit_log_events", params=params).json()
        found += page["items"]
        cursor = page["pagination"]["nextCursor"]
        if not page["pagination"]["hasMore"]:
            break
    times = [row["createTime"] for row in found]
    assert times == sorted(times)
    assert [row["metadata"]["n"] for row in found if row["action"] == "clear_tables"] == [0, 1, 2, 3]
    for limit in ("0", "101", "many"):
        refused = http.get("/api/v1/list_audit_log_events", params={"limit": limit})
        assert (refused.status_code, refused.json()["code"]) == (400, "LimitOutOfRange")


def test_account_of_changes_is_forbidden_on_a_cheap_plan(http, backend):
    """Everything else goes on."""
    object.__setattr__(backend, "spec", ConvexSpec(audit_log="forbidden"))
    refused = http.get("/api/v1/list_audit_log_events")
    assert (refused.status_code, refused.json()["code"]) == (403, "AuditLogsDisabled")
    assert call(http, "list").status_code == 200


def test_log_waits_for_something_to_tell(http, backend):
    """From the place that was given; lines are data for the command line, text for others."""
    call(http, "getUserByClerkId", {"clerkId": "x"})
    first = http.get("/api/stream_function_logs", params={"cursor": 0}).json()
    assert first["entries"][-1]["logLines"][0]["messages"] == ["'looking'", "'x'"]
    text = http.get("/api/stream_function_logs", params={"cursor": 0}, headers={"Convex-Client": "x"}).json()
    assert text["entries"][-1]["logLines"] == ["[LOG] 'looking' 'x'"]
    threading.Timer(0.3, lambda: backend.functions.call("users:broken", {}, NOBODY)).start()
    began = time.monotonic()
    cursor = repr(first["newCursor"])
    later = http.get("/api/stream_function_logs", params={"cursor": cursor}).json()
    assert time.monotonic() - began > 0.2
    assert [(entry["identifier"], "it broke" in entry["error"]) for entry in later["entries"]] == [
        ("users.js:broken", True)
    ]


def test_silent_log_holds_the_request(http, backend):
    """It never has anything to tell, though things happen."""
    object.__setattr__(backend, "spec", ConvexSpec(logs="silent"))
    call(http, "broken")
    with pytest.raises(httpx.ReadTimeout):
        http.get("/api/stream_function_logs", params={"cursor": 0}, timeout=0.5)


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/api/stream_function_logs", "deployment:logs:view"),
        ("GET", "/api/v1/list_audit_log_events", "deployment:auditLog:view"),
        ("GET", "/api/v1/list_environment_variables", "deployment:env:view"),
        ("POST", "/api/v1/update_environment_variables", "deployment:env:write"),
        ("POST", "/api/v1/pause_deployment", "deployment:pause"),
        ("POST", "/api/v1/unpause_deployment", "deployment:unpause"),
        ("POST", "/api/run_test_function", "deployment:functions:runTestQuery"),
    ],
)
def test_key_that_lacks_a_permission_is_told_which(http, backend, method, path, action):
    """And nothing was changed; no key at all is another refusal."""
    refused = http.request(method, path, json={"changes": []}, headers={"Authorization": f"Convex {LESSER}"})
    assert (refused.status_code, refused.json()["code"]) == (403, "OperationNotPermitted")
    assert f"({action})" in refused.json()["message"]
    nobody = http.request(method, path, json={"changes": []}, headers={"Authorization": ""})
    assert (nobody.status_code, nobody.json()["code"]) == (403, "BadDeployKey")
    assert not backend.paused


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("500", 500, "InternalServerError"),
        ("503", 503, "InternalServerError"),
        ("429", 429, "RateLimited"),
        ("deny", 403, "OperationNotPermitted"),
    ],
)
def test_faults_have_the_platforms_shape(http, serving, kind, status, code):
    """Code and message, at the top."""
    serving.world.faults.add((Fault(service="convex", kind=kind, path="/api/query"),))
    reply = call(http, "list")
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert call(http, "list").status_code == 200


def test_platforms_own_queries(http, backend):
    """Functions, tables, counts, the last push."""

    def ask(path, args=None):
        return http.post("/api/query", json={"path": path, "args": args or {}}).json()["value"]

    listed = {one["identifier"]: one for one in ask("_system/cli/modules:apiSpec")}
    assert listed["users.js:getUserByClerkId"]["functionType"] == "Query"
    assert listed["users.js:hidden"]["visibility"] == {"kind": "internal"}
    assert listed["users.js:getUserByClerkId"]["args"]["value"]["clerkId"]["fieldType"] == {"type": "string"}
    backend.storage.insert_many("counted", ({"n": n} for n in range(12)))
    assert {"name": "counted"} in ask("_system/cli/tables")["page"]
    assert ask("_system/cli/tableSize", {"tableName": "counted"}) == 12
    page = ask(
        "_system/cli/tableData",
        {"table": "counted", "order": "desc", "paginationOpts": {"cursor": None, "numItems": 5}},
    )
    assert [row["n"] for row in page["page"]] == [11, 10, 9, 8, 7]
    rest = {"cursor": page["continueCursor"], "numItems": 50}
    assert (
        len(
            ask("_system/cli/tableData", {"table": "counted", "order": "desc", "paginationOpts": rest})[
                "page"
            ]
        )
        == 7
    )
    assert ask("_system/cli/queryEnvironmentVariables:get", {"name": "SECRET"})["value"] == "abc"
    assert ask("_system/frontend/deploymentEvents:lastPushEvent")["action"] == "push_config_with_components"
    assert ask("_system/cli/convexUrl:cloudUrl") == backend.address


def test_control_plane_leads_a_key_to_its_deployment(serving, backend):
    """A key of another one leads elsewhere; the public part wants an access token."""
    at = serving.addresses["convex_api"]
    with httpx.Client(base_url=at, trust_env=False) as plane:

        def where(key):
            return plane.post(
                "/api/deployment/url_for_key",
                json={"deployKey": key},
                headers={"Authorization": f"Bearer {key}"},
            )

        key = serving.world.token("CONVEX_DEPLOY_KEY")
        assert where(key).json() == serving.addresses["convex"]
        assert where(OTHER).json() == "https://calm-llama-9.convex.cloud"
        assert where("prod:x|y").status_code == 401
        path = f"/v1/deployments/{backend.name}"
        assert plane.get(path).status_code == 401
        token = {"Authorization": f"Bearer {serving.world.token('CONVEX_ACCESS_TOKEN')}"}
        assert plane.get(path, headers=token).json()["lastDeployTime"] == round(backend.last_push_ms)
        assert plane.get("/v1/deployments/nosuch", headers=token).status_code == 404
    told = [(e.path, e.weight, e.caller) for e in serving.world.ledger.entries() if e.service == "convex_api"]
    assert ("/api/deployment/url_for_key", "nothing", "CONVEX_DEPLOY_KEY") in told


class Socket:
    """A client of the websocket that checks what every client checks: each transition begins where the last ended."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.version = {"querySet": 0, "identity": 0, "ts": ZERO}
        self.send(
            type="Connect", sessionId="s", connectionCount=0, lastCloseReason="InitialConnect", clientTs=0
        )

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def hear(self, timeout_s=20.0):
        return json.loads(self.socket.recv(timeout=timeout_s))

    def transition(self):
        said = self.hear()
        assert said["type"] == "Transition", said
        assert said["startVersion"] == self.version
        before, after = (base64.b64decode(v["ts"])[::-1] for v in (self.version, said["endVersion"]))
        assert after > before
        self.version = said["endVersion"]
        return said["modifications"]

    def authenticate(self, key):
        self.send(type="Authenticate", baseVersion=self.version["identity"], tokenType="Admin", value=key)

    def watch(self, number, path, args=None):
        add = {"type": "Add", "queryId": number, "udfPath": path, "args": [args or {}]}
        self.modify(add)

    def modify(self, *modifications):
        old = self.version["querySet"]
        self.send(
            type="ModifyQuerySet", baseVersion=old, newVersion=old + 1, modifications=list(modifications)
        )


@pytest.fixture
def socket(serving, backend):  # noqa: ARG001 - the backend is put in order before
    address = serving.addresses["convex"].replace("http", "ws") + "/api/1.48.0/sync"
    with connect(address, proxy=None) as made:
        yield Socket(made)


def test_watched_query_is_told_again_when_its_answer_changes(serving, backend, socket):
    """And only then."""
    socket.authenticate(serving.world.token("CONVEX_DEPLOY_KEY"))
    assert socket.transition() == []
    assert socket.version["identity"] == 1
    socket.watch(0, "_system/cli/tableSize:default", {"tableName": "watched"})
    [told] = socket.transition()
    assert (told["type"], told["queryId"], told["value"], told["journal"]) == ("QueryUpdated", 0, 0, None)
    backend.set_variables({"OTHER": "1"})
    with pytest.raises(TimeoutError):
        socket.hear(0.5)
    backend.storage.insert("watched", {"n": 1})
    [told] = socket.transition()
    assert told["value"] == 1
    socket.modify({"type": "Remove", "queryId": 0})
    assert socket.transition() == [{"type": "QueryRemoved", "queryId": 0}]
    backend.storage.insert("watched", {"n": 2})
    with pytest.raises(TimeoutError):
        socket.hear(0.3)


def test_key_that_is_none_ends_the_conversation(socket):
    """With the platform's words."""
    socket.authenticate("prod:happy-otter-123|wrong")
    assert socket.hear()["type"] == "AuthError"


def test_query_without_a_key_fails_as_over_http(socket):
    """The platform's own queries are not there; errors are hidden."""
    socket.watch(0, "_system/cli/tables:default")
    socket.watch(1, "users:broken")
    [first] = socket.transition()
    [second] = socket.transition()
    assert first["type"] == "QueryFailed"
    assert "Could not find public function" in first["errorMessage"]
    assert second["errorMessage"].endswith("Server Error")


def test_websocket_calls_of_what_is_not_there_stand_in_the_log(backend, socket):
    """A frontend that is newer than the backend: each of its calls fails and is logged, whatever its kind."""
    before = len(backend.logs.entries())
    socket.watch(0, "messages:list")
    [told] = socket.transition()
    for kind in ("Mutation", "Action"):
        socket.send(type=kind, requestId=3, udfPath="messages:react", args=[{}])
        assert socket.hear()["success"] is False
    words = "Could not find public function for 'messages:"
    assert (told["type"], words in told["errorMessage"]) == ("QueryFailed", True)
    new = backend.logs.entries()[before:]
    assert {(entry.kind, entry.identifier) for entry in new} == {
        ("Query", "messages.js:list"),
        ("Mutation", "messages.js:react"),
        ("Action", "messages.js:react"),
    }
    assert all(entry.error.startswith(words) and entry.caller == "SyncWorker" for entry in new)


def test_mutation_over_the_websocket_is_done_and_stands_in_the_ledger(serving, backend, socket):
    """As one over HTTP would."""
    socket.send(type="Mutation", requestId=3, udfPath="users:add", args=[{"clerkId": "socket"}])
    said = socket.hear()
    assert (said["type"], said["requestId"], said["success"]) == ("MutationResponse", 3, True)
    assert backend.storage.get(said["result"])["clerkId"] == "socket"
    entry = serving.world.ledger.entries()[-1]
    assert (entry.service, entry.path, entry.weight, entry.applied) == (
        "convex",
        "/api/mutation",
        "production",
        True,
    )


def test_world_without_a_backend_has_no_port_for_it():
    """Nor loads anything of it."""
    with serve(WorldSpec(history_s=60, older_deployments=3)) as plain:
        assert "convex" not in plain.addresses
        assert "convex" not in plain.platform
        assert "CONVEX_DEPLOY_KEY" not in plain.secrets
