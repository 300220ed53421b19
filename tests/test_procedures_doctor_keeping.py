"""The doctor at what is kept: the state store, the archive, the disk, a run's lock, past drills."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest
from buckets import bucket_server
from conftest import FakeClock
from consultations import DOWN, Consultation
from journals import Story

from rollback_lib.clock import SystemClock
from rollback_lib.model import Redactor
from rollback_lib.store import Store


@pytest.fixture
def sound(tmp_path: Path, clock: FakeClock) -> Consultation:
    """A company in which nothing is wrong."""
    return Consultation(tmp_path, clock)


def left_in(home: Path) -> list[str]:
    """List the files that a look leaves in a project, but for the parameters and secrets."""
    kept = ("parameters", ".secrets")
    found = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] not in kept)


def test_sound_places_are_fine_and_left_as_they_were(sound: Consultation) -> None:
    """What was put to try them is taken away again."""
    titles = ("state store", "archive", "disk", "a run's lock")
    found = {title: sound.told("Records", title) for title in titles}
    assert {title: told[0] for title, told in found.items()} == dict.fromkeys(titles, "ok")
    assert "made by the first run" in found["archive"][1]
    assert left_in(sound.home) == []
    assert not (sound.home / "incidents").exists()


def test_read_only_puts_nothing_anywhere(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a folder; what cannot be told so is not checked, by choice."""
    put: list[str] = []
    monkeypatch.setattr(Store, "create", lambda _, key, __: put.append(key))
    before = sorted(sound.home.rglob("*"))
    for title in ("state store", "store's clock", "a run's lock"):
        assert sound.told("Records", title, read_only=True)[0] == "not checked"
    assert sound.told("Records", "archive", read_only=True)[0] == "ok"
    assert (put, sorted(sound.home.rglob("*"))) == ([], before)
    (sound.home / "state").mkdir()
    status, seen, _ = sound.told("Records", "state store", read_only=True)
    assert (status, "can be listed" in seen, put) == ("not checked", True, [])


# The state store


def test_store_that_lets_a_second_writer_in_is_wrong(
    sound: Consultation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines could both hold the environment's lease."""

    def create(self: Store, key: str, data: bytes) -> bool:
        self.put(key, data)
        return True

    monkeypatch.setattr(Store, "create", create)
    status, seen, todo = sound.told("Records", "state store")
    assert (status, "lease" in seen, "conditional" in todo) == ("wrong", True, True)
    assert left_in(sound.home) == []


def test_bucket_is_tried_and_left_empty(sound: Consultation) -> None:
    """The same over the network."""
    with bucket_server("runbook") as bucket:
        sound.edit(
            "drill.yaml",
            "state: state",
            f"state: s3://runbook/drill\n  bucket: {{endpoint: {bucket.endpoint}, region: us-east-1}}",
        )
        sound.write_secrets(
            STORE_ACCESS_KEY_ID=bucket.access_key_id, STORE_SECRET_ACCESS_KEY=bucket.secret_access_key
        )
        told = [
            sound.told("Records", title, clock=SystemClock()) for title in ("state store", "store's clock")
        ]
        assert [one[0] for one in told] == ["ok", "ok"]
        assert Store.open("s3://runbook/drill", sound.home, Redactor(), bucket).keys("doctor/") == ()


def test_bucket_that_does_not_answer_is_unknown(sound: Consultation) -> None:
    """What is built on it names it; no key is shown."""
    sound.edit(
        "drill.yaml", "state: state", "state: s3://runbook/drill\n  bucket: {endpoint: http://127.0.0.1:9}"
    )
    sound.write_secrets(STORE_ACCESS_KEY_ID="key-2718281828", STORE_SECRET_ACCESS_KEY="sec-2718281828")
    status, seen, todo = sound.told("Records", "state store")
    assert (status, todo, "2718281828" in seen) == ("unknown", DOWN, False)
    assert seen.startswith("The store s3://runbook/drill could not put doctor/drill/")
    assert sound.look("Records", "store's clock").after == "Records: state store"


@pytest.mark.parametrize(("ahead", "status"), [(timedelta(0), "ok"), (timedelta(minutes=10), "wrong")])
def test_store_clock_is_held_against_ours(sound: Consultation, ahead: timedelta, status: str) -> None:
    """The store stamps what is put by its own clock."""
    clock = FakeClock(SystemClock().now() - ahead)
    told = sound.told("Records", "store's clock", clock=clock)
    assert (told[0], "600 s ahead of" in told[1]) == (status, status == "wrong")


# The archive


def test_archive_in_a_bucket_is_wrong(sound: Consultation) -> None:
    """Records can only be kept in a folder."""
    sound.edit(
        "drill.yaml",
        "archive: incidents",
        "archive: s3://runbook/records\n  bucket: {endpoint: http://127.0.0.1:9}",
    )
    for title in ("archive", "disk", "a run's lock"):
        assert sound.told("Records", title)[0] == "wrong"


def test_archive_that_cannot_be_written_is_wrong(
    sound: Consultation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in its place, no right to write, a full disk: each with its reason."""
    (sound.home / "incidents").write_text("")
    assert sound.told("Records", "archive")[:2] == ("wrong", "incidents is no folder")
    (sound.home / "incidents").unlink()
    (sound.home / "incidents").mkdir()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        status, seen, _ = sound.told("Records", "archive")
        assert (status, "No space left on device" in seen) == ("wrong", True)
    assert list((sound.home / "incidents").iterdir()) == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    status, seen, _ = sound.told("Records", "archive")
    assert (status, "cannot be written" in seen) == ("wrong", True)


@pytest.mark.parametrize(("free_mb", "status"), [(199, "wrong"), (201, "ok"), (50_000, "ok")])
def test_full_disk_is_wrong(
    sound: Consultation, monkeypatch: pytest.MonkeyPatch, free_mb: int, status: str
) -> None:
    """A run stops when its journal cannot be written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_mb * 1_000_000))
    told = sound.told("Records", "disk")
    assert (told[0], told[1].startswith("50 GB" if free_mb == 50_000 else f"{free_mb} MB")) == (status, True)


