//! Reading a request's body piece by piece.
//!
//! A body is cut as it is stored (`chain`): its skeleton says which model is asked and how, its message
//! array says what was said. Both are folded, so that a body which shares its beginning with one that was
//! read before costs only what is new in it: [`Reading::after`] gives the same as [`Reading::whole`].
//!
//! A body that has its history elsewhere (a prompt that is one string, a message beside the array) is
//! parsed whole.
//!
//! It does not look at answers, and keeps no body: whoever holds the earlier one compares
//! ([`chain::Shared`]).

use super::Target;
use crate::chain::{self, Cut, CutOf, Shared, Split};
use crate::fingerprint::Fingerprint;
use crate::lineage::Conversation;
use crate::redact;
use crate::replay::components::{Endpoint, RequestKey};
use crate::wire::Wire;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What a body says outside its cuts, which most requests of one client have in common.
#[derive(Clone, Debug)]
pub struct Opening {
    pub wire: Option<Wire>,
    pub model: Option<String>,
    pub stream: bool,
    pub previous_response_id: Option<String>,
    /// Where it was sent.
    method: String,
    path: String,
    /// Endpoint, model and parameters, in the form in which requests are compared.
    mark: Fingerprint,
    /// What is said outside the cuts; `None` if it is not a model call.
    said: Option<Conversation>,
}

/// Openings read before, so that the same client's next request costs nothing here.
#[derive(Debug, Default)]
pub struct Openings(HashMap<OpeningKey, Arc<Opening>>);

/// Wire, method and path, skeleton.
type OpeningKey = (Option<Wire>, String, Vec<u8>);

/// Beyond this many openings they are forgotten and read anew.
const MOST_OPENINGS: usize = 512;
/// Skeletons longer than this are not remembered.
const LONGEST_SKELETON: usize = 4096;

/// A body, read.
#[derive(Clone, Debug)]
pub struct Reading {
    opening: Arc<Opening>,
    cuts: Vec<ReadCut>,
    history: Option<History>,
    /// If the body had to be parsed whole: what is said in all of it.
    elsewhere: Option<Conversation>,
}

/// What the message array says.
#[derive(Clone, Debug)]
struct History {
    /// Which cut it is.
    cut: usize,
    /// How many elements it has.
    elements: usize,
    /// What had been said after so many elements: after the last few, where the next body will probably go on,
    /// and here and there before.
    said: Vec<(usize, Conversation)>,
}

impl History {
    const LAST_KEPT: usize = 4;
    const KEPT_EVERY: usize = 16;

    /// The elements up to here are read.
    fn note(&mut self, said: &Conversation) {
        self.elements += 1;
        let left_behind = self.elements.saturating_sub(Self::LAST_KEPT);
        if !left_behind.is_multiple_of(Self::KEPT_EVERY) {
            self.said.retain(|(after, _)| *after != left_behind);
        }
        self.said.push((self.elements, said.clone()));
    }

    /// What had been said after so many of the first `elements` as is known.
    fn known(mut self, elements: usize) -> Vec<(usize, Conversation)> {
        self.said.truncate(self.said.partition_point(|(after, _)| *after <= elements));
        self.said
    }
}

/// One cut's pieces.
#[derive(Clone, Debug, Default)]
struct ReadCut(Vec<ReadPiece>);

#[derive(Clone, Copy, Debug)]
struct ReadPiece {
    mark: Fingerprint,
    /// The list of marks, up to this one.
    head: Fingerprint,
}

impl Reading {
    /// Reads a body of which nothing is known.
    pub fn whole(target: &Target<'_>, body: &[u8], split: &Split, openings: &mut Openings) -> Self {
        let nothing = Shared::none(split);
        Self::read(target, (body, split), &nothing, None, openings)
    }

    /// Reads a body that has `shared` in common with the one that gave `before`, of which it takes over what it
    /// can use.
    pub fn after(
        target: &Target<'_>,
        body: &[u8],
        split: &Split,
        shared: &Shared,
        before: Self,
        openings: &mut Openings,
    ) -> Self {
        Self::read(target, (body, split), shared, Some(before), openings)
    }

