"""The door: what leaves, how often, and what is made of each kind of answer."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest
import stamina
from conftest import BEGAN, FakeClock
from http_fakes import LIMITS, Pass, Platform, door, ok, unanswered, unconnected
from pydantic import SecretStr

from rollback_lib.clock import SystemClock
from rollback_lib.errors import (
    BadParameters,
    JournalError,
    NotApplied,
    OutcomeUnknown,
    PlanViolation,
    ReadRefused,
    Unreachable,
)
from rollback_lib.http import Api, Limits, Rule, Service, path_part
from rollback_lib.http.wire import _Clients
from rollback_lib.model import Answer, Redactor, RequestClass

TOKEN = "tok-3f9a7c51"
RULES = (
    Rule("GET", r"/things(/[^/]+)?", RequestClass.READ),
    Rule("POST", r"/search", RequestClass.READ),
    Rule("POST", r"/messages", RequestClass.PREPARE),
)
SERVICE = Service(
    "vercel",
    "https://api.example.test/base",
    RULES,
    (("authorization", SecretStr(f"Bearer {TOKEN}")),),
    "environment variable VERCEL_TOKEN",
)
AGAIN = "Run the cell again: it asks first."


@pytest.fixture(autouse=True)
def _retries() -> None:
    """Retries are on here; the suite's own fixture puts them back."""
    stamina.set_active(True)


def scripted(clock: FakeClock, *script: object, service: Service = SERVICE) -> tuple[Api, Platform]:
    """Open the door to a platform that answers from a script."""
    platform = Platform(list(script))
    return door(service, platform, clock), platform


def send(api: Api, permit: Pass | None, path: str = "/production", **more: object) -> object:
    """Send a change of production, or of another path."""
    return api.change("POST", path, permit=permit, json={"to": "dpl_1"}, if_unanswered=AGAIN, **more)


# Classes of request


def test_read_of_unlisted_path_is_plan_violation(clock):
    """What the rules do not list is an effect, and an effect is not sent as a read."""
    api, platform = scripted(clock, ok({}))
    for method, path in (
        ("GET", "/elsewhere"),
        ("POST", "/things"),
        ("GET", "/things/a/b"),
        ("POST", "/messages"),
    ):
        with pytest.raises(PlanViolation):
            api.read(method, path)
    assert platform.seen == []


def test_read_by_post_is_sent(clock):
    """A POST that the rules list as a read is one."""
    api, platform = scripted(clock, ok({"found": 1}))
    assert api.read("POST", "/search", form={"q": "a b&c"}).json == {"found": 1}
    assert platform.form() == {"q": "a b&c"}
    assert platform.last.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("path", "permit"),
    [
        ("/production", None),
        ("/production", RequestClass.READ),
        ("/production", RequestClass.PREPARE),
        ("/messages", None),
        ("/messages", RequestClass.READ),
    ],
)
def test_change_with_weak_permit_sends_nothing(clock, path, permit):
    """A permit weaker than the request lets nothing out and is not even asked to write."""
    api, platform = scripted(clock, ok({}))
    leave = Pass(permit) if permit is not None else None
    with pytest.raises(PlanViolation) as caught:
        send(api, leave, path)
    assert platform.seen == []
    assert leave is None or leave.events == []
    assert "Nothing was sent" in caught.value.state


def test_change_with_strong_enough_permit_is_sent(clock):
    """A pass for effects also lets harmless changes through, one for those does too."""
    for path, request_class in (("/messages", "prepare"), ("/messages", "effect"), ("/production", "effect")):
        api, platform = scripted(clock, ok({}))
        permit = Pass(RequestClass(request_class))
        send(api, permit, path)
        assert len(platform.seen) == 1
        assert permit.sendings[0].request_class == ("prepare" if path == "/messages" else "effect")


def test_path_with_dots_leaves_nowhere(clock):
    """A path that resolves to another one is neither built from ids nor sent."""
    api, platform = scripted(clock, ok({}))
    for text in ("..", ".", ""):
        with pytest.raises(BadParameters):
            path_part(text)
    assert path_part("web@1.4.1/x y") == "web%401.4.1%2Fx%20y"
    for path in ("/things/..", "/things?x=1", "/things#a"):
        with pytest.raises(ValueError, match="elsewhere"):
            api.read("GET", path)
    assert platform.seen == []


