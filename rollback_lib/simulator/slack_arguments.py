"""The arguments of a Slack call, however they were sent.

- They come in the query, in a form, or as JSON where the method takes JSON; elsewhere JSON is not read at all.
- A form holds only texts: structures in it are JSON texts, flags are `1`, `0`, `true`, `false`.
- A required argument that is missing or empty is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from rollback_lib.simulator.slack_store import SlackRefusal

__all__ = ["Arguments", "Sent", "is_timestamp"]

_TIMESTAMP = re.compile(r"^\d+\.\d{6}$")
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_TRUE = frozenset({"1", "true"})


def is_timestamp(text: str) -> bool:
    """Tell whether a text has the form of a `ts`."""
    return _TIMESTAMP.match(text) is not None


class Sent:
    """A call as it came over the wire.

    Args:
        query: The query of the address.
        content_type: Header of the body, or "".
        body: The body.
    """

    def __init__(self, query: Mapping[str, str], content_type: str, body: bytes) -> None:
        kind, _, rest = content_type.partition(";")
        self._kind = kind.strip().lower()
        self._query, self._body = dict(query), body
        self.charset_missing = self._kind == _JSON and "charset" not in rest.lower()
        self._form = dict(parse_qsl(self._text(), keep_blank_values=True)) if self._kind == _FORM else {}

    def _text(self) -> str:
        return self._body.decode("utf-8", errors="replace")

    @property
    def token(self) -> str | None:
        """Return the token of a form; in JSON it is not looked for."""
        return self._form.get("token")

    def arguments(self, *, takes_json: bool) -> Arguments:
        """Read the arguments.

        Raises:
            SlackRefusal: A body that is of another type, no JSON, or no object.
        """
        if self._kind == _JSON:
            return Arguments({**self._query, **(self._object() if takes_json else {})})
        if self._kind not in ("", _FORM) and self._body:
            raise SlackRefusal("invalid_post_type")
        return Arguments({**self._query, **self._form})

    def _object(self) -> dict[str, Any]:
        if not self._body:
            return {}
        try:
            found = json.loads(self._text())
        except ValueError as exc:
            raise SlackRefusal("invalid_json") from exc
        if not isinstance(found, dict):
            raise SlackRefusal("json_not_object")
        return found


class Arguments:
    """The arguments by name."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str, default: str = "") -> str:
        """Read a text; a number is written out as it would be in JSON."""
        value = self._given.get(name, default)
        return value if isinstance(value, str) else json.dumps(value)

    def required(self, *names: str) -> tuple[str, ...]:
        """Read texts that have to be there.

        Raises:
            SlackRefusal: One is missing.
        """
        missing = [name for name in names if not self.text(name)]
        if missing:
            said = [f"[ERROR] missing required field: {name}" for name in missing]
            raise SlackRefusal("invalid_arguments", {"response_metadata": {"messages": said}})
        return tuple(self.text(name) for name in names)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read a flag."""
        return self.text(name).lower() in _TRUE if name in self._given else default

    def integer(self, name: str, default: int, error: str) -> int:
        """Read a whole number.

        Raises:
            SlackRefusal: With `error`: it is none.
        """
        text = self.text(name)
        if not text:
            return default
        if re.fullmatch(r"-?\d+", text) is None:
            raise SlackRefusal(error)
        return int(text)

    def structure(self, name: str, error: str) -> Any:
        """Read a structure, given as such or as a JSON text; None if it was not given.

        Raises:
            SlackRefusal: With `error`: the text is not JSON.
        """
        value = self._given.get(name)
        if not isinstance(value, str):
            return value
        if value == "":
            return None
        try:
            return json.loads(value)
        except ValueError as exc:
            raise SlackRefusal(error) from exc
