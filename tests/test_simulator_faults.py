"""What goes wrong between a service and its caller, and what is done nevertheless."""

from __future__ import annotations

import socket
from email.utils import parsedate_to_datetime

import httpx
import pytest
from in_process import client_of
from pydantic import ValidationError
from simulated import PROJECT, Company
from starlette.responses import PlainTextResponse

from rollback_lib.simulator import Fault, WorldSpec, serve, slack
from rollback_lib.simulator.faults import Door, FaultBook

ROLLBACK = {"service": "vercel", "method": "POST", "path": "*/rollback/*"}


def struck(fault: Fault, count: int) -> list[int]:
    """Tell which of so many matching requests a fault strikes, from 1."""
    book = FaultBook((fault,))
    return [
        number for number in range(1, count + 1) if book.strike("vercel", "GET", "/v9/projects/prj_drill")
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1]),
        ({"nth": 3}, [3]),
        ({"nth": 2, "times": 3}, [2, 3, 4]),
        ({"nth": (1, 4)}, [1, 4]),
        ({"nth": {"from": 4}}, [4, 5, 6]),
        ({"nth": {"from": 2}, "times": 2}, [2, 3]),
    ],
    ids=str,
)
def test_fault_strikes_by_count(fields, expected):
    """One number, several in a row, a list, or everything from one on."""
    assert struck(Fault.model_validate({"service": "vercel", "kind": "500", **fields}), 6) == expected


def test_only_matching_requests_are_counted():
    """Service, method and path (a glob, without the query) all have to fit."""
    book = FaultBook(
        (Fault(service="vercel", kind="500", method="POST", path="/v*/projects/*/rollback/*", nth=2),)
    )
    path = "/v9/projects/prj_drill/rollback/dpl_1"
    assert book.strike("vercel", "POST", path) is None
    assert book.strike("vercel", "GET", path) is None
    assert book.strike("sentry", "POST", path) is None
    assert book.strike("vercel", "POST", "/v9/projects/prj_drill/promote/dpl_1") is None
    assert book.strike("vercel", "POST", path) is not None
    assert book.as_json()[0]["met"] == 2


def test_first_of_two_faults_strikes_and_both_count():
    """Faults do not hide requests from one another."""
    book = FaultBook((Fault(service="vercel", kind="500"), Fault(service="vercel", kind="503", nth=2)))
    assert [book.strike("vercel", "GET", "/"), book.strike("vercel", "GET", "/")] == [
        Fault(service="vercel", kind="500"),
        Fault(service="vercel", kind="503", nth=2),
    ]


def test_fault_that_nothing_met_often_enough_has_never_struck():
    """A drill can tell that what it rehearses did not happen."""
    first, third = (Fault(service="vercel", kind="500", nth=nth) for nth in (1, 3))
    book = FaultBook((first, third))
    seen = []
    for _ in range(3):
        seen.append(book.never_struck())
        book.strike("vercel", "GET", "/")
    assert seen == [(first, third), (third,), (third,)]
    assert book.never_struck() == ()


def test_without_a_fault_the_door_changes_nothing():
    """Status, headers and body come as the service gave them; the ledger has the request."""
    company = Company()
    reply = company.vercel.get(PROJECT)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    (entry,) = company.world.ledger.entries()
    assert (entry.status, entry.fault, entry.changes, entry.applied) == (200, None, False, False)


# --- answers in the service's place -------------------------------------------------------------------------


def vercel_reply(**fault):
    """Ask for a rollback that is struck; gives the company and the answer."""
    company = Company(faults=(Fault.model_validate({**ROLLBACK, **fault}),))
    return company, company.rollback()


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [("500", 500, "application/json"), ("502", 502, "text/html"), ("503", 503, "application/json")],
)
def test_server_error_before_the_effect(kind, status, content_type):
    """The platform's own error, or a gateway's page; nothing was done, and the ledger says so."""
    company, reply = vercel_reply(kind=kind)
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith(content_type)
    company.wait(5)
    assert company.live() == "bad"
    entry = company.world.ledger.entries()[0]
    assert (entry.fault, entry.status, entry.changes, entry.applied) == (kind, status, True, False)


@pytest.mark.parametrize("kind", ["500", "502", "html_body"])
def test_server_error_after_the_effect(kind):
    """The same answer although it was done: only the state of the world tells."""
    company, reply = vercel_reply(kind=kind, effect_applied=True)
    assert reply.status_code == (200 if kind == "html_body" else int(kind))
    company.wait(5)
    assert company.live() == "stable"
    assert company.world.ledger.entries()[0].applied is True


