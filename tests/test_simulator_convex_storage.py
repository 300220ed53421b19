"""Where the simulated backend keeps its documents, and how queries find them."""

from __future__ import annotations

import pytest

from rollback_lib.simulator.convex import queries
from rollback_lib.simulator.convex.queries import Budget, QueryError
from rollback_lib.simulator.convex.storage import Range, Storage

INDEXES = {"users.by_age_and_name": ("age", "name")}
PEOPLE = [("Ann", 30), ("Bob", 25), ("Cid", 30), ("Dee", 41), ("Eve", 25)]


@pytest.fixture
def storage():
    made = Storage(1, lambda: 1_000.0)
    made.insert_many("users", [{"name": name, "age": age} for name, age in PEOPLE])
    yield made
    made.close()


def names(documents):
    return [document["name"] for document in documents]


def by_index(*bounds, order=None, operators=()):
    source = {
        "type": "IndexRange",
        "indexName": "users.by_age_and_name",
        "range": [{"type": type_, "fieldPath": field, "value": value} for type_, field, value in bounds],
        "order": order,
    }
    return {"source": source, "operators": list(operators)}


def scan(*operators, order=None):
    source = {"type": "FullTableScan", "tableName": "users", "order": order}
    return {"source": source, "operators": list(operators)}


def found(storage, query, most=queries.MOST_READ):
    return names(queries.stream(storage, INDEXES, query, Budget(most=most)))


def test_same_seed_gives_the_same_ids():
    """A world can be made again, with the ids that its records name."""
    made = [Storage(seed, lambda: 1_000.0) for seed in (7, 7, 8)]
    given = [storage.insert_many("users", [{"n": 1}, {"n": 2}]) for storage in made]
    assert given[0] == given[1]
    assert given[0] != given[2]
    for storage in made:
        storage.close()


def test_documents_come_in_the_order_of_their_making(storage):
    """Each is made a little later than the last, whatever the clock says; a given time is kept."""
    old = storage.insert("users", {"name": "Old", "age": 1, "_creationTime": 5})
    rows = [row.document for row in storage.scan(Range("users"), None, 100)]
    assert names(rows) == ["Old", "Ann", "Bob", "Cid", "Dee", "Eve"]
    assert storage.get(old)["_creationTime"] == 5
    times = [row["_creationTime"] for row in rows]
    assert times == sorted(set(times))


def test_transaction_that_fails_leaves_nothing(storage):
    """Neither documents nor tables nor entries of an index; what was before stays."""
    storage.fill_index("users", ("age",))
    before = (storage.version, storage.changes("users"))

    def half():
        with storage.transaction():
            storage.insert("users", {"name": "Fay", "age": 1})
            storage.insert("orders", {"n": 1})
            ann = storage.scan(Range("users"), None, 1)[0].document
            storage.replace(ann["_id"], {"name": "Other"})
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        half()
    assert (storage.count("users"), storage.tables()) == (5, ["users"])
    indexed = names(row.document for row in storage.scan(Range("users", ("age",)), None, 9))
    assert sorted(indexed) == ["Ann", "Bob", "Cid", "Dee", "Eve"]
    assert (storage.version, storage.changes("users")) == before


