//! The recording's tools: what each recorded tool call gave, by tool, arguments and occurrence.

use super::RecordedStep;
use super::report::{NearestCall, UnknownCall};
use crate::digest::Digest;
use crate::replay::answers::{argument_difference, said, shown};
use crate::wire::{ToolCall, WrittenResult};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// Results that were recorded, and which of them are left.
#[derive(Debug, Default)]
pub(super) struct RecordedTools {
    /// Results by what was asked, in the order in which it was asked.
    left: HashMap<Digest, VecDeque<WrittenResult>>,
    /// Every call whose result was recorded, in that order.
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    step: u32,
    call: ToolCall,
    said: Digest,
}

impl RecordedTools {
    /// Pairs every step's calls with the results that a follower of that step brings.
    pub(super) fn of(steps: &[RecordedStep], children: &[Vec<usize>]) -> Self {
        let mut tools = Self::default();
        for (at, step) in steps.iter().enumerate() {
            let Some(answer) = step.view() else { continue };
            let mut calls: Vec<Option<ToolCall>> = answer.tool_calls.into_iter().map(Some).collect();
            let mut found: Vec<(usize, WrittenResult)> = Vec::new();
            for result in children[at].iter().flat_map(|&child| new_results(&steps[child])) {
                let of_this = |call: &Option<ToolCall>| call.as_ref().is_some_and(|c| answers(&result, c));
                if let Some(place) = calls.iter().position(of_this) {
                    let call = calls[place].take().expect("a place that holds a call was looked for");
                    tools.asked.push(Asked { step: step.step, said: said(&call), call });
                    found.push((tools.asked.len() - 1, result));
                }
            }
            for (asked, result) in found {
                tools.left.entry(tools.asked[asked].said).or_default().push_back(result);
            }
        }
        tools
    }

    /// The next recorded result of this very call.
    pub(super) fn take(&mut self, call: &ToolCall) -> Option<WrittenResult> {
        self.left.get_mut(&said(call))?.pop_front()
    }

    /// What to say of a call that the recording does not hold, or not once more.
    pub(super) fn unknown(&self, step: u32, call: &ToolCall) -> UnknownCall {
        let digest = said(call);
        let mut tools: Vec<String> = self.asked.iter().map(|asked| asked.call.name.clone()).collect();
        tools.sort();
        tools.dedup();
        UnknownCall {
            step,
            tool: call.name.clone(),
            arguments: shown(call),
            recorded_times: self.asked.iter().filter(|asked| asked.said == digest).count(),
            nearest: self.nearest(call),
            recorded_tools: tools,
        }
    }

    /// The recorded call of the same tool whose arguments are most alike; the first of several.
    fn nearest(&self, call: &ToolCall) -> Option<NearestCall> {
        let wanted = shown(call);
        let alike = |asked: &&Asked| in_common(&shown(&asked.call), &wanted);
        let of_tool = self.asked.iter().rev().filter(|asked| asked.call.name == call.name);
        let nearest = of_tool.max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
        Some(NearestCall {
            step: nearest.step,
            arguments: shown(&nearest.call),
            difference: (nearest.said != said(call)).then(|| argument_difference(&nearest.call, call)),
        })
    }
}

fn answers(result: &WrittenResult, call: &ToolCall) -> bool {
    match (&result.call_id, &call.id) {
        (Some(result), Some(call)) => result == call,
        _ => result.name.as_ref().is_some_and(|name| *name == call.name),
    }
}

/// The results that a request adds to the answer that it follows, in their order.
fn new_results(step: &RecordedStep) -> Vec<WrittenResult> {
    let Ok(request) = serde_json::from_slice::<Value>(&step.body) else { return Vec::new() };
    let Some((_, read)) = step.wire.history() else { return Vec::new() };
    let Some(history) = step.wire.history_of(&request) else { return Vec::new() };
    let is_answer = |element: &Value| crate::derive::since_last_answer(&[read(element)]).is_empty();
    let after = history.iter().rposition(is_answer).map_or(0, |at| at + 1);
    history[after..].iter().flat_map(|element| step.wire.written_results(element)).collect()
}

/// The share of characters that two texts have in common at their beginning and end.
fn in_common(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let prefix = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - prefix;
    let suffix = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    (prefix + suffix) as f64 / a.len().max(b.len()).max(1) as f64
}
