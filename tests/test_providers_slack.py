"""The Slack client: `ok` decides, nothing is posted twice, incomplete lists are seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stamina
from conftest import BEGAN, FakeClock
from http_fakes import Pass, Platform, door, ok, unanswered, unconnected
from pydantic import SecretStr

from rollback_lib.errors import (
    BadParameters,
    NotApplied,
    OutcomeUnknown,
    PlanViolation,
    ReadRefused,
    Unreachable,
)
from rollback_lib.http import Service
from rollback_lib.model import RequestClass
from rollback_lib.providers.slack import (
    SLACK_RULES,
    WEBHOOK_RULES,
    Posted,
    SlackClient,
    escape,
    judge_slack,
    judge_webhook,
    slack_limited,
)

TOKEN = "xoxb-slack-token-1234"
HOOK = "https://hooks.slack.test/services/T0TEAM001/B0BOT0001/secretpart99"
WHERE, TS = "C0INCIDENTS", "1795471705.000100"
POSTED = {"ok": True, "channel": WHERE, "ts": TS, "message": {"ts": TS}}
ME = {
    "ok": True,
    "url": "https://d.slack.test",
    "team_id": "T0",
    "user": "runbook",
    "user_id": "U0RUNBOOK",
    "bot_id": "B0BOT",
}


@pytest.fixture(autouse=True)
def _retries() -> None:
    """Retries are on here; the suite's own fixture puts them back."""
    stamina.set_active(True)


def client(*script: Any) -> tuple[SlackClient, Platform, FakeClock]:
    """Make a client of a platform that answers from a script, with a webhook at the same platform."""
    platform, clock = Platform(list(script)), FakeClock()
    headers = (("authorization", SecretStr(f"Bearer {TOKEN}")),)
    source = "environment variable SLACK_BOT_TOKEN"
    service = Service(
        "slack", "https://slack.test/api", SLACK_RULES, headers, source, judge_slack, slack_limited
    )
    hook = Service("slack webhook", SecretStr(HOOK), WEBHOOK_RULES, judge=judge_webhook)
    return SlackClient(door(service, platform, clock), door(hook, platform, clock)), platform, clock


def no(error: str, **more: Any) -> httpx.Response:
    """Make Slack's way of saying no."""
    return ok({"ok": False, "error": error} | more)


# Reads


def test_reads_are_form_encoded_posts():
    """Every method takes a form; some take nothing else."""
    slack, platform, _ = client(ok(ME))
    me = slack.auth()
    assert (me.user_id, me.bot_id, me.team_id, me.user) == ("U0RUNBOOK", "B0BOT", "T0", "runbook")
    assert platform.lines == ["POST /api/auth.test"]
    assert platform.last.headers["authorization"] == f"Bearer {TOKEN}"
    assert platform.last.headers["content-type"] == "application/x-www-form-urlencoded"


def test_reactions_are_read_in_full_and_skin_tones_taken_together():
    """Who reacted, how many did, and whether the list is cut short."""
    raw = [
        {"name": "white_check_mark", "users": ["U0LEE", "U0RUNBOOK"], "count": 2},
        {"name": "+1", "users": ["U0ANA"], "count": 1},
        {"name": "+1::skin-tone-3", "users": ["U0ANA", "U0CAT"], "count": 3},
        {"name": "x", "count": 1},
    ]
    slack, platform, _ = client(ok({"ok": True, "type": "message", "message": {"reactions": raw}}))
    found = slack.reactions(WHERE, TS)
    assert platform.form() == {"channel": WHERE, "timestamp": TS, "full": "true"}
    assert found.users("white_check_mark") == ("U0LEE", "U0RUNBOOK")
    assert found.incomplete("white_check_mark") is False
    assert found.users("+1") == ("U0ANA", "U0CAT")
    assert (found.count("+1"), found.incomplete("+1")) == (3, True)
    assert (found.users("x"), found.count("x"), found.incomplete("x")) == ((), 1, True)


@pytest.mark.parametrize(
    "message", [{}, {"reactions": None}, {"reactions": []}, {"reactions": [{}, 3]}, None]
)
def test_message_without_reactions_has_none(message):
    """The key is absent when nobody reacted."""
    slack, _, _ = client(ok({"ok": True, "message": message}))
    found = slack.reactions(WHERE, TS)
    assert found.seen == ()
    assert (found.users("x"), found.count("x"), found.incomplete("x")) == ((), 0, False)


