//! Gemini's generateContent, as the simulated provider writes it.
//!
//! Function calls have no ids and never come in pieces; the first carries a thought signature. Thinking
//! is counted outside the candidates' tokens. Each streamed element carries usage; the last one counts.

use super::conversation::Conversation;
use super::reply::{Finish, Reply};
use super::stream::{Stream, whole};
use super::{Framing, SimResponse, response_headers};
use serde_json::{Value, json};

pub(crate) fn render(reply: &Reply, conversation: &Conversation) -> SimResponse {
    let elements = elements(reply, conversation);
    let mut stream = Stream::new(reply.pace);
    match conversation.framing {
        Framing::Events => {
            for element in &elements {
                stream.piece(format!("data: {element}\r\n\r\n"));
                stream.said();
            }
            stream.finish(response_headers::gemini("text/event-stream"))
        }
        Framing::Array => {
            for (i, element) in elements.iter().enumerate() {
                stream.piece(format!("{}{element}", if i == 0 { "[" } else { "\r\n,\r\n" }));
                stream.said();
            }
            stream.append("\r\n]");
            stream.finish(response_headers::gemini("application/json; charset=UTF-8"))
        }
        Framing::Whole | Framing::BodyDecides => {
            let body = element(reply, conversation, parts(reply), Place::Last, reply.tokens.output);
            let headers = response_headers::gemini("application/json; charset=UTF-8");
            whole(reply.pace, elements.len(), headers, &body)
        }
    }
}

/// The streamed elements: text in pieces, then all function calls, the last one with the finish reason.
fn elements(reply: &Reply, conversation: &Conversation) -> Vec<Value> {
    let mut pieces: Vec<Vec<Value>> =
        reply.text_pieces().chunks(4).map(|words| vec![json!({ "text": words.concat() })]).collect();
    if !reply.calls.is_empty() {
        pieces.push(calls(reply));
    }
    let last = pieces.len().saturating_sub(1);
    pieces
        .into_iter()
        .enumerate()
        .map(|(i, parts)| {
            let place = if i == last { Place::Last } else { Place::Inner };
            let done = u64::try_from(i + 1).unwrap_or(u64::MAX);
            let all = u64::try_from(last + 1).unwrap_or(u64::MAX);
            element(reply, conversation, parts, place, reply.tokens.output * done / all)
        })
        .collect()
}

/// Where an element stands in its stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Inner,
    Last,
}

fn element(
    reply: &Reply,
    conversation: &Conversation,
    parts: Vec<Value>,
    place: Place,
    output_tokens: u64,
) -> Value {
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if place == Place::Last {
        candidate["finishReason"] = match reply.finish {
            Finish::Length => json!("MAX_TOKENS"),
            Finish::Said | Finish::CallsTools => json!("STOP"),
        };
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage(reply, output_tokens),
        "modelVersion": conversation.model,
        "responseId": reply.ids.make("", 0),
    })
}

fn parts(reply: &Reply) -> Vec<Value> {
    let text = (!reply.text.is_empty()).then(|| json!({ "text": reply.text }));
    text.into_iter().chain(calls(reply)).collect()
}

fn calls(reply: &Reply) -> Vec<Value> {
    let mut calls: Vec<Value> = reply
        .calls
        .iter()
        .map(|c| json!({ "functionCall": { "name": c.name, "args": c.arguments } }))
        .collect();
    if let Some(first) = calls.first_mut() {
        // 24 hex digits are also valid base64, which is how clients read this field.
        first["thoughtSignature"] = json!(reply.ids.make("", 1));
    }
    calls
}

fn usage(reply: &Reply, output_tokens: u64) -> Value {
    let t = reply.tokens;
    let mut usage = json!({
        "promptTokenCount": t.input,
        "candidatesTokenCount": output_tokens,
        "totalTokenCount": t.input + output_tokens + t.thoughts,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": t.input }],
    });
    if t.thoughts > 0 {
        usage["thoughtsTokenCount"] = json!(t.thoughts);
    }
    if t.cache_read > 0 {
        usage["cachedContentTokenCount"] = json!(t.cache_read);
        usage["cacheTokensDetails"] = json!([{ "modality": "TEXT", "tokenCount": t.cache_read }]);
    }
    usage
}
