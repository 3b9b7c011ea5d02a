//! One trace: its head, its timeline in pages, its steps in full.

use super::{Asked, Failure, find};
use crate::page::Shared;
use crate::reading::cut_texts::{CutText, cut_texts};
use crate::reading::heat;
use crate::reading::open_trace::{OpenHead, OpenTrace, Row, StepSeries};
use crate::reading::step_detail::{Place, StepDetail};
use crate::reading::trace_view::{Compositions, Note};
use axum::Json;
use axum::extract::{Path, State};
use looptape_core::assembly::StepNumber;
use looptape_core::audit::Heat;
use looptape_store::Reader;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Rows of a page of the timeline at most.
const MOST_ROWS: usize = 1000;
/// Bytes of a text beyond which only its beginning is answered.
const LONGEST_TEXT_BYTES: usize = 32 << 10;

/// What a trace is and did, as a whole
///
/// The figures are those of `looptape show --json`, but for those of single steps, which come with /series.
#[utoipa::path(
    get, path = "/traces/{trace}",
    params(("trace" = String, Path, description = "A trace, as on the command line")),
    responses((status = 200, body = Object), (status = 404))
)]
pub(crate) async fn head(
    State(shared): State<Shared>,
    Path(trace): Path<String>,
) -> Result<Json<OpenHead>, Failure> {
    shared.read_trace(trace, |reader, open| Ok(open.head(reader))).await.map(Json)
}

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowsQuery {
    /// The first.
    from: usize,
    /// How many, at most 1000.
    limit: usize,
}

impl Default for RowsQuery {
    fn default() -> Self {
        Self { from: 0, limit: 200 }
    }
}

/// A page of a timeline.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rows {
    /// As the entries of `looptape show --json`, their texts cut, each with its place `at` and where it is drawn.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Row>,
    /// What could not be read.
    #[schema(value_type = Vec<Object>)]
    notes: Vec<Note>,
}

/// The timeline, row by row
#[utoipa::path(
    get, path = "/traces/{trace}/rows",
    params(("trace" = String, Path), RowsQuery),
    responses((status = 200, body = Rows), (status = 404))
)]
pub(crate) async fn rows(
    State(shared): State<Shared>,
    Path(trace): Path<String>,
    Asked(RowsQuery { from, limit }): Asked<RowsQuery>,
) -> Result<Json<Rows>, Failure> {
    let wanted = from..from.saturating_add(limit.min(MOST_ROWS));
    let read = move |reader: &Reader, open: &OpenTrace| {
        let (rows, notes) = open.rows(reader, wanted);
        Ok(Rows { rows, notes })
    };
    shared.read_trace(trace, read).await.map(Json)
}

/// Figures of all steps, one array a figure
#[utoipa::path(
    get, path = "/traces/{trace}/series",
    params(("trace" = String, Path)),
    responses((status = 200, body = Object), (status = 404))
)]
pub(crate) async fn series(
    State(shared): State<Shared>,
    Path(trace): Path<String>,
) -> Result<Json<StepSeries>, Failure> {
    shared.read_trace(trace, |_, open| Ok(open.series())).await.map(Json)
}

/// Something with long texts, which are cut.
#[derive(Serialize, ToSchema)]
pub(crate) struct WithCuts {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    value: Value,
    /// Texts of which only the beginning is here; /text answers all of one.
    #[schema(value_type = Vec<Object>)]
    cut: Vec<CutText>,
}

impl WithCuts {
    fn of(mut value: Value) -> Self {
        let cut = cut_texts(&mut value, LONGEST_TEXT_BYTES);
        Self { value, cut }
    }
}

/// One row of the timeline in full: of use for tool calls and plain calls
#[utoipa::path(
    get, path = "/traces/{trace}/rows/{at}",
    params(("trace" = String, Path), ("at" = usize, Path)),
    responses((status = 200, body = WithCuts), (status = 404))
)]
pub(crate) async fn row(
    State(shared): State<Shared>,
    Path((trace, at)): Path<(String, usize)>,
) -> Result<Json<WithCuts>, Failure> {
    let read = move |reader: &Reader, open: &OpenTrace| whole_row(reader, open, at).map(WithCuts::of);
    shared.read_trace(trace, read).await.map(Json)
}

/// Which attempt.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct StepQuery {
    /// The last if it is not said.
    attempt: Option<u32>,
    /// With what its prompt consists of, which takes time.
    composition: bool,
    /// Of /text: the JSON pointer of the text in the answer without /text.
    pointer: String,
}

