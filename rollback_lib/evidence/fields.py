"""Fields of a journal line, taken so that a missing or misshapen one reads as empty and never raises."""

from __future__ import annotations

from typing import Any

__all__ = ["mapping", "mappings", "number", "text", "texts", "whole"]


def text(data: dict[str, Any], key: str) -> str:
    """Return a field as text."""
    value = data.get(key)
    return "" if value is None else str(value)


def texts(data: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return a list field as texts."""
    value = data.get(key)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a field that is a mapping."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def mappings(data: dict[str, Any], key: str) -> tuple[dict[str, Any], ...]:
    """Return the mappings in a list field."""
    value = data.get(key)
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def whole(data: dict[str, Any], key: str) -> int | None:
    """Return a field that is a whole number."""
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(data: dict[str, Any], key: str) -> float | None:
    """Return a field that is a number."""
    value = data.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
