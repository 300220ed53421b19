// What a query that is written on the spot imports (`convex:/_system/repl/wrappers.js`): reading, and nothing else.
const call = async (op, args) => JSON.parse(await Convex.asyncSyscall(op, JSON.stringify(args)));
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));

function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== 'object') return value;
  const [name, ...more] = Object.keys(value);
  if (!more.length && name === '$integer') return new DataView(bytes(value.$integer)).getBigInt64(0, true);
  if (!more.length && name === '$float') return new DataView(bytes(value.$float)).getFloat64(0, true);
  if (!more.length && name === '$bytes') return bytes(value.$bytes);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
}

function toJson(value, top = true) {
  if (value === undefined) {
    if (top) return { $undefined: null };
    throw new Error('undefined is not a valid Convex value.');
  }
  if (typeof value === 'bigint' || (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))) {
    const view = new DataView(new ArrayBuffer(8));
    if (typeof value === 'bigint') view.setBigInt64(0, value, true);
    else view.setFloat64(0, value, true);
    return { [typeof value === 'bigint' ? '$integer' : '$float']: text(view.buffer) };
  }
  if (value === null || ['number', 'string', 'boolean'].includes(typeof value)) return value;
  if (value instanceof ArrayBuffer) return { $bytes: text(value) };
  if (Array.isArray(value)) return value.map((item) => toJson(item, false));
  if (typeof value !== 'object' || ![Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    throw new Error(`${value?.constructor?.name ?? typeof value} is not a supported Convex type.`);
  }
  const kept = Object.entries(value).filter(([, item]) => item !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(kept.map(([key, item]) => [key, toJson(item, false)]));
}

class Expression {
  constructor(form) {
    this.form = form;
  }
}
const part = (value) => (value instanceof Expression ? value.form : { $literal: toJson(value) });
const two = (form) => (left, right) => new Expression({ [form]: [part(left), part(right)] });
const filters = {
  ...Object.fromEntries(['eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'add', 'sub', 'mul', 'div', 'mod'].map((n) => [n, two(`$${n}`)])),
  neg: (value) => new Expression({ $neg: part(value) }),
  not: (value) => new Expression({ $not: part(value) }),
  and: (...parts) => new Expression({ $and: parts.map(part) }),
  or: (...parts) => new Expression({ $or: parts.map(part) }),
  field: (name) => new Expression({ $field: name }),
};

const bounds = (list = []) => ({
  list,
  ...Object.fromEntries(
    ['Eq', 'Gt', 'Gte', 'Lt', 'Lte'].map((type) => [
      type.toLowerCase(),
      (fieldPath, value) => bounds([...list, { type, fieldPath, value: toJson(value) }]),
    ]),
  ),
});

class Query {
  constructor(source, operators = []) {
    Object.assign(this, { source, operators });
  }
  order(order) {
    return new Query({ ...this.source, order }, this.operators);
  }
  withIndex(name, range = (q) => q) {
    const indexName = `${this.source.tableName}.${name}`;
    return new Query({ type: 'IndexRange', indexName, range: range(bounds()).list, order: null }, this.operators);
  }
  filter(predicate) {
    return new Query(this.source, [...this.operators, { filter: part(predicate(filters)) }]);
  }
  limit(limit) {
    return new Query(this.source, [...this.operators, { limit }]);
  }
  async *[Symbol.asyncIterator]() {
    const query = { source: this.source, operators: this.operators };
    const { queryId } = JSON.parse(Convex.syscall('1.0/queryStream', JSON.stringify({ query })));
    for (;;) {
      const { value, done } = await call('1.0/queryStreamNext', { queryId });
      if (done) return;
      yield fromJson(value);
    }
  }
  async collect() {
    const found = [];
    for await (const item of this) found.push(item);
    return found;
  }
  take(n) {
    return this.limit(n).collect();
  }
  async first() {
    return (await this.take(1))[0] ?? null;
  }
  async unique() {
    const found = await this.take(2);
    if (found.length > 1) throw new Error('unique() query returned more than one result');
    return found[0] ?? null;
  }
  async paginate({ cursor, numItems }) {
    const query = { source: this.source, operators: this.operators };
    const { page, ...rest } = await call('1.0/queryPage', { query, cursor, pageSize: numItems });
    return { page: page.map(fromJson), ...rest };
  }
}

function reader(system) {
  const own = (table) => {
    if (table.startsWith('_') !== system) {
      throw new Error(`${system ? 'User' : 'System'} tables can only be accessed from db.${system ? '' : 'system.'}query().`);
    }
  };
  return {
    get: async (...given) => fromJson(await call('1.0/get', { id: given.at(-1), isSystem: system })),
    query: (tableName) => {
      own(tableName);
      const count = async () => fromJson(await call('1.0/count', { table: tableName })); // of all, before any filter
      return Object.assign(new Query({ type: 'FullTableScan', tableName, order: null }), { count });
    },
    normalizeId: (table, idString) =>
      JSON.parse(Convex.syscall('1.0/db/normalizeId', JSON.stringify({ table, idString }))).id,
  };
}

function make(flag, definition) {
  const handler = typeof definition === 'function' ? definition : definition.handler;
  const invokeQuery = async (given) => {
    const [args] = JSON.parse(given);
    const db = { ...reader(false), system: reader(true) };
    const auth = { getUserIdentity: () => call('1.0/getUserIdentity', {}) };
    const value = await handler({ db, auth }, fromJson(args));
    return JSON.stringify(value === undefined ? null : toJson(value, false));
  };
  return Object.assign(() => {}, { isQuery: true, [flag]: true, invokeQuery });
}

export const query = (definition) => make('isPublic', definition);
export const internalQuery = (definition) => make('isInternal', definition);
