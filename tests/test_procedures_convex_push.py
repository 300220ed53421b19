"""What procedure 2 says of its own push, by what runs, which schema is enforced and who pushed last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import FakeClock
from repository import ROOT
from stores import folder_store
from test_procedures_convex_shown import chosen, rehearsal

from rollback_lib.clock import to_iso
from rollback_lib.errors import LeaseHeld, OutcomeUnknown, ReadRefused
from rollback_lib.journal import Line
from rollback_lib.machine import Machine
from rollback_lib.model import RunId
from rollback_lib.plan import load_plan
from rollback_lib.procedures.convex_push import PushAgain
from rollback_lib.procedures.convex_search import push_fingerprint
from rollback_lib.procedures.effects import Observation, Seen
from rollback_lib.procedures.session import Session
from rollback_lib.providers.convex_cli import Orphan
from rollback_lib.providers.convex_facts import AuditEvent, BackendState, Live, Module, Schema
from rollback_lib.providers.push_words import push_message

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

    def state(self) -> BackendState:
        return BackendState("running", "")

    def variables(self) -> tuple[str, ...]:
        return ("STRIPE_KEY",)

    def last_push(self) -> AuditEvent | None:
        return self.last

    def schema(self) -> Schema | None:
        if not self.tells_schema:
            raise ReadRefused("convex: not known.", "Nothing was changed.", "Read on.")
        return self.enforced


def push_of(
    deployment: Deployment,
    left: Orphan | None = None,
    lines: tuple[Line, ...] = (),
    clock: FakeClock | None = None,
    leasing: Any = None,
    **rehearsed: Any,
) -> PushAgain:
    """Give the push of a run whose dry run was right: the commit has the old module and the index."""
    facts = {"modules": (OLD,), "schema": WITH_INDEX, "was_live": False} | rehearsed
    found = rehearsal(**facts)
    policy = SimpleNamespace(clock_skew_s=2.0, push_limit_s=900.0, push_deadline_s=120.0)
    parameters = SimpleNamespace(
        severity="P0",
        criterion="P0.T1",
        reason="Members wait",
        impact="Nobody books",
        environment="production",
    )
    parts: dict[str, Any] = {
        "plan": load_plan(ROOT),
        "resolved": SimpleNamespace(policy=policy, parameters=parameters),
        "journal": SimpleNamespace(run=RUN, lines=lines, last=lambda *_: lines[-1] if lines else None),
        "incident": INCIDENT,
        "clock": clock or FakeClock(at=SENT + timedelta(minutes=1)),
        "leasing": leasing,
    }
    session = Session(**dict.fromkeys(Session.__dataclass_fields__) | parts)
    settings = SimpleNamespace(deployment="happy-otter-123", url="https://happy", branch="main")
    rehearsing: Any = SimpleNamespace(
        search=SimpleNamespace(
            convex=deployment, settings=settings, seen_last=push_fingerprint(deployment.last)
        ),
        last=lambda _: found,
        longest_s=policy.push_limit_s,
        cli=SimpleNamespace(left=lambda: left, await_end=lambda _: False),
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


# A push that another process began


HERE = Machine.here()
BESIDE = Machine(HERE.host, "another")
UNSAID = Machine(HERE.host, None)  # an older version wrote the host name alone


def lines_of(machine: str | Machine, *after: str) -> tuple[Line, ...]:
    """Give the journal of a run whose push left from a machine; with what was written after that."""
    where = machine if isinstance(machine, Machine) else Machine(machine, "b1")
    data = {name: value for name, value in where.written().items() if value is not None}
    told = [("prepare.intent", {"name": "lease on production", **data}), ("effect.sending", {})]
    told += [(event, {}) for event in after]
    return tuple(
        Line(seq, to_iso(SENT), RunId(RUN), event, "P2.S4", "ana", data, "", "")
        for seq, (event, data) in enumerate(told, 1)
    )


@pytest.mark.parametrize(
    ("after_s", "seen"),
    [(911.9, Seen.UNCLEAR), (912.0, Seen.NOT_HAPPENED)],
    ids=["while it may run", "later"],
)
def test_push_of_another_machine_may_be_under_way_for_as_long_as_one_takes(after_s: float, seen: Seen):
    """What is not seen yet did not fail: nothing is sent beside it, and it is said until when."""
    clock = FakeClock(at=SENT + timedelta(seconds=after_s))
    found = push_of(Deployment(NEW), lines=lines_of("desk-b"), clock=clock).observe(chosen(), SENT)
    assert found.seen is seen
    if seen is Seen.UNCLEAR:
        assert "push on desk-b may be under way until 22:20:12 UTC" in found.detail


def test_push_of_another_machine_that_is_seen_live_is_waited_for_no_more():
    """It happened: that is known at once."""
    push = push_of(Deployment(last=pushed(OURS)), lines=lines_of("desk-b"))
    assert push.observe(chosen(), SENT).seen is Seen.HAPPENED


def test_colleague_who_pushed_does_not_end_the_one_under_way():
    """Ours may still take the place of theirs: that is no settled state."""
    push = push_of(Deployment(NEW, last=pushed("fix")), lines=lines_of("desk-b"))
    found = push.observe(chosen(), SENT)
    assert (found.seen, found.overtaken) == (Seen.UNCLEAR, False)
    assert "somebody else pushed" in found.detail


@pytest.mark.parametrize("after", ["effect.answered", "effect.failed", "effect.done"])
def test_push_of_another_machine_whose_end_is_on_record_is_over(after: str):
    """Its own process saw it end, or somebody settled it."""
    push = push_of(Deployment(NEW), lines=lines_of("desk-b", after))
    assert push.observe(chosen(), SENT).seen is Seen.NOT_HAPPENED


def test_push_of_this_machine_is_known_to_have_ended():
    """Nothing runs in the slot that all runs of a machine share."""
    push = push_of(Deployment(NEW), lines=lines_of(HERE))
    assert push.observe(chosen(), SENT).seen is Seen.NOT_HAPPENED


@pytest.mark.parametrize("machine", [BESIDE, UNSAID], ids=["another container", "older version"])
def test_push_of_a_machine_that_only_has_this_ones_name_may_be_under_way(machine: Machine):
    """The slot here knows nothing of it; once a push must be over, the run goes on."""
    lines = lines_of(machine)
    found = push_of(Deployment(NEW), lines=lines).observe(chosen(), SENT)
    assert found.seen is Seen.UNCLEAR
    assert f"push on {HERE.host} (in another container, or before a restart) may be under" in found.detail
    later = FakeClock(at=SENT + timedelta(seconds=912))
    assert (
        push_of(Deployment(NEW), lines=lines, clock=later).observe(chosen(), SENT).seen is Seen.NOT_HAPPENED
    )


def test_push_of_a_run_that_lost_its_lease_is_ended_and_says_what_is_not_known():
    """Asked while it runs; that nothing was sent would not be true any more."""

    class Lost:
        def keep(self) -> None:
            raise LeaseHeld("Run P1-ben took it.", "Nothing was sent by this.", "Ask ben.")

    with pytest.raises(LeaseHeld) as caught:
        push_of(Deployment(), leasing=Lost())._keep()
    assert caught.value.happened == "The push was ended half way: Run P1-ben took it."
    assert "may run either code" in caught.value.state
    assert caught.value.next_step == "Ask ben."


@pytest.mark.parametrize(
    ("pid", "says"),
    [
        (4711, "Wait for it, or end it with all that it began (kill -- -4711); then run this cell again"),
        (None, "Wait for it; then run this cell again"),
    ],
    ids=["here", "its number is not of this machine"],
)
def test_push_that_is_still_under_way_here_is_told_with_what_ends_it(pid: int | None, says: str):
    """The whole group: the number is that of the shell that waits for the command line."""
    orphan = Orphan(("deploy",), "a" * 40, "2026-11-23T22:05:00.000Z", pid, running=True, result=None)
    push = push_of(Deployment(), left=orphan)
    with pytest.raises(OutcomeUnknown) as caught:
        push.await_earlier()
    assert caught.value.next_step.startswith(says)
    assert (f" (process {pid})" in caught.value.happened) is (pid is not None)
    assert "None" not in caught.value.happened


# What a person is asked


def test_request_tells_whoever_approves_all_that_it_is_weighed_by():
    """Severity with the plan's criterion, impact, whether the data fit, what may run against it, whether builds are stopped."""
    push = push_of(Deployment(NEW), warnings=("3 scheduled call(s) will fail",))
    ask = push.ask(chosen(), "NOT stopped: the next one pushes the bad code again")
    effect = ask.effect
    assert effect["what"] == "convex deploy (version 1.48.0) of an earlier commit"
    assert effect["severity"].startswith("P0, criterion P0.T1 (")
    assert (effect["why"], effect["impact"]) == ("Members wait", "Nobody books")
    assert effect["data"].startswith("its schema fits every document of the 1 table")
    assert effect["functions that come back"] == "orders:count"
    assert effect["warning 1"] == "3 scheduled call(s) will fail"
    assert effect["builds of main"].startswith("NOT stopped")
    assert "undoes" not in effect


