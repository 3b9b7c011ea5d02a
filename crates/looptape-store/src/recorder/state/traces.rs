//! A trace from its first row to its closing one.

use super::{CallsUnderWay, State};
use crate::ids::TraceKey;
use crate::reader;
use crate::recorder::event::{BeginCall, EndOfTrace, Moment, Source, TraceSpec};
use crate::recorder::open_trace::{Closing, ClosingCause, OpenTrace, TraceNumber};
use crate::recorder::rows::{IdIs, insert_end, insert_trace, relabel, store_environment};
use crate::recorder::watch::WatchedTrace;
use looptape_core::TraceId;
use looptape_core::assembly::{LoopOutcome, Recording};
use looptape_core::redact::Credentials;
use looptape_core::replay::Environment;
use rusqlite::Connection;

impl State {
    /// Traces that calls opened and that have been silent since then.
    pub(in crate::recorder) fn silent_since(&self, mono_us: i64) -> Vec<TraceNumber> {
        let is_silent =
            |t: &OpenTrace| t.opened_by_call && t.open_calls == 0 && t.last_activity_mono_us < mono_us;
        self.traces.iter().filter(|(_, t)| is_silent(t)).map(|(number, _)| number).collect()
    }

    /// Of the traces that nobody named, those beyond `most`: first those that nobody has carried on from,
    /// then the ones that have been silent for longest.
    pub(in crate::recorder) fn unnamed_beyond(&self, most: usize) -> Vec<TraceNumber> {
        let is_waiting = |t: &OpenTrace| t.is_unnamed && t.open_calls == 0 && t.closing.is_none();
        let waiting = self.traces.iter().filter(|(_, t)| is_waiting(t));
        let mut waiting: Vec<_> =
            waiting.map(|(number, t)| (t.next_seq > 1, t.last_activity_mono_us, number)).collect();
        let excess = waiting.len().saturating_sub(most);
        if excess > 0 {
            waiting.sort_unstable();
        }
        waiting.into_iter().take(excess).map(|(.., number)| number).collect()
    }

    pub(in crate::recorder) fn all(&self) -> Vec<TraceNumber> {
        self.traces.iter().map(|(number, _)| number).collect()
    }

    /// How many traces have been opened.
    pub(in crate::recorder) fn opened_traces(&self) -> u64 {
        self.traces.opened()
    }

    pub(super) fn add_trace(&mut self, spec: TraceSpec, by_call: bool) -> TraceNumber {
        let mut vault = self.intake.scrubber.vault();
        let spec = self.intake.scrubber.spec(&mut vault, spec);
        self.traces.add(OpenTrace::new(spec, by_call, vault, self.gaps.unplaced()))
    }

    /// The trace that a call opens.
    pub(super) fn spec_of_call(&self, id: TraceId, begin: &BeginCall) -> TraceSpec {
        let mut spec = TraceSpec::new(id, Source::Serve, begin.at);
        spec.labels.clone_from(&begin.labels);
        spec.labels.add(&self.labels);
        spec
    }

    /// Adds what a call says of its trace.
    pub(super) fn relabel(
        &mut self,
        connection: &Connection,
        number: TraceNumber,
        begin: &mut BeginCall,
    ) -> rusqlite::Result<()> {
        let labels = std::mem::take(&mut begin.labels);
        let Some(trace) = self.traces.get_mut(number).filter(|_| !labels.is_empty()) else { return Ok(()) };
        if trace.said.as_ref() == Some(&labels) {
            return Ok(());
        }
        let clean = self.intake.scrubber.labels(&mut trace.vault, &begin.credentials, labels.clone());
        let is_new = trace.spec.labels.add(&clean);
        if let Some(key) = trace.key.filter(|_| is_new || trace.may_lack_labels) {
            relabel(connection, key, &trace.spec)?;
        }
        (trace.said, trace.may_lack_labels) = (Some(labels), false);
        Ok(())
    }

