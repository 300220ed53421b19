"""Slack's own Python library meets the simulated Slack as it meets the real one.

Of each call: what comes back, or which error is raised with which code, and what became of the workspace.
"""

from __future__ import annotations

import time

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.webhook import WebhookClient

from rollback_lib.simulator import Fault, Persona, TokenSpec
from rollback_lib.simulator import company as facts
from rollback_lib.simulator.switches import SlackSpec

pytest_plugins = ["served"]

INCIDENTS, ENGINEERING = facts.CHANNEL_INCIDENTS, facts.CHANNEL_ENGINEERING
BLOCKS = [{"type": "section", "text": {"type": "mrkdwn", "text": "*INC-42* error rate 3.1 %"}}]
METADATA = {"event_type": "runbook_approval", "event_payload": {"run_id": "r-42", "step": "approve"}}
POST = "/api/chat.postMessage"


def sdk(world, token: str = "", **more) -> WebClient:
    """Give the library's client of a company's chat, with its retries left out unless given."""
    address = f"{world.serving.addresses['slack']}/api/"
    return WebClient(
        token or world.serving.world.token("SLACK_BOT_TOKEN"),
        base_url=address,
        **{"retry_handlers": [], **more},
    )


def entries(world, path: str) -> list:
    """List the ledger's entries of a method."""
    return [entry for entry in world.serving.world.ledger.entries() if entry.path == path]


def said(world, channel: str = INCIDENTS) -> list:
    """List what stands in a channel."""
    return world.serving.world.slack.messages(channel)


def refused(call, *args, **named) -> SlackApiError:
    """Make a call that is refused, and give the error."""
    with pytest.raises(SlackApiError) as caught:
        call(*args, **named)
    return caught.value


def test_token_tells_who_the_bot_is(company):
    """Its own user id, to leave its own reactions out of account."""
    found = sdk(company()).auth_test()
    assert (found["user_id"], found["bot_id"], found["team"]) == (facts.BOT_USER, "B0RUNBOOK", "Derrimut")


@pytest.mark.parametrize("token", ["xoxb-2718281828", "xoxp-2718281828"])
def test_wrong_token_is_invalid_auth(company, token):
    """With HTTP status 200, as every refusal but a limit."""
    error = refused(sdk(company(), token).auth_test)
    assert (error.response["error"], error.response.status_code) == ("invalid_auth", 200)


def test_message_is_posted_with_blocks_and_metadata(company):
    """The answer names channel and ts, by which everything else finds it; the ledger calls it a change."""
    world = company()
    posted = sdk(world).chat_postMessage(
        channel="incidents", text="INC-42", blocks=BLOCKS, metadata=METADATA, unfurl_links=False
    )
    (message,) = said(world)
    assert (posted["channel"], posted["ts"]) == (INCIDENTS, message.ts)
    assert posted["message"]["bot_id"] == "B0RUNBOOK"
    assert posted["message"]["metadata"] == METADATA
    assert message.blocks is not None
    assert message.blocks[0]["text"] == BLOCKS[0]["text"]
    (entry,) = entries(world, POST)
    assert (entry.method, entry.status, entry.weight, entry.applied) == ("POST", 200, "company", True)


def test_thread_is_read_parent_first_with_its_metadata(company):
    """Replies and history give metadata to who asks for it, and to nobody else."""
    world = company()
    client = sdk(world)
    parent = client.chat_postMessage(channel=INCIDENTS, text="alert")["ts"]
    reply = client.chat_postMessage(channel=INCIDENTS, text="update", thread_ts=parent, metadata=METADATA)[
        "ts"
    ]
    shown = client.conversations_replies(channel=INCIDENTS, ts=parent, include_all_metadata=True)
    assert [message["ts"] for message in shown["messages"]] == [parent, reply]
    assert shown["messages"][1]["metadata"] == METADATA
    assert shown["has_more"] is False
    plain = client.conversations_replies(channel=INCIDENTS, ts=parent)["messages"]
    assert "metadata" not in plain[1]
    history = client.conversations_history(channel=INCIDENTS, include_all_metadata=True)["messages"]
    assert [(message["ts"], message["reply_count"]) for message in history] == [(parent, 1)]
    error = refused(client.chat_postMessage, channel=INCIDENTS, text="?", thread_ts=reply)
    assert error.response["error"] == "cannot_reply_to_message"


