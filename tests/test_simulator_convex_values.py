"""What the simulated backend keeps and checks: ids, the order of values, validators and their words."""

from __future__ import annotations

import base64
import struct

import pytest
from convex_tiny import field, object_of
from hypothesis import given
from hypothesis import strategies as st

from rollback_lib.simulator.convex import ids, values
from rollback_lib.simulator.convex.validators import UnknownValidator, compile_validator, describe

USER = ids.encode(10_001, bytes(16))
TABLES = {10_001: "users", 10_002: "orders", 34: "_scheduled_functions"}
NAN = {"$float": base64.b64encode(struct.pack("<d", float("nan"))).decode()}


def misfit(tree, value):
    """Say why a value does not fit; None where it does."""
    wrong = compile_validator(tree, TABLES.get)(value, "")
    return None if wrong is None else wrong.text


@given(st.integers(min_value=1, max_value=1 << 20), st.binary(min_size=16, max_size=16))
def test_id_tells_its_table(table, internal):
    """An id can be read back, and has the length of real ones."""
    text = ids.encode(table, internal)
    assert ids.decode(text) == ids.DocumentId(table, internal)
    assert 31 <= len(text) <= 37


@given(st.integers(0, 31), st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz"))
def test_mistyped_id_is_none(place, letter):
    """One wrong letter and it is no id."""
    wrong = USER[:place] + letter + USER[place + 1 :]
    assert (ids.decode(wrong) is None) == (wrong != USER)


@pytest.mark.parametrize("text", ["", "users", "!" * 32, "0" * 32])
def test_other_text_is_no_id(text):
    """What has no checksum that fits is none."""
    assert ids.decode(text) is None


ORDERED = [
    values.UNDEFINED,
    None,
    values.int64(-(1 << 63)),
    values.int64(-1),
    values.int64(5),
    -1e300,
    -1,
    0,
    0.5,
    30,
    False,
    True,
    "",
    "a",
    "a\x00",
    "a\x00b",
    "aa",
    "b",
    {"$bytes": "AA=="},
    [],
    [1],
    [1, 2],
    [2],
    {},
    {"a": 1},
    {"a": 1, "b": 2},
    {"b": 0},
]


def test_values_sort_across_types_as_the_platform_has_it():
    """Missing, null, int64, float, boolean, string, bytes, array, object; within each by value."""
    keys = [values.key(value) for value in ORDERED]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (values.int64(7), "7"),
        ({"$bytes": "AA=="}, "AA=="),
        ({"a": [values.int64(-1), None]}, {"a": ["-1", None]}),
        (NAN, "NaN"),
        (1.5, 1.5),
    ],
)
def test_clean_format_of_values(value, plain):
    """In the format `json` an int64 is decimal text and bytes are base64 text."""
    assert values.plain(value) == plain


@pytest.mark.parametrize("value", [{"$set": []}, {"a": {"$map": 1}}, object(), {"ä": 1}])
def test_what_is_no_value_is_not_taken(value):
    """An unknown mark, another type or an impossible name is an error."""
    with pytest.raises(ValueError):
        values.stored(value)


FITTING = [
    ({"type": "null"}, None),
    ({"type": "number"}, 1),
    ({"type": "number"}, NAN),
    ({"type": "bigint"}, values.int64(1)),
    ({"type": "commitTs"}, values.int64(1)),
    ({"type": "boolean"}, True),
    ({"type": "string"}, "x"),
    ({"type": "bytes"}, {"$bytes": "AA=="}),
    ({"type": "any"}, {"whatever": [1]}),
    ({"type": "literal", "value": "a"}, "a"),
    ({"type": "literal", "value": 2}, 2),
    ({"type": "literal", "value": values.int64(2)}, values.int64(2)),
    ({"type": "literal", "value": True}, True),
    ({"type": "id", "tableName": "users"}, USER),
    ({"type": "array", "value": {"type": "string"}}, ["a", "b"]),
    (
        {
            "type": "record",
            "keys": {"type": "id", "tableName": "users"},
            "values": {"fieldType": {"type": "number"}, "optional": False},
        },
        {USER: 1},
    ),
    (object_of(a=field("string"), b=field("number", optional=True)), {"a": "x"}),
    ({"type": "union", "value": [{"type": "string"}, {"type": "null"}]}, None),
]


