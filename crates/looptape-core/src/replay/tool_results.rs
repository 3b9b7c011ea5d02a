//! Which tool a result in a history is of, in any format: by the call that it answers.

use super::components::Piece;
use crate::canonical::Json;

/// Members by which calls are named, and by which results name them.
const CALL_IDS: [&str; 3] = ["id", "call_id", "toolUseId"];
const RESULT_IDS: [&str; 4] = ["tool_call_id", "call_id", "tool_use_id", "toolUseId"];

/// The name of the tool whose result stands at `pointer`.
pub(super) fn tool_of(history: &[Piece<'_>], pointer: &str) -> Option<String> {
    let rest = |piece: &Piece<'_>| {
        let rest = pointer.strip_prefix(piece.pointer.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
    };
    let (at, rest) = history.iter().enumerate().find_map(|(at, piece)| Some((at, rest(piece)?)))?;
    let result = innermost(history[at].json, &rest)?;
    if let Some(name) = own_name(result) {
        return Some(name);
    }
    let id = RESULT_IDS.iter().find_map(|name| text(result, name))?;
    history[..at].iter().rev().find_map(|piece| name_of_call(piece.json, &id))
}

/// The innermost value on the way to `pointer` that says which call it answers.
fn innermost<'j>(message: &'j Json<'j>, pointer: &str) -> Option<&'j Json<'j>> {
    let answers =
        |json: &Json<'_>| own_name(json).is_some() || RESULT_IDS.iter().any(|name| json.get(name).is_some());
    let mut found = answers(message).then_some(message);
    let mut at = message;
    for segment in pointer.split('/').skip(1) {
        let next = match at {
            Json::Object(_) => at.get(segment),
            Json::Array(items) => segment.parse().ok().and_then(|index: usize| items.get(index)),
            _ => None,
        };
        let Some(next) = next else { break };
        at = next;
        if answers(at) {
            found = Some(at);
        }
    }
    found
}

/// Results that carry the tool's name themselves (Gemini, Ollama).
fn own_name(result: &Json<'_>) -> Option<String> {
    match (result.get("response"), text(result, "name"), text(result, "tool_name")) {
        (Some(_), Some(name), _) | (_, _, Some(name)) => Some(name),
        _ => None,
    }
}

fn name_of_call(json: &Json<'_>, id: &str) -> Option<String> {
    match json {
        Json::Array(items) => items.iter().find_map(|item| name_of_call(item, id)),
        Json::Object(members) => {
            let is_it = CALL_IDS.iter().any(|name| text(json, name).as_deref() == Some(id));
            let name = || text(json, "name").or_else(|| text(json.get("function")?, "name"));
            is_it
                .then(name)
                .flatten()
                .or_else(|| members.iter().find_map(|(_, value)| name_of_call(value, id)))
        }
        _ => None,
    }
}

fn text(json: &Json<'_>, member: &str) -> Option<String> {
    json.get(member).and_then(Json::as_text).map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::components::Split;
    use crate::wire::Wire;

    #[test]
    fn every_way_of_naming_a_call() {
        for (wire, body, pointer) in [
            (
                Wire::OpenAiChat,
                r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"other"}},{"id":"b","function":{"name":"search"}}]},{"role":"tool","tool_call_id":"a","content":"x"},{"role":"tool","tool_call_id":"b","content":"y"}]}"#,
                "/messages/2/content",
            ),
            (
                Wire::OpenAiResponses,
                r#"{"input":[{"type":"function_call","id":"fc","call_id":"b","name":"search"},{"type":"function_call_output","call_id":"b","output":"y"}]}"#,
                "/input/1/output",
            ),
            (
                Wire::AnthropicMessages,
                r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"other"},{"type":"tool_use","id":"b","name":"search"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"},{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"y"}]}]}]}"#,
                "/messages/1/content/1/content/0/text",
            ),
            (
                Wire::GeminiGenerate,
                r#"{"contents":[{"role":"user","parts":[{"functionResponse":{"name":"search","response":{"is":"y"}}}]}]}"#,
                "/contents/0/parts/0/functionResponse/response/is",
            ),
            (
                Wire::BedrockConverse,
                r#"{"messages":[{"role":"assistant","content":[{"toolUse":{"toolUseId":"b","name":"search"}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"b","content":[{"text":"y"}]}}]}]}"#,
                "/messages/1/content/0/toolResult/content/0/text",
            ),
        ] {
            let json = Json::parse(body.as_bytes()).unwrap();
            let split = Split::new(Some(wire), &json);
            assert_eq!(tool_of(&split.history, pointer).as_deref(), Some("search"), "{wire:?}");
        }
    }

    #[test]
    fn a_result_of_no_known_call_has_no_name() {
        let body = r#"{"messages":[{"role":"tool","tool_call_id":"b","content":"y"}]}"#;
        let json = Json::parse(body.as_bytes()).unwrap();
        let split = Split::new(Some(Wire::OpenAiChat), &json);
        assert_eq!(tool_of(&split.history, "/messages/0/content"), None);
        assert_eq!(tool_of(&split.history, "/model"), None);
    }
}
