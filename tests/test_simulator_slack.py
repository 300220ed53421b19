"""The simulated Slack keeps the chat's contract; section numbers are those of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from in_process import client_of

from rollback_lib.errors import BadParameters
from rollback_lib.simulator import company, slack
from rollback_lib.simulator.spec import Persona, WorldSpec
from rollback_lib.simulator.switches import SlackSpec

NOW_MS = 1_795_471_705_000
NOW_S = NOW_MS // 1000
INCIDENTS, ENGINEERING = company.CHANNEL_INCIDENTS, company.CHANNEL_ENGINEERING
BOT = company.BOT_USER
SCOPES = frozenset(
    {
        "chat:write",
        "reactions:read",
        "reactions:write",
        "channels:read",
        "channels:history",
        "users:read",
        "users:read.email",
        "usergroups:read",
    }
)
PRIVATE = SCOPES | {"groups:read", "groups:history"}
METADATA = {"event_type": "runbook_approval", "event_payload": {"run_id": "r-42", "step": "approve"}}


class FakeWorld:
    """A workspace whose clock stands still until it is moved."""

    def __init__(self, personas: tuple[Persona, ...] = (), switches: SlackSpec | None = None) -> None:
        self.spec = WorldSpec(personas=personas, slack=switches or SlackSpec())
        self.now = NOW_MS
        self.tokens = {"Bearer xoxb-good": SCOPES, "Bearer hook": frozenset({"incoming-webhook"})}
        self.slack = slack.SlackState(self.spec)

    def now_ms(self) -> int:
        return self.now

    def token_scopes(self, authorization: str | None, service: str) -> frozenset[str] | None:
        assert service == "slack"
        return self.tokens.get(authorization or "")


class Slack:
    """A world and a client of its chat."""

    def __init__(self, world: FakeWorld) -> None:
        self.world, self.state = world, world.slack
        self.client = client_of(slack.make_app(world), Authorization="Bearer xoxb-good")

    def wait(self, seconds: float) -> None:
        self.world.now += round(seconds * 1000)

    def form(self, method: str, **args: Any) -> dict[str, Any]:
        """Call with a form, structures as JSON texts."""
        return self._answer(self.client.post(f"/api/{method}", data=_texts(args)))

    def json(self, method: str, **args: Any) -> dict[str, Any]:
        """Call with JSON, as the official client does for writing."""
        return self._answer(
            self.client.post(
                f"/api/{method}",
                content=json.dumps(args),
                headers={"Content-Type": "application/json;charset=utf-8"},
            )
        )

    def get(self, method: str, **args: Any) -> dict[str, Any]:
        """Call with the arguments in the address."""
        return self._answer(self.client.get(f"/api/{method}", params=_texts(args)))

    def ok(self, method: str, **args: Any) -> dict[str, Any]:
        """Call with a form and expect it to work."""
        answer = self.form(method, **args)
        assert answer.pop("ok") is True, answer
        return answer

    def error(self, method: str, **args: Any) -> str:
        """Call with a form and expect an error."""
        answer = self.form(method, **args)
        assert answer["ok"] is False
        return answer["error"]

    def post(self, text: str = "Rollback needs approval", channel: str = INCIDENTS, **args: Any) -> str:
        """Post a message; give its ts."""
        return self.ok("chat.postMessage", channel=channel, text=text, **args)["ts"]

    def reactions(self, ts: str, **args: Any) -> dict[str, dict[str, Any]]:
        """Read the reactions of a message by name."""
        message = self.ok("reactions.get", channel=INCIDENTS, timestamp=ts, **args)["message"]
        return {reaction["name"]: reaction for reaction in message.get("reactions", [])}

    @staticmethod
    def _answer(response: httpx.Response) -> dict[str, Any]:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("application/json")
        return response.json()


def _texts(args: dict[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in args.items()}


@pytest.fixture
def build() -> Callable[..., Slack]:
    """Give a maker of workspaces."""

    def made(*personas: Persona, **switches: Any) -> Slack:
        return Slack(FakeWorld(personas, SlackSpec(**switches)))

    return made


@pytest.fixture
def api(build: Callable[..., Slack]) -> Slack:
    """Give a workspace in which nobody reacts by themselves."""
    return build()


# --- conventions --------------------------------------------------------------------------------------------


def test_auth_test_tells_who_the_bot_is(api):
    """§2: exactly the documented keys; user_id is what the bot's own reactions carry."""
    assert api.form("auth.test") == {
        "ok": True,
        "url": "https://derrimut.slack.drill/",
        "team": "Derrimut",
        "user": "runbook",
        "team_id": "T0DRILL",
        "user_id": BOT,
        "bot_id": "B0RUNBOOK",
    }


def test_every_way_of_calling_is_understood(api):
    """§7: both verbs and, for writing, both encodings."""
    answers = [
        call("chat.postMessage", channel=INCIDENTS, text="x") for call in (api.form, api.json, api.get)
    ]
    assert [answer["ok"] for answer in answers] == [True, True, True]
    assert len(api.state.messages(INCIDENTS)) == 3


def test_token_is_looked_for_first(api):
    """§1: no token, an unknown one; nothing is said by a stranger."""
    del api.client.headers["Authorization"]
    assert api.error("chat.postMessage", channel=INCIDENTS, text="x") == "not_authed"
    assert api.error("chat.postMessage", channel=INCIDENTS, text="x", token="xoxb-stolen") == "invalid_auth"
    api.client.headers["Authorization"] = "Bearer xoxb-stolen"
    assert api.error("chat.postMessage", channel=INCIDENTS, text="x") == "invalid_auth"
    assert api.state.messages() == []


