// Which files of which frameworks are hooked, and how: by a line behind their source.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const HOOKS = Symbol.for("looptape.tools");
// In a source that is hooked already: loaders may run one after the other.
const MARK = `Symbol.for("looptape.tools")`;
const FRAMEWORKS = [
  {
    name: "ai",
    file: /\/node_modules\/ai\/dist\/index\.m?js$/,
    functions: ["generateText", "streamText"],
    hook: "vercel",
    majors: [4, 5, 6],
  },
  {
    name: "@openai/agents-core",
    file: /\/node_modules\/@openai\/agents-core\/dist\/tool\.m?js$/,
    functions: ["invokeFunctionTool"],
    hook: "openaiAgents",
    majors: [0],
  },
];
// What a program has beside it that uses one of them.
const PACKAGES = ["ai", "@openai/agents-core", "@openai/agents"];

// One line for people; the loader's thread has no other way to standard error at once.
function say(text) {
  try {
    fs.writeSync(2, `looptape: ${text}\n`);
  } catch {}
}

// A file's source with its hook behind it; the source itself where there is nothing to hook.
function hooked(source, filename, format) {
  try {
    if (!filename.includes("node_modules") || source.includes(MARK)) return source;
    const place = filename.replaceAll("\\", "/");
    const framework = FRAMEWORKS.find(({ file }) => file.test(place));
    return framework ? behind(framework, source, filename, format) : source;
  } catch (error) {
    say(`tool hooks: ${filename} was not hooked: ${error}`);
    return source;
  }
}

function behind(framework, source, filename, format) {
  const { name, functions, hook, majors } = framework;
  const text = source.toString();
  const version = JSON.parse(fs.readFileSync(path.join(path.dirname(filename), "../package.json"), "utf8")).version;
  const missing = functions.find((f) => !new RegExp(`^(export )?(async )?function ${f}\\(`, "m").test(text));
  if (missing || !majors.includes(Number.parseInt(version, 10))) {
    const why = missing ? `it has no ${missing}` : `only ${majors.map((m) => `${m}.x`).join(", ")} is`;
    say(`tool hooks: ${name} ${version} is not known (${why}): its tools are neither recorded nor served`);
    return source;
  }
  const wrap = (f) =>
    `${f} = globalThis[${MARK}]?.${hook}(${f}) ?? ${f};` +
    (format === "commonjs" ? ` if (Object.getOwnPropertyDescriptor(exports, "${f}")?.writable) exports.${f} = ${f};` : "");
  return `${text}\n;${functions.map(wrap).join(" ")}\n`;
}

// What a loader loaded, hooked.
function loaded(url, result) {
  if (result.format !== "module" || !url.startsWith("file:") || result.source == null) return result;
  const source = hooked(result.source, require("node:url").fileURLToPath(url), "module");
  return source === result.source ? result : { ...result, source };
}

// Whether a package that is hooked can be found from the program or from the working folder.
function isNear() {
  const starts = [process.cwd()];
  if (process.argv[1]) {
    try {
      starts.push(path.dirname(fs.realpathSync(process.argv[1])));
    } catch {}
  }
  return starts.some((start) => {
    for (let at = start; ; at = path.dirname(at)) {
      if (PACKAGES.some((name) => fs.existsSync(path.join(at, "node_modules", name)))) return true;
      if (at === path.dirname(at)) return false;
    }
  });
}

module.exports = { HOOKS, hooked, loaded, isNear, say };
