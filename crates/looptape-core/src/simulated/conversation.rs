//! What the simulated provider reads from a request: how far the conversation is, and how long.
//!
//! It reads only what the script needs, leniently: a shape that it does not know counts as text. It is
//! not the wire decoder; that one must understand real traffic, this one plays the other side.

use super::{Endpoint, Format, Framing};
use serde_json::Value;

/// A request as the script sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) model: String,
    pub(crate) framing: Framing,
    /// Names of the tools offered.
    pub(crate) tools: Vec<String>,
    /// Tool results in the whole history.
    pub(crate) tool_results: usize,
    pub(crate) last_user_text: String,
    /// Tokens of the whole input.
    pub(crate) input_tokens: u64,
    /// Tokens of what the previous request of this conversation held; 0 for its first.
    pub(crate) prefix_tokens: u64,
    /// Whether the client marked what to cache (Anthropic).
    pub(crate) marks_cache: bool,
}

/// Tokens of a text, by the rule of thumb of four bytes each.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// What each message costs beyond its text.
const MESSAGE_OVERHEAD_TOKENS: u64 = 4;

impl Conversation {
    pub(crate) fn read(endpoint: &Endpoint, body: &Value) -> Self {
        let history = history(endpoint.format, body);
        let preamble: u64 = ["system", "instructions", "systemInstruction", "tools"]
            .iter()
            .map(|k| json_tokens(&body[*k]))
            .sum();
        let tokens = |messages: &[Value]| {
            preamble + messages.iter().map(|m| json_tokens(m) + MESSAGE_OVERHEAD_TOKENS).sum::<u64>()
        };
        let known = before_last_answer(&history);
        Self {
            model: endpoint.model.clone().unwrap_or_else(|| text_of(&body["model"]).to_owned()),
            framing: match endpoint.framing {
                Framing::BodyDecides if body["stream"] == Value::Bool(true) => Framing::Events,
                Framing::BodyDecides => Framing::Whole,
                fixed => fixed,
            },
            tools: tool_names(endpoint.format, body),
            tool_results: history.iter().map(|m| results_in(endpoint.format, m)).sum(),
            last_user_text: history.iter().rev().map(user_text).find(|t| !t.is_empty()).unwrap_or_default(),
            input_tokens: tokens(&history),
            prefix_tokens: if known == 0 { 0 } else { tokens(&history[..known]) },
            marks_cache: mentions_cache_control(body),
        }
    }
}

/// The elements of the message array; a plain string input is one user message.
fn history(format: Format, body: &Value) -> Vec<Value> {
    let field = match format {
        Format::OpenAiChat | Format::AnthropicMessages => "messages",
        Format::OpenAiResponses => "input",
        Format::GeminiGenerate => "contents",
    };
    match &body[field] {
        Value::Array(messages) => messages.clone(),
        Value::String(text) => vec![serde_json::json!({ "role": "user", "content": text })],
        _ => Vec::new(),
    }
}

/// How many messages stand before the last answer of the model; 0 if it has not answered yet.
fn before_last_answer(history: &[Value]) -> usize {
    let Some(end) = history.iter().rposition(is_from_model) else { return 0 };
    history[..end].iter().rposition(|m| !is_from_model(m)).map_or(0, |last| last + 1)
}

fn is_from_model(message: &Value) -> bool {
    matches!(text_of(&message["role"]), "assistant" | "model")
        || matches!(text_of(&message["type"]), "function_call" | "reasoning")
}

fn results_in(format: Format, message: &Value) -> usize {
    let parts = |field: &str, is_result: fn(&Value) -> bool| {
        message[field].as_array().map_or(0, |parts| parts.iter().filter(|p| is_result(p)).count())
    };
    match format {
        Format::OpenAiChat => usize::from(message["role"] == "tool"),
        Format::OpenAiResponses => usize::from(message["type"] == "function_call_output"),
        Format::AnthropicMessages => parts("content", |p| p["type"] == "tool_result"),
        Format::GeminiGenerate => {
            parts("parts", |p| p.get("functionResponse").or(p.get("function_response")).is_some())
        }
    }
}

fn tool_names(format: Format, body: &Value) -> Vec<String> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |v: &Value| v["name"].as_str().map(str::to_owned);
    match format {
        Format::OpenAiChat => tools.iter().filter_map(|t| name(&t["function"])).collect(),
        Format::OpenAiResponses | Format::AnthropicMessages => tools.iter().filter_map(name).collect(),
        Format::GeminiGenerate => tools
            .iter()
            .filter_map(|t| t.get("functionDeclarations").or(t.get("function_declarations"))?.as_array())
            .flatten()
            .filter_map(name)
            .collect(),
    }
}

/// The text that a user's message holds; empty for other roles.
fn user_text(message: &Value) -> String {
    if !matches!(text_of(&message["role"]), "user" | "") {
        return String::new();
    }
    match message.get("content").or(message.get("parts")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(|p| text_of(&p["text"])).collect(),
        _ => String::new(),
    }
}

fn mentions_cache_control(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.contains_key("cache_control") || fields.values().any(mentions_cache_control)
        }
        Value::Array(items) => items.iter().any(mentions_cache_control),
        _ => false,
    }
}

fn json_tokens(value: &Value) -> u64 {
    if value.is_null() { 0 } else { tokens_of(value.to_string().len()) }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
