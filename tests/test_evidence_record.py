"""A record verifies, or says which file does not hold; and it is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import RUN, FakeClock, Story, chained_anew, whole_story

from rollback_lib.errors import BadParameters, JournalError
from rollback_lib.evidence.record import attach_notebook, record_digest, seal_run, verify_record, write_record
from rollback_lib.evidence.report import render_report
from rollback_lib.evidence.verification import Problem, Verification
from rollback_lib.journal import FILE_NAME, Line, read_journal

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a closed run with a sealed record, a report and an attachment; only to be copied."""
    story = whole_story(tmp_path_factory.mktemp("sealed") / RUN)
    seal(story, provisional=False)
    story.journal.release()
    return story.folder


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    """Give a sealed run's folder of the test's own."""
    return Path(shutil.copytree(sealed, tmp_path / "INC-1" / RUN))


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Story]:
    """Give a run that waits for an approval, with its provisional record."""
    story = Story(tmp_path / "INC-1" / RUN).opened().gate_shown().gate_refused().provisional("refused")
    seal(story, provisional=True)
    yield story
    story.journal.release()


def seal(story: Story, *, provisional: bool) -> Path:
    """Write an attachment, the report and the record."""
    (story.folder / "attachments").mkdir(exist_ok=True)
    (story.folder / "attachments" / "sentry.json").write_text('{"issues": []}')
    render_report(story.folder)
    return write_record(story.folder, provisional=provisional, clock=FakeClock())


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit record.json as a careful forger would: spelled as the original is."""
    path = folder / "record.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


def files_of(verification: Verification) -> set[str]:
    """Name the files that do not hold."""
    return {problem.file for problem in verification.problems}


def notebook(
    folder: Path, text: str = f"run {RUN}, operator Ana Operator", name: str = "executed.ipynb"
) -> Path:
    """Write an executed notebook beside the archive."""
    outputs = [{"output_type": "stream", "name": "stdout", "text": ["Procedure 1\n", text]}]
    cells = [
        {"cell_type": "code", "id": "open", "source": [], "outputs": outputs},
        {"cell_type": "markdown", "source": []},
    ]
    path = folder.parent.parent / name
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}))
    return path


# -- writing


def test_record_tells_run_journal_and_files(folder: Path) -> None:
    """The record has the run's facts, its ending, the journal's head and the digest of every other file."""
    record = json.loads((folder / "record.json").read_text())
    reading = read_journal(folder / FILE_NAME)
    assert (record["version"], record["provisional"], record["run"]["run"]) == (1, False, RUN)
    assert (record["outcome"]["outcome"], record["outcome"]["why"]) == (
        "verified",
        "every required check passed",
    )
    assert record["journal"] == {"lines": len(reading.lines), "head": reading.head}
    assert record["sealed_at"] == "2026-11-23T21:58:00.000Z"
    assert [file["path"] for file in record["files"]] == [
        "attachments/sentry.json",
        "journal.jsonl",
        "report.html",
    ]
    for file in record["files"]:
        raw = (folder / file["path"]).read_bytes()
        assert (file["sha256"], file["size"]) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert len(record["steps"]) == 6
    assert record["effects"][0]["attempts"][0]["status"] == 201
    assert not list(folder.glob(".*.part"))


def test_writing_the_record_leaves_the_journal_alone(waiting: Story) -> None:
    """Sealing adds no line, and the run goes on afterwards in the same journal."""
    before = waiting.journal.path.read_bytes()
    write_record(waiting.folder, provisional=True)
    assert waiting.journal.path.read_bytes() == before
    waiting.gate_opened()
    assert read_journal(waiting.journal.path).defect is None


def test_sealing_again_changes_nothing(folder: Path) -> None:
    """A sealed record stays as it is, to the byte, also at a later time."""
    before = (folder / "record.json").read_bytes()
    later = FakeClock()
    later.sleep(3600)
    write_record(folder, provisional=False, clock=later)
    assert (folder / "record.json").read_bytes() == before


def test_sealed_record_is_not_written_over_when_the_journal_went_on(folder: Path) -> None:
    """A line after the seal does not get the record changed; it is an error to look into."""
    before = (folder / "record.json").read_bytes()
    lines = [*read_journal(folder / FILE_NAME).lines]
    (folder / FILE_NAME).write_bytes(chained_anew([*lines, replace(lines[-2], event="note")]))
    with pytest.raises(JournalError, match="sealed already"):
        write_record(folder, provisional=False)
    assert (folder / "record.json").read_bytes() == before


def test_record_that_cannot_be_read_is_not_written_over(folder: Path) -> None:
    """What may be evidence of something is not destroyed by sealing again."""
    (folder / "record.json").write_text("{")
    with pytest.raises(JournalError, match="not readable as JSON"):
        write_record(folder, provisional=False)
    assert (folder / "record.json").read_text() == "{"


def test_provisional_must_agree_with_the_journal(folder: Path, tmp_path: Path) -> None:
    """A closed run is never sealed provisionally, and an open one never for good."""
    with pytest.raises(ValueError, match="closed=True"):
        write_record(folder, provisional=True)
    open_run = Story(tmp_path / "INC-2" / RUN).opened().provisional("failed")
    with pytest.raises(ValueError, match="closed=False"):
        write_record(open_run.folder, provisional=False)
    assert not (open_run.folder / "record.json").exists()


def test_provisional_record_is_replaced_when_the_run_goes_on(waiting: Story) -> None:
    """Each stop of the run has its record; the last one is sealed."""
    waiting.gate_opened().effect("accepted").check("P1.C2").closed()
    seal(waiting, provisional=False)
    record = json.loads((waiting.folder / "record.json").read_text())
    assert (record["provisional"], record["outcome"]["outcome"]) == (False, "verified")
    assert verify_record(waiting.folder).ok


def test_damaged_journal_is_not_sealed(waiting: Story) -> None:
    """No record is written over a journal that does not hold; the earlier one stays."""
    before = (waiting.folder / "record.json").read_bytes()
    path = waiting.journal.path
    path.write_bytes(path.read_bytes().replace(b"derrimut-platform", b"derrimut-platfrom"))
    with pytest.raises(JournalError, match="line 2: its hash does not fit"):
        write_record(waiting.folder, provisional=True)
    assert (waiting.folder / "record.json").read_bytes() == before


def test_link_among_the_files_is_not_sealed(waiting: Story, tmp_path: Path) -> None:
    """A link is no evidence: what it points at may change."""
    (waiting.folder / "attachments" / "link.json").symlink_to(tmp_path)
    before = (waiting.folder / "record.json").read_bytes()
    with pytest.raises(JournalError, match=r"attachments/link\.json"):
        write_record(waiting.folder, provisional=True)
    assert (waiting.folder / "record.json").read_bytes() == before


def test_disk_full_keeps_the_earlier_record(waiting: Story) -> None:
    """A record that does not fit is an error in words; the earlier one is whole and no half file is left."""
    waiting.write("note", text="x" * 5000)
    waiting.provisional("refused")
    waiting.journal.release()
    before = (waiting.folder / "record.json").read_bytes()
    code = f"""
