//! Anthropic Messages, as the simulated provider writes it.
//!
//! Input is counted apart from cache reads and writes, and a cache is used only where the request marks
//! what to cache. In a stream, usage comes in `message_start` and again, cumulative, in `message_delta`.

use super::conversation::Conversation;
use super::reply::{Finish, Reply};
use super::stream::{Pattern, Stream, fragments, whole};
use super::{Framing, SimResponse, response_headers};
use serde_json::{Value, json};

pub(crate) fn render(reply: &Reply, conversation: &Conversation) -> SimResponse {
    match conversation.framing {
        Framing::Events => streamed(reply, conversation),
        _ => whole(
            reply.pace,
            reply.text_pieces().len(),
            response_headers::anthropic(reply, "application/json"),
            &document(reply, conversation),
        ),
    }
}

fn document(reply: &Reply, conversation: &Conversation) -> Value {
    let mut content = Vec::new();
    if !reply.text.is_empty() {
        content.push(json!({ "type": "text", "text": reply.text }));
    }
    content.extend((0..reply.calls.len()).map(|place| tool_use(reply, place, Filling::Arguments)));
    let mut message = message(reply, conversation);
    message["content"] = Value::Array(content);
    message["stop_reason"] = json!(stop_reason(reply));
    message["usage"] = usage(reply, reply.tokens.output);
    message
}

fn streamed(reply: &Reply, conversation: &Conversation) -> SimResponse {
    let mut stream = Stream::new(reply.pace);
    let mut message = message(reply, conversation);
    message["usage"] = usage(reply, 1);
    stream.event(&json!({ "type": "message_start", "message": message }));
    let mut index = 0;
    if !reply.text.is_empty() {
        let delta = json!({ "type": "text_delta", "text": Pattern::GAP });
        send_block(&mut stream, index, json!({ "type": "text", "text": "" }), &delta, reply.text_pieces());
        index += 1;
    }
    for place in 0..reply.calls.len() {
        let arguments = reply.calls[place].arguments_json();
        let pieces = std::iter::once("").chain(fragments(&arguments)).collect();
        let delta = json!({ "type": "input_json_delta", "partial_json": Pattern::GAP });
        send_block(&mut stream, index, tool_use(reply, place, Filling::Empty), &delta, pieces);
        index += 1;
    }
    stream.event(&json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null },
        "usage": usage(reply, reply.tokens.output),
    }));
    stream.event(&json!({ "type": "message_stop" }));
    stream.finish(response_headers::anthropic(reply, "text/event-stream; charset=utf-8"))
}

/// One content block; the first block of a message is followed by a ping.
fn send_block(stream: &mut Stream, index: usize, block: Value, delta: &Value, pieces: Vec<&str>) {
    stream.event(&json!({ "type": "content_block_start", "index": index, "content_block": block }));
    if index == 0 {
        stream.event(&json!({ "type": "ping" }));
    }
    let pattern = Pattern::new(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    for piece in pieces {
        stream.piece(format!("event: content_block_delta\ndata: {}\n\n", pattern.fill(&[&json!(piece)])));
        if !piece.is_empty() {
            stream.said();
        }
    }
    stream.event(&json!({ "type": "content_block_stop", "index": index }));
}

/// Whether a tool block is complete or about to be streamed.
#[derive(Clone, Copy)]
enum Filling {
    Arguments,
    Empty,
}

fn tool_use(reply: &Reply, place: usize, filling: Filling) -> Value {
    let call = &reply.calls[place];
    let input = match filling {
        Filling::Arguments => call.arguments.clone(),
        Filling::Empty => json!({}),
    };
    json!({ "type": "tool_use", "id": reply.ids.make("toolu_", place), "name": call.name, "input": input })
}

fn message(reply: &Reply, conversation: &Conversation) -> Value {
    json!({
        "id": reply.ids.make("msg_", 0),
        "type": "message",
        "role": "assistant",
        "model": conversation.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": null,
    })
}

fn stop_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Said => "end_turn",
        Finish::CallsTools => "tool_use",
        Finish::Length => "max_tokens",
    }
}

fn usage(reply: &Reply, output_tokens: u64) -> Value {
    let t = reply.tokens;
    json!({
        "input_tokens": t.input.saturating_sub(t.cache_read).saturating_sub(t.cache_write),
        "cache_creation_input_tokens": t.cache_write,
        "cache_read_input_tokens": t.cache_read,
        "cache_creation": { "ephemeral_5m_input_tokens": t.cache_write, "ephemeral_1h_input_tokens": 0 },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    })
}
