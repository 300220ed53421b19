"""What a Sentry query asks for: its window, its terms, and the spans that match them.

- Nothing is guessed: an unknown key, a malformed value or free text is refused, never ignored.
- `statsPeriod` wins over `start` and `end`; a window without both its ends is refused.
- Times are milliseconds since the epoch; a window holds its start and not its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import translate
from typing import Any

from rollback_lib.simulator.spans import Span

__all__ = [
    "DATASETS",
    "ERROR_KEYS",
    "SPAN_KEYS",
    "Key",
    "Refusal",
    "Term",
    "Value",
    "Window",
    "error_title",
    "iso",
    "keys_of",
    "parse_terms",
    "parse_time",
    "parse_window",
    "select",
]

Value = str | float | bool | None
_DAY_S = 86_400
_RETENTION_S = 90 * _DAY_S
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": _DAY_S, "w": 7 * _DAY_S}
_PERIOD = re.compile(r"^(\d+)([hdmsw]?)$")
_TERM = re.compile(r'\s*(!?)([\w.]+|tags\[[^\]]+\]):("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\S*)')
_COMPARISON = re.compile(r"^(>=|<=|>|<)?\s*(-?\d+(?:\.\d+)?)(ms|s)?$")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class Refusal(Exception):
    """A request that is answered with an error.

    Args:
        detail: The sentence of the answer.
        status: Its HTTP status.
        fields: Errors by field of the body, instead of the sentence.
    """

    def __init__(self, detail: str, status: int = 400, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, status, fields)
        self.detail, self.status, self.fields = detail, status, fields


@dataclass(frozen=True)
class Window:
    """A span of time."""

    start_ms: int
    end_ms: int

    @property
    def seconds(self) -> float:
        """Return its length in seconds."""
        return (self.end_ms - self.start_ms) / 1000

    def holds(self, ts_ms: int) -> bool:
        """Tell whether an instant lies in it."""
        return self.start_ms <= ts_ms < self.end_ms


@dataclass(frozen=True)
class Key:
    """A property of a span that can be asked for and filtered by."""

    name: str
    kind: str
    read: Callable[[Span], Value]
    unit: str | None = None


@dataclass(frozen=True)
class Term:
    """One condition of a query."""

    key: str
    negated: bool
    fits: Callable[[Value], bool]

    def holds(self, value: Value) -> bool:
        """Tell whether a value passes."""
        return self.fits(value) is not self.negated


def iso(ts_ms: int) -> str:
    """Write an instant as the monitoring does, e.g. 2026-11-23T21:50:00.250000Z."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def error_title(span: Span) -> str:
    """Name the error that a failing span belongs to."""
    return f"{span.transaction}: {span.status or span.http_status}"


def _code(span: Span) -> str | None:
    return None if span.http_status is None else str(span.http_status)


_SHARED_KEYS = (
    Key("transaction", "string", lambda span: span.transaction),
    Key("release", "string", lambda span: span.release),
    Key("environment", "string", lambda span: span.environment),
    Key("project", "string", lambda span: span.project),
    Key("user", "string", lambda span: span.user),
    Key("timestamp", "date", lambda span: iso(span.ts_ms)),
)
SPAN_KEYS = {
    key.name: key
    for key in (
        *_SHARED_KEYS,
        Key("is_transaction", "boolean", lambda span: span.is_transaction),
        Key("span.op", "string", lambda span: span.op),
        Key("span.status", "string", lambda span: span.status),
        Key("span.status_code", "string", _code),
        Key("span.duration", "duration", lambda span: span.duration_ms, "millisecond"),
    )
}
ERROR_KEYS = {
    key.name: key
    for key in (
        *_SHARED_KEYS,
        Key("title", "string", error_title),
        Key("level", "string", lambda _: "error"),
        Key("event.type", "string", lambda _: "error"),
    )
}
# The world has spans and errors; the other published datasets exist and are empty.
DATASETS = {
    "spans": SPAN_KEYS,
    "errors": ERROR_KEYS,
    "logs": SPAN_KEYS,
    "profile_functions": SPAN_KEYS,
    "tracemetrics": SPAN_KEYS,
    "uptime_results": SPAN_KEYS,
}


def keys_of(dataset: str | None) -> dict[str, Key]:
    """Give the keys of a dataset.

    Raises:
        Refusal: There is no such dataset, or none was named.
    """
    keys = DATASETS.get(dataset or "")
    if keys is None:
        raise Refusal(f"dataset must be one of: {', '.join(DATASETS)}; got {dataset!r}")
    return keys


def parse_window(params: Mapping[str, str], now_ms: int, *, default_s: int = _RETENTION_S) -> Window:
    """Read `statsPeriod`, else `start` with `end`, else the last `default_s` seconds.

    Raises:
        Refusal: A malformed period or time, one end without the other, or an end before its start.
    """
    period = params.get("statsPeriod")
    if period:
        return _window(now_ms - _period_s(period) * 1000, now_ms)
    start, end = params.get("start"), params.get("end")
    if not start and not end:
        return _window(now_ms - default_s * 1000, now_ms)
    if not start or not end:
        raise Refusal("start and end are both required")
    return _window(parse_time(start), parse_time(end))


