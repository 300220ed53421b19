"""What became of each test of the torture, kept as soon as it is known.

- A result belongs to the sources that it was found with: with another digest of them it counts as an earlier one.
- A crash point depends on what the runs of its procedure load, and on what no run loads as long as nothing fails; any
  other test on everything.
- The newest result of a test counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from repository import ROOT, files
from stage import SCENARIOS

TRIED = ("rollback_lib/", "notebooks/", "parameters/", "tests/", "requirements.lock")
_CRASHING = (  # what no run without faults shows as loaded
    "tests/faults/inject/",
    "tests/faults/quick_convex.js",
    "tests/faults/test_crash_points.py",
)
_SCENARIO = re.compile(r"\[([^,]+), \w+: ")


@dataclass(frozen=True)
class Result:
    """What became of one test."""

    tree: str
    test: str
    passed: bool
    seconds: float
    why: str  # empty where it passed


@dataclass(frozen=True)
class Trees:
    """The digests of the sources that a result depends on."""

    everything: str
    by_procedure: Mapping[int, str]  # of what a crash point of the procedure depends on

    @classmethod
    def of_here(cls, loaded: Mapping[int, Collection[str]]) -> Trees:
        """Take the digests of the sources as they are now.

        Args:
            loaded: The files that runs without faults have loaded, relative to the root, by procedure.
        """
        tried = [name for name in (str(path.relative_to(ROOT)) for path in files()) if name.startswith(TRIED)]
        return cls(
            _digest(tried),
            {number: _digest(n for n in tried if _concerns(n, number, loaded)) for number in loaded},
        )

    def to_json(self) -> str:
        """Write them down, for another process."""
        return json.dumps({"": self.everything, **self.by_procedure})

    @classmethod
    def from_json(cls, text: str) -> Trees:
        """Read what another process has written down."""
        told = json.loads(text)
        return cls(told.pop(""), {int(number): digest for number, digest in told.items()})

    def of(self, test: str) -> str:
        """Return the digest that a result of a test has to bear."""
        return self.by_procedure.get(procedure_of(test), self.everything)


def procedure_of(test: str) -> int:
    """Return the number of the procedure whose crash point a test is; 0: it is none."""
    found = _SCENARIO.search(test)
    scenario = SCENARIOS.get(found[1]) if found else None
    return scenario.procedure if scenario is not None else 0


def read_results(place: Path, trees: Trees) -> dict[str, Result]:
    """Read the newest result of each test for these sources; a line that was cut off counts for nothing."""
    return {result.test: result for result in _read(place) if result.tree == trees.of(result.test)}


def read_earlier(place: Path, trees: Trees) -> dict[str, Result]:
    """Read the newest result of each test that was tried with earlier sources only."""
    now = read_results(place, trees)
    return {result.test: result for result in _read(place) if result.test not in now}


def _read(place: Path) -> Iterator[Result]:
    for text in place.read_text(encoding="utf-8").splitlines() if place.exists() else ():
        try:
            yield Result(**json.loads(text))
        except (ValueError, TypeError):
            continue


def write_result(place: Path, result: Result) -> None:
    """Add a result."""
    with place.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def _concerns(name: str, number: int, loaded: Mapping[int, Collection[str]]) -> bool:
    """Say whether a crash point of a procedure may depend on a file."""
    if name.startswith("notebooks/"):
        return name.startswith(f"notebooks/{number}_")
    by_any = any(name in names for names in loaded.values())
    if name.startswith("tests/"):
        return by_any or name.startswith(_CRASHING)
    return name in loaded[number] or not by_any


def _digest(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]
