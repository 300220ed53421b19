"""A tiny app for the simulated backend, written as the bundles of a real one are found by it.

Its functions speak the platform's own calls, without the package that apps usually import.
"""

from __future__ import annotations

import json
from typing import Any

from rollback_lib.simulator.convex.code import Module, PushedApp

__all__ = ["ADULTS", "USERS", "app", "field", "object_of", "push_body", "schema_module"]

_DEPS = """
const kinds = { isQuery: 'invokeQuery', isMutation: 'invokeMutation', isAction: 'invokeAction' };
export const call = async (op, args) => JSON.parse(await Convex.asyncSyscall(op, JSON.stringify(args)));
export const fail = (data) => {
  const error = new Error(JSON.stringify(data));
  throw Object.assign(error, { data: JSON.stringify(data), ConvexErrorSymbol: Symbol.for('ConvexError') });
};
const made = (kind, visibility) => (handler, args = { type: 'any' }, returns = null) => Object.assign(() => {}, {
  [kind]: true,
  [visibility]: true,
  exportArgs: () => JSON.stringify(args),
  exportReturns: () => JSON.stringify(returns),
  [kinds[kind]]: async (...given) => JSON.stringify((await handler(JSON.parse(given.at(-1))[0])) ?? null),
});
export const query = made('isQuery', 'isPublic');
export const internalQuery = made('isQuery', 'isInternal');
export const mutation = made('isMutation', 'isPublic');
export const action = made('isAction', 'isPublic');
"""
_USERS = """
import { action, call, fail, internalQuery, mutation, query } from './_deps/tiny.js';
const all = async (source, operators = []) => {
  const { queryId } = JSON.parse(Convex.syscall('1.0/queryStream', JSON.stringify({ query: { source, operators } })));
  const found = [];
  for (;;) {
    const { value, done } = await call('1.0/queryStreamNext', { queryId });
    if (done) return found;
    found.push(value);
  }
};
const table = { type: 'FullTableScan', tableName: 'users', order: null };
const clerk = { type: 'object', value: { clerkId: { fieldType: { type: 'string' }, optional: false } } };
export const list = query(() => all(table));
export const getUserByClerkId = query(async ({ clerkId }) => {
  console.log('looking', clerkId);
  const range = [{ type: 'Eq', fieldPath: 'clerkId', value: clerkId }];
  return (await all({ type: 'IndexRange', indexName: 'users.by_clerk', range, order: null }))[0];
}, clerk);
export const add = mutation(async (value) => (await call('1.0/insert', { table: 'users', value }))._id);
export const addAndFail = mutation(async (value) => {
  await call('1.0/insert', { table: 'users', value });
  fail({ code: 'TAKEN' });
});
export const edit = mutation(async ({ id, value }) => { await call('1.0/shallowMerge', { id, value }); });
export const remove = mutation(async ({ id }) => { await call('1.0/remove', { id }); });
export const broken = query(() => { throw new Error('it broke'); });
export const lying = query(() => 1, { type: 'any' }, { type: 'string' });
export const hidden = internalQuery(() => 'hidden');
export const writes = query((value) => call('1.0/insert', { table: 'users', value }));
export const fetches = query(() => fetch('http://127.0.0.1/'));
export const outside = action(() => fetch('http://192.0.2.1/'));
export const secret = query(() => process.env.SECRET);
export const when = query(() => Date.now());
export const both = action(async (value) => {
  const id = await call('1.0/actions/mutation', { name: 'users:add', args: value });
  return [id, await call('1.0/actions/query', { name: 'users:hidden', args: {} })];
});
export const tries = mutation(async (value) => {
  await call('1.0/insert', { table: 'users', value });
  try {
    await call('1.0/runUdf', { udfType: 'mutation', name: 'users:addAndFail', args: { clerkId: 'inner' } });
  } catch (error) {
    return [error.message.split('\\n')[0], error.data];
  }
});
export const later = mutation((value) =>
  call('1.0/schedule', { name: 'users:add', ts: Date.now() / 1000 + value.in_s, args: { clerkId: 'later' } }));
export const endless = action(() => new Promise(() => {}));
"""


def field(type_: str, *, optional: bool = False, **more: Any) -> dict[str, Any]:
    """Write a field of a validator."""
    return {"fieldType": {"type": type_, **more}, "optional": optional}


def object_of(**fields: dict[str, Any]) -> dict[str, Any]:
    """Write the validator of an object."""
    return {"type": "object", "value": fields}


USERS = object_of(clerkId=field("string"), name=field("string", optional=True))
ADULTS = object_of(clerkId=field("string"), name=field("string", optional=True), age=field("number"))


def schema_module(document: dict[str, Any], *, validates: bool = True) -> Module:
    """Write the module of a schema with one table, `users`."""
    indexes = [{"indexDescriptor": "by_clerk", "fields": ["clerkId"]}]
    table = {
        "tableName": "users",
        "indexes": indexes,
        "searchIndexes": [],
        "vectorIndexes": [],
        "documentType": document,
    }
    text = json.dumps(json.dumps({"tables": [table], "schemaValidation": validates}))
    return Module("schema.js", f"export default {{ export: () => {text} }};")


def app(
    document: dict[str, Any] = USERS,
    more: str = "",
    *,
    required: tuple[str, ...] = (),
    validates: bool = True,
) -> PushedApp:
    """Write the app.

    Args:
        document: The validator of its one table.
        more: Further code of its module `users.js`.
        required: The environment variables that it declares as required.
        validates: Whether documents are held against the schema.
    """
    definition = None
    if required:
        variables = [[name, {"type": "value", "value": '{"type":"string"}'}] for name in required]
        text = json.dumps({"definitionType": {"type": "app"}, "envVars": variables})
        definition = Module("convex.config.js", f"export default {{ export: () => ({text}) }};")
    return PushedApp(
        modules=(Module("_deps/tiny.js", _DEPS), Module("users.js", _USERS + more)),
        schema=schema_module(document, validates=validates),
        definition=definition,
        server_version="1.48.0",
    )


def push_body(pushed: PushedApp, key: str = "", *, dry: bool = False) -> dict[str, Any]:
    """Write the body that starts a push."""
    return {
        "adminKey": key,
        "dryRun": dry,
        "functions": "convex/",
        "appDefinition": {
            "definition": pushed.definition.as_json if pushed.definition is not None else None,
            "dependencies": [],
            "schema": pushed.schema.as_json if pushed.schema is not None else None,
            "changedModules": [module.as_json for module in pushed.modules],
            "unchangedModuleHashes": [],
            "udfServerVersion": pushed.server_version,
        },
        "componentDefinitions": [],
        "nodeDependencies": [],
    }
