//! The whole answers that a model mostly gives: a list of text blocks in its envelope.
//!
//! What is read here is read as the general reader would read it, without building a tree of values first. An
//! answer with anything more to say does not fit these types, and goes to the general reader.

use super::super::ResponseView;
use super::super::lenient::{self, Text};
use super::super::response::AnswerDecoder;
use super::Answer;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct PlainAnswer<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    content: Vec<PlainBlock<'a>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default, rename = "error")]
    _error: (),
}

#[derive(Debug, Deserialize)]
struct PlainBlock<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

/// Reads a whole answer, if it is plain.
pub(super) fn read(body: &[u8]) -> Option<ResponseView> {
    let plain: PlainAnswer<'_> = serde_json::from_slice(body).ok()?;
    if plain.content.iter().any(|block| block.kind.0 != "text") {
        return None;
    }
    let said = |text: &Option<Text<'_>>| lenient::said(text).map(str::to_owned);
    let mut answer = Answer::default();
    if let Some(Value::Object(usage)) = plain.usage {
        answer.usage = usage.into_iter().filter(|(_, figure)| !figure.is_null()).collect();
    }
    for piece in plain.content.iter().filter_map(|block| lenient::said(&block.text)) {
        answer.view.text.push_str(piece);
    }
    let view = answer.finish();
    Some(ResponseView {
        response_model: said(&plain.model),
        response_id: said(&plain.id),
        finish_reason: said(&plain.stop_reason),
        truncated: false,
        ..view
    })
}
