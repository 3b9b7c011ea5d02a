//! Storing imported calls, and finding those that are there already.
//!
//! The database is opened with the first file that is to be stored, so that an import of nothing but
//! refused files leaves no trace of itself.

use super::message::{answer, request};
use super::schedule::{Schedule, Slot};
use super::{ImportedTrace, Novelty};
use crate::config::Config;
use crate::session::Global;
use looptape_core::facts::{AttemptState, CallKind};
use looptape_core::import::{Cassette, Container, Interaction};
use looptape_core::{Digest, TraceId};
use looptape_store::cassettes::{self, CassetteFileError};
use looptape_store::{
    Durability, FindError, Maintenance, Moment, Reader, RecordedTrace, Recorder, RecorderThread, Selector,
    Source, TraceSpec, TraceStatus,
};
use std::path::Path;

/// What may wait in the recorder's queue. It drops what it cannot take, for agents must not wait; an
/// import can.
const WAITING_BYTES: usize = 16 << 20;
const WAITING_CALLS: usize = 1_000;

/// The database as an import uses it.
pub(super) struct Library<'a> {
    global: &'a Global,
    config: &'a Config,
    open: Option<Open>,
}

struct Open {
    recorder: Recorder,
    thread: RecorderThread,
    reader: Reader,
}

impl<'a> Library<'a> {
    pub(super) fn new(global: &'a Global, config: &'a Config) -> Self {
        Self { global, config, open: None }
    }

    /// Stores a file's calls, unless they are there.
    pub(super) fn store(
        &mut self,
        path: &Path,
        bytes: &[u8],
        cassette: &Cassette,
    ) -> anyhow::Result<Result<ImportedTrace, String>> {
        let id = TraceId::of_content(Digest::of(bytes));
        let open = self.open()?;
        if let Some(trace) = open.find_whole(&id, cassette)? {
            return Ok(Ok(imported(&trace, Novelty::AlreadyImported)));
        }
        self.remove_remains(&id)?;
        let open = self.open()?;
        let schedule = Schedule::of(cassette, Moment::now());
        open.write(spec(&id, path, cassette, &schedule), cassette, &schedule);
        if let Some(trace) = open.find_whole(&id, cassette)? {
            return Ok(Ok(imported(&trace, Novelty::New)));
        }
        // A database that takes nothing may not let go of anything either; the next import sees to it then.
        let _ = self.remove_remains(&id);
        Ok(Err("the database did not take it whole: is its disk full, or locked by another process? Import \
                the file again when that is mended"
            .to_owned()))
    }

    /// Stores the trace of a cassette on disk, unless it is there.
    pub(super) fn restore_file(&mut self, path: &Path) -> anyhow::Result<Result<ImportedTrace, String>> {
        match cassettes::read(path) {
            Ok(cassette) => self.restore(cassette),
            Err(CassetteFileError::Cassette { source, .. }) => Ok(Err(source.to_string())),
            Err(other) => Ok(Err(other.to_string())),
        }
    }

