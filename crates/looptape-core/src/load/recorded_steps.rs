//! What a recorder saw of one loop, in the words of a tally: for loops that a command carries through.

use super::heard::{attempt_end, ended};
use super::prices::Prices;
use super::track::{AttemptEnd, Beside, StepEnd, StepTrack};
use crate::assembly::{Assembly, Recording, Step, Timing, TraceEnding, TraceSpan, assemble};
use crate::cost::{Cost, PriceBook};
use crate::facts::CallFacts;
use crate::metrics::{CostSum, History};
use crate::tools::ToolFacts;

/// The calls of a loop, whose time begins when the loop was due.
#[derive(Clone, Copy, Debug)]
pub struct RecordedSteps<'a> {
    /// In the order in which they started.
    pub facts: &'a [CallFacts],
    /// What was measured of its tools.
    pub tools: &'a [ToolFacts],
    /// When the loop was due, on the run's clock.
    pub due_us: u64,
    pub book: &'a PriceBook,
    /// When, for prices.
    pub at_unix_us: i64,
}

/// A step that has ended.
#[derive(Clone, Debug)]
pub struct RecordedStepEnd {
    /// At least one.
    pub attempts: Vec<AttemptEnd>,
    pub end: StepEnd,
}

impl RecordedSteps<'_> {
    /// Its model steps, and what else there was. Models that are not in `prices` yet are looked up.
    pub fn ends(&self, prices: &mut Prices) -> (Vec<RecordedStepEnd>, Beside) {
        let at_us = self.facts.iter().filter_map(|call| call.end_us).max().unwrap_or(0);
        let ending = TraceEnding::Closed { at_us };
        let span = TraceSpan { started_us: 0, ending, timing: Timing::Measured, stated_outcome: None };
        let assembly = assemble(Recording { facts: self.facts, tools: self.tools }, &span);
        let steps = assembly.steps.iter().map(|step| self.step(&assembly, step, prices));
        (steps.collect(), self.beside(&assembly))
    }

    fn beside(&self, assembly: &Assembly) -> Beside {
        let calls = assembly.others.iter().flat_map(|other| &other.attempts);
        let costs = calls.map(|attempt| self.book.cost(&self.facts[attempt.call.0], Some(self.at_unix_us)));
        let (mut cost, mut other_calls) = (CostSum::default(), 0);
        for own in costs {
            other_calls += 1;
            if matches!(own, Cost::Known(_)) {
                cost.add(&own);
            }
        }
        let tool_calls = u32::try_from(assembly.loose.len()).unwrap_or(u32::MAX);
        Beside { tool_calls, other_calls, cost }
    }

    fn step(&self, assembly: &Assembly, step: &Step, prices: &mut Prices) -> RecordedStepEnd {
        let last = &self.facts[step.final_call().0];
        let name = last.model.as_deref().or(last.response_model.as_deref()).unwrap_or("?");
        let model = prices.place_of(self.book, last.provider.as_str(), name, self.at_unix_us);
        let attempts: Vec<AttemptEnd> =
            step.attempts.iter().map(|attempt| self.attempt(&self.facts[attempt.call.0])).collect();
        let mut track = StepTrack::begin(model, History::of(self.facts, assembly, step));
        attempts.iter().for_each(|attempt| track.attempt(attempt, prices));
        RecordedStepEnd { end: track.finish(prices), attempts }
    }

    fn attempt(&self, call: &CallFacts) -> AttemptEnd {
        let end = attempt_end(call, ended(call));
        let due_us = i64::try_from(self.due_us).unwrap_or(i64::MAX);
        AttemptEnd {
            sent_us: self.due_us + end.sent_us,
            streamed: end.streamed.map(|output| output.later_by(due_us)),
            end_us: self.due_us + end.end_us,
            ..end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Ended, RunTime};
    use super::super::tally::{LoopEnd, LoopEnding, Tally};
    use super::super::track::LoopTrack;
    use super::*;
    use crate::assembly::example::{Example, call};
    use crate::facts::AttemptState;
    use crate::metrics::{Sample, Stats, stats, trace};
    use crate::scenario;
    use crate::tools::{ToolOutcome, ToolSource};

    const AT: i64 = 1_767_225_600_000_000;

    /// A step that is tried again and reasons before it asks for two tools, a call of another kind, a step whose history
    /// is shorter, and one that breaks off and fails.
    fn facts() -> Vec<CallFacts> {
        let streamed = |mut facts: CallFacts, reasoning_ms: Option<i64>, first_ms: i64| {
            facts.stream = true;
            facts.first_reasoning_us = reasoning_ms.map(|ms| ms * 1000);
            facts.first_content_us = Some(first_ms * 1000);
            facts.last_output_us = facts.end_us.map(|us| us - 2000);
            facts
        };
        let refused = call(0, 0, 10).history(1).failed(503);
        let thinking = call(1, 600, 100).history(1).used(1000, 200, 100).asks(&["a", "b"]).retries(Some(1));
        let mut embedding = call(2, 720, 5).plain().used(300, 0, 0);
        (embedding.model, embedding.response_model) = (Some("text-embedding-3-small".into()), None);
        let mut shorter = call(3, 900, 100).after(1, 2).carries(&["a", "b"]).used(700, 0, 40);
        let mut thinking = streamed(thinking, Some(630), 660);
        (thinking.lineage.turns, shorter.lineage.turns) = (9, 4);
        let mut cut = call(4, 1100, 50).after(2, 3);
        (cut.state, cut.response_model) = (AttemptState::UpstreamReset, None);
        let failed = call(5, 1200, 10).after(2, 3).failed(400).retries(Some(1));
        vec![refused, thinking, embedding, streamed(shorter, None, 930), streamed(cut, None, 1120), failed]
    }

    fn tools() -> Vec<ToolFacts> {
        let tool = |seq, name: &str, id: Option<&str>| ToolFacts {
            seq,
            name: name.to_owned(),
            call_id: id.map(str::to_owned),
            arguments_digest: i64::from(seq),
            via: None,
            source: ToolSource::Measured,
            started_us: 710_000,
            ended_us: Some(800_000),
            outcome: Some(ToolOutcome::Ok),
        };
        vec![tool(0, "tool_a", Some("a")), tool(1, "nobody_asked", None)]
    }

    fn as_told() -> Stats {
        let book = PriceBook::default();
        let mut prices = Prices::new(&book, "openai", &[], AT);
        let (facts, tools) = (facts(), tools());
        let recorded = RecordedSteps { facts: &facts, tools: &tools, due_us: 0, book: &book, at_unix_us: AT };
        let (steps, beside) = recorded.ends(&mut prices);
        let mut tally = Tally::new(1, 0);
        tally.loop_started(0, 0, 0);
        let mut track = LoopTrack { beside, ..LoopTrack::default() };
        for RecordedStepEnd { attempts, end } in &steps {
            attempts.iter().for_each(|attempt| tally.call_passed(0, attempt));
            track.step(end);
            tally.step_ended(0, 0, end, &prices);
        }
        let (scheduled_us, ended_us) = (0, 1_210_000);
        tally.loop_ended(&LoopEnd { phase: 0, scheduled_us, ended_us, ending: LoopEnding::Failed, track });
        let scenario = scenario::read("", &[]).unwrap();
        tally.report(&scenario, RunTime::Real, Ended::Completed, &prices).total.stats
    }

    fn as_measured() -> Stats {
        let (facts, tools) = (facts(), tools());
        let recording = Recording { facts: &facts, tools: &tools };
        let span = TraceSpan::closed(1_210_000);
        let costs = PriceBook::default().costs(&facts, Some(AT));
        let metrics = trace(recording, &assemble(recording, &span), &span, &costs);
        stats(&[Sample { started_unix_us: Some(AT), phase: None, metrics: &metrics }], None)
    }

    #[test]
    fn a_loop_has_the_figures_that_its_trace_has() {
        let [told, measured] = [as_told(), as_measured()].map(|stats| serde_json::to_value(stats).unwrap());
        assert_eq!(
            (&told["tool_calls"], &told["other_calls"], &told["trims"]),
            (&3.into(), &1.into(), &1.into())
        );
        for key in [
            "steps",
            "attempts",
            "retries",
            "retry_rate",
            "tool_calls",
            "other_calls",
            "trims",
            "failed_attempts",
            "step_latency_ms",
            "latency_ms",
            "ttft_ms",
            "ttfo_ms",
            "tpot_ms",
            "output_tokens_per_s",
            "context_used",
            "retry_wasted_ms",
            "retry_wasted_usd",
            "cost_usd",
            "cost_by_leaf",
            "loop_cost_usd",
            "cost_at_least",
            "cost_unknown",
            "cache_hit_ratio",
            "error_rate",
            "amplification",
            "steps_per_loop",
        ] {
            assert_eq!(told[key], measured[key], "{key}");
        }
        for key in ["input_total", "output_total", "at_least"] {
            assert_eq!(told["tokens"][key], measured["tokens"][key], "{key}");
        }
    }
}
