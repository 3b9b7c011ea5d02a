//! Lineage: which answer a request's history echoes.
//!
//! An agent sends every answer back as part of its next request, but rarely in the form in which it came:
//! a streamed text becomes a string or one text part, absent fields become nulls, output items become
//! input items, reasoning is kept or dropped. So both sides are reduced to what was said, a list of turns,
//! and folded into digests; an answer and its echo then agree.
//!
//! Reduction rules:
//! - System and developer messages are left out: they are resent, not said.
//! - Reasoning, server-side tools' blocks and other parts of an assistant turn are transparent, because
//!   an answer's echo may leave them out.
//! - Successive assistant messages are one turn: its texts joined, then its tool calls in order.
//! - Adjacent texts of the same other speaker are joined; empty texts are dropped.
//! - A tool call counts by name and arguments, the latter as JSON. A tool result counts by which of the
//!   calls it answers and by its text (an array of text parts is its text).
//! - Call ids do not count in histories, because some clients put their own in place of the provider's.
//!   They do count in `last_turn` and `answer_turn`, except in formats whose answers may have none, so that
//!   of two answers that say the same, the one that was really echoed can be preferred.
//!
//! So a parent is found by `echo == answer_history`, and of several the one whose `answer_turn` is the
//! request's `last_turn` is preferred.
//!
//! This module decides nothing about matching; it gives [`Lineage`] its figures.

use crate::canonical::digest_of_value;
use crate::digest::Digest;
use crate::facts::Lineage;
use crate::wire::{Message, Part, RequestView, ResponseView, Role, ToolCall, Wire};
use serde_json::Value;
use std::borrow::Cow;

/// The lineage of a call: of its request, and of its answer where there is one that says something.
pub fn of_call(wire: Wire, request: &RequestView, answer: Option<&ResponseView>) -> Lineage {
    let turns = turns_of(&request.messages);
    let mut lineage = of_turns(wire, &turns);
    if let Some(answer) = answer {
        add_answer(wire, &mut lineage, turns, spoken(answer));
    }
    lineage
}

/// The lineage of a request that has no answer yet.
pub fn of_request(wire: Wire, request: &RequestView) -> Lineage {
    of_call(wire, request, None)
}

/// What was said, in the order in which it was said.
#[derive(Debug)]
enum Turn {
    Assistant(Speech),
    /// Text of anybody else.
    Text(Role, String),
    /// A tool's result: a digest of which call it answers and of its content.
    Result(Digest),
    /// An image, a file: by its content.
    Other(Digest),
}

#[derive(Debug, Default)]
struct Speech {
    text: String,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    id: Option<String>,
    /// Of name and arguments.
    said: Digest,
}

impl Call {
    fn new(call: &ToolCall) -> Self {
        let arguments = digest_of_value(&parsed_arguments(&call.arguments));
        Self { id: call.id.clone(), said: Digest::of_parts(&[b"call", call.name.as_bytes(), &arguments.0]) }
    }
}

impl Speech {
    fn is_silent(&self) -> bool {
        self.text.is_empty() && self.calls.is_empty()
    }

    fn said(&self) -> Digest {
        let text = Digest::of_parts(&[b"assistant", self.text.as_bytes()]);
        self.calls.iter().fold(text, |head, call| head.chain(call.said))
    }

    /// What was said, and under which ids.
    fn identity(&self, wire: Wire) -> Digest {
        if wire.has_made_up_call_ids() {
            return self.said();
        }
        let id = |call: &Call| Digest::of(call.id.as_deref().unwrap_or_default().as_bytes());
        self.calls.iter().fold(self.said(), |head, call| head.chain(id(call)))
    }
}

impl Turn {
    fn said(&self) -> Digest {
        match self {
            Self::Assistant(speech) => speech.said(),
            Self::Text(role, text) => {
                Digest::of_parts(&[b"text", role_name(role).as_bytes(), text.as_bytes()])
            }
            Self::Result(digest) | Self::Other(digest) => *digest,
        }
    }
}

fn of_turns(wire: Wire, turns: &[Turn]) -> Lineage {
    let mut lineage = Lineage { turns: u32::try_from(turns.len()).unwrap_or(u32::MAX), ..Lineage::default() };
    let mut head = start();
    for turn in turns {
        head = head.chain(turn.said());
        if let Turn::Assistant(speech) = turn {
            lineage.echo = Some(head.short());
            lineage.last_turn = Some(speech.identity(wire).short());
        }
    }
    lineage.history = head.short();
    lineage
}

