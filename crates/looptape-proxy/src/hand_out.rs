//! A gateway hands out what it recorded: one trace as a cassette in one file.
//!
//! Who may ask is checked before ([`crate::guard`]). The trace is what is on disk once everything handed over so
//! far is written; of one that is still being recorded, what is there by then. It is read and packed on a thread
//! of its own, so that no call waits for it. A client that goes away costs the rest of that work.

use crate::reply::{self, Body};
use http::{HeaderValue, Response, StatusCode, header};
use looptape_core::cassette;
use looptape_store::{FindError, Reader, Recorder, Selector, Surroundings, TraceRow};
use percent_encoding::percent_decode_str;
use std::path::Path;

/// What a cassette in one file is.
const MEDIA_TYPE: &str = "application/vnd.looptape.cassette";

/// Why a trace is not handed out.
#[derive(Debug, thiserror::Error)]
enum NotHandedOut {
    #[error(transparent)]
    NotFound(#[from] FindError),
    #[error("the trace cannot be read: {0}")]
    Unreadable(String),
}

/// The cassette of the trace that `name` finds, as on the command line; percent-encoded.
pub(crate) async fn cassette(recorder: &Recorder, database: &Path, name: &str) -> Response<Body> {
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    let (recorder, database) = (recorder.clone(), database.to_owned());
    let packed = tokio::task::spawn_blocking(move || {
        recorder.flush();
        pack(&database, &name)
    });
    match packed.await {
        Ok(Ok((row, archive))) => file(&row, archive),
        Ok(Err(NotHandedOut::NotFound(error))) if !matches!(error, FindError::Read(_)) => {
            reply::error(StatusCode::NOT_FOUND, "no_such_trace", &error.to_string())
        }
        Ok(Err(error)) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", &error.to_string()),
        Err(_) => {
            let message = "packing the trace failed: this is a bug";
            reply::error(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", message)
        }
    }
}

fn pack(database: &Path, name: &str) -> Result<(TraceRow, Vec<u8>), NotHandedOut> {
    let unreadable = |error: &dyn std::fmt::Display| NotHandedOut::Unreadable(error.to_string());
    let reader = Reader::open(database).map_err(|error| unreadable(&error))?;
    let row = reader.find(&Selector::parse(name))?;
    let files = reader.cassette(&row, Surroundings::Kept, |_, _| {}).map_err(|error| unreadable(&error))?;
    let archive = cassette::pack(&files, &row.id);
    Ok((row, archive))
}

fn file(row: &TraceRow, archive: Vec<u8>) -> Response<Body> {
    let mut response = reply::full(StatusCode::OK, MEDIA_TYPE, archive);
    let headers = response.headers_mut();
    // A page that got hold of a link must not be able to use it as anything but a file.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = format!("attachment; filename=\"{}.looptape\"", row.id);
    let status = HeaderValue::from_static(row.status.as_str());
    headers.extend(HeaderValue::from_str(&name).ok().map(|name| (header::CONTENT_DISPOSITION, name)));
    headers.insert("x-looptape-status", status);
    response
}
