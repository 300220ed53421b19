"""What a simulated deployment looks like when its world begins.

- It says how the deployment is and how it behaves where the real one leaves it open, never what an outcome is.
- The defaults are the unkind reading.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rollback_lib.yamlfile import Frozen

__all__ = ["ALL_ACTIONS", "DEPLOYMENT", "ConvexSpec", "Visitor"]

DEPLOYMENT = "happy-otter-123"
ALL_ACTIONS = tuple(
    f"deployment:{what}"
    for what in (
        "deploy",
        "env:view",
        "env:write",
        "pause",
        "unpause",
        "logs:view",
        "metrics:view",
        "integrations:view",
        "integrations:write",
        "data:view",
        "data:write",
        "backups:view",
        "backups:create",
        "backups:download",
        "backups:delete",
        "backups:import",
        "functions:actAsUser",
        "functions:runInternalQueries",
        "functions:runInternalMutations",
        "functions:runInternalActions",
        "functions:runTestQuery",
        "auditLog:view",
        "usageLimits:view",
        "usageLimits:write",
        "usage:view",
    )
)


class Visitor(Frozen):
    """A function that visitors of the app call again and again."""

    path: str
    kind: Literal["query", "mutation", "action"] = "query"
    args: str = "{}"  # JSON
    every_s: float = Field(default=1.0, gt=0)


class ConvexSpec(Frozen):
    """One deployment of the backend platform."""

    enabled: bool = True
    deployment: str = DEPLOYMENT
    variables: dict[str, str] = Field(default={}, repr=False)
    paused: bool = False
    audit_log: Literal["available", "forbidden"] = "available"  # forbidden: as on the cheaper plans
    logs: Literal["stream", "silent"] = "stream"  # silent: the log never has anything to tell
    finish_again: Literal["refused", "repeated"] = (
        "refused"  # what a second finish of one push gets; the real answer is not known
    )
    hides_errors: bool = True  # from callers without a key, as production does
    checked_per_s: float | None = Field(
        default=None, gt=0
    )  # documents held against a pushed schema; None: as quick as this machine
    repository: str = ""  # folder of the app's repository; empty: one that ends with the world
    live: str = ""  # the revision of the company's app that is live; empty: no code and no data
    documents: int = Field(default=400, ge=40)  # of the company, where its app is live
    since_bad: int = Field(
        default=0, ge=0
    )  # memberships that the bad code sold since: the schema before it does not take them
    messages: Literal["commits", "none"] = "commits"  # none: pushed from laptops, no commit is named
    visitors: tuple[Visitor, ...] = ()  # none, where the company's app is live: those that it usually has
