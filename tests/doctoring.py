"""Honest runs in their worlds, and the tools to make one side lie so that only the content does.

A doctored journal is chained anew and the record is sealed over it again: what gives a lie away is the world.
What is changed in a world is put back after the test.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.drills.oracle import Case
from rollback_lib.errors import RollbackError
from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import Fault, World, WorldSpec
from rollback_lib.simulator.hosting import Effect
from rollback_lib.simulator.ledger import Entry
from rollback_lib.simulator.signing import SIGNERS_FILE, SigningDesk, signed_paper
from rollback_lib.simulator.spec import Signer

__all__ = ["Doctor", "honest"]

Raw = dict[str, Any]
ROLLBACK = {"service": "vercel", "method": "POST", "path": "*/rollback/*"}
APPROVED = {"severity": "P1", "criterion": "P1.T3"}
KINDS: dict[str, tuple[WorldSpec, Raw]] = {
    "P0": (WorldSpec(), {}),
    "P1": (WorldSpec(), APPROVED),
    "refused": (WorldSpec(personas=()), APPROVED),
    "dry": (WorldSpec(), {"dry_run": True}),
    "retried": (WorldSpec(faults=(Fault(kind="reset_before", **ROLLBACK),)), {}),
    "lost": (WorldSpec(faults=(Fault(kind="reset_after", **ROLLBACK),)), {}),
    "denied": (WorldSpec(faults=(Fault(kind="deny", **ROLLBACK),)), {}),
    "job failed": (WorldSpec(faults=(Fault(kind="job_failed", **ROLLBACK),)), {}),
    "job stuck": (WorldSpec(faults=(Fault(kind="job_stuck", **ROLLBACK),)), {}),
    "noticed": (WorldSpec(), {}),
    "signed": (WorldSpec(personas=()), APPROVED),
    "quiet": (WorldSpec(ingest_lag_s=3600), {}),
}


@functools.cache
def honest(kind: str) -> tuple[World, Path, Path]:
    """Run procedure 1 to its end, whatever that is; return the world, the run's folder and the project."""
    spec, given = KINDS[kind]
    company = Rehearsal(Path(tempfile.mkdtemp(prefix="honest-")), FakeClock(), spec)
    if kind == "signed":
        given = given | {"platform": {"signers": str(keys_of(company.home) / SIGNERS_FILE)}}
    with _at_home(company.home):
        rollback = company.open(**given)
        with suppress(RollbackError):
            rollback.access_dashboard()
            rollback.go_to_deployments()
            stable = rollback.identify_stable_deployment()
            rollback.review(stable)
            rollback.gate("P1.G1", stable)
            if kind == "signed":
                sign(company.home, "dee")
                rollback.gate("P1.G1", stable)
            moved = rollback.move_production(stable)
            if kind == "noticed":
                _live_for_long(rollback, company)
            rollback.monitor(moved)
            rollback.verify(stable)
            rollback.close()
        company.restart(rollback)
    return company.world, rollback.folder, company.home


def keys_of(home: Path) -> Path:
    """Make the keys of the company's people, once."""
    keys = home.parent / "keys"
    SigningDesk((Signer(person="lee"), Signer(person="dee")), home / "state", keys)
    return keys


def sign(home: Path, person: str) -> Path:
    """Let somebody sign the request that lies in the store; return the paper."""
    (request,) = (home / "state").glob("approvals/drill/*/request.json")
    raw = signed_paper(json.loads(request.read_bytes()), person, ["engineering_lead"], keys_of(home) / person)
    paper = request.with_name(f"signed-{hashlib.sha256(raw).hexdigest()}.json")
    paper.write_bytes(raw)
    return paper


def _live_for_long(rollback: VercelRollback, company: Rehearsal) -> None:
    """Let the heart beat while minutes pass: the dead-man notice is scheduled and pushed ahead."""
    assert rollback.dead_man is not None
    for _ in range(3):
        rollback.dead_man.beat()
        company.clock.advance(300)


@contextmanager
def _at_home(home: Path) -> Iterator[None]:
    before = os.environ.get("ROLLBACK_HOME")
    os.environ["ROLLBACK_HOME"] = str(home)
    try:
        yield
    finally:
        os.environ.pop("ROLLBACK_HOME")
        if before is not None:
            os.environ["ROLLBACK_HOME"] = before


