"""The door to what is kept elsewhere: objects in a folder or a bucket, several machines at once.

- The one strong operation is `create`: put if absent. Every store has it; compare-and-swap they do not all have.
- Times are the store's own; no machine's clock is compared with another's.
- A lost answer to `create` is settled by looking: what stands there with our content is ours, so contents are unique.
- Every request has a time-out and a few retries of its own; what then still fails is `Unreachable`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_lib.errors import BadParameters, Unreachable
from rollback_lib.model import Redactor
from rollback_lib.parameters import Platform, Secrets

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config

__all__ = ["Bucket", "Store", "Stored", "open_store"]

SCHEME = "s3://"


@dataclass(frozen=True)
class Stored:
    """One object as it was found."""

    key: str
    data: bytes
    modified_at: datetime  # by the store's clock


@dataclass(frozen=True)
class Bucket:
    """How a bucket is reached."""

    endpoint: str = ""  # empty: the region's own
    region: str = "us-east-1"
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    timeout_s: float = 5.0


class Store:
    """Objects by key, below one folder or one bucket's prefix. Threads may share it."""

    def __init__(self, objects: ObjectStore, location: str, redactor: Redactor) -> None:
        self._objects, self.location, self._redactor = objects, location, redactor

    def __repr__(self) -> str:
        return f"Store({self.location!r})"

    @classmethod
    def open(cls, location: str, home: Path, redactor: Redactor, bucket: Bucket | None = None) -> Store:
        """Open a folder (a relative one is under home, and is made) or a bucket `s3://name/prefix`; sends nothing.

        Raises:
            BadParameters: An address of another kind, a bucket without its keys, or a folder that cannot be made.
        """
        if location.startswith(SCHEME):
            return cls(_bucket(location, bucket or Bucket()), location, redactor)
        if "://" in location:
            raise BadParameters(
                f"{location} is no store that this version knows.",
                "Nothing was sent.",
                "Give a folder, or a bucket as s3://name/prefix.",
            )
        from obstore.store import LocalStore

        folder = home / Path(location).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise BadParameters(
                f"The folder {folder} cannot be made: {exc.strerror}.",
                "Nothing was sent.",
                "Name another folder, or have it made.",
            ) from exc
        return cls(LocalStore(prefix=folder), str(folder), redactor)

    def create(self, key: str, data: bytes) -> bool:
        """Put an object where there is none; False where another one stands already.

        Args:
            key: Parts joined by slashes.
            data: Different from whatever else may be put there, so that ours is known again.

        Raises:
            Unreachable: The store gave no usable answer; the object may or may not be there.
        """
        import obstore

        with self._told(f"put {key}"):
            try:
                obstore.put(self._objects, key, data, mode="create")
            except obstore.exceptions.AlreadyExistsError:
                found = self.get(key)
                return found is not None and found.data == data
        return True

    def put(self, key: str, data: bytes) -> None:
        """Put an object, in place of one that may stand there.

        Raises:
            Unreachable: The store gave no usable answer.
        """
        import obstore

        with self._told(f"put {key}"):
            obstore.put(self._objects, key, data)

    def get(self, key: str) -> Stored | None:
        """Return an object, or None where there is none.

        Raises:
            Unreachable: The store gave no usable answer.
        """
        import obstore

        with self._told(f"get {key}"):
            try:
                found = obstore.get(self._objects, key)
                return Stored(key, bytes(found.bytes()), found.meta["last_modified"])
            except FileNotFoundError:
                return None
        raise AssertionError("unreachable")

    def keys(self, prefix: str, *, after: str = "") -> tuple[str, ...]:
        """List the keys below a prefix, in order; the prefix ends at a slash.

        Args:
            prefix: Whole parts of the keys.
            after: Only keys that come behind it; empty: all.

        Raises:
            Unreachable: The store gave no usable answer.
        """
        import obstore

        with self._told(f"list {prefix}"):
            pages = obstore.list(self._objects, prefix, offset=after or None)
            found = [meta["path"] for page in pages for meta in page]
        return tuple(sorted(found))

    def delete(self, key: str) -> None:
        """Take an object away; one that is not there is no fault.

        Raises:
            Unreachable: The store gave no usable answer.
        """
        import obstore

        with self._told(f"delete {key}"):
            try:
                obstore.delete(self._objects, key)
            except FileNotFoundError:
                return

    def now(self) -> datetime:
        """Tell the store's time, by putting an object and looking at it.

        Raises:
            Unreachable: The store gave no usable answer.
        """
        key = f"clock/{secrets.token_hex(8)}"
        self.put(key, b"")
        found = self.get(key)
        self.delete(key)
        if found is None:
            raise self._unreachable("look at its time", "what was just put is not there")
        return found.modified_at

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        import obstore

        try:
            yield
        except (obstore.exceptions.BaseError, OSError) as exc:
            raise self._unreachable(what, str(exc).partition("\n")[0]) from exc

    def _unreachable(self, what: str, why: str) -> Unreachable:
        return Unreachable(
            self._redactor.redact(f"The store {self.location} could not {what}: {why}."),
            "Nothing that changes production was sent by this.",
            "Look at the folder or the bucket (platform.state) and its keys, then run the cell again.",
        )


def open_store(
    platform: Platform, home: Path, secrets: Secrets, timeout_s: float = Bucket.timeout_s
) -> Store:
    """Open the store that an environment's machines share (`platform.state`); sends nothing.

    Args:
        platform: Where it is.
        home: The project's folder, for a relative one.
        secrets: A bucket's keys.
        timeout_s: For one answer of a bucket; with its retries no operation takes more than about twice that.

    Raises:
        BadParameters: An address of another kind, a bucket without its keys, or a folder that cannot be made.
    """
    keys = (secrets.optional("STORE_ACCESS_KEY_ID"), secrets.optional("STORE_SECRET_ACCESS_KEY"))
    key_id, secret = (key.get_secret_value() if key is not None else "" for key in keys)
    bucket = Bucket(platform.bucket.endpoint or "", platform.bucket.region, key_id, secret, timeout_s)
    return Store.open(platform.state, home, secrets.redactor, bucket)


def _bucket(location: str, bucket: Bucket) -> ObjectStore:
    from obstore.store import S3Store

    name, _, prefix = location.removeprefix(SCHEME).partition("/")
    if not (bucket.access_key_id and bucket.secret_access_key):
        raise BadParameters(
            f"{location} needs STORE_ACCESS_KEY_ID and STORE_SECRET_ACCESS_KEY, and they are not given.",
            "Nothing was sent.",
            "Set both as environment variables, or write them into the secrets file.",
        )
    reached: S3Config = {
        "region": bucket.region,
        "access_key_id": bucket.access_key_id,
        "secret_access_key": bucket.secret_access_key,
    }
    if bucket.endpoint:
        reached["endpoint"] = bucket.endpoint
    return S3Store(
        name,
        prefix=prefix or None,
        config=reached,
        client_options={
            "timeout": timedelta(seconds=bucket.timeout_s),
            "allow_http": bucket.endpoint.startswith("http://"),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=2 * bucket.timeout_s)},
    )
