"""Who has operated a run: none of them approves it, whoever operates it now."""

from __future__ import annotations

from rollback_lib.journal import Journal
from rollback_lib.parameters import Contacts, Person

__all__ = ["operators_of", "others_with"]


def operators_of(journal: Journal, operator: Person) -> frozenset[str]:
    """Return the keys of everybody who has opened, continued or written into a run, and of who operates it now."""
    named = {
        line.data["operator"] for event in ("run.opened", "run.continued") for line in journal.find(event)
    }
    return frozenset({operator.key, *named, *(line.by for line in journal.lines)})


def others_with(role: str, contacts: Contacts, operators: frozenset[str]) -> tuple[Person, ...]:
    """Return who holds a role and has not operated the run: the person first, then deputies."""
    return tuple(person for person in contacts.holders(role) if person.key not in operators)
