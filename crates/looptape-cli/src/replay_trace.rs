//! The trace that a replay leaves in the database, from its opening row to its closing row.
//!
//! A replay is worth more than its record: where nothing can be written it goes on without one, and says so.

use crate::child::environment;
use crate::config::Config;
use crate::session::{Global, new_trace_id};
use looptape_core::TraceId;
use looptape_proxy::child_trace::ChildTrace;
use looptape_store::{Durability, Moment, Recorder, RecorderThread, Source, TraceKey, TraceRow, TraceSpec};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What a replay is written down as.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) recording: &'a TraceRow,
    /// In words: how it was made from the recording.
    pub(crate) why: String,
    /// The agent's command line; empty if the recorded requests themselves are sent.
    pub(crate) command: &'a [OsString],
}

/// An open replay trace. Dropping it leaves a trace that says it was broken off.
#[derive(Debug)]
#[must_use = "close() writes its closing row"]
pub(crate) struct ReplayTrace {
    id: TraceId,
    recording: TraceKey,
    recorder: Recorder,
    thread: RecorderThread,
}

/// How a replay ended.
#[derive(Debug, Default)]
pub(crate) struct ReplayEnd {
    pub(crate) exit_code: Option<i32>,
    /// Why it was broken off, if it was.
    pub(crate) aborted: Option<String>,
}

/// A replay trace that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: TraceId,
    /// What it lacks and why, with how often.
    pub(crate) gaps: BTreeMap<String, u64>,
}

impl ReplayTrace {
    /// Opens a trace for a replay; `None`, and a line that says why, if the database cannot be written.
    pub(crate) fn open(global: &Global, config: &Config, about: &About<'_>) -> anyhow::Result<Option<Self>> {
        let (recorder, thread) = match global.recorder(config, Durability::Relaxed) {
            Ok(started) => started,
            Err(error) => {
                global.say(&format!("looptape: this replay is not stored: {error:#}"));
                return Ok(None);
            }
        };
        let id = new_trace_id()?;
        recorder.open_trace(spec(&id, about));
        Ok(Some(Self { id, recording: about.recording.key, recorder, thread }))
    }

    pub(crate) fn id(&self) -> &TraceId {
        &self.id
    }

    /// For whoever answers the calls: it writes them down.
    pub(crate) fn child(&self) -> ChildTrace {
        // Values that are no text cannot be in a body either.
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        let known = environment::secrets(variables);
        ChildTrace::new(self.recorder.clone(), self.id.clone(), self.recording, known)
    }

    /// Ends the trace and waits until it is on disk.
    pub(crate) fn close(self, end: ReplayEnd) -> Stored {
        let Self { id, recorder, thread, .. } = self;
        recorder.close_trace(id.clone(), Moment::now(), end.exit_code, end.aborted);
        drop(recorder);
        Stored { id, gaps: thread.finish().gaps }
    }
}

fn spec(id: &TraceId, about: &About<'_>) -> TraceSpec {
    let mut spec = TraceSpec::new(id.clone(), Source::Replay, Moment::now());
    spec.name.clone_from(&about.recording.name);
    spec.agent.clone_from(&about.recording.agent);
    spec.tags.clone_from(&about.recording.tags);
    spec.command = about.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    spec.parent = Some((about.recording.key, about.why.clone()));
    spec
}
