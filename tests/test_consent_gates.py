"""When a gate opens, what it lets through, and what closes it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import FakeClock
from consents import FREE, LEAD, NAME, By, Tenure, approval_for, begin, events, make_ask, open_gate, sending
from http_fakes import Platform, door, ok

from rollback_lib.clock import to_iso
from rollback_lib.consent.gates import LOOK_COUNTS_S, Approval, Ask, Gate, Permit
from rollback_lib.consent.policy import Demand
from rollback_lib.errors import (
    GateClosed,
    JournalError,
    LeaseHeld,
    PlanViolation,
    RollbackError,
    Unreachable,
)
from rollback_lib.http import Rule, Service
from rollback_lib.journal import Intent, Journal, read_journal
from rollback_lib.journal.attempts import effect_in_doubt
from rollback_lib.model import Answer, RequestClass, digest_of

Collect = Callable[[Ask, str], tuple[Approval | None, str]]


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Give the journal of a run that has sent nothing yet."""
    return begin(tmp_path, clock, secrets=("sk-live-" + "9" * 90,))


def make(journal: Journal, demand: Demand = FREE, collect: Collect | None = None, **more: Any) -> Gate:
    """Give a gate that was shown."""
    gate = Gate(
        make_ask(**more), demand, journal, Tenure(), source=By(collect) if collect is not None else None
    )
    gate.show()
    return gate


def approves(ask: Ask, role: str) -> tuple[Approval | None, str]:
    """Approve whatever is asked."""
    return approval_for(ask, role), ""


def permit_of(gate: Gate) -> Permit:
    """Take a permit."""
    return gate.permit(
        "rollback production",
        step="P1.S4",
        data={"before": {}, "inverse": "promote dpl_bad"},
        check=lambda: None,
    )


# Opening


def test_a_gate_is_closed_at_first_and_writes_down_what_it_showed(journal: Journal) -> None:
    """Showing opens nothing; what was shown is on disk."""
    gate = make(journal)
    assert not gate.is_open
    assert gate.missing() == (f"the name '{NAME}' has not been typed (headless: the parameter confirm)",)
    (line,) = journal.lines
    assert line.event == "gate.shown"
    assert line.data["digest"] == gate.ask.digest
    assert line.data["effect"] == gate.ask.effect
    assert line.data["will_not_undo"] == ["Convex functions, schema and data"]
    assert (line.data["typed_wanted"], line.data["rule"]) == (NAME, FREE.rule)
    with pytest.raises(GateClosed, match="has not been typed"):
        permit_of(gate)
    assert events(journal, "effect") == []


def test_looking_without_the_name_opens_nothing(journal: Journal) -> None:
    """Every approval together does not replace the typed name."""
    gate = make(journal, LEAD, approves)
    gate.look()
    assert not gate.is_open
    assert events(journal, "gate") == ["gate.shown"]


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "derrimut",
        "Derrimut-Platform",
        "DERRIMUT-PLATFORM",
        "derrimut-platform ",
        " derrimut-platform",
        "derrimut-platform\n",
        "derrimut-platform\u200b",
        "derrimut\u2010platform",
        "derrimut\u2013platform",
        "d\u0435rrimut-platform",
        "derrimut-p\u217catform",
        "derrimut-platforms",
        "yes",
        "dpl_good",
    ],
    ids=ascii,
)
def test_any_other_text_opens_nothing_and_is_written_down(journal: Journal, typed: str) -> None:
    """Only the exact name counts: no other case, no space, no look-alike sign, no prefix."""
    gate = make(journal)
    assert gate.confirm(typed, by="Ana Operator", way="panel") is False
    gate.look()
    assert not gate.is_open
    assert events(journal, "gate") == ["gate.shown", "gate.mistyped"]
    assert journal.lines[-1].data == {"gate": "P1.G1", "typed": typed, "way": "panel"}
    with pytest.raises(GateClosed):
        permit_of(gate)


def test_a_target_without_a_name_opens_for_no_text(journal: Journal) -> None:
    """Where the platform gives no name, an empty field must not be the right answer."""
    gate = make(journal, typed_wanted="")
    assert gate.confirm("", by="Ana Operator", way="panel") is False
    gate.look()
    assert not gate.is_open
    assert gate.missing() == (
        "the platform gives no name for the target, so nothing can be typed to open it",
    )


