"""Who has operated a run, and who is left to approve it."""

from __future__ import annotations

from pathlib import Path

from conftest import FakeClock
from consents import HOME, begin

from rollback_lib.consent.four_eyes import operators_of, others_with
from rollback_lib.parameters import load_contacts


def test_everybody_who_opened_continued_wrote_or_operates_is_an_operator(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Handing a run back does not make a second pair of eyes."""
    contacts, journal = load_contacts(HOME, "drill"), begin(tmp_path, clock)
    journal.append("run.opened", data={"operator": "sam"})
    journal.append("run.continued", data={"operator": "dee"})
    journal.by = "cat"
    journal.append("note", data={})
    journal.by = "ana"
    found = operators_of(journal, contacts.person("ana"))
    assert found == {"ana", "sam", "dee", "cat"}
    assert [person.key for person in others_with("engineering_lead", contacts, found)] == ["lee"]
    assert others_with("cto", contacts, found) == ()
