"""Which command line pushes a commit: its own wherever it serves, else the pinned one, and never one by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollback_lib.errors import BadParameters
from rollback_lib.providers import command_line as module
from rollback_lib.providers.checkout import Checkout
from rollback_lib.providers.command_line import OLDEST, PINNED, command_line, is_too_old

SHA = "a" * 40


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let the pinned one be installed at once; give what was asked to be installed."""
    asked: list[Path] = []

    def installing(project: Path, cache: Path) -> Path:
        asked.append(project)
        place(cache, "1.48.0")
        return cache / "node_modules"

    monkeypatch.setattr(module, "installed", installing)
    return asked


def place(folder: Path, version: str | None, program: str = "") -> None:
    """Put a package of convex into a project's packages."""
    package = folder / "node_modules" / "convex"
    (package / "bin").mkdir(parents=True)
    if version is not None:
        (package / "package.json").write_text(json.dumps({"version": version}))
    (package / "bin" / "main.js").write_text(program)


def commit(folder: Path, version: str | None = "1.48.0", **manifest: Any) -> Checkout:
    """Make a checkout whose packages hold this version; None: they hold none."""
    (folder / "app").mkdir(parents=True)
    named = manifest or {"dependencies": {"convex": "^1.0.0"}}
    (folder / "app" / "package.json").write_text(json.dumps(named))
    if version is not None:
        place(folder / "app", version or None)
    return Checkout(folder, SHA)


@pytest.mark.parametrize("version", ["1.36.0", "1.48.0", "2.0.0", "", "nightly"])
def test_commit_is_pushed_by_its_own(tmp_path, pinned, version):
    """Also by one that does not say its version: it is then tried, and refuses what it does not know."""
    found = command_line(commit(tmp_path / "c", version), "app", tmp_path / "cache")
    assert found.program == tmp_path / "c" / "app" / "node_modules" / "convex" / "bin" / "main.js"
    assert (found.version, found.instead, pinned) == (version, "", [])


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("1.35.9", f"the command line of {SHA[:12]}, convex 1.35.9, cannot say which commit a push is"),
        (None, f"the packages of {SHA[:12]} hold no command line of Convex"),
    ],
)
@pytest.mark.parametrize("kind", ["dependencies", "devDependencies"])
def test_commit_whose_own_does_not_serve_is_pushed_by_the_pinned_one(tmp_path, pinned, version, why, kind):
    """And it is said why, and by which."""
    made = commit(tmp_path / "c", version, **{kind: {"convex": "^1.0.0"}})
    found = command_line(made, "app", tmp_path / "cache")
    assert pinned == [PINNED]
    assert found.program == tmp_path / "cache" / "node_modules" / "convex" / "bin" / "main.js"
    assert (
        found.instead
        == f"{why}: convex 1.48.0 pushes it, which is pinned here, with the commit's own library"
    )
    assert found.version == "1.48.0"


def test_commit_that_does_not_name_convex_is_pushed_by_none(tmp_path, pinned):
    """Its code could not be put together."""
    with pytest.raises(BadParameters, match="has no convex among its packages"):
        command_line(
            commit(tmp_path / "c", None, dependencies={"react": "19.0.0"}), "app", tmp_path / "cache"
        )
    assert pinned == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"dependencies": ["convex"]}'])
def test_manifest_that_cannot_be_read_names_nothing(tmp_path, pinned, text):
    """It is told as that, and nothing is installed."""
    made = commit(tmp_path / "c", None)
    (made.folder / "app" / "package.json").write_text(text)
    with pytest.raises(BadParameters, match="has no convex"):
        command_line(made, "app", tmp_path / "cache")
    assert pinned == []


def test_pinned_one_is_an_exact_version_that_serves():
    """With hashes and without addresses; see the lock's own test for those."""
    wanted = json.loads((PINNED / "package.json").read_text())["dependencies"]
    locked = json.loads((PINNED / "package-lock.json").read_text())["packages"]["node_modules/convex"][
        "version"
    ]
    assert wanted == {"convex": locked}
    assert not is_too_old(locked)
    assert is_too_old(f"{OLDEST[0]}.{OLDEST[1] - 1}.99")
