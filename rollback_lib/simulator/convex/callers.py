"""Who calls functions of a deployment, and how far their key goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollback_lib.simulator.refusal import Refusal

__all__ = ["NOBODY", "Caller"]


@dataclass(frozen=True)
class Caller:
    """Who calls: nobody in particular, a user, or whoever has a key."""

    name: str = "nobody"  # of the key
    allowed: frozenset[str] | None = None  # what the key may do; None: no key
    identity: dict[str, Any] | None = None  # the user, as functions see it

    @property
    def is_admin(self) -> bool:
        """Whether the caller has a key."""
        return self.allowed is not None

    def insist(self, action: str) -> None:
        """Refuse a key that may not do something, in the platform's words."""
        if self.allowed is not None and action not in self.allowed:
            words = f"You do not have permission to perform this operation ({action})."
            raise Refusal(403, "OperationNotPermitted", words)

    @property
    def kind(self) -> str:
        """The caller's kind, as logs have it."""
        if self.is_admin:
            return "instance_admin" if self.identity is None else "member_acting_user"
        return "unknown" if self.identity is None else "user"


NOBODY = Caller()
