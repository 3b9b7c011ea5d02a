//! Anthropic Messages, as the simulated provider writes it.
//!
//! Input is counted apart from cache reads and writes, and a cache is used only where the request marks
//! what to cache. In a stream, usage comes in `message_start` and again, cumulative, in `message_delta`.

use super::conversation::Conversation;
use super::reply::Reply;
use super::stream::{Stream, fragments, whole};
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
    message["usage"] = usage(reply, conversation, reply.tokens.output);
    message
}

fn streamed(reply: &Reply, conversation: &Conversation) -> SimResponse {
    let mut stream = Stream::new(reply.pace);
    let mut message = message(reply, conversation);
    message["usage"] = usage(reply, conversation, 1);
    stream.event(&json!({ "type": "message_start", "message": message }));
    let mut index = 0;
    if !reply.text.is_empty() {
        let deltas = reply.text_pieces().into_iter().map(|t| json!({ "type": "text_delta", "text": t }));
        send_block(&mut stream, index, json!({ "type": "text", "text": "" }), deltas);
        index += 1;
    }
    for place in 0..reply.calls.len() {
        let arguments = reply.calls[place].arguments_json();
        let deltas = std::iter::once("")
            .chain(fragments(&arguments))
            .map(|p| json!({ "type": "input_json_delta", "partial_json": p }));
        send_block(&mut stream, index, tool_use(reply, place, Filling::Empty), deltas);
        index += 1;
    }
    stream.event(&json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null },
        "usage": usage(reply, conversation, reply.tokens.output),
    }));
    stream.event(&json!({ "type": "message_stop" }));
    stream.finish(response_headers::anthropic(reply, "text/event-stream; charset=utf-8"))
}

/// One content block; the first block of a message is followed by a ping.
fn send_block(stream: &mut Stream, index: usize, block: Value, deltas: impl Iterator<Item = Value>) {
    stream.event(&json!({ "type": "content_block_start", "index": index, "content_block": block }));
    if index == 0 {
        stream.event(&json!({ "type": "ping" }));
    }
    for delta in deltas {
        stream.event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
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
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

fn usage(reply: &Reply, conversation: &Conversation, output_tokens: u64) -> Value {
    let t = reply.tokens;
    let (read, written) = if conversation.marks_cache { (t.cache_read, t.cache_write) } else { (0, 0) };
    json!({
        "input_tokens": t.input - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": { "ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0 },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    })
}
