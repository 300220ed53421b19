"""Headless running: the outcome is the journal's, and a notebook that stops oddly is never success."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from journals import begin, post

from rollback_lib.errors import BadParameters
from rollback_lib.execute import EXIT_CODES, execute, exit_code_of_error, outcome_of
from rollback_lib.journal import FILE_NAME, Journal
from rollback_lib.model import Outcome


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Give the journal of a run that has begun."""
    journal = begin(tmp_path / "run")
    journal.append("run.opened", data={"run": journal.run})
    journal.append("step.started", step="P1.S1", data={"title": "x"})
    return journal


def send(journal: Journal) -> None:
    """Write down that a change of production leaves."""
    journal.append("effect.sending", step="P1.S4", data={"name": "x", "attempt": 1, "path": post().path})


@pytest.mark.parametrize("outcome", list(Outcome))
def test_closed_run_has_the_outcome_it_was_closed_with(journal: Journal, outcome: Outcome) -> None:
    """The last word counts."""
    journal.append("run.closed", data={"outcome": outcome.value})
    assert outcome_of(journal.folder) is outcome


def test_run_cut_off_before_anything_was_sent_has_failed(journal: Journal) -> None:
    """No last word, nothing sent: production is as it was."""
    assert outcome_of(journal.folder) is Outcome.FAILED


def test_run_cut_off_after_a_change_left_is_unknown(journal: Journal) -> None:
    """No last word after a change left: a person must look."""
    send(journal)
    assert outcome_of(journal.folder) is Outcome.UNKNOWN


def test_word_that_is_older_than_the_last_step_does_not_count(journal: Journal) -> None:
    """Refused, then resumed and cut off in the middle of the change: unknown, not refused."""
    journal.append("run.provisional", data={"outcome": "refused"})
    assert outcome_of(journal.folder) is Outcome.REFUSED
    journal.append("step.started", step="P1.S4", data={"title": "x"})
    send(journal)
    assert outcome_of(journal.folder) is Outcome.UNKNOWN


def test_damaged_journal_is_unknown_whatever_its_good_lines_say(journal: Journal) -> None:
    """What stood behind the first bad line is not known."""
    journal.append("run.closed", data={"outcome": "verified"})
    with (journal.folder / FILE_NAME).open("a", encoding="utf-8") as file:
        file.write("{}\n")
    assert outcome_of(journal.folder) is Outcome.UNKNOWN


def test_every_outcome_has_its_own_exit_code_and_only_verified_has_0() -> None:
    """Exit codes are told apart; nothing but verified is 0."""
    assert EXIT_CODES == {
        Outcome.VERIFIED: 0,
        Outcome.FAILED: 1,
        Outcome.REFUSED: 3,
        Outcome.COMPLETED_UNVERIFIED: 4,
        Outcome.UNKNOWN: 6,
    }
    assert [exit_code_of_error(name) for name in ("BadParameters", "LeaseHeld", "ValueError")] == [2, 5, 1]


def test_notebook_that_is_not_there_is_refused_naming_those_that_are(tmp_path: Path) -> None:
    """A misspelt name runs nothing."""
    (tmp_path / "1_one.ipynb").write_text("{}", encoding="utf-8")
    with pytest.raises(BadParameters, match="1_one"):
        execute(tmp_path / "2_two.ipynb", {})