def test_a_secret_typed_by_mistake_is_not_kept_even_where_it_is_cut(journal: Journal) -> None:
    """A secret longer than what is kept of a wrong text is taken out before the text is cut."""
    secret = "sk-live-" + "9" * 90
    make(journal).confirm(secret, by="Ana Operator", way="panel")
    make(journal).confirm("x" * 500, by="Ana Operator", way="panel")
    assert "sk-live" not in journal.path.read_text()
    assert journal.lines[1].data["typed"] == "[redacted]"
    assert journal.lines[-1].data["typed"] == "x" * 80


def test_the_right_text_opens_a_gate_that_nothing_else_is_missing_from(journal: Journal) -> None:
    """The name typed exactly is what lets the effect through where no approval is needed."""
    gate = make(journal)
    assert gate.confirm(NAME, by="Ana Operator", way="panel") is True
    assert not gate.is_open  # not before it is written down as opened
    gate.look()
    assert gate.is_open
    assert gate.missing() == ()
    gate.require_open()
    confirmed, opened = journal.lines[1:]
    assert (confirmed.event, confirmed.data["typed_by"], confirmed.data["way"]) == (
        "gate.confirmed",
        "Ana Operator",
        "panel",
    )
    assert opened.event == "gate.opened"
    assert opened.data == {
        "gate": "P1.G1",
        "digest": gate.ask.digest,
        "approvals": [],
        "policy": FREE.rule,
    }


def test_typing_the_name_twice_is_written_down_once(journal: Journal) -> None:
    """A second click changes neither the account nor who typed first."""
    gate = make(journal)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert gate.confirm(NAME, by="Sam Support", way="panel")
    gate.look()
    assert events(journal, "gate") == ["gate.shown", "gate.confirmed", "gate.opened"]


def test_the_right_text_does_not_open_while_an_approval_is_missing(journal: Journal) -> None:
    """Name and approval are both needed, and the reason why there is none is said."""
    gate = make(journal, LEAD, lambda _ask, _role: (None, "no ✅ yet by Lee Lead or Dee Deputy"))
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert not gate.is_open
    assert gate.waits_for_approval
    assert gate.missing() == (
        "no approval by the engineering lead yet (no ✅ yet by Lee Lead or Dee Deputy)",
    )
    with pytest.raises(GateClosed, match="no ✅ yet by Lee Lead") as caught:
        permit_of(gate)
    assert caught.value.state == "This run has sent nothing that changes production."
    assert journal.lines[-1].event == "gate.refused"
    assert journal.lines[-1].data == {"gate": "P1.G1", "missing": list(gate.missing())}
    assert events(journal, "effect") == []


def test_an_approval_that_comes_later_opens_at_the_next_look(journal: Journal) -> None:
    """The gate can be looked at again and again; it opens when the last missing thing is there, once."""
    answers: list[tuple[Approval | None, str]] = [(None, "not yet"), (None, "not yet")]
    gate = make(journal, LEAD, lambda ask, role: answers.pop() if answers else approves(ask, role))
    gate.confirm(NAME, by="Ana Operator", way="panel")
    for opened in (False, False, True, True):
        gate.look()
        assert gate.is_open is opened
    assert gate.approvers == ("Lee Lead",)
    assert not gate.waits_for_approval
    (line,) = journal.find("gate.opened")
    assert line.data["approvals"][0]["slack_user"] == "U0LEE"
    assert line.data["approvals"][0]["digest"] == gate.ask.digest


def test_without_a_way_to_ask_an_approval_stays_missing(journal: Journal) -> None:
    """A gate that nobody can approve does not take that for approved."""
    gate = make(journal, LEAD)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert gate.missing() == ("no approval by the engineering lead yet (nobody could be asked)",)


def test_a_gate_without_its_name_does_not_wait_for_an_approval(journal: Journal) -> None:
    """Headless, waiting is of use only where nothing but the approval is missing."""
    gate = make(journal, LEAD, lambda _ask, _role: (None, "not yet"))
    gate.look()
    assert not gate.waits_for_approval


