//! looptape's own requests, under `/_looptape/v1/`: what agents and hooks tell the gateway.
//!
//! - `POST /_looptape/v1/traces/<id>/end`, with `{"outcome": "success"}` or without a body, ends a trace at once
//!   instead of after the idle time.
//! - `GET /_looptape/v1/traces/<trace>/cassette` hands a trace out as a cassette in one file ([`hand_out`]).
//!
//! - `POST /_looptape/v1/tool` says what becomes of a tool call ([`crate::tool_calls`]).
//!
//! Nothing here reaches an upstream or is recorded as a call.

use crate::bounded_body;
use crate::hand_out;
use crate::reply::{self, Body};
use crate::stated::Stated;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_store::{EndOfTrace, Moment, Recorder};
use serde_json::json;
use std::path::Path;
use tokio::sync::oneshot;

/// More than any body here needs.
const BODY_LIMIT_BYTES: usize = 64 << 10;

/// The part of a path that follows the prefix of looptape's own requests; `None` for everything else.
pub(crate) fn own_path(path: &str) -> Option<&str> {
    path.strip_prefix("/_looptape/")
}

/// Answers one of looptape's own requests. Traces are handed out from `database`, if there is one to read.
pub(crate) async fn answer(
    recorder: &Recorder,
    database: Option<&Path>,
    own_path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = own_path.split('?').next().unwrap_or_default();
    let of_trace = path.strip_prefix("v1/traces/").and_then(|rest| rest.rsplit_once('/'));
    let wrong_method =
        |use_this| reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", use_this);
    match (of_trace, database) {
        (Some((id, "end")), _) if request.method() == Method::POST => end_trace(recorder, id, request).await,
        (Some((_, "end")), _) => wrong_method("use POST"),
        (Some((trace, "cassette")), Some(database)) if request.method() == Method::GET => {
            hand_out::cassette(recorder, database, trace).await
        }
        (Some((_, "cassette")), Some(_)) => wrong_method("use GET"),
        _ => {
            let message = match database {
                None => "looptape knows POST /_looptape/v1/traces/<id>/end and POST /_looptape/v1/tool",
                Some(_) => {
                    "looptape knows POST /_looptape/v1/tool, POST /_looptape/v1/traces/<id>/end and GET /_looptape/v1/traces/<trace>/cassette"
                }
            };
            reply::error(StatusCode::NOT_FOUND, "unknown_path", message)
        }
    }
}

async fn end_trace(recorder: &Recorder, id: &str, request: Request<Incoming>) -> Response<Body> {
    let id = match TraceId::parse(id) {
        Ok(id) => id,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, "invalid_trace_id", &error.to_string()),
    };
    let by_header = Stated::by(request.headers()).outcome();
    let outcome = match bounded_body::read(request.into_body(), BODY_LIMIT_BYTES).await {
        Ok(body) => outcome_of(&body),
        Err(_) => Err("the body could not be read".to_owned()),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome.or(by_header),
        Err(message) => return reply::error(StatusCode::BAD_REQUEST, "invalid_body", &message),
    };
    let (tell, told) = oneshot::channel();
    recorder.end_trace(id.clone(), Moment::now(), outcome, |what| {
        // Nobody listens any more if the client went away.
        let _ = tell.send(what);
    });
    let (status, word) = match told.await {
        Ok(EndOfTrace::Ended) => (StatusCode::OK, "ended"),
        Ok(EndOfTrace::WhenCallsEnd) => (StatusCode::ACCEPTED, "ends when its calls under way have ended"),
        Ok(EndOfTrace::WithItsRun) => (StatusCode::ACCEPTED, "ends with its run"),
        Ok(EndOfTrace::NotOpen) => {
            let message = format!("no open trace has the id {id}");
            return reply::error(StatusCode::NOT_FOUND, "no_open_trace", &message);
        }
        Err(_) => {
            let message = "the end of the trace could not be written down: try again";
            return reply::error(StatusCode::SERVICE_UNAVAILABLE, "not_written", message);
        }
    };
    reply::full(status, "application/json", json!({"trace": id, "status": word}).to_string())
}

/// What the body of an `end` request says.
fn outcome_of(body: &[u8]) -> Result<Option<LoopOutcome>, String> {
    const FORM: &str = r#"write {"outcome": "success"}, or "failure", "abandoned" or "unknown""#;
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let json: serde_json::Value =
        serde_json::from_slice(body).map_err(|e| format!("the body is not JSON ({e}): {FORM}"))?;
    match json.get("outcome") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(word) => match word.as_str().and_then(LoopOutcome::parse) {
            Some(outcome) => Ok(Some(outcome)),
            None => Err(format!("{word} is not an outcome: {FORM}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_in_bodies() {
        assert_eq!(outcome_of(b" \n"), Ok(None));
        assert_eq!(outcome_of(br#"{"outcome": null, "x": 1}"#), Ok(None));
        assert_eq!(outcome_of(br#"{"outcome": "failure"}"#), Ok(Some(LoopOutcome::Failure)));
        for bad in ["{", r#"{"outcome": "great"}"#, r#"{"outcome": 1}"#] {
            assert!(outcome_of(bad.as_bytes()).unwrap_err().contains("write {"), "{bad}");
        }
    }
}
