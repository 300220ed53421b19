"""`rollback approve`: read a request, sign it with one's own key, and hand the approval over.

- What is signed is what was shown; what could not count at the gate is not signed.
- The target's name is typed, as at the gate: a request is not approved by hitting return.
- A private key is never read here: `ssh-keygen` signs, and asks for its passphrase itself.
- Exit codes: 0 signed and handed over, taken in, or listed; 1 the store gave no answer; 2 wrong words;
  3 not signed or not taken, because it would not count.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollback_lib.cli.console import app, err, out
from rollback_lib.clock import SystemClock, to_iso
from rollback_lib.errors import BadParameters, NotApproved
from rollback_lib.parameters import (
    Contacts,
    Person,
    Platform,
    Policy,
    Secrets,
    known_environment,
    load_contacts,
    project_home,
    read_layer,
)
from rollback_lib.parameters.effective import effective_platform, effective_policy
from rollback_lib.parameters.layer import refuse_placeholders
from rollback_lib.parameters.platform import signers_file
from rollback_lib.store import Store, open_store

if TYPE_CHECKING:
    from rich.console import Console

    from rollback_lib.consent.documents import Request, Signed, Statement
    from rollback_lib.consent.signatures import Signers

__all__: list[str] = []

_SHORTEST_PREFIX = 6  # letters of a digest
_NOT_SIGNED = "Nothing was signed."


@dataclass(frozen=True)
class _Office:
    """One environment, as far as approving goes."""

    environment: str
    platform: Platform
    policy: Policy
    contacts: Contacts
    store: Store
    home: Path

    @classmethod
    def of(cls, environment: str) -> _Office:
        home = project_home(None, os.environ).resolve()
        known_environment(environment)
        layer = read_layer(home, environment)
        refuse_placeholders(layer, home)
        platform = effective_platform(layer, {}, home)
        secrets = Secrets.open(environment, home, os.environ, None)
        store = open_store(platform, home, secrets)
        return cls(
            environment, platform, effective_policy(layer, {}), load_contacts(home, environment), store, home
        )

    def signers(self) -> Signers:
        from rollback_lib.consent.signatures import read_signers

        named = signers_file(self.platform, self.environment)
        return read_signers(self.home / named, str(named))

    @staticmethod
    def now() -> datetime:
        return SystemClock().now()


@app.command()
def approve(  # noqa: PLR0917 - typer makes options of them
    which: Annotated[str, typer.Argument(help="The beginning of a digest, or a run; empty: list them")] = "",
    environment: Annotated[
        str, typer.Option("-e", "--environment", help="drill, staging or production")
    ] = "drill",
    request: Annotated[
        str, typer.Option("--request", help="A file with the request instead of the store; - reads it here")
    ] = "",
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", help="Your private key's file, or the .pub of a key in the agent or in hardware"
        ),
    ] = None,
    who: Annotated[str, typer.Option("--as", help="Your key in parameters/contacts.yaml")] = "",
    output: Annotated[
        str, typer.Option("--out", help="Write the approval here as text, for pasting; - shows it")
    ] = "",
    imported: Annotated[
        str, typer.Option("--import", help="On the operator's machine: take in a pasted approval; - reads it")
    ] = "",
) -> None:
    """Approve a change by signature; without an argument, list what waits for approval."""
    if sum(map(bool, (which, request, imported))) > 1:
        raise BadParameters(
            "WHICH, --request and --import were given together.", _NOT_SIGNED, "Give one of them."
        )
    office = _Office.of(environment)
    if imported:
        _take_in(office, imported)
    elif which or request:
        _approve(office, _wanted(office, which, request), key, who, output, asks_tty=request == "-")
    else:
        _list(office)


# -- what waits


def _requests(office: _Office) -> list[tuple[str, Request | str]]:
    """Read every request of the environment; what cannot be read is told by its reason."""
    from rollback_lib.consent.documents import Request, read_paper, request_key

    found: list[tuple[str, Request | str]] = []
    for key in office.store.keys(f"approvals/{office.environment}"):
        if not key.endswith("/request.json"):
            continue
        stored = office.store.get(key)
        try:
            request = read_paper(stored.data if stored is not None else b"", Request)
        except NotApproved as exc:
            found.append((key, exc.happened))
            continue
        misplaced = key != request_key(office.environment, request.digest)
        found.append((key, "it lies in another request's place" if misplaced else request))
    return found


def _list(office: _Office) -> None:
    from rollback_lib.consent.review import listed

    now, waiting = office.now(), 0
    for key, request in _requests(office):
        if isinstance(request, str):
            out.print(f"{key}  CANNOT BE READ: {request}", markup=False)
        elif now <= datetime.fromisoformat(request.expires_at) and not _used(office, request):
            waiting += 1
            signed = "; SIGNED already, the gate has not used it yet" if _is_signed(office, request) else ""
            out.print(f"{listed(request, office.contacts, now)}{signed}", markup=False)
    if not waiting:
        out.print(f"Nothing waits for an approval in {office.environment}.", markup=False)
    else:
        out.print(f"To read and sign one: rollback approve DIGEST -e {office.environment}", markup=False)


def _used(office: _Office, request: Request) -> bool:
    from rollback_lib.consent.documents import folder_of

    return office.store.get(f"{folder_of(request.environment, request.digest)}/used") is not None


def _is_signed(office: _Office, request: Request) -> bool:
    """Say whether somebody handed a signature over; whether it counts is for the gate to judge."""
    from rollback_lib.consent.documents import folder_of

    keys = office.store.keys(folder_of(request.environment, request.digest))
    return any("/signed-" in key for key in keys)


def _wanted(office: _Office, which: str, file: str) -> Request:
    """Find the request that is meant.

    Raises:
        BadParameters: None, or more than one.
        NotApproved: It is none that counts.
    """
    from rollback_lib.consent.documents import Request, from_pasted, read_paper

    if file:
        return read_paper(from_pasted(_text_of(file)), Request)
    known = _requests(office)
    is_digest = len(which) >= _SHORTEST_PREFIX and re.fullmatch("[0-9a-f]+", which) is not None
    broken = [(key, why) for key, why in known if isinstance(why, str) and is_digest and f"/{which}" in key]
    if broken:
        raise NotApproved(
            ": ".join(broken[0]), _NOT_SIGNED, "Ask the operator for the request by another way."
        )
    found = [
        request
        for _, request in known
        if not isinstance(request, str)
        and ((is_digest and request.digest.startswith(which)) or request.run.startswith(which))
    ]
    if len(found) != 1:
        several = ", ".join(f"{request.short} (run {request.run})" for request in found)
        raise BadParameters(
            f"{which!r} is {'more than one request' if found else 'no request'} in {office.environment}{f': {several}' if found else ''}.",
            _NOT_SIGNED,
            f"rollback approve -e {office.environment} lists those that wait; a digest needs at least {_SHORTEST_PREFIX} letters.",
        )
    return found[0]


def _text_of(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadParameters(f"{file} cannot be read: {exc}.", _NOT_SIGNED, "Give another file.") from exc


# -- signing


def _approve(
    office: _Office, request: Request, key: Path | None, who: str, output: str, *, asks_tty: bool
) -> None:
    from rollback_lib.consent.documents import APPROVAL_BLOCK, as_pasted
    from rollback_lib.consent.review import refuse, shown

    signers, say = office.signers(), err if output == "-" else out  # so that the text alone can be piped
    approver = _approver(office, signers, key, who)
    now, environment = office.now(), office.environment
    refuse(
        request, approver, environment=environment, contacts=office.contacts, policy=office.policy, now=now
    )
    if _used(office, request):
        raise NotApproved("It was approved and used already.", _NOT_SIGNED, "There is nothing left to do.")
    if not signers.of(approver.key):
        raise NotApproved(
            f"{signers.shown} has no key of {approver.key}, so no signature of {approver.name} would count.",
            _NOT_SIGNED,
            "Have your key added there, with a review (docs/approver.md); until then approve in Slack.",
        )
    for line in shown(request, approver, office.contacts, now):
        say.print(line, markup=False)
    _typed(request.typed_wanted, say, asks_tty=asks_tty)
    signed = _signed(office, signers, request, approver, key)
    if not output:
        _hand_over(office, signed)
        return
    text = as_pasted(signed, APPROVAL_BLOCK)
    if output == "-":
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")
    say.print(
        f"Signed. On the operator's machine: rollback approve -e {environment} --import FILE (or -, and paste it)",
        markup=False,
    )


def _approver(office: _Office, signers: Signers, key: Path | None, who: str) -> Person:
    """Say who approves: as given, else whose key it is, else by the machine's login."""
    if key is not None and not key.exists() and not Path(f"{key}.pub").exists():
        raise BadParameters(
            f"There is no key {key}.",
            _NOT_SIGNED,
            "Give the file of your private key, or the .pub of one in the agent, after --key.",
        )
    if who:
        return office.contacts.person(who)
    public = _public_of(key) if key is not None else ""
    owners = signers.people_of(public) if public else ()
    if owners:
        return office.contacts.person(owners[0])
    login = getpass.getuser()
    for person in office.contacts.people.values():
        if login == person.key or login in person.operator_names:
            return person
    raise BadParameters(
        f"Who approves? Neither the key nor the login {login} tells.",
        _NOT_SIGNED,
        f"Say it with --as, one of: {', '.join(office.contacts.people)}.",
    )


