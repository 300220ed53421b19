"""What Slack takes in a message: sizes of texts, blocks and metadata.

- A text that is too long is cut and posted with a warning; blocks that are too long are refused.
- Each fault of a block is named with its place, as a JSON pointer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollback_lib.simulator.slack_personas import texts_of
from rollback_lib.simulator.slack_store import SlackRefusal

__all__ = ["checked_blocks", "checked_metadata", "cut_text"]

_MAX_TEXT = 40_000
_MAX_BLOCKS = 50
_MAX_ALL_BLOCKS = 13_200
_MAX_SECTION, _MAX_FIELDS, _MAX_FIELD = 3_000, 10, 2_000
_MAX_HEADER, _MAX_CONTEXT, _MAX_ACTIONS = 150, 10, 25
_MAX_BUTTON, _MAX_VALUE, _MAX_URL, _MAX_ID = 75, 2_000, 3_000, 255
_BLOCK_TYPES = frozenset(
    {
        "actions",
        "context",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "markdown",
        "rich_text",
        "section",
        "table",
        "video",
    }
)


def cut_text(text: str) -> tuple[str, list[str]]:
    """Cut a text to what is kept of it; give it with the warnings."""
    return (text, []) if len(text) <= _MAX_TEXT else (text[:_MAX_TEXT], ["message_truncated"])


def checked_metadata(metadata: Any) -> dict[str, Any] | None:
    """Read metadata.

    Raises:
        SlackRefusal: It is not `{event_type, event_payload}`.
    """
    if metadata is None:
        return None
    sound = (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and metadata["event_type"] != ""
        and isinstance(metadata.get("event_payload"), dict)
    )
    if not sound:
        raise SlackRefusal("invalid_metadata_format")
    return {"event_type": metadata["event_type"], "event_payload": metadata["event_payload"]}


def checked_blocks(blocks: Any) -> list[dict[str, Any]] | None:
    """Read blocks, and give those an id that have none.

    Raises:
        SlackRefusal: They are not a list of blocks, or too large.
    """
    if blocks is None:
        return None
    if not isinstance(blocks, list):
        raise SlackRefusal("invalid_blocks_format")
    faults = [f"{fault} [json-pointer:{place}]" for place, fault in _faults(blocks)]
    if faults:
        raise SlackRefusal(
            "invalid_blocks",
            {"errors": faults, "response_metadata": {"messages": [f"[ERROR] {fault}" for fault in faults]}},
        )
    if sum(len(text) for text in texts_of(blocks)) > _MAX_ALL_BLOCKS:
        raise SlackRefusal("msg_blocks_too_long")
    return [{**block, "block_id": block.get("block_id", f"b{index}")} for index, block in enumerate(blocks)]


def _faults(blocks: list[Any]) -> Iterator[tuple[str, str]]:
    if len(blocks) > _MAX_BLOCKS:
        yield "/blocks", f"no more than {_MAX_BLOCKS} items allowed"
    for index, block in enumerate(blocks):
        place = f"/blocks/{index}"
        if not isinstance(block, dict):
            yield place, "must be an object"
        elif block.get("type") not in _BLOCK_TYPES:
            yield f"{place}/type", f"unsupported type: {block.get('type')}"
        else:
            yield from _too_long(block.get("block_id"), _MAX_ID, f"{place}/block_id")
            yield from _faults_of(block, place)


def _faults_of(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    kind = block["type"]
    if kind == "section":
        yield from _section(block, place)
    elif kind == "header":
        yield from _text(block.get("text"), _MAX_HEADER, f"{place}/text", plain=True)
    elif kind in ("context", "actions"):
        yield from _elements(block, _MAX_CONTEXT if kind == "context" else _MAX_ACTIONS, place)


def _section(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    fields = block.get("fields")
    if "text" not in block and not fields:
        yield place, "must have text or fields"
    if "text" in block:
        yield from _text(block["text"], _MAX_SECTION, f"{place}/text")
    if fields is not None:
        if not isinstance(fields, list) or len(fields) > _MAX_FIELDS:
            yield f"{place}/fields", f"no more than {_MAX_FIELDS} items allowed"
        else:
            for index, item in enumerate(fields):
                yield from _text(item, _MAX_FIELD, f"{place}/fields/{index}")
    if "accessory" in block:
        yield from _button(block["accessory"], f"{place}/accessory")


def _elements(block: dict[str, Any], limit: int, place: str) -> Iterator[tuple[str, str]]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not elements:
        yield f"{place}/elements", "must have elements"
    elif len(elements) > limit:
        yield f"{place}/elements", f"no more than {limit} items allowed"
    else:
        for index, element in enumerate(elements):
            yield from _button(element, f"{place}/elements/{index}")


def _button(element: Any, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(element, dict):
        yield place, "must be an object"
    elif element.get("type") == "button":
        yield from _text(element.get("text"), _MAX_BUTTON, f"{place}/text", plain=True)
        for name, limit in (("value", _MAX_VALUE), ("url", _MAX_URL), ("action_id", _MAX_ID)):
            yield from _too_long(element.get(name), limit, f"{place}/{name}")


def _text(value: Any, limit: int, place: str, *, plain: bool = False) -> Iterator[tuple[str, str]]:
    """Find what is wrong with a text object."""
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if not isinstance(value, dict) or value.get("type") not in kinds:
        yield f"{place}/type", f"must be one of: {', '.join(kinds)}"
    elif not isinstance(value.get("text"), str) or value["text"] == "":
        yield f"{place}/text", "must be more than 0 characters"
    else:
        yield from _too_long(value["text"], limit, f"{place}/text")


def _too_long(value: Any, limit: int, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and len(value) > limit:
        yield place, f"must be less than {limit + 1} characters"
