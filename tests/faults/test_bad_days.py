"""The bad days of procedure 1: on each, what is claimed, what is on disk and what is true in the world agree.

- Each day is one row: how the world is broken, where the run stops, its outcome, what production serves in the end.
- On every day the same holds besides: no text claims more than the world shows (`claims_no_more_than_is_true`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from parameters_project import edit
from rehearsal import Rehearsal

from rollback_lib.errors import (
    BadParameters,
    CheckFailed,
    GateClosed,
    NotApplied,
    OutcomeUnknown,
    ReadRefused,
    RollbackError,
)
from rollback_lib.evidence.record import verify_record
from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import Broken, Fault, WorldSpec
from rollback_lib.simulator.switches import SentrySpec

Meanwhile = Callable[[Rehearsal], None]
ALWAYS = {"from": 1}
UNVERIFIED = {"error": CheckFailed, "outcome": "completed_unverified", "live": "stable"}
VERIFIED = {"error": None, "outcome": "verified", "live": "stable"}
REFUSED = {"error": NotApplied, "outcome": "failed", "live": "bad"}


@dataclass(frozen=True)
class Day:
    """One bad day and its right end."""

    name: str
    error: type[RollbackError] | None  # what stops the run; None: nothing
    outcome: str
    live: str  # part in the past of what every production domain serves at the end; "split": not one
    world: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    moves: tuple[tuple[int | None, bool], ...] = (
        (201, True),
    )  # our requests to move production: status, applied
    says: tuple[str, ...] = ()  # in what happened
    state: str = ""  # in the state
    next_step: str = ""  # in what to do next
    meanwhile: dict[str, Meanwhile] = field(default_factory=dict)  # right before a cell
    within_s: float = 60.0  # of the run's beginning, on its clock
    tells: str = ""  # in some message in the channel; empty: not looked at


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    yield found
    found.close()


def vercel(kind: str, job: str = "rollback", **more: Any) -> dict[str, Any]:
    """Break the request that moves production."""
    fault = {"service": "vercel", "method": "POST", "path": f"*/{job}/*", "kind": kind, **more}
    return {"faults": (Fault.model_validate(fault),)}


def always(service: str, kind: str, **more: Any) -> dict[str, Any]:
    """Break a service from the beginning on."""
    return {"faults": (Fault.model_validate({"service": service, "kind": kind, "nth": ALWAYS, **more}),)}


def everything_else_is_gone(company: Rehearsal) -> None:
    """Retention has taken every deployment but the one that is live."""
    for item in company.world.hosting.deployments.values():
        item.retained = item.id == company.role("bad")


def stable_is_deleted(company: Rehearsal) -> None:
    company.world.hosting.deployments[company.role("stable")].deleted_ms = company.world.now_ms()


def stable_is_not_retained(company: Rehearsal) -> None:
    company.world.hosting.deployments[company.role("stable")].retained = False


def vercel_goes_down_when_we_send(company: Rehearsal) -> None:
    down = always("vercel", "503", method="GET")["faults"]
    company.transport.after["/rollback/"] = lambda: company.world.faults.add(down)


def colleague_has_rolled_back(company: Rehearsal) -> None:
    company.world.hosting.rollback(company.role("stable"), by="dee", at_ms=company.world.now_ms())
    company.clock.advance(2)
    company.world.advance()


def colleague_promotes(company: Rehearsal) -> None:
    """Somebody else promotes the hotfix, and it is over when we look again."""
    company.world.hosting.promote(company.role("hotfix"), by="dee", at_ms=company.world.now_ms())
    company.clock.advance(2)
    company.world.advance()


def colleague_promotes_when_we_send(company: Rehearsal) -> None:
    """Somebody else's promotion reaches Vercel right before our request, and is still running then."""

    def act() -> None:
        company.world.hosting.promote(company.role("hotfix"), by="dee", at_ms=company.world.now_ms())

    company.transport.before["/rollback/"] = act


def colleague_rolls_back_to_the_same(company: Rehearsal) -> None:
    company.transport.before["/rollback/"] = lambda: colleague_has_rolled_back(company)


def colleague_promotes_during_verification(company: Rehearsal) -> None:
    company.transport.after["/api/health"] = lambda: colleague_promotes(company)


def failure_rate_is_the_metric(company: Rehearsal) -> None:
    edit(company.home, "drill.yaml", "http_response_rate(5)", "failure_rate()")