/// Appends the answer as its echo will show it: after a prefilled assistant turn, as part of that turn.
fn add_answer(wire: Wire, lineage: &mut Lineage, mut turns: Vec<Turn>, answer: Speech) {
    if answer.is_silent() {
        return;
    }
    push_speech(&mut turns, answer);
    let with_answer = of_turns(wire, &turns);
    lineage.answer_history = with_answer.echo;
    lineage.answer_turn = with_answer.last_turn;
}

fn start() -> Digest {
    Digest::of(b"looptape lineage")
}

fn spoken(answer: &ResponseView) -> Speech {
    Speech { text: answer.text.clone(), calls: answer.tool_calls.iter().map(Call::new).collect() }
}

fn turns_of(messages: &[Message]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for message in messages {
        match &message.role {
            Role::System => {}
            Role::Other(name) if name == "developer" => {}
            Role::Assistant => push_speech(&mut turns, speech_of(message)),
            role => push_heard(&mut turns, role, &message.parts),
        }
    }
    turns
}

fn speech_of(message: &Message) -> Speech {
    let mut speech = Speech::default();
    for part in &message.parts {
        match part {
            Part::Text { text } => speech.text.push_str(text),
            Part::ToolCall(call) => speech.calls.push(Call::new(call)),
            Part::Reasoning { .. } | Part::ToolResult { .. } | Part::Other { .. } => {}
        }
    }
    speech
}

fn push_speech(turns: &mut Vec<Turn>, speech: Speech) {
    if speech.is_silent() {
        return;
    }
    match turns.last_mut() {
        Some(Turn::Assistant(open)) => {
            open.text.push_str(&speech.text);
            open.calls.extend(speech.calls);
        }
        _ => turns.push(Turn::Assistant(speech)),
    }
}

fn push_heard(turns: &mut Vec<Turn>, role: &Role, parts: &[Part]) {
    for part in parts {
        match part {
            Part::Text { text } => push_text(turns, role, text),
            Part::ToolResult { call_id, name, content, .. } => {
                let answered = answered_call(turns, call_id.as_deref(), name.as_deref());
                turns.push(Turn::Result(Digest::of_parts(&[b"result", &answered, &content_key(content)])));
            }
            // A client that replays calls under another role still made the same calls.
            Part::ToolCall(call) => {
                push_speech(turns, Speech { text: String::new(), calls: vec![Call::new(call)] });
            }
            Part::Other { kind, value } => turns.push(Turn::Other(Digest::of_parts(&[
                b"other",
                role_name(role).as_bytes(),
                kind.as_bytes(),
                &digest_of_value(value).0,
            ]))),
            Part::Reasoning { .. } => {}
        }
    }
}

/// Which call a result answers: the place of the latest call of that id among those of its turn, or else
/// the tool's name.
fn answered_call(turns: &[Turn], call_id: Option<&str>, name: Option<&str>) -> Vec<u8> {
    let place = call_id.and_then(|id| {
        turns.iter().rev().find_map(|turn| match turn {
            Turn::Assistant(speech) => speech.calls.iter().position(|call| call.id.as_deref() == Some(id)),
            _ => None,
        })
    });
    match place {
        Some(place) => place.to_string().into_bytes(),
        None => format!("name {}", name.unwrap_or_default()).into_bytes(),
    }
}

fn push_text(turns: &mut Vec<Turn>, role: &Role, text: &str) {
    if text.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some(Turn::Text(open, all)) if open == role => all.push_str(text),
        _ => turns.push(Turn::Text(role.clone(), text.to_owned())),
    }
}

/// Arguments that stayed text although they are JSON count as that JSON, and no arguments as an empty
/// object: clients write a call without arguments in all these forms.
fn parsed_arguments(arguments: &Value) -> Cow<'_, Value> {
    let empty = || Cow::Owned(Value::Object(serde_json::Map::new()));
    match arguments {
        Value::Null => empty(),
        Value::String(text) if text.trim().is_empty() => empty(),
        Value::String(text) => serde_json::from_str(text).map_or(Cow::Borrowed(arguments), Cow::Owned),
        other => Cow::Borrowed(other),
    }
}

fn content_key(content: &Value) -> Vec<u8> {
    match joined_text(content) {
        Some(text) => [b"t", text.as_bytes()].concat(),
        None => [b"j", digest_of_value(content).0.as_slice()].concat(),
    }
}

/// The text of a string, or of an array that holds nothing but text parts.
fn joined_text(content: &Value) -> Option<Cow<'_, str>> {
    match content {
        Value::Null => Some(Cow::Borrowed("")),
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Option<String>>()
            .map(Cow::Owned),
        _ => None,
    }
}