def test_two_roles_are_both_needed(journal: Journal) -> None:
    """One approval does not stand for another role's."""
    both = replace(LEAD, roles=("engineering_lead", "cto"))
    gate = make(
        journal, both, lambda ask, role: approves(ask, role) if role == "engineering_lead" else (None, "")
    )
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert not gate.is_open
    assert gate.missing() == ("no approval by the cto yet (nobody could be asked)",)


@pytest.mark.parametrize(
    "changed",
    [{"digest": "0" * 64}, {"gate": "P1.G2"}, {"role": "cto"}],
    ids=["another digest", "another gate", "another role"],
)
def test_an_approval_of_something_else_does_not_count(journal: Journal, changed: dict[str, str]) -> None:
    """An approval counts for its gate, its digest and its role alone."""
    gate = make(journal, LEAD, lambda ask, role: (replace(approval_for(ask, role), **changed), ""))  # type: ignore[arg-type]  # one of three texts
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert not gate.is_open
    assert gate.approvers == ()


def test_an_approval_stops_counting_when_it_expires(journal: Journal, clock: FakeClock) -> None:
    """An approval of an hour ago opens nothing now, also in a kernel that saw it in time."""
    ends = clock.now() + timedelta(seconds=3600)
    gate = open_gate(
        journal, collect=lambda ask, role: (approval_for(ask, role, expires_at=to_iso(ends)), "")
    )
    permit = permit_of(gate)
    clock.advance(3600)
    permit.admit(sending())  # just in time
    clock.advance(0.001)
    assert not gate.is_open
    with pytest.raises(GateClosed, match=r"the approval by the engineering lead, Lee Lead, counted until"):
        permit.admit(sending())
    assert events(journal, "effect").count("effect.sending") == 1


def test_policy_that_refuses_keeps_the_gate_closed_and_asks_nobody(journal: Journal) -> None:
    """Nobody is asked to approve what could not be let through anyway."""
    asked: list[str] = []

    def collect(ask: Ask, role: str) -> tuple[Approval | None, str]:
        asked.append(role)
        return approves(ask, role)

    gate = make(journal, replace(LEAD, refusals=("severity P2: the plan prefers a hotfix",)), collect)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert not gate.is_open
    assert not gate.waits_for_approval
    assert asked == []
    assert "severity P2: the plan prefers a hotfix" in gate.missing()


def test_a_dry_run_gives_no_permit_and_asks_nobody(journal: Journal) -> None:
    """With everything else there, a dry run withholds the permit."""
    asked: list[str] = []

    def collect(ask: Ask, role: str) -> tuple[Approval | None, str]:
        asked.append(role)
        return approves(ask, role)

    gate = Gate(make_ask(), LEAD, journal, Tenure(), dry_run=True, source=By(collect))
    gate.show()
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert not gate.is_open
    assert not gate.waits_for_approval
    assert asked == []
    with pytest.raises(GateClosed, match="dry run"):
        permit_of(gate)
    assert events(journal, "effect") == []


def test_a_closed_gate_says_how_to_open_it_here_and_headless(journal: Journal) -> None:
    """Whoever does what it says gets on: the name, and the command that gives it, stand in the next step."""
    gate = make(journal, LEAD, nobody("nobody yet"))
    gate.look()
    typing = gate.closed(gate.missing()).next_step
    assert typing.startswith(f"Type {NAME} at the gate. Have it approved: ")
    assert f"(headless: rollback resume {journal.run} -p confirm={NAME})" in typing
    gate.confirm(NAME, by="Ana Operator", way="panel")
    assert gate.closed(gate.missing()).next_step.startswith("Have it approved: ")


def test_a_dry_run_says_that_its_end_is_no_fault(journal: Journal) -> None:
    """Nobody looks for a mistake in the parameters; how to act stands there."""
    gate = Gate(make_ask(), LEAD, journal, Tenure(), dry_run=True)
    said = gate.closed(gate.missing()).next_step
    assert "A dry run ends here" in said
    assert "dry_run = False and new_run = True" in said