def test_lost_answer_is_found_again_by_its_metadata(company):
    """What was posted right before the connection broke stands in the history from then on."""
    world = company(faults=(Fault(service="slack", path=POST, kind="reset_after"),))
    client, before = sdk(world), f"{time.time() - 1:.6f}"
    with pytest.raises(OSError, match=r"reset|closed|aborted|response"):
        client.chat_postMessage(channel=INCIDENTS, text="request", metadata=METADATA)
    found = client.conversations_history(channel=INCIDENTS, oldest=before, include_all_metadata=True)
    assert [message["metadata"] for message in found["messages"]] == [METADATA]


def test_librarys_own_retry_posts_twice(company):
    """By default it sends a post again whose connection broke: why the runbook's client does not."""
    world = company(faults=(Fault(service="slack", path=POST, kind="reset_after"),))
    client = WebClient(
        world.serving.world.token("SLACK_BOT_TOKEN"), base_url=f"{world.serving.addresses['slack']}/api/"
    )
    client.chat_postMessage(channel=INCIDENTS, text="alert")
    assert [message.text for message in said(world)] == ["alert", "alert"]


def test_message_is_edited_in_place(company):
    """The text is new, the blocks that were not named stay, and so do reactions."""
    world = company()
    client = sdk(world)
    ts = client.chat_postMessage(channel=INCIDENTS, text="before", blocks=BLOCKS)["ts"]
    client.reactions_add(channel=INCIDENTS, timestamp=ts, name="white_check_mark")
    edited = client.chat_update(channel=INCIDENTS, ts=ts, text="after")
    assert (edited["text"], edited["message"]["edited"]["user"]) == ("after", facts.BOT_USER)
    (message,) = said(world)
    assert (message.text, list(message.reactions)) == ("after", ["white_check_mark"])
    assert message.blocks is not None
    foreign = world.serving.world.slack.say("U0ANA", INCIDENTS, "mine")
    for stamp, code in ((foreign, "cant_update_message"), ("1.000000", "message_not_found")):
        assert refused(client.chat_update, channel=INCIDENTS, ts=stamp, text="x").response["error"] == code


def test_reactions_are_complete_only_when_asked_for_in_full(company):
    """The count is true, the list of people may be cut off."""
    world = company(personas=(Persona(user="U0LEE", after_s=0), Persona(user="U0CAT", after_s=0)))
    client = sdk(world)
    ts = client.chat_postMessage(channel=INCIDENTS, text="approve?")["ts"]
    client.reactions_add(channel=INCIDENTS, timestamp=ts, name="white_check_mark")
    cut = client.reactions_get(channel=INCIDENTS, timestamp=ts)
    (reaction,) = cut["message"]["reactions"]
    assert (reaction["count"], len(reaction["users"])) == (3, 1)
    whole = client.reactions_get(channel=INCIDENTS, timestamp=ts, full=True)
    assert whole["channel"] == INCIDENTS
    assert {*whole["message"]["reactions"][0]["users"]} == {"U0LEE", "U0CAT", facts.BOT_USER}
    again = refused(client.reactions_add, channel=INCIDENTS, timestamp=ts, name="white_check_mark")
    assert again.response["error"] == "already_reacted"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"timestamp": "1.000000"}, "message_not_found"),
        ({"timestamp": "1795471705"}, "bad_timestamp"),
        ({}, "no_item_specified"),
    ],
)
def test_reactions_of_no_message_are_refused(company, args, code):
    """Each in its own word."""
    assert refused(sdk(company()).reactions_get, channel=INCIDENTS, **args).response["error"] == code


