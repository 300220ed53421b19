"""The project, its domains, and the requests that move production.

- A rollback and a promotion are accepted with an empty body; the job's fate is read from the project.
- The last alias job is told only to who asks for it.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from rollback_lib.simulator import company
from rollback_lib.simulator import vercel_shapes as shapes
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.vercel_call import Call

__all__ = [
    "custom_environments",
    "describe_rollback",
    "domains",
    "edit",
    "edit_bypass",
    "job_aliases",
    "promote",
    "read",
    "rollback",
    "rolling_release",
    "team",
    "teams",
    "user",
]

_LONGEST_DESCRIPTION = 250
_MAY_ROLL_BACK = ("OWNER", "MEMBER")
_FLAT_VERSION = 1  # where the alias of a job's line is a plain text; later ones nest it


def read(call: Call) -> Response:
    """GET /v9/projects/{idOrName}."""
    call.project()
    return JSONResponse(
        shapes.project(call.hosting, call.spec, call.now_ms, rollback_info=bool(call.flag("rollbackInfo")))
    )


def edit(call: Call) -> Response:
    """PATCH /v9/projects/{idOrName}: of the settings, auto-assign is the one that matters here."""
    call.project()
    wish = call.fields()
    for name in wish:
        if name != "autoAssignCustomDomains":
            raise Refusal(
                400, "bad_request", f"Invalid request: should NOT have additional property `{name}`."
            )
    value = wish.get("autoAssignCustomDomains", call.hosting.project.auto_assign)
    if not isinstance(value, bool):
        raise Refusal(400, "bad_request", "Invalid request: `autoAssignCustomDomains` should be boolean.")
    call.hosting.set_auto_assign(value, call.now_ms, call.caller)
    return read(call)


def rollback(call: Call) -> Response:
    """POST /v1/projects/{id}/rollback/{deploymentId}."""
    call.project(id_only=True)
    if call.spec.team_id is not None and call.spec.role not in _MAY_ROLL_BACK:
        raise Refusal(403, "forbidden", "Not authorized")
    note = call.query("description") or ""
    if len(note) > _LONGEST_DESCRIPTION:
        raise Refusal(
            400, "bad_request", f"Invalid request: `description` is longer than {_LONGEST_DESCRIPTION}."
        )
    call.hosting.rollback(call.part("deployment"), call.caller, call.now_ms, note, call.fault)
    return Response(status_code=201)


def promote(call: Call) -> Response:
    """POST /v10/projects/{id}/promote/{deploymentId}."""
    call.project(id_only=True)
    taken = call.hosting.promote(call.part("deployment"), call.caller, call.now_ms, call.fault)
    return Response(status_code=201 if taken == "accepted" else 202)


def describe_rollback(call: Call) -> Response:
    """PATCH /v1/projects/{id}/rollback/{deploymentId}/update-description."""
    project = call.project(id_only=True)
    text = call.fields().get("description")
    if not isinstance(text, str) or len(text) > _LONGEST_DESCRIPTION:
        raise Refusal(
            400, "bad_request", f"Invalid request: `description` is no text of {_LONGEST_DESCRIPTION}."
        )
    job = project.last_job
    if job is None or job.kind != "rollback" or job.to_id != call.part("deployment"):
        raise Refusal(404, "not_found", f"Could not find the Rollback: {call.part('deployment')}")
    call.hosting.describe_rollback(text, call.caller, call.now_ms)
    return Response(status_code=200)


def job_aliases(call: Call) -> Response:
    """GET /v9/projects/{id}/rollback/aliases and /promote/aliases."""
    project, kind = call.project(id_only=True), call.part("kind")
    if kind not in ("rollback", "promote"):
        raise Refusal(404, "not_found", f"Could not find the resource: {call.request.url.path}")
    job = project.last_job
    hosts = list(job.hosts.items()) if job is not None and job.kind == kind else []
    if call.flag("failedOnly"):
        hosts = [(host, status) for host, status in hosts if status == "failed"]
    flat = call.request.path_params["version"] == _FLAT_VERSION
    lines = [_job_alias(call, host, status, flat) for host, status in hosts[: call.limit()]]
    return JSONResponse({"aliases": lines, "pagination": {"count": len(lines), "next": None, "prev": None}})


def _job_alias(call: Call, host: str, status: str, flat: bool) -> dict[str, Any]:
    alias = host if flat else {"alias": host, "deploymentId": call.hosting.aliases.now(host)}
    return {"id": shapes.alias_uid(host), "status": status, "alias": alias}


def rolling_release(call: Call) -> Response:
    """GET /v1/projects/{id}/rolling-release."""
    project = call.project()
    rolling = project.rolling if call.hosting.is_rolling else None
    state = (
        None
        if rolling is None
        else {
            "state": "ACTIVE",
            "currentDeployment": {"id": call.hosting.current},
            "canaryDeployment": {"id": rolling.canary_id},
            "activeStage": {"index": 0, "targetPercentage": rolling.percentage, "requireApproval": True},
            "startedAt": rolling.since_ms,
        }
    )
    return JSONResponse({"rollingRelease": state})


def domains(call: Call) -> Response:
    """GET /v9/projects/{idOrName}/domains."""
    project = call.project()
    found = [_domain(project.id, host, None, project.created_ms) for host in project.production_hosts]
    if not call.flag("production"):
        found.append(_domain(project.id, company.STAGING_DOMAIN, "staging", project.created_ms))
    limit = call.limit()
    return JSONResponse(
        {"domains": found[:limit], "pagination": {"count": len(found[:limit]), "next": None, "prev": None}}
    )


def _domain(project_id: str, host: str, branch: str | None, created_ms: int) -> dict[str, Any]:
    return {
        "name": host,
        "apexName": ".".join(host.split(".")[-2:]),
        "projectId": project_id,
        "redirect": None,
        "redirectStatusCode": None,
        "gitBranch": branch,
        "customEnvironmentId": None,
        "createdAt": created_ms,
        "updatedAt": created_ms,
        "verified": True,
    }


def edit_bypass(call: Call) -> Response:
    """PATCH /v1/projects/{idOrName}/protection-bypass."""
    project, wish = call.project(), call.fields()
    revoke = wish.get("revoke")
    if revoke is not None and project.bypass_secrets.pop(str(revoke.get("secret")), None) is None:
        raise Refusal(404, "not_found", "Could not find the Protection Bypass.")
    if revoke is None or revoke.get("regenerate"):
        call.hosting.new_bypass(call.now_ms)
    call.hosting.note_change(call.now_ms, "protection bypass changed", call.caller)
    return JSONResponse({"protectionBypass": shapes.bypass(project)})


def custom_environments(call: Call) -> Response:
    """GET /projects/{idOrName}/custom-environments: there are none."""
    call.project()
    return JSONResponse({"environments": []})


def user(call: Call) -> Response:
    """GET /v2/user."""
    found: dict[str, Any] = {
        "id": company.USER_ID,
        "email": "runbook@derrimut247.drill",
        "username": "runbook",
    }
    if call.spec.team_id is not None:
        found |= {"defaultTeamId": call.spec.team_id, "version": "northstar"}
    return JSONResponse({"user": found})


def _team_json(call: Call, team_id: str) -> dict[str, Any]:
    membership = {"uid": company.USER_ID, "role": call.spec.role, "confirmed": True}
    billing = {"plan": call.spec.plan}
    return {
        "id": team_id,
        "slug": company.TEAM_SLUG,
        "name": "Derrimut",
        "membership": membership,
        "billing": billing,
    }


def team(call: Call) -> Response:
    """GET /teams/{idOrSlug}."""
    wanted, own = call.part("team"), call.spec.team_id
    if own is None or wanted not in (own, company.TEAM_SLUG):
        raise Refusal(403, "forbidden", "Not authorized")
    return JSONResponse(_team_json(call, own))


def teams(call: Call) -> Response:
    """GET /v1/teams."""
    found = [] if call.spec.team_id is None else [_team_json(call, call.spec.team_id)]
    return JSONResponse({"teams": found, "pagination": {"count": len(found), "next": None, "prev": None}})
