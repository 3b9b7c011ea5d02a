//! One loop under way: what its steps and attempts have used so far.
//!
//! Whoever runs loops, in real or in virtual time, keeps one of these for each and hands the [`Tally`](super::Tally)
//! what it comes to.

use super::prices::Prices;
use crate::cost::{Bound, Usd};
use crate::limits::Limited;
use crate::metrics::{AttemptMetrics, CostSum, History, Ms, StepSample, Streamed, TokenSums};
use crate::retry::FailureKind;
use crate::usage::LeafTokens;

/// An attempt that has ended. Times are µs on the run's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttemptEnd {
    pub sent_us: u64,
    /// Of a stream, once something of its answer came.
    pub streamed: Option<Streamed>,
    pub end_us: u64,
    pub used: Used,
    pub outcome: AttemptOutcome,
    /// Tools that its answer calls.
    pub tool_calls: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptOutcome {
    Answered,
    /// Refused by one of the account's limits, as far as it is known by which.
    Limited(Option<Limited>),
    Status(u16),
    /// The connection was closed, or could not be made.
    NoAnswer,
    TimedOut,
    /// The answer broke off.
    Cut,
    /// An error came inside the stream.
    StreamError,
    Malformed,
    /// Its loop was stopped before it ended.
    Stopped,
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Used {
    /// Providers do not bill what they refuse.
    Nothing,
    Tokens(LeafTokens),
    /// At least so much: it broke off.
    AtLeast(LeafTokens),
    /// Nobody said, and it may have been billed.
    Unknown,
}

/// A step under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTrack {
    model: usize,
    history: History,
    attempts: u32,
    failed: u32,
    first_sent_us: u64,
    last_sent_us: u64,
    last_end_us: u64,
    tokens: TokenSums,
    cost: CostSum,
    /// Of the attempts that failed.
    wasted: Spent,
    /// Of the last attempt, and of all before it.
    last_cost: CostSum,
    retried_cost: CostSum,
    /// Attempts of which it is not known what they cost.
    unknown_costs: u32,
    last: AttemptMetrics,
    last_tool_calls: u32,
    last_input_tokens: u64,
    last_output_tokens: u64,
}

/// Tokens and dollars.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub tokens: u64,
    pub cost: CostSum,
}

/// A loop under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopTrack {
    pub steps: u32,
    /// All that it used.
    pub spent: Spent,
    /// Of it, what its failed attempts used.
    pub wasted: Spent,
    pub beside: Beside,
}

/// What a loop did besides its steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// Tool calls that were measured, and that no step asked for.
    pub tool_calls: u32,
    /// HTTP exchanges that were no model steps.
    pub other_calls: u32,
    /// Of those, as far as it is known.
    pub cost: CostSum,
}

/// A step that has ended, with what reports sort it by.
#[derive(Clone, Copy, Debug)]
pub struct StepEnd {
    pub(super) sample: StepSample,
    pub(super) model: usize,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Tools that it asked for.
    pub(super) tool_calls: u32,
    /// Attempts of which it is not known what they cost.
    pub(super) unknown_costs: u32,
    /// From its first request to its last, if there were several.
    pub(super) retried_us: u64,
    /// The cost of the attempts that were tried again.
    pub(super) retried_cost: CostSum,
    spent: Spent,
    wasted: Spent,
}

impl AttemptEnd {
    pub fn took_us(&self) -> u64 {
        self.end_us.saturating_sub(self.sent_us)
    }
}

impl AttemptOutcome {
    /// What a client goes by when it decides whether to send the call again; `None` if it was answered.
    pub fn failure(self) -> Option<FailureKind> {
        Some(match self {
            Self::Answered => return None,
            Self::Limited(_) => FailureKind::Status(429),
            Self::Status(status) => FailureKind::Status(status),
            Self::NoAnswer | Self::TimedOut | Self::Stopped => FailureKind::NoAnswer,
            Self::Cut | Self::StreamError => FailureKind::Cut,
            Self::Malformed => FailureKind::Malformed,
        })
    }

    pub fn is_failure(self) -> bool {
        self != Self::Answered
    }

    /// The word for it. What the client gave up or could not read has a word of its own, and what broke off is `cut`
    /// where the errors of recorded traces say who broke it off.
    pub fn as_word(self) -> String {
        match self {
            Self::Answered => "answered".to_owned(),
            Self::Limited(_) => "http_429".to_owned(),
            Self::Status(status) => format!("http_{status}"),
            Self::NoAnswer => "no_answer".to_owned(),
            Self::TimedOut => "timed_out".to_owned(),
            Self::Cut => "cut".to_owned(),
            Self::StreamError => "stream_error".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Stopped => "stopped".to_owned(),
        }
    }
}

impl Used {
    fn leaves(&self) -> Option<&LeafTokens> {
        match self {
            Self::Nothing | Self::Unknown => None,
            Self::Tokens(leaves) | Self::AtLeast(leaves) => Some(leaves),
        }
    }

