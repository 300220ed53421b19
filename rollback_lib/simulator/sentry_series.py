"""The answer of the monitoring's time series call: one value per bucket and axis.

- Buckets are aligned to their interval; the first may begin before the window asked for.
- A bucket whose end lies within the ingest lag is marked incomplete; its value is shown all the same.
- A bucket without spans shows zero, not nothing: a rate of 0 may mean that nobody came.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rollback_lib.simulator.sentry_columns import Column, Sample
from rollback_lib.simulator.sentry_query import Window
from rollback_lib.simulator.sentry_table import Question, thinned
from rollback_lib.simulator.spans import Span
from rollback_lib.simulator.switches import SentrySpec

__all__ = ["Freshness", "bucketed", "interval_of", "time_series"]

_INTERVAL = re.compile(r"^(\d+)([smhd]?)$")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DEFAULTS = ((3600, 60), (86_400, 300), (7 * 86_400, 3600))  # windows up to (s) get buckets of (s)
_MAX_BUCKETS = 10_000


@dataclass(frozen=True)
class Freshness:
    """What decides whether a bucket is complete."""

    now_ms: int
    lag_ms: int

    def complete(self, end_ms: int) -> bool:
        """Tell whether all spans before an instant have arrived."""
        return end_ms < self.now_ms - self.lag_ms


def interval_of(text: str | None, window: Window) -> int:
    """Read the width of a bucket in milliseconds; a width that does not work gives way to a default."""
    found = _INTERVAL.match(text or "")
    seconds = int(found[1]) * _UNIT_S[found[2]] if found is not None else 0
    if seconds < 1 or window.seconds / seconds > _MAX_BUCKETS:
        seconds = next((width for limit, width in _DEFAULTS if window.seconds <= limit), 86_400)
    return seconds * 1000


def bucketed(window: Window, interval_ms: int) -> Window:
    """Widen a window to whole buckets."""
    return Window(
        window.start_ms // interval_ms * interval_ms, -(-window.end_ms // interval_ms) * interval_ms
    )


def time_series(
    spans: Sequence[Span], question: Question, interval_ms: int, switches: SentrySpec, fresh: Freshness
) -> list[dict[str, Any]]:
    """Compute one series per column; the question's window is already whole buckets."""
    kept, scale = thinned(spans, question, switches)
    window = question.window
    buckets: list[list[Span]] = [[] for _ in range(window.start_ms, window.end_ms, interval_ms)]
    for span in kept:
        buckets[(span.ts_ms - window.start_ms) // interval_ms].append(span)
    return [
        {
            "yAxis": column.label,
            "meta": {
                "valueType": column.kind,
                "valueUnit": column.unit,
                "interval": interval_ms,
                "dataScanned": switches.data_scanned,
            },
            "values": [
                _bucket(
                    window.start_ms + index * interval_ms,
                    column,
                    Sample(bucket, interval_ms / 1000, scale),
                    switches,
                    complete=fresh.complete(window.start_ms + (index + 1) * interval_ms),
                )
                for index, bucket in enumerate(buckets)
            ],
        }
        for column in question.columns
    ]


def _bucket(
    start_ms: int, column: Column, sample: Sample, switches: SentrySpec, *, complete: bool
) -> dict[str, Any]:
    value = column.value(sample)
    shown = {"timestamp": start_ms, "value": 0.0 if value is None else value, "incomplete": not complete}
    if not complete:
        return {**shown, "incompleteReason": "INCOMPLETE_BUCKET"}
    return {
        **shown,
        "sampleCount": len(sample.spans),
        "sampleRate": switches.sample_rate,
        "confidence": "low" if switches.sample_rate < 1 else "high",
    }