@pytest.mark.parametrize(("tree", "value"), FITTING)
def test_value_that_fits(tree, value):
    """Each kind of validator lets through what is of its kind."""
    assert misfit(tree, value) is None


@pytest.mark.parametrize(("tree", "value"), [(tree, v) for tree, v in FITTING if tree["type"] != "any"])
def test_value_of_another_kind_does_not_fit(tree, value):
    """No kind of validator lets through what is of another kind."""
    others = [None, 1, values.int64(1), True, "other", {"$bytes": "BB=="}, [1], {"z": 1}]
    wrong = [
        other
        for other in others
        if values.kind_of(other) != values.kind_of(value)
        and not (tree["type"] == "union" and values.kind_of(other) in ("string", "null"))
    ]
    assert wrong
    assert [other for other in wrong if misfit(tree, other) is None] == []


DEEP = object_of(
    address=field("object", value={"zip": field("string")}),
    tags=field("array", value={"type": "number"}, optional=True),
)


@pytest.mark.parametrize(
    ("tree", "value", "words"),
    [
        (
            object_of(email=field("string"), age=field("number", optional=True)),
            {"age": 30},
            (
                "Object is missing the required field `email`. Consider wrapping the field validator in "
                "`v.optional(...)` if this is expected.\n\nObject: {age: 30.0}\n"
                "Validator: v.object({age: v.optional(v.float64()), email: v.string()})"
            ),
        ),
        (
            object_of(name=field("string")),
            {"name": "a", "nick": "b"},
            (
                "Object contains extra field `nick` that is not in the validator.\n\n"
                'Object: {name: "a", nick: "b"}\nValidator: v.object({name: v.string()})'
            ),
        ),
        (
            DEEP,
            {"address": {"zip": 3000}},
            "Value does not match validator.\nPath: .address.zip\nValue: 3000.0\nValidator: v.string()",
        ),
        (
            DEEP,
            {"address": {"zip": ""}, "tags": [1, "x"]},
            'Value does not match validator.\nPath: .tags[1]\nValue: "x"\nValidator: v.float64()',
        ),
        (
            {"type": "id", "tableName": "orders"},
            USER,
            (
                f'Found ID "{USER}" from table `users`, which does not match the table name in validator '
                '`v.id("orders")`.'
            ),
        ),
        (
            {"type": "literal", "value": "admin"},
            "guest",
            '`"guest"` does not match literal validator `v.literal("admin")`.',
        ),
        (
            {"type": "union", "value": [{"type": "literal", "value": "a"}, {"type": "null"}]},
            "b",
            'Value does not match validator.\n\nValue: "b"\nValidator: v.union(v.literal("a"), v.null())',
        ),
    ],
)
def test_words_for_what_does_not_fit(tree, value, words):
    """They are the platform's, with the path inside the document."""
    assert misfit(tree, value) == words


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "date"},
        {},
        "string",
        None,
        {"type": "array"},
        {"type": "literal", "value": [1]},
        {"type": "object", "value": {"a": {"type": "string"}}},
        {"type": "array", "value": {"type": "map"}},
        {"type": "union", "value": [{"type": "string"}, {"type": "set"}]},
        {
            "type": "record",
            "keys": {"type": "string"},
            "values": {"fieldType": {"type": "any"}, "optional": True},
        },
        object_of(a=field("nosuch")),
    ],
)
def test_unknown_validator_raises(tree):
    """Nothing passes because nobody knew how to check it, however deep it stands."""
    with pytest.raises(UnknownValidator):
        compile_validator(tree, TABLES.get)


def test_validator_is_described_as_its_author_wrote_it():
    """Fields are in order; a number is a float64."""
    record = {
        "type": "record",
        "keys": {"type": "string"},
        "values": {"fieldType": {"type": "array", "value": {"type": "bigint"}}, "optional": False},
    }
    assert describe(record) == "v.record(v.string(), v.array(v.int64()))"
