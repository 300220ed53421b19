"""Bad days of procedure 2 around the push itself: connections that are cut, and colleagues who push as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import backend_meanwhile as meanwhile
from backend_company import Day

from rollback_lib.errors import (
    CheckFailed,
    GateClosed,
    NotApplied,
    OutcomeUnknown,
)
from rollback_lib.simulator import Fault

__all__ = ["DAYS"]

LIVE = ((200, True),)
LOST = ((None, False),)
AGAIN = "new_run = True"
ASK = "sk in the incidents channel"
EVERY = {"from": 1}
FROM_THE_PUSH = {"from": 2}  # the first of its kind was the dry run's
UNCHANGED = "Nothing was changed"
VERIFIED: dict[str, Any] = {"error": None, "stops": "", "outcome": "verified", "live": "good"}
UNKNOWN: dict[str, Any] = {"error": OutcomeUnknown, "stops": "push", "outcome": "unknown"}
BEFORE_THE_GATE: dict[str, Any] = {"stops": "rehearse", "outcome": "failed", "live": "bad"}
FAILED: dict[str, Any] = {"error": CheckFailed, "outcome": "failed"}
UNSET = "CLERK_WEBHOOK_SECRET"


def convex(kind: str, path: str = "*/finish_push", nth: Any = 2, **more: Any) -> dict[str, Any]:
    """Break a request of the command line; the second of its kind is the push's own."""
    fault = {"service": "convex", "kind": kind, "path": path, "nth": nth, **more}
    return {"faults": (Fault.model_validate(fault),)}


