//! From facts to figures in one call.

use super::trace::total;
use super::{TraceMetrics, trace};
use crate::assembly::{Assembly, CallIndex, Recording, TraceSpan, assemble};
use crate::cost::{Cost, PriceBook};
use crate::facts::CallFacts;
use std::borrow::Cow;

/// A trace, assembled, priced and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub span: TraceSpan,
    pub assembly: Assembly,
    /// The cost of each call, in the order of the facts.
    pub costs: Vec<Cost>,
    pub metrics: TraceMetrics,
}

impl Measured {
    /// `started_unix_us` is the wall-clock time of the
    /// trace's 0, by which `prices` are dated.
    pub fn of<'a>(
        recording: impl Into<Recording<'a>>,
        span: TraceSpan,
        started_unix_us: Option<i64>,
        prices: &PriceBook,
    ) -> Self {
        Self::of_paid(recording, span, started_unix_us, prices, |_| true)
    }

    /// The same where only some calls, by their `seq`, were paid for: the others were answered by a recording
    /// or by nobody.
    pub fn of_paid<'a>(
        recording: impl Into<Recording<'a>>,
        span: TraceSpan,
        started_unix_us: Option<i64>,
        prices: &PriceBook,
        was_paid: impl Fn(u32) -> bool,
    ) -> Self {
        let recording = recording.into();
        let facts = recording.facts;
        let mut measured = Self::of_spent(recording, span, started_unix_us, prices, &was_paid);
        let Self { assembly, costs, metrics, .. } = &mut measured;
        let recorded = |call: CallIndex| match was_paid(facts[call.0].seq) {
            true => Cow::Borrowed(&costs[call.0]),
            false => Cow::Owned(prices.cost(&facts[call.0], started_unix_us)),
        };
        metrics.columns.recorded = total(assembly, recorded);
        metrics.columns.list = total(assembly, |call| Cow::Owned(prices.list_cost(&facts[call.0])));
        measured
    }

    /// The same without what was recorded and what it would cost today: for whoever sums up what was spent.
    pub fn of_spent<'a>(
        recording: impl Into<Recording<'a>>,
        span: TraceSpan,
        started_unix_us: Option<i64>,
        prices: &PriceBook,
        was_paid: impl Fn(u32) -> bool,
    ) -> Self {
        let recording = recording.into();
        let assembly = assemble(recording, &span);
        let facts = recording.facts;
        let price = |call: &CallFacts| match was_paid(call.seq) {
            true => prices.cost(call, started_unix_us),
            false => Cost::NotBilled,
        };
        let costs: Vec<Cost> = facts.iter().map(price).collect();
        let metrics = trace(recording, &assembly, &span, &costs);
        Self { span, assembly, costs, metrics }
    }
}
