//! Bedrock InvokeModel and InvokeModelWithResponseStream: each model's own format, in Bedrock's envelope.
//!
//! The path names a model, but not always its maker (an inference profile may have any name), so the
//! dialect is told by the field that only it has. A stream's frames hold one event each, as base64. Some
//! dialects report no usage; then the invocation's metrics in the last event count, or else headers of the
//! answer ([`add_headers`]).

use super::lenient::{self, array, count, object, string, text};
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, ProviderError, RequestView, ResponseView, Role};
use super::{anthropic, bedrock_converse, cohere_v1, openai_chat};
use crate::usage::TokenUsage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The formats of the models behind InvokeModel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Anthropic,
    /// Amazon Nova, which speaks as Converse does.
    Converse,
    /// Mistral, AI21 Jamba, DeepSeek, Qwen, gpt-oss.
    Chat,
    Cohere,
    /// A prompt and its completion: Titan, Llama, Cohere Command, older Claude and Mistral.
    Prompt,
}

impl Dialect {
    fn of_request(body: &Value) -> Self {
        let has = |key: &str| body.get(key).is_some();
        let parts = || array(body, "messages").iter().flat_map(|message| array(message, "content"));
        if !has("messages") {
            return if has("message") { Self::Cohere } else { Self::Prompt };
        }
        if has("anthropic_version") {
            return Self::Anthropic;
        }
        let is_converse = ["schemaVersion", "inferenceConfig", "toolConfig"].into_iter().any(has);
        if is_converse || parts().any(|part| part.is_object() && part.get("type").is_none()) {
            return Self::Converse;
        }
        Self::Chat
    }

    /// Of an answer, whole or the first event of a stream.
    fn of_answer(body: &Value) -> Self {
        let has = |key: &str| body.get(key).is_some();
        let converse_events =
            ["messageStart", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata"];
        let is_chat = || array(body, "choices").iter().any(|c| c.get("message").or(c.get("delta")).is_some());
        if has("event_type") || (has("generation_id") && has("text")) {
            Self::Cohere
        } else if has("type") {
            Self::Anthropic
        } else if has("output") || converse_events.into_iter().any(has) {
            Self::Converse
        } else if is_chat() || (has("choices") && has("object")) {
            Self::Chat
        } else {
            Self::Prompt
        }
    }
}

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    let view = match Dialect::of_request(body) {
        Dialect::Anthropic => anthropic::decode_request(path, body),
        Dialect::Converse => bedrock_converse::decode_request(path, body),
        Dialect::Chat => openai_chat::decode_request(path, body),
        Dialect::Cohere => cohere_v1::decode_request(body),
        Dialect::Prompt => decode_prompt(body),
    };
    RequestView {
        model: route::model_in_path(path).or(view.model),
        stream: route::streams_from_bedrock(path),
        ..view
    }
}

fn decode_prompt(body: &Value) -> RequestView {
    let prompt = string(body, "prompt").or_else(|| string(body, "inputText"));
    let asked = prompt.map(|text| Message { role: Role::User, parts: vec![Part::Text { text }] });
    let limits = [
        "/max_gen_len",
        "/max_tokens",
        "/maxTokens",
        "/max_tokens_to_sample",
        "/textGenerationConfig/maxTokenCount",
    ];
    RequestView {
        max_output_tokens: limits.iter().find_map(|pointer| count(body, pointer)),
        messages: asked.into_iter().collect(),
        ..RequestView::default()
    }
}

/// Adds what only an answer's headers say: the kind of an error, and counts where the body has none.
pub(super) fn add_headers<'h>(view: &mut ResponseView, header: impl Fn(&str) -> Option<&'h str>) {
    if let Some(error) = view.error.as_mut().filter(|error| error.kind.is_none()) {
        let kind = header("x-amzn-errortype").and_then(|stated| stated.split(':').next());
        error.kind = kind.map(str::to_owned);
    }
    let counted = |name: &str| header(&format!("x-amzn-bedrock-{name}-token-count"))?.trim().parse().ok();
    if !view.usage.is_known() {
        let counts = ["input", "output", "cache-read-input", "cache-write-input"].map(counted);
        view.usage = usage_of_counts(counts).unwrap_or_default();
    } else if view.usage.output_total.is_none() {
        // An answer that a guardrail changed counts what was asked only.
        let output = counted("output");
        (view.usage.output_visible, view.usage.output_total) = (output, output);
    }
}

