//! A call from its beginning to its end.

use super::State;
use crate::ids::TraceKey;
use crate::recorder::call_rows::{AnsweredRow, EndRow, RequestRow, encode_chunks};
use crate::recorder::event::{BeginCall, CallEnd, CallId, TraceHint};
use crate::recorder::known::Begun;
use crate::recorder::open_trace::{OpenCall, OpenRequest, Origin, TraceNumber};
use crate::recorder::watch::{WatchedCall, WatchedRequest};
use bytes::Bytes;
use looptape_core::assembly::LoopOutcome;
use looptape_core::exchange::{Answer, Chunk, Outcome};
use looptape_core::facts::{AskedUpstream, CallFacts};
use looptape_core::{TraceId, derive};
use rusqlite::Connection;

impl State {
    pub(super) fn begin(
        &mut self,
        connection: &Connection,
        call: CallId,
        mut begin: BeginCall,
    ) -> rusqlite::Result<()> {
        self.watch_request(&begin);
        let incoming = self.intake.read(&begin);
        let (number, origin) = self.trace_of(&begin, &incoming.facts);
        self.begun_in(number, origin, &begin, &incoming.facts);
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        self.relabel(connection, number, &mut begin)?;
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };

        let clean = self.intake.clean(&mut trace.vault, &begin, incoming);
        if let Some(reason) = clean.left_out {
            self.gaps.add(number, reason);
        }
        let mut facts = clean.facts;
        facts.seq = trace.next_seq;
        facts.sent_us = begin.at.mono_us - trace.spec.started.mono_us;
        let scrubber = &self.intake.scrubber;
        let hint = begin.loop_hint.clone();
        facts.loop_hint = hint.map(|hint| scrubber.text(&mut trace.vault, &begin.credentials, hint));
        let stored = self.intake.put(connection, &mut self.cache, &begin, clean.content)?;
        let row = RequestRow {
            trace: key,
            seq: facts.seq,
            sent_us: facts.sent_us,
            sent_unix_us: begin.at.unix_us,
            provider: begin.provider,
            method: begin.method,
            path: clean.path,
            loop_hint: facts.loop_hint.clone(),
            import_index: begin.import_index,
            stored,
        };
        self.batch.rows.begin(call, row);

