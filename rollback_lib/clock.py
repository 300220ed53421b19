"""The one clock: aware UTC, injected, read once per decision and passed down."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "SystemClock", "from_ms", "parse_instant", "to_iso"]

_RELATIVE = re.compile(r"^-(\d+(?:\.\d+)?)\s*([smhd])$")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Clock(Protocol):
    """What code that waits or stamps needs; tests hand in one that does not sleep."""

    def now(self) -> datetime:
        """Return the current instant, aware UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards, for deadlines."""

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current instant, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go backwards, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)


def from_ms(milliseconds: float) -> datetime:
    """Turn milliseconds since the epoch (Vercel's times) into aware UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_iso(instant: datetime) -> str:
    """Write an aware instant as ISO 8601 with milliseconds and `Z`, e.g. 2026-11-23T21:50:00.000Z."""
    if instant.tzinfo is None:
        raise ValueError(f"naive time: {instant!r}")
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str, now: datetime) -> datetime:
    """Read `2026-11-23T21:50:00Z` (any zone, but one is required) or a span before now such as `-20m`.

    Raises:
        ValueError: Neither form, or a time without its zone.
    """
    relative = _RELATIVE.match(text.strip())
    if relative is not None:
        return now - timedelta(seconds=float(relative[1]) * _UNIT_S[relative[2]])
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: write e.g. 2026-11-23T21:50:00Z or -20m")
    return instant.astimezone(UTC)
