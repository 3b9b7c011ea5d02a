//! `POST /_looptape/v1/tool`: what whoever executes tools says of them (`docs/tools.md`).
//!
//! Here the message is read, and, while recording, handed to the recorder. What a replay answers is
//! [`crate::tape_server`]'s business. Whatever is wrong with a message is said to its sender and counted; the agent
//! goes on all the same.

use crate::bounded_body::{self, NotRead};
use crate::reply::{self, Body};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use looptape_core::TraceId;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_core::tools::{Phase, ToolMessage, ToolSource, ToolVerdict, UnreadableMessage};
use looptape_store::{Moment, Recorder, ToolReport};

/// A result beyond this size is not kept.
const BODY_LIMIT_BYTES: usize = 16 << 20;

/// Whether looptape's own path is that of tool calls.
pub(crate) fn is_path(own_path: &str) -> bool {
    own_path.split('?').next() == Some("v1/tool")
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("use POST")]
    Method,
    #[error("a tool call has at most 16 MiB: leave the result out")]
    TooLarge,
    #[error("the body could not be read")]
    BrokenOff,
    #[error(transparent)]
    Unreadable(#[from] UnreadableMessage),
    #[error("say which trace the tool call belongs to: /t/TRACE in front of the path, or x-looptape-trace")]
    NoTrace,
}

impl NotTaken {
    pub(crate) fn response(&self) -> Response<Body> {
        let (status, code) = match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::BrokenOff | Self::Unreadable(_) => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::NoTrace => (StatusCode::BAD_REQUEST, "no_trace"),
        };
        reply::error(status, code, &self.to_string())
    }

    /// The same for whoever started looptape.
    pub(crate) fn remark(&self) -> &'static str {
        match self {
            Self::Method => "a tool call was not reported by POST",
            Self::TooLarge => "a tool call's report was larger than 16 MiB: it is missing",
            Self::BrokenOff => "a tool call's report broke off: it is missing",
            Self::Unreadable(_) => "a tool call's report could not be read: it is missing",
            Self::NoTrace => "a tool call's report named no trace: it is missing",
        }
    }
}

/// The body of a message.
pub(crate) async fn body(request: Request<Incoming>) -> Result<Bytes, NotTaken> {
    if request.method() != Method::POST {
        return Err(NotTaken::Method);
    }
    bounded_body::read(request.into_body(), BODY_LIMIT_BYTES).await.map_err(|why| match why {
        NotRead::TooLarge => NotTaken::TooLarge,
        NotRead::BrokenOff => NotTaken::BrokenOff,
    })
}

/// The answer to a message.
pub(crate) fn answer(verdict: &ToolVerdict) -> Response<Body> {
    let status = match verdict {
        ToolVerdict::Noted => StatusCode::ACCEPTED,
        ToolVerdict::Answer(_) | ToolVerdict::Run | ToolVerdict::Deny { .. } => StatusCode::OK,
    };
    let body = serde_json::to_string(verdict).expect("a verdict is texts and JSON values");
    reply::full(status, "application/json", body)
}

/// To which trace a message belongs, and what is known of that.
pub(crate) struct Of {
    pub(crate) trace: Option<TraceId>,
    pub(crate) labels: Labels,
    pub(crate) known: Credentials,
    pub(crate) at: Moment,
}

/// Takes a message while recording.
pub(crate) fn record(recorder: &Recorder, body: &[u8], of: Of) -> Result<Response<Body>, NotTaken> {
    let message = ToolMessage::parse(body)?;
    let Some(trace) = of.trace else { return Err(NotTaken::NoTrace) };
    match message.phase {
        Phase::Ask => return Ok(answer(&ToolVerdict::Run)),
        Phase::Ready { .. } => return Ok(answer(&ToolVerdict::Noted)),
        Phase::Started | Phase::Ended { .. } => {}
    }
    let Of { labels, known, at, .. } = of;
    recorder.tool(ToolReport { trace, at, message, source: ToolSource::Measured, labels, known });
    Ok(answer(&ToolVerdict::Noted))
}