def test_channels_come_page_by_page(company):
    """The library follows the cursor to its end, over short pages and empty ones."""
    world = company()
    listed = sdk(world).conversations_list(types="public_channel", exclude_archived=True, limit=200)
    pages = [page.data for page in listed]
    sizes = [len(page["channels"]) for page in pages]
    found = {channel["name"]: channel["id"] for page in pages for channel in page["channels"]}
    assert len(pages) > 2
    assert min(sizes) < max(sizes)
    assert found["incidents"] == INCIDENTS
    assert not {"incidents-2024", "leadership", "war-room"} & set(found)
    assert len(entries(world, "/api/conversations.list")) == len(pages)
    assert pages[-1]["response_metadata"]["next_cursor"] == ""


def test_channel_is_known_by_its_id_alone(company):
    """Only posting takes a name; a private channel that the bot is not in is not there."""
    client = sdk(company())
    assert client.conversations_info(channel=INCIDENTS)["channel"]["name"] == "incidents"
    for wanted in ("incidents", "C0NOSUCH", "C0BOARD"):
        error = refused(client.conversations_info, channel=wanted)
        assert error.response["error"] == "channel_not_found"


def test_history_is_paged_newest_first(company):
    """The cursor leads on from where the page before ended."""
    client = sdk(company())
    stamps = [client.chat_postMessage(channel=INCIDENTS, text=f"{number}")["ts"] for number in range(5)]
    pages = [page.data for page in client.conversations_history(channel=INCIDENTS, limit=2)]
    assert [[message["ts"] for message in page["messages"]] for page in pages] == [
        stamps[:2:-1],
        stamps[2:0:-1],
        stamps[:1],
    ]
    assert [page["has_more"] for page in pages] == [True, True, False]


def test_people_are_found_by_id_and_by_address(company):
    """Their address shows with its scope; who has left and who is a bot is marked."""
    client = sdk(company())
    lee = client.users_lookupByEmail(email="LEE@derrimut247.drill")["user"]
    assert client.users_info(user=lee["id"])["user"]["profile"]["email"] == "lee@derrimut247.drill"
    assert client.users_info(user="U0OLD")["user"]["deleted"] is True
    assert client.users_info(user=facts.BOT_USER)["user"]["is_bot"] is True
    assert refused(client.users_info, user="U0NOBODY").response["error"] == "user_not_found"
    unknown = refused(client.users_lookupByEmail, email="nobody@derrimut247.drill")
    assert unknown.response["error"] == "users_not_found"


def test_address_is_hidden_without_its_scope(company):
    """And the look-up by address says which scope is missing."""
    token = TokenSpec(name="SLACK_BOT_TOKEN", service="slack", scopes=("users:read",))
    client = sdk(company(tokens=(token,)))
    assert "email" not in client.users_info(user="U0LEE")["user"]["profile"]
    error = refused(client.users_lookupByEmail, email="lee@derrimut247.drill")
    assert (error.response["error"], error.response["needed"]) == ("missing_scope", "users:read.email")
    assert error.response["provided"] == "users:read"


def test_reminder_is_listed_and_taken_back(company):
    """Once taken back it is neither listed nor posted, and cannot be taken back again."""
    world = company()
    client = sdk(world)
    at_s = int(time.time()) + 900
    later = client.chat_scheduleMessage(channel=INCIDENTS, post_at=at_s, text="still open")
    (listed,) = client.chat_scheduledMessages_list(channel=INCIDENTS)["scheduled_messages"]
    assert (listed["id"], listed["post_at"]) == (later["scheduled_message_id"], at_s)
    named = {"channel": INCIDENTS, "scheduled_message_id": listed["id"]}
    assert client.chat_deleteScheduledMessage(**named)["ok"] is True
    assert client.chat_scheduledMessages_list()["scheduled_messages"] == []
    error = refused(client.chat_deleteScheduledMessage, **named)
    assert error.response["error"] == "invalid_scheduled_message_id"
    assert said(world) == []