def test_token_may_stand_in_a_form(api):
    """A form may carry the token instead of the header."""
    del api.client.headers["Authorization"]
    assert api.form("auth.test", token="xoxb-good")["ok"] is True


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ("chat.postMessage", "chat:write"),
        ("chat.update", "chat:write"),
        ("chat.scheduleMessage", "chat:write"),
        ("chat.deleteScheduledMessage", "chat:write"),
        ("reactions.add", "reactions:write"),
        ("reactions.get", "reactions:read"),
        ("conversations.list", "channels:read"),
        ("users.info", "users:read"),
        ("users.lookupByEmail", "users:read.email"),
        ("usergroups.list", "usergroups:read"),
        ("usergroups.users.list", "usergroups:read"),
    ],
)
def test_missing_scope_names_what_is_needed(api, method, needed):
    """§1, §2: the scope is looked at before the arguments."""
    api.world.tokens["Bearer xoxb-good"] = frozenset(SCOPES - {needed})
    assert api.form(method) == {
        "ok": False,
        "error": "missing_scope",
        "needed": needed,
        "provided": ",".join(sorted(SCOPES - {needed})),
    }


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ("conversations.info", "channels:read"),
        ("conversations.history", "channels:history"),
        ("conversations.replies", "channels:history"),
    ],
)
def test_public_channels_are_read_with_the_scope_for_public_ones(api, method, needed):
    """§2: the scope depends on the kind of channel."""
    api.world.tokens["Bearer xoxb-good"] = frozenset(PRIVATE - {needed})
    answer = api.form(method, channel=INCIDENTS, ts="1.000000")
    assert (answer["error"], answer["needed"]) == ("missing_scope", needed)


@pytest.mark.parametrize("method", ["auth.test", "chat.getPermalink", "chat.scheduledMessages.list"])
def test_some_methods_need_no_scope(api, method):
    """§2: what needs none works with a token that may do nothing."""
    api.world.tokens["Bearer xoxb-good"] = frozenset()
    assert api.form(method).get("error") != "missing_scope"


def test_every_answer_to_a_token_names_its_scopes(api):
    """Also a refusal does; a stranger is told nothing."""
    api.world.tokens["Bearer xoxb-good"] = frozenset({"users:read", "chat:write"})
    for method in ("auth.test", "reactions.get"):
        response = api.client.post(f"/api/{method}")
        assert response.headers["x-oauth-scopes"] == "chat:write,users:read"
    assert response.headers["x-accepted-oauth-scopes"] == "reactions:read"
    api.client.headers["Authorization"] = "Bearer xoxb-stolen"
    assert "x-oauth-scopes" not in api.client.post("/api/auth.test").headers


def test_unknown_method_is_an_answer_not_a_404(api):
    """§1: HTTP 200 with unknown_method."""
    assert api.error("chat.shout") == "unknown_method"


@pytest.mark.parametrize(
    ("method", "args", "error"),
    [
        ("reactions.get", {"channel": INCIDENTS, "timestamp": "1.000000"}, "no_item_specified"),
        ("users.info", {"user": "U0LEE"}, "invalid_arguments"),
        ("conversations.info", {"channel": INCIDENTS}, "invalid_arguments"),
    ],
)
def test_json_is_not_read_where_the_method_does_not_take_it(api, method, args, error):
    """§1: reactions.get and the other reads take a form; what stands in JSON was not sent."""
    assert api.json(method, **args)["error"] == error


@pytest.mark.parametrize(("body", "error"), [("{", "invalid_json"), ("[1]", "json_not_object")])
def test_bad_json_is_refused(api, body, error):
    """§1: JSON that is none, or no object."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert api.client.post("/api/chat.postMessage", content=body, headers=headers).json()["error"] == error
    assert api.state.messages() == []


def test_json_without_charset_is_warned_of(api):
    """§1: the warning `missing_charset`, beside an answer that is right."""
    response = api.client.post("/api/chat.postMessage", json={"channel": INCIDENTS, "text": "x"}).json()
    assert response["ok"] is True
    assert response["warning"] == "missing_charset"
    assert response["response_metadata"]["warnings"] == ["missing_charset"]


def test_other_body_types_are_refused(api):
    """A body of another type is not guessed at."""
    headers = {"Content-Type": "text/plain"}
    answer = api.client.post("/api/chat.postMessage", content="text=x", headers=headers).json()
    assert answer["error"] == "invalid_post_type"


# --- posting -------------------------------------------------------------------------------------------------


def test_post_answers_exactly_the_documented_keys(api):
    """§2: channel id, ts as text, and the message with the bot's profile, blocks and metadata."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*INC-42*"}}]
    answer = api.json(
        "chat.postMessage", channel=INCIDENTS, text="needs approval", blocks=blocks, metadata=METADATA
    )
    assert answer == {
        "ok": True,
        "channel": INCIDENTS,
        "ts": f"{NOW_S}.000000",
        "message": {
            "type": "message",
            "user": BOT,
            "bot_id": "B0RUNBOOK",
            "app_id": "A0RUNBOOK",
            "team": "T0DRILL",
            "text": "needs approval",
            "ts": f"{NOW_S}.000000",
            "bot_profile": {
                "id": "B0RUNBOOK",
                "name": "runbook",
                "app_id": "A0RUNBOOK",
                "team_id": "T0DRILL",
            },
            "blocks": [{**blocks[0], "block_id": "b0"}],
            "metadata": METADATA,
        },
    }


def test_timestamps_are_given_once_and_grow(api):
    """§1: a ts identifies a message in spite of a clock that stands still or runs back."""
    stamps = [api.post() for _ in range(3)]
    api.wait(-10)
    stamps.append(api.post())
    assert len(set(stamps)) == 4
    assert stamps == sorted(stamps)
    assert all(len(ts.partition(".")[2]) == 6 for ts in stamps)


