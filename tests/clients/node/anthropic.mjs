// @anthropic-ai/sdk for Node. Argument: `whole` or `stream`.
import { PROMPT, SCHEMAS, require, run } from "./clients.mjs";

const { default: Anthropic } = require("@anthropic-ai/sdk");
const client = new Anthropic();
const tools = SCHEMAS.map(([name, description, input_schema]) => ({ name, description, input_schema }));
const messages = [{ role: "user", content: PROMPT }];

for (;;) {
  const request = { model: "claude-sonnet-4-6", max_tokens: 500, messages, tools };
  const message =
    process.argv[2] === "stream"
      ? await client.messages.stream(request).finalMessage()
      : await client.messages.create(request);
  const calls = message.content.filter((block) => block.type === "tool_use");
  if (calls.length === 0) {
    console.log("FINAL", message.content.map((block) => block.text).join(""));
    break;
  }
  const results = calls.map(({ id, name, input }) => ({
    type: "tool_result",
    tool_use_id: id,
    content: run(name, input),
  }));
  messages.push({ role: "assistant", content: message.content }, { role: "user", content: results });
}
