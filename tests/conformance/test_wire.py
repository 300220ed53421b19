"""The runbook speaks to Vercel as Vercel's own command line does, and leaves the world as that one leaves it.

Both go the same way back in companies of the same seed; what they sent and what came of it is held side by side.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import ROOT

from rollback_lib.simulator import Fault
from rollback_lib.simulator import company as facts

pytest_plugins = ["served"]

TEAM = f"teamId={facts.TEAM_ID}"
# What the simulated platforms need no time for is not waited for.
AT_ONCE = {"telemetry_lag_s": 0, "error_window_s": 1, "min_requests": 1, "verify_poll_s": 0.1}


def runbook(world, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run procedure 1 headless against a company, as a pipeline does."""
    tree = yaml.safe_load((ROOT / "parameters" / "drill.yaml").read_text(encoding="utf-8"))
    kept = {"archive": str(folder / "incidents"), "state": str(folder / "state")}
    given = {**tree, "platform": {**world.serving.platform, **kept}, "policy": AT_ONCE}
    file = folder / "given.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    command = ["run", "1_vercel_rollback", "-e", "drill", "--world", "given", "-f", str(file)]
    return subprocess.run(
        [sys.executable, "-m", "rollback_lib.cli", *command],
        env={**os.environ, **world.serving.variables, "ROLLBACK_HOME": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def asked(world, *, changing: bool) -> list:
    """List what was asked of the platform by the company's own token."""
    return [
        entry
        for entry in world.serving.world.ledger.entries()
        if (entry.service, entry.caller) == ("vercel", "VERCEL_TOKEN") and entry.changes is changing
    ]


def bare(entry) -> tuple:
    """Give a request without what may differ: the version in its path, and the reason that Vercel keeps."""
    query = sorted(part for part in entry.query.split("&") if not part.startswith("description="))
    return entry.method, re.sub(r"^/v\d+/", "/", entry.path), query, entry.body, entry.status


def left(world) -> tuple:
    """Give what a visitor, the next build and the cron jobs find."""
    view = world.serving.world.outcome_view()
    return world.serves, view.production, view.auto_assign, view.crons, world.done


def test_both_send_the_same_and_leave_the_same(company, tmp_path):
    """One request that changes something, for the same path, team and body; then the project is asked how it went."""
    theirs, ours = company(), company()
    assert theirs.vercel("rollback", theirs.role("stable"), "--yes").code == 0
    done = runbook(ours, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [bare(entry) for entry in asked(ours, changing=True)] == [
        bare(entry) for entry in asked(theirs, changing=True)
    ]
    assert left(ours) == left(theirs)
    (post,) = asked(ours, changing=True)
    polls = [entry for entry in asked(ours, changing=False) if entry.seq > post.seq]
    assert polls[0].path == f"/v9/projects/{facts.PROJECT_NAME}"
    assert set(polls[0].query.split("&")) == {"rollbackInfo=true", TEAM}


def test_every_request_of_the_runbook_names_the_team(company, tmp_path):
    """The official tool leaves it out where it may be left out; the runbook never does."""
    world = company()
    assert runbook(world, tmp_path).returncode == 0
    entries = [*asked(world, changing=False), *asked(world, changing=True)]
    assert [entry.path for entry in entries if TEAM not in entry.query.split("&")] == []


def test_both_name_the_domain_that_did_not_move(company, tmp_path):
    """The official tool goes by the job's own list, the runbook by what each domain serves; they agree."""
    fault = Fault(service="vercel", method="POST", path="*/rollback/*", kind="partial")
    theirs, ours = company(faults=(fault,)), company(faults=(fault,))
    told, done = theirs.vercel("rollback", theirs.role("stable"), "--yes"), runbook(ours, tmp_path)
    assert (told.code, done.returncode) == (1, 1)
    assert facts.DOMAINS[1] in told.said[-1]
    assert f"/v4/aliases/{facts.DOMAINS[1]}" in [entry.path for entry in asked(ours, changing=False)]
    assert facts.DOMAINS[1] in done.stdout + done.stderr
    assert left(ours) == left(theirs)


@pytest.mark.parametrize("kind", ["reset_after", "500"])
def test_where_the_answer_is_lost_the_runbook_sends_once(company, tmp_path, kind):
    """The official tool sends the same four times and calls it a failure; the runbook looks, and it was done."""
    fault = Fault(
        service="vercel",
        method="POST",
        path="*/rollback/*",
        kind=kind,
        nth={"from": 1},
        effect_applied=True,
    )
    theirs, ours = company(faults=(fault,)), company(faults=(fault,))
    told, done = theirs.vercel("rollback", theirs.role("stable"), "--yes"), runbook(ours, tmp_path)
    assert (told.code, done.returncode) == (1, 0), done.stdout + done.stderr
    assert (len(asked(theirs, changing=True)), len(asked(ours, changing=True))) == (4, 1)
    assert theirs.serves == ours.serves == {"stable"}