    /// Stores a cassette's trace, unless it is there.
    pub(super) fn restore(
        &mut self,
        cassette: looptape_core::cassette::Cassette,
    ) -> anyhow::Result<Result<ImportedTrace, String>> {
        let open = self.open()?;
        if let Some(row) = open.reader.find_taped(&cassette)? {
            return Ok(Ok(imported(&open.reader.load(row)?, Novelty::AlreadyImported)));
        }
        match open.recorder.restore(cassette) {
            Ok(key) => Ok(Ok(imported(&open.reader.load(open.reader.row(key)?)?, Novelty::New))),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Removes what an import of the same file left that was cut off: a file is stored whole or not at all.
    fn remove_remains(&mut self, id: &TraceId) -> anyhow::Result<()> {
        let selector = Selector::Id { prefix: id.as_str().to_owned(), run: None };
        let row = match self.open()?.reader.find(&selector) {
            Ok(row) => row,
            Err(FindError::Unknown { .. } | FindError::Ambiguous { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if row.id == *id && row.is_import() && row.status != TraceStatus::Recording {
            Maintenance::open(&self.global.database()?)?.remove(&row)?;
        }
        Ok(())
    }

    /// Ends the writing; what was stored is on disk.
    pub(super) fn finish(self) {
        if let Some(Open { recorder, thread, .. }) = self.open {
            drop(recorder);
            // Every trace was looked at after it was written, so the report says nothing new.
            let _ = thread.finish();
        }
    }

    fn open(&mut self) -> anyhow::Result<&Open> {
        if self.open.is_none() {
            let (recorder, thread) = self.global.recorder(self.config, Durability::Relaxed)?;
            let reader = self.global.reader()?;
            self.open = Some(Open { recorder, thread, reader });
        }
        Ok(self.open.as_ref().expect("it was opened above"))
    }
}

impl Open {
    fn write(&self, spec: TraceSpec, cassette: &Cassette, schedule: &Schedule) {
        let id = spec.id.clone();
        let mut queue = Queue { recorder: &self.recorder, waiting_bytes: 0, waiting_calls: 0 };
        self.recorder.open_trace(spec);
        for (interaction, slot) in cassette.interactions.iter().zip(&schedule.slots) {
            queue.send(&id, interaction, *slot);
        }
        self.recorder.close_trace(id, schedule.end, None, None);
        self.recorder.flush();
    }

    /// The trace that an earlier import of the same file left, if it holds every call.
    fn find_whole(&self, id: &TraceId, cassette: &Cassette) -> anyhow::Result<Option<RecordedTrace>> {
        let selector = Selector::Id { prefix: id.as_str().to_owned(), run: None };
        let row = match self.reader.find(&selector) {
            Ok(row) if row.id == *id && row.is_import() && row.end.is_some() => row,
            Ok(_) | Err(FindError::Unknown { .. } | FindError::Ambiguous { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let trace = self.reader.load(row)?;
        let stored = trace.facts.iter().map(|facts| (facts.status, facts.state == AttemptState::InFlight));
        let is_whole = stored.eq(cassette.interactions.iter().map(|interaction| (interaction.status, false)));
        Ok(is_whole.then_some(trace))
    }
}

/// The recorder's queue, never filled beyond what it takes.
struct Queue<'a> {
    recorder: &'a Recorder,
    waiting_bytes: usize,
    waiting_calls: usize,
}

impl Queue<'_> {
    fn send(&mut self, id: &TraceId, interaction: &Interaction, slot: Slot) {
        self.make_room(interaction.request_body.len());
        let ticket = self.recorder.begin(request(id, interaction, slot));
        self.make_room(interaction.response_body.len());
        ticket.finish(answer(interaction, slot));
        self.waiting_calls += 1;
    }

    fn make_room(&mut self, size_bytes: usize) {
        if self.waiting_bytes + size_bytes > WAITING_BYTES || self.waiting_calls >= WAITING_CALLS {
            self.recorder.flush();
            (self.waiting_bytes, self.waiting_calls) = (0, 0);
        }
        self.waiting_bytes += size_bytes;
    }
}

fn spec(id: &TraceId, path: &Path, cassette: &Cassette, schedule: &Schedule) -> TraceSpec {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
    let mut spec = TraceSpec::new(id.clone(), Source::Import, schedule.imported);
    spec.timing = schedule.timing;
    spec.happened_unix_us = schedule.timing.knows_starts().then_some(schedule.started.unix_us);
    spec.name = text(path.file_name());
    spec.labels.agent = text(path.file_stem());
    spec.labels.tags.insert("container".to_owned(), word(cassette.container).to_owned());
    spec.byte_exact = cassette.interactions.iter().all(|i| i.request_exact && i.response_exact);
    spec
}

/// A container's name as a tag's value.
fn word(container: Container) -> &'static str {
    match container {
        Container::Vcrpy => "vcrpy",
        Container::GoVcr => "go-vcr",
        Container::Vcr => "vcr",
        Container::Har => "har",
        Container::Httprr => "httprr",
    }
}

fn imported(trace: &RecordedTrace, novelty: Novelty) -> ImportedTrace {
    let llm_calls = trace.facts.iter().filter(|facts| matches!(facts.kind, CallKind::Llm(_))).count() as u32;
    ImportedTrace {
        label: trace.row.label(),
        llm_calls,
        other_calls: trace.facts.len() as u32 - llm_calls,
        byte_exact: trace.row.byte_exact,
        novelty,
        missing: trace.row.status.reasons().to_vec(),
    }
}
