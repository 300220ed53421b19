"""What a cell shows: short tables and texts, as plain text and as HTML.

- Plain text is always there: it is what a record, a terminal and a notebook without widgets keep.
- A line that begins with ⚠ stands out, wherever it stands.
- HTML says the same words. Colour never says anything that a word does not, and can be read on a light and on a
  dark page: white on a deep colour of its own, or the page's own text on a tint that lets the page through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

from rollback_lib.clock import Clock
from rollback_lib.journal import Journal
from rollback_lib.model import Check, CheckStatus

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

__all__ = ["WARNS", "Listing", "Notice", "Progress", "Tone", "checks_listing", "show", "some", "warn"]

Tone = Literal["plain", "stop", "go"]

_ADDRESS = re.compile(r"https?://[^\s<>&'\"]+")
SHORT_CELL, LONG_CELL = 24, 60  # characters
LONGEST = 12  # rows: what a screen holds beside the cells around it
WARNS = "⚠"
NAMES = 12  # of functions and the like in a line
_BADGE = {"stop": "#b3261e", "go": "#1b6e2f"}  # white on them has a contrast of more than 6
_EDGE = {**_BADGE, "care": "#b26a00"}
_TINT = {"stop": "rgba(211,47,47,.16)", "go": "rgba(46,125,50,.16)", "care": "rgba(237,160,0,.18)"}


@dataclass(frozen=True)
class Listing:
    """A small table with a line above and a line below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    bold: tuple[int, ...] = ()  # rows that stand out, from 0; a word in them says why

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
        body = "".join(self._row(row, bold=at in self.bold) for at, row in enumerate(self.rows[:LONGEST]))
        after = "".join(f"<div{_standing_out(line)}>{_text(line)}</div>" for line in self._after())
        return f"<div><b>{escape(self.title)}</b><table style='display:block;overflow-x:auto'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{after}</div>"

    @staticmethod
    def _row(row: tuple[str, ...], *, bold: bool) -> str:
        weight = "font-weight:bold;" if bold else ""
        cells = (f"<td style='text-align:left;{weight}{_width(cell)}'>{escape(cell)}</td>" for cell in row)
        return f"<tr>{''.join(cells)}</tr>"

    def _after(self) -> list[str]:
        left = len(self.rows) - LONGEST
        return ([f"... and {left} more"] if left > 0 else []) + self.note.splitlines()


@dataclass(frozen=True)
class Notice:
    """A few lines of text under a title."""

    title: str
    lines: tuple[str, ...] = ()
    tone: Tone = (
        "plain"  # another one puts the title's last word on that colour, and lines under their labels
    )
    loud: tuple[
        str, ...
    ] = ()  # the labels of lines that stand out in the tone: what comes before the first colon

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in self.lines)])

    def _repr_html_(self) -> str:
        if self.tone == "plain":
            lines = "".join(
                f"<div{_standing_out(line)}>&nbsp;&nbsp;{_linked(line)}</div>" for line in self.lines
            )
            return f"<div><b>{escape(self.title)}</b>{lines}</div>"
        begin, _, state = self.title.rpartition(" ")
        badge = f"background:{_BADGE[self.tone]};color:#fff;padding:2px 10px;border-radius:4px"
        lines = "".join(map(self._line, self.lines))
        return f"<div><b>{escape(begin)} <span style='{badge}'>{escape(state)}</span></b>{lines}</div>"

    def _line(self, line: str) -> str:
        """Let what wraps begin under the label; a line that is loud stands on the tone's colour."""
        style = "padding:1px 0 1px 2.2em;text-indent:-1em;overflow-wrap:anywhere"
        loud = self.tone if line.partition(": ")[0] in self.loud else "care" if line.startswith(WARNS) else ""
        if loud:
            style += f";{_loud(loud)};font-weight:bold"
        return f"<div style='{style}'>{_labelled(line)}</div>"


def _standing_out(line: str) -> str:
    """Put a line that warns on a tint of its own."""
    return (
        f" style='{_loud('care')};padding:1px .6em;overflow-wrap:anywhere'" if line.startswith(WARNS) else ""
    )


def _loud(tone: str) -> str:
    return f"background:{_TINT[tone]};border-left:5px solid {_EDGE[tone]};margin:2px 0"


def _width(cell: str) -> str:
    """Keep a short cell and an id on their line; words of a long one must not push its neighbours out of sight."""
    if len(cell) > LONG_CELL:
        return "min-width:24em;overflow-wrap:anywhere"
    return "white-space:nowrap" if len(cell) <= SHORT_CELL or " " not in cell else "min-width:13em"


def _text(line: str) -> str:
    return _linked(line) if line.startswith(WARNS) else _labelled(line)


def _flat(cell: str) -> str:
    """Keep a cell on its line."""
    return " ".join(cell.split())


def _labelled(line: str) -> str:
    """Set off what comes before the first colon."""
    label, colon, rest = line.partition(": ")
    return f"<b>{escape(label)}:</b> {_linked(rest)}" if colon else _linked(line)


def _linked(text: str) -> str:
    """Escape a text and make its addresses links, so that a preview is one click away."""
    return _ADDRESS.sub(r"<a href='\g<0>' target='_blank' rel='noopener'>\g<0></a>", escape(text))


def some(names: Iterable[str], most: int = NAMES) -> str:
    """Write names in a line, with how many there are where that is not seen at once."""
    known = tuple(names)
    left = len(known) - most
    return ", ".join(known) if left <= 0 else f"{', '.join(known[:most])} and {left} more"


def checks_listing(title: str, checks: Iterable[Check], note: str = "") -> Listing:
    """Return checks as a table; those that have not passed stand out."""
    found = tuple(checks)
    rows = tuple((c.id, c.title, f"{c.mark} {c.status.value}", c.seen, c.wanted) for c in found)
    bold = tuple(at for at, check in enumerate(found) if check.status is not CheckStatus.PASSED)
    return Listing(title, ("check", "what", "status", "seen", "wanted"), rows, note, bold)


@dataclass
class Progress:
    """What a long cell is at, a stage a line, each with the time it began; outside a notebook it goes nowhere."""

    title: str
    clock: Clock
    _stages: list[str] = field(default_factory=list)
    _handle: DisplayHandle | None = None

    def stage(self, text: str) -> None:
        """Begin a stage."""
        self._stages.append(f"{self.clock.now():%H:%M:%S} UTC {text}")
        self._show("")

    def note(self, text: str) -> None:
        """Say how the stage goes, in place of what was said of it before."""
        self._show(f"  {text.strip()}" if text.strip() else "")

    def _show(self, note: str) -> None:
        from IPython.core.getipython import get_ipython

        if get_ipython() is None:
            return
        from IPython.display import display

        notice = Notice(self.title, (*self._stages, *filter(None, [note])))
        if self._handle is None:
            self._handle = display(notice, display_id=True)  # type: ignore[no-untyped-call]  # IPython has no types
        else:
            self._handle.update(notice)  # type: ignore[no-untyped-call]  # the same


def show(thing: object) -> None:
    """Put something into the running cell's output; outside a notebook it goes nowhere."""
    from IPython.core.getipython import get_ipython

    if get_ipython() is not None:
        from IPython.display import display

        display(thing)  # type: ignore[no-untyped-call]  # IPython has no types


def warn(journal: Journal, text: str) -> None:
    """Write a warning down and show it."""
    journal.append("warning", data={"text": text})
    show(Notice(f"{WARNS} {text}"))
