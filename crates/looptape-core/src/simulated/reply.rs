//! One turn, ready to be written in any format: text, calls with ids, usage, pace.

use super::conversation::{Conversation, tokens_of};
use super::script::{self, Pace, Script, Turn};
use super::{SimRequest, stream};
use crate::limits::Standings;
use crate::twin::Caching;
use serde_json::Value;

/// A turn with everything that the formats need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) ids: Ids,
    pub(crate) unix_s: i64,
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: Finish,
    pub(crate) tokens: Tokens,
    /// How the account's limits stand; headers state it.
    pub(crate) standings: Standings,
    pub(crate) pace: Pace,
}

/// Why the model stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Said,
    CallsTools,
    /// The client's bound on output tokens.
    Length,
}

/// A tool call with its arguments as the model wrote them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// What the turn used. `input` includes `cache_read` and `cache_write`; formats that count apart subtract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) input: u64,
    pub(crate) cache_read: u64,
    /// Only where the client marks what to cache.
    pub(crate) cache_write: u64,
    pub(crate) output: u64,
    /// Thought before speaking; only Gemini counts it apart, beside `output`.
    pub(crate) thoughts: u64,
}

/// What a scripted turn thinks before it speaks.
const SCRIPTED_THOUGHTS: u64 = 24;

impl Reply {
    /// A turn of a script, whose account was full before this request.
    pub(crate) fn scripted(
        script: &Script,
        turn: &Turn,
        conversation: &Conversation,
        request: &SimRequest<'_>,
    ) -> Self {
        let cache_read = script.cache.cached_of(conversation.prefix_tokens);
        let cacheable = script.cache.cached_of(conversation.input_tokens);
        let is_cached = conversation.caching != Caching::Marked { parts: 0 };
        let tokens = Tokens {
            input: conversation.input_tokens,
            cache_read: if is_cached { cache_read } else { 0 },
            cache_write: if is_cached { cacheable.saturating_sub(cache_read) } else { 0 },
            output: output_tokens(turn),
            thoughts: SCRIPTED_THOUGHTS,
        };
        let used = tokens.input + tokens.output;
        Self {
            ids: Ids::of(request),
            unix_s: request.unix_s,
            text: turn.text.clone(),
            calls: calls(turn),
            finish: if turn.calls.is_empty() { Finish::Said } else { Finish::CallsTools },
            tokens,
            standings: script::account(used),
            pace: script.pace,
        }
    }

    /// The text in the pieces in which it is streamed.
    pub(crate) fn text_pieces(&self) -> Vec<&str> {
        stream::words(&self.text)
    }
}

pub(crate) fn calls(turn: &Turn) -> Vec<Call> {
    turn.calls.iter().map(|c| Call { name: c.name.clone(), arguments: c.arguments.clone() }).collect()
}

/// What a turn takes to say.
pub(crate) fn output_tokens(turn: &Turn) -> u64 {
    tokens_of(turn.text.len()) + call_tokens(turn) + 1
}

/// What its calls take.
pub(crate) fn call_tokens(turn: &Turn) -> u64 {
    turn.calls.iter().map(|c| 8 + tokens_of(c.name.len() + c.arguments.to_string().len())).sum()
}

impl Call {
    pub(crate) fn arguments_json(&self) -> String {
        self.arguments.to_string()
    }
}

/// Ids that follow from the request, so that answers are deterministic and yet differ between requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    seed: blake3::Hash,
}

impl Ids {
    pub(crate) fn of(request: &SimRequest<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(request.path.as_bytes());
        hasher.update(&[0]);
        hasher.update(request.body);
        hasher.update(&request.occurrence.to_be_bytes());
        Self { seed: hasher.finalize() }
    }

    /// `prefix` followed by 24 hex digits; `place` tells several ids of one answer apart.
    pub(crate) fn make(&self, prefix: &str, place: usize) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.seed.as_bytes());
        hasher.update(prefix.as_bytes());
        hasher.update(&place.to_be_bytes());
        format!("{prefix}{}", &hasher.finalize().to_hex()[..24])
    }
}
