"""What became of each test of the torture, kept as soon as it is known.

- A result belongs to the sources that it was found with: another digest, and it does not count.
- The newest result of a test counts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from repository import ROOT, files

TRIED = ("rollback_lib/", "notebooks/", "parameters/", "tests/faults/", "requirements.lock")


@dataclass(frozen=True)
class Result:
    """What became of one test."""

    tree: str
    test: str
    passed: bool
    seconds: float
    why: str  # empty where it passed


def tree_digest() -> str:
    """Return the digest of everything that a result depends on."""
    digest = hashlib.sha256()
    for path in files():
        name = str(path.relative_to(ROOT))
        if name.startswith(TRIED):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def read_results(place: Path, tree: str) -> dict[str, Result]:
    """Read the newest result of each test for these sources; a line that was cut off counts for nothing."""
    found: dict[str, Result] = {}
    for text in place.read_text(encoding="utf-8").splitlines() if place.exists() else ():
        try:
            result = Result(**json.loads(text))
        except (ValueError, TypeError):
            continue
        if result.tree == tree:
            found[result.test] = result
    return found


def write_result(place: Path, result: Result) -> None:
    """Add a result."""
    with place.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")
