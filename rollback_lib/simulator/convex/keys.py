"""Who calls a deployment: found from the key, or from the user's token, that a request shows.

- A key is good for one deployment, and for what it may do; none at all is a caller like any visitor.
- A user's token is believed for what it says: this platform has no provider to ask.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Protocol

from rollback_lib.simulator.convex.callers import NOBODY, Caller
from rollback_lib.simulator.convex.spec import ALL_ACTIONS
from rollback_lib.simulator.refusal import Refusal

__all__ = ["Key", "bearer", "caller_of", "key_in", "of_key"]

_SCHEME = "convex "
_CLAIMS = {
    "sub": "subject",
    "iss": "issuer",
    "name": "name",
    "email": "email",
    "given_name": "givenName",
    "family_name": "familyName",
}


class Key(Protocol):
    """A key that the deployment's owner made."""

    @property
    def name(self) -> str:
        """What the world calls it."""

    @property
    def value(self) -> str:
        """The key itself."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it may do; none named: everything."""


def key_in(authorization: str | None) -> str:
    """Give the key that a header shows; empty where it shows none."""
    text = authorization or ""
    return text[len(_SCHEME) :].strip() if text[: len(_SCHEME)].lower() == _SCHEME else ""


def bearer(authorization: str | None) -> str:
    """Give the user's token that a header shows; empty where it shows none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def of_key(value: str, keys: Iterable[Key], deployment: str) -> Caller:
    """Tell who has a key.

    Raises:
        Refusal: The key is for another deployment, or no key at all.
    """
    for key in keys:
        if value == key.value or value.startswith(f"{key.value}:"):
            if _deployment_of(key.value) not in (None, deployment):
                break
            allowed = frozenset(key.scopes or ALL_ACTIONS)
            caller = Caller(key.name, allowed)
            return caller if value == key.value else _acting(caller, value[len(key.value) + 1 :])
    raise Refusal(401, "BadAdminKey", "The provided admin key was invalid for this instance")


def caller_of(
    authorization: str | None, in_query: str | None, keys: Iterable[Key], deployment: str
) -> Caller:
    """Tell who makes a request; errors as of `of_key`, and for a user's token that cannot be read."""
    key = key_in(authorization) or (in_query if authorization is None else None)
    if key:
        return of_key(key, keys, deployment)
    token = bearer(authorization)
    return Caller(identity=_identity(token)) if token else NOBODY


def _deployment_of(key: str) -> str | None:
    """Name the deployment of a key: what stands between its kind and the bar."""
    head, bar, _ = key.partition("|")
    if not bar:
        return None
    return head.rpartition(":")[2]


def _acting(caller: Caller, who: str) -> Caller:
    caller.insist("deployment:functions:actAsUser")
    try:
        identity = json.loads(base64.b64decode(who + "=" * (-len(who) % 4)))
    except ValueError as exc:
        raise Refusal(400, "InvalidHeaderFailure", "Malformed Authorization header.") from exc
    return Caller(caller.name, caller.allowed, identity)


def _identity(token: str) -> dict[str, Any]:
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issuer, subject = claims["iss"], claims["sub"]
    except (ValueError, IndexError, KeyError, TypeError) as exc:
        raise Refusal(401, "InvalidAuthHeader", "Could not parse as id token") from exc
    known = {own: claims[name] for name, own in _CLAIMS.items() if name in claims}
    return {"tokenIdentifier": f"{issuer}|{subject}", **known}
