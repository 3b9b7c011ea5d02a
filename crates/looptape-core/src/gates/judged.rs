//! Figures, and what gates say of them, as reports carry both.

use super::judge::Conditions;
use super::observations::{Observations, Summary};
use super::report::GateReport;
use serde::Serialize;
use std::collections::BTreeMap;

/// Figures, and what gates say of them; nothing, if nobody asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Judged {
    pub gates: GateReport,
    /// A later run can take them for its baseline.
    pub figures: BTreeMap<&'static str, Summary>,
}

impl Judged {
    pub fn of(conditions: &Conditions, observations: &Observations) -> Self {
        Self { gates: conditions.judge(observations), figures: observations.summaries() }
    }

    pub fn with<'a, T>(&'a self, report: &'a T) -> WithGates<'a, T> {
        WithGates { report, judged: self }
    }
}

/// A report with figures, and what gates say of them.
#[derive(Debug, Serialize)]
pub struct WithGates<'a, T> {
    #[serde(flatten)]
    report: &'a T,
    #[serde(flatten)]
    judged: &'a Judged,
}
