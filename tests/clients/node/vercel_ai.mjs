// Vercel AI SDK. Arguments: `responses`, `chat` or `anthropic`, then `whole` or `stream`, then `imported` to load the SDK
// as an ECMAScript module, or `required`; then the group in which the SDK is, for other versions than the group `node` has.
import { join } from "node:path";
import { PROMPT, SCHEMAS, requireOf, run } from "./clients.mjs";

const [, , api, mode, loading, group = "node"] = process.argv;
const require = requireOf(group);
const sdk =
  loading === "imported"
    ? await import(join(process.env.LOOPTAPE_CLIENTS, group, "node_modules/ai/dist/index.mjs"))
    : require("ai");
const { generateText, jsonSchema, stepCountIs, streamText, tool } = sdk;
const { createOpenAI } = require("@ai-sdk/openai");
// Version 4 does not read the variable by itself, and asks for usage in streams only so.
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, compatibility: "strict" });
// Major version 4 has other names.
const inputs = (schema) => (stepCountIs ? { inputSchema: schema } : { parameters: schema });
const limit = stepCountIs ? { stopWhen: stepCountIs(6) } : { maxSteps: 6 };

const models = {
  responses: () => openai("gpt-4o-mini"),
  chat: () => openai.chat("gpt-4o-mini"),
  anthropic: () => require("@ai-sdk/anthropic").anthropic("claude-sonnet-4-6"),
};
const tools = Object.fromEntries(
  SCHEMAS.map(([name, description, schema]) => [
    name,
    tool({ description, ...inputs(jsonSchema(schema)), execute: async (args) => run(name, args) }),
  ]),
);

const request = { model: models[api](), prompt: PROMPT, tools, ...limit };
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
