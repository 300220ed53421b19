"""One machine is told from another that has its name: by its boot and its process namespace, where the system tells them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rollback_lib.machine import Machine


def proc(folder: Path, boot: str = "b1", namespace: str = "pid:[4026531836]") -> Path:
    """Make a folder that tells what the system would."""
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").symlink_to(namespace)
    return folder


def test_this_process_is_on_one_machine():
    """Two looks give the same, also after it was written down and read again."""
    here = Machine.here()
    assert here.host == socket.gethostname()
    assert Machine.told(here.written()).is_surely(Machine.here())


@pytest.mark.parametrize(
    "other",
    [{"boot": "b2"}, {"namespace": "pid:[4026532999]"}],
    ids=["started anew", "another container"],
)
def test_machines_of_one_name_are_told_apart(tmp_path: Path, other: dict[str, str]):
    """A process of the one cannot be looked at from the other, or is long gone."""
    one = Machine.here(proc(tmp_path / "one"))
    assert one.is_surely(Machine.here(proc(tmp_path / "same")))
    assert not one.is_surely(Machine.here(proc(tmp_path / "two", **other)))


def test_what_is_written_gives_neither_boot_nor_namespace_away(tmp_path: Path):
    """It goes into a store and a record."""
    boot = Machine.here(proc(tmp_path, boot="b1-secret")).boot
    assert boot is not None
    assert len(boot) == 16
    assert "secret" not in boot


def test_system_that_tells_nothing_goes_by_its_host_name(tmp_path: Path):
    """Such as macOS, where processes of one host see each other."""
    one = Machine.here(tmp_path)
    assert one == Machine(socket.gethostname(), "")
    assert one.is_surely(Machine.here(tmp_path))
    assert not one.is_surely(Machine("another", ""))


@pytest.mark.parametrize("data", [{"host": "desk-a"}, {}, {"host": "desk-a", "boot": 7}], ids=str)
def test_machine_that_was_not_written_down_is_surely_none(data: dict[str, object]):
    """An older version wrote the host name alone: not even two of its lines are of one machine beyond doubt."""
    assert not Machine.told(data).is_surely(Machine.told(data))
    assert not Machine.told(data).is_surely(Machine("desk-a", ""))
