//! Scripts as they are written in TOML.
//!
//! ```toml
//! [[turn]]
//! text = "Let me look."
//! calls = [{ name = "get_weather", arguments = { city = "Oslo" } }]
//!
//! [[turn]]
//! text = "It rains in Oslo."
//! ```
//!
//! A turn plays when the calls of the turns before it have their results; `after_tool_results` says otherwise.

use super::script::{PlannedCall, Script, Turn};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(alias = "turns")]
    turn: Vec<WrittenTurn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct WrittenTurn {
    after_tool_results: Option<usize>,
    text: String,
    calls: Vec<WrittenCall>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall {
    name: String,
    #[serde(default = "no_arguments")]
    arguments: Value,
}

fn no_arguments() -> Value {
    Value::Object(serde_json::Map::new())
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let mut results = 0;
        let mut turns: Vec<Turn> = written
            .turn
            .into_iter()
            .map(|turn| {
                let after_tool_results = turn.after_tool_results.unwrap_or(results);
                results = after_tool_results + turn.calls.len();
                let calls = turn.calls.into_iter();
                Turn {
                    after_tool_results,
                    rejections: Vec::new(),
                    text: turn.text,
                    calls: calls
                        .map(|call| PlannedCall { name: call.name, arguments: call.arguments })
                        .collect(),
                }
            })
            .collect();
        turns.sort_by_key(|turn| turn.after_tool_results);
        Ok(Self { turns, ..Self::tool_loop() })
    }
}
