"""What procedure 1 shows of deployments: which one is live, and which one it would go back to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.procedures.shown import LONGEST
from rollback_lib.procedures.vercel_facts import deployments_listing


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


def test_list_marks_the_one_that_is_live_now_and_names_it_below(company: Rehearsal):
    """Which one is meant is not left to a comparison of times."""
    rollback = company.open()
    rollback.access_dashboard()
    listed = rollback.go_to_deployments()
    (live,) = (at for at, row in enumerate(listed.rows) if row[0] == "LIVE")
    assert listed.rows[live][1] == company.role("bad")
    assert listed.bold == (live,)
    assert f"Live now: {company.role('bad')}." in repr(listed)


@pytest.mark.parametrize(
    ("live", "note"),
    [
        (lambda _: None, "not known: Vercel does not say"),
        (lambda _: "dpl_elsewhere", "Live now: dpl_elsewhere, which is not among these."),
        (lambda ids: ids[LONGEST], "further down."),
    ],
    ids=["unknown", "elsewhere", "further down"],
)
def test_list_says_so_where_the_live_one_is_not_to_be_seen(company: Rehearsal, live, note: str):
    """A list without a mark is not taken for one where nothing is live."""
    deployments = list(company.open().session.clients.vercel.deployments(target="production"))
    listed = deployments_listing(deployments, live([one.id for one in deployments]))
    assert note in repr(listed)
    assert "LIVE" not in repr(listed)


def test_candidate_shows_itself_as_a_table_whose_ids_stay_whole(company: Rehearsal):
    """In JupyterLab no id breaks across lines; the plain text, which papermill keeps, says the same."""
    rollback = company.open()
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    html = stable._repr_html_()
    for role, label in (("stable", "goes back to"), ("bad", "suspect, live now")):
        assert re.search(f"nowrap'>{label}</td><td style='[^']*nowrap'>{company.role(role)}</td>", html), role
    assert f"<b>Preview:</b> <a href='{stable.preview}'" in html
    assert "<b>Rolls back:</b> 1 deployment(s)</div>" in html
    assert repr(stable).startswith(f"Last stable deployment: {company.role('stable')}")
