//! Building the views.

use super::{
    AttemptView, CallContent, CostView, EntryKind, EntryView, FORMAT, LsRow, ReplayedView, ToolKnown,
    ToolOutcome, ToolResult, ToolView, TraceHead, TraceMeta, TraceView,
};
use crate::assembly::{Attempt, CallIndex, Entry, LooseTool, PlainCall, Step, StepNumber, Timing, ToolStep};
use crate::captured;
use crate::cost::Cost;
use crate::facts::{CallFacts, CallKind};
use crate::metrics::{self, CostSum, Measured, Ms, TraceMetrics};
use crate::replay::{AnswerSource, Provenance};
use crate::tools::MeasuredTool;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// The price source of a step all of whose attempts were refused without usage.
const NOT_BILLED: &str = "not billed: refused without usage";

/// The same in a replay, of a step that no provider answered.
fn not_billed(source: AnswerSource) -> Option<&'static str> {
    match source {
        AnswerSource::Live => None,
        AnswerSource::Cached => Some("nothing spent: answered from the recording"),
        AnswerSource::Mock => Some("nothing spent: answered by the simulated provider"),
        AnswerSource::Refused | AnswerSource::SideCall => Some("nothing spent: no provider was asked"),
    }
}

/// The view of a whole trace, of its calls and of the tool calls that were measured. `contents` yields what a call's body says, by the call's `seq`; it is asked
/// once for the last attempt of each step and plain call.
pub fn trace_view(
    meta: TraceMeta,
    (facts, tools): (&[CallFacts], &[MeasuredTool]),
    measured: &Measured,
    contents: impl Fn(u32) -> CallContent,
) -> TraceView {
    let content_of = |call: CallIndex| contents(facts[call.0].seq);
    let steps = measured.assembly.steps.iter();
    let steps = steps.map(|step| (step.number, content_of(step.final_call()))).collect();
    let source = Source { facts, tools, measured, contents: steps };
    let entry = |entry: &Entry<'_>| match entry {
        Entry::Step(step) => source.step(step),
        Entry::Tool(step, tool) => source.tool(step, tool),
        Entry::Loose(tool) => source.loose(tool),
        Entry::Other(call) => source.other(call, content_of(call.final_call())),
    };
    let steps = measured.assembly.entries(facts).iter().map(entry).collect();
    TraceView {
        format: FORMAT,
        trace: TraceHead {
            started_at: rfc3339(meta.started_unix_us),
            id: meta.id,
            name: meta.name,
            agent: meta.agent,
            agent_version: meta.agent_version,
            tags: meta.tags,
            status: meta.status,
            status_reasons: meta.status_reasons,
            parent: meta.parent,
            metrics: measured.metrics.clone(),
        },
        steps,
    }
}

/// The entries of one step and of its tool calls, as they are in the view of the whole trace; of the others nothing is made.
pub fn step_view(
    step: &Step,
    (facts, tools): (&[CallFacts], &[MeasuredTool]),
    measured: &Measured,
    contents: impl Fn(u32) -> CallContent,
) -> (EntryView, Vec<EntryView>) {
    let answering = step.tools.iter().filter_map(|tool| measured.assembly.step(tool.answered_by?));
    let needed: BTreeMap<StepNumber, &Step> =
        answering.chain([step]).map(|needed| (needed.number, needed)).collect();
    let content = |(number, step): (StepNumber, &Step)| (number, contents(facts[step.final_call().0].seq));
    let source = Source { facts, tools, measured, contents: needed.into_iter().map(content).collect() };
    let mut called: Vec<EntryView> = step.tools.iter().map(|tool| source.tool(step, tool)).collect();
    called.sort_by_key(|tool| tool.started_ms);
    (source.step(step), called)
}

/// One row of a list.
pub fn ls_row(meta: TraceMeta, metrics: &TraceMetrics) -> LsRow {
    LsRow {
        started_at: rfc3339(meta.started_unix_us),
        id: meta.id,
        name: meta.name,
        agent: meta.agent,
        agent_version: meta.agent_version,
        status: meta.status,
        outcome: metrics.outcome,
        models: metrics.models().map(str::to_owned).collect(),
        steps: metrics.steps,
        llm_calls: metrics.attempts,
        tool_calls: metrics.tool_calls,
        attempts: metrics.attempts,
        retry_rate: metrics.retry_rate,
        duration_ms: metrics.time.duration_ms,
        cost_usd: metrics.cost_usd,
        cost_at_least: metrics.cost_at_least,
        tags: meta.tags,
    }
}

fn replayed(provenance: &Provenance) -> ReplayedView {
    let recorded = provenance.recorded();
    ReplayedView {
        recorded_seq: recorded.map(|(seq, _)| seq),
        rung: recorded.map(|(_, rung)| rung.number()),
        reason: provenance.reason(),
    }
}

fn rfc3339(unix_us: Option<i64>) -> Option<String> {
    Timestamp::from_microsecond(unix_us?).ok().map(|time| time.to_string())
}

struct Source<'a> {
    facts: &'a [CallFacts],
    tools: &'a [MeasuredTool],
    measured: &'a Measured,
    /// Of those steps whose content is needed.
    contents: HashMap<StepNumber, CallContent>,
}

