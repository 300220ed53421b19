"""The doctor at Slack: the bot, what it may do, its channels, and whether the people are who they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import FakeClock
from consultations import DOWN, Consultation, down, held_by

from rollback_lib.procedures.doctor.chat import NEEDED, NEEDED_IF_PRIVATE
from rollback_lib.providers.slack import SLACK_RULES

TITLES = ("token", "scopes", "incidents channel", "engineering channel", "ana", "lee", "cat", "dee", "sam")


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


def test_sound_workspace_is_fine_and_nothing_is_posted(sound: Consultation) -> None:
    """Everybody in contacts.yaml is looked up; the channel stays silent."""
    found = {title: sound.told("Slack", title) for title in TITLES}
    assert {title: told[0] for title, told in found.items()} == dict.fromkeys(TITLES, "ok")
    assert "#incidents" in found["incidents channel"][1]
    assert found["lee"][1] == "U0LEE is Lee Lead"
    assert sound.world.slack.messages() == []
    assert sound.world.slack.scheduled() == []


def test_refused_token_is_wrong_and_hides_what_needs_it(sound: Consultation) -> None:
    """HTTP 200 with invalid_auth is a refusal."""
    sound.write_secrets(SLACK_BOT_TOKEN="xoxb-2718281828459")
    status, seen, todo = sound.told("Slack", "token")
    assert (status, "invalid_auth" in seen, "SLACK_BOT_TOKEN" in todo) == ("wrong", True, True)
    assert {sound.look("Slack", title).after for title in TITLES[1:]} == {"Slack: token"}


def test_outage_is_unknown_and_never_wrong(tmp_path: Path, clock: FakeClock) -> None:
    """An answer of 503 says nothing about the token."""
    sick = Consultation(tmp_path, clock, faults=down("slack"))
    assert sick.told("Slack", "token")[::2] == ("unknown", DOWN)
    assert {sick.look("Slack", title).status for title in TITLES} == {"unknown"}


@pytest.mark.parametrize("scope", NEEDED)
def test_each_missing_scope_is_named(tmp_path: Path, clock: FakeClock, scope: str) -> None:
    """By its name and by what it is for."""
    sick = Consultation(tmp_path, clock, tokens=held_by("SLACK_BOT_TOKEN", scope))
    status, seen, todo = sick.told("Slack", "scopes")
    assert status == "wrong"
    assert seen == f"missing: {scope} ({NEEDED[scope]})"
    assert scope in todo


@pytest.mark.parametrize(("scope", "title"), [("users:read", "lee"), ("channels:read", "incidents channel")])
def test_what_a_missing_scope_hides_points_to_it(
    tmp_path: Path, clock: FakeClock, scope: str, title: str
) -> None:
    """Nobody is told to correct an id that may be right."""
    sick = Consultation(tmp_path, clock, tokens=held_by("SLACK_BOT_TOKEN", scope))
    assert sick.look("Slack", title).after == "Slack: scopes"


def test_private_channel_asks_for_more(tmp_path: Path, clock: FakeClock) -> None:
    """The scopes for private channels are needed where one is private, and only there."""
    tokens = held_by("SLACK_BOT_TOKEN", also=("groups:read",))
    private = Consultation(tmp_path, clock, tokens=tokens)
    private.edit("drill.yaml", "C0INCIDENTS", "C0WARROOM")
    assert private.told("Slack", "incidents channel") == ("ok", "private #war-room, and the bot is in it", "")
    status, seen, _ = private.told("Slack", "scopes")
    assert (status, seen) == ("wrong", f"missing: groups:history ({NEEDED_IF_PRIVATE['groups:history']})")


def test_scopes_that_are_not_told_are_unknown(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may take the header away; then nothing is claimed, and people are looked up all the same."""
    from rollback_lib.providers import slack

    monkeypatch.setattr(slack, "scopes_of", lambda _: None)
    status, seen, _ = sound.told("Slack", "scopes")
    assert (status, seen) == ("unknown", "Slack does not say what the token may do")
    assert sound.told("Slack", "lee")[0] == "ok"


def test_scopes_cover_all_that_the_client_does() -> None:
    """Each request that the client can send is one that a scope is asked for, or that needs none."""
    without = {"auth.test", "chat.getPermalink", "chat.scheduledMessages.list"}
    by_method = {
        "chat.postMessage": "chat:write",
        "chat.update": "chat:write",
        "chat.scheduleMessage": "chat:write",
        "chat.deleteScheduledMessage": "chat:write",
        "reactions.get": "reactions:read",
        "conversations.list": "channels:read",
        "conversations.info": "channels:read",
        "conversations.history": "channels:history",
        "conversations.replies": "channels:history",
        "users.info": "users:read",
    }
    never_sent = {"reactions.add"}  # the client can; no procedure does
    methods = {rule.path.removeprefix("/").replace("\\", "") for rule in SLACK_RULES}
    assert methods == without | set(by_method) | never_sent
    assert set(by_method.values()) == set(NEEDED)


@pytest.mark.parametrize(
    ("channel", "says"), [("C0NOWHERE", "channel_not_found"), ("C0BOARD", "channel_not_found")]
)
def test_channel_that_the_bot_does_not_see_is_wrong(sound: Consultation, channel: str, says: str) -> None:
    """Not there, or private and not joined: Slack does not tell which."""
    sound.edit("drill.yaml", "C0INCIDENTS", channel)
    status, seen, todo = sound.told("Slack", "incidents channel")
    assert (status, says in seen) == ("wrong", True)
    assert "platform.slack.incidents_channel" in todo


def test_channel_without_the_bot_is_wrong(tmp_path: Path, clock: FakeClock) -> None:
    """It may be seen and not written to."""
    sick = Consultation(tmp_path, clock, slack={"bot_not_in": ("C0ENGINEER",)})
    status, seen, todo = sick.told("Slack", "engineering channel")
    assert (status, seen) == ("wrong", "the bot is not in #engineering")
    assert "/invite" in todo
    assert sick.told("Slack", "incidents channel")[0] == "ok"


def test_archived_channel_is_wrong(tmp_path: Path, clock: FakeClock) -> None:
    """Nobody can write there."""
    sick = Consultation(tmp_path, clock, slack={"archived": ("C0INCIDENTS",)})
    assert sick.told("Slack", "incidents channel")[:2] == ("wrong", "#incidents is archived")


@pytest.mark.parametrize(
    ("user", "status", "says"),
    [
        ("U0NOBODY", "wrong", "user_not_found"),
        ("U0OLD", "wrong", "deactivated"),
        ("U0STATUS", "wrong", "a bot"),
    ],
)
def test_approver_who_cannot_approve_is_wrong(sound: Consultation, user: str, status: str, says: str) -> None:
    """No account, one that is gone, or one that is no person's."""
    sound.edit("contacts.yaml", "slack: U0LEE", f"slack: {user}")
    told = sound.told("Slack", "lee")
    assert (told[0], says in told[1]) == (status, True)


def test_id_of_somebody_else_is_a_warning(sound: Consultation) -> None:
    """The approval would count as that of the person in the file."""
    sound.edit("contacts.yaml", "name: Lee Lead", "name: Leonora Prime")
    status, seen, _ = sound.told("Slack", "lee")
    assert (status, seen) == ("warning", "U0LEE is Lee Lead; contacts.yaml says Leonora Prime")