def test_due_reminder_is_posted_unless_it_carries_metadata(company):
    """The known fault of the real one: with metadata it is never posted, and never listed again."""
    world = company()
    client = sdk(world)
    at_s = int(time.time()) + 2
    client.chat_scheduleMessage(channel=INCIDENTS, post_at=at_s, text="plain")
    client.chat_scheduleMessage(channel=INCIDENTS, post_at=at_s, text="marked", metadata=METADATA)
    while time.time() < at_s + 0.2:
        time.sleep(0.1)
    history = client.conversations_history(channel=INCIDENTS)["messages"]
    assert [message["text"] for message in history] == ["plain"]
    assert client.chat_scheduledMessages_list()["scheduled_messages"] == []


@pytest.mark.parametrize(
    ("in_s", "code"), [(-60, "time_in_past"), (121 * 86_400, "time_too_far")], ids=["past", "far"]
)
def test_reminder_at_an_impossible_time_is_refused(company, in_s, code):
    """Nothing is kept of it."""
    world = company()
    at_s = int(time.time()) + in_s
    error = refused(sdk(world).chat_scheduleMessage, channel=INCIDENTS, post_at=at_s, text="x")
    assert error.response["error"] == code
    assert world.serving.world.slack.scheduled() == []


def test_permalink_leads_to_the_message(company):
    """Its number is the ts without the dot; a reply names its thread."""
    client = sdk(company())
    ts = client.chat_postMessage(channel=INCIDENTS, text="alert")["ts"]
    reply = client.chat_postMessage(channel=INCIDENTS, text="update", thread_ts=ts)["ts"]
    link = client.chat_getPermalink(channel=INCIDENTS, message_ts=ts)["permalink"]
    assert link.endswith(f"/archives/{INCIDENTS}/p{ts.replace('.', '')}")
    inside = client.chat_getPermalink(channel=INCIDENTS, message_ts=reply)["permalink"]
    assert inside.endswith(f"?thread_ts={ts}&cid={INCIDENTS}")


