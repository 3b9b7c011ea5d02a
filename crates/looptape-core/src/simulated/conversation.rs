//! What the simulated provider reads from a request: how far the conversation is, and how long.
//!
//! It reads only what the provider needs to answer, leniently: a shape that it does not know counts as text. It
//! is not the wire decoder; that one must understand real traffic, this one plays the other side.

use super::{Endpoint, Format, Framing};
use crate::twin::{Caching, PromptPart};
use serde_json::Value;
use std::borrow::Cow;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A request as the provider sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) format: Format,
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
    /// What may be cached: Anthropic's clients mark it.
    pub(crate) caching: Caching,
    /// The prompt's prefixes: what stands before the messages, then each message. Cache marks, which move from
    /// step to step, are no part of what a prefix is.
    pub(crate) prompt: Vec<PromptPart>,
    /// What its user said first: the same in all steps of a loop.
    pub(crate) opening: u64,
    /// The turns that the model has had.
    pub(crate) model_turns: usize,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) wants_tools: WantsTools,
}

/// What the client says about calling tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WantsTools {
    AsTheModelLikes,
    Never,
    Always,
    This(String),
}

/// Tokens of a text, by the rule of thumb of four bytes each.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// What each message costs beyond its text.
const MESSAGE_OVERHEAD_TOKENS: u64 = 4;

impl Conversation {
    pub(crate) fn read(endpoint: &Endpoint, body: &Value) -> Self {
        let format = endpoint.format;
        let history = history(format, body);
        let model = endpoint.model.clone().unwrap_or_else(|| text_of(&body["model"]).to_owned());
        let prompt = prompt(format, &model, body, &history);
        let tokens = |messages: usize| prompt.get(messages).map_or(0, |part| part.tokens);
        let known = before_last_answer(&history);
        Self {
            format,
            model,
            framing: match endpoint.framing {
                Framing::BodyDecides if body["stream"] == Value::Bool(true) => Framing::Events,
                Framing::BodyDecides => Framing::Whole,
                fixed => fixed,
            },
            tools: tools(format, body).filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect(),
            tool_results: history.iter().map(|m| results_in(format, m)).sum(),
            last_user_text: history.iter().rev().map(user_text).find(|t| !t.is_empty()).unwrap_or_default(),
            input_tokens: tokens(history.len()),
            prefix_tokens: if known == 0 { 0 } else { tokens(known) },
            caching: caching(format, body, &history),
            prompt,
            opening: history.iter().find(|m| is_from_user(m)).map_or(0, |m| xxh3_64(&unmarked(format, m))),
            model_turns: model_turns(&history),
            max_output_tokens: max_output_tokens(format, body),
            wants_tools: wants_tools(format, body),
        }
    }

    /// The text of the newest message, where a client says what it wants to hear.
    pub(crate) fn newest_text(format: Format, body: &Value) -> String {
        history(format, body).last().map(|message| message.to_string()).unwrap_or_default()
    }
}

/// What stands before the messages, then each message.
fn prompt(format: Format, model: &str, body: &Value, history: &[Value]) -> Vec<PromptPart> {
    let mut part = PromptPart { prefix: xxh3_64(model.as_bytes()), tokens: 0 };
    for field in ["system", "instructions", "systemInstruction", "tools"] {
        if !body[field].is_null() {
            let text = body[field].to_string();
            part.tokens += tokens_of(text.len());
            part.prefix = xxh3_64_with_seed(&unmarked(format, &body[field]), part.prefix);
        }
    }
    let mut prompt = vec![part];
    for message in history {
        let text = message.to_string();
        part.tokens += tokens_of(text.len()) + MESSAGE_OVERHEAD_TOKENS;
        let content =
            if marks_cache(format, message) { unmarked(format, message) } else { text.into_bytes().into() };
        part.prefix = xxh3_64_with_seed(&content, part.prefix);
        prompt.push(part);
    }
    prompt
}

/// Anthropic's clients mark up to where to cache, the others leave it to the provider.
fn caching(format: Format, body: &Value, history: &[Value]) -> Caching {
    if format != Format::AnthropicMessages {
        return Caching::Automatic;
    }
    // A mark on the request itself is one on its last message.
    if body.get("cache_control").is_some_and(|mark| !mark.is_null()) {
        return Caching::Marked { parts: history.len() + 1 };
    }
    let preamble =
        usize::from(mentions_cache_control(&body["system"]) || mentions_cache_control(&body["tools"]));
    let parts = history.iter().rposition(mentions_cache_control).map_or(preamble, |last| last + 2);
    Caching::Marked { parts }
}