ASK = "Ask in the incidents channel"
AGAIN = "new_run = True"
REFUSALS = {
    400: ("bad_request", "Correct what the platform complains of"),
    401: ("Not authorized", "Check the token from file .secrets/drill.env"),
    402: ("upgrade to pro", "right before the current one"),
    403: ("Not authorized", "Check the token from file .secrets/drill.env"),
    404: ("Deployment not found", "whether the deployment is still there"),
    409: ("already", "whether a rollback or promotion is running"),
    410: ("has been deleted", "it offers what is still there"),
    422: ("Deployment dpl_", "name another in its parameter deployment"),
}
DAYS = (
    # Nothing to go back to
    Day(
        "no candidate",
        BadParameters,
        "failed",
        "bad",
        moves=(),
        says=("No deployment can be gone back to",),
        next_step="Roll forward",
        meanwhile={"access": everything_else_is_gone},
    ),
    Day(
        "candidate is live already",
        BadParameters,
        "failed",
        "stable",
        given={"deployment": "stable"},
        moves=(),
        says=("cannot be gone back to: it is live now",),
        next_step="Choose another",
        meanwhile={"access": colleague_has_rolled_back},
    ),
    Day(
        "candidate deleted after it was found",
        ReadRefused,
        "failed",
        "bad",
        moves=(),
        says=("answered 410", "has been deleted"),
        next_step=AGAIN,
        meanwhile={"move": stable_is_deleted},
    ),
    Day(
        "candidate past its retention after it was found",
        GateClosed,
        "refused",
        "bad",
        moves=(),
        says=("no longer fits", "target state: was 'READY/PROMOTED'"),
        next_step=AGAIN,
        meanwhile={"move": stable_is_not_retained},
    ),
    Day(
        "candidate further back than the plan allows",
        world={"plan": "hobby"},
        given={"deployment": "second"},
        moves=((402, False),),
        says=("answered 402", "Hobby"),
        next_step="right before the current one",
        **REFUSED,
    ),
    *(
        Day(
            f"{job} refused with {status}",
            world=vercel("refuse", job, status=status),
            given={"method": job},
            moves=((status, False),),
            says=(f"answered {status}", words),
            state="not moved by this request"
            if status in (402, 404, 409, 410, 422)
            else "nothing was changed",
            next_step=following,
            tells="Rollback stopped at step 4: Promote to Production (outcome: failed)",
            **REFUSED,
        )
        for job in ("rollback", "promote")
        for status, (words, following) in REFUSALS.items()
    ),
    *(
        Day(
            f"promoted before, refused with {status}",
            world={"promote_again": str(status)},
            given={"method": "promote"},
            moves=((status, False),),
            says=("has been promoted before",),
            next_step='set method = "rollback"',
            **REFUSED,
        )
        for status in (409, 422)
    ),
    # Token and project
    Day(
        "token refused",
        ReadRefused,
        "failed",
        "bad",
        world=always("vercel", "refuse", status=401),
        moves=(),
        says=("answered 401", "Not authorized"),
        next_step="Check the token from file .secrets/drill.env",
    ),
    Day(
        "token may only read",
        world=vercel("deny"),
        moves=((403, False),),
        says=("answered 403",),
        next_step="Check the token",
        **REFUSED,
    ),
    Day(
        "project not found",
        ReadRefused,
        "failed",
        "bad",
        world=always("vercel", "refuse", status=404, path="/v9/projects/derrimut-platform"),
        moves=(),
        says=("Could not find the Project: derrimut-platform",),
        next_step="Check the ids and addresses of vercel",
    ),
    # The job
    Day(
        "job failed",
        CheckFailed,
        "failed",
        "bad",
        world=vercel("job_failed"),
        says=("ended badly: job failed",),
        state="0 of 3 production domains serve",
        next_step=AGAIN,
    ),
    Day(
        "job failed with a partial alias move",
        CheckFailed,
        "failed",
        "split",
        world=vercel("partial"),
        says=("ended badly: job failed",),
        state="2 of 3 production domains serve",
        next_step=AGAIN,
        tells="www.derrimut247.drill → ",
    ),
    Day(
        "job skipped",
        CheckFailed,
        "failed",
        "bad",
        world=vercel("job_skipped"),
        says=("ended badly: job skipped",),
        state="0 of 3 production domains serve",
        next_step=AGAIN,
    ),
    Day(
        "job stuck",
        OutcomeUnknown,
        "unknown",
        "bad",
        world=vercel("job_stuck"),
        says=("is not over after 10 s: job in-progress",),
        state="0 of 3 production domains serve",
        next_step="it goes on watching and sends nothing",
    ),
    # The answer is lost
    Day(
        "connection lost right after the effect",
        world=vercel("reset_after"),
        moves=((None, True),),
        **VERIFIED,
    ),
    Day(
        "connection lost before the effect",
        world=vercel("reset_before"),
        moves=((None, False), (201, True)),
        **VERIFIED,
    ),
    Day("empty answer", world=vercel("empty_body"), **VERIFIED),
    Day(
        "web page instead of the effect",
        world=vercel("html_body"),
        moves=((200, False), (201, True)),
        **VERIFIED,
    ),
    Day(
        "web page in answer to the effect",
        world=vercel("html_body", effect_applied=True),
        moves=((200, True),),
        **VERIFIED,
    ),
    *(
        Day(
            f"{status} before the effect",
            world=vercel(status),
            moves=((int(status), False), (201, True)),
            **VERIFIED,
        )
        for status in ("500", "502", "503")
    ),
    Day("500 after the effect", world=vercel("500", effect_applied=True), moves=((500, True),), **VERIFIED),
    Day("answer half a minute late", world=vercel("slow", delay_s=30), **VERIFIED),
    Day("request four seconds on its way", world=vercel("slow", delay_s=4, hold="request"), **VERIFIED),
    Day(
        "connection lost and Vercel down afterwards",
        OutcomeUnknown,
        "unknown",
        "stable",
        world=vercel("reset_after"),
        moves=((None, True),),
        state="may or may not have moved",
        next_step="asks the platform first",
        meanwhile={"move": vercel_goes_down_when_we_send},
    ),
    # A colleague
    Day(
        "colleague promotes before the gate",
        GateClosed,
        "refused",
        "hotfix",
        moves=(),
        says=("changed since step 3 looked", "live deployment"),
        next_step=AGAIN,
        meanwhile={"gate": colleague_promotes},
    ),
    Day(
        "colleague promotes between gate and effect",
        GateClosed,
        "refused",
        "hotfix",
        moves=(),
        says=("no longer fits", "live deployment"),
        next_step=AGAIN,
        meanwhile={"move": colleague_promotes},
    ),
    Day(
        "colleague promotes as we send",
        NotApplied,
        "failed",
        "hotfix",
        moves=((409, False),),
        says=("answered 409", "already in progress"),
        next_step="whether a rollback or promotion is running",
        meanwhile={"move": colleague_promotes_when_we_send},
    ),
    Day(
        "colleague rolls back to the same as we send",
        moves=((422, False),),
        meanwhile={"move": colleague_rolls_back_to_the_same},
        **VERIFIED,
    ),
    Day(
        "colleague promotes right after our effect",
        OutcomeUnknown,
        "unknown",
        "hotfix",
        world=vercel("concurrent_promote", delay_s=0.0),
        says=("another promote to dpl_", "has taken its place"),
        within_s=2.0,
        state="0 of 3 production domains serve",
        next_step=ASK,
    ),
    Day(
        "colleague promotes after the job",
        CheckFailed,
        "failed",
        "hotfix",
        says=("Production is no longer on", "project says dpl_"),
        within_s=5.0,
        state="0 of 3 production domains serve",
        next_step=ASK,
        meanwhile={"verify": colleague_promotes},
    ),
    Day(
        "colleague promotes during verification",
        CheckFailed,
        "failed",
        "hotfix",
        says=("Production is no longer on", "project says dpl_"),
        within_s=5.0,
        state="0 of 3 production domains serve",
        next_step=ASK,
        meanwhile={"verify": colleague_promotes_during_verification},
    ),
    Day(
        "colleague promotes after verification",
        CheckFailed,
        "failed",
        "hotfix",
        says=("is closed as failed", "auto-assign on"),
        state="it is not there, or not as it was left",
        next_step="a person has to decide",
        meanwhile={"close": colleague_promotes},
        tells="Outcome failed",
    ),
    # Not well afterwards
    Day(
        "health red after the rollback",
        CheckFailed,
        "failed",
        "stable",
        world={"broken": Broken(cause="outside")},
        given={"deployment": "stable"},
        says=("After the rollback to", "HTTP 503 (wanted 200 OK)", "text missing"),
        state="3 of 3 production domains serve",
        next_step="with an older deployment",
    ),
    Day(
        "error rate down but not below 1 %",
        CheckFailed,
        "failed",
        "stable",
        world={"baseline_error_rate": 0.03, "traffic_rps": 300.0, "history_s": 200.0},
        says=("After the rollback to", "Error rate decreased to normal levels (< 1%)"),
        state="3 of 3 production domains serve",
        next_step="look once more",
    ),
    # The monitoring
    Day("Sentry down", world=always("sentry", "503"), says=("not read", "answered 503"), **UNVERIFIED),
    Day("Sentry slow", world=always("sentry", "slow", delay_s=60), says=("got no answer",), **UNVERIFIED),
    Day("Sentry refuses the token", world=always("sentry", "deny"), says=("answered 403",), **UNVERIFIED),
    Day(
        "Sentry answers with a web page",
        world=always("sentry", "html_body"),
        says=("HTML page",),
        **UNVERIFIED,
    ),
    Day("Sentry limits", world=always("sentry", "429"), says=("answered 429",), **UNVERIFIED),
    *(
        Day(
            f"Sentry without data, told as {empty}",
            world={"sentry": SentrySpec(taken_until_s=0, empty_window=empty)},
            says=("no rate from 0 requests",),
            **UNVERIFIED,
        )
        for empty in ("zeros", "nulls", "no_rows")
    ),
    Day(
        "Sentry sampled",
        world={"sentry": SentrySpec(sample_rate=0.5), "traffic_rps": 100.0, "history_s": 200.0},
        says=("confidence low",),
        **UNVERIFIED,
    ),
    Day(
        "Sentry read a part of its data only",
        world={"sentry": SentrySpec(data_scanned="partial")},
        says=("only part of the data",),
        **UNVERIFIED,
    ),
    Day(
        "Sentry fails at failure_rate()",
        world={"sentry": SentrySpec(failure_rate_fails=True), "bot_share": 0.0},
        meanwhile={"open": failure_rate_is_the_metric},
        **VERIFIED,
    ),
    Day(
        "too few visitors to tell, but for this run's own looks",
        world={"traffic_rps": 10.0},
        says=("without 42 of this run's own",),
        **UNVERIFIED,
    ),
    # The chat
    Day("Slack down", world=always("slack", "503"), **VERIFIED),
    Day("Slack limits with 429", world=always("slack", "429", retry_after_s=30), **VERIFIED),
    Day("Slack limits with 200", world=always("slack", "refuse", code="rate_limited"), **VERIFIED),
    Day("Slack knows no such channel", world=always("slack", "refuse", code="channel_not_found"), **VERIFIED),
    Day("Slack's token revoked", world=always("slack", "refuse", code="token_revoked"), **VERIFIED),
    Day("Slack slow", world=always("slack", "slow", delay_s=60), **VERIFIED),
    Day(
        "Slack fails after it has posted",
        world=always("slack", "refuse", code="fatal_error", effect_applied=True, path="*/chat.postMessage"),
        **VERIFIED,
    ),
    Day(
        "Slack and Sentry down",
        world={"faults": (*always("slack", "503")["faults"], *always("sentry", "503")["faults"])},
        says=("not read",),
        **UNVERIFIED,
    ),
)


