"""The environment's file: what it gives to a run, and what in it is still to be filled in.

- Only `platform` and `policy` count as the environment's layer; the rest is for papermill's -f.
- In a drill the file also names who operates if nobody is named, so that it opens with default parameters.
- Every name at the top is a parameter's; a file that says it is another environment's is refused.
- A place still to be filled in is refused when it would be used, together with all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rollback_lib.errors import BadParameters
from rollback_lib.model import Redactor
from rollback_lib.parameters.contacts import CONTACTS_FILE
from rollback_lib.parameters.namespace import secret_places
from rollback_lib.parameters.run import ENVIRONMENTS, PROCEDURE_PARAMETERS, RunParameters
from rollback_lib.parameters.words import UNTOUCHED, Fault, Place, came, closest, dotted
from rollback_lib.yamlfile import line_of, load_tree

__all__ = [
    "Layer",
    "known_environment",
    "open_contacts",
    "open_places",
    "read_layer",
    "refuse_placeholders",
]

_PLACEHOLDER = re.compile(r"(?i)\bchange[-_]?me\b|^\[[a-z -]+\]$|\.invalid\b|\bexample\.(com|org|net)\b")
_NAMES = frozenset(RunParameters.model_fields) | PROCEDURE_PARAMETERS


@dataclass(frozen=True)
class Layer:
    """One environment's file, read and its names checked."""

    environment: str
    name: str  # parameters/drill.yaml
    tree: dict[str, Any]
    node: yaml.Node

    @property
    def platform(self) -> dict[str, Any]:
        """Return the file's platform, as written."""
        platform: dict[str, Any] = self.tree["platform"]
        return platform

    @property
    def policy(self) -> dict[str, Any]:
        """Return the file's policy, as written."""
        policy: dict[str, Any] = self.tree["policy"]
        return policy

    def where(self, place: Place) -> str:
        """Name the file and the line of a place."""
        return f"{self.name}, line {line_of(self.node, place)}"

    def refused(self, faults: Iterable[Fault], next_step: str) -> BadParameters:
        """Build the error that lists faults with their lines."""
        listed = "\n".join(f"  {self.where(place)}: {dotted(place)} {text}" for place, text in faults)
        return BadParameters(f"{self.name} is not valid:\n{listed}", UNTOUCHED, next_step)


def known_environment(value: Any) -> str:
    """Return the environment's name, or refuse one that does not exist.

    Raises:
        BadParameters: Unknown; the known ones are listed. Nothing was sent.
    """
    if isinstance(value, str) and value in ENVIRONMENTS:
        return value
    raise BadParameters(
        f"environment: {came(value)}; known are {', '.join(ENVIRONMENTS)}.",
        UNTOUCHED,
        "Set environment to one of them.",
    )


def read_layer(home: Path, environment: str, redactor: Redactor | None = None) -> Layer:
    """Read `parameters/<environment>.yaml`.

    Args:
        home: The project's folder.
        environment: One of `ENVIRONMENTS`.
        redactor: Knows the secret values that must not stand in the file.

    Raises:
        BadParameters: Missing, malformed, another environment's, an unknown name, a secret in it. Nothing was sent.
    """
    name = f"parameters/{environment}.yaml"
    tree, node = load_tree(home / name)
    layer = Layer(environment, name, tree, node)
    secret = [(place, "holds a secret") for place in secret_places(tree, redactor or Redactor())]
    if secret:
        raise layer.refused(
            secret, "Take it out, revoke it, and give the new one as an environment variable or secrets file."
        )
    faults = list(_faults(layer))
    if faults:
        raise layer.refused(faults, "Correct the lines named above.")
    return layer


def refuse_placeholders(layer: Layer, home: Path) -> None:
    """Refuse what production or staging has not filled in yet, here and in the contacts.

    Raises:
        BadParameters: Each line that is still to be filled in. Nothing was sent.
    """
    listed = [f"  {place}" for place in (*open_places(layer), *open_contacts(home, layer.environment))]
    if listed:
        raise BadParameters(
            f"{layer.environment} is not configured yet; still to be filled in:\n" + "\n".join(listed),
            UNTOUCHED,
            "Fill in the lines named above.",
        )


def open_places(layer: Layer) -> tuple[str, ...]:
    """List what the environment's file has not filled in yet, each with its line; a drill has nothing open."""
    return _open_in(layer, "platform", "policy")


def open_contacts(home: Path, environment: str) -> tuple[str, ...]:
    """List what the environment's people have not filled in yet, each with its line.

    Raises:
        BadParameters: The file cannot be read. Nothing was sent.
    """
    tree, node = load_tree(home / CONTACTS_FILE)
    return _open_in(Layer(environment, str(CONTACTS_FILE), tree, node), environment)


def _open_in(file: Layer, *tops: str) -> tuple[str, ...]:
    if file.environment == "drill":
        return ()
    places = (place for top in tops for place in _placeholders(file.tree.get(top), (top,)))
    return tuple(f"{file.where(place)}: {dotted(place)}" for place in places)


def _faults(layer: Layer) -> Iterator[Fault]:
    for name in layer.tree:
        if str(name) not in _NAMES:
            yield (str(name),), f"is no parameter{closest(str(name), sorted(_NAMES))}"
    said = layer.tree.get("environment", layer.environment)
    if said != layer.environment:
        yield ("environment",), f"must be {layer.environment} in this file; {came(said)}"
    for name in ("platform", "policy"):
        if not isinstance(layer.tree.get(name), dict):
            yield (name,), "must be there, a mapping of names to values"


def _placeholders(value: Any, place: Place) -> Iterator[Place]:
    if isinstance(value, str):
        if _PLACEHOLDER.search(value) is not None:
            yield place
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _placeholders(item, (*place, str(key)))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _placeholders(item, (*place, at))
