"""Which run of the official command line stands for which requests of a push.

- One attempt stands for all the requests of one push: they begin it, wait for its schema, and finish it.
- They came between its line and its answer, and they were of a dry run exactly if it was one.
- A push finishes once: what finishes another time, or comes while none is under way, stands in no journal.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rollback_lib.simulator.ledger import Entry

if TYPE_CHECKING:
    from rollback_lib.drills.oracle.pairs import Sent

__all__ = ["COMMAND_LINE", "commit_of", "finish_of", "gather", "is_of_push"]

COMMAND_LINE = "CLI"  # in the place of a verb
_STEPS = re.compile(r"^/api/deploy2/(?:start_push|wait_for_schema|finish_push)$")
_FINISH = "/api/deploy2/finish_push"
_DRY = "--dry-run"
_COMMIT = re.compile(
    r"(?:rollback to|undo of run \S+: pushes) ([0-9a-f]{40})\b"
)  # how the message of a push names its commit
_OK = 200


def is_of_push(entry: Entry) -> bool:
    """Tell whether a request is a part of a push."""
    return entry.service == "convex" and _STEPS.match(entry.path) is not None


def commit_of(path: str) -> str:
    """Read the commit in the message of a push, as the journal has its command line; empty: a dry run has none."""
    found = _COMMIT.search(unquote(path))
    return found[1] if found is not None else ""


def finish_of(sent: Sent) -> Entry | None:
    """Return the request that finished a push, or was to: one that was applied, else one that came through, as in a dry run."""
    found = [entry for entry in sent.group if entry.path == _FINISH]
    return max(found, key=lambda entry: (entry.applied, entry.status == _OK), default=None)


def gather(
    attempts: Sequence[Sent], entries: Iterable[Entry], fits: Callable[[Sent, Entry], bool]
) -> tuple[dict[int, Sent], list[Entry]]:
    """Hold runs of the command line against the requests of pushes.

    Args:
        attempts: Those that may have left, oldest first.
        entries: In the order in which they came.
        fits: Tells whether a request came between an attempt's line and its answer.

    Returns:
        Each attempt with its requests, by the id of its line; and the requests that belong to none.
    """
    groups: dict[int, list[Entry]] = defaultdict(list)
    left, orphans, late = [], [], set()
    for entry in entries:
        fitting = [
            sent
            for sent in attempts
            if fits(sent, entry)
            and _is_dry(sent) is _is_of_dry(entry)
            and not _is_over(groups[id(sent.line)], entry)
        ]
        if fitting:
            groups[id(fitting[-1].line)].append(entry)
        else:
            left.append(entry)
    empty = [sent for sent in attempts if not groups[id(sent.line)]]
    for entry in left:
        chosen = next((sent for sent in empty if _is_dry(sent) is _is_of_dry(entry)), None)
        if chosen is None or _is_over(groups[id(chosen.line)], entry):
            orphans.append(entry)
            continue
        groups[id(chosen.line)].append(entry)
        late.add(id(chosen.line))
    found = {
        id(sent.line): _with(sent, groups[id(sent.line)], is_late=id(sent.line) in late) for sent in attempts
    }
    return found, orphans


def _with(sent: Sent, group: list[Entry], *, is_late: bool) -> Sent:
    whole = replace(sent, group=tuple(group), is_late=is_late)
    finish = finish_of(whole)
    return replace(whole, entry=finish if finish is not None else next(iter(group), None))


def _is_over(group: list[Entry], entry: Entry) -> bool:
    """Tell whether a push was finished before; a finish that came to nothing after that is its own second try."""
    finished = any(one.path == _FINISH and (one.applied or one.status == _OK) for one in group)
    in_vain = entry.path == _FINISH and not entry.applied and entry.status != _OK
    return finished and not in_vain


def _is_dry(sent: Sent) -> bool:
    return _DRY in sent.path.split()


def _is_of_dry(entry: Entry) -> bool:
    return isinstance(entry.body, dict) and entry.body.get("dryRun") is True