# Each of these is like another day to the run, which reads no more of it than that one: left to `make torture`.
ALIKE = {
    *(f"{job} refused with {status}" for job in ("rollback", "promote") for status in (400, 401, 403, 404)),
    "promote refused with 402",
    "promote refused with 410",
    "502 before the effect",
    "503 before the effect",
    "web page instead of the effect",
    "Sentry refuses the token",
    "Sentry answers with a web page",
    "Sentry without data, told as nulls",
    "Sentry without data, told as no_rows",
    "Slack slow",
    "Slack limits with 200",
    "Slack's token revoked",
}


def days() -> list[Any]:
    """Give the days; what is like another one is left to the torture."""
    marks = dict.fromkeys(ALIKE, pytest.mark.torture)
    return [pytest.param(day, id=day.name, marks=marks.get(day.name, ())) for day in DAYS]


def test_days_that_are_left_out_are_there():
    """The list does not rot."""
    assert {day.name for day in DAYS} >= ALIKE


@pytest.mark.parametrize("day", days())
def test_bad_day(company: Rehearsal, day: Day):
    """The run stops where it should, says what is so, and leaves world, journal and record in agreement."""
    company.begin(WorldSpec(**day.world))
    began_s = company.clock.monotonic()
    rollback, error = lived_through(company, day)
    assert company.clock.monotonic() - began_s <= day.within_s
    assert type(error) is (day.error or type(None)), error
    assert outcome_of(rollback) == day.outcome
    assert live(company) == day.live
    requests = [entry for job in ("/rollback/", "/promote/") for entry in ours(company, job)]
    assert tuple((entry.status, entry.applied) for entry in requests) == day.moves
    claims_no_more_than_is_true(company, rollback, error)
    if error is not None:
        assert [words for words in day.says if words not in error.happened] == []
        assert day.state in error.state
        assert day.next_step in error.next_step
    if day.tells:
        assert any(day.tells in message.text for message in company.world.slack.messages("C0INCIDENTS"))


