"""What a run says in the incidents channel: once each, with a way round, never in the rollback's way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FakeClock
from consents import RUN, begin, events, resume
from slack_fake import CHANNEL, TOKEN, WEBHOOK, Workspace

from rollback_lib.errors import JournalError
from rollback_lib.journal import Journal
from rollback_lib.messages.thread import Thread

EVERY_S = 900.0
EVERY_MIN = 15


@pytest.fixture
def slack(clock: FakeClock) -> Workspace:
    """Give the workspace with its incidents channel."""
    return Workspace(clock)


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Give the journal of a run that has said nothing yet."""
    return begin(tmp_path, clock, secrets=(TOKEN, WEBHOOK))


@pytest.fixture
def thread(slack: Workspace, journal: Journal, clock: FakeClock) -> Thread:
    """Give the run's thread, without a webhook."""
    return Thread(slack.client(), journal, CHANNEL, clock, EVERY_MIN)


def restarted(thread: Thread, slack: Workspace) -> Thread:
    """Give the same run's thread in another kernel."""
    return Thread(
        slack.client(webhook=thread.slack.has_webhook),
        resume(thread.journal),
        CHANNEL,
        thread.clock,
        EVERY_MIN,
    )


def cut_after(thread: Thread, event: str) -> None:
    """End the run's journal right after the first such line, as a killed session would."""
    journal = thread.journal
    last = next(line for line in journal.lines if line.event == event)
    journal.release()
    kept = journal.path.read_bytes().split(b"\n")[: last.seq]
    journal.path.write_bytes(b"\n".join(kept) + b"\n")


# Once


def test_a_message_is_posted_written_down_and_marked_as_this_runs(
    thread: Thread, slack: Workspace, journal: Journal
) -> None:
    """The alert stands in the channel, carries the run's own mark, and its lines came before it."""
    posted = thread.say("alert", "🚨 INCIDENT ALERT", in_thread=False)
    assert posted is not None
    (message,) = slack.messages
    assert (message["text"], message["ts"], message["thread_ts"]) == ("🚨 INCIDENT ALERT", posted.ts, None)
    assert message["metadata"]["event_payload"] == {"run": RUN, "message": "alert"}
    assert events(journal, "prepare") == [
        "prepare.intent",
        "prepare.sending",
        "prepare.answered",
        "prepare.done",
    ]
    assert next(journal.find("prepare.intent")).data == {"name": "message alert", "text": "🚨 INCIDENT ALERT"}
    assert thread.warnings == []
    assert thread.root == posted
    assert thread.said("alert")


def test_a_message_said_twice_goes_out_once(thread: Thread, slack: Workspace) -> None:
    """The cell that says it can be run again, in this kernel and in the next."""
    first = thread.say("alert", "once", in_thread=False)
    assert thread.say("alert", "twice", in_thread=False) == first
    assert restarted(thread, slack).say("alert", "thrice", in_thread=False) == first
    assert slack.texts == ["once"]


def test_messages_of_other_names_are_others(thread: Thread, slack: Workspace) -> None:
    """Each name is a message of its own, also where one begins like another."""
    for name in ("alert", "alert 2", "notice"):
        assert not thread.said(name)
        thread.say(name, name, in_thread=False)
    assert slack.texts == ["alert", "alert 2", "notice"]


def test_later_messages_hang_under_the_alert(thread: Thread, slack: Workspace) -> None:
    """What comes after the alert is a reply to it, unless it is meant for the channel."""
    root = thread.say("alert", "alert", in_thread=False)
    assert root is not None
    thread.say("notice", "notice")
    thread.say("follow-up", "follow-up", in_thread=False)
    assert [message["thread_ts"] for message in slack.messages] == [None, root.ts, None]


def test_without_an_alert_a_message_stands_in_the_channel(thread: Thread, slack: Workspace) -> None:
    """A thread that never began holds nothing back."""
    assert thread.root is None
    assert thread.say("notice", "notice") is not None
    assert slack.messages[0]["thread_ts"] is None


# Lost answers


