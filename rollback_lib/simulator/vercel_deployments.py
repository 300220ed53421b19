"""Deployments, their aliases and their logs.

- The list is newest first and cut by creation time, whatever went live when.
- A new build is queued, then ready, and takes the domains only while auto-assign is on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from rollback_lib.simulator import company
from rollback_lib.simulator import vercel_shapes as shapes
from rollback_lib.simulator.deployments import Deployment
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.spans import Span
from rollback_lib.simulator.vercel_call import Call

__all__ = [
    "add_alias",
    "cancel",
    "create",
    "deployment_aliases",
    "events",
    "host_alias",
    "list_deployments",
    "one",
    "runtime_logs",
]

_STATES = ("BUILDING", "ERROR", "INITIALIZING", "QUEUED", "READY", "CANCELED", "BLOCKED", "DELETED")
_MINUTE_MS, _RUNTIME_LOG_MINUTES = 60_000, 15  # no longer than that are they kept
_RUNTIME_LINES = 500
_ERROR_LINE = "Unhandled error while rendering the page"
_SERVER_ERROR = 500


def list_deployments(call: Call) -> Response:
    """GET /v6/deployments."""
    wanted = [item for item in call.hosting.deployments.values() if _matches(item, call)]
    wanted.sort(key=lambda item: -item.created_ms)
    page, limit = wanted[: call.limit()], call.limit()
    more = len(wanted) > limit
    pagination = {
        "count": len(page),
        "next": page[-1].created_ms if more else None,
        "prev": page[0].created_ms if page else None,
    }
    return JSONResponse({"deployments": [shapes.listed(item) for item in page], "pagination": pagination})


def _matches(item: Deployment, call: Call) -> bool:
    since, until = call.number("since") or call.number("from"), call.number("until") or call.number("to")
    states, candidate = _states(call), call.flag("rollbackCandidate")
    return (
        _is_of_project(item, call)
        and (since is None or item.created_ms > since)
        and (until is None or item.created_ms < until)
        and (not states or item.state in states)
        and (candidate is None or item.is_rollback_candidate == candidate)
        and call.query("target") in (None, item.target or "preview")
        and call.query("branch") in (None, item.meta.get("githubCommitRef"))
        and call.query("sha") in (None, item.sha)
        and (not call.queries("users") or f"usr_{item.creator}" in call.queries("users"))
    )


def _is_of_project(item: Deployment, call: Call) -> bool:
    project, app, many = call.query("projectId"), call.query("app"), call.queries("projectIds")
    if project is not None and many:
        raise Refusal(400, "bad_request", "Invalid request: `projectId` and `projectIds` exclude each other.")
    return (
        project in (None, item.project_id, item.name)
        and app in (None, item.name)
        and (not many or item.project_id in many)
    )


def _states(call: Call) -> list[str]:
    states = call.queries("state")
    for state in states:
        if state not in _STATES:
            raise Refusal(400, "bad_request", f"Invalid request: `state` should be of {', '.join(_STATES)}.")
    return states


def one(call: Call) -> Response:
    """GET /v13/deployments/{idOrUrl}."""
    wanted = call.part("deployment")
    if not wanted.startswith("dpl_") and "." not in wanted:
        raise Refusal(400, "bad_request", f"Invalid request: `id` {wanted!r} is neither an id nor a host.")
    return JSONResponse(shapes.full(call.hosting.find(wanted), call.spec))


def create(call: Call) -> Response:
    """POST /v13/deployments: build the source of another deployment, or a commit, with today's variables."""
    wish = call.fields()
    if not isinstance(wish.get("name"), str):
        raise Refusal(400, "bad_request", "Invalid request: missing required property `name`.")
    target = wish.get("target")
    if target not in (None, "production", "preview"):
        raise Refusal(400, "bad_request", f"Invalid request: `target` {target!r} is not known here.")
    if wish.get("customEnvironmentSlugOrId"):
        raise Refusal(400, "bad_request", "Invalid request: there is no such custom environment.")
    source = call.hosting.find(str(wish["deploymentId"])) if wish.get("deploymentId") else None
    meta = {str(key): str(value) for key, value in (wish.get("meta") or {}).items()}
    plan = call.hosting.plan_build(
        source,
        "production" if target == "production" else None,
        meta if source else {**_commit(wish), **meta},
        call.now_ms,
    )
    return JSONResponse(shapes.full(call.hosting.build(plan, call.caller), call.spec))


def _commit(wish: dict[str, Any]) -> dict[str, str]:
    """Read which commit is to be built."""
    git = wish.get("gitSource")
    if not isinstance(git, dict) or not git.get("sha"):
        text = "Invalid request: neither `deploymentId` nor a `gitSource` with its `sha` is given."
        raise Refusal(400, "missing_files", text)
    return {"githubCommitSha": str(git["sha"]), "githubCommitRef": str(git.get("ref", "main"))}


def cancel(call: Call) -> Response:
    """PATCH /v12/deployments/{id}/cancel."""
    deployment = call.hosting.find(call.part("deployment"))
    call.hosting.cancel(deployment, call.caller, call.now_ms)
    return JSONResponse(shapes.full(deployment, call.spec))


# --- aliases ------------------------------------------------------------------------------------------------


def deployment_aliases(call: Call) -> Response:
    """GET /v2/deployments/{id}/aliases: the hosts that point at it now."""
    deployment = call.hosting.find(call.part("deployment"))
    hosts = call.hosting.aliases.hosts_of(deployment.id)
    found = [
        {"uid": shapes.alias_uid(host), "alias": host, "created": shapes.iso(at_ms), "redirect": None}
        for host, at_ms in hosts
        if host != deployment.url
    ]
    return JSONResponse({"aliases": found})