def _public_of(key: Path) -> str:
    """Read the public half that lies beside a key; the private one is not opened."""
    place = key if key.suffix == ".pub" else Path(f"{key}.pub")
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _typed(wanted: str, say: Console, *, asks_tty: bool) -> None:
    """Have the target's name typed.

    Raises:
        NotApproved: Something else was typed; nothing was signed.
    """
    say.print("")
    say.print(f"Type {wanted} to approve it, anything else to leave it: ", end="", markup=False)
    try:
        if asks_tty:  # what came in by standard input was the request
            with Path("/dev/tty").open(encoding="utf-8") as terminal:
                typed = terminal.readline()
        else:
            typed = sys.stdin.readline()
    except OSError as exc:
        raise BadParameters(
            "There is no terminal to type the name on.", _NOT_SIGNED, "Give the request as a file."
        ) from exc
    if typed.rstrip("\r\n") != wanted:
        raise NotApproved(
            f"What was typed is not {wanted}: not approved.",
            _NOT_SIGNED,
            "Run the command again if you meant to approve; to refuse, put a ❌ on the request in Slack, or ring.",
        )


def _signed(
    office: _Office, signers: Signers, request: Request, approver: Person, key: Path | None
) -> Signed:
    """Sign, and see at once whether it would count."""
    from rollback_lib.consent.documents import Signed, Statement
    from rollback_lib.consent.review import roles_of
    from rollback_lib.consent.signatures import sign, verify

    statement = Statement(
        approver=approver.key,
        roles=roles_of(request, approver, office.contacts),
        signed_at=to_iso(office.now()),
        request=request,
    ).text.encode()
    with tempfile.TemporaryDirectory(prefix="approve-") as scratch:
        signature = sign(
            key or _key_in_agent(signers, approver, Path(scratch)), office.environment, statement
        )
    verify(
        signers,
        statement,
        signature,
        person=approver.key,
        environment=office.environment,
        now=office.now(),
    )
    return Signed(statement=statement.decode(), signature=signature)


