"""OpenSSH signatures as `ssh-keygen` really makes and judges them, and the file that says whose keys count."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from approvers import key_of, public_of, sign_text, without_ssh_keygen

from rollback_lib.consent.signatures import Signers, namespace_of, read_signers, sign, verify
from rollback_lib.errors import NotApproved

NOW = datetime(2026, 11, 23, 21, 58, tzinfo=UTC)
TEXT = '{"approver":"lee"}'


def signers(folder: Path, *lines: str) -> Signers:
    """Read a signers file of these lines."""
    path = folder / "signers"
    path.write_text("\n".join(lines) + "\n")
    return read_signers(path, "parameters/signers/drill")


def verified(known: Signers, signature: str, text: str = TEXT, **other: object) -> str:
    """Verify as the gate does."""
    facts: dict[str, object] = {"person": "lee", "environment": "drill", "now": NOW}
    return verify(known, text.encode(), signature, **(facts | other))  # type: ignore[arg-type]


def test_a_good_signature_gives_the_keys_fingerprint(tmp_path: Path) -> None:
    """Which of a person's keys signed is on record."""
    known = signers(tmp_path, f"lee {public_of('lee')}")
    told = subprocess.run(["ssh-keygen", "-l", "-f", f"{key_of('lee')}.pub"], capture_output=True, check=True)
    assert verified(known, sign_text(TEXT, "lee")) in told.stdout.decode()


def test_each_of_a_persons_keys_counts(tmp_path: Path) -> None:
    """The laptop's and the one in hardware."""
    known = signers(tmp_path, f"lee {public_of('lee')}", f"lee {public_of('lee-laptop')}")
    assert verified(known, sign_text(TEXT, "lee")) != verified(known, sign_text(TEXT, "lee-laptop"))


@pytest.mark.parametrize(
    ("other", "key", "namespace", "text"),
    [
        pytest.param({"person": "dee"}, "lee", "rollback@drill", TEXT, id="another person"),
        pytest.param({}, "dee", "rollback@drill", TEXT, id="another key"),
        pytest.param({}, "lee", "rollback@production", TEXT, id="another namespace"),
        pytest.param({"environment": "production"}, "lee", "rollback@drill", TEXT, id="another environment"),
        pytest.param({}, "lee", "rollback@drill", TEXT + " ", id="another text"),
    ],
)
def test_any_other_signature_does_not_count(
    tmp_path: Path, other: dict[str, object], key: str, namespace: str, text: str
) -> None:
    """Person, key, namespace and every byte of the text are bound together."""
    known = signers(tmp_path, f"lee {public_of('lee')}", f"dee {public_of('dee')}")
    with pytest.raises(NotApproved, match="does not count: ssh-keygen says"):
        verified(known, sign_text(text, key, namespace), **other)


def test_a_key_limited_to_another_namespace_or_time_does_not_count(tmp_path: Path) -> None:
    """The file's own limits hold, by the run's clock and not by the machine's."""
    drill_only = signers(tmp_path, f'lee namespaces="rollback@drill" {public_of("lee")}')
    assert verified(drill_only, sign_text(TEXT, "lee"))
    with pytest.raises(NotApproved):
        verified(drill_only, sign_text(TEXT, "lee", "rollback@staging"), environment="staging")
    until = signers(tmp_path, f'lee valid-before="20261123215700" {public_of("lee")}')
    with pytest.raises(NotApproved):
        verified(until, sign_text(TEXT, "lee"))
    assert verified(until, sign_text(TEXT, "lee"), now=datetime(2026, 11, 23, 21, 56, tzinfo=UTC))


def test_comments_and_empty_lines_are_no_keys(tmp_path: Path) -> None:
    """As it is committed for production the file lets nobody approve."""
    known = signers(tmp_path, "# lee ssh-ed25519 AAAA", "", "   ")
    assert known.keys == ()
    with pytest.raises(NotApproved, match="parameters/signers/drill has no key of lee"):
        verified(known, sign_text(TEXT, "lee"))


