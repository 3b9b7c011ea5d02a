//! Why a request of the API gets no answer.

use crate::reading::step_detail::NoSuchPlace;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use looptape_store::{FindError, ReadError};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("nothing is recorded yet: `looptape record -- CMD…` does, or `looptape demo`")]
    NothingRecorded,
    #[error(transparent)]
    NotFound(FindError),
    #[error("{0}")]
    Busy(String),
    #[error("there is no replay {0}: this page was started anew since")]
    NoSuchReplay(u32),
    #[error("there is no load run `{0}`")]
    NoSuchRun(String),
    #[error(transparent)]
    NoSuchPlace(#[from] NoSuchPlace),
    #[error("trace {trace} has no row {at}")]
    NoSuchRow { trace: String, at: usize },
    #[error("{0}")]
    Invalid(String),
    #[error("this page only reads: start `looptape ui` in a terminal to do more")]
    ReadOnly,
    #[error("this needs the token that `looptape ui` printed in its terminal")]
    TokenMissing,
    #[error("there is no such address: GET /ui/api/openapi.json lists those there are")]
    UnknownPath,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Unreadable(String),
    #[error("reading broke off: this is a bug")]
    Broken,
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Read(error) => Self::Read(error),
            other => Self::NotFound(other),
        }
    }
}

impl Failure {
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NothingRecorded => (StatusCode::NOT_FOUND, "nothing_recorded"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "no_such_trace"),
            Self::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            Self::NoSuchReplay(_) => (StatusCode::NOT_FOUND, "no_such_replay"),
            Self::NoSuchRun(_) => (StatusCode::NOT_FOUND, "no_such_run"),
            Self::NoSuchPlace(_) | Self::NoSuchRow { .. } => (StatusCode::NOT_FOUND, "no_such_step"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::ReadOnly => (StatusCode::FORBIDDEN, "read_only"),
            Self::TokenMissing => (StatusCode::FORBIDDEN, "token_missing"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::Read(_) | Self::Unreadable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unreadable"),
            Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "broken"),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code) = self.code();
        let error = json!({ "error": { "code": code, "message": self.to_string() } });
        (status, Json(error)).into_response()
    }
}
