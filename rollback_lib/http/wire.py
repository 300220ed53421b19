"""One request carried to a platform and its answer brought back; alone here httpx is known.

- The transport's errors become two: `NotSent` (not a byte of the request left) and `NoAnswer` (it may have arrived).
- Once a status has come it counts, even if the body after it is lost.
- One client a process for loopback, which no proxy may touch, one for all other hosts; no cookies, no redirects.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from rollback_lib.clock import Clock
from rollback_lib.errors import BadParameters
from rollback_lib.http.reply import Heard, Reply, cut, heard, parse, readable, words_of
from rollback_lib.http.service import Ask, Service
from rollback_lib.model import Redactor

if TYPE_CHECKING:  # a third of a second to import: it waits for the first request
    import httpx

__all__ = ["LEAST_S", "NoAnswer", "NotSent", "Outgoing", "Transport", "Wire"]

Transport: TypeAlias = "httpx.BaseTransport"  # what stands in for the network in tests

# httpx takes its own command line along, and that rich and click: a third of its import. Without it, it does without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is Python's own mark for "not there"

BODY_LIMIT_BYTES = 20_000_000
KEEP_ALIVE_S = 4.0  # below the 5 s after which common servers hang up: a reused connection should be alive
LEAST_S = 0.001  # zero would mean "do not wait at all" to one layer and "for ever" to another


class NotSent(Exception):
    """There was no connection: not a byte of the request left."""


class NoAnswer(Exception):
    """The request left, wholly or in part, and no answer came."""


@dataclass(frozen=True)
class Outgoing:
    """One request, built and not yet sent."""

    ask: Ask
    request: httpx.Request
    client: httpx.Client

    @property
    def target(self) -> str:
        """Return the whole path with query as it leaves; not redacted."""
        return self.request.url.raw_path.decode("ascii")


class Wire:
    """Carries requests of one service; threads may share it."""

    def __init__(
        self, service: Service, clock: Clock, redactor: Redactor, transport: Transport | None
    ) -> None:
        self._service, self._clock, self._redactor = service, clock, redactor
        redactor.learn(service.secret_forms())
        self._headers = service.header_values()
        self._own = _new_client(trust_env=False, transport=transport) if transport is not None else None
        self.heard: Heard | None = None  # what the latest answer said about the platform's clock

    def redact(self, text: str) -> str:
        """Take every known secret value out of a text."""
        return self._redactor.redact(text)

    def source(self, ask: Ask) -> str:
        """Name a request for people, e.g. `vercel: GET /v9/projects/web`."""
        return self.redact(f"{self._service.name}: {ask.method} {ask.path or '/'}")

    def build(self, ask: Ask) -> Outgoing:
        """Make the request.

        Raises:
            BadParameters: The service's address is none; nothing was sent.
        """
        import httpx

        # Half of the time each for the connection and its TLS; `_Budget` gives what is left to the rest.
        timeouts = httpx.Timeout(ask.timeout_s, connect=ask.timeout_s / 2).as_dict()
        headers = {"user-agent": _user_agent(), "accept": "application/json"} | self._headers
        if ask.content_type:
            headers["content-type"] = ask.content_type
        address = self._service.url + ask.target
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as exc:
            raise self._no_address(str(exc)) from exc
        if url.scheme not in {"http", "https"} or not url.host:
            raise self._no_address("expected http:// or https:// and a host")
        extensions = {"timeout": timeouts}
        request = httpx.Request(ask.method, url, headers=headers, content=ask.body, extensions=extensions)
        # The client is made here, before anybody counts the time: the first one of a process takes a while.
        return Outgoing(ask, request, self._client(url.host))

    def exchange(self, outgoing: Outgoing) -> Reply:
        """Send the request once and read the answer.

        Raises:
            NotSent: No connection.
            NoAnswer: Sent, and no status came back.
        """
        import httpx

        started = self._clock.monotonic()
        # These end before the first byte of the request: no connection, or a proxy that refuses the tunnel.
        unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
        try:
            return self._exchange(outgoing, started)
        except (*unsent, httpx.UnsupportedProtocol) as exc:
            raise NotSent(self._reason(exc, outgoing)) from self._cause(exc)
        except httpx.RequestError as exc:
            raise NoAnswer(self._reason(exc, outgoing)) from self._cause(exc)

    def _exchange(self, outgoing: Outgoing, started: float) -> Reply:
        request, deadline = outgoing.request, started + outgoing.ask.timeout_s
        budget = _Budget(self._clock, deadline, request.extensions["timeout"])
        request.extensions["trace"] = budget
        _running.budget = budget
        try:
            response = outgoing.client.send(request, stream=True)
        finally:
            _running.budget = None  # the body is held to its time below
        headers = {name.lower(): self.redact(readable(value)) for name, value in response.headers.items()}
        try:
            body, lost = _body_of(response, budget)
        finally:
            response.close()
        # Redacted last: a secret with a character in it that is taken out shows only then.
        text = self.redact(readable(_text(response, body[:BODY_LIMIT_BYTES])))
        parsed = self._redactor.clean(readable(parse(text)))  # what was escaped shows once it is parsed
        reply = Reply(
            status=response.status_code,
            headers=headers,
            text=text,
            json=parsed,
            elapsed_s=self._clock.monotonic() - started,
            source=self.source(outgoing.ask),
            words=cut(self.redact(words_of(text, parsed))).rstrip("."),  # they become part of a sentence
            whole=not lost and len(body) <= BODY_LIMIT_BYTES,
            lost=lost,
        )
        self.heard = heard(reply, self._clock.now()) or self.heard
        return reply

    def _client(self, host: str) -> httpx.Client:
        return self._own if self._own is not None else _Clients.shared(loopback=_is_loopback(host))

    def _reason(self, exc: httpx.RequestError, outgoing: Outgoing) -> str:
        reason = cut(self.redact(str(exc))) or "no reason given"
        host = self.redact(outgoing.request.url.netloc.decode("ascii"))
        return f"{type(exc).__name__} at {host}, timeout {round(outgoing.ask.timeout_s, 2):g} s: {reason}"

    def _cause(self, exc: Exception) -> Exception | None:
        """Keep the transport's error in the traceback, unless it repeats a secret."""
        return exc if self.redact(str(exc)) == str(exc) else None

    def _no_address(self, why: str) -> BadParameters:
        return BadParameters(
            self.redact(f"{self._service.name}: {self._service.url!r} is not a usable address: {why}."),
            "Nothing was sent.",
            f"Correct the address of {self._service.name} in the parameters.",
        )


