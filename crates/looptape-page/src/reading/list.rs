//! Lists of traces.

use looptape_core::view::LsRow;
use looptape_store::{ReadError, Reader, TraceFilter, TraceRow};
use serde::Serialize;

/// Characters of an id that are shown at least.
const SHORT_ID: usize = 8;

/// A row of a list.
#[derive(Clone, Debug, Serialize)]
pub struct ListedTrace {
    #[serde(flatten)]
    pub row: LsRow,
    /// What finds this very trace.
    pub label: String,
    /// The shortest that does, for people.
    pub short: String,
    /// When its calls were made; of an import that does not say, when it was imported. µs since the Unix epoch.
    pub started_unix_us: i64,
}

impl ListedTrace {
    pub fn of(reader: &Reader, row: TraceRow) -> Result<Self, ReadError> {
        let short = reader.short_id(&row.id, SHORT_ID)?;
        let short = if row.superseded { format!("{short}#{}", row.run) } else { short };
        let started_unix_us = row.happened_unix_us().unwrap_or(row.started_unix_us);
        Ok(Self { label: row.label(), short, started_unix_us, row: reader.ls_row(row)? })
    }
}

/// At most `limit` of the traces that pass, and whether there are more; `filter` lets one more pass.
pub fn page(
    reader: &Reader,
    filter: &TraceFilter,
    limit: u32,
) -> Result<(Vec<ListedTrace>, bool), ReadError> {
    let mut rows = reader.traces(filter)?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let rows = rows.into_iter().map(|row| ListedTrace::of(reader, row)).collect::<Result<_, _>>()?;
    Ok((rows, more))
}
