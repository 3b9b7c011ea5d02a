//! Where one run of a test takes place: a folder of its own, with a database, a folder for temporary files, and what
//! the agent writes. It goes with the run.

use crate::commands::import;
use crate::config::Config;
use crate::session::{Global, find};
use crate::tape::Place;
use crate::test_entry::{Test, TestRecording};
use anyhow::{Context, bail};
use looptape_core::cassette::Cassette;
use looptape_store::cassettes::is_cassette;
use looptape_store::{Reader, RecordedTrace, Surroundings};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use tempfile::TempDir;

/// The place of one run.
#[derive(Debug)]
pub(super) struct TestPlace {
    folder: TempDir,
    /// The same options for the place's own database.
    pub(super) global: Global,
    temporary_folder: PathBuf,
}

/// A recording, ready to be replayed in a place.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) reader: Reader,
    pub(super) trace: RecordedTrace,
}

/// Of what an agent wrote, so much is kept.
const OUTPUT_BYTES: u64 = 4 << 10;

impl TestPlace {
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("looptape-test-").tempdir();
        let folder = folder.context("no folder for temporary files can be made")?;
        let temporary_folder = folder.path().join("tmp");
        std::fs::create_dir(&temporary_folder).context("no folder for temporary files can be made")?;
        let global = Global { db: Some(folder.path().join("looptape.db")), quiet: true };
        Ok(Self { folder, global, temporary_folder })
    }

    /// Where the test's agent runs.
    pub(super) fn of_agent(&self, test: &Test) -> Place {
        Place::There { folder: test.folder.clone(), temporary_folder: Some(self.temporary_folder.clone()) }
    }

    /// What tells a program of the folder for temporary files.
    pub(super) fn temporary_variable(&self) -> (String, String) {
        ("TMPDIR".to_owned(), self.temporary_folder.display().to_string())
    }

    /// Opens a copy of a test's recording. `global` says where traces are.
    pub(super) fn open(&self, global: &Global, config: &Config, test: &Test) -> anyhow::Result<Opened> {
        let imported = match &test.recording {
            TestRecording::Cassette { path, .. } if !path.exists() => {
                bail!(
                    "there is no cassette at {}: `looptape test --record-missing` records it",
                    path.display()
                )
            }
            TestRecording::Cassette { path, .. } if path.is_dir() && !is_cassette(path) => {
                bail!("{} is a folder, but no cassette: it has no manifest.json", path.display())
            }
            TestRecording::Cassette { path, .. } => import::one(&self.global, config, path)
                .with_context(|| format!("the cassette {}", path.display()))?,
            TestRecording::Trace(name) => {
                let reader = global.reader()?;
                let files = reader.cassette(&find(&reader, name)?, Surroundings::Kept, |_, _| {})?;
                import::restored(&self.global, config, Cassette::open(files)?)?
            }
        };
        let reader = self.global.reader()?;
        let trace = reader.load(find(&reader, &imported.label)?)?;
        Ok(Opened { reader, trace })
    }

    /// A file for what the agent writes.
    pub(super) fn output(&self) -> anyhow::Result<File> {
        let file = File::options().append(true).create(true).open(self.output_path());
        file.context("the file for the agent's output")
    }

    pub(super) fn output_path(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// The end of what it wrote.
    pub(super) fn end_of_output(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.output_path())?;
            let size_bytes = file.metadata()?.len();
            file.seek(SeekFrom::Start(size_bytes.saturating_sub(OUTPUT_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            // The first line is whole only if it is the first that was written.
            let cut = size_bytes > OUTPUT_BYTES;
            Ok(if cut {
                text.split_once('\n').map_or(text.clone(), |(_, rest)| rest.to_owned())
            } else {
                text
            })
        };
        read().unwrap_or_default()
    }
}
