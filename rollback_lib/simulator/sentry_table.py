"""The answer of the monitoring's table call: rows of values over one window.

- Functions are grouped by the keys asked for beside them; with keys alone each span is a row.
- A window without spans answers what the world's switch says: zeros, nulls or no row at all.
- Asking decides nothing: the same question at the same instant has the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollback_lib.simulator.sentry_columns import Column, Sample, parse_column
from rollback_lib.simulator.sentry_query import Refusal, Term, Value, Window
from rollback_lib.simulator.spans import Span
from rollback_lib.simulator.switches import SentrySpec

__all__ = ["Question", "Row", "parse_columns", "parse_sort", "table", "table_meta", "thinned"]

Row = dict[str, Value]
_MAX_FIELDS = 20
_HASH_SPACE = 1 << 32


@dataclass(frozen=True)
class Question:
    """What is asked about which spans."""

    dataset: str
    columns: tuple[Column, ...]
    terms: tuple[Term, ...]
    window: Window
    projects: frozenset[str]
    environments: frozenset[str] | None
    sort: tuple[tuple[str, bool], ...] = ()  # label, descending
    extrapolate: bool = True


def parse_columns(labels: Sequence[str], dataset: str) -> tuple[Column, ...]:
    """Read the fields asked for, in their order.

    Raises:
        Refusal: None, too many, or one that the dataset does not know.
    """
    if not labels:
        raise Refusal("No columns selected")
    if len(labels) > _MAX_FIELDS:
        raise Refusal(f"You can ask for up to {_MAX_FIELDS} fields at a time; got {len(labels)}")
    return tuple(parse_column(label, dataset) for label in dict.fromkeys(labels))


def parse_sort(orders: Sequence[str], columns: Sequence[Column]) -> tuple[tuple[str, bool], ...]:
    """Read `count()` or `-count()`.

    Raises:
        Refusal: It sorts by something that was not asked for as a field.
    """
    labels = {column.label for column in columns}
    read = [(order.removeprefix("-"), order.startswith("-")) for order in orders if order]
    for label, _ in read:
        if label not in labels:
            raise Refusal(f"Cannot sort by a field that is not selected: {label!r}")
    return tuple(read)


def thinned(spans: Sequence[Span], question: Question, switches: SentrySpec) -> tuple[Sequence[Span], float]:
    """Drop what sampling did not keep; give the rest and how many real spans each stands for."""
    if switches.sample_rate == 1 or question.dataset != "spans":
        return spans, 1.0
    kept = [span for span in spans if _draw(span) < switches.sample_rate]
    return kept, 1 / switches.sample_rate if question.extrapolate else 1.0


def _draw(span: Span) -> float:
    """Give each span its own number in [0, 1), the same in every process."""
    seed = span.ts_ms * 2_654_435_761 + int(span.duration_ms * 1e6) * 40_503
    return (seed ^ (seed >> 15)) % _HASH_SPACE / _HASH_SPACE


def table(spans: Sequence[Span], question: Question, switches: SentrySpec) -> list[Row]:
    """Compute all rows, sorted."""
    kept, scale = thinned(spans, question, switches)
    keys = [column for column in question.columns if column.groups]
    seconds = question.window.seconds
    if len(keys) == len(question.columns):
        samples = [Sample([span], seconds) for span in reversed(kept)]  # the newest first
    elif keys:
        samples = [Sample(group, seconds, scale) for group in _grouped(kept, keys)]
    elif kept:
        samples = [Sample(kept, seconds, scale)]
    else:
        return _nothing(question.columns, switches)
    return _sorted([_row(sample, question.columns, switches) for sample in samples], question.sort)


def _grouped(spans: Sequence[Span], keys: Sequence[Column]) -> list[list[Span]]:
    groups: dict[tuple[Value, ...], list[Span]] = {}
    readers = [column.key.read for column in keys if column.key is not None]
    for span in spans:
        groups.setdefault(tuple(read(span) for read in readers), []).append(span)
    return [groups[name] for name in sorted(groups, key=repr)]


def _row(sample: Sample, columns: Sequence[Column], switches: SentrySpec) -> Row:
    row: Row = {}
    for column in columns:
        value = column.value(sample)
        missing = value is None and not column.groups and switches.empty_window == "zeros"
        row[column.label] = 0.0 if missing else value
    return row


def _nothing(columns: Sequence[Column], switches: SentrySpec) -> list[Row]:
    if switches.empty_window == "no_rows":
        return []
    if switches.empty_window == "nulls":
        return [dict.fromkeys((column.label for column in columns), None)]
    return [{column.label: 0 if column.kind == "integer" else 0.0 for column in columns}]


def _sorted(rows: list[Row], sort: Sequence[tuple[str, bool]]) -> list[Row]:
    for label, descending in reversed(sort):
        present = [row for row in rows if row[label] is not None]
        absent = [row for row in rows if row[label] is None]
        rows = sorted(present, key=lambda row: _comparable(row[label]), reverse=descending) + absent
    return rows


def _comparable(value: Value) -> str | float:
    assert value is not None, "rows without a value are put last before"
    return value


def table_meta(
    page: Sequence[Mapping[str, Value]], question: Question, switches: SentrySpec
) -> dict[str, Any]:
    """Describe the columns, and how far each value on the page can be trusted."""
    sampled = switches.sample_rate < 1 and question.dataset == "spans"
    trust = {column.label: "low" for column in question.columns if sampled and not column.groups}
    return {
        "fields": {column.label: column.kind for column in question.columns},
        "units": {column.label: column.unit for column in question.columns},
        "isMetricsData": False,
        "isMetricsExtractedData": False,
        "tips": {},
        "datasetReason": "unchanged",
        "dataset": question.dataset,
        "dataScanned": switches.data_scanned,
        "accuracy": {"confidence": [dict(trust) for _ in page]},
    }
