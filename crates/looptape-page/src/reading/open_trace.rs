//! A trace that is looked at: loaded and measured once, shown a few entries at a time.
//!
//! A timeline of ten thousand steps is read in pages, and of the calls only those bodies that a page shows. Texts in
//! a page are cut: whoever wants all of one asks for its entry or its step.

use super::trace_view::{Contents, Messages, Note, usage_note};
use looptape_core::assembly::{CallIndex, StepNumber};
use looptape_core::cost::Usd;
use looptape_core::facts::{AttemptState, CallFacts};
use looptape_core::metrics::{Measured, Ms};
use looptape_core::text_diff::beginning;
use looptape_core::view::tracks::{Track, Tracks};
use looptape_core::view::{EntryKind, EntryView, ToolOutcome, TraceHead, TraceView};
use looptape_store::{ReadError, Reader, RecordedTrace, ScannedTrace, TraceRow};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::ops::Range;

/// Characters of a text that a row shows.
const ROW_CHARS: usize = 240;

/// A trace, ready to be shown.
#[derive(Debug)]
pub struct OpenTrace {
    scanned: ScannedTrace,
    measured: Measured,
    /// Without anything that bodies say.
    bare: TraceView,
    tracks: Tracks,
    /// By row.
    overhead_before: Vec<Option<Ms>>,
}

/// What is said of a trace as a whole.
#[derive(Debug, Serialize)]
pub struct OpenHead {
    /// What finds this very trace.
    pub label: String,
    pub source: String,
    /// What was run, if that is known.
    pub command: Vec<String>,
    pub started_unix_us: i64,
    /// Whether the times of its calls were measured, or are those of a file that knows less.
    pub byte_exact: bool,
    /// Rows of the timeline.
    pub entries: usize,
    /// Tracks that lie beside one another at most.
    pub columns: usize,
    /// As `show --json` has it, without the figures of its single steps.
    pub trace: TraceHead,
    pub notes: Vec<Note>,
}

/// One row of the timeline.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its place among all rows.
    pub at: usize,
    /// As `show --json` has it, its texts cut.
    #[serde(flatten)]
    pub entry: EntryView,
    /// Since the last of those before it ended: time in which no call and no tool was at work.
    pub overhead_before_ms: Option<Ms>,
    pub track: TrackPlace,
}

/// Where a row stands in the drawing of what ran beside what.
#[derive(Debug, Serialize)]
pub struct TrackPlace {
    pub column: usize,
    /// The column that its track leaves here.
    pub from: Option<usize>,
    /// Those of the tracks that go into it here.
    pub joined: Vec<usize>,
    pub lines: Vec<TrackLine>,
}

/// A track that is there at a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TrackLine {
    pub column: usize,
    pub begins: bool,
    pub ends: bool,
}

/// Figures of all steps, by their order; one array a figure. For plots.
#[derive(Debug, Default, Serialize)]
pub struct StepSeries {
    pub step: Vec<u32>,
    /// The step's row.
    pub at: Vec<usize>,
    pub uncached_input: Vec<Option<u64>>,
    pub cache_read: Vec<Option<u64>>,
    pub cache_write: Vec<Option<u64>>,
    pub input: Vec<Option<u64>>,
    pub output: Vec<Option<u64>>,
    pub input_limit: Vec<Option<u64>>,
    pub context_used: Vec<Option<f64>>,
    /// Its history is shorter than that of the step whose answer it carries on from.
    pub trimmed: Vec<bool>,
    pub cost_usd: Vec<Option<Usd>>,
    pub step_latency_ms: Vec<Option<Ms>>,
    pub ttft_ms: Vec<Option<Ms>>,
    pub retries: Vec<u32>,
    pub rows: RowSeries,
}

/// When every row began and ended, for an overview of the whole.
#[derive(Debug, Default, Serialize)]
pub struct RowSeries {
    pub started_ms: Vec<Option<Ms>>,
    pub duration_ms: Vec<Option<Ms>>,
    pub kind: Vec<EntryKind>,
    /// It ended in a failure.
    pub failed: Vec<bool>,
    /// It was tried again.
    pub retried: Vec<bool>,
}