REFUSED_AS_IT_FINISHES = convex(
    "refuse",
    status=400,
    code="MissingEnvironmentVariables",
    message=f"Required environment variables are not set: {UNSET}. Set them in the Convex dashboard or CLI before pushing.",
)
CUT = (
    Day(
        "request that puts code live is lost",
        world=convex("reset_before"),
        pushes=(*LOST, *LIVE),
        **VERIFIED,
    ),
    Day(
        "live, and the answer is lost",
        world=convex("reset_after"),
        pushes=((None, True), (400, False)),
        after=meanwhile.was_observed_before_anything_else,
        quick=True,
        **VERIFIED,
    ),
    Day(
        "live, and every answer is lost",
        world=convex("reset_after", nth=FROM_THE_PUSH),
        pushes=((None, True), *LOST * 3),
        after=meanwhile.was_observed_before_anything_else,
        **VERIFIED,
    ),
    Day(
        "all requests of one command line are lost",
        world=convex("reset_before", times=4),
        pushes=(*LOST * 4, *LIVE),
        after=meanwhile.was_observed_before_anything_else,
        quick=True,
        **VERIFIED,
    ),
    Day(
        "nothing gets through",
        live="bad",
        world=convex("reset_before", nth=FROM_THE_PUSH),
        pushes=LOST * 12,
        says=("sent 3 times without a clear answer",),
        state="may or may not have moved",
        next_step="Convex dashboard, History",
        **UNKNOWN,
    ),
    Day(
        "live, and Convex is gone right after",
        live="good",
        world=convex("reset_after"),
        pushes=((None, True), *((503, False),)),
        meanwhile={"push": meanwhile.convex_goes_down_once_it_is_live},
        says=("Nobody can say yet whether this happened",),
        state="may or may not have moved",
        next_step="it asks the platform first",
        quick=True,
        **UNKNOWN,
    ),
)
COLLEAGUE = (
    Day(
        "colleague pushes after the list was read",
        GateClosed,
        "gate",
        "refused",
        "hotfix",
        meanwhile={"rehearse": meanwhile.colleague_pushes},
        says=("somebody pushed at", "after this run had read what was pushed"),
        state="has sent nothing that changes production",
        next_step=ASK,
        quick=True,
    ),
    Day(
        "colleague pushes between dry run and gate",
        GateClosed,
        "gate",
        "refused",
        "hotfix",
        meanwhile={"gate": meanwhile.colleague_pushes},
        says=("somebody pushed at",),
        state="has sent nothing that changes production",
        next_step=AGAIN,
    ),
    *(
        Day(
            f"colleague pushes {when}",
            GateClosed,
            "push",
            "refused",
            "hotfix",
            meanwhile={"push": pushes},
            says=("no longer fits", "last push: was", "live code: was"),
            state="has sent nothing",
            next_step=ASK,
            quick=True,
        )
        for when, pushes in {
            "between gate and push": meanwhile.colleague_pushes,
            "while the commit is laid out for the push": meanwhile.colleague_pushes_during_the_checkout,
        }.items()
    ),
    Day(
        "colleague is quicker by a moment",
        live="hotfix",
        world=convex("concurrent_push", pushes="hotfix"),
        pushes=((400, False),),
        says=("another change has taken its place",),
        state="somebody else pushed at",
        next_step=ASK,
        quick=True,
        **UNKNOWN,
    ),
    Day(
        "colleague pushes right after ours",
        stops="wait",
        live="hotfix",
        meanwhile={"wait": meanwhile.colleague_pushes},
        pushes=LIVE,
        says=("does not run the code of", "somebody else pushed at"),
        state="somebody else's push, is live",
        next_step=ASK,
        **FAILED,
    ),
    Day(
        "colleague pushes during verification",
        stops="verify",
        live="hotfix",
        meanwhile={"verify": meanwhile.colleague_pushes},
        pushes=LIVE,
        says=("no longer runs the code of", "somebody else pushed at"),
        state="not seen there",
        next_step=ASK,
        **FAILED,
    ),
    Day(
        "colleague pushes before the end",
        stops="close",
        live="hotfix",
        meanwhile={"close": meanwhile.colleague_pushes},
        pushes=LIVE,
        says=("is closed as failed", "somebody else pushed at"),
        state="not seen there",
        next_step="a person has to decide",
        **FAILED,
    ),
    Day(
        "colleague begins a push during the dry run",
        NotApplied,
        world=convex("push_race", "*/wait_for_schema", 1),
        says=("Convex would refuse commit", "overwritten by another push"),
        state=UNCHANGED,
        next_step=ASK,
        **BEFORE_THE_GATE,
    ),
    Day(
        "colleague begins a push during ours",
        NotApplied,
        "push",
        "failed",
        "bad",
        world=convex("push_race", "*/wait_for_schema", 2),
        says=("Convex refused the push", "overwritten by another push"),
        state="This run changed nothing",
        next_step=ASK,
    ),
    Day(
        "variables change during the push",
        world=convex(
            "refuse",
            status=400,
            code="RaceDetected",
            message="Environment variables have changed during push",
        ),
        pushes=((400, False), *LIVE),
        after=meanwhile.was_observed_before_anything_else,
        **VERIFIED,
    ),
    Day(
        "variable that the code requires is not set",
        NotApplied,
        "push",
        "failed",
        "bad",
        world=REFUSED_AS_IT_FINISHES,
        pushes=((400, False),),
        says=(f"are not set: {UNSET}",),
        state="This run changed nothing",
        next_step="Set these environment variables",
        quick=True,
    ),
)
# The bad commit has the good one's functions: what runs says nothing of whether the push happened.
SCHEMA_ALONE: dict[str, Any] = {"meanwhile": {"access": meanwhile.only_its_schema_is_bad}}
SCHEMA = (
    Day(
        "only the schema is bad",
        pushes=LIVE,
        warns=("the commit's functions run already",),
        **SCHEMA_ALONE,
        **VERIFIED,
    ),
    Day(
        "only the schema is bad, and the push is refused",
        NotApplied,
        "push",
        "failed",
        "schema",
        world=REFUSED_AS_IT_FINISHES,
        pushes=((400, False),),
        says=(f"are not set: {UNSET}",),
        state="This run changed nothing",
        next_step="Set these environment variables",
        quick=True,
        **SCHEMA_ALONE,
    ),
    Day(
        "only the schema is bad, and the command line's requests are lost",
        world=convex("reset_before", times=4),
        pushes=(*LOST * 4, *LIVE),
        after=meanwhile.was_observed_before_anything_else,
        **SCHEMA_ALONE,
        **VERIFIED,
    ),
)
# What the stand-in is believed for: the same days with the official command line. It sends a lost request again by
# itself, oftener than the stand-in does.
OFFICIAL = tuple(
    replace(day, name=f"{day.name}, official command line", official=True, quick=False)
    for day in (*CUT, *COLLEAGUE)
    if day.name
    in (
        "request that puts code live is lost",
        "live, and the answer is lost",
        "colleague is quicker by a moment",
        "colleague begins a push during the dry run",
        "colleague begins a push during ours",
        "variables change during the push",
        "variable that the code requires is not set",
    )
)
DAYS = (*CUT, *COLLEAGUE, *SCHEMA, *OFFICIAL)
