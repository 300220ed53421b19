"""Whom to ring, also where `parameters/contacts.yaml` is not valid: a bad line takes no other line's number away.

- A number is shown as it is written in the file, never as YAML would turn it into a figure.
- One that is not valid is shown all the same and said to be so: a person sees at once what is wrong with it.
- What is wrong comes with the list; it is for the caller to tell it below the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import yaml

from rollback_lib.errors import BadParameters
from rollback_lib.parameters.contacts import CONTACTS_FILE, Contacts, load_contacts
from rollback_lib.plan.values import Role
from rollback_lib.yamlfile import keys_at, load_node, text_at

__all__ = ["Phone", "Phones", "load_phones"]

FEWEST_DIGITS = 6  # of what can be dialled; a placeholder has none
NO_ROLE = "no role"


@dataclass(frozen=True)
class Phone:
    """One line of the list."""

    role: str
    name: str
    number: str = field(repr=False)  # or why there is none


@dataclass(frozen=True)
class Phones:
    """An environment's numbers by role, and what is wrong with the file that they are from."""

    lines: tuple[Phone, ...]
    fault: BadParameters | None


def load_phones(home: Path, environment: str) -> Phones:
    """Read an environment's numbers by role: the person first, then deputies.

    Raises:
        BadParameters: The file cannot be read as YAML at all, or has no people for this environment.
    """
    try:
        return Phones(tuple(_all_of(load_contacts(home, environment))), None)
    except BadParameters as exc:
        found = _readable(load_node(home / CONTACTS_FILE), environment)
        if not found:
            raise
        return Phones(found, exc)


def _all_of(contacts: Contacts) -> Iterator[Phone]:
    for role in contacts.roles:
        for person in contacts.holders(role):
            yield Phone(_words(role), person.name, person.phone)


def _readable(node: yaml.Node, environment: str) -> tuple[Phone, ...]:
    """Read what can be read, in the plan's order of roles; who has no role that can be read comes last."""
    people = keys_at(node, (environment, "people"))
    held = [(role, key) for role in get_args(Role) for key in _holders(node, environment, role)]
    left = [(NO_ROLE, key) for key in people if key not in {key for _, key in held}]
    return tuple(_phone(node, environment, role, key) for role, key in (*held, *left))


def _holders(node: yaml.Node, environment: str, role: str) -> Iterator[str]:
    place = (environment, "roles", role)
    for at in (("person",), *(("deputies", i) for i in range(len(keys_at(node, (*place, "deputies")))))):
        key = text_at(node, (*place, *at))
        if key:
            yield key


def _phone(node: yaml.Node, environment: str, role: str, key: str) -> Phone:
    place = (environment, "people", key)
    written = text_at(node, (*place, "phone")) or ""
    if key not in keys_at(node, (environment, "people")):
        number = "is not among the people"
    elif len(re.findall("[0-9]", written)) < FEWEST_DIGITS:
        number = "no number that can be read"
    else:
        number = written if written.startswith("+") else f"{written}  (as written: no country code)"
    return Phone(_words(role), text_at(node, (*place, "name")) or key, number)


def _words(role: str) -> str:
    return role.replace("_", " ")
