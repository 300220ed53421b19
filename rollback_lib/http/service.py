"""What a platform is to the door: its address, its rules, its limits, and one request as it is asked for.

- The first rule that fits a request gives its class; what no rule fits is an effect.
- A path holds no dots that lead elsewhere: a request is classed by the path that really leaves.
"""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pydantic import SecretStr

from rollback_lib.errors import BadParameters
from rollback_lib.http.reply import Reply
from rollback_lib.model import Answer, RequestClass

__all__ = ["Ask", "Limits", "Pairs", "Rule", "Service", "encode", "is_limited", "path_part", "plain"]

Pairs = Sequence[tuple[str, str]]

SHORTEST_SECRET_SEGMENT = 9  # characters; "services" in a webhook's path is an ordinary word
_SCHEMES = frozenset({"Bearer", "Convex"})  # how a token is presented: ordinary words, no part of it
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Limits:
    """How long and how often a service is asked."""

    request_timeout_s: float
    read_attempts: int
    read_deadline_s: float  # all attempts of one read and the waits between them
    effect_attempts: int  # of one change, each but the last refused with 429
    effect_wait_limit_s: float  # all waits of one change


@dataclass(frozen=True)
class Rule:
    """Says what a request does: verb and path (a regex for the whole path below the base url) to its class."""

    verb: str
    path: str
    request_class: RequestClass


def is_limited(reply: Reply) -> bool:
    """Say whether the platform refused because it was asked too often."""
    return reply.status == 429  # noqa: PLR2004 - Too Many Requests


def judged_by_status(_reply: Reply) -> Answer | None:
    """Judge nothing: for services whose 2xx always means accepted."""
    return None


@dataclass(frozen=True)
class Service:
    """One platform as the door sees it.

    Args:
        name: As in messages and in the journal.
        base_url: Where its paths begin; a secret for a webhook.
        rules: The first that fits counts; what none fits is an effect.
        headers: Sent with every request.
        token_source: Where its token comes from, named when it is refused.
        judge: Reads a 2xx reply to a change where the status alone does not tell success; None: accepted.
        limited: Says whether a reply means "asked too often, not done".
    """

    name: str
    base_url: str | SecretStr
    rules: tuple[Rule, ...]
    headers: tuple[tuple[str, SecretStr | str], ...] = field(default=(), repr=False)
    token_source: str = ""
    judge: Callable[[Reply], Answer | None] = field(default=judged_by_status, repr=False)
    limited: Callable[[Reply], bool] = field(default=is_limited, repr=False)

    @property
    def url(self) -> str:
        """Return the base address without a slash at its end."""
        return plain(self.base_url).rstrip("/")

    def class_of(self, method: str, path: str) -> RequestClass:
        """Return what a request does; an effect if nothing says otherwise."""
        for rule in self.rules:
            if rule.verb == method and re.fullmatch(rule.path, path):
                return rule.request_class
        return RequestClass.EFFECT

    def header_values(self) -> dict[str, str]:
        """Return the headers as sent.

        Raises:
            BadParameters: A value that no header may hold; nothing was sent.
        """
        return {name: self._header(value) for name, value in self.headers}

    def secret_forms(self) -> list[str]:
        """List the secret values in each form in which a message might hold them."""
        found = [plain(value).strip() for _, value in self.headers if isinstance(value, SecretStr)]
        found += [word for value in found for word in value.split() if word not in _SCHEMES]
        if isinstance(self.base_url, SecretStr):
            path = urlsplit(self.url).path
            found += [self.url, path, path.lstrip("/")]
            found += [part for part in path.split("/") if len(part) >= SHORTEST_SECRET_SEGMENT]
        return found + [quote(value, safe="") for value in found]

    def advice(self, status: int) -> str:
        """Say what to do about a status that refuses."""
        if status in {401, 403} and self.token_source:
            return (
                f"Check the token from {self.token_source}: is it still valid, of the right team or workspace, "
                "allowed to do this? Then run the open cell and this one again."
            )
        if status in {404, 410}:
            return f"Check the ids and addresses of {self.name} in the parameters; with corrected ones begin a new run (new_run = True)."
        if 300 <= status < 400:  # noqa: PLR2004 - redirections
            return f"Redirects are not followed: set the address of {self.name} in the parameters to where it leads."
        return "Correct what the platform complains of, then run the cell again."

    def _header(self, value: SecretStr | str) -> str:
        text = plain(value).strip()  # a token read from a file often ends in a newline
        if text.isascii() and text.isprintable():
            return text
        origin = self.token_source or "the settings"
        raise BadParameters(
            f"{self.name}: the value from {origin} holds a character that no header may hold.",
            "Nothing was sent.",
            f"Set {origin} again, without line breaks or typographic characters.",
        )


@dataclass(frozen=True)
class Ask:
    """One request before it is built."""

    method: str
    path: str
    params: Pairs
    body: bytes = field(repr=False)
    content_type: str
    also: frozenset[int]
    timeout_s: float

    def __post_init__(self) -> None:
        if {".", ".."} & set(self.path.split("/")) or "?" in self.path or "#" in self.path:
            raise ValueError(f"the path of a request leads elsewhere: {self.path!r}")

    @property
    def target(self) -> str:
        """Return path and query as they leave, below the base url."""
        query = f"?{urlencode(self.params, quote_via=quote)}" if self.params else ""
        return self.path + query


def encode(json: Any, form: Mapping[str, str] | None) -> tuple[bytes, str]:
    """Return a request's body and its content type; both empty if there is nothing to send."""
    if form is not None:
        return urlencode(form).encode(), _FORM
    if json is not None:
        text = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode(), _JSON
    return b"", ""


def path_part(text: str) -> str:
    """Encode one segment of a path.

    Raises:
        BadParameters: Empty or dots only: the path would lead elsewhere. Nothing was sent.
    """
    if text.strip(".") == "":
        raise BadParameters(
            f"{text!r} cannot stand in the path of a request.",
            "Nothing was sent.",
            "Correct the id or name in the parameters.",
        )
    return quote(text, safe="")


def plain(value: SecretStr | str) -> str:
    """Return the text itself."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