def test_commit_that_is_only_assumed_to_have_been_live_is_told_at_the_gate():
    """Whoever approves has not seen the list of pushes."""
    known = "ASSUMED: Vercel was building it at that moment (dpl_1)"
    sure = chosen()
    guess = replace(sure, revision=replace(sure.revision, known_by=known, assumed=True))
    told = push_of(Deployment(NEW)).ask(guess, "NOT stopped").effect
    assert told["warning assumed"] == f"that {sure.revision.commit.short} was live before: {known}"
    assert "warning assumed" not in push_of(Deployment(NEW)).ask(sure, "NOT stopped").effect


def test_undo_is_asked_for_in_words_of_an_undo():
    """What it brings back is the newer code: nothing calls it earlier, older or bad."""
    ask = push_of(Deployment(NEW)).ask(chosen(undo_of="P2-0"), "NOT stopped")
    assert ask.effect["what"] == "convex deploy (version 1.48.0) of what run P2-0 took back"
    assert ask.effect["undoes"] == "run P2-0"
    told = " ".join((*ask.effect.values(), *ask.will_not_undo))
    assert [word for word in ("earlier", "older", "bad code") if word in told] == []
    assert "older functions" in " ".join(push_of(Deployment(NEW)).ask(chosen(), "").will_not_undo)