def test_inner_transaction_that_fails_leaves_the_outer_one(storage):
    """Part of a transaction can be undone, and the rest be done."""

    def inner():
        with storage.transaction():
            storage.insert("users", {"name": "Inner", "age": 1})
            raise RuntimeError("no")

    with storage.transaction():
        storage.insert("users", {"name": "Outer", "age": 1})
        with pytest.raises(RuntimeError):
            inner()
    assert "Outer" in found(storage, scan())
    assert "Inner" not in found(storage, scan())


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (scan(order="desc"), ["Eve", "Dee", "Cid", "Bob", "Ann"]),
        (scan({"limit": 2}), ["Ann", "Bob"]),
        (scan({"limit": 0}), []),
        (by_index(), ["Bob", "Eve", "Ann", "Cid", "Dee"]),
        (by_index(order="desc"), ["Dee", "Cid", "Ann", "Eve", "Bob"]),
        (by_index(("Eq", "age", 30)), ["Ann", "Cid"]),
        (by_index(("Eq", "age", 30), ("Gt", "name", "Ann")), ["Cid"]),
        (by_index(("Eq", "age", 30), ("Gte", "name", "Ann"), ("Lt", "name", "Cid")), ["Ann"]),
        (by_index(("Gt", "age", 25), ("Lte", "age", 41)), ["Ann", "Cid", "Dee"]),
        (by_index(("Lt", "age", 30)), ["Bob", "Eve"]),
        (scan({"filter": {"$gte": [{"$field": "age"}, {"$literal": 30}]}}), ["Ann", "Cid", "Dee"]),
        (
            scan({"filter": {"$eq": [{"$field": "nick"}, {"$literal": {"$undefined": None}}]}}, {"limit": 1}),
            ["Ann"],
        ),
        (
            scan(
                {
                    "filter": {
                        "$or": [
                            {"$eq": [{"$field": "name"}, {"$literal": "Dee"}]},
                            {
                                "$and": [
                                    {"$not": {"$literal": False}},
                                    {"$lt": [{"$field": "age"}, {"$literal": 26}]},
                                ]
                            },
                        ]
                    }
                }
            ),
            ["Bob", "Dee", "Eve"],
        ),
        (
            scan({"filter": {"$eq": [{"$add": [{"$field": "age"}, {"$literal": 1}]}, {"$literal": 42}]}}),
            ["Dee"],
        ),
    ],
)
def test_query_gives_what_it_asks_for(storage, query, wanted):
    """By order, index range, filter and limit."""
    assert found(storage, query) == wanted


def test_index_follows_each_change(storage):
    """A document that is changed, made or taken away is found where it belongs."""
    assert found(storage, by_index(("Eq", "age", 30))) == ["Ann", "Cid"]
    rows = {row.document["name"]: row.document for row in storage.scan(Range("users"), None, 9)}
    storage.replace(rows["Ann"]["_id"], {"name": "Ann", "age": 31})
    storage.delete(rows["Cid"]["_id"])
    storage.insert("users", {"name": "Fay", "age": 30})
    assert found(storage, by_index(("Eq", "age", 30))) == ["Fay"]
    assert found(storage, by_index(("Eq", "age", 31))) == ["Ann"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (by_index(("Eq", "name", "Ann")), "didn't use the index fields in order"),
        (
            {"source": {"type": "IndexRange", "indexName": "users.nosuch", "range": []}, "operators": []},
            "not found",
        ),
        (by_index(("Gt", "age", 1), ("Gt", "age", 2)), "invalid range"),
        (scan({"filter": {"$like": []}}), "Unknown filter"),
        (scan({"group": 1}), "Unknown query operator"),
        ({"source": {"type": "Magic"}, "operators": []}, "Unknown query source"),
    ],
)
def test_query_that_is_wrong_or_unknown_is_refused(storage, query, words):
    """Nothing is found by guessing."""
    with pytest.raises(QueryError, match=words):
        found(storage, query)


def test_reading_too_much_is_refused(storage):
    """Documents count that are read, not those that a filter lets through."""
    never = {"filter": {"$literal": False}}
    assert found(storage, scan(never), most=5) == []
    with pytest.raises(QueryError, match=r"Too many documents read .*limit: 4"):
        found(storage, scan(never), most=4)


def test_pages_go_on_where_the_last_one_ended(storage):
    """Until nothing is left; what comes in later is on a later page."""
    first = queries.page(storage, INDEXES, {"query": scan(), "cursor": None, "pageSize": 3}, Budget())
    assert (names(first.documents), first.done) == (["Ann", "Bob", "Cid"], False)
    storage.insert("users", {"name": "Fay", "age": 1})
    rest = queries.page(storage, INDEXES, {"query": scan(), "cursor": first.cursor, "pageSize": 9}, Budget())
    assert (names(rest.documents), rest.done) == (["Dee", "Eve", "Fay"], True)
    after = queries.page(storage, INDEXES, {"query": scan(), "cursor": rest.cursor, "pageSize": 9}, Budget())
    assert (after.documents, after.done) == ([], True)


def test_search_finds_words_by_their_beginning(storage):
    """The document with more of the words comes first."""
    storage.insert_many("notes", [{"text": "red apple"}, {"text": "green apple tree"}, {"text": "a pear"}])
    source = {
        "type": "Search",
        "indexName": "notes.search",
        "filters": [{"type": "Search", "fieldPath": "text", "value": "app tree"}],
    }
    hits = queries.stream(storage, {"notes.search": ()}, {"source": source, "operators": []}, Budget())
    assert [hit["text"] for hit in hits] == ["green apple tree", "red apple"]
