//! The lanes of agents, and where each came from.

use super::span_us;
use crate::assembly::{Lane, LoopNumber, StepNumber};
use crate::view::{EntryKind, EntryView};
use std::collections::HashMap;

/// Where a lane came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing says.
    Nowhere,
    /// Its first request goes on from this step's answer.
    Step(StepNumber),
    /// It ran inside this tool call, an entry.
    Inside(usize),
    /// It ran inside some tool call of this lane; which one cannot be told.
    Beside(usize),
}

/// The lanes of all loops, in the order in which they begin.
pub(super) struct Lanes {
    lanes: Vec<LaneSpan>,
    by_key: HashMap<(LoopNumber, Lane), usize>,
    by_step: HashMap<StepNumber, usize>,
    of_entry: Vec<Option<usize>>,
}

struct LaneSpan {
    loop_number: LoopNumber,
    parent: Option<StepNumber>,
    start_us: Option<i64>,
    end_us: i64,
    /// The tool calls inside one of which it ran.
    within: Vec<usize>,
    /// The lane that asked for them.
    asked_by: Option<usize>,
}

impl Lanes {
    pub(super) fn of(entries: &[EntryView]) -> Self {
        let mut lanes =
            Self { lanes: Vec::new(), by_key: HashMap::new(), by_step: HashMap::new(), of_entry: Vec::new() };
        for entry in entries {
            let lane = lanes.add(entry);
            lanes.of_entry.push(lane);
        }
        lanes.find_tools(entries);
        lanes.settle();
        lanes
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of a step, or of the step that asked for a tool call, or after which the agent called it unasked.
    pub(super) fn of_entry(&self, entry: usize) -> Option<usize> {
        self.of_entry[entry]
    }

    pub(super) fn first_of(&self, number: LoopNumber) -> Option<usize> {
        self.by_key.get(&(number, Lane(0))).copied()
    }

    /// When it began and ended, in µs since the trace's start.
    pub(super) fn span(&self, lane: usize) -> (i64, i64) {
        let lane = &self.lanes[lane];
        (lane.start_us.unwrap_or(lane.end_us), lane.end_us)
    }

    pub(super) fn origin(&self, lane: usize) -> Origin {
        let lane = &self.lanes[lane];
        match (lane.parent, lane.within.as_slice(), lane.asked_by) {
            (Some(step), _, _) => Origin::Step(step),
            (None, [tool], _) => Origin::Inside(*tool),
            (None, [_, _, ..], Some(lane)) => Origin::Beside(lane),
            (None, _, _) => Origin::Nowhere,
        }
    }

    /// The tool calls of which it is open whether an agent ran inside.
    pub(super) fn undecided(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().filter(|lane| lane.within.len() > 1).flat_map(|lane| lane.within.iter().copied())
    }

    fn add(&mut self, entry: &EntryView) -> Option<usize> {
        let at = match entry.kind {
            EntryKind::Llm => self.of_step(entry)?,
            EntryKind::Tool => *self.by_step.get(&entry.parent_step?)?,
            EntryKind::Other => return None,
        };
        let lane = &mut self.lanes[at];
        lane.end_us = lane.end_us.max(span_us(entry).map_or(i64::MIN, |(_, end)| end));
        Some(at)
    }

    fn of_step(&mut self, entry: &EntryView) -> Option<usize> {
        let (loop_number, lane) = entry.loop_number.zip(entry.lane)?;
        let at = *self.by_key.entry((loop_number, lane)).or_insert(self.lanes.len());
        if at == self.lanes.len() {
            self.lanes.push(LaneSpan {
                loop_number,
                parent: entry.parent_step,
                start_us: span_us(entry).map(|(start, _)| start),
                end_us: i64::MIN,
                within: Vec::new(),
                asked_by: None,
            });
        }
        self.by_step.extend(entry.step.map(|step| (step, at)));
        Some(at)
    }

    /// For each lane that no step leads to: the tool calls that were under way from its start to its end.
    fn find_tools(&mut self, entries: &[EntryView]) {
        let mut under_way: Vec<(usize, i64)> = Vec::new();
        let mut is_known = vec![false; self.lanes.len()];
        for (at, entry) in entries.iter().enumerate() {
            let Some(lane) = self.of_entry[at] else { continue };
            let Some((start_us, end_us)) = span_us(entry) else { continue };
            under_way.retain(|(_, end)| *end >= start_us);
            if entry.kind == EntryKind::Tool {
                under_way.push((at, end_us));
            }
            if std::mem::replace(&mut is_known[lane], true) || self.lanes[lane].parent.is_some() {
                continue;
            }
            let (number, lane_end_us) = (self.lanes[lane].loop_number, self.lanes[lane].end_us);
            let holds = |(tool, end): &&(usize, i64)| {
                entries[*tool].loop_number == Some(number)
                    && self.of_entry[*tool] != Some(lane)
                    && *end >= lane_end_us
            };
            let within: Vec<usize> = under_way.iter().filter(holds).map(|(tool, _)| *tool).collect();
            self.lanes[lane].asked_by = within.last().and_then(|tool| self.of_entry[*tool]);
            self.lanes[lane].within = within;
        }
    }

    /// A tool call that one agent certainly ran in is none that another one, beside it, ran in, if that one has others
    /// to be in.
    fn settle(&mut self) {
        let mut open: Vec<usize> = (0..self.lanes.len()).collect();
        loop {
            let certain: Vec<(usize, usize)> = open
                .iter()
                .filter_map(|lane| match self.lanes[*lane].within.as_slice() {
                    [tool] => Some((*lane, *tool)),
                    _ => None,
                })
                .collect();
            if certain.is_empty() {
                return;
            }
            open.retain(|lane| self.lanes[*lane].within.len() > 1);
            for (lane, tool) in certain {
                for other in &open {
                    self.rule_out(*other, lane, tool);
                }
            }
        }
    }

    fn rule_out(&mut self, lane: usize, of: usize, tool: usize) {
        let ((start, end), (of_start, of_end)) = (self.span(lane), self.span(of));
        let within = &mut self.lanes[lane].within;
        if start < of_end && of_start < end && within.len() > 1 {
            within.retain(|other| *other != tool);
        }
    }
}
