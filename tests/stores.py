"""Stores for tests: a folder or a bucket on loopback, what ages an object in them, and a store on a bad day."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from conftest import FakeClock

from rollback_lib.errors import Unreachable
from rollback_lib.model import Redactor
from rollback_lib.store import Bucket, Store, Stored

__all__ = ["BadDay", "bucket_store", "folder_store", "older"]


def folder_store(home: Path) -> Store:
    """Give the store of a project folder, as its parameters name it."""
    return Store.open("state", home, Redactor())


def bucket_store(bucket: Bucket, home: Path) -> Store:
    """Give a store of its own in the bucket `state`."""
    return Store.open(f"s3://state/{home.name}", home, Redactor(), bucket)


def older(store: Store, key: str, seconds: float) -> None:
    """Make an object older by the store's own clock: a folder's files, in a bucket by waiting."""
    if "://" in store.location:
        time.sleep(seconds)
        return
    path = Path(store.location) / key
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


@dataclass
class BadDay(Store):
    """A store that can be slow, out of reach, or have its clock wrong."""

    whole: Store
    clock: FakeClock
    takes_s: float = 0.0  # by the clock, each request
    down: bool = False
    off: timedelta = timedelta()  # how far its clock is ahead
    asked: list[str] = field(default_factory=list)

    @property
    def location(self) -> str:  # type: ignore[override]
        return self.whole.location

    def create(self, key: str, data: bytes) -> bool:
        self._asked(f"create {key}")
        return self.whole.create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._asked(f"put {key}")
        self.whole.put(key, data)

    def get(self, key: str) -> Stored | None:
        self._asked(f"get {key}")
        found = self.whole.get(key)
        return found and replace(found, modified_at=found.modified_at + self.off)

    def keys(self, prefix: str, *, after: str = "") -> tuple[str, ...]:
        self._asked(f"keys {prefix}")
        return self.whole.keys(prefix, after=after)

    def delete(self, key: str) -> None:
        self._asked(f"delete {key}")
        self.whole.delete(key)

    def _asked(self, what: str) -> None:
        self.asked.append(what)
        self.clock.advance(self.takes_s)
        if self.down:
            raise Unreachable(
                f"The store could not {what}: no route.", "Nothing was sent.", "Look at the store."
            )
