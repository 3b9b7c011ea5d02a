/**
 * Says to looptape what tools do, and where a loop begins and ends.
 *
 *     const getWeather = tool("get_weather", async ({ city }) => …);
 *     await loop("refund", () => agent.run());
 *
 * Under `looptape record` a tool's calls are recorded: arguments, result or error, time. Under `looptape replay` they are
 * answered from the recording, and the function does not run. Without looptape (no LOOPTAPE_URL) nothing here does
 * anything. Recording never harms the agent: what cannot be sent is dropped. The protocol is in docs/tools.md; no
 * dependencies, Node 18 or newer.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes } from "node:crypto";

const { LOOPTAPE_URL = "", LOOPTAPE_TRACE = "", LOOPTAPE_MODE } = process.env;
const isReplay = LOOPTAPE_MODE === "replay";
const origin = URL.canParse?.(LOOPTAPE_URL) ? new URL(LOOPTAPE_URL) : undefined;
const endpoint =
  origin &&
  `${origin.href.replace(/\/$/, "")}${LOOPTAPE_TRACE && `/t/${encodeURIComponent(LOOPTAPE_TRACE)}`}/_looptape/v1/tool`;
const plainFetch = globalThis.fetch;
const ASK_MS = 30_000;
const REPORT_MS = 5_000;
const MOST_WAITING = 10_000;

const currentLoop = new AsyncLocalStorage();
const currentCallId = new AsyncLocalStorage();

/** What a tool threw when it was recorded; `name` is the recorded error's. */
export class ToolError extends Error {
  constructor(message, name = "ToolError") {
    super(message);
    this.name = name;
  }
}

/** A call that a replay does not let run: it was not recorded, or the policy says so. */
export class Denied extends ToolError {
  constructor(message) {
    super(message, "Denied");
  }
}

/** Whether looptape records or replays this process. */
export function isActive() {
  return origin?.protocol === "http:";
}

/**
 * A tool: an async function like `execute`. Its arguments are its first argument, if that is all, else a list.
 * `writes: false`: it only reads, so a replay may run a call that was not recorded.
 */
export function tool(name, execute, { writes = true } = {}) {
  if (!isActive()) return async (...given) => execute(...given);
  return async (...given) => {
    if (isHooked(name)) return execute(...given);
    const call = {
      name,
      arguments: given.length === 1 ? given[0] : given,
      run: `${process.pid}-${randomBytes(6).toString("hex")}`,
      via: "node",
      ...(writes ? {} : { writes }),
      ...(currentCallId.getStore() ? { call_id: currentCallId.getStore() } : {}),
    };
    if (isReplay) {
      const verdict = await ask(call, writes);
      if (verdict) return obey(verdict, name);
    } else {
      report({ ...call, phase: "started" });
    }
    const began = performance.now();
    const end = (said) => ended(call, said, Math.round((performance.now() - began) * 1000));
    let result;
    try {
      result = await execute(...given);
    } catch (error) {
      const verdict = await end(failure(error));
      if (verdict) return obey(verdict, name);
      throw error;
    }
    const verdict = await end(encoded(result));
    return verdict ? obey(verdict, name) : result;
  };
}

/** Whether this runs inside a framework's tool of the same name, for which looptape's hooks speak already. */
function isHooked(name) {
  const calls = globalThis[Symbol.for("looptape.within")]?.();
  return calls?.at(-1)?.name === name;
}

/** Runs `inside` as the tool call with this id of the model: tells calls with the same arguments apart. */
export function callId(id, inside) {
  return currentCallId.run(id, inside);
}

const names = new Map();

/** Runs `inside` as one task of the agent: the model calls made there are a loop of this name. */
export function loop(name, inside, { trace } = {}) {
  const nth = (names.get(name) ?? 0) + 1;
  names.set(name, nth);
  const parent = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(trace ?? "");
  const outer = currentLoop.getStore();
  const label = nth === 1 ? name : `${name} ${nth}`;
  return currentLoop.run({ name: label, trace: parent?.[1] ?? trace ?? outer?.trace }, inside);
}