import resource
from pathlib import Path
from rollback_lib.errors import JournalError
from rollback_lib.evidence.record import write_record
from rollback_lib.evidence.report import render_report
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for work in (lambda f: write_record(f, provisional=True), render_report):
    try:
        work(Path({str(waiting.folder)!r}))
    except JournalError as exc:
        print("refused")
"""
    names = sorted(waiting.folder.iterdir())
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["refused", "refused"]
    assert (waiting.folder / "record.json").read_bytes() == before
    assert sorted(waiting.folder.iterdir()) == names


def test_half_a_file_of_a_killed_session_is_not_sealed_in(waiting: Story) -> None:
    """What an interrupted write left behind is not evidence; verifying names it."""
    (waiting.folder / ".report.html.part").write_text("<html>")
    write_record(waiting.folder, provisional=True)
    assert verify_record(waiting.folder).problems == (Problem(".report.html.part", "is not in the record"),)


def test_run_killed_without_a_word_is_recorded_as_unknown(tmp_path: Path) -> None:
    """A record can be written for a run that was cut off in its effect; it says unknown, and provisional."""
    story = Story(tmp_path / RUN).opened().effect("cut off")
    write_record(story.folder, provisional=True)
    verification = verify_record(story.folder)
    assert (verification.ok, verification.outcome, verification.provisional) == (True, "unknown", True)


def test_killed_run_is_sealed_as_its_journal_stands(tmp_path: Path) -> None:
    """Whoever seals a run afterwards gets its report and the record that the journal allows, open or closed."""
    story = Story(tmp_path / RUN).opened().effect("accepted").check("P1.C2")
    seal_run(story.folder, FakeClock())
    assert (verify_record(story.folder).ok, verify_record(story.folder).provisional) == (True, True)
    story.closed()
    seal_run(story.folder, FakeClock())
    sealed_record = (story.folder / "record.json").read_bytes()
    assert (verify_record(story.folder).ok, verify_record(story.folder).provisional) == (True, False)
    assert {path.name for path in story.folder.iterdir()} == {
        ".lock",
        "journal.jsonl",
        "record.json",
        "report.html",
    }
    seal_run(story.folder)
    assert (story.folder / "record.json").read_bytes() == sealed_record


# -- verifying


def test_sealed_record_verifies_anywhere(folder: Path, tmp_path: Path) -> None:
    """An untouched record verifies, also when it was copied somewhere else, and verifying writes nothing."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    verification = verify_record(copy)
    assert (verification.ok, verification.problems, verification.defect) == (True, (), None)
    assert (verification.run, verification.outcome, verification.notebook) == (
        RUN,
        "verified",
        "not attached",
    )
    assert (
        verification.record_sha256
        == record_digest(folder)
        == hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
    )
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert "verifies" in str(verification)


