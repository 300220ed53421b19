"""The archive finds every run, and shows what it cannot read instead of hiding it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from journals import RUN, FakeClock, Story, chained_anew, hashed_anew, whole_story

from rollback_lib.errors import BadParameters
from rollback_lib.evidence.archive import BLOCK_BYTES, Archive, lines_backwards, read_run_folder
from rollback_lib.journal import FILE_NAME, GENESIS, Line, read_journal
from rollback_lib.model import Outcome, RunId


def story_of(root: Path, run: str, *, incident: str = "INC-1", hours: float = 0) -> Story:
    """Begin a run some hours after the first one."""
    clock = FakeClock()
    clock.sleep(hours * 3600)
    return Story(root / incident / run, run=run, incident=incident, clock=clock)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an archive of a closed run, a refused one and one that was cut off, in two incidents; only to be copied."""
    root = tmp_path_factory.mktemp("archive")
    whole = story_of(root, "P1-a-1111")
    whole.opened().check("P1.C2").closed()
    story_of(root, "P1-a-2222", hours=1).opened().provisional("refused")
    story_of(root, "P1-b-3333", incident="INC-2", hours=2).opened(environment="production").effect("cut off")
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """Give an archive of the test's own."""
    return Path(shutil.copytree(written, tmp_path / "incidents"))


def names(runs: tuple[object, ...]) -> list[str]:
    """Name runs by their ids."""
    return [run.run for run in runs]  # type: ignore[attr-defined]


def test_runs_are_listed_newest_first(root: Path) -> None:
    """Every run is there with what it is and how it stands."""
    runs = Archive(root).runs()
    assert names(runs) == ["P1-b-3333", "P1-a-2222", "P1-a-1111"]
    assert [(r.is_closed, r.outcome) for r in runs] == [
        (False, Outcome.UNKNOWN),
        (False, Outcome.REFUSED),
        (True, Outcome.VERIFIED),
    ]
    last = runs[2]
    assert (last.folder, last.incident, last.procedure, last.environment) == (
        root / "INC-1" / "P1-a-1111",
        "INC-1",
        1,
        "drill",
    )
    assert (last.severity, last.operator, last.title) == ("P1", "Ana Operator", "Vercel Deployment Rollback")
    assert last.started_at == datetime(2026, 11, 23, 21, 58, tzinfo=UTC)
    assert str(last) == "INC-1/P1-a-1111 (closed, verified)"


def test_archive_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Before the first run there is nothing to list, and listing makes no folder."""
    assert Archive(tmp_path / "incidents").runs() == ()
    assert not (tmp_path / "incidents").exists()


def test_archive_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A wrong address is said to be wrong."""
    (tmp_path / "incidents").write_text("")
    with pytest.raises(BadParameters, match="cannot be listed"):
        Archive(tmp_path / "incidents").runs()


def test_open_runs_are_those_of_procedure_and_environment(root: Path) -> None:
    """Only what is not closed, of this procedure, in this environment, and readable."""
    (root / "INC-1" / "P1-broken").mkdir()
    archive = Archive(root)
    assert names(archive.open_runs(1, "drill")) == ["P1-a-2222"]
    assert names(archive.open_runs(1, "production")) == ["P1-b-3333"]
    assert archive.open_runs(2, "drill") == ()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"", "its first line is missing"),
        (b'{"at"', "its first line is missing"),
        (b"\n", "journal.jsonl: "),
        (b"not json\n", "journal.jsonl: "),
        (b"\xff\n", "journal.jsonl: "),
    ],
    ids=["no journal", "empty", "torn first line", "empty line", "not JSON", "not text"],
)
def test_broken_folder_is_listed_with_the_reason(root: Path, raw: bytes | None, reason: str) -> None:
    """A folder that is no run stays in sight, unknown and named by its folder, and hides none of the others."""
    folder = root / "INC-9" / "P1-broken"
    folder.mkdir(parents=True)
    if raw is not None:
        (folder / FILE_NAME).write_bytes(raw)
    runs = Archive(root).runs()
    assert len(runs) == 4
    broken = next(run for run in runs if run.run == "P1-broken")
    assert reason in broken.broken
    assert (broken.incident, broken.outcome, broken.is_closed, broken.folder) == (
        "INC-9",
        Outcome.UNKNOWN,
        False,
        folder,
    )
    assert str(broken).startswith("INC-9/P1-broken (broken: ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"procedure":1', b'"procedure":2'),
        (b'"outcome":"verified"', b'"outcome":"refused"'),
        (b'"run.opened"', b'"run.opening"'),
    ],
    ids=["first line", "last line", "other beginning"],
)
def test_changed_first_or_last_line_makes_a_run_broken(root: Path, old: bytes, new: bytes) -> None:
    """What the listing is told from is held against its hash."""
    path = root / "INC-1" / "P1-a-1111" / FILE_NAME
    path.write_bytes(path.read_bytes().replace(old, new))
    assert "hash does not fit" in read_run_folder(path.parent).broken


def test_journal_that_begins_otherwise_makes_a_run_broken(root: Path) -> None:
    """A journal whose first line is no opening is not listed as a run, though the line holds."""
    path = root / "INC-1" / "P1-a-1111" / FILE_NAME
    first, *rest = read_journal(path).lines
    path.write_bytes(chained_anew([replace(first, event="run.opening"), *rest]))
    assert "it begins with run.opening, not with run.opened" in read_run_folder(path.parent).broken


