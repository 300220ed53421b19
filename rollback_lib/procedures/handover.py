"""A run's journal in the store, so that another machine can go on with the run; and getting it from there.

- Lines go up in pieces, each named by its first line's number and put only where there is none: two machines that
  write one run meet at the same name, and the later one knows that it is no longer the run's.
- A change of production leaves only once its line is up; so whoever fetches the run knows of every one.
- What is fetched holds as a chain, and never takes the place of lines that are only here.
- Each piece is sealed with a key that only who may act has: a journal says what was approved, so whoever can merely
  write into the store must not be able to write one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from rollback_lib.errors import JournalError, LeaseHeld
from rollback_lib.journal import FILE_NAME, Journal, Line, read_journal
from rollback_lib.journal.line import LOCK_NAME
from rollback_lib.parameters import Secrets
from rollback_lib.store import Store

__all__ = ["SEALED_BY", "Mirror", "Seal", "fetch", "lines_in_store", "lines_up"]

SEALED_BY = "SLACK_BOT_TOKEN"  # the one secret that every machine of an environment has alike

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")  # of a run or an incident: it becomes a folder
_ATTACHMENTS = "attachments"


_SEALED = re.compile(rb"(?P<body>(?:[^\n]*\n)*)hmac-sha256 (?P<seal>[0-9a-f]{64})\n")


@dataclass(frozen=True)
class Seal:
    """Tells what somebody who may act put into the store from what anybody else did."""

    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, secrets: Secrets) -> Seal:
        """Make it of the environment's shared secret.

        Raises:
            BadParameters: The secret is nowhere; nothing was sent.
        """
        token = secrets.get(SEALED_BY).get_secret_value().encode()
        return cls(hmac.digest(token, b"rollback: journals in the store", "sha256"))

    def close(self, piece: str, body: bytes) -> bytes:
        """Return a piece as it goes up: its lines, and the seal that fits this place only."""
        return body + b"hmac-sha256 " + self._on(piece, body).encode() + b"\n"

    def fits(self, piece: str, content: bytes) -> bool:
        """Say whether a piece bears the seal of its place and lines."""
        found = _SEALED.fullmatch(content)
        return found is not None and hmac.compare_digest(
            found["seal"].decode(), self._on(piece, found["body"])
        )

    def _on(self, piece: str, body: bytes) -> str:
        return hmac.new(self._key, piece.encode() + b"\n" + body, hashlib.sha256).hexdigest()


@dataclass
class Mirror:
    """The store's copy of one run's journal, which only this process extends. Threads may share it."""

    store: Store
    journal: Journal
    up: int  # lines that are in the store, from `lines_up`
    seal: Seal
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def push(self) -> None:
        """Bring up the lines that are not there yet.

        Raises:
            LeaseHeld: Another machine writes this run; nothing may be sent any more.
            Unreachable: The store gave no usable answer.
        """
        with self._guard:
            while len(lines := self.journal.lines) > self.up:
                piece = f"{_journal_of(self.journal.run)}/{self.up + 1:08d}"
                content = "".join(f"{line.text()}\n" for line in lines[self.up :]).encode()
                if self.store.create(piece, self.seal.close(piece, content)):
                    self.up = len(lines)
                else:  # another machine's, or put by this run before its answer was lost
                    self.up = _known(self.store, piece, lines)

    def push_files(self) -> None:
        """Bring up the attachments as they are now.

        Raises:
            Unreachable: The store gave no usable answer.
        """
        folder = self.journal.folder / _ATTACHMENTS
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                self.store.put(f"{_files_of(self.journal.run)}/{path.name}", path.read_bytes())


def lines_up(store: Store, run: str, lines: tuple[Line, ...]) -> int:
    """Tell how many lines of a run that goes on here are in the store; changes nothing.

    Raises:
        LeaseHeld: Another machine went on with the run; nothing was sent.
        JournalError: The store's journal cannot be read.
        Unreachable: The store gave no usable answer.
    """
    pieces = store.keys(_journal_of(run))
    if not pieces:
        return 0
    return _known(store, pieces[-1], lines)


def lines_in_store(store: Store, run: str) -> tuple[Line, ...]:
    """Read what the store has of a run's journal, to look at: the seal is not asked for, nothing may be decided by it alone.

    Raises:
        JournalError: It cannot be read.
        Unreachable: The store gave no usable answer.
    """
    pieces = store.keys(_journal_of(run)) if _NAME.fullmatch(run) else ()
    return tuple(_line(raw, piece) for piece in pieces for raw in _body(_content(store, piece)).splitlines())


def _known(store: Store, piece: str, lines: tuple[Line, ...]) -> int:
    """Return the number of a piece's last line if it is one of ours: then all before it are, by the chain."""
    newest = _line((_body(_content(store, piece)).splitlines() or [b""])[-1], piece)
    if newest.seq <= len(lines) and lines[newest.seq - 1].hash == newest.hash:
        return newest.seq
    raise LeaseHeld(
        f"Run {newest.run} was continued on another machine: the store has it up to line {newest.seq}, by {newest.by} at {newest.at}.",
        "Nothing was sent by this.",
        f"Go on there. To go on here, shut this notebook's kernel down, then: rollback resume {newest.run}",
    )


