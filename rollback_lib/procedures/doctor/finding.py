"""What a check of the doctor saw: one of five words, what was seen, and what to do about it.

- Nothing unknown is shown as fine: an outage, a check that broke or ran out of time is `unknown`.
- A platform's clear refusal is `wrong`: it will refuse on the night, too.
- A check that builds on something another check tells of names that check instead of repeating its trouble.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from rollback_lib.errors import LeaseHeld, OutcomeUnknown, ReadRefused, RollbackError, Unreachable

__all__ = [
    "Examined",
    "Finding",
    "NotKnown",
    "Once",
    "Status",
    "finding_of",
    "not_checked",
    "ok",
    "unknown",
    "warning",
    "would_work",
    "wrong",
]

T = TypeVar("T")


class Status(StrEnum):
    """How it stands. Only `WRONG` and `UNKNOWN` keep a rollback from being known to work."""

    OK = "ok"
    WARNING = "warning"  # a rollback works all the same; somebody should look
    WRONG = "wrong"
    UNKNOWN = "unknown"  # no answer, no data, no time
    NOT_CHECKED = "not checked"  # by choice, or because it cannot be tried without doing it


@dataclass(frozen=True)
class Finding:
    """What one check saw."""

    status: Status
    seen: str
    todo: str = ""  # empty where nothing is to be done
    after: str = ""  # the check that has to be right before this one can be seen at all


@dataclass(frozen=True)
class Examined:
    """A finding under the name of its check."""

    subject: str  # Vercel, Slack, ...
    check: str
    finding: Finding


class NotKnown(Exception):
    """What a check builds on is not there; another check tells why. Never leaves the doctor."""

    def __init__(self, told_by: str) -> None:
        super().__init__(told_by)
        self.told_by = told_by


class Once(Generic[T]):
    """A reading that several checks need: taken once, by whoever comes first; threads may share it.

    Args:
        told_by: Subject and name of the check that tells of it if it fails.
        read: Takes it; its error is kept as well.
    """

    def __init__(self, told_by: str, read: Callable[[], T]) -> None:
        self._told_by, self._read = told_by, read
        self._guard = threading.Lock()
        self._taken: list[T] = []
        self._failed: Exception | None = None

    def tell(self) -> T:
        """Return the reading to the check that tells of it.

        Raises:
            NotKnown: It builds on another one that is not there.
            RollbackError: It could not be taken.
        """
        with self._guard:
            if self._failed is None and not self._taken:
                try:
                    self._taken.append(self._read())
                except Exception as exc:  # noqa: BLE001 - kept, and raised to everybody who asks
                    self._failed = exc
        if self._failed is not None:
            raise self._failed
        return self._taken[0]

    def use(self) -> T:
        """Return the reading to a check that builds on it.

        Raises:
            NotKnown: It is not there; the check named in it tells why.
        """
        try:
            return self.tell()
        except NotKnown:
            raise
        except Exception as exc:
            raise NotKnown(self._told_by) from exc


def ok(seen: str) -> Finding:
    """Say that it is as it should be."""
    return Finding(Status.OK, seen)


def warning(seen: str, todo: str) -> Finding:
    """Say that a rollback works all the same, and what somebody should see to."""
    return Finding(Status.WARNING, seen, todo)


def wrong(seen: str, todo: str) -> Finding:
    """Say that it is not as it should be."""
    return Finding(Status.WRONG, seen, todo)


def unknown(seen: str, todo: str) -> Finding:
    """Say that it could not be seen."""
    return Finding(Status.UNKNOWN, seen, todo)


def not_checked(seen: str) -> Finding:
    """Say that it was left out, and why."""
    return Finding(Status.NOT_CHECKED, seen)


def finding_of(exc: Exception, if_refused: str, if_down: str) -> Finding:
    """Make a finding of whatever ended a check.

    Args:
        exc: What was raised.
        if_refused: What to do where a platform refuses; empty: what the error says.
        if_down: What to do where nobody answers.
    """
    if isinstance(exc, NotKnown):
        seen = f"cannot be seen before “{exc.told_by}” is right"
        return Finding(Status.UNKNOWN, seen, after=exc.told_by)
    if not isinstance(exc, RollbackError):
        return unknown(
            f"the check itself failed: {type(exc).__name__}: {exc}",
            "This is a mistake in the runbook, not yours: report it.",
        )
    if isinstance(exc, ReadRefused):
        return wrong(exc.happened, if_refused or exc.next_step)
    if isinstance(exc, Unreachable):
        return unknown(exc.happened, if_down)
    if isinstance(exc, LeaseHeld | OutcomeUnknown):
        return unknown(exc.happened, exc.next_step)
    return wrong(exc.happened, exc.next_step)


def would_work(examined: Sequence[Examined]) -> bool:
    """Say whether a rollback is known to work: nothing wrong, nothing unknown."""
    return not any(one.finding.status in (Status.WRONG, Status.UNKNOWN) for one in examined)
