"""The words of the project as types: ids, classes of request, outcomes, checks, and what opens the door.

- Mixing up two kinds of id is a type error.
- A status is one of an enumeration; unknown is a member of it, never success.
- A changing request goes out only through a `Pass`, which writes it down first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NewType, Protocol

__all__ = [
    "Answer",
    "Check",
    "CheckStatus",
    "DeploymentId",
    "GateId",
    "IncidentId",
    "Mode",
    "Outcome",
    "Pass",
    "ProjectId",
    "Redactor",
    "RequestClass",
    "RunId",
    "Sending",
    "Severity",
    "StepId",
    "UserId",
    "canonical_text",
    "digest_of",
]

DeploymentId = NewType("DeploymentId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)  # of Slack
IncidentId = NewType("IncidentId", str)
RunId = NewType("RunId", str)
StepId = NewType("StepId", str)
GateId = NewType("GateId", str)

SHORTEST_SECRET = 6  # characters; anything shorter would blank ordinary words

Severity = Literal["P0", "P1", "P2"]
Mode = Literal["interactive", "headless"]


class RequestClass(StrEnum):
    """What a request does to the world."""

    READ = "read"
    PREPARE = "prepare"  # changes something that harms nobody: messages, tickets, exports
    EFFECT = "effect"  # changes production


class Outcome(StrEnum):
    """How a run ended; nothing unknown is shown as success."""

    VERIFIED = "verified"  # every check marked required passed
    COMPLETED_UNVERIFIED = "completed_unverified"  # one had no data, was skipped, or waits for a person
    FAILED = "failed"
    REFUSED = "refused"  # a gate stayed closed; nothing was changed
    UNKNOWN = "unknown"  # a person must look


class CheckStatus(StrEnum):
    """What a check saw. Only `PASSED` is success."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"  # no data, no answer, or too little traffic
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One thing looked at, with what was seen, what was wanted and where it was read."""

    id: str  # a criterion such as P1.C2, or a name below one
    title: str
    status: CheckStatus
    seen: str
    wanted: str
    source: str
    required: bool = True

    @property
    def mark(self) -> str:
        """Return the sign that goes before its status."""
        return {"passed": "✓", "failed": "✗", "unknown": "?", "skipped": "-"}[self.status]

    def __repr__(self) -> str:
        return f"{self.mark} {self.id} {self.title}: {self.status} (seen {self.seen}; wanted {self.wanted}; {self.source})"


@dataclass(frozen=True)
class Sending:
    """One changing request as it is about to leave, without secrets."""

    service: str  # vercel, slack, ...
    method: str  # POST
    path: str  # path with query, as sent
    body_sha256: str
    request_class: RequestClass
    deadline_s: float  # by when the request has its answer or is given up


@dataclass(frozen=True)
class Answer:
    """What came back for a `Sending`."""

    kind: Literal["accepted", "refused", "unclear", "not_sent"]
    status: int | None  # HTTP status; None where there was none
    text: str  # the platform's own words, redacted and cut


class Pass(Protocol):
    """What lets one changing request through the door.

    `admit` has written and synced the request to the journal when it returns; if it raises, nothing
    leaves. `answered` writes down what came of it.
    """

    @property
    def request_class(self) -> RequestClass:
        """The strongest class of request it lets through."""

    def admit(self, sending: Sending) -> None:
        """Write the request down, or raise."""

    def answered(self, sending: Sending, answer: Answer) -> None:
        """Write down what came back."""


@dataclass
class Redactor:
    """Knows the secret values of a run and takes them out of any text."""

    _values: set[str] = field(default_factory=set, repr=False)

    def learn(self, values: Iterable[str]) -> None:
        """Remember values that must appear nowhere; very short ones are left out."""
        self._values.update(value for value in values if len(value) >= SHORTEST_SECRET)

    def redact(self, text: str) -> str:
        """Return the text with each known secret value replaced."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "[redacted]")
        return text

    def clean(self, value: Any) -> Any:
        """Redact every string inside a JSON-like value, keys included."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {self.redact(str(key)): self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(item) for item in value]
        return value


def canonical_text(value: Any) -> str:
    """Write a JSON-like value the one way in which it is hashed and signed: plain ASCII; instants as ISO text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def digest_of(value: Any) -> str:
    """Return the sha256 of a JSON-like value written canonically."""
    return hashlib.sha256(canonical_text(value).encode()).hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"not JSON-like: {type(value).__name__}")
