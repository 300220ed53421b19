"""Headless running: a notebook through papermill, its outcome from the run's journal.

- papermill's own verdict is not trusted: it calls cells completed that never ran. The journal decides.
- The executed notebook is saved whole or not at all, at every save; a save that fails stops nothing.
- A run whose last word is older than its last step is never success.
- A kernel that died (killed by the machine, short of memory) cannot say so: this process says it for the run.
- SIGTERM and SIGINT interrupt the running cell, let no further one begin, and leave a run that says so.
- The executed copy goes into the run's folder and is attached to the record.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback_lib.errors import BadParameters, RollbackError
from rollback_lib.evidence.archive import HANDOVER_VARIABLE
from rollback_lib.evidence.record import attach_notebook, seal_run
from rollback_lib.execute.kernel import last_words, manager_class
from rollback_lib.execute.saving import SCHEME, WholeFiles
from rollback_lib.execute.stopper import Stopper
from rollback_lib.journal import FILE_NAME, read_journal
from rollback_lib.model import Outcome

__all__ = ["EXIT_CODES", "Execution", "execute", "exit_code_of_error", "outcome_of"]

EXIT_CODES = {
    Outcome.VERIFIED: 0,
    Outcome.FAILED: 1,
    Outcome.REFUSED: 3,
    Outcome.COMPLETED_UNVERIFIED: 4,
    Outcome.UNKNOWN: 6,
}
_ERROR_CODES = {
    "BadParameters": 2,
    "PlanViolation": 2,
    "GateClosed": 3,
    "NotApproved": 3,
    "LeaseHeld": 5,
    "OutcomeUnknown": 6,
}
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_KERNEL_DEATH = "the death of its kernel"
_DEAD = "DeadKernelError"


@dataclass(frozen=True)
class Execution:
    """What came of running a notebook."""

    exit_code: int
    outcome: Outcome | None  # None: no run was begun
    folder: Path | None
    error: str  # as the notebook shows it; empty where none
    notebook: Path | None


def execute(
    notebook: Path,
    parameters: Mapping[str, Any],
    *,
    output: Path | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Execution:
    """Run a notebook headless in this process's environment.

    Args:
        notebook: The notebook to run; it stays as it is.
        parameters: Injected names and values.
        output: Where to leave the executed copy besides the run's folder.
        told: Called with a line at each cell of a step.

    Raises:
        BadParameters: There is no such notebook; nothing was run.
    """
    if not notebook.is_file():
        raise BadParameters(
            f"There is no notebook {notebook}.",
            "Nothing was run.",
            f"Choose one of: {', '.join(sorted(p.stem for p in notebook.parent.glob('*.ipynb'))) or 'none here'}.",
        )
    with tempfile.TemporaryDirectory(prefix="rollback-") as scratch:
        handover, copy = Path(scratch) / "run", output or Path(scratch) / notebook.name
        saver = WholeFiles(told)
        with Stopper() as stopper:
            error_name, error = _papermill(notebook, parameters, _Way(copy, handover, told, stopper, saver))
            folder = Path(handover.read_text(encoding="utf-8")) if handover.exists() else None
            stopped_by = stopper.signal_name or (_KERNEL_DEATH if error_name == _DEAD else "")
            if stopped_by:
                left = _leave_stopped(folder, stopped_by)
                error = left if stopper.signal_name or not error else f"{left}\n{error}"
        if folder is None:
            return Execution(exit_code_of_error(error_name), None, None, error, output)
        outcome = outcome_of(folder)
        kept = _attach(folder, copy, told) if not saver.failed else None
        held = error_name == "LeaseHeld" and outcome is Outcome.REFUSED  # by somebody else, not by a gate
        code = exit_code_of_error(error_name) if held else EXIT_CODES[outcome]
        return Execution(code, outcome, folder, error, kept)


def outcome_of(folder: Path) -> Outcome:
    """Read a run's outcome from its journal; a run cut off in the middle is failed, or unknown once an effect was sent."""
    reading = read_journal(folder / FILE_NAME)
    if reading.defect is not None:
        return Outcome.UNKNOWN  # what stood behind the first bad line is not known
    lines = reading.lines
    words = [line for line in lines if line.event in ("run.closed", "run.provisional")]
    acts = [line for line in lines if line.event.startswith(("step.", "effect.", "gate."))]
    if words and (not acts or acts[-1].seq < words[-1].seq):
        return Outcome(words[-1].data["outcome"])
    return Outcome.UNKNOWN if any(line.event == "effect.sending" for line in lines) else Outcome.FAILED