def test_folder_that_does_not_lock_is_wrong(sound: Consultation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network folders let a second writer in."""
    monkeypatch.setattr(filelock, "FileLock", _Lockless)
    status, seen, _ = sound.told("Records", "a run's lock")
    assert (status, "second writer is let in" in seen) == ("wrong", True)


class _Lockless:
    """A lock that keeps nobody out."""

    def __init__(self, path: Path, **_: object) -> None:
        self.path = path

    def acquire(self) -> None:
        """Let anybody in."""

    def release(self) -> None:
        """Let go of nothing."""

    def __enter__(self) -> None:
        """Let anybody in."""

    def __exit__(self, *_: object) -> None:
        """Let go of nothing."""


# Past drills


def drill(home: Path, run: str, **opened: str) -> Story:
    """Begin a drill's run at the clock's beginning."""
    return Story(home / "incidents" / "INC-1" / run, run=run, incident="INC-1").opened(**opened)


def test_drill_is_as_old_as_its_last_verified_run(sound: Consultation) -> None:
    """None is a warning; a failed, an open or a real one does not count; thirty days are the limit."""
    title = "drill of procedure 1"
    assert sound.told("Records", title)[:2] == ("warning", "no verified drill in the archive")
    drill(sound.home, "P1-a-1111").provisional("refused")
    drill(sound.home, "P1-a-1112").check("P1.C2", "failed").closed("failed")
    drill(sound.home, "P1-a-2222", environment="production").check("P1.C2").closed()
    assert sound.told("Records", title)[0] == "warning"
    drill(sound.home, "P1-a-3333").check("P1.C2").closed()
    sound.clock.advance(30 * 86400)
    assert sound.told("Records", title) == ("ok", "last verified 2026-11-23, 30 days ago", "")
    sound.clock.advance(86400)
    status, seen, todo = sound.told("Records", title)
    assert (status, "31 days ago" in seen, "make drill" in todo) == ("warning", True, True)


def test_drills_are_found_where_drills_are_kept(sound: Consultation) -> None:
    """Another environment's archive may be elsewhere; rehearsals count for it all the same."""
    drill(sound.home, "P1-a-3333").check("P1.C2").closed()
    sound.edit("production.yaml", "archive: incidents", "archive: records")
    assert sound.told("Records", "drill of procedure 1", environment="production")[0] == "ok"