@pytest.mark.filterwarnings("ignore:The top-level `text` argument is missing:UserWarning")
@pytest.mark.parametrize(
    ("spec", "args", "code"),
    [
        ({}, {"channel": "C0NOSUCH", "text": "x"}, "channel_not_found"),
        ({}, {"channel": "C0GENERAL", "text": "x"}, "not_in_channel"),
        ({}, {"channel": INCIDENTS, "text": "", "blocks": []}, "no_text"),
        ({}, {"channel": INCIDENTS, "text": "x", "thread_ts": "1.000000"}, "thread_not_found"),
        ({}, {"channel": INCIDENTS, "text": "x", "blocks": BLOCKS * 51}, "invalid_blocks"),
        ({}, {"channel": INCIDENTS, "text": "x", "metadata": {"event_type": "t"}}, "invalid_metadata_format"),
        ({"archived": (INCIDENTS,)}, {"channel": INCIDENTS, "text": "x"}, "is_archived"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_post_leaves_nothing(company, spec, args, code):
    """The error carries Slack's word, the workspace is as it was, and the ledger says nothing was done."""
    world = company(slack=SlackSpec(**spec))
    assert refused(sdk(world).chat_postMessage, **args).response["error"] == code
    assert world.serving.world.slack.messages() == []
    (entry,) = entries(world, POST)
    assert (entry.status, entry.applied) == (200, False)


def test_missing_scope_names_what_is_needed(company):
    """What an administrator has to add, and what there is."""
    token = TokenSpec(name="SLACK_BOT_TOKEN", service="slack", scopes=("channels:read",))
    error = refused(sdk(company(tokens=(token,))).chat_postMessage, channel=INCIDENTS, text="x")
    assert (error.response["error"], error.response["needed"]) == ("missing_scope", "chat:write")


def test_limited_call_carries_the_seconds_to_wait(company):
    """The one refusal that is no 200: status 429 and whole seconds in a header."""
    world = company(faults=(Fault(service="slack", path=POST, kind="429", retry_after_s=7),))
    error = refused(sdk(world).chat_postMessage, channel=INCIDENTS, text="x")
    assert (error.response.status_code, error.response["error"]) == (429, "ratelimited")
    assert error.response.headers["Retry-After"] == "7"
    assert said(world) == []


def test_limited_call_is_repeated_once_the_time_is_over(company):
    """The library's handler waits as the header says, then posts once."""
    world = company(faults=(Fault(service="slack", path=POST, kind="429", retry_after_s=2),))
    handlers = [RateLimitErrorRetryHandler(max_retry_count=2)]
    sdk(world, retry_handlers=handlers).chat_postMessage(channel=INCIDENTS, text="once")
    first, second = entries(world, POST)
    assert (first.status, second.status) == (429, 200)
    assert second.at_ms - first.at_ms >= 1500
    assert [message.text for message in said(world)] == ["once"]


def test_listing_channels_too_often_is_limited_by_itself(company):
    """A method of tier 2 answers some twenty times a minute."""
    client = sdk(company(slack=SlackSpec(enforce_tiers=True)))
    for _ in range(20):
        client.conversations_list(limit=1)
    error = refused(client.conversations_list, limit=1)
    assert error.response.status_code == 429
    assert 1 <= int(error.response.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("kind", ["500", "502", "html_body", "empty_body"])
def test_answer_that_is_none_is_raised(company, kind):
    """A proxy's page, an empty body or a server error is never taken for an answer."""
    world = company(faults=(Fault(service="slack", path=POST, kind=kind, effect_applied=False),))
    assert not refused(sdk(world).chat_postMessage, channel=INCIDENTS, text="x").response.get("ok")
    assert said(world) == []


def webhook(world, path: str = "") -> WebhookClient:
    """Give the library's client of the company's webhook."""
    address = world.serving.secrets["SLACK_WEBHOOK_URL"]
    return WebhookClient(address.rpartition("/")[0] + path if path else address, retry_handlers=[])


def test_webhook_posts_to_its_channel(company):
    """It says ok in plain text and names no message: nothing can be threaded under it."""
    world = company()
    answer = webhook(world).send(text="fallback", blocks=BLOCKS)
    assert (answer.status_code, answer.body) == (200, "ok")
    (message,) = said(world)
    assert (message.text, message.user) == ("fallback", None)


@pytest.mark.parametrize(
    ("switches", "path", "args", "answer"),
    [
        ({}, "", {"text": ""}, (400, "no_text")),
        ({}, "/2718281828", {"text": "x"}, (404, "no_service")),
        ({"archived": (INCIDENTS,)}, "", {"text": "x"}, (410, "channel_is_archived")),
        ({"webhook": "action_prohibited"}, "", {"text": "x"}, (403, "action_prohibited")),
        ({"webhook": "rollup_error"}, "", {"text": "x"}, (500, "rollup_error")),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) and len(value) == 2 else "",
)
def test_webhook_that_fails_says_so_by_its_status(company, switches, path, args, answer):
    """No error is raised: who sends has to look."""
    world = company(slack=SlackSpec(**switches))
    failed = webhook(world, path).send(**args)
    assert (failed.status_code, failed.body) == answer
    assert said(world) == []


def test_limited_webhook_names_the_seconds(company):
    """As the API does."""
    world = company(faults=(Fault(service="slack", path="/services/*", kind="429", retry_after_s=3),))
    failed = webhook(world).send(text="x")
    assert (failed.status_code, failed.headers["Retry-After"]) == (429, "3")
    assert said(world) == []