def exit_code_of_error(name: str) -> int:
    """Return the exit code for an error by its class name; anything unexpected is 1."""
    return _ERROR_CODES.get(name, 1)


def _leave_stopped(folder: Path | None, stopped_by: str) -> str:
    """Let the run say that it was stopped, and return what the person who waits for it reads."""
    if folder is None:
        return f"Stopped by {stopped_by} before any step was begun. Nothing was sent."
    from rollback_lib.procedures.again import reopen

    try:
        if any(line.event == "run.closed" for line in read_journal(folder / FILE_NAME).lines):
            seal_run(folder)
            return f"Stopped by {stopped_by} after the run was closed; its record is sealed."
        reopen(folder, mode="headless").interrupted(stopped_by)
    except RollbackError as exc:
        return f"Stopped by {stopped_by}; the run could not say so itself: {exc}"
    return f"Stopped by {stopped_by}. Go on: rollback resume {folder.name}. End it: rollback abort {folder.name} --reason ..."


@dataclass(frozen=True)
class _Way:
    """What goes along with a notebook through papermill."""

    copy: Path  # where the executed notebook is saved
    handover: Path  # where the run says which one it is
    told: Callable[[str], None]
    stopper: Stopper
    saver: WholeFiles


def _papermill(notebook: Path, parameters: Mapping[str, Any], way: _Way) -> tuple[str, str]:
    """Run it; return the name and text of the error that stopped it, both empty where none did."""
    with _left_out("boto3"):  # for notebooks in buckets, of which there are none: a tenth of a second
        import papermill
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it logs, the error says better
    words = way.handover.with_name("kernel.log")
    _register(way)
    os.environ[HANDOVER_VARIABLE] = str(way.handover)
    try:
        papermill.execute_notebook(
            str(notebook),
            f"{SCHEME}{way.copy}",
            parameters=dict(parameters),
            engine_name="rollback",
            kernel_manager_class=manager_class(way.stopper.follow, words),
            progress_bar=False,
            cwd=str(notebook.parent),
            log_output=False,
        )
    except PapermillExecutionError as exc:
        return str(exc.ename), _ANSI.sub("", "\n".join(exc.traceback) or f"{exc.ename}: {exc.evalue}")
    except (CellExecutionError, CellTimeoutError) as exc:
        return type(exc).__name__, f"The notebook's kernel stopped: {type(exc).__name__}."
    except DeadKernelError:
        return _DEAD, _died(words)
    except Exception as exc:
        if way.stopper.signal_name:
            return "Stopped", ""  # whatever it stumbled over: the run has to be left in order
        if "Kernel died" not in str(exc):  # jupyter_client has no class of its own for that
            raise
        return _DEAD, _died(words)
    finally:
        os.environ.pop(HANDOVER_VARIABLE, None)
    return "", ""


@contextmanager
def _left_out(name: str) -> Iterator[None]:
    """Let a package seem not to be there for as long as something is imported that can do without it."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own mark for "not there"
    try:
        yield
    finally:
        del sys.modules[name]


def _died(words: Path) -> str:
    """Say that the kernel died, with what its process said last: the way to the cause."""
    said = last_words(words)
    return f"The kernel's own last words:\n{said}" if said else "The kernel's process said nothing."


def _register(way: _Way) -> None:
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.iorw import papermill_io

    class Engine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
        """papermill's engine, saying which step begins."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> None:
            begin = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                if cell.cell_type == "code":  # papermill can tell of no other that it failed
                    way.stopper.refuse_more()
                heading = _heading(nb_man.nb.cells, cell)
                if heading:
                    way.told(heading)
                begin(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

    papermill_engines.register("rollback", Engine)
    papermill_io.register(SCHEME, way.saver)


def _heading(cells: list[Any], cell: Any) -> str:
    """Return the heading right above a cell, if there is one."""
    place = next((i for i, other in enumerate(cells) if other is cell), 0)
    above = cells[place - 1] if place else None
    if above is None or above.cell_type != "markdown" or not above.source.startswith("### "):
        return ""
    return str(above.source).splitlines()[0].removeprefix("### ")


def _attach(folder: Path, copy: Path, told: Callable[[str], None]) -> Path | None:
    try:
        return attach_notebook(folder, copy)
    except (RollbackError, OSError) as exc:
        told(f"the executed notebook was not attached to the record: {exc}")
        return None
