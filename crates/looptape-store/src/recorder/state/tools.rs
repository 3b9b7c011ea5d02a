//! What becomes of a report on a tool call.

use super::State;
use crate::recorder::event::{Source, TraceSpec};
use crate::recorder::open_trace::TraceNumber;
use crate::recorder::tools::{self, Started, ToolReport};
use crate::recorder::watch::WatchedTool;
use looptape_core::tools::{MeasuredTool, Phase};
use rusqlite::Connection;

impl State {
    /// Writes down what somebody says of a tool call.
    pub(super) fn tool(&mut self, connection: &Connection, report: ToolReport) -> rusqlite::Result<()> {
        let number = match self.traces.of_id(&report.trace) {
            Some(number) => number,
            None => self.add_trace(self.spec_of_tool(&report), true),
        };
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let ago_us = i64::try_from(report.message.ago_us).unwrap_or(i64::MAX);
        let at_us = (report.at.mono_us - trace.spec.started.mono_us).saturating_sub(ago_us).max(0);
        let run = report.message.run.clone();
        let known = run.as_deref().and_then(|run| self.tools.end(number, run));
        let (started, ended_us) = match (&report.message.phase, known) {
            (Phase::Ready { .. } | Phase::Ask, _) => return Ok(()),
            (Phase::Started, _) => (Started { seq: next(&mut trace.next_tool_seq), at_us }, None),
            (Phase::Ended { duration_us, .. }, known) => {
                let took_us = duration_us.map(|us| i64::try_from(us).unwrap_or(i64::MAX));
                let seq = known.map_or_else(|| next(&mut trace.next_tool_seq), |known| known.seq);
                // The caller's own measure of the time is better than when its messages came.
                let by_duration = took_us.map(|took| at_us.saturating_sub(took).max(0));
                let started_us = by_duration.or(known.map(|known| known.at_us)).unwrap_or(at_us);
                (Started { seq, at_us: started_us }, Some(at_us.max(started_us)))
            }
        };
        trace.last_activity_mono_us = report.at.mono_us;
        let times = (started.seq, started.at_us, ended_us);
        let tool = tools::clean(&self.intake.scrubber, &mut trace.vault, report, times);
        if let (None, Some(run)) = (ended_us, run) {
            self.tools.start(number, &run, started);
            self.batch.started_tools.push((number, run));
        }
        if let Some(watch) = &self.watch {
            watch.tool(&WatchedTool { trace: &trace.spec.id, facts: &tool.facts });
        }
        tools::write(connection, key, tool)
    }

    /// Writes a cassette's tool call down as it was.
    pub(super) fn restore_tool(
        &mut self,
        connection: &Connection,
        number: TraceNumber,
        tool: &MeasuredTool,
    ) -> rusqlite::Result<()> {
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let Some(key) = trace.key else { return Ok(()) };
        trace.next_tool_seq = trace.next_tool_seq.max(tool.facts.seq.saturating_add(1));
        tools::write(connection, key, tools::cleaned(&self.intake.scrubber, &mut trace.vault, tool.clone()))
    }

    /// The same for a report that did not get to the disk: its trace lacks it.
    pub(super) fn lose_tool(&mut self, report: ToolReport, reason: &str) {
        if self.traces.of_id(&report.trace).is_none() {
            self.add_trace(self.spec_of_tool(&report), true);
        }
        if let Some(number) = self.traces.of_id(&report.trace) {
            self.gaps.add(number, reason);
        }
    }

    fn spec_of_tool(&self, report: &ToolReport) -> TraceSpec {
        let mut spec = TraceSpec::new(report.trace.clone(), Source::Serve, report.at);
        spec.labels.clone_from(&report.labels);
        spec.labels.add(&self.labels);
        spec
    }
}

fn next(seq: &mut u32) -> u32 {
    let own = *seq;
    *seq += 1;
    own
}
