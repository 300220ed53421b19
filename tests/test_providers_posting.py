"""One message once, at the level where approvals and the thread share it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FakeClock
from consents import begin, events, sending
from slack_fake import CHANNEL, Workspace

from rollback_lib.errors import GateClosed, NotApplied, OutcomeUnknown
from rollback_lib.journal import Journal
from rollback_lib.journal.attempts import effect_in_doubt, in_doubt
from rollback_lib.model import Answer, RequestClass
from rollback_lib.providers.posting import Message, post_once, posted_before

MESSAGE = Message("message alert", CHANNEL, "alert", "runbook_message", {"run": "r1", "message": "alert"})


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Give the journal of a run."""
    return begin(tmp_path, clock)


def test_a_refusal_is_raised_and_written_down_as_failed(journal: Journal, clock: FakeClock) -> None:
    """Who posts decides what a refusal means; the account has it either way."""
    slack = Workspace(clock, broken="not_in_channel")
    with pytest.raises(NotApplied):
        post_once(slack.client(), journal, MESSAGE)
    assert events(journal, "prepare")[-1] == "prepare.failed"
    assert posted_before(journal, MESSAGE.name) is None


def test_a_lost_answer_that_cannot_be_looked_for_stays_unknown(journal: Journal, clock: FakeClock) -> None:
    """The first trouble is the one to report: it may be posted."""
    slack = Workspace(clock)
    slack.troubles["chat.postMessage"] = ["lost"]
    slack.troubles["conversations.history"] = ["down"]
    with pytest.raises(OutcomeUnknown):
        post_once(slack.client(), journal, MESSAGE)
    assert events(journal, "prepare")[-1] == "prepare.unknown"


def test_what_was_posted_is_not_posted_again(journal: Journal, clock: FakeClock) -> None:
    """The journal says so: nothing is sent and nothing is looked for."""
    slack = Workspace(clock)
    first = post_once(slack.client(), journal, MESSAGE)
    calls, lines = len(slack.calls), len(journal.lines)
    assert post_once(slack.client(), journal, MESSAGE) == first
    assert (len(slack.calls), len(journal.lines)) == (calls, lines)


def test_what_stands_in_slack_is_what_the_account_says(journal: Journal, clock: FakeClock) -> None:
    """Cut off after a message had arrived, the next session may have other words: those of then stand, and are on record."""
    slack, words = Workspace(clock), ("done by 12:00", "done by 12:01")
    first, second = (replace(MESSAGE, text=text, data={"text": text}) for text in words)
    leave = journal.prepare(first.name, step=None, data=first.data)
    slack.troubles["chat.postMessage"] = ["lost"]
    with pytest.raises(OutcomeUnknown):
        slack.client().post(CHANNEL, first.text, leave, metadata=first.metadata)
    assert post_once(slack.client(), journal, second).ts == slack.messages[0]["ts"]
    assert [message["text"] for message in slack.messages] == [words[0]]
    intents = [line.data["text"] for line in journal.find("prepare.intent")]
    assert intents == [words[0], words[0]]
    assert events(journal, "prepare")[-1] == "prepare.done"


def test_what_is_not_to_be_found_is_said_in_the_words_of_now(journal: Journal, clock: FakeClock) -> None:
    """An attempt that never arrived left nothing behind, also not its words."""
    slack, words = Workspace(clock), ("done by 12:00", "done by 12:01")
    first, second = (replace(MESSAGE, text=text, data={"text": text}) for text in words)
    leave = journal.prepare(first.name, step=None, data=first.data)
    slack.troubles["chat.postMessage"] = ["lost before"]
    with pytest.raises(OutcomeUnknown):
        slack.client().post(CHANNEL, first.text, leave, metadata=first.metadata)
    post_once(slack.client(), journal, second)
    assert [message["text"] for message in slack.messages] == [words[1]]
    assert [line.data["text"] for line in journal.find("prepare.intent")] == list(words)


def test_a_dry_run_has_no_leave(journal: Journal, clock: FakeClock) -> None:
    """Nothing is sent and nothing is intended."""
    journal.may_prepare = False
    slack = Workspace(clock)
    with pytest.raises(GateClosed):
        post_once(slack.client(), journal, MESSAGE)
    assert (slack.calls, journal.lines) == ([], ())


def test_slacks_clock_may_be_a_little_behind(journal: Journal, clock: FakeClock) -> None:
    """A message that Slack dates half a minute before it was sent is found all the same."""
    slack = Workspace(clock)
    clock.advance(-30)
    slack.client().post(
        CHANNEL, "alert", journal.prepare("x", step=None), metadata=MESSAGE.metadata
    )  # as Slack dates it
    clock.advance(30)
    slack.troubles["chat.postMessage"] = ["lost before"]
    assert post_once(slack.client(), journal, MESSAGE).ts == slack.messages[0]["ts"]


@pytest.mark.parametrize(
    ("answers", "doubtful"),
    [
        ([None], [1]),
        (["accepted"], [1]),
        (["unclear"], [1]),
        (["refused"], []),
        (["not_sent"], []),
        (["unclear", "refused"], [1]),
        ([None, "refused"], [1]),
        (["refused", None], [2]),
        (["refused", "unclear", "not_sent", "accepted"], [2, 4]),
        ([], []),
    ],
    ids=str,
)
def test_an_attempt_is_in_doubt_until_its_own_answer_clears_it(
    journal: Journal, answers: list[str | None], doubtful: list[int]
) -> None:
    """Refused and never sent clear an attempt, and no attempt but their own."""
    leave = journal.prepare("message alert", step=None)
    for answer in answers:
        leave.admit(sending(RequestClass.PREPARE))
        if answer is not None:
            leave.answered(sending(RequestClass.PREPARE), Answer(answer, None, ""))  # type: ignore[arg-type]  # parametrised
    found = in_doubt(journal.lines, RequestClass.PREPARE, "message alert")
    assert [line.data["attempt"] for line in found] == doubtful
    assert in_doubt(journal.lines, RequestClass.EFFECT, "message alert") == ()
    assert in_doubt(journal.lines, RequestClass.PREPARE, "message") == ()
    assert not effect_in_doubt(journal.lines)  # a message is no change of production
