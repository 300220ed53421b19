"""What the tests of approvals share: people with keys, a store, a run's gate with its real ways, and papers to forge.

Keys are made once a session by the real `ssh-keygen`; signatures are made by the real one too.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import FakeClock
from consents import HOME, NAME, RUN, Tenure, make_ask
from slack_fake import CHANNEL, Workspace

from rollback_lib.consent.approvals import SlackApprovals
from rollback_lib.consent.documents import Request, Signed, folder_of, request_key, sha256_of
from rollback_lib.consent.gates import Ask, Gate
from rollback_lib.consent.policy import Demand
from rollback_lib.consent.signatures import namespace_of
from rollback_lib.consent.signed import SignedApprovals
from rollback_lib.consent.spoken import SpokenApprovals
from rollback_lib.consent.ways import Ways
from rollback_lib.journal import Journal
from rollback_lib.model import Redactor, RunId, canonical_text
from rollback_lib.parameters import Contacts
from rollback_lib.parameters.contacts import load_contacts
from rollback_lib.store import Store

__all__ = [
    "INCIDENT",
    "ROLE",
    "Scene",
    "edited",
    "key_of",
    "public_of",
    "sign_text",
    "signed",
    "statement_for",
    "without_ssh_keygen",
]

INCIDENT, ROLE = "INC-20261123-2158", "engineering_lead"
TTL_S = 3600.0


@functools.cache
def _keys() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="test-keys-")  # kept, and so ended with the process


def key_of(name: str) -> Path:
    """Give somebody's private key's file; made when it is first asked for."""
    place = Path(_keys().name) / name
    if not place.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return place


def public_of(name: str) -> str:
    """Give somebody's public key, without its comment."""
    return " ".join(Path(f"{key_of(name)}.pub").read_text().split()[:2])


def sign_text(text: str, key: str, namespace: str = "rollback@drill") -> str:
    """Sign a text with somebody's key."""
    command = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(key_of(key))]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()


def statement_for(
    request: Request | dict[str, Any], approver: str = "lee", roles: tuple[str, ...] = (ROLE,)
) -> str:
    """Write a statement as its published form has it, whatever stands in it."""
    said = request if isinstance(request, dict) else request.model_dump(mode="json")
    return canonical_text(
        {
            "v": 1,
            "kind": "rollback approval",
            "approver": approver,
            "roles": list(roles),
            "signed_at": "2026-11-23T21:58:30.000Z",
            "request": said,
        }
    )


def signed(statement: str, key: str = "lee", namespace: str = "rollback@drill") -> bytes:
    """Sign a statement: the signed approval as it lies in the store."""
    signature = sign_text(statement, key, namespace)
    return Signed(statement=statement, signature=signature).text.encode()