def _key_in_agent(signers: Signers, approver: Person, scratch: Path) -> Path:
    """Find a key of the approver that the agent holds, and write its public half down for `ssh-keygen`."""
    try:
        held = subprocess.run(["ssh-add", "-L"], capture_output=True, check=False, text=True).stdout  # noqa: S607 - found on the path as a person would
    except OSError:
        held = ""
    keys = {" ".join(line.split()[:2]) for line in held.splitlines()}
    fitting = next((public for public in signers.of(approver.key) if public in keys), None)
    if fitting is None:
        raise BadParameters(
            f"The agent holds no key that {signers.shown} has under {approver.key}.",
            _NOT_SIGNED,
            "Say which key signs: --key ~/.ssh/id_ed25519, or add it to the agent with ssh-add.",
        )
    place = scratch / "key.pub"
    place.write_text(fitting + "\n", encoding="utf-8")
    return place


def _hand_over(office: _Office, signed: Signed) -> None:
    office.store.create(signed.key, signed.text.encode())
    out.print(
        f"Signed and handed over: {office.store.location}/{signed.key}\nThe gate finds it at its next look; tell the operator.",
        markup=False,
    )


# -- taking in


def _take_in(office: _Office, file: str) -> None:
    """Put a pasted approval into the store, if it would count."""
    from rollback_lib.consent.documents import Signed, Statement, from_pasted, read_paper
    from rollback_lib.consent.review import refuse
    from rollback_lib.consent.signatures import verify

    signed = read_paper(from_pasted(_text_of(file)), Signed)
    said = read_paper(signed.statement.encode(), Statement)
    approver = office.contacts.person(said.approver)
    refuse(
        said.request,
        approver,
        environment=office.environment,
        contacts=office.contacts,
        policy=office.policy,
        now=office.now(),
    )
    _refuse_other(office, said)
    verify(
        office.signers(),
        signed.statement.encode(),
        signed.signature,
        person=approver.key,
        environment=office.environment,
        now=office.now(),
    )
    office.store.create(signed.key, signed.text.encode())
    out.print(
        f"Taken in: signed by {approver.name} for run {said.request.run}. The gate finds it at its next look.",
        markup=False,
    )


def _refuse_other(office: _Office, said: Statement) -> None:
    """Refuse an approval of anything but the request that stands in the store."""
    from rollback_lib.consent.documents import request_key

    asked = office.store.get(request_key(office.environment, said.request.digest))
    if asked is None or asked.data != said.request.text.encode():
        what = "no such request" if asked is None else "another request in its place"
        raise NotApproved(
            f"The store {office.store.location} has {what} (digest {said.request.short}, run {said.request.run}).",
            "Nothing was taken in.",
            "Take it in on the machine whose run asked for it, or have the request of this run signed.",
        )
