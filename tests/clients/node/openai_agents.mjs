// OpenAI Agents SDK for Node. Argument: `required` or `imported`, how the SDK is loaded.
import { join } from "node:path";
import { PROMPT, SCHEMAS, requireOf, run } from "./clients.mjs";

const isImported = process.argv[2] === "imported";
const sdk = isImported
  ? await import(join(process.env.LOOPTAPE_CLIENTS, "node-agents/node_modules/@openai/agents/dist/index.mjs"))
  : requireOf("node-agents")("@openai/agents");
const { Agent, run: runAgent, setTracingDisabled, tool } = sdk;

setTracingDisabled(true);
const tools = SCHEMAS.map(([name, description, parameters]) =>
  tool({ name, description, parameters, execute: async (args) => run(name, args) }),
);
const agent = new Agent({
  name: "travel",
  instructions: "Plan short trips. Use the tools.",
  tools,
  model: "gpt-4o-mini",
});
console.log("FINAL", (await runAgent(agent, PROMPT)).finalOutput);
