//! How a loop turned out, where nobody said so.
//!
//! Derived from the step that ended last: a final answer is success; an error is failure once nothing more
//! can come; a tool call that stayed open is abandonment where the gateway's idle time ended the trace.
//! Everything else is unknown: a client that hung up may have had all it wanted.

use super::trace::Recorded;
use crate::assembly::{Loop, LoopOutcome, Step, TraceEnding, TraceSpan};
use crate::facts::AttemptState;

/// The outcome of one loop. A stated outcome belongs to the trace: it decides for its only loop, and for
/// loops of which nothing else is known.
pub(super) fn of_loop(recorded: &Recorded<'_>, inner: &Loop) -> LoopOutcome {
    let derived = derive(recorded, inner);
    match recorded.span.stated_outcome {
        Some(stated) if recorded.assembly.loops.len() == 1 || derived == LoopOutcome::Unknown => stated,
        _ => derived,
    }
}

/// The outcome of a trace: stated, or that of its loops if they agree; one failure fails it.
pub(super) fn of_trace(span: &TraceSpan, loops: &[LoopOutcome]) -> LoopOutcome {
    let any = |outcome| loops.contains(&outcome);
    match span.stated_outcome {
        Some(stated) => stated,
        None if loops.is_empty() => LoopOutcome::Unknown,
        None if any(LoopOutcome::Failure) => LoopOutcome::Failure,
        None if any(LoopOutcome::Unknown) => LoopOutcome::Unknown,
        None if any(LoopOutcome::Abandoned) => LoopOutcome::Abandoned,
        None => LoopOutcome::Success,
    }
}

fn derive(recorded: &Recorded<'_>, inner: &Loop) -> LoopOutcome {
    let Recorded { facts, assembly, clock, .. } = recorded;
    let end = |step: &&Step| (clock.end(step.final_call()).unwrap_or(i64::MAX), step.number);
    let Some(last) = inner.steps.iter().filter_map(|n| assembly.step(*n)).max_by_key(end) else {
        return LoopOutcome::Unknown;
    };
    let fact = &facts[last.final_call().0];
    let open_tool = last.tools.iter().any(|tool| tool.answered_by.is_none());
    match recorded.span.ending {
        _ if fact.succeeded() && !open_tool => LoopOutcome::Success,
        TraceEnding::Idle { .. } if fact.succeeded() => LoopOutcome::Abandoned,
        TraceEnding::Open => LoopOutcome::Unknown,
        _ if fact.succeeded() => LoopOutcome::Unknown,
        _ if matches!(fact.state, AttemptState::ClientGone | AttemptState::InFlight) => LoopOutcome::Unknown,
        _ => LoopOutcome::Failure,
    }
}