# What is sent


def test_request_carries_headers_query_and_body_as_asked(clock):
    """Method, prefix, encoded query, token, agent and body arrive unchanged."""
    api, platform = scripted(clock, ok({}))
    api.read(
        "GET", "/things/web%401.4.1", params=[("f", "count()"), ("f", "p95(span.duration)"), ("q", "a b/c")]
    )
    assert platform.last.url.raw_path == (
        b"/base/things/web%401.4.1?f=count%28%29&f=p95%28span.duration%29&q=a%20b%2Fc"
    )
    assert platform.last.headers["authorization"] == f"Bearer {TOKEN}"
    assert platform.last.headers["user-agent"].startswith("rollback-runbooks/")
    send(api, Pass())
    assert platform.body() == {"to": "dpl_1"}
    assert platform.last.headers["content-type"] == "application/json; charset=utf-8"


def test_cookies_are_not_sent_back(clock):
    """What one answer sets does not change how the next request is treated."""
    api, platform = scripted(clock, ok({}, set_cookie="session=1; Path=/"), ok({}))
    api.read("GET", "/things")
    api.read("GET", "/things")
    assert "cookie" not in platform.last.headers


@pytest.mark.parametrize("address", ["ftp://x.test", "api.example.test", "https://", "https://[::1"])
def test_unusable_address_is_bad_parameters(clock, address):
    """An address that is none is said so, before the pass writes anything."""
    api, platform = scripted(clock, ok({}), service=Service("vercel", address, RULES))
    permit = Pass()
    with pytest.raises(BadParameters, match="usable address"):
        send(api, permit)
    assert permit.events == []
    assert platform.seen == []


# Reads and their retries


def test_read_after_passing_faults_is_answered(clock):
    """Lost answers and passing statuses are asked again, each time a little later."""
    api, platform = scripted(clock, httpx.ReadTimeout("slow"), ok({}, 503), ok({"a": 1}))
    assert api.read("GET", "/things").json == {"a": 1}
    assert len(platform.seen) == 3
    assert clock.slept == [0.25, 0.5]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_read_that_keeps_failing_stops_after_its_attempts(clock, status):
    """Attempts are bounded; the error names service, request, status, words and how often it was asked."""
    api, platform = scripted(clock, ok({"error": {"code": "sorry", "message": "come back"}}, status))
    with pytest.raises(Unreachable) as caught:
        api.read("GET", "/things")
    assert len(platform.seen) == LIMITS.read_attempts
    assert (
        f"vercel: GET /things answered {status}: sorry: come back (asked 4 times)." in caught.value.happened
    )


def test_read_without_connection_is_retried_then_unreachable(clock):
    """No connection is a passing fault for a read."""
    api, platform = scripted(clock, httpx.ConnectError("[Errno 111] Connection refused"))
    with pytest.raises(Unreachable, match=r"ConnectError at api.example.test.*refused"):
        api.read("GET", "/things")
    assert len(platform.seen) == 4


def test_read_deadline_bounds_the_sum_of_attempts(clock):
    """Attempts that take long are not repeated beyond the deadline, and each gets no more than what is left."""

    def slow(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"]["read"])
        clock.advance(14)
        raise httpx.ReadTimeout("slow")

    given: list[float] = []
    api, platform = scripted(clock, slow)
    began = clock.monotonic()
    with pytest.raises(Unreachable):
        api.read("GET", "/things")
    assert len(platform.seen) == 3
    assert clock.monotonic() - began < LIMITS.read_deadline_s + 14
    assert given[:2] == [10, 10]
    assert given[2] == pytest.approx(30 - 28 - 0.75)


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"retry-after": "7"}, {}, 7),
        ({"retry-after": format_datetime(BEGAN + timedelta(seconds=9))}, {}, 9),
        ({"x-ratelimit-reset": str(int(BEGAN.timestamp()) + 5)}, {}, 5),
        ({"x-sentry-rate-limit-reset": str(int(BEGAN.timestamp()) + 4)}, {}, 4),
        ({"x-sentry-rate-limit-reset": str(int(BEGAN.timestamp()))}, {}, 1),
        ({}, {"error": {"code": "rate_limited", "limit": {"reset": int(BEGAN.timestamp()) + 3}}}, 3),
        ({"retry-after": "2", "x-ratelimit-reset": str(int(BEGAN.timestamp()) + 20)}, {}, 2),
        # The platform's clock is 100 s ahead of ours: its reset is 6 s ahead of its own.
        (
            {
                "date": format_datetime(BEGAN + timedelta(seconds=100)),
                "x-ratelimit-reset": str(int(BEGAN.timestamp()) + 106),
            },
            {},
            6,
        ),
        ({"retry-after": "soon"}, {}, 0.25),
        ({}, [], 0.25),
    ],
)
def test_limited_read_waits_as_told(clock, headers, body, wait_s):
    """Each way a platform may tell how long to wait is followed."""
    api, platform = scripted(clock, httpx.Response(429, headers=headers, json=body), ok({"a": 1}))
    assert api.read("GET", "/things").json == {"a": 1}
    assert clock.slept == [wait_s]
    assert len(platform.seen) == 2


