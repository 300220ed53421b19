"""The requests of the company's visitors, and what became of each.

- A request is answered by the deployment that its host pointed at in that very moment; there is no
  rate to set anywhere: rates are what these answers add up to.
- The same seed brings the same visitors; what they meet depends on who served.
- Requests are made up minute by minute, when somebody asks, and never for more than the history.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, islice
from math import exp
from random import Random
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

from rollback_lib.simulator import company
from rollback_lib.simulator.deployments import AliasTable, Deployment, Rolling
from rollback_lib.simulator.spans import Span, status_of
from rollback_lib.simulator.spec import BrokenPage, WorldSpec

__all__ = ["BLOCK_MS", "Breakage", "Traffic"]

BLOCK_MS = 60_000
_MAIN_HOST_SHARE = 0.8  # the rest asks for the host with www
_LATENCY_SPREAD = 0.5  # sigma of the logarithm
_LATENCY_STEPS = 256
_VISITORS = 5_000
_HTTP_SERVER = "http.server"
_BOT_PATHS = ("GET /wp-login.php", "GET /.env", "GET /xmlrpc.php")
_PAGES = frozenset({"/", *(page.path for page in company.PAGES)})
_TRANSACTIONS = [f"GET {page.path}" for page in company.PAGES]
_MEMBERS = [f"member-{number}" if number % 3 else None for number in range(_VISITORS)]
_STATUS = {code: status_of(code) for code in (200, 404, *range(500, 600))}
_BOT = -1
_NEVER_MS = 1 << 62
_HEALTHY = (0,) * (len(company.PAGES) + 1)
_SERVER_ERRORS = (500, 503, 504)  # the small change of every day
_STATUS_LOST = 0.002  # of the spans carry no status
# What else reaches the monitoring, as shares of the visitors' rate: none of it belongs in the error rate.
_NOISE = (
    ("preview", 0.01),  # people trying previews, half of it failing
    ("other project", 0.02),
    ("database", 0.02),  # spans below a request
    ("page load", 0.02),  # from browsers, without an HTTP status
)
_STRAY_FAILURES = {"preview": 0.5, "other project": 0.3, "database": 0.1, "page load": 0.1}


@dataclass(frozen=True)
class Breakage:
    """How a deployment that carries the fault answers, from the moment the issue began."""

    spec: WorldSpec
    issue_ms: int

    def strikes(self, deployment: Deployment, at_ms: int) -> bool:
        """Tell whether a deployment misbehaves at a moment."""
        cause = self.spec.broken.cause
        struck = cause == "outside" or (cause == "deployment" and deployment.broken)
        return struck and at_ms >= self.issue_ms

    def of_page(self, path: str) -> BrokenPage | None:
        """Tell how a page fails, or None for one that works and for what is no page."""
        if path not in _PAGES:
            return None
        found = {page.path: page for page in self.spec.broken.pages}
        return found.get(path) or found.get("*")


# One request before anybody has answered it: when in its minute, which host, which page (or -1 for a bot), three
# numbers that decide what happens (against the page's broken share, against the everyday errors, and
# the latency in milliseconds), and who. A plain tuple: there are thousands a minute.
_Visit: TypeAlias = tuple[int, str, int, float, float, float, int]


class _Serving(NamedTuple):
    """Who answers for a host, how, and until when that is known to hold."""

    until_ms: int
    release: str
    shares: tuple[float, ...]  # of 5xx, by page; the last one is the bots'
    codes: tuple[int, ...]
    slow_factor: float


_NOBODY = _Serving(0, "", _HEALTHY, _HEALTHY, 1)


@dataclass
class _Block:
    """One minute: what is still to come, and what has been answered."""

    start_ms: int
    coming: Sequence[_Visit]
    noise: list[Span]
    spans: list[Span] = field(default_factory=list)
    done: int = 0


@dataclass
class Traffic:
    """The stream of one world."""

    spec: WorldSpec
    began_ms: int
    breakage: Breakage
    aliases: AliasTable
    deployment: Callable[[str], Deployment]  # by id
    rolling: Callable[[], Rolling | None]
    _blocks: dict[int, _Block] = field(default_factory=dict)
    _real: list[Span] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._latencies = _latencies(self.spec.latency_ms)
        self._oldest_ms = self.began_ms - round(self.spec.history_s * 1000)

    def add(self, span: Span) -> None:
        """Take in a request that somebody really made to the app."""
        self._real.append(span)

    def spans(self, since_ms: int, until_ms: int, now_ms: int) -> list[Span]:
        """List what was served in [since, until) and before now, oldest first."""
        since_ms, until_ms = max(since_ms, self._oldest_ms), min(until_ms, now_ms)
        if since_ms >= until_ms:
            return []
        found: list[Span] = []
        for index in range(self._index(since_ms), self._index(until_ms - 1) + 1):
            block = self._block(index, now_ms)
            found += _between(block.spans, since_ms, until_ms)
            found += _between(block.noise, since_ms, until_ms)
        found += [span for span in self._real if since_ms <= span.ts_ms < until_ms]
        found.sort(key=lambda span: span.ts_ms)
        self._forget(now_ms)
        return found

    def _index(self, at_ms: int) -> int:
        return (at_ms - self.began_ms) // BLOCK_MS

    def _forget(self, now_ms: int) -> None:
        """Keep no more than the history; a forgotten minute would be made up the same again."""
        limit = self._index(now_ms - round(self.spec.history_s * 1000)) - 1
        for index in [index for index in self._blocks if index < limit]:
            del self._blocks[index]

    def _block(self, index: int, now_ms: int) -> _Block:
        """Give a minute, with the visits answered that have come by now."""
        block = self._blocks.get(index)
        if block is None:
            start_ms = self.began_ms + index * BLOCK_MS
            rng = Random(f"noise:{self.spec.seed}:{index}")  # noqa: S311 - repeatable, not secret
            coming = _visits(
                self.spec.seed, index, self.spec.traffic_rps, self.spec.bot_share, self.spec.latency_ms
            )
            block = self._blocks[index] = _Block(start_ms, coming, self._noise(rng, start_ms))
        self._answer_until(block, now_ms)
        return block

    def _answer_until(self, block: _Block, now_ms: int) -> None:
        """Let whoever is live at each moment answer the visits that have come before now."""
        serving = dict.fromkeys(company.DOMAINS, _NOBODY)  # each for as long as nothing moves
        rolling, everyday = self.rolling(), self.spec.baseline_error_rate
        for visit in islice(block.coming, block.done, None):
            in_ms, host, path, luck, day, _, visitor = visit
            at_ms = block.start_ms + in_ms
            if at_ms >= now_ms:
                break
            block.done += 1
            if at_ms >= serving[host].until_ms:
                serving[host] = self._live(host, at_ms)
            by = serving[host]
            if rolling is not None and rolling.takes(visitor, at_ms):
                by = self._serving(rolling.canary_id, at_ms, None)
            if luck < by.shares[path]:
                code = by.codes[path]
            elif day < everyday:
                code = _SERVER_ERRORS[visitor % len(_SERVER_ERRORS)]
            else:
                code = 200
            block.spans.append(self._span(at_ms, visit, by, code if path != _BOT else 404))

    def _span(self, at_ms: int, visit: _Visit, by: _Serving, code: int) -> Span:
        _, _, path, _, day, latency_ms, visitor = visit
        lost = day >= 1 - _STATUS_LOST
        bot = path == _BOT
        return Span(  # by position: an hour of visitors is made up while a client waits
            at_ms,
            latency_ms * by.slow_factor,
            _HTTP_SERVER,
            True,
            None if lost else _STATUS[code],
            None if lost else code,
            company.ENVIRONMENT,
            by.release,
            self.spec.sentry_project,
            _BOT_PATHS[visitor % len(_BOT_PATHS)] if bot else _TRANSACTIONS[path],
            None if bot else _MEMBERS[visitor],
        )

    def _live(self, host: str, at_ms: int) -> _Serving:
        live = self.aliases.at(host, at_ms)
        assert live is not None, "the history begins after the first deployment"
        return self._serving(live, at_ms, self.aliases.next_move(host, at_ms))

    def _serving(self, deployment_id: str, at_ms: int, until_ms: int | None) -> _Serving:
        deployment = self.deployment(deployment_id)
        release, turns_ms = deployment.release, self.breakage.issue_ms
        until_ms = until_ms or _NEVER_MS
        if not self.breakage.strikes(deployment, at_ms):
            return _Serving(
                min(until_ms, turns_ms) if at_ms < turns_ms else until_ms, release, _HEALTHY, _HEALTHY, 1
            )
        failing = [self.breakage.of_page(page.path) for page in company.PAGES]
        shares = (*(page.share if page else 0 for page in failing), 0)
        codes = (*(page.status if page else 0 for page in failing), 0)
        return _Serving(until_ms, release, shares, codes, self.spec.broken.slow_factor)

    def _noise(self, rng: Random, start_ms: int) -> list[Span]:
        """Make up what reaches the monitoring besides the visitors' requests, oldest first."""
        spans = [
            self._stray(kind, start_ms + int(rng.random() * BLOCK_MS), rng)
            for kind, share in _NOISE
            for _ in range(round(self.spec.traffic_rps * share * BLOCK_MS / 1000))
        ]
        return sorted(spans, key=lambda span: span.ts_ms)

    def _stray(self, kind: str, at_ms: int, rng: Random) -> Span:
        failed = rng.random() < _STRAY_FAILURES[kind]
        code = 500 if failed else 200
        has_code = kind in ("preview", "other project")
        return Span(
            ts_ms=at_ms,
            duration_ms=self._latencies[int(rng.random() * _LATENCY_STEPS)],
            op={"database": "db", "page load": "pageload"}.get(kind, _HTTP_SERVER),
            is_transaction=kind != "database",
            status=status_of(code),
            http_status=code if has_code else None,
            environment=company.ENVIRONMENT_PREVIEW if kind == "preview" else company.ENVIRONMENT,
            release=f"{company.OTHER_PROJECT_NAME}@1"
            if kind == "other project"
            else f"{company.PROJECT_NAME}@{kind}",
            project=company.SENTRY_OTHER_PROJECT if kind == "other project" else self.spec.sentry_project,
            transaction="SELECT members" if kind == "database" else f"GET {rng.choice(company.PAGES).path}",
            user=None,
        )


