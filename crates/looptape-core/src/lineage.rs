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
//! request's `last_turn` is preferred. An answer that its client put into other words has no echo; within a trace its
//! request is found by `before_turn == history`, and between traces where only one has asked it.
//!
//! This module decides nothing about matching; it gives [`Lineage`] its figures.

use crate::canonical::digest_of_value;
use crate::facts::Lineage;
use crate::fingerprint::Fingerprint;
use crate::wire::{Message, Part, ResponseView, Role, ToolCall, Wire};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// What a history says, folded as it grows: adding a message to a copy costs that message alone, so a
/// request that extends an earlier one starts from the earlier one's conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    wire: Wire,
    /// The turns that can not grow any more: their chain, how many, and what of them [`Lineage`] wants.
    head: Fingerprint,
    closed: u32,
    echo: Option<i64>,
    last_turn: Option<i64>,
    before_turn: Option<i64>,
    calls: CallPlaces,
    /// The last turn: the next message may add to it.
    open: Option<Arc<OpenTurn>>,
    /// Call ids (else tool names) of the results that stand after the last assistant message.
    carried: Arc<Vec<String>>,
}

impl Conversation {
    /// Nothing said yet.
    pub fn start(wire: Wire) -> Self {
        Self {
            wire,
            head: Fingerprint::of(b"looptape lineage"),
            closed: 0,
            echo: None,
            last_turn: None,
            before_turn: None,
            calls: CallPlaces::default(),
            open: None,
            carried: Arc::default(),
        }
    }

    pub fn of(wire: Wire, messages: &[Message]) -> Self {
        let mut conversation = Self::start(wire);
        messages.iter().for_each(|message| conversation.push(message));
        conversation
    }

    /// The format in which it was read.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Adds a message.
    pub fn push(&mut self, message: &Message) {
        if is_answer(message) {
            self.carried = Arc::default();
        } else {
            let results = message.parts.iter().filter_map(|part| match part {
                Part::ToolResult { call_id, name, .. } => call_id.as_ref().or(name.as_ref()),
                _ => None,
            });
            results.for_each(|id| Arc::make_mut(&mut self.carried).push(id.clone()));
        }
        match &message.role {
            Role::System => {}
            Role::Other(name) if name == "developer" => {}
            Role::Assistant => self.say(speech_of(message)),
            role => self.hear(role, &message.parts),
        }
    }

    /// Whether nothing has been said yet.
    pub fn is_silent(&self) -> bool {
        self.closed == 0 && self.open.is_none()
    }

    /// Results that the client adds to what it was answered, by call id (else by tool name).
    pub fn carried(&self) -> &[String] {
        &self.carried
    }

    /// Its figures, as those of a request without an answer.
    pub fn lineage(&self) -> Lineage {
        let mut all = self.clone();
        all.close();
        Lineage {
            history: all.head.short(),
            echo: all.echo,
            last_turn: all.last_turn,
            before_turn: all.before_turn,
            answer_history: None,
            answer_turn: None,
            turns: all.closed,
        }
    }

    /// Its figures with the answer appended as its echo will show it: after a prefilled assistant turn, as
    /// part of that turn.
    pub fn answered(&self, answer: &ResponseView) -> Lineage {
        let lineage = self.lineage();
        let answer = spoken(answer);
        if answer.is_silent() {
            return lineage;
        }
        let mut all = self.clone();
        all.say(answer);
        all.close();
        Lineage { answer_history: all.echo, answer_turn: all.last_turn, ..lineage }
    }

    fn say(&mut self, speech: Speech) {
        if speech.is_silent() {
            return;
        }
        if let Some(open) = &mut self.open
            && matches!(open.turn, Turn::Assistant(_))
            && let Turn::Assistant(said) = OpenTurn::grow(open)
        {
            said.text.push_str(&speech.text);
            said.calls.extend(speech.calls);
            return;
        }
        self.turn(Turn::Assistant(speech));
    }

