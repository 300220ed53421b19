"""YAML files read into frozen models; a wrong file is refused naming the file and the line.

- Nothing is guessed: a key written twice, an unknown key, a wrong type are refused.
- A key is a plain name or a number; `on:` or `no:`, which YAML reads as true and false, are refused.
- The line is that of the offending value, or of the mapping that lacks a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.reader import Reader, ReaderError

from rollback_lib.errors import BadParameters

__all__ = ["Frozen", "keys_at", "line_of", "load_model", "load_node", "load_tree", "problems", "text_at"]

M = TypeVar("M", bound=BaseModel)
_UNTOUCHED = "Nothing was sent; no run was begun or changed."
_TEXT = "tag:yaml.org,2002:str"
_KEY_TAGS = {_TEXT, "tag:yaml.org,2002:int", "tag:yaml.org,2002:merge"}
# libyaml reads the plan in a tenth of the time, and every run reads it before its first effect.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Frozen(BaseModel):
    """Base of all values read from files: immutable, no unknown keys, no coercion ("no" is not False)."""

    model_config = {"frozen": True, "extra": "forbid", "strict": True}


def load_tree(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """Read a YAML mapping and its node tree (the nodes know their lines).

    Raises:
        BadParameters: Missing, unreadable, not YAML, not a mapping, or a key twice. Nothing was sent.
    """
    node = load_node(path)
    _check(path, node, ())
    try:
        tree = yaml.SafeLoader("").construct_document(node)  # from the nodes: the text is parsed once
    except yaml.MarkedYAMLError as exc:
        raise _unreadable(path, _mark_line(exc), f"{exc.problem}") from exc
    return tree, node


def load_node(path: Path) -> yaml.MappingNode:
    """Read a YAML mapping's node tree alone, for who has to make do with a file that is not valid.

    Keys that are written twice, are no plain names or have no possible value are let pass.

    Raises:
        BadParameters: Missing, unreadable, not YAML, not a mapping. Nothing was sent.
    """
    node = _compose(path, _read_text(path))
    if not isinstance(node, yaml.MappingNode):
        raise BadParameters(
            f"{path}: expected a mapping of names to values at the top.", _UNTOUCHED, "Correct the file."
        )
    return node


def load_model(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model.

    Raises:
        BadParameters: As `load_tree`, or a value that does not fit, with its line. Nothing was sent.
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


def text_at(node: yaml.Node, loc: Iterable[str | int]) -> str | None:
    """Return the value at `loc` as it is written, without quotes; None where there is no single value."""
    found = _node_at(node, loc)
    return found.value if isinstance(found, yaml.ScalarNode) else None


def keys_at(node: yaml.Node, loc: Iterable[str | int]) -> tuple[str, ...]:
    """Return the names of the mapping, or the places of the list, at `loc`; nothing where there is neither."""
    found = _node_at(node, loc)
    if isinstance(found, yaml.MappingNode):
        return tuple(key.value for key, _ in found.value if isinstance(key, yaml.ScalarNode))
    return tuple(map(str, range(len(found.value)))) if isinstance(found, yaml.SequenceNode) else ()


def _node_at(node: yaml.Node, loc: Iterable[str | int]) -> yaml.Node | None:
    found: yaml.Node | None = node
    for part in loc:
        found = _child(found, part) if found is not None else None
    return found


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise BadParameters(
            f"{path} cannot be read: {exc.strerror}.",
            _UNTOUCHED,
            "Restore the file, or set ROLLBACK_HOME to the project's folder.",
        ) from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise _unreadable(path, line, "it is not UTF-8 text") from exc


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except ReaderError as exc:
        odd = Reader.NON_PRINTABLE.search(text)
        line = text.count("\n", 0, odd.start()) + 1 if odd is not None else 1
        raise _unreadable(path, line, f"{exc.reason}") from exc
    except yaml.MarkedYAMLError as exc:
        raise _unreadable(path, _mark_line(exc), f"{exc.problem}") from exc


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


def _check(path: Path, node: yaml.Node, around: tuple[yaml.Node, ...]) -> None:
    """Refuse what the parser lets pass: a key twice, a key that is no name, a bad value, a loop of aliases."""
    line = int(node.start_mark.line) + 1
    if node in around:
        raise _unreadable(path, line, "the value contains itself")
    inner = (*around, node)
    if isinstance(node, yaml.MappingNode):
        _check_keys(path, node)
        for _, value in node.value:
            _check(path, value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(path, item, inner)
    elif node.tag != _TEXT:
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError as exc:  # a date such as 2025-13-45
            raise _unreadable(path, line, str(exc)) from exc
        except yaml.MarkedYAMLError as exc:
            raise _unreadable(path, line, f"{exc.problem}") from exc


def _check_keys(path: Path, node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        line = int(key.start_mark.line) + 1
        if key.tag not in _KEY_TAGS:
            shown = f"{key.value!r} is" if isinstance(key, yaml.ScalarNode) else "this key is"
            raise _unreadable(path, line, f"{shown} not a plain name; put it in quotes if it is meant as one")
        if key.value in seen:
            raise BadParameters(
                f"{path}, line {line}: {key.value!r} is written twice.", _UNTOUCHED, "Remove one of the two."
            )
        seen.add(key.value)


def _unreadable(path: Path, line: int, problem: str) -> BadParameters:
    return BadParameters(
        f"{path}, line {line}: not readable as YAML: {problem}.", _UNTOUCHED, "Correct that line."
    )


def _mark_line(exc: yaml.MarkedYAMLError) -> int:
    return int(exc.problem_mark.line) + 1 if exc.problem_mark is not None else 1
