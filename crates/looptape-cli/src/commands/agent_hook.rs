//! `looptape agent-hook`: what the hooks of coding agents run in a replay. Nobody else has a use for it.
//!
//! It reads an event from standard input, asks the replay over it, and answers in the agent's form. Whatever goes wrong,
//! a tool that may change something does not run.

use crate::child::agent_hooks::{Agent, OwnTool};
use crate::exit::Exit;
use crate::mcp_shim::Gateway;
use crate::session::print;
use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;

pub(crate) const VERB: &str = "agent-hook";

/// How long the replay may take over an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a tool is said to have given where the replay answers in its place. The model is told the recorded result.
const IN_ITS_PLACE: &str =
    "looptape: this does not run again in a replay; the model is told what was recorded";

/// Answer an agent's hook
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose hook it is
    agent: Agent,
}

/// An event, as far as it counts.
#[derive(Deserialize)]
struct Event {
    hook_event_name: String,
    #[serde(default)]
    tool_name: String,
    #[serde(default)]
    tool_input: Value,
    tool_use_id: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let agent = args.agent;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the event cannot be read")?;
    let event: Event = match serde_json::from_str(&text) {
        Ok(event) => event,
        Err(error) => return refuse(agent, &format!("looptape: the agent's event cannot be read: {error}")),
    };
    match event.hook_event_name.as_str() {
        "SessionStart" | "UserPromptSubmit" => {
            let ready = json!({ "phase": "ready", "name": agent.as_str(), "tools": agent.asks_for() });
            // Who does not hear of it hears the questions.
            let _ = asked(&ready);
            Ok(Exit::Success)
        }
        _ => before_tool(agent, &event),
    }
}

fn before_tool(agent: Agent, event: &Event) -> anyhow::Result<Exit> {
    let tool = agent.tool(&event.tool_name);
    let mut question = json!({
        "phase": "ask",
        "name": event.tool_name,
        "arguments": event.tool_input,
        "via": agent.as_str(),
        "writes": tool == OwnTool::Acts,
        "gives": "nothing",
    });
    if let Some(id) = &event.tool_use_id {
        question["call_id"] = json!(id);
    }
    let answer = match asked(&question) {
        Ok(answer) => answer,
        Err(_) if tool != OwnTool::Acts => return Ok(Exit::Success),
        Err(error) => return refuse(agent, &format!("looptape: the replay does not answer: {error:#}")),
    };
    match answer["verdict"].as_str() {
        Some("run") => Ok(Exit::Success),
        Some("answer") if answer["from"] == "static" => refuse(agent, &fixed(&answer)),
        Some("answer") if tool == OwnTool::KeepsBooks => Ok(Exit::Success),
        Some("answer") => refuse(agent, IN_ITS_PLACE),
        _ => {
            let why = answer["message"].as_str().unwrap_or("looptape: the replay does not let it run");
            refuse(agent, why)
        }
    }
}

/// What `looptape.toml` says that a tool gives.
fn fixed(answer: &Value) -> String {
    match (&answer["result"], &answer["error"]["message"]) {
        (Value::String(text), _) | (_, Value::String(text)) => text.clone(),
        (Value::Null, _) => answer["outcome"].as_str().unwrap_or_default().to_owned(),
        (result, _) => result.to_string(),
    }
}

/// Keeps the tool from running; the agent is told why.
fn refuse(agent: Agent, why: &str) -> anyhow::Result<Exit> {
    // Agents want a reason.
    let why = if why.is_empty() { "looptape: it gave nothing" } else { why };
    let refusal = match agent {
        Agent::ClaudeCode | Agent::Codex => json!({ "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": why,
        } }),
        // opencode's plugin speaks for itself.
        Agent::GeminiCli | Agent::OpenCode => json!({ "decision": "deny", "reason": why }),
    };
    print(&format!("{refusal}\n"))?;
    Ok(Exit::Success)
}

/// Asks the replay over this process.
fn asked(question: &Value) -> anyhow::Result<Value> {
    let Gateway { url, trace, .. } = Gateway::find()?.context("no replay is running")?;
    let address = format!("{}/t/{trace}/_looptape/v1/tool", url.trim_end_matches('/'));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let request = client.post(address).header("content-type", "application/json");
        let answer = request.body(question.to_string()).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    })
}
