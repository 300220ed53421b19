"""Queries of pushed functions over the stored documents: ranges of indexes, filters, limits, pages.

- A function reads no more documents than the platform lets it.
- An expression or a source that is not known here is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollback_lib.simulator.convex import values
from rollback_lib.simulator.convex.storage import Document, Range, Row, Storage

__all__ = ["MOST_READ", "Budget", "Page", "QueryError", "page", "stream"]

MOST_READ = 32_000
_TOO_MANY = (
    "Too many documents read in a single function execution (limit: {limit}). Consider using smaller limits in your "
    "queries, paginating your queries, or using indexed queries with a selective index range expressions."
)
_END = "_end_cursor"
_AT_ONCE = 64
_HIGHEST = b"\xff"


class QueryError(Exception):
    """A query that the platform refuses, in its words."""


@dataclass
class Budget:
    """What one execution may still read."""

    read: int = 0
    most: int = MOST_READ

    def spend(self) -> None:
        """Count a document."""
        self.read += 1
        if self.read > self.most:
            raise QueryError(_TOO_MANY.format(limit=self.most))


@dataclass(frozen=True)
class Page:
    """Part of a query's results."""

    documents: list[Document]
    done: bool
    cursor: str


@dataclass
class _Plan:
    """A query that has been understood."""

    rows: Callable[[bytes | None], Iterator[Row]]
    operators: list[tuple[str, Any]] = field(default_factory=list)


def stream(
    storage: Storage, indexes: Mapping[str, tuple[str, ...]], query: Any, budget: Budget
) -> Iterator[Document]:
    """Give a query's results, one by one.

    Args:
        storage: Where the documents are.
        indexes: The fields of each index that the active schema has, by `table.index`.
        query: The query as the function's code sends it.
        budget: What the execution may still read.

    Raises:
        QueryError: It is refused.
    """
    plan = _understood(storage, indexes, query)
    for row, keep in _kept(plan, None, budget):
        if keep:
            yield row.document


def page(
    storage: Storage, indexes: Mapping[str, tuple[str, ...]], asked: Mapping[str, Any], budget: Budget
) -> Page:
    """Give one page of a query's results; arguments and errors as of `stream`."""
    plan = _understood(storage, indexes, asked["query"])
    cursor, end, size = asked.get("cursor"), asked.get("endCursor"), int(asked["pageSize"])
    if cursor == _END:
        return Page([], done=True, cursor=_END)
    until = None if end in (None, _END) else _position(str(end))
    after = None if cursor is None else _position(cursor)
    found: list[Document] = []
    for row, keep in _kept(plan, after, budget):
        if keep:
            found.append(row.document)
        if (until is None and end is None and len(found) >= size) or row.place == until:
            return Page(found, done=False, cursor=row.place.hex())
    return Page(found, done=True, cursor=_END)


def _position(cursor: str) -> bytes:
    try:
        return bytes.fromhex(cursor)
    except ValueError as exc:
        raise QueryError(f"InvalidCursor: Failed to parse cursor {cursor!r}") from exc


def _kept(plan: _Plan, after: bytes | None, budget: Budget) -> Iterator[tuple[Row, bool]]:
    """Give each row that is read, and whether the query's operators let it through."""
    left = [amount if kind == "limit" else 0 for kind, amount in plan.operators]
    if any(kind == "limit" and not amount for kind, amount in plan.operators):
        return
    for row in plan.rows(after):
        budget.spend()
        keep = True
        for place, (kind, operand) in enumerate(plan.operators):
            if kind == "filter":
                keep = _value(operand, row.document) is True
            else:
                left[place] -= 1
            if not keep:
                break
        yield row, keep
        if any(kind == "limit" and left[place] <= 0 for place, (kind, _) in enumerate(plan.operators)):
            return


def _understood(storage: Storage, indexes: Mapping[str, tuple[str, ...]], query: Any) -> _Plan:
    operators: list[tuple[str, Any]] = []
    for operator in query["operators"]:
        match operator:
            case {"filter": expression}:
                operators.append(("filter", expression))
            case {"limit": amount}:
                operators.append(("limit", int(amount)))
            case _:
                raise QueryError(f"Unknown query operator: {operator}")
    source = query["source"]
    match source:
        case {"type": "FullTableScan", "tableName": table}:
            within = Range(table, descending=source.get("order") == "desc")
        case {"type": "IndexRange", "indexName": name, "range": bounds}:
            within = _range(name, indexes, bounds, descending=source.get("order") == "desc")
        case {"type": "Search", "indexName": name, "filters": filters}:
            return _Plan(_search(storage, name, indexes, filters), operators)
        case _:
            raise QueryError(f"Unknown query source: {source}")
    return _Plan(lambda after: _rows(storage, within, after), operators)


def _rows(storage: Storage, within: Range, after: bytes | None) -> Iterator[Row]:
    while True:
        found = storage.scan(within, after, _AT_ONCE)
        yield from found
        if len(found) < _AT_ONCE:
            return
        after = found[-1].place


