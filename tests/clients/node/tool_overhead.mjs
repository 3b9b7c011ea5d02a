// Invokes one OpenAI Agents tool again and again; prints how long a call took, in µs, as a JSON object. Argument: how often.
import { requireOf } from "./clients.mjs";

const { RunContext, invokeFunctionTool, tool } = requireOf("node-agents")("@openai/agents");
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const getWeather = tool({ name: "get_weather", description: "The weather.", parameters, execute: async () => "rain, 7 °C" });

// A recording without a model call cannot be replayed.
const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Say hello to Oslo" }] });
const headers = { "content-type": "application/json" };
await (await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, { method: "POST", headers, body })).text();

const runContext = new RunContext();
const times = [];
for (let nth = 0; nth < Number(process.argv[2]); nth++) {
  const began = performance.now();
  const details = { toolCall: { callId: `c${nth}` } };
  await invokeFunctionTool({ tool: getWeather, runContext, input: '{"city":"Oslo"}', details });
  times.push((performance.now() - began) * 1000);
  await new Promise((go) => setImmediate(go));
}
times.sort((a, b) => a - b);
const at = (share) => times[Math.floor(times.length * share)];
console.log(JSON.stringify({ p50: at(0.5), p95: at(0.95), mean: times.reduce((a, b) => a + b) / times.length }));