@dataclass
class Doctor:
    """One honest run, to be falsified."""

    kind: str
    scratch: Path
    patch: pytest.MonkeyPatch
    case: Case = field(init=False)

    def __post_init__(self) -> None:
        world, folder, home = honest(self.kind)
        copied = self.scratch / folder.name
        shutil.copytree(folder, copied)
        signers = home.parent / "keys" / SIGNERS_FILE
        state = self.scratch / "state"
        shutil.copytree(home / "state", state) if (home / "state").exists() else state.mkdir()
        self.case = Case(world, copied, home, state=state, signers=signers if signers.exists() else None)
        self.patch.setattr(world.ledger, "_entries", [replace(entry) for entry in world.ledger.entries()])
        self.patch.setattr(world.hosting, "effects", list(world.hosting.effects))
        self.patch.setattr(world.slack, "_messages", copy.deepcopy(world.slack._messages))

    @property
    def folder(self) -> Path:
        """The copy of the run's folder."""
        assert self.case.folder is not None
        return self.case.folder

    @property
    def world(self) -> World:
        """The run's world."""
        return self.case.world

    # -- the journal and what is sealed over it

    @property
    def lines(self) -> list[Raw]:
        """The journal's lines as they stand."""
        return [json.loads(text) for text in (self.folder / "journal.jsonl").read_text().splitlines()]

    def rewrite(self, lines: list[Raw], *, seal: bool = True) -> None:
        """Write a journal with numbers and hashes that fit, and the record anew over it."""
        before, texts = "0" * 64, []
        for number, line in enumerate(lines, start=1):
            body = {**line, "seq": number, "prev": before}
            body.pop("hash", None)
            before = body["hash"] = hashlib.sha256(spelled(body).encode()).hexdigest()
            texts.append(spelled(body) + "\n")
        (self.folder / "journal.jsonl").write_text("".join(texts))
        if seal:
            self.seal()

    def edit(self, event: str, change: Callable[[Raw], object], name: str = "", nth: int = 0) -> None:
        """Change the data of one line, or the line itself where the change returns another."""
        lines = self.lines
        place = self.place(lines, event, name, nth)
        changed = change(lines[place]["data"])
        if isinstance(changed, dict):
            lines[place] = {**lines[place], **changed}
        self.rewrite(lines)

    def drop(self, event: str, name: str = "", nth: int | None = 0) -> None:
        """Take one line out, or all of its kind."""
        lines = self.lines
        if nth is None:
            lines = [
                line
                for line in lines
                if not (line["event"] == event and name in line["data"].get("name", ""))
            ]
        else:
            del lines[self.place(lines, event, name, nth)]
        self.rewrite(lines)

    def insert(self, before: str, *new: Raw, name: str = "", nth: int = 0) -> None:
        """Put lines in front of another one, with its time."""
        lines = self.lines
        place = self.place(lines, before, name, nth)
        made = [{**lines[place], "step": None, **one} for one in new]
        self.rewrite([*lines[:place], *made, *lines[place:]])

    def move(self, event: str, behind: str, name: str = "") -> None:
        """Put one line behind another."""
        lines = self.lines
        line = lines.pop(self.place(lines, event, name, 0))
        place = self.place(lines, behind, "", 0)
        self.rewrite([*lines[: place + 1], {**line, "at": lines[place]["at"]}, *lines[place + 1 :]])

    @staticmethod
    def place(lines: list[Raw], event: str, name: str, nth: int) -> int:
        """Find a line by its event, by a part of its name, by its number among those."""
        return [
            at
            for at, line in enumerate(lines)
            if line["event"] == event and name in (line["data"].get("name") or line["data"].get("id") or "")
        ][nth]

    def record(self, change: Callable[[Raw], object]) -> None:
        """Change what the record says."""
        content = json.loads((self.folder / "record.json").read_text())
        change(content)
        (self.folder / "record.json").write_text(json.dumps(content, indent=2) + "\n")

    def seal(self) -> None:
        """Make the record fit the files and the journal as they are now."""
        lines = self.lines
        outside = ("record.json", ".lock", "notebook.ipynb", "notebook.json")
        files = [
            path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name not in outside
        ]

        def fit(content: Raw) -> None:
            content["journal"] = {"lines": len(lines), "head": lines[-1]["hash"]}
            content["files"] = [
                {"path": path.relative_to(self.folder).as_posix(), "sha256": digest(path), "size": 0}
                for path in files
            ]

        self.record(fit)

    def word(self, outcome: str) -> None:
        """Claim another outcome, in the journal and in the record alike."""
        self.edit("run.closed", lambda data: data.update(outcome=outcome))
        self.record(lambda content: content["outcome"].update(outcome=outcome))

    def attach(self, raw: bytes, name: str = "attachments/more.bin") -> None:
        """Put a file into the folder, and into the record."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
        self.seal()

    @property
    def state(self) -> Path:
        """The copy of what the machines share."""
        assert self.case.state is not None
        return self.case.state

    @property
    def paper(self) -> Path:
        """The one signed approval in the store."""
        (found,) = self.state.glob("approvals/drill/*/signed-*.json")
        return found

    # -- the world

    @property
    def entries(self) -> list[Entry]:
        """The world's ledger, to be changed."""
        return self.world.ledger._entries

    def entry(self, path: str, nth: int = 0) -> Entry:
        """Find a request by a part of its path; the last one with -1."""
        return [entry for entry in self.entries if path in entry.path][nth]

    def arrive(self, like: str, nth: int = 0, **changed: Any) -> None:
        """Let a further request arrive right after one that did."""
        entry = self.entry(like, nth)
        self.entries.insert(self.entries.index(entry) + 1, replace(entry, **{"seq": 900, **changed}))

    def forget(self, keep: Callable[[Entry], bool]) -> None:
        """Take requests out of the ledger."""
        self.entries[:] = [entry for entry in self.entries if keep(entry)]

    def happen(self, at_ms: int, what: str, by: str = "colleague", **detail: Any) -> None:
        """Let something have happened to the platform."""
        effects = self.world.hosting.effects
        effects.append(Effect(at_ms, what, by, detail))
        effects.sort(key=lambda effect: effect.at_ms)


def spelled(body: Raw) -> str:
    """Write a line as it counts."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def digest(path: Path) -> str:
    """Give the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
