"""A request that the platform turns down: nothing was changed by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Refusal"]


class Refusal(Exception):
    """Why, in the platform's own status, code and words; `extra` stands beside the code."""

    def __init__(self, status: int, code: str, message: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(status, code, message, extra)
        self.status, self.code, self.message, self.extra = status, code, message, dict(extra or {})
