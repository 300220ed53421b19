"""The rollback log has a row for every run, in the plan's columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from journals import LOG_COLUMNS, FakeClock, Story

from rollback_lib.evidence.archive import Archive
from rollback_lib.evidence.log import as_csv, as_text, rollback_log
from rollback_lib.journal import FILE_NAME


def story_of(root: Path, run: str, hours: float) -> Story:
    """Begin a run some hours after the first one."""
    clock = FakeClock()
    clock.sleep(hours * 3600)
    return Story(root / "INC-1" / run, run=run, incident="INC-1", clock=clock)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an archive with a closed run, a refused one, one cut off, a damaged and a broken one, newest last."""
    tmp_path = tmp_path_factory.mktemp("archive")
    story_of(tmp_path, "P1-closed", 0).opened().check("P1.C2").closed()
    story_of(tmp_path, "P1-refused", 1).opened().provisional("refused")
    story_of(tmp_path, "P1-cut", 2).opened(reason="Checkout broken").provisional("refused").effect("cut off")
    damaged = story_of(tmp_path, "P1-damaged", 3).opened().check("P1.C2").closed()
    path = damaged.folder / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'"0.4 %"', b'"0.3 %"'))
    (tmp_path / "INC-1" / "P1-broken").mkdir()
    return tmp_path


def row(log: pd.DataFrame, run: str) -> dict[str, str]:
    """Give the one row of a run."""
    (found,) = log[log["Run"] == run].to_dict("records")
    return {str(name): cell for name, cell in found.items()}


def test_closed_run_has_the_row_it_was_closed_with(root: Path) -> None:
    """The plan's columns in the plan's order, then outcome and run."""
    log = rollback_log(Archive(root), LOG_COLUMNS)
    assert list(log.columns) == [*LOG_COLUMNS, "Outcome", "Run"]
    assert row(log, "P1-closed") == {
        "Date": "2026-11-23",
        "Environment": "drill",
        "Reason": "Error rate 34 % since 21:50 UTC",
        "Method": "Vercel",
        "Duration": "1 min",
        "Data Loss": "None",
        "Deployed By": "Ana Operator",
        "Approved By": "Lee Lead",
        "Outcome": "verified",
        "Run": "P1-closed",
    }


def test_every_run_has_a_row_and_says_how_it_stands(root: Path) -> None:
    """Open, cut off, damaged and broken runs are in the log, and none of them looks like success."""
    log = rollback_log(Archive(root), LOG_COLUMNS)
    assert len(log) == 5
    assert row(log, "P1-refused")["Outcome"] == "refused (provisional)"
    assert row(log, "P1-cut")["Outcome"] == "unknown (not closed)"
    assert row(log, "P1-damaged")["Outcome"] == "damaged: journal line 2: its hash does not fit its content"
    assert row(log, "P1-broken")["Outcome"].startswith("broken: journal.jsonl cannot be read")


def test_run_without_a_row_of_its_own_is_told_from_its_opening(root: Path) -> None:
    """What an earlier stop said is not repeated for a run that went on; only what is still true stands there."""
    cut = row(rollback_log(Archive(root), LOG_COLUMNS), "P1-cut")
    assert (cut["Reason"], cut["Deployed By"], cut["Environment"]) == (
        "Checkout broken",
        "Ana Operator",
        "drill",
    )
    assert (cut["Method"], cut["Duration"], cut["Approved By"]) == ("", "", "")


def test_rows_are_newest_first(root: Path) -> None:
    """The newest run is on top."""
    runs = [run for run in rollback_log(Archive(root), LOG_COLUMNS)["Run"] if run != "P1-broken"]
    assert runs == ["P1-damaged", "P1-cut", "P1-refused", "P1-closed"]


def test_empty_archive_gives_an_empty_log_with_its_columns(tmp_path: Path) -> None:
    """Before the first run the table is there, without rows."""
    log = rollback_log(Archive(tmp_path / "incidents"), LOG_COLUMNS)
    assert (list(log.columns), len(log)) == ([*LOG_COLUMNS, "Outcome", "Run"], 0)
    assert as_text(log) == "No runs yet."
    assert as_csv(log).count("\n") == 1


def test_all_cells_are_text_without_gaps(root: Path) -> None:
    """Every column is of pandas' string type and no cell is missing, so that comparing and joining just work."""
    log = rollback_log(Archive(root), LOG_COLUMNS)
    assert {str(dtype) for dtype in log.dtypes} == {"string"}
    assert not log.isna().any().any()
    verified = log[log["Outcome"] == "verified"]
    verified.loc[:, "Reason"] = "changed"
    assert row(log, "P1-closed")["Reason"] == "Error rate 34 % since 21:50 UTC"


def test_outcome_and_run_named_by_the_plan_are_not_doubled(root: Path) -> None:
    """A plan that has these columns itself gets them once."""
    log = rollback_log(Archive(root), ("Run", "Date", "Outcome"))
    assert list(log.columns) == ["Date", "Outcome", "Run"]


def test_text_cuts_nothing_and_keeps_a_row_on_a_line(tmp_path: Path) -> None:
    """A long reason is shown whole, and line breaks in it do not break the table."""
    story = story_of(tmp_path, "P1-long", 0).opened(reason="first\nsecond " + "long " * 60 + "end")
    text = as_text(rollback_log(Archive(tmp_path), LOG_COLUMNS))
    assert len(text.splitlines()) == 2
    assert "first second long" in text
    assert "long end" in text
    assert story.run in text


def test_csv_gives_back_what_the_log_says(tmp_path: Path) -> None:
    """A reader of the CSV finds the same cells, also with commas and quotes in them."""
    story_of(tmp_path, "P1-quoted", 0).opened(reason='a "big", bad day')
    log = rollback_log(Archive(tmp_path), LOG_COLUMNS)
    read = list(csv.DictReader(io.StringIO(as_csv(log))))
    assert read == log.to_dict("records")
    assert read[0]["Reason"] == 'a "big", bad day'
