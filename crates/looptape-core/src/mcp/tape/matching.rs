//! Which recorded message a live one is.
//!
//! Equal ones first, those of the client's own conversation before others, in recorded order; then those that differ in
//! volatile values only; then what was served before and may be asked again.

use super::{Entry, ServerTape, TOOL_CALL};
use crate::canonical::{Encoder, Json, Place, Renaming, Rules, Treatment};
use crate::digest::Digest;
use crate::mcp::message::Message;
use crate::mcp::report::Wanted;
use crate::redact;
use crate::replay::{DivergenceCode, Masking, Rung};
use std::sync::LazyLock;

/// Which recorded message a live one is.
pub(super) struct Match {
    pub(super) conversation: usize,
    pub(super) entry: usize,
    pub(super) how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Equal,
    Masked,
    Again,
}

/// By what messages are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Asks {
        method: String,
        params: Digest,
    },
    /// An answer to a request of the server's.
    Replies {
        id: String,
    },
    Other(Digest),
}

/// `_meta` is about the message itself: tokens, ids, spans.
static PARAMS: LazyLock<Rules> = LazyLock::new(|| Rules::compile([("/_meta", Treatment::Ignored)]));

/// The one message that was recorded, or why none of several can be chosen.
pub(super) type Found = Result<Match, DivergenceCode>;

impl ServerTape {
    /// `None`: it was not recorded, or not once more.
    pub(super) fn find(
        &self,
        (key, live): (&Key, &Message<'_>),
        nth: usize,
        (masking, loosest): (&Masking, Rung),
    ) -> Option<Found> {
        let masked = || (loosest >= Rung::Masked).then(|| self.masked(live, nth, masking)).flatten();
        self.equal(key, nth).map(Ok).or_else(masked).or_else(|| self.again(key, live, nth).map(Ok))
    }

    /// Places of entries, those of the `nth` conversation first, then in recorded order.
    fn places(&self, nth: usize) -> impl Iterator<Item = (usize, usize, &Entry)> {
        let own = self.conversations.get(nth).map(|conversation| (nth, conversation));
        let others = self.conversations.iter().enumerate().filter(move |(place, _)| *place != nth);
        own.into_iter().chain(others).flat_map(|(place, conversation)| {
            conversation.entries.iter().enumerate().map(move |(at, entry)| (place, at, entry))
        })
    }

    pub(super) fn holds(&self, key: &Key) -> bool {
        self.places(0).any(|(.., entry)| entry.key == *key)
    }

    fn equal(&self, key: &Key, nth: usize) -> Option<Match> {
        let found = self.places(nth).find(|(.., entry)| entry.served == 0 && entry.key == *key);
        found.map(|(conversation, entry, _)| Match { conversation, entry, how: How::Equal })
    }

    /// The unserved message that differs in volatile values only; ambiguous if there are several with different answers.
    fn masked(
        &self,
        live: &Message<'_>,
        nth: usize,
        masking: &Masking,
    ) -> Option<Result<Match, DivergenceCode>> {
        let (Message::Request { method, params, .. } | Message::Notification { method, params }) = live
        else {
            return None;
        };
        let wanted = comparable(*params);
        let alike = |entry: &Entry| {
            let recorded = Message::read(&entry.call.message);
            let (Message::Request { method: recorded, params, .. }
            | Message::Notification { method: recorded, params }) = recorded
            else {
                return false;
            };
            recorded == *method && masking.stand_ins(&comparable(params), &wanted).is_some()
        };
        let mut found = self.places(nth).filter(|(.., entry)| entry.served == 0 && alike(entry));
        let (conversation, at, first) = found.next()?;
        let answer =
            |entry: &Entry| entry.call.said.iter().map(|said| said.message.clone()).collect::<Vec<_>>();
        if found.any(|(.., entry)| entry.key != first.key && answer(entry) != answer(first)) {
            return Some(Err(DivergenceCode::Ambiguous));
        }
        Some(Ok(Match { conversation, entry: at, how: How::Masked }))
    }

    /// A message that was served before and may be asked again. A handshake may say of the client what it likes.
    fn again(&self, key: &Key, live: &Message<'_>, nth: usize) -> Option<Match> {
        let (Message::Request { method, .. } | Message::Notification { method, .. }) = live else {
            return None;
        };
        if method == TOOL_CALL {
            return None;
        }
        let is_handshake = method.starts_with("initialize") || method == "notifications/initialized";
        let fits = |entry: &Entry| match &entry.key {
            key_there if key_there == key => true,
            Key::Asks { method: there, .. } => is_handshake && there == method,
            _ => false,
        };
        let all: Vec<_> = self.places(nth).filter(|(.., entry)| fits(entry)).collect();
        let first_unserved = all.iter().find(|(.., entry)| entry.served == 0);
        let (conversation, entry, found) = first_unserved.or(all.last())?;
        let how = if found.served == 0 { How::Equal } else { How::Again };
        Some(Match { conversation: *conversation, entry: *entry, how })
    }

    /// The parameters of the recorded message of the same method, and tool, that comes next.
    pub(super) fn nearest(&self, live: &Message<'_>) -> Option<String> {
        let wanted = Wanted::of(live);
        let like = |(.., entry): &(usize, usize, &Entry)| {
            Wanted::of(&Message::read(&entry.call.message)).is_like(&wanted)
        };
        let all: Vec<_> = self.places(0).filter(like).collect();
        let next = all.iter().find(|(.., entry)| entry.served == 0).or(all.last())?;
        Wanted::of(&Message::read(&next.2.call.message)).params
    }
}

impl Key {
    pub(super) fn of(message: &Message<'_>, bytes: &[u8]) -> Self {
        match message {
            Message::Request { method, params, .. } | Message::Notification { method, params } => {
                Self::Asks { method: method.clone().into_owned(), params: digest(*params) }
            }
            Message::Response { id, .. } => Self::Replies { id: (*id).to_owned() },
            Message::Unreadable => Self::Other(Digest::of(bytes.trim_ascii())),
        }
    }
}

/// Parameters that are missing are empty ones.
fn digest(params: Option<&str>) -> Digest {
    let text = params.unwrap_or("{}");
    let normal = redact::normalise(text.as_bytes());
    let Some(json) = Json::parse(&normal) else { return Digest::of(&normal) };
    let mut encoder = Encoder::new(&PARAMS, Renaming::Off);
    encoder.push(&json, Place::ROOT, "");
    encoder.finish_item()
}

/// The same as a text in which volatile values can be found.
fn comparable(params: Option<&str>) -> String {
    let normal = redact::normalise(params.unwrap_or("{}").as_bytes());
    let mut value: serde_json::Value = serde_json::from_slice(&normal).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.shift_remove("_meta");
    }
    value.sort_all_objects();
    value.to_string()
}