def write(notebook: Path, cells: list[nbformat.NotebookNode]) -> None:
    """Write a notebook for a Python kernel."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), notebook)


def of_code(notebook: Path, *sources: str) -> Path:
    """Write a notebook of code cells, the first of which has the parameters."""
    parameters = nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    write(notebook, [parameters, *map(nbformat.v4.new_code_cell, sources)])
    return notebook


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", id="killed kernel"),
        pytest.param("raise ValueError('no')", id="error"),
        pytest.param("import sys; sys.exit(1)", id="exit"),
    ],
)
def test_notebook_that_stops_before_a_run_is_no_success_and_its_copy_is_whole(
    tmp_path: Path, source: str
) -> None:
    """Papermill may call it completed; we do not, and the saved copy can be read."""
    notebook, out = tmp_path / "n.ipynb", tmp_path / "out.ipynb"
    cells = [
        nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(source),
    ]
    write(notebook, cells)
    done = execute(notebook, {"x": 2}, output=out)
    assert done.exit_code == 1
    assert (done.outcome, done.folder) == (None, None)
    assert any("x = 2" in cell.source for cell in nbformat.read(out, as_version=4).cells)
    assert not list(tmp_path.glob(".*.part"))


def test_kernel_is_quiet_unless_it_died(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A library's warning on the process's own stderr is nothing for the one who waits; a dead kernel's last words are."""
    says = "import os; os.write(2, b'the words of a library')"
    execute(of_code(tmp_path / "lives.ipynb", says), {})
    heard = capfd.readouterr()
    assert "words of a library" not in heard.out + heard.err
    assert "encryption" not in heard.err
    done = execute(of_code(tmp_path / "dies.ipynb", says, "os.kill(os.getpid(), 9)"), {})
    assert "words of a library" in done.error
    heard = capfd.readouterr()
    assert heard.err == ""


def test_what_passes_between_papermill_and_the_kernel_is_encrypted(tmp_path: Path) -> None:
    """Another account of the machine cannot read what a run shows."""
    source = "import ipykernel.kernelapp as k; assert k.IPKernelApp.instance().curve_secretkey is not None"
    out = tmp_path / "out.ipynb"
    done = execute(of_code(tmp_path / "n.ipynb", source), {}, output=out)
    assert done.error == ""


def test_kernel_and_papermill_meet_at_no_port(tmp_path: Path) -> None:
    """A port can be taken between its choice and its use; a socket in the run's own folder cannot."""
    source = "import ipykernel.kernelapp as k; app = k.IPKernelApp.instance(); assert (app.transport, app.ip[0]) == ('ipc', '/')"
    assert execute(of_code(tmp_path / "n.ipynb", source), {}).error == ""


@pytest.mark.parametrize("kind", ["code", "markdown"])
def test_signal_lets_no_further_cell_begin_whatever_comes_next(tmp_path: Path, kind: str) -> None:
    """Stopped between two cells, with text or code to come: nothing more runs, and the end is an orderly one."""
    asks = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(0.3)"
    more = nbformat.v4.new_markdown_cell("text") if kind == "markdown" else nbformat.v4.new_code_cell("1")
    ran = tmp_path / "ran"
    cells = [
        nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(f"try:\n    {asks}\nexcept KeyboardInterrupt:\n    pass"),
        more,
        nbformat.v4.new_code_cell(f"open({str(ran)!r}, 'w').close()"),
    ]
    write(tmp_path / "n.ipynb", cells)
    code = "import sys; from pathlib import Path; from rollback_lib.execute import execute\nprint(execute(Path(sys.argv[1]), {}).error)"
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "n.ipynb")], capture_output=True, text=True, check=False
    )
    assert child.stdout == "Stopped by SIGTERM before any step was begun. Nothing was sent.\n"
    assert (child.stderr, child.returncode) == ("", 0)
    assert not ran.exists()


def test_notebook_that_cannot_be_saved_stops_nothing_and_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full from the second save on: every cell runs, the saved copy is that of the first save, it is said once."""
    ran, out, told = tmp_path / "ran", tmp_path / "out.ipynb", []
    notebook = of_code(tmp_path / "n.ipynb", "x", f"open({str(ran)!r}, 'w').close()")
    saved: list[str] = []
    sync = os.fsync

    def full(descriptor: int) -> None:
        saved.append(out.read_text(encoding="utf-8") if out.exists() else "")
        if len(saved) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    done = execute(notebook, {"x": 2}, output=out, told=told.append)
    assert done.error == ""
    assert ran.exists()
    assert len(saved) > 2
    assert out.read_text(encoding="utf-8") == saved[-1]
    assert nbformat.read(out, as_version=4).cells
    assert [line for line in told if "could not be saved" in line] == told
    assert len(told) == 1
    assert not list(tmp_path.glob(".*.part"))
