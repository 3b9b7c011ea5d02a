//! The figures that a replay is judged by.
//!
//! An answer from the recording brings its tokens, its price and its times along: those of the recorded call. So a
//! replay that nobody else answered has the figures of the recording, over the calls that were served. Where a model
//! was asked, they are those of the run itself, every call at its price, whoever was paid.
//!
//! Invariant: no figure mixes recorded times with those of answers that came at once. What is neither is unknown.

use crate::assembly::{Timing, TraceSpan};
use crate::cost::PriceBook;
use crate::facts::CallFacts;
use crate::metrics::{Measured, TraceMetrics};
use std::collections::HashSet;

/// How fast recorded answers came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As they were recorded.
    Recorded,
    /// At once, or faster.
    Faster,
}

/// Of a replay that the recording answered alone. `served`: the places in the recording of the answers.
pub fn of_served(
    recorded: &[CallFacts],
    span: TraceSpan,
    started_unix_us: Option<i64>,
    served: &[u32],
    prices: &PriceBook,
) -> TraceMetrics {
    let served: HashSet<u32> = served.iter().copied().collect();
    let facts: Vec<CallFacts> = recorded.iter().filter(|call| served.contains(&call.seq)).cloned().collect();
    Measured::of(&facts, span, started_unix_us, prices).metrics
}

/// Of a replay in which a model was asked: `facts` are those of the run.
pub fn of_asked(
    facts: &[CallFacts],
    span: TraceSpan,
    started_unix_us: Option<i64>,
    (pace, from_recording): (Pace, u32),
    prices: &PriceBook,
) -> TraceMetrics {
    let timing = match pace {
        Pace::Faster if from_recording > 0 => Timing::OrderOnly,
        Pace::Faster | Pace::Recorded => span.timing,
    };
    Measured::of(facts, TraceSpan { timing, ..span }, started_unix_us, prices).metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::example::{Example, call};

    fn two_calls() -> Vec<CallFacts> {
        vec![call(0, 0, 100).history(1).used(1000, 0, 100), call(1, 200, 300).after(1, 2).used(2000, 0, 100)]
    }

    #[test]
    fn served_answers_bring_their_figures_along() {
        let (span, prices) = (TraceSpan::closed(600_000), PriceBook::listed());
        let all = of_served(&two_calls(), span, None, &[0, 1], &prices);
        let whole = Measured::of(&two_calls(), span, None, &prices).metrics;
        assert_eq!(all, whole);
        let first = of_served(&two_calls(), span, None, &[0], &prices);
        assert_eq!((first.steps, first.tokens.input_total), (1, Some(1000)));
        assert!(first.cost_usd < whole.cost_usd && first.cost_usd.is_some());
    }

    #[test]
    fn times_of_answers_that_came_at_once_are_not_known() {
        let (span, prices) = (TraceSpan::closed(600_000), PriceBook::listed());
        let duration = |pace| of_asked(&two_calls(), span, None, pace, &prices).by_loop[0].duration_ms;
        assert_eq!(duration((Pace::Faster, 1)), None);
        assert!(duration((Pace::Faster, 0)).is_some() && duration((Pace::Recorded, 1)).is_some());
    }
}
