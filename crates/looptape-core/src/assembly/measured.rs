//! Which step asked for a tool call that was measured.
//!
//! By the call's id; else by tool, arguments and occurrence, among what had been asked for when it started. One call may
//! be measured twice: by whoever executes the agent's tools (a hook), and further in, in a tool server's place. It is one
//! entry, with what the agent saw: the outer measurement. A call inside another one that is the same counts once too.

use super::{Assembly, LooseTool, Step, StepNumber};
use crate::facts::CallFacts;
use crate::mcp;
use crate::tools::{ToolFacts, is_name_of};

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
    let mut inner = Inner::new(measured);
    // In the order in which their callers told of them: of calls that take less than a report's way, times say less.
    let (at_server, at_agent): (Vec<usize>, Vec<usize>) =
        (0..measured.len()).partition(|at| is_at_server(&measured[*at]));
    for at in at_agent.into_iter().chain(at_server) {
        let tool = &measured[at];
        let place = match inner.is_part_of_another(measured, at) {
            true => Place::Again,
            false => place(&assembly.steps, &asks, measured, tool),
        };
        match place {
            Place::Of(Ask { step, tool: nth, .. }) => {
                let asked = &assembly.steps[*step].tools[*nth];
                let sent = asked.answered_by.and_then(|by| assembly.step(by)).map(|by| sent_us(facts, by));
                let late_us = late_us(asked.started_us, tool, sent);
                let asked = &mut assembly.steps[*step].tools[*nth];
                asked.measured = Some(at);
                asked.started_us = Some(tool.started_us - late_us);
                asked.ended_us = tool.ended_us.map(|end| end - late_us);
            }
            Place::Again => {}
            Place::Nowhere => assembly.loose.push(loose(&assembly.steps, facts, tool, at)),
        }
    }
}

/// Whether a call was measured in a tool server's place, and not where the agent's tools are executed.
fn is_at_server(tool: &ToolFacts) -> bool {
    tool.via.as_deref().is_some_and(mcp::is_via)
}

/// Which of the agent's calls are known to have reached their tool server: each reaches it once.
struct Inner(Vec<bool>);

impl Inner {
    fn new(measured: &[ToolFacts]) -> Self {
        Self(vec![false; measured.len()])
    }

    /// Whether a call that was measured at a server is one that the agent's side measured too: one of the same name, that
    /// has the same arguments or ran all the while (an agent may fill in defaults on the way).
    fn is_part_of_another(&mut self, measured: &[ToolFacts], at: usize) -> bool {
        let tool = &measured[at];
        if !is_at_server(tool) {
            return false;
        }
        let is_open = |outer: &usize| {
            let other = &measured[*outer];
            !self.0[*outer] && !is_at_server(other) && is_name_of(&other.name, &tool.name)
        };
        let has_same = |outer: &usize| measured[*outer].arguments_digest == tool.arguments_digest;
        let open = || (0..measured.len()).filter(is_open);
        let overlapping = open().filter(has_same).find(|outer| overlap(&measured[*outer], tool));
        let found = overlapping
            .or_else(|| open().find(|outer| contains(&measured[*outer], tool)))
            // Reports come a little late: by then a short call may be over.
            .or_else(|| open().filter(has_same).find(|outer| is_next_to(&measured[*outer], tool)));
        if let Some(outer) = found {
            self.0[outer] = true;
        }
        found.is_some()
    }
}

/// How late a report may come on a busy machine.
const LATE_US: i64 = 50_000;

fn contains(outer: &ToolFacts, inner: &ToolFacts) -> bool {
    outer.started_us <= inner.started_us
        && outer.ended_us.is_none_or(|end| inner.ended_us.is_some_and(|own| own <= end))
}

fn overlap(a: &ToolFacts, b: &ToolFacts) -> bool {
    a.ended_us.is_none_or(|end| b.started_us <= end) && b.ended_us.is_none_or(|end| a.started_us <= end)
}

/// Whether `outer` would have contained `inner` had it been told of at once.
fn is_next_to(outer: &ToolFacts, inner: &ToolFacts) -> bool {
    inner.ended_us.is_some_and(|end| (0..=LATE_US).contains(&(outer.started_us - end)))
}

/// By how much a report came late: what a request carries had ended when that was sent, and what an answer asks for had
/// not begun before its end.
fn late_us(asked_us: Option<i64>, tool: &ToolFacts, carried_us: Option<i64>) -> i64 {
    let beyond = tool.ended_us.zip(carried_us).map_or(0, |(end, carried)| (end - carried).max(0));
    let room = asked_us.map_or(i64::MAX, |asked| (tool.started_us - asked).max(0));
    beyond.min(room)
}

fn sent_us(facts: &[CallFacts], step: &Step) -> i64 {
    facts[step.first_call().0].sent_us
}