def test_error_bodies_are_the_services_own():
    """Each service fails in its own words."""
    faults = tuple(Fault(service=name, kind="500") for name in ("vercel", "sentry", "slack", "app"))
    with serve(WorldSpec(faults=faults, traffic_rps=1)) as serving:
        at = serving.addresses
        bodies = {name: httpx.get(at[name]).text for name in ("vercel", "sentry", "slack", "app")}
    assert '"code":"internal_server_error"' in bodies["vercel"]
    assert bodies["sentry"] == '{"detail":"Internal Error"}'
    assert bodies["slack"] == '{"ok":false,"error":"internal_error"}'
    assert bodies["app"] == "Internal Server Error"


def test_retry_after_on_503_is_a_switch():
    """A 503 may carry Retry-After (contract §1); by default it does not."""
    assert "retry-after" not in vercel_reply(kind="503")[1].headers
    assert vercel_reply(kind="503", with_retry_after=True, retry_after_s=7)[1].headers["retry-after"] == "7"


def test_rate_limit_of_the_platform():
    """§1: body, headers in epoch seconds, `resetMs` in milliseconds; Retry-After is not promised."""
    company, reply = vercel_reply(kind="429", retry_after_s=2)
    error = reply.json()["error"]
    reset_s = company.world.now_ms() // 1000 + 2
    assert (reply.status_code, error["code"]) == (429, "rate_limited")
    assert error["limit"] == {"remaining": 0, "reset": reset_s, "resetMs": reset_s * 1000, "total": 120}
    assert reply.headers["x-ratelimit-reset"] == str(reset_s)
    assert reply.headers["x-ratelimit-remaining"] == "0"
    assert "retry-after" not in reply.headers
    assert company.live() == "bad"
    told = vercel_reply(kind="429", with_retry_after=True, retry_after_s=2)[1]
    assert told.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("service", "content_type", "retry_after", "body"),
    [
        ("sentry", "text/html", None, "too frequently"),
        ("slack", "application/json", "1", '{"ok":false,"error":"ratelimited"}'),
        ("app", "text/plain", "1", "Too Many Requests"),
    ],
)
def test_rate_limit_of_the_other_services(service, content_type, retry_after, body):
    """Sentry: text in JSON form, no Retry-After, its own headers; Slack: Retry-After in seconds."""
    company = Company(faults=(Fault(service=service, kind="429"),))
    reply = client_of(Door(company.world, service, PlainTextResponse("never reached"))).get("/anything")
    assert reply.status_code == 429
    assert reply.headers["content-type"].startswith(content_type)
    assert reply.headers.get("retry-after") == retry_after
    assert body in reply.text
    if service == "sentry":
        assert int(reply.headers["x-sentry-rate-limit-reset"]) > company.world.now_ms() // 1000


@pytest.mark.parametrize(
    ("service", "status", "body"),
    [
        ("vercel", 403, '"code":"forbidden"'),
        ("sentry", 403, "You do not have permission to perform this action."),
        ("slack", 200, '"error":"missing_scope"'),
        ("app", 403, "Forbidden"),
    ],
)
def test_missing_permission(service, status, body):
    """Refused in the service's own way, and nothing is done."""
    company = Company(faults=(Fault(service=service, kind="deny"),))
    reply = client_of(Door(company.world, service, PlainTextResponse("never reached"))).post(
        "/api/chat.postMessage"
    )
    assert (reply.status_code, body in reply.text) == (status, True)
    assert company.world.ledger.entries()[0].applied is False


@pytest.mark.parametrize("job", ["rollback", "promote"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (401, "forbidden"),
        (402, "payment_required"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "conflict"),
        (410, "gone"),
        (422, "unprocessable_entity"),
    ],
)
def test_refusal_by_status(job, status, code):
    """§1, §3: each status that the platform declares for moving production, with its body; nothing is done."""
    fault = Fault(service="vercel", kind="refuse", status=status, path=f"*/{job}/*")
    company = Company(faults=(fault,))
    reply = company.rollback() if job == "rollback" else company.promote("stable")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert error["message"]
    company.wait(5)
    assert company.live() == "bad"
    entry = company.world.ledger.entries()[0]
    assert (entry.fault, entry.status, entry.applied) == ("refuse", status, False)