@pytest.mark.parametrize("in_thread", [False, True], ids=["in the channel", "in the thread"])
def test_a_lost_answer_is_found_by_metadata_and_not_posted_twice(
    thread: Thread, slack: Workspace, in_thread: bool
) -> None:
    """The message is there although no answer came: it is found at once, and that is no warning."""
    thread.say("alert", "alert", in_thread=False)
    slack.troubles["chat.postMessage"] = ["lost"]
    posted = thread.say("notice", "notice", in_thread=in_thread)
    assert posted is not None
    assert posted.ts == slack.messages[-1]["ts"]
    assert slack.texts == ["alert", "notice"]
    assert thread.warnings == []
    assert thread.said("notice")


@pytest.mark.parametrize("cut_at", ["prepare.sending", "prepare.answered", "prepare.done"])
def test_a_session_cut_off_around_a_message_does_not_repeat_it(
    thread: Thread, slack: Workspace, cut_at: str
) -> None:
    """Wherever the session ended after the message had left, the next one finds it."""
    thread.say("alert", "alert", in_thread=False)
    cut_after(thread, cut_at)
    again = restarted(thread, slack)
    posted = again.say("alert", "alert", in_thread=False)
    assert posted is not None
    assert posted.ts == slack.messages[0]["ts"]
    assert slack.texts == ["alert"]
    assert again.root == posted


def test_a_session_cut_off_before_a_message_left_says_it(thread: Thread, slack: Workspace) -> None:
    """An intent without a request sent nothing, and nothing is looked for."""
    thread.say("alert", "alert", in_thread=False)
    cut_after(thread, "prepare.intent")
    slack.messages.clear()
    assert restarted(thread, slack).say("alert", "alert", in_thread=False) is not None
    assert slack.texts == ["alert"]
    assert slack.count("conversations.history") == 0


def test_a_message_that_never_arrived_is_said_again_after_looking_for_it(
    thread: Thread, slack: Workspace, clock: FakeClock
) -> None:
    """Sent, no answer, not there: a warning now, and the next try looks first and then posts."""
    slack.troubles["chat.postMessage"] = ["lost before"]
    assert thread.say("alert", "alert", in_thread=False) is None
    assert "may or may not be in Slack" in thread.warnings[0]
    assert events(thread.journal, "prepare")[-1] == "prepare.unknown"
    clock.advance(60)
    looked = slack.count("conversations.history")
    assert thread.say("alert", "alert", in_thread=False) is not None
    assert slack.count("conversations.history") == looked + 1
    assert slack.texts == ["alert"]


def test_a_message_posted_before_there_was_a_thread_is_found_in_the_channel(
    thread: Thread, slack: Workspace
) -> None:
    """An attempt from before the alert may have arrived outside the thread."""
    slack.troubles["chat.postMessage"] = ["lost"]
    slack.troubles["conversations.history"] = ["down"]
    assert thread.say("notice", "notice") is None
    root = thread.say("alert", "alert", in_thread=False)
    assert root is not None
    posted = thread.say("notice", "notice")
    assert posted is not None
    assert posted.ts == slack.messages[0]["ts"]
    assert slack.texts == ["notice", "alert"]


def test_another_runs_message_of_the_same_name_is_not_taken_for_this_ones(
    thread: Thread, slack: Workspace
) -> None:
    """The mark names the run: an earlier run's alert in the same channel is another message."""
    slack.client().post(
        CHANNEL,
        "another run's alert",
        thread.journal.prepare("x", step=None),
        metadata={"event_type": "runbook_message", "event_payload": {"run": "P1-other", "message": "alert"}},
    )
    slack.troubles["chat.postMessage"] = ["lost before"]
    assert thread.say("alert", "alert", in_thread=False) is None
    assert thread.say("alert", "alert", in_thread=False) is not None
    assert slack.texts == ["another run's alert", "alert"]


# Failures


@pytest.mark.parametrize(
    ("trouble", "fate"),
    [
        ("down", "was NOT posted to Slack"),
        ("invalid_auth", "was NOT posted to Slack"),
        ("channel_not_found", "was NOT posted to Slack"),
        ("lost before", "may or may not be in Slack"),
        ("internal_error", "may or may not be in Slack"),
    ],
)
def test_a_message_that_fails_is_a_warning_and_a_line_never_an_exception(
    thread: Thread, slack: Workspace, journal: Journal, trouble: str, fate: str
) -> None:
    """Telling people must not hold up the rollback: what failed is said as far as it is known, and nothing is raised."""
    slack.broken = trouble
    assert thread.say("alert", "alert", in_thread=False) is None
    (warning,) = thread.warnings
    assert warning.startswith(f"message alert {fate}: slack: POST /chat.postMessage")
    assert [line.data["text"] for line in journal.find("warning")] == [warning]
    assert events(journal, "prepare")[-1] in ("prepare.failed", "prepare.unknown")
    assert not thread.said("alert")
    assert TOKEN not in journal.path.read_text()


