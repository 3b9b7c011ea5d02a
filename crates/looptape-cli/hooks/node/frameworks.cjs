// The frameworks' functions, wrapped. One that is called in an unknown way is called as it is.
"use strict";

const calls = require("./tool_call.cjs");

calls.noticeModels();

// Vercel AI SDK: generateText and streamText get the program's tools, each with its own `execute`.
function vercel(generate) {
  return function (request, ...more) {
    let own = request;
    try {
      if (request?.tools) own = { ...request, tools: hookedTools(request.tools) };
    } catch {
      own = request;
    }
    return generate.call(this, own, ...more);
  };
}

function hookedTools(tools) {
  const hooked = {};
  for (const [name, tool] of Object.entries(tools)) {
    hooked[name] = typeof tool?.execute === "function" ? hookedTool(name, tool) : tool;
  }
  return hooked;
}

function hookedTool(name, tool) {
  const execute = (input, options) => {
    const call = { name, arguments: input, callId: options?.toolCallId, via: "vercel-ai" };
    return calls.run(call, () => tool.execute(input, options));
  };
  const own = Object.getOwnPropertyDescriptors(tool);
  return Object.create(Object.getPrototypeOf(tool), {
    ...own,
    execute: { value: execute, enumerable: true, writable: true, configurable: true },
  });
}

// OpenAI Agents: a function tool, with its time limit and failure handler, where the runner invokes it.
function openaiAgents(invoke) {
  return function (args) {
    const name = args?.tool?.name;
    if (typeof name !== "string") return invoke.call(this, args);
    const call = {
      name,
      arguments: parsed(args.input),
      callId: args.details?.toolCall?.callId,
      via: "openai-agents",
    };
    return calls.run(call, () => invoke.call(this, args));
  };
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return text;
  }
}

module.exports = { vercel, openaiAgents };
