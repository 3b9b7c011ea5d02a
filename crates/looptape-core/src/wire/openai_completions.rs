//! OpenAI Completions, the API before chat: a prompt and the text that follows it.
//!
//! The prompt stands for one message of the user. Answers are as in chat (envelope, usage, `[DONE]`), but
//! a choice holds its `text` itself. Mistral's fill-in-the-middle endpoint ends in the same word and answers
//! with messages instead, which are read too. Only choice 0 is; several prompts make several choices.

use super::lenient::{self, object, string, text};
use super::openai_chat::{first_choice, read_content, read_envelope, read_finish};
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role};
use serde_json::Value;

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    RequestView {
        model: string(body, "model").or_else(|| route::model_in_path(path)),
        stream: lenient::is_set(body, "stream"),
        max_output_tokens: lenient::count(body, "/max_tokens"),
        messages: prompt_parts(body).into_iter().map(asked).collect(),
        ..RequestView::default()
    }
}

fn asked(parts: Vec<Part>) -> Message {
    Message { role: Role::User, parts }
}

/// The prompts, each with its parts: text, or token ids; then the text that is to come after the answer.
fn prompt_parts(body: &Value) -> Vec<Vec<Part>> {
    let tokens = |value: &Value| Part::Other { kind: "tokens".to_owned(), value: value.clone() };
    let text = |text: &String| Part::Text { text: text.clone() };
    let mut prompts: Vec<Vec<Part>> = match body.get("prompt") {
        Some(Value::String(prompt)) => vec![vec![text(prompt)]],
        Some(Value::Array(prompts)) if prompts.iter().any(Value::is_number) => {
            vec![vec![tokens(&Value::Array(prompts.clone()))]]
        }
        Some(Value::Array(prompts)) => prompts
            .iter()
            .map(|prompt| match prompt {
                Value::String(prompt) => vec![text(prompt)],
                other => vec![tokens(other)],
            })
            .collect(),
        _ => Vec::new(),
    };
    if let (Some(suffix), Some(last)) = (string(body, "suffix"), prompts.last_mut()) {
        last.push(Part::Other { kind: "suffix".to_owned(), value: Value::String(suffix) });
    }
    prompts
}

/// Appends a choice's text.
fn read_text(choice: &Value, view: &mut ResponseView) {
    match text(choice, "text") {
        Some(text) => view.text.push_str(text),
        None => {
            let message = object(choice, "message").or_else(|| object(choice, "delta"));
            message.into_iter().for_each(|message| read_content(message, view));
        }
    }
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    ended: bool,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut answer = Self::default();
        answer.take(body);
        answer.view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(chunk) = event.json() else {
            self.ended = self.ended || event.is_done();
            return;
        };
        let before = self.view.text.len();
        self.take(&chunk);
        if self.view.text.len() > before {
            self.view.milestones.saw(Output::Content, event.end);
        }
    }

    fn finish(self) -> ResponseView {
        ResponseView { truncated: !self.ended, ..self.view }
    }
}

impl Answer {
    /// Adds an answer, whole or a chunk. Some providers leave `[DONE]` out: a finish reason will do.
    fn take(&mut self, body: &Value) {
        read_envelope(body, &mut self.view);
        if let Some(choice) = first_choice(body) {
            read_finish(choice, &mut self.view);
            read_text(choice, &mut self.view);
            self.ended = self.ended || self.view.finish_reason.is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wire;
    use super::*;
    use serde_json::json;

    fn answer(body: &str) -> ResponseView {
        Wire::OpenAiCompletions.decode_response(200, None, body.as_bytes())
    }

    fn said(text: &str) -> Part {
        Part::Text { text: text.to_owned() }
    }

    #[test]
    fn prompts_are_messages_of_the_user() {
        let tokens = |value| Part::Other { kind: "tokens".to_owned(), value };
        let suffix = Part::Other { kind: "suffix".to_owned(), value: json!("z") };
        for (body, expected) in [
            (json!({"prompt": "a"}), vec![vec![said("a")]]),
            (json!({"prompt": "a", "suffix": "z"}), vec![vec![said("a"), suffix]]),
            (json!({"prompt": ["a", "b"]}), vec![vec![said("a")], vec![said("b")]]),
            (json!({"prompt": [1, 2]}), vec![vec![tokens(json!([1, 2]))]]),
            (json!({"prompt": [[1], [2]]}), vec![vec![tokens(json!([1]))], vec![tokens(json!([2]))]]),
            (json!({}), vec![]),
        ] {
            let view = decode_request("/v1/completions", &body);
            let parts: Vec<_> = view.messages.into_iter().map(|m| m.parts).collect();
            assert_eq!(parts, expected, "{body}");
        }
        let body = json!({"model": "m", "stream": true, "max_tokens": 5});
        let view = decode_request("/v1/completions", &body);
        assert_eq!((view.model.as_deref(), view.stream, view.max_output_tokens), (Some("m"), true, Some(5)));
        let deployed = decode_request("/openai/deployments/d/completions", &json!({}));
        assert_eq!(deployed.model.as_deref(), Some("d"));
    }

    #[test]
    fn a_stream_of_choice_0() {
        let chunk = |index: u64, text: &str, reason: Value| {
            let choice = json!({"index": index, "text": text, "finish_reason": reason, "logprobs": null});
            format!("data: {}\n\n", json!({"id": "c", "model": "m", "choices": [choice]}))
        };
        let chunks = [
            chunk(1, "other", Value::Null),
            chunk(0, "", Value::Null),
            chunk(0, "one ", Value::Null),
            chunk(0, "two", Value::Null),
            chunk(0, "", json!("length")),
        ];
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
        let body = chunks.concat() + usage + "data: [DONE]\n\n";
        let view = answer(&body);
        assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("one two", Some("length")));
        assert!(view.stream && !view.truncated);
        let ends = |n: usize| Some(chunks[..n].concat().len());
        assert_eq!((view.milestones.first_content, view.milestones.last_output), (ends(3), ends(4)));
        assert_eq!((view.usage.input_total, view.usage.output_total), (Some(3), Some(2)));
        let cut = answer(&chunks[..3].concat());
        assert_eq!((cut.text.as_str(), cut.truncated), ("one ", true));
        assert!(!answer(&chunks.concat()).truncated, "without [DONE]");
    }

    #[test]
    fn whole_answers_and_those_made_of_messages() {
        let body = json!({"id": "c", "model": "m", "choices": [{"text": "t", "index": 0, "finish_reason": "eos"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
        let view = answer(&body.to_string());
        assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("t", Some("eos")));
        assert_eq!((view.stream, view.usage.output_total), (false, Some(2)));
        let infilled = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}]});
        assert_eq!(answer(&infilled.to_string()).text, "x");
        let error = answer("{\"error\":{\"message\":\"m\",\"code\":\"c\"}}").error.unwrap();
        assert_eq!(error.kind.as_deref(), Some("c"));
    }
}