def _window(start_ms: int, end_ms: int) -> Window:
    if start_ms >= end_ms:
        raise Refusal("start must be before end")
    return Window(start_ms, end_ms)


def _period_s(text: str) -> int:
    found = _PERIOD.match(text)
    if found is None:
        raise Refusal(f"Invalid statsPeriod: {text!r}")
    return int(found[1]) * _UNIT_S[found[2]]


def parse_time(text: str) -> int:
    """Read ISO 8601 as milliseconds since the epoch; a time without a zone is UTC.

    Raises:
        Refusal: It is not ISO 8601.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as exc:
        raise Refusal(f"{text} is not a valid ISO 8601 time") from exc
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)


def parse_terms(query: str, kinds: Mapping[str, str]) -> tuple[Term, ...]:
    """Read `key:value` terms, all of which have to hold; `!` in front negates.

    A value may be quoted, hold `*`, be a list `[a, b]`, or compare a number (`>500`, `<=1.5s`).

    Args:
        query: The text of the query.
        kinds: The keys that are allowed, with their kinds.

    Raises:
        Refusal: An unknown key, a value that does not fit its kind, or text outside `key:value`.
    """
    terms = []
    rest = query.rstrip()
    while rest:
        found = _TERM.match(rest)
        if found is None:
            raise Refusal(f"Invalid query. Could not read it from here on: {rest.strip()!r}")
        terms.append(_term(bool(found[1]), found[2], found[3], kinds))
        rest = rest[found.end() :]
    return tuple(terms)


def _term(negated: bool, key: str, value: str, kinds: Mapping[str, str]) -> Term:
    if key == "has":
        _kind(value, kinds)
        return Term(value, negated, lambda seen: seen is not None)
    kind = _kind(key, kinds)
    if kind == "boolean":
        return Term(key, negated, _equals_truth(key, value))
    if kind in ("duration", "number"):
        return Term(key, negated, _compares(key, value))
    return Term(key, negated, _matches(value))


def _kind(key: str, kinds: Mapping[str, str]) -> str:
    if key not in kinds:
        raise Refusal(f"Invalid query. {key!r} is not a key of this dataset.")
    return kinds[key]


def _equals_truth(key: str, value: str) -> Callable[[Value], bool]:
    if value.lower() not in _TRUTH:
        raise Refusal(f"Invalid query. {key} takes true or false, not {value!r}.")
    wanted = _TRUTH[value.lower()]
    return lambda seen: seen is wanted


def _compares(key: str, value: str) -> Callable[[Value], bool]:
    found = _COMPARISON.match(value)
    if found is None:
        raise Refusal(f"Invalid query. {key} takes a number, not {value!r}.")
    limit = float(found[2]) * (1000 if found[3] == "s" else 1)
    operators: dict[str | None, Callable[[float], bool]] = {
        None: lambda seen: seen == limit,
        ">": lambda seen: seen > limit,
        ">=": lambda seen: seen >= limit,
        "<": lambda seen: seen < limit,
        "<=": lambda seen: seen <= limit,
    }
    fits = operators[found[1]]
    return lambda seen: isinstance(seen, int | float) and fits(seen)


def _matches(value: str) -> Callable[[Value], bool]:
    if value.startswith("["):
        options = [_unquoted(part.strip()) for part in value[1:-1].split(",")]
        return lambda seen: seen in options
    wanted = _unquoted(value)
    if wanted == "":
        return lambda seen: seen in (None, "")  # `user:""` asks for those that have none
    if "*" in wanted:
        # Only the star is a wildcard here; brackets and question marks stand for themselves.
        pattern = re.compile(translate(re.sub(r"[?\[]", lambda odd: f"[{odd[0]}]", wanted)))
        return lambda seen: isinstance(seen, str) and pattern.match(seen) is not None
    return lambda seen: seen == wanted


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value


def select(
    spans: Iterable[Span], terms: Sequence[Term], keys: Mapping[str, Key], **among: frozenset[str] | None
) -> list[Span]:
    """Keep the spans for which all terms hold and whose attributes are among the given values.

    Args:
        spans: Where to look.
        terms: Conditions that all have to hold.
        keys: How to read what the terms speak of.
        among: Per attribute of a span (`project`, `environment`), the values allowed; None allows any.
    """
    checks: list[tuple[Callable[[Span], Value], Term]] = [(keys[term.key].read, term) for term in terms]
    sets: list[tuple[str, frozenset[str]]] = [
        (name, some) for name, some in among.items() if some is not None
    ]
    return [
        span
        for span in spans
        if all(_attribute(span, name) in some for name, some in sets)
        and all(term.holds(read(span)) for read, term in checks)
    ]


def _attribute(span: Span, name: str) -> Any:
    return getattr(span, name)
