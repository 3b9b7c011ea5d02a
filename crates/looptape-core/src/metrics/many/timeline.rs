//! One time line for the calls and loops of many traces.
//!
//! Only what is known to have run from when to when is on it: imports without times are not.

use super::super::Ms;
use super::super::sweep::Interval;
use super::super::trace::TraceMetrics;
use super::stats::Sample;
use crate::assembly::LoopOutcome;
use crate::provider::Provider;
use std::collections::HashMap;

/// Which model, at which provider: a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ModelIndex(usize);

/// A call, on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallOnLine {
    pub(super) model: ModelIndex,
    pub(super) during: Interval,
    pub(super) ttft_ms: Option<Ms>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Its loop's place in [`Timeline::loops`], if that is on the line.
    pub(super) of_loop: Option<usize>,
}

/// A loop, on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoopOnLine {
    pub(super) during: Interval,
    pub(super) outcome: LoopOutcome,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    pub(super) calls: Vec<CallOnLine>,
    pub(super) loops: Vec<LoopOnLine>,
    /// From start to end of each trace.
    pub(super) traces: Vec<Interval>,
    models: HashMap<(Provider, String), ModelIndex>,
}

impl Timeline {
    pub(super) fn add(&mut self, sample: &Sample<'_>) {
        let (Some(start_us), metrics) = (sample.started_unix_us, sample.metrics) else { return };
        let on_clock = |during: Interval| Interval {
            start_us: start_us.saturating_add(during.start_us),
            end_us: start_us.saturating_add(during.end_us),
        };
        if let Some(duration) = metrics.time.duration_ms {
            self.traces.push(on_clock(Interval { start_us: 0, end_us: duration.us() }));
        }
        let mut places: Vec<Option<usize>> = Vec::with_capacity(metrics.by_loop.len());
        for inner in &metrics.by_loop {
            places.push(inner.during.map(|during| {
                self.loops.push(LoopOnLine { during: on_clock(during), outcome: inner.outcome });
                self.loops.len() - 1
            }));
        }
        let models: Vec<ModelIndex> = models(&mut self.models, metrics);
        for call in &metrics.calls {
            let number = metrics.by_step[call.step].loop_number;
            let place = (number.0 as usize).checked_sub(1).and_then(|at| places.get(at).copied().flatten());
            self.calls.push(CallOnLine {
                model: models[call.step],
                during: on_clock(call.during),
                ttft_ms: call.ttft_ms,
                input_tokens: call.input_tokens,
                output_tokens: call.output_tokens,
                of_loop: place,
            });
        }
    }

    pub(super) fn merge(&mut self, more: Self) {
        let mut own: HashMap<ModelIndex, ModelIndex> = HashMap::new();
        for (model, index) in more.models {
            let next = ModelIndex(self.models.len());
            own.insert(index, *self.models.entry(model).or_insert(next));
        }
        let loops = self.loops.len();
        self.calls.extend(more.calls.into_iter().map(|call| CallOnLine {
            model: own[&call.model],
            of_loop: call.of_loop.map(|place| place + loops),
            ..call
        }));
        self.loops.extend(more.loops);
        self.traces.extend(more.traces);
    }
}

/// The model of each step.
fn models(known: &mut HashMap<(Provider, String), ModelIndex>, metrics: &TraceMetrics) -> Vec<ModelIndex> {
    let mut last: Option<(&Provider, Option<&str>, ModelIndex)> = None;
    let mut indices = Vec::with_capacity(metrics.by_step.len());
    for step in &metrics.by_step {
        let (provider, model) = (&step.provider, step.model.as_deref());
        let index = match last {
            Some((same_provider, same_model, index)) if same_provider == provider && same_model == model => {
                index
            }
            _ => {
                let next = ModelIndex(known.len());
                let key = (provider.clone(), model.unwrap_or_default().to_owned());
                *known.entry(key).or_insert(next)
            }
        };
        last = Some((provider, model, index));
        indices.push(index);
    }
    indices
}
