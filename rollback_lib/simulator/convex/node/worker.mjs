// The process that runs pushed code: one for each world, as long as the world lives.
// - A call has a context to itself as long as it runs. One of a query or mutation is used again once nothing of the
//   call is under way any more; what a module keeps in its variables may be there then, as on the platform.
// - Whatever a function asks of its backend is asked over the pipe; this process keeps no data.
// - Nothing but this machine is reached, and only by actions.
// Lines of JSON: requests in, answers and questions ("sys") out.
import fs from 'node:fs';
import { SourceMap, builtinModules } from 'node:module';
import readline from 'node:readline';
import util from 'node:util';
import vm from 'node:vm';

const REPL = 'convex:/_system/repl/wrappers.js';
const replSource = fs.readFileSync(new URL('./repl.mjs', import.meta.url), 'utf8');
const codes = new Map(); // name -> Map(path -> {source, sourceMap, environment})
const questions = new Map(); // number -> {resolve, reject}
const idle = new Map(); // code and variables -> contexts that may be used again
const MOST_IDLE = 4; // of each, and kinds of them
let asked = 0;

const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

function ask(id, op, args) {
  return new Promise((resolve, reject) => {
    asked += 1;
    questions.set(asked, { resolve, reject });
    send({ sys: asked, id, op, args });
  });
}

class Refused extends Error {}

// --- what a function finds around it ---------------------------------------------------------------------------

const isHere = (address) => ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(address).hostname);

function onlyInActions(name) {
  return () => {
    throw new Error(
      `Can't use ${name} in queries and mutations. Please consider using an action. ` +
        'See https://docs.convex.dev/functions/actions for more details.',
    );
  };
}

