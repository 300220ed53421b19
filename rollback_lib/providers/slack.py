"""Slack: telling people, asking them, reading what they answered.

- The status alone proves nothing: an answer is good only with `ok: true`, and each failure names Slack's error
  and the scope that is missing.
- Nothing is posted twice by itself: after a lost answer `find_posted` looks for the message by its metadata.
- A message is known by channel id and `ts`; a `ts` is text and is never calculated with.
- A scheduled message carries no metadata: Slack would never deliver it.
- Lists of people who reacted may be cut short; that can be seen, and is never silently taken for all.
- The webhook knows no threads and gives no `ts`: it is the way out when the bot cannot post.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from rollback_lib.errors import BadParameters, NotApplied, OutcomeUnknown, ReadRefused, Unreachable
from rollback_lib.http import Api, Heard, Reply, Rule
from rollback_lib.model import Pass, RequestClass, UserId
from rollback_lib.providers.conversation import (
    Posted,
    Reaction,
    Reactions,
    Scheduled,
    SlackChannel,
    SlackIdentity,
    SlackUser,
    channel_of,
    escape,
    judge_slack,
    judge_webhook,
    reactions_of,
    scheduled_of,
    scopes_of,
    slack_limited,
    user_of,
    webhook_ok,
)
from rollback_lib.providers.pages import pages
from rollback_lib.providers.shapes import Shape, a_list, a_mapping, a_text, mapping_of, needed

__all__ = [
    "SLACK_RULES",
    "WEBHOOK_RULES",
    "Posted",
    "Reaction",
    "Reactions",
    "Scheduled",
    "SlackChannel",
    "SlackClient",
    "SlackIdentity",
    "SlackUser",
    "escape",
    "judge_slack",
    "judge_webhook",
    "slack_limited",
]

_READS = (
    "auth.test",
    "chat.getPermalink",
    "chat.scheduledMessages.list",
    "conversations.history",
    "conversations.info",
    "conversations.list",
    "conversations.replies",
    "reactions.get",
    "users.info",
)
_MESSAGES = (
    "chat.postMessage",
    "chat.update",
    "chat.scheduleMessage",
    "chat.deleteScheduledMessage",
    "reactions.add",
)
SLACK_RULES = (
    *(Rule("POST", "/" + re.escape(name), RequestClass.READ) for name in _READS),
    *(Rule("POST", "/" + re.escape(name), RequestClass.PREPARE) for name in _MESSAGES),
)
WEBHOOK_RULES = (Rule("POST", "", RequestClass.PREPARE),)

PAGE_SIZE = 200
_TOKEN_ERRORS = frozenset(
    {"not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired"}
)
_PLACE_ERRORS = frozenset({"channel_not_found", "not_in_channel", "is_archived", "restricted_action"})
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{2,}")
_LOOK_IN_CHANNEL = (
    "Look in the channel whether the message is there; the same cell looks for it before it posts again."
)


class SlackClient:
    """Posts and reads as the bot.

    Args:
        api: The door to Slack, with `SLACK_RULES`, `judge_slack` and `slack_limited`.
        webhook: The door to an incoming webhook, with `WEBHOOK_RULES` and `judge_webhook`; None: there is none.
    """

    def __init__(self, api: Api, webhook: Api | None = None) -> None:
        self._api, self._webhook = api, webhook
        self._channels: dict[str, str] = {}
        self._identity: SlackIdentity | None = None

    @property
    def heard(self) -> Heard | None:
        """Return Slack's time beside ours, as its latest answer told it."""
        return self._api.heard

    # Reads

    def auth(self) -> SlackIdentity:
        """Ask whose token it is.

        Raises:
            Unreachable: No usable answer, or the token is not accepted.
        """
        reply = self._read("auth.test")
        raw = mapping_of(reply)
        self._identity = SlackIdentity(
            user_id=UserId(needed(reply, raw, "user_id")),
            bot_id=a_text(raw.get("bot_id")) or "",
            team_id=a_text(raw.get("team_id")) or "",
            user=a_text(raw.get("user")) or "",
            url=a_text(raw.get("url")) or "",
            scopes=scopes_of(reply),
        )
        return self._identity

    def reactions(self, channel: str, ts: str) -> Reactions:
        """Read the reactions on a message; Slack does not say when they were given.

        Raises:
            Unreachable: No usable answer, or no such message.
        """
        form = {"channel": self.channel_id(channel), "timestamp": ts, "full": "true"}
        message = a_mapping(mapping_of(self._read("reactions.get", form)).get("message"))
        return reactions_of(message.get("reactions"))

    def user(self, user_id: str) -> SlackUser:
        """Read an account.

        Raises:
            Unreachable: No usable answer, or no such account.
        """
        reply = self._read("users.info", {"user": user_id})
        raw = a_mapping(mapping_of(reply).get("user"))
        return user_of(raw, UserId(needed(reply, raw, "id")))

    def channel(self, channel: str) -> SlackChannel:
        """Read a channel as the bot sees it.

        Raises:
            ReadRefused: No such channel, or none that the bot can see.
            Unreachable: No usable answer.
        """
        reply = self._read("conversations.info", {"channel": self.channel_id(channel)})
        raw = a_mapping(mapping_of(reply).get("channel"))
        return channel_of(raw, needed(reply, raw, "id"))

    def permalink(self, channel: str, ts: str) -> str:
        """Return the address of a message.

        Raises:
            Unreachable: No usable answer, or no such message.
        """
        reply = self._read("chat.getPermalink", {"channel": self.channel_id(channel), "message_ts": ts})
        return needed(reply, mapping_of(reply), "permalink")

    def channel_id(self, channel: str) -> str:
        """Find the id of a channel given by id or by name, with or without #; asked once a name.

        Raises:
            BadParameters: The bot sees no channel of that name; nothing was sent.
            Unreachable: No usable answer.
        """
        if _CHANNEL_ID.fullmatch(channel):
            return channel
        name = channel.removeprefix("#")
        if name not in self._channels:
            found = next(
                (
                    raw
                    for raw in self._all_channels()
                    if name in (raw.get("name"), raw.get("name_normalized"))
                ),
                None,
            )
            identity = a_text(found.get("id")) if found is not None else None
            if identity is None:
                raise BadParameters(
                    f"Slack shows the bot no channel called #{name}.",
                    "Nothing was sent.",
                    "Correct the channel in the parameters (slack.*_channel), or invite the bot if the channel is private.",
                )
            self._channels[name] = identity
        return self._channels[name]

    def find_posted(
        self,
        channel: str,
        oldest: datetime,
        event_type: str,
        payload: Mapping[str, Any],
        thread_ts: str | None = None,
    ) -> Posted | None:
        """Look for a message of this bot by its metadata: was it posted although no answer came?

        Args:
            channel: Id or name.
            oldest: Aware; not before the message was sent.
            event_type: Of the metadata.
            payload: Must all be in the metadata's payload, among others.
            thread_ts: Look in this thread; None: in the channel.

        Raises:
            Unreachable: It cannot be told: no usable answer.
        """
        where = self.channel_id(channel)
        me = self._identity if self._identity is not None else self.auth()
        for message in self._messages(where, oldest, thread_ts):
            metadata = a_mapping(message.get("metadata"))
            inner = a_mapping(metadata.get("event_payload"))
            fits = metadata.get("event_type") == event_type and payload.items() <= inner.items()
            ts = a_text(message.get("ts"))
            if fits and ts and me.wrote(message):
                return Posted(where, ts)
        return None

    def scheduled(self, channel: str) -> tuple[Scheduled, ...]:
        """List what Slack will still post in a channel.

        Raises:
            Unreachable: No usable answer.
        """
        form = {"channel": self.channel_id(channel), "limit": "100"}
        found = self._all("chat.scheduledMessages.list", form, "scheduled_messages")
        return tuple(scheduled_of(raw, form["channel"], datetime.fromtimestamp(0, UTC)) for raw in found)

    # Changes

    @property
    def has_webhook(self) -> bool:
        """Say whether there is a webhook to fall back to."""
        return self._webhook is not None

    def post(
        self,
        channel: str,
        text: str,
        permit: Pass,
        *,
        blocks: Sequence[Mapping[str, Any]] | None = None,
        thread_ts: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Posted:
        """Post a message.

        Args:
            channel: Id or name.
            text: What notifications show, and the message itself without blocks; escaped by the caller.
            permit: For harmless changes.
            blocks: In Slack's block kit.
            thread_ts: The message that begins the thread, never a reply in it.
            metadata: `event_type` and `event_payload`; by it `find_posted` finds the message.

        Raises:
            BadParameters: No such channel; nothing was sent.
            Unreachable: No connection; nothing was posted.
            NotApplied: Refused; nothing was posted.
            OutcomeUnknown: No clear answer; it may be posted. Ask `find_posted`.
        """
        body: dict[str, Any] = {"channel": self._place(channel), "text": text, "unfurl_links": False}
        more = {"blocks": blocks, "thread_ts": thread_ts, "metadata": metadata}
        body |= {name: value for name, value in more.items() if value}
        reply = self._change("chat.postMessage", permit, json=body)
        return self._posted(reply, body["channel"])

    def update(
        self,
        channel: str,
        ts: str,
        text: str,
        permit: Pass,
        *,
        blocks: Sequence[Mapping[str, Any]] = (),
    ) -> Posted:
        """Replace the bot's own message, its blocks included; an edit keeps its place and `ts`.

        Raises:
            Unreachable: No connection; unchanged.
            NotApplied: Refused; unchanged.
            OutcomeUnknown: No clear answer; it may be changed. Doing it again does no harm.
        """
        body = {"channel": self.channel_id(channel), "ts": ts, "text": text, "blocks": list(blocks)}
        self._change("chat.update", permit, json=body)
        return Posted(str(body["channel"]), ts)

    def schedule(
        self, channel: str, text: str, post_at: datetime, permit: Pass, *, thread_ts: str | None = None
    ) -> Scheduled:
        """Have Slack post a message later by itself, unless it is deleted before.

        Args:
            channel: Id or name.
            text: Escaped by the caller.
            post_at: Aware, in the future, at most 120 days; rounded up to a whole second.
            permit: For harmless changes.
            thread_ts: The message that begins the thread.

        Raises:
            BadParameters: No such channel; nothing was sent.
            Unreachable: No connection; nothing was scheduled.
            NotApplied: Refused; nothing was scheduled.
            OutcomeUnknown: No clear answer; ask `scheduled`.
        """
        body: dict[str, Any] = {
            "channel": self.channel_id(channel),
            "text": text,
            "post_at": math.ceil(post_at.timestamp()),
        }
        body |= {"thread_ts": thread_ts} if thread_ts else {}
        reply = self._change("chat.scheduleMessage", permit, json=body)
        raw = a_mapping(reply.json)
        if not a_text(raw.get("scheduled_message_id")):
            raise self._unclear(reply, "without the scheduled message's id")
        return scheduled_of(raw, body["channel"], datetime.fromtimestamp(body["post_at"], UTC))

    def delete_scheduled(self, channel: str, scheduled_id: str, permit: Pass) -> bool:
        """Take a scheduled message back; False if it was posted or deleted already.

        Raises:
            Unreachable: No connection; it is still scheduled.
            NotApplied: Refused; it is still scheduled.
            OutcomeUnknown: No clear answer; doing it again does no harm.
        """
        body = {"channel": self.channel_id(channel), "scheduled_message_id": scheduled_id}
        reply = self._change(
            "chat.deleteScheduledMessage", permit, json=body, fine="invalid_scheduled_message_id"
        )
        return a_mapping(reply.json).get("ok") is True

    def react(self, channel: str, ts: str, name: str, permit: Pass) -> None:
        """Put a reaction of the bot on a message; one that is there already is fine.

        Raises:
            Unreachable: No connection; nothing was added.
            NotApplied: Refused; nothing was added.
            OutcomeUnknown: No clear answer; doing it again does no harm.
        """
        form = {"channel": self.channel_id(channel), "timestamp": ts, "name": name}
        self._change("reactions.add", permit, form=form, fine="already_reacted")

    def post_webhook(self, text: str, permit: Pass) -> None:
        """Post plain text through the webhook, into the channel that its address belongs to.

        Raises:
            BadParameters: There is no webhook; nothing was sent.
            Unreachable: No connection; nothing was posted.
            NotApplied: Refused; nothing was posted.
            OutcomeUnknown: No clear answer; it may be posted.
        """
        if self._webhook is None:
            raise BadParameters(
                "There is no Slack webhook to fall back to.",
                "Nothing was sent.",
                "Set SLACK_WEBHOOK_URL, or tell people yourself.",
            )
        reply = self._webhook.change(
            "POST", "", permit=permit, json={"text": text}, if_unanswered=_LOOK_IN_CHANNEL
        )
        if not webhook_ok(reply):
            raise self._unclear(reply, "but not with ok")

    # Below the surface

    def _place(self, channel: str) -> str:
        """Return a channel's id, or its name where the bot may post but not list: posting takes either."""
        try:
            return self.channel_id(channel)
        except Unreachable as exc:
            if "missing_scope" not in exc.happened:
                raise
            return channel.removeprefix("#")

    def _read(self, method: str, form: Mapping[str, str] | None = None) -> Reply:
        reply = self._api.read("POST", f"/{method}", form=form or {})
        body = mapping_of(reply)
        if body.get("ok") is True:
            return reply
        error = a_text(body.get("error")) or ""
        kind = ReadRefused if judge_slack(reply).kind == "refused" else Unreachable
        raise kind(
            f"{reply.source} failed: {reply.words}.",
            "Nothing was changed by this request.",
            self._advice(error, body),
        )

    def _change(
        self,
        method: str,
        permit: Pass,
        *,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        fine: str = "",
    ) -> Reply:
        """Send a changing method; an error called fine is as good as success."""
        reply = self._api.change(
            "POST", f"/{method}", permit=permit, json=json, form=form, if_unanswered=_LOOK_IN_CHANNEL
        )
        judged = judge_slack(reply)
        error = a_text(a_mapping(reply.json).get("error")) or ""
        if judged.kind == "accepted" or (fine and error == fine):
            return reply
        if judged.kind == "refused":
            self._refused(reply, error)
        raise self._unclear(reply, f"with {reply.words}")

    def _refused(self, reply: Reply, error: str) -> NoReturn:
        raise NotApplied(
            f"{reply.source} was refused: {reply.words}.",
            "Slack changed nothing.",
            self._advice(error, a_mapping(reply.json)),
        )

    def _unclear(self, reply: Reply, how: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{reply.source} answered {reply.status} {how}.",
            "Unknown: the message may or may not be there. Production is not touched by this.",
            _LOOK_IN_CHANNEL,
        )

    def _advice(self, error: str, body: Shape) -> str:
        if error == "missing_scope":
            return f"Give the bot the scope {a_text(body.get('needed')) or 'it lacks'} and install it again, or tell people yourself."
        if error in _TOKEN_ERRORS:
            return self._api.service.advice(401)
        if error in _PLACE_ERRORS:
            return "Check the channel in the parameters (slack.*_channel) and invite the bot to it, or tell people yourself."
        return "Correct what Slack complains of and run the cell again, or tell people yourself."

    def _posted(self, reply: Reply, channel: str) -> Posted:
        raw = a_mapping(reply.json)
        ts = a_text(raw.get("ts")) or a_text(a_mapping(raw.get("message")).get("ts"))
        if not ts:
            raise self._unclear(reply, "without the message's ts")
        return Posted(a_text(raw.get("channel")) or channel, ts)

    def _all(self, method: str, form: Mapping[str, str], name: str) -> Iterator[Shape]:
        """Yield the objects of all pages; a page may be short or empty before the end."""

        def fetch(cursor: str) -> Reply:
            return self._read(method, {**form, "cursor": cursor} if cursor else form)

        for reply in pages(fetch, _next):
            yield from (raw for raw in a_list(mapping_of(reply).get(name)) if isinstance(raw, dict))

    def _all_channels(self) -> Iterator[Shape]:
        """Yield the channels that the bot sees; only public ones if it may not list private ones."""
        form = {
            "types": "public_channel,private_channel",
            "exclude_archived": "true",
            "limit": str(PAGE_SIZE),
        }
        try:
            yield from self._all("conversations.list", form, "channels")
        except Unreachable as exc:
            if "missing_scope" not in exc.happened:
                raise
            yield from self._all("conversations.list", form | {"types": "public_channel"}, "channels")

    def _messages(self, channel: str, oldest: datetime, thread_ts: str | None) -> Iterator[Shape]:
        form = {
            "channel": channel,
            "oldest": f"{oldest.timestamp():.6f}",
            "include_all_metadata": "true",
            "limit": str(PAGE_SIZE),
        }
        if thread_ts is None:
            yield from self._all("conversations.history", form, "messages")
            return
        try:
            yield from self._all("conversations.replies", form | {"ts": thread_ts}, "messages")
        except Unreachable as exc:
            if "thread_not_found" not in exc.happened:  # no thread yet: no reply is in it
                raise


def _next(reply: Reply) -> str:
    return a_text(a_mapping(a_mapping(reply.json).get("response_metadata")).get("next_cursor")) or ""
