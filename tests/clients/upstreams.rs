//! The providers that clients are recorded against: the simulated one, and a scripted one for formats that it
//! does not speak.

use super::installed::{Client, Play};
use looptape_core::simulated::{Generated, MockClock, MockDesk, MockProvider, Says, Script, SimTime};
use looptape_core::twin::TwinSpec;
use looptape_proxy::simulated_server::{MockPlayer, SimulatedServer, SimulatedServerHandle};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::{ReceivedRequest, ScriptedUpstream};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) enum Provider {
    Simulated(SimulatedServerHandle),
    Scripted(ScriptedUpstream),
}

impl Provider {
    /// Starts what the client's script asks for; yields its origin.
    pub(super) async fn start(client: &Client) -> (String, Self) {
        let script = match client.script {
            Play::ToolLoop => Script::tool_loop(),
            Play::Shell => Script::shell_task(),
            Play::Own => {
                let upstream = ScriptedUpstream::answering(greet).await.unwrap();
                return (upstream.url(), Self::Scripted(upstream));
            }
        };
        Self::playing(script).await
    }

    pub(super) async fn playing(script: Script) -> (String, Self) {
        let (url, server) = SimulatedServer::start(script).await.unwrap();
        (url, Self::Simulated(server))
    }

    /// The tool loop, played by the mock with these faults.
    pub(super) async fn failing(faults: &[&str]) -> (String, Self) {
        Self::saying(Says::Script(Script::tool_loop()), faults).await
    }

    /// Made-up loops, which call the tools that requests offer.
    pub(super) async fn generated() -> (String, Self) {
        Self::saying(Says::Generated(Generated::default()), &[]).await
    }

    async fn saying(says: Says, faults: &[&str]) -> (String, Self) {
        let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        let twin = TwinSpec { faults, ..TwinSpec::default() }.at_once();
        let time = SimTime::AtOnce;
        let provider = MockProvider::new(says, 1, time, MockClock::Real);
        let player = MockPlayer::new(provider, MockDesk::new(twin, 1), time);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, server) = SimulatedServer::start_mock(listener, Arc::new(player)).unwrap();
        (url, Self::Simulated(server))
    }

    /// Ends it; yields how many requests it answered.
    pub(super) async fn stop(self) -> u64 {
        match self {
            Self::Simulated(server) => server.stop().await,
            Self::Scripted(upstream) => upstream.requests().len() as u64,
        }
    }
}

const GREETING: [&str; 3] = ["Hello", ", ", "Oslo!"];

/// A greeting in Ollama's, Cohere's or Bedrock's format, whole or in pieces.
fn greet(request: &ReceivedRequest) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let streams = body["stream"] == true;
    match request.target.as_str() {
        "/api/chat" if streams => {
            let piece = |text: &str, done: bool| ollama(text, done).to_string() + "\n";
            let words = GREETING.map(|word| piece(word, false));
            let pieces = words.into_iter().chain([piece("", true)]);
            let answer = Answer::status(200).header("content-type", "application/x-ndjson").chunked();
            pieces.fold(answer, |answer, piece| answer.piece(piece))
        }
        "/api/chat" => Answer::json(ollama(&GREETING.concat(), true).to_string()),
        "/v2/chat" if streams => Answer::event_stream(cohere_events()),
        "/v2/chat" => Answer::json(cohere().to_string()),
        converse if converse.starts_with("/model/") => Answer::json(bedrock().to_string()),
        other => panic!("nobody asks for {other}"),
    }
}

fn ollama(text: &str, done: bool) -> Value {
    let mut part = json!({
        "model": "llama3.2",
        "created_at": "2026-01-01T00:00:00Z",
        "message": { "role": "assistant", "content": text },
        "done": done,
    });
    if done {
        part["done_reason"] = json!("stop");
        part["prompt_eval_count"] = json!(12);
        part["eval_count"] = json!(3);
    }
    part
}

fn bedrock() -> Value {
    json!({
        "output": { "message": { "role": "assistant", "content": [{ "text": GREETING.concat() }] } },
        "stopReason": "end_turn",
        "usage": { "inputTokens": 12, "outputTokens": 3, "totalTokens": 15 },
        "metrics": { "latencyMs": 5 },
    })
}

fn cohere_usage() -> Value {
    json!({
        "billed_units": { "input_tokens": 4, "output_tokens": 3 },
        "tokens": { "input_tokens": 12, "output_tokens": 3 },
    })
}

fn cohere() -> Value {
    json!({
        "id": "c1",
        "message": { "role": "assistant", "content": [{ "type": "text", "text": GREETING.concat() }] },
        "finish_reason": "COMPLETE",
        "usage": cohere_usage(),
    })
}

fn cohere_events() -> Vec<String> {
    let text = |text: &str| json!({ "message": { "content": { "type": "text", "text": text } } });
    let start = json!({ "type": "message-start", "id": "c1", "delta": { "message": { "role": "assistant", "content": [] } } });
    let end =
        json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE", "usage": cohere_usage() } });
    let opened = json!({ "type": "content-start", "index": 0, "delta": text("") });
    let words = GREETING.map(|word| json!({ "type": "content-delta", "index": 0, "delta": text(word) }));
    let closed = json!({ "type": "content-end", "index": 0 });
    let event =
        |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    [start, opened].into_iter().chain(words).chain([closed, end]).map(event).collect()
}
