"""A parameter file is read exactly, or refused with the file, the line and what to do."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from rollback_lib.errors import BadParameters
from rollback_lib.yamlfile import Frozen, line_of, load_model, load_tree, problems


class Page(Frozen):
    path: str
    marker: str


class Settings(Frozen):
    name: str
    review: date | None = None
    enabled: bool = False
    wait_s: float = 1.0
    mode: Literal["slow", "fast"] = "slow"
    pages: tuple[Page, ...] = ()


GOOD = """\
# a comment
name: app
review: 2025-02-09
enabled: true
wait_s: 2
mode: fast
pages:
  - {path: /a, marker: A}
  - path: /b
    marker: B → ✅
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Give the place of a parameter file that is not there yet."""
    return tmp_path / "settings.yaml"


def refused(path: Path, content: str | bytes) -> str:
    """Write the file, expect its refusal, check that reading left it alone; return what was said."""
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(raw)
    with pytest.raises(BadParameters) as caught:
        load_model(path, Settings)
    assert path.read_bytes() == raw
    assert caught.value.state.startswith("Nothing was sent")
    assert caught.value.next_step
    return caught.value.happened


def test_good_file_becomes_typed_frozen_values(settings: Path) -> None:
    """Lists come out as tuples, dates as dates, whole numbers fit where seconds are wanted."""
    settings.write_text(GOOD, encoding="utf-8")
    loaded = load_model(settings, Settings)
    assert loaded == Settings(
        name="app",
        review=date(2025, 2, 9),
        enabled=True,
        wait_s=2.0,
        mode="fast",
        pages=(Page(path="/a", marker="A"), Page(path="/b", marker="B → ✅")),
    )
    assert isinstance(loaded.pages, tuple)


def test_assignment_to_a_loaded_value_is_refused(settings: Path) -> None:
    """A value read from a file cannot be changed afterwards, at any depth."""
    settings.write_text(GOOD, encoding="utf-8")
    loaded = load_model(settings, Settings)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.name = "other"  # type: ignore[misc]  # the assignment is what is refused
    with pytest.raises(ValidationError, match="frozen"):
        loaded.pages[0].path = "/other"  # type: ignore[misc]  # as above, one level down
    assert (loaded.name, loaded.pages[0].path) == ("app", "/a")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        pytest.param("mode: fast", "name: again", 6, "'name' is written twice", id="key-twice"),
        pytest.param("    marker: B", "    path: B", 10, "'path' is written twice", id="nested-key-twice"),
        pytest.param("marker: A}", "path: A}", 8, "'path' is written twice", id="inline-key-twice"),
        pytest.param("wait_s: 2", "wait_seconds: 2", 5, "wait_seconds: Extra inputs", id="unknown-key"),
        pytest.param("    marker: B", "    colour: B", 10, "pages.1.colour: Extra", id="nested-unknown-key"),
        pytest.param("enabled: true", 'enabled: "no"', 4, "enabled: Input should be a valid bool", id="no"),
        pytest.param("enabled: true", "enabled: 1", 4, "enabled: Input should be a valid bool", id="one"),
        pytest.param("wait_s: 2", 'wait_s: "2"', 5, "wait_s: Input should be a valid number", id="text"),
        pytest.param("wait_s: 2", "wait_s: on", 5, "wait_s: Input should be a valid number", id="on"),
        pytest.param("mode: fast", "mode: faster", 6, "mode: Input should be 'slow' or 'fast'", id="choice"),
        pytest.param("review: 2025-02-09", "review: 2025-13-09", 3, "month must be in 1..12", id="date"),
        pytest.param("name: app", "nmae: app", 2, "name: Field required", id="missing-at-the-top"),
        pytest.param("    marker: B → ✅\n", "", 9, "pages.1.marker: Field required", id="missing-below"),
        pytest.param("pages:\n", "pages: 3\nothers:\n", 7, "pages: Input should be a valid", id="not-a-list"),
        pytest.param("wait_s: 2", "wait_s: [2", 6, "not readable as YAML", id="not-yaml"),
        pytest.param("wait_s: 2", "wait_s: a: b", 5, "not readable as YAML", id="two-colons"),
        pytest.param("wait_s: 2", "wait_s: !!python/tuple [2]", 5, "could not determine", id="unsafe-tag"),
        pytest.param("wait_s: 2", "wait_s: !secret 2", 5, "could not determine", id="unknown-tag"),
        pytest.param("wait_s: 2", "wait_s: *other", 5, "undefined alias", id="unknown-alias"),
        pytest.param("wait_s: 2", "wait_s: &loop [*loop]", 5, "contains itself", id="loop"),
        pytest.param("wait_s: 2", "no: 2", 5, "'no' is not a plain name", id="key-read-as-false"),
        pytest.param("wait_s: 2", "? [a, b]\n: 2", 5, "this key is not a plain name", id="key-is-a-list"),
        pytest.param("wait_s: 2", "wait_s: \x07", 5, "not allowed", id="control-character"),
        pytest.param("mode: fast", "---\nmode: fast", 6, "another document", id="two-documents"),
    ],
)
def test_wrong_file_is_refused_at_its_line(settings: Path, old: str, new: str, line: int, words: str) -> None:
    """A wrong file is refused with its path, the line to correct and what is wrong there."""
    assert GOOD.count(old) == 1
    said = refused(settings, GOOD.replace(old, new))
    assert f"{settings}, line {line}: " in said
    assert words in said


def test_several_faults_are_all_listed(settings: Path) -> None:
    """Everything wrong is said at once, each with its own line."""
    said = refused(settings, GOOD.replace("wait_s: 2", "wait_s: two").replace("mode: fast", "mode: faster"))
    assert f"{settings}, line 5: wait_s" in said
    assert f"{settings}, line 6: mode" in said


def test_file_in_another_encoding_is_refused_at_its_line(settings: Path) -> None:
    """Latin-1 text is refused where it begins instead of being guessed."""
    said = refused(settings, GOOD.replace("B → ✅", "Bücher").encode("latin-1"))
    assert f"{settings}, line 10: " in said
    assert "UTF-8" in said


@pytest.mark.parametrize("content", ["", "# nothing\n", "- a\n- b\n", "just text\n"])
def test_file_without_names_at_the_top_is_refused(settings: Path, content: str) -> None:
    """An empty file, a list or a text is not a set of parameters."""
    said = refused(settings, content)
    assert said.startswith(f"{settings}: expected a mapping")


def test_missing_file_is_refused_and_not_created(settings: Path) -> None:
    """A missing file is named, the way out is given, and nothing is written."""
    with pytest.raises(BadParameters, match="ROLLBACK_HOME") as caught:
        load_model(settings, Settings)
    assert str(settings) in caught.value.happened
    assert "No such file" in caught.value.happened
    assert not settings.exists()


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """A folder of that name is refused like a missing file."""
    with pytest.raises(BadParameters, match="cannot be read"):
        load_model(tmp_path, Settings)


def test_refused_value_is_not_repeated(settings: Path) -> None:
    """The message never shows the value itself: it may be a token put in the wrong place."""
    said = refused(settings, GOOD.replace("wait_s: 2", "wait_s: tok-very-secret"))
    assert "wait_s" in said
    assert "tok-very-secret" not in said


def test_problems_name_the_place_with_dots() -> None:
    """A refused value is described as place and sentence."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate_json('{"name": "app", "pages": [{"path": 1, "marker": "A"}]}')
    assert problems(caught.value) == [(("pages", 0, "path"), "pages.0.path: Input should be a valid string")]


def test_line_of_gives_a_block_the_line_of_its_key(settings: Path) -> None:
    """A nested block is looked for at its key, an unknown place at the deepest part that exists."""
    settings.write_text(GOOD, encoding="utf-8")
    tree, node = load_tree(settings)
    assert tree["pages"][1] == {"path": "/b", "marker": "B → ✅"}
    places: list[tuple[tuple[str | int, ...], int]] = [
        ((), 2),
        (("pages",), 7),
        (("pages", 0, "marker"), 8),
        (("pages", 1, "marker"), 10),
        (("pages", 1, "missing"), 9),
        (("pages", 7), 7),
    ]
    assert [(loc, line_of(node, loc)) for loc, _ in places] == places


def test_anchor_is_read_at_each_place_it_is_used(settings: Path) -> None:
    """A value may be written once and used twice: only one that contains itself is refused."""
    settings.write_text("name: app\npages: [&a {path: /a, marker: A}, *a]\n", encoding="utf-8")
    assert load_model(settings, Settings).pages == (Page(path="/a", marker="A"),) * 2
