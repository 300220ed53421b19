"""What a cell shows: short tables and texts, as plain text and as HTML.

Plain text is always there: it is what a record, a terminal and a notebook without widgets keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from rollback_lib.journal import Journal

__all__ = ["Listing", "Notice", "show", "warn"]

_ADDRESS = re.compile(r"https?://[^\s<>&'\"]+")
LONG_CELL = 60  # characters
LONGEST = 12  # rows: what a screen holds beside the cells around it


@dataclass(frozen=True)
class Listing:
    """A small table with a line above and a line below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __repr__(self) -> str:
        shown = [tuple(map(_flat, row)) for row in (self.columns, *self.rows[:LONGEST])]
        widths = [max(len(row[i]) for row in shown) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in shown
        ]
        return "\n".join([self.title, *lines, *self._after()])

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th style='text-align:left;white-space:nowrap'>{escape(cell)}</th>" for cell in self.columns
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left;{_width(cell)}'>{escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in self.rows[:LONGEST]
        )
        after = "".join(f"<div>{escape(line)}</div>" for line in self._after())
        return f"<div><b>{escape(self.title)}</b><table style='display:block;overflow-x:auto'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{after}</div>"

    def _after(self) -> list[str]:
        left = len(self.rows) - LONGEST
        return ([f"... and {left} more"] if left > 0 else []) + self.note.splitlines()


@dataclass(frozen=True)
class Notice:
    """A few lines of text under a title."""

    title: str
    lines: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in self.lines)])

    def _repr_html_(self) -> str:
        return (
            f"<div><b>{escape(self.title)}</b>"
            + "".join(f"<div>&nbsp;&nbsp;{_linked(line)}</div>" for line in self.lines)
            + "</div>"
        )


def _width(cell: str) -> str:
    """Keep a short cell on its line; a long one must not push its neighbours out of sight."""
    return "white-space:nowrap" if len(cell) <= LONG_CELL else "min-width:24em;overflow-wrap:anywhere"


def _flat(cell: str) -> str:
    """Keep a cell on its line."""
    return " ".join(cell.split())


def _linked(text: str) -> str:
    """Escape a text and make its addresses links, so that a preview is one click away."""
    return _ADDRESS.sub(r"<a href='\g<0>' target='_blank' rel='noopener'>\g<0></a>", escape(text))


def show(thing: object) -> None:
    """Put something into the running cell's output; outside a notebook it goes nowhere."""
    from IPython.core.getipython import get_ipython

    if get_ipython() is not None:
        from IPython.display import display

        display(thing)  # type: ignore[no-untyped-call]  # IPython has no types


def warn(journal: Journal, text: str) -> None:
    """Write a warning down and show it."""
    journal.append("warning", data={"text": text})
    show(Notice(f"⚠ {text}"))