def test_outcome_that_is_none_makes_a_run_broken(root: Path) -> None:
    """A word that nobody knows is not listed as an outcome."""
    story = story_of(root, "P1-x")
    story.opened().closed("splendid")
    assert "splendid" in read_run_folder(story.folder).broken


def test_torn_end_does_not_break_a_run(root: Path) -> None:
    """A run that is being written, or was cut off while writing, is listed as it stands."""
    path = root / "INC-1" / "P1-a-1111" / FILE_NAME
    with path.open("ab") as file:
        file.write(b'{"at":"2026')
    assert (read_run_folder(path.parent).outcome, read_run_folder(path.parent).broken) == (
        Outcome.VERIFIED,
        "",
    )


def test_hidden_folders_and_loose_files_are_no_runs(root: Path) -> None:
    """What an editor or a system leaves in the archive is not listed."""
    (root / "README").write_text("")
    (root / "INC-1" / "notes.txt").write_text("")
    (root / ".ipynb_checkpoints").mkdir()
    (root / "INC-1" / ".ipynb_checkpoints").mkdir()
    assert len(Archive(root).runs()) == 3


def test_run_put_one_level_up_is_listed_as_one_run(root: Path) -> None:
    """A run's folder that was copied to the wrong place is a run, and its attachments are not."""
    (root / "INC-1" / "P1-a-1111").rename(root / "P1-a-1111")
    (root / "P1-a-1111" / "attachments").mkdir()
    runs = Archive(root).runs()
    assert names(runs) == ["P1-b-3333", "P1-a-2222", "P1-a-1111"]
    assert runs[2].incident == "INC-1"


@pytest.mark.parametrize(
    ("name", "found"),
    [("P1-a-1111", "P1-a-1111"), ("P1-b", "P1-b-3333"), ("INC-1/P1-a-2222", "P1-a-2222")],
    ids=["whole id", "unique beginning", "incident and run"],
)
def test_run_is_found_by_name(root: Path, name: str, found: str) -> None:
    """A whole id, a unique beginning of it, or incident/run name a run."""
    assert Archive(root).find(name).run == found


def test_run_is_found_by_path_wherever_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a run's folder names it too, also outside the archive, also a relative one."""
    moved = (root / "INC-2" / "P1-b-3333").rename(tmp_path / "copy")
    assert Archive(root).find(str(moved)).run == "P1-b-3333"
    monkeypatch.chdir(tmp_path)
    assert Archive(root).find("copy").folder == moved


def test_whole_id_wins_over_longer_ones(root: Path) -> None:
    """An id that is the beginning of another still names its own run."""
    story_of(root, "P1-a").opened()
    assert Archive(root).find("P1-a").run == "P1-a"


@pytest.mark.parametrize(
    ("name", "said"),
    [("P1-a", "2 runs fit"), ("P9", "no run is named"), ("", "no run is named")],
    ids=["several", "none", "empty"],
)
def test_name_that_fits_none_or_several_lists_candidates(root: Path, name: str, said: str) -> None:
    """The error names what could have been meant."""
    with pytest.raises(BadParameters, match=said) as caught:
        Archive(root).find(name)
    assert "INC-1/P1-a-2222 (open, refused)" in caught.value.happened


def test_broken_run_is_found(root: Path) -> None:
    """A broken run can be named, so that it can be looked at."""
    (root / "INC-1" / "P1-broken").mkdir()
    assert Archive(root).find("P1-broken").broken


def test_record_is_seen(root: Path) -> None:
    """The listing says whether a record was written."""
    assert not Archive(root).find("P1-a-1111").has_record
    (root / "INC-1" / "P1-a-1111" / "record.json").write_text("{}")
    assert Archive(root).find("P1-a-1111").has_record


def test_lines_are_read_backwards_across_blocks(tmp_path: Path) -> None:
    """Lines longer and shorter than a block come out whole, newest first, whatever the block's edges cut."""
    sizes = [10, BLOCK_BYTES * 2, 5, BLOCK_BYTES - 300, *[40] * 2000, BLOCK_BYTES, 1]
    lines = [
        hashed_anew(
            Line(
                n,
                "2026-11-23T21:58:00.000Z",
                RunId(RUN),
                "note",
                None,
                "Ana",
                {"text": "é" * (size // 6)},
                GENESIS,
                "",
            )
        )
        for n, size in enumerate(sizes, start=1)
    ]
    path = tmp_path / FILE_NAME
    path.write_bytes(b"".join(line.text().encode() + b"\n" for line in lines) + b'{"torn' * BLOCK_BYTES)
    assert list(lines_backwards(path)) == lines[::-1]


def test_listing_reads_only_the_ends_of_a_journal(tmp_path: Path) -> None:
    """What lies between the first and the last lines is not read: a long journal costs no more than a short one."""
    whole_story(tmp_path / RUN).journal.release()
    path = tmp_path / RUN / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"damaged\n" * BLOCK_BYTES, *lines[-5:]]))
    assert read_run_folder(tmp_path / RUN).outcome is Outcome.VERIFIED
