//! The trace that a replay leaves in the database, from its opening row to its closing row.
//!
//! A replay is worth more than its record: where nothing can be written it goes on without one, and says so.

use crate::child::environment;
use crate::config::Config;
use crate::session::{Global, new_trace_id};
use looptape_core::TraceId;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_core::replay::Environment;
use looptape_proxy::child_trace::ChildTrace;
use looptape_store::{Durability, Moment, Recorder, RecorderThread, Source, TraceRow, TraceSpec};
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
    /// Where what sends the requests runs or ran, if that is known.
    pub(crate) environment: Option<Environment>,
}

/// Where replays are written down. Dropping it leaves traces that say they were broken off.
#[derive(Debug)]
#[must_use = "finish() waits until everything is on disk"]
pub(crate) struct ReplayStore {
    recorder: Recorder,
    thread: RecorderThread,
    /// Secrets that an agent may know.
    known: Credentials,
    /// What the replays are called, before what their recordings are called.
    labels: Labels,
}

/// An open replay trace. Its store closes it as broken off, if nobody else does.
#[derive(Debug)]
#[must_use = "close() says how it ended"]
pub(crate) struct ReplayTrace {
    id: TraceId,
    recorder: Recorder,
    child: ChildTrace,
}

/// How a replay ended.
#[derive(Debug, Default)]
pub(crate) struct ReplayEnd {
    pub(crate) exit_code: Option<i32>,
    /// Why it was broken off, if it was.
    pub(crate) aborted: Option<String>,
}

impl ReplayStore {
    /// `None`, and a line that says why, if the database cannot be written.
    pub(crate) fn start(global: &Global, config: &Config, labels: Labels) -> anyhow::Result<Option<Self>> {
        let (recorder, thread) = match global.recorder(config, Durability::Relaxed) {
            Ok(started) => started,
            Err(error) => {
                global.say(&format!("looptape: this replay is not stored: {error:#}"));
                return Ok(None);
            }
        };
        // Values that are no text cannot be in a body either.
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        Ok(Some(Self { recorder, thread, known: environment::secrets(variables), labels }))
    }

    /// Who writes it down.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Opens a trace for a replay.
    pub(crate) fn open(&self, about: About<'_>) -> anyhow::Result<ReplayTrace> {
        let id = new_trace_id()?;
        let recorder = self.recorder.clone();
        recorder.open_trace(self.spec(&id, &about));
        if let Some(environment) = about.environment {
            recorder.describe_environment(id.clone(), environment);
        }
        let recording = about.recording.key;
        let child = ChildTrace::new(recorder.clone(), id.clone(), recording, self.known.clone());
        Ok(ReplayTrace { id, recorder, child })
    }

    /// Waits until everything is on disk. What is missing and why, with how often.
    pub(crate) fn finish(self) -> BTreeMap<String, u64> {
        let Self { recorder, thread, .. } = self;
        drop(recorder);
        thread.finish().gaps
    }

    fn spec(&self, id: &TraceId, about: &About<'_>) -> TraceSpec {
        let mut spec = TraceSpec::new(id.clone(), Source::Replay, Moment::now());
        spec.name.clone_from(&about.recording.name);
        spec.labels = self.labels.clone();
        spec.labels.add(&about.recording.labels());
        spec.command = about.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        spec.parent = Some((about.recording.key, about.why.clone()));
        spec
    }
}

impl ReplayTrace {
    pub(crate) fn id(&self) -> &TraceId {
        &self.id
    }

    /// For whoever answers the calls: it writes them down.
    pub(crate) fn child(&self) -> ChildTrace {
        self.child.clone()
    }

    /// Ends the trace.
    pub(crate) fn close(self, end: ReplayEnd) {
        self.recorder.close_trace(self.id, Moment::now(), end.exit_code, end.aborted);
    }
}