impl OpenTrace {
    pub fn read(reader: &Reader, row: TraceRow) -> Result<Self, ReadError> {
        let scanned = reader.load_with_pieces(row)?;
        let measured = scanned.measure();
        let bare = Contents::new(reader, &scanned.trace, Messages::LeftOut).view(&measured, |_| false);
        let tracks = Tracks::of(&bare.steps);
        let overhead_before = overhead_before(&bare.steps);
        Ok(Self { scanned, measured, bare, tracks, overhead_before })
    }

    pub fn row(&self) -> &TraceRow {
        &self.scanned.trace.row
    }

    pub fn trace(&self) -> &RecordedTrace {
        &self.scanned.trace
    }

    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    pub fn head(&self, reader: &Reader) -> OpenHead {
        let row = self.row();
        let mut trace = self.bare.trace.clone();
        trace.metrics.by_step.clear();
        OpenHead {
            label: row.label(),
            source: row.source.clone(),
            command: row.command.clone(),
            started_unix_us: row.happened_unix_us().unwrap_or(row.started_unix_us),
            byte_exact: row.byte_exact,
            entries: self.bare.steps.len(),
            columns: self.tracks.columns(),
            trace,
            notes: usage_note(reader, self.trace(), &self.measured).into_iter().collect(),
        }
    }

    /// These rows, with what their bodies say; and what of them could not be read.
    pub fn rows(&self, reader: &Reader, wanted: Range<usize>) -> (Vec<Row>, Vec<Note>) {
        let wanted = wanted.start.min(self.bare.steps.len())..wanted.end.min(self.bare.steps.len());
        let contents = Contents::new(reader, self.trace(), Messages::LeftOut);
        let calls = self.calls_of(&self.bare.steps[wanted.clone()]);
        let view = contents.view(&self.measured, |seq| calls.contains(&seq));
        let entries = view.steps.into_iter().enumerate().skip(wanted.start).take(wanted.len());
        let rows = entries.map(|(at, mut entry)| {
            cut(&mut entry);
            let overhead_before_ms = self.overhead_before[at];
            Row { at, entry, overhead_before_ms, track: self.track_of(at) }
        });
        (rows.collect(), contents.notes(&self.measured))
    }

    /// One row's entry, with nothing cut.
    pub fn entry(&self, reader: &Reader, at: usize) -> Option<EntryView> {
        let calls = self.calls_of(self.bare.steps.get(at..=at)?);
        let contents = Contents::new(reader, self.trace(), Messages::LeftOut);
        let bare = &self.bare.steps[at];
        if let Some(step) = bare.step.and_then(|number| self.measured.assembly.step(number)) {
            let (own, tools) = contents.step(&self.measured, step);
            return std::iter::once(own).chain(tools).find(|entry| entry.sub == bare.sub);
        }
        contents.view(&self.measured, |seq| calls.contains(&seq)).steps.into_iter().nth(at)
    }

    pub fn series(&self) -> StepSeries {
        let mut series = StepSeries::default();
        let facts = &self.trace().facts;
        for (step, metrics) in self.measured.assembly.steps.iter().zip(&self.measured.metrics.by_step) {
            let usage = &facts[step.final_call().0].usage;
            let written = [usage.cache_write_5m, usage.cache_write_1h].into_iter().flatten();
            series.step.push(step.number.0);
            series.uncached_input.push(usage.uncached_input);
            series.cache_read.push(usage.cache_read);
            series.cache_write.push(written.reduce(|a, b| a + b));
            series.input.push(metrics.input_tokens);
            series.output.push(metrics.output_tokens);
            series.input_limit.push(metrics.input_limit);
            series.context_used.push(metrics.context_used);
            series.trimmed.push(metrics.trimmed);
            series.cost_usd.push(metrics.cost_usd);
            series.step_latency_ms.push(metrics.step_latency_ms);
            series.ttft_ms.push(metrics.last.ttft_ms);
            series.retries.push(metrics.retries);
        }
        series.at = vec![0; series.step.len()];
        for (at, entry) in self.bare.steps.iter().enumerate() {
            if let (EntryKind::Llm, Some(step)) = (entry.kind, entry.step) {
                series.at[step.index()] = at;
            }
            series.rows.started_ms.push(entry.started_ms);
            series.rows.duration_ms.push(entry.duration_ms);
            series.rows.kind.push(entry.kind);
            series.rows.failed.push(has_failed(entry));
            series.rows.retried.push(entry.attempts.len() > 1);
        }
        series
    }

