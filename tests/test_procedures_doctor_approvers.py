"""The doctor on approvals: for each role that the plan asks, is there somebody besides the operator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import Consultation
from repository import ROOT

from rollback_lib.plan import load_plan
from rollback_lib.procedures.doctor.approvers import roles_asked

SIGNERS = ".secrets/drill-keys/allowed_signers"


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Make three people's public keys."""
    folder = tmp_path_factory.mktemp("keys")
    found = []
    for name in ("lee", "cat", "sam"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, timeout=20
        )
        found.append(" ".join((folder / f"{name}.pub").read_text().split()[:2]))
    return found[0], found[1], found[2]


def signers(sound: Consultation, text: str) -> None:
    """Write the drill's signers file."""
    path = sound.home / SIGNERS
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def only_signatures(sound: Consultation) -> None:
    """Allow no other way of approval."""
    sound.edit("drill.yaml", "approval_ways: [slack, signature]", "approval_ways: [signature]")


def test_roles_are_those_that_the_plan_asks() -> None:
    """Who is only told afterwards approves nothing."""
    assert roles_asked(load_plan(ROOT)) == ("engineering_lead", "cto")


def test_role_with_a_deputy_is_fine(sound: Consultation) -> None:
    """Whoever of them operates, the other approves."""
    assert sound.told("Approvals", "engineering lead approves") == ("ok", "Lee Lead or Dee Deputy", "")


def test_role_of_one_is_closed_to_that_one(sound: Consultation) -> None:
    """Others may still operate: a warning that names who must not."""
    status, seen, todo = sound.told("Approvals", "cto approves")
    assert (status, "Cat Chief alone" in seen, "deputy for cto" in todo) == ("warning", True, True)


def test_one_person_cannot_be_four_eyes(sound: Consultation) -> None:
    """Nobody approves their own request, and there is nobody else."""
    contacts = sound.home / "parameters" / "contacts.yaml"
    contacts.write_text(
        """
drill:
  people:
    lee: {name: Lee Lead, slack: U0LEE, email: lee@derrimut247.drill, phone: "+61 000 000 002"}
  roles:
    engineering_lead: {person: lee}
    cto: {person: lee}
    on_call_engineer: {person: lee}
""",
        encoding="utf-8",
    )
    for role in ("engineering lead", "cto"):
        status, seen, _ = sound.told("Approvals", f"{role} approves")
        assert (status, "nobody else to operate" in seen) == ("wrong", True)


def test_unknown_people_leave_it_unknown(sound: Consultation) -> None:
    """The file's own check tells why."""
    (sound.home / "parameters" / "contacts.yaml").unlink()
    assert sound.look("Approvals", "cto approves").after == "Parameters: contacts.yaml"


# Keys


def test_keys_of_holders_and_deputies_are_told(sound: Consultation, keys: tuple[str, str, str]) -> None:
    """A deputy's is enough; options before the key are fine."""
    lee, cat, _ = keys
    signers(sound, f'# who approves\ndee namespaces="rollback@drill" {lee}\n\ncat {cat}\n')
    assert sound.told("Approvals", "signers") == ("ok", f"{SIGNERS}: keys of dee, cat", "")
    assert sound.told("Approvals", "engineering lead signs") == ("ok", "Dee Deputy", "")
    assert sound.told("Approvals", "cto signs") == ("ok", "Cat Chief", "")


@pytest.mark.parametrize("text", ["", "# nobody yet\n", None])
def test_role_without_a_key_hangs_on_slack(sound: Consultation, text: str | None) -> None:
    """A warning where Slack may approve too; without another way nobody could let anything through."""
    if text is not None:
        signers(sound, text)
    assert sound.told("Approvals", "signers")[:2] == ("ok", f"{SIGNERS}: no key in it")
    status, seen, todo = sound.told("Approvals", "engineering lead signs")
    assert (status, "hang on slack" in seen, "Lee Lead" in todo) == ("warning", True, True)
    only_signatures(sound)
    status, seen, _ = sound.told("Approvals", "engineering lead signs")
    assert (status, "no other way" in seen) == ("wrong", True)


def test_key_of_somebody_without_the_role_does_not_count(
    sound: Consultation, keys: tuple[str, str, str]
) -> None:
    """Sam holds no role."""
    only_signatures(sound)
    signers(sound, f"sam {keys[2]}\n")
    assert sound.told("Approvals", "signers")[0] == "ok"
    assert sound.told("Approvals", "cto signs")[0] == "wrong"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{lee}\n", "no public key"),
        ("lee,dee {lee}\n", "must be one person's key"),
        ("lee {lee}\ndee {lee}\n", "one key is one person"),
        ("lee cert-authority {lee}\n", "an authority"),
        ("lee\n", "no public key"),
        ("lee ssh-ed25519 AAAAnotakey\n", "knows no such public key"),
        ("zoe {lee}\n", "zoe is nobody"),
        ("\x00\x01garbage\n", ""),
        ("\udcff\udcfe", "not plain text"),
    ],
)
def test_file_that_does_not_hold_is_wrong(
    sound: Consultation, keys: tuple[str, str, str], text: str, says: str
) -> None:
    """It counts for nothing as a whole, and would be found out only when somebody has signed."""
    signers(sound, text.replace("{lee}", keys[0]))
    status, seen, todo = sound.told("Approvals", "signers")
    assert (status, says in seen, bool(todo)) == ("wrong", True, True), seen


def test_machine_without_ssh_keygen_is_wrong(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be verified on it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    status, seen, _ = sound.told("Approvals", "signers")
    assert (status, "ssh-keygen is not installed" in seen) == ("wrong", True)


def test_signatures_that_policy_does_not_allow_are_not_checked(sound: Consultation) -> None:
    """By choice."""
    sound.edit("drill.yaml", "approval_ways: [slack, signature]", "approval_ways: [slack]")
    for title in ("signers", "engineering lead signs", "cto signs"):
        assert sound.told("Approvals", title)[0] == "not checked"
