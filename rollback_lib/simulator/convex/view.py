"""What is true in a deployment, for whoever judges a run from outside.

- It says what is so and what was done, never whether that was right. It holds no value of a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ConvexView", "Push"]


@dataclass(frozen=True)
class Push:
    """Code that went live."""

    at_ms: int
    message: str | None
    by: str  # token, member, system


@dataclass(frozen=True)
class ConvexView:
    """A deployment at one moment; times are the world's."""

    deployment: str
    code: str  # a digest of all that is live: modules, schema, definition
    expected_code: str  # where a right first rollback goes; empty: nobody knows
    functions: tuple[str, ...]  # identifiers
    paused: bool
    variables: tuple[str, ...]  # names
    last_push_ms: int | None
    pushes: tuple[Push, ...]  # oldest first, also those from before the world began
    documents: Mapping[str, int]  # by table
    calls: int  # of functions, begun after the last push: what began in the very same millisecond may have run either code
    failed_calls: int  # of those