function seeded(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

class Realm {
  // Gives a context for a call: one that was used before, or a new one.
  static of(request) {
    const again = ['query', 'mutation'].includes(request.kind) && request.source === undefined;
    const name = again ? `${request.code} ${JSON.stringify(request.env)}` : null;
    const realm = idle.get(name)?.pop() ?? new Realm(request);
    realm.name = name;
    realm.begin(request);
    return realm;
  }

  begin(request) {
    Object.assign(this, { id: request.id, kind: request.kind, now: request.now ?? Date.now(), began: Date.now() });
    Object.assign(this, { logs: [], streams: new Map(), waiting: 0, tables: request.tables ?? {} });
    this.random = seeded(request.seed ?? 1);
  }

  // Lets the context be used again, unless something of its call may still go on.
  end() {
    if (this.name === null || this.waiting > 0) return;
    if (!idle.has(this.name)) {
      if (idle.size >= MOST_IDLE) idle.delete(idle.keys().next().value);
      idle.set(this.name, []);
    }
    if (idle.get(this.name).length < MOST_IDLE) idle.get(this.name).push(this);
  }

  constructor(request) {
    this.begin(request);
    this.modules = codes.get(request.code) ?? new Map();
    this.extra = request.source === undefined ? null : { path: request.path, source: request.source };
    this.env = request.env ?? {};
    this.missing = new Set();
    this.loaded = new Map();
    this.context = vm.createContext({}, { codeGeneration: { strings: false, wasm: true } });
    this.furnish();
  }

  time() {
    return this.kind === 'action' ? this.now + (Date.now() - this.began) : this.now;
  }

  // Gives what is there in actions only.
  free(name, real) {
    const refuse = onlyInActions(name);
    return (...given) => (this.kind === 'action' || this.kind === 'node' ? real(...given) : refuse());
  }

  furnish() {
    const there = this.context;
    const env = new Proxy(this.env, {
      get: (values, name) => {
        if (typeof name === 'string' && !(name in values)) this.missing.add(name);
        return values[name];
      },
    });
    Object.assign(there, {
      console: this.console(),
      process: { env },
      Convex: {
        syscall: (op, args) => JSON.stringify(this.syscall(op, JSON.parse(args))),
        asyncSyscall: async (op, args) => JSON.stringify((await this.asyncSyscall(op, JSON.parse(args))) ?? null),
        jsSyscall: (op) => {
          throw new Error(`Unknown operation ${op}`);
        },
      },
      fetch: this.free('fetch()', reach),
      setTimeout: this.free('setTimeout', setTimeout),
      setInterval: this.free('setInterval', setInterval),
      clearTimeout,
      clearInterval,
      URL, URLSearchParams, TextEncoder, TextDecoder, Headers, Request, Response, Blob, FormData, AbortController,
      AbortSignal, ReadableStream, atob, btoa, structuredClone, crypto, Event, EventTarget, performance,
      __time: () => this.time(),
      __random: () => this.random(),
    });
    vm.runInContext(
      `{
        const time = __time, Real = Date;
        Math.random = __random;
        delete globalThis.__time; delete globalThis.__random;
        globalThis.Date = new Proxy(Real, {
          construct: (target, given, made) => Reflect.construct(target, given.length ? given : [time()], made),
          apply: () => new Real(time()).toString(),
          get: (target, name) => (name === 'now' ? time : Reflect.get(target, name)),
        });
        globalThis.global = globalThis; globalThis.self = globalThis;
      }`,
      there,
    );
    if (this.kind === 'node') Object.assign(there, { Buffer, process: { ...process, env } });
  }

  console() {
    const say = (level) => (...parts) => {
      const messages = parts.map((part) => util.inspect(part, { depth: 6 }));
      this.logs.push({ messages, level, timestamp: this.time(), isTruncated: false });
    };
    const levels = { log: 'LOG', debug: 'DEBUG', info: 'INFO', warn: 'WARN', error: 'ERROR', trace: 'LOG' };
    return Object.fromEntries(Object.entries(levels).map(([name, level]) => [name, say(level)]));
  }

  // --- what it asks of its backend ---------------------------------------------------------------------------

  syscall(op, args) {
    switch (op) {
      case '1.0/queryStream': {
        const queryId = this.streams.size;
        this.streams.set(queryId, { query: args.query, ready: [], done: false });
        return { queryId };
      }
      case '1.0/queryCleanup':
        this.streams.get(args.queryId).done = true;
        return {};
      case '1.0/db/normalizeId': {
        const number = this.tables[args.table];
        return { id: number !== undefined && tableOf(args.idString) === number ? args.idString : null };
      }
      case '1.0/getSnapshotTs':
        return { $integer: base64Int(BigInt(Math.round(this.now * 1000)) * 1000n) };
      default:
        throw new Error(`Unknown operation ${op}`);
    }
  }

  async ask(op, args) {
    this.waiting += 1;
    try {
      return await ask(this.id, op, args);
    } finally {
      this.waiting -= 1;
    }
  }

  async asyncSyscall(op, args) {
    if (op !== '1.0/queryStreamNext') return this.ask(op, args);
    const stream = this.streams.get(args.queryId);
    if (!stream.ready.length && !stream.done) {
      const next = await this.ask(op, { queryId: args.queryId, query: stream.query });
      stream.ready = next.documents;
      stream.done = next.done;
    }
    if (!stream.ready.length) return { value: null, done: true };
    return { value: stream.ready.shift(), done: false };
  }

  // --- modules -------------------------------------------------------------------------------------------------

  async module(path) {
    const made = this.made(path);
    if (made.status === 'unlinked') await made.link((specifier, from) => this.made(resolved(specifier, from.identifier)));
    if (made.status === 'linked') await made.evaluate();
    if (made.status === 'errored') throw made.error;
    return made.namespace;
  }

  made(path) {
    let module = this.loaded.get(path);
    if (module === undefined) {
      module = builtinModules.includes(path.replace(/^node:/, '')) ? this.builtin(path) : this.fromSource(path);
      this.loaded.set(path, module);
    }
    return module;
  }

  fromSource(path) {
    const source = path === REPL ? replSource : this.extra?.path === path ? this.extra.source : this.modules.get(path)?.source;
    if (source === undefined) throw new Refused(`Could not resolve "${path}"`);
    const known = this.modules.get(path);
    const made = new vm.SourceTextModule(source, {
      context: this.context,
      identifier: path,
      cachedData: known?.compiled,
      importModuleDynamically: async (specifier) => {
        const wanted = resolved(specifier, path);
        await this.module(wanted);
        return this.loaded.get(wanted);
      },
    });
    if (known !== undefined && known.compiled === undefined) known.compiled = made.createCachedData();
    return made;
  }

  builtin(path) {
    if (this.kind !== 'node') throw new Refused(`Could not resolve "${path}"`);
    const real = process.getBuiltinModule(path);
    const names = [...new Set(['default', ...Object.keys(real)])];
    return new vm.SyntheticModule(
      names,
      function give() {
        for (const name of names) this.setExport(name, name === 'default' ? real : real[name]);
      },
      { context: this.context, identifier: path },
    );
  }

  // --- errors --------------------------------------------------------------------------------------------------

  told(error) {
    if (!(error !== null && typeof error === 'object' && 'message' in error)) {
      return { message: `Uncaught ${util.inspect(error)}` };
    }
    const name = error.ConvexErrorSymbol ? 'ConvexError' : (error.name ?? 'Error');
    const frames = String(error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
    const mapped = frames.map((line) => this.frame(line)).filter(Boolean);
    const told = { message: [`Uncaught ${name}: ${error.message}`, ...mapped].join('\n'), plain: error.message };
    if (typeof error.data === 'string' && error.ConvexErrorSymbol) told.data = JSON.parse(error.data);
    return told;
  }

  frame(line) {
    const found = /^\s+at (?:(.*) \()?([^()\s]+?):(\d+):(\d+)\)?$/.exec(line);
    if (!found || !this.loaded.has(found[2])) return null;
    const [, called, path, row, column] = found;
    const place = this.origin(path, Number(row), Number(column));
    return `    at ${(called ?? '<anonymous>').replace(/^async /, 'async ')} (${place})`;
  }

  origin(path, row, column) {
    const map = this.modules.get(path)?.sourceMap;
    if (map) {
      const entry = new SourceMap(JSON.parse(map)).findEntry(row - 1, column - 1);
      if (entry.originalSource) {
        return `../${entry.originalSource.replace(/^(\.\.\/)+/, '')}:${entry.originalLine + 1}:${entry.originalColumn}`;
      }
    }
    return `../convex/${path}:${row}:${column - 1}`;
  }
}

async function reach(address, options) {
  const url = typeof address === 'string' || address instanceof URL ? String(address) : address.url;
  if (!isHere(url)) throw new TypeError('fetch failed');
  return fetch(address, options);
}

function resolved(specifier, from) {
  if (!specifier.startsWith('.')) return specifier;
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

// --- ids ---------------------------------------------------------------------------------------------------------

const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';

function tableOf(id) {
  let bits = 0n;
  for (const letter of id) {
    const value = LETTERS.indexOf(letter);
    if (value < 0) return null;
    bits = (bits << 5n) | BigInt(value);
  }
  const size = Math.floor((id.length * 5) / 8);
  bits >>= BigInt(id.length * 5 - size * 8);
  const bytes = [];
  for (let place = size - 1; place >= 0; place -= 1) bytes.push(Number((bits >> BigInt(8 * place)) & 255n));
  let [first, second] = [0, 0];
  for (const byte of bytes.slice(0, -2)) {
    first = (first + byte) % 256;
    second = (second + first) % 256;
  }
  if (bytes.at(-2) !== first || bytes.at(-1) !== second) return null;
  let [number, place] = [0, 0];
  do number |= (bytes[place] & 127) << (7 * place);
  while (bytes[place++] & 128);
  return size - 2 - place === 16 ? number : null;
}

function base64Int(number) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(number);
  return bytes.toString('base64');
}

// --- what is asked of this process ---------------------------------------------------------------------------------

const KINDS = { isQuery: 'Query', isMutation: 'Mutation', isAction: 'Action' };

function exported(realm, path, name, value, which) {
  if (value[which] === undefined) return null;
  const text = value[which]();
  if (typeof text !== 'string') throw new Refused(`Invalid ${which} return value: ${path}:${name}.${which}() didn't return a string.`);
  return text;
}

function functionsOf(realm, path, namespace) {
  const found = [];
  for (const [name, value] of Object.entries(namespace)) {
    if (value === null || !['function', 'object'].includes(typeof value)) continue;
    const kinds = Object.keys(KINDS).filter((kind) => kind in value);
    if (kinds.length !== 1) continue;
    const udfType = KINDS[kinds[0]];
    if (realm.kind === 'node' && udfType !== 'Action') {
      throw new Refused(
        `\`${name}\` defined in \`${path}\` is a ${udfType} function. Only actions can be defined in Node.js. ` +
          'See https://docs.convex.dev/functions/actions for more details.',
      );
    }
    const visibility = 'isPublic' in value ? { kind: 'public' } : 'isInternal' in value ? { kind: 'internal' } : null;
    found.push({
      name,
      udfType,
      visibility,
      args: exported(realm, path, name, value, 'exportArgs'),
      returns: exported(realm, path, name, value, 'exportReturns'),
    });
  }
  return found;
}

function routesOf(namespace) {
  const router = namespace.default;
  if (!router?.isRouter) throw new Refused('The default export of `convex/http.js` is not a Router.');
  return router.getRoutes().map(([path, method]) => ({ path, method }));
}

function cronsOf(namespace) {
  const crons = namespace.default;
  if (!crons?.isCrons) throw new Refused('The default export of `convex/crons.js` is not a Crons.');
  return JSON.parse(crons.export());
}

async function analyze(request) {
  const modules = {};
  for (const path of request.paths) {
    const kind = codes.get(request.code).get(path).environment === 'node' ? 'node' : 'analysis';
    const realm = new Realm({ ...request, kind });
    try {
      const namespace = await realm.module(path);
      modules[path] = { functions: functionsOf(realm, path, namespace), httpRoutes: null, cronSpecs: null };
      if (path === 'http.js') modules[path].httpRoutes = routesOf(namespace);
      if (path === 'crons.js') modules[path].cronSpecs = cronsOf(namespace);
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Refused(`Failed to analyze ${path}: ${realm.told(error).message}`);
    }
  }
  return { modules };
}

// Gives what the default export of a module says of itself: a schema, a definition, the ways to sign in.
async function evaluate(request) {
  const realm = new Realm({ ...request, kind: 'analysis' });
  try {
    const { default: found } = await realm.module(request.path);
    if (request.what === 'auth') return { value: JSON.parse(JSON.stringify(found ?? null)), missing: [...realm.missing] };
    if (typeof found?.export !== 'function') throw new Refused(`The default export of \`${request.path}\` is not a ${request.what}.`);
    const value = found.export();
    return { value: typeof value === 'string' ? JSON.parse(value) : JSON.parse(JSON.stringify(value)), missing: [] };
  } catch (error) {
    const missing = [...realm.missing];
    throw Object.assign(new Refused(error instanceof Refused ? error.message : realm.told(error).message), { missing });
  }
}

async function invoke(request) {
  const node = codes.get(request.code)?.get(request.path)?.environment === 'node';
  const realm = Realm.of(node ? { ...request, kind: 'node' } : request);
  try {
    const called = (await realm.module(request.path))[request.name];
    if (called === undefined) throw new Refused(`Couldn't find \`${request.name}\` in \`${request.path}\``);
    const given = JSON.stringify([request.args]);
    const run = {
      query: () => called.invokeQuery(given),
      mutation: () => called.invokeMutation(given),
      action: () => called.invokeAction(request.request, given),
    }[request.kind];
    if (run === undefined || !(`is${request.kind[0].toUpperCase()}${request.kind.slice(1)}` in called)) {
      throw new Refused(`${request.path}:${request.name} is no ${request.kind}`);
    }
    return { value: JSON.parse(await run()), logs: realm.logs };
  } catch (error) {
    const told = error instanceof Refused ? { message: error.message } : realm.told(error);
    throw Object.assign(new Refused(told.message), { told, logs: realm.logs });
  } finally {
    realm.end();
  }
}

const work = {
  analyze,
  evaluate,
  invoke,
  load: ({ code, modules }) => {
    codes.set(code, new Map(modules.map((module) => [module.path, module])));
    return {};
  },
  unload: ({ code }) => {
    codes.delete(code);
    for (const name of idle.keys()) if (name.startsWith(`${code} `)) idle.delete(name);
    return {};
  },
};

async function answer(request) {
  try {
    send({ id: request.id, ok: await work[request.op](request) });
  } catch (error) {
    const told = error.told ?? { message: error instanceof Refused ? error.message : String(error?.stack ?? error) };
    send({ id: request.id, error: { ...told, missing: error.missing ?? [] }, logs: error.logs ?? [] });
  }
}

process.on('unhandledRejection', () => {}); // a function's own affair
process.on('uncaughtException', (error) => process.stderr.write(`${error?.stack ?? error}\n`));
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (message.reply === undefined) {
    void answer(message);
    return;
  }
  const question = questions.get(message.reply);
  questions.delete(message.reply);
  if (message.error === undefined) question.resolve(message.ok);
  else question.reject(Object.assign(new Error(message.error.message), 'data' in message.error ? { data: message.error.data } : {}));
}).on('close', () => process.exit(0));