fn marks_cache(format: Format, value: &Value) -> bool {
    format == Format::AnthropicMessages && mentions_cache_control(value)
}

/// What a value is without its cache marks.
fn unmarked(format: Format, value: &Value) -> Cow<'static, [u8]> {
    if !marks_cache(format, value) {
        return value.to_string().into_bytes().into();
    }
    let mut bare = value.clone();
    remove_marks(&mut bare);
    bare.to_string().into_bytes().into()
}

fn remove_marks(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("cache_control");
            fields.values_mut().for_each(remove_marks);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_marks),
        _ => {}
    }
}

/// Runs of the model's messages: in some formats one turn is several.
fn model_turns(history: &[Value]) -> usize {
    let mut is_speaking = false;
    history
        .iter()
        .filter(|message| {
            let was_speaking = std::mem::replace(&mut is_speaking, is_from_model(message));
            is_speaking && !was_speaking
        })
        .count()
}

fn max_output_tokens(format: Format, body: &Value) -> Option<u64> {
    let stated = match format {
        Format::OpenAiChat => body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        Format::OpenAiResponses => body["max_output_tokens"].as_u64(),
        Format::AnthropicMessages => body["max_tokens"].as_u64(),
        Format::GeminiGenerate => {
            let config = body.get("generationConfig").or(body.get("generation_config"));
            config.and_then(|c| c["maxOutputTokens"].as_u64().or(c["max_output_tokens"].as_u64()))
        }
    };
    stated.filter(|most| *most > 0)
}

fn wants_tools(format: Format, body: &Value) -> WantsTools {
    let gemini = &body["toolConfig"]["functionCallingConfig"];
    let (word, name) = match format {
        Format::OpenAiChat => {
            let choice = &body["tool_choice"];
            (choice.as_str().or(choice["type"].as_str()), choice["function"]["name"].as_str())
        }
        Format::OpenAiResponses | Format::AnthropicMessages => {
            let choice = &body["tool_choice"];
            (choice.as_str().or(choice["type"].as_str()), choice["name"].as_str())
        }
        Format::GeminiGenerate => (gemini["mode"].as_str(), gemini["allowedFunctionNames"][0].as_str()),
    };
    match (word.map(str::to_ascii_lowercase).as_deref(), name) {
        (Some("none"), _) => WantsTools::Never,
        (_, Some(name)) => WantsTools::This(name.to_owned()),
        (Some("required" | "any"), None) => WantsTools::Always,
        _ => WantsTools::AsTheModelLikes,
    }
}

/// The functions that the request offers, each as the object that holds its name and its schema.
pub(crate) fn tools<'a>(format: Format, body: &'a Value) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    match format {
        Format::OpenAiChat => Box::new(tools.map(|tool| &tool["function"])),
        Format::OpenAiResponses | Format::AnthropicMessages => Box::new(tools),
        Format::GeminiGenerate => Box::new(
            tools
                .filter_map(|t| t.get("functionDeclarations").or(t.get("function_declarations"))?.as_array())
                .flatten(),
        ),
    }
}

/// The JSON schema of a function's arguments, under whatever name the format has for it.
pub(crate) fn schema(tool: &Value) -> Option<&Value> {
    ["parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema"]
        .iter()
        .find_map(|name| tool.get(*name))
}

/// The elements of the message array; a plain string input is one user message.
fn history(format: Format, body: &Value) -> Cow<'_, [Value]> {
    let field = match format {
        Format::OpenAiChat | Format::AnthropicMessages => "messages",
        Format::OpenAiResponses => "input",
        Format::GeminiGenerate => "contents",
    };
    match &body[field] {
        Value::Array(messages) => Cow::Borrowed(messages),
        Value::String(text) => vec![serde_json::json!({ "role": "user", "content": text })].into(),
        _ => Cow::Borrowed(&[]),
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

fn is_from_user(message: &Value) -> bool {
    matches!(text_of(&message["role"]), "user" | "") && !is_from_model(message)
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

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