    fn hear(&mut self, role: &Role, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Text { text } => self.hear_text(role, text),
                Part::ToolResult { call_id, name, content, .. } => {
                    let answered = self.answered_call(call_id.as_deref(), name.as_deref());
                    let content = content_key(content);
                    self.turn(Turn::Result(Fingerprint::of_parts(&[b"result", &answered, &content])));
                }
                // A client that replays calls under another role still made the same calls.
                Part::ToolCall(call) => {
                    self.say(Speech { text: String::new(), calls: vec![Call::new(call)] });
                }
                Part::Other { kind, value } => self.turn(Turn::Other(Fingerprint::of_parts(&[
                    b"other",
                    role_name(role).as_bytes(),
                    kind.as_bytes(),
                    &digest_of_value(value).0,
                ]))),
                Part::Reasoning { .. } => {}
            }
        }
    }

    fn hear_text(&mut self, role: &Role, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(open) = &mut self.open
            && matches!(&open.turn, Turn::Text(speaker, _) if speaker == role)
            && let Turn::Text(_, all) = OpenTurn::grow(open)
        {
            all.push_str(text);
            return;
        }
        self.turn(Turn::Text(role.clone(), text.to_owned()));
    }

    /// Which call a result answers: the place of the latest call of that id among those of its turn, or
    /// else the tool's name.
    fn answered_call(&self, call_id: Option<&str>, name: Option<&str>) -> Vec<u8> {
        let in_open = |id: &str| match self.open.as_deref().map(|open| &open.turn) {
            Some(Turn::Assistant(speech)) => place_among(&speech.calls, id),
            _ => None,
        };
        match call_id.and_then(|id| in_open(id).or_else(|| self.calls.place_of(id))) {
            Some(place) => place.to_string().into_bytes(),
            None => format!("name {}", name.unwrap_or_default()).into_bytes(),
        }
    }

    fn turn(&mut self, turn: Turn) {
        self.close();
        self.open = Some(Arc::new(OpenTurn { turn, said: OnceLock::new() }));
    }

    fn close(&mut self) {
        let Some(turn) = self.open.take() else { return };
        let said = turn.said();
        let before = self.head;
        self.head = self.head.chain(said);
        self.closed = self.closed.saturating_add(1);
        if let Turn::Assistant(speech) = &turn.turn {
            self.echo = Some(self.head.short());
            self.before_turn = Some(before.short());
            self.last_turn = Some(speech.identity(said, self.wire).short());
            if speech.calls.iter().any(|call| call.id.is_some()) {
                self.calls.push(turn);
            }
        }
    }
}

/// Whether a message is the model's: it ends what was carried before it.
fn is_answer(message: &Message) -> bool {
    message.role == Role::Assistant && message.parts.iter().any(|p| !matches!(p, Part::ToolResult { .. }))
}

/// The messages after the last assistant message: what the client adds to what it was answered.
pub fn since_last_answer(messages: &[Message]) -> &[Message] {
    let after = messages.iter().rposition(is_answer).map_or(0, |at| at + 1);
    &messages[after..]
}

/// Assistant turns with calls, latest first. Copies share what they have in common.
#[derive(Clone, Debug, Default)]
struct CallPlaces(Option<Arc<CallTurn>>);

#[derive(Debug)]
struct CallTurn {
    turn: Arc<OpenTurn>,
    before: CallPlaces,
}

impl CallPlaces {
    fn push(&mut self, turn: Arc<OpenTurn>) {
        let before = std::mem::take(self);
        self.0 = Some(Arc::new(CallTurn { turn, before }));
    }

    fn place_of(&self, id: &str) -> Option<usize> {
        let mut next = self;
        while let Some(here) = &next.0 {
            if let Turn::Assistant(speech) = &here.turn.turn
                && let Some(place) = place_among(&speech.calls, id)
            {
                return Some(place);
            }
            next = &here.before;
        }
        None
    }
}

impl Drop for CallPlaces {
    /// One after the other: a long history would exhaust the stack.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut last) = next.and_then(Arc::into_inner) {
            next = last.before.0.take();
        }
    }
}

fn place_among(calls: &[Call], id: &str) -> Option<usize> {
    calls.iter().position(|call| call.id.as_deref() == Some(id))
}

/// A turn with its digest, which copies of the conversation share once one of them has asked for it.
#[derive(Clone, Debug)]
struct OpenTurn {
    turn: Turn,
    said: OnceLock<Fingerprint>,
}

impl OpenTurn {
    fn said(&self) -> Fingerprint {
        *self.said.get_or_init(|| self.turn.said())
    }

    /// The turn, to be added to.
    fn grow(this: &mut Arc<Self>) -> &mut Turn {
        let open = Arc::make_mut(this);
        open.said = OnceLock::new();
        &mut open.turn
    }
}

