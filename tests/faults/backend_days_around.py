"""Bad days of procedure 2 around everything else: command line, repository, keys, and what is found afterwards."""

from __future__ import annotations

from typing import Any

import backend_meanwhile as meanwhile
from backend_company import Day
from backend_days import BEFORE_THE_GATE, EVERY, FAILED, LIVE, UNCHANGED, UNKNOWN, VERIFIED, convex

from rollback_lib.errors import BadParameters, CheckFailed, NotApplied, ReadRefused, Unreachable
from rollback_lib.simulator import Fault, WorldSpec
from rollback_lib.simulator.convex.furnishing import VISITORS
from rollback_lib.simulator.convex.spec import ALL_ACTIONS, ConvexSpec, Visitor

__all__ = ["MORE_DAYS"]


def down(*services: str) -> dict[str, Any]:
    """Let services answer nothing of use."""
    faults = ({"service": service, "kind": "503", "nth": EVERY} for service in services)
    return {"faults": tuple(Fault.model_validate(fault) for fault in faults)}


def key_without(*actions: str) -> dict[str, Any]:
    """Give a deploy key that may do everything but this."""
    kept = tuple(action for action in ALL_ACTIONS if action not in actions)
    tokens = WorldSpec(convex=ConvexSpec(live="bad")).tokens
    return {
        "tokens": tuple(
            token.model_copy(update={"scopes": kept}) if token.name == "CONVEX_DEPLOY_KEY" else token
            for token in tokens
        )
    }


def queries(**given: Any) -> dict[str, Any]:
    """Give other queries than the drill's."""
    return {"platform": {"convex": given}}


