// opencode's plugin for a replay: before one of its own tools runs, the replay is asked. One that does not run is refused,
// and the replay tells the model what was recorded in the refusal's place (docs/tools.md).

const { LOOPTAPE_URL, LOOPTAPE_TRACE, LOOPTAPE_MODE } = process.env;

// Tools that only read may run where nothing was recorded; the others may not.
const READS = ["codesearch", "glob", "grep", "list", "lsp", "read", "webfetch", "websearch"];
const ACTS = ["apply_patch", "bash", "edit", "multiedit", "patch", "write"];
const IN_ITS_PLACE = "looptape: this does not run again in a replay; the model is told what was recorded";
const PATIENCE_MS = 60_000;

async function ask(question) {
  const url = `${LOOPTAPE_URL.replace(/\/$/, "")}/t/${encodeURIComponent(LOOPTAPE_TRACE)}/_looptape/v1/tool`;
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(question),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

async function beforeTool({ tool, callID }, { args }) {
  const reads = READS.includes(tool);
  if (!reads && !ACTS.includes(tool)) return;
  const question = {
    phase: "ask",
    name: tool,
    arguments: args,
    call_id: callID,
    via: "opencode",
    writes: !reads,
    gives: "nothing",
  };
  let answer;
  try {
    answer = await ask(question);
  } catch (error) {
    if (reads) return;
    throw new Error(`looptape: the replay does not answer: ${error.message}`);
  }
  if (answer.verdict === "run") return;
  if (answer.verdict !== "answer") throw new Error(answer.message ?? "looptape: the replay does not let it run");
  throw new Error(answer.from === "static" ? fixed(answer) : IN_ITS_PLACE);
}

// What looptape.toml says that a tool gives.
function fixed({ outcome, result, error }) {
  const text = result ?? error?.message ?? outcome;
  return typeof text === "string" ? text : JSON.stringify(text);
}

export const Looptape = async () => {
  if (!LOOPTAPE_URL || !LOOPTAPE_TRACE || LOOPTAPE_MODE !== "replay") return {};
  try {
    await ask({ phase: "ready", name: "opencode", tools: [...READS, ...ACTS] });
  } catch {
    // Who does not hear of it hears the questions.
  }
  return { "tool.execute.before": beforeTool };
};
