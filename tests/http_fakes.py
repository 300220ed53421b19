"""What the tests of the door and of the clients share: a pass, and a platform that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
from conftest import FakeClock

from rollback_lib.http import Api, Limits, Service
from rollback_lib.model import Answer, Redactor, RequestClass, Sending

LIMITS = Limits(
    request_timeout_s=10, read_attempts=4, read_deadline_s=30, effect_attempts=3, effect_wait_limit_s=60
)

Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


@dataclass
class Pass:
    """Writes down what it is asked for, in one list with what the platform saw."""

    request_class: RequestClass = RequestClass.EFFECT
    events: list[tuple[str, Any]] = field(default_factory=list)
    refuse: Exception | None = None
    refuse_answer: Exception | None = None

    def admit(self, sending: Sending) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.events.append(("admit", sending))

    def answered(self, sending: Sending, answer: Answer) -> None:
        if self.refuse_answer is not None:
            raise self.refuse_answer
        assert sending == self.sendings[-1]
        self.events.append(("answered", answer))

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.events]

    @property
    def kinds(self) -> list[str]:
        return [answer.kind for name, answer in self.events if name == "answered"]

    @property
    def sendings(self) -> list[Sending]:
        return [sending for name, sending in self.events if name == "admit"]


@dataclass
class Platform:
    """Answers request after request from its script; the last answer stays."""

    script: list[Reply]
    seen: list[httpx.Request] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        self.events.append(("seen", request))
        answer = self.script[min(len(self.seen), len(self.script)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(request)
        # A response object can be read once only, and the script may repeat it.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def last(self) -> httpx.Request:
        return self.seen[-1]

    def query(self, index: int = -1) -> list[tuple[str, str]]:
        return parse_qsl(self.seen[index].url.query.decode(), keep_blank_values=True)

    def form(self, index: int = -1) -> dict[str, str]:
        return dict(parse_qsl(self.seen[index].content.decode()))

    def body(self, index: int = -1) -> Any:
        return json.loads(self.seen[index].content)

    @property
    def lines(self) -> list[str]:
        return [
            f"{request.method} {request.url.raw_path.decode().partition('?')[0]}" for request in self.seen
        ]


def ok(body: Any = None, status: int = 200, **headers: str) -> httpx.Response:
    """Make an answer; without a body an empty one."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    if body is None:
        return httpx.Response(status, headers=named)
    return httpx.Response(status, headers=named, json=body)


def door(service: Service, platform: Platform, clock: FakeClock, redactor: Redactor | None = None) -> Api:
    """Make the door to a scripted platform."""
    return Api(service, LIMITS, clock, redactor or Redactor(), httpx.MockTransport(platform))


def unanswered() -> list[Any]:
    """List what a lost answer can look like."""
    return [
        httpx.ReadTimeout("timed out"),
        httpx.WriteTimeout("timed out"),
        httpx.ReadError("connection reset by peer"),
        httpx.RemoteProtocolError("server disconnected without sending a response"),
        httpx.Response(500, text="<html><title>oops</title></html>"),
        httpx.Response(502),
        httpx.Response(503, headers={"retry-after": "1"}),
        httpx.Response(504),
    ]


def unconnected() -> list[Exception]:
    """List what a missing connection can look like."""
    return [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ConnectTimeout("timed out"),
        httpx.PoolTimeout("no connection left"),
        httpx.ProxyError("407 Proxy Authentication Required"),
    ]
