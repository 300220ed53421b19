"""The official Python client (`convex.http_client`) against the simulated backend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from convex import ConvexError, ConvexInt64
from convex.http_client import ConvexHttpClient

from rollback_lib.simulator import WorldSpec, serve
from rollback_lib.simulator.convex.spec import ConvexSpec

sys.path.append(str(Path(__file__).parent.parent))

from convex_tiny import app


@pytest.fixture(scope="module")
def serving():
    """One company with the tiny app for all tests."""
    with serve(WorldSpec(convex=ConvexSpec(), history_s=60, older_deployments=3)) as made:
        made.world.convex.install(app())
        yield made


@pytest.fixture
def client(serving):
    return ConvexHttpClient(serving.addresses["convex"])


def test_queries_and_mutations_go_through(client, serving):
    """Values come back as the client's own."""
    id_ = client.mutation("users:add", {"clerkId": "py", "name": "Ann"})
    found = client.query("users:getUserByClerkId", {"clerkId": "py"})
    assert (found["_id"], found["name"]) == (id_, "Ann")
    assert serving.world.convex.storage.get(id_)["clerkId"] == "py"


def test_int64_comes_back_as_one(client, serving):
    """In the exact format."""
    client.set_admin_auth(serving.world.token("CONVEX_DEPLOY_KEY"))
    serving.world.convex.storage.insert("orders", {"n": {"$integer": "BwAAAAAAAAA="}})
    asked = {"table": "orders", "paginationOpts": {"cursor": None, "numItems": 1}}
    page = client.query("_system/cli/tableData", asked)["page"]
    assert page[0]["n"] == ConvexInt64(7)


def test_error_with_data_is_the_clients_own(client):
    """The text is hidden from it, the data is not."""
    with pytest.raises(ConvexError) as failed:
        client.mutation("users:addAndFail", {"clerkId": "x"})
    assert failed.value.data == {"code": "TAKEN"}


def test_other_error_is_hidden_without_a_key(client, serving):
    """With one it is told in full."""
    with pytest.raises(Exception, match=r"^\[Request ID: [0-9a-f]{16}\] Server Error$"):
        client.query("users:broken", {})
    client.set_admin_auth(serving.world.token("CONVEX_DEPLOY_KEY"))
    with pytest.raises(Exception, match="it broke"):
        client.query("users:broken", {})


def test_key_that_is_none_is_told_by_status_code_and_message(client):
    """As the client reads it from the body."""
    client.set_admin_auth("prod:happy-otter-123|wrong2718281828")
    with pytest.raises(Exception, match=r"401.*BadAdminKey"):
        client.query("users:list", {})


def test_action_runs(client):
    """It calls a mutation and an internal query."""
    assert client.action("users:both", {"clerkId": "act"})[1] == "hidden"
