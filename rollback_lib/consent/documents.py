"""The papers of an approval by signature: the request, the statement that is signed, the signed approval.

- Each is canonical JSON of a known version, in ASCII; anything that is spelled otherwise is none of them.
- A request holds all that its digest is made of, so that whoever signs can work the digest out again.
- A statement holds the whole request: what is signed is what was shown, down to its expiry.
- As pasted text a paper is wrapped in lines of letters that no chat program bends.
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from rollback_lib.clock import to_iso
from rollback_lib.consent.gates import Ask
from rollback_lib.consent.plain import is_plain
from rollback_lib.errors import NotApproved
from rollback_lib.model import GateId, canonical_text
from rollback_lib.yamlfile import Frozen, problems

__all__ = [
    "APPROVAL_BLOCK",
    "LARGEST",
    "Request",
    "Signed",
    "Statement",
    "as_pasted",
    "folder_of",
    "from_pasted",
    "read_paper",
    "request_key",
    "sha256_of",
]

LARGEST = 128 * 1024  # bytes of a paper; a real one has a few thousand
APPROVAL_BLOCK = "ROLLBACK APPROVAL"
_LINE = 64  # letters a line of pasted text
_NOT_TAKEN = "Nothing was signed, and nothing was handed over."


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError("must be printable ASCII, without spaces at its ends")
    return text


def _instant(text: str) -> str:
    try:
        same = to_iso(datetime.fromisoformat(text)) == text
    except ValueError:
        same = False
    if not same:
        raise ValueError("must be a time such as 2026-11-23T21:58:00.000Z")
    return text


Plain = Annotated[str, AfterValidator(_plain)]
Instant = Annotated[str, AfterValidator(_instant)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Paper(Frozen):
    """What papers have in common."""

    @property
    def text(self) -> str:
        """Return the one way in which it is written."""
        return canonical_text(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        """Return the digest of the text."""
        return sha256_of(self.text.encode())


P = TypeVar("P", bound=_Paper)


class Request(_Paper):
    """What is asked of approvers: one change, by one gate of one run."""

    v: Literal[1] = 1
    kind: Literal["rollback approval request"] = "rollback approval request"
    environment: Plain
    incident: Plain
    run: Plain
    gate: Plain
    roles: Annotated[tuple[Plain, ...], Field(min_length=1)]  # one approval by a holder of each
    digest: Sha256
    title: str
    requests: Annotated[tuple[Plain, ...], Field(min_length=1)]  # verb and path, such as POST /v1/...
    effect: dict[Plain, str]
    state: dict[Plain, Any]
    will_not_undo: tuple[str, ...]
    typed_wanted: Plain  # the target's name, which the approver types too
    requested_by: Plain  # key in the contacts
    requested_at: Instant
    expires_at: Instant
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

    @property
    def ask(self) -> Ask:
        """Return what the gate asks, as the request tells it."""
        return Ask(
            gate=GateId(self.gate),
            title=self.title,
            environment=self.environment,
            effect=dict(self.effect),
            state=dict(self.state),
            will_not_undo=self.will_not_undo,
            typed_wanted=self.typed_wanted,
            requests=self.requests,
        )

    @property
    def short(self) -> str:
        """Return the digest as people are shown it."""
        return self.ask.short

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        told = self.ask.digest
        if told != self.digest:
            raise ValueError(
                f"its digest {self.digest[:16]}... is not that of its content, {told[:16]}...: it was changed"
            )
        for name in ("incident", "run"):
            if self.effect.get(name, getattr(self, name)) != getattr(self, name):
                raise ValueError(f"its {name} is told in two ways")
        if self.expires_at <= self.requested_at:
            raise ValueError("it expires before it was made")
        return self


class Statement(_Paper):
    """What an approver signs."""

    v: Literal[1] = 1
    kind: Literal["rollback approval"] = "rollback approval"
    approver: Plain  # key in the contacts
    roles: Annotated[tuple[Plain, ...], Field(min_length=1)]  # those of the request that the approver holds
    signed_at: Instant
    request: Request


class Signed(_Paper):
    """A statement's text and the signature over it."""

    v: Literal[1] = 1
    kind: Literal["signed rollback approval"] = "signed rollback approval"
    statement: str
    signature: str

    @property
    def key(self) -> str:
        """Return where it is kept in the store."""
        said = read_paper(self.statement.encode(), Statement).request
        return f"{folder_of(said.environment, said.digest)}/signed-{self.sha256}.json"


def folder_of(environment: str, digest: str) -> str:
    """Return where the store keeps the papers of one request."""
    return f"approvals/{environment}/{digest}"


def request_key(environment: str, digest: str) -> str:
    """Return where the store keeps a request."""
    return f"{folder_of(environment, digest)}/request.json"


def sha256_of(raw: bytes) -> str:
    """Return the sha256 of bytes, in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def read_paper(raw: bytes, kind: type[P]) -> P:
    """Read a paper.

    Raises:
        NotApproved: It is not one of this kind and version, or not spelled as it has to be.
    """
    name = kind.model_fields["kind"].default
    if len(raw) > LARGEST:
        raise _no_paper(name, f"it has {len(raw)} bytes, more than any real one")
    try:
        paper = kind.model_validate_json(raw)
        same = paper.text.encode() == raw
    except ValidationError as exc:
        why = problems(exc)[0][1].removeprefix("(top): ").replace("Value error, ", "")
        raise _no_paper(name, why) from exc
    except (ValueError, RecursionError) as exc:  # half a character, or nested without end
        raise _no_paper(name, str(exc).partition("\n")[0]) from exc
    if not same:
        raise _no_paper(name, "it is not spelled as it was written")
    return paper


def _no_paper(name: str, why: str) -> NotApproved:
    return NotApproved(
        f"This is no {name} that counts: {why}.",
        _NOT_TAKEN,
        "Ask for it again, by another way; tell the incidents channel if it was changed.",
    )


def as_pasted(paper: _Paper, block: str) -> str:
    """Wrap a paper for a chat message or a mail."""
    letters = base64.b64encode(paper.text.encode()).decode()
    lines = textwrap.wrap(letters, _LINE)
    return "\n".join([f"-----BEGIN {block}-----", *lines, f"-----END {block}-----", ""])


def from_pasted(text: str) -> bytes:
    """Take a paper out of what was pasted: a wrapped one with anything around it, or the JSON itself.

    Raises:
        NotApproved: There is none in it.
    """
    wrapped = re.search(r"-----BEGIN ([A-Z ]+)-----([A-Za-z0-9+/=\s>]*)-----END \1-----", text)
    if wrapped is None:
        return text.strip().encode()
    try:
        return base64.b64decode(re.sub(r"[\s>]", "", wrapped[2]), validate=True)
    except ValueError as exc:
        raise NotApproved(
            "The pasted text cannot be read: letters are missing or changed.",
            _NOT_TAKEN,
            "Copy it again, from the BEGIN line to the END line.",
        ) from exc
