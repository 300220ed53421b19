"""Deployments, projects and alias jobs of Vercel as values; built from whatever shape an endpoint gives them.

- The list calls a deployment's id `uid`, the single read `id`; both are `DeploymentId` here.
- `aliasAssigned` is a number, true, false or null: `aliased` is its truth, `aliased_at` its time if it has one.
- An unknown state, status or type is kept as it is written, never mapped to a known one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from rollback_lib.http import Reply
from rollback_lib.model import DeploymentId, ProjectId
from rollback_lib.providers.shapes import Shape, a_list, a_mapping, a_text, flag, ms_time, needed, unusable

__all__ = ["AliasJob", "AliasMove", "Deployment", "ProductionTarget", "Project"]

_GIT_PREFIXES = ("github", "gitlab", "bitbucket", "git")


@dataclass(frozen=True)
class Deployment:
    """One deployment; immutable on the platform, but where it serves is not."""

    id: DeploymentId
    name: str
    project_id: ProjectId | None
    url: str  # host only, its own and immutable
    target: str | None  # production, staging; None is a preview
    state: str  # READY, ERROR, BUILDING, ...
    substate: str | None  # STAGED, ROLLING, PROMOTED: has seen production traffic, not: is current
    created_at: datetime
    ready_at: datetime | None
    aliased: bool
    aliased_at: datetime | None
    alias_error: str
    rollback_candidate: bool | None  # only the list says it
    checks_state: str | None
    checks_conclusion: str | None  # succeeded, failed, skipped, canceled
    commit_sha: str
    commit_ref: str
    commit_message: str
    commit_author: str
    creator: str
    source: str  # cli, git, redeploy, ...
    action: str  # redeploy, promote; empty for an ordinary build
    deleted: bool
    custom_environment: str
    inspector_url: str
    hosts: tuple[str, ...]  # that it got at creation: history, not what it serves now
    plan: str = ""  # hobby, pro, enterprise; only the single read says it

    @classmethod
    def from_response(cls, reply: Reply, raw: Shape) -> Self:
        """Read one deployment of a list or of a single read.

        Raises:
            Unreachable: It has no id, no url or no creation time.
        """
        created = ms_time(raw.get("createdAt")) or ms_time(raw.get("created"))
        if created is None:
            raise unusable(reply, "a field 'createdAt' in milliseconds")
        meta, git = a_mapping(raw.get("meta")), a_mapping(raw.get("gitSource"))
        project = a_text(raw.get("projectId")) or a_text(a_mapping(raw.get("project")).get("id"))
        assigned = raw.get("aliasAssigned")
        states = (a_text(raw.get(name)) for name in ("readyState", "state", "status"))
        state = next((text for text in states if text), "unknown")
        gone = bool(raw.get("deleted") or raw.get("softDeletedByRetention")) or state == "DELETED"
        return cls(
            id=DeploymentId(needed(reply, raw, "uid", "id")),
            name=a_text(raw.get("name")) or "",
            project_id=ProjectId(project) if project else None,
            url=_host(needed(reply, raw, "url")),
            target=a_text(raw.get("target")) or None,
            state=state,
            substate=a_text(raw.get("readySubstate")) or None,
            created_at=created,
            ready_at=ms_time(raw.get("ready")),
            aliased=bool(assigned),
            aliased_at=(ms_time(assigned) or ms_time(raw.get("aliasAssignedAt"))) if assigned else None,
            alias_error=_error(raw.get("aliasError")),
            rollback_candidate=flag(raw.get("isRollbackCandidate")),
            checks_state=a_text(raw.get("checksState")) or None,
            checks_conclusion=a_text(raw.get("checksConclusion")) or None,
            commit_sha=_commit(meta, "Sha") or a_text(git.get("sha")) or "",
            commit_ref=_commit(meta, "Ref") or a_text(git.get("ref")) or "",
            commit_message=_commit(meta, "Message"),
            commit_author=_commit(meta, "AuthorName") or _commit(meta, "AuthorLogin"),
            creator=_person(raw.get("creator")),
            source=a_text(raw.get("source")) or "",
            action=a_text(meta.get("action")) or "",
            deleted=gone,
            custom_environment=_environment(raw.get("customEnvironment")),
            inspector_url=a_text(raw.get("inspectorUrl")) or "",
            hosts=tuple(host for host in a_list(raw.get("alias")) if isinstance(host, str)),
            plan=a_text(raw.get("plan")) or "",
        )


@dataclass(frozen=True)
class ProductionTarget:
    """What a project says it serves in production."""

    id: DeploymentId
    url: str
    state: str
    substate: str | None
    created_at: datetime | None
    commit_sha: str

    @classmethod
    def from_response(cls, raw: Any) -> Self | None:
        """Read `targets.production`; None where there is none."""
        found = a_text(a_mapping(raw).get("id")) or a_text(a_mapping(raw).get("uid"))
        if not found:
            return None
        return cls(
            id=DeploymentId(found),
            url=_host(a_text(raw.get("url")) or ""),
            state=a_text(raw.get("readyState")) or "unknown",
            substate=a_text(raw.get("readySubstate")) or None,
            created_at=ms_time(raw.get("createdAt")),
            commit_sha=_commit(a_mapping(raw.get("meta")), "Sha"),
        )


@dataclass(frozen=True)
class AliasJob:
    """The last rollback or promotion; it stays after it has ended and is overwritten by the next."""

    from_id: DeploymentId | None
    to_id: DeploymentId | None
    status: (
        str  # pending, in-progress, succeeded, failed, skipped; anything else is kept and means nothing good
    )
    requested_at: datetime | None
    type: str  # rollback, promote

    @property
    def ended(self) -> bool:
        """Say whether it will not move anything any more; a status nobody knows has not surely ended."""
        return self.status in {"succeeded", "failed", "skipped"}

    @classmethod
    def from_response(cls, raw: Any) -> Self | None:
        """Read `lastAliasRequest`; None before the first job."""
        if not isinstance(raw, dict) or not raw:
            return None
        return cls(
            from_id=_deployment(raw.get("fromDeploymentId")),
            to_id=_deployment(raw.get("toDeploymentId")),
            status=a_text(raw.get("jobStatus")) or "unknown",
            requested_at=ms_time(raw.get("requestedAt")),
            type=a_text(raw.get("type")) or "unknown",
        )


@dataclass(frozen=True)
class AliasMove:
    """What a rollback or promotion did with one host."""

    alias: str
    status: str  # completed, in-progress, pending, failed, skipped; unknown ones are kept
    deployment_id: DeploymentId | None

    @classmethod
    def from_response(cls, raw: Shape) -> Self:
        """Read the flat form and the one with an object inside."""
        inner = a_mapping(raw.get("alias"))
        host = a_text(inner.get("alias")) if inner else a_text(raw.get("alias"))
        return cls(
            alias=host or a_text(raw.get("id")) or "unknown",
            status=a_text(raw.get("status")) or "unknown",
            deployment_id=_deployment(inner.get("deploymentId")) or _deployment(raw.get("deploymentId")),
        )


@dataclass(frozen=True)
class Project:
    """A project's state as far as a rollback concerns it."""

    id: ProjectId
    name: str
    account_id: str
    production: ProductionTarget | None
    auto_assign: bool | None  # False: pinned by a rollback, or set by hand; None: not said, so not known
    last_alias_job: AliasJob | None
    rolling_release: bool  # a promotion would start a gradual rollout
    paused: bool
    production_branch: str
    repository: str  # owner/name as the platform links it
    crons_deployment_id: DeploymentId | None
    rollback_description: str

    @property
    def production_id(self) -> DeploymentId | None:
        """Return the deployment that the project says it serves in production."""
        return self.production.id if self.production is not None else None

    @classmethod
    def from_response(cls, reply: Reply, raw: Shape) -> Self:
        """Read a project.

        Raises:
            Unreachable: It has no id.
        """
        link = a_mapping(raw.get("link"))
        owner, name = a_text(link.get("org")) or "", a_text(link.get("repo")) or ""
        return cls(
            id=ProjectId(needed(reply, raw, "id")),
            name=a_text(raw.get("name")) or "",
            account_id=a_text(raw.get("accountId")) or "",
            production=ProductionTarget.from_response(a_mapping(raw.get("targets")).get("production")),
            auto_assign=flag(raw.get("autoAssignCustomDomains")),
            last_alias_job=AliasJob.from_response(raw.get("lastAliasRequest")),
            rolling_release=bool(raw.get("rollingRelease")),
            paused=bool(raw.get("paused")),
            production_branch=a_text(link.get("productionBranch")) or "",
            repository=f"{owner}/{name}".strip("/"),
            crons_deployment_id=_deployment(a_mapping(raw.get("crons")).get("deploymentId")),
            rollback_description=_description(raw.get("rollbackDescription")),
        )


def _deployment(value: Any) -> DeploymentId | None:
    text = a_text(value)
    return DeploymentId(text) if text else None


def _host(text: str) -> str:
    return text.removeprefix("https://").removeprefix("http://").rstrip("/")


def _commit(meta: Shape, field: str) -> str:
    """Find a commit's field under the prefix of whichever git host deployed it."""
    for prefix in _GIT_PREFIXES:
        text = a_text(meta.get(f"{prefix}Commit{field}"))
        if text:
            return text
    return ""


def _person(raw: Any) -> str:
    creator = a_mapping(raw)
    return (
        a_text(creator.get("username"))
        or a_text(creator.get("githubLogin"))
        or a_text(creator.get("uid"))
        or ""
    )


def _environment(raw: Any) -> str:
    inner = a_mapping(raw)
    return a_text(raw) or a_text(inner.get("slug")) or a_text(inner.get("id")) or ""


def _error(raw: Any) -> str:
    inner = a_mapping(raw)
    parts = [text for text in (a_text(inner.get("code")), a_text(inner.get("message"))) if text]
    return ": ".join(parts) or (a_text(raw) or "")


def _description(raw: Any) -> str:
    return a_text(a_mapping(raw).get("description")) or a_text(raw) or ""
