"""Whether a check of the backend that passed had reason to: what the world was asked, and what was so then.

- What is live, which functions there are and which schema is enforced all follow from the code that is live.
- The share of failed calls counts in the window that the check names, which lies behind the push; and so does each
  function that failed whenever it was called.
- A query counts by the call that the world's own log has of it: it came to an end, and with more than nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from rollback_lib.drills.oracle.backend import failed_share
from rollback_lib.drills.oracle.case import Bench
from rollback_lib.drills.oracle.lines import Line
from rollback_lib.simulator.convex.logs import Completion
from rollback_lib.simulator.ledger import Entry

__all__ = ["BACKEND_CHECKS"]

_HASHES, _QUERY, _LOG = "/api/get_config_hashes", "/api/query", "/api/stream_function_logs"
_WINDOW = re.compile(r"(\d\d:\d\d:\d\d)-(\d\d:\d\d:\d\d) UTC")
_CLAIMED = re.compile(r"([\d.]+) % of (\d+) Convex function calls failed")
_SLACK = 0.01  # a share is of calls that were in the log by then
_ENOUGH = 3  # calls of one function
_NOT_THE_APP = ("_system/", "testQuery")
_DAY_S, _SECOND_MS = 86_400, 1_000
_NULL = len("null")
_Asks = Callable[[Entry], bool]


def _asks(path: str, function: str = "") -> _Asks:
    """Tell a request by its path and, of a query, by the end of the function's name."""

    def tells(entry: Entry) -> bool:
        named = _of(entry.body, "path")
        return entry.path == path and (not function or named.endswith(function))

    return tells


def _of(body: Any, name: str) -> str:
    return str(body.get(name, "")) if isinstance(body, dict) else ""


def _as_commit(asks: _Asks) -> Callable[[Bench, Line, int], Iterator[str]]:
    """Judge that the commit that was pushed was live when the check looked."""

    def judge(bench: Bench, line: Line, began_ms: int) -> Iterator[str]:
        looks = [entry for entry in bench.truth.reads("convex", line.at_ms, began_ms) if asks(entry)]
        target = _target(bench)
        if not looks or not target:
            yield "it passed without a pushed commit or without a look at the backend"
            return
        newest = looks[-1].at_ms
        if not any(bench.backend.runs(target, at_ms) for at_ms in (newest, newest - 1, line.at_ms)):
            yield f"the backend did not run the code of {target}"

    return judge


def _executions(bench: Bench, line: Line, began_ms: int) -> Iterator[str]:
    """Judge that the log was read, and that the share of its window was what was said, behind the push."""
    window = _WINDOW.search(str(line.data.get("source", "")))
    claimed = _CLAIMED.match(str(line.data.get("seen", "")))
    looks = [entry for entry in bench.truth.reads("convex", line.at_ms, began_ms) if entry.path == _LOG]
    if window is None or claimed is None or not looks:
        yield f"nobody read the log for its window ({line.data.get('source')}: {line.data.get('seen')})"
        return
    since_ms, until_ms = (_before(line.at_ms, text) for text in window.groups())
    if not bench.backend.ran(_target(bench), since_ms + _SECOND_MS - 1, until_ms):
        yield f"its window ({window[0]}) does not lie behind the push"
    behind_ms = max(float(since_ms), bench.backend.live_since(until_ms))
    ahead_ms = min(  # neither what another push broke since, nor what was called once the check was written
        until_ms + _SECOND_MS, bench.backend.live_until(until_ms), line.at_ms
    )
    calls = bench.backend.calls(behind_ms, ahead_ms)
    share = failed_share(calls)
    if share is None or share > float(claimed[1]) / 100 + _SLACK or int(claimed[2]) > len(calls):
        yield f"it says {line.data.get('seen')}; by the world's log {share} of {len(calls)} calls failed then"
    surely = bench.backend.calls(behind_ms + _SECOND_MS, until_ms - _SECOND_MS)  # however ends were rounded
    broken = _always_failing(surely)
    if broken:
        yield f"by the world's log each call failed of {', '.join(broken)}"


def _always_failing(calls: list[Completion]) -> list[str]:
    """Name the functions that were called often enough to tell, and failed each time."""
    of_the_app = [call for call in calls if call.took_s < 1 and not call.identifier.startswith(_NOT_THE_APP)]
    made = Counter(call.identifier for call in of_the_app)
    failed = Counter(call.identifier for call in of_the_app if call.error is not None)
    return sorted(name for name, count in failed.items() if count == made[name] >= _ENOUGH)


def _query(bench: Bench, line: Line, began_ms: int) -> Iterator[str]:
    """Judge that the query was really made, and came to more than nothing."""
    path = str(line.data.get("source", "")).rpartition(" ")[2]
    asks = _asks(_QUERY, path)
    looks = [entry for entry in bench.truth.reads("convex", line.at_ms, began_ms) if asks(entry)]
    if not path or not looks:
        yield f"nobody made the query {path}"
        return
    calls = bench.backend.asked(path, looks[-1].at_ms - 1, line.at_ms)
    if not any(call.error is None and call.value_bytes > _NULL for call in calls):
        yield f"by the world's log the query {path} failed, or found nobody"


def _target(bench: Bench) -> str:
    """Return the commit that the run pushed; empty where it pushed none or several."""
    targets = {sent.target for sent in bench.pairs.effects}
    return targets.pop() if len(targets) == 1 else ""


def _before(at_ms: int, clock: str) -> int:
    """Return the last moment up to another at which a clock showed a time, in ms."""
    hours, minutes, seconds = map(int, clock.split(":"))
    now = datetime.fromtimestamp(at_ms // 1000, UTC)
    shown = now.hour * 3600 + now.minute * 60 + now.second
    back_s = (shown - (hours * 3600 + minutes * 60 + seconds)) % _DAY_S
    return (at_ms // 1000 - back_s) * 1000


BACKEND_CHECKS: dict[str, Callable[[Bench, Line, int], Iterator[str]]] = {
    "P2.C1": _as_commit(_asks(_HASHES)),
    "P2.PIN": _as_commit(_asks(_HASHES)),
    "P2.S6": _as_commit(_asks(_QUERY, "modules:apiSpec")),
    "P2.C4": _as_commit(_asks(_QUERY, "getSchemas:default")),
    "P2.C2": _executions,
    "P2.C3": _query,
    "P2.S7": _query,
}