@lru_cache(maxsize=8)
def _latencies(typical_ms: float) -> tuple[float, ...]:
    spread = NormalDist(0, _LATENCY_SPREAD)
    return tuple(
        typical_ms * exp(spread.inv_cdf((step + 0.5) / _LATENCY_STEPS)) for step in range(_LATENCY_STEPS)
    )


@lru_cache(maxsize=128)
def _visits(
    seed: int, index: int, traffic_rps: float, bot_share: float, latency_ms: float
) -> tuple[_Visit, ...]:
    """Make up who comes in a minute: the same for every world of a seed, so that a process makes it up once."""
    rng = Random(f"visits:{seed}:{index}")  # noqa: S311 - repeatable, not secret
    expected = traffic_rps * BLOCK_MS / 1000
    count = max(0, round(rng.gauss(expected, expected**0.5))) if expected else 0
    draw = rng.random
    times = sorted(int(draw() * BLOCK_MS) for _ in range(count))
    main, www = company.DOMAINS
    latencies = _latencies(latency_ms)
    limits = list(accumulate(page.share for page in company.PAGES))
    return tuple(
        (
            in_ms,
            main if draw() < _MAIN_HOST_SHARE else www,
            _BOT if draw() < bot_share else bisect_left(limits, draw() * limits[-1]),
            draw(),
            draw(),
            latencies[int(draw() * _LATENCY_STEPS)],
            int(draw() * _VISITORS),
        )
        for in_ms in times
    )


def _between(spans: list[Span], since_ms: int, until_ms: int) -> list[Span]:
    first = bisect_left(spans, since_ms, key=lambda span: span.ts_ms)
    return spans[first : bisect_left(spans, until_ms, key=lambda span: span.ts_ms)]
