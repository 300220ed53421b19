"""What a deployment answers: calls of functions, pushes, logs, the account of changes, variables, pause.

- Each answer has the platform's own shape; a refused request has changed nothing.
- What may take long is asked for again and again, as the platform has it: no answer holds anybody else up.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rollback_lib.simulator.convex import system, wire
from rollback_lib.simulator.convex.audit import token_actor
from rollback_lib.simulator.convex.call import Call
from rollback_lib.simulator.convex.functions import Outcome
from rollback_lib.simulator.refusal import Refusal

__all__ = ["TABLE"]

_POLL_S = 0.02
_LONGEST_LOG_S = 60.0
_DEPLOY = "deployment:deploy"
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")
_VERSION = "1.0.0"


# --- functions -----------------------------------------------------------------------------------------------------


async def query(call: Call) -> Response:
    """POST or GET /api/query."""
    tree = call.tree
    if call.request.method == "GET":
        tree = {
            "path": call.query("path"),
            "args": json.loads(call.query("args") or "{}"),
            "format": call.query("format"),
        }
    return await _function(call, tree, "query")


async def mutation(call: Call) -> Response:
    """POST /api/mutation."""
    return await _function(call, call.tree, "mutation")


async def action(call: Call) -> Response:
    """POST /api/action."""
    return await _function(call, call.tree, "action")


async def any_function(call: Call) -> Response:
    """POST /api/function: whatever kind it is; with a key only."""
    call.admin()
    return await _function(call, call.tree, None)


async def run(call: Call) -> Response:
    """POST /api/run/users/get."""
    module, _, name = call.request.path_params["path"].rpartition("/")
    return await _function(call, {**call.tree, "path": f"{module}:{name}"}, None)


async def _function(call: Call, tree: dict[str, Any], kind: str | None) -> Response:
    path, args, wanted = tree.get("path"), wire.only_args(tree), tree.get("format")
    wire.formatted(None, wanted)
    if not isinstance(path, str) or not path.partition(":")[0]:
        raise Refusal(400, "BadConvexFunctionIdentifier", f"{path!r} is not a path of a function")
    caller = call.caller
    if path.startswith(system.PREFIX):
        outcome = _asked(call, path, args)
    else:
        outcome = await run_in_threadpool(call.backend.functions.call, path, args, caller, kind)
    _weigh(call, path, outcome)
    return JSONResponse(wire.as_reply(outcome, wanted, caller, hides=call.backend.spec.hides_errors))


def _asked(call: Call, path: str, args: dict[str, Any]) -> Outcome:
    number = call.backend.number(8)
    try:
        return Outcome(number, value=system.ask(call.backend, path, args, call.caller))
    except system.Unknown as exc:
        return Outcome(number, error=str(exc), told_to_all=True)


def _weigh(call: Call, path: str, outcome: Outcome) -> None:
    """Let the ledger know what a path alone does not tell: a query changes nothing, whatever it was asked by."""
    reads = path.startswith(system.PREFIX) or call.backend.is_query(path)
    call.mark(applied=outcome.error is None and not reads, weight="nothing" if reads else None)


async def run_test_function(call: Call) -> Response:
    """POST /api/run_test_function: a query that was written on the spot."""
    caller = call.admin("deployment:functions:runTestQuery", in_body=True)
    tree = call.tree
    source = call.field("bundle")["source"]
    outcome = await run_in_threadpool(
        call.backend.functions.call_inline, source, wire.only_args(tree), caller
    )
    return JSONResponse(
        wire.as_reply(outcome, tree.get("format"), caller, hides=call.backend.spec.hides_errors)
    )


# --- pushes --------------------------------------------------------------------------------------------------------


def config_hashes(call: Call) -> Response:
    """POST /api/get_config_hashes."""
    call.admin(_DEPLOY, in_body=True)
    return JSONResponse(call.backend.pushes.hashes())


def evaluate_push(call: Call) -> Response:
    """POST /api/deploy2/evaluate_push."""
    call.admin(_DEPLOY, in_body=True)
    call.field("appDefinition")
    return JSONResponse(call.backend.pushes.evaluate(call.tree))


def start_push(call: Call) -> Response:
    """POST /api/deploy2/start_push."""
    call.admin(_DEPLOY, in_body=True)
    call.field("appDefinition")
    return JSONResponse(call.backend.pushes.start(call.tree))


async def wait_for_schema(call: Call) -> Response:
    """POST /api/deploy2/wait_for_schema: answered when it is known, or after the time that is given."""
    call.admin(_DEPLOY, in_body=True)
    pushes, change = call.backend.pushes, call.field("schemaChange")
    if call.fault is not None and call.fault.kind == "push_race":
        await run_in_threadpool(pushes.race, call.fault.pushes)
    until = time.monotonic() + float(call.tree.get("timeoutMs") or 10_000) / 1000
    while True:
        status = pushes.status(change)
        if status["type"] != "inProgress" or time.monotonic() >= until:
            return JSONResponse(status)
        await asyncio.sleep(_POLL_S)


def finish_push(call: Call) -> Response:
    """POST /api/deploy2/finish_push."""
    caller = call.admin(_DEPLOY, in_body=True)
    call.field("startPush")
    dry = bool(call.tree.get("dryRun"))
    call.mark(applied=False, weight="company" if dry else "production")
    fault = call.fault
    if fault is not None and fault.kind == "concurrent_push" and not dry:
        call.backend.push_by_colleague(fault.pushes)
        call.backend.pushes.refuse_as_concurrent()
    done = call.backend.pushes.finish(call.tree, token_actor(caller.name))
    call.mark(applied=not dry)
    if fault is not None and fault.kind == "colleague_push" and not dry:
        call.backend.at(fault.delay_s, lambda: call.backend.push_by_colleague(fault.pushes))
    return JSONResponse(done)


def report_push(call: Call) -> Response:
    """POST /api/deploy2/report_push_completed: nobody here reads it."""
    call.admin(_DEPLOY, in_body=True)
    return JSONResponse(None)


# --- logs and the account of changes -------------------------------------------------------------------------------


async def function_logs(call: Call) -> Response:
    """GET /api/stream_function_logs: held until there is something to tell, at most a minute."""
    call.admin("deployment:logs:view")
    cursor = _cursor(call.query("cursor"))
    until = time.monotonic() + _LONGEST_LOG_S
    while True:
        entries, after = call.backend.logs.after(cursor, structured=call.reads_structured)
        if entries and call.backend.spec.logs == "stream":
            return JSONResponse({"entries": entries, "newCursor": after})
        if time.monotonic() >= until or await call.request.is_disconnected():
            return JSONResponse({"entries": [], "newCursor": cursor})
        await asyncio.sleep(_POLL_S)


def _cursor(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError as exc:
        raise Refusal(400, "BadCursor", f"{text!r} is not a cursor") from exc


def audit_log(call: Call) -> Response:
    """GET /api/v1/list_audit_log_events."""
    call.admin("deployment:auditLog:view")
    if call.backend.spec.audit_log == "forbidden":
        raise Refusal(
            403, "AuditLogsDisabled", "Audit logs are not available on your plan. Upgrade to Pro to see them."
        )
    from_ms = round(_cursor(call.query("from")))
    return JSONResponse(call.backend.audit.page(from_ms, call.query("limit"), call.query("cursor")))


# --- variables, pause ----------------------------------------------------------------------------------------------


def variables(call: Call) -> Response:
    """GET /api/v1/list_environment_variables."""
    call.admin("deployment:env:view")
    return JSONResponse({"environmentVariables": dict(call.backend.variables)})


def update_variables(call: Call) -> Response:
    """POST /api/v1/update_environment_variables: all of the changes or none."""
    caller = call.admin("deployment:env:write")
    before = call.backend.variables
    after, rows = dict(before), []
    for change in call.field("changes"):
        name, value = change["name"], change.get("value")
        if not _VARIABLE.match(name):
            raise Refusal(400, "InvalidEnvVarName", f"{name!r} is not a name of an environment variable")
        if value is None:
            if name in call.backend.live.required_variables:
                words = f"{name} is declared as required and cannot be removed"
                raise Refusal(400, "RequiredEnvironmentVariable", words)
            after.pop(name, None)
            rows.append(("delete_environment_variable", name))
        else:
            rows.append((f"{'update' if name in after else 'create'}_environment_variable", name))
            after[name] = str(value)
    call.backend.set_variables(after)
    for what, name in rows:
        metadata = {"variable_name": name}
        call.backend.audit.add(call.backend.now_ms(), what, metadata, token_actor(caller.name))
    call.mark(applied=bool(rows))
    return Response()


def pause(call: Call) -> Response:
    """POST /api/v1/pause_deployment; a second time is fine."""
    return _set_paused(call, "pause", paused=True)


def unpause(call: Call) -> Response:
    """POST /api/v1/unpause_deployment; not while it is running."""
    return _set_paused(call, "unpause", paused=False)


def _set_paused(call: Call, what: str, *, paused: bool) -> Response:
    caller = call.admin(f"deployment:{what}")
    if not paused and not call.backend.paused:
        raise Refusal(400, "UnpauseDeploymentFailed", "Deployment is not currently paused.")
    changed = call.backend.paused != paused
    if changed:
        call.backend.set_paused(paused)
        call.backend.audit.add(call.backend.now_ms(), f"{what}_deployment", {}, token_actor(caller.name))
    call.mark(applied=changed)
    return Response()


# --- what it is ----------------------------------------------------------------------------------------------------


def canonical_urls(call: Call) -> Response:
    """GET /api/v1/get_canonical_urls."""
    call.admin()
    return JSONResponse({"convexCloudUrl": call.backend.address, "convexSiteUrl": call.backend.site})


def deployment_info(call: Call) -> Response:
    """GET /api/v1/deployment_info."""
    call.admin()
    return JSONResponse(call.backend.info)


def check_key(call: Call) -> Response:
    """GET /api/check_admin_key."""
    call.admin()
    return JSONResponse({"success": True})


def instance_name(call: Call) -> Response:
    """GET /instance_name."""
    return PlainTextResponse(call.backend.name)


def version(_call: Call) -> Response:
    """GET /version and /instance_version."""
    return PlainTextResponse(_VERSION)


TABLE: dict[str, dict[str, Any]] = {
    "/api/query": {"GET": query, "POST": query},
    "/api/mutation": {"POST": mutation},
    "/api/action": {"POST": action},
    "/api/function": {"POST": any_function},
    "/api/run/{path:path}": {"POST": run},
    "/api/run_test_function": {"POST": run_test_function},
    "/api/get_config_hashes": {"POST": config_hashes},
    "/api/deploy2/evaluate_push": {"POST": evaluate_push},
    "/api/deploy2/start_push": {"POST": start_push},
    "/api/deploy2/wait_for_schema": {"POST": wait_for_schema},
    "/api/deploy2/finish_push": {"POST": finish_push},
    "/api/deploy2/report_push_completed": {"POST": report_push},
    "/api/stream_function_logs": {"GET": function_logs},
    "/api/stream_udf_execution": {"GET": function_logs},
    "/api/v1/list_audit_log_events": {"GET": audit_log},
    "/api/v1/list_environment_variables": {"GET": variables},
    "/api/v1/update_environment_variables": {"POST": update_variables},
    "/api/update_environment_variables": {"POST": update_variables},
    "/api/v1/pause_deployment": {"POST": pause},
    "/api/v1/unpause_deployment": {"POST": unpause},
    "/api/v1/get_canonical_urls": {"GET": canonical_urls},
    "/api/v1/deployment_info": {"GET": deployment_info},
    "/api/check_admin_key": {"GET": check_key},
    "/instance_name": {"GET": instance_name},
    "/instance_version": {"GET": version},
    "/version": {"GET": version},
}
