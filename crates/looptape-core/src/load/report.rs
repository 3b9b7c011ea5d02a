//! What came of a run: the one value of which text, JSON and pictures are made.

use super::outage::OutageReport;
use super::prices::PriceNote;
use super::series::LoadSeries;
use crate::budget::Exhausted;
use crate::cost::Usd;
use crate::limits::{AccountReport, FittedAccount};
use crate::metrics::{Distribution, PricedSteps, Segment, Stats};
use crate::retry::Profile;
use crate::scenario::Scenario;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A run. Its gates are judged by whoever asks for them, on the figures of the whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    pub scenario: Option<String>,
    pub seed: u64,
    pub time: RunTime,
    pub wire: &'static str,
    pub stream: bool,
    pub retry: RetryNote,
    /// What ran each loop, if that was a command: then format and retries are its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub ended: Ended,
    pub phases: Vec<PhaseReport>,
    pub total: LoadFigures,
    pub segments: LoadSegments,
    pub series: LoadSeries,
    /// Where the target was down for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<OutageReport>,
    pub prices: Vec<PriceNote>,
    /// In real time, of targets that have any: the limits that calls met, where looptape sends them itself.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "accounts")]
    pub limits: Vec<FittedAccount>,
    /// In real time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientHealth>,
}

/// Which clock a run went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTime {
    Real,
    Virtual,
}

/// How the client tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RetryNote {
    pub profile: Profile,
    pub max: u32,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Ended {
    /// All phases were over, and all loops.
    Completed,
    /// Somebody ended it before.
    Interrupted { at_s: f64 },
    /// The next call could have cost more than there was.
    OverBudget {
        at_s: f64,
        #[serde(flatten)]
        limit: Exhausted,
    },
    /// Nothing but failed connections: so many calls in a row had no answer.
    TargetDown { at_s: f64, calls: u32, error: String },
    /// A gate failed that ends the run.
    GateFailed { at_s: f64, gate: String, figure: Option<f64> },
    /// A recorded request could not be read.
    RecordingUnreadable { at_s: f64, error: String },
    /// The command that is to run a loop does not: so many loops in a row came to nothing.
    CommandFailed { at_s: f64, loops: u32, error: String },
}

impl Ended {
    /// Whether loops under way are broken off: what is paid for may go on to the end of its call.
    pub fn breaks_off(&self) -> bool {
        match self {
            Self::Completed | Self::OverBudget { .. } => false,
            Self::Interrupted { .. }
            | Self::TargetDown { .. }
            | Self::GateFailed { .. }
            | Self::RecordingUnreadable { .. }
            | Self::CommandFailed { .. } => true,
        }
    }
}

/// How well the client kept up with what it was to do. A client that did not is what was measured, not the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientHealth {
    /// From when a loop was due to when it began.
    pub schedule_lag_ms: Distribution,
    /// How late the client woke up that wanted to wake up every now and then.
    pub wake_up_lag_ms: Distribution,
    /// Why the figures are not the target's; empty if they are.
    pub invalid_because: Vec<String>,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseReport {
    pub name: String,
    pub executor: &'static str,
    #[serde(flatten)]
    pub figures: LoadFigures,
}

/// The figures of a phase, or of all. Rates are over the time from its start to the end of its last loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadFigures {
    #[serde(flatten)]
    pub stats: Stats,
    /// Of the loops that succeeded; in `loop_duration_ms` those that failed are longer than any other.
    pub successful_loop_duration_ms: Distribution,
    /// Of every HTTP exchange, those that failed included.
    pub attempt_latency_ms: Distribution,
    pub wasted: Wasted,
    /// Calls that a limit refused, by the limit.
    pub limited: BTreeMap<&'static str, u32>,
    /// What a month would cost if all of it were like this.
    pub month_usd: Option<f64>,
}

/// What was used in vain: by attempts that failed, and by all steps of loops that did not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wasted {
    pub tokens: u64,
    pub usd: Option<Usd>,
    /// Whether it may be more: some calls did not say what they used.
    pub at_least: bool,
}

/// The steps by what they are. Each step is in one segment of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadSegments {
    pub by_model: Vec<Segment<PricedSteps>>,
    pub by_input_tokens: Vec<Segment<PricedSteps>>,
    pub by_output_tokens: Vec<Segment<PricedSteps>>,
}

fn accounts<S: Serializer>(accounts: &[FittedAccount], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(accounts.iter().map(AccountReport::from))
}

/// The twelfth part of a year.
const MONTH_S: f64 = 365.0 * 86_400.0 / 12.0;

impl LoadFigures {
    pub(super) fn new(
        stats: Stats,
        successful_loop_duration_ms: Distribution,
        attempt_latency_ms: Distribution,
        wasted: Wasted,
        limited: BTreeMap<&'static str, u32>,
    ) -> Self {
        let seconds = stats.window_s.filter(|seconds| *seconds > 0.0);
        let month_usd = stats.cost.exactly().zip(seconds).map(|(usd, s)| usd.as_f64() / s * MONTH_S);
        Self { stats, successful_loop_duration_ms, attempt_latency_ms, wasted, limited, month_usd }
    }

    /// What a loop cost on average.
    pub fn usd_per_loop(&self) -> Option<f64> {
        let loops = self.stats.loops.started;
        self.stats.cost.exactly().filter(|_| loops > 0).map(|usd| usd.as_f64() / f64::from(loops))
    }
}

impl LoadReport {
    pub(super) fn new(
        scenario: &Scenario,
        time: RunTime,
        ended: Ended,
        prices: Vec<PriceNote>,
        finished: super::tally::Finished,
    ) -> Self {
        let phases = scenario.phases.iter().zip(finished.phases).enumerate();
        Self {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            time,
            wire: scenario.traffic.wire.as_str(),
            stream: scenario.traffic.stream,
            retry: RetryNote { profile: scenario.retry.profile, max: scenario.retry.policy.max },
            command: None,
            ended,
            phases: phases
                .map(|(at, (phase, figures))| PhaseReport {
                    name: scenario.phase_name(at),
                    executor: phase.executor.as_str(),
                    figures,
                })
                .collect(),
            total: finished.total,
            segments: finished.segments,
            series: finished.series,
            outage: finished.outage,
            prices,
            limits: Vec::new(),
            client: None,
        }
    }
}
