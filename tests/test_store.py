"""The store, on a folder and on a bucket behind moto's server: the same promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from buckets import bucket_server
from parameters_project import configured, opened

from rollback_lib.errors import BadParameters, Unreachable
from rollback_lib.model import Redactor
from rollback_lib.store import Bucket, Store, open_store


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with bucket_server("state") as bucket:
        yield bucket


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store.open("state", tmp_path, Redactor())
    server = request.getfixturevalue("server")
    return Store.open(f"s3://state/{tmp_path.name}", tmp_path, Redactor(), server)


def test_create_puts_once(store: Store) -> None:
    """The second one finds the first and leaves it as it is."""
    assert store.create("a/1", b"one")
    assert not store.create("a/1", b"two")
    found = store.get("a/1")
    assert found is not None
    assert found.data == b"one"


def test_own_object_found_again_counts_as_created(store: Store) -> None:
    """After a lost answer the same content is ours: asked again, it says so."""
    assert store.create("a/1", b"one")
    assert store.create("a/1", b"one")


def test_of_many_at_once_one_creates(store: Store) -> None:
    """However many try at the same moment, one wins and the others know it."""
    won: list[int] = []
    start = threading.Barrier(8)

    def attempt(number: int) -> None:
        start.wait()
        if store.create("lease/1", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.get("lease/1")
    assert found is not None
    assert won == [int(found.data)]


def test_keys_below_a_prefix_are_listed_in_order(store: Store) -> None:
    """A prefix ends at a slash: what only begins alike is something else."""
    for key in ("runs/2", "runs/1", "runs/deep/3", "runsome/4"):
        store.put(key, key.encode())
    assert store.keys("runs") == ("runs/1", "runs/2", "runs/deep/3")
    assert store.keys("nothing") == ()


def test_put_replaces_and_delete_takes_away(store: Store) -> None:
    """What is not there is None, and taking it away again is no fault."""
    store.put("a", b"one")
    store.put("a", b"two")
    found = store.get("a")
    assert found is not None
    assert found.data == b"two"
    store.delete("a")
    store.delete("a")
    assert store.get("a") is None


def test_time_is_the_stores_and_leaves_nothing_behind(store: Store) -> None:
    """On one machine it is near the machine's own; no probe stays."""
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert store.keys("clock") == ()


def test_bucket_that_does_not_answer_is_unreachable_and_tells_no_key(tmp_path: Path) -> None:
    """Three lines, no secret, and not for long."""
    bucket = Bucket(
        "http://127.0.0.1:9", "us-east-1", "key-id-2718281828", "secret-2718281828", timeout_s=0.2
    )
    store = Store.open("s3://state", tmp_path, Redactor(), bucket)
    with pytest.raises(Unreachable, match=r"s3://state could not put a") as caught:
        store.create("a", b"x")
    assert "2718281828" not in str(caught.value)


def test_folder_that_is_gone_is_unreachable_or_made_again(tmp_path: Path) -> None:
    """A file where the folder was: told as the store's trouble."""
    store = Store.open("state", tmp_path, Redactor())
    (tmp_path / "state").rmdir()
    (tmp_path / "state").write_text("not a folder")
    with pytest.raises(Unreachable, match="could not put"):
        store.create("a/1", b"x")


@pytest.mark.parametrize(
    ("location", "says"), [("s3://state", "STORE_ACCESS_KEY_ID"), ("gs://state", "is no store")]
)
def test_location_that_cannot_be_used_is_refused(tmp_path: Path, location: str, says: str) -> None:
    """Before anything is sent."""
    with pytest.raises(BadParameters, match=says):
        Store.open(location, tmp_path, Redactor())


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "state").write_text("not a folder")
    with pytest.raises(BadParameters, match="cannot be made"):
        Store.open("state/deeper", tmp_path, Redactor())


def test_store_of_an_environment_is_the_one_its_platform_names(tmp_path: Path) -> None:
    """A folder under the project; a bucket is reached by the keys among the secrets."""
    home = configured(tmp_path)
    found = opened(home)
    open_store(found.platform, home, found.secrets).put("a/1", b"one")
    assert (home / "state" / "a" / "1").read_bytes() == b"one"
    bucket = {
        "platform": {
            "state": "s3://state",
            "bucket": {"endpoint": "http://127.0.0.1:9", "region": "eu-west-1"},
        }
    }
    keys = {"STORE_ACCESS_KEY_ID": "key-2718281828", "STORE_SECRET_ACCESS_KEY": "secret-2718281828"}
    found = opened(home, bucket, environ={f"ROLLBACK_DRILL_{name}": key for name, key in keys.items()})
    assert open_store(found.platform, home, found.secrets).location == "s3://state"
    with pytest.raises(BadParameters, match="STORE_ACCESS_KEY_ID"):
        open_store(found.platform, home, opened(home).secrets)