enum Place<'a> {
    Of(&'a Ask),
    /// A second measurement of a call that has its place.
    Again,
    Nowhere,
}

fn asks(steps: &[Step], facts: &[CallFacts]) -> Vec<Ask> {
    let of_step = |(at, step): (usize, &Step)| {
        let sent_us = sent_us(facts, step);
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
    let is_inside = |ask: &&Ask| of(ask).measured.is_some_and(|outer| contains(&measured[outer], tool));
    match asks.iter().any(|ask| (has_id(&ask) || is_alike(&ask)) && is_inside(&ask)) {
        true => Place::Again,
        false => Place::Nowhere,
    }
}

fn loose(steps: &[Step], facts: &[CallFacts], tool: &ToolFacts, measured: usize) -> LooseTool {
    let after = steps.iter().rev().find(|step| sent_us(facts, step) <= tool.started_us);
    LooseTool {
        after: after.map(|step| -> StepNumber { step.number }),
        name: tool.name.clone(),
        call_id: tool.call_id.clone(),
        started_us: tool.started_us,
        ended_us: tool.ended_us,
        measured,
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{Example, call};
    use super::super::{TraceSpan, assemble};
    use super::*;
    use crate::assembly::Recording;
    use crate::tools::{ToolOutcome, ToolSource};

    fn tool(seq: u32, name: &str, id: Option<&str>, (start_ms, end_ms): (i64, i64)) -> ToolFacts {
        ToolFacts {
            seq,
            name: name.to_owned(),
            call_id: id.map(str::to_owned),
            arguments_digest: 7,
            via: None,
            source: ToolSource::Measured,
            started_us: start_ms * 1000,
            ended_us: Some(end_ms * 1000),
            outcome: Some(ToolOutcome::Ok),
        }
    }

    /// Step 1 asks for `a` and `b`, step 2 for `c`; each is answered by the step after.
    fn facts() -> Vec<CallFacts> {
        vec![
            call(0, 0, 100).history(1).asks(&["a", "b"]),
            call(1, 300, 100).after(1, 2).carries(&["a", "b"]).asks(&["c"]),
            call(2, 600, 100).after(2, 3).carries(&["c"]),
        ]
    }

    /// `step.sub=seq` of each linked call, then the loose ones, as `after~seq`.
    fn sketch(facts: &[CallFacts], tools: &[ToolFacts]) -> String {
        let assembly = assemble(Recording { facts, tools }, &TraceSpan::closed(1_000_000));
        let linked = assembly.steps.iter().flat_map(|step| step.tools.iter().map(move |tool| (step, tool)));
        let linked = linked
            .filter_map(|(step, tool)| Some(format!("{}.{}={}", step.number.0, tool.sub, tool.measured?)));
        let loose = assembly
            .loose
            .iter()
            .map(|tool| format!("{}~{}", tool.after.map_or(0, |step| step.0), tool.measured));
        linked.chain(loose).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn by_id_whatever_the_order() {
        let tools = [tool(0, "tool_b", Some("b"), (110, 250)), tool(1, "tool_a", Some("a"), (120, 130))];
        assert_eq!(sketch(&facts(), &tools), "1.1=1 1.2=0");
        let assembly = assemble(Recording { facts: &facts(), tools: &tools }, &TraceSpan::closed(1_000_000));
        let times =
            |at: usize| (assembly.steps[0].tools[at].started_us, assembly.steps[0].tools[at].ended_us);
        assert_eq!((times(0), times(1)), ((Some(120_000), Some(130_000)), (Some(110_000), Some(250_000))));
    }

    #[test]
    fn without_an_id_by_name_arguments_and_occurrence() {
        let mut facts = facts();
        for (ask, arguments) in facts[0].asks.iter_mut().zip([7, 8]) {
            ask.name = "f".to_owned();
            ask.arguments = Some(arguments);
        }
        let mut other = tool(1, "f", None, (120, 130));
        other.arguments_digest = 8;
        assert_eq!(sketch(&facts, &[other, tool(0, "f", None, (110, 125))]), "1.1=1 1.2=0");
        let mut unasked = tool(0, "f", None, (110, 125));
        unasked.arguments_digest = 9;
        assert_eq!(sketch(&facts, &[unasked]), "1~0", "other arguments are another call");
    }

    #[test]
    fn a_late_report_is_put_where_the_traffic_says() {
        let at = |start_end| {
            let tools = [tool(0, "tool_c", Some("c"), start_end)];
            let assembly =
                assemble(Recording { facts: &facts(), tools: &tools }, &TraceSpan::closed(1_000_000));
            let tool = &assembly.steps[1].tools[0];
            (tool.started_us.unwrap() / 1000, tool.ended_us.unwrap() / 1000)
        };
        assert_eq!(at((450, 500)), (450, 500));
        assert_eq!(at((590, 620)), (570, 600), "its result was sent at 600");
        assert_eq!(at((405, 620)), (400, 615), "it was asked for at 400");
    }

    #[test]
    fn a_gateway_of_tools_may_put_a_name_before() {
        let mut facts = facts();
        facts[0].asks[0].name = "mcp__weather__search".to_owned();
        assert_eq!(sketch(&facts, &[tool(0, "search", None, (110, 125))]), "1.1=0");
        assert_eq!(sketch(&facts, &[tool(0, "arch", None, (110, 125))]), "1~0");
    }

    #[test]
    fn a_call_inside_one_that_is_the_same_counts_once() {
        let hook = tool(0, "tool_a", Some("a"), (110, 200));
        let shim = tool(1, "tool_a", None, (120, 190));
        assert_eq!(sketch(&facts(), &[hook.clone(), shim.clone()]), "1.1=0");
        let after = tool(1, "tool_a", None, (210, 220));
        assert_eq!(sketch(&facts(), &[hook, after]), "1.1=0 1~1", "one that ran later is another one");
    }

    fn at_server(seq: u32, name: &str, times: (i64, i64)) -> ToolFacts {
        ToolFacts { via: Some("mcp:s".to_owned()), ..tool(seq, name, None, times) }
    }

    #[test]
    fn what_a_hook_and_a_tool_server_measured_is_one_call() {
        let mut facts = facts();
        facts[0].asks[0].name = "mcp__s__get_sum".to_owned();
        facts[0].asks[0].arguments = Some(7);
        let hook = |times| tool(1, "mcp__s__get_sum", Some("a"), times);
        // The inner one ends first, so it is told of first.
        let inner = at_server(0, "get-sum", (120, 190));
        assert_eq!(sketch(&facts, &[inner.clone(), hook((110, 200))]), "1.1=1");
        assert_eq!(sketch(&facts, &[inner.clone(), hook((195, 200))]), "1.1=1", "told of late");
        assert_eq!(sketch(&facts, std::slice::from_ref(&inner)), "1.1=0", "where there is no hook");
        let defaults = ToolFacts { arguments_digest: 8, ..inner };
        assert_eq!(sketch(&facts, &[defaults.clone(), hook((110, 200))]), "1.1=1", "defaults filled in");
        assert_eq!(sketch(&facts, &[defaults, hook((150, 200))]), "1.1=1 1~0", "that of somebody else");
        let again = at_server(2, "get-sum", (195, 198));
        let tools = [at_server(0, "get-sum", (120, 190)), hook((110, 200)), again];
        assert_eq!(sketch(&facts, &tools), "1.1=1", "what it tries again is inside of it");
    }

    #[test]
    fn calls_side_by_side_and_calls_that_no_step_asked_for_pair_up() {
        let mut facts = facts();
        for ask in &mut facts[0].asks {
            (ask.name, ask.arguments) = ("f".to_owned(), Some(7));
        }
        let tools = [
            at_server(0, "f", (120, 140)),
            at_server(1, "f", (121, 150)),
            tool(2, "f", Some("b"), (111, 151)),
            tool(3, "f", Some("a"), (110, 141)),
        ];
        assert_eq!(sketch(&facts, &tools), "1.1=3 1.2=2");
        let loose = [at_server(0, "g", (320, 340)), tool(1, "g", None, (310, 350))];
        assert_eq!(sketch(&facts, &loose), "2~1");
        let apart = [at_server(0, "g", (320, 340)), tool(1, "g", None, (500, 510))];
        assert_eq!(sketch(&facts, &apart), "2~1 2~0");
    }

    #[test]
    fn two_calls_with_one_id_and_what_nobody_asked_for() {
        let twice = [tool(0, "tool_a", Some("a"), (110, 120)), tool(1, "tool_a", Some("a"), (130, 140))];
        assert_eq!(sketch(&facts(), &twice), "1.1=0 1~1");
        let early = ToolFacts { started_us: -5, ..tool(0, "set_up", None, (0, 1)) };
        assert_eq!(sketch(&facts(), &[early, tool(1, "tool_c", Some("c"), (450, 460))]), "2.1=1 0~0");
    }

    #[test]
    fn measuring_changes_no_number() {
        let tools = [tool(0, "tool_a", Some("a"), (110, 120)), tool(1, "x", None, (500, 510))];
        let (facts, span) = (facts(), TraceSpan::closed(1_000_000));
        let (with, without) =
            (assemble(Recording { facts: &facts, tools: &tools }, &span), assemble(&facts, &span));
        let numbers = |assembly: &Assembly| {
            let steps = assembly.steps.iter();
            let of = |step: &Step| (step.number, step.loop_number, step.lane, step.parent, step.tools.len());
            (steps.map(of).collect::<Vec<_>>(), assembly.loops.clone())
        };
        assert_eq!(numbers(&with), numbers(&without));
    }
}