def _fields(name: str, indexes: Mapping[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    table, _, index = name.partition(".")
    own = {"by_creation_time": ("_creationTime",), "by_id": ("_id",)}.get(index, indexes.get(name))
    if own is None:
        raise QueryError(f"Index {name} not found.")
    return table, own


def _range(
    name: str, indexes: Mapping[str, tuple[str, ...]], bounds: list[Any], *, descending: bool
) -> Range:
    """Read a range expression: equal fields in the order of the index, then at most one lower and upper bound."""
    table, fields = _fields(name, indexes)
    if not fields:  # one that is searched in
        raise QueryError(f"Index {name} not found.")
    fields = fields if fields[-1] in ("_creationTime", "_id") else (*fields, "_creationTime")
    prefix, equal = b"", 0
    lower: bytes | None = None
    upper: bytes | None = None
    for bound in bounds:
        _check_order(name, fields, equal, bound)
        part = prefix + values.key(_json_value(bound["value"]))
        match bound["type"]:
            case "Eq" if lower is None and upper is None:
                prefix, equal = part, equal + 1
            case "Gt" if lower is None:
                lower = part + _HIGHEST
            case "Gte" if lower is None:
                lower = part
            case "Lt" if upper is None:
                upper = part
            case "Lte" if upper is None:
                upper = part + _HIGHEST
            case _:
                raise QueryError(f"Tried to query index {name} with an invalid range expression.")
    return Range(
        table,
        fields,
        prefix if lower is None else lower,
        prefix + _HIGHEST if upper is None else upper,
        descending,
    )


def _check_order(name: str, fields: tuple[str, ...], equal: int, bound: Any) -> None:
    wanted = fields[equal] if equal < len(fields) else None
    if bound["fieldPath"] != wanted:
        listed = ", ".join(f'"{one}"' for one in fields)
        raise QueryError(
            f"Tried to query index {name} but the query didn't use the index fields in order.\n"
            f'Index fields: [{listed}]\nQuery fields: ["{bound["fieldPath"]}"]\n'
            f"For more information see https://docs.convex.dev/using/indexes."
        )


def _search(
    storage: Storage, name: str, indexes: Mapping[str, tuple[str, ...]], filters: list[Any]
) -> Callable[[bytes | None], Iterator[Row]]:
    """Find documents by words: the more of the words, the earlier."""
    table, _ = _fields(name, indexes)

    def rows(after: bytes | None) -> Iterator[Row]:
        hits: list[tuple[int, Row]] = []
        for row in _rows(storage, Range(table), None):
            score = _score(row.document, filters)
            if score:
                hits.append((-score, row))
        hits.sort(key=lambda hit: (hit[0], hit[1].place))
        order = [row for _, row in hits]
        places = [row.place for row in order]
        yield from order[places.index(after) + 1 if after in places else 0 :]

    return rows


def _score(document: Document, filters: list[Any]) -> int:
    score = 0
    for one in filters:
        found = values.field(document, one["fieldPath"])
        if one["type"] == "Eq":
            if values.key(found) != values.key(_json_value(one["value"])):
                return 0
        elif isinstance(found, str):
            words = re.findall(r"\w+", found.lower())
            wanted = re.findall(r"\w+", str(one["value"]).lower())
            score += sum(any(word.startswith(term) for word in words) for term in wanted)
    return score


def _json_value(value: Any) -> Any:
    return values.UNDEFINED if values.kind_of(value) == "undefined" else value


def _value(expression: Any, document: Document) -> Any:  # noqa: PLR0911 - one for each form
    """Work an expression of a filter out."""
    if not (isinstance(expression, dict) and len(expression) == 1):
        raise QueryError(f"Unknown filter expression: {expression}")
    form, operand = next(iter(expression.items()))
    match form:
        case "$field":
            return values.field(document, operand)
        case "$literal":
            return _json_value(operand)
        case "$and":
            return all(_value(one, document) is True for one in operand)
        case "$or":
            return any(_value(one, document) is True for one in operand)
        case "$not":
            return _value(operand, document) is not True
        case "$neg":
            return -_value(operand, document)
        case _ if form in _COMPARING:
            left, right = (values.key(_value(one, document)) for one in operand)
            return _COMPARING[form](left, right)
        case _ if form in _COUNTING:
            left_number, right_number = (_number(_value(one, document)) for one in operand)
            return _COUNTING[form](left_number, right_number)
    raise QueryError(f"Unknown filter expression: {form}")


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise QueryError(f"Arithmetic in a filter needs numbers, not {values.shown(value)}")


_COMPARING: dict[str, Callable[[bytes, bytes], bool]] = {
    "$eq": lambda left, right: left == right,
    "$neq": lambda left, right: left != right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
}
_COUNTING: dict[str, Callable[[float, float], float]] = {
    "$add": lambda left, right: left + right,
    "$sub": lambda left, right: left - right,
    "$mul": lambda left, right: left * right,
    "$div": lambda left, right: left / right if right else math.nan,
    "$mod": lambda left, right: math.fmod(left, right) if right else math.nan,
}
