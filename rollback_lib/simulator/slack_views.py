"""How messages and what is scheduled look in Slack's answers.

- Metadata is shown only to who asks for it; without `full`, only some of a reaction's users are.
- A message without reactions has no key for them; the count of a reaction is always the true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollback_lib.simulator import company
from rollback_lib.simulator.slack_store import Message, Scheduled, SlackState
from rollback_lib.simulator.slack_workspace import APP_ID, BOT_ID, TEAM_ID, TEAM_URL

__all__ = ["delayed_json", "message_json", "permalink", "scheduled_json"]


def message_json(
    state: SlackState, message: Message, *, full: bool = False, with_metadata: bool = False
) -> dict[str, Any]:
    """Write a message.

    Args:
        state: The workspace, for its threads and manners.
        message: The message.
        full: Show all users of each reaction.
        with_metadata: Show its metadata.
    """
    shown: dict[str, Any] = {"type": "message", **_author(message), "text": message.text, "ts": message.ts}
    optional = {
        "blocks": message.blocks,
        "attachments": message.attachments,
        "metadata": message.metadata if with_metadata else None,
        "client_msg_id": message.client_msg_id,
        "subtype": _subtype(message),
        "edited": {"user": message.user, "ts": message.edited_ts} if message.edited_ts else None,
        **_thread(message, state.replies(message)),
    }
    shown |= {name: value for name, value in optional.items() if value is not None}
    if message.reactions:
        limit = None if full else state.switches.reaction_users_shown
        shown["reactions"] = [
            {"name": name, "users": users[:limit], "count": len(users)}
            for name, users in message.reactions.items()
        ]
    return shown


def _author(message: Message) -> dict[str, Any]:
    if message.user is None:
        return {"bot_id": message.bot_id, "team": TEAM_ID}
    if message.bot_id is None:
        return {"user": message.user, "team": TEAM_ID}
    ours = message.user == company.BOT_USER
    app = {"app_id": APP_ID} if ours else {}
    profile = {
        "id": message.bot_id,
        "name": "runbook" if ours else "statusbot",
        **app,
        "team_id": TEAM_ID,
    }
    return {
        "user": message.user,
        "bot_id": message.bot_id,
        **app,
        "team": TEAM_ID,
        "bot_profile": profile,
    }


def _subtype(message: Message) -> str | None:
    if message.broadcast:
        return "thread_broadcast"
    return "bot_message" if message.user is None else None


def _thread(message: Message, replies: Sequence[Message]) -> dict[str, Any]:
    if message.thread_ts is not None:
        return {"thread_ts": message.thread_ts}
    if not replies:
        return {}
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users": list(dict.fromkeys(reply.user or reply.bot_id for reply in replies)),
        "latest_reply": replies[-1].ts,
    }


def permalink(message: Message) -> str:
    """Give the address of a message."""
    address = f"{TEAM_URL}archives/{message.channel}/p{message.ts.replace('.', '')}"
    if message.thread_ts is None:
        return address
    return f"{address}?thread_ts={message.thread_ts}&cid={message.channel}"


def scheduled_json(later: Scheduled) -> dict[str, Any]:
    """Write a scheduled message as the list does."""
    return {
        "id": later.id,
        "channel_id": later.channel,
        "post_at": later.post_at_s,
        "date_created": later.created_s,
        "text": later.draft.text,
    }


def delayed_json(later: Scheduled) -> dict[str, Any]:
    """Write a scheduled message as the answer to scheduling it does."""
    shown: dict[str, Any] = {
        "type": "delayed_message",
        "subtype": "bot_message",
        "text": later.draft.text,
        "bot_id": BOT_ID,
    }
    optional = {"blocks": later.draft.blocks, "thread_ts": later.draft.thread_ts}
    return {**shown, **{name: value for name, value in optional.items() if value is not None}}
