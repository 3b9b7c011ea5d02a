//! A small travel agent: the loop that every agent is, on plain HTTP.
//!
//! It streams chat completions, runs the tools that an answer asks for in parallel, appends everything to
//! its history and asks again, until an answer asks for no tool. Refusals are tried again after the time
//! that the provider names. It knows nothing of looptape.

mod completion;
mod tools;

use completion::{Answer, Provider};
use serde_json::{Value, json};
use std::io::{self, Write};

/// More turns than any honest run needs.
const MAX_TURNS: usize = 10;

const SYSTEM: &str = "You are a travel agent for short trips from Oslo. Compare places by their weather on the \
    day, look every figure up with a tool instead of guessing, and state budgets in the local currency of the \
    place that you recommend. Ask for several look-ups at once where they do not depend on each other. Answer in \
    two or three plain sentences, recommend exactly one place, and give the reason first.";
const QUESTION: &str = "Oslo or Lisbon for the weekend? I have 2500 kroner to spend.";

/// Why a run ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("no answer from {url}: {source}")]
    Http {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} answered {status}: {body}")]
    Refused { url: String, status: u16, body: String },
    #[error("the stream from {url} ended before the answer was complete")]
    CutStream { url: String },
    #[error("no final answer after {MAX_TURNS} turns")]
    TooManyTurns,
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the agent to its final answer, writing what happens to `out`, and returns the answer.
pub async fn run(base_url: &str, api_key: &str, out: &mut (dyn Write + Send)) -> Result<String, AgentError> {
    let provider = Provider::new(base_url, api_key);
    let mut history =
        vec![json!({ "role": "system", "content": SYSTEM }), json!({ "role": "user", "content": QUESTION })];
    writeln!(out, "user: {QUESTION}")?;
    for _ in 0..MAX_TURNS {
        let answer = provider.complete(&history, out).await?;
        history.push(answer.to_message());
        if answer.calls.is_empty() {
            return Ok(answer.text);
        }
        history.extend(run_tools(&answer, out).await?);
    }
    Err(AgentError::TooManyTurns)
}

/// Runs all tools of an answer at once; the results are in the order of the calls.
async fn run_tools(answer: &Answer, out: &mut (dyn Write + Send)) -> Result<Vec<Value>, AgentError> {
    let running: Vec<_> = answer
        .calls
        .iter()
        .map(|call| tokio::spawn(tools::run(call.name.clone(), call.arguments.clone())))
        .collect();
    let mut results = Vec::new();
    for (call, task) in answer.calls.iter().zip(running) {
        let result = task.await.unwrap_or_else(|e| format!("error: {e}"));
        writeln!(out, "tool: {}({}) = {result}", call.name, call.arguments)?;
        results.push(json!({ "role": "tool", "tool_call_id": call.id, "content": result }));
    }
    Ok(results)
}
