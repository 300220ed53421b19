"""What a platform answered, in its own words, and how long it asks to wait.

- Nothing here sends anything; what is not understood is None, never a guess.
- The body is read as JSON by its look: one platform's 429 comes without a content type.
- A wait is measured from the platform's own clock (`Date`) where it gives one.
"""

from __future__ import annotations

import json as jsonlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["Heard", "Reply", "answered", "cut", "heard", "parse", "readable", "told_wait_s", "words_of"]

WORDS_LIMIT = 300  # characters of the platform's own text that an error repeats
LONGEST_WAIT_S = 366 * 86400.0  # nobody waits that long; what is told beyond it cannot be written as a date
SHORTEST_LIMIT_WAIT_S = 1.0  # a window that ends "now" by its own clock has not ended yet by ours
NOTHING_SAID = "no text"
# What a terminal obeys instead of showing, what turns the reading direction round, and halves of characters.
_OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_HALVES = re.compile("[\ud800-\udfff]")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """What a service answered. Its contents may be private, so its repr shows none of them."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # lower-case names
    text: str = field(repr=False)
    json: Any = field(repr=False)  # None where the body is no JSON object or list
    elapsed_s: float
    source: str = ""  # e.g. "vercel: GET /v9/projects/web"
    words: str = field(default=NOTHING_SAID, repr=False)  # what the platform says went wrong, redacted, cut
    whole: bool = True  # False: cut at the size limit, or lost on the way
    lost: bool = False  # the connection broke or the time ran out inside the body

    @property
    def success(self) -> bool:
        """Say whether the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of success

    @property
    def refusal(self) -> bool:
        """Say whether the status is 3xx or 4xx: the platform answered and did not do it."""
        return 300 <= self.status < 500  # noqa: PLR2004 - redirections and refusals


@dataclass(frozen=True)
class Heard:
    """A platform's own time, as an answer of it told it, beside ours."""

    theirs: datetime
    ours: datetime
    within_s: float  # the difference is not known better than by this much

    @property
    def ahead_s(self) -> float:
        """Return by how many seconds the platform's clock is ahead of ours; behind is negative."""
        return (self.theirs - self.ours).total_seconds()


def heard(reply: Reply, now: datetime) -> Heard | None:
    """Read the platform's time from an answer; None where it has no `Date`.

    Args:
        reply: Any answer, a refusal too.
        now: Our time when it had come, aware. When it was written is not known better than half of the way;
            `Date` itself is cut to whole seconds.
    """
    date = _http_date(reply.headers.get("date", ""))
    if date is None:
        return None
    kept_s = max(0.0, _number(reply.headers.get("age")) or 0.0)  # how long a cache had the answer
    half_s = reply.elapsed_s / 2
    theirs = date + timedelta(seconds=min(kept_s, LONGEST_WAIT_S) + 0.5)
    return Heard(theirs, now - timedelta(seconds=half_s), 0.5 + half_s)


def parse(text: str) -> Any:
    """Read a JSON object or list whatever the content type says; None for anything else."""
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith(("{", "[")):
        return None
    try:
        return jsonlib.loads(text)
    except (ValueError, RecursionError):
        return None


def readable(value: Any) -> Any:
    """Take out of every string what a terminal would obey, and replace halves of characters: both come from outside.

    A return without a new line would let a terminal write over what it has shown: it becomes a new line.
    """
    if isinstance(value, str):
        lines = value.replace("\r\n", "\n").replace("\r", "\n")
        return _HALVES.sub("\ufffd", _OBEYED.sub("", lines))
    if isinstance(value, dict):
        return {readable(key): readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value


def words_of(text: str, parsed: Any) -> str:
    """Find what the platform says went wrong, in any of the shapes in use; not redacted, not cut."""
    if isinstance(parsed, dict):
        for key in ("error", "err", "detail", "message", "errors"):
            if parsed.get(key):
                said, needed = (
                    _said(parsed[key]),
                    parsed.get("needed"),
                )  # a missing scope stands beside the error
                return f"{said} (needed: {needed})" if isinstance(needed, str) and needed else said
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        return f"an HTML page titled {title[1].strip()!r}" if title is not None else "an HTML page"
    return text.strip() or NOTHING_SAID


def answered(reply: Reply) -> str:
    """Say in a few words what came back, and where a redirect leads."""
    target = f" (to {cut(reply.headers['location'])})" if "location" in reply.headers else ""
    return f"answered {reply.status}{target}: {reply.words}"


def cut(text: str) -> str:
    """Put a text on one line of bounded length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= WORDS_LIMIT else flat[: WORDS_LIMIT - 1] + "…"


def told_wait_s(reply: Reply, now: datetime, *, limited: bool) -> float | None:
    """Return how long the platform asks to wait, in seconds, up to a year; None: it does not say.

    Args:
        reply: The answer.
        now: Aware; used where the answer has no `Date`.
        limited: It refused as asked too often; the reset headers also come with other answers, and mean nothing there.
    """
    now = _http_date(reply.headers.get("date", "")) or now
    told = _retry_after_s(reply, now)
    if told is None and limited:
        told = _until_reset_s(reply, now)
    return None if told is None else min(LONGEST_WAIT_S, max(0.0, told))


def _retry_after_s(reply: Reply, now: datetime) -> float | None:
    after = reply.headers.get("retry-after", "").strip()
    seconds, instant = _number(after), _http_date(after)
    if seconds is None and instant is not None:
        return (instant - now).total_seconds()
    return seconds


def _until_reset_s(reply: Reply, now: datetime) -> float | None:
    resets = (
        _number(reply.headers.get("x-ratelimit-reset")),
        _number(reply.headers.get("x-sentry-rate-limit-reset")),
        _number(_limit_in(reply.json).get("reset")),
    )
    first = next((reset for reset in resets if reset is not None), None)
    return None if first is None else max(SHORTEST_LIMIT_WAIT_S, first - now.timestamp())


def _said(value: Any) -> str:
    if isinstance(value, dict):
        parts = [str(value[key]) for key in ("code", "message", "detail") if value.get(key)]
        return ": ".join(parts) or jsonlib.dumps(value)
    return value if isinstance(value, str) else jsonlib.dumps(value)


def _limit_in(parsed: Any) -> dict[str, Any]:
    for key in ("error", "limit"):
        parsed = parsed.get(key) if isinstance(parsed, dict) else None
    return parsed if isinstance(parsed, dict) else {}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _http_date(text: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