    /// As far as they are known.
    fn tokens(&self) -> u64 {
        self.leaves().map_or(0, |leaves| leaves.input() + leaves.output())
    }
}

impl Spent {
    fn add(&mut self, more: &Self) {
        self.tokens += more.tokens;
        self.cost.merge(&more.cost);
    }
}

impl StepTrack {
    /// A step that is about to send its first request.
    pub fn begin(model: usize, history: History) -> Self {
        Self { model, history, ..Self::default() }
    }

    /// Its next attempt is another model's, or another provider's.
    pub(super) fn served_by(&mut self, model: usize) {
        self.model = model;
    }

    /// How often it was sent.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How often it was sent again.
    pub fn retries(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }

    /// One of its attempts has ended.
    pub fn attempt(&mut self, end: &AttemptEnd, prices: &Prices) {
        if self.attempts == 0 {
            self.first_sent_us = end.sent_us;
        } else {
            self.retried_cost.merge(&self.last_cost);
        }
        self.attempts += 1;
        self.failed += u32::from(end.outcome.is_failure());
        (self.last_sent_us, self.last_end_us) = (end.sent_us, end.end_us);
        (self.last, self.last_tool_calls) = (metrics(end), end.tool_calls);
        let cost = self.cost_of(&end.used, prices);
        self.last_cost = cost;
        self.cost.merge(&cost);
        self.unknown_costs += u32::from(cost.usd().is_none());
        if end.outcome.is_failure() {
            self.wasted.add(&Spent { tokens: end.used.tokens(), cost });
        }
        self.tokens.at_least |= matches!(end.used, Used::AtLeast(_) | Used::Unknown);
        let Some(leaves) = end.used.leaves() else { return };
        self.tokens.merge(&TokenSums::of(leaves));
        (self.last_input_tokens, self.last_output_tokens) = (leaves.input(), leaves.output());
    }

    fn cost_of(&self, used: &Used, prices: &Prices) -> CostSum {
        match used {
            Used::Nothing => CostSum::of_not_billed(),
            Used::Tokens(leaves) => prices.sum(self.model, leaves, Bound::Exact),
            Used::AtLeast(leaves) => prices.sum(self.model, leaves, Bound::AtLeast),
            Used::Unknown => CostSum::of_unknown(),
        }
    }

    /// It has ended, with its last attempt.
    pub fn finish(&self, prices: &Prices) -> StepEnd {
        let limit = prices.input_limit(self.model);
        let used = self.last_input_tokens > 0;
        let sample = StepSample {
            attempts: self.attempts,
            retries: self.retries(),
            failed_attempts: self.failed,
            step_latency_ms: Some(Ms::from_us(signed(self.last_end_us.saturating_sub(self.first_sent_us)))),
            last: self.last,
            context_used: limit.filter(|_| used).map(|limit| self.last_input_tokens as f64 / limit as f64),
            trimmed: self.history == History::Trimmed,
            tokens: self.tokens,
            cost: self.cost,
        };
        let all = self.tokens.input_total.unwrap_or(0) + self.tokens.output_total.unwrap_or(0);
        StepEnd {
            sample,
            model: self.model,
            input_tokens: self.last_input_tokens,
            output_tokens: self.last_output_tokens,
            tool_calls: self.last_tool_calls,
            unknown_costs: self.unknown_costs,
            retried_us: self.last_sent_us - self.first_sent_us,
            retried_cost: self.retried_cost,
            spent: Spent { tokens: all, cost: self.cost },
            wasted: self.wasted,
        }
    }
}

impl StepEnd {
    /// What it cost, as far as that is known.
    pub fn usd(&self) -> Usd {
        self.spent.cost.usd().unwrap_or(Usd::ZERO)
    }
}

impl LoopTrack {
    pub fn step(&mut self, end: &StepEnd) {
        self.steps += 1;
        self.spent.add(&end.spent);
        self.wasted.add(&end.wasted);
    }
}

fn metrics(end: &AttemptEnd) -> AttemptMetrics {
    let latency = Ms::from_us(signed(end.took_us()));
    let since_sent = |at_us: i64| Ms::between(signed(end.sent_us), at_us);
    let streamed = end.streamed;
    let tokens = match &end.used {
        Used::Tokens(leaves) => Some(leaves.output()),
        Used::Nothing | Used::AtLeast(_) | Used::Unknown => None,
    };
    AttemptMetrics {
        latency_ms: Some(latency),
        ttft_ms: streamed.map(|output| since_sent(output.first_us)),
        ttfo_ms: streamed.and_then(|output| output.visible_us).map(since_sent),
        tpot_ms: streamed.and_then(|output| output.tpot_ms()),
        output_tokens_per_s: tokens
            .filter(|_| latency.us() > 0)
            .map(|tokens| tokens as f64 / latency.as_seconds()),
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}
