"""How the hosting platform writes its things as JSON.

- The list and the single reply differ as the real ones do: `uid` against `id`, and only the list tells
  whether a deployment may be rolled back to.
- What a deployment got at its creation is history; only the alias records tell what is live.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollback_lib.simulator import company
from rollback_lib.simulator.deployments import AliasJob, Deployment, EnvVar, Project
from rollback_lib.simulator.hosting import Hosting
from rollback_lib.simulator.spec import WorldSpec
from rollback_lib.simulator.variables import ciphertext

__all__ = ["alias_uid", "bypass", "full", "iso", "job", "listed", "owner_id", "project", "row", "target"]

_JSON = dict[str, Any]
_LATEST = 5
_HOSTS = {True: (*company.DOMAINS, company.AUTOMATIC_ALIAS), False: ()}


def iso(at_ms: int) -> str:
    """Write a moment as an ISO date."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def owner_id(spec: WorldSpec) -> str:
    """Name the account that everything belongs to."""
    return spec.team_id or company.USER_ID


def alias_uid(host: str) -> str:
    """Give an alias record its id."""
    return "als_" + host.replace(".", "_").replace("-", "_")


def _common(item: Deployment) -> _JSON:
    """What the list and the single reply have in common."""
    found: _JSON = {
        "name": item.name,
        "projectId": item.project_id,
        "url": item.url,
        "inspectorUrl": f"https://vercel.drill/{company.TEAM_SLUG}/{item.name}/{item.id[4:]}",
        "createdAt": item.created_ms,
        "readyState": item.state,
        "target": item.target,
        "source": item.source,
        "type": "LAMBDAS",
        "creator": {
            "uid": f"usr_{item.creator}",
            "username": item.creator,
            "email": f"{item.creator}@derrimut247.drill",
        },
        "meta": dict(item.meta),
        "aliasError": None,
    }
    times = {"buildingAt": item.building_ms, "ready": item.ready_ms, "deleted": item.deleted_ms}
    found |= {key: value for key, value in times.items() if value is not None}
    if item.state == "READY" and item.substate is not None:
        found["readySubstate"] = item.substate
    if item.source != "cli":  # by hand: no checks ran
        found |= {"checksState": "completed", "checksConclusion": "failed" if item.error else "succeeded"}
    if item.error is not None:
        found |= {"errorCode": item.error[0], "errorMessage": item.error[1]}
    if not item.retained:
        found |= {"softDeletedByRetention": True, "expiration": item.created_ms}
    return found


def listed(item: Deployment) -> _JSON:
    """Write a deployment as the list does."""
    eligible = item.is_rollback_candidate if item.state == "READY" and item.target else None
    return _common(item) | {
        "uid": item.id,
        "created": item.created_ms,
        "state": item.state,
        "aliasAssigned": item.alias_assigned,
        "isRollbackCandidate": eligible,
    }


def full(item: Deployment, spec: WorldSpec) -> _JSON:
    """Write a deployment as the single reply does."""
    own = item.project_id == company.PROJECT_ID
    hosts = [*_HOSTS[own and item.is_live_once]]
    found = _common(item) | {
        "id": item.id,
        "version": 2,
        "status": item.state,
        "ownerId": owner_id(spec),
        "plan": spec.plan,
        "project": {"id": item.project_id, "name": item.name, "framework": "nextjs"},
        "alias": hosts,
        "automaticAliases": hosts[2:],
        "userAliases": hosts[:2],
        "aliasAssigned": bool(item.alias_assigned),
        "aliasWarning": None,
        "autoAssignCustomDomains": True,
        "regions": ["syd1"],
        "crons": [{"path": "/api/cron/renewals", "schedule": "0 3 * * *"}],
        "env": sorted(item.env),
    }
    if isinstance(item.alias_assigned, int) and not isinstance(item.alias_assigned, bool):
        found["aliasAssignedAt"] = item.alias_assigned
    if item.error is not None:
        found["errorStep"] = "buildStep"
    if item.sha:
        found["gitSource"] = {
            "type": "github",
            "ref": item.meta.get("githubCommitRef", ""),
            "sha": item.sha,
            "repoId": int(item.meta.get("githubRepoId", "0")),
        }
    if spec.team_id is not None:
        found["team"] = {"id": spec.team_id, "name": "Derrimut", "slug": company.TEAM_SLUG}
    return found


