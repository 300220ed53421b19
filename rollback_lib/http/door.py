"""What may leave, and how often: reads patiently, changes once and only with a pass.

- Reads are retried on lost answers, 429, 500, 502, 503, 504; stamina counts and decides, the injected clock waits.
- A change is admitted before each attempt and its answer is written down after it, also on every failure.
- If the pass cannot write (`admit` or `answered` raises), that error goes up as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NoReturn

from rollback_lib.clock import Clock, to_iso
from rollback_lib.errors import NotApplied, OutcomeUnknown, PlanViolation, ReadRefused, Unreachable
from rollback_lib.http.reply import NOTHING_SAID, Heard, Reply, answered, told_wait_s
from rollback_lib.http.service import Ask, Limits, Pairs, Service, encode
from rollback_lib.http.wire import LEAST_S, NoAnswer, NotSent, Outgoing, Transport, Wire
from rollback_lib.model import Answer, Pass, Redactor, RequestClass, Sending

__all__ = ["Api"]

FIRST_BACKOFF_S = 0.25
FIRST_LIMITED_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 5.0
_RETRIED = frozenset({429, 500, 502, 503, 504})
_STRENGTH = {RequestClass.READ: 0, RequestClass.PREPARE: 1, RequestClass.EFFECT: 2}
_NO_EXTRA: frozenset[int] = frozenset()
_UNCHANGED = "Nothing was changed by this request."
_MAY = "Unknown: the change may or may not have happened."
_NOT_YOURS = (
    "This is a mistake in the runbook, not yours: report it, and act by the platform's own dashboard."
)


class Api:
    """Requests to one service, by its rules and within its limits.

    Threads may share it; it refuses to be pickled.
    """

    def __init__(
        self,
        service: Service,
        limits: Limits,
        clock: Clock,
        redactor: Redactor,
        transport: Transport | None = None,
    ) -> None:
        self.service, self.limits = service, limits
        self._wire = Wire(service, clock, redactor, transport)
        self._means = _Means(service, limits, clock, self._wire)

    def __repr__(self) -> str:
        return f"Api({self.service.name!r}, {self.redact(self.service.url)!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Api holds connections and secrets: make one in each process")

    def redact(self, text: str) -> str:
        """Take every known secret value out of a text."""
        return self._wire.redact(text)

    @property
    def heard(self) -> Heard | None:
        """Return the platform's time beside ours, as its latest answer told it; None before there was one."""
        return self._wire.heard

    def read(
        self,
        method: str,
        path: str,
        *,
        params: Pairs = (),
        json: Any = None,
        form: Mapping[str, str] | None = None,
        also: frozenset[int] = _NO_EXTRA,
        timeout_s: float | None = None,
    ) -> Reply:
        """Ask for something; the request changes nothing.

        Retries lost answers, 429, 500, 502, 503 and 504 within the limits (stamina's switches turn that
        off); gives up at once when the wait that the platform asks for passes the deadline.

        Args:
            method: The verb.
            path: Below the base url, its parts encoded.
            params: The query as a list of pairs.
            json: A JSON body.
            form: A form body.
            also: Statuses to return as they are, at once (2xx always are returned).
            timeout_s: Instead of the limits' own, for each attempt.

        Raises:
            PlanViolation: The rules do not list it as a read; nothing was sent.
            ReadRefused: The platform refused it; nothing was changed.
            Unreachable: No usable answer; nothing was changed.
        """
        body, content_type = encode(json, form)
        timeout_s = timeout_s if timeout_s is not None else self.limits.request_timeout_s
        ask = Ask(method, path, params, body, content_type, also, timeout_s)
        if self.service.class_of(method, path) is not RequestClass.READ:
            raise PlanViolation(
                f"{self._wire.source(ask)} is not listed as a read, but was about to be sent as one.",
                "Nothing was sent.",
                _NOT_YOURS,
            )
        return _Read(self._means, ask).carry_out()

    def change(
        self,
        method: str,
        path: str,
        *,
        permit: Pass | None,
        if_unanswered: str,
        params: Pairs = (),
        json: Any = None,
        form: Mapping[str, str] | None = None,
        also: frozenset[int] = _NO_EXTRA,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send something that changes the world, once.

        A 2xx reply that the service's judge does not call accepted is returned too: the caller says what
        it means.

        Args:
            method: The verb.
            path: Below the base url, its parts encoded.
            permit: Lets the request through; writes down each attempt before and after it.
            if_unanswered: What the operator should do when no answer comes.
            params: The query as a list of pairs.
            json: A JSON body.
            form: A form body.
            also: Refusals (3xx and 4xx, not 429) to return as they are.
            timeout_s: Instead of the limits' own.

        Raises:
            PlanViolation: No permit, or a weaker one than the request needs; nothing was sent.
            Unreachable: No connection; the request did not leave.
            NotApplied: Refused; nothing was changed by it.
            OutcomeUnknown: Sent, but no answer that says what became of it.
        """
        body, content_type = encode(json, form)
        timeout_s = timeout_s if timeout_s is not None else self.limits.request_timeout_s
        ask = Ask(method, path, params, body, content_type, also, timeout_s)
        return _Change(self._means, ask, self._strong_enough(ask, permit), if_unanswered).carry_out()

    def _strong_enough(self, ask: Ask, permit: Pass | None) -> Pass:
        needed = self.service.class_of(ask.method, ask.path)
        if permit is not None and _STRENGTH[permit.request_class] >= _STRENGTH[needed]:
            return permit
        had = "without leave" if permit is None else f"with leave for {permit.request_class.value} only"
        raise PlanViolation(
            f"{self._wire.source(ask)} is of class {needed.value}, but was about to be sent {had}.",
            "Nothing was sent.",
            _NOT_YOURS,
        )


@dataclass(frozen=True)
class _Means:
    """What a request needs on its way."""

    service: Service
    limits: Limits
    clock: Clock
    wire: Wire


class _Again(Exception):
    """A read failed in a way that may pass; never leaves this module."""

    def __init__(self, trouble: str, wait_s: float | None) -> None:
        super().__init__(trouble)
        self.trouble, self.wait_s = trouble, wait_s


class _Read:
    """One read, with its attempts."""

    def __init__(self, means: _Means, ask: Ask) -> None:
        self._means, self._ask = means, ask
        self._deadline = means.clock.monotonic() + means.limits.read_deadline_s
        self._attempts, self._wait_s = 0, 0.0

    def carry_out(self) -> Reply:
        """Ask until there is an answer, attempts or time are used up, or asking again is pointless."""
        import stamina

        _unheard("stamina")
        most = max(1, self._means.limits.read_attempts)
        try:
            for attempt in stamina.retry_context(on=self._again, attempts=most, timeout=None):
                with attempt:
                    self._pause()
                    return self._once()
        except _Again as exc:
            raise Unreachable(
                f"{exc.trouble}{self._summary(exc)}",
                _UNCHANGED,
                f"Run the cell again; if it stays so, look at the status page of {self._means.service.name}.",
            ) from exc.__cause__
        raise AssertionError("stamina makes at least one attempt")

    def _once(self) -> Reply:
        wire, service = self._means.wire, self._means.service
        bounded = replace(self._ask, timeout_s=max(LEAST_S, min(self._ask.timeout_s, self._left_s())))
        try:
            reply = wire.exchange(wire.build(bounded))
        except (NotSent, NoAnswer) as exc:
            raise _Again(f"{wire.source(self._ask)} got no answer ({exc})", None) from exc.__cause__
        if reply.lost:
            raise _Again(f"{reply.source} answered {reply.status}, but the answer broke off", None)
        if reply.status in self._ask.also:
            return reply
        limited = service.limited(reply)
        if limited or reply.status in _RETRIED:
            told = told_wait_s(reply, self._means.clock.now(), limited=limited)
            raise _Again(f"{reply.source} {answered(reply)}", told)
        if not reply.success:
            kind = ReadRefused if reply.refusal else Unreachable
            raise kind(f"{reply.source} {answered(reply)}.", _UNCHANGED, service.advice(reply.status))
        return reply

    def _left_s(self) -> float:
        return self._deadline - self._means.clock.monotonic()

    def _again(self, exc: Exception) -> bool | float:
        """Answer stamina: False ends it; 0.0 means again, with no waiting on its part."""
        if not isinstance(exc, _Again):
            return False
        self._wait_s = max(_backoff_s(FIRST_BACKOFF_S, self._attempts), exc.wait_s or 0.0)
        return False if self._wait_s >= self._left_s() else 0.0

    def _pause(self) -> None:
        """Wait what was decided after the attempt before."""
        self._attempts += 1
        if self._attempts > 1:
            self._means.clock.sleep(self._wait_s)

    def _summary(self, exc: _Again) -> str:
        tried = f" ({_times(self._attempts)})."
        if exc.wait_s is None:
            return tried
        until = self._means.clock.now() + timedelta(seconds=exc.wait_s)
        return f"{tried} It asks to wait until {to_iso(until)}."


@dataclass(frozen=True)
class _Change:
    """One change, with the further attempts that a 429 allows."""

    means: _Means
    ask: Ask
    permit: Pass
    if_unanswered: str

    def carry_out(self) -> Reply:
        """Send it, and once more after each 429 while the limits allow."""
        limits, clock, waited_s = self.means.limits, self.means.clock, 0.0
        for attempt in itertools.count(1):
            reply = self._attempt()
            if not self.means.service.limited(reply):
                return self._conclude(reply)
            now = clock.now()
            told = told_wait_s(reply, now, limited=True)
            wait_s = max(_backoff_s(FIRST_LIMITED_BACKOFF_S, attempt), told or 0.0)
            waited_s += wait_s
            if attempt >= limits.effect_attempts or waited_s > limits.effect_wait_limit_s:
                until = to_iso(now + timedelta(seconds=wait_s))
                raise NotApplied(
                    f"{reply.source} {answered(reply)} ({_times(attempt)}). It may be asked again at {until}.",
                    "Refused as too many requests: nothing was changed by this request.",
                    "Wait until then and run the cell again, or act by the platform's own dashboard.",
                )
            clock.sleep(wait_s)
        raise AssertionError("the count does not end")

    def _attempt(self) -> Reply:
        """Let the pass write it down, send it, let the pass write down what came back."""
        outgoing = self.means.wire.build(self.ask)
        sending = self._sending(outgoing)
        self.permit.admit(sending)
        try:
            reply = self.means.wire.exchange(outgoing)
        except NotSent as exc:
            self.permit.answered(sending, Answer("not_sent", None, str(exc)))
            raise Unreachable(
                f"{self.means.wire.source(self.ask)} found no connection ({exc}).",
                "The request did not leave: nothing was changed by it.",
                f"Check the network and the status page of {self.means.service.name}, then run the cell again.",
            ) from exc.__cause__
        except NoAnswer as exc:
            self.permit.answered(sending, Answer("unclear", None, str(exc)))
            what = f"{self.means.wire.source(self.ask)} was sent and got no answer ({exc})."
            raise OutcomeUnknown(what, _MAY, self.if_unanswered) from exc.__cause__
        self.permit.answered(sending, self._answer(reply))
        return reply

    def _sending(self, outgoing: Outgoing) -> Sending:
        service = self.means.service
        return Sending(
            service=service.name,
            method=self.ask.method,
            path=self.means.wire.redact(outgoing.target),
            body_sha256=hashlib.sha256(self.ask.body).hexdigest(),
            request_class=service.class_of(self.ask.method, self.ask.path),
            deadline_s=self.ask.timeout_s,
        )

    def _answer(self, reply: Reply) -> Answer:
        """Say truthfully what a reply means for the change."""
        text = "" if reply.words == NOTHING_SAID else reply.words
        if self.means.service.limited(reply) or reply.refusal:
            return Answer("refused", reply.status, text)
        if reply.success:
            judged = self.means.service.judge(reply)
            return judged if judged is not None else Answer("accepted", reply.status, "")
        return Answer("unclear", reply.status, text)

    def _conclude(self, reply: Reply) -> Reply:
        if reply.success or (reply.refusal and reply.status in self.ask.also):
            return reply
        what = f"{reply.source} {answered(reply)}."
        if not reply.refusal:
            raise OutcomeUnknown(what, _MAY, self.if_unanswered)
        service = self.means.service
        state = f"{service.name} refused it: nothing was changed by this request."
        raise NotApplied(what, state, service.advice(reply.status))


def _backoff_s(first_s: float, attempt: int) -> float:
    return min(LONGEST_BACKOFF_S, first_s * float(2 ** min(attempt - 1, 16)))


def _times(attempts: int) -> str:
    return "asked once" if attempts == 1 else f"asked {attempts} times"


def _unheard(name: str) -> None:
    """Keep a library's warnings off stderr where nobody has set up logging: an error here says what it has to."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
