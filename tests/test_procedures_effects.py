"""Carrying out an effect once, whatever the platform answers and wherever a session ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest
from conftest import BEGAN, FakeClock
from consents import begin, events, open_gate, resume, sending

from rollback_lib.consent.gates import Gate
from rollback_lib.errors import (
    GateClosed,
    JournalError,
    NotApplied,
    OutcomeUnknown,
    RollbackError,
    Unreachable,
)
from rollback_lib.journal import Journal
from rollback_lib.model import Answer, Pass
from rollback_lib.procedures.effects import (
    Carrier,
    Effect,
    Observation,
    Patience,
    Seen,
    pauses,
)

NAME = "rollback production to dpl_good"
STEP = "P1.S4"
PATIENCE = Patience(observe_s=5, poll_first_s=0.25, poll_max_s=2, attempts=3, again_within_s=120)
UNANSWERED = OutcomeUnknown("vercel: POST /rollback was sent and got no answer.", "unknown", "run again")
REFUSED = NotApplied("vercel: POST /rollback answered 403: no.", "unchanged", "correct the token")
NOT_SENT = Unreachable("vercel: POST /rollback found no connection.", "unchanged", "check the network")


@dataclass
class Platform:
    """Takes changes as a script says, and shows what came of them as another does.

    A script's entry for a change: `accepted`, `refused`, `not_sent`, `unclear`, or `cut off` (the process dies in
    the middle). What it shows: a `Seen`, or an exception where it cannot be read; the last one stays.
    """

    clock: FakeClock
    answers: list[str] = field(default_factory=lambda: ["accepted"])
    shows: list[Seen | RollbackError] = field(default_factory=lambda: [Seen.NOT_HAPPENED])
    sent: int = 0
    asked_since: list[datetime] = field(default_factory=list)
    takes_s: float = 1
    overtaken: bool = False

    def send(self, permit: Pass) -> None:
        """Take one change, as the door does it: admitted first, answered after."""
        answer = self.answers[min(self.sent, len(self.answers) - 1)]
        permit.admit(sending())
        if answer != "not_sent":
            self.sent += 1
        self.clock.advance(self.takes_s)
        if answer == "cut off":
            raise KeyboardInterrupt
        status = {"accepted": 201, "refused": 403}.get(answer)
        permit.answered(sending(), Answer(answer, status, ""))  # type: ignore[arg-type]  # one of the four kinds
        trouble = {"refused": REFUSED, "not_sent": NOT_SENT, "unclear": UNANSWERED}.get(answer)
        if trouble is not None:
            raise trouble

    def observe(self, since: datetime) -> Observation:
        """Show what came of it."""
        self.asked_since.append(since)
        shown = self.shows.pop(0) if len(self.shows) > 1 else self.shows[0]
        if isinstance(shown, RollbackError):
            raise shown
        return Observation(shown, f"it is {shown}", overtaken=self.overtaken)

    def effect(self) -> Effect:
        """Give the change to carry out."""
        return Effect(
            NAME,
            STEP,
            {"live": "dpl_bad"},
            "promote dpl_bad",
            send=self.send,
            observe=self.observe,
            look="Look at the Vercel dashboard",
        )


def unmoved() -> None:
    """Find the platform as it was when the gate was shown."""


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Give the journal of a run that has sent nothing yet."""
    return begin(tmp_path, clock)


@pytest.fixture
def gate(journal: Journal) -> Gate:
    """Give the run's open gate."""
    return open_gate(journal)


@pytest.fixture
def platform(clock: FakeClock) -> Platform:
    """Give a platform that accepts."""
    return Platform(clock)


@pytest.fixture
def carrier(journal: Journal, clock: FakeClock) -> Carrier:
    """Give the run's carrier."""
    return Carrier(journal, clock, PATIENCE)


def carry(
    carrier: Carrier, platform: Platform, gate: Gate, check: Callable[[], None] = unmoved
) -> Observation:
    """Carry the effect out."""
    return carrier.carry_out(platform.effect(), gate, check)


def again_in_another_kernel(
    carrier: Carrier, platform: Platform, check: Callable[[], None] = unmoved
) -> Observation:
    """Carry the same effect out in a new session of the same run."""
    journal = resume(carrier.journal)
    return carry(Carrier(journal, carrier.clock, PATIENCE), platform, open_gate(journal), check)