def test_refusal_in_words_of_its_own():
    """Code and message can be given; else they name what was asked for, as the platform does."""
    company, reply = vercel_reply(kind="refuse", status=410, code="deployment_gone", message="Gone for good")
    assert reply.json()["error"] == {"code": "deployment_gone", "message": "Gone for good"}
    company = Company(faults=(Fault(service="vercel", kind="refuse", status=409, path="*/promote/*"),))
    assert (
        f"({company.role('stable')}) is already the current"
        in company.promote("stable").json()["error"]["message"]
    )


def test_unknown_project_is_refused_as_one():
    """§1: a project that is not there is named in the refusal."""
    company = Company(faults=(Fault(service="vercel", kind="refuse", status=404, method="GET"),))
    assert company.vercel.get(PROJECT).json()["error"]["message"] == "Could not find the Project: prj_drill"


def posted(fault: Fault):
    """Post a message that is struck; gives the world and the answer."""
    company = Company(faults=(fault,))
    chat = client_of(
        Door(company.world, "slack", slack.make_app(company.world)),
        Authorization=f"Bearer {company.world.token('SLACK_BOT_TOKEN')}",
    )
    return company.world, chat.post("/api/chat.postMessage", json={"channel": "C0INCIDENTS", "text": "hello"})


@pytest.mark.parametrize("code", ["channel_not_found", "token_revoked", "rate_limited", "msg_too_long"])
def test_chat_refuses_with_status_200(code):
    """The chat's failures have HTTP 200, `ok: false` and a code; nothing is posted."""
    world, reply = posted(Fault(service="slack", kind="refuse", code=code))
    assert (reply.status_code, reply.json()) == (200, {"ok": False, "error": code})
    assert world.ledger.entries()[0].applied is False
    assert world.slack.messages("C0INCIDENTS") == []


@pytest.mark.parametrize("code", ["fatal_error", "internal_error"])
def test_chat_may_fail_after_it_has_posted(code):
    """Some aspect may have succeeded: the message is there, the answer says that it failed."""
    world, reply = posted(Fault(service="slack", kind="refuse", code=code, effect_applied=True))
    assert reply.json() == {"ok": False, "error": code}
    assert world.ledger.entries()[0].applied is True
    assert len(world.slack.messages("C0INCIDENTS")) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"service": "slack"},
        {"service": "slack", "code": "fatal_error", "status": 403},
        {"service": "vercel", "code": "gone"},
        {"service": "sentry"},
        {"service": "vercel", "status": 500},
    ],
    ids=str,
)
def test_refusal_that_its_service_could_not_give_is_none(fields):
    """A fault that cannot be is told when the world is described, not when it strikes."""
    with pytest.raises(ValidationError):
        Fault.model_validate({"kind": "refuse", **fields})


@pytest.mark.parametrize("skew_s", [0, 900, -900])
@pytest.mark.parametrize("kind", ["none", "500", "429"])
def test_answers_bear_the_worlds_time(skew_s, kind):
    """Every answer has a `Date` of the platform's clock, to the second, also where something else answers."""
    faults = () if kind == "none" else (Fault(service="vercel", kind=kind, method="GET"),)
    company = Company(faults=faults, clock_skew_s=skew_s)
    date = parsedate_to_datetime(company.vercel.get(PROJECT).headers["date"])
    assert date.timestamp() == company.world.now_ms() // 1000


def test_empty_body_comes_after_the_effect():
    """A read has nothing in it; a change was made all the same."""
    company = Company(faults=(Fault(service="vercel", kind="empty_body", method="GET"),))
    reply = company.vercel.get(PROJECT)
    assert (reply.status_code, reply.content) == (200, b"")
    company, reply = vercel_reply(kind="empty_body")
    assert (reply.status_code, reply.content) == (201, b"")
    assert company.world.ledger.entries()[0].applied is True


def test_html_body_comes_instead_of_the_effect():
    """A page with status 200 from something in between; the platform never heard of it."""
    company, reply = vercel_reply(kind="html_body")
    assert (reply.status_code, reply.text.startswith("<html>")) == (200, True)
    company.wait(5)
    assert company.live() == "bad"
    assert company.world.ledger.entries()[0].applied is False


