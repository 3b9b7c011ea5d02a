//! Where the time of a trace went.

use super::Ms;
use super::sweep::{self, Interval};
use super::trace::{Recorded, model_calls};
use crate::assembly::{ToolStep, TraceEnding, TraceSpan};
use crate::facts::CallFacts;
use serde::Serialize;

/// Where the time of a trace went. The parts that are not null sum to the duration exactly:
/// either `llm + tool + overlap + overhead`, or, where tools were only inferred, `llm + tool_or_overhead`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeSplit {
    pub duration_ms: Option<Ms>,
    /// Time with a model call in flight (and, where tools were measured, no tool running).
    pub llm_ms: Option<Ms>,
    pub tool_ms: Option<Ms>,
    pub overlap_ms: Option<Ms>,
    pub overhead_ms: Option<Ms>,
    /// All time without a model call in flight, where not all tools were measured: tools and overhead cannot be
    /// told apart.
    pub tool_or_overhead_ms: Option<Ms>,
    /// An upper bound of the time in tools: as measured, or from answers that ask for them to the requests that
    /// carry their results.
    pub tool_inferred_ms: Option<Ms>,
}

impl TimeSplit {
    /// Adds part by part; a part that one of the two does not have is the other's.
    pub(super) fn add(&mut self, more: &Self) {
        let add = |sum: &mut Option<Ms>, more: Option<Ms>| {
            *sum = match (*sum, more) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        };
        add(&mut self.duration_ms, more.duration_ms);
        add(&mut self.llm_ms, more.llm_ms);
        add(&mut self.tool_ms, more.tool_ms);
        add(&mut self.overlap_ms, more.overlap_ms);
        add(&mut self.overhead_ms, more.overhead_ms);
        add(&mut self.tool_or_overhead_ms, more.tool_or_overhead_ms);
        add(&mut self.tool_inferred_ms, more.tool_inferred_ms);
    }
}

/// Splits the trace's time.
pub(super) fn split(recorded: &Recorded<'_>) -> TimeSplit {
    let Recorded { facts, assembly, span, .. } = *recorded;
    if !span.timing.knows_intervals() {
        return TimeSplit::default();
    }
    let whole = Interval { start_us: span.started_us, end_us: end_us(facts, span) };
    let running =
        |fact: &CallFacts| Interval { start_us: fact.sent_us, end_us: fact.end_us.unwrap_or(whole.end_us) };
    let model: Vec<Interval> = model_calls(assembly).map(|call| running(&facts[call.0])).collect();
    let asked = || assembly.steps.iter().flat_map(|step| &step.tools);
    let is_measured = asked().any(|tool| tool.measured.is_some()) || !assembly.loose.is_empty();
    let end = |tool: &ToolStep| match tool.measured {
        // One that never ended ran as long as anything is known of the trace.
        Some(_) => Some(tool.ended_us.unwrap_or(whole.end_us)),
        None => tool.ended_us,
    };
    let of_steps =
        asked().filter_map(|tool| Some(Interval { start_us: tool.started_us?, end_us: end(tool)? }));
    let loose = assembly
        .loose
        .iter()
        .map(|tool| Interval { start_us: tool.started_us, end_us: tool.ended_us.unwrap_or(whole.end_us) });
    let tools: Vec<Interval> = of_steps.chain(loose).collect();
    let parts = sweep::split(whole, &model, &tools);
    let duration_ms = Some(Ms::between(whole.start_us, whole.end_us));
    // Beside measured calls, one that nothing answers did not run (an answer's structured form, say).
    let is_known = |tool: &ToolStep| tool.measured.is_some() || (is_measured && tool.answered_by.is_none());
    if asked().all(is_known) {
        return TimeSplit {
            duration_ms,
            llm_ms: Some(parts.model_only),
            tool_ms: Some(parts.tool_only),
            overlap_ms: Some(parts.both),
            overhead_ms: Some(parts.neither),
            tool_or_overhead_ms: None,
            tool_inferred_ms: None,
        };
    }
    TimeSplit {
        duration_ms,
        llm_ms: Some(parts.model_only + parts.both),
        tool_or_overhead_ms: Some(parts.tool_only + parts.neither),
        tool_inferred_ms: Some(parts.tool_only + parts.both),
        ..TimeSplit::default()
    }
}

/// When the trace ended, or the last thing that is known to have happened in it.
fn end_us(facts: &[CallFacts], span: &TraceSpan) -> i64 {
    let last = |fact: &CallFacts| {
        let times = [Some(fact.sent_us), fact.head_us, fact.last_output_us, fact.end_us];
        times.into_iter().flatten().max().unwrap_or(fact.sent_us)
    };
    match span.ending {
        TraceEnding::Closed { at_us } | TraceEnding::Idle { at_us } => at_us,
        TraceEnding::Open => facts.iter().map(last).max().unwrap_or(span.started_us),
    }
}