/// Usage from counts of input, output, cache reads and cache writes.
fn usage_of_counts([input, output, cache_read, cache_write]: [Option<u64>; 4]) -> Option<TokenUsage> {
    input.or(output)?;
    Some(TokenUsage {
        uncached_input: input,
        cache_read,
        cache_write_5m: cache_write,
        output_visible: output,
        input_total: input.and(lenient::sum(&[input, cache_read, cache_write])),
        output_total: output,
        ..TokenUsage::default()
    })
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    dialect: Option<DialectAnswer>,
    metrics: Option<TokenUsage>,
    error: Option<ProviderError>,
}

#[derive(Debug)]
enum DialectAnswer {
    Anthropic(Box<anthropic::Answer>),
    Converse(Box<bedrock_converse::Answer>),
    Chat(Box<openai_chat::Answer>),
    Cohere(Box<cohere_v1::Answer>),
    Prompt(Box<Completion>),
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        match Dialect::of_answer(body) {
            Dialect::Anthropic => anthropic::Answer::decode_whole(body),
            Dialect::Converse => bedrock_converse::Answer::decode_whole(body),
            Dialect::Chat => openai_chat::Answer::decode_whole(body),
            Dialect::Cohere => cohere_v1::Answer::decode_whole(body),
            Dialect::Prompt => Completion::decode_whole(body),
        }
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(envelope) = event.json() else { return };
        let Some(inner) = text(&envelope, "bytes").and_then(|encoded| STANDARD.decode(encoded).ok()) else {
            self.error = self.error.take().or_else(|| lenient::provider_error(&envelope));
            return;
        };
        let inner = String::from_utf8_lossy(&inner);
        let Ok(value) = serde_json::from_str::<Value>(&inner) else { return };
        if let Some(metrics) = object(&value, "amazon-bedrock-invocationMetrics") {
            self.metrics = usage_of_metrics(metrics);
        }
        let dialect = self.dialect.get_or_insert_with(|| DialectAnswer::new(Dialect::of_answer(&value)));
        dialect.take_event(&StreamEvent { name: None, data: &inner, end: event.end });
    }

    fn finish(self) -> ResponseView {
        let cut = ResponseView { truncated: true, ..ResponseView::default() };
        let mut view = self.dialect.map_or(cut, DialectAnswer::finish);
        if let Some(metrics) = self.metrics.filter(|_| !view.usage.is_known()) {
            view.usage = metrics;
        }
        view.error = view.error.or(self.error);
        view
    }
}

fn usage_of_metrics(metrics: &Value) -> Option<TokenUsage> {
    let keys = ["input", "output", "cacheReadInput", "cacheWriteInput"];
    let usage = usage_of_counts(keys.map(|key| count(metrics, &format!("/{key}TokenCount"))))?;
    Some(TokenUsage { raw: Some(metrics.clone()), ..usage })
}

impl DialectAnswer {
    fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Anthropic => Self::Anthropic(Box::default()),
            Dialect::Converse => Self::Converse(Box::default()),
            Dialect::Chat => Self::Chat(Box::default()),
            Dialect::Cohere => Self::Cohere(Box::default()),
            Dialect::Prompt => Self::Prompt(Box::default()),
        }
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        match self {
            Self::Anthropic(answer) => answer.take_event(event),
            Self::Converse(answer) => answer.take_event(event),
            Self::Chat(answer) => answer.take_event(event),
            Self::Cohere(answer) => answer.take_event(event),
            Self::Prompt(answer) => answer.take_event(event),
        }
    }

    fn finish(self) -> ResponseView {
        match self {
            Self::Anthropic(answer) => answer.finish(),
            Self::Converse(answer) => answer.finish(),
            Self::Chat(answer) => answer.finish(),
            Self::Cohere(answer) => answer.finish(),
            Self::Prompt(answer) => answer.finish(),
        }
    }
}

/// Where the models of prompts put the text that they add: each has one of these places.
const TEXT: &[&str] = &[
    "/outputText",
    "/results/0/outputText",
    "/generation",
    "/generations/0/text",
    "/outputs/0/text",
    "/completion",
    "/completions/0/data/text",
    "/choices/0/text",
    "/text",
];

const FINISH: &[&str] = &[
    "/completionReason",
    "/results/0/completionReason",
    "/stop_reason",
    "/finish_reason",
    "/generations/0/finish_reason",
    "/outputs/0/stop_reason",
    "/completions/0/finishReason/reason",
    "/choices/0/finish_reason",
    "/choices/0/stop_reason",
];

const INPUT_COUNT: &[&str] = &["/inputTextTokenCount", "/prompt_token_count", "/usage/prompt_tokens"];

const OUTPUT_COUNT: &[&str] = &[
    "/totalOutputTextTokenCount",
    "/results/0/tokenCount",
    "/generation_token_count",
    "/usage/completion_tokens",
];

