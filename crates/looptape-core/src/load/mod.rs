//! Loops under load: when they begin, what they do, how calls are tried again, what came of it.
//!
//! One scenario ([`crate::scenario`]) runs in two ways: in real time against a URL, by a driver that lives elsewhere,
//! and here in virtual time against the provider's twin ([`simulate`]). Both take their starts from [`Arrivals`], their
//! steps from [`Plans`], their retries from [`crate::retry`], and tell a [`Tally`] what happened, which makes the
//! [`LoadReport`].
//!
//! The report in other tools' forms: [`k6`], [`locust`].
//!
//! What this does not do: send, wait, read files, or judge gates ([`crate::gates`]).

mod abort;
mod arrivals;
mod capacity;
mod gauge;
mod heard;
pub mod k6;
pub mod locust;
mod material;
mod outage;
mod phase_tally;
mod plans;
mod prices;
mod ramp;
mod recorded_steps;
mod report;
mod series;
mod stretch;
mod talk;
mod tally;
mod track;
mod virtual_time;
mod workload;

pub use abort::Aborts;
pub use arrivals::{Arrivals, Due, Start};
pub use capacity::{Capacity, CapacityError, CutShort, Probe, SearchOptions, find_capacity};
pub use gauge::Gauge;
pub use heard::{GivenUp, Heard};
pub use material::{Material, RecordedAt, RecordedLoop, RecordedStep, WorkloadCall};
pub use outage::{OutageReport, StoodIn};
pub use plans::{Conversation, LoopPlan, Plans, Prompt, StepInput, StepPlan};
pub use prices::{PriceNote, Prices};
pub use ramp::{Ramp, Stage};
pub use recorded_steps::{RecordedStepEnd, RecordedSteps};
pub use report::{
    ClientHealth, Ended, LoadFigures, LoadReport, LoadSegments, PhaseReport, RetryNote, RunTime, Wasted,
};
pub use series::{LoadSeries, SpreadSeries};
pub use stretch::SpreadAt;
pub use talk::{Talk, TalkRequest};
pub use tally::{LoopEnd, LoopEnding, Tally};
pub use track::{AttemptEnd, AttemptOutcome, Beside, LoopTrack, Spent, StepEnd, StepTrack, Used};
pub use virtual_time::{Progress, simulate};
pub use workload::{WorkloadError, read as read_workload};

use crate::scenario::{Scenario, TrafficSource};

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error(
        "none of the traces has a loop whose usage is known: name others in `traces`, or leave that out for generated conversations"
    )]
    NoLoops,
    #[error("the workload has no requests")]
    NoRequests,
    #[error(
        "no price is known of {model}, so a run of it cannot be held to a budget: state its price under [[prices]] in looptape.toml, or leave [budget] out"
    )]
    Unpriced { model: String },
}

/// The models that a run asks.
pub fn models(scenario: &Scenario, material: &Material) -> Result<Vec<String>, LoadError> {
    let traffic = &scenario.traffic;
    match &traffic.source {
        TrafficSource::Traces(_) if material.loops.is_empty() => Err(LoadError::NoLoops),
        TrafficSource::Workload(_) if material.calls.is_empty() => Err(LoadError::NoRequests),
        // A model that the scenario names stands for all that were recorded.
        TrafficSource::Traces(_) => match &traffic.model {
            Some(model) => Ok(vec![model.clone(); material.models.len()]),
            None => Ok(material.models.clone()),
        },
        _ => Ok(vec![traffic.model().to_owned()]),
    }
}
