"""The dead-man notice: a message that Slack posts by itself when the run is no longer heard of.

- It is scheduled once people were alerted, pushed ahead while the run lives, and taken back at its end.
- Its beginning and its end are in the journal; the pushes between are not: they say nothing new.
- A new session takes over from a dead one: notices of this run that still stand in Slack are replaced.
- What Slack refuses is one warning, never an exception: the rollback does not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_lib.clock import Clock
from rollback_lib.errors import JournalError, OutcomeUnknown, RollbackError, Unreachable
from rollback_lib.journal import Intent, Journal
from rollback_lib.messages.thread import Thread
from rollback_lib.model import Pass
from rollback_lib.providers.slack import Scheduled, SlackClient

__all__ = ["DeadMan"]

PUSHES = 15  # within the time that it is ahead: what Slack's limits bear


@dataclass
class DeadMan:
    """The notice of one run."""

    slack: SlackClient
    journal: Journal
    thread: Thread
    clock: Clock
    ahead: timedelta  # how long after the last sign of life it is posted
    text: Callable[[datetime], str]  # what it says, given the last sign of life
    _standing: Scheduled | None = None
    _leave: Intent | None = None
    _pushed_at: datetime | None = None
    _over: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def beat(self) -> None:
        """Push the notice ahead; nothing before people were alerted, nor after the end.

        Raises:
            JournalError: The run cannot be recorded.
        """
        with self._guard:
            root, now = self.thread.root, self.clock.now()
            if self._over or root is None:
                return
            if self._pushed_at is not None and now - self._pushed_at < self.ahead / PUSHES:
                return
            self._pushed_at = now
            self._calmly(self._push)

    def end(self) -> None:
        """Take the notice back: the run has said itself how it ended.

        Raises:
            JournalError: The run cannot be recorded.
        """
        with self._guard:
            if not self._over and self._ever_begun():
                self._calmly(self._take_back)
            self._over = True

    def _ever_begun(self) -> bool:
        return any(line.data["name"] == _BEGUN for line in self.journal.find("prepare.intent"))

    def _push(self) -> None:
        now, channel = self.clock.now(), self.thread.channel
        old = (self._standing,) if self._standing is not None else self._of_this_run()
        first = self._leave is None
        leave = self.journal.prepare(_BEGUN, step=None) if self._leave is None else self._leave
        self._leave = leave
        permit = leave if first else leave.renewal()
        try:
            self._standing = self.slack.schedule(channel, self._words(now), now + self.ahead, permit)
        except RollbackError as exc:
            if first:
                leave.failed(exc.happened)
                self._leave = None
            raise
        if first:
            leave.done({"scheduled": self._standing.id})
        for notice in old:
            self.slack.delete_scheduled(channel, notice.id, leave.renewal())

    def _take_back(self) -> None:
        leave = self.journal.prepare(_ENDED, step=None)
        try:
            try:
                self._delete(leave)
            except (Unreachable, OutcomeUnknown):
                # Left standing it would be a false alarm; what is gone is not listed any more.
                self._delete(leave)
        except RollbackError as exc:
            leave.failed(exc.happened)
            raise
        leave.done()

    def _delete(self, leave: Pass) -> None:
        for notice in self._of_this_run():
            self.slack.delete_scheduled(self.thread.channel, notice.id, leave)

    def _of_this_run(self) -> tuple[Scheduled, ...]:
        """List the notices of this run that Slack holds, those of a dead session too."""
        mark = _mark(self.journal)
        return tuple(one for one in self.slack.scheduled(self.thread.channel) if mark in one.text)

    def _words(self, now: datetime) -> str:
        return f"{self.text(now)}\n{_mark(self.journal)}"

    def _calmly(self, job: Callable[[], None]) -> None:
        try:
            job()
        except JournalError:
            raise
        except RollbackError as exc:
            told = f"the dead-man notice in Slack could not be kept: {exc.happened}"
            if told not in self.thread.warnings:
                self.thread.warnings.append(told)
                self.journal.append("warning", data={"text": told})


_BEGUN, _ENDED = "dead-man notice", "dead-man notice taken back"


def _mark(journal: Journal) -> str:
    return f"(dead-man notice of run {journal.run})"