fn role_name(role: &Role) -> &str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::Other(name) => name,
    }
}

#[cfg(test)]
mod formats;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(text: &str) -> Part {
        Part::Text { text: text.to_owned() }
    }

    fn call(id: Option<&str>, name: &str, arguments: Value) -> ToolCall {
        ToolCall { id: id.map(str::to_owned), name: name.to_owned(), arguments }
    }

    fn result(call_id: Option<&str>, name: Option<&str>, content: Value) -> Part {
        Part::ToolResult {
            call_id: call_id.map(str::to_owned),
            name: name.map(str::to_owned),
            content,
            is_error: false,
        }
    }

    fn says(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts }
    }

    fn request(messages: Vec<Message>) -> RequestView {
        RequestView { messages, ..RequestView::default() }
    }

    fn question() -> Vec<Message> {
        vec![says(Role::System, vec![text("Be brief.")]), says(Role::User, vec![text("Weather in Oslo?")])]
    }

    fn answer(said: &str, calls: Vec<ToolCall>) -> ResponseView {
        ResponseView { text: said.to_owned(), tool_calls: calls, ..ResponseView::default() }
    }

    /// The echoed assistant messages must be recognised as `answer` to [`question`].
    fn assert_echo(wire: Wire, answer: &ResponseView, echo: Vec<Message>) {
        let parent = of_call(wire, &request(question()), Some(answer));
        let mut messages = question();
        messages.extend(echo.clone());
        messages.push(says(Role::User, vec![text("And tomorrow?")]));
        let child = of_request(wire, &request(messages));
        assert!(parent.answer_history.is_some());
        assert_eq!(child.echo, parent.answer_history, "{wire:?} {echo:?}");
        assert_eq!(child.last_turn, parent.answer_turn, "{wire:?} {echo:?}");
    }

    #[test]
    fn echoes_in_every_usual_form() {
        let plain = answer("It rains.", vec![]);
        let calls = answer(
            "Looking.",
            vec![call(Some("a"), "weather", json!({"city": "Oslo"})), call(Some("b"), "time", json!({}))],
        );
        let weather = |id| Part::ToolCall(call(id, "weather", json!({"city": "Oslo"})));
        let time = |id, arguments| Part::ToolCall(call(id, "time", arguments));
        let reasoning = || Part::Reasoning { text: "hm".to_owned() };
        for wire in Wire::ALL {
            assert_echo(wire, &plain, vec![says(Role::Assistant, vec![text("It rains.")])]);
            assert_echo(
                wire,
                &plain,
                vec![says(Role::Assistant, vec![text("It "), text("rains."), text("")])],
            );
            assert_echo(wire, &plain, vec![says(Role::Assistant, vec![reasoning(), text("It rains.")])]);
            assert_echo(
                wire,
                &plain,
                vec![
                    says(Role::Assistant, vec![reasoning()]),
                    says(Role::Assistant, vec![text("It rains.")]),
                ],
            );
            let (a, b) = (Some("a"), Some("b"));
            assert_echo(
                wire,
                &calls,
                vec![says(Role::Assistant, vec![text("Looking."), weather(a), time(b, json!({}))])],
            );
            // One message a call, as output items of the Responses API come back.
            assert_echo(
                wire,
                &calls,
                vec![
                    says(Role::Assistant, vec![reasoning()]),
                    says(Role::Assistant, vec![text("Looking.")]),
                    says(Role::Assistant, vec![weather(a)]),
                    says(Role::Assistant, vec![time(b, Value::Null)]),
                ],
            );
            assert_echo(
                wire,
                &calls,
                vec![says(Role::Assistant, vec![weather(a), text("Looking."), time(b, json!("{}"))])],
            );
        }
    }

    #[test]
    fn made_up_ids_are_nothing_to_gemini() {
        let asked = answer("", vec![call(None, "weather", json!({"city": "Oslo", "days": 1.0}))]);
        let echo = Part::ToolCall(call(Some("pyd_ai_1"), "weather", json!({"days": 1, "city": "Oslo"})));
        assert_echo(Wire::GeminiGenerate, &asked, vec![says(Role::Assistant, vec![echo.clone()])]);
        // Elsewhere the echo is still found, and only known not to be under the answer's own id.
        let parent = of_call(Wire::OpenAiChat, &request(question()), Some(&asked));
        let mut messages = question();
        messages.push(says(Role::Assistant, vec![echo]));
        let child = of_request(Wire::OpenAiChat, &request(messages));
        assert_eq!(child.echo, parent.answer_history);
        assert_ne!(child.last_turn, parent.answer_turn);
    }

    #[test]
    fn answers_that_say_the_same_are_told_apart_by_their_ids() {
        let asked = |id| {
            let answer = answer("", vec![call(Some(id), "weather", json!({}))]);
            of_call(Wire::OpenAiChat, &request(question()), Some(&answer))
        };
        assert_eq!(asked("a").answer_history, asked("b").answer_history);
        assert_ne!(asked("a").answer_turn, asked("b").answer_turn);
    }

    #[test]
    fn which_call_a_result_answers_counts() {
        let history = |ids: [&str; 2], results: [&str; 2]| {
            let mut messages = question();
            let calls = ids.map(|id| Part::ToolCall(call(Some(id), "weather", json!({}))));
            messages.push(says(Role::Assistant, calls.to_vec()));
            for (id, text) in results.into_iter().zip(["dry", "wet"]) {
                messages.push(says(Role::Tool, vec![result(Some(id), None, json!(text))]));
            }
            of_request(Wire::OpenAiChat, &request(messages)).history
        };
        assert_eq!(history(["a", "b"], ["a", "b"]), history(["x", "y"], ["x", "y"]));
        assert_ne!(history(["a", "b"], ["a", "b"]), history(["a", "b"], ["b", "a"]));
    }

    #[test]
    fn an_answer_to_a_prefilled_turn_joins_it() {
        let mut messages = question();
        messages.push(says(Role::Assistant, vec![text("It ")]));
        let parent = of_call(Wire::AnthropicMessages, &request(messages), Some(&answer("rains.", vec![])));
        let mut messages = question();
        messages.push(says(Role::Assistant, vec![text("It rains.")]));
        let child = of_request(Wire::AnthropicMessages, &request(messages));
        assert_eq!(child.echo, parent.answer_history);
    }

    #[test]
    fn another_answer_is_no_echo() {
        let asked = |said, calls| {
            of_call(Wire::OpenAiChat, &request(question()), Some(&answer(said, calls))).answer_history
        };
        let all = [
            asked("It rains.", vec![]),
            asked("It rains", vec![]),
            asked("", vec![call(Some("a"), "weather", json!({"city": "Oslo"}))]),
            asked("", vec![call(Some("a"), "weather", json!({"city": "Bergen"}))]),
            asked("", vec![call(Some("a"), "time", json!({"city": "Oslo"}))]),
            asked("", vec![]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{i}");
        }
        assert_eq!(all[5], None);
    }

    #[test]
    fn roots_and_histories() {
        let root = of_request(Wire::OpenAiChat, &request(question()));
        assert_eq!((root.echo, root.last_turn, root.turns), (None, None, 1));
        let without_system = of_request(Wire::OpenAiChat, &request(question().split_off(1)));
        assert_eq!(root, without_system);
        let with = |content: Value| {
            let mut messages = question();
            messages.push(says(Role::Assistant, vec![Part::ToolCall(call(Some("a"), "weather", json!({})))]));
            messages.push(says(Role::Tool, vec![result(Some("a"), None, content)]));
            of_request(Wire::OpenAiChat, &request(messages))
        };
        let (dry, parts, wet) =
            (with(json!("dry")), with(json!([{"type": "text", "text": "dry"}])), with(json!("wet")));
        assert_eq!(dry, parts);
        assert_eq!((dry.echo, dry.turns), (wet.echo, 3));
        assert_ne!(dry.history, wet.history);
    }

    proptest! {
        /// However a client cuts an answer into parts and messages, the echo is recognised.
        #[test]
        fn any_split_of_an_answer_is_its_echo(
            pieces in prop::collection::vec("[a-z ]{0,6}", 1..5),
            cuts in prop::collection::vec(any::<bool>(), 5),
            ids in prop::collection::vec("[a-z]{1,4}", 0..3),
        ) {
            let calls: Vec<_> = ids.iter().map(|id| call(Some(id), "t", json!({"q": id}))).collect();
            prop_assume!(!pieces.concat().is_empty() || !calls.is_empty());
            let mut echo = vec![says(Role::Assistant, vec![])];
            for (piece, cut) in pieces.iter().zip(cuts) {
                if cut {
                    echo.push(says(Role::Assistant, vec![]));
                }
                echo.last_mut().unwrap().parts.push(text(piece));
            }
            echo.last_mut().unwrap().parts.extend(calls.iter().cloned().map(Part::ToolCall));
            for wire in Wire::ALL {
                assert_echo(wire, &answer(&pieces.concat(), calls.clone()), echo.clone());
            }
        }
    }
}