def lived_through(company: Rehearsal, day: Day) -> tuple[VercelRollback, RollbackError | None]:
    """Run all cells with what happens meanwhile; return the run and what stopped it."""
    given = dict(day.given)
    if "deployment" in given:
        given["deployment"] = company.role(given["deployment"])
    happen = day.meanwhile.get("open", lambda _: None)
    happen(company)
    rollback = company.open(**given)
    seen: dict[str, Any] = {}
    cells: dict[str, Callable[[], Any]] = {
        "access": rollback.access_dashboard,
        "list": rollback.go_to_deployments,
        "find": rollback.identify_stable_deployment,
        "gate": lambda: rollback.gate("P1.G1", seen["find"]),
        "move": lambda: rollback.move_production(seen["find"]),
        "monitor": lambda: rollback.monitor(seen["move"]),
        "verify": lambda: rollback.verify(seen["find"]),
        "close": rollback.close,
    }
    for name, cell in cells.items():
        day.meanwhile.get(name, lambda _: None)(company)
        try:
            seen[name] = cell()
        except RollbackError as exc:
            return rollback, exc
    return rollback, None


def outcome_of(rollback: VercelRollback) -> str:
    record = json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))
    return str(record["outcome"]["outcome"])


def live(company: Rehearsal) -> str:
    """Name the part in the past of what production serves; "split" where the domains differ."""
    company.clock.advance(3)  # whatever was on its way is over
    found = company.live()
    if len(found) != 1:
        return "split"
    return next(role for role, id_ in company.world.hosting.roles.items() if {id_} == found)