def test_a_gate_whose_opening_is_not_on_disk_stays_closed(journal: Journal) -> None:
    """Opened means written down: if that fails, nothing passes."""
    gate = make(journal)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    journal.release()
    with pytest.raises(JournalError):
        gate.look()
    assert not gate.is_open


def test_a_gate_that_was_never_looked_at_is_not_open(journal: Journal) -> None:
    """That nothing is missing is not enough: opening is an event of its own."""
    gate = make(journal)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    with pytest.raises(GateClosed, match="has not been opened: run its cell"):
        gate.require_open()


# The digest


@pytest.mark.parametrize("part", ["effect", "state"])
def test_the_digest_changes_with_every_field_of_effect_and_state(part: str) -> None:
    """What is done and what it was decided on are both in the digest, field by field."""
    base = make_ask()
    fields: dict[str, Any] = getattr(base, part)
    changed = [fields | {key: f"{value}?"} for key, value in fields.items()]
    without = [{key: value for key, value in fields.items() if key != name} for name in fields]
    digests = [replace(base, **{part: other}).digest for other in (*changed, *without, fields | {"new": ""})]
    assert base.digest not in digests
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    "changed",
    [
        {"gate": "P1.G2"},
        {"environment": "production"},
        {"requests": ("POST /promote/dpl_good",)},
        {"will_not_undo": ()},
    ],
    ids=["gate", "environment", "request", "what stays"],
)
def test_the_digest_names_all_else_that_was_shown_and_asked(changed: dict[str, Any]) -> None:
    """An approval in a drill is none in production; what stays as it is was approved too, and so was the one request."""
    assert make_ask(**changed).digest != make_ask().digest


def test_the_digest_does_not_depend_on_the_order_of_fields() -> None:
    """The same things read in another order are the same things."""
    ask = make_ask()
    turned = replace(ask, effect=dict(reversed(ask.effect.items())), state=dict(reversed(ask.state.items())))
    assert turned.digest == ask.digest


def test_an_effect_changed_behind_an_approval_closes_the_gate(journal: Journal) -> None:
    """What was approved and what would be done must be the same to the last."""
    gate = open_gate(journal, collect=approves)
    gate.ask.effect["to"] = "dpl_other"
    assert not gate.is_open
    with pytest.raises(GateClosed):
        permit_of(gate)


# Moved in between


def test_an_unmoved_state_passes(journal: Journal) -> None:
    """The state as it was decided on lets the effect go on, whatever the order of its fields."""
    gate = open_gate(journal)
    gate.require_unmoved(dict(reversed(gate.ask.state.items())))
    assert "gate.refused" not in events(journal, "gate")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (
            {"live deployment": "dpl_hotfix", "auto-assign of domains": "True"},
            ["live deployment: was 'dpl_bad', is 'dpl_hotfix'"],
        ),
        (
            {"live deployment": "dpl_bad"},
            ["auto-assign of domains: was 'True', is None"],
        ),
        (
            {"live deployment": "dpl_bad", "auto-assign of domains": "True", "paused": None},
            ["paused: was None, is None"],
        ),
        (
            {"live deployment": "dpl_bad", "auto-assign of domains": True},
            ["auto-assign of domains: was 'True', is True"],
        ),
    ],
    ids=["changed", "gone", "new and empty", "another type"],
)
def test_a_moved_state_is_refused_naming_what_moved(
    journal: Journal, state: dict[str, Any], told: list[str]
) -> None:
    """Between preview and effect something moved: nothing passes, and the account says what."""
    gate = open_gate(journal)
    with pytest.raises(GateClosed) as caught:
        gate.require_unmoved(state)
    assert all(text in caught.value.happened for text in told)
    assert caught.value.state == "This run has sent nothing that changes production."
    assert journal.lines[-1].event == "gate.refused"
    assert journal.lines[-1].data == {"gate": "P1.G1", "missing": told}


