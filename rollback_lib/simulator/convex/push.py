"""Pushing code: evaluate it, hold its schema against every document, and only then let it go live.

- What is evaluated goes live as it was evaluated, or not at all.
- One schema at a time waits to go live; the next push's takes its place, and the earlier push is told of a race.
- A dry run does all of it but the last step; it registers its schema like any other.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rollback_lib.simulator.convex.audit import COLLEAGUE
from rollback_lib.simulator.convex.code import PushedApp, Revision
from rollback_lib.simulator.convex.schema import Schema, index_diff, why_not
from rollback_lib.simulator.convex.storage import Document
from rollback_lib.simulator.refusal import Refusal

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend

__all__ = ["Pending", "Pushes"]

_LONGEST_MESSAGE = 1024
_OVERWRITTEN = "Schema was overwritten by another push."
_CONCURRENT = "Are you running multiple `npx convex dev` processes in the same directory?"


@dataclass
class Pending:
    """A schema on its way to be the active one."""

    id: str
    schema: Schema
    state: Literal["pending", "validated", "failed", "overwritten", "active"] = "pending"
    error: str = ""
    table: str | None = None
    indexes_total: int = 0
    indexes_complete: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def fail(self, table: str, error: str) -> None:
        """Note that a document does not fit."""
        if self.state in ("pending", "validated"):
            self.state, self.table, self.error = "failed", table, error
        self.ended.set()


@dataclass(frozen=True)
class _Started:
    """A push that was evaluated."""

    revision: Revision
    variables: Mapping[str, str]
    pending: Pending | None


class Pushes:
    """The pushes of one deployment."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._started: dict[str, _Started] = {}
        self._finished: set[str] = set()
        self._schemas: dict[str, Pending] = {}
        self._fitting: set[tuple[str, str, int]] = set()  # table, validator, state of its data: known to fit
        self._lock = threading.RLock()

    # --- the steps -----------------------------------------------------------------------------------------

    def hashes(self) -> dict[str, Any]:
        """Tell what is live, so that a push sends only what differs."""
        app = self._backend.live.app
        return {
            "config": {"functions": app.functions_folder},
            "moduleHashes": [
                {"path": module.path, "environment": module.environment, "hash": module.sha256}
                for module in app.modules
            ],
            "nodeDependencies": list(app.node_dependencies),
            "udfServerVersion": app.server_version,
            "nodeVersion": None,
        }

    def evaluate(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what a push would change, and change nothing."""
        revision = self._evaluated(tree)
        return {"schemaChange": self._schema_change(revision, None)}

    def start(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate a push and begin to hold its schema against the documents.

        Args:
            tree: What was sent.

        Raises:
            Refusal: It cannot be loaded; nothing was changed.
        """
        revision, dry = self._evaluated(tree), bool(tree.get("dryRun"))
        return self._begun(revision, dry=dry)

    def _begun(self, revision: Revision, *, dry: bool) -> dict[str, Any]:
        variables = dict(self._backend.variables)
        pending = self._register(revision, dry=dry)
        token = self._backend.number(16)
        self._started[token] = _Started(revision, variables, pending)
        return {
            "environmentVariables": variables,
            "externalDepsId": None,
            "componentDefinitionPackages": {"": {"storageKey": token, "sha256": revision.app.key}},
            "appAuth": list(revision.auth),
            "analysis": {"": self._analysis(revision)},
            "app": _app(revision),
            "schemaChange": self._schema_change(revision, pending),
        }

    def status(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """Tell how far the check of a schema is."""
        schema_id = (change.get("schemaIds") or {}).get("")
        if schema_id is None:
            return {"type": "complete"}
        pending = self._schemas.get(schema_id)
        if pending is None:
            raise Refusal(400, "InvalidSchemaId", f"There is no schema {schema_id}")
        if pending.state == "overwritten":
            return {"type": "raceDetected"}
        if pending.state == "failed":
            return {
                "type": "failed",
                "error": pending.error,
                "componentPath": "",
                "tableName": pending.table,
            }
        if pending.state == "pending":
            progress = {
                "schemaValidationComplete": False,
                "indexesComplete": pending.indexes_complete,
                "indexesTotal": pending.indexes_total,
            }
            return {"type": "inProgress", "components": {"": progress}}
        return {"type": "complete"}

    def finish(self, tree: Mapping[str, Any], actor: Mapping[str, Any]) -> dict[str, Any]:
        """Let a push go live.

        Args:
            tree: What was sent, with the reply of its start.
            actor: Who did it.

        Raises:
            Refusal: It may not go live; nothing was changed.
        """
        message = tree.get("message")
        if message is not None and len(message.encode()) > _LONGEST_MESSAGE:
            raise Refusal(
                400, "PushMessageTooLong", f"Push messages can be at most {_LONGEST_MESSAGE} bytes long"
            )
        started = self._of(tree["startPush"])
        if tree.get("dryRun"):
            return {"authDiff": {"added": [], "removed": []}, "definitionDiffs": {}, "componentDiffs": {}}
        with self._lock:
            token = _token(tree["startPush"])
            if token in self._finished and self._backend.spec.finish_again == "refused":
                raise Refusal(400, "ConcurrentPush", _CONCURRENT)
            self._insist(started)
            self._finished.add(token)
            return self._go_live(started, message, actor)

    # --- what others do ------------------------------------------------------------------------------------

    def install(
        self, app: PushedApp, message: str | None, at_ms: float, actor: Mapping[str, Any] = COLLEAGUE
    ) -> Revision:
        """Let code be live as of a moment, without holding its schema against anything."""
        revision = self._backend.evaluated(app)
        with self._lock:
            self._overwrite(None)
            self._go_live(_Started(revision, {}, None), message, actor, at_ms)
        return revision

    def race(self, role: str) -> None:
        """Let a colleague begin a push: whatever schema was waiting has to give way."""
        with self._lock:
            self._overwrite(None)
            self._begun(self._backend.release(role), dry=False)

    def colleague(self, revision: Revision) -> None:
        """Let a colleague's push go live, whose schema fits whatever is stored."""
        with self._lock:
            self._overwrite(None)
            self._go_live(_Started(revision, {}, None), None, COLLEAGUE)

    @staticmethod
    def refuse_as_concurrent() -> None:
        """Refuse a push because another one was quicker."""
        raise Refusal(400, "ConcurrentPush", _CONCURRENT)

    # --- writes meanwhile ----------------------------------------------------------------------------------

    def wrote(self, documents: list[tuple[str, Document]]) -> None:
        """Hold new documents against a schema that waits to go live."""
        for pending in list(self._schemas.values()):
            if pending.state not in ("pending", "validated") or not pending.schema.validates:
                continue
            for table, document in documents:
                known = pending.schema.tables.get(table)
                wrong = why_not(known, document) if known is not None else None
                if wrong is not None:
                    pending.fail(
                        table,
                        f'New document in table "{table}" does not match the schema: {wrong.text}',
                    )

    # --- within --------------------------------------------------------------------------------------------

    def _evaluated(self, tree: Mapping[str, Any]) -> Revision:
        return self._backend.evaluated(PushedApp.from_request(tree, self._backend.live.app.modules))

    def _register(self, revision: Revision, *, dry: bool) -> Pending | None:
        if revision.schema is None:
            return None
        with self._lock:
            text = revision.schema.text
            for known in self._schemas.values():
                if known.schema.text == text and known.state in ("pending", "validated", "active"):
                    return known
            self._overwrite(None)
            pending = Pending(self._backend.number(16), revision.schema)
            self._schemas[pending.id] = pending
        added = index_diff(self._backend.live.schema, revision.schema)["added_indexes"]
        fields = [(one["name"].partition(".")[0], tuple(one["fields"])) for one in added if "fields" in one]
        pending.indexes_total = pending.indexes_complete = len(revision.schema.index_fields)
        pending.indexes_complete -= 0 if dry else len(fields)
        check = threading.Thread(
            target=self._check, args=(pending, [] if dry else fields), name="schema", daemon=True
        )
        check.start()
        return pending

    def _overwrite(self, keep: Pending | None) -> None:
        for other in self._schemas.values():
            if other is not keep and other.state in ("pending", "validated"):
                other.state = "overwritten"
                other.ended.set()

    def _check(self, pending: Pending, indexes: list[tuple[str, tuple[str, ...]]]) -> None:
        """Hold a schema against all that is stored, and fill the indexes that it adds."""
        storage = self._backend.storage
        for table, fields in indexes:
            storage.fill_index(table, fields)
            pending.indexes_complete += 1
        if pending.schema.validates:
            for table in pending.schema.tables:
                if pending.state != "pending" or not self._fits(pending, table):
                    break
        if pending.state == "pending":
            pending.state = "validated"
        pending.ended.set()

    def _fits(self, pending: Pending, name: str) -> bool:
        storage, table = self._backend.storage, pending.schema.tables[name]
        known = (name, json.dumps(table.tree, sort_keys=True), storage.changes(name))
        if known in self._fitting:
            return True
        began = time.monotonic()
        for done, text in enumerate(storage.raw(name), 1):
            document = json.loads(text)
            wrong = why_not(table, document)
            if wrong is not None:
                id_ = document["_id"]
                pending.fail(
                    name,
                    f'Document with ID "{id_}" in table "{name}" does not match the schema: {wrong.text}',
                )
                return False
            self._take_time(pending, began, done)
            if pending.state != "pending":
                return False
        if storage.changes(name) == known[2]:
            self._fitting.add(known)
        return True

    def _take_time(self, pending: Pending, began: float, done: int) -> None:
        """Be no quicker than the spec lets the platform be."""
        rate = self._backend.spec.checked_per_s
        if rate is not None:
            ahead_s = done / rate - (time.monotonic() - began)
            if ahead_s > 0:
                pending.ended.wait(ahead_s)

    def _of(self, start: Mapping[str, Any]) -> _Started:
        started = self._started.get(_token(start))
        if started is None:
            raise Refusal(400, "RaceDetected", _OVERWRITTEN)
        return started

    def _insist(self, started: _Started) -> None:
        """Refuse a push that may not go live."""
        variables = self._backend.variables
        if dict(variables) != dict(started.variables):
            raise Refusal(400, "RaceDetected", "Environment variables have changed during push")
        missing = [name for name in started.revision.required_variables if name not in variables]
        if missing:
            raise Refusal(
                400,
                "MissingEnvironmentVariables",
                f"Required environment variables are not set: {', '.join(missing)}. Set them in the Convex dashboard "
                "or CLI before pushing.",
            )
        if started.pending is None:
            return
        if started.pending.state == "overwritten":
            raise Refusal(400, "RaceDetected", _OVERWRITTEN)
        if started.pending.state not in ("validated", "active"):
            raise Refusal(400, "SchemaNotValidated", "The schema has not been validated yet.")

    def _go_live(
        self,
        started: _Started,
        message: str | None,
        actor: Mapping[str, Any],
        at_ms: float | None = None,
    ) -> dict[str, Any]:
        before, after = self._backend.live, started.revision
        for other in self._schemas.values():
            if other.state == "active" and other is not started.pending:
                other.state = "overwritten"
        if started.pending is not None:
            started.pending.state = "active"
            self._overwrite(started.pending)
        for name in after.schema.tables if after.schema is not None else ():
            self._backend.storage.add_table(name)
        diff = _diff(before, after)
        auth = _auth_diff(before, after)
        component = {
            "component_path": None,
            "component_diff": {_snake(key): value for key, value in diff.items()},
        }
        metadata = {
            "auth_diff": auth,
            "component_diffs": [component],
            "message": message,
            "node_version_diff": None,
        }
        self._backend.went_live(after, at_ms)
        moment = self._backend.now_ms() if at_ms is None else at_ms
        self._backend.audit.add(moment, "push_config_with_components", metadata, actor)
        return {"authDiff": auth, "definitionDiffs": {}, "componentDiffs": {"": diff}}

    def _schema_change(self, revision: Revision, pending: Pending | None) -> dict[str, Any]:
        return {
            "allocatedComponentIds": {},
            "schemaIds": {"": pending.id if pending is not None else None},
            "indexDiffs": {"": index_diff(self._backend.live.schema, revision.schema)},
        }

    @staticmethod
    def _analysis(revision: Revision) -> dict[str, Any]:
        definition = {
            "path": "",
            "definitionType": {"type": "app"},
            "childComponents": [],
            "httpMounts": {},
            "exports": {"type": "branch", "branch": []},
            **({"envVars": revision.definition["envVars"]} if revision.definition.get("envVars") else {}),
        }
        return {
            "definition": definition,
            "schema": revision.schema.tree if revision.schema is not None else None,
            "functions": revision.analysis,
            "udfConfig": {
                "serverVersion": revision.app.server_version,
                "importPhaseRngSeed": {"$bytes": "AAAAAAAAAAA="},
                "importPhaseUnixTimestamp": {"$integer": "AAAAAAAAAAA="},
            },
        }


def _token(start: Mapping[str, Any]) -> str:
    package = (start.get("componentDefinitionPackages") or {}).get("") or {}
    return str(package.get("storageKey"))


def _app(revision: Revision) -> dict[str, Any]:
    routes = revision.analysis.get("http.js", {}).get("httpRoutes")
    listed = None if routes is None else [route["route"] for route in routes]
    return {
        "definitionPath": "",
        "componentPath": "",
        "args": {},
        "childComponents": {},
        "httpRoutes": {"httpModuleRoutes": listed, "mounts": []},
        "exports": {},
    }


def _diff(before: Revision, after: Revision) -> dict[str, Any]:
    old = {module.path for module in before.app.modules if not module.path.startswith("_deps/")}
    new = {module.path for module in after.app.modules if not module.path.startswith("_deps/")}
    versions = (before.app.server_version, after.app.server_version)
    schemas = tuple(one.schema.text if one.schema is not None else None for one in (before, after))
    changed = {name for name in before.crons if before.crons[name] != after.crons.get(name)}
    return {
        "diffType": {"type": "modify"},
        "moduleDiff": {"added": sorted(new - old), "removed": sorted(old - new)},
        "udfConfigDiff": None
        if versions[0] == versions[1]
        else {"previous_version": versions[0], "next_version": versions[1]},
        "cronDiff": {
            "added": sorted(after.crons.keys() - before.crons.keys()),
            "updated": sorted(changed & after.crons.keys()),
            "deleted": sorted(before.crons.keys() - after.crons.keys()),
        },
        "indexDiff": index_diff(before.schema, after.schema),
        "schemaDiff": None
        if schemas[0] == schemas[1]
        else {"previous_schema": schemas[0], "next_schema": schemas[1]},
    }


def _auth_diff(before: Revision, after: Revision) -> dict[str, Any]:
    old, new = ({json.dumps(one, sort_keys=True) for one in rev.auth} for rev in (before, after))
    return {"added": sorted(new - old), "removed": sorted(old - new)}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
