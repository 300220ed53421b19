"""Approvals by signature: the request put into the store, and the signed approvals found beside it.

- The request is in the journal before it is in the store, and put there once; what stands there otherwise is not ours.
- A signed approval counts only for this request as the journal has it, whole: environment, incident, run, gate, digest,
  expiry and every word that was shown.
- Who signed must hold the role now, must not have operated the run, and their key must be in the signers file now;
  all of it is looked at again at every look.
- Whoever can write into the store can put anything there; nothing is believed but what a key has signed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rollback_lib.clock import Clock, to_iso
from rollback_lib.consent.documents import (
    Request,
    Signed,
    Statement,
    folder_of,
    read_paper,
    request_key,
    sha256_of,
)
from rollback_lib.consent.four_eyes import operators_of, others_with
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.consent.signatures import read_signers, verify
from rollback_lib.errors import JournalError, NotApproved, RollbackError
from rollback_lib.journal import Journal
from rollback_lib.model import canonical_text
from rollback_lib.parameters import Contacts, Person
from rollback_lib.store import Store

__all__ = ["SignedApprovals", "judge_statement"]

WAY = "signature"
MOST_REASONS = 3  # of approvals that do not count; more are not read at night
ATTACHMENTS = "attachments"


def judge_statement(said: Statement, wanted: Request, role: str, able: Iterable[str], now: datetime) -> str:
    """Say why a statement does not count for a request, or nothing; whose signature it bears is another question.

    Args:
        said: What was signed.
        wanted: The request as the gate's own journal has it.
        role: That is to be filled.
        able: Keys of those who hold it now and have not operated the run.
        now: By our own clock.
    """
    other = said.request
    for name in ("environment", "incident", "run", "gate", "digest"):
        if getattr(other, name) != getattr(wanted, name):
            return f"it is for another {name} ({getattr(other, name)[:60]})"
    differing = [name for name in Request.model_fields if getattr(other, name) != getattr(wanted, name)]
    if differing:
        return f"it was given on another request ({', '.join(differing)} differ)"
    if role not in said.roles:
        return f"it is not given as {role.replace('_', ' ')}"
    if said.approver not in set(able):
        return f"{said.approver} may not approve it: without the role, or an operator of this run"
    if now > datetime.fromisoformat(wanted.expires_at):
        return f"it counted until {wanted.expires_at}"
    return ""


@dataclass
class SignedApprovals:
    """Puts the request of one gate into the store and looks for what was signed."""

    store: Store
    journal: Journal
    contacts: Contacts
    operator: Person
    clock: Clock
    ttl_s: float
    incident: str
    roles: tuple[str, ...]  # all that the gate needs
    signers: Path
    signers_shown: str
    _kept: dict[str, bytes] = field(default_factory=dict)  # signed approvals by their keys in the store

    def collect(self, ask: Ask, role: str) -> tuple[Approval | None, str]:
        """Look once for a signed approval, saving the request first if it was not saved yet.

        Never raises for troubles of the store or of `ssh-keygen`: no approval and the reason are returned.

        Raises:
            JournalError: The run cannot be recorded; nothing counts as approved.
        """
        try:
            request = self.save(ask)
            found = self._found(request)
        except JournalError:
            raise
        except RollbackError as exc:
            return None, exc.happened.rstrip(".")
        reasons = []
        for key in found:
            approval, why = self._judge(key, request, role)
            if approval is not None:
                self._note(approval)
                return approval, ""
            reasons.append(why)
        return None, "; ".join(reasons[-MOST_REASONS:]) or "nobody has signed it yet"

    def objection(self, ask: Ask, approval: Approval) -> str:
        """Verify a signed approval once more, as everything stands now; say why it does not count, or nothing."""
        request = self._saved(ask)
        if request is None:
            return "the request is not in this run's journal"
        found, why = self._judge(approval.evidence, request, approval.role)
        return "" if found is not None else why

    def save(self, ask: Ask) -> Request:
        """Put the request into the store, once; a session that was cut off goes on with the request it wrote down.

        Raises:
            NotApproved: Another request stands in its place.
            Unreachable: The store gave no usable answer.
            JournalError: Not on record; stop.
        """
        request = self._saved(ask)
        if request is None:
            request = self._make(ask)
        if not self._is_out(request):
            self._put(request)
        return request

    # -- the request

    def _make(self, ask: Ask) -> Request:
        now = self.clock.now()
        facts = self.journal.redactor.clean(ask.plain())
        try:
            return Request(
                **(facts | {name: tuple(facts[name]) for name in ("requests", "will_not_undo")}),
                incident=self.incident,
                run=self.journal.run,
                roles=self.roles,
                digest=ask.digest,
                requested_by=self.operator.key,
                requested_at=to_iso(now),
                expires_at=to_iso(now + timedelta(seconds=self.ttl_s)),
                nonce=secrets.token_hex(16),
            )
        except ValueError as exc:
            raise NotApproved(
                f"No request can be made of this for a signature: {str(exc).splitlines()[-2].strip()}.",
                "Nothing was sent.",
                "Use another way of approval.",
            ) from exc

    def _name(self, digest: str) -> str:
        return f"approval request saved, digest {digest[:16]}"

    def _saved(self, ask: Ask) -> Request | None:
        """Return the request as this run's journal has it."""
        for line in self.journal.find("prepare.intent", ask.gate):
            if line.data["name"] == self._name(ask.digest) and line.data.get("digest") == ask.digest:
                return read_paper(canonical_text(line.data["document"]).encode(), Request)
        return None

    def _is_out(self, request: Request) -> bool:
        return any(
            line.data.get("way") == WAY and line.data["digest"] == request.digest
            for line in self.journal.find("approval.requested", request.gate)
        )

    def _put(self, request: Request) -> None:
        key = request_key(request.environment, request.digest)
        data = {"digest": request.digest, "store": key, "document": request.model_dump(mode="json")}
        leave = self.journal.prepare(self._name(request.digest), step=request.gate, data=data)
        self._keep(f"approval-request-{request.short}.json", request.text.encode())
        try:
            mine = self.store.create(key, request.text.encode())
        except RollbackError as exc:
            leave.unknown(exc.happened)
            raise
        if not mine:
            why = f"another request stands in the store as {key}"
            leave.failed(why)
            raise NotApproved(
                f"{why[0].upper()}{why[1:]}.",
                "Nothing was signed.",
                "Begin a new run (new_run = True); look who writes into the store.",
            )
        leave.done({"sha256": request.sha256})
        data = {"gate": request.gate, "role": ", ".join(request.roles), "way": WAY, "digest": request.digest}
        data |= {"asked_by": self.operator.slack, "store": key, "sha256": request.sha256}
        self.journal.append(
            "approval.requested", step=request.gate, data=data | {"expires_at": request.expires_at}
        )

    # -- what was signed

    def _found(self, request: Request) -> list[str]:
        """List the store's keys of the signed approvals beside the request; contents are read once."""
        folder = folder_of(request.environment, request.digest)
        for key in self.store.keys(folder):
            name = key.rpartition("/")[2]
            if name.startswith("signed-") and key not in self._kept:
                stored = self.store.get(key)
                self._kept[key] = stored.data if stored is not None else b""
        return [key for key in self._kept if key.startswith(f"{folder}/signed-")]

    def _judge(self, key: str, request: Request, role: str) -> tuple[Approval | None, str]:
        raw = self._content(key)
        try:
            signed = read_paper(raw, Signed)
            said = read_paper(signed.statement.encode(), Statement)
        except NotApproved as exc:
            return None, exc.happened.rstrip(".")
        who = f"the approval signed by {said.approver} does not count"
        if key.rpartition("/")[2] != f"signed-{sha256_of(raw)}.json":
            return None, f"{who}: its name in the store is not that of its content"
        able = {
            person.key: person
            for person in others_with(role, self.contacts, operators_of(self.journal, self.operator))
        }
        why = judge_statement(said, request, role, able, self.clock.now())
        if why:
            return None, f"{who}: {why}"
        try:
            fingerprint = verify(
                read_signers(self.signers, self.signers_shown),
                signed.statement.encode(),
                signed.signature,
                person=said.approver,
                environment=request.environment,
                now=self.clock.now(),
            )
        except NotApproved as exc:
            return None, f"{who}: {exc.happened.rstrip('.')}"
        return self._approval(request, role, able[said.approver], key, fingerprint), ""

    def _content(self, key: str) -> bytes:
        if key not in self._kept:
            try:
                stored = self.store.get(key)
            except RollbackError:
                stored = None
            place = self.journal.folder / ATTACHMENTS / _attachment(key)
            kept = place.read_bytes() if stored is None and place.is_file() else b""
            self._kept[key] = stored.data if stored is not None else kept
        return self._kept[key]

    def _approval(self, request: Request, role: str, person: Person, key: str, fingerprint: str) -> Approval:
        return Approval(
            gate=request.ask.gate,
            digest=request.digest,
            role=role,
            person=person.name,
            slack_user=person.slack,
            way=WAY,
            seen_at=to_iso(self.clock.now()),
            expires_at=request.expires_at,
            evidence=key,
            key=fingerprint,
        )

    def _note(self, approval: Approval) -> None:
        """Write the approval down once, and keep the paper with the record."""
        known = (
            line.data["evidence"] == approval.evidence and line.data["role"] == approval.role
            for line in self.journal.find("approval.seen", approval.gate)
            if line.data["way"] == WAY
        )
        if not any(known):
            self._keep(_attachment(approval.evidence), self._content(approval.evidence))
            self.journal.append("approval.seen", step=approval.gate, data=vars(approval))

    def _keep(self, name: str, raw: bytes) -> None:
        place: Path = self.journal.folder / ATTACHMENTS / name
        try:
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(raw)
        except OSError as exc:
            data: dict[str, Any] = {"text": f"{ATTACHMENTS}/{name} could not be kept: {exc.strerror}"}
            self.journal.append("warning", data=data)


def _attachment(key: str) -> str:
    return f"approval-{key.rpartition('/')[2][:23]}.json"
