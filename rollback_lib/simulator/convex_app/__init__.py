"""The simulated company's app: its repository, its documents, and its revisions as they are pushed.

- The app is files (`commits/`), written as a team writes them; nothing here is made up at run time but times and ids.
- Which revision plays which part is told by `revisions`; what its functions do is told by its own code alone.
"""

from __future__ import annotations

from rollback_lib.simulator.convex_app.pushes import RecordedPush, prepared
from rollback_lib.simulator.convex_app.repository import Commit, History, build_repository
from rollback_lib.simulator.convex_app.revisions import REVISIONS, Revision
from rollback_lib.simulator.convex_app.seeding import CANARY, Documents, Reminder, Seeded, seed_documents
from rollback_lib.simulator.convex_app.surroundings import RETIRED, Call, page_calls, variables

__all__ = [
    "CANARY",
    "RETIRED",
    "REVISIONS",
    "Call",
    "Commit",
    "Documents",
    "History",
    "RecordedPush",
    "Reminder",
    "Revision",
    "Seeded",
    "build_repository",
    "page_calls",
    "prepared",
    "seed_documents",
    "variables",
]
