//! What came of one phase of a run, or of all of them.

use super::gauge::Gauge;
use super::prices::Prices;
use super::report::{LoadFigures, Wasted};
use super::tally::{LoopEnd, LoopEnding, MOST_RAW};
use super::track::{AttemptEnd, AttemptOutcome, StepEnd};
use crate::cost::{Unpriced, Usd};
use crate::limits::Limited;
use crate::metrics::{
    Concurrency, CostColumns, CostFigures, CostSum, ErrorCounts, LoopCounts, Ms, PricedSteps, Sampler, Scale,
    Stats, StepTally, TimeSplit, TokenRates, UnknownModel, Window, WindowBasis, loops_per_usd, ratio,
};
use std::collections::BTreeMap;

/// Collects it.
#[derive(Clone, Debug)]
pub(super) struct PhaseTally {
    begun_us: Option<u64>,
    /// The last thing that happened in it.
    last_us: u64,
    counts: LoopCounts,
    loops: Gauge,
    calls: Gauge,
    attempts: Sampler,
    steps: StepTally,
    tool_calls: u32,
    other_calls: u32,
    steps_per_loop: Sampler,
    durations: Sampler,
    successful: Sampler,
    loop_costs: Sampler,
    cost: CostSum,
    wasted: Wasted,
    wasted_cost: CostSum,
    retried_us: u64,
    retried_cost: CostSum,
    errors: BTreeMap<AttemptOutcome, u32>,
    limited: BTreeMap<Limited, u32>,
    /// Calls whose cost is not known, by model.
    unknown: BTreeMap<(usize, Unpriced), u32>,
}

impl PhaseTally {
    pub(super) fn new() -> Self {
        let of = |scale| Sampler::keeping(scale, MOST_RAW);
        Self {
            begun_us: None,
            last_us: 0,
            counts: LoopCounts { offered: Some(0), dropped: Some(0), ..LoopCounts::default() },
            loops: Gauge::default(),
            calls: Gauge::default(),
            attempts: of(Scale::Ms),
            steps: StepTally::keeping(MOST_RAW),
            tool_calls: 0,
            other_calls: 0,
            steps_per_loop: of(Scale::Count),
            durations: of(Scale::Ms),
            successful: of(Scale::Ms),
            loop_costs: of(Scale::Usd),
            cost: CostSum::default(),
            wasted: Wasted::default(),
            wasted_cost: CostSum::default(),
            retried_us: 0,
            retried_cost: CostSum::default(),
            errors: BTreeMap::new(),
            limited: BTreeMap::new(),
            unknown: BTreeMap::new(),
        }
    }

    pub(super) fn counts(&self) -> &LoopCounts {
        &self.counts
    }

    /// Of loops that have ended, so far.
    pub(super) fn durations(&self) -> &Sampler {
        &self.durations
    }

    pub(super) fn begins(&mut self, at_us: u64) {
        self.begun_us = Some(at_us);
        self.last_us = self.last_us.max(at_us);
    }

    pub(super) fn over(&mut self, at_us: u64) {
        self.last_us = self.last_us.max(at_us);
    }

    pub(super) fn loop_dropped(&mut self) {
        self.counts.offered = self.counts.offered.map(|n| n + 1);
        self.counts.dropped = self.counts.dropped.map(|n| n + 1);
    }

    pub(super) fn loop_started(&mut self, at_us: u64) {
        self.counts.offered = self.counts.offered.map(|n| n + 1);
        self.loops.begin(at_us);
    }

    pub(super) fn call_began(&mut self, at_us: u64) {
        self.calls.begin(at_us);
    }

    pub(super) fn call_ended(&mut self, at_us: u64, end: &AttemptEnd) {
        self.calls.end(at_us);
        self.outcome(end);
    }

    pub(super) fn call_passed(&mut self, attempt: &AttemptEnd) {
        self.calls.past(attempt.sent_us, attempt.end_us);
        self.outcome(attempt);
    }

