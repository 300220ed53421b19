"""What every test stands on: no network beyond loopback, no retries, and a clock that does not sleep.

- A connection to anything but loopback, and a look-up of any name but localhost, fails with `NetworkUsed`.
- Retries are off; a test that is about them turns them on: `stamina.set_testing(False); stamina.set_active(True)`.
- No secret, proxy or project folder of the person who runs the tests reaches them through the environment.
- The processes of pytest-xdist share one hash seed, so that they agree on the names of the tests.
- `clock` is a `FakeClock`: `sleep` and `advance` move it, nothing waits.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
import stamina

__all__ = ["BEGAN", "FakeClock", "NetworkUsed"]

# These need the official tools, which `make conformance` installs and then names the folder to pytest.
collect_ignore = ["conformance"]

BEGAN = datetime(2026, 11, 23, 21, 58, tzinfo=UTC)
LONG = {  # real processes, one after the other
    "test_bad_days_backend.py",
    "test_crash_points.py",
    "test_drills_oracle_backend.py",
    "test_mutants.py",
    "test_procedures_convex_rollback.py",
    "test_run_twice_backend.py",
}
# Names in the environment that would change what a test does.
_SETTINGS = ("ROLLBACK_HOME", "ROLLBACK_SECRETS_FILE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class NetworkUsed(BaseException):
    """A test reached for the network. Not an `Exception`: the code under test must not take it for an outage."""


@dataclass
class FakeClock:
    """A clock of `rollback_lib.clock.Clock`'s shape that moves only when somebody waits or advances it.

    Several threads may wait on it; each wait moves it once.
    """

    at: datetime = BEGAN
    slept: list[float] = field(default_factory=list)
    _ran_s: float = 1000.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def now(self) -> datetime:
        """Return the instant it stands at, aware UTC."""
        return self.at

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return self._ran_s

    def sleep(self, seconds: float) -> None:
        """Note the wait and move on by it at once."""
        with self._lock:
            self.slept.append(seconds)
        self.advance(max(seconds, 0.0))

    def advance(self, seconds: float) -> None:
        """Move on without anybody having waited."""
        with self._lock:
            self.at += timedelta(seconds=seconds)
            self._ran_s += seconds


@pytest.fixture
def clock() -> FakeClock:
    """A clock that does not sleep."""
    return FakeClock()


@pytest.fixture(autouse=True)
def _no_retries() -> Iterator[None]:
    """Turn retries off, and put the switch back whatever the test did to it."""
    with stamina.set_testing(False):
        stamina.set_active(False)
        yield
        stamina.set_active(True)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from rollback_lib.parameters.secrets import SECRET_NAMES, variable_of

    own = [variable_of("drill", name) for name in (*SECRET_NAMES, "ROLLBACK_SECRETS_FILE")]
    for name in (*SECRET_NAMES, *own, *_SETTINGS):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets reach loopback and local ones (those of kernels), nothing else."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_elsewhere(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_elsewhere(self.family, address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        if host is not None and not _is_here(host):
            raise NetworkUsed(f"a test looked up {host!r}")
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def _refuse_elsewhere(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
        raise NetworkUsed(f"a test opened a connection to {address!r}")


def _is_here(host: str | bytes) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104 - listening on all of this machine's own addresses
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def pytest_configure() -> None:
    """Give all processes of a run one hash seed, which the tests' names may follow from: a set has no order of its own.

    Worlds are many small tuples that live as long as their test: looking for garbage after every 700 of them takes a
    seventh of the time.
    """
    gc.set_threshold(50_000, 20, 20)
    if os.environ.setdefault("PYTHONHASHSEED", "random") == "random":
        os.environ["PYTHONHASHSEED"] = str(secrets.randbelow(2**32))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process begin with its share of what takes long, so that all end at about the same time.

    Each gets a piece of the list, in its order, and takes over what others have left once it has done its own.
    """
    if "TORTURE_UNTIL" in os.environ:
        return  # it has an order of its own
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    takes_long = [item for item in items if item.path.name in LONG or item.path.parent.name == "notebooks"]
    long = frozenset(takes_long)
    others = iter([item for item in items if item not in long])
    piece = -(-len(items) // processes)
    pieces = [takes_long[number::processes] for number in range(processes)]
    items[:] = [item for own in pieces for item in (*own, *islice(others, piece - len(own)))]


def pytest_report_header() -> str:
    """Say how to get the same order of sets again."""
    return f"hash seed of the worker processes: PYTHONHASHSEED={os.environ['PYTHONHASHSEED']}"
