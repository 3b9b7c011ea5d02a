//! The chunks that a stream is mostly made of: a piece of text, reasoning or arguments of choice 0 in its
//! envelope, and nothing else.
//!
//! What is read here is read as the general reader would read it. A chunk with anything more to say does not
//! fit these types, and goes to the general reader.

use super::super::lenient::Text;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct PlainChunk<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) choices: (PlainChoice<'a>,),
    #[serde(default, rename = "error")]
    _error: (),
    #[serde(default, rename = "usage")]
    _usage: (),
    #[serde(default, rename = "x_groq")]
    _x_groq: (),
}

#[derive(Debug, Deserialize)]
pub(super) struct PlainChoice<'a> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) delta: PlainDelta<'a>,
    #[serde(default, rename = "finish_reason")]
    _finish_reason: (),
    #[serde(default, rename = "stop_reason")]
    _stop_reason: (),
    #[serde(default, rename = "error")]
    _error: (),
    #[serde(default, rename = "usage")]
    _usage: (),
}

#[derive(Debug, Deserialize)]
pub(super) struct PlainDelta<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<(PlainFragment<'a>,)>,
    #[serde(default, rename = "refusal")]
    _refusal: (),
    #[serde(default, rename = "function_call")]
    _function_call: (),
    #[serde(default, rename = "executed_tools")]
    _executed_tools: (),
}

/// A piece of the arguments of a call that has begun.
#[derive(Debug, Deserialize)]
pub(super) struct PlainFragment<'a> {
    pub(super) index: i64,
    #[serde(borrow)]
    pub(super) function: PlainFunction<'a>,
    #[serde(default, rename = "id")]
    _id: (),
    #[serde(default, rename = "custom")]
    _custom: (),
}

#[derive(Debug, Deserialize)]
pub(super) struct PlainFunction<'a> {
    #[serde(borrow)]
    pub(super) arguments: Text<'a>,
    #[serde(default, rename = "name")]
    _name: (),
}