    pub(super) fn calls_at_once(&mut self, count: u32) {
        self.calls.seen(count);
    }

    /// Whether loops of it are under way.
    pub(super) fn runs(&self) -> bool {
        self.loops.now() > 0
    }

    fn outcome(&mut self, end: &AttemptEnd) {
        self.attempts.add_ms(Ms::from_us(i64::try_from(end.took_us()).unwrap_or(i64::MAX)));
        if end.outcome.is_failure() {
            let kind = match end.outcome {
                AttemptOutcome::Limited(Some(which)) => {
                    *self.limited.entry(which).or_default() += 1;
                    AttemptOutcome::Limited(None)
                }
                other => other,
            };
            *self.errors.entry(kind).or_default() += 1;
        }
    }

    /// `unpriced` is why its model has no price, if it has none.
    pub(super) fn step_ended(&mut self, step: &StepEnd, unpriced: Option<Unpriced>) {
        let sample = &step.sample;
        self.steps.add_sample(sample);
        self.tool_calls += step.tool_calls;
        self.cost.merge(&sample.cost);
        if sample.attempts > 1 {
            self.retried_us += step.retried_us;
            self.retried_cost.merge(&step.retried_cost);
        }
        if step.unknown_costs > 0 {
            let why = unpriced.unwrap_or(Unpriced::NoUsage);
            *self.unknown.entry((step.model, why)).or_default() += step.unknown_costs;
        }
    }

    pub(super) fn loop_ended(&mut self, end: &LoopEnd) {
        self.loops.end(end.ended_us);
        self.last_us = self.last_us.max(end.ended_us);
        self.counts.add(end.ending.outcome());
        self.steps_per_loop.add_count(u64::from(end.track.steps));
        let beside = &end.track.beside;
        self.tool_calls += beside.tool_calls;
        self.other_calls += beside.other_calls;
        self.cost.merge(&beside.cost);
        let took = Ms::from_us(i64::try_from(end.took_us()).unwrap_or(i64::MAX));
        match end.ending {
            LoopEnding::Succeeded => {
                self.durations.add_ms(took);
                self.successful.add_ms(took);
            }
            LoopEnding::Failed => self.durations.add_endless(),
            LoopEnding::Stopped => self.durations.add_unknown(),
        }
        let spent = &end.track.spent;
        match spent.cost.usd().filter(|_| !spent.cost.at_least()) {
            Some(usd) => self.loop_costs.add_usd(usd),
            None => self.loop_costs.add_unknown(),
        }
        let in_vain = if end.ending == LoopEnding::Succeeded { &end.track.wasted } else { spent };
        self.wasted.tokens += in_vain.tokens;
        self.wasted_cost.merge(&in_vain.cost);
    }

    /// What ran at once, where that is no sum of the parts.
    pub(super) fn with_gauges(self, loops: Gauge, calls: Gauge) -> Self {
        Self { loops, calls, ..self }
    }

    pub(super) fn merge(&mut self, more: &Self) {
        self.begun_us = self.begun_us.into_iter().chain(more.begun_us).min();
        self.last_us = self.last_us.max(more.last_us);
        self.counts.merge(&more.counts);
        self.attempts.merge(more.attempts.clone());
        self.steps.merge(more.steps.clone());
        self.tool_calls += more.tool_calls;
        self.other_calls += more.other_calls;
        self.steps_per_loop.merge(more.steps_per_loop.clone());
        self.durations.merge(more.durations.clone());
        self.successful.merge(more.successful.clone());
        self.loop_costs.merge(more.loop_costs.clone());
        self.cost.merge(&more.cost);
        self.wasted.tokens += more.wasted.tokens;
        self.wasted_cost.merge(&more.wasted_cost);
        self.retried_us += more.retried_us;
        self.retried_cost.merge(&more.retried_cost);
        for (kind, n) in &more.errors {
            *self.errors.entry(*kind).or_default() += n;
        }
        for (limit, n) in &more.limited {
            *self.limited.entry(*limit).or_default() += n;
        }
        for (model, calls) in &more.unknown {
            *self.unknown.entry(*model).or_default() += calls;
        }
    }

