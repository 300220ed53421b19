"""Whose token it is, and the place of its holder in the team, as Vercel tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from rollback_lib.http import Reply
from rollback_lib.providers.shapes import Shape, a_mapping, a_text, flag, needed, unusable

__all__ = ["Account", "Team"]


@dataclass(frozen=True)
class Account:
    """Whose Vercel token it is."""

    id: str
    username: str
    default_team_id: str

    @classmethod
    def from_response(cls, reply: Reply, raw: Shape) -> Self:
        """Read `GET /v2/user`.

        Raises:
            Unreachable: There is no user with an id.
        """
        user = a_mapping(raw.get("user")) or raw
        found = a_text(user.get("id")) or a_text(user.get("uid"))
        if not found:
            raise unusable(reply, "a user with an id")
        return cls(found, a_text(user.get("username")) or "", a_text(user.get("defaultTeamId")) or "")


@dataclass(frozen=True)
class Team:
    """A Vercel team, and the place of the token's holder in it."""

    id: str
    name: str
    role: str  # OWNER, MEMBER, DEVELOPER, ...; empty: not said
    confirmed: bool | None  # whether the holder has joined

    @classmethod
    def from_response(cls, reply: Reply, raw: Shape) -> Self:
        """Read `GET /v2/teams/{id}`: `membership` is that of the caller.

        Raises:
            Unreachable: It has no id.
        """
        membership = a_mapping(raw.get("membership"))
        return cls(
            id=needed(reply, raw, "id"),
            name=a_text(raw.get("name")) or a_text(raw.get("slug")) or "",
            role=a_text(membership.get("role")) or "",
            confirmed=flag(membership.get("confirmed")),
        )
