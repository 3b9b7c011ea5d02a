//! The tool calls of which somebody said what became of them.

use super::{ReadError, Reader};
use crate::codec;
use crate::ids::TraceKey;
use crate::recorder::Said;
use looptape_core::tools::{MeasuredTool, ToolFacts, ToolOutcome, ToolSource};
use rusqlite::{Connection, Row};
use std::collections::HashMap;

const COLUMNS: &str =
    "trace, seq, name, call_id, arguments_digest, via, source, started_us, ended_us, outcome";

/// The facts of the tool calls of one trace, in the order in which they became known.
pub(crate) fn facts(connection: &Connection, trace: TraceKey) -> rusqlite::Result<Vec<ToolFacts>> {
    Ok(facts_between(connection, trace, trace)?.remove(&trace).unwrap_or_default())
}

/// The same of all traces from one to another.
pub(super) fn facts_between(
    connection: &Connection,
    first: TraceKey,
    last: TraceKey,
) -> rusqlite::Result<HashMap<TraceKey, Vec<ToolFacts>>> {
    let sql = format!("SELECT {COLUMNS} FROM tool_calls WHERE trace BETWEEN ?1 AND ?2 ORDER BY trace, seq");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([first.0, last.0])?;
    let mut found: HashMap<TraceKey, Vec<ToolFacts>> = HashMap::new();
    while let Some(row) = rows.next()? {
        found.entry(TraceKey(row.get(0)?)).or_default().push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ToolFacts> {
    let outcome: Option<String> = row.get(9)?;
    Ok(ToolFacts {
        seq: row.get(1)?,
        name: row.get(2)?,
        call_id: row.get(3)?,
        arguments_digest: row.get(4)?,
        via: row.get(5)?,
        // A word of a later time: what is known for sure is that somebody saw it.
        source: ToolSource::parse(&row.get::<_, String>(6)?).unwrap_or(ToolSource::Measured),
        started_us: row.get(7)?,
        ended_us: row.get(8)?,
        outcome: outcome.as_deref().and_then(ToolOutcome::parse),
    })
}

impl Reader {
    /// The tool calls of a trace of which somebody said what became of them, with all that was said, in the order of
    /// the trace's tool facts.
    pub fn measured_tools(&self, trace: TraceKey) -> Result<Vec<MeasuredTool>, ReadError> {
        let sql =
            format!("SELECT {COLUMNS}, codec, size, said FROM tool_calls WHERE trace = ?1 ORDER BY seq");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([trace.0])?;
        let mut tools = Vec::new();
        while let Some(row) = rows.next()? {
            let facts = read(row)?;
            let stored: Vec<u8> = row.get(12)?;
            let size = usize::try_from(row.get::<_, i64>(11)?).ok();
            let codec = row.get(10)?;
            let said = size.and_then(|size| codec::decode(codec, size, &stored));
            let said = said.and_then(|said| serde_json::from_slice::<Said>(&said).ok());
            let Said { arguments, end } = said.ok_or(ReadError::DamagedTool { seq: facts.seq })?;
            tools.push(MeasuredTool { facts, arguments, end });
        }
        Ok(tools)
    }
}
