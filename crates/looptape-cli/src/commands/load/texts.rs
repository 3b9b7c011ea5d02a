//! The texts of recorded loops: read when they are due, so that long recordings are not held in memory.

use crate::drive::{SentBody, is_sent_again};
use looptape_core::derive;
use looptape_core::load::RecordedAt;
use looptape_core::replay::Forking;
use looptape_load::{RecordedRequest, Recordings};
use looptape_store::{CallBytes, Reader, TraceBytes, TraceKey};
use std::sync::Arc;
use tempfile::TempDir;

/// Recorded traces, by the numbers with which they were added.
#[derive(Debug, Default)]
pub(super) struct RecordedTexts {
    traces: Vec<TraceBytes>,
    /// Asks the scenario's model in the place of the recorded ones.
    model: Forking,
    /// Where cassettes lie meanwhile.
    folders: Vec<TempDir>,
}

impl RecordedTexts {
    pub(super) fn asking(model: Option<String>) -> Self {
        Self { model: Forking::new(model, []), ..Self::default() }
    }

    /// Adds traces of one database.
    pub(super) fn add(&mut self, reader: &Reader, keys: &[TraceKey]) -> anyhow::Result<()> {
        let bytes = Arc::new(CallBytes::new(reader)?);
        self.traces.extend(keys.iter().map(|key| TraceBytes::new(bytes.clone(), *key)));
        Ok(())
    }

    /// A folder that is there as long as this.
    pub(super) fn keep(&mut self, folder: Option<TempDir>) {
        self.folders.extend(folder);
    }
}

impl Recordings for RecordedTexts {
    fn request(&self, at: RecordedAt) -> Result<RecordedRequest, String> {
        let bytes = self.traces.get(at.trace).ok_or("the recording is not there")?;
        let recorded = bytes.exchange(at.seq).map_err(|error| error.to_string())?;
        let plain = derive::decode_body(&recorded.request_headers, &recorded.request_body, &[]).bytes;
        let sent =
            self.model.request(Some(at.wire), &recorded.path, &plain).map_err(|error| error.to_string())?;
        let headers = recorded.request_headers.iter();
        // Answers are read as they come, so none is asked for in a form that is not text.
        let headers = headers.filter(|(name, value)| {
            is_sent_again((name, value), SentBody::Another) && *name != "accept-encoding"
        });
        let parsed = serde_json::from_slice(&plain).unwrap_or_default();
        let path = recorded.path.split('?').next().unwrap_or_default();
        Ok(RecordedRequest {
            max_output_tokens: at.wire.decode_request(path, &parsed).max_output_tokens,
            provider: recorded.provider,
            path: sent.path,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: sent.body.map_or(plain, Into::into),
        })
    }
}