def add_alias(call: Call) -> Response:
    """POST /v2/deployments/{id}/aliases: move one host, past all jobs."""
    deployment, host = call.hosting.find(call.part("deployment")), call.fields().get("alias")
    if not isinstance(host, str) or not host:
        raise Refusal(400, "bad_request", "Invalid request: missing required property `alias`.")
    if host not in (*call.hosting.project.production_hosts, company.STAGING_DOMAIN):
        raise Refusal(403, "forbidden", f"You don't have access to the domain {host}.")
    if deployment.state != "READY":
        raise Refusal(400, "deployment_not_ready", f"The deployment {deployment.id} is {deployment.state}.")
    before = call.hosting.move_host(host, deployment.id, call.now_ms, "alias", call.caller)
    return JSONResponse(
        {
            "uid": shapes.alias_uid(host),
            "alias": host,
            "created": shapes.iso(call.now_ms),
            "oldDeploymentId": before,
        }
    )


def host_alias(call: Call) -> Response:
    """GET /v4/aliases/{host}: what a host serves."""
    host = call.part("host")
    known = (*call.hosting.project.production_hosts, company.STAGING_DOMAIN)
    live = call.hosting.aliases.now(host) if host in known else None
    if live is None:
        raise Refusal(404, "not_found", f"Could not find the Alias: {host}")
    deployment = call.hosting.deployments[live]
    at_ms = call.hosting.aliases.moves(host)[-1][0]
    return JSONResponse(
        {
            "uid": shapes.alias_uid(host),
            "alias": host,
            "projectId": deployment.project_id,
            "deploymentId": live,
            "deployment": {"id": live, "url": deployment.url, "meta": json.dumps(deployment.meta)},
            "created": shapes.iso(at_ms),
            "createdAt": at_ms,
            "updatedAt": at_ms,
            "redirect": None,
        }
    )


# --- logs ---------------------------------------------------------------------------------------------------


def events(call: Call) -> Response:
    """GET /v3/deployments/{idOrUrl}/events: the build log, as an array or as a stream."""
    deployment = call.hosting.find(call.part("deployment"))
    since, until = call.number("since"), call.number("until")
    limit = call.number("limit") or 100
    found = [
        event
        for event in _build_log(deployment, call.hosting.project.production_hosts)
        if (since is None or event["created"] >= since) and (until is None or event["created"] <= until)
    ]
    if call.query("direction") == "backward":
        found.reverse()
    found = found if limit < 0 else found[:limit]
    return _stream(iter(found)) if call.flag("follow") else JSONResponse(found)


def _build_log(item: Deployment, hosts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Make the lines of a build from what is known of it."""
    start_ms = item.building_ms or item.created_ms
    branch = item.meta.get("githubCommitRef", "")
    texts = (
        [("stdout", f"Cloning derrimut/{item.name} (Branch: {branch}, Commit: {item.sha[:7]})")]
        if item.sha
        else []
    )
    texts += [("command", "npm ci"), ("command", "npx convex deploy --cmd 'npm run build'")]
    end_ms = item.ready_ms or start_ms + 1_000
    if item.error is not None:
        texts.append(("stderr", f"Error: {item.error[1]}"))
    elif item.state == "READY":
        texts.append(("stdout", "Build Completed in /vercel/output"))
    step_ms = max(1, (end_ms - start_ms) // (len(texts) + 1))
    lines = [
        _event(item, start_ms + step_ms * number, kind, number, {"text": text})
        for number, (kind, text) in enumerate(texts, 1)
    ]
    if item.is_live_once and not isinstance(item.alias_assigned, bool) and item.alias_assigned is not None:
        moved = {"alias": list(hosts), "aliasError": None, "aliasWarning": None}
        lines.append(_event(item, item.alias_assigned, "alias-assigned", len(texts) + 1, moved))
    return lines


def _event(item: Deployment, at_ms: int, kind: str, number: int, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        "created": at_ms,
        "date": at_ms,
        "deploymentId": item.id,
        "id": f"{at_ms}{number:06d}",
        "serial": f"{at_ms}{number:06d}",
        "info": {"type": "build", "name": "bld_drill", "entrypoint": "."},
        **({"level": "error"} if kind == "stderr" else {}),
        **more,
    }


def runtime_logs(call: Call) -> Response:
    """GET /v1/projects/{id}/deployments/{id}/runtime-logs: the newest failures of a deployment, a line each."""
    call.project()
    deployment = call.hosting.find(call.part("deployment"))
    return _stream(islice(_failures(call, deployment), _RUNTIME_LINES))


def _failures(call: Call, deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Go back minute by minute: mostly the last one holds enough."""
    for minute in range(_RUNTIME_LOG_MINUTES):
        until_ms = call.now_ms - minute * _MINUTE_MS
        spans = call.world.spans(until_ms - _MINUTE_MS, until_ms)
        for number, span in enumerate(reversed(spans)):
            if span.release == deployment.release and (span.http_status or 0) >= _SERVER_ERROR:
                yield _runtime_line(span, f"{span.ts_ms}-{number}")


def _runtime_line(span: Span, row_id: str) -> dict[str, Any]:
    method, _, path = span.transaction.partition(" ")
    return {
        "rowId": row_id,
        "timestampInMs": span.ts_ms,
        "level": "error",
        "message": _ERROR_LINE,
        "source": "serverless",
        "domain": company.DOMAINS[0],
        "requestMethod": method,
        "requestPath": path,
        "responseStatusCode": span.http_status,
    }


def _stream(lines: Iterator[dict[str, Any]]) -> Response:
    return StreamingResponse(
        (json.dumps(line) + "\n" for line in lines), media_type="application/stream+json"
    )