        trace.next_seq += 1;
        trace.last_activity_mono_us = begin.at.mono_us;
        self.batch.begun.push(call);
        if self.ended_early.remove(&call) {
            return Ok(());
        }
        trace.open_calls += 1;
        let (seq, live) = (facts.seq, clean.live.map(Box::new));
        let request = OpenRequest::Read { facts: Box::new(facts), live, credentials: begin.credentials };
        self.calls.insert(call, OpenCall { trace: number, origin, seq, request });
        Ok(())
    }

    /// Which trace a call belongs to; opens one if there is none.
    fn trace_of(&mut self, begin: &BeginCall, live: &derive::RequestFacts) -> (TraceNumber, Origin) {
        let (id, origin) = match &begin.hint {
            TraceHint::Named(id) => match self.traces.of_id(id) {
                Some(number) => return (number, Origin::Named),
                None => (id.clone(), Origin::Named),
            },
            TraceHint::Lineage => {
                let takes_calls = |number| self.traces.takes_calls(number);
                match self.known.place(live, begin.at.mono_us, takes_calls) {
                    Some((number, placed)) => return (number, Origin::Unnamed(Some(placed))),
                    None => (self.unnamed_ids.next(begin.at), Origin::Unnamed(None)),
                }
            }
        };
        let number = self.add_trace(self.spec_of_call(id, begin), true);
        if let Some(trace) = self.traces.get_mut(number) {
            trace.is_unnamed = origin != Origin::Named;
        }
        (number, origin)
    }

    /// What others will carry on from is remembered, whatever becomes of the transaction.
    fn begun_in(
        &mut self,
        trace: TraceNumber,
        origin: Origin,
        begin: &BeginCall,
        live: &derive::RequestFacts,
    ) {
        let placed = match origin {
            Origin::Unnamed(placed) => placed,
            Origin::Named => None,
        };
        let is_unnamed = self.traces.get(trace).is_some_and(|t| t.is_unnamed);
        self.known.begun(live, Begun { trace, is_unnamed, placed, at_mono_us: begin.at.mono_us });
    }

    pub(super) fn end(
        &mut self,
        connection: &Connection,
        call: CallId,
        end: CallEnd,
        upstream: Option<AskedUpstream>,
    ) -> rusqlite::Result<()> {
        let Some((open, key)) = self.take_call(call) else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(open.trace) else { return Ok(()) };
        let start = trace.spec.started.mono_us;
        // When it ended, not when that was heard of here.
        trace.last_activity_mono_us = trace.last_activity_mono_us.max(end.mono_us());
        let outcome = match end {
            CallEnd::NoResponse { at_mono_us, ending } => {
                Outcome::NoResponse { end_us: at_mono_us - start, ending }
            }
            CallEnd::Answered { status, headers, head_mono_us, end_mono_us, body, chunks, ending, cut } => {
                if let Some(reason) = cut {
                    self.gaps.add(open.trace, &reason);
                }
                let body = join(body);
                let sender = open.request.sender();
                let clean = self.intake.clean_answer(&mut trace.vault, sender, headers, body, chunks);
                if let Some(reason) = clean.left_out {
                    self.gaps.add(open.trace, reason);
                }
                Outcome::Answered(Answer {
                    status,
                    headers: clean.headers,
                    body: clean.body,
                    chunks: clean.chunks.into_iter().map(|c| Chunk { at_us: c.at_us - start, ..c }).collect(),
                    head_us: head_mono_us - start,
                    end_us: end_mono_us - start,
                    ending,
                })
            }
        };
        let (end_us, ending, answered) = match &outcome {
            Outcome::NoResponse { end_us, ending } => (*end_us, ending.clone(), None),
            Outcome::Answered(answer) => {
                let (provider, _) = open.request.sender();
                let (headers, body) =
                    self.intake.put_answer(connection, &mut self.cache, provider, answer)?;
                let chunks = encode_chunks(answer.head_us, &answer.chunks);
                let row =
                    AnsweredRow { status: answer.status, head_us: answer.head_us, headers, body, chunks };
                (answer.end_us, answer.ending.clone(), Some(row))
            }
            Outcome::InFlight => return Ok(()),
        };
        let place = (key, open.seq);
        let row = |facts, upstream| EndRow { of: open.trace, end_us, ending, answered, facts, upstream };
        self.batch.ended += 1;
        // The facts of a repeated call whose answer was not the recorded one are made when it is read.
        let OpenRequest::Read { facts: request, live, .. } = &open.request else {
            self.batch.rows.end(call, place, row(None, upstream));
            return Ok(());
        };
        let facts = CallFacts { upstream: upstream.clone(), ..derive::call(request, &outcome) };
        self.watch_call(open.trace, &facts);
        let (live, echo) = match live {
            Some(live) => (live, derive::answer_echo(live, &outcome)),
            None => (request, facts.lineage.answer_history),
        };
        match open.origin {
            _ if facts.succeeded() => self.known.answered(open.trace, live, echo, &facts),
            Origin::Unnamed(placed) => self.known.failed(open.trace, live, placed),
            Origin::Named => {}
        }
        self.batch.rows.end(call, place, row(Some(Box::new(facts)), upstream));
        Ok(())
    }

    /// A call that has ended, and its trace's row; `None` if nothing can be written of it.
    pub(super) fn take_call(&mut self, call: CallId) -> Option<(OpenCall, TraceKey)> {
        let open = self.calls.remove(&call)?;
        let trace = self.traces.get_mut(open.trace)?;
        self.batch.touched.insert(open.trace);
        let key = trace.key?;
        trace.open_calls = trace.open_calls.saturating_sub(1);
        Some((open, key))
    }

    fn watch_request(&self, begin: &BeginCall) {
        if let Some(watch) = self.watch.as_ref().filter(|watch| watch.wants_requests()) {
            watch.request(&WatchedRequest {
                at_unix_us: begin.at.unix_us,
                provider: &begin.provider,
                method: &begin.method,
                path: &begin.path,
                headers: &begin.headers,
                body: &begin.body.to_bytes(),
            });
        }
    }

    fn watch_call(&self, trace: TraceNumber, facts: &CallFacts) {
        if let (Some(watch), Some(trace)) = (&self.watch, self.traces.get(trace)) {
            let (trace, trace_started_unix_us) = (&trace.spec.id, trace.spec.started.unix_us);
            watch.call(&WatchedCall { trace, trace_started_unix_us, facts });
        }
    }

    pub(super) fn trace_of_call(&self, call: CallId) -> Option<TraceId> {
        Some(self.traces.get(self.calls.get(&call)?.trace)?.spec.id.clone())
    }

    pub(super) fn outcome(&mut self, call: CallId, outcome: LoopOutcome) {
        if let Some(trace) = self.calls.get(&call).and_then(|c| self.traces.get_mut(c.trace)) {
            trace.outcome = Some(outcome);
        }
    }

    pub(super) fn lose_end(&mut self, call: CallId, reason: &str) {
        if let Some(open) = self.calls.remove(&call)
            && let Some(trace) = self.traces.get_mut(open.trace)
        {
            trace.open_calls = trace.open_calls.saturating_sub(1);
            self.gaps.add(open.trace, reason);
        }
    }
}

fn join(pieces: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(pieces) {
        Ok([only]) => only,
        Err(pieces) => pieces.concat().into(),
    }
}
