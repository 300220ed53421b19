"""Errors raised on purpose, each read by a tired person.

- Every error has three parts: what happened, what state things are in now, what to do next.
- A name says the state of the world after it, not where it came from.
- All of them survive pickling, because drills run in worker processes.
- In a notebook they show as their three lines, without a stack trace.

    RollbackError
     ├─ BadParameters    operator input is wrong; nothing was sent
     ├─ PlanViolation    a step out of order, or a request without its permit; nothing was sent
     ├─ GateClosed       a person or policy has not let this through; nothing was sent
     ├─ NotApproved      an approval was not given or taken, because it would not count; nothing was sent
     ├─ LeaseHeld        somebody else is working on this run or environment; nothing was sent
     ├─ Unreachable      a read got no usable answer; nothing was changed
     │   └─ ReadRefused  the platform answered, and refused the read: asking again will not help
     ├─ NotApplied       a change was refused by the platform; nothing was changed by it
     ├─ OutcomeUnknown   a change was sent and no answer came; it may or may not have happened
     ├─ CheckFailed      the change was made, a success criterion is not met
     └─ JournalError     the record cannot be written or does not hold together: stop
"""

from __future__ import annotations

__all__ = [
    "BadParameters",
    "CheckFailed",
    "GateClosed",
    "JournalError",
    "LeaseHeld",
    "NotApplied",
    "NotApproved",
    "OutcomeUnknown",
    "PlanViolation",
    "ReadRefused",
    "RollbackError",
    "Unreachable",
]


class RollbackError(Exception):
    """Base of every error raised on purpose; all three parts are required.

    Args:
        happened: What went wrong, with ids, expected and actual values.
        state: What production looks like now, or that it is unknown.
        next_step: The one thing to do next, as an instruction.
    """

    def __init__(self, happened: str, state: str, next_step: str) -> None:
        super().__init__(happened, state, next_step)  # positional: stays picklable
        self.happened, self.state, self.next_step = happened, state, next_step

    def __str__(self) -> str:
        return f"{self.happened}\n  Now:  {self.state}\n  Next: {self.next_step}"

    @property
    def reason(self) -> str:
        """Return what happened as a part of a longer sentence, without its full stop."""
        return self.happened.rstrip(".")

    def _render_traceback_(self) -> list[str]:
        """Show the three lines alone in a notebook: an expected fault needs no stack trace."""
        return [f"{type(self).__name__}: {self}"]


class BadParameters(RollbackError):
    """Operator input is wrong: a parameter, a file, a name. Nothing was sent."""


class PlanViolation(RollbackError):
    """A step out of order, or a changing request without its permit. Nothing was sent."""


class GateClosed(RollbackError):
    """A person, or policy on their behalf, has not let this effect through. Nothing was sent."""


class NotApproved(RollbackError):
    """An approval was not given, or not taken, because it would not count. Nothing was sent."""


class LeaseHeld(RollbackError):
    """Somebody else is working on this run or environment. Nothing was sent."""


class Unreachable(RollbackError):
    """A read got no usable answer from a service. Nothing was changed by it."""


class ReadRefused(Unreachable):
    """The platform answered and refused a read: token, permission or id is wrong. Nothing was changed by it."""


class NotApplied(RollbackError):
    """A change was refused by the platform: nothing was changed by it."""


class OutcomeUnknown(RollbackError):
    """A change was sent and no answer came: it may or may not have happened."""


class CheckFailed(RollbackError):
    """The change was made, but a success criterion is not met."""


class JournalError(RollbackError):
    """The journal cannot be written, or does not hold together: stop."""
