"""The account of what was done to a deployment, as the platform keeps it: what changed, never the code itself.

- Rows are only added, and told oldest first, a page at a time.
- No row holds the value of a variable.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollback_lib.simulator.refusal import Refusal

__all__ = ["COLLEAGUE", "SYSTEM", "AuditLog", "Row", "token_actor"]

_USUAL, _MOST = 15, 100
SYSTEM: dict[str, Any] = {"kind": "system"}
COLLEAGUE: dict[str, Any] = {"kind": "member", "member_id": 7}
_OWNER = 1


def token_actor(name: str) -> dict[str, Any]:
    """Name the holder of a key."""
    number = 100 + sum(name.encode()) % 900
    return {"kind": "token", "token_id": number, "member_id": _OWNER, "client_id": None}


@dataclass(frozen=True)
class Row:
    """One thing that was done."""

    at_ms: int
    action: str
    metadata: Mapping[str, Any]
    actor: Mapping[str, Any]

    @property
    def as_json(self) -> dict[str, Any]:
        """The row as it is told."""
        return {
            "actor": dict(self.actor),
            "action": self.action,
            "createTime": self.at_ms,
            "metadata": dict(self.metadata),
            "clientIp": None,
            "clientUserAgent": None,
        }


class AuditLog:
    """The rows of one deployment."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(
        self, at_ms: float, action: str, metadata: Mapping[str, Any], actor: Mapping[str, Any] = SYSTEM
    ) -> None:
        """Write a row."""
        row = Row(round(at_ms), action, metadata, actor)
        self.rows = sorted([*self.rows, row], key=lambda one: one.at_ms)

    def page(self, from_ms: int, limit: str | None, cursor: str | None) -> dict[str, Any]:
        """Give one page.

        Args:
            from_ms: Nothing before that is told.
            limit: How many, 1 to 100, as it was sent.
            cursor: Where the last page ended, as it was told then.

        Raises:
            Refusal: The limit or the cursor is none.
        """
        most = _USUAL if limit is None else int(limit) if limit.lstrip("-").isdigit() else 0
        if not 1 <= most <= _MOST:
            raise Refusal(400, "LimitOutOfRange", f"limit must be between 1 and {_MOST}")
        start = _position(cursor)
        found = [row for row in self.rows if row.at_ms >= from_ms][start:]
        more = len(found) > most
        following = base64.b64encode(f"after:{start + most}".encode()).decode() if more else None
        return {
            "items": [row.as_json for row in found[:most]],
            "pagination": {"hasMore": more, "nextCursor": following},
        }


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("after:"))
    except ValueError as exc:
        raise Refusal(400, "InvalidCursor", "The cursor is not one of this list") from exc
