//! `POST /_looptape/v1/tool`: what whoever executes tools says of them (`docs/tools.md`).
//!
//! Here the message is read, and, while recording, handed to the recorder. What a replay answers is
//! [`crate::tape_server`]'s business. Whatever is wrong with a message is said to its sender and counted; the agent
//! goes on all the same.

use crate::reply::{self, Body};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use looptape_core::TraceId;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_core::tools::{DenyCode, Phase, ToolMessage, ToolSource, ToolVerdict};
use looptape_store::{Moment, Recorder, ToolReport};

/// A result beyond this size is not kept.
const BODY_LIMIT_BYTES: usize = 16 << 20;

/// Whether looptape's own path is that of tool calls.
pub(crate) fn is_path(own_path: &str) -> bool {
    own_path.split('?').next() == Some("v1/tool")
}

/// Why a message was not taken, for whoever started looptape.
pub(crate) struct NotTaken {
    pub(crate) response: Response<Body>,
    pub(crate) remark: &'static str,
}

/// The body of a message.
pub(crate) async fn body(request: Request<Incoming>) -> Result<Bytes, NotTaken> {
    if request.method() != Method::POST {
        let response = reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use POST");
        return Err(NotTaken { response, remark: "a tool call was not reported by POST" });
    }
    match Limited::new(request.into_body(), BODY_LIMIT_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = "a tool call has at most 16 MiB: leave the result out";
            let response = reply::error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
            Err(NotTaken { response, remark: "a tool call's report was larger than 16 MiB: it is missing" })
        }
        Err(_) => {
            let response =
                reply::error(StatusCode::BAD_REQUEST, "invalid_body", "the body could not be read");
            Err(NotTaken { response, remark: "a tool call's report broke off: it is missing" })
        }
    }
}

/// A message, read.
pub(crate) fn message(body: &[u8]) -> Result<ToolMessage, NotTaken> {
    ToolMessage::parse(body).map_err(|error| NotTaken {
        response: reply::error(StatusCode::BAD_REQUEST, "invalid_body", &error.to_string()),
        remark: "a tool call's report could not be read: it is missing",
    })
}

/// The answer where it is not known what was recorded.
pub(crate) fn unreadable_recording() -> ToolVerdict {
    let message = "looptape: the recorded tool calls cannot be read, so no tool runs in this replay";
    ToolVerdict::Deny { code: DenyCode::Denied, message: message.to_owned() }
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
    let message = message(body)?;
    let Some(trace) = of.trace else {
        let say =
            "say which trace the tool call belongs to: /t/TRACE in front of the path, or x-looptape-trace";
        let response = reply::error(StatusCode::BAD_REQUEST, "no_trace", say);
        return Err(NotTaken { response, remark: "a tool call's report named no trace: it is missing" });
    };
    if message.phase == Phase::Ask {
        return Ok(answer(&ToolVerdict::Run));
    }
    let Of { labels, known, at, .. } = of;
    recorder.tool(ToolReport { trace, at, message, source: ToolSource::Measured, labels, known });
    Ok(answer(&ToolVerdict::Noted))
}
