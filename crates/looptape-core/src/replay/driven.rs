//! What came of sending recorded requests again: answer by answer against the recording, and in figures.
//!
//! The figures are those of [`crate::metrics`], computed from what was sent and received now. Only where a
//! request belongs (its loop, its lane, the answer that it follows) is taken from the recording: the request
//! is the recorded one, so it echoes the recorded answer, whatever the model says now.

use super::answers::{AnswerClass, AnswerDiff};
use super::summary::Summary;
use super::tape::CallLabel;
use crate::assembly::TraceSpan;
use crate::cost::Usd;
use crate::derive::{self, RequestFacts};
use crate::exchange::Exchange;
use crate::facts::CallFacts;
use crate::metrics::{self, Measured, Ms, Percentiles, Sample, Stats, TraceMetrics, Window};
use serde::Serialize;
use std::collections::BTreeMap;

/// One run of one trace.
#[derive(Clone, Debug)]
pub struct DrivenRun {
    /// How people know the trace.
    pub trace: String,
    /// 1 for the first run of this trace.
    pub run: u32,
    /// The trace that was recorded of this run.
    pub child: Option<String>,
    pub coverage: Coverage,
    /// Calls that were sent, in recorded order.
    pub calls: Vec<DrivenCall>,
    /// Recorded calls without an end: there is nothing to compare with.
    pub unanswered: usize,
    /// Recorded calls that this source is not asked: other calls than a model's, attempts that were tried
    /// again.
    pub not_sent: usize,
    pub metrics: TraceMetrics,
    pub started_unix_us: i64,
    pub ended_unix_us: i64,
    /// What the server that answered says, where it decided by the recording.
    pub replay: Option<Summary>,
}

/// Whether a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    Whole,
    Interrupted,
}

/// When an answer counts as the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// Bit for bit: of a recording.
    Bytes,
    /// If an agent would do the same: of a model.
    Meaning,
}

/// A call that was sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct DrivenCall {
    pub label: CallLabel,
    /// How its answer compares with the recorded one.
    pub answer: AnswerDiff,
}

/// An answer that was not the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub trace: String,
    pub run: u32,
    #[serde(flatten)]
    pub label: CallLabel,
    /// In one line.
    pub what: String,
    #[serde(flatten)]
    pub answer: AnswerDiff,
}

/// What the runs cost, and would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DrivenMoney {
    /// What the recordings of these runs cost; `None` if that is not known.
    pub recorded_usd: Option<Usd>,
    pub spent_usd: Option<Usd>,
    pub saved_usd: Option<Usd>,
    /// Whether some of these may be larger.
    #[serde(rename = "money_at_least")]
    pub at_least: bool,
}

/// One run in the report.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine {
    pub trace: String,
    pub run: u32,
    pub child: Option<String>,
    pub coverage: Coverage,
    pub calls: usize,
    pub same: usize,
    pub loops: u32,
    pub steps: u32,
    pub duration_ms: Option<Ms>,
    pub cost_usd: Option<Usd>,
    pub replay: Option<Summary>,
}

/// A trace that could not be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedTrace {
    pub trace: String,
    pub why: String,
}

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub struct DrivenReport {
    pub format: u32,
    pub traces: usize,
    /// Calls that were sent, and compared.
    pub calls: usize,
    /// Answers that were the recorded ones, bit for bit.
    pub identical: usize,
    /// Answers on which an agent would do the same, the identical ones included.
    pub same: usize,
    pub unanswered: usize,
    pub not_sent: usize,
    /// How many answers there are of each class.
    pub classes: BTreeMap<AnswerClass, usize>,
    pub exactness: Exactness,
    /// Every answer that was another; the worst first, then in order of traces, runs and calls.
    pub differences: Vec<Finding>,
    pub coverage: Coverage,
    /// Loops that came to their end.
    pub loops: u32,
    pub steps: u32,
    pub elapsed_ms: Ms,
    /// From the first request to the last answer.
    pub loops_per_min: Option<f64>,
    pub steps_per_loop: Percentiles,
    pub retry_rate: Option<f64>,
    #[serde(flatten)]
    pub money: DrivenMoney,
    pub stats: Stats,
    pub runs: Vec<RunLine>,
    pub refused: Vec<RefusedTrace>,
}

/// The facts of a call that was sent again, in the recorded one's place. `retries` says how often this request
/// was sent before in this run; `None` if its own header does.
pub fn facts(recorded: &CallFacts, sent: &Exchange, retries: Option<u32>) -> CallFacts {
    let request = RequestFacts {
        seq: sent.seq,
        sent_us: sent.sent_us,
        loop_hint: recorded.loop_hint.clone(),
        provider: recorded.provider.clone(),
        endpoint: recorded.endpoint.clone(),
        kind: recorded.kind,
        model: recorded.model.clone(),
        stream: recorded.stream,
        previous_response_id: recorded.previous_response_id.clone(),
        request_digest: recorded.request_digest,
        retry_count: retries.or(recorded.retry_count),
        request_bytes: sent.request_body.len() as u64,
        lineage: recorded.lineage,
        conversation: None,
    };
    CallFacts {
        lineage: recorded.lineage,
        asks: recorded.asks.clone(),
        carries: recorded.carries.clone(),
        response_id: recorded.response_id.clone(),
        ..derive::call(&request, &sent.outcome)
    }
}

