//! Which tool calls have a track of their own.

use super::lanes::{Lanes, Origin};
use super::span_us;
use crate::view::{EntryKind, EntryView, ToolKnown};
use std::collections::HashMap;

/// By entry: whether it is a tool call that was under way beside another one of its agent or beside that agent's next
/// step, or inside which another agent ran. All others are on the track of the agent that waits for them.
pub(super) fn stand_alone(entries: &[EntryView], lanes: &Lanes) -> Vec<bool> {
    let mut alone = vec![false; entries.len()];
    let mut by_agent: HashMap<Option<usize>, Latest> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let Some((start_us, end_us)) = span_us(entry).filter(|_| entry.kind != EntryKind::Other) else {
            continue;
        };
        let latest = by_agent.entry(lanes.of_entry(at)).or_default();
        let beside = latest.tool.filter(|(_, end)| *end > start_us && end_us > start_us);
        if let Some((other, _)) = beside {
            alone[other] = true;
        }
        if entry.kind == EntryKind::Tool {
            alone[at] = beside.is_some();
            if latest.tool.is_none_or(|(_, end)| end_us > end) {
                latest.tool = Some((at, end_us));
            }
        }
    }
    // Where it cannot be told inside which of several an agent ran, what is only inferred of them is no lane.
    for tool in lanes.undecided().filter(|tool| is_inferred(&entries[*tool])) {
        alone[tool] = false;
    }
    for lane in 0..lanes.len() {
        if let Origin::Inside(tool) = lanes.origin(lane) {
            alone[tool] = true;
        }
    }
    alone
}

/// The tool call of an agent that ends last, of those so far.
#[derive(Default)]
struct Latest {
    tool: Option<(usize, i64)>,
}

fn is_inferred(entry: &EntryView) -> bool {
    entry.tool.as_ref().is_some_and(|tool| tool.source == ToolKnown::Inferred)
}
