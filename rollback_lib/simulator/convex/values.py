"""The platform's values in the form in which they are kept and sent: JSON, with `$integer`, `$bytes`, `$float`.

- A plain JSON number is a float; an int64 is `{"$integer": base64 of 8 bytes, little-endian}`.
- Values have one order, across types; a key is bytes that sort as the values do.
- A missing field (`UNDEFINED`) comes before all values.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

__all__ = [
    "UNDEFINED",
    "Kind",
    "exact",
    "field",
    "int64",
    "key",
    "kind_of",
    "plain",
    "shown",
    "stored",
    "to_int",
]

Kind = Literal[
    "undefined", "null", "int64", "float64", "boolean", "string", "bytes", "array", "object", "unknown"
]
_INT64_BYTES = 8
_TAGS: dict[str, int] = {
    "undefined": 1,
    "null": 2,
    "int64": 3,
    "float64": 4,
    "boolean": 5,
    "string": 7,
    "bytes": 8,
    "array": 9,
    "object": 10,
}


_BY_TYPE: dict[type, Kind] = {
    type(None): "null",
    bool: "boolean",
    int: "float64",
    float: "float64",
    str: "string",
    list: "array",
}
_BY_MARK: dict[str, Kind] = {
    "$integer": "int64",
    "$bytes": "bytes",
    "$float": "float64",
    "$undefined": "undefined",
}


class _Undefined:
    """A field that a document does not have."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED = _Undefined()


def kind_of(value: Any) -> Kind:
    """Tell the type of a value."""
    kind = _BY_TYPE.get(type(value))
    if kind is not None:
        return kind
    if value is UNDEFINED:
        return "undefined"
    if type(value) is not dict:
        return "unknown"
    if len(value) == 1:
        name = next(iter(value))
        if name.startswith("$"):
            return _BY_MARK.get(name, "unknown")
    return "object"


def int64(number: int) -> dict[str, str]:
    """Write an int64."""
    return {"$integer": base64.b64encode(number.to_bytes(_INT64_BYTES, "little", signed=True)).decode()}


def to_int(value: Mapping[str, str]) -> int:
    """Read an int64."""
    return int.from_bytes(base64.b64decode(value["$integer"]), "little", signed=True)


def _to_float(value: Any) -> float:
    if isinstance(value, dict):
        number: float = struct.unpack("<d", base64.b64decode(value["$float"]))[0]
        return number
    return float(value)


def field(document: Any, path: str) -> Any:
    """Give what stands at a path (`a.b`) of a document, or UNDEFINED."""
    for name in path.split("."):
        if kind_of(document) != "object" or name not in document:
            return UNDEFINED
        document = document[name]
    return document


def key(value: Any) -> bytes:  # noqa: PLR0911 - one for each kind there is
    """Write a value as bytes that sort as values do."""
    kind = kind_of(value)
    if kind == "unknown":
        raise ValueError(f"{value!r} is no value of this platform")
    tag = bytes((_TAGS[kind],))
    match kind:
        case "int64":
            return tag + (to_int(value) + (1 << 63)).to_bytes(_INT64_BYTES, "big")
        case "float64":
            return tag + _float_key(_to_float(value))
        case "boolean":
            return tag + (b"\x01" if value else b"\x00")
        case "string":
            return tag + _text_key(value.encode())
        case "bytes":
            return tag + _text_key(base64.b64decode(value["$bytes"]))
        case "array":
            return tag + b"".join(key(item) for item in value) + b"\x00"
        case "object":
            parts = (tag + _text_key(name.encode()) + key(value[name]) for name in sorted(value))
            return tag + b"".join(parts) + b"\x00"
        case _:
            return tag


def _float_key(number: float) -> bytes:
    bits = int.from_bytes(struct.pack(">d", number), "big")
    bits = bits ^ ((1 << 64) - 1) if bits >> 63 else bits | 1 << 63
    return bits.to_bytes(8, "big")


def _text_key(raw: bytes) -> bytes:
    # A zero inside is followed by a high byte, so that the end sorts before everything longer.
    return raw.replace(b"\x00", b"\x00\xfe") + b"\x00\x01"


def exact(value: Any) -> Any:
    """Write a value in the exact format: each plain number as a float, as the platform writes it."""
    kind = kind_of(value)
    if kind == "float64" and type(value) is not dict:
        return float(value)
    if kind == "array":
        return [exact(item) for item in value]
    return {name: exact(item) for name, item in value.items()} if kind == "object" else value


def plain(value: Any) -> Any:  # noqa: PLR0911 - one for each kind there is
    """Write a value in the format `json`: an int64 as decimal text, bytes as base64 text."""
    match kind_of(value):
        case "int64":
            return str(to_int(value))
        case "bytes":
            return value["$bytes"]
        case "float64" if isinstance(value, dict):
            number = _to_float(value)
            return number if number == 0 else str(number).replace("inf", "Infinity").replace("nan", "NaN")
        case "float64":
            return float(value)
        case "array":
            return [plain(item) for item in value]
        case "object":
            return {name: plain(item) for name, item in value.items()}
        case _:
            return value


def stored(value: Any) -> Any:
    """Take a value in: fields in order, numbers as floats; raises ValueError for what is no value."""
    kind = kind_of(value)
    if kind in _KEPT:
        return value
    if kind == "array":
        return [stored(item) for item in value]
    if kind == "object":
        return {_name(name): stored(value[name]) for name in sorted(value)}
    if kind == "float64":
        return value if type(value) is dict else _stored_float(float(value))
    raise ValueError(f"{value!r} is no value of this platform")


_KEPT = frozenset({"null", "boolean", "string", "int64", "bytes"})


def _stored_float(number: float) -> Any:
    if not math.isfinite(number) or (number == 0 and math.copysign(1, number) < 0):
        return {"$float": base64.b64encode(struct.pack("<d", number)).decode()}
    return number


@lru_cache(maxsize=10_000)
def _name(name: str) -> str:
    if name.startswith("$") or not name.isascii() or not name.isprintable():
        raise ValueError(f"{name!r} is no name of a field")
    return name


def shown(value: Any) -> str:  # noqa: PLR0911 - one for each kind there is
    """Write a value as the platform shows it in its messages."""
    match kind_of(value):
        case "null":
            return "null"
        case "boolean":
            return "true" if value else "false"
        case "int64":
            return f"{to_int(value)}n"
        case "float64":
            return _float_shown(_to_float(value))
        case "string":
            return json.dumps(value, ensure_ascii=False)
        case "array":
            return "[" + ", ".join(shown(item) for item in value) + "]"
        case "object":
            return "{" + ", ".join(f"{name}: {shown(value[name])}" for name in sorted(value)) + "}"
        case "bytes":
            return f"b{value['$bytes']!r}"
        case _:
            return str(value)


def _float_shown(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    text = repr(number)
    return f"{number:.1f}" if "e" in text and number.is_integer() else text
