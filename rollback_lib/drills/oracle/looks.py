"""Whether a check that passed had reason to: what the world answered, and what was so at that moment.

- The world's own ledger says when somebody looked and what was answered; a check that passed without a look is false.
- A page counts by its text: one that answers well without it is not there.
- The error rate counts in the window that was really asked for, which begins when all of production had moved.
- Only `passed` is judged: that a check failed or knows nothing claims nothing that could mislead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs

from rollback_lib.drills.oracle.backend_looks import BACKEND_CHECKS
from rollback_lib.drills.oracle.case import Bench
from rollback_lib.drills.oracle.lines import Line, ms_of
from rollback_lib.drills.oracle.truth import named
from rollback_lib.simulator import company
from rollback_lib.simulator.ledger import Entry

__all__ = ["false_check"]

_OK = 200
_ONE_LOOK_MS = 1_000  # a look at the records is several requests
_TARGET = re.compile(r"\bdpl_\w+")
_PAGE = re.compile(r"GET (/\S*)$")
_WINDOW = re.compile(r"(\d\d:\d\d:\d\d)-(\d\d:\d\d:\d\d) UTC")
_CLAIMED_RATE = re.compile(r"([\d.]+) %")
_SLACK = 0.01  # a rate is of requests that had been counted by then
_DOINGS = ("step.", "run.", "job.", "gate.")
_WRONG_BODIES = ("html_body", "empty_body")


def false_check(bench: Bench, line: Line) -> Iterator[str]:
    """Say why a check that passed is not true of the world."""
    if line.data.get("status") != "passed":
        return
    name = str(line.data.get("id", ""))
    kind = name.rpartition(".")[0] if name.count(".") > 1 else name
    if kind in _CHECKS:
        yield from _CHECKS[kind](bench, line)
    elif kind in BACKEND_CHECKS:
        yield from BACKEND_CHECKS[kind](bench, line, _began_ms(bench, line))
    else:
        yield f"check {name} passed, and nobody knows what it looks at"


def _live(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that production was on the target that the check names, pinned where it says so."""
    wanted = str(line.data.get("wanted", ""))
    found = _TARGET.search(wanted)
    looks = bench.truth.reads("vercel", line.at_ms, _began_ms(bench, line))
    if found is None or not looks:
        yield "it passed without a target or without a look at the platform"
        return
    target, newest = found[0], looks[-1].at_ms
    # Also the moment before: what moved in the same millisecond may have moved after the look.
    moments = [
        at_ms
        for entry in looks
        if entry.at_ms >= newest - _ONE_LOOK_MS
        for at_ms in (entry.at_ms, entry.at_ms - 1)
    ]
    if not any(bench.truth.is_on(target, at_ms) for at_ms in moments):
        yield f"production was on {bench.truth.production(newest)}, its domains on {bench.truth.live(newest)}"
    if "auto-assign off" in wanted and not any(bench.truth.is_pinned(at_ms) for at_ms in moments):
        yield "production was not pinned"


def _health(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that the health address answered well when it was last asked."""
    asked = _asked(bench, line, company.HEALTH_PATH)
    if asked is None:
        yield f"nobody asked {company.HEALTH_PATH}"
    elif asked.status != _OK:
        yield f"the app answered {named(asked)}"


def _page(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that a page answered well, with its text."""
    found = _PAGE.search(str(line.data.get("source", "")))
    asked = _asked(bench, line, found[1]) if found is not None else None
    if asked is None:
        yield "nobody asked for the page"
        return
    hollow = asked.fault in _WRONG_BODIES or bench.truth.lacks_marker(
        bench.truth.hosts[0], asked.path, asked.at_ms
    )
    if asked.status != _OK or hollow:
        yield f"the app answered {named(asked)}{' without the text that proves the page' if hollow else ''}"


def _rate(bench: Bench, line: Line) -> Iterator[str]:
    """Judge that the window asked for lay behind the move, and that the rate in it was what was said."""
    named_window = _WINDOW.search(str(line.data.get("source", "")))
    windows = [
        (entry, window)
        for entry in bench.truth.reads("sentry", line.at_ms, _began_ms(bench, line))
        if entry.path.rstrip("/").endswith("/events") and (window := _window(entry.query)) is not None
        if named_window is not None and tuple(map(_clock, window)) == named_window.groups()
    ]
    if not windows:
        yield f"nobody asked for the error rate of its window ({line.data.get('source')})"
        return
    entry, (since_s, until_s) = windows[-1]
    if bench.truth.steady(since_s, until_s) not in {sent.target for sent in bench.pairs.effects}:
        yield f"its window ({entry.query}) does not lie behind the move of production"
    claimed = _CLAIMED_RATE.match(str(line.data.get("seen", "")))
    true_rate = bench.truth.error_rate(since_s, until_s)
    if claimed is None or true_rate is None or true_rate > float(claimed[1]) / 100 + _SLACK:
        yield f"it says {line.data.get('seen')}; the world served errors to {true_rate} of its visitors then"


def _window(query: str) -> tuple[int, int] | None:
    """Read the window of a request to the monitoring, in seconds of its own clock."""
    given = parse_qs(query)
    try:
        since, until = (
            ms_of(f"{given[name][0].removesuffix('Z')}+00:00") // 1000 for name in ("start", "end")
        )
    except (KeyError, ValueError):
        return None
    return since, until


def _clock(seconds: int) -> str:
    """Write an instant as checks name the ends of their window."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def _asked(bench: Bench, line: Line, path: str) -> Entry | None:
    """Find the last request for a path of the public address before a check was written down."""
    looks = bench.truth.reads("app", line.at_ms, _began_ms(bench, line))
    return next((entry for entry in reversed(looks) if entry.path == path), None)


def _began_ms(bench: Bench, line: Line) -> int:
    """Tell when the looking for a check began at the earliest: with what the run did before it."""
    before = [one for one in bench.told.lines if one.seq < line.seq and one.event.startswith(_DOINGS)]
    return before[-1].at_ms if before else 0


_Judge = Callable[[Bench, Line], Iterator[str]]
_CHECKS: dict[str, _Judge] = {
    "P1.C1": _live,
    "P1.C2": _health,
    "P1.C3": _rate,
    "P1.C4": _page,
    "P1.PIN": _live,
}
