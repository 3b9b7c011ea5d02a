//! The API beneath the page: what the page shows, as JSON, and nothing that the command line does not print as well.
//!
//! `GET /ui/api/openapi.json` describes it. Errors are `{"error": {"code", "message"}}`. Traces are named as on the
//! command line: by id, prefix, `last`, `ID#1`; percent-encoded.

mod asked;
mod audits;
mod calls;
mod compare;
mod failure;
mod load_runs;
mod replays;
mod stats;
mod trace;
mod traces;

pub(crate) use asked::Asked;
pub(crate) use failure::Failure;

use crate::page::{MayWrite, Shared, TOKEN_HEADER};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use looptape_store::{Reader, Selector, TraceRow};
use serde::Serialize;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "looptape",
        description = "What looptape recorded: the API beneath the page at /ui. It reads, but for replays, which want the token. Objects without a schema of their own are \
         those that the command line prints with --json.",
    ),
    servers((url = "/ui/api")),
    modifiers(&Token)
)]
struct Described;

/// How the terminal's token is presented.
struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut openapi::OpenApi) {
        let says = "Printed by `looptape ui`; only what does more than read needs it";
        let header = ApiKeyValue::with_description(TOKEN_HEADER.as_str(), says);
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::ApiKey(ApiKey::Header(header)));
    }
}

/// All addresses, below `/ui/api`.
pub(crate) fn router(shared: Shared) -> Router {
    let (router, description) = OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(about))
        .routes(routes!(changes))
        .routes(routes!(write_access))
        .routes(routes!(traces::list))
        .routes(routes!(traces::search))
        .routes(routes!(trace::head))
        .routes(routes!(trace::rows))
        .routes(routes!(trace::row))
        .routes(routes!(trace::row_text))
        .routes(routes!(trace::series))
        .routes(routes!(trace::heat))
        .routes(routes!(trace::step))
        .routes(routes!(trace::step_text))
        .routes(routes!(calls::head))
        .routes(routes!(calls::as_curl))
        .routes(routes!(calls::body))
        .routes(routes!(compare::diff))
        .routes(routes!(audits::audit))
        .routes(routes!(audits::ranking))
        .routes(routes!(stats::stats))
        .routes(routes!(load_runs::load_runs))
        .routes(routes!(load_runs::load_run))
        .routes(routes!(replays::start))
        .routes(routes!(replays::state))
        .routes(routes!(replays::stop))
        .split_for_parts();
    router.route("/openapi.json", get(async || Json(description))).with_state(shared)
}

/// What serves the page.
#[derive(Serialize, ToSchema)]
struct About {
    version: &'static str,
    /// Whether anything but reading is possible, with the token from the terminal.
    can_write: bool,
}

/// What serves the page
#[utoipa::path(get, path = "/about", responses((status = 200, body = About)))]
async fn about(State(shared): State<Shared>) -> Json<About> {
    Json(About { version: env!("CARGO_PKG_VERSION"), can_write: shared.token.is_some() })
}

/// Whether the presented token is the right one
#[utoipa::path(
    get,
    path = "/write-access",
    responses((status = 204, description = "It is"), (status = 403, description = "There is none, or another one")),
    security(("token" = []))
)]
async fn write_access(_: MayWrite) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether something was written.
#[derive(Serialize, ToSchema)]
struct Changes {
    /// Another one whenever something was written since; null while there is no database.
    mark: Option<i64>,
}

/// Whether something was written since: ask again and compare
#[utoipa::path(get, path = "/changes", responses((status = 200, body = Changes)))]
async fn changes(State(shared): State<Shared>) -> Result<Json<Changes>, Failure> {
    Ok(Json(Changes { mark: shared.readers.change_mark().await? }))
}

/// The trace that a name finds.
pub(crate) fn find(reader: &Reader, name: &str) -> Result<TraceRow, Failure> {
    Ok(reader.find(&Selector::parse(name))?)
}
