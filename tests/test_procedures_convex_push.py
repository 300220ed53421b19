"""What procedure 2 says of its own push, by what runs, which schema is enforced and who pushed last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from test_procedures_convex_shown import chosen, rehearsal

from rollback_lib.errors import ReadRefused
from rollback_lib.procedures.convex_push import PushAgain, push_message
from rollback_lib.procedures.effects import Observation, Seen
from rollback_lib.providers.convex_cli import Orphan
from rollback_lib.providers.convex_facts import AuditEvent, Live, Module, Schema

SENT = datetime(2026, 11, 23, 22, 5, tzinfo=UTC)
RUN, INCIDENT = "P2-20261123-220000-7f3a", "INC-1"
OLD, NEW = (Module("users.js", "isolate", digit * 64) for digit in "ab")
WITH_INDEX = Schema((("users", "d1"),), validated=True, indexes=(("users.by_clerk", "by clerkId"),))
WITHOUT = replace(WITH_INDEX, indexes=())
OURS = push_message("a" * 40, INCIDENT, RUN)


def pushed(message: str, at: datetime = SENT + timedelta(seconds=9)) -> AuditEvent:
    """Give a push as Convex tells it."""
    return AuditEvent("push_config_with_components", at, "member 3", message)


@dataclass
class Deployment:
    """What is live, as the client reads it."""

    module: Module = OLD
    enforced: Schema | None = WITH_INDEX
    last: AuditEvent | None = field(default_factory=lambda: pushed("bad", SENT - timedelta(hours=1)))
    tells_schema: bool = True
    heard: None = None

    def live(self) -> Live:
        return Live((self.module,), "1.48.0")

    def last_push(self) -> AuditEvent | None:
        return self.last

    def schema(self) -> Schema | None:
        if not self.tells_schema:
            raise ReadRefused("convex: not known.", "Nothing was changed.", "Read on.")
        return self.enforced


def push_of(deployment: Deployment, left: Orphan | None = None, **rehearsed: Any) -> PushAgain:
    """Give the push of a run whose dry run was right: the commit has the old module and the index."""
    facts = {"modules": (OLD,), "schema": WITH_INDEX, "was_live": False} | rehearsed
    found = rehearsal(**facts)
    policy = SimpleNamespace(clock_skew_s=2.0, push_limit_s=900.0)
    session: Any = SimpleNamespace(
        resolved=SimpleNamespace(policy=policy), journal=SimpleNamespace(run=RUN), incident=INCIDENT
    )
    rehearsing: Any = SimpleNamespace(
        search=SimpleNamespace(convex=deployment),
        last=lambda _: found,
        cli=SimpleNamespace(left=lambda: left),
    )
    return PushAgain(session, rehearsing)


def observed(deployment: Deployment, **rehearsed: Any) -> Observation:
    """Ask whether the push of the commit happened."""
    return push_of(deployment, **rehearsed).observe(chosen(), SENT)


# A bad commit that differs in more than its modules can tell


@pytest.mark.parametrize("enforced", [WITH_INDEX, WITHOUT], ids=["its schema as well", "another schema"])
def test_modules_that_ran_before_any_push_are_no_sign_of_one(enforced: Schema):
    """Where bad and good have the same modules, a push that was refused or killed is not taken for done."""
    found = observed(Deployment(enforced=enforced), was_live=True)
    assert (found.seen, found.overtaken) == (Seen.NOT_HAPPENED, False)
    assert "no push of this run is on record" in found.detail


def test_modules_that_ran_before_count_with_our_own_push():
    """The message of the last push is what tells then."""
    found = observed(Deployment(last=pushed(OURS)), was_live=True)
    assert found.seen is Seen.HAPPENED


def test_run_that_never_noted_what_ran_before_needs_its_own_push():
    """A dry run of an older version says nothing of it: that is no permission to believe the modules alone."""
    assert observed(Deployment(), was_live=None).seen is Seen.NOT_HAPPENED


def test_other_modules_that_are_live_now_count_whoever_pushed_them():
    """The code that was not there before is: also where the message says somebody else's name."""
    found = observed(Deployment(last=pushed("by hand")))
    assert found.seen is Seen.HAPPENED
    assert "by hand" in found.detail


def test_our_push_with_another_schema_is_no_success():
    """The modules are the commit's and the index is gone: that is another commit's schema."""
    found = observed(Deployment(enforced=WITHOUT, last=pushed(OURS)))
    assert (found.seen, found.overtaken) == (Seen.BROKEN, True)
    assert "another schema is enforced" in found.detail


def test_colleague_with_the_same_modules_and_another_schema_has_overtaken_us():
    """Their push is named, and is not taken for ours."""
    found = observed(Deployment(enforced=WITHOUT, last=pushed("fix")), was_live=True)
    assert (found.seen, found.overtaken) == (Seen.NOT_HAPPENED, True)


@pytest.mark.parametrize(
    ("deployment", "rehearsed"),
    [
        (Deployment(tells_schema=False, last=pushed(OURS)), {}),
        (Deployment(enforced=WITHOUT, last=pushed(OURS)), {"functions": None, "schema": None}),
        (Deployment(enforced=WITHOUT, last=pushed(OURS)), {"schema": replace(WITH_INDEX, indexes=None)}),
    ],
    ids=["enforced one is not told", "commit's is not known", "an old run noted no indexes"],
)
def test_schema_that_is_not_known_holds_nothing_up(deployment: Deployment, rehearsed: dict[str, Any]):
    """Then modules and message decide, as far as they go."""
    assert observed(deployment, **rehearsed).seen is Seen.HAPPENED
