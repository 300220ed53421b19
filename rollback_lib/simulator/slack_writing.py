"""The Slack methods that change something: posting, editing, scheduling, reacting.

- Everything is checked before anything is kept.
- Only the bot's own messages can be edited.
- A message posted into a thread has to name its parent, never another reply.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from rollback_lib.simulator import company
from rollback_lib.simulator.slack_call import Call, Method
from rollback_lib.simulator.slack_limits import checked_blocks, checked_metadata, cut_text
from rollback_lib.simulator.slack_store import Draft, SlackRefusal
from rollback_lib.simulator.slack_views import delayed_json, message_json
from rollback_lib.simulator.slack_workspace import BOT_ID, Channel

__all__ = ["WRITING"]

_MAX_MARKDOWN = 12_000
_MAX_ATTACHMENTS = 100
_MAX_REACTIONS = 23
_MAX_AHEAD_S = 120 * 86_400
_SCHEDULE_WINDOW_S, _MAX_IN_WINDOW = 300, 30
_EMOJI = re.compile(r"[a-z0-9_+'-]+(?:::skin-tone-[2-6])?")


def _post_message(call: Call) -> dict[str, Any]:
    channel = _writable(call)
    draft, warnings = _draft(call)
    draft = replace(draft, thread_ts=_parent(call, channel))
    message = call.state.post(channel.id, draft, call.now_ms, user=company.BOT_USER, bot_id=BOT_ID)
    shown = message_json(call.state, message, with_metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": shown, **_warned(warnings)}


def _update(call: Call) -> dict[str, Any]:
    call.args.required("channel", "ts")
    channel = call.channel()
    message = call.message(channel, call.args.text("ts"))
    if message.user != company.BOT_USER:
        raise SlackRefusal("cant_update_message")
    window_s = call.state.switches.edit_window_s
    if window_s is not None and call.now_ms > int(message.ts.partition(".")[0]) * 1000 + window_s * 1000:
        raise SlackRefusal("edit_window_closed")
    draft, warnings = _draft(call)
    if "text" not in call.args and "markdown_text" not in call.args:
        draft = replace(draft, text=message.text)
    call.state.edit(message, draft, call.now_ms)
    shown = message_json(call.state, message, with_metadata=True)
    return {
        "channel": channel.id,
        "ts": message.ts,
        "text": message.text,
        "message": shown,
        **_warned(warnings),
    }


def _schedule_message(call: Call) -> dict[str, Any]:
    channel = _writable(call)
    call.args.required("post_at")
    post_at_s = call.args.integer("post_at", 0, "invalid_time")
    if post_at_s * 1000 <= call.now_ms:
        raise SlackRefusal("time_in_past")
    if post_at_s > call.now_ms // 1000 + _MAX_AHEAD_S:
        raise SlackRefusal("time_too_far")
    around = [
        later
        for later in call.state.scheduled()
        if later.channel == channel.id
        and later.post_at_s // _SCHEDULE_WINDOW_S == post_at_s // _SCHEDULE_WINDOW_S
    ]
    if len(around) >= _MAX_IN_WINDOW:
        raise SlackRefusal("restricted_too_many")
    draft, warnings = _draft(call)
    draft = replace(draft, thread_ts=_parent(call, channel))
    later = call.state.schedule(channel.id, draft, post_at_s, call.now_ms)
    return {
        "channel": channel.id,
        "scheduled_message_id": later.id,
        "post_at": later.post_at_s,
        "message": delayed_json(later),
        **_warned(warnings),
    }


def _delete_scheduled_message(call: Call) -> dict[str, Any]:
    _, number = call.args.required("channel", "scheduled_message_id")
    if not call.state.unschedule(call.channel().id, number):
        raise SlackRefusal("invalid_scheduled_message_id")
    return {}


def _add_reaction(call: Call) -> dict[str, Any]:
    message = call.item("timestamp")
    name = call.args.text("name")
    if not name or _EMOJI.fullmatch(name) is None:
        raise SlackRefusal("invalid_name")
    given = message.reactions.get(name, [])
    if company.BOT_USER in given:
        raise SlackRefusal("already_reacted")
    if not given and len(message.reactions) >= _MAX_REACTIONS:
        raise SlackRefusal("too_many_reactions")
    message.reactions.setdefault(name, []).append(company.BOT_USER)
    return {}


def _writable(call: Call) -> Channel:
    channel = call.channel(by_name=True)
    if channel.is_archived:
        raise SlackRefusal("is_archived")
    if not channel.is_member and "chat:write.public" not in call.scopes:
        raise SlackRefusal("not_in_channel")
    return channel


def _parent(call: Call, channel: Channel) -> str | None:
    ts = call.args.text("thread_ts")
    if not ts:
        return None
    parent = call.state.find(channel.id, ts)
    if parent is None:
        raise SlackRefusal("thread_not_found")
    if parent.thread_ts is not None:
        raise SlackRefusal("cannot_reply_to_message")
    return ts


def _draft(call: Call) -> tuple[Draft, list[str]]:
    """Read what is to be said, with the warnings about it."""
    args = call.args
    text, markdown = args.text("text"), args.text("markdown_text")
    blocks = checked_blocks(args.structure("blocks", "invalid_blocks_format"))
    attachments = args.structure("attachments", "invalid_attachments")
    if markdown and (text or blocks):
        raise SlackRefusal("markdown_text_conflict")
    if len(markdown) > _MAX_MARKDOWN:
        raise SlackRefusal("msg_too_long")
    if attachments is not None and not isinstance(attachments, list):
        raise SlackRefusal("invalid_attachments")
    if attachments and len(attachments) > _MAX_ATTACHMENTS:
        raise SlackRefusal("too_many_attachments")
    if not (text or markdown or blocks or attachments):
        raise SlackRefusal("no_text")
    kept, warnings = cut_text(text or markdown)
    return (
        Draft(
            text=kept,
            blocks=blocks,
            attachments=attachments,
            metadata=checked_metadata(args.structure("metadata", "invalid_metadata_format")),
            broadcast=args.flag("reply_broadcast") and bool(args.text("thread_ts")),
            client_msg_id=args.text("client_msg_id") or None,
        ),
        warnings,
    )


def _warned(warnings: list[str]) -> dict[str, Any]:
    if not warnings:
        return {}
    return {"warning": ",".join(warnings), "response_metadata": {"warnings": warnings}}


_TIER_3 = 50
WRITING = {
    "chat.postMessage": Method(_post_message, ("chat:write",), takes_json=True, changes=True),
    "chat.update": Method(_update, ("chat:write",), _TIER_3, takes_json=True, changes=True),
    "chat.scheduleMessage": Method(
        _schedule_message, ("chat:write",), _TIER_3, takes_json=True, changes=True
    ),
    "chat.deleteScheduledMessage": Method(
        _delete_scheduled_message, ("chat:write",), _TIER_3, takes_json=True, changes=True
    ),
    "reactions.add": Method(_add_reaction, ("reactions:write",), _TIER_3, takes_json=True, changes=True),
}
