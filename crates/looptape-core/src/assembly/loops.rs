//! Loops and lanes.
//!
//! A step belongs to its parent's loop. A root call that starts while a loop has a call in flight or a tool
//! call open is a sub-agent of that loop, on a lane of its own; otherwise it starts a new loop. A stated
//! loop name beats both. A step carries on its parent's lane; a second child of the same parent opens a
//! new one.
//!
//! A tool call that is never answered keeps its loop open only as long as the trace itself is open: once the
//! trace has ended it is known that no answer came. Loops that end by asking for a tool (structured output)
//! are common, and must not swallow the loops after them.

use super::attempts::Group;
use super::{
    Assembly, Clock, Lane, Loop, LoopNumber, PlainCall, Step, StepNumber, ToolStep, TraceEnding, TraceSpan,
};
use crate::facts::CallFacts;
use std::collections::HashMap;

/// Puts every step in its loop and lane.
pub(super) fn place(
    facts: &[CallFacts],
    clock: &Clock,
    span: &TraceSpan,
    groups: Vec<Group>,
    others: Vec<Group>,
    tools: Vec<Vec<ToolStep>>,
) -> Assembly {
    let busy: Vec<i64> = groups
        .iter()
        .zip(&tools)
        .map(|(group, tools)| busy_until(clock, span, &groups, group, tools))
        .collect();
    let mut places = Places {
        facts,
        clock,
        groups: &groups,
        loops: Vec::new(),
        by_name: HashMap::new(),
        placed: Vec::new(),
    };
    for (index, busy_until) in busy.into_iter().enumerate() {
        places.add(index, busy_until);
    }
    let (placed, loops) = (places.placed, places.loops);
    let others = others.into_iter().map(|other| plain_call(&groups, &placed, other)).collect();
    let steps = groups
        .into_iter()
        .zip(tools)
        .zip(&placed)
        .map(|((group, tools), place)| Step {
            number: group.number,
            loop_number: place.loop_number,
            lane: place.lane,
            parent: group.parent,
            attempts: group.attempts,
            tools,
        })
        .collect();
    let loops = loops.into_iter().map(|open| open.inner).collect();
    Assembly { steps, others, loops, loose: Vec::new() }
}

/// Where a step ended up.
#[derive(Clone, Copy)]
struct Place {
    loop_number: LoopNumber,
    lane: Lane,
}

/// A loop under construction, with the time until which it has a call in flight or a tool call open.
struct OpenLoop {
    inner: Loop,
    busy_until: i64,
}

struct Places<'a> {
    facts: &'a [CallFacts],
    clock: &'a Clock,
    groups: &'a [Group],
    loops: Vec<OpenLoop>,
    by_name: HashMap<String, usize>,
    placed: Vec<Place>,
}

impl Places<'_> {
    fn add(&mut self, index: usize, busy_until: i64) {
        let group = &self.groups[index];
        let call = group.first_call();
        let parent = group.parent.map(|parent| self.placed[parent.index()]);
        let at = match self.facts[call.0].loop_hint.as_deref() {
            Some(name) => self.named(name),
            None => match parent {
                Some(parent) => parent.loop_number.index(),
                None => self.busy_at(self.clock.start(call)).unwrap_or_else(|| self.open(None)),
            },
        };
        let lane = self.lane(index, at, parent);
        let open = &mut self.loops[at];
        open.busy_until = open.busy_until.max(busy_until);
        open.inner.steps.push(group.number);
        self.placed.push(Place { loop_number: open.inner.number, lane });
    }

    fn named(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.open(Some(name.to_owned()));
        self.by_name.insert(name.to_owned(), at);
        at
    }

    fn open(&mut self, name: Option<String>) -> usize {
        let number = LoopNumber(u32::try_from(self.loops.len() + 1).unwrap_or(u32::MAX));
        let inner = Loop { number, name, steps: Vec::new(), lanes: 0 };
        self.loops.push(OpenLoop { inner, busy_until: i64::MIN });
        self.loops.len() - 1
    }

    /// The newest loop that is busy at this time.
    fn busy_at(&self, time: i64) -> Option<usize> {
        self.loops.iter().rposition(|open| open.busy_until > time)
    }

    fn lane(&mut self, index: usize, at: usize, parent: Option<Place>) -> Lane {
        let inherited = parent
            .filter(|parent| parent.loop_number == self.loops[at].inner.number)
            .filter(|_| self.carries_on(index))
            .map(|parent| parent.lane);
        inherited.unwrap_or_else(|| {
            let inner = &mut self.loops[at].inner;
            inner.lanes += 1;
            Lane(inner.lanes - 1)
        })
    }

    /// Whether a step is the one that carries on its parent's lane: no sibling before it did, a sibling that
    /// had failed by then not counting.
    fn carries_on(&self, index: usize) -> bool {
        let group = &self.groups[index];
        let siblings = group.parent.map(|parent| &self.groups[parent.index()].children);
        let gave_up = |sibling: &StepNumber| {
            let last = self.groups[sibling.index()].last_call();
            !self.facts[last.0].succeeded() && self.clock.over_before(last, group.first_call())
        };
        siblings.into_iter().flatten().take_while(|sibling| **sibling < group.number).all(gave_up)
    }
}

impl LoopNumber {
    fn index(self) -> usize {
        (self.0 as usize).saturating_sub(1)
    }
}

/// Until when a step keeps its loop busy: to its own end, and to the end of the tool calls that it asked for.
fn busy_until(clock: &Clock, span: &TraceSpan, groups: &[Group], group: &Group, tools: &[ToolStep]) -> i64 {
    let last = group.last_call();
    let unknown_end = match span.ending {
        TraceEnding::Open => i64::MAX,
        TraceEnding::Closed { .. } | TraceEnding::Idle { .. } => clock.start(last),
    };
    let own_end = clock.over_at(last).unwrap_or(unknown_end);
    let first_child = group.children.first().map(|child| clock.start(groups[child.index()].first_call()));
    let tool_end = |tool: &ToolStep| match tool.answered_by {
        Some(by) => clock.start(groups[by.index()].first_call()),
        None => first_child.unwrap_or(unknown_end),
    };
    tools.iter().map(tool_end).fold(own_end, i64::max)
}

fn plain_call(groups: &[Group], placed: &[Place], other: Group) -> PlainCall {
    let before = groups.partition_point(|group| group.first_call() < other.first_call());
    let loop_number = before.checked_sub(1).map(|index| placed[index].loop_number);
    PlainCall { loop_number, attempts: other.attempts }
}
