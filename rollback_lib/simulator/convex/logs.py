"""The log of function calls, as the platform streams it.

- Each call stands in it once, with what it printed and, where it failed, why.
- A place in it is a time in ms, of which no two entries have the same; what is asked for is what came after.
- It forgets the oldest entries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Completion", "FunctionLog", "as_text"]

_KEPT = 20_000
_STEP_MS = 0.001
_USAGE = {
    "databaseReadBytes": 0,
    "databaseReadDocuments": 0,
    "databaseWriteBytes": 0,
    "storageReadBytes": 0,
    "storageWriteBytes": 0,
    "vectorIndexReadBytes": 0,
    "vectorIndexWriteBytes": 0,
    "memoryUsedMb": 64,
}


@dataclass(frozen=True)
class Completion:
    """One call that came to its end."""

    kind: str  # Query, Mutation, Action
    identifier: str
    lines: list[dict[str, Any]]
    began_ms: float
    took_s: float
    error: str | None
    request_id: str
    execution_id: str
    caller: str
    identity: str
    parent: str | None = None
    environment: str = "isolate"
    value_bytes: int = 0
    read: int = 0
    usage: Mapping[str, int] = field(default_factory=dict)


class FunctionLog:
    """The entries, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, Completion]] = deque(maxlen=_KEPT)
        self._last_ms = 0.0

    def add(self, entry: Completion, at_ms: float) -> None:
        """Write down a call that ended at a moment."""
        self._last_ms = max(at_ms, self._last_ms + _STEP_MS)
        self._entries.append((self._last_ms, entry))

    def entries(self) -> list[Completion]:
        """List what is kept."""
        return [entry for _, entry in list(self._entries)]

    def after(self, cursor_ms: float, *, structured: bool) -> tuple[list[dict[str, Any]], float]:
        """Give what came after a place, and the place to go on from.

        Args:
            cursor_ms: The place; 0 for all that is kept.
            structured: Whether lines are told as data or as text.
        """
        found = [(at_ms, entry) for at_ms, entry in list(self._entries) if at_ms > cursor_ms]
        until = found[-1][0] if found else cursor_ms
        return [_told(entry, at_ms, structured=structured) for at_ms, entry in found], until


def _told(entry: Completion, at_ms: float, *, structured: bool) -> dict[str, Any]:
    lines: list[Any] = entry.lines if structured else [as_text(line) for line in entry.lines]
    return {
        "kind": "Completion",
        "udfType": entry.kind,
        "componentPath": None,
        "identifier": entry.identifier,
        "logLines": lines,
        "timestamp": at_ms / 1000,
        "cachedResult": False,
        "executionTime": entry.took_s,
        "success": None,
        "error": entry.error,
        "requestId": entry.request_id,
        "executionId": entry.execution_id,
        "parentExecutionId": entry.parent,
        "caller": entry.caller,
        "environment": entry.environment,
        "identityType": entry.identity,
        "usageStats": {**_USAGE, "databaseReadDocuments": entry.read},
        "returnBytes": entry.value_bytes,
        "occInfo": None,
        "willRetry": False,
        "executionTimestamp": entry.began_ms / 1000,
    }


def as_text(line: Mapping[str, Any]) -> str:
    """Write a line as older clients get it."""
    return f"[{line['level']}] {' '.join(line['messages'])}"