/// Decoder of completions.
#[derive(Debug, Default)]
struct Completion {
    view: ResponseView,
    input: Option<u64>,
    output: Option<u64>,
}

impl AnswerDecoder for Completion {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut completion = Self::default();
        completion.take(body);
        ResponseView { truncated: false, ..completion.finish() }
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(data) = event.json() else { return };
        let before = self.view.text.len();
        self.take(&data);
        if self.view.text.len() > before {
            self.view.milestones.saw(Output::Content, event.end);
        }
    }

    fn finish(self) -> ResponseView {
        let usage = usage_of_counts([self.input, self.output, None, None]).unwrap_or_default();
        let truncated = self.view.finish_reason.is_none();
        ResponseView { usage, truncated, ..self.view }
    }
}

impl Completion {
    fn take(&mut self, body: &Value) {
        let word = |pointers: &[&str]| pointers.iter().find_map(|pointer| body.pointer(pointer)?.as_str());
        let number = |pointers: &[&str]| pointers.iter().find_map(|pointer| count(body, pointer));
        self.view.text.push_str(word(TEXT).unwrap_or_default());
        self.view.finish_reason = word(FINISH).map(str::to_owned).or_else(|| self.view.finish_reason.take());
        self.view.response_id = self.view.response_id.take().or_else(|| string(body, "id"));
        self.view.error = self.view.error.take().or_else(|| lenient::provider_error(body));
        self.input = number(INPUT_COUNT).or(self.input);
        self.output = number(OUTPUT_COUNT).or(self.output);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wire;
    use super::super::aws_event_stream::frame;
    use super::*;
    use serde_json::json;

    const PATH: &str =
        "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Aapplication-inference-profile%2Fabc/invoke";

    fn whole(body: &Value) -> ResponseView {
        Wire::BedrockInvoke.decode_response(200, Some("application/json"), body.to_string().as_bytes())
    }

    fn stream(events: &[Value]) -> ResponseView {
        let frames = events.iter().flat_map(|event| {
            let payload = json!({"bytes": STANDARD.encode(event.to_string()), "p": "abc"}).to_string();
            frame(&[(":event-type", "chunk"), (":message-type", "event")], payload.as_bytes())
        });
        Wire::BedrockInvoke.decode_response(200, None, &frames.collect::<Vec<u8>>())
    }

    #[test]
    fn requests_of_every_dialect() {
        for (body, expected) in [
            (
                json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 7, "messages": [{"role": "user", "content": "hi"}]}),
                Dialect::Anthropic,
            ),
            (
                json!({"inferenceConfig": {"max_new_tokens": 7}, "messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
                Dialect::Converse,
            ),
            (json!({"max_tokens": 7, "messages": [{"role": "user", "content": "hi"}]}), Dialect::Chat),
            (json!({"max_tokens": 7, "message": "hi"}), Dialect::Cohere),
            (json!({"max_gen_len": 7, "prompt": "hi"}), Dialect::Prompt),
            (json!({"max_tokens_to_sample": 7, "prompt": "hi", "anthropic_version": "b"}), Dialect::Prompt),
            (json!({"textGenerationConfig": {"maxTokenCount": 7}, "inputText": "hi"}), Dialect::Prompt),
        ] {
            assert_eq!(Dialect::of_request(&body), expected, "{body}");
            let view = decode_request(PATH, &body);
            assert_eq!(view.messages[0].parts, [Part::Text { text: "hi".into() }], "{body}");
            assert_eq!((view.max_output_tokens, view.stream), (Some(7), false), "{body}");
            assert!(view.model.unwrap().ends_with("application-inference-profile/abc"));
        }
        let view = decode_request("/model/m/invoke-with-response-stream", &Value::Null);
        assert_eq!((view.model.as_deref(), view.stream), (Some("m"), true));
    }

    #[test]
    fn whole_answers_of_every_dialect() {
        let converse = json!({"message": {"content": [{"text": "yes"}]}});
        for body in [
            json!({"type": "message", "content": [{"type": "text", "text": "yes"}], "stop_reason": "end", "usage": {"input_tokens": 1, "output_tokens": 2}}),
            json!({"output": converse, "stopReason": "end", "usage": {"inputTokens": 1, "outputTokens": 2}}),
            json!({"choices": [{"index": 0, "message": {"content": "yes"}, "stop_reason": "end"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
            json!({"response_id": "r", "generation_id": "g", "text": "yes", "finish_reason": "end", "meta": {"tokens": {"input_tokens": 1, "output_tokens": 2}}}),
            json!({"inputTextTokenCount": 1, "results": [{"tokenCount": 2, "outputText": "yes", "completionReason": "end"}]}),
            json!({"generation": "yes", "prompt_token_count": 1, "generation_token_count": 2, "stop_reason": "end"}),
            json!({"choices": [{"text": "yes", "stop_reason": "end"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        ] {
            let view = whole(&body);
            assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("yes", Some("end")), "{body}");
            assert_eq!((view.usage.input_total, view.usage.output_total), (Some(1), Some(2)), "{body}");
        }
        for body in [
            json!({"generations": [{"text": "yes", "finish_reason": "end"}], "prompt": "p"}),
            json!({"outputs": [{"text": "yes", "stop_reason": "end"}]}),
            json!({"completion": "yes", "stop_reason": "end", "stop": null}),
            json!({"completions": [{"data": {"text": "yes"}, "finishReason": {"reason": "end"}}]}),
        ] {
            let view = whole(&body);
            assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("yes", Some("end")), "{body}");
            assert!(!view.usage.is_known());
        }
    }

    #[test]
    fn streams_of_every_dialect() {
        let metrics = json!({"inputTokenCount": 1, "outputTokenCount": 2, "invocationLatency": 9});
        let with_metrics = |mut event: Value| {
            event["amazon-bedrock-invocationMetrics"] = metrics.clone();
            event
        };
        for events in [
            vec![
                json!({"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 0}}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end"}, "usage": {"output_tokens": 2}}),
                json!({"type": "message_stop"}),
            ],
            vec![
                json!({"messageStart": {"role": "assistant"}}),
                json!({"contentBlockDelta": {"delta": {"text": "yes"}, "contentBlockIndex": 0}}),
                json!({"messageStop": {"stopReason": "end"}}),
                with_metrics(json!({"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}})),
            ],
            vec![
                json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "stop_reason": null}]}),
                with_metrics(
                    json!({"choices": [{"index": 0, "message": {"content": ""}, "stop_reason": "end"}]}),
                ),
            ],
            vec![
                json!({"is_finished": false, "event_type": "text-generation", "text": "yes"}),
                with_metrics(json!({"event_type": "stream-end", "finish_reason": "end"})),
            ],
            vec![
                json!({"generation": "ye", "prompt_token_count": 1, "stop_reason": null}),
                json!({"generation": "s", "generation_token_count": 2, "stop_reason": "end"}),
            ],
            vec![with_metrics(json!({"outputs": [{"text": "yes", "stop_reason": "end"}]}))],
            vec![
                json!({"index": 0, "is_finished": false, "text": "yes"}),
                with_metrics(json!({"index": 0, "is_finished": true, "finish_reason": "end"})),
            ],
        ] {
            let view = stream(&events);
            assert_eq!(
                (view.text.as_str(), view.finish_reason.as_deref()),
                ("yes", Some("end")),
                "{events:?}"
            );
            assert_eq!((view.usage.input_total, view.usage.output_total), (Some(1), Some(2)), "{events:?}");
            assert!(view.stream && !view.truncated && view.milestones.first_content.is_some(), "{events:?}");
        }
        assert!(stream(&[json!({"generation": "ye", "stop_reason": null})]).truncated);
    }

    #[test]
    fn headers_say_what_the_body_does_not() {
        let header = |name: &str| match name {
            "x-amzn-errortype" => Some("AccessDeniedException:http://internal/"),
            "x-amzn-bedrock-input-token-count" => Some("7"),
            "x-amzn-bedrock-output-token-count" => Some("3"),
            "x-amzn-bedrock-cache-read-input-token-count" => Some("100"),
            _ => None,
        };
        let mut view = whole(&json!({"outputs": [{"text": "yes"}]}));
        add_headers(&mut view, header);
        assert_eq!((view.usage.input_total, view.usage.output_total), (Some(107), Some(3)));
        let mut view =
            whole(&json!({"generation": "x", "prompt_token_count": 1, "generation_token_count": 2}));
        add_headers(&mut view, header);
        assert_eq!(view.usage.input_total, Some(1), "the body's own counts stand");
        let mut view =
            whole(&json!({"output": {"message": {"content": [{"text": "x"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 30}}));
        add_headers(&mut view, header);
        assert_eq!((view.usage.input_total, view.usage.output_total), (Some(30), Some(3)));
        let mut view = Wire::BedrockInvoke.decode_response(403, None, b"{\"message\":\"no access\"}");
        add_headers(&mut view, header);
        assert_eq!(view.error.unwrap().kind.as_deref(), Some("AccessDeniedException"));
    }
}
