//! When a call that failed is sent again: what the providers' SDKs and agents do.
//!
//! One place knows it: replays that send recorded requests, the load driver and virtual time all ask here. The wait is
//! a pure function of the failure, of how often the call was sent before, and of a number between 0 and 1 that stands
//! for the client's jitter.
//!
//! Sources: the SDKs' own code and what was seen on the wire in late 2026. openai and anthropic (Python, Node) share
//! one scheme; where they part is in [`Profile`].
//!
//! What this does not do: wait, send, or draw.

use serde::{Deserialize, Serialize};

/// How a client sends failed calls again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// How often a call is sent again, at most.
    pub max: u32,
    /// The wait before the first retry; it doubles each time.
    pub first_wait_us: u64,
    pub longest_wait_us: u64,
    /// Between which shares of a wait the jitter lies.
    pub jitter: Jitter,
    pub asked_for: AskedFor,
    pub cut_streams: CutStreams,
    /// Whether `x-should-retry` beats the status.
    pub should_retry: ShouldRetry,
    /// How long the client waits for an answer, or for more of it.
    pub timeout_us: u64,
}

/// Shares of a wait: it is drawn between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    pub least: f64,
    pub most: f64,
}

/// What becomes of the wait that an answer asks for (`retry-after-ms`, `retry-after`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedFor {
    Ignored,
    /// It is waited, if it is no longer than this; else the client's own wait holds.
    UpTo {
        longest_us: u64,
    },
    /// It is waited, if it is no longer than this; else the call is not sent again.
    UpToElseGivenUp {
        longest_us: u64,
    },
}

/// What becomes of a stream that broke off, or told of an error, after it had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutStreams {
    GivenUp,
    Retried,
}

/// What a provider's own word about a retry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShouldRetry {
    Heeded,
    Ignored,
}

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// What the answer says about a retry.
    pub should_retry: Option<bool>,
    /// The wait that it asks for.
    pub asked_for_us: Option<u64>,
}

/// The kinds of failure that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    Status(u16),
    /// No answer came: no connection, or it was closed, or it took too long.
    NoAnswer,
    /// The answer began and did not end as it should.
    Cut,
    /// The answer cannot be read.
    Malformed,
}

/// Clients whose retries are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    #[default]
    OpenaiPython,
    OpenaiNode,
    AnthropicPython,
    AnthropicNode,
    Vercel,
    ClaudeCode,
    Codex,
    GoogleGenai,
    Mistralai,
    Ollama,
    None,
}

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

impl RetryPolicy {
    /// The scheme that the SDKs of OpenAI and Anthropic share: half a second, doubled each time, eight at most, less up
    /// to a quarter of it.
    pub const SDK: Self = Self {
        max: 2,
        first_wait_us: SECOND_US / 2,
        longest_wait_us: 8 * SECOND_US,
        jitter: Jitter { least: 0.75, most: 1.0 },
        asked_for: AskedFor::UpTo { longest_us: MINUTE_US },
        cut_streams: CutStreams::GivenUp,
        should_retry: ShouldRetry::Heeded,
        timeout_us: 10 * MINUTE_US,
    };

    /// The same policy without randomness: every wait in full.
    #[must_use]
    pub const fn without_jitter(self) -> Self {
        Self { jitter: Jitter { least: 1.0, most: 1.0 }, ..self }
    }

    /// How long to wait before a call is sent again that was sent again `retries` times already; `None` if it is not.
    /// `unit` is a number in [0, 1), from which the jitter follows.
    pub fn wait_us(&self, failure: Failure, retries: u32, unit: f64) -> Option<u64> {
        if retries >= self.max || !self.is_retryable(failure) {
            return None;
        }
        match (failure.asked_for_us, self.asked_for) {
            (Some(asked), AskedFor::UpTo { longest_us } | AskedFor::UpToElseGivenUp { longest_us })
                if asked <= longest_us =>
            {
                Some(asked)
            }
            (Some(_), AskedFor::UpToElseGivenUp { .. }) => None,
            _ => Some(self.backoff_us(retries, unit)),
        }
    }

    fn is_retryable(&self, failure: Failure) -> bool {
        match (failure.should_retry, self.should_retry) {
            (Some(word), ShouldRetry::Heeded) => return word,
            (None, _) | (_, ShouldRetry::Ignored) => {}
        }
        match failure.kind {
            FailureKind::Status(status) => matches!(status, 408 | 409 | 429 | 500..),
            FailureKind::NoAnswer => true,
            FailureKind::Cut => self.cut_streams == CutStreams::Retried,
            FailureKind::Malformed => false,
        }
    }

    fn backoff_us(&self, retries: u32, unit: f64) -> u64 {
        let doubled = self.first_wait_us.saturating_mul(1 << retries.min(20));
        let Jitter { least, most } = self.jitter;
        // From the most downwards, so that 0 is the wait in full.
        let share = most - (most - least) * unit;
        (doubled.min(self.longest_wait_us) as f64 * share).round() as u64
    }
}

