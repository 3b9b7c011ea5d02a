//! An agent without an id, and a model that gives it two rounds of tools and an answer.

use looptape_testkit::answer::Answer;
use looptape_testkit::raw_client::{RawClient, RawResponse};
use looptape_testkit::upstream::{ReceivedRequest, ScriptedUpstream};
use serde_json::{Value, json};

/// How a model names its tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallIds {
    /// Never twice the same, as real providers do.
    Unique,
    /// The same for the same request.
    Repeated,
}

/// A model whose answers to the same request differ in nothing but, perhaps, their ids.
pub(crate) async fn model(ids: CallIds) -> ScriptedUpstream {
    let mut served = 0;
    ScriptedUpstream::answering(move |request| {
        served += 1;
        let number = match ids {
            CallIds::Unique => served,
            CallIds::Repeated => 0,
        };
        answer(request, number)
    })
    .await
    .expect("the upstream starts")
}

fn answer(request: &ReceivedRequest, number: usize) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).expect("agents send JSON");
    let messages = body["messages"].as_array().expect("a request has messages");
    let results = messages.iter().filter(|m| m["role"] == "tool").count();
    let message = match results {
        0 | 1 => json!({"role": "assistant", "content": null, "tool_calls": [{
            "index": 0, "id": format!("call_{number}_{results}"), "type": "function",
            "function": {"name": "look", "arguments": json!({"round": results}).to_string()}}]}),
        _ => json!({"role": "assistant", "content": "It is done."}),
    };
    let finish = if results < 2 { "tool_calls" } else { "stop" };
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12});
    if body["stream"] != true {
        let choice = json!({"index": 0, "finish_reason": finish, "message": message});
        return Answer::json(
            json!({"id": format!("r{number}"), "model": "m", "choices": [choice], "usage": usage})
                .to_string(),
        );
    }
    let event = |delta: &Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", json!({"id": format!("r{number}"), "model": "m", "choices": [choice]}))
    };
    Answer::event_stream([
        event(&message, Value::Null),
        event(&json!({}), json!(finish)),
        "data: [DONE]\n\n".to_owned(),
    ])
}

/// A client of the OpenAI chat format that keeps its own history.
pub(crate) struct Agent {
    url: String,
    stream: bool,
    messages: Vec<Value>,
}

impl Agent {
    pub(crate) fn new(url: &str, task: &str) -> Self {
        Self {
            url: format!("{url}/v1/chat/completions"),
            stream: false,
            messages: vec![json!({"role": "user", "content": task})],
        }
    }

    pub(crate) fn streaming(self) -> Self {
        Self { stream: true, ..self }
    }

    /// The request that it would send next.
    pub(crate) fn request(&self) -> String {
        json!({"model": "m", "stream": self.stream, "messages": self.messages}).to_string()
    }

    /// One model call, and the tools that it asks for.
    pub(crate) async fn step(&mut self) {
        let response = RawClient::post_json(&self.url, &self.request()).await.expect("an answer");
        assert_eq!(response.head.status, 200, "{}", response.text());
        let said = said(&response, self.stream);
        let asked: Vec<Value> = said["tool_calls"].as_array().cloned().unwrap_or_default();
        self.messages.push(said);
        for call in asked {
            let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "nothing there"});
            self.messages.push(result);
        }
    }

    /// Steps until the final answer.
    pub(crate) async fn run(mut self) {
        for _ in 0..3 {
            self.step().await;
        }
        assert_eq!(self.messages.last().expect("an answer")["content"], "It is done.");
    }
}

fn said(response: &RawResponse, stream: bool) -> Value {
    if !stream {
        let body: Value = serde_json::from_slice(&response.body()).expect("the answer is JSON");
        return body["choices"][0]["message"].clone();
    }
    let text = response.text();
    let first = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let event: Value = serde_json::from_str(first).expect("the event is JSON");
    event["choices"][0]["delta"].clone()
}

/// Sends one chat request with these headers to a path of the gateway.
pub(crate) async fn send(url: &str, path: &str, headers: &[(&str, &str)], body: &str) -> RawResponse {
    let mut client = RawClient::connect(url).await.expect("the gateway accepts");
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    client.request("POST", path, &all, body.as_bytes()).await.expect("the request can be sent");
    client.response().await.expect("an answer")
}

/// A chat request that says this.
pub(crate) fn chat(task: &str) -> String {
    json!({"model": "m", "messages": [{"role": "user", "content": task}]}).to_string()
}
