"""Invariant 8: a drill talks to this machine only, and only people of the drill's world approve in it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from rollback_lib.drills.oracle.case import Bench
from rollback_lib.drills.oracle.verdict import Inquiry

__all__ = ["judge_places"]

_DRILL = "drill"


def judge_places(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 8: recorded addresses are loopback, environments are the drill's, approvers are of this world."""
    if not bench.told.opening:
        inquiry.leaves_open("no run was begun, so none has recorded where it talks to")
        return
    addresses = sorted(set(_addresses(bench.told.parameters.get("platform"))))
    for address in addresses:
        if not _is_loopback(address):
            inquiry.breaks(f"the run's platform leads to {address}")
    if not addresses:
        inquiry.leaves_open("the run recorded no address of its platform")
    environments = {str(bench.told.opening.get("environment"))}
    environments |= {str(line.data.get("environment")) for line in bench.told.of("gate.shown")}
    for name in sorted(environments - {_DRILL}):
        inquiry.breaks(f"the run is of environment {name}")
    for line in bench.told.of("approval.seen"):
        if line.data.get("slack_user") not in bench.case.world.slack.users:
            inquiry.breaks(f"{line}: {line.data.get('slack_user')} is nobody of this world")
    inquiry.sees(f"{len(addresses)} address(es), all of this machine; environment {_DRILL}")


def _addresses(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _addresses(item)
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)
    elif isinstance(value, str) and "://" in value:
        yield value


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