def test_a_gate_that_was_refused_opens_again_on_record_only(journal: Journal) -> None:
    """After a refusal nothing passes by the opening before it: whoever reads the journal finds another one after."""
    gate = open_gate(journal)
    with pytest.raises(GateClosed):
        gate.require_unmoved({"live deployment": "dpl_other"})
    with pytest.raises(GateClosed, match="has not been opened: run its cell"):
        permit_of(gate)
    gate.reconfirm()
    assert events(journal, "gate")[-2:] == ["gate.refused", "gate.opened"]
    permit_of(gate)


# Permits


def test_opening_is_on_disk_before_a_permit_exists(journal: Journal) -> None:
    """Whoever reads the file sees the gate opened before the effect's intent, and the intent before the request."""
    gate = open_gate(journal, collect=approves)
    assert [line.event for line in read_journal(journal.path).lines][-1] == "gate.opened"
    permit = permit_of(gate)
    permit.admit(sending())
    assert [line.event for line in read_journal(journal.path).lines][-3:] == [
        "gate.opened",
        "effect.intent",
        "effect.sending",
    ]
    intent = next(journal.find("effect.intent", "P1.S4"))
    assert intent.data == {
        "name": "rollback production",
        "gate": "P1.G1",
        "digest": gate.ask.digest,
        "before": {},
        "inverse": "promote dpl_bad",
    }


def test_a_permit_cannot_be_made_past_a_closed_gate(journal: Journal) -> None:
    """The class itself asks the gate: there is no way around `permit`."""
    gate = make(journal)
    with pytest.raises(GateClosed):
        Permit(gate, "rollback production", "P1.S4", {}, lambda: None)
    assert events(journal, "effect") == []


def test_a_permit_asks_its_gate_again_at_every_admission(journal: Journal) -> None:
    """A gate that closed after the permit was given stops the next request, not only the next permit."""
    gate = open_gate(journal)
    permit = permit_of(gate)
    permit.admit(sending())
    gate.dry_run = True
    with pytest.raises(GateClosed, match="dry run"):
        permit.admit(sending())
    assert events(journal, "effect") == ["effect.intent", "effect.sending"]


def test_a_permit_admits_effects_and_whatever_is_weaker(journal: Journal) -> None:
    """The permit's class is the strongest."""
    permit = permit_of(open_gate(journal))
    assert permit.request_class is RequestClass.EFFECT
    permit.admit(sending(RequestClass.EFFECT))
    permit.admit(sending(RequestClass.PREPARE))
    assert [line.data["attempt"] for line in journal.find("effect.sending")] == [1, 2]


@pytest.mark.parametrize(
    ("method", "path", "passes"),
    [
        ("POST", "/rollback/dpl_good", True),
        ("POST", "/rollback/dpl_good?description=INC-1", True),
        ("POST", "/prefix/rollback/dpl_good", True),
        ("POST", "/rollback/dpl_other", False),
        ("POST", "/rollback/dpl_good2", False),
        ("POST", "/promote/dpl_good", False),
        ("POST", "/promote/dpl_other?x=/rollback/dpl_good", False),
        ("DELETE", "/rollback/dpl_good", False),
    ],
    ids=[
        "the request",
        "with a query",
        "below the platform's address",
        "another target",
        "a longer name",
        "another act",
        "the path in a query only",
        "another verb",
    ],
)
def test_a_permit_lets_through_the_one_request_that_its_gate_is_about(
    journal: Journal, method: str, path: str, passes: bool
) -> None:
    """What was shown and approved is one request: no other leaves on its strength."""
    permit = permit_of(open_gate(journal))
    request = replace(sending(path=path), method=method)
    if passes:
        permit.admit(request)
    else:
        with pytest.raises(
            PlanViolation, match=r"is not what gate P1.G1 is about \(POST /rollback/dpl_good\)"
        ):
            permit.admit(request)
    assert ("effect.sending" in events(journal, "effect")) is passes


@pytest.mark.parametrize("request_", ["", "POST", "POST "])
def test_a_gate_about_no_request_lets_none_through(journal: Journal, request_: str) -> None:
    """An ask that names no request gives a permit for nothing."""
    permit = permit_of(open_gate(journal, make_ask(requests=(request_,))))
    with pytest.raises(PlanViolation, match="is not what gate"):
        permit.admit(sending())
    assert events(journal, "effect") == ["effect.intent"]


