// Stands in for the official command line where a day is about what happens around it: the same arguments, the same
// requests, the same words for what became of them; what it pushes was once made by the official one (`pushes/`).
// `behaviour.json` beside it says what it does not know and where it breaks off: {unknown: [], at, does, when}.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const home = path.dirname(__dirname);
const args = process.argv.slice(2);
const behaviour = JSON.parse(fs.readFileSync(path.join(home, "behaviour.json"), "utf8"));
const dry = args.includes("--dry-run");
const key = process.env.CONVEX_DEPLOY_KEY;
const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
const say = (line) => fs.writeSync(2, `${line}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Said extends Error {}

async function at(step) {
  const when = behaviour.when ?? "always";
  const now = option("--write-push-request") ? "bundle" : dry ? "dry run" : "push";
  if (behaviour.at !== step || (when !== "always" && when !== now)) return;
  if (behaviour.does === "hang") await pause(3_600_000);
  if (behaviour.does === "be killed") process.kill(process.pid, "SIGKILL");
  throw new TypeError("Cannot read properties of undefined (reading 'node')");
}

async function post(url, body, scheme = "Convex") {
  const headers = { "content-type": "application/json", authorization: `${scheme} ${key}` };
  for (let left = 4; ; left -= 1) {
    let reply;
    try {
      reply = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    } catch (error) {
      if (left > 1) {
        await pause(50);
        continue;
      }
      throw new Said(`✖ Error fetching POST  ${url} ${error.message}`);
    }
    const text = await reply.text();
    if (reply.ok) return text ? JSON.parse(text) : null;
    let told = text.slice(0, 200);
    try {
      const { code, message } = JSON.parse(text);
      const [, unset] = message.match(/are not set: ([^.]+)\./) ?? [];
      if (code === "MissingEnvironmentVariables") {
        throw new Said(`✖ Environment variable ${unset} is declared as required in convex.config.ts but its value was not set.`);
      }
      told = `${code}: ${message}`;
    } catch (error) {
      if (error instanceof Said) throw error;
    }
    throw new Said(`✖ Error fetching POST  ${url} ${reply.status} ${reply.statusText}: ${told}`);
  }
}

async function main() {
  const stranger = args.find((one) => behaviour.unknown?.includes(one));
  if (stranger) throw new Said(`error: unknown option '${stranger}'`);
  await at("begin");
  const control = process.env.CONVEX_PROVISION_HOST;
  const url = await post(`${control}/api/deployment/url_for_key`, { deployKey: key }, "Bearer");
  await post(`${url}/api/get_config_hashes`, { version: "1.48.0", adminKey: key });
  const commit = path.basename(process.cwd());
  const pushed = JSON.parse(fs.readFileSync(path.join(home, "pushes", `${commit}.json`), "utf8"));
  if (option("--write-push-request")) {
    fs.writeFileSync(`${option("--write-push-request")}.json`, JSON.stringify(pushed));
    return;
  }
  say(`- Deploying code to ${url}...${dry ? " [dry run]" : ""}`);
  await at("start_push");
  const started = await post(`${url}/api/deploy2/start_push`, { ...pushed, adminKey: key, dryRun: dry });
  if (args.includes("--verbose")) say(`startPush: ${JSON.stringify(started, null, 2)}`);
  await at("wait_for_schema");
  for (;;) {
    const body = { adminKey: key, schemaChange: started.schemaChange, timeoutMs: 10000, dryRun: dry };
    const state = await post(`${url}/api/deploy2/wait_for_schema`, body);
    if (state.type === "complete") break;
    if (state.type === "raceDetected") throw new Said("✖ Schema was overwritten by another push.");
    if (state.type === "failed") throw new Said(`✖ Schema validation failed.\n${state.error}`);
  }
  say("- Finalizing push...");
  await at("finish_push");
  const message = option("--message") ?? null;
  await post(`${url}/api/deploy2/finish_push`, { adminKey: key, startPush: started, dryRun: dry, message });
  await at("end");
  say(dry ? `✔ Would have deployed Convex functions to ${url}` : `✔ Deployed Convex functions to ${url}`);
}

main().catch((error) => {
  say(error instanceof Said ? error.message : error.stack);
  process.exitCode = 1;
});
