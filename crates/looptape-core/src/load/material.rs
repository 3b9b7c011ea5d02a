//! What a scenario is made of besides its text: recorded loops, and requests of workload files.

use crate::assembly::Assembly;
use crate::facts::{CallFacts, CallKind};
use crate::metrics::History;
use crate::scenario::DEFAULT_MODEL;
use crate::wire::Wire;
use std::sync::Arc;

/// Recorded loops and requests of a file; empty where the traffic is generated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Material {
    /// The models that the loops ask.
    pub models: Vec<String>,
    pub loops: Vec<RecordedLoop>,
    pub calls: Vec<WorkloadCall>,
}

/// A loop as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedLoop {
    /// How often it comes, beside the others.
    pub weight: f64,
    /// What its first prompt has in common with those of others, as far as the provider's cache said so.
    pub shared_tokens: u64,
    /// Not empty.
    pub steps: Vec<RecordedStep>,
}

/// A model step as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// Its model's place in [`Material::models`].
    pub model: usize,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// From the end of its answer to the next request: tools, and the agent itself.
    pub then_us: u64,
    /// Tools that its answer calls.
    pub tool_calls: u32,
    pub history: History,
    pub stream: bool,
    /// Where its request is.
    pub at: RecordedAt,
}

/// A recorded request: whoever sends it reads it when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedAt {
    /// The trace, by the number that it was added with.
    pub trace: usize,
    pub seq: u32,
    pub wire: Wire,
}

/// A request of a workload file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadCall {
    /// After the first request of the file.
    pub at_us: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// A recorded step's first request and last answer.
#[derive(Clone, Copy)]
struct Asked<'a> {
    first: &'a CallFacts,
    last: &'a CallFacts,
    history: History,
}

impl Material {
    /// Adds the loops of a trace, their steps one after another; returns how many there were. `trace` is its number among
    /// those that are added. Steps of which it is not known what they used cannot be sent again, and are left out.
    pub fn add_trace(
        &mut self,
        trace: usize,
        facts: &[CallFacts],
        assembly: &Assembly,
        weight: f64,
    ) -> usize {
        let before = self.loops.len();
        for recorded in &assembly.loops {
            let asked = recorded.steps.iter().filter_map(|number| assembly.step(*number)).map(|step| Asked {
                first: &facts[step.first_call().0],
                last: &facts[step.final_call().0],
                history: History::of(facts, assembly, step),
            });
            let is_known = |asked: &Asked<'_>| {
                let usage = &asked.last.usage;
                usage.input_total.is_some() && usage.output_total.is_some()
            };
            let calls: Vec<Asked<'_>> = asked.filter(is_known).collect();
            let steps: Vec<RecordedStep> =
                (0..calls.len()).filter_map(|at| self.step(trace, calls[at], calls.get(at + 1))).collect();
            if let Some(Asked { first, .. }) = calls.first() {
                let shared_tokens = first.usage.cache_read.unwrap_or(0);
                self.loops.push(RecordedLoop { weight, shared_tokens, steps });
            }
        }
        self.loops.len() - before
    }

    fn step(
        &mut self,
        trace: usize,
        Asked { first, last, history }: Asked<'_>,
        next: Option<&Asked<'_>>,
    ) -> Option<RecordedStep> {
        let CallKind::Llm(wire) = first.kind else { return None };
        let gap_us = next.zip(last.end_us).map(|(next, end_us)| next.first.sent_us.saturating_sub(end_us));
        let model = last.model.as_deref().or(last.response_model.as_deref()).unwrap_or(DEFAULT_MODEL);
        Some(RecordedStep {
            model: self.model(model),
            input_tokens: last.usage.input_total.unwrap_or(0).max(1),
            output_tokens: last.usage.output_total.unwrap_or(0),
            then_us: u64::try_from(gap_us.unwrap_or(0)).unwrap_or(0),
            tool_calls: u32::try_from(last.asks.len()).unwrap_or(u32::MAX),
            history,
            stream: last.stream,
            at: RecordedAt { trace, seq: first.seq, wire },
        })
    }

    /// The format that all recorded loops are in, if there is one.
    pub fn wire(&self) -> Option<Wire> {
        let mut wires = self.loops.iter().flat_map(|one| &one.steps).map(|step| step.at.wire);
        let first = wires.next()?;
        wires.all(|wire| wire == first).then_some(first)
    }

    /// When the file's requests come.
    pub fn times_us(&self) -> Arc<[u64]> {
        self.calls.iter().map(|call| call.at_us).collect()
    }

    /// The share of loops up to and including each.
    pub(super) fn shares(&self) -> Vec<f64> {
        let total: f64 = self.loops.iter().map(|one| one.weight).sum();
        let mut up_to = 0.0;
        let share = |one: &RecordedLoop| {
            up_to += one.weight / total;
            up_to
        };
        self.loops.iter().map(share).collect()
    }

    fn model(&mut self, name: &str) -> usize {
        self.models.iter().position(|known| known == name).unwrap_or_else(|| {
            self.models.push(name.to_owned());
            self.models.len() - 1
        })
    }
}
