"""A schema as pushed code exports it: what documents of each table must look like, and which indexes there are.

- It is read as a whole or not at all; what cannot be read is no schema.
- Documents are held against it without the two fields that the platform adds to each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rollback_lib.simulator.convex.storage import Document
from rollback_lib.simulator.convex.validators import (
    Check,
    Misfit,
    TableOf,
    UnknownValidator,
    compile_validator,
)

__all__ = ["InvalidSchema", "Schema", "Table", "index_diff", "read_schema", "why_not"]

_OWN_FIELDS = frozenset({"_id", "_creationTime"})


class InvalidSchema(Exception):
    """A schema that cannot be read; its text says why."""


@dataclass(frozen=True)
class Table:
    """One table of a schema."""

    name: str
    tree: Any  # its validator
    check: Check
    indexes: tuple[dict[str, Any], ...]  # as the platform lists them in a difference


@dataclass(frozen=True)
class Schema:
    """A schema that was understood."""

    tree: Any
    tables: dict[str, Table]
    validates: bool  # whether documents are held against it

    @property
    def text(self) -> str:
        """The schema as JSON text."""
        return json.dumps(self.tree, separators=(",", ":"))

    @property
    def index_fields(self) -> dict[str, tuple[str, ...]]:
        """The fields of each index, by `table.index`."""
        return {
            index["name"]: tuple(index.get("fields") or ())
            for table in self.tables.values()
            for index in table.indexes
        }


def read_schema(tree: Any, table_of: TableOf) -> Schema:
    """Understand a schema.

    Args:
        tree: What the module of the schema exports.
        table_of: Names a table by its number.

    Raises:
        InvalidSchema: It cannot be read, or has a validator that is not known.
    """
    try:
        tables = {entry["tableName"]: _table(entry, table_of) for entry in tree["tables"]}
        return Schema(tree, tables, bool(tree["schemaValidation"]))
    except UnknownValidator as exc:
        raise InvalidSchema(str(exc)) from exc
    except (KeyError, TypeError) as exc:
        raise InvalidSchema(f"The schema cannot be read: {exc!r}") from exc


def why_not(table: Table, document: Document) -> Misfit | None:
    """Tell why a document does not fit its table; None where it does."""
    fields = {name: value for name, value in document.items() if name not in _OWN_FIELDS}
    return table.check(fields, "")


def index_diff(before: Schema | None, after: Schema | None) -> dict[str, Any]:
    """Tell which indexes come and go."""
    old, new = _indexes(before), _indexes(after)
    return {
        "added_indexes": [index for index in new if index not in old],
        "removed_indexes": [index for index in old if index not in new],
        "enabled_indexes": [],
        "disabled_indexes": [],
    }


def _indexes(schema: Schema | None) -> list[dict[str, Any]]:
    return [] if schema is None else [index for table in schema.tables.values() for index in table.indexes]


def _table(entry: Any, table_of: TableOf) -> Table:
    name, tree = entry["tableName"], entry["documentType"]
    listed: list[dict[str, Any]] = []
    for one in entry["indexes"]:
        fields = [*one["fields"], "_creationTime"]
        listed.append({"name": f"{name}.{one['indexDescriptor']}", "type": "database", "fields": fields})
    for one in entry.get("searchIndexes") or ():
        rest = {key: one[key] for key in ("searchField", "filterFields")}
        listed.append({"name": f"{name}.{one['indexDescriptor']}", "type": "search", **rest})
    for one in entry.get("vectorIndexes") or ():
        rest = {key: one[key] for key in ("vectorField", "dimensions", "filterFields")}
        listed.append({"name": f"{name}.{one['indexDescriptor']}", "type": "vector", **rest})
    return Table(name, tree, compile_validator(tree, table_of), tuple(listed))