def test_limited_read_beyond_the_deadline_gives_up_at_once(clock):
    """A wait that passes the deadline is not begun, and the operator learns until when the limit lasts."""
    api, platform = scripted(clock, ok({}, 429, retry_after="31"))
    with pytest.raises(Unreachable, match=r"asks to wait until 2026-11-23T21:58:31.000Z"):
        api.read("GET", "/things")
    assert clock.slept == []
    assert len(platform.seen) == 1


@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-reset"])
@pytest.mark.parametrize("number", ["999999999999999", "1e300", "-5"])
def test_absurd_wait_is_survived(clock, header, number):
    """A wait beyond any calendar ends the read or the change like a long one; one in the past is no wait."""
    api, _ = scripted(clock, httpx.Response(429, headers={header: number}))
    with pytest.raises(Unreachable):
        api.read("GET", "/things")
    with pytest.raises(NotApplied):
        send(api, Pass())
    assert sum(clock.slept) < 10


def test_reset_header_of_another_answer_means_nothing(clock):
    """Limited endpoints name their reset on every answer; a 500 is retried soon all the same."""
    api, _ = scripted(clock, ok({}, 500, x_ratelimit_reset=str(int(BEGAN.timestamp()) + 20)), ok({}))
    api.read("GET", "/things")
    assert clock.slept == [0.25]


def test_retries_switched_off_ask_once(clock):
    """Tests and drills can switch retrying off by stamina's own switches."""
    api, platform = scripted(clock, ok({}, 503))
    stamina.set_active(False)
    with pytest.raises(Unreachable):
        api.read("GET", "/things")
    stamina.set_active(True)
    assert len(platform.seen) == 1
    with stamina.set_testing(True, attempts=2), pytest.raises(Unreachable):
        api.read("GET", "/things")
    assert len(platform.seen) == 3


@pytest.mark.parametrize("status", [400, 404, 409, 410, 418, 422])
def test_refused_read_is_unreachable_at_once(clock, status):
    """A refusal is not asked again, and is told with the platform's own words."""
    api, platform = scripted(
        clock, ok({"error": {"code": "not_found", "message": "Deployment not found"}}, status)
    )
    with pytest.raises(Unreachable, match=f"answered {status}: not_found: Deployment not found"):
        api.read("GET", "/things")
    assert len(platform.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_names_where_it_comes_from(clock, status):
    """Whoever reads it knows which variable to set."""
    api, _ = scripted(clock, ok({"error": {"code": "forbidden", "message": "Not authorized"}}, status))
    with pytest.raises(Unreachable) as caught:
        api.read("GET", "/things")
    assert "environment variable VERCEL_TOKEN" in caught.value.next_step


def test_status_in_also_is_returned_at_once(clock):
    """A status that the caller can use is neither an error nor retried."""
    api, platform = scripted(clock, ok({"error": "x"}, 503))
    assert api.read("GET", "/things", also=frozenset({503})).status == 503
    assert len(platform.seen) == 1


def test_redirect_is_not_followed(clock):
    """A redirect is told with its target; nothing is sent there."""
    api, platform = scripted(clock, ok(None, 307, location="https://elsewhere.test/login"))
    with pytest.raises(Unreachable, match=r"answered 307 \(to https://elsewhere.test/login\)") as caught:
        api.read("GET", "/things")
    assert "not followed" in caught.value.next_step
    assert len(platform.seen) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"error":{"code":"bad","message":"no"}}', "bad: no"),
        (b'{"err":{"message":"no"}}', "no"),
        (b'{"detail":"Invalid token"}', "Invalid token"),
        (b'{"detail":{"message":"no","code":"sso"}}', "sso: no"),
        (b'{"message":"Not Found"}', "Not Found"),
        (b'{"ok":false,"error":"missing_scope","needed":"chat:write"}', "missing_scope (needed: chat:write)"),
        (b"<!doctype html><html><head><title> Log in </title>", "an HTML page titled 'Log in'"),
        (b"<p>hm", "an HTML page"),
        (b"no_service", "no_service"),
        (b'{"detail":"Already current."}', "Already current"),
        (b"", "no text"),
        (b"[1,", "[1,"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
    ],
)
def test_platforms_words_are_found(clock, content, words):
    """Whatever shape the complaint has, its words reach the operator."""
    api, _ = scripted(clock, httpx.Response(400, content=content))
    with pytest.raises(Unreachable) as caught:
        api.read("GET", "/things")
    assert caught.value.happened.endswith(f" answered 400: {words}.")


