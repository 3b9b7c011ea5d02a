//! OpenAI Chat Completions, as the simulated provider writes it.
//!
//! Usage comes in a stream only if the client asked for it, in a last chunk without choices.

use super::conversation::Conversation;
use super::reply::{Finish, Reply};
use super::stream::{Pattern, Stream, fragments, whole};
use super::{Framing, SimResponse, response_headers};
use serde_json::{Value, json};

pub(crate) fn render(reply: &Reply, conversation: &Conversation, body: &Value) -> SimResponse {
    match conversation.framing {
        Framing::Events => streamed(reply, conversation, body),
        _ => whole(
            reply.pace,
            reply.text_pieces().len(),
            response_headers::openai(reply, "application/json"),
            &document(reply, conversation),
        ),
    }
}

fn document(reply: &Reply, conversation: &Conversation) -> Value {
    let mut message =
        json!({ "role": "assistant", "content": reply.text, "refusal": null, "annotations": [] });
    if !reply.calls.is_empty() {
        message["tool_calls"] = (0..reply.calls.len()).map(|i| call(reply, i)).collect();
    }
    json!({
        "id": reply.ids.make("chatcmpl-", 0),
        "object": "chat.completion",
        "created": reply.unix_s,
        "model": conversation.model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply) }],
        "usage": usage(reply),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    })
}

fn streamed(reply: &Reply, conversation: &Conversation, body: &Value) -> SimResponse {
    let with_usage = body["stream_options"]["include_usage"] == Value::Bool(true);
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": reply.ids.make("chatcmpl-", 0),
            "object": "chat.completion.chunk",
            "created": reply.unix_s,
            "model": conversation.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage;
        }
        chunk
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]), Value::Null)
    };

    let mut stream = Stream::new(reply.pace);
    stream.data(&delta(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null));
    let text = Pattern::new(&delta(json!({ "content": Pattern::GAP }), Value::Null));
    for piece in reply.text_pieces() {
        stream.piece(format!("data: {}\n\n", text.fill(&[&json!(piece)])));
        stream.said();
    }
    for index in 0..reply.calls.len() {
        let mut opened = call(reply, index);
        opened["index"] = json!(index);
        opened["function"]["arguments"] = json!("");
        stream.data(&delta(json!({ "tool_calls": [opened] }), Value::Null));
        for piece in fragments(&reply.calls[index].arguments_json()) {
            let part = json!({ "index": index, "function": { "arguments": piece } });
            stream.data(&delta(json!({ "tool_calls": [part] }), Value::Null));
            stream.said();
        }
    }
    stream.data(&delta(json!({}), json!(finish_reason(reply))));
    if with_usage {
        stream.data(&chunk(json!([]), usage(reply)));
    }
    stream.append("data: [DONE]\n\n");
    stream.finish(response_headers::openai(reply, "text/event-stream; charset=utf-8"))
}

const FINGERPRINT: &str = "fp_simulated";

fn call(reply: &Reply, index: usize) -> Value {
    let call = &reply.calls[index];
    json!({
        "id": reply.ids.make("call_", index),
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments_json() },
    })
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Said => "stop",
        Finish::CallsTools => "tool_calls",
        Finish::Length => "length",
    }
}

fn usage(reply: &Reply) -> Value {
    let t = reply.tokens;
    json!({
        "prompt_tokens": t.input,
        "completion_tokens": t.output,
        "total_tokens": t.input + t.output,
        "prompt_tokens_details": { "cached_tokens": t.cache_read, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
