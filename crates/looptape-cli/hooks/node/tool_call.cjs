// One tool call: recorded around the tool, or answered in its place.
//
// Recording never harms the agent: whatever goes wrong here, the tool has run, and its value or error is passed on as it
// is. In a replay a tool runs only if looptape says so.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { randomUUID } = require("node:crypto");
const endpoint = require("./endpoint.cjs");
const forms = require("./forms.cjs");

const replays = process.env.LOOPTAPE_MODE === "replay";
// Calls in whose tools this code runs, the outermost first.
const within = new AsyncLocalStorage();
// For whoever else speaks of tools: a function that is hooked and decorated is one call.
globalThis[Symbol.for("looptape.within")] = () => within.getStore() ?? [];

// What `tool()` gives, or what the recording holds in its place. `call` has name, arguments, callId and via.
function run(call, tool) {
  return replays ? replayed(call, tool) : recorded(call, tool);
}

function recorded(call, tool) {
  const running = new Running(call);
  running.started();
  let value;
  try {
    value = inside(call, tool);
  } catch (error) {
    running.failed(error);
    throw error;
  }
  if (typeof value?.then === "function") return settled(value, running);
  if (typeof value?.[Symbol.asyncIterator] === "function") return streamed(value, running);
  running.gave(value);
  return value;
}

async function settled(promise, running) {
  try {
    const value = await promise;
    running.gave(value);
    return value;
  } catch (error) {
    running.failed(error);
    throw error;
  }
}

// A tool that gives several values, of which the last counts.
async function* streamed(values, running) {
  let last;
  let hasEnded = false;
  try {
    for await (const value of values) {
      last = value;
      yield value;
    }
    hasEnded = true;
    running.gave(last);
  } catch (error) {
    hasEnded = true;
    running.failed(error);
    throw error;
  } finally {
    if (!hasEnded) running.failed(new Error("nobody waited for its end"));
  }
}

async function replayed(call, tool) {
  const answer = await asked(said(call, "ask"));
  const mayRun = answer.verdict === "run" || (answer.verdict === "answer" && forms.mayRun(answer));
  if (answer.verdict === "answer" && !mayRun) return forms.given(call, answer);
  if (!mayRun) {
    const why = answer.message ?? `the replay said ${JSON.stringify(answer.verdict)}`;
    throw new Error(`looptape: ${call.name} was not run: ${why}`);
  }
  const running = new Running(call);
  let value;
  let failure = null;
  try {
    value = await last(inside(call, tool));
  } catch (error) {
    failure = { error };
  }
  if (answer.verdict === "run") {
    const body = failure ? running.ended(forms.failure(failure.error)) : running.ended(forms.success(value));
    const instead = await asked(body);
    if (instead.verdict === "answer") return forms.given(call, instead);
  }
  if (failure) throw failure.error;
  return value;
}

async function last(value) {
  if (typeof value?.[Symbol.asyncIterator] !== "function") return value;
  let latest;
  for await (latest of value);
  return latest;
}

function inside(call, tool) {
  return within.run([...(within.getStore() ?? []), call], tool);
}

// The answer, or why there is none.
async function asked(body) {
  try {
    return await endpoint.ask(body);
  } catch (error) {
    return { message: `the replay does not answer: ${error.message}` };
  }
}

function said(call, phase) {
  call.shown ??= forms.argumentsOf(call.arguments);
  const body = { phase, name: call.name, arguments: call.shown, via: call.via };
  if (call.callId) body.call_id = call.callId;
  return body;
}

class Running {
  #call;
  #run = randomUUID();
  #since = process.hrtime.bigint();

  constructor(call) {
    this.#call = call;
  }

  started() {
    this.#tell(() => ({ ...said(this.#call, "started"), run: this.#run }));
  }

  gave(value) {
    this.#tell(() => this.ended(forms.success(value)));
  }

  failed(error) {
    this.#tell(() => this.ended(forms.failure(error)));
  }

  ended(came) {
    const duration_us = Number((process.hrtime.bigint() - this.#since) / 1000n);
    const end = this.#call.asksModels ? forms.runsAgain(came) : came;
    return { ...said(this.#call, "ended"), ...end, duration_us, run: this.#run };
  }

  #tell(body) {
    try {
      endpoint.tell(body());
    } catch {
      // Nothing of the recording reaches the agent.
    }
  }
}

// Notices that a tool asks a model by itself: such a tool runs in a replay too, and its model calls are answered.
function noticeModels() {
  const origin = `${process.env.LOOPTAPE_URL.replace(/\/$/, "")}/`;
  const fetch = globalThis.fetch;
  if (typeof fetch !== "function") return;
  globalThis.fetch = function (resource, ...more) {
    const calls = within.getStore();
    const url = String(resource?.url ?? resource);
    // One that asks an MCP server over HTTP asks no model.
    if (calls && url.startsWith(origin) && !url.includes("/mcp-", origin.length - 1)) {
      for (const call of calls) call.asksModels = true;
    }
    return fetch.call(this, resource, ...more);
  };
}

module.exports = { run, noticeModels };
