"""When did it begin? Read from a series of error rates; decides only, reads nothing.

- Points without a value are no evidence either way.
- The onset is the start of the newest stretch at or above the limit; a stretch that ended is not the incident.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rollback_lib.providers.sentry import RatePoint

__all__ = ["onset"]


def onset(points: Sequence[RatePoint], limit: float) -> datetime | None:
    """Return when the error rate last rose to the limit or above and stayed there, or None if it is below it now.

    Args:
        points: Complete buckets, oldest first.
        limit: The rate that is not normal any more, a fraction; 0.01 is 1 %.
    """
    began: datetime | None = None
    for point in points:
        if point.rate is None:
            continue
        began = (began or point.at) if point.rate >= limit else None
    return began