@pytest.mark.parametrize(
    ("header", "scopes"),
    [
        ({}, None),
        ({"x_oauth_scopes": ""}, frozenset()),
        ({"x_oauth_scopes": "chat:write, users:read,"}, frozenset({"chat:write", "users:read"})),
    ],
)
def test_scopes_are_read_from_the_header(header, scopes):
    """What a token may do stands in a header of every answer; where it is not said it is not known."""
    slack, _, _ = client(ok(ME, **header))
    assert slack.auth().scopes == scopes


def test_channel_is_read_as_the_bot_sees_it():
    """Whether the bot is in it, and whether anybody can still write there."""
    raw = {"id": WHERE, "name": "incidents", "is_member": True, "is_archived": False, "is_private": True}
    slack, platform, _ = client(ok({"ok": True, "channel": raw}), ok({"ok": True, "channel": {"id": WHERE}}))
    found = slack.channel(WHERE)
    assert (found.name, found.is_member, found.is_archived, found.is_private) == (
        "incidents",
        True,
        False,
        True,
    )
    assert platform.lines == ["POST /api/conversations.info"]
    assert slack.channel(WHERE).is_member is False


@pytest.mark.parametrize(
    ("error", "refused"), [("user_not_found", True), ("invalid_auth", True), ("internal_error", False)]
)
def test_error_that_slack_means_is_told_from_a_failure_of_slack(error, refused):
    """An account that is not there stays so; an internal error says nothing about it."""
    slack, _, _ = client(no(error))
    with pytest.raises(Unreachable, match=error) as caught:
        slack.user("U0GONE")
    assert isinstance(caught.value, ReadRefused) is refused


def test_user_is_read_with_what_identity_needs():
    """Bots and deleted accounts can be told; the address is there only with its scope."""
    raw = {
        "id": "U0LEE",
        "name": "lee",
        "deleted": False,
        "is_bot": False,
        "profile": {"real_name": "Lee Lead", "email": "l@d.c"},
    }
    slack, platform, _ = client(
        ok({"ok": True, "user": raw}),
        ok({"ok": True, "user": {"id": "U0BOT", "is_bot": True, "deleted": True}}),
    )
    found = slack.user("U0LEE")
    assert (found.id, found.name, found.is_bot, found.deleted, found.email) == (
        "U0LEE",
        "Lee Lead",
        False,
        False,
        "l@d.c",
    )
    assert platform.form() == {"user": "U0LEE"}
    bare = slack.user("U0BOT")
    assert (bare.name, bare.is_bot, bare.deleted, bare.email) == ("U0BOT", True, True, None)


def test_permalink_is_read():
    """The address of a message goes into the record."""
    slack, platform, _ = client(ok({"ok": True, "permalink": "https://d.slack.test/p1"}))
    assert slack.permalink(WHERE, TS) == "https://d.slack.test/p1"
    assert platform.form() == {"channel": WHERE, "message_ts": TS}


def test_refused_read_is_unreachable_naming_the_error():
    """200 with ok: false is a failure; a missing scope is named with the remedy."""
    slack, _, _ = client(no("missing_scope", needed="reactions:read", provided="chat:write"))
    with pytest.raises(Unreachable, match="missing_scope") as caught:
        slack.reactions(WHERE, TS)
    assert "reactions:read" in caught.value.happened
    assert "reactions:read" in caught.value.next_step


@pytest.mark.parametrize("error", ["invalid_auth", "not_authed", "token_revoked", "account_inactive"])
def test_refused_token_names_its_source(error):
    """Whoever reads it knows which variable to set."""
    slack, _, _ = client(no(error))
    with pytest.raises(Unreachable) as caught:
        slack.auth()
    assert "SLACK_BOT_TOKEN" in caught.value.next_step


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200), ok([1]), ok({}), ok({"ok": "yes"})]
)
def test_answer_that_is_not_ok_is_unreachable(answer):
    """Only `ok: true` is."""
    slack, _, _ = client(answer)
    with pytest.raises(Unreachable):
        slack.auth()


@pytest.mark.parametrize(
    "limited", [ok({"ok": False, "error": "ratelimited"}, 429, retry_after="3"), no("rate_limited")]
)
def test_limited_read_is_asked_again(limited):
    """Slack limits with 429 and, for some, with 200."""
    slack, _, clock = client(limited, ok(ME))
    slack.auth()
    assert clock.slept == [3 if limited.status_code == 429 else 0.25]


