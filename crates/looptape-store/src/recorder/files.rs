//! A workspace's files, as the recorder is told of them.
//!
//! Contents come first, each once; then the snapshot that names them by the digest of its root. If contents are lost
//! on the way, whoever sent them is told by the generation: it goes up, snapshots of the old one are written
//! down as missing, and everything is sent again.

use super::event::{CallId, Event, Moment};
use super::handle::{CallTicket, Recorder};
use super::open_trace::{OpenCalls, OpenTraces};
use super::scrub::Scrubber;
use crate::content::ContentCache;
use crate::ids::TraceKey;
use bytes::Bytes;
use looptape_core::redact::Credentials;
use looptape_core::workspace::SnapshotAt;
use looptape_core::{Digest, TraceId};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// To which moment a snapshot belongs.
#[derive(Debug)]
pub struct FilesTicket(FilesOf);

#[derive(Debug)]
enum FilesOf {
    Call(CallId),
    Trace(TraceId, SnapshotAt),
}

/// What the writer is told of files.
#[derive(Debug)]
pub(super) enum FilesEvent {
    /// Which folder an open trace's files are in.
    Folder {
        trace: TraceId,
        folder: String,
    },
    /// A snapshot belongs to this call, and will come.
    Awaited {
        call: CallId,
    },
    Contents {
        generation: u64,
        contents: Vec<(Digest, Bytes)>,
    },
    Snapshot {
        of: FilesTicket,
        generation: u64,
        taken_mono_us: i64,
        root: Result<Digest, String>,
    },
}

/// Raised whenever contents that were handed over may be lost.
pub(super) type Generation = Arc<AtomicU64>;

impl CallTicket {
    /// A snapshot of the files is to be taken for this call.
    pub fn awaits_files(&self) -> FilesTicket {
        let call = self.call();
        self.tell(Event::Files(Box::new(FilesEvent::Awaited { call })));
        FilesTicket(FilesOf::Call(call))
    }
}

impl Recorder {
    /// Says in which folder an open trace's files are.
    pub fn describe_workspace(&self, trace: TraceId, folder: String) {
        self.send_files(FilesEvent::Folder { trace, folder }, 0);
    }

    /// A snapshot is to be taken at the start or the end of an open trace.
    pub fn files_of(&self, trace: TraceId, at: SnapshotAt) -> FilesTicket {
        FilesTicket(FilesOf::Trace(trace, at))
    }

    pub(crate) fn files_generation(&self) -> u64 {
        self.generation().load(Ordering::Acquire)
    }

    /// Hands contents over, when there is room for them; `false`: they are lost.
    pub(crate) fn hand_over(&self, generation: u64, contents: Vec<(Digest, Bytes)>) -> bool {
        let size = contents.iter().map(|(_, bytes)| bytes.len() + 64).sum();
        self.send_files(FilesEvent::Contents { generation, contents }, size)
            && self.files_generation() == generation
    }

    pub(crate) fn snapshot(&self, of: FilesTicket, generation: u64, root: Result<Digest, String>) {
        let taken_mono_us = Moment::mono_us_now();
        self.send_files(FilesEvent::Snapshot { of, generation, taken_mono_us, root }, 0);
    }

    fn send_files(&self, event: FilesEvent, size: usize) -> bool {
        self.send_when_room(Event::Files(Box::new(event)), size)
    }
}

/// What the writer knows of files.
#[derive(Debug, Default)]
pub(super) struct Files {
    generation: Generation,
    /// Calls whose snapshots have not come.
    awaited: HashMap<CallId, (TraceKey, u32, i64)>,
    /// Whether contents were written under the present generation.
    has_contents: bool,
}

const LOST: &str = "contents were lost on the way: old traces were deleted meanwhile, the disk was full, or the database \
                    stayed locked";

impl Files {
    pub(super) fn new(generation: Generation) -> Self {
        Self { generation, ..Self::default() }
    }

