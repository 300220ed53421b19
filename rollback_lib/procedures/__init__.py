"""What do we do? One class a procedure, one method a plan step. Each is imported when it is asked for, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollback_lib.procedures.convex_rollback import ConvexRollback
    from rollback_lib.procedures.vercel_rollback import VercelRollback

__all__ = ["ConvexRollback", "VercelRollback"]


def __getattr__(name: str) -> Any:
    if name == "ConvexRollback":
        from rollback_lib.procedures.convex_rollback import ConvexRollback

        return ConvexRollback
    if name == "VercelRollback":
        from rollback_lib.procedures.vercel_rollback import VercelRollback

        return VercelRollback
    raise AttributeError(f"{__name__} has no procedure {name}")
