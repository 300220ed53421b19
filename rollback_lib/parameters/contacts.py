"""Who is who: people by key, and who holds which of the plan's roles.

- A person is known by key, and recognised in Slack by user id; names that others can change count for nothing.
- A role has one person, then deputies in order; all of them exist and are different people.
- Phone numbers and mail addresses appear in no repr and in nothing that is written for the journal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, StringConstraints, ValidationError, model_validator
from yaml import Node

from rollback_lib.errors import BadParameters
from rollback_lib.model import UserId
from rollback_lib.parameters.words import UNTOUCHED, closest, dotted, faults
from rollback_lib.plan.values import Role
from rollback_lib.yamlfile import Frozen, line_of, load_tree

__all__ = ["CONTACTS_FILE", "Contacts", "Person", "contacts_of", "load_contacts"]

CONTACTS_FILE = Path("parameters", "contacts.yaml")


@dataclass(frozen=True)
class Person:
    """Somebody with a name, a Slack account and a phone."""

    key: str  # as in the parameter `operator`
    name: str
    slack: UserId
    email: str = field(repr=False)
    phone: str = field(repr=False)
    operator_names: tuple[str, ...] = ()  # what other systems call this person


@dataclass(frozen=True)
class Contacts:
    """The people of one environment and their roles."""

    people: Mapping[str, Person]
    roles: Mapping[Role, tuple[str, ...]]  # keys: the person, then deputies

    def person(self, key: str) -> Person:
        """Look a person up by key.

        Raises:
            BadParameters: Nobody has this key; the known ones are listed. Nothing was sent.
        """
        if key in self.people:
            return self.people[key]
        alias = next((one.key for one in self.people.values() if key in one.operator_names), None)
        hint = f" (did you mean {alias}?)" if alias is not None else closest(key, self.people)
        raise BadParameters(
            f"{key!r} is nobody in {CONTACTS_FILE}{hint}; known: {', '.join(self.people)}.",
            UNTOUCHED,
            "Write one of the known keys, or add the person to the file.",
        )

    def by_slack(self, user: str) -> Person | None:
        """Look a person up by Slack user id; None if it is nobody here."""
        return next((one for one in self.people.values() if one.slack == user), None)

    def holders(self, role: str) -> tuple[Person, ...]:
        """Return who holds a role: the person first, then deputies.

        Raises:
            ValueError: The plan has no such role.
        """
        keys = next((keys for name, keys in self.roles.items() if name == role), None)
        if keys is None:
            raise ValueError(f"no role {role!r}; the plan has {', '.join(self.roles)}")
        return tuple(self.people[key] for key in keys)

    def public(self) -> dict[str, Any]:
        """Return names, Slack ids and roles, without phone numbers and mail addresses."""
        people = {key: {"name": one.name, "slack": one.slack} for key, one in self.people.items()}
        return {"people": people, "roles": {role: list(keys) for role, keys in self.roles.items()}}


def _email(text: str) -> str:
    if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) is None:
        raise ValueError("must be a mail address")
    return text


def _phone(text: str) -> str:
    if re.fullmatch(r"\+[0-9][0-9 ]{5,20}", text) is None:
        raise ValueError("must be a phone number with its country code, such as +61 3 ...")
    return text


def _slack_user(text: str) -> str:
    if re.fullmatch(r"[UW][A-Z0-9]{2,}", text) is None:
        raise ValueError("must be a Slack user id such as U0123456789, not a name")
    return text


def _key(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) is None:
        raise ValueError(
            "a person's key must be plain letters, digits, dot, dash and underscore: it names who signs"
        )
    return text


class _Entry(Frozen):
    name: Annotated[str, StringConstraints(min_length=1)]
    slack: Annotated[str, AfterValidator(_slack_user)]
    email: Annotated[str, AfterValidator(_email)]
    phone: Annotated[str, AfterValidator(_phone)]
    operator_names: tuple[str, ...] = ()


class _Holders(Frozen):
    person: str
    deputies: tuple[str, ...] = ()


class _Section(Frozen):
    people: dict[Annotated[str, AfterValidator(_key)], _Entry]
    roles: dict[Role, _Holders]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        found = [*_role_faults(self), *_doubles(self)]
        if found:
            raise ValueError("; ".join(found))
        return self


def load_contacts(home: Path, environment: str) -> Contacts:
    """Read one environment's people from `parameters/contacts.yaml`.

    The other environments' sections are not looked at.

    Raises:
        BadParameters: The file, the section or a value in it is wrong, with its line. Nothing was sent.
    """
    tree, node = load_tree(home / CONTACTS_FILE)
    if not isinstance(tree.get(environment), dict):
        raise BadParameters(
            f"{CONTACTS_FILE} has no people for {environment}.",
            UNTOUCHED,
            f"Add a section {environment}: with people and roles.",
        )
    return contacts_of(_section(tree[environment], environment, node))


def contacts_of(section: _Section) -> Contacts:
    """Turn a checked section into people and roles."""
    people = {
        key: Person(key, entry.name, UserId(entry.slack), entry.email, entry.phone, entry.operator_names)
        for key, entry in section.people.items()
    }
    roles = {role: (held.person, *held.deputies) for role, held in section.roles.items()}
    return Contacts(people, roles)


def _section(tree: Any, environment: str, node: Node) -> _Section:
    try:
        return _Section.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as exc:
        listed = "\n".join(
            f"  {CONTACTS_FILE}, line {line_of(node, (environment, *place))}: {dotted((environment, *place))} {text}"
            for place, text in faults(exc)
        )
    # Raised without its cause: pydantic's own error repeats phone numbers.
    raise BadParameters(
        f"{CONTACTS_FILE} is not valid:\n{listed}", UNTOUCHED, "Correct the lines named above."
    )


def _role_faults(section: _Section) -> Iterator[str]:
    for role in get_args(Role):
        if role not in section.roles:
            yield f"nobody holds the role {role}"
            continue
        keys = (section.roles[role].person, *section.roles[role].deputies)
        unknown = [key for key in keys if key not in section.people]
        if unknown:
            yield f"the role {role} names {', '.join(unknown)}, who is not among the people"
        if len(set(keys)) < len(keys):
            yield f"the role {role} names somebody twice"


def _doubles(section: _Section) -> Iterator[str]:
    seen: dict[str, str] = {}
    for key, entry in section.people.items():
        if entry.slack in seen:
            yield f"{seen[entry.slack]} and {key} have the same Slack user id"
        seen[entry.slack] = key
    called: dict[str, str] = {key: key for key in section.people}
    for key, entry in section.people.items():
        for name in entry.operator_names:
            if called.setdefault(name, key) != key:
                yield f"{called[name]} and {key} are both called {name!r}"
