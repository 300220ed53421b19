"""The documents of a deployment, in SQLite.

- Whoever reads or writes holds the lock; a transaction is done as a whole or not at all, also inside another.
- An index is filled when it is first used, and kept from then on.
- Ids follow from the seed; times of creation never go backwards.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from rollback_lib.simulator.convex import ids, values

__all__ = ["FIRST_TABLE", "SCHEDULED", "Document", "Range", "Row", "Storage"]

Document: TypeAlias = dict[str, Any]
FIRST_TABLE = 10_001  # number of the first table of an app
SCHEDULED = "_scheduled_functions"
_SYSTEM_TABLES = {"_storage": 33, SCHEDULED: 34}
_HIGHEST = b"\xff"
_SMALLEST_STEP_MS = 0.001  # between two documents that are made at once
_CREATED, _ID = "_creationTime", "_id"
_BATCH = 2_000


@dataclass(frozen=True)
class Range:
    """Where to look: in an index, or in the order of creation."""

    table: str
    fields: tuple[str, ...] = ()  # of the index; none: in the order of creation
    lower: bytes = b""  # from this key on
    upper: bytes = _HIGHEST  # before this key
    descending: bool = False


@dataclass(frozen=True)
class Row:
    """A document and its place in what is looked through."""

    place: bytes
    document: Document


class Storage:
    """All tables of one deployment.

    Args:
        seed: What the ids follow from.
        now_ms: Tells the deployment's time.
    """

    def __init__(self, seed: int, now_ms: Callable[[], float]) -> None:
        self.lock = threading.RLock()
        self._now_ms = now_ms
        self._random = Random(f"convex:{seed}")  # noqa: S311 - repeatable, not secret
        self._base = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA cache_size = -200000")
        self._base.execute(
            "CREATE TABLE documents (tbl INTEGER, place BLOB, id TEXT, doc TEXT, PRIMARY KEY (tbl, place)) WITHOUT ROWID"
        )
        self._base.execute("CREATE UNIQUE INDEX by_id ON documents (id)")
        self._numbers = dict(_SYSTEM_TABLES)
        self._names = {number: name for name, number in _SYSTEM_TABLES.items()}
        self._indexes: dict[tuple[str, tuple[str, ...]], str] = {}
        self._changes: dict[str, int] = {}
        self._depth = 0
        self._made = 0
        self._last_created = 0.0
        self.version = 0  # grows with each transaction that wrote something

    def close(self) -> None:
        """Let go of everything."""
        with self.lock:
            self._base.close()

    # --- tables --------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """List the app's tables, in the order of their names."""
        with self.lock:
            return sorted(name for name in self._numbers if not name.startswith("_"))

    def table_name(self, number: int) -> str | None:
        """Name a table by its number."""
        return self._names.get(number)

    def add_table(self, name: str) -> int:
        """Give a table's number; the table is made where it is not there."""
        with self.lock:
            if name not in self._numbers:
                number = FIRST_TABLE + len(self._numbers) - len(_SYSTEM_TABLES)
                self._numbers[name], self._names[number] = number, name
            return self._numbers[name]

    def numbers(self) -> dict[str, int]:
        """Give the number of each table."""
        return dict(self._numbers)

    def changes(self, table: str) -> int:
        """Tell how often a table was written to."""
        return self._changes.get(table, 0)

    def count(self, table: str) -> int:
        """Count the documents of a table."""
        with self.lock:
            number = self._numbers.get(table)
            found = self._base.execute("SELECT count(*) FROM documents WHERE tbl = ?", (number,)).fetchone()
            return int(found[0])

    # --- transactions --------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of the block or, where it raises, nothing of it."""
        with self.lock:
            before = (dict(self._numbers), dict(self._indexes), dict(self._changes), self.version)
            mark = f"level_{self._depth}"
            self._base.execute(f"SAVEPOINT {mark}")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._base.execute(f"ROLLBACK TO {mark}")
                self._numbers, self._indexes, self._changes, self.version = before
                self._names = {number: name for name, number in self._numbers.items()}
                raise
            finally:
                self._depth -= 1
                self._base.execute(f"RELEASE {mark}")

    # --- documents -----------------------------------------------------------------------------------------

    def get(self, id_: str) -> Document | None:
        """Give a document by its id."""
        with self.lock:
            found = self._base.execute("SELECT doc FROM documents WHERE id = ?", (id_,)).fetchone()
        return None if found is None else json.loads(found[0])

    def insert(self, table: str, fields: Document) -> str:
        """Put a document in, and give its id.

        Args:
            table: Its table, which is made where it is not there.
            fields: Its fields; `_creationTime` in ms since 1970, where it is not now.

        Raises:
            ValueError: One of its fields is no value of the platform.
        """
        return self.insert_many(table, (fields,))[0]

    def insert_many(self, table: str, documents: Iterable[Document]) -> list[str]:
        """Put many documents into a table, all or none of them; arguments and errors as of `insert`."""
        made: list[str] = []
        with self.transaction():
            number = self.add_table(table)
            batch: list[tuple[int, bytes, str, str]] = []
            for fields in documents:
                document = self._made_document(number, fields)
                made.append(document[_ID])
                batch.append((number, _place(document), document[_ID], json.dumps(document)))
                self._index(table, document)
                if len(batch) >= _BATCH:
                    self._write(batch)
            self._write(batch)
            if made:
                self._wrote(table)
        return made

    def replace(self, id_: str, fields: Document) -> Document:
        """Put other fields into a document that is there, and give it as it is then."""
        with self.transaction():
            old = self.get(id_)
            if old is None:
                raise KeyError(id_)
            table = self.table_of(id_)
            new = values.stored({**fields, _ID: id_, _CREATED: old[_CREATED]})
            self._unindex(table, old)
            self._base.execute("UPDATE documents SET doc = ? WHERE id = ?", (json.dumps(new), id_))
            self._index(table, new)
            self._wrote(table)
            return dict(new)

    def delete(self, id_: str) -> None:
        """Take a document away."""
        with self.transaction():
            old = self.get(id_)
            if old is None:
                raise KeyError(id_)
            table = self.table_of(id_)
            self._unindex(table, old)
            self._base.execute("DELETE FROM documents WHERE id = ?", (id_,))
            self._wrote(table)

    def table_of(self, id_: str) -> str:
        """Name the table of an id; empty where there is none."""
        found = ids.decode(id_)
        return (self.table_name(found.table) or "") if found is not None else ""

    def scan(self, within: Range, after: bytes | None, most: int) -> list[Row]:
        """Give the next documents of a range.

        Args:
            within: What is looked through.
            after: The place of the last one that was given; None: from its beginning.
            most: How many at most.
        """
        with self.lock:
            number = self._numbers.get(within.table)
            if number is None:
                return []
            lower, upper, above = within.lower, within.upper, ">="
            if after is not None and within.descending:
                upper = after
            elif after is not None:
                lower, above = after, ">"
            order = "DESC" if within.descending else "ASC"
            source = f"documents d WHERE d.tbl = {number} AND d.place"
            place = "d.place"
            if within.fields:
                name = self._filled(within.table, within.fields)
                source, place = f"{name} e JOIN documents d ON d.id = e.id WHERE e.place", "e.place"
            found = self._base.execute(
                f"SELECT {place}, d.doc FROM {source} {above} ? AND {place} < ? ORDER BY {place} {order} LIMIT ?",  # noqa: S608 - names of our own
                (lower, upper, most),
            ).fetchall()
        return [Row(bytes(at), json.loads(text)) for at, text in found]

    def fill_index(self, table: str, fields: tuple[str, ...]) -> None:
        """Fill an index before anybody looks anything up in it."""
        with self.lock:
            self._filled(table, fields)

    def raw(self, table: str) -> Iterator[str]:
        """Give the documents of a table as JSON text, oldest first; others may write meanwhile."""
        after = b""
        while True:
            with self.lock:
                found = self._base.execute(
                    "SELECT place, doc FROM documents WHERE tbl = ? AND place > ? ORDER BY place LIMIT ?",
                    (self._numbers.get(table), after, _BATCH),
                ).fetchall()
            for _, text in found:
                yield text
            if len(found) < _BATCH:
                return
            after = bytes(found[-1][0])

    # --- within --------------------------------------------------------------------------------------------

    def _made_document(self, number: int, fields: Document) -> Document:
        created = fields.get(_CREATED)
        if created is None:
            created = self._last_created = max(self._now_ms(), self._last_created + _SMALLEST_STEP_MS)
        id_ = fields.get(_ID) or ids.encode(number, self._random.randbytes(ids.INTERNAL_BYTES))
        document: Document = values.stored({**fields, _ID: id_, _CREATED: created})
        return document

    def _write(self, batch: list[tuple[int, bytes, str, str]]) -> None:
        self._base.executemany("INSERT INTO documents VALUES (?, ?, ?, ?)", batch)
        batch.clear()

    def _wrote(self, table: str) -> None:
        self._changes[table] = self._changes.get(table, 0) + 1
        self.version += 1

    def _index(self, table: str, document: Document) -> None:
        for (of, fields), name in self._indexes.items():
            if of == table:
                entry = (_index_place(document, fields), document[_ID])
                self._base.execute(f"INSERT INTO {name} VALUES (?, ?)", entry)  # noqa: S608 - a name of our own

    def _unindex(self, table: str, document: Document) -> None:
        for (of, fields), name in self._indexes.items():
            if of == table:
                place = (_index_place(document, fields),)
                self._base.execute(f"DELETE FROM {name} WHERE place = ?", place)  # noqa: S608 - a name of our own

    def _filled(self, table: str, fields: tuple[str, ...]) -> str:
        """Name the table that holds an index, and fill it the first time."""
        known = self._indexes.get((table, fields))
        if known is not None:
            return known
        self._made += 1
        name = f"index_{self._made}"
        with self.transaction():
            self._base.execute(f"CREATE TABLE {name} (place BLOB PRIMARY KEY, id TEXT) WITHOUT ROWID")
            entries = (
                (_index_place(document, fields), document[_ID])
                for document in map(json.loads, self.raw(table))
            )
            self._base.executemany(f"INSERT INTO {name} VALUES (?, ?)", entries)  # noqa: S608 - a name of our own
            self._indexes[table, fields] = name
        return name


def _place(document: Document) -> bytes:
    id_: str = document[_ID]
    return values.key(document[_CREATED]) + id_.encode()


def _index_place(document: Document, fields: tuple[str, ...]) -> bytes:
    id_: str = document[_ID]
    return b"".join(values.key(values.field(document, name)) for name in fields) + id_.encode()
