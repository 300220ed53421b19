"""What do we do? One class a procedure, one method a plan step."""

from rollback_lib.procedures.convex_rollback import ConvexRollback
from rollback_lib.procedures.vercel_rollback import VercelRollback

__all__ = ["ConvexRollback", "VercelRollback"]
