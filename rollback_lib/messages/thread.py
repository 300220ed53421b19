"""The incident's thread in Slack: alert before the effect, updates, follow-up after it.

- Words come from the plan's templates, every field filled.
- Each message goes out once a run, also across crashes: it is looked for before it is sent again.
- A message that failed is a journal line and a visible warning, never an exception: telling people must not hold up the rollback.
- A message that may have arrived is never called not posted.
- Where the bot cannot post, the incoming webhook (if there is one) carries the text.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_lib.clock import Clock
from rollback_lib.errors import GateClosed, JournalError, OutcomeUnknown, RollbackError
from rollback_lib.journal import Journal
from rollback_lib.providers.posting import Message, post_once, posted_before
from rollback_lib.providers.slack import Posted, SlackClient

__all__ = ["Thread"]

EVENT_TYPE = "runbook_message"


@dataclass
class Thread:
    """What this run has said in the incidents channel."""

    slack: SlackClient
    journal: Journal
    channel: str
    clock: Clock
    update_every_min: int | None  # None: no updates are promised
    warnings: list[str] = field(default_factory=list)
    _guard: threading.RLock = field(default_factory=threading.RLock)  # the heartbeat speaks here too
    _tried: datetime | None = None  # when an update was last tried, whatever came of it

    def say(self, name: str, text: str, *, in_thread: bool = True) -> Posted | None:
        """Post one message, once a run under its name; return it, or None where only the webhook or nothing carried it.

        Raises:
            JournalError: The intent could not be written down; nothing was sent.
        """
        with self._guard:
            return self._say(name, text, in_thread)

    def _say(self, name: str, text: str, in_thread: bool) -> Posted | None:
        earlier = posted_before(self.journal, f"message {name}")
        if earlier is not None or self._carried_by_webhook(name):
            return earlier
        root = self.root if in_thread else None
        message = Message(
            name=f"message {name}",
            channel=self.channel,
            text=text,
            event_type=EVENT_TYPE,
            payload={"run": str(self.journal.run), "message": name},
            thread_ts=root.ts if root is not None else None,
            data={"text": text},
        )
        try:
            return post_once(self.slack, self.journal, message)
        except JournalError:
            raise
        except RollbackError as exc:
            self._warn(name, exc)
            if not isinstance(exc, GateClosed):  # a dry run: the webhook has no leave either
                self._by_webhook(name, text)
            return None

    def update_if_due(self, text: str) -> None:
        """Post an update if the promised interval since the last message has passed.

        Raises:
            JournalError: The intent could not be written down; nothing was sent.
        """
        with self._guard:
            now, last = self.clock.now(), self._last_said()
            if (
                last is not None
                and self.update_every_min is not None
                and now - last >= timedelta(minutes=self.update_every_min)
            ):
                self._tried = now
                self.say(f"update at {now:%Y-%m-%d %H:%M:%S}", text)

    @property
    def root(self) -> Posted | None:
        """Return the alert that the other messages hang under."""
        return posted_before(self.journal, "message alert")

    def said(self, name: str) -> bool:
        """Say whether a message of that name went out, by the bot or by the webhook."""
        return posted_before(self.journal, f"message {name}") is not None or self._carried_by_webhook(name)

    def _last_said(self) -> datetime | None:
        """Return when people were last told, or tried to be, also by an earlier session; None before the alert."""
        if not self.said("alert"):
            return None
        told = [
            datetime.fromisoformat(line.at)
            for line in self.journal.find("prepare.done")
            if line.data["name"].startswith("message ")
        ]
        return max(told if self._tried is None else [*told, self._tried])

    def _carried_by_webhook(self, name: str) -> bool:
        return any(
            line.data["name"] == f"message {name} by webhook" for line in self.journal.find("prepare.done")
        )

    def _warn(self, name: str, exc: RollbackError) -> None:
        fate = "may or may not be in Slack" if isinstance(exc, OutcomeUnknown) else "was NOT posted to Slack"
        text = f"message {name} {fate}: {exc.reason}"
        self.warnings.append(text)
        self.journal.append("warning", data={"text": text})

    def _by_webhook(self, name: str, text: str) -> None:
        if not self.slack.has_webhook:
            return
        leave = self.journal.prepare(f"message {name} by webhook", step=None, data={"text": text})
        try:
            self.slack.post_webhook(text, leave)
        except JournalError:
            raise
        except OutcomeUnknown as exc:
            leave.unknown(exc.happened)
            self._warn(f"{name} by webhook", exc)
        except RollbackError as exc:
            leave.failed(exc.happened)
            self._warn(f"{name} by webhook", exc)
        else:
            leave.done()
