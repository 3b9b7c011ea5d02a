//! Phases: when loops begin. The executors are k6's, by their names, with its keys in snake case.

use super::duration::Span;
use crate::load::{Ramp, Stage};
use serde::{Deserialize, Serialize};

/// A stretch of a run with one way of starting loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// `None`: it is named by its place.
    pub name: Option<String>,
    /// After the run's start; `None`: when the phase before it has ended.
    pub start_us: Option<u64>,
    pub executor: Executor,
    /// How long loops may run on after the phase's end; `None`: as long as they take.
    pub graceful_stop_us: Option<u64>,
}

/// How loops are started.
#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    /// Open: loops come when they come, whatever becomes of those before.
    ArrivalRate { rate_per_s: Ramp, spacing: Spacing, max_vus: u32 },
    /// Closed: each virtual user starts its next loop when its last has ended.
    Vus { vus: Ramp },
    /// Closed: so many loops, whoever gets to them first.
    SharedIterations { vus: u32, iterations: u64, max_duration_us: u64 },
    /// Closed: so many loops for each virtual user.
    PerVuIterations { vus: u32, iterations: u64, max_duration_us: u64 },
    /// When the file of the workload says.
    FileTimes,
}

/// How arrivals lie around their rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Evenly.
    #[default]
    Constant,
    /// As independent users come: the gaps are exponential.
    Poisson,
}

/// k6's executors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Named {
    ConstantVus,
    RampingVus,
    ConstantArrivalRate,
    RampingArrivalRate,
    SharedIterations,
    PerVuIterations,
}

/// A phase as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    name: Option<String>,
    executor: Named,
    start_time: Option<Span>,
    duration: Option<Span>,
    graceful_stop: Option<Span>,
    rate: Option<f64>,
    start_rate: Option<f64>,
    time_unit: Option<Span>,
    arrival: Option<Spacing>,
    pre_allocated_vus: Option<u32>,
    max_vus: Option<u32>,
    vus: Option<u32>,
    start_vus: Option<u32>,
    iterations: Option<u64>,
    max_duration: Option<Span>,
    stages: Option<Vec<StageEntry>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageEntry {
    duration: Span,
    target: f64,
}

/// More loops a second than anybody means.
const MOST_PER_S: f64 = 1e6;
/// Loops that run at once at most, where nothing else is said.
const MAX_VUS: u32 = 10_000;
const MOST_VUS: u32 = 1_000_000;
/// As k6 has it.
const MAX_DURATION: Span = Span::of_s(600);

impl Phase {
    /// What is done where nothing is said: a loop a second for ten minutes, as independent users come.
    pub fn usual() -> Self {
        let executor = Executor::ArrivalRate {
            rate_per_s: Ramp::constant(1.0, Span::of_s(600).us()),
            spacing: Spacing::Poisson,
            max_vus: MAX_VUS,
        };
        Self { name: None, start_us: None, executor, graceful_stop_us: None }
    }

    /// What starts loops of a workload file at the times that it states.
    pub fn of_file_times() -> Self {
        let name = Some("workload".to_owned());
        Self { name, start_us: None, executor: Executor::FileTimes, graceful_stop_us: None }
    }
}

impl Executor {
    /// After how long no more loops are started; `None`: nobody knows before.
    pub fn longest_us(&self) -> Option<u64> {
        match self {
            Self::ArrivalRate { rate_per_s, .. } => Some(rate_per_s.duration_us()),
            Self::Vus { vus } => Some(vus.duration_us()),
            Self::SharedIterations { max_duration_us, .. }
            | Self::PerVuIterations { max_duration_us, .. } => Some(*max_duration_us),
            Self::FileTimes => None,
        }
    }

    /// k6's name, where it has one.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ArrivalRate { rate_per_s, .. } if rate_per_s.is_constant() => "constant-arrival-rate",
            Self::ArrivalRate { .. } => "ramping-arrival-rate",
            Self::Vus { vus } if vus.is_constant() => "constant-vus",
            Self::Vus { .. } => "ramping-vus",
            Self::SharedIterations { .. } => "shared-iterations",
            Self::PerVuIterations { .. } => "per-vu-iterations",
            Self::FileTimes => "file-times",
        }
    }
}

impl TryFrom<Entry> for Phase {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        entry.refuse_what_is_not_used()?;
        Ok(Self {
            executor: entry.executor()?,
            start_us: entry.start_time.map(Span::us),
            graceful_stop_us: entry.graceful_stop.map(Span::us),
            name: entry.name,
        })
    }
}

