"""Slack: does the bot's token work, may it do what a rollback does, is it in the channels, are the people real.

- What a token may do stands in a header of every answer; nothing is posted to find out.
- A person is a user id: one that is deleted, a bot, or somebody else can approve nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rollback_lib.parameters import Person
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, Once, ok, unknown, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.providers.slack import SlackChannel

__all__ = ["checks"]

NEEDED = {
    "chat:write": "the alert, updates, the scheduled notice",
    "reactions:read": "approvals by ✅",
    "channels:read": "finding the channels",
    "channels:history": "finding a message whose answer was lost",
    "users:read": "telling people from bots and deleted accounts",
}
NEEDED_IF_PRIVATE = {
    "groups:read": "finding private channels",
    "groups:history": "finding a message in a private channel",
}
_TOKEN = "Install the app again and put its bot token (xoxb-...) where SLACK_BOT_TOKEN comes from."  # noqa: S105 - advice


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject; one for each person, where it is known who they are."""
    yield Check("Slack", "token", token, _TOKEN)
    yield Check("Slack", "scopes", scopes, _TOKEN)
    for name, once in zip(("incidents", "engineering"), readings.channels, strict=True):
        place = f"platform.slack.{name}_channel"
        yield Check(
            "Slack",
            f"{name} channel",
            partial(channel, once=once),
            f"Correct {place} (the channel's id); if it is private, invite the bot and give it the scope that is named.",
        )
    try:
        people = readings.contacts.use().people.values()
    except NotKnown:
        return
    for one in people:
        yield Check(
            "Slack",
            one.key,
            partial(person, who=one),
            f"Correct the Slack user id of {one.key} in parameters/contacts.yaml (profile, ..., Copy member ID).",
        )


def token(readings: Readings) -> Finding:
    """See whose token it is."""
    bot = readings.bot.tell()
    if not bot.bot_id:
        return warning(f"works; it is {bot.user}'s, who is no bot", _TOKEN)
    return ok(f"works; it is {bot.user} in {bot.url}")


def scopes(readings: Readings) -> Finding:
    """See that the bot may do what a rollback does."""
    held = readings.bot.use().scopes
    if held is None:
        return unknown(
            "Slack does not say what the token may do", "Look at the app's OAuth & Permissions page."
        )
    needed = NEEDED | (NEEDED_IF_PRIVATE if any(map(_is_private, readings.channels)) else {})
    missing = [name for name in needed if name not in held]
    if missing:
        listed = ", ".join(f"{name} ({needed[name]})" for name in missing)
        return wrong(f"missing: {listed}", f"Give the bot {' and '.join(missing)} and install the app again.")
    return ok(f"all {len(needed)} that are needed")


def channel(readings: Readings, once: Once[SlackChannel]) -> Finding:
    """See that a channel is there and the bot is in it."""
    _need_scope(readings, "channels:read")
    found = once.tell()
    kind = "private " if found.is_private else ""
    if found.is_archived:
        return wrong(f"{kind}#{found.name} is archived", "Unarchive it, or give another channel's id.")
    if not found.is_member:
        return wrong(f"the bot is not in {kind}#{found.name}", f"In #{found.name}: /invite the bot.")
    return ok(f"{kind}#{found.name}, and the bot is in it")


def person(readings: Readings, who: Person) -> Finding:
    """See that a person's account is there, and is a person's."""
    _need_scope(readings, "users:read")
    found = readings.clients.use().slack.user(who.slack)
    told = f"{who.slack} is {found.name}"
    if found.deleted:
        return wrong(f"{told}, and is deactivated", "Name somebody else, here and in the roles.")
    if found.is_bot:
        return wrong(f"{told}, and is a bot", f"Give the user id of {who.name}.")
    if not set(found.name.casefold().split()) & set(who.name.casefold().split()):
        return warning(
            f"{told}; contacts.yaml says {who.name}",
            "See that it is the same person: an approval counts by the id.",
        )
    return ok(told)


def _need_scope(readings: Readings, name: str) -> None:
    """Go on only if the bot has a scope, as far as Slack says; else the check of the scopes tells it."""
    held = readings.bot.use().scopes
    if held is not None and name not in held:
        raise NotKnown("Slack: scopes")


def _is_private(once: Once[SlackChannel]) -> bool:
    try:
        return once.use().is_private
    except NotKnown:
        return False