/// One step in full: what was asked, what was answered
///
/// As `looptape show --step --json`.
#[utoipa::path(
    get, path = "/traces/{trace}/steps/{step}",
    params(("trace" = String, Path), ("step" = u32, Path), StepQuery),
    responses((status = 200, body = WithCuts), (status = 404))
)]
pub(crate) async fn step(
    State(shared): State<Shared>,
    Path((trace, step)): Path<(String, u32)>,
    Asked(query): Asked<StepQuery>,
) -> Result<Json<WithCuts>, Failure> {
    let read =
        move |reader: &Reader, open: &OpenTrace| whole_step(reader, open, step, &query).map(WithCuts::of);
    shared.read_trace(trace, read).await.map(Json)
}

/// All of a text of a step that was cut
#[utoipa::path(
    get, path = "/traces/{trace}/steps/{step}/text",
    params(("trace" = String, Path), ("step" = u32, Path), StepQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404))
)]
pub(crate) async fn step_text(
    State(shared): State<Shared>,
    Path((trace, step)): Path<(String, u32)>,
    Asked(query): Asked<StepQuery>,
) -> Result<String, Failure> {
    let read = move |reader: &Reader, open: &OpenTrace| {
        text_at(whole_step(reader, open, step, &query)?, &query.pointer)
    };
    shared.read_trace(trace, read).await
}

/// All of a text of a row that was cut
#[utoipa::path(
    get, path = "/traces/{trace}/rows/{at}/text",
    params(("trace" = String, Path), ("at" = usize, Path), StepQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404))
)]
pub(crate) async fn row_text(
    State(shared): State<Shared>,
    Path((trace, at)): Path<(String, usize)>,
    Asked(query): Asked<StepQuery>,
) -> Result<String, Failure> {
    let read = move |reader: &Reader, open: &OpenTrace| text_at(whole_row(reader, open, at)?, &query.pointer);
    shared.read_trace(trace, read).await
}

/// Of which step's prompt.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct HeatQuery {
    /// The last if it is not said.
    step: Option<u32>,
}

/// What each message of a step's prompt cost the whole trace, however often it was sent
///
/// As `looptape audit --json` has it for the dearest messages, here for all of one prompt and in its order; null where no
/// prompt can be read.
#[utoipa::path(
    get, path = "/traces/{trace}/heat",
    params(("trace" = String, Path), HeatQuery),
    responses((status = 200, body = Object), (status = 404))
)]
pub(crate) async fn heat(
    State(shared): State<Shared>,
    Path(trace): Path<String>,
    Asked(query): Asked<HeatQuery>,
) -> Result<Json<Option<Heat>>, Failure> {
    let read =
        move |reader: &Reader, open: &OpenTrace| Ok(heat::heat(reader, open, query.step.map(StepNumber)));
    shared.read_trace(trace, read).await.map(Json)
}

fn whole_row(reader: &Reader, open: &OpenTrace, at: usize) -> Result<Value, Failure> {
    let entry = open.entry(reader, at);
    let entry = entry.ok_or_else(|| Failure::NoSuchRow { trace: open.row().label(), at })?;
    as_value(&entry)
}

fn whole_step(reader: &Reader, open: &OpenTrace, step: u32, query: &StepQuery) -> Result<Value, Failure> {
    let place = Place::of(open.trace(), Cow::Borrowed(open.measured()), step, query.attempt)?;
    let compositions = if query.composition { Compositions::Included } else { Compositions::LeftOut };
    as_value(&StepDetail::build(reader, open.trace(), place, compositions)?)
}

fn as_value(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::Unreadable(error.to_string()))
}

fn text_at(value: Value, pointer: &str) -> Result<String, Failure> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::Invalid(format!("there is no text at `{pointer}`")))
}

impl Shared {
    /// Reads of a trace that is opened once and kept for the requests that follow.
    pub(crate) async fn read_trace<T: Send + 'static>(
        &self,
        name: String,
        work: impl FnOnce(&Reader, &OpenTrace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let opened = self.opened.clone();
        let mark = self.readers.change_mark().await?;
        self.readers
            .read(move |reader| {
                let row = find(reader, &name)?;
                let open: Arc<OpenTrace> = opened.get(reader, row, mark)?;
                work(reader, &open)
            })
            .await
    }
}
