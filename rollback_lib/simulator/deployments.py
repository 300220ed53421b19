"""The things that the hosting platform keeps: deployments, aliases, alias jobs, variables, the project.

- Times are milliseconds on the world's clock, whole numbers, as the platform gives them.
- Where a host pointed at any past moment can always be told: moves are added, never rewritten.
- A deployment keeps the variables that it was built with.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["AliasJob", "AliasTable", "Deployment", "EnvVar", "Project", "RollbackNote", "Rolling"]

State = Literal["BUILDING", "CANCELED", "DELETED", "ERROR", "INITIALIZING", "QUEUED", "READY"]
JobStatus = Literal["pending", "in-progress", "succeeded", "failed", "skipped"]


@dataclass
class Deployment:
    """One build and its fate."""

    id: str
    name: str
    project_id: str
    url: str  # host without scheme
    created_ms: int
    state: State
    substate: Literal["STAGED", "ROLLING", "PROMOTED"] | None = None
    building_ms: int | None = None
    ready_ms: int | None = None
    target: str | None = None  # a preview has none
    source: str = "git"
    creator: str = "ana"
    meta: dict[str, str] = field(default_factory=dict)
    alias_assigned: int | bool | None = None  # the platform gives either
    retained: bool = True  # False: too old by the retention rule, no longer eligible
    deleted_ms: int | None = None
    error: tuple[str, str] | None = None  # code, message
    broken: bool = False  # carries the fault of this world
    env: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def sha(self) -> str:
        """The commit, or "" where the platform knows none."""
        return self.meta.get("githubCommitSha", "")

    @property
    def release(self) -> str:
        """What the monitoring calls this build."""
        return f"{self.name}@{self.sha[:12] or self.id}"

    @property
    def is_live_once(self) -> bool:
        """It has served production at some time."""
        return self.substate == "PROMOTED"

    @property
    def is_rollback_candidate(self) -> bool:
        """The platform would take it as a target of an instant rollback."""
        return self.target == "production" and self.state == "READY" and self.is_live_once and self.retained


class AliasTable:
    """Which deployment each host points at, now and at any time before."""

    def __init__(self) -> None:
        self._moves: dict[str, tuple[list[int], list[str]]] = {}

    def move(self, host: str, deployment_id: str, at_ms: int) -> None:
        """Point a host at a deployment from a moment on; moves of one host come in order of time."""
        times, targets = self._moves.setdefault(host, ([], []))
        if times and at_ms < times[-1]:
            raise ValueError(f"{host} was already moved at {times[-1]}, later than {at_ms}")
        times.append(at_ms)
        targets.append(deployment_id)

    def at(self, host: str, at_ms: int) -> str | None:
        """Tell the deployment that a host pointed at, or None before its first."""
        times, targets = self._moves.get(host, ([], []))
        place = bisect_right(times, at_ms)
        return targets[place - 1] if place else None

    def next_move(self, host: str, at_ms: int) -> int | None:
        """Tell when the host was moved next after a moment, or None if it has not been."""
        times, _ = self._moves.get(host, ([], []))
        place = bisect_right(times, at_ms)
        return times[place] if place < len(times) else None

    def now(self, host: str) -> str | None:
        """Tell the deployment that a host points at."""
        _, targets = self._moves.get(host, ([], []))
        return targets[-1] if targets else None

    def moves(self, host: str, since_ms: int = 0) -> list[tuple[int, str]]:
        """List the moves of a host from a moment on."""
        return [move for move in zip(*self._moves.get(host, ([], [])), strict=True) if move[0] >= since_ms]

    def hosts_of(self, deployment_id: str) -> list[tuple[str, int]]:
        """List the hosts that point at a deployment now, with the time they were moved."""
        return [
            (host, times[-1])
            for host, (times, targets) in self._moves.items()
            if targets[-1] == deployment_id
        ]


@dataclass
class AliasJob:
    """One request to move production: a rollback or a promotion."""

    kind: Literal["rollback", "promote"]
    from_id: str | None
    to_id: str
    requested_ms: int
    by: str  # name of the caller's token
    status: JobStatus = "pending"
    hosts: dict[str, str] = field(
        default_factory=dict
    )  # host -> completed, in-progress, pending, failed, skipped
    superseded: bool = False  # a later request took its place; it moves nothing any more

    @property
    def is_running(self) -> bool:
        """It has not come to an end."""
        return self.status in ("pending", "in-progress") and not self.superseded


@dataclass
class EnvVar:
    """One row of the project's variables; a key may have several rows."""

    id: str
    key: str
    value: str = field(repr=False)
    type: str
    target: list[str]
    created_ms: int
    updated_ms: int
    updated_by: str = "usr_drill"
    git_branch: str | None = None
    comment: str | None = None
    visibility: str | None = None


@dataclass
class RollbackNote:
    """The reason kept with a rollback."""

    text: str
    at_ms: int


@dataclass
class Rolling:
    """A gradual rollout: a share of the traffic goes to another deployment for a while."""

    canary_id: str
    percentage: float
    since_ms: int
    until_ms: int | None = None  # None: still under way

    def takes(self, visitor: int, at_ms: int) -> bool:
        """Tell whether a visitor's request goes to the canary at a moment."""
        return (
            visitor % 100 < self.percentage
            and self.since_ms <= at_ms
            and (self.until_ms is None or at_ms < self.until_ms)
        )


@dataclass
class Project:
    """The project's own settings and its last alias job."""

    id: str
    name: str
    production_hosts: tuple[str, ...]
    created_ms: int
    auto_assign: bool = True
    last_job: AliasJob | None = None
    rollback_target: tuple[str, int] | None = None  # deployment and until when it is shown
    rollback_note: RollbackNote | None = None
    crons_deployment: str | None = None
    crons_updated_ms: int = 0
    paused: bool = False
    rolling: Rolling | None = None
    queued_promote: AliasJob | None = None  # waits for the rolling release to end
    bypass_secrets: dict[str, int] = field(default_factory=dict, repr=False)  # secret -> since when
