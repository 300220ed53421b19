"""What procedure 1 finds and returns: small frozen values that show themselves in a cell and survive a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_lib.clock import to_iso
from rollback_lib.http import Heard
from rollback_lib.model import Check, CheckStatus, DeploymentId
from rollback_lib.procedures.candidates import Suspect, went_live
from rollback_lib.procedures.shown import LONGEST, Listing
from rollback_lib.providers.vercel import Deployment, Project
from rollback_lib.signals.checks import percent

__all__ = [
    "Moved",
    "Stable",
    "commit_text",
    "deployments_listing",
    "on_off",
    "project_lines",
    "skew_of",
    "skew_text",
    "state_of",
    "will_not_undo",
]

ROW = ("now", "deployment", "created (UTC)", "live from (UTC)", "state", "commit", "author", "message")
FITTING = 5  # deployments that are rolled back: as many as fit a cell


@dataclass(frozen=True)
class Stable:
    """The last stable deployment before the issue, and what was decided on the way to it."""

    deployment: Deployment
    suspect: Suspect
    live: DeploymentId
    issue_at: datetime
    issue_from: str  # where that time comes from
    undone: tuple[Deployment, ...]
    notes: tuple[str, ...]
    probes: tuple[Check, ...]
    rate_before: float | None
    preview: str  # its own address; empty where that cannot be looked at
    state: dict[str, str]  # what the gate's digest covers
    undo_of: str = ""  # the run whose change is undone; empty: this is a rollback

    def __repr__(self) -> str:
        d = self.deployment
        what = f"Undoes run {self.undo_of}, back to" if self.undo_of else "Last stable deployment"
        lines = [
            f"{what}: {d.id}  {commit_text(d)}",
            f"  created {d.created_at:%Y-%m-%d %H:%M} UTC by {d.commit_author or d.creator or 'unknown'}, live from {_at(went_live(d))}",
            f"  preview {self.preview or 'none: its address cannot be looked at'}",
            f"Suspect: {self.suspect.deployment.id}  {commit_text(self.suspect.deployment)}, live from {_at(self.suspect.live_since)}",
            f"Issue began {self.issue_at:%Y-%m-%d %H:%M:%S} UTC ({self.issue_from}); error rate now {percent(self.rate_before)}; live now {self.live}",
            f"Rolls back {len(self.undone)} deployment(s): "
            + "; ".join(f"{u.id} {commit_text(u)}" for u in self.undone[:FITTING])
            + (" ..." if len(self.undone) > FITTING else ""),
            *self._probe_lines(),
            *(f"  note: {note}" for note in (*self.suspect.notes, *self.notes)),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        d = self.deployment
        what = f"Undoes run {self.undo_of}, back to" if self.undo_of else "Last stable deployment"
        others = [u for u in self.undone if u.id != self.suspect.deployment.id]
        left = len(others) - FITTING
        lines = (
            f"Preview: {self.preview or 'none: its address cannot be looked at'}",
            f"Created: {d.created_at:%Y-%m-%d %H:%M} UTC by {d.commit_author or d.creator or 'unknown'}; {self._probe_lines()[0].strip()}",
            *(line.strip() for line in self._probe_lines()[1:]),
            f"Issue began: {self.issue_at:%Y-%m-%d %H:%M:%S} UTC ({self.issue_from}); error rate now {percent(self.rate_before)}",
            f"Live now: {self.live}",
            f"Rolls back: {len(self.undone)} deployment(s)"
            + (f", of which {left} are not shown" if left > 0 else ""),
            *(f"Note: {note}" for note in (*self.suspect.notes, *self.notes)),
        )
        rows = (
            self._row("goes back to", d, went_live(d)),
            self._row("suspect", self.suspect.deployment, self.suspect.live_since),
            *(self._row("rolled back too", u, went_live(u)) for u in others[:FITTING]),
        )
        columns = ("", "deployment", "live from (UTC)", "commit")
        return Listing(f"{what}: {d.id}", columns, rows, "\n".join(lines), bold=(0,))._repr_html_()

    def _row(self, role: str, deployment: Deployment, live_from: datetime | None) -> tuple[str, ...]:
        told = f"{role}, live now" if deployment.id == self.live else role
        return told, deployment.id, _at(live_from), commit_text(deployment)

    @property
    def looked_at(self) -> str:
        """Say how many of the checks on the deployment's own address passed."""
        if not self.probes:
            return "not looked at"
        passed = sum(probe.status is CheckStatus.PASSED for probe in self.probes)
        return f"{passed} of {len(self.probes)} checks passed"

    def _probe_lines(self) -> list[str]:
        others = [f"  {probe!r}" for probe in self.probes if probe.status is not CheckStatus.PASSED]
        return [f"  looked at on its own address: {self.looked_at}", *others]


@dataclass(frozen=True)
class Moved:
    """Production was told to move; whether it has is for the next step to see."""

    source: DeploymentId
    target: DeploymentId
    sent_at: datetime
    seen: str
    detail: str

    def __repr__(self) -> str:
        return f"Production: {self.source} → {self.target}: {self.seen} ({self.detail})"