def test_long_words_are_cut(clock):
    """A page of text does not bury the message."""
    api, _ = scripted(clock, httpx.Response(400, text="x" * 5000))
    with pytest.raises(Unreachable) as caught:
        api.read("GET", "/things")
    assert len(caught.value.happened) < 400


def test_huge_body_is_cut(clock):
    """A body beyond the limit is cut, said so, and is not read as JSON."""
    api, _ = scripted(clock, httpx.Response(200, content=b'{"a":"' + b"x" * 20_000_001 + b'"}'))
    reply = api.read("GET", "/things")
    assert (reply.whole, reply.lost, reply.json) == (False, False, None)
    assert len(reply.text) == 20_000_000


def test_json_is_read_whatever_its_content_type(clock):
    """Sentry's 429 has no content type; an unknown charset is no obstacle either."""
    api, _ = scripted(
        clock,
        httpx.Response(
            200, content=b'\xef\xbb\xbf{"a":1}', headers={"content-type": "text/plain; charset=klingon"}
        ),
    )
    assert api.read("GET", "/things").json == {"a": 1}


# Changes


def test_change_is_admitted_strictly_before_it_is_sent(clock):
    """The pass has written the request down before the platform sees it, and the answer after it."""
    api, platform = scripted(clock, ok(None, 201))
    permit = Pass(events=platform.events)
    reply = send(api, permit)
    assert [name for name, _ in platform.events] == ["admit", "seen", "answered"]
    assert reply.status == 201
    assert permit.events[-1][1] == Answer("accepted", 201, "")


def test_accepted_change_repeats_nothing_of_the_body(clock):
    """The journal keeps complaints, not what a platform tells about a project and its people."""
    api, _ = scripted(clock, ok({"message": "Ana", "email": "ana@derrimut.test"}))
    permit = Pass()
    send(api, permit)
    assert permit.events[-1][1] == Answer("accepted", 200, "")


def test_sending_tells_what_leaves(clock):
    """The journal's line names the request as sent, with the digest of its body and its deadline."""
    api, platform = scripted(clock, ok(None, 201))
    permit = Pass()
    send(api, permit, params=[("teamId", "team_1")], timeout_s=4)
    (sending,) = permit.sendings
    assert (sending.service, sending.method, sending.path) == (
        "vercel",
        "POST",
        "/base/production?teamId=team_1",
    )
    assert sending.body_sha256 == hashlib.sha256(platform.last.content).hexdigest()
    assert sending.request_class is RequestClass.EFFECT
    assert sending.deadline_s == 4


def test_admit_that_raises_keeps_the_request_in(clock):
    """Where the journal cannot be written, nothing leaves."""
    api, platform = scripted(clock, ok(None, 201))
    permit = Pass(refuse=JournalError("disk full", "nothing sent", "make room"))
    with pytest.raises(JournalError):
        send(api, permit)
    assert platform.seen == []
    assert permit.events == []


