"""One simulated company: its platform, its visitors, its chat and monitoring, and the account of it all.

- Time passes by the machine's clock, shifted by the spec's skew, and never runs backwards.
- Whoever looks sees everything that was due until that moment, done at the moment it was due.
- Nothing here sets an error rate or an outcome: both follow from what was done to the world.
- Credentials are known by name; no account of the world holds a value.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.types import Scope

from rollback_lib.clock import Clock, SystemClock
from rollback_lib.simulator import company
from rollback_lib.simulator.agenda import Agenda
from rollback_lib.simulator.deployments import Deployment
from rollback_lib.simulator.faults import FaultBook
from rollback_lib.simulator.history import COLLEAGUE
from rollback_lib.simulator.hosting import Hosting
from rollback_lib.simulator.ledger import Asked, Ledger
from rollback_lib.simulator.outcome import OutcomeView
from rollback_lib.simulator.spans import Span
from rollback_lib.simulator.spec import Service, TokenSpec, WorldSpec
from rollback_lib.simulator.traffic import BLOCK_MS, Breakage, Traffic

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend

__all__ = ["World"]

_NOBODY, _STRANGER = "nobody", "stranger"


class World:
    """The state of one company; the services are views of it."""

    def __init__(self, spec: WorldSpec, clock: Clock | None = None) -> None:
        from rollback_lib.simulator.sentry import SentryState  # both look at the world themselves
        from rollback_lib.simulator.slack import SlackState

        self.spec = spec
        self._clock = clock or SystemClock()
        self.lock = threading.RLock()  # whoever judges looks in from another thread
        self._latest_ms = 0
        self.began_ms = self.now_ms()
        self.issue_ms = self.began_ms - round(spec.broken.issue_age_s * 1000)
        self._agenda = Agenda()
        self.ledger = Ledger(self.hide)
        self.faults = FaultBook(spec.faults)
        self.hosting = Hosting(spec, self.began_ms, self._agenda, self._saw_colleague)
        self.breakage = Breakage(spec, self.issue_ms)
        self._traffic = Traffic(
            spec,
            self.began_ms,
            self.breakage,
            self.hosting.aliases,
            self.hosting.deployments.__getitem__,
            lambda: self.hosting.project.rolling,
        )
        self.bypass = next((t.value for t in spec.tokens if "bypass" in t.scopes), "")
        if self.bypass:
            self.hosting.project.bypass_secrets[self.bypass] = self.hosting.project.created_ms
        self.sentry = SentryState(spec, self.began_ms)
        self.slack = SlackState(spec)
        self.convex = self._backend() if spec.has_convex else None

    def _backend(self) -> Backend:
        from rollback_lib.simulator.convex.backend import Backend  # not every company has one

        assert self.spec.convex is not None
        backend = Backend(self.spec.convex, self.spec.seed, self.now_ms)
        backend.saw_colleague = self._saw_push
        return backend

    def close(self) -> None:
        """End what goes on by itself."""
        if self.convex is not None:
            self.convex.close()

    # --- time ----------------------------------------------------------------------------------------------

    def machine_ms(self) -> int:
        """Tell the machine's time, which a client's journal is written in."""
        return round(self._clock.now().timestamp() * 1000)

    def now_ms(self) -> int:
        """Tell the world's time."""
        with self.lock:
            self._latest_ms = max(self._latest_ms, self.machine_ms() + round(self.spec.clock_skew_s * 1000))
            return self._latest_ms

    def advance(self) -> int:
        """Let everything happen that is due, and tell the world's time."""
        with self.lock:
            now_ms = self.now_ms()
            self._agenda.run_until(now_ms)
            return now_ms

    # --- what was served -----------------------------------------------------------------------------------

    def spans(self, since_ms: int, until_ms: int) -> list[Span]:
        """List the requests served in [since, until) and before now, oldest first."""
        with self.lock:
            return self._traffic.spans(since_ms, until_ms, self.advance())

    def past_minutes(self) -> Iterator[tuple[int, int]]:
        """Give the minutes of the history from the newest to the oldest, as [since, until)."""
        for number in range(1, round(self.spec.history_s * 1000) // BLOCK_MS + 1):
            since_ms = self.began_ms - number * BLOCK_MS
            yield since_ms, since_ms + BLOCK_MS

    def saw(self, span: Span) -> None:
        """Count in a request that was really made to the app."""
        with self.lock:
            self._traffic.add(span)

    def live(self, host: str = company.DOMAINS[0]) -> Deployment:
        """Tell which deployment a host points at now."""
        self.advance()
        return self.hosting.find(host)

    # --- credentials ---------------------------------------------------------------------------------------

    def token_scopes(self, authorization: str | None, service: Service) -> frozenset[str] | None:
        """Tell what a bearer may do with a service, or None for no token or a wrong one."""
        token = self._token(_bearer(authorization), service)
        return None if token is None else frozenset(token.scopes)

    def caller(self, service: Service, scope: Scope, body: bytes = b"") -> str:
        """Name the caller of a request by its token, never by its value."""
        value = _credential(service, scope, body)
        if not value:
            return _NOBODY
        token = self._token(value, service)
        if token is None and service == "convex_api":
            token = self._token(value, "convex")  # the command line shows the deployment's own key there
        return _STRANGER if token is None else token.name

    def hide(self, text: str) -> str:
        """Put the name of each of the world's credentials in place of its value."""
        for token in self.spec.tokens:
            text = text.replace(token.value, f"[{token.name}]")
        return text

    def token(self, name: str) -> str:
        """Give the value of a credential by its name."""
        return next(token.value for token in self.spec.tokens if token.name == name)

    def _token(self, value: str, service: Service) -> TokenSpec | None:
        return next(
            (t for t in self.spec.tokens if value and t.service == service and t.value == value), None
        )

    # --- for whoever judges from outside ---------------------------------------------------------------------

    def outcome_view(self) -> OutcomeView:
        """Say what is true in the world now, and what was done to it since it began."""
        convex = self.convex.view() if self.convex is not None else None
        with self.lock:
            now_ms = self.advance()
            hosting, project = self.hosting, self.hosting.project
            return OutcomeView(
                now_ms=now_ms,
                began_ms=self.began_ms,
                issue_ms=self.issue_ms,
                clock_skew_s=self.spec.clock_skew_s,
                live={host: hosting.aliases.now(host) for host in project.production_hosts},
                production=hosting.current,
                auto_assign=project.auto_assign,
                crons=project.crons_deployment,
                last_job=copy(project.last_job),
                healthy=not self.breakage.strikes(self.live(), now_ms),
                roles=dict(hosting.roles),
                expected_target=self.expected_target(),
                effects=tuple(hosting.effects),
                convex=convex,
            )

    def expected_target(self) -> str | None:
        """Name the deployment that a right rollback from the world's beginning goes to, if there is one."""
        hosting, suspect = self.hosting, self.hosting.roles["bad"]
        served = [id_ for at_ms, id_ in hosting.production if at_ms <= self.began_ms]
        before = served[: len(served) - served[::-1].index(suspect) - 1]
        for id_ in reversed(before):
            item = hosting.deployments[id_]
            if (
                id_ != suspect
                and item.is_rollback_candidate
                and not self.breakage.strikes(item, self.began_ms)
            ):
                return id_
        return None

    def keys(self, service: Service) -> tuple[TokenSpec, ...]:
        """List the credentials of a service."""
        return tuple(token for token in self.spec.tokens if token.service == service)

    def _saw_push(self) -> None:
        asked = Asked("convex", "POST", "/api/deploy2/finish_push", b"{}", COLLEAGUE)
        entry = self.ledger.open(self.machine_ms(), asked)
        entry.status, entry.applied = 200, True

    def _saw_colleague(self, path: str, _at_ms: int) -> None:
        entry = self.ledger.open(self.machine_ms(), Asked("vercel", "POST", path, b"{}", COLLEAGUE))
        entry.status, entry.applied = 201, True


def _bearer(authorization: str | None) -> str:
    scheme, _, value = (authorization or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _credential(service: Service, scope: Scope, body: bytes) -> str:
    """Find what a caller shows: a bearer token, a form's token, a webhook's last part, a bypass secret."""
    headers: dict[bytes, str] = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if service == "app":
        query = parse_qs(str(scope["query_string"], "latin-1"))
        return headers.get(b"x-vercel-protection-bypass", query.get("x-vercel-protection-bypass", [""])[0])
    if service == "convex":
        return _deploy_key(headers.get(b"authorization", ""), str(scope["query_string"], "latin-1"), body)
    found = _bearer(headers.get(b"authorization"))
    if not found and service == "slack":
        webhook = scope["path"].startswith(company.WEBHOOK_PATH.partition("{")[0])
        form = parse_qs(body.decode("latin-1"))
        found = str(scope["path"]).rpartition("/")[2] if webhook else form.get("token", [""])[0]
    return found


def _deploy_key(authorization: str, query: str, body: bytes) -> str:
    """Find the key of the backend: in the header, the body or the query, without the user that is acted as."""
    found = authorization[len("convex ") :].strip() if authorization.lower().startswith("convex ") else ""
    in_body = re.search(rb'"adminKey"\s*:\s*"([^"]*)"', body)
    found = found or (in_body[1].decode("latin-1") if in_body else parse_qs(query).get("adminKey", [""])[0])
    head, bar, rest = found.partition("|")
    return head + bar + rest.partition(":")[0]
