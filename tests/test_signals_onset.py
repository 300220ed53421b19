"""When an issue began, read from a series of error rates."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from conftest import BEGAN
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_lib.providers.sentry import RatePoint
from rollback_lib.signals.onset import onset

LIMIT = 0.01
JUST_BELOW, JUST_ABOVE = 0.0099999, 0.0100001
Rate = float | None


def series(*rates: Rate) -> list[RatePoint]:
    """Give one point a minute."""
    return [RatePoint(minute(at), rate, None if rate is None else 600) for at, rate in enumerate(rates)]


def minute(number: int) -> datetime:
    """Give the beginning of a bucket."""
    return BEGAN + timedelta(minutes=number)


@pytest.mark.parametrize(
    ("rates", "began"),
    [
        ([0.0, JUST_BELOW, LIMIT], 2),
        ([0.0, JUST_BELOW, JUST_ABOVE], 2),
        ([0.0, LIMIT, JUST_BELOW], None),
        ([JUST_BELOW, JUST_BELOW], None),
        ([0.3, 0.3], 0),
        ([0.0, 0.3, 0.4, 0.3], 1),
        ([0.3, 0.0, 0.3], 2),
        ([0.3, 0.0, 0.0], None),
        ([0.0, None, 0.3, None, 0.3], 2),
        ([0.0, 0.3, None], 1),
        ([0.3, None, 0.0], None),
        ([None, 0.3], 1),
        ([None, None], None),
        ([], None),
        ([1.0], 0),
        ([0.0], None),
    ],
    ids=str,
)
def test_the_onset_is_where_the_newest_stretch_began(rates: list[Rate], began: int | None) -> None:
    """The rate that is still on counts from its first point on, at the limit and above; gaps are no evidence."""
    assert onset(series(*rates), LIMIT) == (None if began is None else minute(began))


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.one_of(st.none(), st.floats(0, 1))))
def test_whatever_the_series_the_onset_is_a_point_of_it_and_nothing_after_it_is_normal(
    rates: list[Rate],
) -> None:
    """Found: at or above the limit from there on. Not found: nothing is known, or the last known point is normal."""
    points = series(*rates)
    known = [point for point in points if point.rate is not None]
    found = onset(points, LIMIT)
    if found is None:
        assert not known or (known[-1].rate or 0.0) < LIMIT
        return
    after = [point.rate or 0.0 for point in known if point.at >= found]
    before = [point.rate or 0.0 for point in known if point.at < found]
    assert after
    assert min(after) >= LIMIT
    assert not before or before[-1] < LIMIT