@pytest.mark.parametrize(
    "answer", [ok(None, 201), ok({}, 400), ok({}, 500), httpx.ReadTimeout("slow"), ok({}, 429)]
)
def test_answered_that_raises_goes_up(clock, answer):
    """A journal that fails after the answer is not hidden by what the answer was, and nothing is sent again."""
    api, platform = scripted(clock, answer)
    permit = Pass(refuse_answer=JournalError("disk full", "sent", "make room"))
    with pytest.raises(JournalError):
        send(api, permit)
    assert len(platform.seen) == 1


@pytest.mark.parametrize("fault", unconnected(), ids=lambda fault: type(fault).__name__)
def test_change_without_connection_is_unreachable_and_not_sent(clock, fault):
    """No connection: the request did not leave, and it is not tried again by itself."""
    api, platform = scripted(clock, fault)
    permit = Pass()
    with pytest.raises(Unreachable, match="no connection") as caught:
        send(api, permit)
    assert permit.kinds == ["not_sent"]
    assert len(platform.seen) == 1
    assert "did not leave" in caught.value.state


def test_connection_that_took_all_the_time_is_not_sent(clock):
    """What could only be answered too late does not leave."""

    def slow(request: httpx.Request) -> httpx.Response:
        clock.advance(LIMITS.request_timeout_s)
        request.extensions["trace"]("http11.send_request_headers.started", {})
        raise AssertionError("it left")

    api, _ = scripted(clock, slow)
    permit = Pass()
    with pytest.raises(Unreachable, match="took all the time"):
        send(api, permit)
    assert permit.kinds == ["not_sent"]


def test_each_phase_gets_what_the_ones_before_left_over(clock):
    """Connecting, sending and waiting together have one timeout, not one each."""

    def slow(request: httpx.Request) -> httpx.Response:
        clock.advance(4)
        request.extensions["trace"]("http11.send_request_headers.started", {})
        left.append(request.extensions["timeout"]["write"])
        clock.advance(3)
        request.extensions["trace"]("http11.receive_response_headers.started", {})
        left.append(request.extensions["timeout"]["read"])
        return httpx.Response(201)

    left: list[float] = []
    api, _ = scripted(clock, slow)
    send(api, Pass())
    assert left == [6, 3]


@pytest.mark.parametrize("fault", unanswered(), ids=repr)
def test_change_without_answer_is_outcome_unknown(clock, fault):
    """A lost or broken answer is never guessed and never sent again here."""
    api, platform = scripted(clock, fault, ok(None, 201))
    permit = Pass()
    with pytest.raises(OutcomeUnknown) as caught:
        send(api, permit)
    assert permit.kinds == ["unclear"]
    assert len(platform.seen) == 1
    assert caught.value.next_step == AGAIN
    assert "may or may not" in caught.value.state


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 408, 409, 410, 422])
def test_refused_change_is_not_applied(clock, status):
    """Redirects and refusals: the platform answered and did not do it."""
    api, platform = scripted(clock, ok({"error": {"code": "conflict", "message": "already current"}}, status))
    permit = Pass()
    with pytest.raises(NotApplied, match=f"answered {status}: conflict: already current"):
        send(api, permit)
    assert permit.events[-1][1] == Answer("refused", status, "conflict: already current")
    assert len(platform.seen) == 1


def test_refusal_in_also_is_returned_and_written_down_as_refused(clock):
    """A caller may explain a refusal better; the journal still says refused."""
    api, _ = scripted(clock, ok({}, 409))
    permit = Pass()
    assert send(api, permit, also=frozenset({409})).status == 409
    assert permit.kinds == ["refused"]


def test_limited_change_waits_and_is_admitted_again(clock):
    """After a 429 a new attempt is written down before it leaves."""
    api, platform = scripted(clock, ok({}, 429, retry_after="7"), ok(None, 201))
    permit = Pass(events=platform.events)
    assert send(api, permit).status == 201
    assert [name for name, _ in platform.events] == ["admit", "seen", "answered"] * 2
    assert permit.kinds == ["refused", "accepted"]
    assert clock.slept == [7]


def test_limited_change_that_is_unanswered_later_is_unknown(clock):
    """The second attempt counts like a first one."""
    api, platform = scripted(clock, ok({}, 429), httpx.ReadTimeout("slow"))
    permit = Pass()
    with pytest.raises(OutcomeUnknown):
        send(api, permit)
    assert permit.kinds == ["refused", "unclear"]
    assert len(platform.seen) == 2


