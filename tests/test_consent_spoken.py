"""Approvals by word of mouth: who can have said it, when, and that every account says how it was given."""

from __future__ import annotations

from pathlib import Path

import pytest
from approvers import ROLE, Scene
from conftest import FakeClock

from rollback_lib.consent.spoken import SpokenApprovals
from rollback_lib.errors import NotApproved


@pytest.fixture
def scene(tmp_path: Path, clock: FakeClock) -> Scene:
    return Scene(tmp_path, clock, order=("spoken",))


def spoken(scene: Scene) -> SpokenApprovals:
    found = scene.ways().spoken
    assert found is not None
    return found


def test_attested_approval_opens_the_gate_and_is_told_as_spoken(scene: Scene) -> None:
    """Who said it, at what time, and who attests it; that is what the gate, the log and the record name."""
    spoken(scene).attest(scene.ask, ROLE, "lee", "21:55")
    scene.gate.look()
    assert scene.gate.is_open
    assert scene.gate.approvers == ("Lee Lead (spoken, attested by Ana Operator)",)
    (line,) = scene.journal.find("approval.seen")
    assert {line.data[key] for key in ("way", "attested_by", "seen_at", "expires_at")} == {
        "spoken",
        "Ana Operator",
        "2026-11-23T21:55:00.000Z",
        "2026-11-23T22:55:00.000Z",
    }


def test_it_counts_for_the_next_kernel_and_until_it_expires(scene: Scene) -> None:
    """Attested is on record; its time runs from when it was said."""
    spoken(scene).attest(scene.ask, ROLE, "dee", "21:55")
    scene.restart()
    scene.gate.look()
    assert scene.gate.is_open
    scene.clock.advance(57 * 60 + 1)
    assert not scene.gate.is_open


def test_said_before_midnight_is_yesterdays(scene: Scene) -> None:
    """A minute past midnight UTC, 23:59 was two minutes ago."""
    scene.clock.advance(2 * 3600 + 3 * 60)  # 00:01
    spoken(scene).attest(scene.ask, ROLE, "lee", "23:59")
    (line,) = scene.journal.find("approval.seen")
    assert line.data["seen_at"] == "2026-11-23T23:59:00.000Z"


@pytest.mark.parametrize(
    ("speaker", "at", "says"),
    [
        pytest.param("", "21:55", "Nobody cannot have approved", id="nobody chosen"),
        pytest.param("ana", "21:55", "ana cannot have approved", id="the operator"),
        pytest.param("cat", "21:55", "cat cannot have approved", id="another role"),
        pytest.param("lee", "", "is no time", id="no time"),
        pytest.param("lee", "24:00", "is no time", id="no hour"),
        pytest.param("lee", "21:5", "is no time", id="half a time"),
        pytest.param("lee", "20:57", "longer ago than an approval counts", id="too long ago"),
        pytest.param("lee", "21:59", "longer ago than an approval counts", id="not yet"),
    ],
)
def test_what_would_not_count_is_not_written_down(scene: Scene, speaker: str, at: str, says: str) -> None:
    """Refused with what to choose or write instead."""
    with pytest.raises(NotApproved, match=says):
        spoken(scene).attest(scene.ask, ROLE, speaker, at)
    assert list(scene.journal.find("approval.seen")) == []


def test_who_takes_the_run_over_has_not_approved_it(scene: Scene) -> None:
    """Spoken, then operating: no second pair of eyes is left."""
    spoken(scene).attest(scene.ask, ROLE, "lee", "21:55")
    scene.gate.look()
    scene.journal.append("run.continued", data={"operator": "lee"})
    scene.gate.look()
    assert not scene.gate.is_open
    assert [person.key for person in spoken(scene).speakers(ROLE)] == ["dee"]
    assert "has operated this run" in scene.journal.last("approval.fallen").data["reason"]  # type: ignore[union-attr]
