//! The whole answers that a model mostly gives: one choice with a text, reasoning or calls, in its envelope.
//!
//! What is read here is read as the general reader would read it, without building a tree of values first. An
//! answer with anything more to say does not fit these types, and goes to the general reader.

use super::super::lenient::Text;
use super::super::{ResponseView, openai_usage};
use super::tool_call;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct PlainAnswer<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    choices: (PlainChoice<'a>,),
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default, rename = "error")]
    _error: (),
    #[serde(default, rename = "x_groq")]
    _x_groq: (),
}

#[derive(Debug, Deserialize)]
struct PlainChoice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow)]
    message: PlainMessage<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default, rename = "stop_reason")]
    _stop_reason: (),
    #[serde(default, rename = "error")]
    _error: (),
    #[serde(default, rename = "usage")]
    _usage: (),
}

#[derive(Debug, Deserialize)]
struct PlainMessage<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(default)]
    tool_calls: Option<Vec<Value>>,
    #[serde(default, rename = "refusal")]
    _refusal: (),
    #[serde(default, rename = "function_call")]
    _function_call: (),
    #[serde(default, rename = "executed_tools")]
    _executed_tools: (),
}

/// Reads a whole answer, if it is plain.
pub(super) fn read(body: &[u8]) -> Option<ResponseView> {
    let answer: PlainAnswer<'_> = serde_json::from_slice(body).ok()?;
    let (choice,) = answer.choices;
    if choice.index.unwrap_or(0) != 0 {
        return None;
    }
    let message = choice.message;
    let said = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned()).filter(|text| !text.is_empty());
    let usage = answer.usage.filter(Value::is_object);
    Some(ResponseView {
        response_model: said(answer.model),
        response_id: said(answer.id),
        service_tier: said(answer.service_tier),
        finish_reason: choice.finish_reason.map(|reason| reason.0.into_owned()),
        text: said(message.content).unwrap_or_default(),
        reasoning: said(message.reasoning_content).or_else(|| said(message.reasoning)).unwrap_or_default(),
        tool_calls: message.tool_calls.iter().flatten().map(tool_call).collect(),
        stated_cost_usd: usage.as_ref().and_then(openai_usage::stated_cost_usd),
        usage: usage.as_ref().map(openai_usage::read).unwrap_or_default(),
        ..ResponseView::default()
    })
}