def target(item: Deployment) -> _JSON:
    """Write the production deployment as the project does."""
    return _common(item) | {
        "id": item.id,
        "alias": list(_HOSTS[True]),
        "aliasAssigned": item.alias_assigned,
        "deploymentHostname": item.url.partition(".")[0],
        "plan": "pro",
        "private": False,
        "userId": f"usr_{item.creator}",
    }


def job(item: AliasJob) -> _JSON:
    """Write an alias job as `lastAliasRequest`."""
    return {
        "fromDeploymentId": item.from_id,
        "toDeploymentId": item.to_id,
        "jobStatus": item.status,
        "requestedAt": item.requested_ms,
        "type": item.kind,
    }


def project(hosting: Hosting, spec: WorldSpec, now_ms: int, *, rollback_info: bool) -> _JSON:
    """Write the project."""
    own = hosting.project
    found: _JSON = {
        "id": own.id,
        "name": own.name,
        "accountId": owner_id(spec),
        "framework": "nextjs",
        "createdAt": own.created_ms,
        "updatedAt": own.crons_updated_ms,
        "live": True,
        "paused": own.paused,
        "autoAssignCustomDomains": own.auto_assign,
        "targets": {"production": target(hosting.deployments[hosting.current])},
        "latestDeployments": _latest(hosting),
        "alias": [{"domain": host, "target": "PRODUCTION"} for host in own.production_hosts],
        "link": _link(own),
        "crons": _crons(own),
        "rollingRelease": _rolling_config(hosting),
        **_rollback_traces(own, now_ms),
        **_protection(own),
    }
    if rollback_info:
        found["lastAliasRequest"] = None if own.last_job is None else job(own.last_job)
    return found


def _latest(hosting: Hosting) -> list[_JSON]:
    own = [item for item in hosting.deployments.values() if item.project_id == hosting.project.id]
    own.sort(key=lambda item: -item.created_ms)
    return [listed(item) | {"id": item.id} for item in own[:_LATEST]]


def _link(own: Project) -> _JSON:
    return {
        "type": "github",
        "org": company.TEAM_SLUG,
        "repo": own.name,
        "repoId": 70415,
        "productionBranch": "main",
    }


def _crons(own: Project) -> _JSON:
    return {
        "definitions": [{"path": "/api/cron/renewals", "schedule": "0 3 * * *", "host": company.DOMAINS[0]}],
        "deploymentId": own.crons_deployment,
        "enabledAt": own.created_ms,
        "disabledAt": None,
        "updatedAt": own.crons_updated_ms,
    }


def _rollback_traces(own: Project, now_ms: int) -> _JSON:
    """Write what a rollback leaves besides the pin; the target is shown for a moment only."""
    shown, note = own.rollback_target, own.rollback_note
    described = {"userId": company.USER_ID, "username": "runbook"}
    return {
        "lastRollbackTarget": {"id": shown[0]} if shown is not None and now_ms < shown[1] else None,
        "rollbackDescription": None
        if note is None
        else {**described, "description": note.text, "createdAt": note.at_ms},
    }


def _protection(own: Project) -> _JSON:
    return {
        "protectionBypass": bypass(own),
        "ssoProtection": {"deploymentType": "all_except_custom_domains"},
        "passwordProtection": None,
    }


def bypass(own: Project) -> _JSON:
    """Write the secrets that open protected deployments: they are the keys."""
    return {
        secret: {"createdAt": since, "createdBy": company.USER_ID, "scope": "automation-bypass"}
        for secret, since in own.bypass_secrets.items()
    }


def _rolling_config(hosting: Hosting) -> _JSON | None:
    rolling = hosting.project.rolling
    if rolling is None or not hosting.is_rolling:
        return None
    return {
        "target": "production",
        "stages": [{"targetPercentage": rolling.percentage}, {"targetPercentage": 100}],
    }


def row(item: EnvVar, *, decrypted: bool) -> _JSON:
    """Write a variable; encrypted values come out only one by one, sensitive ones never."""
    found: _JSON = {
        "id": item.id,
        "key": item.key,
        "type": item.type,
        "target": list(item.target),
        "customEnvironmentIds": [],
        "configurationId": None,
        "createdAt": item.created_ms,
        "updatedAt": item.updated_ms,
        "createdBy": company.USER_ID,
        "updatedBy": item.updated_by,
        "decrypted": item.type == "plain" or (decrypted and item.type != "sensitive"),
    }
    optional = {"gitBranch": item.git_branch, "comment": item.comment, "visibility": item.visibility}
    found |= {key: value for key, value in optional.items() if value is not None}
    if item.type != "sensitive":
        found["value"] = item.value if found["decrypted"] else ciphertext(item)
    return found
