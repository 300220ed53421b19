"""The changing requests of a run: each intent with its attempts, answers, observations and end.

- Every intent is told once, in order; a change that was tried again under a new intent stands there again.
- Without a line that says how it ended, it is open: nobody may take it for done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rollback_lib.evidence.fields import text, whole
from rollback_lib.journal import Line

__all__ = ["Attempt", "Change", "Observed", "changes_of"]

ENDS = ("done", "failed", "unknown")


@dataclass(frozen=True)
class Attempt:
    """One time that the request left, and what came back."""

    attempt: int
    sent_at: str
    service: str
    method: str
    path: str
    body_sha256: str
    answered_at: str = ""  # empty: no answer is on record
    kind: str = ""  # accepted, refused, unclear, not_sent
    status: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Observed:
    """What the platform showed when it was asked whether it had happened."""

    at: str
    seen: str
    detail: str


@dataclass(frozen=True)
class Change:
    """One intent and what became of it."""

    name: str
    step: str
    intended_at: str
    intent: dict[str, Any]  # what it was decided on: before, inverse, text, ...
    attempts: tuple[Attempt, ...]
    observed: tuple[Observed, ...]
    end: str  # done, failed, unknown; open where nothing says
    ended_at: str
    detail: dict[str, Any]  # what the end says


@dataclass
class _Growing:
    """A change while its lines are being read."""

    name: str
    step: str
    at: str
    intent: dict[str, Any] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    observed: list[Observed] = field(default_factory=list)
    end: str = "open"
    ended_at: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def take(self, what: str, line: Line) -> None:
        """Add what one more line says."""
        data = {key: value for key, value in line.data.items() if key != "name"}
        if what == "intent":
            self.intent = data
        elif what == "sending":
            self._sent(line.at, data)
        elif what == "answered":
            self._answered(line.at, data)
        elif what in ENDS:
            self.end, self.ended_at, self.detail = what, line.at, data
        else:  # observed, recovered
            self.observed.append(Observed(line.at, text(data, "seen") or what, text(data, "detail")))

    def grown(self) -> Change:
        """Return the change as it stands."""
        attempts, observed = tuple(self.attempts.values()), tuple(self.observed)
        return Change(
            self.name,
            self.step,
            self.at,
            self.intent,
            attempts,
            observed,
            self.end,
            self.ended_at,
            self.detail,
        )

    def _sent(self, at: str, data: dict[str, Any]) -> None:
        number = whole(data, "attempt") or 0
        service, method, path, sha256 = (
            text(data, key) for key in ("service", "method", "path", "body_sha256")
        )
        self.attempts[number] = Attempt(number, at, service, method, path, sha256)

    def _answered(self, at: str, data: dict[str, Any]) -> None:
        number = whole(data, "attempt") or 0
        sent = self.attempts.get(
            number, Attempt(number, "", "", text(data, "method"), text(data, "path"), "")
        )
        kind, words = text(data, "kind"), text(data, "text")
        self.attempts[number] = replace(
            sent, answered_at=at, kind=kind, status=whole(data, "status"), text=words
        )


def changes_of(lines: Sequence[Line], request_class: str) -> tuple[Change, ...]:
    """Tell the changes of one class, `effect` or `prepare`, in the order of their intents."""
    told: list[_Growing] = []
    newest: dict[str, _Growing] = {}
    for line in lines:
        kind, _, what = line.event.partition(".")
        if kind != request_class:
            continue
        name = text(line.data, "name")
        if what == "intent" or name not in newest:
            newest[name] = _Growing(name, line.step or "", line.at)
            told.append(newest[name])
        newest[name].take(what, line)
    return tuple(change.grown() for change in told)
