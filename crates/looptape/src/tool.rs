//! One execution of a tool.

use crate::connection::{Connection, LOOPTAPE, Mode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static RUNS: AtomicU64 = AtomicU64::new(1);

/// A tool call that is about to be executed.
#[derive(Debug)]
#[must_use = "a tool runs by run()"]
pub struct Tool {
    said: Value,
    name: String,
    may_write: bool,
}

/// Why a tool gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ToolFailure<E> {
    /// It ran, and failed.
    #[error("{0}")]
    Failed(E),
    /// It failed when it was recorded; it did not run.
    #[error("{message}")]
    Recorded { outcome: RecordedFailure, kind: Option<String>, message: String },
    /// A replay does not let it run.
    #[error("{0}")]
    Denied(String),
    /// What it gave when it was recorded is no value of this type.
    #[error("what {tool} gave when it was recorded cannot be read: {source}")]
    OtherType { tool: String, source: serde_json::Error },
}

/// How it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedFailure {
    Error,
    Timeout,
    Aborted,
}

/// A call of the tool `name` with these arguments, which are an object for nearly all tools.
pub fn tool(name: &str, arguments: &impl Serialize) -> Tool {
    let arguments = serde_json::to_value(arguments).unwrap_or_default();
    let run = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let said = json!({ "name": name, "arguments": arguments, "run": run, "via": "rust" });
    Tool { said, name: name.to_owned(), may_write: true }
}

impl Tool {
    /// The model's id of the call: tells calls with the same arguments apart.
    pub fn call_id(mut self, id: &str) -> Self {
        self.said["call_id"] = id.into();
        self
    }

    /// The tool only reads, so a replay may run a call that was not recorded.
    pub fn reads_only(mut self) -> Self {
        self.said["writes"] = false.into();
        self.may_write = false;
        self
    }

    /// Runs it, or gives what it gave when it was recorded.
    pub async fn run<T, E, F>(self, execute: impl FnOnce() -> F) -> Result<T, ToolFailure<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let Some(looptape) = &*LOOPTAPE else { return execute().await.map_err(ToolFailure::Failed) };
        match looptape.mode {
            Mode::Replay => {
                if let Some(verdict) = self.ask(looptape).await {
                    return self.obey(&verdict);
                }
            }
            // What cannot be sent is dropped: recording never harms the agent.
            Mode::Record => drop(looptape.send(&self.with(json!({ "phase": "started" }))).await),
        }
        let began = Instant::now();
        let result = execute().await;
        let duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut ended = self.with(said(&result));
        ended["phase"] = "ended".into();
        ended["duration_us"] = duration_us.into();
        match looptape.send(&ended).await {
            Ok(verdict) if verdict["verdict"] == "answer" => self.obey(&verdict),
            _ => result.map_err(ToolFailure::Failed),
        }
    }

    /// What a replay says of it; `None`: it runs.
    async fn ask(&self, looptape: &Connection) -> Option<Value> {
        let verdict = looptape.send(&self.with(json!({ "phase": "ask" }))).await.unwrap_or_else(|error| {
            json!({ "message": format!("looptape does not answer ({error}): {} does not run", self.name) })
        });
        let is_known = verdict["verdict"] == "answer" || verdict["verdict"] == "deny";
        let runs = verdict["verdict"] == "run" || (!is_known && !self.may_write);
        (!runs).then_some(verdict)
    }

    fn with(&self, more: Value) -> Value {
        let mut said = self.said.clone();
        if let (Some(said), Value::Object(more)) = (said.as_object_mut(), more) {
            said.extend(more);
        }
        said
    }

    fn obey<T: DeserializeOwned, E>(&self, verdict: &Value) -> Result<T, ToolFailure<E>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if verdict["verdict"] != "answer" {
            let unclear =
                || format!("looptape gave no answer that is understood: {} does not run", self.name);
            return Err(ToolFailure::Denied(text(&verdict["message"]).unwrap_or_else(unclear)));
        }
        let outcome = match verdict["outcome"].as_str() {
            Some("error") => RecordedFailure::Error,
            Some("timeout") => RecordedFailure::Timeout,
            Some("aborted") => RecordedFailure::Aborted,
            _ => {
                let result = verdict.get("result").cloned().unwrap_or_default();
                let other = |source| ToolFailure::OtherType { tool: self.name.clone(), source };
                return serde_json::from_value(result).map_err(other);
            }
        };
        let message = text(&verdict["error"]["message"]).unwrap_or_else(|| outcome.to_string());
        Err(ToolFailure::Recorded { outcome, kind: text(&verdict["error"]["type"]), message })
    }
}

impl Display for RecordedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "it failed",
            Self::Timeout => "it took too long",
            Self::Aborted => "it was broken off",
        })
    }
}

/// What came of it, as the protocol has it.
fn said<T: Serialize, E: Display>(result: &Result<T, E>) -> Value {
    match result {
        Ok(result) => match serde_json::to_value(result) {
            Ok(Value::Null) => json!({ "outcome": "null" }),
            Ok(result) => json!({ "outcome": "ok", "result": result }),
            Err(error) => {
                let message = format!("its result cannot be written as JSON: {error}");
                json!({ "outcome": "error", "error": { "message": message } })
            }
        },
        Err(error) => {
            let kind = std::any::type_name::<E>();
            json!({ "outcome": "error", "error": { "type": kind, "message": error.to_string() } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obeyed(verdict: Value) -> Result<Option<u32>, ToolFailure<String>> {
        tool("f", &json!({})).obey(&verdict)
    }

    #[test]
    fn verdicts() {
        let answer = |more: Value| {
            let mut verdict = json!({ "verdict": "answer" });
            verdict.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            obeyed(verdict)
        };
        assert_eq!(answer(json!({ "outcome": "ok", "result": 7 })).unwrap(), Some(7));
        assert_eq!(answer(json!({ "outcome": "null" })).unwrap(), None);
        let timeout = answer(json!({ "outcome": "timeout" })).unwrap_err();
        assert!(matches!(timeout, ToolFailure::Recorded { outcome: RecordedFailure::Timeout, .. }));
        let error = answer(json!({ "outcome": "error", "error": { "message": "no" } })).unwrap_err();
        assert_eq!(error.to_string(), "no");
        assert!(matches!(
            answer(json!({ "outcome": "ok", "result": "x" })).unwrap_err(),
            ToolFailure::OtherType { .. }
        ));
        assert_eq!(obeyed(json!({ "verdict": "deny", "message": "m" })).unwrap_err().to_string(), "m");
        assert!(matches!(obeyed(json!({})).unwrap_err(), ToolFailure::Denied(_)));
    }

    /// Tests run without looptape.
    #[tokio::test]
    async fn without_looptape_it_runs() {
        let ran = tool("f", &json!({})).run(|| async { Ok::<_, String>(1) }).await;
        assert_eq!(ran.unwrap(), 1);
        let failed = tool("f", &json!({})).run(|| async { Err::<u32, _>("no".to_owned()) }).await;
        assert!(matches!(failed, Err(ToolFailure::Failed(why)) if why == "no"));
    }
}