    pub(super) fn finish(self, prices: &Prices) -> LoadFigures {
        let begun_us = self.begun_us.unwrap_or(self.last_us);
        let length_us = self.last_us - begun_us;
        let us = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let window = Window {
            start_unix_us: us(begun_us),
            end_unix_us: us(self.last_us),
            basis: WindowBasis::Observed,
        };
        let PricedSteps { steps: of_steps, .. } = self.steps.finish();
        let cost = CostFigures::of(&self.cost);
        let errors = ErrorCounts(self.errors.iter().map(|(kind, n)| (kind.as_word(), *n)).collect());
        let seconds = length_us as f64 / 1e6;
        let per_s = |tokens: Option<u64>| tokens.unwrap_or(0) as f64 / seconds;
        let token_rates = (length_us > 0).then(|| TokenRates {
            input_tokens_per_s: per_s(of_steps.tokens.input_total),
            output_tokens_per_s: per_s(of_steps.tokens.output_total),
            ..TokenRates::default()
        });
        let concurrency = self.loops.mean(length_us).zip(self.calls.mean(length_us));
        let counts = self.counts;
        let stats = Stats {
            traces: counts.started as usize,
            window: Some(window),
            window_s: Some(seconds),
            loops: counts,
            loops_per_min: window.per_min(counts.completed),
            successful_loops_per_min: window.per_min(counts.success),
            amplification: ratio(of_steps.attempts, counts.started),
            steps_per_loop: self.steps_per_loop.finish(),
            loop_duration_ms: self.durations.finish(),
            tool_calls: self.tool_calls,
            other_calls: self.other_calls,
            retry_wasted_ms: Some(Ms::from_us(us(self.retried_us))),
            retry_wasted_usd: match of_steps.retries {
                0 => Some(Usd::ZERO),
                _ => self.retried_cost.usd(),
            },
            cost,
            // What was really billed is known to the provider, and a simulated one bills nothing.
            columns: CostColumns { list: self.cost, ..CostColumns::default() },
            cost_unknown: unknown_models(&self.unknown, prices),
            loop_cost_usd: self.loop_costs.finish(),
            loops_per_usd: loops_per_usd(counts, cost),
            token_rates,
            concurrency: concurrency.map(|(loops_mean, calls_mean)| Concurrency {
                loops_mean,
                loops_peak: self.loops.peak(),
                calls_mean,
                calls_peak: self.calls.peak(),
            }),
            error_rate: ratio(errors.total(), of_steps.attempts),
            errors,
            of_steps,
            // Not told here: the stored traces of a run in real time say it.
            time: TimeSplit::default(),
            warm_cold: None,
            series: None,
            segments: None,
        };
        LoadFigures::new(
            stats,
            self.successful.finish(),
            self.attempts.finish(),
            Wasted {
                usd: self.wasted_cost.usd().or((!self.wasted_cost.at_least()).then_some(Usd::ZERO)),
                at_least: self.wasted_cost.at_least(),
                ..self.wasted
            },
            self.limited.iter().map(|(limit, n)| (limit_word(*limit), *n)).collect(),
        )
    }
}

fn unknown_models(unknown: &BTreeMap<(usize, Unpriced), u32>, prices: &Prices) -> Vec<UnknownModel> {
    let unknown = unknown.iter().map(|(&(model, why), &calls)| UnknownModel {
        model: Some(prices.model(model).to_owned()),
        why,
        calls,
    });
    unknown.collect()
}

fn limit_word(limit: Limited) -> &'static str {
    match limit {
        Limited::Requests => "requests_per_min",
        Limited::Tokens => "tokens_per_min",
        Limited::InputTokens => "input_tokens_per_min",
        Limited::OutputTokens => "output_tokens_per_min",
        Limited::Concurrent => "concurrent_calls",
    }
}
