//! A trace as the page in one file, with its data: it opens from the disk and asks nobody for anything.
//!
//! The data is what the API answers at the addresses that a reader of the trace can come to, so the file shows what the
//! served page shows, redacted as it is stored. Long texts are cut as the API cuts them, and say so.
//!
//! What this does not do: headers and bytes as they passed.

use crate::assets::{SCRIPT, STYLE};
use crate::one_file::OneFile;
use crate::pack::Packer;
use crate::page::Page;
use crate::without_bodies::without_bodies;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use maud::html;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// What of the messages is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    Included,
    /// Nothing that was said, called with, or given back: figures and names only.
    LeftOut,
}

/// Why a trace cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// In the API's words.
    #[error("{0}")]
    Refused(String),
    #[error("{at} is no JSON: this is a bug")]
    NoJson { at: String },
}

/// Rows of a page of the timeline, as the script asks for them.
const PAGE_ROWS: u64 = 200;

/// What JavaScript's `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The trace of this name as a file's text. `each` is told how many of how many steps are read.
pub async fn one_file(
    page: &Page,
    trace: &str,
    bodies: Bodies,
    mut each: impl FnMut(u64, u64),
) -> Result<String, ExportError> {
    let mut file = File { page, bodies, packer: Packer::default(), answers: Map::new() };
    let at = format!("/traces/{}", utf8_percent_encode(trace, COMPONENT));
    let head = file.take(&at).await?;
    let entries = head["entries"].as_u64().unwrap_or(0);
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for from in (0..entries).step_by(PAGE_ROWS as usize) {
        let page = file.take(&format!("{at}/rows?from={from}&limit={PAGE_ROWS}")).await?;
        let rows = page["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        for row in rows.iter().filter(|row| row["step"].is_null() || row["kind"] == "tool") {
            file.take(&format!("{at}/rows/{}", row["at"])).await?;
        }
        let models = rows.iter().filter(|row| row["kind"] == "llm" && row["step"].is_u64());
        steps.extend(models.map(|row| {
            let attempts = row["attempts"].as_array().map_or(0, Vec::len) as u64;
            (row["step"].as_u64().unwrap_or(0), attempts)
        }));
    }
    let total = steps.len() as u64;
    for (done, (step, attempts)) in (1..).zip(steps) {
        // With its composition, which the script takes where it asks for less.
        file.take(&format!("{at}/steps/{step}?composition=true")).await?;
        for attempt in 1..attempts {
            file.take(&format!("{at}/steps/{step}?attempt={attempt}&composition=true")).await?;
        }
        each(done, total);
    }
    if entries > 0 {
        file.take(&format!("{at}/series")).await?;
    }
    if total > 0 {
        file.take(&format!("{at}/heat")).await?;
        // What cannot be audited is no reason to have no file.
        file.take_if_there(&format!("{at}/audit")).await?;
    }
    Ok(file.text(&title(&head), trace))
}

fn title(head: &Value) -> String {
    let named = ["agent", "name"].into_iter().find_map(|key| head["trace"][key].as_str());
    format!("{} · looptape", named.or(head["label"].as_str()).unwrap_or("a trace"))
}

/// A file that grows.
struct File<'a> {
    page: &'a Page,
    bodies: Bodies,
    packer: Packer,
    /// From addresses below the API's to packed answers.
    answers: Map<String, Value>,
}

impl File<'_> {
    /// Puts an answer of the API into the file.
    async fn take(&mut self, at: &str) -> Result<Value, ExportError> {
        let (status, answer) = self.ask(at).await?;
        if status != StatusCode::OK {
            let said = answer["error"]["message"].as_str().unwrap_or("looptape gave no answer").to_owned();
            return Err(ExportError::Refused(said));
        }
        self.put(at, &answer);
        Ok(answer)
    }

    async fn take_if_there(&mut self, at: &str) -> Result<(), ExportError> {
        let (status, answer) = self.ask(at).await?;
        if status == StatusCode::OK {
            self.put(at, &answer);
        }
        Ok(())
    }

    async fn ask(&self, at: &str) -> Result<(StatusCode, Value), ExportError> {
        let mut request = Request::new(Empty::<Bytes>::new());
        let no_json = || ExportError::NoJson { at: at.to_owned() };
        *request.uri_mut() = format!("/ui/api{at}").parse().map_err(|_| no_json())?;
        let response = self.page.answer(request).await;
        let answer = serde_json::from_slice(response.body()).map_err(|_| no_json())?;
        Ok((response.status(), answer))
    }

    fn put(&mut self, at: &str, answer: &Value) {
        let packed = match self.bodies {
            Bodies::Included => self.packer.pack(answer),
            Bodies::LeftOut => self.packer.pack(&without_bodies(answer)),
        };
        self.answers.insert(at.to_owned(), packed);
    }

    fn text(self, title: &str, trace: &str) -> String {
        let bodies = if self.bodies == Bodies::Included { "included" } else { "left_out" };
        let held = json!({
            "trace": trace, "bodies": bodies, "answers": self.answers, "table": self.packer.table(),
        });
        let body = html! {
            noscript { "This file needs JavaScript to show the trace; it asks no host for anything." }
        };
        OneFile { title, styles: &[&STYLE], scripts: &[&SCRIPT], data: &[("looptape-data", held)], body }
            .text()
    }
}
