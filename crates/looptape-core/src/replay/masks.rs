//! Masks: what an agent's own harness measures and writes beside the words of people, tools and models,
//! such as how long a command took. It differs from run to run.
//!
//! A mask replaces a value that stands behind a known label, in the strings of tool results and in the
//! accounting header of a system prompt, and nowhere else; the label stays, and so does every word beside
//! it. Bodies without a label come back as they are. Applying masks twice changes nothing.
//!
//! It does not guess: a date, a path or an id without its label counts as it is.

use crate::canonical::Json;
use std::borrow::Cow;

/// What may stand behind a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Hex,
    Number,
    /// All up to the next semicolon.
    Field,
}

type Label = (&'static str, Value);

/// Labels as they stand in the text of a tool result. All of them observed.
const IN_RESULTS: &[Label] = &[
    // codex: what it puts before a command's output.
    ("Chunk ID: ", Value::Hex),
    ("Wall time: ", Value::Number),
    ("Wall time ", Value::Number),
    // codex: the same as a JSON text.
    ("\"chunk_id\":\"", Value::Hex),
    ("\"wall_time_seconds\":", Value::Number),
    // gemini-cli: what it puts behind a command's output.
    ("Process Group PGID: ", Value::Number),
];

/// With this claude-code begins a system prompt; observed where its base is Anthropic's own.
const ACCOUNTING: &[u8] = b"x-anthropic-billing-header: ";

/// In that header: a checksum of the request, the request before it, and the prompt's id.
const IN_ACCOUNTING: &[Label] =
    &[(" cch=", Value::Field), (" cc_prev_req=", Value::Field), (" cc_prompt_id=", Value::Field)];

/// What stands in place of a masked value; it is no value itself, so that masking ends.
const MASK: &[u8] = b"[masked]";

/// A request body with its masks applied: compact JSON if there were any, else as it was.
pub(super) fn mask(body: &[u8]) -> Cow<'_, [u8]> {
    if !may_hold_label(body) {
        return Cow::Borrowed(body);
    }
    let Some(mut json) = Json::parse(body) else { return Cow::Borrowed(body) };
    if mask_results(&mut json) | mask_accounting(&mut json) {
        Cow::Owned(json.to_readable().into_bytes())
    } else {
        Cow::Borrowed(body)
    }
}

/// Whether the first word of a label stands anywhere: raw JSON may spell the rest with escapes.
fn may_hold_label(body: &[u8]) -> bool {
    let holds = |word: &str| memchr::memmem::find(body, word.as_bytes()).is_some();
    ["Chunk ID", "Wall time", "chunk_id", "wall_time_seconds", "Process Group PGID", "x-anthropic-billing"]
        .into_iter()
        .any(holds)
}

/// Masks every tool result of a history, in whatever format; whether there was anything to mask.
fn mask_results(body: &mut Json<'_>) -> bool {
    let mut masked = false;
    for field in ["messages", "input", "contents"] {
        let Some(Json::Array(messages)) = member(body, field) else { continue };
        for message in messages {
            if is_tool_result(message) {
                masked |= mask_member(message, "content") | mask_member(message, "output");
            }
            for parts in ["content", "parts"] {
                let Some(Json::Array(parts)) = member(message, parts) else { continue };
                for part in parts {
                    masked |= mask_part(part);
                }
            }
        }
    }
    masked
}

/// Masks the accounting header among the blocks of a system prompt.
fn mask_accounting(body: &mut Json<'_>) -> bool {
    let Some(Json::Array(blocks)) = member(body, "system") else { return false };
    let texts = blocks.iter_mut().filter_map(|block| member(block, "text"));
    let headers = texts.filter(|text| matches!(text, Json::String(t) if t.starts_with(ACCOUNTING)));
    headers.fold(false, |any, header| mask_strings(header, IN_ACCOUNTING) | any)
}

fn is_tool_result(message: &Json<'_>) -> bool {
    let text = |field| message.get(field).and_then(Json::as_text).unwrap_or_default();
    text("role") == "tool" || text("type").ends_with("_output")
}

fn mask_part(part: &mut Json<'_>) -> bool {
    if part.get("type").and_then(Json::as_text).is_some_and(|kind| kind == "tool_result") {
        return mask_member(part, "content");
    }
    ["functionResponse", "function_response"]
        .into_iter()
        .filter_map(|name| member(part, name).map(|response| mask_member(response, "response")))
        .fold(false, |any, masked| any | masked)
}

fn mask_member(json: &mut Json<'_>, name: &str) -> bool {
    member(json, name).is_some_and(|json| mask_strings(json, IN_RESULTS))
}

fn member<'j, 'a>(json: &'j mut Json<'a>, name: &str) -> Option<&'j mut Json<'a>> {
    let Json::Object(members) = json else { return None };
    members.iter_mut().find(|(key, _)| key.as_ref() == name.as_bytes()).map(|(_, value)| value)
}

