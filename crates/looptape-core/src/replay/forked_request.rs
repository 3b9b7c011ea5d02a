//! A request of a replay that goes its own way, made fit for a provider that knows nothing of the recorded
//! run.
//!
//! What an agent sends behind a fork may refer to what only the recorded run's provider has: the answers
//! before the fork came from the recording. A response that the request continues, and items that it names,
//! are written out where the recording holds them. What it cannot hold (uploaded files, conversations, reasoning
//! that is signed or encrypted for another model) is a reason not to send the request. Everything else stays as
//! it is, in the recorded wire format; ids that the recording did not hand out are none of its business.

use crate::wire::{Wire, sse};
use serde_json::{Value, json};
use std::collections::HashMap;

/// A request as it is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkedRequest {
    pub path: String,
    /// `None` if the body stays as it is.
    pub body: Option<Vec<u8>>,
}

/// Why a request cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForkable {
    #[error(
        "the request refers to `{id}`, which the recorded run's provider handed out ({from}); the provider of this run does not have it, and the recording cannot stand in for it. Fork before that, from an earlier step"
    )]
    HandedOut { id: String, from: String },
    #[error(
        "the history holds reasoning that is signed or encrypted for {recorded}, which {wanted} does not accept. Leave --model out, or fork before the first answer with reasoning"
    )]
    SealedReasoning { recorded: String, wanted: String },
}

/// A call of the recording.
#[derive(Clone, Copy, Debug)]
pub struct KnownCall<'a> {
    pub wire: Option<Wire>,
    pub method: &'a str,
    pub path: &'a str,
    /// Without content encoding, as the answer.
    pub request: &'a [u8],
    pub answer: &'a [u8],
}

/// What the recording handed out, and which model is asked instead of the recorded one.
#[derive(Clone, Debug, Default)]
pub struct Forking {
    model: Option<String>,
    responses: HashMap<String, RecordedResponse>,
    /// Items of recorded responses by their ids.
    items: HashMap<String, Value>,
    /// Other ids, and the call that handed them out.
    handed_out: HashMap<String, String>,
}

/// A response that a later request may continue.
#[derive(Clone, Debug)]
struct RecordedResponse {
    request: Value,
    output: Vec<Value>,
}

