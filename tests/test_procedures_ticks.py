"""What a person is asked to see to and to tick: the preview of procedure 1, the builds of procedure 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import pytest
from conftest import FakeClock
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from rehearsal import GIVEN, QUIET, Rehearsal

from rollback_lib.procedures import ConvexRollback


@pytest.fixture
def company(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    """Give a company, for a kernel that runs here."""
    found = Rehearsal(tmp_path, clock)
    monkeypatch.setenv("ROLLBACK_DRILL_CONVEX_DEPLOY_KEY", "prod:happy-otter-123|2718281828")
    monkeypatch.setenv("ROLLBACK_HOME", str(found.home))
    return found


@pytest.fixture(autouse=True)
def _notebook() -> Iterator[None]:
    InteractiveShell.instance()
    ipywidgets.Widget.close_all()  # what another file's cells have left in this process
    yield
    InteractiveShell.clear_instance()
    ipywidgets.Widget.close_all()


def backend(company: Rehearsal, mode: str) -> ConvexRollback:
    """Open procedure 2; its freeze asks no platform."""
    given = {**GIVEN, "mode": mode, "policy": QUIET, "new_run": True}
    return ConvexRollback.open(given, clock=company.clock, transport=company.transport)


def the_box() -> ipywidgets.Checkbox:
    """Return the one box that is shown."""
    (box,) = [
        one for one in ipywidgets.widgets.widget._instances.values() if type(one) is ipywidgets.Checkbox
    ]
    return box


def test_ticked_builds_are_nowhere_said_to_go_on(company: Rehearsal) -> None:
    """The cell has no second word on it that would stay as it was: one text, which the tick replaces."""
    rollback = backend(company, "interactive")
    with capture_output() as cell:
        assert rollback.freeze() is None
        the_box().value = True
    texts = [one.data["text/plain"] for one in cell.outputs if "text/html" in one.data]
    assert [text.splitlines()[0] for text in texts] == [
        "Builds of main are NOT stopped: the next one pushes the bad code again",
        "Builds of main are stopped, as Ana Operator ticked",
    ]
    assert len({one.transient["display_id"] for one in cell.outputs if "text/html" in one.data}) == 1
    assert "value=False" not in "".join(
        one.data["text/plain"] for one in cell.outputs
    )  # kept in a saved notebook
    assert [line.data["frozen"] for line in rollback.journal.find("freeze")] == [False, True]
    with capture_output() as again:
        told = repr(rollback.freeze())
    assert "stopped, said Ana Operator" in told
    assert "NOT" not in told
    assert again.outputs == []


def test_builds_of_a_headless_run_are_told_as_not_stopped(company: Rehearsal) -> None:
    """Nobody is there to tick: it is on record, and said in the cell."""
    rollback = backend(company, "headless")
    with capture_output() as cell:
        assert "NOT stopped" in repr(rollback.freeze())
    assert cell.outputs == []
    assert [line.data["frozen"] for line in rollback.journal.find("freeze")] == [False]


def test_a_ticked_preview_is_nowhere_said_to_be_unseen(company: Rehearsal) -> None:
    """The same for the deployment's own address in procedure 1."""
    rollback = company.open(mode="interactive", new_run=True)
    rollback.access_dashboard()
    rollback.go_to_deployments()
    stable = rollback.identify_stable_deployment()
    with capture_output() as cell:
        assert rollback.review(stable) is None
        the_box().value = True
    texts = [one.data["text/plain"] for one in cell.outputs if "text/html" in one.data]
    assert [text.splitlines()[0] for text in texts] == ["Not reviewed yet", "Reviewed"]
    assert repr(rollback.review(stable)) == f"{stable.deployment.id}: reviewed by a person"
