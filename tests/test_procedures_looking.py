"""A step that only looks, and left something unseen, run again: it looks once more, and its newest look counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from backend_watched import Watched, calls
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.errors import CheckFailed
from rollback_lib.model import Check, CheckStatus, Outcome
from rollback_lib.procedures import VercelRollback
from rollback_lib.procedures.looking import unseen
from rollback_lib.providers.convex_logs import FunctionErrors
from rollback_lib.simulator import Fault

BROKEN = FunctionErrors("mail:send", 4, 4)
FEW = calls(7)
DOWN = Fault.model_validate({"service": "sentry", "kind": "503", "nth": {"from": 1}})
REPEATED = "this is what was seen then; nothing was asked again"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the cells show besides their result."""
    said: list[str] = []
    monkeypatch.setattr("rollback_lib.procedures.base.show", lambda thing: said.append(repr(thing)))
    return said


def with_too_few_calls(folder: Path, mode: str = "interactive") -> Watched:
    """A run of procedure 2 whose step 6 had too few calls to judge by."""
    watched = Watched(folder, mode=mode)
    watched.done("P2.S5")
    watched.backend.answers["executions"] = FEW
    verify(watched)
    watched.backend.answers["executions"] = calls()
    return watched


def verify(watched: Watched) -> str:
    """Run the cell of step 6."""
    return repr(watched.rollback.verify_functions(watched.chosen, watched.pushed))


def statuses(watched: Watched) -> list[str]:
    """List how the calls were judged, look by look."""
    return [check.status.value for check in watched.checks("P2.C2")]


# Procedure 2


def test_step_that_saw_too_little_looks_once_more_and_can_be_verified(tmp_path: Path, shown: list[str]):
    """The cell says that it does, and why; what it sees now is what the run ends with."""
    watched = with_too_few_calls(tmp_path)
    assert "P2.S6 leaves P2.C2 unknown: run this cell again to look once more" in shown[-1]
    shown.clear()
    result = verify(watched)
    assert statuses(watched) == ["unknown", "passed"]
    (said,) = shown
    assert "left P2.C2 unknown: it looks once more" in said
    assert "0.00 % of 1000 Convex function calls failed" in result
    assert "P2.C2" not in watched.rollback._judge()[1]


def test_step_whose_second_look_saw_all_repeats_it(tmp_path: Path, shown: list[str]):
    """From then on it is a step like any other: nothing is asked, and the newest look is what is told."""
    watched = with_too_few_calls(tmp_path)
    result = verify(watched)
    shown.clear()
    asked = len(watched.backend.asked)
    assert verify(watched) == result
    assert len(watched.backend.asked) == asked
    assert REPEATED in shown[-1]


def test_kernel_that_begins_anew_looks_once_more_too(tmp_path: Path):
    """Run all, with a person there who sees why and can go on without."""
    watched = with_too_few_calls(tmp_path)
    watched.rollback = watched.kernel()
    verify(watched)
    assert statuses(watched) == ["unknown", "passed"]


def test_headless_run_that_goes_on_does_not_wait_a_second_time(tmp_path: Path, shown: list[str]):
    """Nobody asked for it: the window is over, and the outcome says what was not seen."""
    watched = with_too_few_calls(tmp_path, mode="headless")
    assert shown == []
    before, watched.rollback = watched.clock.now(), watched.kernel()
    verify(watched)
    assert statuses(watched) == ["unknown"]
    assert watched.clock.now() == before
    assert REPEATED in shown[-1]


