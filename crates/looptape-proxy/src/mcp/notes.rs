//! What is said between an agent and a replayed stdio server, written into the trace that the replay leaves: in the form
//! in which a recording has it, each message with whence its answer came.

use super::frame::Frame;
use super::recording::{Origin, RecordedSession};
use crate::child_trace::ChildTrace;
use bytes::Bytes;
use looptape_core::mcp::ServerName;
use looptape_core::mcp::session::ServerEnd;
use looptape_store::Moment;
use std::sync::{Mutex, PoisonError};

/// One conversation. Dropping it ends it: the client is gone.
#[derive(Debug)]
pub(super) struct Notes(Mutex<Option<RecordedSession>>);

impl Notes {
    /// `None` for a replay that leaves no trace: then nothing is written.
    pub(super) fn begin(child: Option<&ChildTrace>, server: &ServerName) -> Self {
        Self(Mutex::new(child.map(|child| RecordedSession::begin(child.book(server.clone())))))
    }

    pub(super) fn client_said(&self, line: &[u8], origin: Origin) {
        self.with(|session| session.client_said(Moment::mono_us_now(), line, origin));
    }

    pub(super) fn server_says(&self, text: &Bytes) {
        self.with(|session| session.add(Moment::mono_us_now(), &Frame::Server(text.clone())));
    }

    pub(super) fn server_ends(&self, end: ServerEnd) {
        self.with(|session| session.add(Moment::mono_us_now(), &Frame::ServerEnded(end)));
    }

    fn with(&self, add: impl FnOnce(&mut RecordedSession)) {
        if let Some(session) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            add(session);
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let session = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut session) = session {
            session.add(Moment::mono_us_now(), &Frame::ClientClosed);
            session.finish();
        }
    }
}
