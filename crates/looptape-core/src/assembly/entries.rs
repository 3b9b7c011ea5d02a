//! The order in which a timeline shows things.

use super::{Assembly, LooseTool, PlainCall, Step, ToolStep};
use crate::facts::CallFacts;

/// One line of a timeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    Step(&'a Step),
    /// A tool call, with the step that asked for it.
    Tool(&'a Step, &'a ToolStep),
    Other(&'a PlainCall),
    /// A tool call that no step asked for.
    Loose(&'a LooseTool),
}

impl Assembly {
    /// Steps, tool calls and plain calls in the order in which they started. Calls keep the order of
    /// `facts` whatever their times say; a tool call stands among them where its start, measured or inferred, puts it.
    pub fn entries(&self, facts: &[CallFacts]) -> Vec<Entry<'_>> {
        let mut calls: Vec<Entry<'_>> =
            self.steps.iter().map(Entry::Step).chain(self.others.iter().map(Entry::Other)).collect();
        calls.sort_by_key(Entry::first_call);
        let mut now = i64::MIN;
        let mut timed = Vec::new();
        for entry in calls {
            now = now.max(entry.first_call().map_or(now, |call| facts[call].sent_us));
            timed.push((now, entry));
            if let Entry::Step(step) = entry {
                let tools = step.tools.iter();
                timed.extend(tools.map(|t| (now.max(t.started_us.unwrap_or(now)), Entry::Tool(step, t))));
            }
        }
        timed.extend(self.loose.iter().map(|tool| (tool.started_us, Entry::Loose(tool))));
        timed.sort_by_key(|(start, _)| *start);
        timed.into_iter().map(|(_, entry)| entry).collect()
    }
}

impl Entry<'_> {
    fn first_call(&self) -> Option<usize> {
        match self {
            Entry::Step(step) => Some(step.first_call().0),
            Entry::Other(call) => Some(call.first_call().0),
            Entry::Tool(..) | Entry::Loose(_) => None,
        }
    }
}
