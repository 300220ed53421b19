"""Where a run keeps what it writes: the state store, the archive, and what past drills left there.

- The store is tried by putting one small object twice and taking it away: whether "put only if absent" holds cannot be
  read. With `read_only` that is left out, and nothing is made.
- The archive is tried by a folder of its own in it, which is taken away again; a run's lock must keep a second one out.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from rollback_lib.errors import BadParameters, RollbackError
from rollback_lib.evidence.archive import Archive
from rollback_lib.http import Heard
from rollback_lib.journal import LOCK_NAME
from rollback_lib.model import Outcome
from rollback_lib.parameters import read_layer
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.clocks import agreement
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, Once, not_checked, ok, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.store import SCHEME

__all__ = ["checks"]

LEAST_FREE_MB = 200
DRILL_AGE = timedelta(days=30)
_MB = 1_000_000
_CHOICE = "left out by --read-only"


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject; the drills of each procedure that is more than planned."""
    tried: Once[tuple[bool, Heard]] = Once("Records: state store", partial(_try_store, readings))
    yield Check("Records", "state store", partial(store, tried=tried))
    yield Check("Records", "store's clock", partial(store_clock, tried=tried))
    yield Check("Records", "archive", archive)
    yield Check("Records", "disk", disk)
    yield Check("Records", "a run's lock", lock)
    try:
        plan = readings.plan.use()
    except NotKnown:
        return
    done = {row.step.partition(".")[0] for row in plan.coverage if row.status == "code"}
    for procedure in plan.procedures:
        if f"P{procedure.number}" in done:
            title = f"drill of procedure {procedure.number}"
            yield Check("Records", title, partial(drilled, number=procedure.number))


def store(readings: Readings, tried: Once[tuple[bool, Heard]]) -> Finding:
    """See that the store answers, and keeps a second writer out."""
    state = readings.platform.state
    if readings.given.read_only:
        return _listed(readings, state)
    kept_out, _ = tried.tell()
    if not kept_out:
        return wrong(
            f"{state}: a second put over the first was taken, so two machines could both hold a lease",
            "Use a store with conditional writes (If-None-Match), or a folder.",
        )
    return ok(f"{state}: put, refused a second time, taken away")


def store_clock(readings: Readings, tried: Once[tuple[bool, Heard]]) -> Finding:
    """Hold the store's clock against ours."""
    if readings.given.read_only:
        return not_checked(_CHOICE)
    _, heard = tried.use()
    return agreement(heard.ahead_s, heard.within_s, readings.policy.clock_skew_s)


def archive(readings: Readings) -> Finding:
    """See that a record can be written."""
    root = _root(readings)
    place = _there(root)
    told = f"{readings.given.short(root)}{'' if place == root else ' (made by the first run)'}"
    if root.exists() and not root.is_dir():
        return wrong(f"{readings.given.short(root)} is no folder", "Correct platform.archive.")
    if not os.access(place, os.W_OK | os.X_OK):
        return wrong(
            f"{place} cannot be written", "Give whoever runs the notebooks the right to write there."
        )
    if readings.given.read_only:
        return ok(f"{told}: may be written")
    with _scratch(place) as scratch, (scratch / "line").open("wb") as file:
        file.write(b"{}\n")
        file.flush()
        os.fsync(file.fileno())
    return ok(f"{told}: written, synced, taken away")


def disk(readings: Readings) -> Finding:
    """See that there is room for a record."""
    free = shutil.disk_usage(_there(_root(readings))).free / _MB
    if free < LEAST_FREE_MB:
        return wrong(
            f"{free:.0f} MB free; a run stops when its journal cannot be written",
            f"Make room: at least {LEAST_FREE_MB} MB.",
        )
    return ok(f"{free / 1000:.0f} GB free" if free >= 10_000 else f"{free:.0f} MB free")  # noqa: PLR2004 - from where on GB read better


