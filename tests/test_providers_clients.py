"""Making the clients: from the parameters' own models, without sending anything."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import stamina
from conftest import FakeClock
from http_fakes import Pass, Platform, ok

from rollback_lib.errors import BadParameters, NotApplied, OutcomeUnknown, Unreachable
from rollback_lib.model import RequestClass
from rollback_lib.parameters.platform import Platform as Places
from rollback_lib.parameters.policy import Policy
from rollback_lib.parameters.secrets import Secrets
from rollback_lib.providers import Clients, connect

TOKENS = {
    "VERCEL_TOKEN": "vercel-tok-0001",
    "VERCEL_AUTOMATION_BYPASS_SECRET": "bypass-sec-0002",
    "SENTRY_AUTH_TOKEN": "sentry-tok-0003",
    "SLACK_BOT_TOKEN": "xoxb-tok-0004",
    "SLACK_WEBHOOK_URL": "http://127.0.0.1:7403/services/T0TEAM001/B0BOT0001/hook0005",
}
PLACES = {
    "vercel": {"api_url": "http://127.0.0.1:7401", "team_id": "team_drill", "project": "derrimut-platform"},
    "sentry": {
        "api_url": "http://127.0.0.1:7402",
        "organization": "derrimut",
        "project": "web",
        "environment": "production",
    },
    "slack": {
        "api_url": "http://127.0.0.1:7403/api",
        "incidents_channel": "C0INCIDENTS",
        "engineering_channel": "C0ENGINEER",
    },
    "app": {
        "url": "http://127.0.0.1:7404",
        "domain": "derrimut247.drill",
        "preview": "http://127.0.0.1:7404/_deployment/{url}",
        "health_path": "/api/health",
        "version_path": "/api/version",
        "pages": [{"path": "/sign-in", "marker": "Sign in", "flow": "User login"}],
    },
}
CONVEX = {
    "url": "http://127.0.0.1:7405",
    "api_url": "http://127.0.0.1:7406",
    "deployment": "happy-otter-123",
    "repository": "../app",
}
DEPLOY_KEY = "prod:happy-otter-123|2718281828key"
DOWN = httpx.ConnectError("[Errno 111] Connection refused")


@pytest.fixture(autouse=True)
def _retries() -> None:
    """Retries are on here; the suite's own fixture puts them back."""
    stamina.set_active(True)


def policy(**changed: object) -> Policy:
    """Take the drill's numbers, some changed."""
    numbers = dict.fromkeys(Policy.model_fields, 1) | {
        "request_timeout_s": 3,
        "read_attempts": 2,
        "read_deadline_s": 6,
        "effect_attempts": 2,
        "effect_wait_limit_s": 6,
        "slack_deadline_s": 2,
        "verify_deadline_s": 20,
        "approval_ways": ["slack"],
        "lease_ttl_s": 15,
        "lease_expired": "ask",
        "unverified_is_success": False,
    }
    return Policy.model_validate_json(json.dumps(numbers | changed))


def clients(
    tmp_path: Path, *script: object, with_convex: bool = False, **environ: str
) -> tuple[Clients, Platform, FakeClock, Secrets]:
    """Connect to platforms that answer from one script."""
    platform, clock = Platform(list(script)), FakeClock()
    secrets = Secrets.open("drill", tmp_path, environ, None)
    places = Places.model_validate_json(json.dumps(PLACES | ({"convex": CONVEX} if with_convex else {})))
    return connect(places, policy(), secrets, clock, httpx.MockTransport(platform)), platform, clock, secrets


def test_clients_send_each_token_to_its_own_platform_only(tmp_path):
    """Addresses and tokens of the parameters meet in the right requests."""
    made, platform, _, _ = clients(
        tmp_path, ok({"ok": True, "id": "prj_drill", "user_id": "U0RUNBOOK"}), **TOKENS
    )
    assert platform.seen == []
    made.vercel.project()
    made.slack.auth()
    made.app.health("web-a.vercel.app")
    made.app.health()
    made.sentry.series(FakeClock().at, FakeClock().at, 60)
    assert [request.url.port for request in platform.seen] == [7401, 7403, 7404, 7404, 7402]
    for request, name in zip(
        platform.seen,
        ["VERCEL_TOKEN", "SLACK_BOT_TOKEN", "VERCEL_AUTOMATION_BYPASS_SECRET", "", "SENTRY_AUTH_TOKEN"],
        strict=True,
    ):
        carried = {key for key, token in TOKENS.items() if token in str(request.headers.raw)}
        assert carried == ({name} if name else set())


def test_absent_tokens_are_not_sent_and_named_when_refused(tmp_path):
    """A run without Slack still has a client for it; the refusal says what is missing."""
    made, platform, _, _ = clients(tmp_path, ok({"error": {"code": "forbidden"}}, 403))
    with pytest.raises(Unreachable) as caught:
        made.vercel.project()
    assert "VERCEL_TOKEN (it is not set)" in caught.value.next_step
    assert "authorization" not in platform.last.headers
    assert made.slack.has_webhook is False


