//! Which step asked for a tool call that was measured.
//!
//! By the call's id; else by tool, arguments and occurrence, among what had been asked for when it started. A call
//! inside another one that is the same is a second measurement of it (a hook's and a shim's), and counts once.

use super::{Assembly, LooseTool, Step, StepNumber};
use crate::facts::CallFacts;
use crate::tools::ToolFacts;

/// A tool call that a step asks for.
struct Ask {
    /// Its step's place in [`Assembly::steps`], and its own in [`Step::tools`].
    step: usize,
    tool: usize,
    arguments: Option<i64>,
    /// When the step's first request was sent.
    sent_us: i64,
}

/// Gives tool calls the times that were measured, and keeps those that no step asked for.
pub(super) fn link(assembly: &mut Assembly, facts: &[CallFacts], measured: &[ToolFacts]) {
    if measured.is_empty() {
        return;
    }
    let asks = asks(&assembly.steps, facts);
    let mut order: Vec<usize> = (0..measured.len()).collect();
    order.sort_by_key(|&at| measured[at].started_us);
    for at in order {
        let tool = &measured[at];
        match place(&assembly.steps, &asks, measured, tool) {
            Place::Of(Ask { step, tool: nth, .. }) => {
                let asked = &mut assembly.steps[*step].tools[*nth];
                asked.measured = Some(at);
                asked.started_us = Some(tool.started_us);
                asked.ended_us = tool.ended_us;
            }
            Place::Again => {}
            Place::Nowhere => assembly.loose.push(loose(&assembly.steps, facts, tool, at)),
        }
    }
}

enum Place<'a> {
    Of(&'a Ask),
    /// A second measurement of a call that has its place.
    Again,
    Nowhere,
}

fn asks(steps: &[Step], facts: &[CallFacts]) -> Vec<Ask> {
    let of_step = |(at, step): (usize, &Step)| {
        let sent_us = facts[step.first_call().0].sent_us;
        let asked = &facts[step.final_call().0].asks;
        let ask = |(nth, ask): (usize, &crate::facts::AskedTool)| Ask {
            step: at,
            tool: nth,
            arguments: ask.arguments,
            sent_us,
        };
        asked.iter().take(step.tools.len()).enumerate().map(ask).collect::<Vec<_>>()
    };
    steps.iter().enumerate().flat_map(of_step).collect()
}

fn place<'a>(steps: &[Step], asks: &'a [Ask], measured: &[ToolFacts], tool: &ToolFacts) -> Place<'a> {
    let of = |ask: &Ask| &steps[ask.step].tools[ask.tool];
    let before = |ask: &&Ask| ask.sent_us <= tool.started_us;
    let has_id = |ask: &&Ask| tool.call_id.is_some() && of(ask).call_id == tool.call_id;
    let is_alike = |ask: &&Ask| {
        is_name_of(&of(ask).name, &tool.name) && ask.arguments.is_none_or(|own| own == tool.arguments_digest)
    };
    let is_free = |ask: &&Ask| of(ask).measured.is_none();
    if let Some(ask) = asks.iter().filter(before).find(|ask| has_id(ask) && is_free(ask)) {
        return Place::Of(ask);
    }
    let has_room = |ask: &&Ask| is_free(ask) && (tool.call_id.is_none() || of(ask).call_id.is_none());
    let latest = asks.iter().filter(before).rev().find(|ask| is_alike(ask) && has_room(ask));
    if let Some(Ask { step, .. }) = latest {
        let first = asks.iter().find(|ask| ask.step == *step && is_alike(ask) && has_room(ask));
        return first.map_or(Place::Nowhere, Place::Of);
    }
    let contains = |outer: &ToolFacts| {
        outer.started_us <= tool.started_us
            && outer.ended_us.is_none_or(|end| tool.ended_us.is_some_and(|own| own <= end))
    };
    let is_inside = |ask: &&Ask| of(ask).measured.is_some_and(|outer| contains(&measured[outer]));
    match asks.iter().any(|ask| (has_id(&ask) || is_alike(&ask)) && is_inside(&ask)) {
        true => Place::Again,
        false => Place::Nowhere,
    }
}

/// Whether a tool that a model knows as `asked` is `own`: gateways of tools put a name of their own before it
/// (`mcp__server__search`).
fn is_name_of(asked: &str, own: &str) -> bool {
    asked == own || asked.strip_suffix(own).is_some_and(|rest| rest.ends_with(['_', '.', '/', ':', '-']))
}

fn loose(steps: &[Step], facts: &[CallFacts], tool: &ToolFacts, measured: usize) -> LooseTool {
    let sent = |step: &Step| facts[step.first_call().0].sent_us;
    let after = steps.iter().rev().find(|step| sent(step) <= tool.started_us);
    LooseTool {
        after: after.map(|step| -> StepNumber { step.number }),
        name: tool.name.clone(),
        call_id: tool.call_id.clone(),
        started_us: tool.started_us,
        ended_us: tool.ended_us,
        measured,
    }
}
