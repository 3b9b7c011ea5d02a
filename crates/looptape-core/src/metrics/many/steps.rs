//! What model steps took, used and cost, over any set of them.

use super::super::context::ContextUse;
use super::super::distribution::{Distribution, MOST_RAW, Sampler, Scale};
use super::super::sums::{CostFigures, CostSum, TokenSums};
use super::super::trace::{StepMetrics, ratio};
use super::super::{AttemptMetrics, Ms};
use serde::Serialize;

/// The figures of a set of model steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepFigures {
    pub steps: u32,
    /// HTTP exchanges of model steps.
    pub attempts: u32,
    pub retries: u32,
    /// Retries per step.
    pub retry_rate: Option<f64>,
    pub failed_attempts: u32,
    /// All attempts of a step, backoff included.
    pub step_latency_ms: Distribution,
    /// The last attempt alone.
    pub latency_ms: Distribution,
    pub ttft_ms: Distribution,
    pub ttfo_ms: Distribution,
    pub tpot_ms: Distribution,
    pub icl_ms: Distribution,
    /// Of one answer: output tokens per second of its latency.
    pub output_tokens_per_s: Distribution,
    pub tokens: TokenSums,
    pub cache_hit_ratio: Option<f64>,
    /// Input tokens per token that the model takes; steps of models whose limit is not known are its unknown
    /// ones.
    pub context_used: Distribution,
    #[serde(flatten)]
    pub context: ContextUse,
}

/// The same with what they cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PricedSteps {
    #[serde(flatten)]
    pub steps: StepFigures,
    #[serde(flatten)]
    pub cost: CostFigures,
}

/// What one step adds to a set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepSample {
    pub(crate) attempts: u32,
    pub(crate) retries: u32,
    pub(crate) failed_attempts: u32,
    /// `None`: it is not known.
    pub(crate) step_latency_ms: Option<Ms>,
    /// Of its last attempt.
    pub(crate) last: AttemptMetrics,
    pub(crate) context_used: Option<f64>,
    pub(crate) trimmed: bool,
    pub(crate) tokens: TokenSums,
    pub(crate) cost: CostSum,
}

/// Collects steps.
#[derive(Clone, Debug)]
pub(crate) struct StepTally {
    steps: u32,
    attempts: u32,
    retries: u32,
    failed_attempts: u32,
    step_latency: Sampler,
    latency: Sampler,
    ttft: Sampler,
    ttfo: Sampler,
    tpot: Sampler,
    icl: Sampler,
    speed: Sampler,
    context_used: Sampler,
    context: ContextUse,
    tokens: TokenSums,
    cost: CostSum,
}

impl Default for StepTally {
    fn default() -> Self {
        Self::keeping(MOST_RAW)
    }
}

impl StepTally {
    /// One whose distributions keep so many values as they are.
    pub(crate) fn keeping(most_raw: usize) -> Self {
        let of = |scale| Sampler::keeping(scale, most_raw);
        let [ms, ratio] = [Scale::Ms, Scale::Ratio].map(of);
        let cost = CostSum::default();
        let (context, tokens) = (ContextUse::default(), TokenSums::default());
        let (steps, attempts, retries, failed_attempts) = (0, 0, 0, 0);
        Self {
            steps,
            attempts,
            retries,
            failed_attempts,
            step_latency: ms.clone(),
            latency: ms.clone(),
            ttft: ms.clone(),
            ttfo: ms.clone(),
            tpot: of(Scale::FineMs),
            icl: ms,
            speed: ratio.clone(),
            context_used: ratio,
            context,
            tokens,
            cost,
        }
    }

    pub(super) fn add(&mut self, step: &StepMetrics) {
        self.icl.add_all(&step.icl_ms);
        self.add_sample(&StepSample {
            attempts: step.attempts,
            retries: step.retries,
            failed_attempts: step.failed_attempts,
            step_latency_ms: step.step_latency_ms,
            last: step.last,
            context_used: step.context_used,
            trimmed: step.trimmed,
            tokens: step.tokens,
            cost: step.cost,
        });
    }

    pub(crate) fn add_sample(&mut self, step: &StepSample) {
        self.steps += 1;
        self.attempts += step.attempts;
        self.retries += step.retries;
        self.failed_attempts += step.failed_attempts;
        match step.step_latency_ms {
            Some(ms) => self.step_latency.add_ms(ms),
            None => self.step_latency.add_unknown(),
        }
        step.last.latency_ms.into_iter().for_each(|ms| self.latency.add_ms(ms));
        step.last.ttft_ms.into_iter().for_each(|ms| self.ttft.add_ms(ms));
        step.last.ttfo_ms.into_iter().for_each(|ms| self.ttfo.add_ms(ms));
        step.last.tpot_ms.into_iter().for_each(|ms| self.tpot.add(ms));
        step.last.output_tokens_per_s.into_iter().for_each(|speed| self.speed.add(speed));
        match step.context_used {
            Some(share) => self.context_used.add(share),
            None => self.context_used.add_unknown(),
        }
        self.context.add(step.context_used, step.trimmed);
        self.tokens.merge(&step.tokens);
        self.cost.merge(&step.cost);
    }

    pub(crate) fn merge(&mut self, more: Self) {
        self.steps += more.steps;
        self.attempts += more.attempts;
        self.retries += more.retries;
        self.failed_attempts += more.failed_attempts;
        self.step_latency.merge(more.step_latency);
        self.latency.merge(more.latency);
        self.ttft.merge(more.ttft);
        self.ttfo.merge(more.ttfo);
        self.tpot.merge(more.tpot);
        self.icl.merge(more.icl);
        self.speed.merge(more.speed);
        self.context_used.merge(more.context_used);
        self.context.merge(&more.context);
        self.tokens.merge(&more.tokens);
        self.cost.merge(&more.cost);
    }

    pub(crate) fn finish(self) -> PricedSteps {
        let context_used = self.context_used.finish();
        let steps = StepFigures {
            steps: self.steps,
            attempts: self.attempts,
            retries: self.retries,
            retry_rate: ratio(self.retries, self.steps),
            failed_attempts: self.failed_attempts,
            step_latency_ms: self.step_latency.finish(),
            latency_ms: self.latency.finish(),
            ttft_ms: self.ttft.finish(),
            ttfo_ms: self.ttfo.finish(),
            tpot_ms: self.tpot.finish(),
            icl_ms: self.icl.finish(),
            output_tokens_per_s: self.speed.finish(),
            tokens: self.tokens,
            cache_hit_ratio: self.tokens.cache_hit_ratio(),
            context: self.context.at(&context_used),
            context_used,
        };
        PricedSteps { steps, cost: CostFigures::of(&self.cost) }
    }
}
