//! What the recorder is told.

use super::files::FilesEvent;
use super::rope::Rope;
use super::tools::ToolReport;
use crate::TraceKey;
use crate::gc::{PruneError, PruneReport, Retention};
use bytes::Bytes;
use looptape_core::assembly::{LoopOutcome, Timing};
use looptape_core::cassette::Cassette;
use looptape_core::exchange::{Chunk, Ending, Outcome};
use looptape_core::facts::AskedUpstream;
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_core::replay::{Environment, Provenance};
use looptape_core::{TraceId, provider::Provider};
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

/// One instant on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// µs since the Unix epoch.
    pub unix_us: i64,
    /// µs of CLOCK_MONOTONIC.
    pub mono_us: i64,
}

impl Moment {
    /// Now. The store is an edge: it may look at the clock.
    pub fn now() -> Self {
        // By the C library, as programs ask: where their clock is shifted, this one is.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Self { unix_us, mono_us: Self::mono_us_now() }
    }

    /// Now, on the monotonic clock alone.
    pub fn mono_us_now() -> i64 {
        let time = clock_gettime(ClockId::Monotonic);
        time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
    }
}

/// What brought a trace into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Record,
    Serve,
    Import,
    Replay,
    /// A loop of a load run.
    Load,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Serve => "serve",
            Self::Import => "import",
            Self::Replay => "replay",
            Self::Load => "load",
        }
    }

    /// `None` for a word of a later time.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Record, Self::Serve, Self::Import, Self::Replay, Self::Load]
            .into_iter()
            .find(|source| source.as_str() == word)
    }
}

/// A trace to be opened.
#[derive(Clone, Debug)]
pub struct TraceSpec {
    pub id: TraceId,
    pub source: Source,
    pub name: Option<String>,
    pub labels: Labels,
    /// What its agent is called as long as nobody names it.
    pub program: Option<String>,
    pub command: Vec<String>,
    /// The trace that this one was made from, and why.
    pub parent: Option<(crate::TraceKey, String)>,
    pub started: Moment,
    /// What the times of its calls are worth.
    pub timing: Timing,
    /// When an import happened, µs since the Unix epoch, where its file says so: `started` is when it was
    /// imported.
    pub happened_unix_us: Option<i64>,
    /// Whether its bodies are the bytes that passed, not a rewriting of them.
    pub byte_exact: bool,
}

impl TraceSpec {
    /// The agent's name: stated, or the program's.
    pub(super) fn agent(&self) -> Option<&str> {
        self.labels.agent.as_deref().or(self.program.as_deref())
    }

    /// When its calls were made, as far as that is known.
    pub(super) fn happened_unix_us(&self) -> Option<i64> {
        match self.timing {
            Timing::Measured => Some(self.started.unix_us),
            _ => self.happened_unix_us,
        }
    }

    pub fn new(id: TraceId, source: Source, started: Moment) -> Self {
        Self {
            id,
            source,
            name: None,
            labels: Labels::default(),
            program: None,
            command: Vec::new(),
            parent: None,
            started,
            timing: if source == Source::Import { Timing::OrderOnly } else { Timing::Measured },
            happened_unix_us: None,
            byte_exact: true,
        }
    }
}

/// How a call says to which trace it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceHint {
    /// An id from a header, a path prefix, `traceparent`, the enclosing run or a session header.
    Named(TraceId),
    /// Nothing: the trace whose answer the request echoes, else a new one.
    Lineage,
}

/// A call that is about to be sent upstream.
#[derive(Debug)]
pub struct BeginCall {
    pub hint: TraceHint,
    pub at: Moment,
    pub provider: Provider,
    pub method: String,
    /// Path and query for the provider, as they came: the writer replaces credentials in them.
    pub path: String,
    pub headers: RedactedHeaders,
    pub body: Rope,
    pub loop_hint: Option<String>,
    pub import_index: Option<u32>,
    /// What its headers say of its trace, which takes of it what nobody said before.
    pub labels: Labels,
    /// Credential values of this very call: looked for in its bodies, never stored.
    pub credentials: Credentials,
}

/// A recorded call, as others refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordedCallRef {
    pub trace: crate::TraceKey,
    pub seq: u32,
}

/// A call of a replay that is a recorded one once more: method, path and body are the same byte for byte.
#[derive(Debug)]
pub struct RepeatedCall {
    /// The replay's own trace, which is open.
    pub trace: TraceId,
    pub of: RecordedCallRef,
    pub at: Moment,
    /// The recorded call's.
    pub provider: Provider,
    pub headers: RedactedHeaders,
    /// Credential values of this very call: looked for in its headers, never stored.
    pub credentials: Credentials,
}

/// The recorded answer was sent to its end, status, headers and body as they were recorded.
#[derive(Debug)]
pub struct RepeatedEnd {
    pub head_mono_us: i64,
    pub end_mono_us: i64,
    /// The recorded pieces with the times at which they were sent, on the monotonic clock.
    pub chunks: Vec<Chunk>,
}

/// How a call ended.
#[derive(Debug)]
pub enum CallEnd {
    /// No response head arrived.
    NoResponse { at_mono_us: i64, ending: Ending },
    Answered {
        status: u16,
        headers: RedactedHeaders,
        head_mono_us: i64,
        end_mono_us: i64,
        /// The pieces of the body; `at_us` on the monotonic clock.
        body: Vec<Bytes>,
        chunks: Vec<Chunk>,
        ending: Ending,
        /// Why `body` lacks bytes that passed, if it does.
        cut: Option<String>,
    },
}