/**
 * Headers that say which loop and trace a request is of: for clients that do not use `fetch`, and for other services.
 * Empty without looptape.
 */
export function headers() {
  if (!isActive()) return {};
  const current = currentLoop.getStore();
  const trace = current?.trace ?? LOOPTAPE_TRACE;
  const made = {};
  if (current) made["x-looptape-loop"] = current.name.replace(/[^\x20-\x7e]/g, "?");
  if (current?.trace) made["x-looptape-trace"] = current.trace;
  if (/^[0-9a-f]{32}$/.test(trace)) made.traceparent = `00-${trace}-${randomBytes(8).toString("hex")}-01`;
  return made;
}

// Clients take `fetch` when they are made, so it is there from the start; only requests to looptape get headers.
if (isActive() && plainFetch) {
  globalThis.fetch = function fetch(input, init) {
    const to = input instanceof Request ? input.url : String(input);
    if (!currentLoop.getStore() || !URL.canParse(to) || new URL(to).origin !== origin.origin) {
      return plainFetch(input, init);
    }
    const all = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    for (const [name, value] of Object.entries(headers())) all.set(name, value);
    return plainFetch(input, { ...init, headers: all });
  };
}

async function ask(call, writes) {
  let verdict;
  try {
    verdict = await send({ ...call, phase: "ask" }, ASK_MS);
  } catch (error) {
    verdict = { message: `looptape does not answer (${error.message}): ${call.name} does not run` };
  }
  const isKnown = ["answer", "deny"].includes(verdict.verdict);
  return verdict.verdict === "run" || (!isKnown && !writes) ? undefined : verdict;
}

async function ended(call, said, duration_us) {
  const message = { ...call, ...said, phase: "ended", duration_us };
  if (!isReplay) return void report(message);
  const verdict = await send(message, ASK_MS).catch(() => undefined);
  return verdict?.verdict === "answer" ? verdict : undefined;
}

/** Gives what the recording says that the tool gave. */
function obey(verdict, name) {
  if (verdict.verdict !== "answer") {
    throw new Denied(verdict.message ?? `looptape gave no answer that is understood: ${name} does not run`);
  }
  const { outcome, result, form, error = {} } = verdict;
  if (outcome === "null") return null;
  if (outcome === "ok") {
    if (form === "base64") return Buffer.from(result, "base64");
    if (form === "text") {
      throw new Denied(`looptape: what ${name} gave cannot be made again from the recording: return JSON values`);
    }
    return result;
  }
  throw new ToolError(error.message ?? outcome, error.type ?? (outcome === "timeout" ? "TimeoutError" : "ToolError"));
}

function failure(error) {
  const outcome = { TimeoutError: "timeout", AbortError: "aborted" }[error?.name] ?? "error";
  return { outcome, error: { type: error?.name ?? typeof error, message: error?.message ?? String(error) } };
}

function encoded(result) {
  if (result === null || result === undefined) return { outcome: "null" };
  if (Buffer.isBuffer(result)) return { outcome: "ok", result: result.toString("base64"), form: "base64" };
  try {
    const text = JSON.stringify(result);
    if (text !== undefined) return { outcome: "ok", result: JSON.parse(text) };
  } catch {
    // A cycle or a BigInt: it can be shown, and not be made again.
  }
  return { outcome: "ok", result: String(result), form: "text" };
}

async function send(message, limit_ms) {
  const answer = await plainFetch(endpoint, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(message),
    signal: AbortSignal.timeout(limit_ms),
  });
  return answer.json();
}

let last = Promise.resolve();
let waiting = 0;

/** Sends in order, in the background. */
function report(message) {
  if (waiting >= MOST_WAITING) return;
  waiting += 1;
  const at = performance.now();
  const now = () => send({ ...message, ago_us: Math.round((performance.now() - at) * 1000) }, REPORT_MS);
  last = last
    .then(now)
    .catch(() => {})
    .finally(() => (waiting -= 1));
}