def test_a_message_that_failed_can_be_said_later(thread: Thread, slack: Workspace) -> None:
    """A refusal is not for ever; what was refused for sure needs no looking for."""
    slack.troubles["chat.postMessage"] = ["channel_not_found"]
    thread.say("alert", "alert", in_thread=False)
    assert thread.say("alert", "alert", in_thread=False) is not None
    assert slack.texts == ["alert"]
    assert slack.count("conversations.history") == 0


def test_a_journal_that_cannot_be_written_is_raised_and_nothing_leaves(
    thread: Thread, slack: Workspace
) -> None:
    """Without its intent on disk no message goes out."""
    thread.journal.release()
    with pytest.raises(JournalError):
        thread.say("alert", "alert", in_thread=False)
    assert slack.calls == []
    assert thread.warnings == []  # it is no trouble of Slack's


def test_a_dry_run_says_nothing_and_says_so(thread: Thread, slack: Workspace) -> None:
    """A dry run has no leave for messages, by bot or by webhook: one warning, no request."""
    dry = replace(thread, slack=slack.client(webhook=True))
    dry.journal.may_prepare = False
    assert dry.say("alert", "alert", in_thread=False) is None
    assert slack.calls == []
    assert len(dry.warnings) == 1
    assert "dry run" in dry.warnings[0]


# The webhook


def test_where_the_bot_cannot_post_the_webhook_carries_the_text(
    thread: Thread, slack: Workspace, journal: Journal
) -> None:
    """The text arrives by the other way, once; the warning and the lines of both stay."""
    hooked = replace(thread, slack=slack.client(webhook=True))
    slack.troubles["chat.postMessage"] = ["not_in_channel", "not_in_channel"]
    assert hooked.say("alert", "alert", in_thread=False) is None
    assert slack.by_webhook == ["alert"]
    assert hooked.said("alert")
    assert len(hooked.warnings) == 1
    assert hooked.say("alert", "alert", in_thread=False) is None
    assert slack.by_webhook == ["alert"]
    assert slack.count("chat.postMessage") == 1
    names = [line.data["name"] for line in journal.find("prepare.done")]
    assert names == ["message alert by webhook"]
    assert WEBHOOK not in journal.path.read_text()


def test_a_message_carried_by_the_webhook_is_not_said_again_after_a_restart(
    thread: Thread, slack: Workspace
) -> None:
    """The journal remembers the webhook's messages too."""
    hooked = replace(thread, slack=slack.client(webhook=True))
    slack.troubles["chat.postMessage"] = ["not_in_channel"]
    hooked.say("alert", "alert", in_thread=False)
    again = restarted(hooked, slack)
    assert again.say("alert", "alert", in_thread=False) is None
    assert again.said("alert")
    assert (slack.by_webhook, slack.texts) == (["alert"], [])


def test_without_a_webhook_none_is_tried(thread: Thread, slack: Workspace) -> None:
    """No webhook in the parameters: the bot's failure is the end of it."""
    slack.broken = "not_in_channel"
    thread.say("alert", "alert", in_thread=False)
    assert slack.count("webhook") == 0


@pytest.mark.parametrize("trouble", ["down", "lost before", "no_service"])
def test_a_webhook_that_fails_too_is_a_second_warning(
    thread: Thread, slack: Workspace, journal: Journal, trouble: str
) -> None:
    """Both ways closed: both are said, nothing is raised, and a later try is free to succeed."""
    hooked = replace(thread, slack=slack.client(webhook=True))
    slack.broken = trouble
    assert hooked.say("alert", "alert", in_thread=False) is None
    assert len(hooked.warnings) == 2
    assert "by webhook" in hooked.warnings[1]
    assert len(list(journal.find("warning"))) == 2
    assert not hooked.said("alert")
    slack.broken = ""
    assert hooked.say("alert", "alert", in_thread=False) is not None