@pytest.mark.parametrize("name", [INCIDENTS, "incidents", "#incidents"])
def test_channel_may_be_named_when_posting(api, name):
    """§2: an id or a name; the answer gives the id."""
    assert api.ok("chat.postMessage", channel=name, text="x")["channel"] == INCIDENTS


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"text": "x"}, "invalid_arguments"),
        ({"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
        ({"channel": "#nowhere", "text": "x"}, "channel_not_found"),
        ({"channel": INCIDENTS}, "no_text"),
        ({"channel": INCIDENTS, "text": ""}, "no_text"),
        ({"channel": "C0GENERAL", "text": "x"}, "not_in_channel"),
        ({"channel": "C0INCOLD", "text": "x"}, "is_archived"),
        ({"channel": "C0BOARD", "text": "x"}, "channel_not_found"),
        ({"channel": INCIDENTS, "text": "x", "thread_ts": "1.000000"}, "thread_not_found"),
        ({"channel": INCIDENTS, "text": "x", "metadata": "x"}, "invalid_metadata_format"),
        ({"channel": INCIDENTS, "text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_format"),
        ({"channel": INCIDENTS, "text": "x", "blocks": "{"}, "invalid_blocks_format"),
        ({"channel": INCIDENTS, "text": "x", "attachments": [{}] * 101}, "too_many_attachments"),
        ({"channel": INCIDENTS, "markdown_text": "x" * 12_001}, "msg_too_long"),
        ({"channel": INCIDENTS, "markdown_text": "x", "text": "x"}, "markdown_text_conflict"),
    ],
    ids=str,
)
def test_refused_post_leaves_nothing(api, args, error):
    """§2, §4: each error, and no message afterwards."""
    assert api.error("chat.postMessage", **args) == error
    assert api.state.messages() == []


def test_missing_argument_is_named(api):
    """§1: invalid_arguments says which."""
    messages = api.form("chat.postMessage", text="x")["response_metadata"]["messages"]
    assert messages == ["[ERROR] missing required field: channel"]


def test_public_scope_lets_the_bot_post_without_joining(api):
    """§2: chat:write.public posts into public channels that the bot is not in."""
    api.world.tokens["Bearer xoxb-good"] = SCOPES | {"chat:write.public"}
    assert api.form("chat.postMessage", channel="C0GENERAL", text="x")["ok"] is True


def test_hidden_channel_may_be_told_as_not_joined(build):
    """What surprises 5: which of the two errors a private channel gives is a switch."""
    api = build(hidden_channel_error="not_in_channel")
    assert api.error("chat.postMessage", channel="C0BOARD", text="x") == "not_in_channel"


def test_world_can_remove_the_bot_or_archive_the_channel(build):
    """§2: not_in_channel and is_archived for the channel that matters."""
    assert (
        build(bot_not_in=(INCIDENTS,)).error("chat.postMessage", channel=INCIDENTS, text="x")
        == "not_in_channel"
    )
    assert (
        build(archived=(INCIDENTS,)).error("chat.postMessage", channel=INCIDENTS, text="x") == "is_archived"
    )


def test_repeated_client_msg_id_makes_two_messages(api):
    """§5: there is no idempotency; the id is only kept."""
    first, second = (api.post(client_msg_id="one") for _ in range(2))
    assert first != second
    assert [message.client_msg_id for message in api.state.messages()] == ["one", "one"]


def test_long_text_is_cut_and_posted_with_a_warning(api):
    """§4: 40,000 characters stay, the rest is lost, `ok` is true."""
    whole = api.ok("chat.postMessage", channel=INCIDENTS, text="x" * 40_000)
    assert "warning" not in whole
    answer = api.ok("chat.postMessage", channel=INCIDENTS, text="x" * 40_001)
    assert answer["warning"] == "message_truncated"
    assert answer["response_metadata"]["warnings"] == ["message_truncated"]
    assert len(api.state.messages()[-1].text) == 40_000


def section(text: str = "x", **more: Any) -> dict[str, Any]:
    """Give a section block."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def field_of(text: str = "x") -> dict[str, Any]:
    """Give a text object."""
    return {"type": "mrkdwn", "text": text}


def button(text: str = "Go", **more: Any) -> dict[str, Any]:
    """Give a button."""
    return {"type": "button", "text": {"type": "plain_text", "text": text}, **more}


def header(text: str) -> dict[str, Any]:
    """Give a header block."""
    return {"type": "header", "text": {"type": "plain_text", "text": text}}


AT_THE_LIMIT = [
    [section("x" * 3_000)],
    [{"type": "section", "fields": [field_of("x" * 1_000)] * 10}],
    [{"type": "section", "fields": [field_of("x" * 2_000)]}],
    [header("x" * 150)],
    [{"type": "context", "elements": [field_of()] * 10}],
    [{"type": "actions", "elements": [button()] * 25}],
    [
        {
            "type": "actions",
            "elements": [button("x" * 75, value="v" * 2_000, url="u" * 3_000, action_id="a" * 255)],
        }
    ],
    [section(block_id="b" * 255)],
    [{"type": "divider"}] * 50,
    [section("x" * 2_640)] * 5,
]
OVER_THE_LIMIT = [
    ([section("x" * 3_001)], "/blocks/0/text/text"),
    ([{"type": "section", "fields": [field_of()] * 11}], "/blocks/0/fields"),
    ([{"type": "section", "fields": [field_of(), field_of("x" * 2_001)]}], "/blocks/0/fields/1/text"),
    ([header("x" * 151)], "/blocks/0/text/text"),
    ([{"type": "context", "elements": [field_of()] * 11}], "/blocks/0/elements"),
    ([{"type": "actions", "elements": [button()] * 26}], "/blocks/0/elements"),
    ([{"type": "actions", "elements": [button("x" * 76)]}], "/blocks/0/elements/0/text/text"),
    ([{"type": "actions", "elements": [button(value="v" * 2_001)]}], "/blocks/0/elements/0/value"),
    ([{"type": "actions", "elements": [button(url="u" * 3_001)]}], "/blocks/0/elements/0/url"),
    ([section(accessory=button(action_id="a" * 256))], "/blocks/0/accessory/action_id"),
    ([section(block_id="b" * 256)], "/blocks/0/block_id"),
    ([{"type": "divider"}] * 51, "/blocks"),
    ([{"type": "divider"}, {"type": "banner"}], "/blocks/1/type"),
    ([{"type": "section"}], "/blocks/0"),
    ([section("")], "/blocks/0/text/text"),
    ([{"type": "header", "text": field_of()}], "/blocks/0/text/type"),
    (["words"], "/blocks/0"),
]


@pytest.mark.parametrize("blocks", AT_THE_LIMIT, ids=range(len(AT_THE_LIMIT)))
def test_blocks_at_the_limit_are_posted(api, blocks):
    """§4: the last value that fits."""
    assert api.json("chat.postMessage", channel=INCIDENTS, text="x", blocks=blocks)["ok"] is True


@pytest.mark.parametrize(
    ("blocks", "pointer"), OVER_THE_LIMIT, ids=[pointer for _, pointer in OVER_THE_LIMIT]
)
def test_blocks_over_the_limit_are_refused_with_their_place(api, blocks, pointer):
    """§4: invalid_blocks, with errors and messages that name the json-pointer; nothing is posted."""
    answer = api.json("chat.postMessage", channel=INCIDENTS, text="x", blocks=blocks)
    assert (answer["ok"], answer["error"]) == (False, "invalid_blocks")
    assert answer["errors"][0].endswith(f"[json-pointer:{pointer}]")
    assert answer["response_metadata"]["messages"][0].startswith("[ERROR] ")
    assert api.state.messages() == []


def test_blocks_too_long_together_are_refused(api):
    """§4: more than 13,200 characters in all."""
    blocks = [section("x" * 2_641)] * 5
    assert api.error("chat.postMessage", channel=INCIDENTS, text="x", blocks=blocks) == "msg_blocks_too_long"
    assert api.state.messages() == []


# --- threads and reading back ---------------------------------------------------------------------------------


def test_thread_is_told_parent_first(api):
    """§2: the parent carries the thread's size, replies its ts; replies are not in the channel's history."""
    parent = api.post("parent")
    replies = [api.post(f"reply {number}", thread_ts=parent) for number in range(3)]
    answer = api.ok("conversations.replies", channel=INCIDENTS, ts=parent)
    assert [message["ts"] for message in answer["messages"]] == [parent, *replies]
    assert answer["has_more"] is False
    first = answer["messages"][0]
    assert (first["thread_ts"], first["reply_count"], first["latest_reply"]) == (parent, 3, replies[-1])
    assert answer["messages"][1]["thread_ts"] == parent
    history = api.ok("conversations.history", channel=INCIDENTS)["messages"]
    assert [message["ts"] for message in history] == [parent]


def test_reply_cannot_be_a_parent(api):
    """§2: thread_ts is the parent's, never a reply's."""
    parent = api.post()
    reply = api.post(thread_ts=parent)
    args = {"channel": INCIDENTS, "text": "x", "thread_ts": reply}
    assert api.error("chat.postMessage", **args) == "cannot_reply_to_message"
    assert len(api.state.messages()) == 2


def test_broadcast_reply_shows_in_the_channel_as_well(api):
    """§2: reply_broadcast."""
    parent = api.post()
    reply = api.post(thread_ts=parent, reply_broadcast=True)
    history = api.ok("conversations.history", channel=INCIDENTS)["messages"]
    assert [message["ts"] for message in history] == [reply, parent]
    assert history[0]["subtype"] == "thread_broadcast"


def test_unknown_thread_is_not_found(api):
    """§2: thread_not_found; a message without replies is a thread of one."""
    assert api.error("conversations.replies", channel=INCIDENTS, ts="1795471705.999999") == "thread_not_found"
    alone = api.post()
    (message,) = api.ok("conversations.replies", channel=INCIDENTS, ts=alone)["messages"]
    assert "thread_ts" not in message


def test_history_between_bounds(api):
    """§5: oldest and latest leave out their own message unless inclusive; both may be whole seconds."""
    stamps = []
    for _ in range(5):
        stamps.append(api.post())
        api.wait(1)

    def between(**bounds: Any) -> list[str]:
        return [m["ts"] for m in api.ok("conversations.history", channel=INCIDENTS, **bounds)["messages"]][
            ::-1
        ]

    assert between(oldest=stamps[1], latest=stamps[3]) == stamps[2:3]
    assert between(oldest=stamps[1], latest=stamps[3], inclusive=True) == stamps[1:4]
    assert between(oldest=str(NOW_S + 3)) == stamps[4:]
    assert between(oldest="0") == stamps
    assert api.error("conversations.history", channel=INCIDENTS, oldest="soon") == "invalid_ts_oldest"


@pytest.mark.parametrize("method", ["conversations.history", "conversations.replies"])
def test_messages_are_paged(api, method):
    """§1: the cursor leads through all of them, each once, until it is empty."""
    parent = api.post()
    thread = {"thread_ts": parent} if method.endswith("replies") else {}
    stamps = {parent} | {api.post(**thread) for _ in range(6)}
    seen: list[str] = []
    cursor, pages = "", 0
    while True:
        answer = api.ok(method, channel=INCIDENTS, ts=parent, limit="3", cursor=cursor)
        seen += [message["ts"] for message in answer["messages"]]
        cursor, pages = answer["response_metadata"]["next_cursor"], pages + 1
        assert answer["has_more"] is bool(cursor)
        if not cursor:
            break
    assert set(seen) == stamps
    assert pages > 1
    assert len([ts for ts in seen if ts != parent]) == 6
    assert api.error(method, channel=INCIDENTS, ts=parent, cursor="bm9uc2Vuc2U=") == "invalid_cursor"
    assert api.error(method, channel=INCIDENTS, ts=parent, limit="0") == "invalid_limit"


@pytest.mark.parametrize("method", ["conversations.history", "conversations.replies"])
def test_metadata_is_read_back_only_when_asked_for(api, method):
    """§2, §5: include_all_metadata is how a lost answer is searched for."""
    ts = api.post(metadata=METADATA)
    (plain,) = api.ok(method, channel=INCIDENTS, ts=ts)["messages"]
    assert "metadata" not in plain
    (full,) = api.ok(method, channel=INCIDENTS, ts=ts, include_all_metadata="1")["messages"]
    assert full["metadata"] == METADATA
    assert full["bot_id"] == "B0RUNBOOK"


def test_channels_the_bot_is_not_in_cannot_be_read(api):
    """§2, what surprises 5: not joined, hidden, or named instead of its id."""
    errors = {"C0GENERAL": "not_in_channel", "C0BOARD": "channel_not_found", "incidents": "channel_not_found"}
    for channel, error in errors.items():
        assert api.error("conversations.history", channel=channel) == error
        assert api.error("reactions.get", channel=channel, timestamp="1.000000") == error


def test_private_channel_needs_its_own_scopes(api):
    """§2: groups:read and groups:history."""
    api.world.tokens["Bearer xoxb-good"] = SCOPES
    assert api.form("conversations.info", channel="C0WARROOM")["needed"] == "groups:read"
    assert api.form("conversations.history", channel="C0WARROOM")["needed"] == "groups:history"
    api.world.tokens["Bearer xoxb-good"] = PRIVATE
    assert api.ok("conversations.info", channel="C0WARROOM")["channel"]["is_private"] is True
    assert api.ok("conversations.history", channel="C0WARROOM")["messages"] == []


def test_permalink_leads_to_message_and_thread(api):
    """§2: the address holds the ts without its point; a reply's names its thread."""
    parent = api.post()
    reply = api.post(thread_ts=parent)
    address = api.ok("chat.getPermalink", channel=INCIDENTS, message_ts=parent)["permalink"]
    assert address == f"https://derrimut.slack.drill/archives/{INCIDENTS}/p{parent.replace('.', '')}"
    assert (
        f"thread_ts={parent}" in api.ok("chat.getPermalink", channel=INCIDENTS, message_ts=reply)["permalink"]
    )
    assert api.error("chat.getPermalink", channel=INCIDENTS, message_ts="1.000000") == "message_not_found"


# --- editing ---------------------------------------------------------------------------------------------------


def test_update_keeps_blocks_metadata_and_reactions(api):
    """§2, §3: what is left out is retained, an empty list removes; the edit is marked, reactions stay."""
    ts = api.post(blocks=[section("before")], metadata=METADATA)
    api.ok("reactions.add", channel=INCIDENTS, timestamp=ts, name="white_check_mark")
    api.wait(5)
    answer = api.json("chat.update", channel=INCIDENTS, ts=ts, text="approved")
    assert (answer["ok"], answer["channel"], answer["ts"], answer["text"]) == (
        True,
        INCIDENTS,
        ts,
        "approved",
    )
    message = answer["message"]
    assert message["edited"] == {"user": BOT, "ts": f"{NOW_S + 5}.000000"}
    assert message["blocks"][0]["text"]["text"] == "before"
    assert message["metadata"] == METADATA
    assert "white_check_mark" in api.reactions(ts)
    assert "blocks" not in api.json("chat.update", channel=INCIDENTS, ts=ts, text="x", blocks=[])["message"]


def test_update_of_blocks_alone_keeps_the_text(api):
    """§2: what is left out is retained, the text as well."""
    ts = api.post("the words")
    answer = api.ok("chat.update", channel=INCIDENTS, ts=ts, blocks=[section("after")])
    assert answer["text"] == answer["message"]["text"] == "the words"
    assert answer["message"]["blocks"][0]["text"]["text"] == "after"


def test_update_refuses_what_is_not_ours_or_not_there(api):
    """§2: other people's messages, unknown ones, a name instead of an id, no text; nothing is changed."""
    theirs = api.state.say("U0ANA", INCIDENTS, "all is well")
    ours = api.post("ours")
    errors = [
        ({"channel": INCIDENTS, "ts": theirs, "text": "x"}, "cant_update_message"),
        ({"channel": INCIDENTS, "ts": "1795471705.999999", "text": "x"}, "message_not_found"),
        ({"channel": ENGINEERING, "ts": ours, "text": "x"}, "message_not_found"),
        ({"channel": "incidents", "ts": ours, "text": "x"}, "channel_not_found"),
        ({"channel": INCIDENTS, "ts": ours}, "no_text"),
        ({"channel": INCIDENTS, "ts": ours, "text": "x", "blocks": [{"type": "banner"}]}, "invalid_blocks"),
    ]
    for args, error in errors:
        assert api.error("chat.update", **args) == error
    assert [message.text for message in api.state.messages()] == ["all is well", "ours"]


def test_edit_window_can_close(build):
    """§2: edit_window_closed."""
    api = build(edit_window_s=60)
    ts = api.post("before")
    api.wait(59)
    assert api.form("chat.update", channel=INCIDENTS, ts=ts, text="in time")["ok"] is True
    api.wait(2)
    assert api.error("chat.update", channel=INCIDENTS, ts=ts, text="late") == "edit_window_closed"
    assert api.state.messages()[0].text == "in time"


# --- scheduling --------------------------------------------------------------------------------------------------


def schedule(api: Slack, in_s: float = 900, **args: Any) -> dict[str, Any]:
    """Schedule a reminder."""
    asked = {"channel": INCIDENTS, "text": "still there?", "post_at": api.world.now // 1000 + in_s, **args}
    return api.json("chat.scheduleMessage", **asked)


def test_reminder_is_listed_then_delivered_when_due(api):
    """§2: the documented keys, the list, and the message at its time; then it is no longer listed."""
    parent = api.post()
    answer = schedule(api, thread_ts=parent)
    number = answer["scheduled_message_id"]
    assert answer["ok"] is True
    assert (answer["channel"], answer["post_at"]) == (INCIDENTS, NOW_S + 900)
    assert (answer["message"]["type"], answer["message"]["subtype"]) == ("delayed_message", "bot_message")
    listed = api.ok("chat.scheduledMessages.list")
    assert listed["scheduled_messages"] == [
        {
            "id": number,
            "channel_id": INCIDENTS,
            "post_at": NOW_S + 900,
            "date_created": NOW_S,
            "text": "still there?",
        }
    ]
    assert listed["response_metadata"] == {"next_cursor": ""}
    api.wait(899)
    assert len(api.state.messages()) == 1
    api.wait(30)
    delivered = api.ok("conversations.replies", channel=INCIDENTS, ts=parent)["messages"][1]
    assert (delivered["text"], delivered["ts"]) == ("still there?", f"{NOW_S + 900}.000000")
    assert delivered["user"] == BOT
    assert api.ok("chat.scheduledMessages.list")["scheduled_messages"] == []


def test_cancelled_reminder_stays_silent(api):
    """§2: deleting once works, a second time or after delivery is invalid_scheduled_message_id."""
    number = schedule(api)["scheduled_message_id"]
    args = {"channel": INCIDENTS, "scheduled_message_id": number}
    assert (
        api.error("chat.deleteScheduledMessage", **{**args, "channel": ENGINEERING})
        == "invalid_scheduled_message_id"
    )
    assert api.ok("chat.deleteScheduledMessage", **args) == {}
    assert api.error("chat.deleteScheduledMessage", **args) == "invalid_scheduled_message_id"
    late = schedule(api)["scheduled_message_id"]
    api.wait(901)
    assert (
        api.error("chat.deleteScheduledMessage", channel=INCIDENTS, scheduled_message_id=late)
        == "invalid_scheduled_message_id"
    )
    assert len(api.state.messages()) == 1


def test_reminder_with_metadata_is_never_delivered(api):
    """§2, what surprises 7: the known bug; it vanishes without a message."""
    assert schedule(api, metadata=METADATA)["ok"] is True
    api.wait(901)
    assert api.state.messages() == []
    assert api.ok("chat.scheduledMessages.list")["scheduled_messages"] == []


@pytest.mark.parametrize(
    ("in_s", "args", "error"),
    [
        (0, {}, "time_in_past"),
        (-5, {}, "time_in_past"),
        (120 * 86_400 + 1, {}, "time_too_far"),
        (0, {"post_at": NOW_MS}, "time_too_far"),
        (0, {"post_at": "soon"}, "invalid_time"),
        (0, {"post_at": None}, "invalid_arguments"),
        (900, {"channel": "C0GENERAL"}, "not_in_channel"),
        (900, {"text": ""}, "no_text"),
    ],
    ids=str,
)
def test_refused_reminder_is_not_kept(api, in_s, args, error):
    """§2, what surprises 8: past, too far (milliseconds are), no number; nothing is scheduled."""
    assert schedule(api, in_s, **args)["error"] == error
    assert api.state.scheduled() == []


def test_furthest_reminder_is_accepted(api):
    """§2: up to 120 days ahead."""
    assert schedule(api, 120 * 86_400)["ok"] is True


def test_thirty_reminders_fit_into_five_minutes_of_a_channel(api):
    """§2: the 31st is restricted_too_many; another channel or window is not touched."""
    start = (NOW_S // 300 + 2) * 300
    for number in range(30):
        assert schedule(api, post_at=start + number)["ok"] is True
    assert schedule(api, post_at=start + 299)["error"] == "restricted_too_many"
    assert schedule(api, post_at=start + 300)["ok"] is True
    assert schedule(api, post_at=start, channel=ENGINEERING)["ok"] is True


def test_scheduled_messages_are_paged(api):
    """§1: with a cursor; by channel if asked."""
    numbers = [schedule(api, 900 + index)["scheduled_message_id"] for index in range(3)]
    schedule(api, channel=ENGINEERING)
    first = api.ok("chat.scheduledMessages.list", channel=INCIDENTS, limit="2")
    second = api.ok(
        "chat.scheduledMessages.list",
        channel=INCIDENTS,
        limit="2",
        cursor=first["response_metadata"]["next_cursor"],
    )
    listed = [later["id"] for later in first["scheduled_messages"] + second["scheduled_messages"]]
    assert listed == numbers
    assert second["response_metadata"]["next_cursor"] == ""


# --- reactions --------------------------------------------------------------------------------------------------


def test_own_reaction_counts_and_is_there_once(api):
    """§2, what surprises 4: the bot's seed is a reaction like any other; a second one is already_reacted."""
    ts = api.post()
    assert api.reactions(ts) == {}
    api.ok("reactions.add", channel=INCIDENTS, timestamp=ts, name="white_check_mark")
    assert (
        api.error("reactions.add", channel=INCIDENTS, timestamp=ts, name="white_check_mark")
        == "already_reacted"
    )
    assert api.reactions(ts, full="true") == {
        "white_check_mark": {"name": "white_check_mark", "users": [BOT], "count": 1}
    }


def test_message_without_reactions_has_no_key_for_them(api):
    """§2: type, channel and message; `reactions` is absent."""
    ts = api.post()
    answer = api.ok("reactions.get", channel=INCIDENTS, timestamp=ts)
    assert (answer["type"], answer["channel"]) == ("message", INCIDENTS)
    assert "reactions" not in answer["message"]


def test_users_of_a_reaction_are_complete_only_with_full(api):
    """§2, what surprises 3: without `full` the list is cut, the count is not."""
    ts = api.post()
    api.ok("reactions.add", channel=INCIDENTS, timestamp=ts, name="white_check_mark")
    api.state.react("U0LEE", INCIDENTS, ts, "white_check_mark")
    assert api.reactions(ts)["white_check_mark"] == {"name": "white_check_mark", "users": [BOT], "count": 2}
    for full in ("true", "1"):
        assert api.reactions(ts, full=full)["white_check_mark"]["users"] == [BOT, "U0LEE"]
    (listed,) = api.ok("conversations.history", channel=INCIDENTS)["messages"]
    assert listed["reactions"][0]["users"] == [BOT]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"name": ":white_check_mark:"}, "invalid_name"),
        ({"name": ""}, "invalid_name"),
        ({"timestamp": "1795471705.999999"}, "message_not_found"),
        ({"timestamp": "1795471705.1"}, "bad_timestamp"),
        ({"timestamp": "now"}, "bad_timestamp"),
        ({"timestamp": ""}, "no_item_specified"),
        ({"channel": ""}, "no_item_specified"),
        ({"channel": "C0NOWHERE"}, "channel_not_found"),
    ],
    ids=str,
)
def test_refused_reaction_is_not_given(api, args, error):
    """§2: colons, unknown messages, other forms of ts; the message has no reaction afterwards."""
    ts = api.post()
    asked = {"channel": INCIDENTS, "timestamp": ts, "name": "x", **args}
    assert api.error("reactions.add", **asked) == error
    assert api.reactions(ts) == {}


