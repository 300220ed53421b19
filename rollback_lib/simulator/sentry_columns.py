"""The columns of a Sentry query: keys, functions of many spans, and equations over them.

- Rates are fractions of 1, durations milliseconds, whatever their type is called.
- A rate without a denominator has no value; what the answer shows for it is not decided here.
- A function that is not known for the dataset is refused, never answered with nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

from rollback_lib.simulator.sentry_query import Key, Refusal, Value, keys_of
from rollback_lib.simulator.spans import Span

__all__ = ["NOT_FAILURES", "Column", "Sample", "parse_column"]

NOT_FAILURES = frozenset({"ok", "cancelled", "unknown"})
_DURATION = "span.duration"
_COUNT_UNIQUE = re.compile(r"^count_unique\(([\w.]+)\)$")
_TAG = re.compile(r"^tags\[[^,\]]+,\s*(string|number)\]$")
_EQUATION = re.compile(r"^equation\|(\S.*?)\s+([-+*/])\s+(\S.*)$")
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p100": 1.0}


@dataclass(frozen=True)
class Sample:
    """Spans of one row or bucket, with what is needed to count them."""

    spans: Sequence[Span]
    seconds: float
    scale: float = 1.0  # how many real spans each stands for


@dataclass(frozen=True)
class Column:
    """One column: either a key of each span, or a value computed from many."""

    label: str
    kind: str
    unit: str | None
    key: Key | None
    value: Callable[[Sample], Value]

    @property
    def groups(self) -> bool:
        """Tell whether rows are grouped by it."""
        return self.key is not None


_Compute = Callable[[Sample], Value]


@dataclass(frozen=True)
class _Function:
    kind: str
    unit: str | None
    compute: _Compute


def parse_column(label: str, dataset: str) -> Column:
    """Read a field or y-axis.

    Raises:
        Refusal: It names neither a key, nor a function, nor an equation of the dataset.
    """
    keys = keys_of(dataset)
    if label in keys:
        return _key_column(label, keys[label])
    tag = _TAG.match(label)
    if tag is not None:
        return _key_column(label, Key(label, tag[1], lambda _: None))
    if label.startswith("equation|"):
        return _equation(label, dataset)
    made = _function(label, dataset, keys)
    if made is None:
        raise Refusal(f"{label!r} is not a field of the dataset {dataset!r}")
    return Column(label, made.kind, made.unit, None, made.compute)


def _key_column(label: str, key: Key) -> Column:
    return Column(label, key.kind, key.unit, key, lambda sample: key.read(sample.spans[0]))


def _function(label: str, dataset: str, keys: Mapping[str, Key]) -> _Function | None:
    unique = _COUNT_UNIQUE.match(label)
    if unique is not None:
        return _Function("integer", None, _count_unique(keys[unique[1]])) if unique[1] in keys else None
    return (_FUNCTIONS if dataset == "errors" else _SPAN_FUNCTIONS).get(label)


def _equation(label: str, dataset: str) -> Column:
    """Read `equation|<field or number> <operator> <field or number>`."""
    found = _EQUATION.match(label)
    if found is None:
        raise Refusal(f"{label!r} is not an equation of two values")
    left, right = _operand(found[1], dataset), _operand(found[3], dataset)
    combine = _OPERATORS[found[2]]

    def compute(sample: Sample) -> Value:
        first, second = left(sample), right(sample)
        if not isinstance(first, int | float) or not isinstance(second, int | float):
            return None
        return None if combine is operator.truediv and second == 0 else combine(first, second)

    return Column(label, "number", None, None, compute)


def _operand(text: str, dataset: str) -> _Compute:
    try:
        number = float(text)
    except ValueError:
        column = parse_column(text, dataset)
        if column.groups:
            raise Refusal(f"{text!r} cannot be calculated with; use a function") from None
        return column.value
    return lambda _: number


def _count(sample: Sample) -> int:
    return round(len(sample.spans) * sample.scale)


def _failures(sample: Sample) -> int:
    # A span that lost its status is no failure, yet it counts in the denominator.
    return sum(span.status is not None and span.status not in NOT_FAILURES for span in sample.spans)


def _failure_count(sample: Sample) -> int:
    return round(_failures(sample) * sample.scale)


def _failure_rate(sample: Sample) -> float | None:
    return _failures(sample) / len(sample.spans) if sample.spans else None


def _per_minute(sample: Sample) -> float:
    return _count(sample) / (sample.seconds / 60)


def _per_second(sample: Sample) -> float:
    return _count(sample) / sample.seconds


def _response_rate(status_class: int) -> _Compute:
    def compute(sample: Sample) -> float | None:
        codes = [span.http_status for span in sample.spans if span.http_status is not None]
        return sum(code // 100 == status_class for code in codes) / len(codes) if codes else None

    return compute


def _count_unique(key: Key) -> _Compute:
    return lambda sample: len({key.read(span) for span in sample.spans} - {None})


def _over_durations(reduce: Callable[[list[float]], float]) -> _Compute:
    def compute(sample: Sample) -> float | None:
        durations = sorted(span.duration_ms for span in sample.spans)
        return float(reduce(durations)) if durations else None

    return compute


def _quantile(share: float) -> Callable[[list[float]], float]:
    def of(ordered: list[float]) -> float:
        place = share * (len(ordered) - 1)
        low, high = ordered[floor(place)], ordered[ceil(place)]
        return low + (high - low) * (place - floor(place))

    return of


def _mean(ordered: list[float]) -> float:
    return sum(ordered) / len(ordered)


_DURATION_FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    **{name: _quantile(share) for name, share in _QUANTILES.items()},
    "avg": _mean,
    "max": max,
    "min": min,
    "sum": sum,
}
_FUNCTIONS = {
    "count()": _Function("integer", None, _count),
    "epm()": _Function("rate", "1/minute", _per_minute),
    "eps()": _Function("rate", "1/second", _per_second),
}
_SPAN_FUNCTIONS = {
    **_FUNCTIONS,
    f"count({_DURATION})": _Function("integer", None, _count),
    "failure_count()": _Function("integer", None, _failure_count),
    "failure_rate()": _Function("percentage", None, _failure_rate),
    **{
        f"http_response_rate({status_class})": _Function("percentage", None, _response_rate(status_class))
        for status_class in range(1, 6)
    },
    **{
        f"{name}({_DURATION})": _Function("duration", "millisecond", _over_durations(reduce))
        for name, reduce in _DURATION_FUNCTIONS.items()
    },
}
