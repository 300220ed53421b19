"""`rollback approve`, as an approver and as an operator use it: a real run waits, real keys sign, the store carries."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from approvers import Scene, edited, key_of, public_of
from conftest import FakeClock
from parameters_project import configured, project
from rehearsal import Rehearsal
from typer.testing import CliRunner, Result

from rollback_lib.cli import app
from rollback_lib.cli.console import err
from rollback_lib.clock import SystemClock
from rollback_lib.consent.documents import Request, request_key
from rollback_lib.errors import BadParameters, GateClosed, NotApproved, RollbackError
from rollback_lib.execute import exit_code_of_error
from rollback_lib.model import Outcome, canonical_text
from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import WorldSpec

NAME = "derrimut-platform"


class Waiting:
    """A run that waits at its gate in a project of its own, and the people around it."""

    def __init__(self, folder: Path) -> None:
        self.home = project(folder)
        self.scene = Scene(self.home, FakeClock(SystemClock().now()))  # the command goes by the machine's
        self.scene.signers = self.home / ".secrets" / "drill-keys" / "allowed_signers"
        self.scene.signers.parent.mkdir(parents=True)
        self.allow = self.scene.allow
        self.allow(lee="lee", dee="dee")
        self.scene.gate = self.scene.make_gate()
        self.request = self.scene.request()

    @property
    def signed(self) -> list[Path]:
        """What was handed over."""
        return sorted((self.home / "state").glob("approvals/drill/*/signed-*.json"))

    def opens(self) -> bool:
        """Look at the gate once more, and ask for a permit; say whether there was one."""
        self.scene.gate.look()
        try:
            self.scene.gate.permit("roll back", step="P1.S4", data={}, check=lambda: None)
        except GateClosed:
            return False
        return True


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setenv("ROLLBACK_HOME", str(tmp_path / "project"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Waiting(tmp_path)


def approve(*words: str, typed: str = f"{NAME}\n") -> Result:
    """Run the command in this process; faults are told as `main` does."""
    done = CliRunner().invoke(app, ["approve", *words], input=typed)
    if isinstance(done.exception, RollbackError):
        err.print(str(done.exception))
        done.exit_code = exit_code_of_error(type(done.exception).__name__)
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def refusal(done: Result) -> RollbackError:
    assert isinstance(done.exception, RollbackError), done.output
    return done.exception


LEE = ("--key", str(key_of("lee")))


# The good way


def test_what_waits_is_listed_shown_signed_handed_over_and_lets_the_run_go_on(waiting: Waiting) -> None:
    """From the list to production moved: with the name typed, by the approver's own key."""
    request = waiting.request
    listed = approve("-e", "drill")
    assert listed.exit_code == 0
    assert request.short in listed.output
    assert request.run in listed.output
    assert "asked by Ana Operator" in listed.output
    assert "SIGNED" not in listed.output
    done = approve(request.short, "-e", "drill", *LEE)
    assert done.exit_code == 0, done.output
    for part in (*request.effect.values(), *request.will_not_undo, "Lee Lead (lee)"):
        assert part in done.output
    assert "Signed and handed over" in done.output
    (path,) = waiting.signed
    assert json.loads(json.loads(path.read_bytes())["statement"])["approver"] == "lee"
    assert "SIGNED already" in approve().output  # whoever signed need not wonder whether it went through
    assert waiting.opens()
    assert "Nothing waits" in approve().output  # used: it is not offered again
    again = approve(request.short, *LEE)
    assert (again.exit_code, refusal(again).happened) == (3, "It was approved and used already.")


@pytest.mark.parametrize("which", ["digest", "run", "beginning of the run"])
def test_a_request_is_found_by_digest_or_run(waiting: Waiting, which: str) -> None:
    """What people paste into a chat is enough."""
    request = waiting.request
    words = {"digest": request.digest, "run": request.run, "beginning of the run": request.run[:20]}
    assert approve(words[which], *LEE).exit_code == 0


