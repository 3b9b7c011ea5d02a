// Preloaded into every Node that `looptape record` or `replay` starts: hooks into agent frameworks' tools.
//
// A framework is hooked as its source is loaded: a line behind it puts a wrapped function in the place of its own. That
// reaches what is required and what is imported. Nothing here may fail, whatever the program; most have nothing to do with
// agents, and cost no more than two patched functions.
"use strict";

const { LOOPTAPE_URL, LOOPTAPE_TRACE, LOOPTAPE_MODE } = process.env;

if (LOOPTAPE_URL && LOOPTAPE_TRACE && (LOOPTAPE_MODE === "record" || LOOPTAPE_MODE === "replay")) {
  try {
    start();
  } catch (error) {
    require("./sources.cjs").say(`tools are not hooked: ${error}`);
  }
}

// The loader's own thread is preloaded too; of all threads that are not the first only it has no parent to speak to.
function isLoaderThread() {
  const { isMainThread, parentPort } = require("node:worker_threads");
  return !isMainThread && parentPort === null;
}

function start() {
  const Module = require("node:module");
  const sources = require("./sources.cjs");
  let frameworks;
  // Made when a framework asks for it.
  Object.defineProperty(globalThis, sources.HOOKS, {
    get: () => (frameworks ??= require("./frameworks.cjs")),
  });
  const compile = Module.prototype._compile;
  Module.prototype._compile = function (content, filename, ...more) {
    return compile.call(this, sources.hooked(content, filename, "commonjs"), filename, ...more);
  };
  if (typeof Module.registerHooks === "function") {
    Module.registerHooks({
      load: (url, context, nextLoad) => sources.loaded(url, nextLoad(url, context)),
    });
  } else if (typeof Module.register === "function" && !isLoaderThread() && sources.isNear()) {
    // Runs in a thread of its own, which takes time to start: only where it is of use.
    Module.register("./loader.mjs", require("node:url").pathToFileURL(__filename));
  }
}