# Success


def test_a_success_is_sent_once_with_intent_state_and_inverse_before_it(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """Accepted is running, not done on the platform; what it replaces and how to undo it are on disk first."""
    found = carry(carrier, platform, gate)
    assert found == Observation(Seen.RUNNING, "accepted by the platform")
    assert platform.sent == 1
    assert events(journal, "effect") == [
        "effect.intent",
        "effect.sending",
        "effect.answered",
        "effect.done",
    ]
    intent = next(journal.find("effect.intent", STEP))
    assert intent.data["before"] == {"live": "dpl_bad"}
    assert intent.data["inverse"] == "promote dpl_bad"
    assert (intent.data["gate"], intent.data["digest"]) == ("P1.G1", gate.ask.digest)
    assert platform.asked_since == []


def test_called_twice_it_is_sent_once(carrier: Carrier, platform: Platform, gate: Gate) -> None:
    """A finished effect gives its recorded result and sends nothing, in this kernel and in the next."""
    first = carry(carrier, platform, gate)
    assert carry(carrier, platform, gate) == first
    assert again_in_another_kernel(carrier, platform) == first
    assert platform.sent == 1
    assert platform.asked_since == []


def test_another_effect_of_the_same_step_is_another(carrier: Carrier, platform: Platform, gate: Gate) -> None:
    """What was done under one name is not taken for another."""
    carry(carrier, platform, gate)
    other = Effect(
        "rollback production to dpl_other", STEP, {}, "", send=platform.send, observe=platform.observe
    )
    assert carrier.settle(other) is None
    carrier.carry_out(other, gate, unmoved)
    assert platform.sent == 2


def test_the_state_is_checked_before_anything_is_intended(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """If the platform moved since the gate was shown, not even the intent is written."""

    def moved() -> None:
        raise GateClosed("it moved", "nothing was sent", "look again")

    with pytest.raises(GateClosed, match="it moved"):
        carry(carrier, platform, gate, moved)
    assert platform.sent == 0
    assert events(journal, "effect") == []


def test_a_closed_gate_sends_nothing(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """The carrier gets its permit from the gate, each time."""
    gate.dry_run = True
    with pytest.raises(GateClosed):
        carry(carrier, platform, gate)
    assert platform.sent == 0
    assert events(journal, "effect") == []


def test_a_gate_that_closes_between_intent_and_request_stops_it(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """The permit asks once more: nothing left, and the account says that it failed."""

    def send(permit: Pass) -> None:
        gate.dry_run = True
        platform.send(permit)

    effect = Effect(NAME, STEP, {}, "", send=send, observe=platform.observe)
    with pytest.raises(GateClosed):
        carrier.carry_out(effect, gate, unmoved)
    assert platform.sent == 0
    assert events(journal, "effect") == ["effect.intent", "effect.failed"]


# Refusal


@pytest.mark.parametrize(("answer", "error"), [("refused", NotApplied), ("not_sent", Unreachable)])
def test_a_refusal_passes_and_is_written_down_as_failed(
    carrier: Carrier, platform: Platform, gate: Gate, answer: str, error: type[RollbackError]
) -> None:
    """The platform said no (one look: is it so already?), or was not reached: nothing is sent again by itself."""
    platform.answers = [answer]
    with pytest.raises(error):
        carry(carrier, platform, gate)
    assert platform.sent == (1 if answer == "refused" else 0)
    last = carrier.journal.lines[-1]
    assert last.event == "effect.failed"
    assert "vercel: POST /rollback" in last.data["reason"]
    assert len(platform.asked_since) == (1 if answer == "refused" else 0)


def test_a_refusal_of_what_is_so_already_is_done(carrier: Carrier, platform: Platform, gate: Gate) -> None:
    """Platforms refuse to move to where it is: seen to be there, it is done and not failed."""
    platform.answers, platform.shows = ["refused"], [Seen.HAPPENED]
    found = carry(carrier, platform, gate)
    assert found.seen is Seen.HAPPENED
    assert "already" in found.detail
    assert carrier.journal.lines[-1].event == "effect.done"


def test_a_refusal_of_what_is_under_way_already_is_watched_and_not_called_unchanged(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """A proxy may send a request twice and bring back the second answer: production is about to move."""
    platform.answers, platform.shows = ["refused"], [Seen.RUNNING]
    found = carry(carrier, platform, gate)
    assert found.seen is Seen.RUNNING
    assert "under way already" in found.detail
    assert (platform.sent, carrier.journal.lines[-1].event) == (1, "effect.done")


def test_after_a_refusal_the_cell_can_be_run_again(carrier: Carrier, platform: Platform, gate: Gate) -> None:
    """What was refused for sure is sent anew without asking the platform first."""
    platform.answers = ["refused", "accepted"]
    with pytest.raises(NotApplied):
        carry(carrier, platform, gate)
    assert carry(carrier, platform, gate).seen is Seen.RUNNING
    assert platform.sent == 2
    assert len(platform.asked_since) == 1  # whether it was so already; none before the second request


# No answer


@pytest.mark.parametrize("seen", [Seen.HAPPENED, Seen.RUNNING, Seen.BROKEN])
def test_no_answer_but_the_platform_shows_it_is_not_sent_again(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal, seen: Seen
) -> None:
    """Happened, under way, or ended badly: the platform has taken it on, and what it shows is the result."""
    platform.answers, platform.shows = ["unclear"], [Seen.NOT_HAPPENED, Seen.NOT_HAPPENED, seen]
    found = carry(carrier, platform, gate)
    assert found == Observation(seen, f"it is {seen}")
    assert platform.sent == 1
    assert [line.data["seen"] for line in journal.find("effect.observed")] == ["not happened"] * 2 + [seen]
    assert journal.lines[-1].event == "effect.done"
    assert journal.lines[-1].data["seen"] == seen
    assert carry(carrier, platform, gate) == found  # also from the journal
    assert platform.sent == 1


def test_no_answer_and_not_happened_is_sent_again_after_the_time_to_look(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal, clock: FakeClock
) -> None:
    """Only after looking for its whole time is it sent once more, and the second answer counts."""
    platform.answers = ["unclear", "accepted"]
    assert carry(carrier, platform, gate).seen is Seen.RUNNING
    assert platform.sent == 2
    sent = [datetime.fromisoformat(line.at) for line in journal.find("effect.sending")]
    assert (sent[1] - sent[0]).total_seconds() >= PATIENCE.observe_s
    assert events(journal, "effect").count("effect.intent") == 2
    assert events(journal, "effect").count("effect.failed") == 1
    assert clock.slept[:4] == [0.25, 0.375, 0.5625, 0.84375]
    assert max(clock.slept) <= 2


def test_without_any_answer_it_is_sent_a_bounded_number_of_times(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """At most three times; then a person has to look, and the account ends in unknown."""
    platform.answers = ["unclear"]
    with pytest.raises(OutcomeUnknown, match="sent 3 times without a clear answer") as caught:
        carry(carrier, platform, gate)
    assert platform.sent == 3
    assert journal.lines[-1].event == "effect.unknown"
    assert "Vercel dashboard" in caught.value.next_step


def test_no_answer_after_a_long_time_is_not_sent_for_again(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """A request that took minutes to come to nothing is not tried a second time; nobody waits for that."""
    platform.answers, platform.takes_s = ["unclear"], PATIENCE.again_within_s + 1
    with pytest.raises(OutcomeUnknown, match="sent once without a clear answer"):
        carry(carrier, platform, gate)
    assert platform.sent == 1


def test_no_answer_and_another_change_in_its_place_sends_nothing_again(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """Somebody else acts: what is live is said, and that a person is to talk to a person."""
    platform.answers, platform.overtaken = ["unclear"], True
    with pytest.raises(OutcomeUnknown, match="another change has taken its place") as caught:
        carry(carrier, platform, gate)
    assert platform.sent == 1
    assert journal.lines[-1].event == "effect.unknown"
    assert "It is not live now: it is not happened" in caught.value.state
    assert "Ask in the incidents channel" in caught.value.next_step


def test_no_answer_and_unclear_sends_nothing_again(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """If nobody can tell, nothing is sent again, also not by running the cell again."""
    platform.answers, platform.shows = ["unclear"], [Seen.UNCLEAR]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="Nobody can say yet"):
            carry(carrier, platform, gate)
    assert platform.sent == 1
    assert journal.lines[-1].event == "effect.unknown"
    assert list(journal.find("effect.done")) == []


def test_a_platform_that_cannot_be_read_is_unclear(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """A read without an answer is no sign that nothing happened; one that comes back within the time counts."""
    down = Unreachable("vercel: GET /projects got no answer", "unchanged", "wait")
    platform.answers, platform.shows = ["unclear"], [down, down, Seen.RUNNING]
    assert carry(carrier, platform, gate).seen is Seen.RUNNING
    assert platform.sent == 1
    assert [line.data["seen"] for line in journal.find("effect.observed")] == [
        "unclear",
        "unclear",
        "running",
    ]


def test_a_platform_that_stays_unreadable_sends_nothing_again(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """Down for the whole time: stop with the question, and once it is back, running the cell again answers it."""
    platform.answers = ["unclear", "accepted"]
    platform.shows = [Unreachable("vercel: GET /projects got no answer", "unchanged", "wait")]
    with pytest.raises(OutcomeUnknown, match="got no answer"):
        carry(carrier, platform, gate)
    assert platform.sent == 1
    platform.shows = [Seen.HAPPENED]
    assert carry(carrier, platform, gate).seen is Seen.HAPPENED
    assert platform.sent == 1


def test_a_state_that_moved_right_before_a_resend_stops_it(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """Between two attempts somebody else acted: nothing is sent a second time."""
    checks: list[int] = []

    def check() -> None:
        checks.append(platform.sent)
        if platform.sent:
            raise GateClosed("the platform changed since", "nothing more was sent", "ask")

    platform.answers = ["unclear"]
    with pytest.raises(GateClosed, match="changed since"):
        carry(carrier, platform, gate, check)
    assert (platform.sent, checks) == (1, [0, 1])
    assert events(journal, "effect")[-1] == "effect.failed"


def test_what_shows_up_late_is_recovered_by_running_the_cell_again(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """An attempt settled as not happened may still appear: it is asked about before anything is sent again."""
    platform.answers = ["unclear"]
    with pytest.raises(OutcomeUnknown):
        carry(carrier, platform, gate)
    platform.shows = [Seen.RUNNING]
    assert carry(carrier, platform, gate).seen is Seen.RUNNING
    assert platform.sent == 3
    assert platform.asked_since[-1] == BEGAN
    assert events(journal, "effect")[-2:] == ["effect.recovered", "effect.done"]


def test_looking_again_at_what_had_its_time_takes_one_look(
    carrier: Carrier, platform: Platform, gate: Gate, clock: FakeClock
) -> None:
    """The second time nobody waits for the whole span again while production is down."""
    platform.answers = ["unclear", "unclear", "unclear", "accepted"]
    with pytest.raises(OutcomeUnknown):
        carry(carrier, platform, gate)
    began, asked = clock.monotonic(), len(platform.asked_since)
    assert carry(carrier, platform, gate).seen is Seen.RUNNING
    assert len(platform.asked_since) == asked + 1
    assert clock.monotonic() - began < 2


def test_every_look_asks_about_the_first_attempt_that_may_have_arrived(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """A job of the first attempt may begin after the second: the time asked about must include it."""
    platform.answers = ["unclear"]
    with pytest.raises(OutcomeUnknown):
        carry(carrier, platform, gate)
    assert set(platform.asked_since) == {BEGAN}


def test_a_resend_that_is_refused_while_the_first_one_may_have_arrived_is_looked_into(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """'Already in progress' may mean our own first attempt: the platform is asked before that is called a refusal."""
    platform.answers = ["unclear", "refused"]
    with pytest.raises(NotApplied):
        carry(carrier, platform, gate)
    assert platform.sent == 2
    assert platform.asked_since[-1] == BEGAN
    platform.shows = [Seen.RUNNING]
    assert carry(carrier, platform, gate).seen is Seen.RUNNING
    assert platform.sent == 2


def test_a_refused_resend_is_observed_and_recovered_at_once(
    journal: Journal, platform: Platform, gate: Gate, clock: FakeClock
) -> None:
    """The first attempt shows up while the second is being refused: recovered, not refused."""
    brief = Carrier(
        journal, clock, Patience(observe_s=0, poll_first_s=0.25, poll_max_s=2, attempts=3, again_within_s=120)
    )
    platform.answers, platform.shows = ["unclear", "refused"], [Seen.NOT_HAPPENED, Seen.RUNNING]
    assert carry(brief, platform, gate).seen is Seen.RUNNING
    assert platform.sent == 2
    assert journal.lines[-1].event == "effect.done"


def test_accepted_and_then_trouble_is_never_sent_again(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """Once the platform has accepted, an error after it and no sign of it are a question, not a reason to repeat."""

    def send(permit: Pass) -> None:
        platform.send(permit)
        raise UNANSWERED

    effect = Effect(NAME, STEP, {}, "", send=send, observe=platform.observe)
    with pytest.raises(OutcomeUnknown, match="Nobody can say yet"):
        carrier.carry_out(effect, gate, unmoved)
    assert platform.sent == 1
    assert journal.lines[-1].event == "effect.unknown"


def test_a_read_that_fails_after_the_request_is_no_sign_that_it_failed(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """Whatever error comes up once the request has left, the platform is asked."""

    def send(permit: Pass) -> None:
        platform.send(permit)
        raise Unreachable("vercel: GET /projects got no answer", "unchanged", "wait")

    platform.shows = [Seen.HAPPENED]
    effect = Effect(NAME, STEP, {}, "", send=send, observe=platform.observe)
    assert carrier.carry_out(effect, gate, unmoved).seen is Seen.HAPPENED
    assert platform.sent == 1


def test_a_journal_that_fails_after_the_request_left_claims_nothing(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """The answer could not be written down: nothing says failed, and the next session asks the platform."""

    def send(permit: Pass) -> None:
        platform.send(permit)
        raise JournalError("disk full", "nothing more was sent", "free space")

    effect = Effect(NAME, STEP, {}, "", send=send, observe=platform.observe)
    with pytest.raises(JournalError):
        carrier.carry_out(effect, gate, unmoved)
    assert "effect.failed" not in events(journal, "effect")
    platform.shows = [Seen.HAPPENED]
    assert again_in_another_kernel(carrier, platform).seen is Seen.HAPPENED
    assert platform.sent == 1


# Cut off


def end_after(carrier: Carrier, platform: Platform, gate: Gate, event: str) -> None:
    """Let a session carry the effect out and die right after a line of this kind; what it had sent stays sent."""
    with suppress(RollbackError):
        carry(carrier, platform, gate)
    journal = carrier.journal
    last = next(line for line in journal.lines if line.event == event)
    journal.release()
    kept = journal.path.read_bytes().split(b"\n")[: last.seq]
    journal.path.write_bytes(b"\n".join(kept) + b"\n")
    platform.sent, platform.answers = 0, ["accepted"]


def test_cut_off_after_the_intent_it_is_sent(carrier: Carrier, platform: Platform, gate: Gate) -> None:
    """Nothing had left: the next session sends once and asks nobody."""
    end_after(carrier, platform, gate, "effect.intent")
    assert again_in_another_kernel(carrier, platform).seen is Seen.RUNNING
    assert platform.sent == 1
    assert platform.asked_since == []


@pytest.mark.parametrize("shown", [Seen.HAPPENED, Seen.RUNNING, Seen.BROKEN, Seen.NOT_HAPPENED])
@pytest.mark.parametrize("event", ["effect.sending", "effect.answered"], ids=["sent", "answered unclear"])
def test_cut_off_after_it_may_have_left_the_platform_is_asked_first(
    carrier: Carrier, platform: Platform, gate: Gate, event: str, shown: Seen
) -> None:
    """Taken on: recovered with nothing sent. Surely not: sent once."""
    platform.answers = ["unclear"]
    end_after(carrier, platform, gate, event)
    platform.shows = [shown]
    found = again_in_another_kernel(carrier, platform)
    sends = int(shown is Seen.NOT_HAPPENED)
    assert platform.sent == sends
    assert found.seen is (Seen.RUNNING if sends else shown)
    last = Journal._open[carrier.journal.folder.resolve()]
    expected = "effect.failed" if sends else "effect.recovered"
    assert expected in events(last, "effect")
    assert events(last, "effect")[-1] == "effect.done"


def test_cut_off_what_shows_up_within_the_time_to_look_is_recovered(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """The first look after a restart may be too early: nothing is sent before the time to look is over."""
    end_after(carrier, platform, gate, "effect.sending")
    platform.shows = [Seen.NOT_HAPPENED, Seen.NOT_HAPPENED, Seen.RUNNING]
    assert again_in_another_kernel(carrier, platform).seen is Seen.RUNNING
    assert platform.sent == 0


@pytest.mark.parametrize("event", ["effect.sending", "effect.answered"], ids=["sent", "answered unclear"])
def test_cut_off_and_nobody_can_tell_stops_with_the_question(
    carrier: Carrier, platform: Platform, gate: Gate, event: str
) -> None:
    """Unclear after a cut: nothing is sent until a person has looked."""
    platform.answers = ["unclear"]
    end_after(carrier, platform, gate, event)
    platform.shows = [Seen.UNCLEAR]
    with pytest.raises(OutcomeUnknown, match="an earlier attempt may have arrived"):
        again_in_another_kernel(carrier, platform)
    assert platform.sent == 0


@pytest.mark.parametrize(
    ("shown", "unknown"),
    [(Seen.HAPPENED, False), (Seen.RUNNING, False), (Seen.NOT_HAPPENED, True), (Seen.UNCLEAR, True)],
)
def test_cut_off_after_it_was_accepted_nothing_is_sent_whatever_shows(
    carrier: Carrier, platform: Platform, gate: Gate, shown: Seen, unknown: bool
) -> None:
    """Accepted and not to be seen is a question for a person, never a reason to send again."""
    end_after(carrier, platform, gate, "effect.answered")
    platform.shows = [shown]
    if unknown:
        with pytest.raises(OutcomeUnknown):
            again_in_another_kernel(carrier, platform)
    else:
        assert again_in_another_kernel(carrier, platform).seen is shown
    assert platform.sent == 0


@pytest.mark.parametrize("event", ["effect.answered", "effect.failed"])
def test_cut_off_after_it_was_refused_it_is_sent(
    carrier: Carrier, platform: Platform, gate: Gate, event: str
) -> None:
    """Refused for sure: the next session sends once without asking."""
    platform.answers = ["refused"]
    end_after(carrier, platform, gate, event)
    assert again_in_another_kernel(carrier, platform).seen is Seen.RUNNING
    assert platform.sent == 1
    assert len(platform.asked_since) == 1  # right after the refusal, none in the next session


def test_cut_off_after_it_was_settled_as_not_happened_it_is_asked_once_more_and_sent(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """No answer, looked for, written down as failed: one more look, then one more request."""
    platform.answers = ["unclear"]
    end_after(carrier, platform, gate, "effect.failed")
    asked = len(platform.asked_since)
    assert again_in_another_kernel(carrier, platform).seen is Seen.RUNNING
    assert platform.sent == 1
    assert len(platform.asked_since) == asked + 1


def test_killed_in_the_middle_of_the_request_it_is_not_written_down_as_failed(
    carrier: Carrier, platform: Platform, gate: Gate, journal: Journal
) -> None:
    """An interrupt says nothing about what the platform did."""
    platform.answers = ["cut off"]
    with pytest.raises(KeyboardInterrupt):
        carry(carrier, platform, gate)
    assert events(journal, "effect") == ["effect.intent", "effect.sending"]


def test_a_state_that_moved_after_a_cut_stops_the_resend(
    carrier: Carrier, platform: Platform, gate: Gate
) -> None:
    """The state is read again before what did not happen is sent anew."""
    platform.answers = ["unclear"]
    end_after(carrier, platform, gate, "effect.sending")

    def moved() -> None:
        raise GateClosed("it moved", "nothing was sent", "look again")

    with pytest.raises(GateClosed, match="it moved"):
        again_in_another_kernel(carrier, platform, moved)
    assert platform.sent == 0


def test_settling_writes_nothing_for_an_effect_that_was_never_sent(
    carrier: Carrier, platform: Platform, journal: Journal
) -> None:
    """Asking about a fresh effect leaves no trace."""
    assert carrier.settle(platform.effect()) is None
    assert journal.lines == ()
    assert platform.asked_since == []


# Waiting


def test_waits_start_short_and_grow_to_the_longest() -> None:
    """Fast at first, when it is most likely over soon; never longer than the longest."""
    assert list(islice(pauses(0.25, 2), 8)) == [
        0.25,
        0.375,
        0.5625,
        0.84375,
        1.265625,
        1.8984375,
        2,
        2,
    ]
    assert list(islice(pauses(2, 2), 3)) == [2, 2, 2]
