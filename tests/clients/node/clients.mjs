// What every program in this folder shares: the installed packages, and two local tools. Each run of a tool appends a
// line to the file that TOOLS_RAN names, so that a test sees whether it ran.
import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages live under LOOPTAPE_CLIENTS (see install.sh), not beside these files.
export const requireOf = (group) => createRequire(join(process.env.LOOPTAPE_CLIENTS, group, "package.json"));
export const require = requireOf("node");

export const PROMPT =
  "Oslo or Lisbon for the weekend? I have 2500 kroner. Compare the weather, then convert the budget.";

const WEATHER = { Oslo: "rain, 7 °C", Lisbon: "sunny, 24 °C" };

const TOOLS = {
  get_weather: ({ city }) => WEATHER[city] ?? "unknown",
  convert_currency: ({ amount, source, target }) =>
    `${amount} ${source} = ${Math.round(amount * 0.086)} ${target}`,
};

const plain = (name, args) => {
  if (process.env.TOOLS_RAN) appendFileSync(process.env.TOOLS_RAN, `${name}\n`);
  return TOOLS[name](args);
};

// With TOOLS_DECORATED the same functions, said to looptape by its module too.
const decorated = async () => {
  const { tool } = await import("../../../sdk/node/looptape.mjs");
  const tools = Object.fromEntries(Object.keys(TOOLS).map((name) => [name, tool(name, (args) => plain(name, args))]));
  return (name, args) => tools[name](args);
};

export const run = process.env.TOOLS_DECORATED ? await decorated() : plain;

// [name, description, JSON schema]
export const SCHEMAS = [
  [
    "get_weather",
    "The weather in a city.",
    {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  ],
  [
    "convert_currency",
    "Converts an amount between two currencies.",
    {
      type: "object",
      properties: { amount: { type: "number" }, source: { type: "string" }, target: { type: "string" } },
      required: ["amount", "source", "target"],
      additionalProperties: false,
    },
  ],
];