impl Forking {
    /// `model` is asked in place of the model that a request names.
    pub fn new<'a>(model: Option<String>, recorded: impl IntoIterator<Item = KnownCall<'a>>) -> Self {
        let mut forking = Self { model, ..Self::default() };
        recorded.into_iter().for_each(|call| forking.learn(&call));
        forking
    }

    fn learn(&mut self, call: &KnownCall<'_>) {
        match call.wire {
            Some(Wire::OpenAiResponses) => self.learn_response(call),
            Some(_) => {
                // Anthropic's code execution keeps its files in a container.
                let answer: Option<Value> = serde_json::from_slice(call.answer).ok();
                let container = answer.as_ref().and_then(|answer| answer.pointer("/container/id")?.as_str());
                self.hand_out(container, call);
            }
            None => {
                let Ok(answer) = serde_json::from_slice::<Value>(call.answer) else { return };
                for pointer in ["/id", "/name", "/uri", "/file/name", "/file/uri"] {
                    self.hand_out(answer.pointer(pointer).and_then(Value::as_str), call);
                }
            }
        }
    }

    fn hand_out(&mut self, id: Option<&str>, call: &KnownCall<'_>) {
        if let Some(id) = id.filter(|id| id.len() >= 6) {
            let path = call.path.split('?').next().unwrap_or_default();
            self.handed_out.insert(id.to_owned(), format!("{} {path}", call.method));
        }
    }

    fn learn_response(&mut self, call: &KnownCall<'_>) {
        let Ok(request) = serde_json::from_slice::<Value>(call.request) else { return };
        let Some(response) = final_response(call.answer) else { return };
        let Some(id) = response["id"].as_str() else { return };
        let output = response["output"].as_array().cloned().unwrap_or_default();
        let named = output.iter().filter_map(|item| Some((item["id"].as_str()?.to_owned(), item.clone())));
        self.items.extend(named);
        self.responses.insert(id.to_owned(), RecordedResponse { request, output });
        self.hand_out(request_conversation(&response), call);
    }

    /// The request as it is to be sent. `path` with its query; `body` without content encoding.
    pub fn request(&self, wire: Option<Wire>, path: &str, body: &[u8]) -> Result<ForkedRequest, NotForkable> {
        let unchanged = || ForkedRequest { path: path.to_owned(), body: None };
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return Ok(unchanged()) };
        let mut changed = false;
        if wire == Some(Wire::OpenAiResponses) {
            changed |= self.write_out(&mut value);
        }
        if let Some((id, from)) = self.first_handed_out(&value) {
            return Err(NotForkable::HandedOut { id, from });
        }
        let mut path = path.to_owned();
        if let (Some(wanted), Some(wire)) = (&self.model, wire) {
            let recorded = wire.decode_request(path.split('?').next().unwrap_or_default(), &value).model;
            let recorded = recorded.unwrap_or_default();
            if recorded != *wanted {
                if has_sealed_reasoning(&value) {
                    return Err(NotForkable::SealedReasoning { recorded, wanted: wanted.clone() });
                }
                path = with_model_in_path(&path, &recorded, wanted);
                if value.get("model").is_some_and(Value::is_string) {
                    value["model"] = json!(wanted);
                    changed = true;
                }
            }
        }
        Ok(ForkedRequest { path, body: changed.then(|| value.to_string().into_bytes()) })
    }

    /// Puts what the recording holds in the place of references to it.
    fn write_out(&self, request: &mut Value) -> bool {
        let mut changed = false;
        let known = request["previous_response_id"].as_str().filter(|id| self.responses.contains_key(*id));
        if let Some(id) = known.map(str::to_owned) {
            let mut input = self.history(&id);
            input.extend(items_of(&request["input"]));
            request["input"] = Value::Array(input);
            if let Some(fields) = request.as_object_mut() {
                fields.shift_remove("previous_response_id");
            }
            changed = true;
        }
        for item in request["input"].as_array_mut().into_iter().flatten() {
            let reference = item["id"].as_str().filter(|_| item["type"] == "item_reference");
            if let Some(known) = reference.and_then(|id| self.items.get(id)) {
                *item = known.clone();
                changed = true;
            }
        }
        changed
    }

    /// All that was said up to the end of a response, oldest first.
    fn history(&self, id: &str) -> Vec<Value> {
        let mut turns: Vec<&RecordedResponse> = Vec::new();
        let mut next = Some(id);
        while let Some(response) = next.and_then(|id| self.responses.get(id)) {
            // A response that continues itself is no history.
            if turns.len() > self.responses.len() {
                break;
            }
            turns.push(response);
            next = response.request["previous_response_id"].as_str();
        }
        let said = turns.into_iter().rev().flat_map(|turn| {
            let output = turn.output.iter().filter(|item| !is_reference_only(item)).cloned();
            items_of(&turn.request["input"]).into_iter().chain(output)
        });
        said.collect()
    }

    fn first_handed_out(&self, value: &Value) -> Option<(String, String)> {
        match value {
            Value::String(text) => self.handed_out.get(text).map(|from| (text.clone(), from.clone())),
            Value::Array(items) => items.iter().find_map(|item| self.first_handed_out(item)),
            Value::Object(fields) => fields.values().find_map(|field| self.first_handed_out(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }
}

fn request_conversation(response: &Value) -> Option<&str> {
    response.pointer("/conversation/id").and_then(Value::as_str)
}

/// Reasoning without its encrypted content is nothing but an id.
fn is_reference_only(item: &Value) -> bool {
    item["type"] == "reasoning" && !item["encrypted_content"].is_string()
}

/// The elements of an `input`; a plain text is one message of the user.
fn items_of(input: &Value) -> Vec<Value> {
    match input {
        Value::Array(items) => items.clone(),
        Value::String(text) => vec![json!({ "role": "user", "content": text })],
        _ => Vec::new(),
    }
}

/// The response object of an answer, streamed or not.
fn final_response(answer: &[u8]) -> Option<Value> {
    if let Ok(whole) = serde_json::from_slice::<Value>(answer) {
        return Some(whole);
    }
    let is_last = |kind: &Value| kind == "response.completed" || kind == "response.incomplete";
    let data = sse::events(answer).filter_map(|event| serde_json::from_str::<Value>(&event.data).ok());
    data.filter(|data| is_last(&data["type"])).map(|mut data| data["response"].take()).last()
}

/// Whether a history holds reasoning that only its own model can read.
fn has_sealed_reasoning(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            let is_sealed = |(name, field): (&String, &Value)| match name.as_str() {
                "encrypted_content" | "signature" | "thoughtSignature" | "thought_signature" => {
                    field.as_str().is_some_and(|text| !text.is_empty())
                }
                "type" => field == "redacted_thinking",
                _ => has_sealed_reasoning(field),
            };
            fields.iter().any(is_sealed)
        }
        Value::Array(items) => items.iter().any(has_sealed_reasoning),
        _ => false,
    }
}