def test_who_approves_is_told_by_the_key_by_the_login_or_by_hand(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order: --as, whose the public half is, the machine's login."""
    short = waiting.request.short
    monkeypatch.setenv("LOGNAME", "dee")
    assert "Lee Lead (lee)" in approve(short, *LEE, typed="no\n").output
    assert "Dee Deputy (dee)" in approve(short, typed="no\n").output
    assert "Dee Deputy (dee)" in approve(short, "--as", "dee", *LEE, typed="no\n").output
    monkeypatch.setenv("LOGNAME", "nobody-here")
    done = approve(short)
    assert done.exit_code == 2
    assert "Who approves?" in refusal(done).happened
    assert "--as, one of: ana, lee" in refusal(done).next_step


def test_as_text_it_reaches_the_operators_machine_without_a_shared_store(
    waiting: Waiting, tmp_path: Path
) -> None:
    """The request is read from a file, the approval is pasted back, and verified before it is taken in."""
    (copy,) = (waiting.scene.journal.folder / "attachments").glob("approval-request-*.json")
    done = approve("--request", str(copy), *LEE, "--out", str(tmp_path / "approval.txt"))
    assert done.exit_code == 0, done.output
    assert waiting.signed == []
    assert "--import" in done.output
    pasted = "\n".join(f"> {line}" for line in (tmp_path / "approval.txt").read_text().splitlines())
    taken = approve("--import", "-", typed=f"Lee wrote:\n{pasted}\n")
    assert taken.exit_code == 0, taken.output
    assert "signed by Lee Lead" in taken.output
    assert waiting.opens()


def test_text_for_pasting_is_alone_on_standard_output(waiting: Waiting) -> None:
    """It can be piped; what a person reads goes to the other stream."""
    done = approve(waiting.request.short, *LEE, "--out", "-")
    assert done.exit_code == 0
    assert done.stdout.startswith("-----BEGIN ROLLBACK APPROVAL-----\n")
    assert done.stdout.endswith("-----END ROLLBACK APPROVAL-----\n")
    assert "asks for your approval" in done.stderr


def test_a_key_in_the_agent_needs_no_file(
    waiting: Waiting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --key the agent is asked for one that the signers file has under this person."""
    short, socket = waiting.request.short, tmp_path / "agent"
    assert "The agent holds no key" in refusal(approve(short, "--as", "lee")).happened
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", str(key_of("stranger")), str(key_of("lee"))], check=True)
        done = approve(short, "--as", "lee")
    finally:
        agent.terminate()
        agent.wait()
    assert done.exit_code == 0, done.output
    assert waiting.opens()


def test_a_passphrase_is_asked_by_ssh_keygen_itself(
    waiting: Waiting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours never sees it; here OpenSSH's own helper answers in the person's place."""
    key, helper = tmp_path / "guarded", tmp_path / "askpass"
    secret = "passphrase-2718281828"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", secret, "-f", str(key)], check=True)
    helper.write_text(f"#!/bin/sh\necho {secret}\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    (waiting.home / ".secrets" / "drill-keys" / "allowed_signers").write_text(f"lee {public}\n")
    monkeypatch.setenv("SSH_ASKPASS", str(helper))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    done = approve(waiting.request.short, "--key", str(key))
    assert done.exit_code == 0, done.output
    assert secret not in done.output
    assert waiting.opens()


# What is not signed


@pytest.mark.parametrize(
    "typed", ["", "\n", "y\n", "derrimut\n", "Derrimut-platform\n", "derrimut-pl\u0430tform\n"]
)
def test_without_the_targets_exact_name_nothing_is_signed(waiting: Waiting, typed: str) -> None:
    """Hitting return, y, or a look-alike approves nothing."""
    done = approve(waiting.request.short, *LEE, typed=typed)
    assert done.exit_code == 3
    assert refusal(done).happened == f"What was typed is not {NAME}: not approved."
    assert waiting.signed == []
    assert not waiting.opens()


def test_who_asked_cannot_sign_and_who_has_no_role_cannot_either(waiting: Waiting) -> None:
    """Refused before anything is shown; nothing is signed."""
    waiting.allow(ana="ana", sam="sam", lee="lee")
    for who, says in (("ana", "you asked for this yourself"), ("sam", "Sam Support is not engineering lead")):
        done = approve(waiting.request.short, "--as", who, "--key", str(key_of(who)))
        assert (done.exit_code, waiting.signed) == (3, [])
        assert says in refusal(done).happened


def test_a_key_that_would_not_count_is_told_at_once(waiting: Waiting) -> None:
    """Not hours later at the gate: unknown to the signers file, or another person's."""
    waiting.allow(dee="dee")
    done = approve(waiting.request.short, "--as", "lee", *LEE)
    assert done.exit_code == 3
    assert "has no key of lee" in refusal(done).happened
    waiting.allow(dee="dee", lee="lee-laptop")
    done = approve(waiting.request.short, "--as", "lee", *LEE)
    assert done.exit_code == 3
    assert "The signature does not count" in refusal(done).happened
    assert waiting.signed == []


@pytest.mark.parametrize("name", [name for name in Request.model_fields if name != "digest"])
def test_a_request_that_was_changed_in_the_store_is_not_signed_or_not_taken(
    waiting: Waiting, name: str
) -> None:
    """What the digest covers is refused here; what else was changed, by the gate at the latest."""
    request = waiting.request
    place = waiting.home / "state" / request_key("drill", request.digest)
    place.write_text(canonical_text(edited(request, name)))
    done = approve(request.short, *LEE)
    if done.exit_code == 0:
        assert name in ("incident", "run", "gate", "roles", "requested_at", "nonce", "expires_at")
    else:
        assert done.exit_code in (2, 3)
        assert waiting.signed == []
    assert not waiting.opens()


def test_what_lies_in_the_store_steers_no_terminal(
    waiting: Waiting, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can write there could else draw an approver another request than the one that they sign."""
    place = waiting.home / "state" / "approvals" / "drill" / "\x1b[2J\x1b[1;1Hall is well" / "request.json"
    place.parent.mkdir(parents=True)
    place.touch()
    told = approve().output + capsys.readouterr().err
    assert "all is well" in told
    assert "\x1b" not in told


def test_a_request_that_was_changed_is_listed_as_unreadable(waiting: Waiting) -> None:
    """It is not silently left out."""
    request = waiting.request
    place = waiting.home / "state" / request_key("drill", request.digest)
    place.write_text(canonical_text(edited(request, "effect")))
    listed = approve()
    assert "CANNOT BE READ" in listed.output
    assert "it was changed" in listed.output
    assert "Nothing waits" in listed.output


def test_a_request_in_another_ones_place_is_not_signed(waiting: Waiting) -> None:
    """Its folder is its digest."""
    request = waiting.request
    elsewhere = waiting.home / "state" / request_key("drill", "0" * 64)
    elsewhere.parent.mkdir()
    elsewhere.write_text(request.text)
    done = approve("0" * 16, *LEE)
    assert done.exit_code == 3
    assert "another request's place" in refusal(done).happened


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(("-e", "prod"), 2, "known are production, staging, drill", id="unknown environment"),
        pytest.param(("-e", "production"), 2, "production is not configured yet", id="placeholders"),
        pytest.param(("ffffffff",), 2, "is no request in drill", id="no such digest"),
        pytest.param(("P1-1999",), 2, "is no request in drill", id="no such run"),
        pytest.param(("P1-",), 0, "", id="the only run"),
        pytest.param(("ab",), 2, "at least 6 letters", id="too short"),
        pytest.param(("x", "--request", "y"), 2, "given together", id="two at once"),
        pytest.param(("--request", "nowhere.json"), 2, "nowhere.json cannot be read", id="no file"),
        pytest.param(("--import", "nowhere.txt"), 2, "nowhere.txt cannot be read", id="no pasted file"),
        pytest.param(("P1-", "--as", "mallory"), 2, "'mallory' is nobody", id="nobody's key"),
        pytest.param(
            ("P1-", "--as", "lee", "--key", __file__), 3, f"did not sign with {__file__}", id="no key"
        ),
        pytest.param(("P1-", "--key", "/nowhere"), 2, "There is no key /nowhere", id="no such file"),
    ],
)
def test_wrong_words_are_told_with_their_code(
    waiting: Waiting, words: tuple[str, ...], code: int, says: str
) -> None:
    """2 for what was typed, 3 for what would not count; in three lines, and nothing is signed."""
    done = approve(*words, *(LEE if code == 0 else ()))
    assert done.exit_code == code
    if code:
        assert says in f"{refusal(done)}"
        assert waiting.signed == []


def test_a_request_for_another_environment_is_not_signed_here(waiting: Waiting, tmp_path: Path) -> None:
    """A drill's request, given where production is meant."""
    home = configured(tmp_path / "other")
    shutil.copytree(waiting.home / ".secrets", home / ".secrets")
    (home / "parameters" / "signers").mkdir(exist_ok=True)
    (home / "parameters" / "signers" / "production").write_text(f"lead {public_of('lee')}\n")
    copy = tmp_path / "request.json"
    copy.write_text(waiting.request.text)
    environment = {**os.environ, "ROLLBACK_HOME": str(home)}
    command = [sys.executable, "-m", "rollback_lib.cli", "approve", "-e", "production"]
    done = subprocess.run(
        [*command, "--request", str(copy), *LEE],
        env=environment,
        input=f"{NAME}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "NotApproved: The request is for drill, not for production." in done.stderr
    assert "  Now:  Nothing was signed.\n  Next: " in done.stderr
    assert "Traceback" not in done.stderr


# Taking in


@pytest.mark.parametrize(
    "bend", ["garbage", "cut", "another signature", "no such request", "another request"]
)
def test_pasted_text_that_would_not_count_is_not_taken_in(
    waiting: Waiting, tmp_path: Path, bend: str
) -> None:
    """Verified before it is put into the store, with the store's own request beside it."""
    text = approve(waiting.request.short, *LEE, "--out", "-").stdout
    lines = text.splitlines()
    if bend == "garbage":
        text = "yes, go ahead"
    elif bend == "cut":
        text = "\n".join([lines[0], *lines[2:]])
    elif bend == "another signature":
        waiting.allow(lee="lee-laptop")
    elif bend == "another request":
        asked = waiting.home / "state" / request_key("drill", waiting.request.digest)
        asked.write_text(canonical_text(edited(waiting.request, "expires_at")))
    else:
        (waiting.home / "state" / request_key("drill", waiting.request.digest)).unlink()
    place = tmp_path / "pasted"
    place.write_text(text)
    done = approve("--import", str(place))
    assert done.exit_code == 3
    assert isinstance(done.exception, NotApproved)
    assert waiting.signed == []


def test_the_operator_cannot_take_in_what_they_signed_themselves(waiting: Waiting) -> None:
    """Four eyes also on the way in: a request that names somebody else as asking is not this run's."""
    waiting.allow(ana="ana", lee="lee")
    request = waiting.request
    from approvers import signed, statement_for

    raw = signed(statement_for(request, "ana"), "ana")
    done = approve("--import", "-", typed=raw.decode())
    assert done.exit_code == 3
    assert "you asked for this yourself" in refusal(done).happened
    forged = signed(statement_for(edited(request, "requested_by"), "ana"), "ana")
    assert isinstance(approve("--import", "-", typed=forged.decode()).exception, NotApproved | BadParameters)
    assert waiting.signed == []
    assert not waiting.opens()


def test_a_request_of_the_future_is_not_signed(waiting: Waiting) -> None:
    """Whoever's clock is wrong: it is said, and nothing is signed."""
    waiting.scene.clock.advance(10 * 365 * 86400)
    waiting.scene.ask = waiting.scene.make_ask(title="Promote to Production, later")
    waiting.scene.gate = waiting.scene.make_gate()
    done = approve(waiting.scene.request().short, *LEE)
    assert done.exit_code == 3
    assert "has not come yet" in refusal(done).happened


# The whole of it


def test_a_signed_rollback_from_the_gate_to_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused without it, with the request saved and the command named; signed; the same run goes on to production."""
    monkeypatch.setenv("ROLLBACK_HOME", str(tmp_path / "project"))
    company = Rehearsal(tmp_path, FakeClock(SystemClock().now()))
    company.begin(WorldSpec(personas=()))
    signers = company.home / ".secrets" / "drill-keys" / "allowed_signers"
    signers.parent.mkdir(parents=True)
    signers.write_text(f"lee {public_of('lee')}\n")
    given = {"severity": "P1", "criterion": "P1.T3", "policy": {"approval_wait_s": 0}}
    run = company.open(**given)
    stable = to_gate(run)
    with pytest.raises(GateClosed) as closed:
        run.move_production(stable)
    record = json.loads((run.folder / "record.json").read_text())
    short = next(run.journal.find("gate.shown")).data["digest"][:16]
    assert record["outcome"]["outcome"] == "refused"
    for text in (closed.value.next_step, record["outcome"]["next_step"]):
        assert f"rollback approve {short} -e drill" in text
        assert f"rollback resume {run.journal.run}" in text
    assert f"attachments/approval-request-{short}.json" in [file["path"] for file in record["files"]]
    company.restart(run)

    done = approve(run.journal.run, *LEE)
    assert done.exit_code == 0, done.output
    again = company.open(**given, run=run.journal.run)
    again.monitor(again.move_production(to_gate(again)))
    assert company.live() == {company.role("stable")}
    assert again.log_row(Outcome.VERIFIED)["Approved By"] == "Lee Lead"
    used = json.loads(next((company.home / "state").glob("approvals/drill/*/used")).read_text())
    assert (used["run"], used["effect"]) == (
        run.journal.run,
        f"rollback production to {company.role('stable')}",
    )
    (asked,) = [one for one in company.world.slack.messages("C0INCIDENTS") if "Approval needed" in one.text]
    assert f"*Used by run {run.journal.run} at " in asked.text


def to_gate(run: VercelRollback):
    run.access_dashboard()
    run.go_to_deployments()
    stable = run.identify_stable_deployment()
    run.review(stable)
    run.gate("P1.G1", stable)
    return stable
