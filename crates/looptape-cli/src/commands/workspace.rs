//! `record --workspace`: the agent's files are looked at before it starts, whenever it asks a model, and after it has
//! ended.

use crate::child::environment;
use crate::config::Config;
use crate::exit::UsageError;
use crate::session::Global;
use anyhow::Context;
use indicatif::ProgressBar;
use looptape_core::TraceId;
use looptape_core::workspace::{Limits, SnapshotAt};
use looptape_store::Recorder;
use looptape_store::workspace::{SnapshotFigures, SnapshotOptions, Snapshots, SnapshotsThread};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder whose files are to be kept.
#[derive(Debug)]
pub(super) struct Workspace {
    folder: PathBuf,
}

/// The same, while it is watched.
#[derive(Debug)]
pub(super) struct WatchedWorkspace {
    pub(super) snapshots: Snapshots,
    thread: SnapshotsThread,
}

/// Tells the agent where its files are.
pub(crate) const VARIABLE: &str = "LOOPTAPE_WORKSPACE";

impl Workspace {
    /// The folder that a user named.
    pub(super) fn named(path: &Path) -> anyhow::Result<Self> {
        let wrong = |why: &str| UsageError(format!("--workspace {}: {why}", path.display()));
        let folder = path.canonicalize().map_err(|error| wrong(&error.to_string()))?;
        match folder.is_dir() {
            true => Ok(Self { folder }),
            false => Err(wrong("it is no folder").into()),
        }
    }

    /// For the agent's environment.
    pub(super) fn variable(&self) -> (String, String) {
        (VARIABLE.to_owned(), self.folder.display().to_string())
    }

    /// Looks at the files for the first time, and watches them from now on. The trace must be open.
    pub(super) fn watch(
        self,
        (global, config): (&Global, &Config),
        recorder: &Recorder,
        trace: &TraceId,
    ) -> anyhow::Result<WatchedWorkspace> {
        recorder.describe_workspace(trace.clone(), self.folder.display().to_string());
        let options = SnapshotOptions {
            own_files: own_files(&global.database()?),
            patterns: config.patterns()?,
            known: environment::secrets(environment::texts()),
            limits: Limits::default(),
            folder: self.folder,
        };
        let (snapshots, thread) =
            Snapshots::start(recorder.clone(), options).context("the files cannot be looked at")?;
        let wait = waiting(global);
        let first = snapshots.take_now(recorder.files_of(trace.clone(), SnapshotAt::Start));
        wait.finish_and_clear();
        first.context("--workspace")?;
        Ok(WatchedWorkspace { snapshots, thread })
    }
}

impl WatchedWorkspace {
    /// Looks at the files for the last time; what there was to keep, or why they could not be looked at. The trace must
    /// still be open.
    pub(super) fn finish(self, recorder: &Recorder, trace: &TraceId) -> Result<SnapshotFigures, String> {
        let last = self.snapshots.take_now(recorder.files_of(trace.clone(), SnapshotAt::End));
        self.thread.finish();
        last.map_err(|error| error.to_string())
    }
}

/// The database and what SQLite keeps beside it, as whole paths.
fn own_files(database: &Path) -> Vec<PathBuf> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(folder), Some(name)) = (folder.canonicalize(), database.file_name()) else { return Vec::new() };
    let named = |ending: &str| {
        let mut name = name.to_owned();
        name.push(ending);
        folder.join(name)
    };
    ["", "-wal", "-shm"].map(named).to_vec()
}

/// The first look reads everything: on a terminal one sees that something is done.
fn waiting(global: &Global) -> ProgressBar {
    if global.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message("reading the workspace's files");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