def test_second_look_that_is_interrupted_holds_nothing_up(tmp_path: Path):
    """The step stays done: the next one runs, nothing of the first look is lost, and its cell may look again."""
    watched = with_too_few_calls(tmp_path)
    watched.backend.answers["executions"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        verify(watched)
    watched.rollback.test_queries()
    outcome, why = watched.rollback._judge()
    assert (outcome, "P2.C2" in why) == (Outcome.COMPLETED_UNVERIFIED, True)
    watched.backend.answers["executions"] = calls()
    verify(watched)
    assert statuses(watched) == ["unknown", "passed"]


def test_second_look_that_fails_is_not_hidden_by_the_first(tmp_path: Path):
    """It stops its cell, the run ends as failed, and the cell looks again for as long as it stays so."""
    watched = with_too_few_calls(tmp_path)
    watched.backend.answers["executions"] = calls(1000, 4, BROKEN)
    for _ in range(2):
        with pytest.raises(CheckFailed, match="mail:send 4 of 4"):
            verify(watched)
        watched.rollback.test_queries()
        assert watched.rollback._judge()[0] is Outcome.FAILED
    watched.backend.answers["executions"] = calls()
    verify(watched)
    assert statuses(watched) == ["unknown", "failed", "failed", "passed"]


def test_closed_run_looks_no_more(tmp_path: Path, shown: list[str]):
    """What it was closed with is what it says."""
    watched = with_too_few_calls(tmp_path)
    watched.journal.append("run.closed", data={"outcome": "completed_unverified"})
    verify(watched)
    assert statuses(watched) == ["unknown"]
    assert REPEATED in shown[-1]


def test_update_says_that_a_step_is_looked_at_once_more(tmp_path: Path):
    """Whoever waits in the channel reads neither that it is done nor that it never was."""
    watched = with_too_few_calls(tmp_path)
    assert ": done (since" in watched.rollback._where_it_stands()
    watched.backend.answers["executions"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        verify(watched)
    assert ": done, and looked at once more (since" in watched.rollback._where_it_stands()


def interrupted(*_: object) -> None:
    """Let the person who waits have enough."""
    raise KeyboardInterrupt


# Which checks are a step's


class Journal:
    """The lines of a run, written as the steps do."""

    def __init__(self, folder: Path) -> None:
        self.watched = Watched(folder)

    def look(self, step: str, ends: str, **checks: str) -> None:
        """Let a step look, note its checks and end; no end: it was cut off."""
        journal = self.watched.journal
        journal.append("step.started", step=step, data={"title": step})
        self.note(**checks)
        if ends:
            journal.append(ends, step=step, data={"result": None})

    def note(self, **checks: str) -> None:
        """Note checks; one whose name ends with `_` is not required."""
        for name, status in checks.items():
            required = not name.endswith("_")
            check = Check(name, name, CheckStatus(status), "", "", "", required=required)
            self.watched.rollback.session.note_check(check)

    def unseen(self, step: str) -> tuple[str, ...]:
        """Ask what a step left."""
        return unseen(self.watched.journal.lines, step)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with a step that is done, of whose three checks two were not seen, one of them not required."""
    made = Journal(tmp_path)
    made.look("S6", "step.done", A="unknown", B="passed", C_="unknown")
    return made


def test_check_is_of_the_step_that_noted_it(journal: Journal):
    """Required ones only; another step's are another's."""
    journal.look("S7", "step.done", D="unknown")
    assert (journal.unseen("S6"), journal.unseen("S7")) == (("A unknown",), ("D unknown",))
    assert journal.unseen("S5") == ()


def test_newest_line_of_a_check_counts_whoever_noted_it(journal: Journal):
    """Another look has seen it since, or can see it no more; what another saw to fail is for that one to look at."""
    journal.look("S7", "step.done", A="passed")
    assert journal.unseen("S6") == ()
    journal.look("S7", "step.done", A="unknown", B="failed")
    assert journal.unseen("S6") == ("A unknown",)


def test_check_of_a_look_before_the_one_that_was_done_is_not_asked_for(journal: Journal):
    """The cell failed, was run again and is done: what only the failing look noted, it would not see again."""
    journal.look("S8", "step.failed", E="failed", F="unknown")
    journal.look("S8", "step.done", E="passed")
    assert journal.unseen("S8") == ()


@pytest.mark.parametrize("ends", ["step.failed", "step.interrupted", ""])
def test_look_that_did_not_come_to_its_end_counts_as_far_as_it_came(journal: Journal, ends: str):
    """Its checks are the newest; what it did not come to stays as it was."""
    journal.look("S6", ends, B="failed", D="unknown")
    assert journal.unseen("S6") == ("A unknown", "B failed", "D unknown")


def test_check_of_the_close_is_of_no_step_that_was_cut_off(journal: Journal):
    """The kernel died in a step; the run was opened again and closed."""
    journal.look("S7", "")
    journal.watched.journal.append("run.continued", data={"mode": "headless"})
    journal.note(PIN="unknown")
    assert journal.unseen("S7") == ()


# Procedure 1


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


def rolled_back(company: Rehearsal) -> VercelRollback:
    """Roll back, headless, with Sentry down behind the move; then a person opens the run."""
    rollback = company.open()
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    rollback.gate("P1.G1", stable)
    rollback.monitor(rollback.move_production(stable))
    company.world.faults.add((DOWN,))
    rollback.verify(stable)
    assert rate(rollback) == ["unknown"]
    run = rollback.journal.run
    company.restart(rollback)
    return company.open(run=run, mode="interactive")


def rate(rollback: VercelRollback) -> list[str]:
    """List how the error rate was judged, look by look."""
    checks = (line.data for line in rollback.journal.find("check"))
    return [check["status"] for check in checks if check["id"] == "P1.C3"]


def test_sentry_that_is_back_is_read_when_the_cell_is_run_again(company: Rehearsal, shown: list[str]):
    """A run that could not be verified is, and its record says so; production was moved once."""
    rollback = rolled_back(company)
    company.world.faults.clear()
    shown.clear()
    stable = rollback.identify_stable_deployment()
    assert REPEATED in shown[-1]
    rollback.verify(stable)
    assert "P1.C3 unknown: it looks once more" in shown[-1]
    assert rate(rollback) == ["unknown", "passed"]
    rollback.close()
    record = json.loads((rollback.folder / "record.json").read_text(encoding="utf-8"))
    assert record["outcome"]["outcome"] == "verified"
    assert len(company.sent("/rollback/")) == 1


def test_second_look_of_procedure_1_that_fails_is_what_the_run_ends_with(company: Rehearsal):
    """Somebody moved production meanwhile: the first look does not hide it, and the close says failed."""
    rollback = rolled_back(company)
    stable = rollback.identify_stable_deployment()
    company.world.hosting.promote(company.role("hotfix"), by="dee", at_ms=company.world.now_ms())
    company.clock.advance(60)
    company.world.advance()
    with pytest.raises(CheckFailed, match="no longer on"):
        rollback.verify(stable)
    with pytest.raises(CheckFailed, match="closed as failed"):
        rollback.close()


def test_effect_is_never_done_again(company: Rehearsal):
    """Whatever was left unseen: only what looks is run again."""
    rollback = rolled_back(company)
    stable = rollback.identify_stable_deployment()
    rollback.move_production(stable)
    assert len(company.sent("/rollback/")) == 1