/// Gemini, Azure and others name the model in the path.
fn with_model_in_path(path: &str, recorded: &str, wanted: &str) -> String {
    let name = recorded.trim_start_matches("models/");
    for before in ["/models/", "/deployments/", "/model/"] {
        let Some((head, rest)) = path.split_once(before) else { continue };
        let end = rest.find(['/', ':', '?']).unwrap_or(rest.len());
        if !name.is_empty() && (rest[..end] == *name || before == "/deployments/") {
            return format!("{head}{before}{wanted}{}", &rest[end..]);
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSES: Option<Wire> = Some(Wire::OpenAiResponses);

    fn known<'a>(wire: Option<Wire>, path: &'a str, request: &'a str, answer: &'a str) -> KnownCall<'a> {
        KnownCall { wire, method: "POST", path, request: request.as_bytes(), answer: answer.as_bytes() }
    }

    fn body(forked: &ForkedRequest) -> Value {
        serde_json::from_slice(forked.body.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_of_the_recording_stays_as_it_is() {
        let forking = Forking::new(None, []);
        for sent in [r#"{ "model":"m", "previous_response_id":"resp_live" }"#, "no JSON", ""] {
            let forked = forking.request(RESPONSES, "/v1/responses?x=1", sent.as_bytes()).unwrap();
            assert_eq!(forked, ForkedRequest { path: "/v1/responses?x=1".into(), body: None });
        }
    }

    #[test]
    fn a_recorded_response_is_written_out() {
        let first = r#"{"model":"m","input":"hi"}"#;
        let first_answer = r#"{"id":"resp_1","output":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"function_call","id":"fc_1","call_id":"c1","name":"look","arguments":"{}"}]}"#;
        let second = r#"{"model":"m","previous_response_id":"resp_1","input":[{"type":"function_call_output","call_id":"c1","output":"12"}]}"#;
        let second_answer = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_2\",\"output\":[]}}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_2\",\"output\":[{\"type\":\"message\",\"id\":\"msg_2\",\"role\":\"assistant\",\"content\":[]}]}}\n\n";
        let path = "/v1/responses";
        let recorded =
            [known(RESPONSES, path, first, first_answer), known(RESPONSES, path, second, second_answer)];
        let forking = Forking::new(None, recorded);
        let sent = r#"{"model":"m","previous_response_id":"resp_2","input":"go on","stream":true}"#;
        let forked = body(&forking.request(RESPONSES, path, sent.as_bytes()).unwrap());
        let said: Vec<String> = forked["input"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(said.len(), 5, "{forked}");
        assert!(said[0].contains("hi") && said[1].contains("fc_1") && said[2].contains("\"12\""), "{forked}");
        assert!(said[3].contains("msg_2") && said[4].contains("go on"), "{forked}");
        assert_eq!((forked.get("previous_response_id"), &forked["stream"]), (None, &json!(true)));

        let referring = r#"{"model":"m","input":[{"type":"item_reference","id":"msg_2"},{"type":"item_reference","id":"msg_live"}]}"#;
        let forked = body(&forking.request(RESPONSES, path, referring.as_bytes()).unwrap());
        assert_eq!(
            (&forked["input"][0]["type"], &forked["input"][1]["id"]),
            (&json!("message"), &json!("msg_live"))
        );
    }

    #[test]
    fn what_the_recording_cannot_stand_in_for_is_refused() {
        let upload = known(None, "/v1/files?purpose=x", "", r#"{"id":"file-abc123","object":"file"}"#);
        let forking = Forking::new(None, [upload]);
        let sent = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-abc123"}}]}]}"#;
        let error =
            forking.request(Some(Wire::OpenAiChat), "/v1/chat/completions", sent.as_bytes()).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("file-abc123") && said.contains("POST /v1/files"), "{said}");
    }

    #[test]
    fn another_model_is_asked() {
        let forking = Forking::new(Some("new".into()), []);
        let chat = forking.request(
            Some(Wire::OpenAiChat),
            "/v1/chat/completions",
            br#"{"a":1,"model":"old","b":2.0}"#,
        );
        assert_eq!(chat.unwrap().body.as_deref(), Some(&br#"{"a":1,"model":"new","b":2.0}"#[..]));
        let gemini = "/v1beta/models/old:streamGenerateContent?alt=sse";
        let gemini = forking.request(Some(Wire::GeminiGenerate), gemini, b"{}").unwrap();
        assert_eq!(gemini.path, "/v1beta/models/new:streamGenerateContent?alt=sse");
        assert_eq!(gemini.body, None);
        let azure = "/openai/deployments/old/chat/completions?api-version=1";
        let azure = forking.request(Some(Wire::OpenAiChat), azure, br#"{"model":"old"}"#).unwrap();
        assert_eq!(azure.path, "/openai/deployments/new/chat/completions?api-version=1");
        let other = forking.request(None, "/v1/models/old", b"{}").unwrap();
        assert_eq!(other.path, "/v1/models/old", "no model call");
    }

    #[test]
    fn sealed_reasoning_stays_with_its_model() {
        let sealed = br#"{"model":"old","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"c2ln"}]}]}"#;
        let ask = |model: &str| {
            let forking = Forking::new(Some(model.into()), []);
            forking.request(Some(Wire::AnthropicMessages), "/v1/messages", sealed)
        };
        assert_eq!(ask("old").unwrap().body, None);
        let said = ask("new").unwrap_err().to_string();
        assert!(said.contains("signed or encrypted for old") && said.contains("new"), "{said}");
    }
}
