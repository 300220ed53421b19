"""The people, channels and groups of the simulated company's Slack, with those that mislead.

- A display name proves nothing: two people are called Lee Lead.
- One account is deactivated, two belong to bots; all of them can be found.
- The channels that matter come late in the list, behind archived and private ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rollback_lib.simulator import company
from rollback_lib.simulator.switches import SlackSpec

__all__ = [
    "APP_ID",
    "BOT_ID",
    "GROUPS",
    "TEAM_ID",
    "TEAM_NAME",
    "TEAM_URL",
    "WEBHOOK_TEAM_AND_BOT",
    "Channel",
    "Group",
    "User",
    "channels",
    "users",
]

TEAM_ID = "T0DRILL"
TEAM_NAME = "Derrimut"
TEAM_URL = "https://derrimut.slack.drill/"
BOT_ID = "B0RUNBOOK"
APP_ID = "A0RUNBOOK"
WEBHOOK_TEAM_AND_BOT = (TEAM_ID, BOT_ID)
_TIME_ZONE = "Australia/Melbourne"


@dataclass(frozen=True)
class User:
    """An account."""

    id: str
    name: str
    real_name: str
    email: str | None
    deleted: bool = False
    bot_id: str | None = None

    def json(self, *, with_email: bool) -> dict[str, Any]:
        """Write it as users.info does; the address only for who may read it."""
        profile = {"display_name": self.real_name, "real_name": self.real_name}
        if with_email and self.email is not None:
            profile["email"] = self.email
        return {
            "id": self.id,
            "team_id": TEAM_ID,
            "name": self.name,
            "real_name": self.real_name,
            "deleted": self.deleted,
            "is_bot": self.bot_id is not None,
            "tz": _TIME_ZONE,
            "profile": profile,
        }


@dataclass
class Channel:
    """A channel, as far as the bot is concerned."""

    id: str
    name: str
    is_member: bool = False  # the bot
    is_private: bool = False
    is_archived: bool = False

    @property
    def hidden(self) -> bool:
        """Tell whether the bot cannot even see it."""
        return self.is_private and not self.is_member

    def json(self) -> dict[str, Any]:
        """Write it as conversations.info does."""
        return {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": not self.is_private,
            "is_group": self.is_private,
            "is_private": self.is_private,
            "is_archived": self.is_archived,
            "is_member": self.is_member,
        }


@dataclass(frozen=True)
class Group:
    """A group of people that can be mentioned."""

    id: str
    handle: str
    name: str
    members: tuple[str, ...] = field(default=())

    def json(self, *, with_users: bool) -> dict[str, Any]:
        """Write it as usergroups.list does."""
        shown: dict[str, Any] = {
            "id": self.id,
            "team_id": TEAM_ID,
            "is_usergroup": True,
            "name": self.name,
            "handle": self.handle,
            "date_delete": 0,
            "user_count": len(self.members),
        }
        return {**shown, "users": list(self.members)} if with_users else shown


GROUPS = (
    Group("S0ENGLEAD", "engineering-lead", "Engineering leads", ("U0LEE", "U0DEE")),
    Group("S0CTO", "cto", "CTO", ("U0CAT",)),
    Group("S0ONCALL", "on-call", "On call", ("U0ANA",)),
)


def users() -> dict[str, User]:
    """List all accounts by id."""
    known = (
        *(
            User(person.user, person.email.partition("@")[0], person.name, person.email)
            for person in company.PEOPLE
        ),
        User(company.BOT_USER, "runbook", "Rollback Runbook", None, bot_id=BOT_ID),
        User("U0STATUS", "statusbot", "Status Bot", None, bot_id="B0STATUS"),
        User("U0LEX", "lee.lead", "Lee Lead", "lee.lead@contractor.drill"),  # not the engineering lead
        User("U0OLD", "olga", "Olga Former", "olga@derrimut247.drill", deleted=True),
    )
    return {user.id: user for user in known}


def channels(switches: SlackSpec) -> dict[str, Channel]:
    """List all channels by id, in the order in which they are paged through."""
    member = {company.CHANNEL_INCIDENTS, company.CHANNEL_ENGINEERING, "C0WARROOM"}
    public = (
        ("C0GENERAL", "general"),
        ("C0INCOLD", "incidents-2024"),
        ("C0RANDOM", "random"),
        ("C0LAUNCH", "launch-2023"),
        ("C0BOARD", "leadership"),
        ("C0RELAUNCH", "relaunch-2024"),
        ("C0INCTEST", "incidents-test"),
        *company.CHANNELS.items(),
        ("C0WARROOM", "war-room"),
    )
    archived = {"C0INCOLD", "C0LAUNCH", "C0RELAUNCH", *switches.archived}
    return {
        number: Channel(
            number,
            name,
            is_member=number in member - set(switches.bot_not_in),
            is_private=number in ("C0BOARD", "C0WARROOM"),
            is_archived=number in archived,
        )
        for number, name in public
    }
