"""Whether a record holds: every file, the journal's chain, and every word that is derived from it.

- Nothing is written, nothing is fetched, and whatever is found is a problem named by its file, never an error.
- Everything that `record.json` says is worked out again from the journal; only the instant of sealing cannot be.
- A record of a run that went on does not verify: it does not tell the whole.
- An outcome `verified` does not hold with a required check that did not pass, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from rollback_lib.errors import JournalError
from rollback_lib.evidence.account import Account, account_of
from rollback_lib.evidence.files import (
    NOTEBOOK_MANIFEST_NAME,
    NOTEBOOK_NAME,
    RECORD_NAME,
    Found,
    digest_of_bytes,
    inventory,
)
from rollback_lib.journal import FILE_NAME, Defect, Line, Reading, read_journal
from rollback_lib.model import CheckStatus, Outcome

__all__ = ["NotebookManifest", "Problem", "Verification", "read_record", "record_text", "verify"]

NotebookState = Literal["attached", "not attached", "changed"]
KNOWN_VERSION = 1
MOST_DIFFERENCES = 20  # a forged record need not be listed word by word
LONGEST_VALUE = 80  # characters of a value quoted in a reason
OWN = ("version", "provisional", "journal", "files", "sealed_at")  # what is not the account's


class Problem(NamedTuple):
    """One thing that does not hold."""

    file: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What came of verifying a record."""

    run: str  # as the record claims; empty where it cannot be read
    outcome: str  # as the record claims
    provisional: bool
    record_sha256: str  # empty where there is no record
    problems: tuple[Problem, ...]
    defect: Defect | None  # the first bad line of the journal
    torn_bytes: int  # of a last line that was never completed
    notebook: NotebookState

    @property
    def ok(self) -> bool:
        """Say whether everything holds; a notebook that is not attached is no fault."""
        return not self.problems

    def __str__(self) -> str:
        kind = "provisional record" if self.provisional else "record"
        head = f"{kind} of run {self.run or '?'}: {'verifies' if self.ok else 'DOES NOT VERIFY'}"
        facts = [
            f"outcome claimed: {self.outcome or '?'}",
            f"notebook: {self.notebook}",
            f"sha256 {self.record_sha256 or '-'}",
        ]
        return "\n".join([head, *facts, *(f"{file}: {reason}" for file, reason in self.problems)])


@dataclass(frozen=True)
class NotebookManifest:
    """What `notebook.json` says: the second manifest."""

    sha256: str
    size: int
    record_sha256: str  # the record it belongs to
    attached_at: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read it; None where there is none that can be understood."""
        try:
            content = json.loads(path.read_bytes())
            kinds = {name: type(value) for name, value in content.items()}
        except (OSError, ValueError, RecursionError, AttributeError):
            return None
        fitting = kinds == {"sha256": str, "size": int, "record_sha256": str, "attached_at": str}
        return cls(**content) if fitting else None


def record_text(content: dict[str, Any]) -> bytes:
    """Write a manifest the one way in which it counts."""
    return (json.dumps(content, indent=2) + "\n").encode("ascii")


def read_record(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Read a record; None and the reason where it cannot be taken as one."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        return None, "is missing" if isinstance(exc, FileNotFoundError) else f"cannot be read: {exc.strerror}"
    try:
        content = json.loads(raw)
        exact = isinstance(content, dict) and record_text(content) == raw
    except (ValueError, RecursionError) as exc:
        return None, f"is not readable as JSON: {exc}"
    if not isinstance(content, dict):
        return None, "is not a record"
    return content, "" if exact else "is not spelled as it was written"


def verify(folder: Path) -> Verification:
    """Verify the record in a run's folder; see `record.verify_record`."""
    content, reason = read_record(folder / RECORD_NAME)
    reading, journal_problems = _journal(folder)
    digest = digest_of_bytes((folder / RECORD_NAME).read_bytes()) if content is not None else ""
    problems = [Problem(RECORD_NAME, reason)] if reason else []
    problems += journal_problems
    if content is not None:
        problems += _guarded(content, reading)
        problems += _against_files(folder, content)
    notebook, notebook_problems = _notebook(folder, digest)
    said = content or {}
    return Verification(
        run=_word(said, "run", "run"),
        outcome=_word(said, "outcome", "outcome"),
        provisional=said.get("provisional") is True,
        record_sha256=digest,
        problems=(*problems, *notebook_problems),
        defect=reading.defect,
        torn_bytes=len(reading.torn),
        notebook=notebook,
    )


