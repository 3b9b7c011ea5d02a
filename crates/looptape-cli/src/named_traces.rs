//! Traces as the command line names them: by an id of the database, or by the path of a cassette.
//!
//! A command reads from one database. Where a cassette is named, that is a database of its own in a temporary
//! folder, with a copy of what else is named; so nothing of the user's changes and none is needed. A replay that
//! is to be stored beside its recording brings the cassette into the user's database instead.

use crate::config::Config;
use crate::session::{Global, find};
use looptape_core::cassette::Cassette;
use looptape_store::cassettes::{self, FILE_ENDING, is_cassette};
use looptape_store::{Durability, Reader, Recorder, RecorderOptions, RecorderThread, Surroundings, TraceRow};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where the traces of cassettes are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// From a database that is gone afterwards.
    Nowhere,
    /// From the user's database, where they stay.
    Database,
}

/// The database that holds what was named.
#[derive(Debug)]
pub(crate) struct NamedTraces {
    pub(crate) reader: Reader,
    /// Where it is.
    pub(crate) database: PathBuf,
    /// What finds each of them there.
    pub(crate) names: Vec<String>,
    /// Holds a temporary database; removed after the reader is closed.
    folder: Option<TempDir>,
}

/// A database that cassettes are written into.
struct Shelf {
    database: PathBuf,
    recorder: Recorder,
    thread: RecorderThread,
}

impl NamedTraces {
    pub(crate) fn open(
        global: &Global,
        config: &Config,
        names: &[String],
        home: Home,
    ) -> anyhow::Result<Self> {
        if names.iter().all(|name| path_of(name).is_none()) {
            let (reader, database) = (global.reader()?, global.database()?);
            return Ok(Self { reader, database, names: names.to_vec(), folder: None });
        }
        let folder = match home {
            Home::Nowhere => Some(tempfile::Builder::new().prefix("looptape-").tempdir()?),
            Home::Database => None,
        };
        let options = match &folder {
            Some(folder) => {
                let database = folder.path().join("cassettes.db");
                RecorderOptions {
                    prices: config.price_book()?,
                    ..RecorderOptions::new(database, config.patterns()?)
                }
            }
            None => global.recorder_options(config, Durability::Relaxed)?,
        };
        let database = options.database.clone();
        let (recorder, thread) = match (Recorder::start(options), home) {
            (Ok(started), _) => started,
            // A replay that cannot be stored is worth more than none; whoever stores it says so.
            (Err(_), Home::Database) => return Self::open(global, config, names, Home::Nowhere),
            (Err(error), Home::Nowhere) => return Err(error.into()),
        };
        let shelf = Shelf { database: database.clone(), recorder, thread };
        let placed = names.iter().map(|name| shelf.place(global, name, home)).collect::<anyhow::Result<_>>();
        let reader = shelf.finish()?.priced_by(config.price_book()?);
        Ok(Self { reader, database, names: placed?, folder })
    }

    /// The folder of a temporary database, for whoever goes on reading from it.
    pub(crate) fn into_folder(self) -> Option<TempDir> {
        self.folder
    }

    /// The trace that was named at this place.
    pub(crate) fn row(&self, at: usize) -> anyhow::Result<TraceRow> {
        find(&self.reader, &self.names[at])
    }
}

impl Shelf {
    /// Sees to it that a trace is there; what names it there.
    fn place(&self, global: &Global, name: &str, home: Home) -> anyhow::Result<String> {
        let cassette = match path_of(name) {
            Some(path) => cassettes::read(&path)?,
            None if home == Home::Database => return Ok(name.to_owned()),
            None => {
                let reader = global.reader()?;
                Cassette::open(reader.cassette(&find(&reader, name)?, Surroundings::Kept, |_, _| {})?)?
            }
        };
        let reader = Reader::open(&self.database)?;
        let row = match reader.find_taped(&cassette)? {
            Some(row) => row,
            None => reader.row(self.recorder.restore(cassette)?)?,
        };
        // By its number: a later one of the same id is another trace.
        Ok(format!("{}#{}", row.id, row.run))
    }

    fn finish(self) -> anyhow::Result<Reader> {
        drop(self.recorder);
        // What was restored was committed.
        let _ = self.thread.finish();
        Ok(Reader::open(&self.database)?)
    }
}

/// The path that a name is, if it is one: with a slash, the ending of a cassette, or where a cassette is.
pub(crate) fn path_of(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let is_path = name.contains('/') || name.ends_with(&format!(".{FILE_ENDING}")) || is_cassette(path);
    is_path.then(|| path.to_owned())
}
