//! Metrics: the figures of a trace and of many traces, under the names that every output uses.
//!
//! One place computes them; the command line, the JSON API and the self-check all read its result. Field
//! names are the JSON names, with their unit. Durations are [`Ms`], money is [`crate::cost::Usd`]: both whole
//! numbers inside, so parts sum to their whole exactly.
//!
//! Invariants: what is not known is `None` (null in JSON), never 0; a sum with unknown parts says that it is
//! "at least"; the parts of a trace's duration sum to it exactly.
//!
//! What this does not do: attribute cost to causes, gate, or draw.

mod attempt;
mod context;
mod distribution;
mod health;
mod icl;
mod many;
mod measured;
mod ms;
mod outcome;
mod percentile;
mod select;
mod sums;
mod sweep;
#[cfg(test)]
mod tests;
mod time;
mod trace;

pub use attempt::{AttemptMetrics, Streamed, attempt};
pub(crate) use context::input_limit_of;
pub use context::{ContextUse, History, context_used};
pub use distribution::{Bucket, Distribution, MOST_RAW, Method, Sampler, Scale};
pub use health::{Health, HealthReport, THRESHOLDS, Threshold};
pub use many::{
    Concurrency, Detail, GroupBy, GroupTally, Groups, KindFigures, LoopCounts, MetricOverTime, OverTime,
    OverTimeTally, PHASE, PricedSteps, Sample, Segment, Segments, Series, SetTally, Stats, StepFigures,
    Stretch, TallyOptions, TimeUnit, TokenRates, ToolFigures, UnknownGroup, UnknownModel, WarmCold, Warmth,
    Window, WindowBasis, stats,
};
pub(crate) use many::{Size, StepSample, StepTally, loops_per_usd};
pub use measured::Measured;
pub use ms::Ms;
pub use percentile::{Percent, Percentile};
pub use select::{Better, Figure, METRICS, Metric, Reading, select};
pub use sums::{CostColumns, CostFigures, CostSum, ErrorCounts, TokenSums};
pub use time::TimeSplit;
pub(crate) use trace::ratio;
pub use trace::{LoopMetrics, StepMetrics, ToolUse, TraceMetrics, UnknownCost, trace};
