"""Honest runs in their worlds, and the tools to make one side lie so that only the content does.

A doctored journal is chained anew and the record is sealed over it again: what gives a lie away is the world.
What is changed in a world is put back after the test.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from backend_scenes import BACKEND_SCENES, play_backend
from scenes import play

from rollback_lib.drills.oracle import Case
from rollback_lib.simulator import World
from rollback_lib.simulator.hosting import Effect
from rollback_lib.simulator.ledger import Entry

__all__ = ["Doctor", "honest"]

Raw = dict[str, Any]
_SCRATCH = tempfile.TemporaryDirectory(prefix="honest-")  # of this process, gone at its end


@functools.cache
def honest(scene: str) -> Case:
    """Play a scene of `scenes` or `backend_scenes`, once in this process; nobody may change what comes of it."""
    folder = Path(tempfile.mkdtemp(dir=_SCRATCH.name))
    return play_backend(scene, folder) if scene in BACKEND_SCENES else play(scene, folder)


@dataclass
class Doctor:
    """One honest run, to be falsified."""

    scene: str
    scratch: Path
    patch: pytest.MonkeyPatch
    case: Case = field(init=False)

    def __post_init__(self) -> None:
        case = honest(self.scene)
        assert case.folder is not None
        assert case.state is not None
        copied = shutil.copytree(case.folder, self.scratch / case.folder.name)
        state = shutil.copytree(case.state, self.scratch / "state")
        self.case = replace(case, folder=copied, state=state)
        world = case.world
        self.patch.setattr(world.ledger, "_entries", [replace(entry) for entry in world.ledger.entries()])
        self.patch.setattr(world.hosting, "effects", list(world.hosting.effects))
        self.patch.setattr(world.slack, "_messages", copy.deepcopy(world.slack._messages))
        if world.convex is not None:
            self.patch.setattr(world.convex, "was_live", list(world.convex.was_live))
            self.patch.setattr(world.convex.audit, "rows", list(world.convex.audit.rows))

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