def test_every_changed_file_is_named(folder: Path) -> None:
    """A byte more, a byte other, a file less, a file more, a link instead: each is named with what is wrong."""
    (folder / "report.html").write_text((folder / "report.html").read_text().replace("Verified", "verified"))
    (folder / "attachments" / "sentry.json").unlink()
    (folder / "attachments" / "more.json").write_text("{}")
    (folder / "deeper" / "down").mkdir(parents=True)
    (folder / "deeper" / "down" / "file").write_text("")
    (folder / "linked").symlink_to(folder / "attachments")
    verification = verify_record(folder)
    assert not verification.ok
    assert dict(verification.problems) == {
        "report.html": "was changed: its sha256 is not the record's",
        "attachments/sentry.json": "is missing",
        "attachments/more.json": "is not in the record",
        "deeper/down/file": "is not in the record",
        "linked": "is not in the record",
    }


def test_file_replaced_by_a_link_to_its_like_is_named(folder: Path, tmp_path: Path) -> None:
    """The same bytes behind a link do not count."""
    shutil.copy(folder / "report.html", tmp_path / "report.html")
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(tmp_path / "report.html")
    assert verify_record(folder).problems == (Problem("report.html", "is not an ordinary file"),)


def test_longer_file_is_named_with_both_sizes(folder: Path) -> None:
    """A file of another size says both."""
    with (folder / "attachments" / "sentry.json").open("a") as file:
        file.write(" ")
    assert verify_record(folder).problems == (
        Problem("attachments/sentry.json", "was changed: has 15 bytes, the record says 14"),
    )