class _Budget:
    """Keeps one request within its time: each phase gets what the phases before it left over.

    The transport calls it at the beginning and end of every phase and reads the timeouts afterwards.
    """

    def __init__(self, clock: Clock, deadline: float, timeouts: dict[str, float | None]) -> None:
        self._clock, self._deadline, self._timeouts = clock, deadline, timeouts

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Set what is left; stop before the first byte leaves if nothing is."""
        import httpx

        if event in _NEW_STREAM:
            _hold_to_time(info["return_value"])
        left_s = self._deadline - self._clock.monotonic()
        if left_s <= 0 and event.endswith(".send_request_headers.started"):
            raise httpx.ConnectTimeout("the connection took all the time")
        self._timeouts.update(read=max(LEAST_S, left_s), write=max(LEAST_S, left_s))

    def left_s(self) -> float:
        """Return what is left for one read, which is never nothing to wait for ever."""
        return max(LEAST_S, self._deadline - self._clock.monotonic())

    def spent(self) -> bool:
        """Say whether the time is over."""
        return self._clock.monotonic() > self._deadline


class _Running(threading.local):
    """The request whose head this thread waits for."""

    budget: _Budget | None = None


_running = _Running()
_NEW_STREAM = ("connection.connect_tcp.complete", "connection.start_tls.complete")


def _hold_to_time(stream: Any) -> None:
    """Give every read of a connection what is left then: a head that drips in would renew its time with each byte."""
    read = stream.read

    def held(max_bytes: int, timeout: float | None = None) -> bytes:
        import httpcore

        budget = _running.budget
        if budget is None:
            return bytes(read(max_bytes, timeout=timeout))
        if budget.spent():
            raise httpcore.ReadTimeout("the head of the answer took all the time")
        return bytes(read(max_bytes, timeout=min(timeout or budget.left_s(), budget.left_s())))

    stream.read = held


class _Clients:
    """The process's clients; a forked child makes its own."""

    _made: ClassVar[dict[tuple[int, bool], httpx.Client]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def shared(cls, *, loopback: bool) -> httpx.Client:
        """Return this process's client for loopback or for all other hosts."""
        key = (os.getpid(), loopback)
        with cls._guard:
            if key not in cls._made:
                cls._made[key] = _new_client(trust_env=not loopback, transport=None)
            return cls._made[key]


def _new_client(*, trust_env: bool, transport: Transport | None) -> httpx.Client:
    import httpx

    _quiet_logs()
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=KEEP_ALIVE_S)
    # Loopback is plain http: loading all certificate authorities would delay a drill's first request. TLS there
    # finds none and fails closed.
    verify = True if trust_env else SSLContext(PROTOCOL_TLS_CLIENT)
    return httpx.Client(
        trust_env=trust_env, transport=transport, cookies=no_cookies, limits=limits, verify=verify
    )


def _quiet_logs() -> None:
    """Keep whole addresses out of logs: httpx names them at level INFO, and a webhook's address is a secret."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)


def _body_of(response: httpx.Response, budget: _Budget) -> tuple[bytes, bool]:
    """Read the body, a little past the limit at most; say whether the rest was lost."""
    import httpx

    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > BODY_LIMIT_BYTES:
                break
            if budget.spent():
                return bytes(body), True
    except httpx.RequestError:
        return bytes(body), True
    return bytes(body), False


def _text(response: httpx.Response, body: bytes) -> str:
    try:
        return body.decode(response.charset_encoding or "utf-8", errors="replace")
    except (LookupError, UnicodeError):  # a charset that there is not
        return body.decode("utf-8", errors="replace")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@cache
def _user_agent() -> str:
    try:
        return f"rollback-runbooks/{version('rollback-runbooks')}"
    except PackageNotFoundError:
        return "rollback-runbooks/unknown"
