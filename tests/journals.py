"""Journals for tests: written by the real class, with a clock that only moves when told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rollback_lib.journal import GENESIS, Journal, Line, line_hash
from rollback_lib.model import Answer, Redactor, RequestClass, RunId, Sending

START = datetime(2026, 11, 23, 21, 58, tzinfo=UTC)
RUN = RunId("P1-20261123-215800-7f3a")
INCIDENT = "INC-20261123-2158"
LOG_COLUMNS = (
    "Date",
    "Environment",
    "Reason",
    "Method",
    "Duration",
    "Data Loss",
    "Deployed By",
    "Approved By",
)


@dataclass
class FakeClock:
    """Stands still until it is moved or slept on."""

    instant: datetime = START

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return (self.instant - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


def post(
    path: str = "/v10/projects/prj_drill/promote/dpl_2", of: RequestClass = RequestClass.EFFECT
) -> Sending:
    """Give a changing request as the door describes it."""
    return Sending("vercel", "POST", path, "ab" * 32, of, 10.0)


def begin(
    folder: Path, *, run: str = RUN, clock: FakeClock | None = None, secrets: tuple[str, ...] = ()
) -> Journal:
    """Begin an empty journal in a new folder."""
    redactor = Redactor()
    redactor.learn(secrets)
    return Journal.begin(folder, RunId(run), by="Ana Operator", clock=clock or FakeClock(), redactor=redactor)


def hashed_anew(line: Line) -> Line:
    """Give a changed line a hash that fits it, as a forger would."""
    body = json.loads(line.text())
    body.pop("hash")
    return replace(line, hash=line_hash(body))


def chained_anew(lines: Sequence[Line]) -> bytes:
    """Give changed lines numbers and hashes that fit, as a forger would; return the file."""
    chained: list[Line] = []
    for line in lines:
        prev = chained[-1].hash if chained else GENESIS
        chained.append(hashed_anew(replace(line, seq=len(chained) + 1, prev=prev)))
    return b"".join(line.text().encode() + b"\n" for line in chained)


@dataclass
class Story:
    """Writes the events of a rollback, a part at a time, as the procedures do."""

    folder: Path
    run: str = RUN
    incident: str = INCIDENT
    clock: FakeClock = field(default_factory=FakeClock)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = begin(self.folder, run=self.run, clock=self.clock)

    def write(self, event: str, step: str | None = None, *, after_s: float = 1, **data: Any) -> None:
        """Append one event a while after the one before."""
        self.clock.sleep(after_s)
        self.journal.append(event, step=step, data=data)

    def opened(self, **changed: Any) -> Story:
        """Open the run."""
        facts = {
            "procedure": 1,
            "title": "Vercel Deployment Rollback",
            "environment": "drill",
            "mode": "headless",
            "incident": self.incident,
            "run": self.run,
            "severity": "P1",
            "criterion": "P1.T3",
            "reason": "Error rate 34 % since 21:50 UTC",
            "impact": "One in three members cannot sign in",
            "operator": "Ana Operator",
            "parameters": {"environment": "drill", "policy": {"min_requests": 50, "update_every_s": 900.0}},
            "fingerprint": "5b1f",
            "versions": {"rollback-runbooks": "0.1.0", "python": "3.11.7"},
            "plan_version": "1.0.0",
            "dry_run": False,
        }
        self.write("run.opened", after_s=0, **(facts | changed))
        return self

    def step(self, step: str, title: str, seconds: float = 2.0, result: Any = None) -> Story:
        """Do one step that goes well."""
        self.write("step.started", step, title=title)
        self.write("step.done", step, after_s=seconds, seconds=seconds, result=result)
        return self

    def gate_shown(self) -> Story:
        """Show the gate, ask for the approval and confirm."""
        effect = {"from": "dpl_1 (2 days, a41c)", "to": "dpl_2 (9 days, 77fe)", "method": "instant rollback"}
        facts = {
            "gate": "P1.G1",
            "digest": "d" * 64,
            "environment": "drill",
            "typed_wanted": "derrimut-platform",
        }
        self.write(
            "gate.shown",
            "P1.G1",
            **facts,
            effect=effect,
            will_not_undo=["the Convex backend"],
            rule="severity P1: approval by engineering lead",
        )
        asked = {
            "gate": "P1.G1",
            "role": "engineering_lead",
            "channel": "C0INCIDENTS",
            "ts": "1.2",
            "digest": "d" * 64,
        }
        self.write(
            "approval.requested",
            "P1.G1",
            **asked,
            permalink="https://derrimut.slack.com/archives/C0INCIDENTS/p12",
        )
        self.write(
            "gate.confirmed",
            "P1.G1",
            gate="P1.G1",
            digest="d" * 64,
            typed_by="Ana Operator",
            way="confirm parameter",
        )
        return self

    def gate_opened(self) -> Story:
        """Have the approval seen and the gate open."""
        approval = {
            "gate": "P1.G1",
            "digest": "d" * 64,
            "role": "engineering_lead",
            "person": "Lee Lead",
            "slack_user": "U0LEE",
            "way": "slack",
            "seen_at": "2026-11-23T21:59:00.000Z",
            "permalink": "https://derrimut.slack.com/archives/C0INCIDENTS/p12",
        }
        self.write("approval.seen", "P1.G1", **approval)
        self.write(
            "gate.opened",
            "P1.G1",
            gate="P1.G1",
            digest="d" * 64,
            approvals=[approval],
            policy="severity P1: approval by engineering lead",
        )
        return self

    def gate_refused(self) -> Story:
        """Leave the gate closed."""
        self.write("gate.refused", "P1.G1", gate="P1.G1", missing=["no approval by the engineering lead yet"])
        return self

    def message(self, name: str, text: str) -> Story:
        """Post one message."""
        intent = self.journal.prepare(f"message {name}", step=None, data={"text": text})
        sending = post("/chat.postMessage", RequestClass.PREPARE)
        intent.admit(sending)
        self.clock.sleep(0.3)
        intent.answered(sending, Answer("accepted", 200, "ok"))
        intent.done({"channel": "C0INCIDENTS", "ts": "1.1"})
        return self

    def effect(self, *ends: str) -> Story:
        """Change production; each end is how one attempt went: accepted, unclear, refused or cut off."""
        facts = {"name": "roll production back to dpl_2", "gate": "P1.G1", "digest": "d" * 64}
        self.write("step.started", "P1.S4", title="Promote to Production")
        self.write(
            "effect.intent", "P1.S4", **facts, before={"production": "dpl_1"}, inverse="roll back to dpl_1"
        )
        sent = {
            "service": "vercel",
            "method": "POST",
            "path": "/v9/projects/prj_drill/rollback/dpl_2",
            "class": "effect",
        }
        for attempt, end in enumerate(ends or ("accepted",), start=1):
            self.write(
                "effect.sending",
                "P1.S4",
                name=facts["name"],
                **sent,
                body_sha256="ab" * 32,
                deadline_s=10.0,
                attempt=attempt,
            )
            if end != "cut off":
                status = {"accepted": 201, "refused": 403}.get(end)
                answer = {
                    "attempt": attempt,
                    "kind": end,
                    "status": status,
                    "text": end,
                    "method": "POST",
                    "path": sent["path"],
                }
                self.write("effect.answered", "P1.S4", name=facts["name"], **answer)
            self.write(
                "effect.observed", "P1.S4", name=facts["name"], seen="running", detail="alias job in progress"
            )
        if ends[-1:] in ((), ("accepted",)):
            self.write(
                "effect.done", "P1.S4", name=facts["name"], seen="happened", detail="dpl_2 has the domains"
            )
            self.write("step.done", "P1.S4", seconds=3.5, result={"deployment": "dpl_2"})
        return self

    def check(self, check: str, status: str = "passed", *, required: bool = True) -> Story:
        """Look at one criterion."""
        facts = {
            "id": check,
            "title": f"Criterion {check}",
            "status": status,
            "seen": "0.4 %",
            "wanted": "< 1 %",
        }
        self.write("check", "P1.S6", **facts, source="Sentry, 180 s window", required=required)
        return self

    def provisional(self, outcome: str, why: str = "no approval yet") -> Story:
        """Write where the run stands."""
        log = self.row(outcome)
        self.write(
            "run.provisional",
            outcome=outcome,
            why=why,
            state="production is unchanged",
            next_step="get the approval",
            log=log,
        )
        return self

    def closed(self, outcome: str = "verified", why: str = "every required check passed") -> Story:
        """Close the run."""
        still_open = [
            "production stays pinned until a different build is promoted",
            "post-mortem within 24 hours",
        ]
        self.write(
            "run.closed",
            outcome=outcome,
            why=why,
            still_open=still_open,
            undo="rollback undo " + self.run,
            log=self.row(outcome),
        )
        return self

    def row(self, outcome: str) -> dict[str, str]:
        """Give the row of the rollback log."""
        cells = (
            "2026-11-23",
            "drill",
            "Error rate 34 % since 21:50 UTC",
            "Vercel",
            "1 min",
            "None",
            "Ana Operator",
            "Lee Lead",
        )
        return dict(zip(LOG_COLUMNS, cells, strict=True)) | {"Outcome": outcome}


def whole_story(folder: Path, **names: Any) -> Story:
    """Write a rollback that went well, from opening to close."""
    story = Story(folder, **names).opened()
    story.step("P1.S1", "Access Vercel Dashboard").step("P1.S2", "Go to Deployments", 0.4)
    story.message("alert", "🚨 INCIDENT ALERT - Rollback in Progress")
    story.step("P1.S3", "Identify last stable deployment", 6.0, {"deployment": "dpl_2"})
    story.gate_shown().gate_opened().effect("accepted")
    story.step("P1.S5", "Monitor rollback", 4.0)
    story.check("P1.C2", "unknown").check("P1.C2").check("P1.C3").check("P1.C9", "unknown", required=False)
    story.write("warning", text="the preview was not reviewed by a person")
    story.step("P1.S6", "Verify rollback successful", 9.0)
    return story.closed()