def test_changed_journal_line_is_named_by_its_number(folder: Path) -> None:
    """The first line that does not hold is found and named, and the outcome claimed is still told as claimed."""
    path = folder / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"P1.S2", b"P1.S9")
    path.write_bytes(b"".join(lines))
    verification = verify_record(folder)
    assert verification.defect is not None
    assert (verification.defect.line, verification.outcome) == (5, "verified")
    assert Problem(FILE_NAME, "line 5: its hash does not fit its content") in verification.problems
    assert files_of(verification) == {FILE_NAME}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda lines: [lines[0], replace(lines[1], data={"title": "Other"}), *lines[2:]], id="word"
        ),
        pytest.param(lambda lines: [lines[0], *lines[2:]], id="line left out"),
        pytest.param(lambda lines: [*lines[:3], lines[2], *lines[3:]], id="line put in"),
        pytest.param(
            lambda lines: [*lines[:-1], replace(lines[-1], data=lines[-1].data | {"why": "other"})],
            id="last line",
        ),
    ],
)
def test_journal_chained_anew_does_not_fit_the_record(
    folder: Path, change: Callable[[list[Line]], list[Line]]
) -> None:
    """A forged journal that holds by itself is caught by the head in the record."""
    (folder / FILE_NAME).write_bytes(chained_anew(change(list(read_journal(folder / FILE_NAME).lines))))
    assert read_journal(folder / FILE_NAME).defect is None
    verification = verify_record(folder)
    assert FILE_NAME in files_of(verification)
    assert any("the record was written from" in problem.reason for problem in verification.problems)


def test_torn_end_is_named(folder: Path) -> None:
    """Half a line at the end is told with its length."""
    with (folder / FILE_NAME).open("ab") as file:
        file.write(b'{"at"')
    verification = verify_record(folder)
    assert verification.torn_bytes == 5
    assert Problem(FILE_NAME, "ends in 5 bytes of a line that was never completed") in verification.problems


def test_record_of_a_run_that_went_on_does_not_verify(waiting: Story) -> None:
    """A provisional record is told from one that covers the whole run."""
    assert verify_record(waiting.folder).ok
    waiting.gate_opened()
    verification = verify_record(waiting.folder)
    assert (
        Problem("record.json", "covers 6 lines, the journal has 8: the run went on after it")
        in verification.problems
    )


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every plain value in a JSON value, and of every empty list or mapping."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for key, item in inside:
        empty = False
        yield from leaves(item, (*place, key))
    if empty:
        yield place


def other(value: Any) -> Any:
    """Give a value that is close to another but is not it."""
    if isinstance(value, bool):
        return int(value)  # 1 is not true
    if isinstance(value, int):
        return float(value)  # 1.0 is not 1
    return {"": " ", None: ""}.get(value, f"{value}.") if isinstance(value, str | None) else "changed"


def test_every_value_of_the_record_is_held_against_the_evidence(folder: Path) -> None:
    """Whatever single value of record.json is edited, but for the instant of sealing, verifying says so."""
    original = json.loads((folder / "record.json").read_text())
    places = [place for place in leaves(original) if place != ("sealed_at",)]
    assert len(places) > 150
    for place in places:
        content = json.loads(json.dumps(original))
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = other(inner[place[-1]])
        (folder / "record.json").write_text(json.dumps(content, indent=2) + "\n")
        assert not verify_record(folder).ok, place


def test_every_field_of_the_record_is_needed(folder: Path) -> None:
    """A field left out is a fault, also the instant of sealing; so is one put in."""
    original = json.loads((folder / "record.json").read_text())
    for name in original:
        content = {key: value for key, value in original.items() if key != name}
        (folder / "record.json").write_text(json.dumps(content, indent=2) + "\n")
        assert not verify_record(folder).ok, name
    (folder / "record.json").write_text(json.dumps(original | {"signature": "x"}, indent=2) + "\n")
    assert verify_record(folder).problems == (
        Problem("record.json", 'signature says "x", the journal says nothing'),
    )


def test_field_put_into_any_part_of_the_record_is_caught(folder: Path) -> None:
    """No mapping in the record, at any depth, takes a field more than it was written with."""
    original = json.loads((folder / "record.json").read_text())
    for place in {leaf[:depth] for leaf in leaves(original) for depth in range(len(leaf))}:
        content = json.loads(json.dumps(original))
        inner = content
        for key in place:
            inner = inner[key]
        if isinstance(inner, dict):
            inner["more"] = 1
            (folder / "record.json").write_text(json.dumps(content, indent=2) + "\n")
            assert not verify_record(folder).ok, place


