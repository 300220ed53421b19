"""What is said in Slack, as values: messages, reactions, people; and what an answer means.

- The status alone proves nothing: a method succeeded only with `ok: true`, a webhook only with the text `ok`.
- Errors after which "some aspect may have succeeded" are unclear, never refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollback_lib.http import Reply, is_limited
from rollback_lib.model import Answer, UserId
from rollback_lib.providers.shapes import Shape, a_list, a_mapping, a_text, a_whole, epoch_time

__all__ = [
    "Posted",
    "Reaction",
    "Reactions",
    "Scheduled",
    "SlackChannel",
    "SlackIdentity",
    "SlackUser",
    "channel_of",
    "escape",
    "judge_slack",
    "judge_webhook",
    "reactions_of",
    "scheduled_of",
    "scopes_of",
    "slack_limited",
    "user_of",
    "webhook_ok",
]

_UNCLEAR = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})
_LIMITED = frozenset({"ratelimited", "rate_limited"})


@dataclass(frozen=True)
class SlackIdentity:
    """Who the token is: its own reactions and messages are told from others by this."""

    user_id: UserId
    bot_id: str
    team_id: str
    user: str
    url: str
    scopes: frozenset[str] | None = None  # what the token may do; None: Slack did not say

    def wrote(self, message: Shape) -> bool:
        """Say whether the bot wrote a message: anybody may put metadata on one."""
        return message.get("user") == self.user_id or bool(
            self.bot_id and message.get("bot_id") == self.bot_id
        )


@dataclass(frozen=True)
class SlackChannel:
    """A channel, as far as the bot is concerned."""

    id: str
    name: str
    is_member: bool  # the bot
    is_archived: bool
    is_private: bool


@dataclass(frozen=True)
class Posted:
    """A message, known by its channel's id and its `ts`."""

    channel: str
    ts: str


@dataclass(frozen=True)
class Scheduled:
    """A message that Slack will post by itself."""

    id: str
    channel: str
    post_at: datetime
    text: str = ""


@dataclass(frozen=True)
class Reaction:
    """One kind of reaction on a message, skin tones taken together."""

    name: str  # white_check_mark, x, ...
    users: tuple[UserId, ...]  # may be fewer than count
    count: int


@dataclass(frozen=True)
class Reactions:
    """All reactions on a message."""

    seen: tuple[Reaction, ...]

    def users(self, name: str) -> tuple[UserId, ...]:
        """Return who reacted so, as far as Slack lists them."""
        return next((reaction.users for reaction in self.seen if reaction.name == name), ())

    def count(self, name: str) -> int:
        """Return how many reacted so."""
        return next((reaction.count for reaction in self.seen if reaction.name == name), 0)

    def incomplete(self, name: str) -> bool:
        """Say whether Slack counts more people than it lists."""
        return self.count(name) > len(self.users(name))


@dataclass(frozen=True)
class SlackUser:
    """An account."""

    id: UserId
    name: str
    is_bot: bool
    deleted: bool
    email: str | None  # only with the scope for it


def escape(text: str) -> str:
    """Make a text safe to stand in a message: what it says is shown, not obeyed."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def judge_slack(reply: Reply) -> Answer:
    """Say what a 2xx answer to a changing method means."""
    body = a_mapping(reply.json)
    if body.get("ok") is True:
        return Answer("accepted", reply.status, "")
    error = a_text(body.get("error"))
    refused = body.get("ok") is False and error is not None and error not in _UNCLEAR
    return Answer("refused" if refused else "unclear", reply.status, reply.words)


def judge_webhook(reply: Reply) -> Answer:
    """Say what a 2xx answer of a webhook means: it says `ok` in plain text."""
    return Answer("accepted" if webhook_ok(reply) else "unclear", reply.status, reply.words)


def slack_limited(reply: Reply) -> bool:
    """Say whether Slack refused as asked too often; it does so with 429, or with 200 and an error."""
    return is_limited(reply) or a_text(a_mapping(reply.json).get("error")) in _LIMITED


def webhook_ok(reply: Reply) -> bool:
    """Say whether a webhook took the message; stand-ins answer like a method."""
    return reply.text.strip().lower() == "ok" or a_mapping(reply.json).get("ok") is True


def scopes_of(reply: Reply) -> frozenset[str] | None:
    """Read what the token may do; every answer carries it in a header (`x-oauth-scopes`, divided by commas)."""
    told = reply.headers.get("x-oauth-scopes")
    return None if told is None else frozenset(part.strip() for part in told.split(",") if part.strip())


def user_of(raw: Shape, user_id: UserId) -> SlackUser:
    """Read an account of `users.info`."""
    profile = a_mapping(raw.get("profile"))
    names = (profile.get("real_name"), raw.get("real_name"), profile.get("display_name"), raw.get("name"))
    return SlackUser(
        id=user_id,
        name=next((name for name in names if isinstance(name, str) and name), user_id),
        is_bot=bool(raw.get("is_bot")),
        deleted=bool(raw.get("deleted")),
        email=a_text(profile.get("email")) or None,
    )


def channel_of(raw: Shape, channel_id: str) -> SlackChannel:
    """Read a channel of `conversations.info`."""
    return SlackChannel(
        id=channel_id,
        name=a_text(raw.get("name")) or "",
        is_member=bool(raw.get("is_member")),
        is_archived=bool(raw.get("is_archived")),
        is_private=bool(raw.get("is_private")),
    )


def reactions_of(raw: Any) -> Reactions:
    """Read a message's reactions. Take skin tones of one reaction together; somebody who used two counts once."""
    users: dict[str, dict[UserId, None]] = {}
    hidden: dict[str, int] = {}
    for entry in (a_mapping(item) for item in a_list(raw)):
        name = (a_text(entry.get("name")) or "").partition("::")[0]
        if not name:
            continue
        listed = [UserId(user) for user in a_list(entry.get("users")) if isinstance(user, str)]
        count = a_whole(entry.get("count"))
        users.setdefault(name, {}).update(dict.fromkeys(listed))
        unlisted = 0 if count is None else max(0, count - len(set(listed)))
        hidden[name] = hidden.get(name, 0) + unlisted
    return Reactions(
        tuple(Reaction(name, tuple(found), len(found) + hidden[name]) for name, found in users.items())
    )


def scheduled_of(raw: Shape, channel: str, otherwise: datetime) -> Scheduled:
    """Read a scheduled message; what it does not say is as it was asked for."""
    return Scheduled(
        id=a_text(raw.get("scheduled_message_id")) or a_text(raw.get("id")) or "",
        channel=a_text(raw.get("channel")) or a_text(raw.get("channel_id")) or channel,
        post_at=epoch_time(raw.get("post_at")) or otherwise,  # comes as a number or as text
        text=a_text(raw.get("text")) or "",
    )