def ours(company: Rehearsal, path: str) -> list[Any]:
    return [entry for entry in company.sent(path) if entry.caller == "VERCEL_TOKEN"]


def claims_no_more_than_is_true(
    company: Rehearsal, rollback: VercelRollback, error: RollbackError | None
) -> None:
    """Hold the journal, the error, the messages and the record against the world."""
    lines = company.lines(rollback)
    told = [
        (line.data["method"], line.data["path"].partition("?")[0])
        for line in lines
        if line.event.endswith(".sending")
    ]
    asked = [
        entry for entry in company.world.ledger.entries() if entry.changes and entry.caller != "colleague"
    ]
    assert [(entry.method, entry.path.partition("?")[0]) for entry in asked] == told
    assert lines[-1].event in ("run.closed", "run.provisional")
    assert lines[-1].data["outcome"] == outcome_of(rollback)
    assert verify_record(rollback.folder).ok
    view = company.world.outcome_view()
    if outcome_of(rollback) == "verified":
        assert view.healthy
        assert set(view.live.values()) == {view.production}
    _messages_are_true(company, rollback)
    if error is not None:
        _error_is_true(company, error)


def _error_is_true(company: Rehearsal, error: RollbackError) -> None:
    moves = [*ours(company, "/rollback/"), *ours(company, "/promote/")]
    text = f"{error.happened} {error.state} {error.next_step}"
    assert "  " not in text
    assert re.search(r"(?<!\.)\.\.(?!\.)", text) is None
    assert error.happened.endswith(".")
    if re.search(r"[Nn]othing was (sent|changed)|has sent nothing|changed nothing|not moved by", error.state):
        assert not any(entry.applied for entry in moves)
    if "has sent nothing that changes production" in error.state:
        assert moves == []
    aliases = company.world.outcome_view().live
    for host, where, fate in re.findall(r"(\S+\.drill) → (\w+) \((moved|NOT moved)\)", error.state):
        assert aliases[host] == where
        assert (fate == "moved") is any(where in entry.path for entry in moves)
    for count, whole, target in re.findall(r"(\d) of (\d) production domains serve (dpl_\w+)", error.state):
        assert int(count) == sum(where == target for where in aliases.values())
        assert int(whole) == len(aliases)


def _messages_are_true(company: Rehearsal, rollback: VercelRollback) -> None:
    """What is said to be missing in the channel is missing there, and success is told of success only."""
    posted = [message.text for message in company.world.slack.messages("C0INCIDENTS")]
    texts = {
        line.data["name"]: line.data["text"]
        for line in company.lines(rollback)
        if line.event == "prepare.intent" and "text" in line.data
    }
    warnings = [line.data["text"] for line in company.lines(rollback) if line.event == "warning"]
    for warning in warnings:
        found = re.match(r"(message .+?) was NOT posted to Slack", warning)
        if found is not None:
            assert texts[found[1]] not in posted
    if any("ROLLBACK COMPLETE" in text for text in posted):
        assert outcome_of(rollback) == "verified"
    if any("Rolling back to deployment" in text for text in posted):
        assert len({text for text in posted if "Rolling back to deployment" in text}) == 1