    /// Contents that were handed over may be gone.
    pub(super) fn lose_contents(&mut self) {
        if std::mem::take(&mut self.has_contents) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What was written since the last commit is gone.
    pub(super) fn rolled_back(&mut self) {
        self.lose_contents();
        self.awaited.clear();
    }

    /// An event that its transaction did not get to.
    pub(super) fn lose(&mut self, event: &FilesEvent) {
        if let FilesEvent::Contents { .. } = event {
            self.has_contents = true;
            self.lose_contents();
        }
    }

    /// A call's snapshot is to come.
    pub(super) fn await_files(&mut self, call: CallId, calls: &OpenCalls, traces: &OpenTraces) {
        let Some(open) = calls.get(&call) else { return };
        let Some(trace) = traces.get(open.trace) else { return };
        if let Some(key) = trace.key {
            self.awaited.insert(call, (key, open.seq, trace.spec.started.mono_us));
        }
    }

    pub(super) fn put_contents(
        &mut self,
        connection: &Connection,
        cache: &mut ContentCache,
        generation: u64,
        contents: &[(Digest, Bytes)],
    ) -> rusqlite::Result<()> {
        if generation != self.generation.load(Ordering::Acquire) {
            return Ok(());
        }
        self.has_contents = true;
        contents.iter().try_for_each(|(digest, bytes)| cache.put_object(connection, *digest, bytes))
    }

    /// To which trace a snapshot belongs, where in it, and when the trace began.
    pub(super) fn place(&mut self, of: &FilesTicket) -> Place {
        match &of.0 {
            FilesOf::Call(call) => match self.awaited.remove(call) {
                Some((key, seq, started_mono_us)) => {
                    Place::Known { key, at: SnapshotAt::Call(seq), started_mono_us }
                }
                None => Place::Nowhere,
            },
            FilesOf::Trace(id, at) => Place::Of { id: id.clone(), at: *at },
        }
    }

    /// The row of a snapshot.
    pub(super) fn store(
        &self,
        connection: &Connection,
        (trace, at, taken_us): (TraceKey, SnapshotAt, i64),
        generation: u64,
        root: &Result<Digest, String>,
    ) -> rusqlite::Result<()> {
        let is_whole = generation == self.generation.load(Ordering::Acquire);
        let (root, missing) = match root {
            Ok(root) if is_whole => (Some(root.0), None),
            Ok(_) => (None, Some(LOST)),
            Err(why) => (None, Some(why.as_str())),
        };
        let (moment, seq) = words(at);
        // A trace that is over may have been deleted by now.
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO workspace_snapshots (trace, moment, seq, taken_us, root, missing) \
                 SELECT key, ?2, ?3, ?4, ?5, ?6 FROM traces WHERE key = ?1",
            )?
            .execute(params![trace.0, moment, seq, taken_us, root, missing])?;
        Ok(())
    }
}

/// Where a snapshot belongs.
pub(super) enum Place {
    Known {
        key: TraceKey,
        at: SnapshotAt,
        started_mono_us: i64,
    },
    Of {
        id: TraceId,
        at: SnapshotAt,
    },
    /// Its call is not in the recording.
    Nowhere,
}

fn words(at: SnapshotAt) -> (&'static str, u32) {
    match at {
        SnapshotAt::Start => ("start", 0),
        SnapshotAt::Call(seq) => ("call", seq),
        SnapshotAt::End => ("end", 0),
    }
}

/// Which folder a trace's files are in.
pub(super) fn store_folder(
    connection: &Connection,
    trace: TraceKey,
    (scrubber, vault): (&Scrubber, &mut looptape_core::redact::Vault),
    folder: String,
) -> rusqlite::Result<()> {
    let clean = scrubber.text(vault, &Credentials::none(), folder);
    connection
        .prepare_cached("INSERT OR REPLACE INTO trace_workspaces (trace, folder) VALUES (?1, ?2)")?
        .execute(params![trace.0, clean])?;
    Ok(())
}