@pytest.mark.parametrize(
    "change", [lambda files: files.reverse(), lambda files: files.append(files[-1])], ids=["order", "twice"]
)
def test_list_of_files_told_otherwise_is_caught(folder: Path, change: Callable[[list[Any]], None]) -> None:
    """The files stand in the record in their order and once; another telling of the same is not the record's."""
    edit(folder, lambda record: change(record["files"]))
    assert verify_record(folder).problems == (Problem("record.json", "its list of files is not one"),)


def test_journal_nested_beyond_telling_is_named(folder: Path) -> None:
    """A forged journal that nests deeper than can be told is a fault like others."""
    nested: Any = {}
    for _ in range(600):
        nested = {"a": nested}
    first, *rest = read_journal(folder / FILE_NAME).lines
    body = json.loads(first.text())
    body["data"]["parameters"] = nested
    forged = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    lines = [forged, *(line.text().encode() for line in rest), b""]
    (folder / FILE_NAME).write_bytes(b"\n".join(lines))
    reasons = [problem.reason for problem in verify_record(folder).problems]
    assert any("line 1" in reason and "nested too deeply" in reason for reason in reasons), reasons


def test_outcome_edited_to_verified_is_caught(waiting: Story) -> None:
    """The outcome comes from the journal: a record that claims a better one is found out, and both are told."""
    edit(waiting.folder, lambda record: record["outcome"].update(outcome="verified"))
    verification = verify_record(waiting.folder)
    assert verification.outcome == "verified"
    assert verification.problems == (
        Problem("record.json", 'outcome.outcome says "verified", the journal says "refused"'),
    )


def test_verified_with_a_required_check_not_passed_is_caught(tmp_path: Path) -> None:
    """Even a journal that says verified itself does not verify while a required check did not pass."""
    story = (
        Story(tmp_path / RUN)
        .opened()
        .check("P1.C2")
        .check("P1.C3", "unknown")
        .check("P1.C9", "failed", required=False)
        .closed()
    )
    write_record(story.folder, provisional=False)
    assert verify_record(story.folder).problems == (
        Problem(FILE_NAME, "the outcome is verified, but P1.C3 is unknown"),
    )


def test_verified_beside_a_skipped_step_is_caught(tmp_path: Path) -> None:
    """What was left out cannot be verified, whatever the checks say."""
    story = Story(tmp_path / RUN).opened().check("P1.C2")
    story.write("step.skipped", "P1.S5", reason="in a hurry")
    story.closed()
    write_record(story.folder, provisional=False)
    assert verify_record(story.folder).problems == (
        Problem(FILE_NAME, "the outcome is verified, but P1.S5 was skipped"),
    )


def test_verified_without_any_check_is_caught(tmp_path: Path) -> None:
    """Nothing checked is not verified."""
    story = Story(tmp_path / RUN).opened().closed()
    write_record(story.folder, provisional=False)
    assert verify_record(story.folder).problems == (
        Problem(FILE_NAME, "the outcome is verified, but nothing was checked"),
    )


def test_outcome_other_than_announced_is_caught(tmp_path: Path) -> None:
    """What the closing line announced, and was told to a witness, is what the run must be closed as."""
    story = Story(tmp_path / RUN).opened().check("P1.C2")
    story.write("run.closing", outcome="failed")
    story.closed("verified")
    write_record(story.folder, provisional=False)
    assert verify_record(story.folder).problems == (
        Problem(FILE_NAME, "line 3 announced the outcome failed, the run was closed as verified"),
    )


def test_outcome_that_is_no_outcome_is_caught(tmp_path: Path) -> None:
    """A word that nobody knows is not taken for an outcome."""
    story = Story(tmp_path / RUN).opened().check("P1.C2").closed("splendid")
    write_record(story.folder, provisional=False)
    (problem,) = verify_record(story.folder).problems
    assert "'splendid' is none of verified, " in problem.reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not readable as JSON"),
        (b"[1, 2]\n", "is not a record"),
        (b'{"version": 1', "not readable as JSON"),
        (b"[" * 200_000, "not readable as JSON"),
        (b'{"a":' * 700 + b"1" + b"}" * 700, "not"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b'{"version": 2}\n', "not spelled"),
    ],
    ids=["empty", "list", "cut off", "nested", "nested mappings", "not text", "spelled otherwise"],
)
def test_record_that_is_none_is_named(folder: Path, raw: bytes, reason: str) -> None:
    """Whatever stands in record.json, verifying names it and raises nothing."""
    (folder / "record.json").write_bytes(raw)
    problems = [problem for problem in verify_record(folder).problems if problem.file == "record.json"]
    assert reason in problems[0].reason


