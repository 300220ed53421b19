"""The gates of a run: what was shown, who confirmed, who approved, whether it opened.

- The last thing shown is what counts; that it was shown before, and differently, is kept as a count.
- A gate is open only by its own line, and whichever of opened and refused came last says how it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rollback_lib.evidence.fields import mapping, mappings, text, texts
from rollback_lib.journal import Line

__all__ = ["Consent", "Gate", "gates_of"]


_TEXTS = (
    "status",
    "shown_at",
    "digest",
    "environment",
    "rule",
    "confirmed_by",
    "confirmed_way",
    "confirmed_at",
    "opened_at",
)


@dataclass(frozen=True)
class Consent:
    """An approval that was asked for, or one that was given."""

    role: str
    at: str
    permalink: str
    digest: str
    person: str = ""  # empty: asked for only
    slack_user: str = ""
    way: str = ""  # slack, signature, spoken
    key: str = ""  # signature: the key's fingerprint
    evidence: str = ""  # signature: where the store keeps the signed approval
    attested_by: str = ""  # spoken: who heard it
    against: str = ""  # why it does not count any more; empty: nothing speaks against it


@dataclass(frozen=True)
class Gate:
    """One gate as it stands after the last of its lines."""

    gate: str
    status: str  # shown, confirmed, refused, opened
    shown_at: str
    times_shown: int
    digest: str
    environment: str
    effect: dict[str, str]
    will_not_undo: tuple[str, ...]
    rule: str  # what the policy asks, in words
    confirmed_by: str
    confirmed_way: str
    confirmed_at: str
    mistyped: int
    asked: tuple[Consent, ...]
    approvals: tuple[Consent, ...]
    opened_at: str
    missing: tuple[str, ...]  # why it was refused last


@dataclass
class _Growing:
    """A gate while its lines are being read."""

    gate: str
    facts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_TEXTS, ""))
    effect: dict[str, str] = field(default_factory=dict)
    will_not_undo: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    times_shown: int = 0
    mistyped: int = 0
    asked: list[Consent] = field(default_factory=list)
    approvals: list[Consent] = field(default_factory=list)

    def take(self, line: Line) -> None:
        """Add what one more line says."""
        says = _SAYINGS.get(line.event)
        if says is not None:
            says(self, line)

    def shown(self, line: Line) -> None:
        data = line.data
        self.times_shown += 1
        effect = {key: str(value) for key, value in mapping(data, "effect").items()}
        environment = text(data, "environment") or effect.pop("environment", "")
        self.facts |= {
            "status": "shown",
            "shown_at": line.at,
            "digest": text(data, "digest"),
            "environment": environment,
        }
        self.facts["rule"] = text(data, "rule")
        self.effect = effect
        self.will_not_undo = texts(data, "will_not_undo")

    def confirmed(self, line: Line) -> None:
        data = line.data
        self.facts |= {"status": "confirmed", "confirmed_by": text(data, "typed_by")}
        self.facts |= {"confirmed_way": text(data, "way"), "confirmed_at": line.at}

    def typed_wrong(self, _: Line) -> None:
        self.mistyped += 1

    def asked_for(self, line: Line) -> None:
        known = {key: text(line.data, key) for key in ("role", "permalink", "digest", "way")}
        self.asked.append(Consent(at=line.at, **known))

    def approved(self, line: Line) -> None:
        names = ("role", "permalink", "digest", "person", "slack_user", "way", "key", "evidence")
        known = {key: text(line.data, key) for key in (*names, "attested_by")}
        self.approvals.append(Consent(at=text(line.data, "seen_at") or line.at, **known))

    def fallen(self, line: Line) -> None:
        """Note at the newest approval by that person and way what speaks against it, until the gate opens again."""
        whose = tuple(text(line.data, key) for key in ("role", "person", "way"))
        for at in reversed(range(len(self.approvals))):
            one = self.approvals[at]
            if (one.role, one.person, one.way) == whose:
                self.approvals[at] = replace(one, against=text(line.data, "reason") or "fell")
                return

    def opened(self, line: Line) -> None:
        self.facts |= {"status": "opened", "opened_at": line.at}
        self.facts["rule"] = self.facts["rule"] or text(line.data, "policy")
        self.missing = ()
        counted = {(text(one, "person"), text(one, "way")) for one in mappings(line.data, "approvals")}
        self.approvals = [
            replace(one, against="") if (one.person, one.way) in counted else one for one in self.approvals
        ]

    def refused(self, line: Line) -> None:
        self.facts["status"] = "refused"
        self.missing = texts(line.data, "missing")

    def grown(self) -> Gate:
        """Return the gate as it stands."""
        return Gate(
            gate=self.gate,
            times_shown=self.times_shown,
            effect=self.effect,
            will_not_undo=self.will_not_undo,
            mistyped=self.mistyped,
            asked=tuple(self.asked),
            approvals=tuple(self.approvals),
            missing=self.missing,
            **self.facts,
        )


_SAYINGS = {
    "gate.shown": _Growing.shown,
    "gate.confirmed": _Growing.confirmed,
    "gate.mistyped": _Growing.typed_wrong,
    "approval.requested": _Growing.asked_for,
    "approval.seen": _Growing.approved,
    "approval.fallen": _Growing.fallen,
    "gate.opened": _Growing.opened,
    "gate.refused": _Growing.refused,
}


def gates_of(lines: Sequence[Line]) -> tuple[Gate, ...]:
    """Tell the gates in the order in which they were first met."""
    met: dict[str, _Growing] = {}
    for line in lines:
        if line.event in _SAYINGS:
            name = text(line.data, "gate")
            met.setdefault(name, _Growing(name)).take(line)
    return tuple(gate.grown() for gate in met.values())