    fn read(
        target: &Target<'_>,
        (body, split): (&[u8], &Split),
        shared: &Shared,
        before: Option<Self>,
        openings: &mut Openings,
    ) -> Self {
        let (opening, cuts, history) = match before {
            Some(before) => (Some(before.opening), before.cuts, before.history),
            None => (None, Vec::new(), None),
        };
        let opening = match opening {
            Some(opening) if shared.has_same_skeleton() && opening.is_of(target) => opening,
            _ => openings.of(target, split.skeleton.literal()),
        };
        let mut before: Vec<Option<ReadCut>> = cuts.into_iter().map(Some).collect();
        let cuts = split.cuts.iter().zip(&shared.cuts).map(|(cut, shared)| {
            let before = shared.of.and_then(|of| before.get_mut(of)?.take());
            ReadCut::new(body, cut, shared, before)
        });
        let mut reading = Self { opening, cuts: cuts.collect(), history: None, elsewhere: None };
        reading.read_history(target, (body, split), shared, history);
        reading
    }

    /// What it knows, to be taken over by the reading of a body that stands for its own from now on.
    pub fn take(&mut self) -> Self {
        Self {
            opening: self.opening.clone(),
            cuts: std::mem::take(&mut self.cuts),
            history: self.history.take(),
            elsewhere: self.elsewhere.take(),
        }
    }

    fn read_history(
        &mut self,
        target: &Target<'_>,
        (body, split): (&[u8], &Split),
        shared: &Shared,
        before: Option<History>,
    ) {
        let Some(wire) = self.opening.wire else { return };
        let Some(start) = &self.opening.said else { return };
        let Some((member, decode_message)) = wire.history() else {
            self.elsewhere = Some(said_in_all(target, wire, body));
            return;
        };
        let name = |cut: &Cut| &body[cut.name.clone()];
        if !start.is_silent() || split.cuts.iter().any(|cut| !is_plain(name(cut), cut.of)) {
            self.elsewhere = Some(said_in_all(target, wire, body));
            return;
        }
        let is_history = |cut: &Cut| name(cut) == member.as_bytes();
        let mut arrays = (0..split.cuts.len()).filter(|&at| is_history(&split.cuts[at]));
        let Some(at) = arrays.next() else { return };
        if arrays.next().is_some() {
            self.elsewhere = Some(said_in_all(target, wire, body));
            return;
        }
        let earlier = before.filter(|earlier| {
            let is_same_wire = earlier.said.last().is_some_and(|(_, said)| said.wire() == wire);
            shared.cuts[at].of == Some(earlier.cut) && is_same_wire
        });
        let known = earlier.map_or_else(Vec::new, |earlier| earlier.known(shared.cuts[at].leading()));
        let (elements, mut said) = known.last().cloned().unwrap_or_else(|| (0, start.clone()));
        let mut history = History { cut: at, elements, said: known };
        for piece in &split.cuts[at].pieces[elements..] {
            let element = chain::element(&body[piece.clone()]);
            let message = match wire.read_plain_message(element) {
                Some(plain) => plain,
                None => match serde_json::from_slice::<Value>(element) {
                    Ok(element) => decode_message(&element),
                    Err(_) => return,
                },
            };
            said.push(&message);
            history.note(&said);
        }
        self.history = Some(history);
    }

    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// What the body says; `None` if it is not that of a model call.
    pub fn conversation(&self) -> Option<&Conversation> {
        let last = self.history.as_ref().and_then(|history| Some(&history.said.last()?.1));
        self.elsewhere.as_ref().or(last).or(self.opening.said.as_ref())
    }

    /// Equal for the same request sent again: its opening in the form in which requests are compared, its
    /// pieces byte for byte.
    pub fn request_digest(&self) -> i64 {
        let last = self.cuts.iter().filter_map(|cut| cut.0.last());
        last.fold(self.opening.mark, |mark, last| mark.chain(last.head)).short()
    }
}

