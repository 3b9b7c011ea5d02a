//! What came of judging: the one value of which every rendering is made.

use super::metric::Unit;
use serde::{Serialize, Serializer};

/// All conditions, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GateReport {
    /// Whether none of them failed.
    pub passed: bool,
    pub gates: Vec<GateResult>,
}

/// One condition, its figure and its margin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateResult {
    /// The condition, as text.
    pub gate: String,
    pub metric: &'static str,
    pub aggregate: String,
    #[serde(serialize_with = "unit")]
    pub unit: Unit,
    pub comparison: &'static str,
    /// `None` if the baseline does not give one.
    pub limit: Option<f64>,
    /// The baseline's figure, of a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    pub figure: Option<f64>,
    /// Whether the figure may be larger.
    pub at_least: bool,
    /// Values that it is made of, where it is made of many.
    pub n: Option<usize>,
    /// Of a percentile: whether so many values support it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certified: Option<bool>,
    /// The room that is left until the limit; negative: how far it is missed.
    pub margin: Option<f64>,
    pub verdict: GateVerdict,
    /// Why nothing can be said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What is said of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    Passed,
    Failed,
    /// The figure is not known, and that fails.
    Unknown,
    /// The figure is not known, and that is accepted.
    UnknownAccepted,
}

impl GateVerdict {
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Unknown)
    }
}

impl GateResult {
    /// The margin as a share of the limit, where there is one.
    pub fn margin_share(&self) -> Option<f64> {
        let limit = self.limit.filter(|limit| *limit != 0.0)?;
        Some(self.margin? / limit.abs())
    }
}

impl GateReport {
    pub(super) fn of(gates: Vec<GateResult>) -> Self {
        Self { passed: !gates.iter().any(|gate| gate.verdict.is_failure()), gates }
    }

    /// The conditions that failed, or of which nothing is known.
    pub fn failures(&self) -> impl Iterator<Item = &GateResult> {
        self.gates.iter().filter(|gate| gate.verdict.is_failure())
    }
}

fn unit<S: Serializer>(unit: &Unit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(unit.as_str())
}
