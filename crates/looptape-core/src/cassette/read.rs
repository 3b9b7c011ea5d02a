//! Files as a recording.

use super::bodies::BodyReader;
use super::call_file::CallFile;
use super::error::CassetteError;
use super::files::{self, FileName, Files, MANIFEST, TIMINGS};
use super::manifest;
use super::recording::{TapedCall, TapedTrace};
use super::timings::{self, CallTimes};
use super::tools;
use super::values::Named;
use crate::tools::MeasuredTool;
use std::collections::BTreeMap;

/// A cassette whose files are what its root hash says.
#[derive(Clone, Debug)]
pub struct Cassette {
    files: Files,
    trace: TapedTrace,
    values: Named,
    times: BTreeMap<u32, CallTimes>,
    tools: Vec<MeasuredTool>,
}

impl Cassette {
    /// Checks every file; the calls are put together when they are asked for.
    pub fn open(files: Files) -> Result<Self, CassetteError> {
        let manifest = manifest::open(&files)?;
        let started_unix_us = manifest.started_unix_us();
        let timings = files::text(&files, &FileName::top(TIMINGS))?;
        let (times, tool_times, ended_us) = timings::read(timings, started_unix_us)?;
        let tools = tools::read(&files, &tool_times)?;
        let trace = manifest.trace(ended_us)?;
        Ok(Self { trace, values: manifest.values, times, tools, files })
    }

    pub fn trace(&self) -> &TapedTrace {
        &self.trace
    }

    /// The tool calls that were measured.
    pub fn tools(&self) -> &[MeasuredTool] {
        &self.tools
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        manifest::calls(&self.files).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of each call its number, when it was sent and when it ended, µs since the trace's start.
    pub fn intervals(&self) -> impl Iterator<Item = (u32, i64, Option<i64>)> {
        self.times.iter().map(|(seq, times)| (*seq, times.sent_us, times.end_us))
    }

    /// The calls, in the order in which they started; none comes after one that cannot be read.
    pub fn calls(&self) -> impl Iterator<Item = Result<TapedCall, CassetteError>> {
        let mut bodies = BodyReader::default();
        let mut failed = false;
        let calls = manifest::calls(&self.files).map(move |(seq, name)| self.call(seq, name, &mut bodies));
        calls.take_while(move |call| !std::mem::replace(&mut failed, call.is_err()))
    }

    fn call(&self, seq: u32, name: &FileName, bodies: &mut BodyReader) -> Result<TapedCall, CassetteError> {
        let text = files::text(&self.files, name)?;
        let file: CallFile =
            serde_json::from_str(text).map_err(|error| CassetteError::invalid(name, error))?;
        let times = self.times.get(&seq).cloned();
        let times = times.ok_or_else(|| CassetteError::invalid(TIMINGS, format!("{name} has no times")))?;
        let call = file.read(name, times, bodies, (&self.files, &self.values))?;
        if let crate::exchange::Outcome::Answered(answer) = &call.exchange.outcome {
            let pieces: u64 = answer.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            if !answer.chunks.is_empty() && pieces != answer.body.len() as u64 {
                let detail =
                    format!("the pieces of {name} have {pieces} bytes, its body {}", answer.body.len());
                return Err(CassetteError::invalid(TIMINGS, detail));
            }
        }
        Ok(call)
    }

    /// The root hash, from which every byte follows.
    pub fn root(&self) -> String {
        let manifest = self.files.get(&FileName::top(MANIFEST)).map(|file| file.to_vec()).unwrap_or_default();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
        manifest["root"].as_str().unwrap_or_default().to_owned()
    }

    pub fn into_files(self) -> Files {
        self.files
    }
}
