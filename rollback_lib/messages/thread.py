"""The incident's thread in Slack: alert before the effect, updates, follow-up after it.

- Words come from the plan's templates, every field filled.
- Each message goes out once a run, also across crashes: it is looked for before it is sent again.
- A message that failed is a journal line and a visible warning, never an exception: telling people must not hold up the rollback.
- Where the bot cannot post, the incoming webhook (if there is one) carries the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_lib.clock import Clock
from rollback_lib.errors import JournalError, OutcomeUnknown, RollbackError
from rollback_lib.journal import Intent, Journal
from rollback_lib.providers.slack import Posted, SlackClient

__all__ = ["Thread"]

EVENT_TYPE = "runbook_message"
MARGIN = timedelta(minutes=1)  # Slack's clock may be behind ours


@dataclass
class Thread:
    """What this run has said in the incidents channel."""

    slack: SlackClient
    journal: Journal
    channel: str
    clock: Clock
    update_every_s: float
    warnings: list[str] = field(default_factory=list)
    _last_said: datetime | None = None

    def say(self, name: str, text: str, *, in_thread: bool = True) -> Posted | None:
        """Post one message, once a run under its name; return it, or None where it could not be sent.

        Raises:
            JournalError: The intent could not be written down; nothing was sent.
        """
        earlier = self._earlier(name)
        if earlier is not None:
            return earlier
        try:
            posted = self._post(name, text, self.root if in_thread else None)
        except JournalError:
            raise
        except RollbackError as exc:
            self._warn(name, exc)
            self._by_webhook(name, text)
            return None
        self._last_said = self.clock.now()
        return posted

    def update_if_due(self, text: str) -> None:
        """Post an update if the promised interval since the last message has passed."""
        now = self.clock.now()
        if (
            self.root is not None
            and self._last_said is not None
            and now - self._last_said >= timedelta(seconds=self.update_every_s)
        ):
            self.say(f"update at {now:%H:%M:%S}", text)
            self._last_said = now

    @property
    def root(self) -> Posted | None:
        """Return the alert that the other messages hang under."""
        return self._earlier("alert")

    def said(self, name: str) -> bool:
        """Say whether a message of that name went out."""
        return self._earlier(name) is not None

    def _post(self, name: str, text: str, root: Posted | None) -> Posted:
        payload = {"run": str(self.journal.run), "message": name}
        cut_off = next(
            (line for line in self.journal.find("prepare.sending") if line.data["name"] == f"message {name}"),
            None,
        )
        leave = self.journal.prepare(f"message {name}", step=None, data={"text": text})
        found = self._find(datetime.fromisoformat(cut_off.at), payload, root) if cut_off is not None else None
        if found is None:
            found = self._send(text, leave, root, payload)
        leave.done({"channel": found.channel, "ts": found.ts})
        return found

    def _send(self, text: str, leave: Intent, root: Posted | None, payload: dict[str, str]) -> Posted:
        before = self.clock.now()
        metadata = {"event_type": EVENT_TYPE, "event_payload": payload}
        try:
            return self.slack.post(
                self.channel, text, leave, thread_ts=root.ts if root else None, metadata=metadata
            )
        except OutcomeUnknown:
            found = self._find(before, payload, root)
            if found is None:
                raise
            return found

    def _find(self, since: datetime, payload: dict[str, str], root: Posted | None) -> Posted | None:
        return self.slack.find_posted(
            self.channel, since - MARGIN, EVENT_TYPE, payload, root.ts if root else None
        )

    def _earlier(self, name: str) -> Posted | None:
        for line in self.journal.find("prepare.done"):
            if line.data["name"] == f"message {name}" and "ts" in line.data:
                return Posted(line.data["channel"], line.data["ts"])
        return None

    def _warn(self, name: str, exc: RollbackError) -> None:
        text = f"message {name} was NOT posted to Slack: {exc.happened}"
        self.warnings.append(text)
        self.journal.append("warning", data={"text": text})

    def _by_webhook(self, name: str, text: str) -> None:
        if not self.slack.has_webhook:
            return
        try:
            leave = self.journal.prepare(f"message {name} by webhook", step=None, data={"text": text})
            self.slack.post_webhook(text, leave)
            leave.done()
        except JournalError:
            raise
        except RollbackError as exc:
            self._warn(f"{name} by webhook", exc)
