//! What to be told about: rules, and the alert that one of them raises.

use crate::cost::Usd;
use crate::trace_id::TraceId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Thresholds, as `[alerts]` of `looptape.toml` states them. A rule that is not stated is off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// Tokens per time against what is usual: this many times as much.
    pub token_rate: Option<f64>,
    /// The 95th percentile of the time to the first token against what is usual.
    pub ttft: Option<f64>,
    /// The 95th percentile of the time per output token against what is usual.
    pub tpot: Option<f64>,
    /// What calls of the last hour cost.
    pub cost_per_hour: Option<Usd>,
    /// What the calls of one trace cost.
    pub trace_cost: Option<Usd>,
    /// Share of a model's input limit that a call used.
    pub context: Option<f64>,
    /// Failed tool results, of all.
    pub tool_failures: Option<f64>,
    /// Retries per step.
    pub retry_rate: Option<f64>,
}

impl Rules {
    /// Those that are set and can be over.
    pub(super) fn about_rates(&self) -> impl Iterator<Item = Rule> {
        let set = [
            self.token_rate.map(|_| Rule::TokenRate),
            self.ttft.map(|_| Rule::Ttft),
            self.tpot.map(|_| Rule::Tpot),
            self.cost_per_hour.map(|_| Rule::CostPerHour),
            self.tool_failures.map(|_| Rule::ToolFailures),
            self.retry_rate.map(|_| Rule::RetryRate),
        ];
        set.into_iter().flatten()
    }
}

/// A rule by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    TokenRate,
    Ttft,
    Tpot,
    CostPerHour,
    TraceCost,
    Context,
    ToolFailures,
    RetryRate,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::TokenRate,
        Self::Ttft,
        Self::Tpot,
        Self::CostPerHour,
        Self::TraceCost,
        Self::Context,
        Self::ToolFailures,
        Self::RetryRate,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenRate => "token_rate",
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::CostPerHour => "cost_per_hour",
            Self::TraceCost => "trace_cost",
            Self::Context => "context",
            Self::ToolFailures => "tool_failures",
            Self::RetryRate => "retry_rate",
        }
    }
}

/// Whether it begins or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Firing,
    Resolved,
}

/// Something to be told, once for each time that it begins and ends. Rules about one trace only begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    pub rule: Rule,
    pub state: AlertState,
    /// What was seen, in the rule's own unit.
    pub value: f64,
    pub threshold: f64,
    /// What was usual before; the threshold is a multiple of it.
    pub usual: Option<f64>,
    pub trace: Option<TraceId>,
    pub model: Option<String>,
    pub at_unix_us: i64,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, state, value, threshold, usual, trace, model, .. } = self;
        if *state == AlertState::Resolved {
            return write!(f, "{}: over", rule.as_str());
        }
        let usd = |dollars: f64| Usd::from_f64(dollars).unwrap_or_default();
        write!(f, "{}: ", rule.as_str())?;
        match rule {
            Rule::TokenRate => write!(f, "{value:.0} tokens a minute")?,
            Rule::Ttft => write!(f, "p95 of the time to the first token is {value:.0} ms")?,
            Rule::Tpot => write!(f, "p95 of the time per output token is {value:.1} ms")?,
            Rule::CostPerHour => write!(f, "the last hour cost {}", usd(*value))?,
            Rule::TraceCost => write!(f, "the trace has cost {}", usd(*value))?,
            Rule::Context => write!(f, "{:.0} % of the model's input limit are used", value * 100.0)?,
            Rule::ToolFailures => write!(f, "{:.0} % of the tool results are failures", value * 100.0)?,
            Rule::RetryRate => write!(f, "{:.0} retries for 100 steps", value * 100.0)?,
        }
        match (usual, rule) {
            (Some(usual), _) => {
                write!(f, ", {:.1} times what is usual (limit {:.1})", value / usual, threshold / usual)?
            }
            (None, Rule::CostPerHour | Rule::TraceCost) => write!(f, " (limit {})", usd(*threshold))?,
            (None, _) => write!(f, " (limit {:.0} %)", threshold * 100.0)?,
        }
        if let Some(model) = model {
            write!(f, ", {model}")?;
        }
        trace.as_ref().map_or(Ok(()), |trace| write!(f, ", trace {trace}"))
    }
}
