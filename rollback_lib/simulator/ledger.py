"""Every request that reached the world, as an outside judge needs it.

- What changes something is told by the table here, which shares nothing with the clients' own.
- Whatever the table does not know to be harmless counts as a change.
- No entry holds a credential or the value of a variable.
- Times here are the machine's, not the world's, so that they compare with a client's journal.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from rollback_lib.simulator.spec import Service

__all__ = ["Asked", "Entry", "Ledger", "Weight", "weight_of"]

Weight = Literal["nothing", "company", "production"]
_READING_VERBS = frozenset({"GET", "HEAD", "OPTIONS"})
# Slack methods that only look; both verbs are used for all of them.
_SLACK_READS = re.compile(
    r"^/api/(?:api\.test|auth\.test|team\.info|bots\.info|chat\.getPermalink|chat\.scheduledMessages\.list"
    r"|reactions\.get|conversations\.(?:list|info|replies|history|members)"
    r"|users\.(?:list|info|lookupByEmail)|usergroups\.(?:list|users\.list))/?$"
)
# The platform's own settings that do not touch what visitors get.
_VERCEL_HARMLESS = re.compile(
    r"^/v\d+/projects/[^/]+/(?:rollback/[^/]+/update-description|protection-bypass)$"
)
# The backend's own requests, by path: what only looks, and what prepares a push. What is called by a path that leads
# to a query is told by the service itself.
_CONVEX_READS = re.compile(
    r"^/api/(?:query|run_test_function|get_config_hashes|stream_function_logs|deploy2/evaluate_push"
    r"|deploy2/evaluate_schema|deploy2/report_push_completed)/?$"
)
_CONVEX_PREPARING = re.compile(r"^/api/deploy2/(?:start_push|wait_for_schema)/?$")
_CONVEX_FINISH = "/api/deploy2/finish_push"
_CONVEX_API_READS = re.compile(r"^/api/deployment/(?:url_for_key|team_and_project_for_key)/?$")
_LONGEST_TEXT = 2_000  # of what is kept of one; a push holds whole programs
_HIDDEN_FIELDS = frozenset({"value", "token", "password", "secret", "authorization", "adminkey", "deploykey"})
_HIDDEN_WITHIN = frozenset({"environmentvariables"})  # names may be seen, what they hold may not
_HIDDEN = "[hidden]"


def weight_of(service: Service, method: str, path: str, body: Any = None) -> Weight:  # noqa: PLR0911 - one a rule
    """Tell what a request changes: nothing, something of the company, or what visitors get."""
    if service == "convex" and _CONVEX_READS.match(path):
        return "nothing"
    if service == "convex" and _CONVEX_PREPARING.match(path):
        return "company"
    if (
        service == "convex"
        and path == _CONVEX_FINISH
        and isinstance(body, dict)
        and body.get("dryRun") is True
    ):
        return "company"
    if service == "convex_api" and _CONVEX_API_READS.match(path):
        return "nothing"
    if service == "slack":
        return "nothing" if _SLACK_READS.match(path) else "company"
    if service == "app" or method in _READING_VERBS:
        return "nothing"  # to the app, all requests are those of a visitor
    if service == "sentry" or _VERCEL_HARMLESS.match(path):
        return "company"
    return "production"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    service: Service
    method: str
    target: str  # path and query as sent
    body: bytes = b""  # unpacked
    caller: str = "nobody"
    sent: bytes | None = None  # the body as it came, where it came packed


@dataclass
class Entry:
    """One request and what became of it."""

    seq: int
    at_ms: int
    service: Service
    method: str
    path: str
    query: str
    body_sha256: str
    body: Any
    caller: str  # the name of its token, "nobody" without one, "stranger" with a wrong one
    changes: bool
    weight: Weight
    status: int | None = None  # None: no answer left the world (yet)
    applied: bool = False  # something was changed by it
    fault: str | None = None


class Ledger:
    """The requests of one world, in the order in which they came."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        self._hide = hide  # takes the world's credentials out of a text
        self._entries: list[Entry] = []

    def open(self, at_ms: int, asked: Asked) -> Entry:
        """Write down a request that has just come."""
        path, _, query = asked.target.partition("?")
        body = _parsed(asked.body)
        weight = weight_of(asked.service, asked.method, path, body)
        entry = Entry(
            seq=len(self._entries) + 1,
            at_ms=at_ms,
            service=asked.service,
            method=asked.method,
            path=self._hide(path),
            query=self._hide(query),
            body_sha256=hashlib.sha256(asked.body if asked.sent is None else asked.sent).hexdigest(),
            body=self._cleaned(body),
            caller=asked.caller,
            changes=weight != "nothing",
            weight=weight,
        )
        self._entries.append(entry)
        return entry

    def entries(self) -> list[Entry]:
        """List all of them."""
        return list(self._entries)

    def as_json(self) -> list[dict[str, Any]]:
        """Give all of them as plain data."""
        return [asdict(entry) for entry in self._entries]

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._hide(value if len(value) <= _LONGEST_TEXT else f"[{len(value)} characters]")
        if isinstance(value, list):
            return [self._cleaned(item) for item in value]
        if isinstance(value, dict):
            return {key: self._field(key.lower(), item) for key, item in value.items()}
        return value

    def _field(self, key: str, item: Any) -> Any:
        if key in _HIDDEN_WITHIN and isinstance(item, dict):
            return dict.fromkeys(item, _HIDDEN)
        return _HIDDEN if key in _HIDDEN_FIELDS else self._cleaned(item)


def _parsed(body: bytes) -> Any:
    """Read a body as JSON, else as a form, else as text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return dict(parse_qsl(text, keep_blank_values=True)) if "=" in text else text