def test_whose_a_key_is_can_be_asked(tmp_path: Path) -> None:
    """By the public half, whatever comment it carries."""
    known = signers(tmp_path, f"lee {public_of('lee')} laptop", f"dee {public_of('dee')}")
    assert known.people_of(f"{public_of('dee')} dee@home") == ("dee",)
    assert known.people_of(public_of("stranger")) == ()
    assert known.of("lee") == (public_of("lee"),)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("* {key}", "one person's key", id="everybody"),
        pytest.param("!dee,lee {key}", "one person's key", id="everybody but"),
        pytest.param("lee,dee {key}", "one person's key", id="two people"),
        pytest.param('"lee" {key}', "one person's key", id="quoted"),
        pytest.param("l\u0435e {key}", "one person's key", id="a look-alike"),
        pytest.param("lee {key} caf\u00e9", "one person's key", id="a comment that is not plain"),
        pytest.param("lee cert-authority {key}", "authority", id="an authority"),
        pytest.param('lee namespaces="x",cert-authority {key}', "authority", id="an authority among options"),
        pytest.param("\u00a0#,lee {key}", "one person's key", id="a name that looks like a comment"),
        pytest.param("\u2003#,lee {key}", "one person's key", id="the same behind a wide space"),
        pytest.param("\x0c#,lee {key}", "one person's key", id="the same behind a form feed"),
        pytest.param("lee", "no public key", id="no key"),
        pytest.param("lee ssh-ed25519", "no public key", id="half a key"),
        pytest.param("{key}", "no public key", id="no name"),
        pytest.param("dee {known}", "one key is one person", id="a key under two names"),
    ],
)
def test_a_line_that_could_be_more_than_one_person_makes_the_file_void(
    tmp_path: Path, line: str, says: str
) -> None:
    """Four eyes need that one key is one person; until it is corrected no signature counts."""
    good = f"lee {public_of('lee')}"
    with pytest.raises(NotApproved, match=says) as caught:
        signers(tmp_path, good, line.format(key=public_of("stranger"), known=public_of("lee")))
    assert "line 2" in caught.value.happened
    assert "the other ways still do" in caught.value.state


def test_a_file_that_is_not_there_or_no_text_is_said(tmp_path: Path) -> None:
    """By its name, with what to do."""
    with pytest.raises(NotApproved, match="signers/drill cannot be read: No such file"):
        read_signers(tmp_path / "nothing", "parameters/signers/drill")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(NotApproved, match="not plain text"):
        read_signers(tmp_path / "binary", "parameters/signers/drill")


def test_without_ssh_keygen_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a traceback nor a silent no; the other ways go on."""
    known, signature = signers(tmp_path, f"lee {public_of('lee')}"), sign_text(TEXT, "lee")
    monkeypatch.setenv("PATH", without_ssh_keygen(tmp_path))
    for attempt in (lambda: verified(known, signature), lambda: sign(key_of("lee"), "drill", b"x")):
        with pytest.raises(NotApproved, match="ssh-keygen is not installed") as caught:
            attempt()
        assert "openssh-client" in caught.value.next_step


def test_an_ssh_keygen_that_says_yes_to_everything_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 alone is no verification."""
    known = signers(tmp_path, f"lee {public_of('lee')}")
    stand_in = tmp_path / "ssh-keygen"
    stand_in.write_text("#!/bin/sh\ncat >/dev/null\nexit 0\n")
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(NotApproved, match="no good signature"):
        verified(known, "anything")


def test_a_key_that_was_not_read_as_the_persons_does_not_count(tmp_path: Path) -> None:
    """Whatever else in the file `ssh-keygen` may take for their key: what a reviewer cannot see approves nothing."""
    listed, hidden = f"lee {public_of('lee')}", f"lee {public_of('stranger')}"
    known = replace(signers(tmp_path, listed), raw=f"{listed}\n{hidden}\n".encode())
    assert verified(known, sign_text(TEXT, "lee"))
    with pytest.raises(NotApproved, match="in a place that is not read as a key of lee"):
        verified(known, sign_text(TEXT, "stranger"))


def test_signing_with_a_file_and_with_its_public_half_give_signatures_that_verify(tmp_path: Path) -> None:
    """Whoever has the key signs; what was signed is the text as it is."""
    known = signers(tmp_path, f"lee {public_of('lee')}")
    for key in (key_of("lee"), Path(f"{key_of('lee')}.pub")):
        assert verified(known, sign(key, "drill", TEXT.encode()))


def test_signing_through_an_agent_needs_no_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public key alone names the key in the agent."""
    known = signers(tmp_path, f"lee {public_of('lee')}")
    public = tmp_path / "alone.pub"
    public.write_text(public_of("lee") + "\n")
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert agent.poll() is None
        with pytest.raises(NotApproved, match="did not sign"):
            sign(public, "drill", TEXT.encode())
        subprocess.run(["ssh-add", "-q", str(key_of("lee"))], check=True)
        assert verified(known, sign(public, "drill", TEXT.encode()))
    finally:
        agent.terminate()
        agent.wait()


def test_a_key_that_is_not_there_signs_nothing(tmp_path: Path) -> None:
    """What `ssh-keygen` says goes to the terminal; ours says what to do."""
    with pytest.raises(NotApproved, match="ssh-keygen did not sign with") as caught:
        sign(tmp_path / "nowhere", "drill", b"x")
    assert caught.value.state == "Nothing was signed."
    assert "--key" in caught.value.next_step


def test_the_namespace_names_the_environment() -> None:
    """A signature for one environment is none in another."""
    assert namespace_of("production") == "rollback@production"