/// Masks every string in a value.
fn mask_strings(json: &mut Json<'_>, labels: &[Label]) -> bool {
    match json {
        Json::String(text) => match mask_text(text, labels) {
            Some(masked) => {
                *text = Cow::Owned(masked);
                true
            }
            None => false,
        },
        Json::Array(items) => items.iter_mut().fold(false, |any, item| mask_strings(item, labels) | any),
        Json::Object(members) => {
            members.iter_mut().fold(false, |any, (_, item)| mask_strings(item, labels) | any)
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// The text with the values behind its labels replaced; `None` if it holds none.
fn mask_text(text: &[u8], labels: &[Label]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut kept, mut at) = (0, 0);
    while at < text.len() {
        let Some((label, value)) = labelled(&text[at..], labels) else {
            at += 1;
            continue;
        };
        out.extend_from_slice(&text[kept..at + label]);
        out.extend_from_slice(MASK);
        at += label + value;
        kept = at;
    }
    (kept > 0).then(|| {
        out.extend_from_slice(&text[kept..]);
        out
    })
}

/// The lengths of the label with which the text begins, and of the value behind it.
fn labelled(text: &[u8], labels: &[Label]) -> Option<(usize, usize)> {
    labels.iter().find_map(|(label, kind)| {
        let rest = text.strip_prefix(label.as_bytes())?;
        let belongs = |byte: &u8| match kind {
            Value::Hex => byte.is_ascii_hexdigit(),
            Value::Number => byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'-'),
            Value::Field => *byte != b';',
        };
        let length = rest.iter().take_while(|byte| belongs(byte)).count();
        let is_value = rest.first().is_some_and(|first| match kind {
            Value::Hex => first.is_ascii_hexdigit(),
            Value::Number => first.is_ascii_digit(),
            Value::Field => *first != b';',
        });
        is_value.then_some((label.len(), length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let masked = |text: &str| Json::parse(&mask(text.as_bytes())).unwrap().to_readable();
        masked(a) == masked(b)
    }

    #[test]
    fn measurements_are_masked() {
        for (format, a, b) in [
            (
                r#"{"input":[{"type":"function_call_output","output":"Chunk ID: @\nOutput:\nhi"}]}"#,
                "1515fe",
                "7c51ad",
            ),
            (
                r#"{"input":[{"type":"custom_tool_call_output","output":[{"type":"input_text","text":"Wall time @ seconds"}]}]}"#,
                "0.4",
                "12.0001",
            ),
            (
                r#"{"input":[{"type":"function_call_output","output":"{\"wall_time_seconds\":@,\"exit_code\":0}"}]}"#,
                "1e-5",
                "0.00001019",
            ),
            (
                r#"{"contents":[{"parts":[{"functionResponse":{"response":{"output":"hi\nProcess Group PGID: @\n"}}}]}]}"#,
                "11409",
                "11943",
            ),
            (r#"{"messages":[{"role":"tool","content":"Wall time: @ seconds"}]}"#, "1", "2"),
            (
                r#"{"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=1; cch=@;"}]}"#,
                "eae7b",
                "efbf7",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"Chunk ID: @"}]}]}]}"#,
                "a1",
                "b2",
            ),
        ] {
            let (a, b) = (format.replace('@', a), format.replace('@', b));
            assert!(same(&a, &b), "{a} and {b}");
            let once = mask(a.as_bytes());
            assert_eq!(mask(&once), once, "masking ends: {a}");
        }
    }

    #[test]
    fn everything_else_counts() {
        for (a, b) in [
            // Another word beside the label.
            (
                r#"{"messages":[{"role":"tool","content":"Wall time: 1 seconds, ok"}]}"#,
                r#"{"messages":[{"role":"tool","content":"Wall time: 1 seconds, no"}]}"#,
            ),
            // No value behind the label.
            (
                r#"{"messages":[{"role":"tool","content":"Chunk ID: none"}]}"#,
                r#"{"messages":[{"role":"tool","content":"Chunk ID: zone"}]}"#,
            ),
            // Not a tool's result.
            (
                r#"{"messages":[{"role":"user","content":"Wall time: 1 seconds"}]}"#,
                r#"{"messages":[{"role":"user","content":"Wall time: 2 seconds"}]}"#,
            ),
            (
                r#"{"input":[{"type":"function_call","arguments":"{\"wall_time_seconds\":1}"}]}"#,
                r#"{"input":[{"type":"function_call","arguments":"{\"wall_time_seconds\":2}"}]}"#,
            ),
            // Not in the header.
            (r#"{"system":[{"text":"the flag cch=1;"}]}"#, r#"{"system":[{"text":"the flag cch=2;"}]}"#),
            (
                r#"{"system":[{"text":"x-anthropic-billing-header: cc_version=1; cch=a;"}]}"#,
                r#"{"system":[{"text":"x-anthropic-billing-header: cc_version=2; cch=a;"}]}"#,
            ),
            // A number without its label.
            (
                r#"{"messages":[{"role":"tool","content":"took 11409"}]}"#,
                r#"{"messages":[{"role":"tool","content":"took 11943"}]}"#,
            ),
        ] {
            assert!(!same(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn bodies_without_labels_come_back_as_they_are() {
        for body in ["", "{", "Wall time: 1", r#"{"messages": [ {"role":"tool","content":"x"} ]}"#] {
            assert!(
                matches!(mask(body.as_bytes()), Cow::Borrowed(same) if same == body.as_bytes()),
                "{body}"
            );
        }
    }
}