def test_the_platform_is_looked_at_again_before_a_repeated_attempt(journal: Journal) -> None:
    """Between two attempts of one request somebody may have acted: the second leaves only if nothing moved."""
    looks: list[int] = []

    def check() -> None:
        looks.append(len(events(journal, "effect")))
        if len(looks) > 1:
            raise GateClosed("it moved", "nothing more was sent", "look again")

    permit = open_gate(journal).permit("rollback production", step="P1.S4", data={}, check=check)
    permit.admit(sending())
    assert looks == []  # the first follows the carrier's own look at once
    permit.admit(sending())
    with pytest.raises(GateClosed, match="it moved"):
        permit.admit(sending())
    assert len(looks) == 2
    assert events(journal, "effect").count("effect.sending") == 2


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ([], "This run has sent nothing that changes production."),
        (["refused"], "What this run sent was refused; production was not changed by it."),
        (["unclear"], "UNKNOWN: this run sent a change before that got no clear answer"),
        (["unclear", "refused"], "UNKNOWN: this run sent a change before that got no clear answer"),
        ([None], "UNKNOWN: this run sent a change before that got no clear answer"),
        (
            ["accepted", "done"],
            "This run's change of production was made earlier; nothing more was sent now.",
        ),
    ],
    ids=str,
)
def test_a_closed_gate_says_truly_what_was_sent_before(
    journal: Journal, ends: list[str | None], says: str
) -> None:
    """Closed again after a request left, nobody may read that nothing was sent."""
    gate = open_gate(journal)
    permit = permit_of(gate) if ends else None
    for end in ends:
        assert permit is not None
        if end == "done":
            permit.done()
            continue
        permit.admit(sending())
        if end is not None:
            permit.answered(sending(), Answer(end, None, ""))  # type: ignore[arg-type]  # parametrised
    gate.dry_run = True
    with pytest.raises(GateClosed) as caught:
        gate.require_open()
    assert caught.value.state.startswith(says)
    with pytest.raises(GateClosed) as moved:
        gate.require_unmoved({})
    assert moved.value.state.startswith(says)


def test_leave_for_harmless_changes_admits_no_effect(journal: Journal) -> None:
    """The journal's own pass is no permit."""
    leave = journal.prepare("message alert", step=None)
    assert isinstance(leave, Intent)
    with pytest.raises(PlanViolation):
        leave.admit(sending(RequestClass.EFFECT))
    assert events(journal, "prepare", "effect") == ["prepare.intent"]


def test_an_effect_leaves_through_the_door_with_a_permit_only(journal: Journal, clock: FakeClock) -> None:
    """The client itself sends a change of production with the permit, and refuses the journal's weaker pass."""
    platform = Platform([ok({"ok": True}, 201)])
    rules = (Rule("GET", ".*", RequestClass.READ),)
    api = door(Service("vercel", "http://127.0.0.1:7401", rules), platform, clock)
    leave = journal.prepare("message alert", step=None)
    with pytest.raises(PlanViolation):
        api.change("POST", "/rollback/dpl_good", permit=leave, if_unanswered="look")
    assert platform.seen == []
    api.change("POST", "/rollback/dpl_good", permit=permit_of(open_gate(journal)), if_unanswered="look")
    assert platform.lines == ["POST /rollback/dpl_good"]
    assert events(journal, "effect") == ["effect.intent", "effect.sending", "effect.answered"]


def test_a_request_meets_its_line_on_disk(journal: Journal, clock: FakeClock) -> None:
    """When the platform sees the request, the line that it leaves is in the file already."""
    found: list[str] = []

    def answer(_: httpx.Request) -> httpx.Response:
        found.extend(json.loads(text)["event"] for text in journal.path.read_text().splitlines())
        return httpx.Response(201)

    api = door(Service("vercel", "http://127.0.0.1:7401", ()), Platform([answer]), clock)
    api.change("POST", "/rollback/dpl_good", permit=permit_of(open_gate(journal)), if_unanswered="look")
    assert found[-1] == "effect.sending"