def test_change_limited_too_often_is_not_applied(clock):
    """Attempts are bounded."""
    api, platform = scripted(clock, ok({"error": {"code": "rate_limited"}}, 429))
    permit = Pass()
    with pytest.raises(NotApplied, match=r"asked 3 times.*again at 2026-11-23T21:58:07"):
        send(api, permit)
    assert permit.kinds == ["refused"] * 3
    assert len(platform.seen) == 3
    assert clock.slept == [1, 2]


def test_change_limited_too_long_is_not_applied(clock):
    """Waits are bounded in their sum, and one that is too long is not begun."""
    api, platform = scripted(clock, ok({}, 429, retry_after="40"))
    with pytest.raises(NotApplied, match="again at"):
        send(api, Pass())
    assert clock.slept == [40]
    assert len(platform.seen) == 2


def test_judge_decides_what_a_success_status_means(clock):
    """Where 200 may be a refusal, the journal says what the body says, and the caller gets the reply."""
    judged = Service(
        "slack", "https://s.test", RULES, judge=lambda reply: Answer("refused", reply.status, "no")
    )
    api, _ = scripted(clock, ok({"ok": False}), service=judged)
    permit = Pass()
    assert send(api, permit).json == {"ok": False}
    assert permit.kinds == ["refused"]


def test_service_decides_what_limited_means(clock):
    """Where a limit comes with 200, both reads and changes wait for it."""
    limited = Service(
        "slack", "https://s.test", RULES, limited=lambda reply: reply.json == {"error": "ratelimited"}
    )
    api, platform = scripted(clock, ok({"error": "ratelimited"}), ok({"ok": True}), service=limited)
    permit = Pass()
    assert send(api, permit).json == {"ok": True}
    assert permit.kinds == ["refused", "accepted"]
    platform.seen.clear()
    assert api.read("GET", "/things").json == {"ok": True}


# Secrets


def test_secrets_are_in_no_message_and_no_repr(clock, caplog):
    """A platform or a transport that repeats the token does not make us repeat it."""
    caplog.set_level(logging.DEBUG)
    echo = ok({"error": {"code": "forbidden", "message": f"token {TOKEN} is bad"}}, 403)
    texts = []
    for answer in (
        echo,
        ok(f"boom {TOKEN}", 500),
        httpx.ConnectError(f"proxy said {TOKEN}"),
        httpx.ReadError(TOKEN),
    ):
        api, _ = scripted(clock, answer)
        permit = Pass()
        with pytest.raises(Unreachable) as caught:
            api.read("GET", f"/things/{TOKEN}")
        texts += traceback.format_exception(caught.value)
        with pytest.raises((Unreachable, NotApplied, OutcomeUnknown)) as caught_too:
            send(api, permit, f"/production/{TOKEN}")
        texts += traceback.format_exception(caught_too.value)
        texts += [repr(api), repr(api.service), str(permit.events)]
    api, _ = scripted(clock, ok({"echo": TOKEN}))
    texts.append(repr(api.read("GET", "/things")))
    texts.append(caplog.text)
    kept = "\n".join(texts)
    assert TOKEN not in kept
    assert "[redacted]" in kept


def test_secret_address_is_in_no_message(clock, caplog):
    """A webhook's address is a secret as a whole and in its parts."""
    caplog.set_level(logging.DEBUG)
    secret = "https://hooks.test/services/T0AAAAAAA/B0BBBBBBB/xyzSecretPart"
    hook = Service("slack webhook", SecretStr(secret), (Rule("POST", "", RequestClass.PREPARE),))
    api, _ = scripted(
        clock, httpx.Response(404, text="no /services/T0AAAAAAA/B0BBBBBBB/xyzSecretPart"), service=hook
    )
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(NotApplied) as caught:
        send(api, permit, "")
    told = f"{caught.value}{caught.value!r}{permit.events}{api!r}{hook!r}{caplog.text}"
    for part in (secret, "T0AAAAAAA", "xyzSecretPart"):
        assert part not in told
    assert permit.sendings[0].path == "[redacted]"


@pytest.mark.parametrize("token", ["to\nken-12345", "tök-12345", "tok\x00-12345"])
def test_token_that_no_header_may_hold_is_refused_without_showing_it(clock, token):
    """A token with a line break inside is told by its source, not by its value."""
    service = Service("vercel", "https://a.test", RULES, (("authorization", SecretStr(token)),), "file token")
    with pytest.raises(BadParameters, match="file token") as caught:
        scripted(clock, ok({}), service=service)
    assert token not in str(caught.value)


