"""Validators, held against values as the platform does it, with its words for what does not fit.

- An object may have no field that its validator does not name.
- A kind of validator that is not known here is an error: nothing passes unseen.
- Ids are checked by their table, which the caller knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rollback_lib.simulator.convex import ids, values

__all__ = ["Check", "Misfit", "TableOf", "UnknownValidator", "compile_validator", "describe"]

TableOf: TypeAlias = Callable[[int], str | None]  # table number -> name
Check: TypeAlias = Callable[[Any, str], "Misfit | None"]  # value, path -> what does not fit
_SIMPLE = {
    "null": "null",
    "number": "float64",
    "bigint": "int64",
    "commitTs": "int64",
    "boolean": "boolean",
    "string": "string",
    "bytes": "bytes",
}
_WORDS = {"number": "float64", "bigint": "int64"}
_LITERALS = frozenset({"float64", "int64", "boolean", "string"})


class UnknownValidator(ValueError):
    """A validator that this backend does not know."""


class Misfit:
    """Why a value does not fit; the words are found when somebody wants them."""

    def __init__(self, words: Callable[[], str]) -> None:
        self._words = words

    @property
    def text(self) -> str:
        """Why, in the platform's words."""
        return self._words()


def compile_validator(tree: Any, table_of: TableOf) -> Check:  # noqa: PLR0911 - one for each kind
    """Make the check of a validator.

    Args:
        tree: The validator as the pushed code exports it.
        table_of: Names a table by its number.

    Raises:
        UnknownValidator: It is of a kind, or of a form, that is not known.
    """
    match tree:
        case {"type": "any"}:
            return lambda _value, _path: None
        case {"type": kind} if kind in _SIMPLE:
            return _simple(tree, _SIMPLE[kind])
        case {"type": "literal", "value": wanted} if values.kind_of(wanted) in _LITERALS:
            return _literal(wanted)
        case {"type": "id", "tableName": str()}:
            return _id(tree, table_of)
        case {"type": "array", "value": inner}:
            return _array(tree, compile_validator(inner, table_of))
        case {"type": "record", "keys": keys, "values": {"fieldType": inner, "optional": False}}:
            return _record(tree, compile_validator(keys, table_of), compile_validator(inner, table_of))
        case {"type": "object", "value": dict() as fields}:
            return _object(tree, fields, table_of)
        case {"type": "union", "value": list() as options}:
            return _union(tree, [compile_validator(option, table_of) for option in options])
    raise UnknownValidator(f"Unrecognized validator: {json.dumps(tree)}")


def _no_match(tree: Any, value: Any, path: str) -> Misfit:
    return Misfit(
        lambda: (
            f"Value does not match validator.\n{_where(path)}\nValue: {values.shown(value)}\n"
            f"Validator: {describe(tree)}"
        )
    )


def _where(path: str) -> str:
    return f"Path: {path}" if path else ""


def _simple(tree: Any, kind: str) -> Check:
    def check(value: Any, path: str) -> Misfit | None:
        return None if values.kind_of(value) == kind else _no_match(tree, value, path)

    return check


def _literal(wanted: Any) -> Check:
    kind, wanted_key = values.kind_of(wanted), values.key(wanted)

    def check(value: Any, path: str) -> Misfit | None:
        same = value == wanted if kind == "string" else values.kind_of(value) == kind
        if same and (kind == "string" or values.key(value) == wanted_key):
            return None
        return Misfit(
            lambda: (
                f"`{values.shown(value)}` does not match literal validator "
                f"`v.literal({_literal_shown(wanted)})`.{_where(path)}"
            )
        )

    return check


def _id(tree: Any, table_of: TableOf) -> Check:
    wanted = tree["tableName"]

    def check(value: Any, path: str) -> Misfit | None:
        found = ids.decode(value) if isinstance(value, str) else None
        name = table_of(found.table) if found is not None else None
        if name is None:
            return _no_match(tree, value, path)
        if name == wanted:
            return None
        origin = "a system table" if name.startswith("_") else f"table `{name}`"
        return Misfit(
            lambda: (
                f'Found ID "{value}" from {origin}, which does not match the table name in validator '
                f'`v.id("{wanted}")`.{_where(path)}'
            )
        )

    return check