def _journal(folder: Path) -> tuple[Reading, list[Problem]]:
    try:
        reading = read_journal(folder / FILE_NAME)
    except JournalError as exc:
        return Reading((), b"", None), [Problem(FILE_NAME, exc.happened)]
    problems = []
    if reading.defect is not None:
        problems.append(Problem(FILE_NAME, f"line {reading.defect.line}: {reading.defect.reason}"))
    if reading.torn:
        problems.append(
            Problem(FILE_NAME, f"ends in {len(reading.torn)} bytes of a line that was never completed")
        )
    return reading, problems


def _guarded(content: dict[str, Any], reading: Reading) -> list[Problem]:
    """Compare with the journal; values nested deeper than anything that was ever written are a fault like others."""
    try:
        return list(_against_journal(content, reading))
    except RecursionError:
        return [Problem(FILE_NAME, "or the record is nested too deeply to be told")]


def _against_journal(content: dict[str, Any], reading: Reading) -> Iterator[Problem]:
    """Work out again what the record says, from as much of the journal as it was written from."""
    if _quoted(content.get("version")) != _quoted(KNOWN_VERSION):
        yield Problem(
            RECORD_NAME, f"version {content.get('version')!r} is not known, expected {KNOWN_VERSION}"
        )
        return
    if not _is_instant(content.get("sealed_at")):
        yield Problem(RECORD_NAME, f"sealed_at is no instant: {content.get('sealed_at')!r}")
    lines, problem = _covered(content.get("journal"), reading)
    if problem:
        yield problem
    if reading.defect is not None or lines is None:
        return
    try:
        account = account_of(lines)
    except JournalError as exc:
        yield Problem(FILE_NAME, exc.happened)
        return
    claimed = {name: value for name, value in content.items() if name not in OWN}
    for place, says, truth in _differences(claimed, account.plain(), "")[:MOST_DIFFERENCES]:
        yield Problem(RECORD_NAME, f"{place} says {says}, the journal says {truth}")
    if content.get("provisional") is not (not account.outcome.closed):
        yield Problem(
            RECORD_NAME,
            f"provisional says {content.get('provisional')}, the journal says {not account.outcome.closed}",
        )
    yield from _outcome_in_itself(account, lines)


