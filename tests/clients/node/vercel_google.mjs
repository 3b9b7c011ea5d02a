// Vercel AI SDK with its Google provider, whose base URL no variable sets. Argument: `whole` or `stream`.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.LOOPTAPE_CLIENTS, "captured-node", "package.json"));
const { generateText, streamText } = require("ai");
const { google } = require("@ai-sdk/google");

const request = { model: google("gemini-2.5-flash"), prompt: "Say hello to Oslo" };
if (process.argv[2] === "stream") {
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
