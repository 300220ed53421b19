"""Serving worlds: ports, threads, the control port, credentials on disk."""

from __future__ import annotations

import json
import socket
import threading

import httpx
import pytest
from simulated import PROJECT

from rollback_lib.errors import BadParameters, Unreachable
from rollback_lib.parameters.dotenv import read_private
from rollback_lib.parameters.platform import Platform
from rollback_lib.simulator import DEFAULT_PORTS, Fault, Ports, WorldSpec, reset_running, serve, start

QUIET = WorldSpec(traffic_rps=1)
SERVICES = ("control", "vercel", "sentry", "slack", "app")


@pytest.fixture(scope="module")
def serving():
    """One world for the tests that leave it as it was."""
    with serve(QUIET) as served:
        yield served


@pytest.fixture
def own():
    """A world of one's own."""
    with serve(QUIET) as served:
        yield served


def project_of(served) -> httpx.Response:
    """Read the project with the world's token."""
    return httpx.get(
        served.addresses["vercel"] + PROJECT,
        params={"teamId": "team_drill", "rollbackInfo": "true"},
        headers={"Authorization": f"Bearer {served.secrets['VERCEL_TOKEN']}"},
    )


def port_of(address: str) -> int:
    """Give the port of an address."""
    return int(address.rpartition(":")[2])