def _array(tree: Any, inner: Check) -> Check:
    def check(value: Any, path: str) -> Misfit | None:
        if values.kind_of(value) != "array":
            return _no_match(tree, value, path)
        for place, item in enumerate(value):
            wrong = inner(item, f"{path}[{place}]")
            if wrong is not None:
                return wrong
        return None

    return check


def _record(tree: Any, keys: Check, inner: Check) -> Check:
    def check(value: Any, path: str) -> Misfit | None:
        if values.kind_of(value) != "object":
            return _no_match(tree, value, path)
        for name, item in value.items():
            wrong = keys(name, f"{path}.keys()") or inner(item, f"{path}.values()")
            if wrong is not None:
                return wrong
        return None

    return check


def _object(tree: Any, fields: Mapping[str, Any], table_of: TableOf) -> Check:  # noqa: C901 - the rules of one kind
    checks: dict[str, tuple[Check, bool]] = {}
    for name, entry in sorted(fields.items()):
        match entry:
            case {"fieldType": inner, "optional": bool() as optional}:
                checks[name] = (compile_validator(inner, table_of), optional)
            case _:
                raise UnknownValidator(f"Unrecognized field of a validator: {json.dumps(entry)}")

    def check(value: Any, path: str) -> Misfit | None:
        if values.kind_of(value) != "object":
            return _no_match(tree, value, path)
        for name, (inner, optional) in checks.items():
            if name in value:
                wrong = inner(value[name], f"{path}.{name}")
                if wrong is not None:
                    return wrong
            elif not optional:
                return _missing(tree, value, name, path)
        for name in value:
            if name not in checks:
                return _extra(tree, value, name, path)
        return None

    return check


def _missing(tree: Any, value: Any, name: str, path: str) -> Misfit:
    return Misfit(
        lambda: (
            f"Object is missing the required field `{name}`. Consider wrapping the field validator in "
            f"`v.optional(...)` if this is expected.\n{_facts(tree, value, path)}"
        )
    )


def _extra(tree: Any, value: Any, name: str, path: str) -> Misfit:
    return Misfit(
        lambda: (
            f"Object contains extra field `{name}` that is not in the validator.\n{_facts(tree, value, path)}"
        )
    )


def _facts(tree: Any, value: Any, path: str) -> str:
    return f"{_where(path)}\nObject: {values.shown(value)}\nValidator: {describe(tree)}"


def _union(tree: Any, options: list[Check]) -> Check:
    if len(options) == 1:
        return options[0]

    def check(value: Any, path: str) -> Misfit | None:
        if any(option(value, path) is None for option in options):
            return None
        return _no_match(tree, value, path)

    return check


def describe(tree: Any) -> str:  # noqa: PLR0911 - one for each kind
    """Write a validator as its author would have, as the platform's messages do."""
    match tree["type"]:
        case "literal":
            return f"v.literal({_literal_shown(tree['value'])})"
        case "id":
            return f'v.id("{tree["tableName"]}")'
        case "array":
            return f"v.array({describe(tree['value'])})"
        case "record":
            return f"v.record({describe(tree['keys'])}, {describe(tree['values']['fieldType'])})"
        case "object":
            fields = (f"{name}: {_field(tree['value'][name])}" for name in sorted(tree["value"]))
            return "v.object({" + ", ".join(fields) + "})"
        case "union":
            return "v.union(" + ", ".join(describe(option) for option in tree["value"]) + ")"
        case kind:
            return f"v.{_WORDS.get(kind, kind)}()"


def _field(entry: Any) -> str:
    inner = describe(entry["fieldType"])
    return f"v.optional({inner})" if entry["optional"] else inner


def _literal_shown(value: Any) -> str:
    return "<bigint>" if values.kind_of(value) == "int64" else values.shown(value)
