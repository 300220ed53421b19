"""What a push of ours says of itself is read again as it was meant: commit, incident, and the run that made it."""

from __future__ import annotations

import pytest

from rollback_lib.providers.push_words import certain_digits, incident_of, push_message, run_of

SHA, INCIDENT, RUN, UNDONE = (
    "a" * 40,
    "INC-20261123-2158",
    "P2-20261123-221500-c3d4",
    "P2-20261123-215800-a1b2",
)


@pytest.mark.parametrize("undo_of", ["", UNDONE], ids=["rollback", "undo"])
def test_push_of_ours_is_read_again(undo_of: str):
    """The run that is undone stands in the text, too: it did not make this push, so it cannot be undone once more."""
    told = push_message(SHA, INCIDENT, RUN, undo_of)
    assert (certain_digits(told), incident_of(told), run_of(told)) == (SHA, INCIDENT, RUN)
    assert told.startswith(f"undo of run {UNDONE}: pushes {SHA}" if undo_of else f"rollback to {SHA} (")


@pytest.mark.parametrize(
    "text", ["", "fix", f"undo of run {UNDONE}", f"{push_message(SHA, INCIDENT, RUN)} too"]
)
def test_what_others_wrote_is_no_push_of_ours(text: str):
    """A sentence that only looks like it names neither commit nor incident nor run."""
    assert (certain_digits(text), incident_of(text), run_of(text)) == ("", "", "")
