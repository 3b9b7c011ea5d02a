//! Bodies in pieces: server-sent events, JSON arrays, whole documents.

use super::script::Pace;
use super::{Carries, SimChunk, SimEnding, SimResponse};
use serde_json::Value;

/// A streamed body as it grows.
#[derive(Debug)]
pub(crate) struct Stream {
    pace: Pace,
    chunks: Vec<SimChunk>,
}

impl Stream {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, chunks: Vec::new() }
    }

    /// `data:` alone, as OpenAI Chat Completions sends it.
    pub(crate) fn data(&mut self, data: &Value) {
        self.piece(format!("data: {data}\n\n"));
    }

    /// Says that the last piece carries some of what the model says.
    pub(crate) fn said(&mut self) {
        if let Some(last) = self.chunks.last_mut() {
            last.carries = Carries::Output;
        }
    }

    /// `event:` and `data:`; the name is the data's own `type`.
    pub(crate) fn event(&mut self, data: &Value) {
        let name = data["type"].as_str().unwrap_or("message");
        self.piece(format!("event: {name}\ndata: {data}\n\n"));
    }

    pub(crate) fn piece(&mut self, text: String) {
        let delay_us = if self.chunks.is_empty() { self.pace.first_us } else { self.pace.between_us };
        self.chunks.push(SimChunk { delay_us, carries: Carries::Frame, bytes: text.into_bytes() });
    }

    /// Appends to the last piece: servers often send the terminal line together with the last event.
    pub(crate) fn append(&mut self, text: &str) {
        match self.chunks.last_mut() {
            Some(last) => last.bytes.extend_from_slice(text.as_bytes()),
            None => self.piece(text.to_owned()),
        }
    }

    pub(crate) fn finish(self, headers: Vec<(&'static str, String)>) -> SimResponse {
        SimResponse { status: 200, headers, chunks: self.chunks, ending: SimEnding::Complete }
    }
}

/// One JSON document in one piece, after the time that `output_pieces` streamed pieces would have taken.
pub(crate) fn whole(
    pace: Pace,
    output_pieces: usize,
    headers: Vec<(&'static str, String)>,
    body: &Value,
) -> SimResponse {
    let pieces = u64::try_from(output_pieces).unwrap_or(u64::MAX);
    let delay_us = pace.first_us.saturating_add(pace.between_us.saturating_mul(pieces));
    let chunks = vec![SimChunk { delay_us, carries: Carries::Output, bytes: body.to_string().into_bytes() }];
    SimResponse { status: 200, headers, chunks, ending: SimEnding::Complete }
}

/// An event of which only some values change from piece to piece: written once, then filled.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    /// Stands for a value that changes.
    pub(crate) const GAP: &str = "\u{1}";

    /// `event` with [`Pattern::GAP`] in the places of what changes, in the order in which it is written.
    pub(crate) fn new(event: &Value) -> Self {
        Self(event.to_string().split("\"\\u0001\"").map(str::to_owned).collect())
    }

    /// The event's JSON with these values in the gaps.
    pub(crate) fn fill(&self, values: &[&Value]) -> String {
        let mut text = String::with_capacity(self.0.iter().map(String::len).sum::<usize>() + 32);
        for (place, between) in self.0.iter().enumerate() {
            text.push_str(between);
            if let Some(value) = values.get(place) {
                text.push_str(&value.to_string());
            }
        }
        text
    }
}

/// A text split after each space: about a token a piece. Joined they are the text.
pub(crate) fn words(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

/// JSON text in pieces of about seven bytes, never inside a character. Joined they are the text.
pub(crate) fn fragments(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let cut = (7..rest.len()).find(|&i| rest.is_char_boundary(i)).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(cut);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
