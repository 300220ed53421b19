"""The app client: statuses are readings, protection is not breakage, the secret stays where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from conftest import FakeClock
from http_fakes import LIMITS, Platform, ok
from pydantic import SecretStr

from rollback_lib.errors import BadParameters, PlanViolation, Unreachable
from rollback_lib.http import Api, Service
from rollback_lib.model import Redactor
from rollback_lib.providers.app import AppClient

SECRET = "bypass-secret-5150"
HOST = "web-abc123.vercel.app"


@dataclass(frozen=True)
class Settings:
    """Where the app answers."""

    url: str = "https://derrimut.test/gym"
    preview: str = "https://{url}"
    preview_suffix: str = ".vercel.app"
    health_path: str = "/api/health"
    version_path: str = "/api/version"


def client(
    *script: Any, settings: Settings | None = None, bypass: str | None = SECRET
) -> tuple[AppClient, Platform]:
    """Make a client of an app that answers from a script."""
    platform, clock, redactor = Platform(list(script)), FakeClock(), Redactor()

    def door(service: Service) -> Api:
        return Api(service, LIMITS, clock, redactor, httpx.MockTransport(platform))

    return AppClient(settings or Settings(), door, SecretStr(bypass) if bypass else None), platform


def test_public_address_keeps_its_prefix_and_gets_no_secret():
    """Health, version and pages are read below the app's address, fresh, without the bypass."""
    app, platform = client(ok({"sha": "abc", "deployment": "dpl_A"}))
    app.health()
    app.version()
    app.page("/sign-in", "x")
    assert [str(request.url) for request in platform.seen] == [
        "https://derrimut.test/gym/api/health",
        "https://derrimut.test/gym/api/version",
        "https://derrimut.test/gym/sign-in",
    ]
    assert app.health_url() == "https://derrimut.test/gym/api/health"
    for request in platform.seen:
        assert "x-vercel-protection-bypass" not in request.headers
        assert request.headers["cache-control"] == "no-cache"


def test_path_with_a_query_is_asked_with_it():
    """A page may be told apart by its query; a fragment never leaves."""
    app, platform = client(ok())
    app.page("/membership?tier=gold%20plus&x=#prices", "y")
    assert platform.last.url.raw_path == b"/gym/membership?tier=gold%20plus&x="


def test_path_with_dots_is_bad_parameters():
    """A path that leads elsewhere is refused before anything is sent."""
    app, platform = client(ok())
    with pytest.raises(BadParameters):
        app.page("/a/../b", "y")
    assert platform.seen == []


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("https://{url}", f"https://{HOST}/api/health"),
        ("http://127.0.0.1:7404/_deployment/{url}", f"http://127.0.0.1:7404/_deployment/{HOST}/api/health"),
    ],
)
def test_deployment_is_read_on_its_own_address_with_the_secret(template, address):
    """The template makes the address; the bypass goes there and nowhere else."""
    app, platform = client(ok(), settings=Settings(preview=template))
    assert app.health(HOST).ok is True
    assert str(platform.last.url) == address
    assert platform.last.headers["x-vercel-protection-bypass"] == SECRET
    assert app.preview_url(HOST) == template.replace("{url}", HOST)
    assert app.health_url(HOST) == address
    app.health()
    assert "x-vercel-protection-bypass" not in platform.last.headers


@pytest.mark.parametrize("host", ["web-abc123.evilvercel.app", "web.vercel.app.evil.com", "evil.com"])
def test_host_of_another_end_gets_no_secret(host):
    """Only hosts that end in the platform's own suffix, its dot included, are shown the bypass."""
    app, platform = client(ok())
    app.health(host)
    assert "x-vercel-protection-bypass" not in platform.last.headers


def test_deployment_without_secret_is_read_without_it():
    """The secret is optional."""
    app, platform = client(ok(), bypass=None)
    app.health(HOST)
    assert "x-vercel-protection-bypass" not in platform.last.headers


@pytest.mark.parametrize(
    "host", ["evil.test/x", "a@b.test", "https://a.test", "", "a b", "a.test?x", "a.test#x", "a.test\\b"]
)
def test_deployment_that_is_no_host_gets_nothing(host):
    """An address from elsewhere cannot lead the secret elsewhere."""
    app, platform = client(ok())
    for call in (app.health, app.version, app.preview_url, lambda name: app.page("/", "x", name)):
        with pytest.raises(Unreachable):
            call(host)
    assert platform.seen == []


def test_redirect_is_a_reading_and_the_secret_does_not_follow_it():
    """Nothing is sent to where a redirect leads."""
    app, platform = client(ok(None, 302, location="https://evil.test/"))
    reading = app.health(HOST)
    assert (reading.status, reading.ok, reading.protected) == (302, False, True)
    assert [request.url.host for request in platform.seen] == [HOST]