# Updates


@pytest.mark.parametrize(("after_s", "updates"), [(EVERY_S - 1, 0), (EVERY_S, 1), (EVERY_S + 1, 1)])
def test_an_update_is_posted_only_when_it_is_due(
    thread: Thread, slack: Workspace, clock: FakeClock, after_s: float, updates: int
) -> None:
    """The promise is every 15 minutes after the last message: not earlier, and not left out."""
    root = thread.say("alert", "alert", in_thread=False)
    assert root is not None
    clock.advance(after_s)
    thread.update_if_due("still watching")
    thread.update_if_due("still watching")
    assert slack.texts == ["alert", *["still watching"] * updates]
    assert all(message["thread_ts"] == root.ts for message in slack.messages[1:])


def test_updates_follow_each_other_at_the_promised_interval(
    thread: Thread, slack: Workspace, clock: FakeClock
) -> None:
    """Asked every few seconds for an hour, three updates and no more go out between alert and end."""
    thread.say("alert", "alert", in_thread=False)
    for _ in range(3600 // 10 - 1):
        clock.advance(10)
        thread.update_if_due(f"at {clock.now():%H:%M}")
    assert slack.texts == ["alert", "at 22:13", "at 22:28", "at 22:43"]


def test_any_message_counts_as_having_told_people(thread: Thread, slack: Workspace, clock: FakeClock) -> None:
    """What was just said needs no update."""
    thread.say("alert", "alert", in_thread=False)
    clock.advance(EVERY_S - 1)
    thread.say("failure 1", "stopped")
    clock.advance(EVERY_S - 1)
    thread.update_if_due("still watching")
    assert slack.texts == ["alert", "stopped"]


def test_before_the_alert_no_update_is_due(thread: Thread, slack: Workspace, clock: FakeClock) -> None:
    """Nobody was promised anything yet."""
    clock.advance(10 * EVERY_S)
    thread.update_if_due("still watching")
    assert slack.calls == []


def test_a_restarted_kernel_keeps_the_promise_of_updates(
    thread: Thread, slack: Workspace, clock: FakeClock
) -> None:
    """When people were told last is in the journal, so a restart neither repeats nor forgets."""
    thread.say("alert", "alert", in_thread=False)
    clock.advance(EVERY_S - 1)
    again = restarted(thread, slack)
    again.update_if_due("still watching")
    assert slack.texts == ["alert"]
    clock.advance(1)
    again.update_if_due("still watching")
    assert slack.texts == ["alert", "still watching"]


def test_after_an_alert_by_webhook_updates_are_due_too(
    thread: Thread, slack: Workspace, clock: FakeClock
) -> None:
    """The promise stands in the alert's text, whichever way it went."""
    hooked = replace(thread, slack=slack.client(webhook=True))
    slack.troubles["chat.postMessage"] = ["not_in_channel", "not_in_channel"]
    hooked.say("alert", "alert", in_thread=False)
    clock.advance(EVERY_S)
    hooked.update_if_due("still watching")
    assert slack.by_webhook == ["alert", "still watching"]


def test_an_update_that_fails_is_not_tried_at_every_look(
    thread: Thread, slack: Workspace, clock: FakeClock
) -> None:
    """While Slack is down, polling does not spend its time on messages."""
    thread.say("alert", "alert", in_thread=False)
    slack.broken = "down"
    clock.advance(EVERY_S)
    for _ in range(10):
        thread.update_if_due("still watching")
        clock.advance(1)
    assert slack.count("chat.postMessage") == 2
    assert len(thread.warnings) == 1
    slack.broken = ""
    clock.advance(EVERY_S)
    thread.update_if_due("still watching")
    assert slack.texts == ["alert", "still watching"]


def test_an_update_a_day_later_is_not_taken_for_yesterdays(
    thread: Thread, slack: Workspace, clock: FakeClock
) -> None:
    """A long run says its update at the same time of day again."""
    thread.say("alert", "alert", in_thread=False)
    clock.advance(EVERY_S)
    thread.update_if_due("today")
    clock.advance(24 * 3600)
    thread.update_if_due("tomorrow")
    assert slack.texts == ["alert", "today", "tomorrow"]
