"""Where runs are, by what a person types."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import ENVIRONMENTS, Platform, Secrets, read_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollback_lib.evidence.archive import Archive, RunFolder
    from rollback_lib.store import Store

__all__ = ["archives", "bring_run", "find_run", "short", "store_of"]


def archives(home: Path) -> list[Archive]:
    """Return the archives that the environments' files name, each once."""
    from rollback_lib.evidence.archive import Archive

    named = (
        read_layer(home, environment).platform.get("archive", "incidents") for environment in ENVIRONMENTS
    )
    return [Archive(home / Path(name).expanduser()) for name in dict.fromkeys(named) if "://" not in name]


def find_run(home: Path, run: str) -> RunFolder:
    """Find a run in whichever archive it is.

    Raises:
        BadParameters: In none of them.
    """
    *others, last = archives(home)
    for archive in others:
        try:
            return archive.find(run)
        except BadParameters:
            continue
    return last.find(run)


def store_of(home: Path, environment: str, recorded: Mapping[str, Any] | None = None) -> Store:
    """Open the store that an environment's machines share; sends nothing.

    Args:
        home: The project's folder.
        environment: Whose file and keys lead to it.
        recorded: The platform as a run's journal has it; None: the environment's file's.

    Raises:
        BadParameters: It cannot be opened: not set up, keys are missing, or its address is of another kind.
    """
    from rollback_lib.parameters.effective import effective_platform
    from rollback_lib.store import open_store

    platform = (
        effective_platform(read_layer(home, environment), {}, home)
        if recorded is None
        else Platform.model_validate_json(json.dumps(recorded))
    )
    return open_store(platform, home, Secrets.open(environment, home, os.environ, None))


def bring_run(home: Path, run: str) -> RunFolder:
    """Find a run in the archives, brought up to date from the store; or bring it from the store that knows it.

    Raises:
        BadParameters: Neither an archive nor a store knows it.
        LeaseHeld: It is behind the store, and open in another process of this machine.
        JournalError: It cannot be brought: what is here differs, or the store's copy does not hold.
        Unreachable: A store gave no usable answer.
    """
    from rollback_lib.journal import FILE_NAME, read_journal
    from rollback_lib.procedures.handover import fetch

    try:
        found = find_run(home, run)
    except BadParameters:
        return _from_a_store(home, run)
    if not found.broken:
        told = read_journal(found.folder / FILE_NAME).lines[0].data["parameters"]
        store = store_of(home, found.environment, told["platform"])
        secrets = Secrets.open(found.environment, home, os.environ, None)
        fetch(store, found.run, found.folder.parent.parent, secrets)
    return find_run(home, str(found.folder))


def _from_a_store(home: Path, run: str) -> RunFolder:
    """Bring a run that no archive here has."""
    from rollback_lib.procedures.handover import fetch

    for environment in ENVIRONMENTS:
        archive = read_layer(home, environment).platform.get("archive", "incidents")
        try:
            store = store_of(home, environment)
        except BadParameters:  # not set up on this machine
            continue
        secrets = Secrets.open(environment, home, os.environ, None)
        folder = fetch(store, run, home / Path(archive).expanduser(), secrets)
        if folder is not None:
            return find_run(home, str(folder))
    return find_run(home, run)  # which says what there is


def short(path: Path, home: Path) -> str:
    """Write a path below the project's folder without it."""
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
