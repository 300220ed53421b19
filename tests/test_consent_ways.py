"""All ways together: which is asked, which counts, what stops them, and that they are used once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from approvers import INCIDENT, ROLE, Scene
from conftest import FakeClock

from rollback_lib.errors import BadParameters, GateClosed, Unreachable
from rollback_lib.store import Store

EFFECT = "rollback production to dpl_good"


@pytest.fixture
def scene(tmp_path: Path, clock: FakeClock) -> Scene:
    return Scene(tmp_path, clock, order=("slack", "signature"))


def permit(scene: Scene, effect: str = EFFECT) -> None:
    scene.gate.permit(effect, step="P1.S4", data={}, check=lambda: None)


def unreachable(*_: object) -> Any:
    raise Unreachable("The store state could not answer: no route.", "Nothing was sent.", "Look at it.")


# Which way


def test_every_way_is_asked_and_any_of_them_is_enough(scene: Scene) -> None:
    """The request stands in Slack and in the store; whoever answers first, in whichever way."""
    scene.request()
    assert scene.slack.count("chat.postMessage") == 1
    assert {line.data["way"] for line in scene.journal.find("approval.requested")} == {"slack", "signature"}
    (missing,) = scene.gate.missing()
    assert missing == (
        "no approval by the engineering lead yet (slack: no ✅ yet by Lee Lead or Dee Deputy; signature: nobody has signed it yet)"
    )
    scene.approve()
    scene.gate.look()
    assert scene.gate.is_open


@pytest.mark.parametrize(
    ("order", "way"), [(("slack", "signature"), "slack"), (("signature", "slack"), "signature")]
)
def test_the_policys_order_decides_which_is_named(
    tmp_path: Path, clock: FakeClock, order: Any, way: str
) -> None:
    """Where both are there, the way that the policy names first is the approval."""
    scene = Scene(tmp_path, clock, order=order)
    scene.approve()
    scene.slack.react("U0LEE")
    scene.gate.look()
    (line,) = scene.journal.find("gate.opened")
    assert [approval["way"] for approval in line.data["approvals"]] == [way]


@pytest.mark.parametrize("order", [("slack",), ("signature",), ("spoken",)])
def test_a_way_that_policy_does_not_name_is_not_asked(tmp_path: Path, clock: FakeClock, order: Any) -> None:
    """Neither posted nor saved, and not among what is advised."""
    scene = Scene(tmp_path, clock, order=order)
    scene.gate.look()
    assert {line.data["way"] for line in scene.journal.find("approval.requested")} <= set(order)
    assert len(scene.gate.advice) == 1


def test_advice_names_the_place_in_slack_and_the_exact_command(scene: Scene) -> None:
    """What the operator sends to the approver; nothing more once it is approved."""
    scene.request()
    slack, signature = scene.gate.advice
    assert slack.startswith("✅ on the request in the incidents channel: http://127.0.0.1:7403/archives/")
    command, _, elsewhere = signature.partition(" (")
    assert command == f"signature: rollback approve {scene.ask.digest[:16]} -e drill"
    named = elsewhere.partition("send them ")[2].partition(" of this run")[0]
    assert (scene.journal.folder / named).is_file()
    with pytest.raises(GateClosed) as closed:
        scene.gate.require_open()
    assert closed.value.next_step.startswith(
        f"Have it approved: {slack}; or {signature}. Then run this cell again"
    )
    assert f"rollback resume {scene.run}" in closed.value.next_step
    scene.approve()
    scene.gate.look()
    assert scene.gate.advice == ()


@pytest.mark.parametrize("down", ["slack", "store"])
def test_a_way_that_is_down_holds_up_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, down: str
) -> None:
    """Slack down: sign it. The store down: a ✅ is enough."""
    if down == "slack":
        scene.slack.broken = "down"
        scene.approve()
    else:
        monkeypatch.setattr(Store, "create", unreachable)
        scene.gate.look()
        scene.slack.react("U0LEE")
    scene.gate.look()
    assert scene.gate.is_open
    if down == "slack":
        permit(scene)


# What stops it


def test_a_refusal_in_slack_stops_a_signature_until_it_is_taken_back(scene: Scene) -> None:
    """Any holder's ❌ wins over any way; taken back, the gate opens again, on record."""
    scene.approve()
    scene.gate.look()
    assert scene.gate.is_open
    scene.slack.react("U0DEE", "x")
    with pytest.raises(GateClosed, match="refused by Dee Deputy"):
        scene.gate.reconfirm()
    scene.slack.take_back("U0DEE", "x")
    scene.gate.reconfirm()
    events = [
        line.event for line in scene.journal.lines if line.event.startswith(("gate.op", "approval.fallen"))
    ]
    assert events == ["gate.opened", "approval.fallen", "gate.opened"]