def test_number_of_different_reactions_is_limited(api):
    """§2: too_many_reactions; joining one that is there still works."""
    ts = api.post()
    for number in range(23):
        api.state.react("U0ANA", INCIDENTS, ts, f"emoji-{number}")
    assert (
        api.error("reactions.add", channel=INCIDENTS, timestamp=ts, name="white_check_mark")
        == "too_many_reactions"
    )
    assert api.form("reactions.add", channel=INCIDENTS, timestamp=ts, name="emoji-3")["ok"] is True


def test_people_react_and_take_it_back(api):
    """§3: reactions can be removed later; twice is once; the skin tone stays in the name."""
    ts = api.post()
    for _ in range(2):
        api.state.react("U0CAT", INCIDENTS, ts, "+1::skin-tone-3")
    assert api.reactions(ts)["+1::skin-tone-3"]["count"] == 1
    api.state.unreact("U0CAT", INCIDENTS, ts, "+1::skin-tone-3")
    assert api.reactions(ts) == {}


# --- people of the world ------------------------------------------------------------------------------------------


def test_persona_reacts_after_its_delay(build):
    """§3: not before, and with nobody having to run in the background."""
    api = build(Persona(user="U0LEE", after_s=2))
    ts = api.post()
    api.wait(1.999)
    assert api.reactions(ts) == {}
    api.wait(0.001)
    assert api.reactions(ts)["white_check_mark"]["users"] == ["U0LEE"]


