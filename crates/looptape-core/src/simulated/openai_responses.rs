//! OpenAI Responses, as the simulated provider writes it.
//!
//! The stream's events carry rising sequence numbers; the last one, `response.completed`, holds the whole
//! response with its usage. A request that continues a stored response by its id is answered from what it
//! carries itself: nothing is stored.

use super::conversation::Conversation;
use super::reply::{Finish, Reply};
use super::stream::{Pattern, Stream, fragments, whole};
use super::{Framing, SimResponse, response_headers};
use serde_json::{Value, json};

pub(crate) fn render(reply: &Reply, conversation: &Conversation, body: &Value) -> SimResponse {
    let frame = Frame { reply, conversation, body };
    match conversation.framing {
        Framing::Events => frame.streamed(),
        _ => whole(
            reply.pace,
            reply.text_pieces().len(),
            response_headers::openai(reply, "application/json"),
            &frame.completed(),
        ),
    }
}

/// What every event of one answer refers to.
struct Frame<'a> {
    reply: &'a Reply,
    conversation: &'a Conversation,
    body: &'a Value,
}

/// A stream whose events are numbered.
struct Numbered {
    stream: Stream,
    next: u64,
}

impl Numbered {
    fn send(&mut self, kind: &str, fields: Value) {
        let mut event = json!({ "type": kind, "sequence_number": self.next });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        self.next += 1;
        self.stream.event(&event);
    }

    /// Pieces of what the model says: events of one kind that differ in their number and in `delta`.
    fn send_pieces(&mut self, kind: &str, fields: Value, pieces: Vec<&str>) {
        let mut event = json!({ "type": kind, "sequence_number": Pattern::GAP });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        let pattern = Pattern::new(&event);
        for piece in pieces {
            let data = pattern.fill(&[&json!(self.next), &json!(piece)]);
            self.stream.piece(format!("event: {kind}\ndata: {data}\n\n"));
            self.stream.said();
            self.next += 1;
        }
    }
}

impl Frame<'_> {
    fn streamed(&self) -> SimResponse {
        let mut out = Numbered { stream: Stream::new(self.reply.pace), next: 0 };
        out.send("response.created", json!({ "response": self.response("in_progress", json!([])) }));
        out.send("response.in_progress", json!({ "response": self.response("in_progress", json!([])) }));
        let mut output_index = 0;
        if !self.reply.text.is_empty() {
            self.send_message(&mut out, output_index);
            output_index += 1;
        }
        for place in 0..self.reply.calls.len() {
            self.send_call(&mut out, output_index, place);
            output_index += 1;
        }
        let last = match self.reply.finish {
            Finish::Length => "response.incomplete",
            Finish::Said | Finish::CallsTools => "response.completed",
        };
        out.send(last, json!({ "response": self.completed() }));
        out.stream.finish(response_headers::openai(self.reply, "text/event-stream; charset=utf-8"))
    }

    fn send_message(&self, out: &mut Numbered, output_index: usize) {
        let item_id = self.message_id();
        let at = |mut fields: Value| {
            fields["item_id"] = json!(item_id);
            fields["output_index"] = json!(output_index);
            fields["content_index"] = json!(0);
            fields
        };
        let opened = json!({ "id": item_id, "type": "message", "status": "in_progress", "content": [], "role": "assistant" });
        out.send("response.output_item.added", json!({ "output_index": output_index, "item": opened }));
        out.send("response.content_part.added", at(json!({ "part": text_part("") })));
        let delta = at(json!({ "delta": Pattern::GAP, "logprobs": [] }));
        out.send_pieces("response.output_text.delta", delta, self.reply.text_pieces());
        out.send("response.output_text.done", at(json!({ "text": self.reply.text, "logprobs": [] })));
        out.send("response.content_part.done", at(json!({ "part": text_part(&self.reply.text) })));
        let item = self.message();
        out.send("response.output_item.done", json!({ "output_index": output_index, "item": item }));
    }

    fn send_call(&self, out: &mut Numbered, output_index: usize, place: usize) {
        let item = self.call(place, "completed");
        let item_id = &item["id"];
        let arguments = self.reply.calls[place].arguments_json();
        let mut opened = self.call(place, "in_progress");
        opened["arguments"] = json!("");
        out.send("response.output_item.added", json!({ "output_index": output_index, "item": opened }));
        let delta = json!({ "item_id": item_id, "output_index": output_index, "delta": Pattern::GAP });
        out.send_pieces("response.function_call_arguments.delta", delta, fragments(&arguments));
        out.send(
            "response.function_call_arguments.done",
            json!({ "item_id": item_id, "output_index": output_index, "name": item["name"], "arguments": arguments }),
        );
        out.send("response.output_item.done", json!({ "output_index": output_index, "item": item }));
    }

    fn completed(&self) -> Value {
        let mut output = Vec::new();
        if !self.reply.text.is_empty() {
            output.push(self.message());
        }
        output.extend((0..self.reply.calls.len()).map(|place| self.call(place, "completed")));
        let mut response = self.response(self.status(), Value::Array(output));
        if self.reply.finish == Finish::Length {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        response["usage"] = self.usage();
        response
    }

    /// The response object, with the request's settings echoed as the provider does.
    fn response(&self, status: &str, output: Value) -> Value {
        let asked = |field: &str, default: Value| self.body.get(field).cloned().unwrap_or(default);
        json!({
            "id": self.reply.ids.make("resp_", 0),
            "object": "response",
            "created_at": self.reply.unix_s,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": asked("instructions", Value::Null),
            "max_output_tokens": asked("max_output_tokens", Value::Null),
            "model": self.conversation.model,
            "output": output,
            "parallel_tool_calls": asked("parallel_tool_calls", json!(true)),
            "previous_response_id": asked("previous_response_id", Value::Null),
            "reasoning": { "effort": null, "summary": null },
            "service_tier": "default",
            "store": asked("store", json!(true)),
            "temperature": asked("temperature", json!(1.0)),
            "text": { "format": { "type": "text" } },
            "tool_choice": asked("tool_choice", json!("auto")),
            "tools": asked("tools", json!([])),
            "top_p": asked("top_p", json!(1.0)),
            "truncation": "disabled",
            "usage": null,
            "user": null,
            "metadata": asked("metadata", json!({})),
        })
    }

    fn status(&self) -> &'static str {
        match self.reply.finish {
            Finish::Length => "incomplete",
            Finish::Said | Finish::CallsTools => "completed",
        }
    }

    fn message_id(&self) -> String {
        self.reply.ids.make("msg_", 0)
    }

    fn message(&self) -> Value {
        json!({
            "id": self.message_id(),
            "type": "message",
            "status": self.status(),
            "content": [text_part(&self.reply.text)],
            "role": "assistant",
        })
    }

    fn call(&self, place: usize, status: &str) -> Value {
        let call = &self.reply.calls[place];
        json!({
            "id": self.reply.ids.make("fc_", place),
            "type": "function_call",
            "status": status,
            "arguments": call.arguments_json(),
            "call_id": self.reply.ids.make("call_", place),
            "name": call.name,
        })
    }

    fn usage(&self) -> Value {
        let t = self.reply.tokens;
        json!({
            "input_tokens": t.input,
            "input_tokens_details": { "cached_tokens": t.cache_read },
            "output_tokens": t.output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": t.input + t.output,
        })
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": text })
}
