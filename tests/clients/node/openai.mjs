// openai for Node. Arguments: `chat` or `responses`, then `whole` or `stream`.
import { PROMPT, SCHEMAS, require, run } from "./clients.mjs";

const { default: OpenAI } = require("openai");
const client = new OpenAI();
const model = "gpt-4o-mini";
const [, , api, mode] = process.argv;

async function chat() {
  const tools = SCHEMAS.map(([name, description, parameters]) => ({
    type: "function",
    function: { name, description, parameters },
  }));
  const messages = [{ role: "user", content: PROMPT }];
  for (;;) {
    const request = { model, messages, tools };
    const answer =
      mode === "stream"
        ? await client.chat.completions
            .stream({ ...request, stream_options: { include_usage: true } })
            .finalChatCompletion()
        : await client.chat.completions.create(request);
    const { content, tool_calls: calls } = answer.choices[0].message;
    if (!calls?.length) return content;
    messages.push({
      role: "assistant",
      content,
      tool_calls: calls.map(({ id, function: f }) => ({
        id,
        type: "function",
        function: { name: f.name, arguments: f.arguments },
      })),
    });
    for (const call of calls) {
      const result = run(call.function.name, JSON.parse(call.function.arguments));
      messages.push({ role: "tool", tool_call_id: call.id, content: result });
    }
  }
}

async function responses() {
  const tools = SCHEMAS.map(([name, description, parameters]) => ({
    type: "function",
    name,
    description,
    parameters,
  }));
  const input = [{ role: "user", content: PROMPT }];
  for (;;) {
    const request = { model, input, tools, store: false };
    const response =
      mode === "stream"
        ? await client.responses.stream(request).finalResponse()
        : await client.responses.create(request);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (calls.length === 0) return response.output_text;
    for (const { parsed_arguments: _, ...item } of response.output) input.push(item);
    for (const call of calls) {
      const output = run(call.name, JSON.parse(call.arguments));
      input.push({ type: "function_call_output", call_id: call.call_id, output });
    }
  }
}

console.log("FINAL", await { chat, responses }[api]());