# Channels


def test_channel_by_name_is_looked_up_over_pages_and_kept():
    """A short or empty page is not the end; a name is asked for once."""
    slack, platform, _ = client(
        ok({"ok": True, "channels": [], "response_metadata": {"next_cursor": "c1"}}),
        ok(
            {
                "ok": True,
                "channels": [{"id": "C0OTHER", "name": "other"}],
                "response_metadata": {"next_cursor": "c2"},
            }
        ),
        ok(
            {
                "ok": True,
                "channels": [{"id": WHERE, "name_normalized": "incidents"}],
                "response_metadata": {"next_cursor": ""},
            }
        ),
    )
    assert slack.channel_id("#incidents") == WHERE
    assert slack.channel_id("incidents") == WHERE
    assert [platform.form(n).get("cursor") for n in range(3)] == [None, "c1", "c2"]
    assert len(platform.seen) == 3


def test_channel_by_id_is_not_looked_up():
    """An id is an id."""
    slack, platform, _ = client(ok(ME))
    assert slack.channel_id(WHERE) == WHERE
    assert platform.seen == []


def test_bot_without_private_channels_looks_among_public_ones():
    """A missing scope for private channels does not hide the public ones."""
    slack, platform, _ = client(
        no("missing_scope", needed="groups:read"),
        ok({"ok": True, "channels": [{"id": WHERE, "name": "incidents"}]}),
    )
    assert slack.channel_id("incidents") == WHERE
    assert platform.form()["types"] == "public_channel"


def test_channel_that_is_not_there_is_bad_parameters():
    """The operator learns which name is wrong; nothing was sent to anybody."""
    slack, _, _ = client(ok({"ok": True, "channels": []}))
    with pytest.raises(BadParameters, match="#incidentz"):
        slack.post("#incidentz", "hello", Pass(RequestClass.PREPARE))


def test_bot_that_may_not_list_posts_by_name():
    """Posting takes a name too; the answer gives the id."""
    slack, platform, _ = client(
        no("missing_scope", needed="channels:read"), no("missing_scope", needed="channels:read"), ok(POSTED)
    )
    assert slack.post("#incidents", "hello", Pass(RequestClass.PREPARE)) == Posted(WHERE, TS)
    assert platform.body()["channel"] == "incidents"


def test_list_in_a_circle_is_unreachable():
    """The same cursor again would never end."""
    slack, platform, _ = client(ok({"ok": True, "channels": [], "response_metadata": {"next_cursor": "c1"}}))
    with pytest.raises(Unreachable, match="does not end"):
        slack.channel_id("incidents")
    assert len(platform.seen) == 2


# Finding a message


METADATA = {"event_type": "runbook_message", "event_payload": {"run": "r-1", "message": "alert", "more": 1}}


def message(**changed: Any) -> dict[str, Any]:
    """Make a message of the bot with metadata."""
    return {
        "type": "message",
        "user": "U0RUNBOOK",
        "bot_id": "B0BOT",
        "ts": TS,
        "metadata": METADATA,
    } | changed


def find(slack: SlackClient, thread_ts: str | None = None) -> Posted | None:
    """Look for the alert of run r-1."""
    return slack.find_posted(WHERE, BEGAN, "runbook_message", {"run": "r-1", "message": "alert"}, thread_ts)


def test_posted_message_is_found_by_its_metadata():
    """Among others' messages, on a later page, by all of the payload that was asked for."""
    others = [
        message(ts="1.1", metadata={"event_type": "other", "event_payload": METADATA["event_payload"]}),
        message(ts="1.2", metadata=METADATA | {"event_payload": {"run": "r-2", "message": "alert"}}),
        message(ts="1.3", user="U0EVE", bot_id="B0EVE"),
        {"ts": "1.4", "text": "plain"},
        message(ts="1.5", metadata=None),
    ]
    slack, platform, _ = client(
        ok(ME),
        ok({"ok": True, "messages": others, "response_metadata": {"next_cursor": "c1"}}),
        ok({"ok": True, "messages": [message()], "has_more": False}),
    )
    assert find(slack) == Posted(WHERE, TS)
    assert platform.lines[1:] == ["POST /api/conversations.history"] * 2
    assert platform.form(1) == {
        "channel": WHERE,
        "oldest": "1795471080.000000",
        "include_all_metadata": "true",
        "limit": "200",
    }


