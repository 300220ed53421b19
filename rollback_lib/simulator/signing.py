"""People of the simulated company who approve by signature, each with a key of the company's own.

- Keys are made by `ssh-keygen` when the world begins, or found where an earlier one left them; no other key is theirs.
- They read the requests that lie in the company's state folder, as any approver could, and sign what they read.
- What they write is made here from the published form of the papers, not by the library that will judge it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollback_lib.errors import BadParameters
from rollback_lib.simulator.spec import Signer

__all__ = ["SIGNERS_FILE", "SigningDesk", "signed_paper"]

SIGNERS_FILE = "allowed_signers"
ENVIRONMENT = "drill"
_OWNER_FOLDER = 0o700


class SigningDesk:
    """Where the company's people sign.

    Args:
        signers: Who has a key.
        state: The folder that the company's machines share.
        keys: Where the keys are, or are made.

    Raises:
        BadParameters: There is no `ssh-keygen`; no world was made.
    """

    def __init__(self, signers: Sequence[Signer], state: Path, keys: Path) -> None:
        self._signers, self._state, self._keys = tuple(signers), state, keys
        self._done: set[tuple[str, Path]] = set()
        if self._signers:
            self._make_keys()

    @property
    def signers_file(self) -> Path | None:
        """The file that says whose keys approve; None where nobody has one."""
        return self._keys / SIGNERS_FILE if self._signers else None

    @property
    def is_attended(self) -> bool:
        """Tell whether anybody signs by themselves."""
        return any(signer.after_s is not None for signer in self._signers)

    def act(self) -> None:
        """Let everybody sign what they would have signed until now."""
        for signer in self._signers:
            for path in self._due(signer):
                self._done.add((signer.person, path))
                self._sign(signer, path)

    def _due(self, signer: Signer) -> Iterator[Path]:
        if signer.after_s is None:
            return
        for path in sorted(self._state.glob(f"approvals/{ENVIRONMENT}/*/request.json")):
            known = (signer.person, path) in self._done
            if not known and path.stat().st_mtime + signer.after_s <= time.time():
                yield path

    def _sign(self, signer: Signer, path: Path) -> None:
        try:
            request = json.loads(path.read_bytes())
            roles = [role for role in request["roles"] if role in signer.roles]
        except (ValueError, KeyError, TypeError):  # nobody signs what they cannot read
            return
        if not roles:
            return
        raw = signed_paper(request, signer.person, roles, self._keys / signer.person)
        part = path.with_name(f".{signer.person}.part")  # what is half written has no name yet
        part.write_bytes(raw)
        part.replace(path.with_name(f"signed-{hashlib.sha256(raw).hexdigest()}.json"))

    def _make_keys(self) -> None:
        self._keys.mkdir(parents=True, exist_ok=True, mode=_OWNER_FOLDER)
        lines = [
            "# Made by the simulator. Keys of the simulated company's people: NAME, options, public key."
        ]
        for signer in self._signers:
            key = self._keys / signer.person
            if not key.exists():
                _ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", signer.person, "-f", str(key))
            public = " ".join(key.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])
            lines.append(f'{signer.person} namespaces="rollback@{ENVIRONMENT}" {public}')
        (self._keys / SIGNERS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def signed_paper(
    request: dict[str, Any],
    person: str,
    roles: list[str],
    key: Path,
    namespace: str = f"rollback@{ENVIRONMENT}",
) -> bytes:
    """Sign a request as the published form has it: the signed approval's bytes.

    Args:
        request: The request, as it was read.
        person: Who signs, by the contacts' key.
        roles: In which they sign.
        key: Their private key's file.
        namespace: Of the signature.
    """
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {
        "v": 1,
        "kind": "rollback approval",
        "approver": person,
        "roles": roles,
        "signed_at": at,
        "request": request,
    }
    statement = _canonical(said)
    signature = _ssh_keygen("-Y", "sign", "-n", namespace, "-f", str(key), given=statement.encode())
    paper = {"v": 1, "kind": "signed rollback approval", "statement": statement, "signature": signature}
    return _canonical(paper).encode()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _ssh_keygen(*words: str, given: bytes = b"") -> str:
    try:
        done = subprocess.run(["ssh-keygen", *words], input=given, capture_output=True, check=True)  # noqa: S603, S607 - our own words; found on the path as a person would
    except FileNotFoundError as exc:
        raise BadParameters(
            "This world has people who sign, and ssh-keygen is not installed.",
            "No world was made.",
            "Install OpenSSH's client (Debian: apt-get install openssh-client).",
        ) from exc
    return done.stdout.decode("ascii")