def lock(readings: Readings) -> Finding:
    """See that a second writer of a run would be kept out: some network folders do not."""
    from filelock import FileLock, Timeout

    if readings.given.read_only:
        return not_checked(_CHOICE)
    with _scratch(_there(_root(readings))) as scratch:
        first, second = (FileLock(scratch / LOCK_NAME, timeout=0, is_singleton=False) for _ in range(2))
        with first:
            try:
                second.acquire()
            except Timeout:
                return ok("keeps a second writer out")
            second.release()
    return wrong(
        "a second writer is let in: two sessions could write one run's journal",
        "Keep the archive on a disk of this machine (platform.archive).",
    )


def drilled(readings: Readings, number: int) -> Finding:
    """See when a procedure was last rehearsed to a verified end."""
    runs = (
        run
        for root in _roots(readings)
        for run in Archive(root).runs()
        if run.environment == "drill" and run.procedure == number and run.is_closed
    )
    verified = [run.started_at for run in runs if run.outcome is Outcome.VERIFIED]
    if not verified:
        return warning("no verified drill in the archive", "make drill.")
    newest, now = max(verified), readings.given.clock.now()
    told = f"last verified {newest:%Y-%m-%d}, {(now - newest).days} days ago"
    return warning(told, "make drill, and one by hand.") if now - newest > DRILL_AGE else ok(told)


def _try_store(readings: Readings) -> tuple[bool, Heard]:
    """Put one object twice, look at its time, take it away.

    Where already the first put gets no answer, the object may be there all the same, and stays: some twenty bytes.
    """
    opened, clock = readings.store.tell(), readings.given.clock
    key, mark = f"doctor/{readings.given.environment}/{secrets.token_hex(8)}", secrets.token_bytes(8)
    began, since = clock.monotonic(), clock.now()
    opened.create(key, b"first " + mark)
    try:
        took_s, found = clock.monotonic() - began, opened.get(key)
        kept_out = not opened.create(key, b"second " + mark)
    finally:
        opened.delete(key)
    theirs = found.modified_at if found is not None else since
    return kept_out and found is not None, Heard(
        theirs, since + timedelta(seconds=took_s / 2), 1 + took_s / 2
    )


def _listed(readings: Readings, state: str) -> Finding:
    """Look at the store without putting anything into it, nor making its folder."""
    folder = readings.given.home / Path(state).expanduser()
    if not state.startswith(SCHEME) and not folder.is_dir():
        return not_checked(f"{state}: the folder is not there yet; the first run makes it")
    readings.store.tell().keys("doctor/")
    return not_checked(f"{state}: can be listed; whether it keeps a second writer out is {_CHOICE}")


def _root(readings: Readings) -> Path:
    return _folder(readings.given.home, readings.platform.archive)


def _roots(readings: Readings) -> tuple[Path, ...]:
    """Return where drills may be: where this environment's runs go, and where drills go."""
    home, own = readings.given.home, readings.layer.use().platform.get("archive", "incidents")
    try:
        drills = read_layer(home, "drill").platform.get("archive", "incidents")
    except RollbackError:
        drills = own
    return tuple(_folder(home, name) for name in dict.fromkeys((own, drills)))


def _folder(home: Path, name: str) -> Path:
    if "://" in name:
        raise BadParameters(
            f"platform.archive is {name}; records can only be kept in a folder.",
            "Nothing was sent.",
            "Set platform.archive to a folder, such as incidents.",
        )
    return home / Path(name).expanduser()


def _there(root: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    return next(place for place in (root, *root.parents) if place.is_dir())


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """Make a folder of our own, hidden from the archive's list, and take it away again.

    Raises:
        BadParameters: It cannot be made or written: the disk is full, or it is not ours.
    """
    folder = place / f".doctor-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        yield folder
    except OSError as exc:
        raise BadParameters(
            f"{place} cannot be written: {exc.strerror}.",
            "Nothing was sent.",
            "Make room, or correct the permissions or platform.archive.",
        ) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
