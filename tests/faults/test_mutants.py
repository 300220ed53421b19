"""Is anybody looking? The library is made to do wrong, one mistake at a time, and the judge or a test has to notice.

- Each mistake is made in a copy; this library stays as it is.
- The same look at an unchanged copy finds nothing: what is noticed is the mistake.
- A mistake whose text is not there any more, or stands twice, fails: the table must not rot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from mutants import MUTANTS, Mutant
from repository import PACKAGE, ROOT
from scenes import SCENES

HERE = Path(__file__).resolve().parent
TESTS_FAILED = 1  # pytest's exit code for failed tests; anything higher is a mistake in the asking
LONGEST_S = 120.0


@dataclass(frozen=True)
class Copied:
    """A copy of the library, to be looked at instead of this one."""

    folder: Path

    def look(self, mutant: Mutant) -> Any:
        """Look as the mutant's row says: the judge's words for a scene, the exit code of a test."""
        if mutant.scene:
            done = self._python(str(HERE / "playing.py"), mutant.scene)
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            assert Path(found["library"]).is_relative_to(self.folder)
            return found
        # Not from the current folder, where this library is: -P keeps that off the path.
        done = self._python("-P", "-m", "pytest", "-p", "no:cacheprovider", "-x", mutant.test)
        assert done.returncode <= TESTS_FAILED, done.stdout + done.stderr
        for trouble in ("SyntaxError", "NameError", "ImportError"):
            assert trouble not in done.stdout  # the mistake was made, and not another one
        return {"exit": done.returncode}

    def _python(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONHASHSEED": "0"}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading plugins takes longer than the test
        return subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that all processes of this run of pytest share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session")
def unchanged(shared: Path) -> Copied:
    """Give an unchanged copy, one for all processes."""
    folder = shared / "unchanged"
    with FileLock(shared / "unchanged.lock"):
        if not folder.exists():
            shutil.copytree(PACKAGE, folder / PACKAGE.name)
    return Copied(folder)


@pytest.fixture
def healthy(shared: Path, unchanged: Copied):
    """Look at the unchanged copy, once for all rows that look alike."""

    def look(mutant: Mutant) -> Any:
        name = "".join(sign if sign.isalnum() else "-" for sign in mutant.scene or mutant.test)
        kept = shared / f"healthy-{name}.json"
        with FileLock(kept.with_suffix(".lock")):
            if not kept.exists():
                kept.write_text(json.dumps(unchanged.look(mutant)))
        return json.loads(kept.read_text())

    return look


def rows() -> list[Any]:
    """Give the table; what is not quick is left to the torture."""
    return [
        pytest.param(mutant, id=mutant.name, marks=() if mutant.is_quick else pytest.mark.torture)
        for mutant in MUTANTS
    ]


@pytest.mark.parametrize("mutant", rows())
def test_mistake_is_noticed(mutant: Mutant, unchanged: Copied, healthy, tmp_path: Path):
    """The copy with the mistake is found out, and the one without is not."""
    mistaken = Copied(tmp_path / "mistaken")
    shutil.copytree(unchanged.folder, mistaken.folder)
    make_mistake(mutant, mistaken.folder / PACKAGE.name)
    was, found = healthy(mutant), mistaken.look(mutant)
    if mutant.test:
        assert (was["exit"], found["exit"]) == (0, TESTS_FAILED)
        return
    assert (was["outcome"], was["broken"]) == (SCENES[mutant.scene].outcome, []), was["verdict"]
    assert mutant.broken <= set(found["broken"]), found["verdict"]
    assert found["broken"] or found["outcome"] != was["outcome"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_table_fits_the_sources(mutant: Mutant):
    """Each old text stands once in its file, the new one is Python, and the row says who notices."""
    source = (PACKAGE / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
    assert bool(mutant.scene) != bool(mutant.test)
    assert not mutant.scene or mutant.scene in SCENES


def test_names_are_told_apart():
    """A row is called by its name."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def make_mistake(mutant: Mutant, package: Path) -> None:
    """Replace the one piece of text; what was compiled of the file before does not count any more."""
    place = package / mutant.file
    source = place.read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    place.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    for compiled in (place.parent / "__pycache__").glob(f"{place.stem}.*.pyc"):
        compiled.unlink()