@pytest.mark.parametrize(
    ("answer", "protected"),
    [
        (ok(None, 401), True),
        (ok(None, 302, location="https://vercel.com/sso-api?url=x"), True),
        (ok(None, 307, location="/login?next=/api/health"), True),
        (ok(None, 307, location="/sign-in"), False),
        (ok(None, 308, location=f"https://{HOST}/api/health/"), False),
        (ok(None, 302), False),
        (ok(None, 403), False),
        (ok(None, 500), False),
        (ok(None, 200), False),
    ],
)
def test_protected_deployment_is_told_from_a_broken_one(answer, protected):
    """A login in front of it says nothing about the app behind."""
    app, _ = client(answer)
    assert app.health(HOST).protected is protected
    assert app.page("/x", "y", HOST).protected is protected
    assert app.version(HOST).protected is protected


def test_public_address_is_never_protected():
    """Visitors meet it as it is: a 401 there is a fault."""
    app, _ = client(ok(None, 401))
    assert app.health().protected is False
    assert app.health().ok is False


@pytest.mark.parametrize("status", [200, 204, 301, 404, 429, 500, 503])
def test_health_is_ok_with_200_alone_and_asked_once(status):
    """A status is the answer; asking again would only hide it."""
    app, platform = client(ok(None, status))
    reading = app.health()
    assert (reading.status, reading.ok) == (status, status == 200)
    assert len(platform.seen) == 1


def test_no_answer_at_all_is_unreachable():
    """Only then there is nothing to read."""
    app, _ = client(httpx.ConnectError("[Errno 111] Connection refused"))
    with pytest.raises(Unreachable, match="app: GET /api/health"):
        app.health()


@pytest.mark.parametrize(
    ("answer", "sha", "deployment"),
    [
        (ok({"sha": "abc", "deployment": "dpl_A"}), "abc", "dpl_A"),
        (ok({"sha": "abc"}), "abc", None),
        (ok({"sha": None, "deployment": ""}), None, None),
        (ok([1]), None, None),
        (httpx.Response(200, text="<html>"), None, None),
        (ok({"sha": "abc", "deployment": "dpl_A"}, 500), None, None),
    ],
)
def test_version_is_read_where_it_is_told(answer, sha, deployment):
    """What the app does not tell is not known; an error page's words do not count."""
    app, _ = client(answer)
    reading = app.version()
    assert (reading.sha, reading.deployment, reading.status) == (sha, deployment, answer.status_code)


def test_version_without_a_path_asks_nothing():
    """An app without that endpoint is not asked for it."""
    app, platform = client(ok({}), settings=Settings(version_path=""))
    assert (app.version().sha, app.version().deployment) == (None, None)
    assert platform.seen == []


def test_raw_version_shows_no_secret():
    """What is kept of an answer is redacted and short."""
    app, _ = client(httpx.Response(200, text=SECRET + "x" * 5000))
    reading = app.version(HOST)
    assert SECRET not in reading.raw
    assert len(reading.raw) == 500


@pytest.mark.parametrize(
    "text",
    [
        "<h1>Don't sign in to Derrimut &amp; Co</h1>",
        "<h1>Don&#39;t sign in to<!-- --> Derrimut\n   &amp; Co</h1>",
        "Don&#x27;t <!-- a --><!-- b -->sign in to Derrimut & Co",
    ],
)
def test_marker_is_found_as_a_reader_sees_it(text):
    """Entities, comments and line breaks between its words do not hide a text."""
    app, _ = client(httpx.Response(200, text=text))
    reading = app.page("/sign-in", "Don't sign in to Derrimut & Co")
    assert (reading.marker_found, reading.ok, reading.path) == (True, True, "/sign-in")


@pytest.mark.parametrize(("status", "text"), [(200, "something else"), (200, "sign in"), (500, "Sign in")])
def test_page_without_marker_or_with_error_is_not_ok(status, text):
    """Neither a status nor a text alone makes a page good."""
    app, _ = client(httpx.Response(status, text=text))
    reading = app.page("/sign-in", "Sign in")
    assert reading.ok is False
    assert reading.marker_found is (text == "Sign in")


def test_app_is_only_read():
    """Nothing but GET leaves, whatever the path."""
    app, platform = client(ok())
    with pytest.raises(PlanViolation):
        app._api(None).read("POST", "/api/health")
    assert platform.seen == []


@pytest.mark.parametrize("host", ["evil.example.net", "app.vercel.app.evil.test", "vercel.app"])
def test_secret_is_shown_to_deployments_of_ours_only(host):
    """Whatever address an answer names: a host that does not end as ours is looked at without the secret."""
    app, platform = client(ok())
    app.health(host)
    assert "x-vercel-protection-bypass" not in platform.last.headers