impl Profile {
    pub const ALL: [Self; 11] = [
        Self::OpenaiPython,
        Self::OpenaiNode,
        Self::AnthropicPython,
        Self::AnthropicNode,
        Self::Vercel,
        Self::ClaudeCode,
        Self::Codex,
        Self::GoogleGenai,
        Self::Mistralai,
        Self::Ollama,
        Self::None,
    ];

    /// The word by which users name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenaiPython => "openai-python",
            Self::OpenaiNode => "openai-node",
            Self::AnthropicPython => "anthropic-python",
            Self::AnthropicNode => "anthropic-node",
            Self::Vercel => "vercel",
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::GoogleGenai => "google-genai",
            Self::Mistralai => "mistralai",
            Self::Ollama => "ollama",
            Self::None => "none",
        }
    }

    pub fn policy(self) -> RetryPolicy {
        let sdk = RetryPolicy::SDK;
        match self {
            Self::OpenaiPython => {
                RetryPolicy { asked_for: AskedFor::UpToElseGivenUp { longest_us: 2 * MINUTE_US }, ..sdk }
            }
            Self::OpenaiNode | Self::AnthropicPython | Self::AnthropicNode => sdk,
            // Two seconds, then four; it goes by the status alone.
            Self::Vercel => RetryPolicy {
                first_wait_us: 2 * SECOND_US,
                longest_wait_us: MINUTE_US,
                should_retry: ShouldRetry::Ignored,
                ..sdk
            }
            .without_jitter(),
            // Seen: 0.6, 1.2, 2.3 s.
            Self::ClaudeCode => RetryPolicy {
                max: 10,
                longest_wait_us: 32 * SECOND_US,
                jitter: Jitter { least: 1.0, most: 1.25 },
                cut_streams: CutStreams::Retried,
                ..sdk
            },
            // Seen: 0.2, 0.4 s.
            Self::Codex => RetryPolicy {
                max: 4,
                first_wait_us: SECOND_US / 5,
                longest_wait_us: MINUTE_US,
                jitter: Jitter { least: 0.9, most: 1.1 },
                cut_streams: CutStreams::Retried,
                should_retry: ShouldRetry::Ignored,
                ..sdk
            },
            Self::GoogleGenai | Self::Mistralai | Self::Ollama | Self::None => RetryPolicy { max: 0, ..sdk },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure { kind: FailureKind::Status(status), should_retry: None, asked_for_us: None }
    }

    fn asking(seconds: u64) -> Failure {
        Failure { asked_for_us: Some(seconds * SECOND_US), ..status(429) }
    }

    #[test]
    fn waits_double_up_to_the_longest_less_the_jitter() {
        let sdk = RetryPolicy { max: 9, ..RetryPolicy::SDK };
        let full: Vec<_> = (0..6).map(|retries| sdk.wait_us(status(500), retries, 0.0)).collect();
        let ms = |ms: u64| Some(ms * 1000);
        assert_eq!(full, [ms(500), ms(1000), ms(2000), ms(4000), ms(8000), ms(8000)]);
        assert_eq!(sdk.wait_us(status(429), 0, 0.5), Some(437_500));
        assert_eq!(sdk.wait_us(status(500), 9, 0.0), None);
        let statuses = [400, 401, 404, 408, 409, 422, 429, 500, 529];
        let retried: Vec<u16> =
            statuses.into_iter().filter(|code| sdk.wait_us(status(*code), 0, 0.0).is_some()).collect();
        assert_eq!(retried, [408, 409, 429, 500, 529]);
    }

    #[test]
    fn what_an_answer_asks_for_is_waited_within_bounds() {
        let first = |profile: Profile, failure| profile.policy().wait_us(failure, 0, 0.0);
        assert_eq!(first(Profile::OpenaiPython, asking(90)), Some(90 * SECOND_US));
        assert_eq!(first(Profile::OpenaiPython, asking(121)), None);
        assert_eq!(first(Profile::AnthropicPython, asking(60)), Some(60 * SECOND_US));
        assert_eq!(first(Profile::AnthropicPython, asking(61)), Some(SECOND_US / 2));
        assert_eq!(first(Profile::GoogleGenai, asking(1)), None);
    }

    #[test]
    fn a_providers_word_beats_its_status_where_it_is_heeded() {
        let no = Failure { should_retry: Some(false), ..status(429) };
        let yes = Failure { should_retry: Some(true), ..status(400) };
        let first = |profile: Profile, failure| profile.policy().wait_us(failure, 0, 0.0).is_some();
        assert_eq!([first(Profile::OpenaiNode, no), first(Profile::OpenaiNode, yes)], [false, true]);
        assert_eq!([first(Profile::Vercel, no), first(Profile::Vercel, yes)], [true, false]);
    }

    #[test]
    fn streams_that_broke_off_are_retried_by_agents_only() {
        let cut = Failure { kind: FailureKind::Cut, ..status(200) };
        let retried = Profile::ALL.into_iter().filter(|one| one.policy().wait_us(cut, 0, 0.0).is_some());
        assert_eq!(retried.collect::<Vec<_>>(), [Profile::ClaudeCode, Profile::Codex]);
    }

    #[test]
    fn the_names_are_those_that_are_read() {
        for profile in Profile::ALL {
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.as_str());
        }
    }
}
