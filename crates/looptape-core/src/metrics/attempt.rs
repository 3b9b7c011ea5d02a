//! What one attempt's own times and usage say.

use super::Ms;
use crate::assembly::Timing;
use crate::facts::{CallFacts, CallKind};
use serde::Serialize;

/// Figures of one HTTP exchange; a step that was not tried again has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AttemptMetrics {
    /// From sending the request to the last byte of the answer.
    pub latency_ms: Option<Ms>,
    /// To the first output of any kind; `None` unless the answer was a stream.
    pub ttft_ms: Option<Ms>,
    /// To the first output that is not reasoning.
    pub ttfo_ms: Option<Ms>,
    /// Per output token after the first, in ms; `None` where it is not known how many tokens were streamed.
    pub tpot_ms: Option<f64>,
    pub output_tokens_per_s: Option<f64>,
}

/// Measures one attempt.
pub fn attempt(fact: &CallFacts, timing: Timing) -> AttemptMetrics {
    let since_sent = |time: Option<i64>| time.map(|time| Ms::between(fact.sent_us, time));
    let latency_ms = since_sent(timing.known_end(fact));
    let output_tokens_per_s = latency_ms
        .filter(|latency| latency.us() > 0)
        .and_then(|latency| Some(fact.usage.output_total? as f64 / latency.as_seconds()));
    if timing != Timing::Measured {
        return AttemptMetrics { latency_ms, output_tokens_per_s, ..AttemptMetrics::default() };
    }
    let streamed = Streamed::of(fact);
    AttemptMetrics {
        latency_ms,
        ttft_ms: since_sent(streamed.map(|output| output.first_us)),
        ttfo_ms: since_sent(streamed.and_then(|output| output.visible_us)),
        tpot_ms: streamed.and_then(|output| output.tpot_ms()),
        output_tokens_per_s,
    }
}

/// The output of a streamed answer. Times are µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// When its first output of any kind came.
    pub first_us: i64,
    /// When its first output came that is not reasoning.
    pub visible_us: Option<i64>,
    pub last_us: Option<i64>,
    /// How many tokens came through the stream; `None`: it is not known.
    pub tokens: Option<u64>,
}

impl Streamed {
    /// `None` where no output came, or all of it at once.
    pub fn of(fact: &CallFacts) -> Option<Self> {
        let visible_us = earliest([fact.first_content_us, fact.first_tool_call_us]);
        let first_us = earliest([fact.first_reasoning_us, visible_us]).filter(|_| fact.stream)?;
        let tokens = streamed_output_tokens(fact);
        Some(Self { first_us, visible_us, last_us: fact.last_output_us, tokens })
    }

    /// Per token after the first.
    pub(crate) fn tpot_ms(&self) -> Option<f64> {
        let tokens = self.tokens.filter(|tokens| *tokens >= 2)?;
        let streaming = Ms::between(self.first_us, self.last_us?);
        Some(streaming.as_f64() / (tokens - 1) as f64)
    }

    /// The same, with times from another moment on.
    #[must_use]
    pub(crate) fn later_by(self, us: i64) -> Self {
        let later = |at: i64| at.saturating_add(us);
        Self {
            first_us: later(self.first_us),
            visible_us: self.visible_us.map(later),
            last_us: self.last_us.map(later),
            ..self
        }
    }
}

fn earliest<const N: usize>(times: [Option<i64>; N]) -> Option<i64> {
    times.into_iter().flatten().min()
}

/// How many output tokens came through the stream. Reasoning that is hidden did not; reasoning that the
/// stream shows did, unless it shows only a summary of it.
fn streamed_output_tokens(fact: &CallFacts) -> Option<u64> {
    let usage = &fact.usage;
    let shows_reasoning = fact.first_reasoning_us.is_some();
    match (shows_reasoning, fact.kind) {
        (true, CallKind::Llm(wire)) if wire.streams_all_reasoning() => usage.output_total,
        (true, _) => None,
        (false, _) => {
            usage.output_visible.or_else(|| usage.output_total.filter(|_| usage.reasoning.is_none()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::example::{Example, call};
    use crate::wire::Wire;

    fn streamed() -> CallFacts {
        let mut fact = call(0, 100, 1000).used(50, 0, 11);
        fact.stream = true;
        fact.first_event_us = Some(150_000);
        fact.first_content_us = Some(300_000);
        fact.first_tool_call_us = Some(700_000);
        fact.last_output_us = Some(1_000_500);
        fact
    }

    #[test]
    fn a_streamed_answer() {
        let got = attempt(&streamed(), Timing::Measured);
        assert_eq!(got.latency_ms, Some(Ms::from_us(1_000_000)));
        assert_eq!(got.ttft_ms, Some(Ms::from_us(200_000)));
        assert_eq!(got.ttfo_ms, got.ttft_ms);
        assert_eq!(got.tpot_ms, Some(70.05));
        assert_eq!(got.output_tokens_per_s, Some(11.0));
    }

    #[test]
    fn a_tool_call_alone_is_a_first_token_and_reasoning_is_no_first_output() {
        let mut fact = streamed();
        fact.first_content_us = None;
        assert_eq!(attempt(&fact, Timing::Measured).ttft_ms, Some(Ms::from_us(600_000)));
        fact.first_reasoning_us = Some(200_000);
        let got = attempt(&fact, Timing::Measured);
        assert_eq!((got.ttft_ms, got.ttfo_ms), (Some(Ms::from_us(100_000)), Some(Ms::from_us(600_000))));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut whole = streamed();
        whole.stream = false;
        let got = attempt(&whole, Timing::Measured);
        assert_eq!((got.ttft_ms, got.ttfo_ms, got.tpot_ms), (None, None, None));
        let untimed = attempt(&streamed(), Timing::OrderOnly);
        assert_eq!(untimed, AttemptMetrics::default());
        for timing in [Timing::Stated, Timing::StartsOnly, Timing::DurationsOnly] {
            let got = attempt(&streamed(), timing);
            let whole = AttemptMetrics {
                latency_ms: Some(Ms::from_us(1_000_000)),
                output_tokens_per_s: Some(11.0),
                ..AttemptMetrics::default()
            };
            assert_eq!(got, whole, "{timing:?}: nothing inside the call is known");
            let mut unstated = streamed();
            unstated.end_us = Some(unstated.sent_us);
            assert_eq!(attempt(&unstated, timing), AttemptMetrics::default(), "{timing:?}");
        }
        let mut one_token = streamed();
        one_token.usage.output_visible = Some(1);
        assert_eq!(attempt(&one_token, Timing::Measured).tpot_ms, None);
        let mut summarised = streamed();
        summarised.kind = CallKind::Llm(Wire::OpenAiResponses);
        summarised.first_reasoning_us = Some(200_000);
        assert_eq!(attempt(&summarised, Timing::Measured).tpot_ms, None);
        let mut unsplit = streamed();
        (unsplit.usage.output_visible, unsplit.usage.reasoning) = (None, Some(5));
        assert_eq!(attempt(&unsplit, Timing::Measured).tpot_ms, None);
        let mut running = streamed();
        running.end_us = None;
        assert_eq!(attempt(&running, Timing::Measured).latency_ms, None);
    }
}
