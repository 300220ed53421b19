"""Seeded mistakes: each is caught by the test that says it would, which passes without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant
from repository import ROOT

TESTS_FAILED = 1  # pytest's exit code; a test that cannot be collected ends with another


def pytest_with(library: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests against a copy of the library."""
    words = [
        "-m",
        "pytest",
        "-x",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    return subprocess.run(
        [sys.executable, *words, *(str(ROOT / test) for test in tests)],
        cwd=library,
        env={**os.environ, "PYTHONPATH": str(library)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Give a folder with a copy of the library in it."""
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "rollback_lib", tmp_path / "rollback_lib", ignore=skipped)
    return tmp_path


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_caught(mutant: Mutant, library: Path) -> None:
    """One mistake in one place: the named test fails, and not because it could not be run."""
    place = library / "rollback_lib" / mutant.file
    text = place.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: the mistake has no place any more"
    place.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    done = pytest_with(library, mutant.caught_by)
    assert done.returncode == TESTS_FAILED, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    for trouble in ("SyntaxError", "NameError", "ImportError"):
        assert trouble not in done.stdout  # the mistake was made, and not another one


def test_what_catches_them_passes_without_a_mistake(library: Path) -> None:
    """It is the mistake that fails the test; and it is the copy that is tested."""
    done = pytest_with(library, *dict.fromkeys(mutant.caught_by for mutant in MUTANTS))
    assert done.returncode == 0, done.stdout + done.stderr
    (library / "rollback_lib" / "journal" / "book.py").write_text("broken on purpose", encoding="utf-8")
    assert pytest_with(library, MUTANTS[0].caught_by).returncode not in (0, TESTS_FAILED)


def test_there_are_as_many_as_it_takes() -> None:
    """A dozen at least, each of its own name."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
