//! Readers for requests: each has one to itself while it reads, on a thread that may block.
//!
//! A database that is not there yet is no mistake: the page is open before the first recording.

use crate::api::Failure;
use looptape_core::cost::PriceBook;
use looptape_store::Reader;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Idle readers that are kept. Above that they are closed: each holds memory of its own.
const MOST_IDLE: usize = 4;

/// Where to read from.
#[derive(Debug)]
pub(crate) struct Readers {
    database: PathBuf,
    prices: PriceBook,
    idle: Mutex<Vec<Reader>>,
    /// The one that sees whether others have written. Which reader looks must not change.
    watching: Mutex<Option<Reader>>,
}

impl Readers {
    pub(crate) fn new(database: PathBuf, prices: PriceBook) -> Self {
        Self { database, prices, idle: Mutex::default(), watching: Mutex::default() }
    }

    /// Reads on a thread of its own. A client that goes away does not stop it; what it read is dropped.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Reader) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let reader = readers.take()?;
            let read = work(&reader);
            readers.put_back(reader);
            read
        });
        reading.await.unwrap_or(Err(Failure::Broken))
    }

    /// A number that is another one whenever something was written since; `None` while there is no database.
    pub(crate) async fn change_mark(self: &Arc<Self>) -> Result<Option<i64>, Failure> {
        let readers = self.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let mut watching = readers.watching.lock().unwrap_or_else(PoisonError::into_inner);
            if watching.is_none() {
                match readers.open() {
                    Ok(reader) => *watching = Some(reader),
                    Err(Failure::NothingRecorded) => return Ok(None),
                    Err(failure) => return Err(failure),
                }
            }
            Ok(watching.as_ref().map(Reader::change_mark).transpose()?)
        });
        looking.await.unwrap_or(Err(Failure::Broken))
    }

    fn take(&self) -> Result<Reader, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.open(), Ok)
    }

    fn put_back(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(reader);
        }
    }

    fn open(&self) -> Result<Reader, Failure> {
        if !self.database.exists() {
            return Err(Failure::NothingRecorded);
        }
        let reader = Reader::open(&self.database).map_err(|error| Failure::Unreadable(error.to_string()))?;
        Ok(reader.priced_by(self.prices.clone()))
    }
}
