"""What is put before the judge, and how it is read: the world, the run's folder, and what the run's process said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rollback_lib.drills.oracle.backend import BackendTruth
from rollback_lib.drills.oracle.lines import read_told
from rollback_lib.drills.oracle.pairs import Pairs, pair
from rollback_lib.drills.oracle.truth import Truth
from rollback_lib.plan import Plan, load_plan
from rollback_lib.simulator import World
from rollback_lib.yamlfile import load_tree

__all__ = ["NOTEBOOK", "NOTEBOOK_MANIFEST", "RECORD", "Bench", "Case"]

RECORD, NOTEBOOK, NOTEBOOK_MANIFEST = "record.json", "notebook.ipynb", "notebook.json"
_DRILL = "drill"
_SERVICES = {1: "vercel", 2: "convex"}  # by procedure


@dataclass(frozen=True)
class Case:
    """One run in one world.

    Args:
        world: As it is after the run.
        folder: The run's; None where none was begun.
        home: The project whose plan and contacts the run went by.
        said: Whatever the run's process wrote to its terminal.
        exit_code: Of the run's process, the last one if there were several; None where it ran in no process of its own.
        outcome: What the process reported; None where it reported none.
        killed: It was ended from outside, so that it could not finish what it was at.
        state: The folder that the world's machines share.
        signers: The file that says whose keys approve in this world; None where nobody has one.
        others: Folders of further runs in the same world.
    """

    world: World
    folder: Path | None
    home: Path
    said: str = ""
    exit_code: int | None = None
    outcome: str | None = None
    killed: bool = False
    state: Path | None = None
    signers: Path | None = None
    others: tuple[Path, ...] = ()


class Bench:
    """A case as it is read, each part once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.truth, self.backend = Truth(case.world), BackendTruth(case.world)
        self.told = read_told(case.folder)

    @cached_property
    def pairs(self) -> Pairs:
        """Return the run's attempts and the requests that arrived, held against each other."""
        others = [read_told(folder) for folder in self.case.others]
        return pair(self.told, others, self.truth.changing)

    @property
    def procedure(self) -> int:
        """Return the number of the procedure that the run is of."""
        return int(self.told.opening.get("procedure", 1))

    @property
    def service(self) -> str:
        """Return the service whose change the procedure is."""
        return _SERVICES.get(self.procedure, _SERVICES[1])

    @cached_property
    def plan(self) -> Plan:
        """Return the customer's plan."""
        return load_plan(self.case.home)

    @cached_property
    def contacts(self) -> dict[str, Any]:
        """Return the people and roles of the drill, as their file has them."""
        tree, _ = load_tree(self.case.home / "parameters" / "contacts.yaml")
        return dict(tree[_DRILL])

    def slack_id(self, operator: str) -> str:
        """Return the user id of a person by the key that names an operator; empty where there is none."""
        return str(self.contacts["people"].get(operator, {}).get("slack", ""))

    def holders(self, role: str) -> set[str]:
        """Return the user ids of those who hold a role, deputies included."""
        held = self.contacts["roles"].get(role, {})
        return {self.slack_id(key) for key in (held.get("person", ""), *held.get("deputies", ()))} - {""}

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """Return `record.json`; None where it is missing or cannot be read."""
        return self.json_of(RECORD)

    def json_of(self, name: str) -> dict[str, Any] | None:
        """Read a JSON file of the run's folder; None where it is missing or no JSON object."""
        if self.case.folder is None:
            return None
        try:
            found = json.loads((self.case.folder / name).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None
