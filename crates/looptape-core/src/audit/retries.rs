//! Steps that were tried more than once, and what that cost.

use crate::assembly::StepNumber;
use crate::cost::Usd;
use crate::facts::{AttemptState, CallFacts};
use crate::metrics::{Measured, Ms};
use serde::Serialize;

/// All retries of a trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Retries {
    pub retries: u32,
    /// What the attempts cost that were tried again; `None` if that is not known.
    pub wasted_usd: Option<Usd>,
    pub wasted_ms: Option<Ms>,
    pub steps: Vec<RetriedStep>,
}

/// A step that was tried more than once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetriedStep {
    pub step: StepNumber,
    /// What became of each attempt: a status, or how it broke off.
    pub attempts: Vec<String>,
    /// What all but the last cost.
    pub wasted_usd: Option<Usd>,
    pub wasted_ms: Option<Ms>,
}

impl Retries {
    pub(super) fn of(facts: &[CallFacts], measured: &Measured) -> Self {
        let metrics = &measured.metrics;
        let tried_again = measured.assembly.steps.iter().filter(|step| step.attempts.len() > 1);
        let steps = tried_again.map(|step| {
            let mut wasted = crate::metrics::CostSum::default();
            let last = step.final_call();
            step.calls().filter(|call| *call != last).for_each(|call| wasted.add(&measured.costs[call.0]));
            let known = measured.span.timing.knows_intervals();
            RetriedStep {
                step: step.number,
                attempts: step.calls().map(|call| ending(&facts[call.0])).collect(),
                wasted_usd: wasted.usd(),
                wasted_ms: known
                    .then(|| Ms::between(facts[step.first_call().0].sent_us, facts[last.0].sent_us)),
            }
        });
        Self {
            retries: metrics.retries,
            wasted_usd: metrics.retry_wasted_usd,
            wasted_ms: metrics.retry_wasted_ms,
            steps: steps.collect(),
        }
    }
}

fn ending(fact: &CallFacts) -> String {
    match (fact.status, fact.state) {
        (Some(status), AttemptState::Complete) => status.to_string(),
        (_, state) => state.as_str().to_owned(),
    }
}
