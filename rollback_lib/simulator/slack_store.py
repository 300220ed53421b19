"""What happened in the simulated company's Slack: messages, threads, reactions, what is scheduled.

- A message is known by channel and `ts`; a `ts` is a text, is given once, and only grows.
- What is due happens when somebody next looks, at the moment it was due: deliveries and people's reactions.
- A scheduled message that carries metadata is never delivered, as on the real platform.
- Posting twice makes two messages, whatever `client_msg_id` says.
- A refused call leaves nothing behind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollback_lib.simulator import company
from rollback_lib.simulator.slack_personas import PersonaBook, withdraw
from rollback_lib.simulator.slack_workspace import BOT_ID, GROUPS, Channel, User, channels, users
from rollback_lib.simulator.spec import WorldSpec

__all__ = ["Draft", "Message", "Scheduled", "SlackRefusal", "SlackState"]

_ID_BASE = 1_298_393_284


class SlackRefusal(Exception):
    """A call that is answered with `ok: false`.

    Args:
        error: The error code.
        extra: What stands beside it in the answer.
    """

    def __init__(self, error: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(error, extra)
        self.error, self.extra = error, dict(extra or {})


@dataclass(frozen=True)
class Draft:
    """What somebody wants to say; None stands for what was not given."""

    text: str
    blocks: list[dict[str, Any]] | None = None
    attachments: list[Any] | None = None
    metadata: dict[str, Any] | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    client_msg_id: str | None = None


@dataclass
class Message:
    """Something said."""

    channel: str
    ts: str
    user: str | None  # None: by a webhook
    bot_id: str | None
    text: str
    said_ms: int  # when its text was last written
    blocks: list[dict[str, Any]] | None = None
    attachments: list[Any] | None = None
    metadata: dict[str, Any] | None = None
    thread_ts: str | None = None  # of the parent; a parent itself has none
    broadcast: bool = False
    client_msg_id: str | None = None
    edited_ts: str | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)  # name: user ids in their order


@dataclass(frozen=True)
class Scheduled:
    """Something to be said later by the bot."""

    id: str
    channel: str
    post_at_s: int
    created_s: int
    draft: Draft


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000


class SlackState:
    """The workspace of one world.

    Args:
        spec: Its personas and manners.

    Raises:
        BadParameters: A persona is nobody of the workspace.
    """

    def __init__(self, spec: WorldSpec) -> None:
        self.switches = spec.slack
        self.users: dict[str, User] = users()
        self.channels: dict[str, Channel] = channels(self.switches)
        self.groups = GROUPS
        self.lock = threading.RLock()  # drills look in from other threads
        self.calls: dict[tuple[str, str], deque[int]] = {}
        self._personas = PersonaBook(spec.personas, self.users)
        self._now_ms: Callable[[], int] = _machine_ms
        self._messages: dict[tuple[str, str], Message] = {}
        self._scheduled: dict[str, Scheduled] = {}
        self._last_us = 0
        self._next_scheduled = _ID_BASE

    def follow(self, now_ms: Callable[[], int]) -> None:
        """Take the time from a world's clock from now on."""
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Let everything happen that is due; give the time."""
        with self.lock:
            now_ms = self._now_ms()
            self._deliver(now_ms)
            self._personas.act(self._messages.values(), now_ms)
            return now_ms

    # For drills, tests and whoever judges from outside.

    def say(self, user: str, channel: str, text: str, thread_ts: str | None = None) -> str:
        """Let a person say something; give the `ts` of the message.

        Raises:
            KeyError: Nobody, no channel or no parent of that id.
        """
        with self.lock:
            now_ms = self.now_ms()
            if thread_ts is not None:
                thread_ts = self._messages[channel, thread_ts].ts
            bot_id = self.users[user].bot_id
            draft = Draft(text, thread_ts=thread_ts)
            return self.post(self.channels[channel].id, draft, now_ms, user=user, bot_id=bot_id).ts

    def react(self, user: str, channel: str, ts: str, name: str) -> None:
        """Let a person react to a message; a second time changes nothing."""
        with self.lock:
            self.now_ms()
            given = self._messages[channel, ts].reactions.setdefault(name, [])
            if self.users[user].id not in given:
                given.append(user)

    def unreact(self, user: str, channel: str, ts: str, name: str) -> None:
        """Let a person take a reaction back."""
        with self.lock:
            self.now_ms()
            withdraw(self._messages[channel, ts], user, name)

    def messages(self, channel: str | None = None) -> list[Message]:
        """List what was said, replies included, oldest first."""
        with self.lock:
            self.now_ms()
            return [
                message
                for message in self._messages.values()
                if channel is None or message.channel == channel
            ]

    def scheduled(self) -> list[Scheduled]:
        """List what the bot will say, the earliest first."""
        with self.lock:
            self.now_ms()
            return sorted(self._scheduled.values(), key=lambda later: (later.post_at_s, later.id))

    # For the methods of the API, which hold the lock and have read the clock.

    def find(self, channel: str, ts: str) -> Message | None:
        """Give a message, or None."""
        return self._messages.get((channel, ts))

    def replies(self, parent: Message) -> list[Message]:
        """List the replies of a thread, oldest first."""
        return [
            message
            for message in self._messages.values()
            if message.channel == parent.channel and message.thread_ts == parent.ts
        ]

    def post(
        self, channel: str, draft: Draft, at_ms: int, *, user: str | None, bot_id: str | None
    ) -> Message:
        """Put a message into a channel."""
        message = Message(
            channel=channel,
            ts=self._new_ts(at_ms),
            user=user,
            bot_id=bot_id,
            text=draft.text,
            said_ms=at_ms,
            blocks=draft.blocks,
            attachments=draft.attachments,
            metadata=draft.metadata,
            thread_ts=draft.thread_ts,
            broadcast=draft.broadcast,
            client_msg_id=draft.client_msg_id,
        )
        self._messages[channel, message.ts] = message
        return message

    def edit(self, message: Message, draft: Draft, at_ms: int) -> None:
        """Write a message anew; what the draft leaves out is kept, reactions stay."""
        message.text, message.said_ms = draft.text, at_ms
        if draft.blocks is not None:
            message.blocks = draft.blocks or None
        if draft.attachments is not None:
            message.attachments = draft.attachments or None
        if draft.metadata is not None:
            message.metadata = draft.metadata
        message.edited_ts = f"{at_ms // 1000}.000000"

    def schedule(self, channel: str, draft: Draft, post_at_s: int, now_ms: int) -> Scheduled:
        """Keep a message for later."""
        later = Scheduled(f"Q{self._next_scheduled}", channel, post_at_s, now_ms // 1000, draft)
        self._next_scheduled += 1
        self._scheduled[later.id] = later
        return later

    def unschedule(self, channel: str, number: str) -> bool:
        """Drop a scheduled message; False: there is none of that id in the channel."""
        later = self._scheduled.get(number)
        if later is None or later.channel != channel:
            return False
        del self._scheduled[number]
        return True

    def _deliver(self, now_ms: int) -> None:
        due = [later for later in self._scheduled.values() if later.post_at_s * 1000 <= now_ms]
        for later in sorted(due, key=lambda later: (later.post_at_s, later.id)):
            del self._scheduled[later.id]
            if later.draft.metadata is None:
                at_ms = later.post_at_s * 1000
                self.post(later.channel, later.draft, at_ms, user=company.BOT_USER, bot_id=BOT_ID)

    def _new_ts(self, at_ms: int) -> str:
        self._last_us = max(at_ms * 1000, self._last_us + 1)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"