def test_token_with_a_newline_at_its_end_is_sent_without_it(clock):
    """A token read from a file ends in a newline more often than not."""
    service = Service(
        "vercel", "https://a.test", RULES, (("authorization", SecretStr("Bearer tok-12345\n")),)
    )
    api, platform = scripted(clock, ok({}), service=service)
    api.read("GET", "/things")
    assert platform.last.headers["authorization"] == "Bearer tok-12345"


def test_api_is_not_pickled(clock):
    """Connections and secrets stay in their process."""
    api, _ = scripted(clock, ok({}))
    with pytest.raises(TypeError):
        pickle.dumps(api)


def test_errors_survive_pickling(clock):
    """A drill's worker can send the error home."""
    api, _ = scripted(clock, httpx.ReadTimeout("slow"))
    with pytest.raises(OutcomeUnknown) as caught:
        send(api, Pass())
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args  # noqa: S301 - our own bytes


# What else an answer tells


@pytest.mark.parametrize(
    ("status", "refused"), [(301, True), (403, True), (404, True), (501, False), (503, False)]
)
def test_read_that_was_refused_is_told_from_one_without_a_usable_answer(clock, status, refused):
    """A wrong token or id is wrong tomorrow too; an outage says nothing about either."""
    api, _ = scripted(clock, ok({}, status))
    with pytest.raises(Unreachable) as caught:
        api.read("GET", "/things")
    assert isinstance(caught.value, ReadRefused) is refused


def test_platform_clock_is_heard_from_any_answer(clock):
    """`Date` is cut to seconds and written somewhere on the way: the difference is known within that."""
    ahead = clock.now() + timedelta(minutes=10)
    api, platform = scripted(clock, ok({}, 403, date=format_datetime(ahead, usegmt=True)))
    assert api.heard is None
    with pytest.raises(ReadRefused):
        api.read("GET", "/things")
    assert api.heard is not None
    assert abs(api.heard.ahead_s - 600) <= api.heard.within_s
    assert api.heard.within_s == pytest.approx(0.5)
    platform.script[:] = [ok({})]
    api.read("GET", "/things")
    assert api.heard.ahead_s == pytest.approx(600.5)  # an answer without `Date` says nothing new


@pytest.mark.parametrize(("date", "expected"), [("yesterday", None), ("Mon, 23 Nov 2026 21:58:00 GMT", 30.5)])
def test_answer_kept_by_a_cache_is_as_old_as_it_says(clock, date, expected):
    """`Age` is added to `Date`; what is no date is none."""
    api, _ = scripted(clock, ok({}, date=date, age="30"))
    api.read("GET", "/things")
    assert (api.heard and api.heard.ahead_s) == expected


# A real connection


@contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept connections on loopback, hand each to a function, then close it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                handle(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def real(address: str, timeout_s: float = 0.5) -> Api:
    """Open the door to a real address."""
    limits = Limits(timeout_s, 1, 5, 1, 1)
    return Api(Service("vercel", address, RULES), limits, SystemClock(), Redactor())


def test_reset_after_sending_is_outcome_unknown():
    """The server takes the request and hangs up: nobody can say what it did."""
    with server(lambda connection: connection.recv(65536)) as address:
        permit = Pass()
        with pytest.raises(OutcomeUnknown):
            send(real(address), permit)
        assert permit.kinds == ["unclear"]


def test_closed_port_is_not_sent():
    """Nobody listens: nothing left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    permit = Pass()
    with pytest.raises(Unreachable):
        send(real(address), permit)
    assert permit.kinds == ["not_sent"]


def test_body_that_drips_is_given_up_in_time():
    """A body that comes byte by byte does not hold the caller longer than the timeout; the status counts."""

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(40):
                connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            return

    with server(drip) as address:
        permit = Pass()
        began = time.monotonic()
        reply = send(real(address), permit)
        assert time.monotonic() - began < 1.5
        assert (reply.status, reply.whole, reply.lost) == (201, False, True)
        assert permit.kinds == ["accepted"]
        with pytest.raises(Unreachable, match="broke off"):
            real(address).read("GET", "/things")


@pytest.mark.parametrize("kept", [False, True], ids=["a new connection", "one that was used before"])
def test_head_that_drips_is_given_up_in_time(kept: bool):
    """A status line and headers byte by byte hold the caller no longer: whoever takes the lease over counts on that."""

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            if kept:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                connection.recv(65536)
            connection.sendall(b"HTTP/1.1 201 Created\r\nx: ")
            for _ in range(60):
                connection.sendall(b"x")
                time.sleep(0.05)
            connection.sendall(b"\r\ncontent-length: 0\r\n\r\n")
        except OSError:
            return

    with server(drip) as address:
        api, permit = real(address), Pass()
        if kept:
            assert api.read("GET", "/things").status == 200
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            send(api, permit)
        assert time.monotonic() - began < 1.5
        assert permit.kinds == ["unclear"]


def test_loopback_ignores_proxies_and_other_hosts_do_not():
    """A proxy in the environment serves for everything but this machine."""
    code = (
        "import httpx\n"
        "from rollback_lib.http.wire import _Clients\n"
        "for loopback in (True, False):\n"
        "    print(bool(_Clients.shared(loopback=loopback)._mounts), _Clients.shared(loopback=loopback) is _Clients.shared(loopback=loopback))\n"
    )
    environment = os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert child.stdout.split() == ["False", "True", "True", "True"]


def test_proxy_in_the_environment_does_not_touch_loopback(monkeypatch):
    """A request to loopback arrives although the proxy is a closed port."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with server(answer) as address:
        assert real(address).read("GET", "/things").json == {}


def test_client_is_ready_before_the_change_is_written_down():
    """The first client of a process takes a while to make: not between the journal's line and the request."""

    class Looking(Pass):
        def admit(self, sending: object) -> None:
            made.append(len(_Clients._made))
            super().admit(sending)

    made: list[int] = []
    _Clients._made.clear()
    with server(lambda connection: connection.recv(65536)) as address, pytest.raises(OutcomeUnknown):
        send(real(address), Looking())
    assert made == [1]


def test_import_of_the_door_leaves_the_transport_out():
    """The transport and the retries are loaded with the first request, not before."""
    code = "import sys, rollback_lib.http, rollback_lib.providers.clients; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"httpx", "stamina"} & set(child.stdout.split())


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ('{"message": "cut \\ud83d"}', "cut \ufffd"),
        ('{"message": "\\u001b[8mhidden\\u001b[0m"}', "[8mhidden[0m"),
        ('{"message": "\\u202eabc\\u2066"}', "abc"),
        ('{"message": "two\\nlines\\tand a tab"}', "two\nlines\tand a tab"),
        ('{"message": "all is well\\rdeleted"}', "all is well\ndeleted"),
        ('{"message": "two\\r\\nlines"}', "two\nlines"),
        ('{"message": "tok\\u0065n-0123456789"}', "[redacted]"),
        ('{"message": "token-\\u00000123456789"}', "[redacted]"),
    ],
)
def test_text_from_outside_is_shown_and_not_obeyed(clock: FakeClock, raw: str, read: str) -> None:
    """Halves of characters, what a terminal obeys, turned directions and echoed secrets do not come in."""
    redactor = Redactor()
    redactor.learn(["token-0123456789"])
    platform = Platform([httpx.Response(200, text=raw)])
    api = door(
        Service("vercel", "http://127.0.0.1:7401", (Rule("GET", "/x", RequestClass.READ),), ()),
        platform,
        clock,
        redactor,
    )
    assert api.read("GET", "/x").json["message"] == read


def test_headers_from_outside_are_shown_and_not_obeyed(clock: FakeClock) -> None:
    """Where a redirect leads stands in the error: no escape sequence and no secret comes in with a header."""
    redactor = Redactor()
    redactor.learn(["token-0123456789"])
    platform = Platform(
        [httpx.Response(302, headers={"location": "/in?t=token-0123456789", "server": "a\x1b[8mb"})]
    )
    rules = (Rule("GET", "/x", RequestClass.READ),)
    api = door(Service("vercel", "http://127.0.0.1:7401", rules, ()), platform, clock, redactor)
    reply = api.read("GET", "/x", also=frozenset({302}))
    assert (reply.headers["location"], reply.headers["server"]) == ("/in?t=[redacted]", "a[8mb")