def is_open(port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- ports and threads --------------------------------------------------------------------------------------


def test_every_service_answers_at_the_root_of_its_own_port(serving):
    """All five are ready when `serve` gives the world."""
    assert set(serving.addresses) == set(SERVICES)
    assert len({port_of(address) for address in serving.addresses.values()}) == 5
    assert project_of(serving).status_code == 200
    assert httpx.get(serving.control + "/healthz").json()["ok"] is True
    assert (
        httpx.get(serving.addresses["app"] + "/api/version").json()["deployment"] == serving.world.live().id
    )
    auth = {"Authorization": f"Bearer {serving.secrets['SLACK_BOT_TOKEN']}"}
    assert (
        httpx.post(serving.addresses["slack"] + "/api/auth.test", headers=auth).json()["user_id"]
        == "U0RUNBOOK"
    )
    sentry = {"Authorization": f"Bearer {serving.secrets['SENTRY_AUTH_TOKEN']}"}
    query = {"dataset": "spans", "field": "count()", "statsPeriod": "10m", "project": "web"}
    reply = httpx.get(
        serving.addresses["sentry"] + "/api/0/organizations/derrimut/events/", headers=sentry, params=query
    )
    assert reply.json()["data"][0]["count()"] > 100


def test_worlds_side_by_side_share_nothing(own):
    """A rollback in one world leaves the other as it is."""
    with serve(QUIET) as other:
        assert not set(own.addresses.values()) & set(other.addresses.values())
        to = other.world.expected_target()
        other.world.hosting.rollback(to, "test", other.world.advance())
        assert project_of(other).json()["lastAliasRequest"]["type"] == "rollback"
        assert project_of(own).json()["lastAliasRequest"]["type"] == "promote"


def test_nothing_answers_after_the_end():
    """Ports are closed and the thread is gone, also while a request is still being answered."""
    before = threading.active_count()
    fault = Fault(service="app", kind="slow", delay_s=60)
    served = start(WorldSpec(traffic_rps=1, faults=(fault,)))
    with httpx.Client(base_url=served.addresses["vercel"]) as kept_open:
        kept_open.get("/v2/user")
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(served.addresses["app"], timeout=0.02)
        served.stop()
    assert not any(is_open(port_of(address)) for address in served.addresses.values())
    assert threading.active_count() == before


def test_world_can_be_served_again_at_once():
    """A port that was just left can be bound again."""
    with serve(QUIET) as served:
        ports = Ports(**{name: port_of(address) for name, address in served.addresses.items()})
        project_of(served)
    with serve(QUIET, ports) as again:
        assert again.addresses["vercel"].endswith(f":{ports.vercel}")
        assert project_of(again).status_code == 200


def test_port_in_use_is_named_and_nothing_is_served():
    """The message names the port and what it was meant for; the ports bound before are let go."""
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        control = free.getsockname()[1]
        free.close()
        port = taken.getsockname()[1]
        with pytest.raises(BadParameters, match=f"Port {port} .*slack") as caught:
            start(QUIET, Ports(control=control, slack=port))
    assert caught.value.state == "No world is being served by this command."
    assert not is_open(control)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.drill", ""])  # noqa: S104 - refused
def test_other_hosts_than_loopback_are_refused(host):
    """The simulator never listens to the network."""
    with pytest.raises(BadParameters, match="loopback"):
        start(QUIET, Ports(host=host))


# --- what a run is given ------------------------------------------------------------------------------------


def test_each_world_has_a_state_folder_of_its_own_that_ends_with_it(tmp_path):
    """What one drill's machines share is not another's; a folder that is given stays."""
    with serve(QUIET) as one, serve(QUIET, state=tmp_path / "kept") as other:
        assert one.platform["state"] != other.platform["state"]
        assert one.state.is_dir()
    assert not one.state.exists()
    assert (tmp_path / "kept").is_dir()


def test_platform_is_a_valid_notebook_parameter(serving):
    """The library's own model takes it as it is, and it leads to this world."""
    platform = Platform.model_validate_json(json.dumps(serving.platform))
    assert (platform.vercel.api_url, platform.app.url) == (
        serving.addresses["vercel"],
        serving.addresses["app"],
    )


def test_secrets_are_written_for_their_owner_alone(serving, tmp_path):
    """Mode 0600, also over a file that was open to others; the library reads it; no other name is in it."""
    path = tmp_path / "folder" / "drill.env"
    serving.write_secrets(path)
    path.chmod(0o644)
    serving.write_secrets(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private(path, "drill.env") == serving.secrets
    assert set(serving.secrets) == {
        "VERCEL_TOKEN",
        "VERCEL_AUTOMATION_BYPASS_SECRET",
        "SENTRY_AUTH_TOKEN",
        "SLACK_BOT_TOKEN",
        "SLACK_WEBHOOK_URL",
    }


def test_webhook_address_works(serving):
    """The secret is a whole address at the chat's port; the ledger does not show it."""
    url = serving.secrets["SLACK_WEBHOOK_URL"]
    assert url.startswith(serving.addresses["slack"] + "/services/")
    assert httpx.post(url, json={"text": "hello"}).text == "ok"
    entry = serving.world.ledger.entries()[-1]
    assert (entry.caller, entry.weight, entry.applied) == ("SLACK_WEBHOOK_URL", "company", True)
    assert entry.path.endswith("/[SLACK_WEBHOOK_URL]")


# --- the control port ---------------------------------------------------------------------------------------


def test_control_shows_state_ledger_and_spec_without_credentials(serving):
    """What a judge needs, and no token in any of it."""
    project_of(serving)
    texts = {
        path: httpx.get(serving.control + path).text for path in ("/healthz", "/state", "/ledger", "/spec")
    }
    assert json.loads(texts["/state"])["production"] == serving.world.hosting.current
    assert json.loads(texts["/ledger"])["entries"][-1]["caller"] == "VERCEL_TOKEN"
    assert json.loads(texts["/spec"])["seed"] == 1
    for token in serving.world.spec.tokens:
        assert not [path for path, text in texts.items() if token.value in text]


def test_control_asks_for_a_loopback_name(serving):
    """A web page that points a name of its own at this machine gets nothing."""
    assert httpx.get(serving.control + "/state", headers={"host": "evil.drill"}).status_code == 400


def test_reset_begins_a_new_world_at_the_same_addresses(own):
    """With the same spec, or another; what was done before is gone."""
    own.world.hosting.rollback(own.world.expected_target(), "test", own.world.advance())
    first = own.world
    assert httpx.post(own.control + "/reset").json() == {"ok": True}
    assert own.world is not first
    assert own.world.outcome_view().effects == ()
    assert httpx.post(own.control + "/reset", json={"seed": 9, "team_id": None}).status_code == 200
    assert (own.world.spec.seed, own.platform["vercel"]["team_id"]) == (9, None)
    assert project_of(own).status_code == 403  # a personal account knows no team
    assert project_of(own).request.url.port == port_of(own.addresses["vercel"])


def test_wrong_spec_or_fault_is_refused_and_the_world_stays(own):
    """400 with what is wrong; nothing begins anew."""
    first = own.world
    refused = httpx.post(own.control + "/reset", json={"sed": 9})
    assert (refused.status_code, "sed" in refused.text) == (400, True)
    assert httpx.post(own.control + "/faults", json={"service": "vercel", "kind": "fire"}).status_code == 400
    assert httpx.post(own.control + "/faults", content=b"?").status_code == 400
    assert httpx.post(own.control + "/faults", json="500").status_code == 400
    assert own.world is first


def test_faults_are_set_listed_and_taken_away(own):
    """Set while the world runs; counted from then on; gone when deleted."""
    project_of(own)
    fault = {"service": "vercel", "kind": "500", "nth": {"from": 1}}
    assert httpx.post(own.control + "/faults", json=[fault]).status_code == 200
    assert project_of(own).status_code == 500
    assert httpx.get(own.control + "/faults").json()["faults"][0]["met"] == 1
    assert httpx.delete(own.control + "/faults").json() == {"faults": []}
    assert project_of(own).status_code == 200
    assert httpx.post(own.control + "/faults", json={"faults": [fault]}).json()["faults"][0]["kind"] == "500"


def test_shutdown_is_asked_for_and_answered(own):
    """Who serves learns of it; the answer still arrives."""
    assert own.wait(0) is False
    assert httpx.post(own.control + "/shutdown").json() == {"ok": True}
    assert own.wait(1) is True


# --- a world that another process serves --------------------------------------------------------------------


def test_running_world_is_reset_from_outside(own):
    """Over its control port, and the sentence says where."""
    first = own.world
    said = reset_running(Ports(control=port_of(own.control)))
    assert own.world is not first
    assert own.control in said


def test_reset_where_nothing_runs_says_how_to_start_one():
    """Nothing was changed, and the next step is a command."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable, match="No simulated world answers") as caught:
        reset_running(Ports(control=port))
    assert "rollback simulator" in caught.value.next_step


def test_default_ports_are_those_of_the_drill_file():
    """parameters/drill.yaml and the simulator name the same addresses."""
    assert (DEFAULT_PORTS.host, DEFAULT_PORTS.control, DEFAULT_PORTS.app) == ("127.0.0.1", 7400, 7404)
    assert (DEFAULT_PORTS.vercel, DEFAULT_PORTS.sentry, DEFAULT_PORTS.slack) == (7401, 7402, 7403)


def test_past_is_made_while_nobody_asks():
    """After a moment the visitors of the whole history are there, and answers come in between."""
    with serve(WorldSpec(traffic_rps=1, history_s=600)) as served:
        made = served.world._traffic._blocks
        assert any(len(made) == 10 or project_of(served).is_error for _ in range(5_000))
        assert sorted(made) == list(range(-10, 0))
