"""Making a deployment that of the company: its app's repository, its live code, its documents, its past pushes.

- The live code is a revision as the official command line pushes it; the account names its commit as a build does.
- The hosting's builds name the same commits, so that both can be laid side by side.
- Whatever a colleague may push is a revision of the same app.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_lib.node import cache_folder
from rollback_lib.simulator.convex.audit import token_actor
from rollback_lib.simulator.convex.code import PushedApp, canonical
from rollback_lib.simulator.convex.spec import ConvexSpec, Visitor
from rollback_lib.simulator.convex.storage import SCHEDULED
from rollback_lib.simulator.convex_app import (
    CANARY,
    Commit,
    Documents,
    History,
    build_repository,
    prepared,
    seed_documents,
    variables,
)

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend
    from rollback_lib.simulator.world import World

__all__ = ["BUILDS", "CROWD", "VISITORS", "furnish"]

VISITORS = (
    Visitor(path="users:getUserByClerkId", args=f'{{"clerkId": "{CANARY}"}}', every_s=0.5),
    Visitor(path="memberships:plans", every_s=0.7),
)
# So many that a window of seconds has as much to tell as one of minutes has in production.
CROWD = tuple(visitor.model_copy(update={"every_s": 0.05}) for visitor in VISITORS * 2)
BUILDS = {
    "bad": "bad",
    "stable": "good",
    "third": "frontend",
    "hotfix": "hotfix",
}  # of the hosting: their commits
_PUSHED_BEFORE_MS = 20_000  # a build pushes the backend that long before it goes live itself
_AFTER_COMMIT_MS = 150_000
_BUILDER = "vercel build"


def furnish(world: World, folder: Path) -> None:
    """Put everything in its place.

    Args:
        world: A world that has just been made, with a backend.
        folder: Where the app's repository is made anew; what is there goes.

    Raises:
        Unreachable: A revision was never recorded here, and npm gets no packages for it.
    """
    backend = world.convex
    assert backend is not None
    spec = backend.spec
    live_ms = world.issue_ms - round(world.spec.broken.live_before_issue_s * 1000)
    shutil.rmtree(folder, ignore_errors=True)
    history = build_repository(folder, world.began_ms, live_ms)
    backend.set_variables({**variables(world.spec.seed), **spec.variables})
    backend.visitors = spec.visitors or VISITORS
    backend.find_release = _recorded
    backend.commits = {commit.sha: commit.role for commit in history.commits}
    _push_all(backend, history, spec, live_ms)
    _seed(world, backend, live_ms)
    _name_commits(world, history)


def _recorded(role: str) -> PushedApp:
    return PushedApp.from_request(prepared(role, cache_folder()).request)


def _push_all(backend: Backend, history: History, spec: ConvexSpec, live_ms: int) -> None:
    """Let the pushes of the past stand in the account, and the live revision be live."""
    line = [one for one in history.commits if one.branch == history.commit(spec.live).branch]
    pushed = line[: [one.role for one in line].index(spec.live) + 1]
    suspect = backend.code_of(pushed[-1].sha)
    earlier = (backend.code_of(commit.sha) for commit in reversed(pushed[:-1]))
    backend.expected_code = next((code for code in earlier if code != suspect), "")
    for commit in pushed:
        last = commit is pushed[-1]
        at_ms = live_ms - _PUSHED_BEFORE_MS if last else commit.committed_ms + _AFTER_COMMIT_MS
        message = f"Deployed from Vercel • {commit.sha[:7]}" if spec.messages == "commits" else None
        if last or commit is pushed[-2]:
            backend.pushes.install(_recorded(commit.role), message, at_ms, token_actor(_BUILDER))
        else:
            backend.audit.add(at_ms, "push_config_with_components", _earlier(message), token_actor(_BUILDER))


def _earlier(message: str | None) -> dict[str, Any]:
    diff: dict[str, list[str]] = {"added": [], "removed": []}
    return {"auth_diff": diff, "component_diffs": [], "message": message, "node_version_diff": None}


def _seed(world: World, backend: Backend, live_ms: int) -> None:
    spec = backend.spec
    wanted = Documents(spec.documents, world.spec.seed, world.began_ms, live_ms, spec.since_bad)
    seeded = seed_documents(wanted, backend.storage.insert_many)
    backend.storage.insert_many(
        SCHEDULED,
        (
            {
                "name": canonical(reminder.function),
                "args": [{"bookingId": reminder.booking}],
                "scheduledTime": reminder.at_ms,
                "state": {"kind": "pending"},
            }
            for reminder in seeded.reminders
        ),
    )


def _name_commits(world: World, history: History) -> None:
    for build, role in BUILDS.items():
        deployment = world.hosting.deployments.get(world.hosting.roles.get(build, ""))
        if deployment is not None and deployment.meta.get("githubCommitSha"):
            deployment.meta |= _meta(history.commit(role))


def _meta(commit: Commit) -> dict[str, str]:
    return {
        "githubCommitSha": commit.sha,
        "githubCommitRef": commit.branch,
        "githubCommitMessage": commit.message.partition("\n")[0],
        "githubCommitAuthorName": commit.author,
    }