def test_persona_answers_only_what_it_is_asked(build):
    """A persona reads the bot's messages alone, texts and blocks, for its own words."""
    api = build(Persona(user="U0CAT", reaction="x", after_s=0, match="P1.G1"))
    other = api.post("just an update")
    human = api.state.say("U0ANA", INCIDENTS, "P1.G1?")
    plain = api.post("please approve P1.G1")
    in_blocks = api.post("please approve", blocks=[section("gate P1.G1")])
    assert [bool(api.reactions(ts)) for ts in (other, human, plain, in_blocks)] == [False, False, True, True]


def test_persona_reads_an_edited_message_anew(build):
    """The delay runs from the edit that brought the words; who has reacted does not react again."""
    api = build(Persona(user="U0LEE", after_s=2, match="approve"))
    ts = api.post("preparing")
    api.wait(10)
    api.ok("chat.update", channel=INCIDENTS, ts=ts, text="please approve")
    api.wait(1)
    assert api.reactions(ts) == {}
    api.wait(1)
    assert api.reactions(ts)["white_check_mark"]["count"] == 1
    api.state.unreact("U0LEE", INCIDENTS, ts, "white_check_mark")
    api.ok("chat.update", channel=INCIDENTS, ts=ts, text="please approve again")
    api.wait(10)
    assert api.reactions(ts) == {}


