// An agent whose tools say what they do: measured when it is recorded, answered when it is replayed.
//
//     looptape record -- node examples/node-hooks/agent.mjs
//     looptape replay last -- node examples/node-hooks/agent.mjs
//
// `convert_currency` has an effect: it appends a line to the file that BOOKINGS names. In a replay it does not run.

import { appendFile } from "node:fs/promises";
import { callId, loop, tool } from "../../sdk/node/looptape.mjs"; // `npm install looptape` gives the same as "looptape"

const { OPENAI_BASE_URL = "https://api.openai.com/v1", OPENAI_API_KEY = "", BOOKINGS = "bookings.txt" } = process.env;

const functions = {
  get_weather: tool(
    "get_weather",
    async ({ city }) => ({ Oslo: "rain, 7 °C", Lisbon: "sunny, 24 °C" })[city] ?? "unknown",
    { writes: false },
  ),
  convert_currency: tool("convert_currency", async ({ amount, source, target }) => {
    await appendFile(BOOKINGS, `${amount} ${source}\n`);
    return `${amount} ${source} = ${amount * 0.086} ${target}`;
  }),
};

const definition = (name, properties) => ({
  type: "function",
  function: { name, parameters: { type: "object", properties, required: Object.keys(properties) } },
});
const [string, number] = [{ type: "string" }, { type: "number" }];
const tools = [
  definition("get_weather", { city: string }),
  definition("convert_currency", { amount: number, source: string, target: string }),
];

async function complete(messages) {
  const answer = await fetch(`${OPENAI_BASE_URL.replace(/\/$/, "")}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${OPENAI_API_KEY}` },
    body: JSON.stringify({ model: "gpt-4o-mini", messages, tools }),
  });
  if (!answer.ok) throw new Error(`the provider answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).choices[0].message;
}

async function runTool({ id, function: { name, arguments: written } }) {
  const content = await callId(id, () => functions[name](JSON.parse(written)));
  return { role: "tool", tool_call_id: id, content };
}

await loop("weekend", async () => {
  const messages = [{ role: "user", content: "Oslo or Lisbon for the weekend? I have 2500 kroner to spend." }];
  for (;;) {
    const answer = await complete(messages);
    messages.push(answer);
    if (!answer.tool_calls) return console.log(answer.content);
    const results = await Promise.all(answer.tool_calls.map(runTool));
    for (const { content } of results) console.log("tool:", content);
    messages.push(...results);
  }
});
