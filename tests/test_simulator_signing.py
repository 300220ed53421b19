"""People of the simulated company who sign: with the company's keys, what lies in its state folder, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from approvers import Scene, without_ssh_keygen
from conftest import FakeClock

from rollback_lib.consent.signatures import read_signers
from rollback_lib.errors import BadParameters
from rollback_lib.simulator import Signer, WorldSpec, serve
from rollback_lib.simulator.signing import SigningDesk

LEE = Signer(person="lee", after_s=0)


def desk(folder: Path, *signers: Signer) -> SigningDesk:
    return SigningDesk(signers, folder / "state", folder / "keys")


def test_a_persona_signs_a_request_once_and_the_gate_opens(tmp_path: Path, clock: FakeClock) -> None:
    """Made by the world from the published form; the library takes it, because it is right."""
    scene, people = Scene(tmp_path, clock, order=("signature",)), desk(tmp_path, LEE)
    assert people.signers_file is not None
    scene.signers = people.signers_file
    scene.gate = scene.make_gate()
    people.act()
    scene.request()
    people.act()
    people.act()
    signed = [key for key in scene.store.keys(f"approvals/drill/{scene.ask.digest}") if "signed-" in key]
    assert len(signed) == 1
    scene.gate.look()
    assert scene.gate.approvers == ("Lee Lead",)


def test_a_persona_leaves_alone_what_is_asked_of_others_or_cannot_be_read(tmp_path: Path) -> None:
    """Another role's request, garbage, and other environments are not signed, and stop nobody."""
    people, folder = desk(tmp_path, LEE), tmp_path / "state" / "approvals"
    for place, text in {
        "drill/1": json.dumps({"roles": ["cto"]}),
        "drill/2": "garbage",
        "drill/3": "[]",
        "production/4": json.dumps({"roles": ["engineering_lead"]}),
    }.items():
        (folder / place).mkdir(parents=True)
        (folder / place / "request.json").write_text(text)
    people.act()
    assert list(folder.rglob("signed-*")) == []


def test_a_persona_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    """Who signs late, or never by themselves, has not signed yet."""
    folder = tmp_path / "state" / "approvals" / "drill" / "1"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"roles": ["engineering_lead"]}))
    late, never = Signer(person="lee", after_s=3600), Signer(person="dee", after_s=None)
    people = desk(tmp_path, late, never)
    people.act()
    assert list(folder.glob("signed-*")) == []
    assert people.is_attended
    assert not desk(tmp_path, never).is_attended


def test_keys_are_their_owners_alone_and_found_again(tmp_path: Path) -> None:
    """A world at the same place has the same keys; the private ones are readable by their owner only."""
    first = desk(tmp_path, LEE).signers_file
    assert first is not None
    text = first.read_text()
    assert desk(tmp_path, LEE).signers_file == first
    assert first.read_text() == text
    assert (tmp_path / "keys" / "lee").stat().st_mode & 0o077 == 0
    assert [name for name, _ in read_signers(first, "signers").keys] == ["lee"]


def test_a_world_without_signers_needs_no_ssh_keygen_and_one_with_them_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most drills sign nothing."""
    monkeypatch.setenv("PATH", without_ssh_keygen(tmp_path))
    assert desk(tmp_path).signers_file is None
    with pytest.raises(BadParameters, match="ssh-keygen is not installed"):
        desk(tmp_path, LEE)


def test_a_served_world_hands_its_signers_file_out_and_takes_its_keys_along(tmp_path: Path) -> None:
    """The drill's platform names them; when the world ends they are gone, unless they were given a place."""
    quiet = {"traffic_rps": 0.0, "history_s": 0.0, "older_deployments": 3, "signers": (LEE,)}
    with serve(WorldSpec(**quiet)) as own, serve(WorldSpec(**quiet), keys=tmp_path / "keys") as kept:
        place = Path(own.platform["signers"])
        assert place.is_file()
        assert kept.platform["signers"] == str(tmp_path / "keys" / "allowed_signers")
    assert not place.exists()
    assert (tmp_path / "keys" / "lee").exists()
    with serve(WorldSpec(**(quiet | {"signers": ()}))) as nobody:
        assert "signers" not in nobody.platform