    /// The trace's row, written now if it is not there.
    pub(super) fn ensure_row(
        &mut self,
        connection: &Connection,
        number: TraceNumber,
    ) -> rusqlite::Result<Option<TraceKey>> {
        let Some(trace) = self.traces.get(number) else { return Ok(None) };
        self.batch.touched.insert(number);
        if let Some(key) = trace.key {
            return Ok(Some(key));
        }
        let recorder = match self.recorder {
            Some(recorder) => recorder,
            None => {
                let recorder = self.process.register(connection, trace.spec.started.unix_us)?;
                self.recorder = Some(recorder);
                self.batch.registered = true;
                recorder
            }
        };
        let id = if trace.is_unnamed { IdIs::MadeUp } else { IdIs::Given };
        let key = insert_trace(connection, recorder, &trace.spec, id)?;
        self.batch.opened.push(number);
        if let Some(trace) = self.traces.get_mut(number) {
            trace.key = Some(key);
        }
        Ok(Some(key))
    }

    pub(super) fn describe(
        &mut self,
        connection: &Connection,
        id: &TraceId,
        environment: &Environment,
    ) -> rusqlite::Result<()> {
        let Some(number) = self.traces.of_id(id) else { return Ok(()) };
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let text = serde_json::to_string(environment).expect("an environment is texts and a date");
        let clean = self.intake.scrubber.text(&mut trace.vault, &Credentials::none(), text);
        store_environment(connection, key, &clean)
    }

    /// Somebody says that a trace is over.
    pub(super) fn end_trace(&mut self, id: &TraceId, at: Moment, outcome: Option<LoopOutcome>) -> EndOfTrace {
        let number = self.traces.of_id(id);
        let Some(trace) = number.and_then(|n| self.traces.get_mut(n)) else { return EndOfTrace::NotOpen };
        trace.outcome = outcome.or(trace.outcome);
        if !trace.opened_by_call {
            return EndOfTrace::WithItsRun;
        }
        let open_calls = trace.open_calls;
        self.stop_taking_calls(number, Closing::new(at, ClosingCause::Stated));
        if open_calls > 0 { EndOfTrace::WhenCallsEnd } else { EndOfTrace::Ended }
    }

    pub(in crate::recorder) fn stop_taking_calls(&mut self, number: Option<TraceNumber>, closing: Closing) {
        if let Some(number) = number {
            self.traces.close(number, closing);
            self.closing.insert(number);
        }
    }

    /// Writes the closing rows of traces that take no more calls.
    pub(in crate::recorder) fn close(
        &mut self,
        connection: &Connection,
        under_way: CallsUnderWay,
    ) -> rusqlite::Result<()> {
        if !self.closing.is_empty() {
            self.write_rows(connection)?;
        }
        for number in self.closing.clone() {
            let open_calls = self.traces.get(number).map_or(0, |t| t.open_calls);
            if open_calls == 0 || under_way == CallsUnderWay::GivenUp {
                self.close_trace(connection, number)?;
            }
        }
        Ok(())
    }

    fn close_trace(&mut self, connection: &Connection, number: TraceNumber) -> rusqlite::Result<()> {
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let is_restoring = self.is_restoring(number);
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let Some(closing) = trace.closing.clone() else { return Ok(()) };
        if trace.opened_by_call {
            self.gaps.doubt(number, &trace.unplaced_before);
        }
        if trace.open_calls > 0 {
            let reason = "calls had not ended when the recording stopped";
            self.gaps.add_many(number, reason, trace.open_calls as u64);
        }
        // What a restored trace cost was paid elsewhere.
        if closing.cause != ClosingCause::RecorderEnds && !is_restoring {
            self.spending.close(&trace.spec.id, closing.at);
        }
        let end = trace.end(&closing);
        insert_end(connection, key, &end, closing.aborted.as_deref())?;
        let spec = &trace.spec;
        let metrics =
            match self.kept_facts.all_of(number, trace.next_seq).filter(|_| spec.source != Source::Replay) {
                Some(facts) => {
                    let span = end.span(spec.timing);
                    let times = (span, spec.happened_unix_us());
                    let tools = match trace.next_tool_seq {
                        0 => Vec::new(),
                        _ => reader::tool_facts(connection, key)?,
                    };
                    let recording = Recording { facts, tools: &tools };
                    Some(reader::sum_up(connection, key, recording, times, &self.prices)?)
                }
                None => reader::sum_up_rows(connection, &reader::trace_row(connection, key)?, &self.prices)?,
            };
        if let Some(watch) = &self.watch {
            let (id, agent) = (&spec.id, spec.agent());
            watch.trace(&WatchedTrace { id, agent, metrics: metrics.as_ref() });
        }
        self.batch.closed.push(number);
        Ok(())
    }
}