def state_of(project: Project, candidate: Deployment) -> dict[str, str]:
    """Return the platform's state that a gate's decision rests on, the target included."""
    job = project.last_alias_job
    requested = to_iso(job.requested_at) if job is not None and job.requested_at is not None else "none"
    return {
        "project": project.id,
        "target": candidate.id,
        "live deployment": str(project.production_id),
        "auto-assign of domains": str(project.auto_assign),
        "last rollback or promotion": f"{job.type} to {job.to_id} at {requested}: {job.status}"
        if job is not None
        else "none",
        "rolling release": "active" if project.rolling_release else "none",
        "project paused": str(project.paused),
        "target state": f"{candidate.state}/{candidate.substate}{' deleted' if candidate.deleted else ''}",
    }


def will_not_undo(project: Project, target: Deployment, *, pins: bool) -> tuple[str, ...]:
    """List what stays as it is, or is changed besides, when production moves to the target."""
    built = f"{target.created_at:%Y-%m-%d %H:%M} UTC"
    lines = [
        "Convex functions, schema and data: they stay as they are now",
        f"environment variables: the old build keeps the values of {built}; secrets rotated since then break it",
        "browser tabs that are open already",
    ]
    if pins:
        lines.append("the pin: new production builds stay staged until a fixed one is promoted")
    elif project.auto_assign is False:
        lines.append("auto-assign of domains: promoting turns it on again")
    if project.crons_deployment_id is not None:
        lines.append(f"cron runs so far; cron jobs follow to {target.id}")
    if project.rolling_release:
        lines.append("the rolling release: it is stopped")
    return tuple(lines)


def project_lines(project: Project) -> tuple[str, ...]:
    """Describe a project in a few lines."""
    pinned = {
        False: "pinned by a rollback, or switched off by hand (auto-assign off)",
        True: "auto-assign on",
        None: "auto-assign unknown",
    }[project.auto_assign]
    lines = [f"live: {project.production_id or 'unknown'}; {pinned}"]
    job = project.last_alias_job
    if job is not None:
        at = (
            f"{job.requested_at:%Y-%m-%d %H:%M:%S} UTC"
            if job.requested_at is not None
            else "at an unknown time"
        )
        lines.append(f"last rollback or promotion: {job.type} to {job.to_id}, {job.status}, {at}")
    if project.rolling_release:
        lines.append("a rolling release is active: a rollback stops it")
    if project.paused:
        lines.append("the project is PAUSED: no deployment answers until it is unpaused")
    return tuple(lines)


def skew_of(heard: Heard | None) -> float | None:
    """Return how far a platform's clock is ahead of ours, in seconds; 0 for what cannot be told from none, None unknown."""
    if heard is None:
        return None
    return 0.0 if abs(heard.ahead_s) <= heard.within_s else heard.ahead_s


def skew_text(skew_s: float) -> str:
    """Say how far this machine's clock is off, as people say it."""
    return f"this machine's clock is {abs(skew_s):.0f} s {'behind' if skew_s > 0 else 'ahead of'} Vercel's"


def on_off(value: bool | None) -> str:
    """Write a switch that may be unknown."""
    return {True: "on", False: "off", None: "unknown"}[value]


def commit_text(deployment: Deployment) -> str:
    """Write a commit shortly, or say that there is none on record."""
    if not deployment.commit_sha:
        return "(no commit on record)"
    return f"{deployment.commit_sha[:8]} {(deployment.commit_message or '').splitlines()[0][:60] if deployment.commit_message else ''}".rstrip()


def deployments_listing(deployments: Sequence[Deployment], live: str | None) -> Listing:
    """Return the deployments as a table in which the one that is live now is marked, and named below.

    Args:
        deployments: Newest first.
        live: What the platform says is live; None where it does not say.
    """
    at = next((at for at, one in enumerate(deployments) if one.id == live), None)
    if live is None:
        note = "Which one is live now is not known: Vercel does not say."
    elif at is None:
        note = f"Live now: {live}, which is not among these."
    else:
        note = f"Live now: {live}{', further down' if at >= LONGEST else ''}."
    rows = tuple(("LIVE" if one.id == live else "", *_row_of(one)) for one in deployments)
    bold = () if at is None else (at,)
    return Listing("Production deployments, newest first", ROW, rows, note, bold)


def _row_of(deployment: Deployment) -> tuple[str, ...]:
    return (
        deployment.id,
        f"{deployment.created_at:%Y-%m-%d %H:%M}",
        _live_from(deployment),
        f"{deployment.state}{'/' + deployment.substate if deployment.substate else ''}",
        (deployment.commit_sha or "-")[:8],
        deployment.commit_author or deployment.creator or "-",
        (deployment.commit_message or "-").splitlines()[0][:50],
    )


def _live_from(deployment: Deployment) -> str:
    """Say when it got the production domains, as far as Vercel tells; a staged build got its own hosts only."""
    if deployment.substate == "STAGED":
        return "never"
    return _at(went_live(deployment)) if deployment.state == "READY" else "-"


def _at(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M}" if instant is not None else "unknown"
