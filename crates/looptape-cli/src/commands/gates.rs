//! Options about gates, common to the verbs that judge figures.

use crate::config::Config;
use crate::exit::{Exit, UsageError};
use anyhow::Context;
use looptape_core::budget::Spending;
use looptape_core::cost::Usd;
use looptape_core::gates::{
    Baseline, Conditions, Gate, Judged, MaxRegression, Observations, Regressions, UnknownFigures,
};
use looptape_core::metrics::{Sample, TraceMetrics, stats};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Gates")]
pub(super) struct GateArgs {
    /// What a figure must hold, such as 'retry_rate: value<=0.05' or 'loop_duration_ms: p(95)<20000'; repeatable.
    /// A gate that fails ends the command with 99
    #[arg(long = "gate", value_name = "METRIC: EXPR")]
    gates: Vec<Gate>,
    /// An earlier run to compare with: what --json (or --report) wrote then
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much worse than in the baseline a figure may be, such as cost_usd=2% or 'step_latency_ms: p(95)=10%';
    /// repeatable
    #[arg(long = "max-regression", value_name = "METRIC=N%", requires = "baseline")]
    max_regressions: Vec<MaxRegression>,
    /// Let a gate pass whose figure is not known
    #[arg(long)]
    allow_unknown: bool,
}

/// Whether what `looptape.toml` says of gates counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Configured {
    Counted,
    LeftOut,
}

/// `--config-gates`, of verbs that heed the command line alone otherwise.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Gates")]
pub(super) struct ConfigGatesArg {
    /// Judge by [gates] and [max_regression] of looptape.toml too
    #[arg(long)]
    config_gates: bool,
}

impl From<ConfigGatesArg> for Configured {
    fn from(arg: ConfigGatesArg) -> Self {
        if arg.config_gates { Self::Counted } else { Self::LeftOut }
    }
}

impl GateArgs {
    /// All that has to hold; mistakes are named before anything runs.
    pub(super) fn conditions(&self, config: &Config, configured: Configured) -> anyhow::Result<Conditions> {
        let (mut gates, mut allowed) = match configured {
            Configured::Counted => (config.gates.0.clone(), config.max_regression.0.clone()),
            Configured::LeftOut => (Vec::new(), Vec::new()),
        };
        gates.extend(&self.gates);
        allowed.extend(&self.max_regressions);
        let unknown = if self.allow_unknown { UnknownFigures::Accept } else { UnknownFigures::Fail };
        let regressions = self.baseline.as_ref().map(|file| regressions(file, allowed)).transpose()?;
        Ok(Conditions { gates, regressions, unknown })
    }
}

fn regressions(file: &PathBuf, allowed: Vec<MaxRegression>) -> anyhow::Result<Regressions> {
    if allowed.is_empty() {
        let say =
            "--baseline FILE: say what may get worse by how much, for example --max-regression cost_usd=2%";
        return Err(UsageError(say.to_owned()).into());
    }
    let name = || format!("the baseline {}", file.display());
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", name()))?;
    let baseline = Baseline::parse(&text).with_context(|| format!("{} is of no use", name()))?;
    Ok(Regressions { baseline, allowed })
}

/// What a command that judged ends with: a gate is the weakest reason to fail.
pub(super) fn gated(exit: Exit, judged: &Judged) -> Exit {
    if exit == Exit::Success && !judged.gates.passed { Exit::Gate } else { exit }
}

/// What live calls were billed, and whether that may be more.
pub(super) fn billed(live: Spending) -> (Usd, bool) {
    (live.spent_usd, live.unaccounted_usd > Usd::ZERO || live.unpriced_calls > 0)
}

/// What somebody says of a run's quality.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Score {
    /// Nobody was asked.
    #[default]
    NotAsked,
    /// Somebody was asked, and gave none.
    NotGiven,
    Given(f64),
}

impl Score {
    pub(super) fn of(score: Option<f64>) -> Self {
        score.map_or(Self::NotGiven, Self::Given)
    }

    pub(crate) fn value(self) -> Option<f64> {
        match self {
            Self::Given(score) => Some(score),
            Self::NotAsked | Self::NotGiven => None,
        }
    }
}

impl Serialize for Score {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// What gates see of runs, of their scores, and of what they were billed (and whether that may be more).
pub(super) fn observations<'a>(
    metrics: impl IntoIterator<Item = &'a TraceMetrics>,
    scores: impl IntoIterator<Item = Score>,
    spent: Option<(Usd, bool)>,
) -> Observations {
    let sample = |metrics| Sample { started_unix_us: None, phase: None, metrics };
    let samples: Vec<Sample<'_>> = metrics.into_iter().map(sample).collect();
    let (spent, at_least) = spent.unwrap_or_default();
    let asked = scores.into_iter().filter(|score| *score != Score::NotAsked);
    Observations::of(stats(&samples, None)).billed(spent, at_least).scored(asked.map(Score::value))
}