def test_persona_can_withdraw(build):
    """§3: a reaction seen may be gone later."""
    api = build(Persona(user="U0LEE", after_s=1, remove_after_s=3))
    ts = api.post()
    api.wait(3.9)
    assert api.reactions(ts)["white_check_mark"]["count"] == 1
    api.wait(0.1)
    assert api.reactions(ts) == {}


def test_personas_react_in_the_order_of_their_time(build):
    """Whoever was due first stands first, also if nobody looked in between; a reminder is answered too."""
    api = build(Persona(user="U0CAT", after_s=3), Persona(user="U0LEE", after_s=1))
    ts = api.post()
    schedule(api, 60)
    api.wait(70)
    assert api.reactions(ts, full="1")["white_check_mark"]["users"] == ["U0LEE", "U0CAT"]
    assert len(api.state.messages()[1].reactions["white_check_mark"]) == 2


def test_unknown_persona_makes_no_world():
    """A scenario that names nobody of the workspace is refused, with the names that there are."""
    with pytest.raises(BadParameters) as caught:
        FakeWorld((Persona(user="U0NOBODY"),))
    assert "U0LEE" in caught.value.next_step


# --- lookups ---------------------------------------------------------------------------------------------------------


def channel_pages(api: Slack, **args: Any) -> list[list[str]]:
    """Page through all channels; give the names on each page."""
    pages, cursor = [], ""
    while True:
        answer = api.ok("conversations.list", limit="200", cursor=cursor, **args)
        pages.append([channel["name"] for channel in answer["channels"]])
        cursor = answer["response_metadata"]["next_cursor"]
        if not cursor:
            return pages


