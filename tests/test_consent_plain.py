"""What a text really holds: nothing hidden, nothing turned, nothing that looks like something else."""

from __future__ import annotations

import pytest

from rollback_lib.consent.plain import is_plain, odd_characters, visible


@pytest.mark.parametrize(
    "text", ["engineering_lead", "POST /v1/projects/p/rollback/d", "derrimut-platform", "~"]
)
def test_printable_ascii_is_plain(text: str) -> None:
    """What stands on every keyboard."""
    assert is_plain(text)
    assert visible(text) == text
    assert odd_characters([text]) == ()


@pytest.mark.parametrize(
    "text", ["", " lee", "lee ", "l\u0435e", "lee\n", "lee\x00", "lee\u200b", "l\u00e9e", "lee\x7f", "\ud800"]
)
def test_anything_else_is_not_plain(text: str) -> None:
    """Empty, padded, foreign, unseen or half a character."""
    assert not is_plain(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("caf\u00e9", "caf⟨\u00e9 U+00E9⟩", id="a letter shows itself and its number"),
        pytest.param("l\u0435e", "l⟨\u0435 U+0435⟩e", id="a letter of another script"),
        pytest.param("a\u202eb", "a⟨U+202E⟩b", id="a turned direction is not obeyed"),
        pytest.param("a\u0627b", "a⟨U+0627⟩b", id="a letter written from right to left"),
        pytest.param("a\u0301", "a⟨U+0301⟩", id="an accent on its neighbour"),
        pytest.param("a\u200bb", "a⟨U+200B⟩b", id="a space of no width"),
        pytest.param("a\u00a0b", "a⟨U+00A0⟩b", id="a space that is none"),
        pytest.param("a\x1b[2Jb", "a⟨U+001B⟩[2Jb", id="a terminal's command"),
        pytest.param("a\rb\n", "a⟨U+000D⟩b⟨U+000A⟩", id="a line over the line"),
        pytest.param("a\U000e0041b", "a⟨U+E0041⟩b", id="a tag"),
    ],
)
def test_what_is_not_plain_is_made_visible(text: str, shown: str) -> None:
    """Every character that could mislead an eye or a terminal has its number beside it, or instead of it."""
    assert visible(text) == shown


def test_odd_characters_are_named_once_in_their_order() -> None:
    """So that a person knows what to look for."""
    assert odd_characters(["l\u0435\u0435", "a\x1b\u0435"]) == (
        "\u0435 U+0435 CYRILLIC SMALL LETTER IE",
        "U+001B a control character",
    )
