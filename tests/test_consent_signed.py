"""The request in the store and what is signed beside it; store, journal and `ssh-keygen` are the real ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from approvers import INCIDENT, ROLE, Scene, public_of, signed, statement_for, without_ssh_keygen
from buckets import bucket_server
from conftest import FakeClock
from consents import NAME

from rollback_lib.consent.documents import Request, request_key
from rollback_lib.errors import GateClosed, Unreachable
from rollback_lib.journal import Journal
from rollback_lib.model import Redactor
from rollback_lib.store import Store


@pytest.fixture
def scene(tmp_path: Path, clock: FakeClock) -> Scene:
    return Scene(tmp_path, clock, order=("signature",))


def test_the_request_is_on_record_then_in_the_store_and_with_the_run(scene: Scene) -> None:
    """Written down first, put once, kept with the record; it names everything that an approver has to know."""
    request = scene.request()
    events = [
        line.event for line in scene.journal.lines if "approval" in str(line.data.get("name", line.event))
    ]
    assert events == ["prepare.intent", "prepare.done", "approval.requested"]
    intent = next(scene.journal.find("prepare.intent"))
    assert Request.model_validate_json(json.dumps(intent.data["document"])) == request
    assert (request.incident, request.run, request.gate, request.roles) == (
        INCIDENT,
        scene.run,
        "P1.G1",
        (ROLE,),
    )
    assert (request.requested_by, request.typed_wanted) == ("ana", NAME)
    assert (request.requested_at, request.expires_at) == (
        "2026-11-23T21:58:00.000Z",
        "2026-11-23T22:58:00.000Z",
    )
    copy = scene.journal.folder / "attachments" / f"approval-request-{scene.ask.short}.json"
    assert copy.read_bytes() == request.text.encode()


def test_it_is_saved_once_however_often_the_gate_looks(scene: Scene) -> None:
    """Looking again, and another kernel, find the request that is there: same nonce, same times."""
    request = scene.request()
    scene.clock.advance(60)
    scene.gate.look()
    scene.restart()
    assert scene.request() == request
    assert len(list(scene.journal.find("approval.requested"))) == 1


@pytest.mark.parametrize("cut_at", ["prepare.intent", "prepare.done"])
def test_a_session_cut_off_while_saving_goes_on_with_the_same_request(scene: Scene, cut_at: str) -> None:
    """Whether it had reached the store or not: the request that was written down is the one."""
    request = scene.request()
    last = next(line for line in scene.journal.lines if line.event == cut_at)
    scene.journal.release()
    kept = scene.journal.path.read_bytes().split(b"\n")[: last.seq]
    scene.journal.path.write_bytes(b"\n".join(kept) + b"\n")
    if cut_at == "prepare.intent":
        scene.store.delete(request_key("drill", scene.ask.digest))
    scene.restart()
    assert scene.request() == request
    scene.approve(request)
    scene.gate.look()
    assert scene.gate.is_open


def test_an_honest_signature_opens_the_gate_and_is_kept_with_the_run(scene: Scene) -> None:
    """Who, as what, with which key, on what evidence; the signed paper lies in the record."""
    key = scene.approve()
    scene.gate.look()
    assert scene.gate.is_open
    assert scene.gate.approvers == ("Lee Lead",)
    (line,) = scene.journal.find("approval.seen", "P1.G1")
    assert (line.data["way"], line.data["person"], line.data["evidence"]) == ("signature", "Lee Lead", key)
    assert line.data["key"].startswith("SHA256:")
    assert line.data["expires_at"] == "2026-11-23T22:58:00.000Z"
    (copy,) = (scene.journal.folder / "attachments").glob("approval-signed-*.json")
    stored = scene.store.get(key)
    assert stored is not None
    assert copy.read_bytes() == stored.data


def test_it_is_written_down_once(scene: Scene) -> None:
    """Each look verifies again and says nothing new."""
    scene.approve()
    for _ in range(3):
        scene.gate.look()
    scene.restart()
    scene.gate.look()
    assert scene.gate.is_open
    assert len(list(scene.journal.find("approval.seen"))) == 1


def test_a_deputys_signature_counts(scene: Scene) -> None:
    """A deputy of the role approves as well as its person."""
    scene.approve(approver="dee", key="dee")
    scene.gate.look()
    assert scene.gate.approvers == ("Dee Deputy",)


def test_garbage_beside_it_does_not_hide_an_honest_one(scene: Scene) -> None:
    """Whoever may write into the store can put anything there; what is good still counts."""
    request = scene.request()
    for number in range(4):
        scene.put(b"garbage %d" % number)
    scene.put(signed(statement_for(request), "stranger"))
    scene.approve(request)
    scene.gate.look()
    assert scene.gate.is_open


def test_a_key_added_later_counts_and_a_key_taken_out_ends_it_at_once(scene: Scene) -> None:
    """The signers file is read at each look, the last one right before the effect."""
    scene.allow(dee="dee")
    scene.approve()
    scene.gate.look()
    assert not scene.gate.is_open
    scene.allow(lee="lee")
    scene.gate.reconfirm()
    scene.allow(dee="dee")
    scene.gate.look()
    assert not scene.gate.is_open
    fallen = scene.journal.last("approval.fallen")
    assert fallen is not None
    assert "has no key of lee" in fallen.data["reason"]


def test_another_request_in_its_place_is_not_ours(scene: Scene) -> None:
    """Somebody put a request under this digest before: nothing that is signed there counts, and it is said."""
    scene.store.put(request_key("drill", scene.ask.digest), b"something else")
    scene.gate.look()
    assert "another request stands in the store" in scene.gate.missing()[0].casefold()
    assert scene.journal.last("prepare.failed") is not None
    assert list(scene.journal.find("approval.requested")) == []


def test_a_store_that_is_down_is_said_and_the_request_saved_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No approval and no error: the gate says why, and saves the request when the store is back."""

    def down(*_: object) -> bool:
        raise Unreachable("The store state could not put it: no route.", "Nothing was sent.", "Look at it.")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "create", down)
        scene.gate.look()
    assert "The store state could not put it" in scene.gate.missing()[0]
    assert scene.journal.last("prepare.unknown") is not None
    scene.approve(scene.request())
    scene.gate.look()
    assert scene.gate.is_open


