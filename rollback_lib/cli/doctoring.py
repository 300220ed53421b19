"""The command that looks whether a rollback would work, on a quiet day.

- Exit codes: 0 nothing wrong and nothing unknown, 1 otherwise, 2 bad parameters. `not checked` and warnings are no fault.
- Readable at 100 columns: what is to be done stands under what was seen.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from rollback_lib.cli.console import app, out
from rollback_lib.clock import SystemClock, to_iso
from rollback_lib.parameters import known_environment, project_home

if TYPE_CHECKING:
    from datetime import datetime

    from rich.table import Table

    from rollback_lib.procedures.doctor import Examined

__all__: list[str] = []

WIDTH = 100  # where the output is no terminal
WIDEST = 120
NAMED = 5  # of what is wrong, beside the verdict
_NO_WORLD = "Start the simulated company in another terminal: rollback simulator"
_NO_TOKENS = f"{_NO_WORLD}. It writes its tokens down."
_LOOKS = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "wrong": ("✗", "bold red"),
    "unknown": ("?", "bold magenta"),
    "not checked": ("-", "dim"),
}


@app.command()
def doctor(
    environment: Annotated[
        str, typer.Option("-e", "--environment", help="drill, staging or production")
    ] = "drill",
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Put nothing anywhere, not even one object into the state store"),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines")] = False,
) -> None:
    """Look whether a rollback would work in an environment: tokens, ids, people, clocks, records. Changes nothing."""
    from rollback_lib.procedures.doctor import Circumstances, examine, would_work

    known_environment(environment)
    home, clock = project_home(None, os.environ), SystemClock()
    given = Circumstances(
        environment=environment,
        home=home.resolve(),
        environ=os.environ,
        clock=clock,
        read_only=read_only,
        when_down=_NO_WORLD if environment == "drill" else "",
        when_no_secret=_NO_TOKENS if environment == "drill" else "",
    )
    if not as_json:
        _announce(environment, read_only)
    examined = examine(given)
    if as_json:
        out.print(_as_json(environment, clock.now(), examined, read_only), markup=False, soft_wrap=True)
    else:
        _show(examined)
        out.print(_verdict(environment, examined), markup=False)
    raise typer.Exit(0 if would_work(examined) else 1)


def _announce(environment: str, read_only: bool) -> None:
    puts = (
        "Reads only; nothing is put anywhere."
        if read_only
        else "Reads only, but for one object in the state store and a folder in the archive, which are taken away again."
    )
    out.print(f"Looking at {environment.upper()}, for a few seconds.\n{puts}\n", markup=False)


def _show(examined: Sequence[Examined]) -> None:
    from rich.console import Console

    width = min(out.width, WIDEST) if out.is_terminal else WIDTH
    Console(file=out.file, width=width, highlight=False).print(_table(examined))


def _table(examined: Sequence[Examined]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, show_edge=False, pad_edge=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for subject, of_subject in groupby(examined, key=lambda one: one.subject):
        table.add_row(Text(subject, style="bold"), "", "")
        for row in _rows(list(of_subject)):
            mark, style = _LOOKS[row.finding.status]
            told = Text(row.finding.seen)
            if row.finding.todo:
                told.append(f"\n→ {row.finding.todo}", style="bold")
            table.add_row(Text(f"  {mark} {row.finding.status}", style=style), row.check, told)
        table.add_row("", "", "")
    return table


def _rows(examined: Sequence[Examined]) -> Iterator[Examined]:
    """Give the rows of one subject; checks that wait for the same other check share one, below the others."""
    waiting: dict[str, list[Examined]] = {}
    for one in examined:
        if one.finding.after:
            waiting.setdefault(one.finding.after, []).append(one)
        else:
            yield one
    for found in waiting.values():
        if len(found) == 1:
            yield found[0]
            continue
        told = replace(
            found[0].finding, seen=f"{', '.join(one.check for one in found)}: {found[0].finding.seen}"
        )
        yield replace(found[0], check=f"{len(found)} checks", finding=told)


def _verdict(environment: str, examined: Sequence[Examined]) -> str:
    from rollback_lib.procedures.doctor.site import FAILING_NOW

    count = _counts(examined)
    told = ", ".join(f"{count[status]} {status}" for status in _LOOKS if count[status])
    if not count["wrong"] and not count["unknown"]:
        return f"A rollback would work in {environment.upper()} today, as far as can be seen: {told}."
    if all(one.finding.todo == FAILING_NOW for one in _roots(examined)):
        return f"The app of {environment.upper()} is failing now, which is what a rollback is for. All else that one needs is well, as far as can be seen: {told}."
    certain = "would NOT work as it is" if count["wrong"] else "is NOT known to work"
    begin = "\n".join(f"  {one.subject}: {one.check}" for one in _roots(examined)[:NAMED])
    return f"A rollback in {environment.upper()} {certain}: {told}.\nBegin with:\n{begin}"


def _roots(examined: Sequence[Examined]) -> list[Examined]:
    """Give what is wrong or unknown by itself, not for another check's sake."""
    return [one for one in examined if one.finding.status in ("wrong", "unknown") and not one.finding.after]


def _counts(examined: Sequence[Examined]) -> Counter[str]:
    return Counter(one.finding.status.value for one in examined)


def _as_json(environment: str, at: datetime, examined: Sequence[Examined], read_only: bool) -> str:
    from rollback_lib.procedures.doctor import would_work

    whole = {
        "environment": environment,
        "at": to_iso(at),
        "read_only": read_only,
        "would_work": would_work(examined),
        "counts": {status: _counts(examined)[status] for status in _LOOKS},
        "findings": [
            {
                "subject": one.subject,
                "check": one.check,
                "status": one.finding.status.value,
                "seen": one.finding.seen,
                "todo": one.finding.todo,
                "after": one.finding.after,
            }
            for one in examined
        ],
    }
    return json.dumps(whole, ensure_ascii=False, indent=2)
