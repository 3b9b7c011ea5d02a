//! The steps of a set by what they are: their model, their size, whether they were streamed.
//!
//! Each step is in exactly one segment of each kind, so the segments of a kind add up to the whole.

use super::super::Ms;
use super::super::distribution::{Distribution, Sampler, Scale};
use super::super::trace::{StepMetrics, TraceMetrics};
use super::steps::{PricedSteps, StepFigures, StepTally};
use super::tools::{ToolFigures, ToolTally};
use serde::Serialize;
use std::collections::BTreeMap;

/// Figures of one part of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Segment<F> {
    pub key: String,
    #[serde(flatten)]
    pub figures: F,
}

/// All segments of a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Segments {
    pub by_model: Vec<Segment<PricedSteps>>,
    pub by_tool: Vec<Segment<ToolFigures>>,
    pub by_kind: Vec<Segment<KindFigures>>,
    pub by_stream: Vec<Segment<PricedSteps>>,
    /// Input tokens of the last attempt, cached ones included.
    pub by_input_tokens: Vec<Segment<PricedSteps>>,
    /// Output tokens of the last attempt, reasoning included.
    pub by_output_tokens: Vec<Segment<PricedSteps>>,
    /// By the tag `phase` of their traces.
    pub by_phase: Vec<Segment<PricedSteps>>,
}

/// Steps of one kind: model calls, tool calls, other calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindFigures {
    pub calls: u32,
    /// Attempts and backoff included; of tool calls as measured, or, where none was, inferred: an upper bound.
    pub latency_ms: Distribution,
}

/// Where the size buckets part, in tokens.
const EDGES: [(u64, &str); 3] = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K")];

/// A size bucket, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(usize);

const UNKNOWN_SIZE: Size = Size(EDGES.len() + 1);

impl Size {
    pub(crate) fn of(tokens: Option<u64>) -> Self {
        tokens.map_or(UNKNOWN_SIZE, |tokens| Self(EDGES.partition_point(|(edge, _)| *edge <= tokens)))
    }

    pub(crate) fn name(self) -> String {
        let edge = |place: usize| EDGES.get(place).map(|(_, name)| *name);
        match (self.0.checked_sub(1).and_then(edge), edge(self.0)) {
            _ if self == UNKNOWN_SIZE => "unknown".to_owned(),
            (None, Some(to)) => format!("below {to}"),
            (Some(from), Some(to)) => format!("{from} to {to}"),
            (from, None) => format!("{} and more", from.unwrap_or_default()),
        }
    }
}

/// Collects them.
#[derive(Clone, Debug, Default)]
pub(super) struct SegmentTally {
    by_model: BTreeMap<String, StepTally>,
    by_tool: BTreeMap<String, ToolTally>,
    by_stream: BTreeMap<bool, StepTally>,
    by_input: BTreeMap<Size, StepTally>,
    by_output: BTreeMap<Size, StepTally>,
    by_phase: BTreeMap<String, StepTally>,
    others: Vec<Option<Ms>>,
    /// The time of all traces.
    whole: Ms,
}

/// The key of steps that have none.
pub(super) const NONE: &str = "(none)";

impl SegmentTally {
    pub(super) fn add(&mut self, trace: &TraceMetrics, phase: Option<&str>) {
        for step in &trace.by_step {
            self.add_step(step, phase.unwrap_or(NONE));
        }
        if let Some(duration) = trace.time.duration_ms {
            self.whole = self.whole + duration;
        }
        for tool in &trace.tools {
            at(&mut self.by_tool, &tool.name).add(tool);
        }
        self.others.extend(&trace.other_latencies);
    }

    fn add_step(&mut self, step: &StepMetrics, phase: &str) {
        at(&mut self.by_model, step.model.as_deref().unwrap_or(NONE)).add(step);
        at(&mut self.by_phase, phase).add(step);
        self.by_stream.entry(step.stream).or_default().add(step);
        self.by_input.entry(Size::of(step.input_tokens)).or_default().add(step);
        self.by_output.entry(Size::of(step.output_tokens)).or_default().add(step);
    }

