"""Whether a signed approval is one: the paper that the run kept, read and verified apart from the library.

- `ssh-keygen` verifies against the world's own file of keys, in the drill's namespace.
- The statement that was signed names this run, this digest, the role and the person.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rollback_lib.drills.oracle.case import Bench

__all__ = ["why_no_signature"]

_NAMESPACE = "rollback@drill"
_LIMIT_S = 20.0
_NAMED = 23  # characters of a paper's name that the record keeps it under


def why_no_signature(bench: Bench, approval: dict[str, Any]) -> str:
    """Say why there is no signature that bears an approval out; empty if there is one."""
    if bench.case.signers is None:
        return "nobody in this world has a key"
    raw = _paper(bench, str(approval.get("evidence", "")))
    if raw is None:
        return "the signed paper is neither in the store nor in the record"
    paper = json.loads(raw)
    statement = json.loads(paper["statement"])
    request = statement["request"]
    wanted = {
        "run": (request["run"], bench.told.opening.get("run")),
        "digest": (request["digest"], approval.get("digest")),
        "gate": (request["gate"], approval.get("gate")),
        "expiry": (request["expires_at"], approval.get("expires_at")),
        "person": (bench.slack_id(statement["approver"]), approval.get("slack_user")),
    }
    other = [name for name, (signed, told) in wanted.items() if signed != told]
    if other:
        return f"what {statement['approver']} signed is of another {' and '.join(other)}"
    if approval.get("role") not in statement["roles"]:
        return f"{statement['approver']} signed as {', '.join(statement['roles'])}"
    return _verify(bench.case.signers, statement["approver"], paper["statement"], paper["signature"])


def _paper(bench: Bench, key: str) -> bytes | None:
    """Find the paper in the store, or the copy in the record, under the name of its content."""
    name = key.rpartition("/")[2]
    copies = [root / key for root in (bench.case.state,) if root is not None]
    if bench.case.folder is not None:
        copies.append(bench.case.folder / "attachments" / f"approval-{name[:_NAMED]}.json")
    for copy in copies:
        if copy.is_file() and name == f"signed-{hashlib.sha256(copy.read_bytes()).hexdigest()}.json":
            return copy.read_bytes()
    return None


def _verify(signers: Path, person: str, statement: str, signature: str) -> str:
    with tempfile.TemporaryDirectory(prefix="oracle-") as scratch:
        given = Path(scratch) / "signature"
        given.write_text(signature, encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - our own words; what was signed goes in as data
            ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", person, "-n", _NAMESPACE, "-s", given],  # noqa: S607 - found on the path as a person would
            input=statement.encode(),
            capture_output=True,
            check=False,
            timeout=_LIMIT_S,
        )
    return "" if done.returncode == 0 else f"no key of {person} signed it"