def fetch(store: Store, run: str, archive_root: Path, secrets: Secrets) -> Path | None:
    """Bring a run's journal and attachments from the store into the archive, where they are missing or behind.

    Args:
        store: What the run's environment shares.
        run: The whole id.
        archive_root: The archive's folder.
        secrets: Of the environment, for the seal.

    Returns:
        The run's folder; None where the store does not know the run.

    Raises:
        LeaseHeld: The run is open in another process of this machine; nothing was written.
        JournalError: The store's copy does not hold, is not sealed by who may act, or what is here differs from it;
            nothing was written.
        BadParameters: The secret that seals is nowhere; nothing was written.
        Unreachable: The store gave no usable answer.
    """
    pieces = store.keys(_journal_of(run)) if _NAME.fullmatch(run) else ()
    if not pieces:
        return None
    contents = {name: _content(store, name) for name in pieces}
    raw = b"".join(map(_body, contents.values()))
    folder = archive_root / _incident_of(raw, run) / run
    _bring_journal(raw, folder, run, lambda: _refuse_unsealed(contents, Seal.of(secrets)))
    _bring_files(store, folder, run)
    return folder


def _content(store: Store, key: str) -> bytes:
    found = store.get(key)
    if found is None:
        raise _does_not_hold(key, "it was taken away while it was read")
    return found.data


def _incident_of(raw: bytes, run: str) -> str:
    opened = _line(raw.partition(b"\n")[0], f"runs/{run}")
    incident = opened.data.get("incident")
    if opened.event != "run.opened" or opened.run != run or not _NAME.fullmatch(str(incident)):
        raise _does_not_hold(f"runs/{run}", "it does not begin with the opening of this run")
    return str(incident)


def _body(content: bytes) -> bytes:
    """Return the lines of a piece."""
    found = _SEALED.fullmatch(content)
    return found["body"] if found is not None else content


def _refuse_unsealed(contents: dict[str, bytes], seal: Seal) -> None:
    bad = next((piece for piece, content in contents.items() if not seal.fits(piece, content)), None)
    if bad is not None:
        why = f"it was not put there by anybody with this machine's {SEALED_BY}, so nothing in it is believed"
        raise _does_not_hold(bad, why)


def _bring_journal(raw: bytes, folder: Path, run: str, refuse: Callable[[], None]) -> None:
    """Write the journal whole, unless what is here is as far already."""
    place = folder / FILE_NAME
    try:
        _refuse_unsound(raw, run)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_NAME, timeout=0):
            here = place.read_bytes() if place.exists() else b""
            if here.startswith(raw):
                return
            if not raw.startswith(here):
                raise _differs(folder, run)
            refuse()
            beside = folder / f".{FILE_NAME}.part"
            _write(beside, raw)
            beside.replace(place)
    except Timeout as exc:
        raise LeaseHeld(
            f"Run {run} is open in another process of this machine.",
            "Nothing was fetched or sent.",
            "Go on there, or shut that notebook's kernel down and try again.",
        ) from exc
    except OSError as exc:
        raise JournalError(
            f"The journal of run {run} cannot be written to {folder}: {exc.strerror}.",
            "Nothing was sent; the store is as it was.",
            "Free space or correct the folder's permissions, then try again.",
        ) from exc


def _bring_files(store: Store, folder: Path, run: str) -> None:
    for key in store.keys(_files_of(run)):
        name, found = key.rpartition("/")[2], store.get(key)
        place = folder / _ATTACHMENTS / name
        if found is not None and _NAME.fullmatch(name) and not place.exists():
            place.parent.mkdir(exist_ok=True)
            _write(place, found.data)


def _write(place: Path, raw: bytes) -> None:
    with place.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _refuse_unsound(raw: bytes, run: str) -> None:
    with tempfile.TemporaryDirectory(prefix="rollback-") as scratch:
        place = Path(scratch) / FILE_NAME
        place.write_bytes(raw)
        reading = read_journal(place)
    if reading.defect is not None:
        raise _does_not_hold(f"runs/{run}, line {reading.defect.line}", reading.defect.reason)
    if reading.torn:
        raise _does_not_hold(f"runs/{run}", "its last line is not whole")


def _line(raw: bytes, where: str) -> Line:
    try:
        return Line.parse(raw.decode("utf-8"))
    except ValueError as exc:
        raise _does_not_hold(where, str(exc)) from exc


def _does_not_hold(where: str, reason: str) -> JournalError:
    return JournalError(
        f"The journal in the store does not hold: {where}: {reason}.",
        "Nothing was written or sent; what the run did is not certain from there.",
        "Go on with the run on the machine that it was begun on, or look at the platform yourself and begin a new run.",
    )


def _differs(folder: Path, run: str) -> JournalError:
    return JournalError(
        f"The journal of run {run} in {folder} differs from the one in the store.",
        "Nothing was written or sent.",
        f"Keep {folder} under another name outside the archive, then: rollback resume {run}. The store's is the one that went on.",
    )


def _journal_of(run: str) -> str:
    return f"runs/{run}/journal"


def _files_of(run: str) -> str:
    return f"runs/{run}/attachments"
