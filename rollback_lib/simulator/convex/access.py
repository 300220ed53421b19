"""What functions do to documents: reading within limits, writing what the active schema allows.

- A query writes nothing. What does not fit the schema is not written.
- A document that a function wrote is remembered, for whoever wants to know once all of it is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rollback_lib.simulator.convex import queries, schema, values
from rollback_lib.simulator.convex.callers import Caller
from rollback_lib.simulator.convex.code import Revision
from rollback_lib.simulator.convex.storage import Document
from rollback_lib.simulator.convex.worker import Refused

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend

__all__ = ["Access", "Scope"]

_TABLE_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
_MOST_WRITES = 16_000
_MANY = 64


@dataclass
class Scope:
    """One execution that is under way."""

    kind: str  # query, mutation, action
    revision: Revision
    caller: Caller
    request_id: str
    execution_id: str
    identifier: str
    budget: queries.Budget = field(default_factory=queries.Budget)
    streams: dict[int, Iterator[Document]] = field(default_factory=dict)
    written: list[tuple[str, Document]] = field(default_factory=list)
    depth: int = 0
    parent: str | None = None


class Access:
    """The documents as functions reach them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def answer(self, scope: Scope, op: str) -> Callable[[Any], Any] | None:
        """Give what answers a question about documents; None where it is about something else."""
        known: dict[str, Callable[[Scope, Any], Any]] = {
            "1.0/get": self._get,
            "1.0/queryStreamNext": self._next,
            "1.0/queryPage": self._page,
            "1.0/count": self._count,
            "1.0/insert": self._insert,
            "1.0/shallowMerge": self._merge,
            "1.0/replace": self._replace,
            "1.0/remove": self._remove,
        }
        found = known.get(op)
        return None if found is None else lambda given: found(scope, given)

    # --- reading -------------------------------------------------------------------------------------------

    def _get(self, scope: Scope, given: Any) -> Any:
        id_ = given["id"]
        table = self._backend.storage.table_of(id_) if isinstance(id_, str) else ""
        if not table:
            raise Refused(f"Invalid argument `id` for `db.get`: Unable to decode ID: {values.shown(id_)}")
        wanted = given.get("table")
        if wanted is not None and wanted != table:
            raise Refused(f"Invalid argument `id` for `db.get`: it is of table `{table}`, not of `{wanted}`")
        if table.startswith("_") != bool(given.get("isSystem")):
            return None
        scope.budget.spend()
        return self._backend.storage.get(id_)

    def _next(self, scope: Scope, given: Any) -> Any:
        stream = scope.streams.get(given["queryId"])
        if stream is None:
            stream = queries.stream(
                self._backend.storage, scope.revision.index_fields, given["query"], scope.budget
            )
            scope.streams[given["queryId"]] = stream
        found: list[Document] = []
        # What a mutation writes has to be seen by what it reads next: then one at a time.
        for document in stream:
            found.append(document)
            if len(found) >= (1 if scope.kind == "mutation" else _MANY):
                return {"documents": found, "done": False}
        return {"documents": found, "done": True}

    def _page(self, scope: Scope, given: Any) -> Any:
        page = queries.page(self._backend.storage, scope.revision.index_fields, given, scope.budget)
        return {"page": page.documents, "isDone": page.done, "continueCursor": page.cursor}

    def _count(self, _scope: Scope, given: Any) -> Any:
        return self._backend.storage.count(given["table"])

    # --- writing -------------------------------------------------------------------------------------------

    def _insert(self, scope: Scope, given: Any) -> Any:
        table = given["table"]
        if not _TABLE_NAME.match(table):
            raise Refused(f"Invalid table name {table!r}")
        fields = self._taken(given["value"])
        self._check(scope, table, fields)
        id_ = self._backend.storage.insert(table, fields)
        self._wrote(scope, table, id_)
        return {"_id": id_}

    def _merge(self, scope: Scope, given: Any) -> Any:
        old = self._existing(scope, given)
        new = {**old}
        for name, value in given["value"].items():
            if values.kind_of(value) == "undefined":
                new.pop(name, None)
            else:
                new[name] = self._taken(value)
        return self._put(scope, old["_id"], new)

    def _replace(self, scope: Scope, given: Any) -> Any:
        old = self._existing(scope, given)
        return self._put(scope, old["_id"], self._taken(given["value"]))

    def _put(self, scope: Scope, id_: str, fields: Document) -> Any:
        table = self._backend.storage.table_of(id_)
        self._check(scope, table, fields)
        new = self._backend.storage.replace(id_, fields)
        self._wrote(scope, table, id_)
        return new

    def _remove(self, scope: Scope, given: Any) -> Any:
        old = self._existing(scope, given)
        self._backend.storage.delete(old["_id"])
        scope.budget.spend()
        return old

    def _existing(self, scope: Scope, given: Any) -> Document:
        self._must_write(scope)
        id_ = given["id"]
        table = self._backend.storage.table_of(id_) if isinstance(id_, str) else ""
        old = self._backend.storage.get(id_) if table and not table.startswith("_") else None
        if old is None:
            raise Refused(f"Update on nonexistent document ID {id_}")
        return old

    def _taken(self, value: Any) -> Any:
        """Put the time of this commit where a value asks for it."""
        if isinstance(value, dict):
            if list(value) == ["$commitTs"]:
                return values.int64(round(self._backend.now_ms() * 1_000_000))
            return {name: self._taken(item) for name, item in value.items()}
        return [self._taken(item) for item in value] if isinstance(value, list) else value

    def _check(self, scope: Scope, table: str, fields: Document) -> None:
        self._must_write(scope)
        active = scope.revision.schema
        if active is None or not active.validates or table not in active.tables:
            return
        wrong = schema.why_not(active.tables[table], values.stored(fields))
        if wrong is not None:
            raise Refused(
                f'Failed to insert or update a document in table "{table}" because it does not match the schema: '
                f"{wrong.text}"
            )

    @staticmethod
    def _must_write(scope: Scope) -> None:
        if scope.kind != "mutation":
            raise Refused("Queries may not write to the database")
        if len(scope.written) >= _MOST_WRITES:
            raise Refused(
                f"Too many documents written in a single function execution (limit: {_MOST_WRITES})."
            )

    def _wrote(self, scope: Scope, table: str, id_: str) -> None:
        document = self._backend.storage.get(id_)
        assert document is not None
        scope.written.append((table, document))
