//! A cassette's trace, written down as it was recorded: with its own times, numbers, gaps and end.
//!
//! Its calls take the way of all calls, so that what is true of the database is true of them too: no secret is
//! stored, bytes are compared, facts are derived. All of it is one transaction. Whoever recorded it is no process
//! of this machine, so a trace that has no end is one that was cut off.

use super::{CallsUnderWay, State};
use crate::ids::TraceKey;
use crate::liveness::Process;
use crate::recorder::event::{BeginCall, CallEnd, CallId, Moment, Source, TraceHint, TraceSpec};
use crate::recorder::open_trace::{Closing, ClosingCause, TraceNumber};
use crate::recorder::rows::{IdIs, insert_gaps, insert_trace, store_parent};
use looptape_core::TraceId;
use looptape_core::cassette::{Cassette, TapedCall, TapedEnd, TapedTrace};
use looptape_core::exchange::Exchange;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use rusqlite::Connection;

/// A trace that is being restored, in memory.
pub(super) struct Restoring {
    number: TraceNumber,
    id: TraceId,
    /// The trace that takes the calls of this id otherwise.
    instead_of: Option<TraceNumber>,
}

/// Ids of restored calls; those of live calls are counted from below.
const LAST_CALL: CallId = CallId::MAX;

impl State {
    /// Writes a cassette's trace down; its calls have been read once and can be.
    pub(in crate::recorder) fn restore(
        &mut self,
        connection: &Connection,
        cassette: &Cassette,
        source: Source,
    ) -> rusqlite::Result<TraceKey> {
        let taped = cassette.trace();
        let instead_of = self.traces.of_id(&taped.id);
        let number = self.add_trace(spec(taped, source), false);
        self.restoring = Some(Restoring { number, id: taped.id.clone(), instead_of });
        let recorder = Process::elsewhere().register(connection, taped.started_unix_us)?;
        let Some(trace) = self.traces.get_mut(number) else {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        };
        let key = insert_trace(connection, recorder, &trace.spec, IdIs::Given)?;
        trace.key = Some(key);
        if let Some(parent) = &taped.parent {
            store_parent(connection, key, &parent.trace, &parent.why)?;
        }
        insert_gaps(connection, key, &taped.gaps)?;
        if let Some(environment) = &taped.environment {
            self.describe(connection, &taped.id, environment)?;
        }
        for (call, id) in cassette.calls().zip((0..LAST_CALL).rev()) {
            let call = call.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            self.restore_call(connection, (number, &taped.id), id, call)?;
        }
        for tool in cassette.tools() {
            self.restore_tool(connection, number, tool)?;
        }
        if let Some(end) = &taped.end {
            self.restore_end(connection, number, end)?;
        }
        Ok(key)
    }

    fn restore_call(
        &mut self,
        connection: &Connection,
        (number, trace): (TraceNumber, &TraceId),
        id: CallId,
        call: TapedCall,
    ) -> rusqlite::Result<()> {
        let TapedCall { exchange, loop_hint, import_index, provenance, upstream } = call;
        let Exchange { seq, sent_us, sent_unix_us, provider, method, path, .. } = exchange;
        if let Some(trace) = self.traces.get_mut(number) {
            trace.next_seq = seq;
        }
        let begin = BeginCall {
            hint: TraceHint::Named(trace.clone()),
            at: Moment { unix_us: sent_unix_us, mono_us: sent_us },
            provider,
            method,
            path,
            headers: exchange.request_headers,
            body: exchange.request_body.into(),
            loop_hint,
            import_index,
            labels: Labels::default(),
            credentials: Credentials::none(),
        };
        self.begin(connection, id, begin)?;
        if let Some(provenance) = &provenance {
            self.provenance(connection, id, provenance)?;
        }
        match CallEnd::of(exchange.outcome, 0) {
            Some(end) => self.end(connection, id, end, upstream),
            None => Ok(()),
        }
    }

    fn restore_end(
        &mut self,
        connection: &Connection,
        number: TraceNumber,
        end: &TapedEnd,
    ) -> rusqlite::Result<()> {
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        // Calls without an end are what the recording says of them: nobody waits for their ends.
        trace.open_calls = 0;
        trace.last_activity_mono_us = end.ended_us;
        trace.outcome = end.outcome;
        let at = Moment { unix_us: trace.spec.started.unix_us, mono_us: end.ended_us };
        let cause = if end.idle { ClosingCause::Idle } else { ClosingCause::Stated };
        let (exit_code, aborted) = (end.exit_code, end.aborted.clone());
        self.stop_taking_calls(Some(number), Closing { at, cause, exit_code, aborted });
        self.close(connection, CallsUnderWay::Awaited)
    }

    pub(super) fn is_restoring(&self, number: TraceNumber) -> bool {
        self.restoring.as_ref().is_some_and(|restoring| restoring.number == number)
    }

    /// The trace is on disk, or given up: nothing more belongs to it.
    pub(in crate::recorder) fn end_restoring(&mut self) {
        let Some(Restoring { number, id, instead_of }) = self.restoring.take() else { return };
        self.closing.remove(&number);
        self.kept_facts.forget(number);
        self.traces.remove(number);
        self.traces.lead(id, instead_of);
        self.calls.retain(|_, call| call.trace != number);
    }
}

/// On the trace's own clock, which begins with it.
fn spec(taped: &TapedTrace, source: Source) -> TraceSpec {
    let started = Moment { unix_us: taped.started_unix_us, mono_us: 0 };
    TraceSpec {
        id: taped.id.clone(),
        source,
        name: taped.name.clone(),
        labels: taped.labels.clone(),
        program: None,
        command: taped.command.clone(),
        parent: None,
        started,
        timing: taped.timing,
        happened_unix_us: taped.happened_unix_us,
        byte_exact: taped.byte_exact,
    }
}
