"""Pushed code: the modules as the official command line sends them, and what was found in them.

- What is found in the code is found by running it; nothing is guessed from its text.
- A push that holds what this backend cannot do is refused, never taken in part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rollback_lib.simulator.convex.schema import InvalidSchema, Schema, read_schema
from rollback_lib.simulator.convex.validators import Check, TableOf, UnknownValidator, compile_validator
from rollback_lib.simulator.convex.worker import CodeError, Worker
from rollback_lib.simulator.refusal import Refusal

__all__ = ["Function", "FunctionKind", "Module", "PushedApp", "Revision", "canonical", "evaluate"]

FunctionKind: TypeAlias = Literal["Query", "Mutation", "Action"]
_AUTH = "auth.config.js"
_DEPENDENCIES = "_deps/"
_ANY = {"type": "any"}
_WHILE_PUSHING = "Hit an error while pushing:\n"


@dataclass(frozen=True)
class Module:
    """One bundled file."""

    path: str
    source: str
    source_map: str | None = None
    environment: str = "isolate"  # or "node"

    @classmethod
    def from_request(cls, tree: Mapping[str, Any]) -> Module:
        """Read it as it was sent."""
        return cls(tree["path"], tree["source"], tree.get("sourceMap"), tree.get("environment") or "isolate")

    @property
    def sha256(self) -> str:
        """What the command line compares it by."""
        return hashlib.sha256((self.source + (self.source_map or "")).encode()).hexdigest()

    @property
    def as_json(self) -> dict[str, Any]:
        """It as the process that runs it takes it."""
        return {
            "path": self.path,
            "source": self.source,
            "sourceMap": self.source_map,
            "environment": self.environment,
        }


@dataclass(frozen=True)
class PushedApp:
    """All that one push consists of."""

    modules: tuple[Module, ...]
    schema: Module | None = None
    definition: Module | None = None
    server_version: str = "1.0.0"
    functions_folder: str = "convex/"
    node_dependencies: tuple[dict[str, Any], ...] = ()

    @classmethod
    def from_request(cls, tree: Mapping[str, Any], known: Iterable[Module] = ()) -> PushedApp:
        """Read the body of a push.

        Args:
            tree: What was sent to start it.
            known: The modules that are live, which a push may name by their hash.

        Raises:
            Refusal: It names a module that is not there, or has components, which this backend cannot run.
        """
        app = tree["appDefinition"]
        if tree.get("componentDefinitions") or app.get("dependencies"):
            raise Refusal(400, "InvalidConvexConfig", "Components are not supported by this backend.")
        live = {(module.path, module.sha256): module for module in known}
        modules = [Module.from_request(one) for one in app["changedModules"]]
        for one in app.get("unchangedModuleHashes", ()):
            module = live.get((one["path"], one["sha256"]))
            if module is None:
                raise Refusal(
                    400,
                    "RaceDetected",
                    f"Module {one['path']} has changed since it was compared with this push.",
                )
            modules.append(module)
        schema, definition = app.get("schema"), app.get("definition")
        return cls(
            modules=tuple(sorted(modules, key=lambda module: module.path)),
            schema=None if schema is None else Module.from_request(schema),
            definition=None if definition is None else Module.from_request(definition),
            server_version=app.get("udfServerVersion", "1.0.0"),
            functions_folder=tree.get("functions", "convex/"),
            node_dependencies=tuple(tree.get("nodeDependencies", ())),
        )

    @property
    def key(self) -> str:
        """A name that no other code has."""
        parts = [*self.modules, *(one for one in (self.schema, self.definition) if one is not None)]
        text = "".join(f"{module.path}:{module.sha256};" for module in parts)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Function:
    """A function that can be called."""

    module: str  # path, as "users.js"
    name: str
    kind: FunctionKind
    public: bool
    args: Any
    returns: Any
    check_args: Check = field(repr=False, compare=False)
    check_returns: Check = field(repr=False, compare=False)

    @property
    def identifier(self) -> str:
        """Its name in lists and logs."""
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class Revision:
    """Code that was evaluated: what it offers and what it wants."""

    app: PushedApp
    functions: Mapping[str, Function]  # by identifier
    analysis: Mapping[str, Any]  # module -> what was found, as the platform tells it
    schema: Schema | None
    required_variables: tuple[str, ...]
    definition: Mapping[str, Any]
    auth: tuple[dict[str, Any], ...]

    @property
    def crons(self) -> Mapping[str, Any]:
        """What runs by itself, by name."""
        found = self.analysis.get("crons.js", {}).get("cronSpecs")
        return {one["identifier"]: one["spec"] for one in found or ()}

    @property
    def index_fields(self) -> Mapping[str, tuple[str, ...]]:
        """The fields of each index that functions may use."""
        return self.schema.index_fields if self.schema is not None else {}

    @property
    def api(self) -> list[dict[str, Any]]:
        """The list of functions, as the platform gives it."""
        listed: list[dict[str, Any]] = []
        for path in sorted(self.analysis):
            listed += [
                {
                    "args": function.args,
                    "functionType": function.kind,
                    "identifier": function.identifier,
                    "returns": function.returns,
                    "visibility": {"kind": "public" if function.public else "internal"},
                }
                for function in self.functions.values()
                if function.module == path
            ]
            routes = self.analysis[path].get("httpRoutes") or ()
            listed += [{"functionType": "HttpAction", **route["route"]} for route in routes]
        return listed


def canonical(path: str) -> str:
    """Name a function as lists and logs do: `users:get` is `users.js:get`, `users` is `users.js:default`."""
    module, _, name = path.partition(":")
    return f"{module.removesuffix('.js')}.js:{name or 'default'}"


def evaluate(app: PushedApp, worker: Worker, variables: Mapping[str, str], table_of: TableOf) -> Revision:
    """Run all modules of a push, and tell what is in them.

    Args:
        app: The push.
        worker: Where code runs.
        variables: The environment variables as they are now.
        table_of: Names a table by its number.

    Raises:
        Refusal: It cannot be loaded, or holds what the platform refuses.
    """
    worker.load(app.key, _all_modules(app))
    paths = [m.path for m in app.modules if not m.path.startswith(_DEPENDENCIES) and m.path != _AUTH]
    try:
        found = worker.request("analyze", code=app.key, paths=paths, env=dict(variables))["modules"]
    except CodeError as exc:
        raise Refusal(400, "InvalidModules", f"{_WHILE_PUSHING}{_LOADING}{exc.message}") from exc
    functions: dict[str, Function] = {}
    for path, module in found.items():
        for one in module["functions"]:
            function = _function(path, one, table_of)
            functions[function.identifier] = function
    definition = _exported(app, worker, variables, "definition")
    return Revision(
        app=app,
        functions=functions,
        analysis={path: _told(module) for path, module in found.items()},
        schema=_schema(app, worker, variables, table_of),
        required_variables=_required(definition),
        definition=definition or {},
        auth=_auth(app, worker, variables),
    )


_LOADING = "Loading the pushed modules encountered the following\n    error:\n"


def _all_modules(app: PushedApp) -> list[dict[str, Any]]:
    extra = [one for one in (app.schema, app.definition) if one is not None]
    return [module.as_json for module in (*app.modules, *extra)]


def _function(path: str, one: Mapping[str, Any], table_of: TableOf) -> Function:
    args = json.loads(one["args"]) if one["args"] else _ANY
    returns = (json.loads(one["returns"]) if one["returns"] else None) or _ANY
    if one["visibility"] is None:
        raise Refusal(
            400,
            "InvalidModules",
            f"{_WHILE_PUSHING}{_LOADING}{path}:{one['name']} is neither public nor internal",
        )
    try:
        checks = compile_validator(args, table_of), compile_validator(returns, table_of)
    except UnknownValidator as exc:
        where = f"Invalid JSON returned from {path}:{one['name']}.exportArgs(): {exc}"
        raise Refusal(400, "InvalidModules", f"{_WHILE_PUSHING}{_LOADING}{where}") from exc
    public = one["visibility"]["kind"] == "public"
    return Function(path, one["name"], one["udfType"], public, args, returns, *checks)


def _told(module: Mapping[str, Any]) -> dict[str, Any]:
    functions = [{**one, "pos": None} for one in module["functions"]]
    routes, crons = module["httpRoutes"], module["cronSpecs"]
    told = {
        "functions": functions,
        "httpRoutes": None if routes is None else [{"route": route, "pos": None} for route in routes],
        "cronSpecs": crons and [{"identifier": name, "spec": spec} for name, spec in crons.items()],
    }
    return {**told, "sourceMapped": {**told}}


def _exported(
    app: PushedApp, worker: Worker, variables: Mapping[str, str], what: Literal["schema", "definition"]
) -> Any:
    """Give what a module exports of itself; None where there is no such module."""
    module, code = (
        (app.schema, "InvalidSchema") if what == "schema" else (app.definition, "InvalidConvexConfig")
    )
    if module is None:
        return None
    asked: dict[str, Any] = {"code": app.key, "path": module.path, "what": what, "env": dict(variables)}
    try:
        return worker.request("evaluate", **asked)["value"]
    except CodeError as exc:
        raise Refusal(400, code, f"{_WHILE_PUSHING}{exc.message}") from exc


def _schema(app: PushedApp, worker: Worker, variables: Mapping[str, str], table_of: TableOf) -> Schema | None:
    tree = _exported(app, worker, variables, "schema")
    try:
        return None if tree is None else read_schema(tree, table_of)
    except InvalidSchema as exc:
        raise Refusal(400, "InvalidSchema", f"{_WHILE_PUSHING}{exc}") from exc


def _required(definition: Any) -> tuple[str, ...]:
    declared = (definition or {}).get("envVars") or ()
    return tuple(name for name, entry in declared if not entry.get("optional"))


def _auth(app: PushedApp, worker: Worker, variables: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    if not any(module.path == _AUTH for module in app.modules):
        return ()
    try:
        found = worker.request("evaluate", code=app.key, path=_AUTH, what="auth", env=dict(variables))
        missing, value = found["missing"], found["value"] or {}
    except CodeError as exc:
        missing, value = exc.missing, {}
        if not missing:
            raise Refusal(400, "InvalidAuthConfig", f"{_WHILE_PUSHING}{exc.message}") from exc
    if missing:
        words = f"Environment variable {missing[0]} is used in auth config file but its value was not set"
        raise Refusal(400, "AuthConfigMissingEnvironmentVariable", f"{_WHILE_PUSHING}{words}")
    return tuple(value.get("providers", ()))
