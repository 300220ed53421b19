"""The notebooks that people work in: copies outside version control, so that the committed ones stay as they are.

- Nobody finds another person's parameters in a notebook: a copy that was left for a day is put aside, and made anew.
- Nothing that was worked in is ever overwritten or deleted: it may be the only executed copy of a run.
- A copy that nobody worked in follows the committed notebook.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rollback_lib.evidence.files import digest_of_bytes

__all__ = ["COPIES", "lay_out"]

COPIES = Path(".rollback", "lab")
KEPT = timedelta(hours=24)  # since it was last saved; an incident does not end at midnight
_MADE = ".made.json"  # what each copy was when it was made: digests by name


def lay_out(home: Path, now: datetime) -> tuple[Path, ...]:
    """Have a copy of each committed notebook to work in; return what was put aside for it.

    Args:
        home: The project's folder; the copies go into `COPIES` below it.
        now: Aware UTC.
    """
    folder = home / COPIES
    folder.mkdir(parents=True, exist_ok=True)
    made = _made(folder / _MADE)
    aside: list[Path] = []
    for notebook in sorted((home / "notebooks").glob("*.ipynb")):
        copy = folder / notebook.name
        if copy.exists() and digest_of_bytes(copy.read_bytes()) != made.get(copy.name):  # worked in
            saved_at = datetime.fromtimestamp(copy.stat().st_mtime, UTC)
            if now - saved_at < KEPT:
                continue
            aside.append(copy.rename(_free(copy, saved_at)))
        shutil.copyfile(notebook, copy)
        made[copy.name] = digest_of_bytes(copy.read_bytes())
    (folder / _MADE).write_text(json.dumps(made, indent=1), encoding="utf-8")
    return tuple(aside)


def _made(record: Path) -> dict[str, str]:
    """Read what the copies were when they were made; where that is lost, each counts as worked in."""
    try:
        told: dict[str, str] = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def _free(copy: Path, saved_at: datetime) -> Path:
    """Give a name that tells the day a copy was last saved and that nothing has yet."""
    number, place = 1, copy.with_name(f"{copy.stem}.{saved_at:%Y-%m-%d}.ipynb")
    while place.exists():
        number += 1
        place = copy.with_name(f"{copy.stem}.{saved_at:%Y-%m-%d}-{number}.ipynb")
    return place