def test_record_with_a_field_twice_is_caught(folder: Path) -> None:
    """A field that stands there twice reads differently to different readers; that does not hold."""
    path = folder / "record.json"
    path.write_text(
        path.read_text().replace('  "provisional"', '  "outcome": {"outcome": "failed"},\n  "provisional"', 1)
    )
    assert Problem("record.json", "is not spelled as it was written") in verify_record(folder).problems


def test_missing_record_or_journal_is_named(folder: Path, tmp_path: Path) -> None:
    """What is not there is a problem like any other."""
    (folder / "record.json").unlink()
    assert verify_record(folder).problems == (Problem("record.json", "is missing"),)
    nowhere = verify_record(tmp_path / "nowhere")
    assert files_of(nowhere) == {"record.json", FILE_NAME}
    with pytest.raises(JournalError, match="rollback record"):
        record_digest(folder)


def test_record_without_its_journal_is_named(folder: Path) -> None:
    """Without the journal nothing that the record says is believed."""
    (folder / FILE_NAME).unlink()
    verification = verify_record(folder)
    assert FILE_NAME in files_of(verification)
    assert any("the record was written from" in problem.reason for problem in verification.problems)


# -- the notebook


def test_attached_notebook_is_covered_by_its_own_manifest(folder: Path) -> None:
    """The copy is the notebook to the byte, its manifest names the record, and the record still verifies."""
    executed = notebook(folder)
    before = (folder / "record.json").read_bytes()
    path = attach_notebook(folder, executed, FakeClock())
    assert path == folder / "notebook.ipynb"
    assert path.read_bytes() == executed.read_bytes()
    assert json.loads((folder / "notebook.json").read_text()) == {
        "sha256": hashlib.sha256(executed.read_bytes()).hexdigest(),
        "size": executed.stat().st_size,
        "record_sha256": record_digest(folder),
        "attached_at": "2026-11-23T21:58:00.000Z",
    }
    assert (folder / "record.json").read_bytes() == before
    verification = verify_record(folder)
    assert (verification.ok, verification.notebook) == (True, "attached")


def test_attaching_the_same_notebook_again_changes_nothing(folder: Path) -> None:
    """Doing it twice is doing it once."""
    executed = notebook(folder)
    attach_notebook(folder, executed, FakeClock())
    manifest = (folder / "notebook.json").read_bytes()
    later = FakeClock()
    later.sleep(60)
    attach_notebook(folder, executed, later)
    assert (folder / "notebook.json").read_bytes() == manifest


def test_notebook_written_into_the_folder_itself_can_be_attached(folder: Path) -> None:
    """Where papermill wrote its output straight into the run's folder, attaching adds the manifest."""
    shutil.move(notebook(folder), folder / "notebook.ipynb")
    assert verify_record(folder).notebook == "changed"  # not before somebody attaches it
    attach_notebook(folder, folder / "notebook.ipynb")
    assert (verify_record(folder).ok, verify_record(folder).notebook) == (True, "attached")


def test_another_notebook_is_refused_once_one_is_attached(folder: Path) -> None:
    """The first one stays."""
    first = attach_notebook(folder, notebook(folder)).read_bytes()
    other_one = notebook(folder, text=f"run {RUN}, executed again", name="again.ipynb")
    with pytest.raises(JournalError, match="attached to this record already"):
        attach_notebook(folder, other_one)
    assert (folder / "notebook.ipynb").read_bytes() == first
    assert verify_record(folder).ok