@pytest.mark.parametrize("gone", ["bot_id", "user"])
def test_own_message_is_known_by_bot_or_user(gone):
    """Stand-ins leave out one or the other."""
    mine = {name: value for name, value in message().items() if name != gone}
    slack, _, _ = client(ok(ME), ok({"ok": True, "messages": [mine]}))
    assert find(slack) == Posted(WHERE, TS)


def test_message_that_was_not_posted_is_not_found():
    """None means that it may be posted again."""
    slack, _, _ = client(ok(ME), ok({"ok": True, "messages": []}))
    assert find(slack) is None


@pytest.mark.parametrize("answer", [ok({"ok": True, "messages": []}), no("thread_not_found")])
def test_thread_without_the_message_is_searched_and_not_found(answer):
    """A thread that does not exist yet holds no reply."""
    slack, platform, _ = client(ok(ME), answer)
    assert find(slack, TS) is None
    assert platform.lines[1] == "POST /api/conversations.replies"
    assert platform.form()["ts"] == TS


def test_search_that_fails_is_unreachable_not_not_found():
    """Not knowing is not the same as not there: else it would be posted twice."""
    slack, _, _ = client(ok(ME), no("not_in_channel"))
    with pytest.raises(Unreachable):
        find(slack)


# Changes


CHANGES = {
    "post": (lambda slack, permit: slack.post(WHERE, "hello", permit), "/api/chat.postMessage", POSTED),
    "update": (lambda slack, permit: slack.update(WHERE, TS, "hello", permit), "/api/chat.update", POSTED),
    "schedule": (
        lambda slack, permit: slack.schedule(WHERE, "later", BEGAN + timedelta(minutes=15), permit),
        "/api/chat.scheduleMessage",
        {"ok": True, "channel": WHERE, "scheduled_message_id": "Q1", "post_at": "1795471980"},
    ),
    "delete": (
        lambda slack, permit: slack.delete_scheduled(WHERE, "Q1", permit),
        "/api/chat.deleteScheduledMessage",
        {"ok": True},
    ),
    "react": (lambda slack, permit: slack.react(WHERE, TS, "x", permit), "/api/reactions.add", {"ok": True}),
    "webhook": (
        lambda slack, permit: slack.post_webhook("hello", permit),
        "/services/T0TEAM001/B0BOT0001/secretpart99",
        "ok",
    ),
}
each_change = pytest.mark.parametrize(("change", "path", "good"), CHANGES.values(), ids=CHANGES)


def good_answer(good: Any) -> httpx.Response:
    """Make the answer to a success: an object, or a webhook's plain text."""
    return httpx.Response(200, text=good) if isinstance(good, str) else ok(good)


@each_change
def test_change_is_written_down_before_it_leaves(change, path, good):
    """Admit, send, write down: in this order, once, as a harmless change."""
    slack, platform, _ = client(good_answer(good))
    permit = Pass(RequestClass.PREPARE, platform.events)
    change(slack, permit)
    assert [name for name, _ in platform.events] == ["admit", "seen", "answered"]
    assert platform.lines == [f"POST {path}"]
    assert permit.kinds == ["accepted"]
    assert permit.sendings[0].request_class is RequestClass.PREPARE


@each_change
def test_refused_change_is_not_applied_and_written_down_as_refused(change, path, good):
    """200 with ok: false is a refusal in the journal too; a webhook refuses by status."""
    refusal = (
        httpx.Response(404, text="channel_not_found") if isinstance(good, str) else no("channel_not_found")
    )
    slack, platform, _ = client(refusal)
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(NotApplied, match="channel_not_found"):
        change(slack, permit)
    assert permit.kinds == ["refused"]
    assert platform.lines == [f"POST {path}"]


@each_change
@pytest.mark.parametrize(
    "fault",
    [*unanswered(), httpx.Response(200, text="<html><title>Proxy</title>"), httpx.Response(200)],
    ids=repr,
)
def test_change_without_clear_answer_is_outcome_unknown(change, path, good, fault):
    """It may have been posted; it is not posted again by itself."""
    slack, platform, _ = client(fault, good_answer(good))
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(OutcomeUnknown):
        change(slack, permit)
    assert permit.kinds == ["unclear"]
    assert platform.lines == [f"POST {path}"]


