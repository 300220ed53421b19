"""YAML files read into frozen models; a wrong file is refused naming the file and the line.

- Nothing is guessed: a key written twice, an unknown key, a wrong type are refused.
- The line is that of the offending value, or of the mapping that lacks a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rollback_lib.errors import BadParameters

__all__ = ["Frozen", "line_of", "load_model", "load_tree", "problems"]

M = TypeVar("M", bound=BaseModel)
_UNTOUCHED = "Nothing was sent; no run was begun or changed."


class Frozen(BaseModel):
    """Base of all values read from files: immutable, no unknown keys, no coercion ("no" is not False)."""

    model_config = {"frozen": True, "extra": "forbid", "strict": True}


def load_tree(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """Read a YAML mapping and its node tree (the nodes know their lines).

    Raises:
        BadParameters: Missing, unreadable, not YAML, not a mapping, or a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as exc:
        raise BadParameters(
            f"{path} cannot be read: {exc.strerror}.",
            _UNTOUCHED,
            "Restore the file, or set ROLLBACK_HOME to the project's folder.",
        ) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
        raise BadParameters(
            f"{place}: not readable as YAML: {getattr(exc, 'problem', None) or exc}.",
            _UNTOUCHED,
            "Correct that line.",
        ) from exc
    if not isinstance(node, yaml.MappingNode):
        raise BadParameters(
            f"{path}: expected a mapping of names to values at the top.", _UNTOUCHED, "Correct the file."
        )
    _refuse_twice(path, node)
    return yaml.safe_load(text), node


def load_model(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model.

    Raises:
        BadParameters: As `load_tree`, or a value that does not fit, with its line.
    """
    tree, node = load_tree(path)
    try:
        # Through JSON: strict there still reads lists as tuples and names as enum members.
        return model.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as exc:
        listed = "\n".join(f"  {path}, line {line_of(node, loc)}: {text}" for loc, text in problems(exc))
        raise BadParameters(
            f"{path.name} is not valid:\n{listed}", _UNTOUCHED, "Correct the lines named above."
        ) from exc


def problems(exc: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """List what pydantic refused as (place, sentence); the refused value is not repeated, it may be secret."""
    found = []
    for error in exc.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in error["loc"]) or "(top)"
        found.append((error["loc"], f"{place}: {error['msg']}"))
    return found


def line_of(node: yaml.Node, loc: Iterable[str | int]) -> int:
    """Find the line (from 1) of the value at `loc`, or of the deepest part of it that exists."""
    for part in loc:
        step = _child(node, part)
        if step is None:
            break
        node = step
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                # A block mapping starts on the line after its key; a scalar stands beside it.
                return (
                    value
                    if isinstance(value, yaml.ScalarNode) or value.start_mark.line == key.start_mark.line
                    else _at(key, value)
                )
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item: yaml.Node = node.value[part]
        return item
    return None


def _at(key: yaml.Node, value: yaml.Node) -> yaml.Node:
    """Give a nested block the line of its key: that is where a person looks."""
    value.start_mark = key.start_mark
    return value


def _refuse_twice(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise BadParameters(
                    f"{path}, line {key.start_mark.line + 1}: {key.value!r} is written twice.",
                    _UNTOUCHED,
                    "Remove one of the two.",
                )
            seen.add(key.value)
            _refuse_twice(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(path, item)
