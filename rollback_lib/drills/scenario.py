"""A scenario: how a world is broken, which notebook is run with what, whether that is undone, and what the right outcomes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rollback_lib.errors import BadParameters
from rollback_lib.model import Outcome
from rollback_lib.simulator import Jobs, WorldSpec
from rollback_lib.yamlfile import Frozen, load_model

__all__ = ["Expected", "Scenario", "Undo", "load_scenarios", "real_pace"]


class Expected(Frozen):
    """The right outcome, as the run claims it and as the world shows it."""

    outcome: Outcome
    # On the last stable one and well; never changed; changed, and again as it was; anything else. Of procedure 2: the backend.
    production: Literal["recovered", "untouched", "undone", "elsewhere"]


class Undo(Frozen):
    """A second run in the same world, which undoes what the first one did."""

    reason: str
    expected: Expected


class Scenario(Frozen):
    """One drill."""

    title: str
    notebook: str  # 1_vercel_rollback
    parameters: dict[str, Any] = Field(default_factory=dict)  # over parameters/drill.yaml
    world: WorldSpec = WorldSpec()
    expected: Expected
    undo: Undo | None = None  # begun once the first run came right, by the command that it tells for that


def load_scenarios(home: Path, only: tuple[str, ...] = ()) -> dict[str, Scenario]:
    """Read parameters/scenarios, by name.

    Raises:
        BadParameters: A wrong file, or a name that is not there.
    """
    files = {path.stem: path for path in sorted((home / "parameters" / "scenarios").glob("*.yaml"))}
    unknown = [name for name in only if name not in files]
    if unknown or not files:
        raise BadParameters(
            f"No scenario {', '.join(unknown) or 'at all'}; there are: {', '.join(files) or 'none'}.",
            "Nothing was run.",
            "Choose one of those.",
        )
    return {name: load_model(path, Scenario) for name, path in files.items() if not only or name in only}


def real_pace(scenario: Scenario) -> Scenario:
    """Return the scenario in a world that takes as long as the real platforms do."""
    world = scenario.world
    slow: dict[str, Any] = {
        "ingest_lag_s": 90.0,
        "jobs": Jobs(pending_s=2.0, running_s=8.0, build_s=90.0, build_outcome=world.jobs.build_outcome),
        "personas": tuple(persona.model_copy(update={"after_s": 20.0}) for persona in world.personas),
        "signers": tuple(signer.model_copy(update={"after_s": 20.0}) for signer in world.signers),
    }
    if world.convex is not None:  # no crowd: in minutes the usual visitors have enough to tell
        slow["convex"] = world.convex.model_copy(update={"visitors": (), "checked_per_s": 1000.0})
    return scenario.model_copy(update={"world": world.model_copy(update=slow)})
