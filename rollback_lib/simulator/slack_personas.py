"""People of the simulated company who react to what the bot says.

- Each reacts once to each message that holds their text, so long after it was written.
- An edited message is read anew: who has not reacted yet counts from the edit.
- Who withdraws a reaction does not give it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rollback_lib.errors import BadParameters
from rollback_lib.simulator import company
from rollback_lib.simulator.slack_workspace import User
from rollback_lib.simulator.spec import Persona

__all__ = ["PersonaBook", "Reactable", "texts_of", "withdraw"]


class Reactable(Protocol):
    """A message, as far as people react to it."""

    channel: str
    ts: str
    user: str | None
    text: str
    said_ms: int
    blocks: list[dict[str, Any]] | None
    reactions: dict[str, list[str]]


@dataclass(frozen=True)
class _Deed:
    """A reaction that was given, and when it is taken back."""

    message: Reactable
    persona: Persona
    withdrawn_ms: int


class PersonaBook:
    """Who reacts to what, and what they have done already.

    Raises:
        BadParameters: A persona is nobody of the workspace.
    """

    def __init__(self, personas: Iterable[Persona], users: Mapping[str, User]) -> None:
        self._personas = tuple(personas)
        for persona in self._personas:
            if persona.user not in users:
                raise BadParameters(
                    f"The world's persona {persona.user!r} is nobody of its Slack workspace.",
                    "No world was made.",
                    f"Use one of these user ids: {', '.join(sorted(users))}.",
                )
        self._done: set[tuple[int, str, str]] = set()
        self._to_withdraw: list[_Deed] = []

    def act(self, messages: Iterable[Reactable], now_ms: int) -> None:
        """Let everybody do what they would have done until now."""
        due = [
            (message.said_ms + round(persona.after_s * 1000), index, message)
            for message in messages
            if message.user == company.BOT_USER
            for index, persona in enumerate(self._personas)
            if (index, message.channel, message.ts) not in self._done and _reads(persona, message)
        ]
        for at_ms, index, message in sorted(due, key=lambda deed: deed[:2]):
            if at_ms <= now_ms:
                self._done.add((index, message.channel, message.ts))
                self._give(self._personas[index], message, at_ms)
        self._withdraw(now_ms)

    def _give(self, persona: Persona, message: Reactable, at_ms: int) -> None:
        given = message.reactions.setdefault(persona.reaction, [])
        if persona.user not in given:
            given.append(persona.user)
        if persona.remove_after_s is not None:
            withdrawn_ms = at_ms + round(persona.remove_after_s * 1000)
            self._to_withdraw.append(_Deed(message, persona, withdrawn_ms))

    def _withdraw(self, now_ms: int) -> None:
        kept = []
        for deed in self._to_withdraw:
            if deed.withdrawn_ms <= now_ms:
                withdraw(deed.message, deed.persona.user, deed.persona.reaction)
            else:
                kept.append(deed)
        self._to_withdraw = kept


def withdraw(message: Reactable, user: str, name: str) -> None:
    """Take a reaction off a message; the last one takes its name along."""
    given = message.reactions.get(name, [])
    if user in given:
        given.remove(user)
    if not given:
        message.reactions.pop(name, None)


def _reads(persona: Persona, message: Reactable) -> bool:
    return any(persona.match in text for text in (message.text, *texts_of(message.blocks)))


def texts_of(blocks: Any) -> Iterator[str]:
    """Give every text that a message shows in its blocks."""
    if isinstance(blocks, dict):
        for key, value in blocks.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from texts_of(value)
    elif isinstance(blocks, list):
        for item in blocks:
            yield from texts_of(item)
