//! Everything measured about a set of traces.

use super::super::distribution::Distribution;
use super::super::sums::{CostColumns, CostFigures, ErrorCounts};
use super::super::{Ms, TimeSplit, TraceMetrics};
use super::concurrency::Concurrency;
use super::segments::Segments;
use super::series::{Series, TokenRates};
use super::steps::StepFigures;
use super::tally::{SetTally, TallyOptions};
use super::warmth::WarmCold;
use super::window::Window;
use crate::cost::{Unpriced, Usd};
use serde::Serialize;

/// One trace of a set.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Wall-clock start; `None` for imports without times.
    pub started_unix_us: Option<i64>,
    /// The phase of the scenario that it belongs to, if there is one.
    pub phase: Option<&'a str>,
    pub metrics: &'a TraceMetrics,
}

/// Loops by how they ended. Only loops with an end are completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoopCounts {
    /// Loops that a load run meant to start; `None` where nobody planned them.
    pub offered: Option<u32>,
    pub started: u32,
    pub completed: u32,
    pub success: u32,
    pub failure: u32,
    pub abandoned: u32,
    pub unknown: u32,
    /// Offered loops that could not be started.
    pub dropped: Option<u32>,
}

/// Calls of a model whose cost is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownModel {
    pub model: Option<String>,
    pub why: Unpriced,
    pub calls: u32,
}

/// Everything measured about a set of traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub traces: usize,
    pub window: Option<Window>,
    pub window_s: Option<f64>,
    pub loops: LoopCounts,
    /// Completed loops over the window.
    pub loops_per_min: Option<f64>,
    pub successful_loops_per_min: Option<f64>,
    /// HTTP attempts per loop.
    pub amplification: Option<f64>,
    #[serde(flatten)]
    pub of_steps: StepFigures,
    pub steps_per_loop: Distribution,
    /// Under load from the scheduled arrival on; a loop that failed is then longer than any other.
    pub loop_duration_ms: Distribution,
    pub tool_calls: u32,
    /// HTTP exchanges that were no model steps.
    pub other_calls: u32,
    /// Where the time of all traces went, added up.
    pub time: TimeSplit,
    pub retry_wasted_ms: Option<Ms>,
    pub retry_wasted_usd: Option<Usd>,
    #[serde(flatten)]
    pub cost: CostFigures,
    #[serde(flatten)]
    pub columns: CostColumns,
    pub cost_unknown: Vec<UnknownModel>,
    /// Of those loops whose cost is known in full; the others are its unknown ones.
    pub loop_cost_usd: Distribution,
    /// Completed loops per dollar; `None` where the cost is not known in full, or 0.
    pub loops_per_usd: Option<f64>,
    pub token_rates: Option<TokenRates>,
    pub concurrency: Option<Concurrency>,
    pub warm_cold: Option<WarmCold>,
    pub errors: ErrorCounts,
    pub error_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<Segments>,
}

/// Measures a set of traces, over the window given or the one observed.
pub fn stats(samples: &[Sample<'_>], window: Option<Window>) -> Stats {
    let mut tally = SetTally::new(TallyOptions::default());
    samples.iter().for_each(|sample| tally.add(sample));
    tally.finish(window)
}