impl ReadCut {
    fn new(body: &[u8], cut: &Cut, shared: &chain::SharedCut, before: Option<Self>) -> Self {
        let mut pieces = before.map_or_else(Vec::new, |before| before.0);
        let leading = shared.leading().min(pieces.len());
        let mut head = match leading.checked_sub(1) {
            Some(last) => pieces[last].head,
            None => Fingerprint::of(&body[cut.name.clone()]),
        };
        for (at, range) in cut.pieces.iter().enumerate().skip(leading) {
            let mark = match pieces.get(at) {
                Some(before) if shared.equal[at] => before.mark,
                _ => Fingerprint::of(&body[range.clone()]),
            };
            head = head.chain(mark);
            let piece = ReadPiece { mark, head };
            match pieces.get_mut(at) {
                Some(place) => *place = piece,
                None => pieces.push(piece),
            }
        }
        pieces.truncate(cut.pieces.len());
        Self(pieces)
    }
}

impl Openings {
    fn of(&mut self, target: &Target<'_>, skeleton: &[u8]) -> Arc<Opening> {
        let wire = target.wire();
        if skeleton.len() > LONGEST_SKELETON {
            return Arc::new(Opening::read(target, wire, skeleton));
        }
        let key = (wire, format!("{} {}", target.method, target.path), skeleton.to_vec());
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        if self.0.len() == MOST_OPENINGS {
            self.0.clear();
        }
        let opening = Arc::new(Opening::read(target, wire, skeleton));
        self.0.insert(key, opening.clone());
        opening
    }
}

impl Opening {
    fn read(target: &Target<'_>, wire: Option<Wire>, skeleton: &[u8]) -> Self {
        let endpoint = Endpoint::new(target.method, target.path);
        let key = RequestKey::new(wire, &endpoint, &redact::normalise(skeleton));
        let json = || serde_json::from_slice::<Value>(skeleton).unwrap_or_default();
        let view = wire.map(|wire| wire.decode_request(target.path, &json())).unwrap_or_default();
        let said = wire.map(|wire| Conversation::of(wire, &view.messages));
        Self {
            wire,
            model: view.model,
            stream: view.stream,
            previous_response_id: view.previous_response_id,
            method: target.method.to_owned(),
            path: target.path.to_owned(),
            mark: Fingerprint::of(&key.canonical.0),
            said,
        }
    }
}

impl Opening {
    /// Whether a body with the same skeleton that goes there has the same opening.
    fn is_of(&self, target: &Target<'_>) -> bool {
        self.method == target.method && self.path == target.path && self.wire == target.wire()
    }
}

/// Whether a cut may be left out when looking for the history outside the message array: an array that is
/// not the history, or a system prompt.
fn is_plain(name: &[u8], of: CutOf) -> bool {
    of == CutOf::Array || matches!(name, b"system" | b"instructions")
}