def test_channels_come_on_short_and_empty_pages(api):
    """§1, §2: a page may be short or empty before the end; the channels that matter come late."""
    pages = channel_pages(api, types="public_channel", exclude_archived="1")
    assert [] in pages[:-1]
    assert all(len(page) < 200 for page in pages)
    assert "incidents" not in pages[0]
    names = [name for page in pages for name in page]
    assert {"incidents", "engineering", "incidents-test", "general"} <= set(names)
    assert len(names) == len(set(names))
    assert not {"incidents-2024", "leadership", "war-room"} & set(names)


def test_private_channels_are_listed_only_with_their_scope(api):
    """§2: groups:read; those that the bot is not in are never listed."""
    answer = api.form("conversations.list", types="public_channel,private_channel")
    assert (answer["error"], answer["needed"]) == ("missing_scope", "groups:read")
    api.world.tokens["Bearer xoxb-good"] = PRIVATE
    names = [name for page in channel_pages(api, types="private_channel") for name in page]
    assert names == ["war-room"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"limit": "1001"}, "invalid_limit"),
        ({"limit": "many"}, "invalid_limit"),
        ({"cursor": "nonsense"}, "invalid_cursor"),
        ({"cursor": "bmV4dDo5OTk="}, "invalid_cursor"),
        ({"types": "everything"}, "invalid_types"),
    ],
    ids=str,
)
def test_bad_paging_is_refused(api, args, error):
    """§1, §2: limits and cursors that were never given out."""
    assert api.error("conversations.list", **args) == error


def test_channel_info_shows_the_documented_keys(api):
    """§2: by id only."""
    channel = api.ok("conversations.info", channel=INCIDENTS)["channel"]
    shown = {"id", "name", "name_normalized", "is_private", "is_archived", "is_member"}
    assert shown <= set(channel)
    assert (channel["name"], channel["is_member"]) == ("incidents", True)
    assert api.error("conversations.info", channel="incidents") == "channel_not_found"
    assert api.ok("conversations.info", channel="C0INCOLD")["channel"]["is_archived"] is True


def test_user_info_shows_the_documented_keys(api):
    """§2: the address only with its own scope."""
    user = api.ok("users.info", user="U0LEE")["user"]
    assert set(user) == {"id", "team_id", "name", "real_name", "deleted", "is_bot", "tz", "profile"}
    assert user["profile"] == {
        "display_name": "Lee Lead",
        "real_name": "Lee Lead",
        "email": "lee@derrimut247.drill",
    }
    api.world.tokens["Bearer xoxb-good"] = SCOPES - {"users:read.email"}
    assert "email" not in api.ok("users.info", user="U0LEE")["user"]["profile"]
    assert api.error("users.info", user="U0NOBODY") == "user_not_found"


def test_workspace_holds_people_who_mislead(api):
    """§3: a namesake with another id, a deactivated account, a second bot."""
    lead, namesake = (api.ok("users.info", user=user)["user"] for user in ("U0LEE", "U0LEX"))
    assert lead["profile"]["display_name"] == namesake["profile"]["display_name"]
    assert lead["id"] != namesake["id"]
    assert lead["profile"]["email"] != namesake["profile"]["email"]
    assert api.ok("users.info", user="U0OLD")["user"]["deleted"] is True
    bots = [api.ok("users.info", user=user)["user"] for user in (BOT, "U0STATUS")]
    assert [bot["is_bot"] for bot in bots] == [True, True]
    assert "email" not in bots[0]["profile"]


def test_user_is_found_by_address(api):
    """§2: whatever the case; unknown and deactivated ones are users_not_found."""
    assert api.ok("users.lookupByEmail", email="LEE@derrimut247.drill")["user"]["id"] == "U0LEE"
    assert api.error("users.lookupByEmail", email="nobody@derrimut247.drill") == "users_not_found"
    assert api.error("users.lookupByEmail", email="olga@derrimut247.drill") == "users_not_found"


