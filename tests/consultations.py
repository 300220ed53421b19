"""The doctor at a simulated company in this process: one clock for both, no socket, no waiting.

The company is the real simulator and sound unless a test breaks it; the checks are the real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import FakeClock
from parameters_project import project
from rehearsal import _Short
from repository import ROOT

from rollback_lib.plan import load_plan
from rollback_lib.procedures.doctor import Circumstances, Finding
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.examining import all_checks
from rollback_lib.procedures.doctor.finding import Once, finding_of
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.simulator import Broken, Fault, TokenSpec, World, WorldSpec

__all__ = ["DOWN", "SOUND", "Consultation", "down", "held_by"]

DOWN = "Somebody has to look."
SOUND = WorldSpec(broken=Broken(pages=(), health_red=False), traffic_rps=0.1, history_s=4000)

_PLAN = Once("Parameters: plan.yaml", lambda: load_plan(ROOT))


class Consultation:
    """A project folder, a company, and the doctor's checks one by one."""

    def __init__(self, folder: Path, clock: FakeClock, **fields: Any) -> None:
        self.home, self.clock = project(folder), clock
        self.own_plan = False  # whether a test has edited it
        self.world = World(WorldSpec.model_validate(SOUND.model_dump(by_alias=True) | fields), clock)
        self.transport = _Short(self.world, clock)
        self.environ = {
            token.name: token.value
            for token in self.world.spec.tokens
            if token.name.isupper() and token.name != "SLACK_WEBHOOK_URL"
        }
        self.write_secrets()

    def write_secrets(self, **others: str) -> Path:
        """Write the tokens down as the simulator does; an empty one is left out."""
        path = self.home / ".secrets" / "drill.env"
        path.parent.mkdir(exist_ok=True)
        lines = (f"{name}={value}\n" for name, value in (self.environ | others).items() if value)
        path.write_text("".join(lines), encoding="utf-8")
        path.chmod(0o600)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a parameter file; it has to be there."""
        self.own_plan = self.own_plan or name == "plan.yaml"
        path = self.home / "parameters" / name
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new), encoding="utf-8")

    def given(self, **others: Any) -> Circumstances:
        """Say whom the doctor looks at."""
        told: dict[str, Any] = {
            "environment": "drill",
            "home": self.home,
            "environ": {},
            "clock": self.clock,
            "when_down": DOWN,
            "transport": self.transport,
        }
        return Circumstances(**(told | others))

    def look(self, subject: str, title: str, **others: Any) -> Finding:
        """Make one check, as the doctor does."""
        readings = Readings(self.given(**others))
        if not self.own_plan:
            readings.plan = _PLAN  # a tenth of a second each
        check = self.check(readings, subject, title)
        try:
            return check.look(readings)
        except Exception as exc:  # noqa: BLE001 - what the doctor makes of it is what is tested
            return finding_of(exc, check.if_refused, DOWN)

    @staticmethod
    def check(readings: Readings, subject: str, title: str) -> Check:
        """Find a check by its name."""
        return next(
            check for check in all_checks(readings) if (check.subject, check.title) == (subject, title)
        )

    def told(self, subject: str, title: str, **others: Any) -> tuple[str, str, str]:
        """Make one check; give its three words."""
        found = self.look(subject, title, **others)
        return found.status.value, found.seen, found.todo

    def asked(self, service: str) -> list[str]:
        """List what was asked of a service, as verb and path."""
        return [
            f"{entry.method} {entry.path}"
            for entry in self.world.ledger.entries()
            if entry.service == service
        ]


def down(*services: str, kind: str = "503") -> tuple[Fault, ...]:
    """Have every request to some services fail."""
    every = {"from": 1}
    return tuple(
        Fault.model_validate({"service": service, "kind": kind, "nth": every}) for service in services
    )


def held_by(name: str, *without: str, also: tuple[str, ...] = ()) -> tuple[TokenSpec, ...]:
    """Give the company's tokens, one of them without some scopes."""
    return tuple(
        token.model_copy(update={"scopes": (*(one for one in token.scopes if one not in without), *also)})
        if token.name == name
        else token
        for token in SOUND.tokens
    )
