"""One message to Slack, posted once a run, also across crashes and lost answers.

- Posted before, by the journal: nothing is sent.
- An earlier attempt that may have arrived is looked for by the message's metadata before it is sent again.
- How each attempt ended is in the journal: done, failed or unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rollback_lib.errors import JournalError, OutcomeUnknown, RollbackError
from rollback_lib.journal import Intent, Journal, Line
from rollback_lib.journal.attempts import in_doubt
from rollback_lib.model import RequestClass
from rollback_lib.providers.slack import Posted, SlackClient

__all__ = ["Message", "post_once", "posted_before"]

MARGIN = timedelta(minutes=1)  # Slack's clock may be behind ours


@dataclass(frozen=True)
class Message:
    """What to post, and by what it is told from every other message."""

    name: str  # of its intent, one a message
    channel: str
    text: str
    event_type: str
    payload: dict[str, str]
    thread_ts: str | None = None
    step: str | None = None
    data: dict[str, Any] = field(default_factory=dict)  # for the intent's line

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what Slack keeps with the message, by which it is found again."""
        return {"event_type": self.event_type, "event_payload": self.payload}


def post_once(slack: SlackClient, journal: Journal, message: Message) -> Posted:
    """Post a message unless this run has posted it already.

    Raises:
        GateClosed: A dry run; nothing was sent.
        JournalError: Not on record; stop.
        Unreachable: No connection, or it cannot be told whether an earlier attempt arrived; nothing was posted now.
        NotApplied: Refused; nothing was posted.
        OutcomeUnknown: No clear answer, and it is not to be found; it may be posted.
    """
    earlier = posted_before(journal, message.name)
    if earlier is not None:
        return earlier
    doubtful = in_doubt(journal.lines, RequestClass.PREPARE, message.name)
    found = _stands(slack, journal, message, doubtful[0]) if doubtful else None
    # What stands there are the words of then; they may name another time than those of now.
    data = _intent_of(journal, doubtful[0]).data if found is not None else message.data
    leave = journal.prepare(
        message.name, step=message.step, data={key: data[key] for key in message.data if key in data}
    )
    try:
        posted = found if found is not None else _send(slack, journal, message, leave)
    except JournalError:
        raise
    except OutcomeUnknown as exc:
        leave.unknown(exc.happened)
        raise
    except RollbackError as exc:
        leave.failed(exc.happened)
        raise
    leave.done({"channel": posted.channel, "ts": posted.ts})
    return posted


def _stands(slack: SlackClient, journal: Journal, message: Message, attempt: Line) -> Posted | None:
    """Look for what an earlier attempt may have posted; that it cannot be looked for goes on record."""
    try:
        return _find(slack, message, datetime.fromisoformat(attempt.at))
    except RollbackError as exc:
        journal.prepare(message.name, step=message.step, data=message.data).failed(exc.happened)
        raise


def _intent_of(journal: Journal, attempt: Line) -> Line:
    """Return the intent that an attempt belongs to: the last one before it."""
    return [
        line
        for line in journal.find("prepare.intent")
        if line.data["name"] == attempt.data["name"] and line.seq < attempt.seq
    ][-1]


def posted_before(journal: Journal, name: str) -> Posted | None:
    """Return the message of that name if the journal says that it was posted."""
    for line in journal.find("prepare.done"):
        if line.data["name"] == name and "ts" in line.data:
            return Posted(line.data["channel"], line.data["ts"])
    return None


def _send(slack: SlackClient, journal: Journal, message: Message, leave: Intent) -> Posted:
    before = journal.clock.now()
    try:
        return slack.post(
            message.channel, message.text, leave, thread_ts=message.thread_ts, metadata=message.metadata
        )
    except OutcomeUnknown:
        found = _found_now(slack, message, before)
        if found is None:
            raise
        return found


def _found_now(slack: SlackClient, message: Message, since: datetime) -> Posted | None:
    """Look once, right after a lost answer; that it cannot be looked for leaves it lost."""
    try:
        return _find(slack, message, since)
    except RollbackError:  # a read writes nothing, so none of these is the journal's
        return None


def _find(slack: SlackClient, message: Message, since: datetime) -> Posted | None:
    """Look in the thread, then in the channel: an earlier attempt may be from before there was a thread."""
    places = (message.thread_ts, None) if message.thread_ts is not None else (None,)
    for thread_ts in places:
        found = slack.find_posted(
            message.channel, since - MARGIN, message.event_type, message.payload, thread_ts
        )
        if found is not None:
            return found
    return None
