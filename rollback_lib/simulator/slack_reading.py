"""The Slack methods that only look.

- None of them reads a JSON body; what stands in one is as if it had not been sent.
- A page of channels is cut before it is filtered, so it may be short, or empty before the end.
- A thread is told with its parent first, on every page.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from rollback_lib.simulator import company
from rollback_lib.simulator.slack_arguments import is_timestamp
from rollback_lib.simulator.slack_call import Call, Method, next_cursor, position
from rollback_lib.simulator.slack_store import Message, SlackRefusal
from rollback_lib.simulator.slack_views import message_json, permalink, scheduled_json
from rollback_lib.simulator.slack_workspace import BOT_ID, TEAM_ID, TEAM_NAME, TEAM_URL, Channel

__all__ = ["READING"]

_MAX_CHANNELS, _MAX_MESSAGES = 1_000, 999
_CHANNEL_TYPES = frozenset({"public_channel", "private_channel", "mpim", "im"})


def _auth_test(call: Call) -> dict[str, Any]:
    return {
        "url": TEAM_URL,
        "team": TEAM_NAME,
        "user": call.state.users[company.BOT_USER].name,
        "team_id": TEAM_ID,
        "user_id": company.BOT_USER,
        "bot_id": BOT_ID,
    }


def _get_permalink(call: Call) -> dict[str, Any]:
    _, ts = call.args.required("channel", "message_ts")
    message = call.message(call.channel(), ts)
    return {"channel": message.channel, "permalink": permalink(message)}


def _get_reactions(call: Call) -> dict[str, Any]:
    message = call.item("timestamp")
    shown = message_json(call.state, message, full=call.args.flag("full"))
    return {"type": "message", "channel": message.channel, "message": shown}


def _list_scheduled(call: Call) -> dict[str, Any]:
    wanted = call.channel().id if call.args.text("channel") else None
    found = [later for later in call.state.scheduled() if wanted in (None, later.channel)]
    start = _index(call.args.text("cursor"), len(found))
    end = start + call.limit(100, 100)
    shown = [scheduled_json(later) for later in found[start:end]]
    return {"scheduled_messages": shown, **next_cursor(end if end < len(found) else None)}


def _list_channels(call: Call) -> dict[str, Any]:
    types = {part.strip() for part in (call.args.text("types") or "public_channel").split(",")}
    if not types <= _CHANNEL_TYPES:
        raise SlackRefusal("invalid_types")
    if "private_channel" in types:
        call.need("groups:read")
    without_archived = call.args.flag("exclude_archived")
    everything = list(call.state.channels.values())
    start = _index(call.args.text("cursor"), len(everything))
    end = start + min(call.limit(100, _MAX_CHANNELS), call.state.switches.page_cap)
    shown = [
        channel.json()
        for channel in everything[start:end]
        if ("private_channel" if channel.is_private else "public_channel") in types
        and not channel.hidden
        and not (without_archived and channel.is_archived)
    ]
    return {"channels": shown, **next_cursor(end if end < len(everything) else None)}


def _index(cursor: str, count: int) -> int:
    return int(position(cursor, [str(number) for number in range(count + 1)]) or 0)


def _channel_info(call: Call) -> dict[str, Any]:
    channel = call.channel()
    call.need("groups:read" if channel.is_private else "channels:read")
    return {"channel": channel.json()}


def _history(call: Call) -> dict[str, Any]:
    channel = _readable(call)
    in_channel = [
        message
        for message in reversed(call.state.messages(channel.id))
        if message.thread_ts is None or message.broadcast
    ]
    found = _between(call, in_channel)
    before = _last_seen(call)
    if before is not None:
        found = [message for message in found if _microseconds(message.ts) < before]
    page = found[: call.limit(100, _MAX_MESSAGES)]
    return _messages(call, page, more=len(page) < len(found))


def _replies(call: Call) -> dict[str, Any]:
    channel = _readable(call)
    (ts,) = call.args.required("ts")
    parent = call.state.find(channel.id, ts)
    if parent is None:
        raise SlackRefusal("thread_not_found")
    found = _between(call, call.state.replies(parent))
    after = _last_seen(call)
    if after is not None:
        found = [message for message in found if _microseconds(message.ts) > after]
    page = found[: max(1, call.limit(_MAX_MESSAGES, 1_000) - 1)]
    return _messages(call, [parent, *page], more=len(page) < len(found))


def _readable(call: Call) -> Channel:
    channel = call.readable_channel()
    call.need("groups:history" if channel.is_private else "channels:history")
    return channel


def _between(call: Call, messages: Sequence[Message]) -> list[Message]:
    """Keep what lies between `oldest` and `latest`; their own messages only if `inclusive`."""
    oldest, latest = (_bound(call, name) for name in ("oldest", "latest"))
    slack = 1 if call.args.flag("inclusive") else 0
    return [
        message
        for message in messages
        if (oldest is None or oldest < _microseconds(message.ts) + slack)
        and (latest is None or _microseconds(message.ts) - slack < latest)
    ]


def _bound(call: Call, name: str) -> int | None:
    text = call.args.text(name)
    if not text:
        return None
    try:
        return _microseconds(text)
    except (InvalidOperation, ValueError, OverflowError) as exc:
        raise SlackRefusal(f"invalid_ts_{name}") from exc


def _last_seen(call: Call) -> int | None:
    """Read which message ended the page before."""
    ts = position(call.args.text("cursor"))
    if ts and not is_timestamp(ts):
        raise SlackRefusal("invalid_cursor")
    return _microseconds(ts) if ts else None


def _microseconds(ts: str) -> int:
    return int(Decimal(ts) * 1_000_000)


def _messages(call: Call, page: Sequence[Message], *, more: bool) -> dict[str, Any]:
    with_metadata = call.args.flag("include_all_metadata")
    return {
        "messages": [message_json(call.state, message, with_metadata=with_metadata) for message in page],
        "has_more": more,
        **next_cursor(page[-1].ts if more else None),
    }


def _user_info(call: Call) -> dict[str, Any]:
    (wanted,) = call.args.required("user")
    user = call.state.users.get(wanted)
    if user is None:
        raise SlackRefusal("user_not_found")
    return {"user": user.json(with_email="users:read.email" in call.scopes)}


def _lookup_by_email(call: Call) -> dict[str, Any]:
    email = call.args.required("email")[0].lower()
    for user in call.state.users.values():
        if user.email is not None and user.email.lower() == email and not user.deleted:
            return {"user": user.json(with_email=True)}
    raise SlackRefusal("users_not_found")


def _list_groups(call: Call) -> dict[str, Any]:
    with_users = call.args.flag("include_users")
    return {"usergroups": [group.json(with_users=with_users) for group in call.state.groups]}


def _list_group_users(call: Call) -> dict[str, Any]:
    (wanted,) = call.args.required("usergroup")
    for group in call.state.groups:
        if group.id == wanted:
            return {"users": list(group.members)}
    raise SlackRefusal("no_such_subteam")


_TIER_2, _TIER_3, _TIER_4 = 20, 50, 100
READING = {
    "auth.test": Method(_auth_test),
    "chat.getPermalink": Method(_get_permalink),
    "chat.scheduledMessages.list": Method(_list_scheduled, (), _TIER_3),
    "reactions.get": Method(_get_reactions, ("reactions:read",), _TIER_3),
    "conversations.list": Method(_list_channels, ("channels:read",), _TIER_2),
    "conversations.info": Method(_channel_info, (), _TIER_3),
    "conversations.history": Method(_history, (), _TIER_3),
    "conversations.replies": Method(_replies, (), _TIER_3),
    "users.info": Method(_user_info, ("users:read",), _TIER_4),
    "users.lookupByEmail": Method(_lookup_by_email, ("users:read.email",), _TIER_3),
    "usergroups.list": Method(_list_groups, ("usergroups:read",), _TIER_2),
    "usergroups.users.list": Method(_list_group_users, ("usergroups:read",), _TIER_2),
}
