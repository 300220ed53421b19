"""Whether a push happened, judged from what Convex shows; reads nothing by itself.

- An exit code is no proof: what is live is told by the digests of the live modules, the enforced schema, the last push
  and its message.
- Where the commit's modules ran before any push they prove nothing: then the last push has to be ours.
- A push that left on another machine, and whose process never wrote down what came of it, may be under way there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_lib.journal import Line
from rollback_lib.machine import Machine
from rollback_lib.procedures.effects import Observation, Seen
from rollback_lib.providers.convex_facts import AuditEvent

__all__ = ["ENDING_S", "Elsewhere", "Sight", "elsewhere"]

ENDING_S = 10.0  # from the end of its time until nothing of a command line is left
_SENT = ("effect.sending", "P2.S4")
_SETTLED = ("effect.answered", "effect.done", "effect.failed")


@dataclass(frozen=True)
class Sight:
    """What Convex shows of a push, at one look."""

    runs: bool  # the commit's modules are what runs
    enforced: bool | None  # its schema is the enforced one; None: one of them is not known
    ran_before: bool | None  # its modules ran before any push of this run; None: not known
    last: AuditEvent | None
    is_late: bool  # the last push is no older than our request
    is_ours: bool  # and has our message

    def judged(self, skew_s: float | None) -> Observation:
        """Say whether it happened.

        Args:
            skew_s: How far Convex's clock is ahead of ours, for who reads the times.
        """
        if self.runs and self.enforced is not False:
            if self.is_ours and self.last is not None:
                text = f"live since {self.last.at:%H:%M:%S} UTC, as the last push says"
                return Observation(Seen.HAPPENED, text, skew_s)
            if self.ran_before is False:
                text = f"the last push is {self._message!r}" if self.last else "no push on record"
                return Observation(Seen.HAPPENED, f"the commit's code is live; {text}", skew_s)
        if self.is_ours:
            other = "another schema is enforced" if self.runs else "other code is live"
            return Observation(Seen.BROKEN, f"our push is the last one, and {other}", skew_s, overtaken=True)
        if self.is_late and self.last is not None:
            text = (
                f"somebody else pushed at {self.last.at:%H:%M:%S} UTC ({self.last.message or 'no message'})"
            )
            return Observation(Seen.NOT_HAPPENED, text, skew_s, overtaken=True)
        before = "no push of this run is on record" if self.runs else "the code that was live before is live"
        return Observation(Seen.NOT_HAPPENED, before, skew_s)

    @property
    def _message(self) -> str:
        return (self.last.message if self.last is not None else "") or "without a message"


@dataclass(frozen=True)
class Elsewhere:
    """A push of the run that may be under way on another machine."""

    host: str  # in words: another container may have this one's name
    until: datetime


def elsewhere(lines: Sequence[Line], longest: timedelta) -> Elsewhere | None:
    """Find the push of a run that may be under way on another machine.

    None where there is none, what became of it is written down, or it surely left here: then this machine's own slot
    tells. Another container of one host name is another machine, and so is this one before it was started anew.

    Args:
        lines: Of the run's journal.
        longest: For how long one may take, with what the clocks of two machines differ.
    """
    sent = next((line for line in reversed(lines) if (line.event, line.step) == _SENT), None)
    if sent is None or any(line.event in _SETTLED for line in lines if line.seq > sent.seq):
        return None
    machines = [
        Machine.told(line.data)
        for line in lines
        if line.event == "prepare.intent" and "host" in line.data and line.seq < sent.seq
    ]
    here, there = Machine.here(), machines[-1] if machines else Machine.told({})
    if there.is_surely(here):
        return None
    unseen = " (in another container, or before a restart)" if there.host == here.host else ""
    return Elsewhere(f"{there.host}{unseen}", datetime.fromisoformat(sent.at) + longest)
