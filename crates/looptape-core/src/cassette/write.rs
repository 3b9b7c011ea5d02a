//! A recording as files.

use super::bodies::BodyWriter;
use super::call_file::CallFile;
use super::files::{FileName, Files, GIT_ATTRIBUTES, TIMINGS, TOOLS};
use super::json_text::file_text;
use super::manifest;
use super::recording::{TapedCall, TapedTrace};
use super::timings::{self, TimesFile};
use super::tools;
use super::values::Collector;
use crate::assembly::Timing;
use crate::replay::Run;
use crate::tools::MeasuredTool;
use bytes::Bytes;

/// Git must not change the ends of lines: they are recorded bytes.
const ATTRIBUTES: &[u8] = b"* -text\n";

/// Takes the calls of a trace one after the other; what they share is kept once.
#[derive(Debug)]
pub struct Writer {
    trace: TapedTrace,
    found: Collector,
    bodies: BodyWriter,
    files: Files,
    times: Vec<TimesFile>,
    tools: Vec<MeasuredTool>,
}

impl Writer {
    pub fn new(trace: TapedTrace) -> Self {
        let started_unix_us = match trace.timing {
            Timing::Measured => Some(trace.started_unix_us),
            _ => trace.happened_unix_us,
        };
        let run = Run { environment: trace.environment.clone(), started_unix_us };
        Self {
            trace,
            found: Collector::new(&run),
            bodies: BodyWriter::default(),
            files: Files::new(),
            times: Vec::new(),
            tools: Vec::new(),
        }
    }

    /// Adds a call; calls come in the order in which they started.
    pub fn add(&mut self, call: &TapedCall) {
        let file = CallFile::write(call, &mut self.bodies, &mut self.found);
        let name = FileName::of_call(call.exchange.seq, "json");
        self.files.insert(name, Bytes::from(file_text(&file)));
        self.times.push(TimesFile::of(call, self.trace.started_unix_us));
    }

    /// Adds the tool calls that were measured.
    pub fn add_tools(&mut self, tools: Vec<MeasuredTool>) {
        self.tools.extend(tools);
    }

    /// All files.
    pub fn finish(self) -> Files {
        let Self { trace, found, bodies, mut files, times, tools } = self;
        let calls = files.len() as u64;
        files.extend(bodies.into_files());
        let ended_us = trace.end.as_ref().map(|end| end.ended_us);
        let (tools, tool_times) = tools::write(tools);
        files.extend(tools.map(|file| (FileName::top(TOOLS), file)));
        let times = timings::text(&times, &tool_times, ended_us);
        files.insert(FileName::top(TIMINGS), Bytes::from(times));
        files.insert(FileName::top(GIT_ATTRIBUTES), Bytes::from_static(ATTRIBUTES));
        manifest::seal(files, calls, &trace, found.into_named())
    }
}
