"""The report of a run: one HTML file that a post-mortem can be held over.

- It stands alone: no script, no font, no picture, nothing fetched; it prints.
- Every text from a run is escaped, and only http(s) addresses become links.
- The same journal always gives the same bytes. It is written before the record, which covers it, so it
  shows the journal's head and not the record's digest.
- Colour never says anything that a word does not say too. What is unknown looks like unknown.
"""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rollback_lib.errors import JournalError
from rollback_lib.evidence.account import Account, StepTaken, account_of
from rollback_lib.evidence.changes import Change
from rollback_lib.evidence.files import RECORD_NAME, REPORT_NAME, write_whole
from rollback_lib.evidence.findings import findings_of
from rollback_lib.evidence.preparations import preparations_of
from rollback_lib.evidence.verification import read_record
from rollback_lib.journal import FILE_NAME, Reading, read_journal
from rollback_lib.model import Outcome

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Banner", "Bar", "render_report"]

TEMPLATE_NAME = "report.html.j2"
NARROWEST = 0.6  # per cent of the timeline; a step of no time is still seen
MINUTE_S = 60


@dataclass(frozen=True)
class Banner:
    """The outcome in words, and the tone that its colour follows."""

    tone: str  # good, care, bad, unknown
    mark: str
    title: str
    meaning: str


@dataclass(frozen=True)
class Bar:
    """Where a step lies on the run's timeline, in per cent of it."""

    step: StepTaken
    left: float
    width: float
    offset_s: float  # from the opening of the run
    tone: str


BANNERS = {
    Outcome.VERIFIED: Banner(
        "good", "✓", "Verified", "The rollback was carried out and every required check passed."
    ),
    Outcome.COMPLETED_UNVERIFIED: Banner(
        "care",
        "!",
        "Completed, not verified",
        "The steps were carried out, but not everything required could be checked.",
    ),
    Outcome.FAILED: Banner("bad", "✗", "Failed", "A step or a required check did not succeed."),
    Outcome.REFUSED: Banner(
        "care", "■", "Refused at a gate", "The run was not let through to the change of production."
    ),
    Outcome.UNKNOWN: Banner(
        "unknown", "?", "Unknown: a person must look", "Nobody can say from this journal how it ended."
    ),
}
STEP_TONES = {
    "done": "good",
    "failed": "bad",
    "refused": "care",
    "skipped": "care",
}  # started, interrupted: unknown


def render_report(folder: Path) -> Path:
    """Write `report.html` from the journal; the report of a sealed record stays as it is.

    Raises:
        JournalError: The journal does not begin with the opening of a run, or the file cannot be written;
            an earlier report is untouched.
    """
    path = folder / REPORT_NAME
    record, _ = read_record(folder / RECORD_NAME)
    if record is not None and record.get("provisional") is False and path.exists():
        return path
    text = report_text(read_journal(folder / FILE_NAME))
    try:
        write_whole(path, text.encode("utf-8", errors="xmlcharrefreplace"))
    except OSError as exc:
        raise JournalError(
            f"{path} cannot be written: {exc.strerror}.",
            "The journal is complete and untouched.",
            f"Free space or restore the folder, then: rollback record {folder.name}",
        ) from exc
    return path


def report_text(reading: Reading) -> str:
    """Return the report of a journal as HTML.

    Raises:
        JournalError: The journal does not begin with the opening of a run.
    """
    account = account_of(reading.lines)
    return _template().render(
        account=account,
        run=account.run,
        ending=account.outcome,
        banner=banner_of(account),
        bars=bars_of(account, reading.lines[-1].at),
        findings=findings_of(reading.lines),
        preparations=preparations_of(reading.lines),
        head=reading.head,
        lines=len(reading.lines),
        defect=reading.defect,
        torn_bytes=len(reading.torn),
        ended_at=reading.lines[-1].at,
        day=account.run.opened_at[:10],
        first_effect_at=next(
            (attempt.sent_at for effect in account.effects for attempt in effect.attempts), ""
        ),
    )


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    source = (files(__package__) / TEMPLATE_NAME).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= _FILTERS
    return environment.from_string(source)


def banner_of(account: Account) -> Banner:
    """Choose the words for an outcome; one that is not known is shown as unknown."""
    try:
        return BANNERS[Outcome(account.outcome.outcome)]
    except ValueError:
        return BANNERS[Outcome.UNKNOWN]


def bars_of(account: Account, ended_at: str) -> Sequence[Bar]:
    """Lay the steps out on the time between the opening of the run and its last line."""
    opened = datetime.fromisoformat(account.run.opened_at)
    whole_s = max((datetime.fromisoformat(ended_at) - opened).total_seconds(), 0.001)
    return [_bar(step, opened, whole_s, ended_at) for step in account.steps]


def _bar(step: StepTaken, opened: datetime, whole_s: float, ended_at: str) -> Bar:
    begun = datetime.fromisoformat(step.started_at or step.ended_at)
    ended = datetime.fromisoformat(step.ended_at or ended_at)
    offset_s = max((begun - opened).total_seconds(), 0.0)
    left = min(100 * offset_s / whole_s, 100 - NARROWEST)
    width = min(max(100 * (ended - begun).total_seconds() / whole_s, NARROWEST), 100 - left)
    return Bar(step, round(left, 1), round(width, 1), offset_s, STEP_TONES.get(step.status, "unknown"))


def _time(text: str, day: str = "") -> str:
    """Show an instant in UTC, to the second; without its date if that is the day given."""
    try:
        instant = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    shown = f"{instant:%Y-%m-%d %H:%M:%S}"
    return shown.removeprefix(f"{day} ") if day else shown


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{seconds // MINUTE_S:.0f} min {seconds % MINUTE_S:02.0f} s"


def _between(start: str, end: str) -> str:
    return _span((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def _plain(value: Any) -> str:
    """Show a value of the journal in a line: mappings as `name: value` pairs, the rest as text or JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    return json.dumps(value, ensure_ascii=False)


def _ended(change: Change) -> str:
    """Say how a change ended; one that the platform has only taken on is not called done."""
    if change.end == "open":
        return "open: nothing says what became of it"
    if change.end == "done" and change.detail.get("seen") == "running":
        return "accepted; the checks below say what came of it"
    return change.end


def _request(path: str, method: str) -> str:
    """Show what was sent; a command line as a shell takes it, for it is kept with each argument quoted for addresses."""
    return shlex.join(map(unquote, path.split(" "))) if method == "CLI" else path


def _words(text: str) -> str:
    return text.replace("_", " ")


def _is_link(text: str) -> bool:
    return text.startswith(("https://", "http://"))


_FILTERS: dict[str, Callable[..., Any]] = {
    "time": _time,
    "span": _span,
    "until": _between,
    "plain": _plain,
    "words": _words,
    "ended": _ended,
    "is_link": _is_link,
    "request": _request,
    "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}
