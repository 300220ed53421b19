"""The platform's own queries, which its command line and its dashboard ask (`_system/...`).

- Whoever has a key may ask, as far as the key goes; for anybody else they do not exist.
- They answer also while the deployment is paused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from rollback_lib.simulator.convex import values
from rollback_lib.simulator.convex.callers import Caller
from rollback_lib.simulator.convex.storage import Range

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend

__all__ = ["PREFIX", "Unknown", "ask"]

PREFIX = "_system/"
_DATA, _VARIABLES, _AUDIT = "deployment:data:view", "deployment:env:view", "deployment:auditLog:view"
_END = "end"
_Query: TypeAlias = Callable[["Backend", Mapping[str, Any]], Any]


class Unknown(Exception):
    """There is no such query, or its arguments are none."""


def ask(backend: Backend, path: str, args: Mapping[str, Any], caller: Caller) -> Any:
    """Answer a query of the platform's own.

    Args:
        backend: The deployment.
        path: As `_system/cli/tables` or `_system/cli/tables:default`.
        args: Its arguments.
        caller: Who asks.

    Raises:
        Unknown: There is none of that name, or not for this caller.
        Refusal: The caller's key may not ask it.
    """
    found = _QUERIES.get(path.removesuffix(":default").replace(".js", ""))
    if found is None or not caller.is_admin:
        raise Unknown(
            f"Could not find public function for '{path.removesuffix(':default')}'. Did you forget to run "
            "`npx convex dev` or `npx convex deploy`?"
        )
    permission, query = found
    if permission:
        caller.insist(permission)
    try:
        return query(backend, args)
    except KeyError as exc:
        raise Unknown(
            f"ArgumentValidationError: Object is missing the required field `{exc.args[0]}`."
        ) from exc


def _tables(backend: Backend, _args: Mapping[str, Any]) -> Any:
    return _all([{"name": name} for name in backend.storage.tables()])


def _all(rows: list[Any]) -> dict[str, Any]:
    return {"page": rows, "isDone": True, "continueCursor": _END}


def _table_size(backend: Backend, args: Mapping[str, Any]) -> Any:
    return backend.storage.count(args["tableName"])


def _table_data(backend: Backend, args: Mapping[str, Any]) -> Any:
    asked = args["paginationOpts"]
    cursor, size = asked.get("cursor"), int(asked["numItems"])
    if cursor == _END:
        return _all([])
    within = Range(args["table"], descending=args.get("order") == "desc")
    rows = backend.storage.scan(within, None if cursor is None else bytes.fromhex(cursor), size)
    documents = [row.document for row in rows]
    if len(rows) < size:
        return _all(documents)
    return {"page": documents, "isDone": False, "continueCursor": rows[-1].place.hex()}


def _variables(backend: Backend, _args: Mapping[str, Any]) -> Any:
    return [_variable(backend, name, value) for name, value in sorted(backend.variables.items())]


def _variable(backend: Backend, name: str, value: str) -> dict[str, Any]:
    return {"_id": f"env_{name}", "_creationTime": backend.began_ms, "name": name, "value": value}


def _one_variable(backend: Backend, args: Mapping[str, Any]) -> Any:
    value = backend.variables.get(args["name"])
    return None if value is None else _variable(backend, args["name"], value)


def _state(backend: Backend, _args: Mapping[str, Any]) -> Any:
    return {
        "system": "none",
        "usage_limit": "none",
        "user": "paused" if backend.paused else "none",
    }


def _last_push(backend: Backend, _args: Mapping[str, Any]) -> Any:
    rows = [row for row in backend.audit.rows if row.action.startswith("push_config")]
    if not rows:
        return None
    row = rows[-1]
    return {
        "_id": f"audit_{len(backend.audit.rows)}",
        "_creationTime": row.at_ms,
        "action": row.action,
        "member_id": values.int64(row.actor["member_id"]) if "member_id" in row.actor else None,
        "metadata": dict(row.metadata),
    }


def _crons(backend: Backend, _args: Mapping[str, Any]) -> Any:
    return [
        {
            "_id": f"cron_{name}",
            "_creationTime": backend.last_push_ms or backend.began_ms,
            "name": name,
            "cronSpec": {
                "udfPath": str(spec["name"]).replace(":", ".js:"),
                "udfArgs": spec["args"],
                "cronSchedule": spec["schedule"],
            },
            "lastRun": None,
            "nextRun": None,
        }
        for name, spec in sorted(backend.live.crons.items())
    ]


_QUERIES: dict[str, tuple[str, _Query]] = {
    "_system/cli/modules:apiSpec": (_DATA, lambda backend, _: backend.live.api),
    "_system/cli/convexUrl:cloudUrl": ("", lambda backend, _: backend.address),
    "_system/cli/convexUrl:siteUrl": ("", lambda backend, _: backend.site),
    "_system/cli/tables": (_DATA, _tables),
    "_system/cli/tableSize": (_DATA, _table_size),
    "_system/cli/tableData": (_DATA, _table_data),
    "_system/cli/queryEnvironmentVariables": (_VARIABLES, _variables),
    "_system/cli/queryEnvironmentVariables:get": (_VARIABLES, _one_variable),
    "_system/cli/exports:getLatest": ("deployment:backups:view", lambda *_: None),
    "_system/cli/queryImport:list": ("deployment:backups:view", lambda *_: []),
    "_system/frontend/backendState:backendState": ("", _state),
    "_system/frontend/deploymentState:deploymentState": (
        "",
        lambda backend, _: {"state": "paused" if backend.paused else "running"},
    ),
    "_system/frontend/deploymentEvents:lastPushEvent": (_AUDIT, _last_push),
    "_system/frontend/listCronJobs": (_DATA, _crons),
    "_system/frontend/components:list": (_DATA, lambda *_: []),
    "_system/frontend/getSchemas": (
        _DATA,
        lambda backend, _: {
            "active": backend.live.schema.text if backend.live.schema is not None else None,
            "inProgress": None,
        },
    ),
}