    pub(super) fn merge(&mut self, more: Self) {
        merge(&mut self.by_model, more.by_model, StepTally::merge);
        merge(&mut self.by_tool, more.by_tool, ToolTally::merge);
        merge(&mut self.by_stream, more.by_stream, StepTally::merge);
        merge(&mut self.by_input, more.by_input, StepTally::merge);
        merge(&mut self.by_output, more.by_output, StepTally::merge);
        merge(&mut self.by_phase, more.by_phase, StepTally::merge);
        self.others.extend(more.others);
        self.whole = self.whole + more.whole;
    }

    /// `all` are the figures of all model steps.
    pub(super) fn finish(self, all: &StepFigures) -> Segments {
        let mut tools = ToolTally::default();
        self.by_tool.values().for_each(|tool| tools.merge(tool.clone()));
        let whole = self.whole;
        let tools = tools.finish(whole);
        let tool_latency = if tools.measured > 0 { tools.tool_ms } else { tools.tool_inferred_ms };
        let kinds = [
            ("llm", KindFigures { calls: all.steps, latency_ms: all.step_latency_ms.clone() }),
            ("tool", KindFigures { calls: tools.calls, latency_ms: tool_latency }),
            ("other", others(&self.others)),
        ];
        let kinds = kinds.map(|(key, figures)| Segment { key: key.to_owned(), figures });
        let stream = |streamed: bool| if streamed { "streamed" } else { "not streamed" }.to_owned();
        Segments {
            by_model: finish(self.by_model, |key| key, StepTally::finish),
            by_tool: finish(self.by_tool, |key| key, |tool| tool.finish(whole)),
            by_kind: kinds.into_iter().filter(|kind| kind.figures.calls > 0).collect(),
            by_stream: finish(self.by_stream, stream, StepTally::finish),
            by_input_tokens: finish(self.by_input, Size::name, StepTally::finish),
            by_output_tokens: finish(self.by_output, Size::name, StepTally::finish),
            by_phase: finish(self.by_phase, |key| key, StepTally::finish),
        }
    }
}

fn at<'a, T: Default>(map: &'a mut BTreeMap<String, T>, key: &str) -> &'a mut T {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), T::default());
    }
    map.get_mut(key).expect("it was put there")
}

fn merge<K: Ord, T: Default>(own: &mut BTreeMap<K, T>, more: BTreeMap<K, T>, merge: fn(&mut T, T)) {
    for (key, more) in more {
        merge(own.entry(key).or_default(), more);
    }
}

fn finish<K, T, F>(map: BTreeMap<K, T>, name: fn(K) -> String, finish: impl Fn(T) -> F) -> Vec<Segment<F>> {
    map.into_iter().map(|(key, tally)| Segment { key: name(key), figures: finish(tally) }).collect()
}

fn others(latencies: &[Option<Ms>]) -> KindFigures {
    let mut took = Sampler::new(Scale::Ms);
    for latency in latencies {
        match latency {
            Some(ms) => took.add_ms(*ms),
            None => took.add_unknown(),
        }
    }
    KindFigures { calls: u32::try_from(latencies.len()).unwrap_or(u32::MAX), latency_ms: took.finish() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_part_at_1k_10k_and_100k() {
        let name = |tokens| Size::of(tokens).name();
        let names = [0, 999, 1_000, 9_999, 10_000, 99_999, 100_000].map(|tokens| name(Some(tokens)));
        let expected = ["below 1K", "below 1K", "1K to 10K", "1K to 10K", "10K to 100K", "10K to 100K"];
        assert_eq!(names[..6], expected.map(str::to_owned));
        assert_eq!((names[6].as_str(), name(None).as_str()), ("100K and more", "unknown"));
    }
}
