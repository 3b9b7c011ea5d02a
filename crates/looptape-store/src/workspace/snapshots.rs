//! The thread that looks at a folder when it is asked.
//!
//! Whoever asks is told when the snapshot is complete, and decides how long to wait for it. Whoever asks while a look is
//! under way gets the next one; all that wait then share it.

use super::scan::{ScanError, Scanner, SnapshotFigures};
use crate::recorder::{FilesTicket, Recorder};
use looptape_core::redact::{Credentials, Patterns};
use looptape_core::workspace::Limits;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// What is looked at, and how.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// The folder, as a whole path without links in it.
    pub folder: PathBuf,
    /// Files that are never part of a snapshot.
    pub own_files: Vec<PathBuf>,
    /// Secrets that are looked for in files …
    pub patterns: Arc<Patterns>,
    /// … and ones that are known.
    pub known: Credentials,
    pub limits: Limits,
}

/// A handle to the thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshots {
    asks: mpsc::Sender<Ask>,
}

/// The thread, until [`SnapshotsThread::finish`].
#[must_use = "finish() waits until what was asked for is handed over"]
#[derive(Debug)]
pub struct SnapshotsThread {
    asks: mpsc::Sender<Ask>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Ask {
    Look(Asked),
    /// Whoever asks later is told nothing.
    End,
}

struct Asked {
    ticket: FilesTicket,
    told: Told,
}

type Told = Box<dyn FnOnce(Result<SnapshotFigures, ScanError>) + Send>;

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Snapshots {
    /// Starts the thread. What it sees goes to `recorder`.
    pub fn start(recorder: Recorder, options: SnapshotOptions) -> std::io::Result<(Self, SnapshotsThread)> {
        let (asks, asked) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("looptape-files".into())
            .spawn(move || serve(&recorder, options, &asked))?;
        Ok((Self { asks: asks.clone() }, SnapshotsThread { asks, thread }))
    }

    /// Asks for a snapshot of what is there now or a little later. Never waits; `told` is dropped uncalled if the thread
    /// is gone.
    pub fn take(
        &self,
        ticket: FilesTicket,
        told: impl FnOnce(Result<SnapshotFigures, ScanError>) + Send + 'static,
    ) {
        // A thread that is gone says nothing, and nothing is missed but the snapshot.
        let _ = self.asks.send(Ask::Look(Asked { ticket, told: Box::new(told) }));
    }

    /// The same, and waits for it.
    pub fn take_now(&self, ticket: FilesTicket) -> Result<SnapshotFigures, ScanError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.take(ticket, move |taken| {
            let _ = tell.send(taken);
        });
        told.recv().unwrap_or(Err(ScanError::NotWritten))
    }
}

impl SnapshotsThread {
    /// Waits until what was asked for so far is handed over, and ends the thread.
    pub fn finish(self) {
        let _ = self.asks.send(Ask::End);
        // A panic in it was reported by the panic itself; a snapshot that is missing is seen as missing.
        let _ = self.thread.join();
    }
}

fn serve(recorder: &Recorder, options: SnapshotOptions, asks: &mpsc::Receiver<Ask>) {
    let SnapshotOptions { folder, own_files, patterns, known, limits } = options;
    let mut scanner = Scanner::new(folder, own_files, patterns, known, limits);
    let mut generation = recorder.files_generation();
    let mut is_over = false;
    while !is_over && let Ok(first) = asks.recv() {
        let mut asked = Vec::new();
        for ask in std::iter::once(first).chain(asks.try_iter()) {
            match ask {
                Ask::Look(look) => asked.push(look),
                Ask::End => is_over = true,
            }
        }
        if asked.is_empty() {
            continue;
        }
        if recorder.files_generation() != generation {
            generation = recorder.files_generation();
            scanner.forget();
        }
        let seen = scanner.look(&mut |contents| recorder.hand_over(generation, contents));
        for Asked { ticket, told } in asked {
            let root = seen.as_ref().map(|(root, _)| *root).map_err(ToString::to_string);
            recorder.snapshot(ticket, generation, root);
            told(seen.as_ref().map(|(_, figures)| figures.clone()).map_err(Clone::clone));
        }
    }
}