def test_slack_gets_the_time_of_a_message(tmp_path):
    """Its requests and waits are bounded by its own deadline, the others' are not."""
    made, platform, clock, _ = clients(
        tmp_path, ok({"ok": False, "error": "ratelimited"}, 429, retry_after="3"), **TOKENS
    )
    with pytest.raises(NotApplied):
        made.slack.post("C0INCIDENTS", "hello", Pass(RequestClass.PREPARE))
    assert clock.slept == []
    assert platform.last.extensions["timeout"]["read"] == 2
    with pytest.raises(NotApplied):
        made.vercel.set_auto_assign(True, Pass())
    assert platform.seen[-1].extensions["timeout"]["read"] == 3


def test_no_secret_appears_whatever_fails(tmp_path, caplog):
    """Every client, every kind of failure, an answer that repeats every secret: none is told."""
    caplog.set_level("DEBUG")
    everything = " ".join(TOKENS.values())
    told = []
    for answer in (
        ok({"error": everything, "ok": False}, 403),
        ok({"ok": False, "error": everything}),
        httpx.Response(500, text=everything),
        httpx.ReadError(everything),
    ):
        made, _, _, secrets = clients(tmp_path, answer, **TOKENS)
        permit = Pass()
        calls = [
            made.vercel.project,
            lambda made=made, permit=permit: made.vercel.rollback("dpl_A", permit, everything),
            made.slack.auth,
            lambda made=made, permit=permit: made.slack.post("C0INCIDENTS", everything, permit),
            lambda made=made, permit=permit: made.slack.post_webhook(everything, permit),
            lambda made=made: made.sentry.issues(everything, FakeClock().at),
            lambda made=made: made.vercel.deployment("web-a.vercel.app"),
        ]
        for call in calls:
            with pytest.raises((Unreachable, NotApplied, OutcomeUnknown)) as caught:
                call()
            told.append(f"{caught.value}{caught.value!r}{caught.value.__cause__!r}")
        told.append(f"{made!r}{secrets!r}{permit.events}")
    text = "".join(told) + caplog.text
    for name, secret in TOKENS.items():
        assert secret not in text, name
    assert "[redacted]" in text


def test_convex_has_a_client_where_the_parameters_describe_it(tmp_path):
    """Its key goes to the deployment and to the control plane, each in its own way, and to nobody else."""
    urls = {"convexCloudUrl": "http://127.0.0.1:7405"}
    answers = [
        httpx.Response(200, json="http://127.0.0.1:7405"),
        ok({"kind": "cloud"}),
        ok(urls),
        ok({"id": "prj"}),
    ]
    given = TOKENS | {"CONVEX_DEPLOY_KEY": DEPLOY_KEY}
    made, platform, _, secrets = clients(tmp_path, *answers, with_convex=True, **given)
    assert made.convex is not None
    assert made.convex.identity().name == "happy-otter-123"
    made.vercel.project()
    assert [request.url.port for request in platform.seen] == [7406, 7405, 7405, 7401]
    carried = [request.headers["authorization"] for request in platform.seen]
    assert carried[:3] == [f"Bearer {DEPLOY_KEY}", f"Convex {DEPLOY_KEY}", f"Convex {DEPLOY_KEY}"]
    assert DEPLOY_KEY not in carried[3]
    assert secrets.redactor.redact("was 2718281828key?") == "was [redacted]?"
    assert clients(tmp_path, **TOKENS)[0].convex is None


@pytest.mark.parametrize("key", ["", "project:team:app|2718281828key", "2718281828key"])
def test_bad_deploy_key_holds_up_nothing_but_convex(tmp_path, key):
    """The other platforms are reached; Convex is not shown what is no key of a deployment."""
    refused = ok({"code": "MissingAdminKey", "message": "no key"}, 401)
    given = TOKENS | {"CONVEX_DEPLOY_KEY": key}
    made, platform, _, _ = clients(tmp_path, ok({"id": "prj"}), refused, with_convex=True, **given)
    made.vercel.project()
    assert made.convex is not None
    with pytest.raises(Unreachable):
        made.convex.variables()
    assert "authorization" not in platform.last.headers
    with pytest.raises(BadParameters):
        made.convex.identity()


def test_convex_log_is_asked_once_and_for_as_long_as_it_is_held_open(tmp_path):
    """Convex holds the request for up to a minute, which is no outage."""

    def held(request: httpx.Request) -> httpx.Response:
        clock.advance(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("timed out")

    made, platform, clock, _ = clients(tmp_path, held, with_convex=True, CONVEX_DEPLOY_KEY=DEPLOY_KEY)
    assert made.convex is not None
    assert made.convex.executions(clock.at, clock.at, deadline_s=50).share is None
    assert len(platform.seen) == 1
    assert platform.last.extensions["timeout"]["read"] == pytest.approx(50)