PROGRAM = (
    Day(
        "commit whose packages hold no command line",
        behaviour={"missing": True, "pinned": True},
        warns=("hold no command line of Convex: convex 1.48.0 pushes it, which is pinned here",),
        pushes=LIVE,
        **VERIFIED,
    ),
    Day(
        "command line that cannot say which commit a push is",
        behaviour={"old": "1.35.2", "pinned": True},
        warns=("convex 1.35.2, cannot say which commit a push is: convex 1.48.0 pushes it",),
        pushes=LIVE,
        quick=True,
        **VERIFIED,
    ),
    Day(
        "command line that is too old, and the pinned one is not to be had",
        Unreachable,
        behaviour={"old": "1.35.2", "network": "none"},
        says=("is not in npm's cache, and the network gives none",),
        state="Nothing was sent",
        next_step="npm ping",
        **BEFORE_THE_GATE,
    ),
    Day(
        "packages are not to be had",
        Unreachable,
        behaviour={"packages": "none"},
        says=("is not in npm's cache, and the network gives none",),
        state="Nothing was sent",
        next_step="npm ping",
        **BEFORE_THE_GATE,
    ),
    *(
        Day(
            f"command line too old to know {option}",
            BadParameters,
            behaviour={"unknown": [option]},
            says=("is too old to be run from here", f"does not know {option}"),
            state=UNCHANGED,
            next_step="newer convex",
            quick=option == "--message",
            **BEFORE_THE_GATE,
        )
        for option in ("--message", "--write-push-request")
    ),
    *(
        Day(
            f"command line that is to {does} at {at} in the {when}",
            Unreachable,
            behaviour={"at": at, "does": does, "when": when},
            says=(said, "reading 'node'" if does == "crash" else "exit code 137"),
            state=UNCHANGED,
            next_step="un this cell again" if when == "dry run" else "un the cell again",
            quick=(does, when) == ("crash", "dry run"),
            **BEFORE_THE_GATE,
        )
        for does, at, when, said in (
            ("crash", "begin", "bundle", "did not make the code"),
            ("crash", "start_push", "dry run", "did not come to say whether"),
            ("be killed", "finish_push", "dry run", "did not come to say whether"),
        )
    ),
    Day(
        "command line hangs in the dry run",
        Unreachable,
        behaviour={"at": "start_push", "does": "hang", "when": "dry run"},
        given={"policy": {"push_limit_s": 4}},
        says=("did not come to say whether", "took longer than 4 s"),
        state=UNCHANGED,
        next_step="un this cell again",
        **BEFORE_THE_GATE,
    ),
    Day(
        "command line crashes before it pushes",
        NotApplied,
        "push",
        "failed",
        "bad",
        behaviour={"at": "start_push", "does": "crash", "when": "push"},
        says=("did not make the push", "reading 'node'"),
        state="This run changed nothing",
        next_step="convex-deploy.txt",
    ),
    *(
        Day(
            f"command line that is to {does} once it has pushed",
            behaviour={"at": "end", "does": does, "when": "push"},
            given={"policy": {"push_limit_s": 8}},
            pushes=LIVE,
            after=meanwhile.was_observed_before_anything_else,
            quick=does == "hang",
            **VERIFIED,
        )
        for does in ("crash", "be killed", "hang")
    ),
    *(
        Day(
            f"command line that is to {does} as it would finish",
            live="bad",
            behaviour={"at": "finish_push", "does": does, "when": "push"},
            given={"policy": {"push_limit_s": 6}},
            says=("sent 3 times without a clear answer",),
            state="may or may not have moved",
            next_step="Convex dashboard, History",
            **UNKNOWN,
        )
        for does in ("crash", "hang")
    ),
)
REPOSITORY = (
    Day(
        "somebody works in the clone",
        meanwhile={"open": meanwhile.somebody_works_in_the_clone},
        pushes=LIVE,
        after=meanwhile.clone_is_as_it_was,
        **VERIFIED,
    ),
    Day(
        "no repository there",
        BadParameters,
        "list",
        "failed",
        "bad",
        given=queries(repository="/nowhere/app"),
        says=("/nowhere/app",),
        state="Nothing was sent",
        next_step="convex.repository",
    ),
    Day(
        "clone is shallow",
        BadParameters,
        "find",
        "failed",
        "bad",
        given=meanwhile.shallow_clone,
        says=("No commit can be gone back to",),
        state=UNCHANGED,
        next_step="name a commit",
        warns=("is shallow: commits before its edge are not known",),
    ),
    Day(
        "commit that is not in the clone",
        BadParameters,
        "find",
        "failed",
        "bad",
        given={"commit": "0123456789abcdef0123456789abcdef01234567"},
        says=("There is no commit '0123456789abcdef", "as far as it was fetched"),
        state="Nothing was sent",
        next_step="fetch --all",
    ),
    Day(
        "commit that is the suspect",
        BadParameters,
        "find",
        "failed",
        "bad",
        given=lambda company: {"commit": company.sha("bad")},
        says=("is the suspect, which was live when the issue began",),
        state=UNCHANGED,
        next_step="Choose another",
    ),
)
KEYS = (
    Day(
        "key of another deployment",
        BadParameters,
        "access",
        "failed",
        "bad",
        meanwhile={"open": meanwhile.key("prod:cold-fox-9|2718281828")},
        says=("is for the prod deployment cold-fox-9, expected happy-otter-123",),
        state="Nothing was sent",
        next_step="Set the deploy key of happy-otter-123",
        quick=True,
    ),
    Day(
        "key that is none",
        BadParameters,
        "access",
        "failed",
        "bad",
        meanwhile={"open": meanwhile.key("prod:happy-otter-123")},
        says=("no whole key",),
        state="Nothing was sent",
        next_step="it holds a | sign",
    ),
    Day(
        "key that was revoked",
        ReadRefused,
        "access",
        "failed",
        "bad",
        world=convex("refuse", "*", EVERY, status=401, code="BadAdminKey"),
        says=("answered 401",),
        state=UNCHANGED,
        next_step="CONVEX_DEPLOY_KEY",
    ),
    Day(
        "key that may not push",
        NotApplied,
        world=key_without("deployment:deploy"),
        says=("Convex would refuse commit", "do not have permission", "deployment:deploy"),
        state=UNCHANGED,
        next_step="permission deployment:deploy",
        quick=True,
        **BEFORE_THE_GATE,
    ),
    Day(
        "audit log not on this plan",
        convex={"audit_log": "forbidden"},
        pushes=LIVE,
        warns=("Convex's audit log cannot be read: Audit logs are not available on your plan",),
        **VERIFIED,
    ),
    Day(
        "key that may not read the audit log",
        ReadRefused,
        "access",
        "failed",
        "bad",
        world=key_without("deployment:auditLog:view"),
        says=("do not have permission to perform this operation (deployment:auditLog:view)",),
        state=UNCHANGED,
        next_step="CONVEX_DEPLOY_KEY",
    ),
)
AFTERWARDS = (
    Day(
        "deployment is paused",
        stops="query",
        live="good",
        convex={"paused": True},
        pushes=LIVE,
        says=("while this deployment is paused",),
        state="The backend runs the code of",
        next_step="Resume the deployment",
        warns=("the deployment is paused: code can be pushed",),
        **FAILED,
    ),
    Day(
        "log of functions tells nothing",
        CheckFailed,
        "close",
        "completed_unverified",
        "good",
        convex={"logs": "silent"},
        pushes=LIVE,
        says=("is closed as completed_unverified", "the log did not answer"),
        state="The backend runs the code of",
        next_step="Look yourself at what is not verified",
        quick=True,
    ),
    Day(
        "log of functions breaks off",
        CheckFailed,
        "close",
        "completed_unverified",
        "good",
        meanwhile={"verify": meanwhile.log_loses({"from": 2})},
        pushes=LIVE,
        says=("is closed as completed_unverified", "was not seen up to", "the log gave no answer"),
        state="The backend runs the code of",
        next_step="Look yourself at what is not verified",
        quick=True,
    ),
    Day(
        "answer of the log is lost",
        meanwhile={"verify": meanwhile.log_loses(2)},
        pushes=LIVE,
        **VERIFIED,
    ),
    Day(
        "no canary user is named",
        CheckFailed,
        "close",
        "completed_unverified",
        "good",
        given=queries(canary=None),
        pushes=LIVE,
        says=("no canary user is named in the parameters",),
        state="The backend runs the code of",
        next_step="Look yourself at what is not verified",
    ),
    Day(
        "queries that find nobody, fail, or lack what they should have",
        stops="query",
        live="good",
        given=queries(
            canary={"path": "users:getUserByClerkId", "args": {"clerkId": "nobody"}},
            queries=[
                {"path": "users:nope"},
                {
                    "path": "users:getUserByClerkId",
                    "args": {"clerkId": "test_user_id"},
                    "fields": ["_id", "nickname"],
                },
                {"path": "memberships:plans"},
            ],
        ),
        pushes=LIVE,
        says=(
            "null: nobody was found",
            "Query users:nope: it failed: Could not find",
            "an answer without nickname",
        ),
        state="The backend runs the code of",
        next_step="with an older commit",
        after=meanwhile.three_of_four_queries_failed,
        quick=True,
        **FAILED,
    ),
    Day(
        "live frontend calls what the commit does not have",
        pushes=LIVE,
        warns=("calls functions that the commit does not have: bookings:listByTrainer",),
        after=meanwhile.gate_has_shown("roll the frontend back as well (procedure 1)"),
        **VERIFIED,
    ),
    Day(
        "live frontend goes on calling what the commit does not have",
        CheckFailed,
        "close",
        "completed_unverified",
        "good",
        convex={"visitors": (*VISITORS, Visitor(path="bookings:listByTrainer", every_s=0.2))},
        pushes=LIVE,
        warns=("calls functions that the commit does not have: bookings:listByTrainer",),
        says=("of functions that went away failed: bookings:listByTrainer",),
        state="The backend runs the code of",
        next_step="Look yourself at what is not verified",
        after=meanwhile.frontend_is_still_open("bookings:listByTrainer"),
        quick=True,
    ),
    Day(
        "Slack and Sentry are down",
        world=down("slack", "sentry"),
        pushes=LIVE,
        warns=("by webhook may or may not be in Slack",),
        quick=True,
        **VERIFIED,
    ),
)

MORE_DAYS = (*PROGRAM, *REPOSITORY, *KEYS, *AFTERWARDS)