@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "request_timeout"])
def test_error_after_which_something_may_have_succeeded_is_unclear(error):
    """Slack says so itself; the journal does too."""
    slack, platform, _ = client(no(error))
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(OutcomeUnknown, match=error):
        slack.post(WHERE, "hello", permit)
    assert permit.kinds == ["unclear"]
    assert len(platform.seen) == 1


@each_change
@pytest.mark.parametrize("fault", unconnected(), ids=lambda fault: type(fault).__name__)
def test_change_without_connection_has_not_left(change, path, good, fault):
    """Nothing left, and the journal says so."""
    slack, platform, _ = client(fault)
    permit = Pass(RequestClass.PREPARE)
    with pytest.raises(Unreachable):
        change(slack, permit)
    assert permit.kinds == ["not_sent"]
    assert platform.lines == [f"POST {path}"]
    assert good


@each_change
def test_limited_change_is_admitted_again(change, path, good):
    """Wait as told, write down, send."""
    slack, platform, clock = client(
        ok({"ok": False, "error": "ratelimited"}, 429, retry_after="2"), good_answer(good)
    )
    permit = Pass(RequestClass.PREPARE, platform.events)
    change(slack, permit)
    assert [name for name, _ in platform.events] == ["admit", "seen", "answered"] * 2
    assert permit.kinds == ["refused", "accepted"]
    assert clock.slept == [2]
    assert path


def test_change_limited_with_200_is_admitted_again():
    """Posting too much may be answered with 200 and an error."""
    slack, platform, clock = client(no("rate_limited"), ok(POSTED))
    permit = Pass(RequestClass.PREPARE)
    assert slack.post(WHERE, "hello", permit) == Posted(WHERE, TS)
    assert permit.kinds == ["refused", "accepted"]
    assert len(platform.seen) == 2
    assert clock.slept == [1]


@each_change
@pytest.mark.parametrize("leave", [None, RequestClass.READ])
def test_change_with_weak_permit_sends_nothing(change, path, good, leave):
    """Even a message needs leave."""
    slack, platform, _ = client(good_answer(good))
    permit = Pass(leave) if leave is not None else None
    with pytest.raises(PlanViolation):
        change(slack, permit)
    assert platform.seen == []
    assert permit is None or permit.events == []
    assert path


def test_post_sends_text_thread_blocks_and_metadata():
    """As JSON, each only if given, and the id and ts of the answer are kept as text."""
    slack, platform, _ = client(ok(POSTED))
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}]
    posted = slack.post(
        WHERE, "hi", Pass(RequestClass.PREPARE), blocks=blocks, thread_ts="1.2", metadata=METADATA
    )
    assert posted == Posted(WHERE, TS)
    assert platform.body() == {
        "channel": WHERE,
        "text": "hi",
        "unfurl_links": False,
        "blocks": blocks,
        "thread_ts": "1.2",
        "metadata": METADATA,
    }
    assert platform.last.headers["content-type"] == "application/json; charset=utf-8"
    slack.post(WHERE, "hi", Pass(RequestClass.PREPARE))
    assert platform.body() == {"channel": WHERE, "text": "hi", "unfurl_links": False}


@pytest.mark.parametrize(
    ("body", "ts"),
    [({"ok": True, "message": {"ts": TS}}, TS), ({"ok": True, "channel": "C0X", "ts": TS}, TS)],
)
def test_post_answer_with_little_in_it_is_read(body, ts):
    """The ts may stand inside; without a channel the one asked for counts."""
    slack, _, _ = client(ok(body))
    assert slack.post(WHERE, "hi", Pass(RequestClass.PREPARE)) == Posted(body.get("channel", WHERE), ts)


def test_post_without_ts_is_outcome_unknown():
    """A message that cannot be named cannot be answered to."""
    slack, _, _ = client(ok({"ok": True}))
    with pytest.raises(OutcomeUnknown):
        slack.post(WHERE, "hi", Pass(RequestClass.PREPARE))


def test_update_always_sends_text_and_blocks():
    """What is left out would be kept as it was."""
    slack, platform, _ = client(ok(POSTED))
    assert slack.update(WHERE, TS, "done", Pass(RequestClass.PREPARE)) == Posted(WHERE, TS)
    assert platform.body() == {"channel": WHERE, "ts": TS, "text": "done", "blocks": []}