def test_newer_notebook_replaces_that_of_an_earlier_record(waiting: Story) -> None:
    """When the run went on and was recorded anew, its newer notebook is attached; until then the old one is named."""
    attach_notebook(waiting.folder, notebook(waiting.folder))
    waiting.gate_opened().effect("accepted").check("P1.C2").closed()
    seal(waiting, provisional=False)
    stale = verify_record(waiting.folder)
    assert (stale.notebook, files_of(stale)) == ("attached", {"notebook.json"})
    attach_notebook(waiting.folder, notebook(waiting.folder, text=f"run {RUN} closed", name="again.ipynb"))
    fresh = verify_record(waiting.folder)
    assert (fresh.ok, fresh.notebook) == (True, "attached")


@pytest.mark.parametrize(
    "text",
    ["no run at all", f"run {RUN}0", f"run X{RUN}", RUN[:-1]],
    ids=["none", "a longer id", "a longer id before", "a shorter id"],
)
def test_notebook_of_another_run_is_refused(folder: Path, text: str) -> None:
    """A notebook whose outputs do not name exactly this run is not attached."""
    with pytest.raises(BadParameters, match="does not belong to run"):
        attach_notebook(folder, notebook(folder, text=text))
    assert not (folder / "notebook.ipynb").exists()
    assert verify_record(folder).notebook == "not attached"


def test_run_named_in_the_source_alone_is_no_proof(folder: Path) -> None:
    """Only outputs prove that a notebook was executed as this run."""
    path = folder.parent.parent / "source.ipynb"
    path.write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": [f"run = '{RUN}'"], "outputs": []}]})
    )
    with pytest.raises(BadParameters):
        attach_notebook(folder, path)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"cells": 3}', b'{"cells": [3, {"outputs": 5}]}', b"\xff"]
)
def test_file_that_is_no_notebook_is_refused(folder: Path, raw: bytes) -> None:
    """Whatever is handed in instead of a notebook is refused in words."""
    path = folder.parent.parent / "odd.ipynb"
    path.write_bytes(raw)
    with pytest.raises(BadParameters):
        attach_notebook(folder, path)
    assert not (folder / "notebook.json").exists()


def test_run_name_across_output_lines_and_kinds_is_found(folder: Path) -> None:
    """Outputs keep their lines in lists and their texts by media type; the name is found in any of them."""
    path = folder.parent.parent / "rich.ipynb"
    data = {"text/html": ["<b>", f"{RUN}", "</b>"], "text/plain": "3"}
    path.write_text(json.dumps({"cells": [{"outputs": [{"output_type": "display_data", "data": data}]}]}))
    attach_notebook(folder, path)
    assert verify_record(folder).notebook == "attached"


def test_notebook_without_a_record_is_refused(tmp_path: Path) -> None:
    """There must be a record for the notebook to belong to."""
    story = Story(tmp_path / "INC-1" / RUN).opened()
    with pytest.raises(JournalError, match="rollback record"):
        attach_notebook(story.folder, notebook(story.folder))
    assert not (story.folder / "notebook.ipynb").exists()


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (lambda folder: (folder / "notebook.ipynb").unlink(), "notebook.ipynb"),
        (lambda folder: (folder / "notebook.ipynb").write_text("{}"), "notebook.ipynb"),
        (lambda folder: (folder / "notebook.json").write_text("{}"), "notebook.json"),
        (
            lambda folder: (folder / "notebook.json").write_text(
                (folder / "notebook.json").read_text() + " "
            ),
            "notebook.json",
        ),
        (lambda folder: (folder / "notebook.json").write_text("[]"), "notebook.json"),
    ],
    ids=[
        "notebook missing",
        "notebook changed",
        "manifest emptied",
        "manifest respelled",
        "manifest of another kind",
    ],
)
def test_changed_notebook_or_manifest_is_named(
    folder: Path, change: Callable[[Path], object], file: str
) -> None:
    """What was attached is held against its manifest."""
    attach_notebook(folder, notebook(folder))
    change(folder)
    verification = verify_record(folder)
    assert (verification.notebook, files_of(verification)) == ("changed", {file})