    /// The calls (by `seq`) whose bodies say what these entries show: their own, and for a tool call also those that carry
    /// its result.
    fn calls_of(&self, entries: &[EntryView]) -> HashSet<u32> {
        let facts = &self.trace().facts;
        let assembly = &self.measured.assembly;
        let seq = |call: CallIndex| facts[call.0].seq;
        let mut calls: HashSet<u32> =
            entries.iter().flat_map(|entry| entry.attempts.last()).map(|attempt| attempt.call).collect();
        let asking: HashSet<StepNumber> = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Tool)
            .filter_map(|entry| entry.step)
            .collect();
        for step in asking.into_iter().filter_map(|number| assembly.step(number)) {
            calls.insert(seq(step.final_call()));
            let answering = step.tools.iter().filter_map(|tool| assembly.step(tool.answered_by?));
            calls.extend(answering.map(|step| seq(step.final_call())));
        }
        calls
    }

    fn track_of(&self, at: usize) -> TrackPlace {
        let own = self.tracks.track(self.tracks.of_entry(at));
        let begins = |begins: usize| begins == at;
        let line = |track: &Track| TrackLine {
            column: track.column,
            begins: begins(track.begins),
            ends: track.ends == at,
        };
        TrackPlace {
            column: own.column,
            from: own.from.filter(|_| begins(own.begins)).map(|from| self.tracks.track(from).column),
            joined: self.tracks.going_into(at).map(|track| track.column).collect(),
            lines: self.tracks.at(at).map(line).collect(),
        }
    }

    /// The facts of a call, by its `seq`.
    pub fn call(&self, seq: u32) -> Option<&CallFacts> {
        self.trace().facts.iter().find(|facts| facts.seq == seq)
    }
}

/// Time before each entry in which nothing was at work; `None` where there was none, or where that is not known.
fn overhead_before(entries: &[EntryView]) -> Vec<Option<Ms>> {
    let mut busy_until_us = 0;
    let mut before = |entry: &EntryView| {
        let start_us = entry.started_ms?.us();
        let gap = (start_us > busy_until_us).then(|| Ms::between(busy_until_us, start_us));
        busy_until_us = busy_until_us.max(start_us.saturating_add(entry.duration_ms.map_or(0, Ms::us)));
        gap
    };
    entries.iter().map(&mut before).collect()
}

/// Whether an entry ended in a failure. One that has not ended has not failed.
fn has_failed(entry: &EntryView) -> bool {
    let outcome = entry.tool.as_ref().and_then(|tool| tool.outcome);
    let last = entry.attempts.last();
    last.is_some_and(|last| match last.state {
        AttemptState::Complete => last.status.is_some_and(|status| status >= 400),
        AttemptState::InFlight => false,
        _ => true,
    }) || matches!(outcome, Some(ToolOutcome::Error | ToolOutcome::Timeout | ToolOutcome::Aborted))
}

/// Leaves of every text of an entry what a row shows.
fn cut(entry: &mut EntryView) {
    if let Some(text) = &mut entry.text {
        *text = beginning(text, ROW_CHARS);
    }
    for call in &mut entry.tool_calls {
        cut_value(&mut call.arguments);
    }
    if let Some(tool) = &mut entry.tool {
        tool.arguments.iter_mut().chain(&mut tool.result).for_each(cut_value);
    }
    if let Some(usage) = &mut entry.usage {
        usage.raw = None;
    }
}

/// A value that is longer as JSON becomes the beginning of that.
fn cut_value(value: &mut Value) {
    let json = match &*value {
        Value::Null | Value::Bool(_) | Value::Number(_) => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if json.len() > ROW_CHARS {
        *value = Value::String(beginning(&json, ROW_CHARS));
    }
}