impl CallEnd {
    /// How a call ended whose times are on a clock that began at `clock_mono_us`; `None` if it has not.
    pub fn of(outcome: Outcome, clock_mono_us: i64) -> Option<Self> {
        let at = |us: i64| clock_mono_us + us;
        Some(match outcome {
            Outcome::InFlight => return None,
            Outcome::NoResponse { end_us, ending } => Self::NoResponse { at_mono_us: at(end_us), ending },
            Outcome::Answered(answer) => Self::Answered {
                status: answer.status,
                headers: answer.headers,
                head_mono_us: at(answer.head_us),
                end_mono_us: at(answer.end_us),
                body: vec![answer.body],
                chunks: answer
                    .chunks
                    .into_iter()
                    .map(|chunk| Chunk { at_us: at(chunk.at_us), ..chunk })
                    .collect(),
                ending: answer.ending,
                cut: None,
            },
        })
    }

    /// When it ended, on the monotonic clock.
    pub(super) fn mono_us(&self) -> i64 {
        match self {
            Self::NoResponse { at_mono_us, .. } => *at_mono_us,
            Self::Answered { end_mono_us, .. } => *end_mono_us,
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::NoResponse { .. } => 0,
            Self::Answered { body, chunks, .. } => {
                body.iter().map(Bytes::len).sum::<usize>() + chunks.len() * 16
            }
        }
    }
}

/// What comes of saying that a trace is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfTrace {
    /// Its closing row is written.
    Ended,
    /// It takes no new calls, and ends when those under way have ended.
    WhenCallsEnd,
    /// It belongs to a run that ends it itself; the outcome is noted.
    WithItsRun,
    /// No open trace has this id.
    NotOpen,
}

pub(super) type CallId = u64;

/// What is missing of a call.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) call: CallId,
    pub(super) hint: TraceHint,
    pub(super) of: GapOf,
    pub(super) reason: String,
}

/// Which part of a call is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GapOf {
    /// All of it, or something of a call that goes on.
    Part,
    /// Its end: nothing more will come of it.
    End,
}

/// A message to the writer thread.
pub(super) enum Event {
    OpenTrace(Box<TraceSpec>),
    CloseTrace {
        id: TraceId,
        at: Moment,
        exit_code: Option<i32>,
        aborted: Option<String>,
    },
    /// Somebody says that a trace is over.
    EndTrace {
        id: TraceId,
        at: Moment,
        outcome: Option<LoopOutcome>,
        told: EndTold,
    },
    /// Where an open trace's run takes place; a later word replaces an earlier one.
    Environment {
        id: TraceId,
        environment: Box<Environment>,
    },
    /// A call says how its trace turned out.
    Outcome {
        call: CallId,
        outcome: LoopOutcome,
    },
    Begin {
        call: CallId,
        begin: Box<BeginCall>,
        lost: Arc<AtomicBool>,
    },
    End {
        call: CallId,
        end: Box<CallEnd>,
        /// Which of several upstreams was asked.
        upstream: Option<AskedUpstream>,
        committed: Option<Committed>,
    },
    /// A call that repeats a recorded one.
    Repeat {
        call: CallId,
        repeat: Box<RepeatedCall>,
        lost: Arc<AtomicBool>,
    },
    /// Its answer was the recorded one.
    EndRepeat {
        call: CallId,
        end: Box<RepeatedEnd>,
    },
    /// Somebody wants to know to which trace an open call belongs.
    TellTrace {
        call: CallId,
        told: TraceTold,
    },
    /// Somebody says what becomes of a tool call.
    Tool(Box<ToolReport>),
    /// Where the answer to an open call comes from, in a replay.
    Provenance {
        call: CallId,
        provenance: Provenance,
    },
    /// What a workspace's files are.
    Files(Box<FilesEvent>),
    /// A trace lacks something that the queue or the proxy could not hold.
    Gap(Gap),
    /// Answered once everything before it is committed or given up.
    Flush(mpsc::SyncSender<()>),
    /// Done in the writer's turn, outside its transactions.
    Prune {
        retention: Retention,
        told: PruneTold,
    },
    /// The same for a cassette's trace.
    Restore(Box<Restore>),
    Finish,
}

/// A trace to be written down as its cassette holds it.
pub(super) struct Restore {
    pub(super) cassette: Cassette,
    pub(super) source: Source,
    pub(super) told: RestoreTold,
}

/// Told under which key the trace is stored.
pub(super) type RestoreTold = Box<dyn FnOnce(rusqlite::Result<TraceKey>) + Send>;

/// Told what became of a request to end a trace.
pub(super) type EndTold = Box<dyn FnOnce(EndOfTrace) + Send>;

/// Told to which trace a call belongs; `None` if it is missing from the recording.
pub(super) type TraceTold = Box<dyn FnOnce(Option<TraceId>) + Send>;

/// Told what pruning did.
pub(super) type PruneTold = Box<dyn FnOnce(Result<PruneReport, PruneError>) + Send>;

/// Told whether the call's end was committed.
pub(super) type Committed = Box<dyn FnOnce(bool) + Send>;
