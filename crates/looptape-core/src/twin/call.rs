//! A call as the twin is asked about it, and what it says.

use super::service::Service;
use crate::limits::Blocked;
use crate::wire::Wire;

/// Where a call stands in a run: what is drawn for it follows from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPlace {
    /// Tells loops apart; draws follow from it.
    pub loop_key: u64,
    /// 1, 2, … in the order in which loops first appear; faults name loops by it.
    pub loop_no: u64,
    /// 1, 2, … within the loop.
    pub step: u32,
    /// 1 for the first attempt of a step.
    pub attempt: u32,
}

/// A call. Times are µs since the twin's start, and never go back from one call to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    pub at_us: u64,
    pub place: CallPlace,
    /// From the shortest prefix to the whole input, in rising order.
    pub prompt: &'a [PromptPart],
    pub caching: Caching,
    pub max_output_tokens: Option<u64>,
    /// What the model would write; `max_output_tokens` ends it earlier.
    pub output_tokens: u64,
    pub delivery: Delivery,
}

/// A prompt up to some place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptPart {
    /// The same for the same content up to here, and for nothing else.
    pub prefix: u64,
    /// Up to here.
    pub tokens: u64,
}

/// What of a prompt may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// All of it, by the provider itself; writing costs nothing extra.
    Automatic,
    /// So many parts from the front, as the client marked them; writing is billed. 0 for none.
    Marked { parts: usize },
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Streamed,
    /// In one piece, when the last token is there.
    Whole,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Served(Service),
    Refused(Refusal),
    /// The connection is closed without an answer.
    Dropped {
        at_us: u64,
    },
}

/// An answer that is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it is sent.
    pub at_us: u64,
    pub why: RefusalWhy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalWhy {
    /// A limit is reached: 429.
    Limit(Blocked),
    /// Too many calls wait already: 529, or 503 where a provider has no 529.
    Overloaded,
    /// The account is used up.
    NoQuota,
    /// A fault of the script.
    Fault { status: u16, retry_after_us: Option<u64> },
}

impl Refusal {
    /// The HTTP status as providers of a format answer it: only Anthropic has a 529, and a 400 for an account that is used
    /// up.
    pub fn status_in(&self, wire: Wire) -> u16 {
        match (self.status(), wire) {
            (_, Wire::AnthropicMessages) if self.why == RefusalWhy::NoQuota => 400,
            (529, Wire::OpenAiChat | Wire::OpenAiResponses | Wire::GeminiGenerate) => 503,
            (status, _) => status,
        }
    }

    /// The HTTP status, whatever the format: 529 where there is too much to do.
    pub fn status(&self) -> u16 {
        match self.why {
            RefusalWhy::Limit(_) | RefusalWhy::NoQuota => 429,
            RefusalWhy::Overloaded => 529,
            RefusalWhy::Fault { status, .. } => status,
        }
    }

    /// How long the answer asks the client to wait, if it does.
    pub fn retry_after_us(&self) -> Option<u64> {
        match self.why {
            RefusalWhy::Limit(blocked) => blocked.wait_us,
            RefusalWhy::Overloaded | RefusalWhy::NoQuota => None,
            RefusalWhy::Fault { retry_after_us, .. } => retry_after_us,
        }
    }
}
