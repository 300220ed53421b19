"""The environment variables of the project, as the platform's interface shows them.

- The list gives encrypted values as ciphertext; one by one they come out; sensitive ones never.
- A list of new variables may be taken in part, and is still answered 201.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from rollback_lib.simulator import vercel_shapes as shapes
from rollback_lib.simulator.deployments import EnvVar
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.vercel_call import Call

__all__ = ["change", "create", "get", "pull", "remove", "remove_many", "rows"]


def rows(call: Call) -> Response:
    """GET /v10/projects/{idOrName}/env."""
    call.project()
    target, branch = call.query("target"), call.query("gitBranch")
    found = [
        shapes.row(item, decrypted=False)
        for item in call.hosting.variables.rows.values()
        if (target is None or target in item.target) and (branch is None or item.git_branch in (None, branch))
    ]
    return JSONResponse({"envs": found})


def get(call: Call) -> Response:
    """GET /v1/projects/{idOrName}/env/{id}."""
    call.project()
    return JSONResponse(shapes.row(call.hosting.variables.get(call.part("row")), decrypted=True))


def create(call: Call) -> Response:
    """POST /v10/projects/{idOrName}/env."""
    call.project()
    wish = call.body()
    if not isinstance(wish, list):
        item = _make(call, wish)
        return JSONResponse({"created": shapes.row(item, decrypted=False), "failed": []}, 201)
    made, failed = [], []
    for one in wish:
        try:
            made.append(shapes.row(_make(call, one), decrypted=False))
        except Refusal as refusal:
            failed.append({"error": {"code": refusal.code, "message": refusal.message, **refusal.extra}})
    call.mark(bool(made))
    return JSONResponse({"created": made, "failed": failed}, 201)


def _make(call: Call, wish: Any) -> EnvVar:
    item = call.hosting.variables.create(wish, bool(call.flag("upsert")), call.now_ms)
    call.hosting.note_change(call.now_ms, "variable set", call.caller, id=item.id, key=item.key)
    return item


def change(call: Call) -> Response:
    """PATCH /v9/projects/{idOrName}/env/{id}."""
    call.project()
    item = call.hosting.variables.edit(call.part("row"), call.body(), call.now_ms)
    call.hosting.note_change(call.now_ms, "variable set", call.caller, id=item.id, key=item.key)
    return JSONResponse(shapes.row(item, decrypted=False))


def remove(call: Call) -> Response:
    """DELETE /v9/projects/{idOrName}/env/{id}."""
    call.project()
    item = call.hosting.variables.delete(call.part("row"))
    call.hosting.note_change(call.now_ms, "variable deleted", call.caller, id=item.id, key=item.key)
    return JSONResponse(shapes.row(item, decrypted=False))


def remove_many(call: Call) -> Response:
    """DELETE /v1/projects/{idOrName}/env."""
    call.project()
    wanted = call.fields().get("ids")
    if not isinstance(wanted, list):
        raise Refusal(400, "bad_request", "Invalid request: missing required property `ids`.")
    gone = [call.hosting.variables.delete(str(id_)) for id_ in wanted if id_ in call.hosting.variables.rows]
    for item in gone:
        call.hosting.note_change(call.now_ms, "variable deleted", call.caller, id=item.id, key=item.key)
    call.mark(bool(gone))
    return JSONResponse({"deleted": len(gone), "ids": [item.id for item in gone]})


def pull(call: Call) -> Response:
    """GET /v3/env/pull/{projectId}/{target}: all values at once; the sensitive ones are not values."""
    call.project()
    found = {
        item.key: "[SENSITIVE]" if item.type == "sensitive" else item.value
        for item in call.hosting.variables.rows.values()
        if call.part("target") in item.target
    }
    return JSONResponse({"env": found, "buildEnv": {}})