/// Measures a run from the facts of what was sent, in the order in which it was sent.
pub fn measure(facts: &[CallFacts], ended_us: i64, started_unix_us: i64) -> TraceMetrics {
    Measured::of(facts, TraceSpan::closed(ended_us), Some(started_unix_us)).metrics
}

impl DrivenReport {
    /// Sums runs up. They are given in order of traces and runs; `window` is the time that they took.
    pub fn new(
        runs: Vec<DrivenRun>,
        refused: Vec<RefusedTrace>,
        exactness: Exactness,
        window: Window,
        money: DrivenMoney,
    ) -> Self {
        let samples: Vec<Sample<'_>> = runs
            .iter()
            .map(|run| Sample { started_unix_us: Some(run.started_unix_us), metrics: &run.metrics })
            .collect();
        let stats = metrics::stats(&samples, Some(window));
        let answers = || runs.iter().flat_map(|run| &run.calls).map(|call| &call.answer);
        let mut classes = BTreeMap::new();
        for answer in answers() {
            *classes.entry(answer.class).or_insert(0) += 1;
        }
        let interrupted = runs.iter().any(|run| run.coverage == Coverage::Interrupted);
        let loops = runs.iter().map(DrivenRun::ended_loops).sum();
        let minutes = window.seconds() / 60.0;
        let mut traces: Vec<&str> = runs.iter().map(|run| run.trace.as_str()).collect();
        traces.dedup();
        Self {
            format: 1,
            traces: traces.len(),
            calls: answers().count(),
            identical: classes.get(&AnswerClass::SameBytes).copied().unwrap_or(0),
            same: answers().filter(|answer| answer.class.is_same()).count(),
            unanswered: runs.iter().map(|run| run.unanswered).sum(),
            not_sent: runs.iter().map(|run| run.not_sent).sum(),
            classes,
            exactness,
            differences: findings(&runs, exactness),
            coverage: if interrupted { Coverage::Interrupted } else { Coverage::Whole },
            loops,
            steps: stats.steps,
            elapsed_ms: Ms::between(window.start_unix_us, window.end_unix_us),
            loops_per_min: (minutes > 0.0).then(|| f64::from(loops) / minutes),
            steps_per_loop: stats.steps_per_loop,
            retry_rate: stats.retry_rate,
            money,
            stats,
            runs: runs.into_iter().map(RunLine::of).collect(),
            refused,
        }
    }

    /// Whether every answer was the recorded one, and no trace was refused.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.divergences() == 0 && self.refused.is_empty()
    }

    /// Divergences that the server of the recording reported.
    pub fn divergences(&self) -> usize {
        self.runs.iter().filter_map(|run| run.replay.as_ref()).map(|replay| replay.divergences.len()).sum()
    }
}

impl DrivenRun {
    /// All loops of a run that came to its end; of another one, those that are known to have ended.
    fn ended_loops(&self) -> u32 {
        match self.coverage {
            Coverage::Whole => self.metrics.loops,
            Coverage::Interrupted => self.metrics.completed_loops,
        }
    }
}

impl RunLine {
    fn of(run: DrivenRun) -> Self {
        Self {
            calls: run.calls.len(),
            same: run.calls.iter().filter(|call| call.answer.class.is_same()).count(),
            loops: run.ended_loops(),
            steps: run.metrics.steps,
            duration_ms: run.metrics.time.duration_ms,
            cost_usd: run.metrics.cost_usd,
            trace: run.trace,
            run: run.run,
            child: run.child,
            coverage: run.coverage,
            replay: run.replay,
        }
    }
}

fn findings(runs: &[DrivenRun], exactness: Exactness) -> Vec<Finding> {
    let is_recorded = |class: AnswerClass| match exactness {
        Exactness::Bytes => class == AnswerClass::SameBytes,
        Exactness::Meaning => class.is_same(),
    };
    let of_run = |run: &DrivenRun| -> Vec<Finding> {
        let others = run.calls.iter().filter(|call| !is_recorded(call.answer.class));
        let finding = |call: &DrivenCall| Finding {
            trace: run.trace.clone(),
            run: run.run,
            label: call.label,
            what: call.answer.to_string(),
            answer: call.answer.clone(),
        };
        others.map(finding).collect()
    };
    let mut findings: Vec<Finding> = runs.iter().flat_map(of_run).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.answer.class));
    findings
}
