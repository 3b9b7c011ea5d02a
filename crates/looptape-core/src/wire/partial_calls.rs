//! Tool calls of a stream that begins each call once, under an index, and then gives its arguments as
//! pieces of JSON text under the same index (Anthropic, Bedrock, Cohere).
//!
//! OpenAI's fragments are not read here: their index may be missing or wrong.

use super::ToolCall;
use super::lenient;

/// The calls of an answer so far, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct PartialCalls {
    calls: Vec<PartialCall>,
}

#[derive(Debug)]
struct PartialCall {
    index: u64,
    call: ToolCall,
    arguments_json: String,
}

impl PartialCalls {
    /// Begins a call; `call` holds the arguments that stand if no pieces come.
    pub(super) fn begin(&mut self, index: u64, call: ToolCall) {
        self.calls.push(PartialCall { index, call, arguments_json: String::new() });
    }

    /// Adds a piece to the latest call of that index. Pieces of anything else (a server's tool) are dropped.
    pub(super) fn add_arguments(&mut self, index: u64, piece: &str) {
        if let Some(partial) = self.calls.iter_mut().rfind(|partial| partial.index == index) {
            partial.arguments_json.push_str(piece);
        }
    }

    /// The calls, put together.
    pub(super) fn join(self) -> Vec<ToolCall> {
        self.calls.into_iter().map(PartialCall::join).collect()
    }
}

impl PartialCall {
    fn join(self) -> ToolCall {
        if self.arguments_json.is_empty() {
            return self.call;
        }
        ToolCall { arguments: lenient::arguments(&self.arguments_json), ..self.call }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn call(name: &str, arguments: Value) -> ToolCall {
        ToolCall { id: None, name: name.to_owned(), arguments }
    }

    #[test]
    fn pieces_go_to_the_latest_call_of_their_index() {
        let mut calls = PartialCalls::default();
        calls.begin(1, call("a", json!({})));
        calls.begin(2, call("b", json!({})));
        calls.add_arguments(1, "{\"x\":");
        calls.add_arguments(2, "{\"y\":2}");
        calls.add_arguments(1, "1}");
        calls.add_arguments(9, "lost");
        calls.begin(1, call("c", json!({"z": 0})));
        calls.begin(2, call("d", json!({})));
        calls.add_arguments(2, "{\"cut");
        assert_eq!(
            calls.join(),
            [
                call("a", json!({"x": 1})),
                call("b", json!({"y": 2})),
                call("c", json!({"z": 0})),
                call("d", json!("{\"cut")),
            ]
        );
    }
}