def test_a_permit_writes_down_what_came_back(journal: Journal) -> None:
    """The answer stands beside its attempt."""
    permit = permit_of(open_gate(journal))
    permit.admit(sending())
    permit.answered(sending(), Answer("refused", 409, "conflict"))
    line = journal.lines[-1]
    assert (line.event, line.step) == ("effect.answered", "P1.S4")
    assert line.data["kind"] == "refused"
    assert line.data["attempt"] == 1
    assert datetime.fromisoformat(line.at) == journal.clock.now()


# The lease


def test_the_lease_is_asked_before_the_line_and_the_line_handed_over_before_the_request(
    journal: Journal,
) -> None:
    """Also before a repeated attempt: for as long as the request may take."""
    tenure = Tenure()
    permit = permit_of(open_gate(journal, tenure=tenure))
    assert tenure.asked == []
    permit.admit(sending())
    permit.admit(sending())
    assert tenure.asked == ["require 10", "hand_over 10"] * 2


@pytest.mark.parametrize("error", [LeaseHeld, Unreachable])
def test_without_the_lease_nothing_is_written_as_sent(journal: Journal, error: type[RollbackError]) -> None:
    """Refused before its line, with the truth about what was sent before."""
    tenure = Tenure()
    permit = permit_of(open_gate(journal, tenure=tenure))
    tenure.refusals["require"] = error("somebody else has it", "nothing by this", "ask them")
    with pytest.raises(error) as caught:
        permit.admit(sending())
    assert caught.value.happened == "somebody else has it"
    assert caught.value.state == "This run has sent nothing that changes production."
    assert caught.value.next_step == "ask them"
    assert events(journal, "effect") == ["effect.intent"]


@pytest.mark.parametrize("error", [LeaseHeld, Unreachable])
def test_a_line_that_cannot_be_handed_over_is_of_an_attempt_that_did_not_leave(
    journal: Journal, error: type[RollbackError]
) -> None:
    """Nobody has to ask the platform about it."""
    tenure = Tenure(refusals={"hand_over": error("the store is gone", "nothing by this", "look at it")})
    permit = permit_of(open_gate(journal, tenure=tenure))
    with pytest.raises(error) as caught:
        permit.admit(sending())
    assert caught.value.state == "This run has sent nothing that changes production."
    assert events(journal, "effect") == ["effect.intent", "effect.sending", "effect.answered"]
    assert (journal.lines[-1].data["kind"], journal.lines[-1].data["text"]) == (
        "not_sent",
        "the store is gone",
    )
    assert not effect_in_doubt(journal.lines)


def test_a_lease_lost_after_an_attempt_in_doubt_says_that_it_is_in_doubt(journal: Journal) -> None:
    """The second attempt is refused; what the first one did is not known."""
    tenure = Tenure()
    permit = permit_of(open_gate(journal, tenure=tenure))
    permit.admit(sending())
    tenure.refusals["require"] = LeaseHeld("somebody else has it", "nothing by this", "ask them")
    with pytest.raises(LeaseHeld) as caught:
        permit.admit(sending())
    assert caught.value.state.startswith("UNKNOWN")


# What was approved is looked at again


def nobody(reason: str) -> Collect:
    """Find no approval, for this reason."""
    return lambda *_: (None, reason)


def approved(journal: Journal, **source: Any) -> tuple[Gate, By]:
    """Give an open gate and where its approval came from."""
    by = By(approves, **source)
    gate = Gate(make_ask(), LEAD, journal, Tenure(), source=by)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert gate.is_open
    return gate, by


def test_an_approval_that_something_speaks_against_falls_on_record_and_closes_the_gate(
    journal: Journal,
) -> None:
    """Open, then objected to: closed, with whose approval fell and why; nothing is intended."""
    gate, by = approved(journal)
    by.against, by.find = "the key was taken away", nobody("nobody has signed it yet")
    with pytest.raises(GateClosed, match="nobody has signed it yet"):
        gate.reconfirm()
    assert not gate.is_open
    (line,) = journal.find("approval.fallen", "P1.G1")
    assert (line.data["person"], line.data["reason"]) == ("Lee Lead", "the key was taken away")
    with pytest.raises(GateClosed):
        gate.permit("roll back", step="P1.S4", data={}, check=lambda: None)
    assert events(journal, "effect") == []


