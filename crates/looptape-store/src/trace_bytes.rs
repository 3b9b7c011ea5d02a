//! The bytes of recorded calls, read when they are asked for.
//!
//! A replay needs each answer once and most request bodies never, so nothing is read before it is wanted.
//! Readers take turns; each look-up is a few rows. What cannot be read is remembered, so that a replay that
//! met it does not pass for a good one.

use crate::OpenError;
use crate::ids::TraceKey;
use crate::reader::{ReadError, Reader, Response};
use bytes::Bytes;
use looptape_core::derive;
use looptape_core::exchange::Exchange;
use looptape_core::replay::RequestBodies;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection for the bytes of calls, shared by threads.
#[derive(Debug)]
pub struct CallBytes {
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    reader: Reader,
    trouble: Option<String>,
}

impl CallBytes {
    /// Over a connection of its own to the database of `reader`.
    pub fn new(reader: &Reader) -> Result<Self, OpenError> {
        Ok(Self { shelf: Mutex::new(Shelf { reader: reader.another()?, trouble: None }) })
    }

    /// What came back for a call.
    pub fn response(&self, trace: TraceKey, seq: u32) -> Result<Response, ReadError> {
        self.read(|reader| reader.response(trace, seq))
    }

    /// A whole call.
    pub fn exchange(&self, trace: TraceKey, seq: u32) -> Result<Exchange, ReadError> {
        self.read(|reader| reader.exchange(trace, seq))
    }

    /// A request body, content encoding undone; empty if it cannot be read.
    pub fn request_body(&self, trace: TraceKey, seq: u32) -> Bytes {
        let read = self.read(|reader| {
            let (headers, body) = reader.request(trace, seq)?;
            Ok(derive::decode_body(&headers, &body, &[]).bytes)
        });
        read.unwrap_or_default()
    }

    /// The first thing that could not be read.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    fn read<T>(&self, read: impl FnOnce(&Reader) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut shelf = self.lock();
        let result = read(&shelf.reader);
        if let Err(error) = &result {
            shelf.trouble.get_or_insert_with(|| error.to_string());
        }
        result
    }

    /// A panic inside a look-up is a bug that must not take the others with it.
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of one trace's calls.
#[derive(Debug)]
pub struct TraceBytes {
    bytes: Arc<CallBytes>,
    trace: TraceKey,
}

impl TraceBytes {
    pub fn new(bytes: Arc<CallBytes>, trace: TraceKey) -> Self {
        Self { bytes, trace }
    }

    /// The whole call `seq`.
    pub fn exchange(&self, seq: u32) -> Result<Exchange, ReadError> {
        self.bytes.exchange(self.trace, seq)
    }

    /// What came back for the call `seq`.
    pub fn response(&self, seq: u32) -> Result<Response, ReadError> {
        self.bytes.response(self.trace, seq)
    }

    /// The first thing that could not be read.
    pub fn trouble(&self) -> Option<String> {
        self.bytes.trouble()
    }
}

impl RequestBodies for TraceBytes {
    fn request_body(&self, seq: u32) -> Bytes {
        self.bytes.request_body(self.trace, seq)
    }
}
