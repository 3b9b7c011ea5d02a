// Vercel AI SDK. Arguments: `responses`, `chat` or `anthropic`, then `whole` or `stream`, then `imported` to load the SDK
// as an ECMAScript module.
import { join } from "node:path";
import { PROMPT, SCHEMAS, require, run } from "./clients.mjs";

const isImported = process.argv[4] === "imported";
const sdk = isImported
  ? await import(join(process.env.LOOPTAPE_CLIENTS, "node/node_modules/ai/dist/index.mjs"))
  : require("ai");
const { generateText, jsonSchema, stepCountIs, streamText, tool } = sdk;
const { openai } = require("@ai-sdk/openai");
const { anthropic } = require("@ai-sdk/anthropic");

const models = {
  responses: () => openai("gpt-4o-mini"),
  chat: () => openai.chat("gpt-4o-mini"),
  anthropic: () => anthropic("claude-sonnet-4-6"),
};
const tools = Object.fromEntries(
  SCHEMAS.map(([name, description, schema]) => [
    name,
    tool({ description, inputSchema: jsonSchema(schema), execute: async (args) => run(name, args) }),
  ]),
);

const [, , api, mode] = process.argv;
const request = { model: models[api](), prompt: PROMPT, tools, stopWhen: stepCountIs(6) };
if (mode === "stream") {
  const result = streamText({
    ...request,
    onError: ({ error }) => {
      throw error;
    },
  });
  await result.consumeStream();
  console.log("FINAL", await result.text);
} else {
  console.log("FINAL", (await generateText(request)).text);
}