def test_groups_and_their_people(api):
    """§2: groups by id and handle; their people by id."""
    groups = {group["handle"]: group for group in api.ok("usergroups.list")["usergroups"]}
    lead = groups["engineering-lead"]
    assert lead["id"].startswith("S")
    assert "users" not in lead
    assert api.ok("usergroups.users.list", usergroup=lead["id"])["users"] == ["U0LEE", "U0DEE"]
    assert api.ok("usergroups.list", include_users="1")["usergroups"][0]["users"] == ["U0LEE", "U0DEE"]
    assert api.error("usergroups.users.list", usergroup="engineering-lead") == "no_such_subteam"


def test_people_say_things(api):
    """A person's message carries no bot; a reply of theirs belongs to the thread."""
    ts = api.state.say("U0ANA", INCIDENTS, "looking into it")
    api.state.say("U0STATUS", INCIDENTS, "status: red", thread_ts=ts)
    first, second = api.ok("conversations.replies", channel=INCIDENTS, ts=ts)["messages"]
    assert first["user"] == "U0ANA"
    assert "bot_id" not in first
    assert (second["bot_id"], second["thread_ts"]) == ("B0STATUS", ts)
    with pytest.raises(KeyError):
        api.state.say("U0ANA", INCIDENTS, "lost", thread_ts="1.000000")
    assert len(api.state.messages()) == 2


# --- webhook -----------------------------------------------------------------------------------------------------------

HOOK = company.WEBHOOK_PATH.format(secret="hook")


def test_webhook_says_ok_in_plain_text(api):
    """§6: the body is the word ok, without a ts; the channel is fixed."""
    response = api.client.post(HOOK, json={"text": "Rollback in progress"})
    assert (response.status_code, response.text) == (200, "ok")
    assert response.headers["content-type"].startswith("text/plain")
    (message,) = api.state.messages(INCIDENTS)
    assert message.text == "Rollback in progress"
    (shown,) = api.ok("conversations.history", channel=INCIDENTS)["messages"]
    assert shown["subtype"] == "bot_message"
    assert "user" not in shown
    assert api.error("chat.update", channel=INCIDENTS, ts=shown["ts"], text="x") == "cant_update_message"


def test_webhook_takes_a_form_as_well(api):
    """A form's payload is the same JSON."""
    response = api.client.post(HOOK, data={"payload": json.dumps({"text": "x"})})
    assert (response.status_code, response.text) == (200, "ok")


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (HOOK, b"{", 400, "invalid_payload"),
        (HOOK, b"[]", 400, "invalid_payload"),
        (HOOK, b"{}", 400, "no_text"),
        (HOOK, b'{"text": ""}', 400, "no_text"),
        (HOOK, b'{"text": "x", "blocks": [{"type": "banner"}]}', 400, "invalid_blocks"),
        ("/services/T0DRILL/B0RUNBOOK/stolen", b'{"text": "x"}', 404, "no_service"),
        ("/services/T0DRILL/B0RUNBOOK/xoxb-good", b'{"text": "x"}', 404, "no_service"),
        ("/services/T0OTHER/B0RUNBOOK/hook", b'{"text": "x"}', 404, "no_service"),
    ],
)
def test_failed_webhook_tells_by_status_and_word(api, path, body, status, text):
    """§6: status and plain text; nothing is said."""
    response = api.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.text) == (status, text)
    assert api.state.messages() == []


@pytest.mark.parametrize(
    ("switch", "status", "text"),
    [
        ({"archived": (INCIDENTS,)}, 410, "channel_is_archived"),
        ({"webhook": "action_prohibited"}, 403, "action_prohibited"),
        ({"webhook": "no_service"}, 404, "no_service"),
        ({"webhook": "rollup_error"}, 500, "rollup_error"),
    ],
    ids=str,
)
def test_webhook_can_be_broken(build, switch, status, text):
    """§6: the failures that lie on Slack's side."""
    api = build(**switch)
    response = api.client.post(HOOK, json={"text": "x"})
    assert (response.status_code, response.text) == (status, text)
    assert api.state.messages() == []


def test_webhook_secret_is_no_token_of_the_api(api):
    """A webhook's secret opens nothing else."""
    api.client.headers["Authorization"] = "Bearer hook"
    assert api.error("chat.postMessage", channel=INCIDENTS, text="x") == "missing_scope"


# --- limits ---------------------------------------------------------------------------------------------------------------


def test_rate_limited_answer_names_whole_seconds():
    """§1: HTTP 429, Retry-After in seconds, ratelimited."""
    response = slack.rate_limited_response(7)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert json.loads(bytes(response.body)) == {"ok": False, "error": "ratelimited"}


def test_tiers_are_not_enforced_unless_switched_on(api):
    """§2: bursts are tolerated."""
    assert all(api.form("conversations.list")["ok"] for _ in range(25))


def test_enforced_tier_answers_429_until_the_minute_is_over(build):
    """§2: tier 2 is twenty a minute for a method; waiting as told helps; other methods are not touched."""
    api = build(enforce_tiers=True)
    for _ in range(20):
        assert api.form("conversations.list")["ok"] is True
    refused = api.client.post("/api/conversations.list")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert api.form("users.info", user="U0LEE")["ok"] is True
    api.wait(int(refused.headers["retry-after"]))
    assert api.form("conversations.list")["ok"] is True


def test_enforced_posting_counts_by_channel(build):
    """§2: about a message a second in each channel; the refused one is not said."""
    api = build(enforce_tiers=True)
    for _ in range(60):
        api.post()
    refused = api.client.post("/api/chat.postMessage", data={"channel": INCIDENTS, "text": "x"})
    assert refused.status_code == 429
    assert len(api.state.messages(INCIDENTS)) == 60
    api.post(channel=ENGINEERING)


# --- for the ledger -----------------------------------------------------------------------------------------------------


def test_changing_methods_are_listed():
    """The ledger's question: what changes something."""
    assert {
        "chat.postMessage",
        "chat.update",
        "chat.scheduleMessage",
        "chat.deleteScheduledMessage",
        "reactions.add",
    } == slack.CHANGES


@pytest.mark.parametrize(
    ("verb", "path", "changing"),
    [
        ("POST", "/api/reactions.get", False),
        ("GET", "/api/chat.postMessage", True),
        ("POST", "/api/chat.shout", True),
        ("POST", HOOK, True),
        ("GET", HOOK, False),
    ],
)
def test_whatever_is_not_known_to_read_changes(verb, path, changing):
    """Reads are POSTs too, and a GET can post: the method's name decides."""
    assert slack.changes(verb, path) is changing