class Scene:
    """A run that waits at its gate, and everybody who could let it through."""

    def __init__(
        self,
        folder: Path,
        clock: FakeClock,
        *,
        environment: str = "drill",
        contacts: Contacts | None = None,
        operator: str = "ana",
        lead: str = "lee",
        run: str = RUN,
        order: tuple[str, ...] = ("slack", "signature", "spoken"),
    ) -> None:
        self.clock, self.environment, self.lead, self.run = clock, environment, lead, RunId(run)
        self.contacts = contacts or load_contacts(HOME, "drill")
        self.slack = Workspace(clock)
        self.store = Store.open("state", folder, Redactor())
        self.signers = folder / "signers"
        self.journal = Journal.begin(folder / run, RunId(run), by=operator, clock=clock, redactor=Redactor())
        self.journal.append("run.opened", data={"operator": operator})
        self.operator, self.order = operator, order
        self.allow(**{name: name for name in (lead, "dee") if name in self.contacts.people})
        self.ask = self.make_ask()
        self.gate = self.make_gate()

    def make_ask(self, **changed: Any) -> Ask:
        """Give what the gate asks: one thing, of this incident and run."""
        effect = {"from": "dpl_bad", "to": "dpl_good 77fe0000", "incident": INCIDENT, "run": self.run}
        return make_ask(**({"environment": self.environment, "effect": effect} | changed))

    def make_gate(self, ask: Ask | None = None) -> Gate:
        """Give the gate with its ways, the target's name typed."""
        demand = Demand((ROLE,), (), (), "severity P1: approval by engineering lead")
        gate = Gate(ask or self.ask, demand, self.journal, Tenure(), source=self.ways())
        gate.show()
        gate.confirm(NAME, by="Ana Operator", way="panel")
        return gate

    def ways(self) -> Ways:
        """Give the real ways, as a procedure puts them together."""
        person = self.contacts.person(self.operator)
        common = (self.journal, self.contacts)
        return Ways(
            journal=self.journal,
            store=self.store,
            people=lambda: self.contacts,
            incident=INCIDENT,
            order=self.order,
            slack=SlackApprovals(self.slack.client(), *common, CHANNEL, person, self.clock, TTL_S)
            if "slack" in self.order
            else None,
            signed=self.signed() if "signature" in self.order else None,
            spoken=SpokenApprovals(*common, person, self.clock, TTL_S) if "spoken" in self.order else None,
        )

    def signed(self) -> SignedApprovals:
        """Give the way by signature."""
        return SignedApprovals(
            store=self.store,
            journal=self.journal,
            contacts=self.contacts,
            operator=self.contacts.person(self.operator),
            clock=self.clock,
            ttl_s=TTL_S,
            incident=INCIDENT,
            roles=(ROLE,),
            signers=self.signers,
            signers_shown="parameters/signers/drill",
        )

    def allow(self, *lines: str, **people: str) -> None:
        """Write the signers file: people with the key that is theirs, then lines as they are."""
        known = [f"{name} {public_of(key)}" for name, key in people.items()]
        self.signers.write_text("\n".join(["# whose keys approve", *known, *lines, ""]))

    def request(self) -> Request:
        """Have the request saved, and give it as it lies in the store."""
        self.gate.look()
        stored = self.store.get(request_key(self.environment, self.ask.digest))
        assert stored is not None
        return Request.model_validate_json(stored.data)

    def put(self, raw: bytes, *, digest: str = "", name: str = "") -> str:
        """Put a signed approval into the store, under its own name unless another is given."""
        key = f"{folder_of(self.environment, digest or self.ask.digest)}/{name or f'signed-{sha256_of(raw)}.json'}"
        self.store.put(key, raw)
        return key

    def approve(self, request: Request | dict[str, Any] | None = None, **said: Any) -> str:
        """Have the lead sign, honestly unless something else is said."""
        signing = {key: said.pop(key) for key in ("key", "namespace") if key in said}
        statement = statement_for(request or self.request(), **({"approver": self.lead} | said))
        given = {"key": self.lead, "namespace": namespace_of(self.environment)} | signing
        return self.put(signed(statement, **given))

    def react(self, user: str, name: str = "white_check_mark") -> None:
        """Have somebody react to the request in Slack."""
        self.request()
        self.slack.react(user, name)

    def restart(self) -> None:
        """Go on in a new kernel: a new journal object, a new gate."""
        self.journal.release()
        self.journal = Journal.resume(
            self.journal.folder, self.run, by=self.operator, clock=self.clock, redactor=Redactor()
        )
        self.gate = self.make_gate()


def edited(request: Request, name: str) -> dict[str, Any]:
    """Give a request with one field changed, everything else as it was."""
    plain = json.loads(request.text)
    changes: dict[type, Callable[[Any], Any]] = {
        int: lambda value: value + 1,
        str: lambda value: f"{value}x" if not value.endswith("Z") else value.replace("2026", "2027"),
        list: lambda value: [*value, "another"],
        dict: lambda value: value | {"more": "than was shown"},
    }
    plain[name] = changes[type(plain[name])](plain[name])
    return plain


def without_ssh_keygen(folder: Path) -> str:
    """Give a PATH on which there is no ssh-keygen."""
    empty = folder / "bin"
    empty.mkdir()
    for name in ("sh", "env"):
        (empty / name).symlink_to(shutil.which(name) or "")
    return str(empty)