@pytest.mark.parametrize("post_at", [1795471980, "1795471980", None, "soon"])
def test_schedule_sends_seconds_and_reads_any_form(post_at):
    """The time comes back as a number or as text; metadata is never sent, Slack would not deliver it."""
    answer = {"ok": True, "channel": WHERE, "scheduled_message_id": "Q1", "post_at": post_at}
    slack, platform, _ = client(ok(answer))
    at = datetime(2026, 11, 23, 22, 12, 59, 400000, tzinfo=UTC)
    found = slack.schedule(WHERE, "later", at, Pass(RequestClass.PREPARE), thread_ts=TS)
    assert (found.id, found.post_at) == ("Q1", datetime(2026, 11, 23, 22, 13, tzinfo=UTC))
    assert platform.body() == {"channel": WHERE, "text": "later", "post_at": 1795471980, "thread_ts": TS}


def test_schedule_without_id_is_outcome_unknown():
    """A message that cannot be taken back is not known to be scheduled."""
    slack, _, _ = client(ok({"ok": True}))
    with pytest.raises(OutcomeUnknown):
        slack.schedule(WHERE, "later", BEGAN, Pass(RequestClass.PREPARE))


def test_scheduled_messages_are_listed():
    """For the search after a lost answer."""
    raw = {"id": "Q1", "channel_id": WHERE, "post_at": 1795471980, "text": "later"}
    slack, platform, _ = client(
        ok({"ok": True, "scheduled_messages": [raw], "response_metadata": {"next_cursor": ""}})
    )
    (found,) = slack.scheduled(WHERE)
    assert (found.id, found.channel, found.text) == ("Q1", WHERE, "later")
    assert platform.lines == ["POST /api/chat.scheduledMessages.list"]


def test_scheduled_message_that_is_gone_counts_as_deleted():
    """Sent or deleted before: there is nothing left to delete, and the journal says that it was refused."""
    slack, _, _ = client(no("invalid_scheduled_message_id"))
    permit = Pass(RequestClass.PREPARE)
    assert slack.delete_scheduled(WHERE, "Q1", permit) is False
    assert permit.kinds == ["refused"]
    slack, _, _ = client(ok({"ok": True}))
    assert slack.delete_scheduled(WHERE, "Q1", permit) is True


def test_reaction_that_is_there_already_is_fine():
    """Doing it twice does no harm."""
    slack, platform, _ = client(no("already_reacted"))
    slack.react(WHERE, TS, "white_check_mark", Pass(RequestClass.PREPARE))
    assert platform.form() == {"channel": WHERE, "timestamp": TS, "name": "white_check_mark"}


def test_missing_webhook_is_said_before_anything_is_sent():
    """A caller can ask first."""
    service = Service("slack", "https://slack.test/api", SLACK_RULES)
    slack = SlackClient(door(service, Platform([ok(ME)]), FakeClock()))
    assert slack.has_webhook is False
    with pytest.raises(BadParameters):
        slack.post_webhook("hello", Pass(RequestClass.PREPARE))


def test_webhook_address_is_told_to_nobody():
    """The address is the whole authority of a webhook."""
    told = []
    for answer in (
        httpx.Response(404, text=f"no {HOOK}"),
        httpx.Response(500),
        httpx.ConnectError(HOOK),
        httpx.Response(200),
    ):
        slack, platform, _ = client(answer)
        permit = Pass(RequestClass.PREPARE)
        with pytest.raises((NotApplied, OutcomeUnknown, Unreachable)) as caught:
            slack.post_webhook("hello", permit)
        told.append(f"{caught.value}{caught.value!r}{permit.events}{caught.value.__cause__!r}")
        assert str(platform.last.url) == HOOK
    for part in (HOOK, "T0TEAM001", "B0BOT0001", "secretpart99"):
        assert part not in "".join(told)


def test_token_is_in_no_message():
    """Whatever fails, the token is not told."""
    slack, _, _ = client(no(TOKEN))
    told = []
    for call in (slack.auth, lambda: slack.post(WHERE, "hi", Pass(RequestClass.PREPARE))):
        with pytest.raises((Unreachable, NotApplied)) as caught:
            call()
        told.append(f"{caught.value}{caught.value!r}")
    assert TOKEN not in "".join(told)


def test_escape_makes_mentions_and_entities_plain():
    """What somebody typed pings nobody."""
    assert escape("<!channel> R&D &amp; <@U1>") == "&lt;!channel&gt; R&amp;D &amp;amp; &lt;@U1&gt;"