def test_without_ssh_keygen_the_gate_says_so_and_goes_on(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clear word instead of an approval; by another way it still opens."""
    scene.approve()
    monkeypatch.setenv("PATH", without_ssh_keygen(tmp_path))
    scene.gate.look()
    assert "ssh-keygen is not installed" in scene.gate.missing()[0]
    scene.order = ("signature", "slack")
    scene.gate = scene.make_gate()
    scene.gate.look()
    scene.slack.react("U0LEE")
    scene.gate.look()
    assert scene.gate.is_open


def test_what_is_not_plain_is_never_asked_to_be_signed(scene: Scene) -> None:
    """A target whose name looks alike makes no request for signature; the gate says why."""
    scene.ask = scene.make_ask(typed_wanted="derrimut-pl\u0430tform")
    scene.gate = scene.make_gate()
    scene.gate.look()
    assert "must be printable ASCII" in " ".join(scene.gate.missing())
    assert scene.store.keys("approvals") == ()


def test_a_secret_in_what_is_asked_does_not_leave(tmp_path: Path, clock: FakeClock) -> None:
    """Redacted like everything else; the digest does not fit any more, so that nobody can sign it by mistake."""
    scene = Scene(tmp_path, clock, order=("signature",))
    scene.journal.redactor.learn(["token-2718281828"])
    scene.ask = scene.make_ask(effect={"to": "dpl_good token-2718281828"})
    scene.gate = scene.make_gate()
    scene.gate.look()
    assert "it was changed" in " ".join(scene.gate.missing())
    assert not any(b"2718281828" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_another_machine_goes_on_from_journal_and_store_alone(scene: Scene, tmp_path: Path) -> None:
    """Without the first machine's attachments: the request is the journal's, the signature the store's."""
    request = scene.request()
    scene.approve(request)
    scene.journal.release()
    for path in (scene.journal.folder / "attachments").iterdir():
        path.unlink()
    scene.journal = Journal.resume(
        scene.journal.folder, scene.run, by="ana", clock=scene.clock, redactor=Redactor()
    )
    scene.store = replace_store(tmp_path)
    scene.gate = scene.make_gate()
    scene.gate.look()
    assert scene.gate.is_open


def test_a_bucket_carries_request_signature_and_mark_as_a_folder_does(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Operator and approver on two machines, with nothing shared but the bucket."""
    with bucket_server("state") as bucket:
        scene = Scene(tmp_path, clock, order=("signature",))
        scene.store = Store.open("s3://state/team", tmp_path, Redactor(), bucket)
        scene.gate = scene.make_gate()
        scene.approve()
        scene.gate.reconfirm()
        scene.gate.permit("roll back", step="P1.S4", data={}, check=lambda: None)
        names = [key.rpartition("/")[2] for key in scene.store.keys("approvals")]
        assert [name for name in names if not name.startswith("signed-")] == ["request.json", "used"]
        with pytest.raises(GateClosed, match="used already"):
            scene.gate.permit("promote", step="P1.S4", data={}, check=lambda: None)


def replace_store(folder: Path) -> Store:
    """Open the same store as another machine would."""
    return Store.open("state", folder, Redactor())


def test_the_public_key_alone_is_enough_to_verify(scene: Scene) -> None:
    """The library never needs, and never reads, a private key."""
    scene.approve()
    assert public_of("lee") in scene.signers.read_text()
    scene.gate.look()
    assert scene.gate.is_open
    assert "PRIVATE KEY" not in scene.journal.path.read_text()


def test_each_role_is_asked_in_one_request_and_approved_by_its_own_holder(scene: Scene) -> None:
    """Two roles, two signatures on the same request."""
    way = replace(scene.signed(), roles=(ROLE, "cto"))
    request = way.save(scene.ask)
    scene.allow(lee="lee", cat="cat")
    scene.approve(request)
    assert way.collect(scene.ask, ROLE)[0] is not None
    assert way.collect(scene.ask, "cto")[0] is None
    scene.approve(request, approver="cat", key="cat", roles=("cto",))
    found, _ = way.collect(scene.ask, "cto")
    assert found is not None
    assert found.person == "Cat Chief"
