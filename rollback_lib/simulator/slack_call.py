"""One call of a Slack method, with what all methods need: channels, messages, scopes, pages.

- A channel is found by its id; only posting takes a name as well.
- A private channel that the bot is not in is not told apart from one that is not there.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rollback_lib.simulator.slack_arguments import Arguments, is_timestamp
from rollback_lib.simulator.slack_store import Message, SlackRefusal, SlackState
from rollback_lib.simulator.slack_workspace import Channel

__all__ = ["Call", "Method", "next_cursor", "position"]


@dataclass(frozen=True)
class Call:
    """A call that was let in."""

    state: SlackState
    args: Arguments
    scopes: frozenset[str]
    now_ms: int

    def need(self, *scopes: str) -> None:
        """Go on only with all of these scopes.

        Raises:
            SlackRefusal: One is missing.
        """
        missing = [scope for scope in scopes if scope not in self.scopes]
        if missing:
            provided = ",".join(sorted(self.scopes))
            raise SlackRefusal("missing_scope", {"needed": ",".join(missing), "provided": provided})

    def channel(self, *, by_name: bool = False) -> Channel:
        """Find the channel of the call.

        Raises:
            SlackRefusal: It was not named, is not there, or cannot be seen.
        """
        (wanted,) = self.args.required("channel")
        found = self.state.channels.get(wanted)
        if found is None and by_name:
            name = wanted.removeprefix("#")
            found = next((channel for channel in self.state.channels.values() if channel.name == name), None)
        if found is None:
            raise SlackRefusal("channel_not_found")
        if found.hidden:
            raise SlackRefusal(self.state.switches.hidden_channel_error)
        return found

    def readable_channel(self) -> Channel:
        """Find a channel whose messages the bot may read.

        Raises:
            SlackRefusal: As `channel`, or the bot is not in it.
        """
        found = self.channel()
        if not found.is_member:
            raise SlackRefusal("not_in_channel")
        return found

    def item(self, name: str) -> Message:
        """Find the message of the call by its channel and the `ts` in an argument.

        Raises:
            SlackRefusal: No channel or `ts`, a `ts` of another form, or no such message.
        """
        ts = self.args.text(name)
        if not ts or not self.args.text("channel"):
            raise SlackRefusal("no_item_specified")
        channel = self.readable_channel()
        if not is_timestamp(ts):
            raise SlackRefusal("bad_timestamp")
        return self.message(channel, ts)

    def message(self, channel: Channel, ts: str) -> Message:
        """Find a message.

        Raises:
            SlackRefusal: It is not there.
        """
        found = self.state.find(channel.id, ts)
        if found is None:
            raise SlackRefusal("message_not_found")
        return found

    def limit(self, default: int, most: int) -> int:
        """Read how many items a page may hold.

        Raises:
            SlackRefusal: No number, or none that is allowed.
        """
        found = self.args.integer("limit", default, "invalid_limit")
        if not 1 <= found <= most:
            raise SlackRefusal("invalid_limit")
        return found


@dataclass(frozen=True)
class Method:
    """What a method does and what it takes to call it."""

    run: Callable[[Call], dict[str, Any]]
    scopes: tuple[str, ...] = ()
    per_minute: int = 600
    takes_json: bool = False
    changes: bool = False


def next_cursor(place: str | int | None) -> dict[str, Any]:
    """Give the part of an answer that leads to the next page; None: there is none."""
    cursor = "" if place is None else b64encode(f"next:{place}".encode()).decode()
    return {"response_metadata": {"next_cursor": cursor}}


def position(cursor: str, allowed: Iterable[str] | None = None) -> str:
    """Read a cursor back; "" for the first page.

    Args:
        cursor: As it was given out.
        allowed: The places it may lead to, if they can be listed.

    Raises:
        SlackRefusal: It was never given out.
    """
    if not cursor:
        return ""
    try:
        head, _, place = b64decode(cursor, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise SlackRefusal("invalid_cursor") from exc
    if head != "next" or not place or (allowed is not None and place not in allowed):
        raise SlackRefusal("invalid_cursor")
    return place
