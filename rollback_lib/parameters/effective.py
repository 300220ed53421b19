"""The effective platform and policy: the environment's file, with a drill's overrides laid over it.

- Outside drills an injected value must be exactly the file's: nothing is laid over it.
- Mappings are merged key by key; any other value, lists included, is replaced whole.
- A fault names where the value came from: the line of the file, or the parameter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rollback_lib.errors import BadParameters
from rollback_lib.parameters.layer import Layer
from rollback_lib.parameters.platform import Platform, address_faults
from rollback_lib.parameters.policy import Policy
from rollback_lib.parameters.words import UNTOUCHED, Fault, Place, dotted, faults
from rollback_lib.yamlfile import load_tree

__all__ = ["effective_platform", "effective_policy", "refuse_override"]

M = TypeVar("M", bound=BaseModel)
_MISSING = object()


def effective_platform(layer: Layer, override: dict[str, Any], home: Path) -> Platform:
    """Lay a drill's override over the file's platform, and judge its addresses.

    Raises:
        BadParameters: A value of the wrong shape, or an address that the environment must not use. Nothing was sent.
    """
    platform = _effective(layer, "platform", override, Platform)
    found = list(address_faults(platform, layer.environment))
    if found:
        raise _refused(layer, "platform", override, found)
    if layer.environment == "staging":
        _refuse_shared_project(layer, platform, home)
    return platform


def effective_policy(layer: Layer, override: dict[str, Any]) -> Policy:
    """Lay a drill's override over the file's policy.

    Raises:
        BadParameters: A value is missing, of the wrong kind or out of range. Nothing was sent.
    """
    return _effective(layer, "policy", override, Policy)


def refuse_override(layer: Layer, name: str, override: dict[str, Any]) -> None:
    """Refuse what is no plain data, and outside drills everything that is not the file's.

    Raises:
        BadParameters: With the first place that differs. Nothing was sent.
    """
    try:
        json.dumps(override, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadParameters(
            f"{name} holds something that is no plain data: {exc}.",
            UNTOUCHED,
            f"Give {name} as plain values.",
        ) from exc
    if layer.environment == "drill" or not override:
        return
    different = _differing(override, layer.tree[name])
    if different is not None:
        raise BadParameters(
            f"{dotted((name, *different))} was injected for {layer.environment} and is not what {layer.name} says; "
            "only a drill may override it.",
            UNTOUCHED,
            f"Leave {name} out of the parameters, or change {layer.name} and have it reviewed.",
        )


def _differing(ours: Any, theirs: Any, place: Place = ()) -> Place | None:
    """Find the first place where two values differ; 1, 1.0 and True are different."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        pairs = [(key, ours.get(key, _MISSING), theirs.get(key, _MISSING)) for key in {**ours, **theirs}]
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        pairs = [(at, *pair) for at, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        return None if type(ours) is type(theirs) and ours == theirs else place
    found = (_differing(one, other, (*place, key)) for key, one, other in pairs)
    return next((where for where in found if where is not None), None)


def _effective(layer: Layer, name: str, override: dict[str, Any], model: type[M]) -> M:
    merged = _merge(layer.tree[name], override)
    try:
        # Through JSON: strict there still reads lists as tuples.
        return model.model_validate_json(json.dumps(merged, default=str))
    except ValidationError as exc:
        raise _refused(layer, name, override, faults(exc)) from exc


def _merge(base: Any, override: Any) -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        return base | {key: _merge(base.get(key), value) for key, value in override.items()}
    return override


def _refused(layer: Layer, name: str, override: dict[str, Any], found: Iterable[Fault]) -> BadParameters:
    listed = "\n".join(
        f"  {_origin(layer, (name, *place), override)}: {dotted((name, *place))} {text}"
        for place, text in found
    )
    return BadParameters(
        f"The {name} of {layer.environment} is not valid:\n{listed}",
        UNTOUCHED,
        "Correct the places named above.",
    )


def _origin(layer: Layer, place: Place, override: dict[str, Any]) -> str:
    value: Any = override
    for part in place[1:]:
        if not isinstance(value, dict):
            return f"parameter {place[0]}"  # the override replaced this whole value
        if part not in value:
            return layer.where(place)
        value = value[part]
    return f"parameter {place[0]}" if override else layer.where(place)


def _refuse_shared_project(layer: Layer, platform: Platform, home: Path) -> None:
    """Refuse staging inside production's own Vercel project."""
    path = home / "parameters" / "production.yaml"
    if not path.is_file():
        return
    tree, _ = load_tree(path)
    production = tree.get("platform")
    vercel = production.get("vercel") if isinstance(production, dict) else None
    if isinstance(vercel, dict) and vercel.get("project") == platform.vercel.project:
        fault = (
            "is production's project too: a rollback in it moves production, whatever environment was meant"
        )
        raise layer.refused(
            [(("platform", "vercel", "project"), fault)], "Give staging a Vercel project of its own."
        )
