"""Which deployment is the suspect, and which may be gone back to. Decides only; reads nothing.

- The suspect is what was live when the issue began, though it may have been created long before.
- Never offered: the suspect, the current one, a later one, another project's, anything not READY in production,
  never promoted, deleted, or not eligible for rollback.
- Each refusal has its reason; what is uncertain is said.
- The platform remembers only the last rollback or promotion: where that leaves two for the suspect, it is the one
  built first, so that neither is offered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollback_lib.providers.vercel import Deployment, Project

__all__ = ["Candidate", "Suspect", "find_suspect", "refusal", "stable_candidates", "went_live"]

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Suspect:
    """The deployment that was live when the issue began."""

    deployment: Deployment
    live_since: datetime | None
    notes: tuple[str, ...]  # what is uncertain, and what speaks against code as the cause


@dataclass(frozen=True)
class Candidate:
    """A deployment that may be gone back to."""

    deployment: Deployment
    undone: tuple[
        Deployment, ...
    ]  # production deployments after it, up to and with the suspect, newest first
    notes: tuple[str, ...]


def went_live(deployment: Deployment) -> datetime | None:
    """Return the best known instant when it got its domains: alias time, else when the build was ready."""
    if deployment.aliased_at is not None:
        return deployment.aliased_at
    return deployment.ready_at if deployment.aliased and deployment.substate == "PROMOTED" else None


def find_suspect(
    deployments: Sequence[Deployment],
    project: Project,
    issue_at: datetime,
    long_live: timedelta,
    gone_back_to: Collection[str] = (),
) -> Suspect | None:
    """Find what was live when the issue began; None if nothing in the list was.

    Args:
        deployments: Production deployments of the project, any order.
        project: For its last alias job, which says what a rollback or promotion changed since.
        issue_at: When the issue began.
        long_live: Live for longer than this before the issue: code is an unlikely cause.
        gone_back_to: What this incident's own runs moved production to since: none of that was live when it began.
    """
    ours = [d for d in deployments if d.project_id in (None, project.id) and d.target == "production"]
    live = [d for d in ours if d.substate == "PROMOTED" and (went_live(d) or _NEVER) <= issue_at]
    by_alias = max(live, key=lambda d: went_live(d) or _NEVER, default=None)
    job = project.last_alias_job
    since: datetime | None
    notes: tuple[str, ...]
    if job is not None and job.from_id in gone_back_to:
        since, deployment, notes = went_live(by_alias) if by_alias else None, by_alias, ()
    else:
        since, deployment, notes = _by_last_job(ours, project, issue_at, by_alias)
    if deployment is None:
        return None
    return Suspect(deployment, since, (*notes, *_doubts(deployment, since, issue_at, long_live)))


def _by_last_job(
    deployments: Sequence[Deployment], project: Project, issue_at: datetime, by_alias: Deployment | None
) -> tuple[datetime | None, Deployment | None, tuple[str, ...]]:
    """Correct the alias times by the last rollback or promotion, which moves domains without a new deployment."""
    own_time = went_live(by_alias) if by_alias is not None else None
    uncorrected = (own_time, by_alias, ())
    job = project.last_alias_job
    if job is None or job.status != "succeeded" or job.requested_at is None:
        return uncorrected
    what = f"a {job.type} at {job.requested_at:%Y-%m-%d %H:%M:%S} UTC"
    if job.requested_at <= issue_at:
        target = next((d for d in deployments if d.id == job.to_id), None)
        if target is None or (own_time is not None and own_time > job.requested_at):
            return uncorrected  # a later deployment took the domains after that job
        return job.requested_at, target, (f"live since {what}, not since its own alias time",)
    left = next((d for d in deployments if d.id == job.from_id), None)
    if left is None or (went_live(left) or left.created_at) > issue_at:
        return uncorrected  # what that job moved production away from came after the issue began
    moved = f"{what}, after the issue began, has moved production away from {left.id}"
    if by_alias is None or by_alias.id == left.id:
        return went_live(left), left, (moved,)
    first, second = sorted((left, by_alias), key=lambda d: d.created_at)
    doubt = f"uncertain: {first.id} or {second.id} was live then, a move between them is not on record; neither is offered"
    return went_live(first), first, (moved, doubt)


def _doubts(
    deployment: Deployment, since: datetime | None, issue_at: datetime, long_live: timedelta
) -> tuple[str, ...]:
    notes = []
    if deployment.aliased_at is None:
        notes.append("uncertain: Vercel gives no time for its domains; the time its build was ready is used")
    if since is not None and issue_at - since > long_live:
        hours = (issue_at - since).total_seconds() / 3600
        notes.append(
            f"it had been live for {hours:.0f} h before the issue began: its code is an unlikely cause; look first at what else changed then: environment variables, data, and whether Vercel, Convex, Clerk and Stripe report trouble"
        )
    return tuple(notes)


def refusal(deployment: Deployment, suspect: Deployment, current: str | None, project: Project) -> str:
    """Say why a deployment may not be gone back to; empty if it may."""
    reasons = (
        (
            deployment.project_id != project.id,
            f"it belongs to project {deployment.project_id}, not {project.id}",
        ),
        (
            deployment.target != "production",
            f"its target is {deployment.target or 'preview'}, not production",
        ),
        (deployment.deleted, "it is deleted"),
        (deployment.state != "READY", f"its state is {deployment.state}, not READY"),
        (deployment.id == suspect.id, "it is the suspect: it was live when the issue began"),
        (deployment.id == current, "it is live now"),
        (deployment.created_at >= suspect.created_at, "it was created after the suspect"),
        (deployment.substate != "PROMOTED", "it never had production traffic"),
        (deployment.rollback_candidate is False, "Vercel says it is not eligible for an instant rollback"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def stable_candidates(
    deployments: Sequence[Deployment], suspect: Deployment, current: str | None, project: Project
) -> tuple[Candidate, ...]:
    """List what may be gone back to, the last stable one first."""
    fitting = [d for d in deployments if not refusal(d, suspect, current, project)]
    fitting.sort(key=lambda d: went_live(d) or d.created_at, reverse=True)
    return tuple(_candidate(d, deployments, suspect) for d in fitting)


def _candidate(deployment: Deployment, deployments: Sequence[Deployment], suspect: Deployment) -> Candidate:
    between = [
        d
        for d in deployments
        if deployment.created_at < d.created_at <= suspect.created_at
        and (d.project_id, d.target) == (deployment.project_id, "production")
        and d.substate == "PROMOTED"  # also where somebody has deleted it since
    ]
    notes = []
    if deployment.rollback_candidate is None:
        notes.append("Vercel does not say whether it is eligible for an instant rollback")
    if deployment.checks_conclusion not in (None, "succeeded", "skipped"):
        notes.append(f"its checks ended as {deployment.checks_conclusion}")
    without = [d.id for d in between if not d.commit_sha]
    if without:
        notes.append(f"without a commit on record: {', '.join(without)}")
    return Candidate(
        deployment, tuple(sorted(between, key=lambda d: d.created_at, reverse=True)), tuple(notes)
    )