def _is_instant(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _covered(claim: Any, reading: Reading) -> tuple[Sequence[Line] | None, Problem | None]:
    """Return the lines that the record was written from, and what does not fit about them."""
    count, head = (claim.get("lines"), claim.get("head")) if isinstance(claim, dict) else (None, None)
    if (
        not isinstance(count, int)
        or isinstance(count, bool)
        or count < 1
        or not isinstance(claim, dict)
        or set(claim) != {"lines", "head"}
    ):
        return None, Problem(RECORD_NAME, "does not say how many lines of the journal it covers")
    if count > len(reading.lines):
        holding = len(reading.lines)
        return None, Problem(
            FILE_NAME, f"has {holding} whole lines that hold, the record was written from {count}"
        )
    lines = reading.lines[:count]
    if lines[-1].hash != head:
        return lines, Problem(
            FILE_NAME, f"line {count} is not the one that the record was written from (its hash differs)"
        )
    if count < len(reading.lines):
        later = len(reading.lines)
        return lines, Problem(
            RECORD_NAME, f"covers {count} lines, the journal has {later}: the run went on after it"
        )
    return lines, None


def _outcome_in_itself(account: Account, lines: Sequence[Line]) -> Iterator[Problem]:
    """Hold the outcome against what the journal itself says elsewhere."""
    said = account.outcome.outcome
    if said not in set(Outcome):
        yield Problem(FILE_NAME, f"the outcome {said!r} is none of {', '.join(Outcome)}")
    missed = [check for check in account.checks if check.required and check.status != CheckStatus.PASSED]
    if said == Outcome.VERIFIED and (missed or not account.checks):
        listed = ", ".join(f"{check.id} is {check.status}" for check in missed) or "nothing was checked"
        yield Problem(FILE_NAME, f"the outcome is verified, but {listed}")
    skipped = [line.step for line in lines if line.event == "step.skipped"]
    if said == Outcome.VERIFIED and skipped:
        yield Problem(FILE_NAME, f"the outcome is verified, but {', '.join(map(str, skipped))} was skipped")
    announced = next((line for line in reversed(lines) if line.event == "run.closing"), None)
    if account.outcome.closed and announced is not None and announced.data.get("outcome") != said:
        told = announced.data.get("outcome")
        yield Problem(
            FILE_NAME, f"line {announced.seq} announced the outcome {told}, the run was closed as {said}"
        )


def _against_files(folder: Path, content: dict[str, Any]) -> Iterator[Problem]:
    try:
        found = {file.path: file for file in inventory(folder)}
    except OSError as exc:
        yield Problem(str(exc.filename or folder), f"cannot be read: {exc.strerror}")
        return
    claims = _claims(content.get("files"))
    if claims is None:
        yield Problem(RECORD_NAME, "its list of files is not one")
        return
    for path in sorted({*claims, *found}):
        reason = _differs(claims.get(path), found.get(path))
        if reason:
            yield Problem(path, reason)


def _claims(files: Any) -> dict[str, Found] | None:
    """Take the record's list of files; None where it is not one."""
    if not isinstance(files, list):
        return None
    kinds = {"path": str, "sha256": str, "size": int}
    for entry in files:
        if not isinstance(entry, dict) or {name: type(value) for name, value in entry.items()} != kinds:
            return None
    claims = {entry["path"]: Found(**entry) for entry in files}
    return claims if list(claims) == sorted(entry["path"] for entry in files) else None


def _differs(claim: Found | None, found: Found | None) -> str:
    if claim is None:
        return "is not in the record"
    if found is None:
        return "is missing"
    if not found.sha256:
        return "is not an ordinary file"
    if found.size != claim.size:
        return f"was changed: has {found.size} bytes, the record says {claim.size}"
    return "was changed: its sha256 is not the record's" if found.sha256 != claim.sha256 else ""


def _without_manifest(path: Path) -> tuple[NotebookState, list[Problem]]:
    if not path.exists():
        return "not attached", []
    return "changed", [
        Problem(NOTEBOOK_NAME, "has no manifest: nobody has attached it, or somebody replaced it")
    ]


def _notebook(folder: Path, record_sha256: str) -> tuple[NotebookState, list[Problem]]:
    path, beside = folder / NOTEBOOK_NAME, folder / NOTEBOOK_MANIFEST_NAME
    if not beside.exists():
        return _without_manifest(path)
    manifest = NotebookManifest.read(beside)
    if manifest is None or record_text(vars(manifest)) != beside.read_bytes():
        return "changed", [Problem(NOTEBOOK_MANIFEST_NAME, "is not as it was written")]
    try:
        raw = path.read_bytes()
    except OSError as exc:
        return "changed", [Problem(NOTEBOOK_NAME, f"is missing or cannot be read: {exc.strerror}")]
    if (digest_of_bytes(raw), len(raw)) != (manifest.sha256, manifest.size):
        return "changed", [Problem(NOTEBOOK_NAME, "was changed: it is not the notebook that was attached")]
    if manifest.record_sha256 != record_sha256:
        reason = "belongs to another record: to an earlier one of this run, or the record was changed"
        return "attached", [Problem(NOTEBOOK_MANIFEST_NAME, reason)]
    return "attached", []


def _differences(claimed: Any, truth: Any, place: str) -> list[tuple[str, str, str]]:
    """List where two JSON values differ: place, claimed, true. `true` and 1 are different."""
    if isinstance(claimed, dict) and isinstance(truth, dict):
        names = sorted({*claimed, *truth})
        found = (
            _differences(claimed.get(n, _ABSENT), truth.get(n, _ABSENT), f"{place}.{n}" if place else n)
            for n in names
        )
        return [difference for differences in found for difference in differences]
    if isinstance(claimed, list) and isinstance(truth, list) and len(claimed) == len(truth):
        found = (
            _differences(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(claimed, truth, strict=True))
        )
        return [difference for differences in found for difference in differences]
    says, means = _quoted(claimed), _quoted(truth)
    return [] if says == means else [(place, _short(says), _short(means))]


_ABSENT = object()


def _quoted(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value, sort_keys=True)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _word(content: dict[str, Any], group: str, key: str) -> str:
    part = content.get(group)
    value = part.get(key) if isinstance(part, dict) else None
    return value if isinstance(value, str) else ""
