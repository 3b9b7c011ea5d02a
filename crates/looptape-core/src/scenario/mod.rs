//! Scenarios: what is to be done to a provider or a system, and what must hold.
//!
//! A scenario is a TOML text: traffic, phases, retries, the simulated provider, gates, a budget. Everything has a
//! default. [`read`] checks all of it before anything runs: an unknown key is refused with its line and the nearest
//! name, and what cannot be (a rate below 0, a budget of 0) with its reason. The same scenario is run in real and in
//! virtual time ([`crate::load`]).
//!
//! What this does not do: read files. What a scenario is made of besides its text, it names ([`Scenario::needs`]), and
//! is given ([`crate::load::Material`]).

mod duration;
mod error;
mod gates;
mod outage;
mod phase;
mod presets;
#[cfg(test)]
mod tests;
mod traffic;
mod vary;

pub use duration::Span;
pub use error::{Place, ScenarioError};
pub use gates::AbortingGate;
pub use outage::{Failover, OutageWindow};
pub use phase::{Executor, Phase, Spacing};
pub use presets::{PRESETS, Preset, preset};
pub use traffic::{
    DEFAULT_MODEL, Generated, TraceChoice, Traffic, TrafficSource, WeightedTrace, WireBy, WorkloadFile,
    WorkloadFormat,
};
pub use vary::{Setting, Variation};

use crate::cost::Usd;
use crate::gates::Gate;
use crate::retry::{Profile, RetryPolicy};
use crate::twin::{Fault, TwinSpec};
use gates::ScenarioGates;
use outage::{FailoverEntry, OutageEntry};
use serde::Deserialize;

/// A scenario that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub name: Option<String>,
    pub seed: u64,
    pub traffic: Traffic,
    /// In the order in which they are written; not empty.
    pub phases: Vec<Phase>,
    pub retry: Retry,
    pub twin: TwinSpec,
    /// When the target is down, if the scenario says it itself; the simulated provider's faults say it too
    /// ([`Scenario::simulated_outage`]).
    pub outage: Option<OutageWindow>,
    pub failover: Option<Failover>,
    pub gates: Vec<Gate>,
    /// Those of them that end the run as soon as they fail.
    pub aborting: Vec<AbortingGate>,
    /// `None`: as much as it takes.
    pub max_usd: Option<Usd>,
}

/// How the client tries again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    pub profile: Profile,
    /// The profile's, with what the scenario says otherwise.
    pub policy: RetryPolicy,
}

/// What a scenario is made of besides its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Needs<'a> {
    Nothing,
    Traces(&'a TraceChoice),
    Workload(&'a WorkloadFile),
}

/// Reads a scenario, with some of its values set to others.
pub fn read(text: &str, settings: &[Setting]) -> Result<Scenario, ScenarioError> {
    let written: Written = toml::from_str(text).map_err(|error| ScenarioError::of_toml(text, &error))?;
    let written = match settings {
        [] => written,
        settings => vary::with(text, settings)?,
    };
    written.checked()
}

impl Scenario {
    pub fn needs(&self) -> Needs<'_> {
        match &self.traffic.source {
            TrafficSource::Generated(_) => Needs::Nothing,
            TrafficSource::Traces(choice) => Needs::Traces(choice),
            TrafficSource::Workload(file) => Needs::Workload(file),
        }
    }

    /// When the simulated provider is down: as the scenario says, else the first time in which a fault fails all calls.
    pub fn simulated_outage(&self) -> Option<OutageWindow> {
        self.outage.or_else(|| {
            let windows = self.twin.faults.iter().filter_map(Fault::outage_us);
            windows.map(|(from_us, until_us)| OutageWindow { from_us, until_us }).next()
        })
    }

    /// What a phase is called.
    pub fn phase_name(&self, at: usize) -> String {
        let phase = self.phases.get(at);
        phase.and_then(|phase| phase.name.clone()).unwrap_or_else(|| format!("phase {}", at + 1))
    }
}

/// A scenario as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    name: Option<String>,
    seed: Option<u64>,
    traffic: TrafficEntry,
    phase: Vec<PhaseEntry>,
    retry: RetryEntry,
    twin: TwinSpec,
    outage: Option<OutageEntry>,
    failover: Option<FailoverEntry>,
    gates: ScenarioGates,
    budget: BudgetEntry,
}

/// Checked where it stands, so that a mistake has the line that it is on.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "phase::Entry")]
struct PhaseEntry(Phase);

/// The same for traffic.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "traffic::Entry")]
struct TrafficEntry(Traffic);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryEntry {
    profile: Option<Profile>,
    max: Option<u32>,
    first_wait: Option<Span>,
    longest_wait: Option<Span>,
    timeout: Option<Span>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BudgetEntry {
    max_usd: Option<BudgetUsd>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
struct BudgetUsd(Usd);

impl Default for TrafficEntry {
    fn default() -> Self {
        let usual = traffic::Entry::default().try_into();
        Self(usual.expect("what nobody wrote has no mistakes"))
    }
}

impl TryFrom<phase::Entry> for PhaseEntry {
    type Error = String;

    fn try_from(entry: phase::Entry) -> Result<Self, String> {
        Phase::try_from(entry).map(Self)
    }
}

impl TryFrom<traffic::Entry> for TrafficEntry {
    type Error = String;

    fn try_from(entry: traffic::Entry) -> Result<Self, String> {
        Traffic::try_from(entry).map(Self)
    }
}

impl TryFrom<f64> for BudgetUsd {
    type Error = String;

    fn try_from(dollars: f64) -> Result<Self, String> {
        match Usd::from_f64(dollars) {
            Some(Usd::ZERO) => {
                Err("`max_usd` is 0: no call could be made; leave it out for no limit".to_owned())
            }
            Some(usd) => Ok(Self(usd)),
            None => Err(format!("`max_usd = {dollars}` is no amount of US dollars")),
        }
    }
}

impl RetryEntry {
    /// The client that usually speaks a format, where none is named.
    fn retry(&self, traffic: &Traffic) -> Retry {
        let profile = self.profile.unwrap_or(match traffic.provider() {
            "anthropic" => Profile::AnthropicPython,
            "gemini" => Profile::GoogleGenai,
            _ => Profile::OpenaiPython,
        });
        let own = profile.policy();
        let policy = RetryPolicy {
            max: self.max.unwrap_or(own.max),
            first_wait_us: self.first_wait.map_or(own.first_wait_us, Span::us),
            longest_wait_us: self.longest_wait.map_or(own.longest_wait_us, Span::us),
            timeout_us: self.timeout.map_or(own.timeout_us, Span::us),
            ..own
        };
        Retry { profile, policy }
    }
}

impl Written {
    fn checked(self) -> Result<Scenario, ScenarioError> {
        let TrafficEntry(traffic) = self.traffic;
        let phases: Vec<Phase> = self.phase.into_iter().map(|PhaseEntry(phase)| phase).collect();
        let phases = match (phases.is_empty(), &traffic.source) {
            (false, _) => phases,
            (true, TrafficSource::Workload(_)) => vec![Phase::of_file_times()],
            (true, _) => vec![Phase::usual()],
        };
        Ok(Scenario {
            name: self.name,
            seed: self.seed.unwrap_or(1),
            retry: self.retry.retry(&traffic),
            traffic,
            phases,
            twin: self.twin,
            outage: self.outage.map(|OutageEntry(window)| window),
            failover: self.failover.map(FailoverEntry::failover),
            gates: self.gates.gates,
            aborting: self.gates.aborting,
            max_usd: self.budget.max_usd.map(|BudgetUsd(usd)| usd),
        })
    }
}