impl Entry {
    /// The keys that this executor takes, besides those that all do.
    fn keys(&self) -> &'static [&'static str] {
        match self.executor {
            Named::ConstantVus => &["vus", "duration"],
            Named::RampingVus => &["start_vus", "stages"],
            Named::ConstantArrivalRate => {
                &["rate", "time_unit", "duration", "arrival", "pre_allocated_vus", "max_vus"]
            }
            Named::RampingArrivalRate => {
                &["start_rate", "time_unit", "stages", "arrival", "pre_allocated_vus", "max_vus"]
            }
            Named::SharedIterations | Named::PerVuIterations => &["vus", "iterations", "max_duration"],
        }
    }

    fn refuse_what_is_not_used(&self) -> Result<(), String> {
        let given = [
            ("duration", self.duration.is_some()),
            ("rate", self.rate.is_some()),
            ("start_rate", self.start_rate.is_some()),
            ("time_unit", self.time_unit.is_some()),
            ("arrival", self.arrival.is_some()),
            ("pre_allocated_vus", self.pre_allocated_vus.is_some()),
            ("max_vus", self.max_vus.is_some()),
            ("vus", self.vus.is_some()),
            ("start_vus", self.start_vus.is_some()),
            ("iterations", self.iterations.is_some()),
            ("max_duration", self.max_duration.is_some()),
            ("stages", self.stages.is_some()),
        ];
        let keys = self.keys();
        match given.iter().find(|(key, is_given)| *is_given && !keys.contains(key)) {
            Some((key, _)) => {
                Err(format!("`{key}` means nothing to {}: it takes {}", self.name(), keys.join(", ")))
            }
            None => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        match self.executor {
            Named::ConstantVus => "constant-vus",
            Named::RampingVus => "ramping-vus",
            Named::ConstantArrivalRate => "constant-arrival-rate",
            Named::RampingArrivalRate => "ramping-arrival-rate",
            Named::SharedIterations => "shared-iterations",
            Named::PerVuIterations => "per-vu-iterations",
        }
    }

    fn executor(&self) -> Result<Executor, String> {
        let vus = || at_least_one("vus", self.vus.unwrap_or(1));
        let iterations = || match self.iterations.unwrap_or(1) {
            0 => Err("`iterations` is 0: no loop would run".to_owned()),
            some => Ok(some),
        };
        let max_duration_us = self.max_duration.unwrap_or(MAX_DURATION).us();
        match self.executor {
            Named::ConstantVus => {
                Ok(Executor::Vus { vus: Ramp::constant(f64::from(vus()?), self.whole_duration()?) })
            }
            Named::RampingVus => {
                let stages = self.checked_stages(|target| match target {
                    whole if whole.fract() != 0.0 => {
                        Err(format!("`target = {target}` is no number of users"))
                    }
                    many if many > f64::from(MOST_VUS) => {
                        Err(format!("`target = {target}`: {MOST_VUS} users are the most"))
                    }
                    target => Ok(target),
                })?;
                Ok(Executor::Vus { vus: Ramp::new(f64::from(self.start_vus.unwrap_or(1)), &stages) })
            }
            Named::ConstantArrivalRate => {
                let rate = self.rate.ok_or("`rate` is missing: loops for each `time_unit`")?;
                let per_s = self.per_s("rate", rate)?;
                if per_s == 0.0 {
                    return Err("`rate` is 0: no loop would come".to_owned());
                }
                self.open(Ramp::constant(per_s, self.whole_duration()?))
            }
            Named::RampingArrivalRate => {
                let from = self.per_s("start_rate", self.start_rate.unwrap_or(0.0))?;
                let stages = self.checked_stages(|target| self.per_s("target", target))?;
                self.open(Ramp::new(from, &stages))
            }
            Named::SharedIterations => {
                Ok(Executor::SharedIterations { vus: vus()?, iterations: iterations()?, max_duration_us })
            }
            Named::PerVuIterations => {
                Ok(Executor::PerVuIterations { vus: vus()?, iterations: iterations()?, max_duration_us })
            }
        }
    }

    fn open(&self, rate_per_s: Ramp) -> Result<Executor, String> {
        if rate_per_s.area() == 0.0 {
            return Err("the rate is 0 all the time: no loop would come".to_owned());
        }
        let max_vus = at_least_one("max_vus", self.max_vus.or(self.pre_allocated_vus).unwrap_or(MAX_VUS))?;
        Ok(Executor::ArrivalRate { rate_per_s, spacing: self.arrival.unwrap_or_default(), max_vus })
    }

    fn whole_duration(&self) -> Result<u64, String> {
        match self.duration.map(Span::us) {
            None => Err("`duration` is missing, such as \"2m\"".to_owned()),
            Some(0) => Err("`duration` is 0: nothing would happen".to_owned()),
            Some(us) => Ok(us),
        }
    }

    fn per_s(&self, key: &str, rate: f64) -> Result<f64, String> {
        let unit_us = self.time_unit.unwrap_or(Span::of_s(1)).us();
        if unit_us == 0 {
            return Err("`time_unit` is 0".to_owned());
        }
        let per_s = rate / (unit_us as f64 / 1e6);
        match per_s {
            possible if (0.0..=MOST_PER_S).contains(&possible) => Ok(possible),
            much if much > MOST_PER_S => Err(format!(
                "`{key} = {rate}` is {much:.0} loops a second: {MOST_PER_S:.0} are the most that are simulated"
            )),
            _ => Err(format!("`{key} = {rate}` cannot be: write a number of 0 or more")),
        }
    }

    fn checked_stages(&self, target: impl Fn(f64) -> Result<f64, String>) -> Result<Vec<Stage>, String> {
        let entries = self.stages.as_deref().unwrap_or_default();
        if entries.iter().all(|stage| stage.duration.us() == 0) {
            return Err(
                "`stages` is missing or takes no time: write [{ duration = \"2m\", target = 60 }]".to_owned()
            );
        }
        if let Some(wrong) =
            entries.iter().find(|stage| !stage.target.is_finite() || stage.target.is_sign_negative())
        {
            return Err(format!("`target = {}` cannot be: write a number of 0 or more", wrong.target));
        }
        let stage = |entry: &StageEntry| {
            Ok(Stage { duration_us: entry.duration.us(), target: target(entry.target)? })
        };
        entries.iter().map(stage).collect()
    }
}

fn at_least_one(key: &str, vus: u32) -> Result<u32, String> {
    match vus {
        0 => Err(format!("`{key}` is 0: no loop could run")),
        many if many > MOST_VUS => Err(format!("`{key} = {many}`: {MOST_VUS} are the most")),
        vus => Ok(vus),
    }
}