impl Source<'_> {
    fn step(&self, step: &Step) -> EntryView {
        let content = self.contents.get(&step.number).cloned().unwrap_or_default();
        let source = content.provenance.map(|known| known.source());
        let mut call = self.call(EntryKind::Llm, &step.attempts);
        if let (Some(cost), Some(why)) = (&mut call.cost, source.and_then(not_billed)) {
            why.clone_into(&mut cost.price_source);
        }
        EntryView {
            step: Some(step.number),
            loop_number: Some(step.loop_number),
            lane: Some(step.lane),
            parent_step: step.parent,
            import_index: content.import_index,
            source,
            replayed: content.provenance.as_ref().map(replayed),
            text: content.text,
            tool_calls: content.tool_calls,
            messages: content.messages,
            composition: content.composition,
            ..call
        }
    }

    fn other(&self, call: &PlainCall, content: CallContent) -> EntryView {
        EntryView {
            loop_number: call.loop_number,
            parent_step: self.step_at_work(&self.facts[call.first_call().0]),
            import_index: content.import_index,
            source: content.provenance.map(|known| known.source()),
            replayed: content.provenance.as_ref().map(replayed),
            text: content.text,
            messages: content.messages,
            ..self.call(EntryKind::Other, &call.attempts)
        }
    }

    /// The step whose tools were at work when a captured call began; `None` if they were those of several.
    fn step_at_work(&self, call: &CallFacts) -> Option<StepNumber> {
        call.endpoint.split_once(' ').filter(|(_, path)| captured::is_captured(path))?;
        let is_at_work = |tool: &ToolStep| {
            tool.started_us.is_some_and(|start| start <= call.sent_us)
                && tool.ended_us.is_none_or(|end| call.sent_us <= end)
        };
        let steps = self.measured.assembly.steps.iter();
        let mut at_work = steps.filter(|step| step.tools.iter().any(is_at_work)).map(|step| step.number);
        at_work.next().filter(|_| at_work.next().is_none())
    }

    fn tool(&self, step: &Step, tool: &ToolStep) -> EntryView {
        let content = self.contents.get(&step.number);
        let asked = content.and_then(|content| content.tool_calls.get((tool.sub as usize).saturating_sub(1)));
        let (told_at, told) = self.result(step, tool).unzip();
        let seen = tool.measured.and_then(|at| self.tools.get(at));
        let duration = |(start, end)| Ms::between(start, end);
        EntryView {
            step: Some(step.number),
            sub: Some(tool.sub),
            loop_number: Some(step.loop_number),
            lane: Some(step.lane),
            parent_step: Some(step.number),
            started_ms: tool.started_us.and_then(|start| self.since_start(start)),
            duration_ms: tool.started_us.zip(tool.ended_us).map(duration),
            tool: Some(ToolView {
                name: tool.name.clone(),
                call_id: tool.call_id.clone(),
                arguments: asked.map(|call| &call.arguments).or(seen.map(|seen| &seen.arguments)).cloned(),
                outcome: seen.and_then(|seen| seen.facts.outcome).or(told.map(outcome)),
                result: told.map(|told| told.content.clone()).or_else(|| seen?.end.as_ref()?.shown()),
                source: seen.map_or(ToolKnown::Inferred, |seen| ToolKnown::Seen(seen.facts.source)),
                via: seen.and_then(|seen| seen.facts.via.clone()),
                measured: tool.measured,
                told_at,
                told_by: tool.answered_by.and_then(|by| self.asked_by(by)),
            }),
            ..EntryView::empty(EntryKind::Tool)
        }
    }

    /// A tool call that no step asked for.
    fn loose(&self, tool: &LooseTool) -> EntryView {
        let seen = self.tools.get(tool.measured);
        let after = tool.after.and_then(|step| self.measured.assembly.step(step));
        EntryView {
            loop_number: after.map(|step| step.loop_number),
            parent_step: tool.after,
            started_ms: self.since_start(tool.started_us),
            duration_ms: tool.ended_us.map(|end| Ms::between(tool.started_us, end)),
            tool: Some(ToolView {
                name: tool.name.clone(),
                call_id: tool.call_id.clone(),
                arguments: seen.map(|seen| seen.arguments.clone()),
                outcome: seen.and_then(|seen| seen.facts.outcome),
                result: seen.and_then(|seen| seen.end.as_ref()?.shown()),
                source: seen.map_or(ToolKnown::Inferred, |seen| ToolKnown::Seen(seen.facts.source)),
                via: seen.and_then(|seen| seen.facts.via.clone()),
                measured: Some(tool.measured),
                told_at: None,
                told_by: None,
            }),
            ..EntryView::empty(EntryKind::Tool)
        }
    }

    /// The result in the request that carries it, and its place there: by call id, or, without one, the same place among the
    /// results of the same name.
    fn result(&self, step: &Step, tool: &ToolStep) -> Option<(usize, &ToolResult)> {
        let mut results = self.contents.get(&tool.answered_by?)?.tool_results.iter().enumerate();
        match &tool.call_id {
            Some(id) => results.find(|(_, result)| result.call_id.as_ref() == Some(id)),
            None => {
                let same_name = |other: &&ToolStep| other.name == tool.name && other.sub < tool.sub;
                let place = step.tools.iter().filter(same_name).count();
                results.filter(|(_, result)| result.name.as_ref() == Some(&tool.name)).nth(place)
            }
        }
    }

    /// The call, by its `seq`, with which a step began.
    fn asked_by(&self, step: StepNumber) -> Option<u32> {
        let step = self.measured.assembly.step(step)?;
        Some(self.facts[step.first_call().0].seq)
    }

    /// What model steps and plain calls have in common.
    fn call(&self, kind: EntryKind, attempts: &[Attempt]) -> EntryView {
        let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else {
            return EntryView::empty(kind);
        };
        let (first, last) = (&self.facts[first.call.0], &self.facts[last.call.0]);
        let figures = metrics::attempt(last, self.measured.span.timing);
        EntryView {
            provider: Some(last.provider.to_string()),
            wire: match last.kind {
                CallKind::Llm(wire) => Some(wire.as_str()),
                CallKind::Other => None,
            },
            endpoint: Some(last.endpoint.clone()),
            model: last.model.clone(),
            response_model: last.response_model.clone(),
            stream: Some(last.stream),
            started_ms: self.since_start(first.sent_us),
            duration_ms: self.duration(first, last),
            ttft_ms: figures.ttft_ms,
            tpot_ms: figures.tpot_ms,
            finish_reason: last.finish_reason.clone(),
            usage: last.usage.is_known().then(|| last.usage.clone()),
            cost: self.cost(attempts),
            attempts: (1..).zip(attempts).map(|(number, attempt)| self.attempt(number, attempt)).collect(),
            ..EntryView::empty(kind)
        }
    }

    fn attempt(&self, number: u32, attempt: &Attempt) -> AttemptView {
        let fact = &self.facts[attempt.call.0];
        AttemptView {
            attempt: number,
            call: fact.seq,
            status: fact.status,
            state: fact.state,
            retry_layer: attempt.retry.map(|retry| retry.layer),
            retry_after_ms: fact.retry_after_ms,
            backoff_ms: attempt.retry.and_then(|retry| retry.backoff_us).map(Ms::from_us),
            started_ms: self.since_start(fact.sent_us),
            duration_ms: self.duration(fact, fact),
            request_bytes: fact.request_bytes,
            response_bytes: fact.response_bytes,
            upstream: fact.upstream.as_ref().map(|asked| asked.url.clone()),
        }
    }

    /// The sum over the attempts, with the source of the last price. `None` if nothing is known.
    fn cost(&self, attempts: &[Attempt]) -> Option<CostView> {
        let mut sum = CostSum::default();
        let mut last_price = None;
        for cost in attempts.iter().map(|attempt| &self.measured.costs[attempt.call.0]) {
            sum.add(cost);
            if let Cost::Known(price) = cost {
                last_price = Some(price);
            }
        }
        Some(CostView {
            usd: sum.usd()?,
            price_source: last_price.map_or(NOT_BILLED, |price| price.source.as_str()).to_owned(),
            price_version: last_price.and_then(|price| price.version.clone()),
            at_least: sum.at_least(),
        })
    }

    /// From one call's start to another's end; where only single durations are known, of one call alone.
    fn duration(&self, first: &CallFacts, last: &CallFacts) -> Option<Ms> {
        let timing = self.measured.span.timing;
        let end = timing.known_end(last)?;
        (timing.knows_intervals() || first.seq == last.seq).then(|| Ms::between(first.sent_us, end))
    }

    /// `None` where only the order of the calls is known.
    fn since_start(&self, time_us: i64) -> Option<Ms> {
        let since_us = time_us - self.measured.span.started_us;
        match self.measured.span.timing {
            Timing::Measured | Timing::Stated => Some(Ms::from_us(since_us)),
            // Calls of the same second are kept apart by µs that no file states.
            Timing::StartsOnly => Some(Ms::from_us(since_us - since_us.rem_euclid(1_000))),
            Timing::DurationsOnly | Timing::OrderOnly => None,
        }
    }
}

fn outcome(result: &ToolResult) -> ToolOutcome {
    match (result.is_error, &result.content) {
        (true, _) => ToolOutcome::Error,
        (false, Value::Null) => ToolOutcome::Null,
        (false, _) => ToolOutcome::Ok,
    }
}

impl EntryView {
    fn empty(kind: EntryKind) -> Self {
        Self {
            step: None,
            sub: None,
            kind,
            loop_number: None,
            lane: None,
            parent_step: None,
            provider: None,
            wire: None,
            endpoint: None,
            model: None,
            response_model: None,
            stream: None,
            import_index: None,
            source: None,
            replayed: None,
            started_ms: None,
            duration_ms: None,
            ttft_ms: None,
            tpot_ms: None,
            finish_reason: None,
            text: None,
            tool_calls: Vec::new(),
            usage: None,
            cost: None,
            composition: None,
            tool: None,
            attempts: Vec::new(),
            messages: None,
        }
    }
}