# --- slow ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hold", "done_while_waiting"), [("reply", True), ("request", False)])
def test_slow_answer_is_late_or_the_work_is(hold, done_while_waiting):
    """Held back is either the answer to what was done, or the request itself; both come in the end."""
    company = Company(
        faults=(Fault.model_validate({**ROLLBACK, "kind": "slow", "delay_s": 9, "hold": hold}),)
    )
    seen = []

    async def sleep(seconds):
        seen.append((seconds, bool(company.world.hosting.effects), company.world.ledger.entries()[0].applied))

    slow = company.client(company.world.token("VERCEL_TOKEN"), sleep=sleep)
    reply = slow.post(f"{PROJECT}/rollback/{company.role('stable')}", json={})
    assert seen == [(9, done_while_waiting, done_while_waiting)]
    assert (reply.status_code, company.world.ledger.entries()[0].applied) == (201, True)


def test_slow_change_is_made_although_the_caller_left():
    """The caller gives up; the platform does it later all the same."""
    fault = Fault.model_validate({**ROLLBACK, "kind": "slow", "delay_s": 0.1, "hold": "request"})
    with serve(WorldSpec(faults=(fault,), traffic_rps=1)) as serving, client_at(serving) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post(rollback_path(serving), timeout=0.03)
        assert serving.world.outcome_view().effects == ()
        struck = serving.world.ledger.entries()[0]
        assert any(struck.applied or client.get("/v2/user").is_error for _ in range(5_000))
        assert serving.world.outcome_view().effects


# --- cut connections ----------------------------------------------------------------------------------------


def client_at(serving) -> httpx.Client:
    """Speak to a served platform over real connections."""
    return httpx.Client(
        base_url=serving.addresses["vercel"],
        headers={"Authorization": f"Bearer {serving.secrets['VERCEL_TOKEN']}"},
        params={"teamId": "team_drill"},
    )


def rollback_path(serving) -> str:
    """Give the address of the right rollback."""
    return f"{PROJECT}/rollback/{serving.world.expected_target()}"


@pytest.mark.parametrize(("kind", "applied"), [("reset_before", False), ("reset_after", True)])
def test_cut_connection_is_a_transport_error(kind, applied):
    """The client's own stack reports a reset; whether it was done, only the world tells; the next one works."""
    fault = Fault.model_validate({**ROLLBACK, "kind": kind})
    with serve(WorldSpec(faults=(fault,), traffic_rps=1)) as serving, client_at(serving) as client:
        client.get(PROJECT)  # so that the connection is an open one
        with pytest.raises(httpx.ReadError) as caught:
            client.post(rollback_path(serving), json={})
        assert "reset by peer" in str(caught.value)
        entry = serving.world.ledger.entries()[1]
        assert (entry.fault, entry.status, entry.applied) == (kind, None, applied)
        assert bool(serving.world.outcome_view().effects) is applied
        assert client.get(PROJECT).status_code == 200


@pytest.mark.parametrize("service", ["sentry", "slack", "app"])
def test_every_service_can_be_cut(service):
    """The door is one for all."""
    with serve(WorldSpec(faults=(Fault(service=service, kind="reset_before"),), traffic_rps=1)) as serving:
        with pytest.raises(httpx.TransportError):
            httpx.get(serving.addresses[service] + "/api/version")
        assert httpx.get(serving.addresses[service] + "/api/version").status_code < 500


@pytest.mark.parametrize("sent", [b"", b'{"a":'], ids=["nothing of the body", "half of it"])
def test_request_whose_caller_dies_while_sending_never_was_one(sent):
    """What was announced has to arrive: else nothing is done, and there is nothing to write down."""
    with serve(WorldSpec(traffic_rps=1)) as serving, client_at(serving) as client:
        address = httpx.URL(serving.addresses["vercel"])
        head = (
            f"POST {rollback_path(serving)}?teamId=team_drill HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
        )
        token = f"Authorization: {client.headers['authorization']}\r\nContent-Length: 10\r\n\r\n"
        with socket.create_connection((address.host, address.port)) as caller:
            caller.sendall((head + token).encode() + sent)
            assert client.get(PROJECT).status_code == 200  # the beginning has been read by then
        client.get(PROJECT)
        assert [entry.method for entry in serving.world.ledger.entries()] == ["GET", "GET"]
        assert serving.world.outcome_view().effects == ()


# --- a fault of the simulator itself ------------------------------------------------------------------------


def test_failing_service_is_logged_and_not_hidden(caplog):
    """A mistake in the simulator is told by the door, with its request."""

    async def fails(*_request):
        raise RuntimeError("mistake")

    company = Company()
    with pytest.raises(RuntimeError, match="mistake"):
        client_of(Door(company.world, "sentry", fails)).get("/api/0/x/")
    assert "the simulated sentry failed at GET /api/0/x/" in caplog.text