def test_command_that_undoes_it_is_told_whole():
    """Without the deployment's name it would end at its own gate."""
    shown = Line(
        1, to_iso(SENT), RunId(RUN), "gate.shown", "P2.G1", "ana", {"typed_wanted": "happy-otter-123"}, "", ""
    )
    inverse = push_of(Deployment(NEW), lines=(shown,)).effect(chosen()).inverse
    assert inverse.startswith(f"rollback undo {RUN} --reason ... -p confirm=happy-otter-123 (pushes ")


@pytest.mark.parametrize(
    ("host", "after", "warned"),
    [
        ("desk-b", (), "may still be pushing on desk-b until 22:20:12 UTC"),
        ("desk-b", ("effect.answered",), ""),
        (HERE, (), ""),
        (BESIDE, (), f"on {HERE.host} (in another container, or before a restart) until 22:20:12"),
    ],
    ids=["under way", "its end is on record", "here, where the slot tells", "beside"],
)
def test_run_that_took_over_is_warned_of_a_push_that_may_be_under_way(
    tmp_path: Path, host: str | Machine, after: tuple[str, ...], warned: str
):
    """The machine may be out of reach, and its command line goes on: a look at the store tells until when."""
    store = folder_store(tmp_path)
    lines = "".join(f"{line.text()}\n" for line in lines_of(host, *after))
    store.create("runs/P2-a/journal/00000001", lines.encode())
    taken = Line(1, to_iso(SENT), RunId(RUN), "lease.taken_over", None, "ana", {"from_run": "P2-a"}, "", "")
    told: list[str] = []
    push = push_of(Deployment(NEW), lines=(taken,))
    push.session.journal.find = lambda _: push.session.journal.lines
    push.session.journal.append = lambda _, data: told.append(data["text"])
    object.__setattr__(push.session, "store", store)
    push.warn_of_others()
    assert len(told) == bool(warned)
    assert warned in "".join(told)