def test_contacts_are_read_again_at_each_look(scene: Scene) -> None:
    """Contacts that cannot be read approve nobody; read again, they do."""
    scene.approve()
    scene.gate.look()
    good = scene.gate.source.people  # type: ignore[union-attr]

    def broken() -> Any:
        raise BadParameters(
            "parameters/contacts.yaml cannot be read: gone.", "Nothing was sent.", "Restore it."
        )

    scene.gate.source.people = broken  # type: ignore[union-attr]
    scene.gate.look()
    assert not scene.gate.is_open
    assert "nobody knows who holds the role: parameters/contacts.yaml" in scene.gate.missing()[0]
    scene.gate.source.people = good  # type: ignore[union-attr]
    scene.gate.look()
    assert scene.gate.is_open


def test_a_way_that_policy_takes_away_ends_its_approvals(scene: Scene) -> None:
    """As the policy stands at the last look."""
    scene.approve()
    scene.gate.look()
    scene.gate.source.order = ("slack",)  # type: ignore[union-attr]
    scene.gate.look()
    assert not scene.gate.is_open


# Used once


def test_what_it_is_used_for_is_in_the_store_before_the_effect_is_intended(scene: Scene) -> None:
    """Journaled as a harmless change, put once, then the intent."""
    scene.approve()
    scene.gate.look()
    permit(scene)
    stored = scene.store.get(f"approvals/drill/{scene.ask.digest}/used")
    assert stored is not None
    mark = json.loads(stored.data)
    assert (mark["run"], mark["incident"], mark["effect"]) == (scene.run, INCIDENT, EFFECT)
    events = [(line.event, line.data["name"]) for line in scene.journal.lines if "name" in line.data][-3:]
    assert events == [
        ("prepare.intent", f"approvals used for {EFFECT}"),
        ("prepare.done", f"approvals used for {EFFECT}"),
        ("effect.intent", EFFECT),
    ]


def test_the_same_run_and_effect_may_go_on(scene: Scene) -> None:
    """A repeated attempt, and another kernel after a cut, use the same approval for the same thing."""
    scene.approve()
    scene.gate.look()
    permit(scene)
    permit(scene)
    scene.restart()
    scene.gate.reconfirm()
    permit(scene)
    marks = [line for line in scene.journal.find("prepare.intent") if "used for" in line.data["name"]]
    assert len(marks) == 1


def test_a_session_cut_off_right_after_marking_may_go_on(scene: Scene) -> None:
    """The mark is in the store and not yet on record: it is this run's own, so it is no obstacle."""
    scene.approve()
    scene.gate.look()
    permit(scene)
    cut = next(
        line for line in scene.journal.lines if line.data.get("name") == f"approvals used for {EFFECT}"
    )
    scene.journal.release()
    kept = scene.journal.path.read_bytes().split(b"\n")[: cut.seq]
    scene.journal.path.write_bytes(b"\n".join(kept) + b"\n")
    scene.restart()
    scene.gate.reconfirm()
    permit(scene)


def test_another_effect_of_the_same_run_is_refused(scene: Scene) -> None:
    """One approval, one effect; nothing of the second is intended."""
    scene.approve()
    scene.gate.look()
    permit(scene)
    with pytest.raises(GateClosed, match=f"used already, for {EFFECT} of run {scene.run}"):
        permit(scene, "promote production to dpl_other")
    assert [line.data["name"] for line in scene.journal.find("effect.intent")] == [EFFECT]


def test_a_signature_without_the_store_is_not_used(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it counts once cannot be kept, so it does not count now."""
    scene.approve()
    scene.gate.look()
    monkeypatch.setattr(Store, "create", unreachable)
    with pytest.raises(
        GateClosed, match="a signature counts once, and that it is used now cannot be put down"
    ):
        permit(scene)
    assert list(scene.journal.find("effect.intent")) == []


def test_a_reaction_without_the_store_is_used_with_a_warning(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands on this run's own message and counts for nothing else anyway."""
    scene.request()
    scene.slack.react("U0LEE")
    scene.gate.look()
    monkeypatch.setattr(Store, "create", unreachable)
    permit(scene)
    warned = scene.journal.last("warning")
    assert warned is not None
    assert "could not be put into the store" in warned.data["text"]


def test_whether_a_signature_was_used_is_asked_at_each_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that cannot tell keeps the gate closed."""
    scene.approve()
    scene.gate.look()
    monkeypatch.setattr(Store, "get", unreachable)
    scene.gate.look()
    assert "whether it was used before cannot be told" in scene.gate.missing()[0]


def test_roles_are_judged_each_for_itself(scene: Scene) -> None:
    """The lead's approval is none of the CTO."""
    scene.approve()
    source = scene.gate.source
    assert source is not None
    assert source.collect(scene.ask, ROLE)[0] is not None
    assert source.collect(scene.ask, "cto")[0] is None