fn said_in_all(target: &Target<'_>, wire: Wire, body: &[u8]) -> Conversation {
    let json = serde_json::from_slice(body).unwrap_or_default();
    Conversation::of(wire, &wire.decode_request(target.path, &json).messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::{request, request_read};
    use crate::headers::RedactedHeaders;
    use crate::provider::Provider;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    const PATHS: [&str; 9] = [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/responses",
        "/v1beta/models/m:generateContent",
        "/api/chat",
        "/v1/chat",
        "/v2/chat",
        "/model/m/converse",
        "/v1/completions",
    ];

    fn message() -> impl Strategy<Value = Value> {
        let text = "[a-z]{1,3}( [a-z\\\\\"]{1,8}){0,3}";
        let id = || "[ab]{1}";
        prop_oneof![
            text.prop_map(|t| json!({"role": "user", "content": t})),
            text.prop_map(|t| json!({"role": "assistant", "content": t})),
            text.prop_map(|t| json!({"role": "user", "parts": [{"text": t}]})),
            (text, id())
                .prop_map(|(t, id)| json!({"role": "assistant", "content": [{"type": "text", "text": t},
                {"type": "tool_use", "id": id, "name": "look", "input": {"q": t}}]})),
            (text, id()).prop_map(|(t, id)| json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": id, "content": t}]})),
            id().prop_map(|id| json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]})),
            (text, id()).prop_map(|(t, id)| json!({"role": "tool", "tool_call_id": id, "content": t})),
            id().prop_map(
                |id| json!({"type": "function_call", "call_id": id, "name": "look", "arguments": "{}"})
            ),
            id().prop_map(|id| json!({"type": "function_call_output", "call_id": id, "output": "dry"})),
            text.prop_map(Value::from),
            Just(Value::Null),
        ]
    }

    fn body(messages: &[Value], extra: &str, tools_first: bool) -> Bytes {
        let all = serde_json::to_string(messages).unwrap();
        let tools = r#""tools":[{"name":"look"},{"name":"go"}]"#;
        let members = ["messages", "input", "contents"].map(|name| format!("\"{name}\":{all}")).join(",");
        let text = match tools_first {
            true => format!(r#"{{"model":"m",{tools},{members}{extra}}}"#),
            false => format!(r#"{{{members},"model":"m","stream":true{extra},{tools}}}"#),
        };
        Bytes::from(text)
    }

    proptest! {
        /// What was known of an earlier body changes nothing in what is read, whatever the two share.
        #[test]
        fn a_body_reads_the_same_after_any_other(
            before in prop::collection::vec(message(), 0..24),
            keep in 0usize..24,
            tail in prop::collection::vec(message(), 0..4),
            extra in prop::sample::select(vec!["", r#","system":"be brief""#, r#","input":"again""#, r#","prompt":"once""#]),
            tools_first in any::<bool>(),
            path in prop::sample::select(PATHS.to_vec()),
        ) {
            let after = [&before[..keep.min(before.len())], &tail].concat();
            let (old, new) = (body(&before, "", tools_first), body(&after, extra, tools_first));
            let provider = Provider::OPENAI;
            let target = Target { provider: &provider, method: "POST", path };
            let mut openings = Openings::default();
            let old_split = chain::split(&old);
            let known = Reading::whole(&target, &old, &old_split, &mut openings);
            let split = chain::split(&new);
            let shared = Shared::between((old.as_ref().into(), &old_split), (&new, &split), 0);
            let read = Reading::after(&target, &new, &split, &shared, known, &mut openings);
            let headers = RedactedHeaders::default();
            let facts = request_read(&target, &headers, new.len(), &read);
            let alone = request(&provider, "POST", path, &headers, &new);
            prop_assert_eq!(facts.lineage, alone.lineage);
            prop_assert_eq!(facts.request_digest, alone.request_digest);
            prop_assert_eq!((&facts.model, facts.stream), (&alone.model, alone.stream));
            let carried = |f: &crate::derive::RequestFacts| f.conversation.as_ref().map(|c| c.carried().to_vec());
            prop_assert_eq!(carried(&facts), carried(&alone));
            // And the pieces say what the whole says.
            let wire = target.wire().unwrap();
            let whole = wire.decode_request(path, &serde_json::from_slice(&new).unwrap());
            prop_assert_eq!(facts.lineage, Conversation::of(wire, &whole.messages).lineage());
        }
    }

    #[test]
    fn requests_are_told_apart() {
        let digest = |path: &str, body: &str| {
            let headers = RedactedHeaders::default();
            request(&Provider::OPENAI, "POST", path, &headers, &Bytes::from(body.to_owned())).request_digest
        };
        let chat = r#"{"model":"m","messages":[{"role":"user","content":"a"}],"tools":[1],"user":"x"}"#;
        let first = digest(PATHS[0], chat);
        assert_eq!(first, digest(PATHS[0], &chat.replace("\"x\"", "\"y\"")), "who asks is not what is asked");
        let others =
            [("\"m\"", "\"n\""), ("\"a\"", "\"b\""), ("[1]", "[2]"), ("tools", "stops"), ("[1]", "[]")];
        for (from, to) in others {
            assert_ne!(first, digest(PATHS[0], &chat.replace(from, to)), "{from} -> {to}");
        }
        assert_ne!(first, digest(PATHS[1], chat));
        assert_ne!(digest(PATHS[0], "not json"), digest(PATHS[0], "not json either"));
    }
}
