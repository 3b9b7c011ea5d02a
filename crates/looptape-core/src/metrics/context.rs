//! How full the model's context was, and where histories were trimmed.
//!
//! Use is input tokens, cached ones included, per token that the model takes as *input*, which may be less than
//! its context window. Models whose limit is not known have no figure.

use super::distribution::{Distribution, Sampler, Scale};
use super::trace::StepMetrics;
use crate::assembly::{Assembly, Step};
use crate::cost::context_window;
use crate::facts::CallFacts;
use serde::Serialize;

/// Above this share a context counts as filling up, above [`FULL`] as nearly full.
pub(super) const FILLING: f64 = 0.75;
/// See [`FILLING`].
pub(super) const FULL: f64 = 0.90;

/// The context use of several steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ContextUse {
    pub context_used_peak: Option<f64>,
    pub context_used_p99: Option<f64>,
    /// Steps that used more than 75 %.
    pub steps_above_75: u32,
    /// Of those, steps that used more than 90 %.
    pub steps_above_90: u32,
    /// Requests whose history is shorter than that of the step whose answer they carry on from.
    pub trims: u32,
}

impl ContextUse {
    pub(super) fn of(steps: &[StepMetrics]) -> Self {
        let mut used = Sampler::new(Scale::Ratio);
        let mut sum = Self::default();
        for step in steps {
            sum.add(step.context_used, step.trimmed);
            step.context_used.into_iter().for_each(|share| used.add(share));
        }
        sum.at(&used.finish())
    }

    /// Counts one step more.
    pub(super) fn add(&mut self, context_used: Option<f64>, trimmed: bool) {
        let above = |share: f64| u32::from(context_used.is_some_and(|used| used > share));
        self.steps_above_75 += above(FILLING);
        self.steps_above_90 += above(FULL);
        self.trims += u32::from(trimmed);
    }

    /// Adds the counts of other steps.
    pub(super) fn merge(&mut self, more: &Self) {
        self.steps_above_75 += more.steps_above_75;
        self.steps_above_90 += more.steps_above_90;
        self.trims += more.trims;
    }

    /// The same counts, with the extremes of this distribution.
    pub(super) fn at(self, used: &Distribution) -> Self {
        let context_used_p99 = used.p99().map(|p99| p99.value);
        Self { context_used_peak: used.max(), context_used_p99, ..self }
    }
}

/// The share of its model's input limit that a call used; `None` where either is not known.
pub fn context_used(fact: &CallFacts) -> Option<f64> {
    used(fact.usage.input_total, input_limit(fact))
}

/// How many input tokens the model of a call takes.
pub(super) fn input_limit(fact: &CallFacts) -> Option<u64> {
    let (model, response_model) = (fact.model.as_deref(), fact.response_model.as_deref());
    input_limit_by_names(fact.provider.as_str(), model, response_model)
}

/// How many input tokens a model takes.
pub(crate) fn input_limit_of(provider: &str, model: &str) -> Option<u64> {
    input_limit_by_names(provider, Some(model), None)
}

fn input_limit_by_names(provider: &str, model: Option<&str>, response_model: Option<&str>) -> Option<u64> {
    let window = context_window(provider, model, response_model)?;
    let name = model.or(response_model).unwrap_or_default();
    Some(window - reserved_for_output(name, window))
}

/// Part of a window that input may not take. OpenAI's GPT-5 models have a window of 400,000 tokens, of which
/// 272,000 are for input and 128,000 for output (platform.openai.com/docs/models/gpt-5).
fn reserved_for_output(model: &str, window: u64) -> u64 {
    let is_gpt_5 = model.rsplit('/').next().is_some_and(|name| name.starts_with("gpt-5"));
    if is_gpt_5 && window == 400_000 { 128_000 } else { 0 }
}

pub(super) fn used(input_tokens: Option<u64>, limit: Option<u64>) -> Option<f64> {
    Some(input_tokens? as f64 / limit.filter(|limit| *limit > 0)? as f64)
}

/// What a step sends of what was said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// All that the step sent whose answer it carries on from, or as much.
    #[default]
    Whole,
    /// Less.
    Trimmed,
}

impl History {
    /// A request that names its past by id sends none of it, and says nothing.
    pub(crate) fn of(facts: &[CallFacts], assembly: &Assembly, step: &Step) -> Self {
        let own = &facts[step.first_call().0];
        let parent =
            step.parent.and_then(|parent| assembly.step(parent)).map(|parent| &facts[parent.first_call().0]);
        let sends_all = own.previous_response_id.is_none();
        match sends_all && parent.is_some_and(|parent| own.lineage.turns < parent.lineage.turns) {
            true => Self::Trimmed,
            false => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::example::{Example, call};
    use crate::assembly::{TraceSpan, assemble};

    #[test]
    fn limits_are_those_for_input() {
        let limit = |model: &str| {
            let mut fact = call(0, 0, 1);
            (fact.model, fact.response_model) = (Some(model.to_owned()), None);
            input_limit(&fact)
        };
        assert_eq!(limit("gpt-4o-mini"), Some(128_000));
        assert_eq!(limit("gpt-5-mini"), Some(272_000));
        assert_eq!(limit("house-model"), None);
        assert_eq!(used(Some(64_000), Some(128_000)), Some(0.5));
        assert_eq!((used(None, Some(1)), used(Some(1), None)), (None, None));
    }

    #[test]
    fn a_history_that_got_shorter_is_a_trim() {
        let turns = |mut fact: CallFacts, turns| {
            fact.lineage.turns = turns;
            fact
        };
        let first = turns(call(0, 0, 10).history(1), 5);
        let grown = turns(call(1, 20, 10).after(1, 2), 7);
        let cut = turns(call(2, 40, 10).after(2, 3), 3);
        let mut by_id = turns(call(3, 60, 10).after(3, 4), 1);
        by_id.previous_response_id = Some("resp_1".to_owned());
        let facts = [first, grown, cut, by_id];
        let assembly = assemble(&facts, &TraceSpan::closed(100_000));
        let trims: Vec<bool> = assembly
            .steps
            .iter()
            .map(|step| History::of(&facts, &assembly, step) == History::Trimmed)
            .collect();
        assert_eq!(trims, [false, false, true, false]);
    }
}