@pytest.mark.parametrize(("prepares_s", "looked"), [(LOOK_COUNTS_S, 0), (LOOK_COUNTS_S + 0.1, 1)], ids=str)
def test_what_was_prepared_for_long_is_looked_at_again_before_it_leaves(
    journal: Journal, clock: FakeClock, prepares_s: float, looked: int
) -> None:
    """Between the last look and the first request minutes may pass, for packages: somebody may have acted meanwhile."""
    gate, by = approved(journal)
    looks: list[int] = []
    permit = gate.permit("roll back", step="P1.S4", data={}, check=lambda: looks.append(1))
    clock.advance(prepares_s)
    permit.admit(sending())
    assert len(looks) == looked
    late = gate.permit("roll back", step="P1.S4", data={}, check=lambda: looks.append(1))
    by.against, by.find = "refused by Dee Deputy", nobody("refused by Dee Deputy")
    clock.advance(LOOK_COUNTS_S + 0.1)
    with pytest.raises(GateClosed, match="refused by Dee Deputy"):
        late.admit(sending())
    assert events(journal, "effect").count("effect.sending") == 1


def test_time_that_putting_down_the_approval_takes_is_counted_from_the_look_before_it(
    journal: Journal, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is slow between the look and the permit makes that look an old one."""
    gate, by = approved(journal)
    looks: list[int] = []

    def slowly(*_: object) -> str:
        clock.advance(LOOK_COUNTS_S + 0.1)
        return ""

    monkeypatch.setattr(by, "use", slowly)
    gate.permit("roll back", step="P1.S4", data={}, check=lambda: looks.append(1)).admit(sending())
    assert looks == [1]


def test_an_approval_that_fell_and_is_given_again_opens_anew(journal: Journal) -> None:
    """Each opening has its own line."""
    gate, by = approved(journal)
    by.against, by.find = "refused", nobody("refused")
    gate.look()
    by.against, by.find = "", approves
    gate.reconfirm()
    assert [event for event in events(journal, "gate") if event == "gate.opened"] == ["gate.opened"] * 2


def test_a_repeated_attempt_looks_at_the_approvals_again(journal: Journal) -> None:
    """Refused while a request waited to be repeated: it does not leave again."""
    gate, by = approved(journal)
    looks: list[int] = []
    permit = gate.permit("roll back", step="P1.S4", data={}, check=lambda: looks.append(1))
    permit.admit(sending())
    by.against, by.find = "refused by Dee Deputy", nobody("refused by Dee Deputy")
    with pytest.raises(GateClosed, match="refused by Dee Deputy"):
        permit.admit(sending())
    assert events(journal, "effect") == ["effect.intent", "effect.sending"]
    assert looks == []


def test_approvals_are_put_down_as_used_before_the_intent_and_where_they_were_used_the_gate_is_closed(
    journal: Journal,
) -> None:
    """Used for this effect: a permit. Used for another: closed, and no intent."""
    gate, by = approved(journal)
    gate.permit("roll back", step="P1.S4", data={}, check=lambda: None)
    assert by.used == ["roll back"]
    by.taken = "the approvals were used already, for something else"
    with pytest.raises(GateClosed, match="used already"):
        gate.permit("promote", step="P1.S4", data={}, check=lambda: None)
    assert [line.data["name"] for line in journal.find("effect.intent")] == ["roll back"]


def test_a_gate_that_needs_no_approval_uses_none(journal: Journal) -> None:
    """Severity P0 waits for no store."""
    by = By(approves)
    gate = Gate(make_ask(), FREE, journal, Tenure(), source=by)
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    gate.permit("roll back", step="P1.S4", data={}, check=lambda: None)
    assert by.used == []


def test_what_is_shown_is_on_record_so_that_the_digest_can_be_worked_out_again(journal: Journal) -> None:
    """All that the digest is made of stands in the line that shows the gate."""
    make(journal)
    (line,) = journal.find("gate.shown")
    shown = {name: line.data[name] for name in vars(make_ask())}
    assert digest_of({"v": 1} | shown) == line.data["digest"] == make_ask().digest
