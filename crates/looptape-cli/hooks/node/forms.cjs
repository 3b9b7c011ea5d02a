// Results as they travel: what a tool gave as text, and in which form, so that the very same value comes back.
//
//   text   a string, as it is
//   json   JSON, as text: numbers and the order of keys stay what they are
//   shown  another value, as JSON shows it
//   runs   the tool asked models itself: it runs in a replay too
"use strict";

const UNKNOWN = "Record the run again to have its tools measured, or let them run with --no-tool-hooks";

function success(value) {
  if (value === undefined) return { outcome: "null" };
  if (value === null) return { outcome: "ok", result: null, form: "json" };
  if (typeof value === "string") return { outcome: "ok", result: value, form: "text" };
  const result = JSON.stringify(value, (_, member) => (typeof member === "bigint" ? String(member) : member));
  if (result === undefined) return { outcome: "ok", result: String(value), form: "shown" };
  return { outcome: "ok", result, form: isPlain(value) ? "json" : "shown" };
}

// Whether a value is the same again when it has been JSON.
function isPlain(value) {
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (Array.isArray(value)) return value.every(isPlain);
  if (typeof value !== "object" || typeof value.toJSON === "function") return false;
  const prototype = Object.getPrototypeOf(value);
  return (prototype === Object.prototype || prototype === null) && Object.values(value).every(isPlain);
}

function failure(error) {
  if (!(error instanceof Error)) {
    return { outcome: "error", error: { type: typeof error, message: String(error), form: thrown(error) } };
  }
  const outcome = /^(Tool)?TimeoutError$/.test(error.name) ? "timeout" : error.name === "AbortError" ? "aborted" : "error";
  return { outcome, error: { type: error.name, message: error.message, form: properties(error) } };
}

function thrown(value) {
  return isPlain(value) ? JSON.stringify({ thrown: value }) : undefined;
}

function properties(error) {
  const own = Object.fromEntries(Object.entries(error).filter(([, value]) => isPlain(value)));
  return JSON.stringify({ properties: own });
}

// What the recording holds: a value, or an error that is thrown as then. Without a form a result is what a model was told.
function given(call, answer) {
  const { outcome, result, form } = answer;
  if (outcome === "ok") {
    if (typeof result !== "string") return form ? result : textOf(result);
    if (form !== "json" && form !== "shown") return result;
    return form === "json" ? JSON.parse(result) : shown(result);
  }
  if (outcome === "null") return undefined;
  if (outcome === "aborted" && answer.from === "history") {
    // Nobody measured it, and no later request carries what it gave.
    const why = answer.error?.message ?? "its result is not in the recording";
    throw new Error(`looptape: ${call.name} was not run: ${why}. ${UNKNOWN}`);
  }
  throw again(answer.error ?? {}, `the recorded call of ${call.name} ended as ${outcome}`);
}

// What a model was told may be wrapped as its provider wraps texts.
function textOf(told) {
  const isText = (block) => block?.type === "text" && typeof block.text === "string";
  return Array.isArray(told) && told.length === 1 && isText(told[0]) ? told[0].text : told;
}

function shown(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function again({ type, message, form }, otherwise) {
  let made = {};
  try {
    made = JSON.parse(form) ?? {};
  } catch {}
  if ("thrown" in made) return made.thrown;
  const known = globalThis[type];
  const isError = typeof known === "function" && known.prototype instanceof Error;
  const error = isError ? new known(message ?? otherwise) : new Error(message ?? otherwise);
  if (!isError && type) Object.defineProperty(error, "name", { value: type, configurable: true });
  return Object.assign(error, made.properties);
}

function argumentsOf(value) {
  try {
    return JSON.parse(JSON.stringify(value) ?? "null");
  } catch {
    return null;
  }
}

// The same end, of a tool that is to run in a replay too.
function runsAgain(end) {
  if (end.error) return { ...end, error: { ...end.error, form: "runs" } };
  return { outcome: "ok", result: end.result ?? null, form: "runs" };
}

const mayRun = (answer) => (answer.form ?? answer.error?.form) === "runs";

module.exports = { mayRun, runsAgain, success, failure, given, argumentsOf };
