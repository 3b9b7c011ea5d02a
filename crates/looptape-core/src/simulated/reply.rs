//! One turn, ready to be written in any format: text, calls with ids, usage, pace.

use super::conversation::{Conversation, tokens_of};
use super::script::{Pace, Script, Turn};
use super::{SimRequest, stream};
use serde_json::Value;

/// A turn with everything that the formats need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) ids: Ids,
    pub(crate) unix_s: i64,
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) tokens: Tokens,
    pub(crate) pace: Pace,
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
}

impl Reply {
    pub(crate) fn new(
        script: &Script,
        turn: &Turn,
        conversation: &Conversation,
        request: &SimRequest<'_>,
    ) -> Self {
        let calls: Vec<Call> = turn
            .calls
            .iter()
            .map(|c| Call { name: c.name.clone(), arguments: c.arguments.clone() })
            .collect();
        let call_tokens: u64 =
            calls.iter().map(|c| 8 + tokens_of(c.name.len() + c.arguments.to_string().len())).sum();
        let cache_read = script.cache.cached_of(conversation.prefix_tokens);
        let cacheable = script.cache.cached_of(conversation.input_tokens);
        Self {
            ids: Ids::of(request),
            unix_s: request.unix_s,
            text: turn.text.clone(),
            calls,
            tokens: Tokens {
                input: conversation.input_tokens,
                cache_read,
                cache_write: cacheable.saturating_sub(cache_read),
                output: tokens_of(turn.text.len()) + call_tokens + 1,
            },
            pace: script.pace,
        }
    }

    /// The text in the pieces in which it is streamed.
    pub(crate) fn text_pieces(&self) -> Vec<&str> {
        stream::words(&self.text)
    }
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