/// What was said, in the order in which it was said.
#[derive(Clone, Debug)]
enum Turn {
    Assistant(Speech),
    /// Text of anybody else.
    Text(Role, String),
    /// A tool's result: a digest of which call it answers and of its content.
    Result(Fingerprint),
    /// An image, a file: by its content.
    Other(Fingerprint),
}

#[derive(Clone, Debug, Default)]
struct Speech {
    text: String,
    calls: Vec<Call>,
}

#[derive(Clone, Debug)]
struct Call {
    id: Option<String>,
    /// Of name and arguments.
    said: Fingerprint,
}

impl Call {
    fn new(call: &ToolCall) -> Self {
        let arguments = digest_of_value(&parsed_arguments(&call.arguments));
        Self {
            id: call.id.clone(),
            said: Fingerprint::of_parts(&[b"call", call.name.as_bytes(), &arguments.0]),
        }
    }
}

impl Speech {
    fn is_silent(&self) -> bool {
        self.text.is_empty() && self.calls.is_empty()
    }

    fn said(&self) -> Fingerprint {
        let text = Fingerprint::of_parts(&[b"assistant", self.text.as_bytes()]);
        self.calls.iter().fold(text, |head, call| head.chain(call.said))
    }

    /// What was `said`, and under which ids.
    fn identity(&self, said: Fingerprint, wire: Wire) -> Fingerprint {
        if wire.has_made_up_call_ids() {
            return said;
        }
        let id = |call: &Call| Fingerprint::of(call.id.as_deref().unwrap_or_default().as_bytes());
        self.calls.iter().fold(said, |head, call| head.chain(id(call)))
    }
}

impl Turn {
    fn said(&self) -> Fingerprint {
        match self {
            Self::Assistant(speech) => speech.said(),
            Self::Text(role, text) => {
                Fingerprint::of_parts(&[b"text", role_name(role).as_bytes(), text.as_bytes()])
            }
            Self::Result(digest) | Self::Other(digest) => *digest,
        }
    }
}

fn spoken(answer: &ResponseView) -> Speech {
    Speech { text: answer.text.clone(), calls: answer.tool_calls.iter().map(Call::new).collect() }
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

/// Arguments that stayed text although they are JSON count as that JSON, and no arguments as an empty
/// object: clients write a call without arguments in all these forms.
pub(crate) fn parsed_arguments(arguments: &Value) -> Cow<'_, Value> {
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
    use crate::wire::RequestView;
    use proptest::prelude::*;
    use serde_json::json;

    pub(super) fn of_request(wire: Wire, request: &RequestView) -> Lineage {
        Conversation::of(wire, &request.messages).lineage()
    }

    pub(super) fn of_call(wire: Wire, request: &RequestView, answer: Option<&ResponseView>) -> Lineage {
        let conversation = Conversation::of(wire, &request.messages);
        answer.map_or_else(|| conversation.lineage(), |answer| conversation.answered(answer))
    }

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

    #[test]
    fn a_copy_goes_its_own_way() {
        let asks = |id: &str| says(Role::Assistant, vec![Part::ToolCall(call(Some(id), "t", json!({})))]);
        let answers = |id: &str| says(Role::Tool, vec![result(Some(id), None, json!("dry"))]);
        let mut trunk = Conversation::of(Wire::OpenAiChat, &question());
        trunk.push(&asks("a"));
        let mut branch = trunk.clone();
        branch.push(&asks("b"));
        branch.push(&answers("b"));
        trunk.push(&answers("a"));
        assert_eq!((trunk.carried(), branch.carried()), (&["a".to_owned()][..], &["b".to_owned()][..]));
        let alone = |messages: Vec<Message>| {
            Conversation::of(Wire::OpenAiChat, &[question(), messages].concat()).lineage()
        };
        assert_eq!(trunk.lineage(), alone(vec![asks("a"), answers("a")]));
        assert_eq!(branch.lineage(), alone(vec![asks("a"), asks("b"), answers("b")]));
    }

    #[test]
    fn a_very_long_history_can_be_dropped() {
        let mut long = Conversation::start(Wire::OpenAiChat);
        for n in 0..100_000 {
            long.push(&says(Role::Assistant, vec![Part::ToolCall(call(Some("a"), "t", json!(n)))]));
            long.push(&says(Role::User, vec![text("go on")]));
        }
        let shared = long.clone();
        drop(long);
        assert_eq!(shared.lineage().turns, 200_000);
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
