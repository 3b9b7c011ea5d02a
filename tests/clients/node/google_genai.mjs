// @google/genai for Node. Argument: `whole` or `stream`.
import { PROMPT, SCHEMAS, require, run } from "./clients.mjs";

const { GoogleGenAI } = require("@google/genai");
const client = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
const functionDeclarations = SCHEMAS.map(([name, description, parametersJsonSchema]) => ({
  name,
  description,
  parametersJsonSchema,
}));
const config = { tools: [{ functionDeclarations }] };
const contents = [{ role: "user", parts: [{ text: PROMPT }] }];

async function ask() {
  const request = { model: "gemini-2.5-flash", contents, config };
  if (process.argv[2] !== "stream") {
    return (await client.models.generateContent(request)).candidates[0].content.parts;
  }
  const parts = [];
  for await (const chunk of await client.models.generateContentStream(request)) {
    parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
  }
  return parts;
}

for (;;) {
  const parts = await ask();
  const calls = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
  if (calls.length === 0) {
    console.log("FINAL", parts.map((part) => part.text ?? "").join(""));
    break;
  }
  const results = calls.map(({ name, args }) => ({
    functionResponse: { name, response: { result: run(name, args) } },
  }));
  contents.push({ role: "model", parts }, { role: "user", parts: results });
}
