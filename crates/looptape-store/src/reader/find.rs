//! Finding traces by id and by position.

use super::list::TraceOrigin;
use super::{ReadError, Reader, TraceEnd, TraceRow, TraceStatus};
use crate::ids::{Selector, TraceKey};
use crate::liveness::Process;
use looptape_core::TraceId;
use looptape_core::assembly::{LoopOutcome, Timing};
use rusqlite::{Connection, OptionalExtension, Row, params};

fn number(count: u32) -> String {
    if count == 1 { "is one".to_owned() } else { format!("are {count}") }
}

/// Why a selector names no single trace.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("there is no trace yet: record one first (`looptape record -- CMD…`)")]
    Empty,
    #[error("there is no replay yet: `looptape replay last -- CMD…` leaves one")]
    NoReplay,
    #[error("`{wanted}` is too far back: of such traces there {}. `looptape ls` lists them", number(*count))]
    TooFarBack { wanted: Selector, count: u32 },
    #[error("there is no trace `{wanted}`.{} `looptape ls` lists them", nearest_hint(nearest))]
    Unknown { wanted: Selector, nearest: Vec<String> },
    #[error("`{wanted}` could be {}{}: write more of the id", candidates.join(", "), if *more { ", …" } else { "" })]
    Ambiguous { wanted: Selector, candidates: Vec<String>, more: bool },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<rusqlite::Error> for FindError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error.into())
    }
}

fn nearest_hint(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        ids => format!(" Nearest: {}.", ids.join(", ")),
    }
}

pub(super) const COLUMNS: &str = "t.key, t.id, t.run, t.source, t.name, t.agent, t.tags, t.command, t.parent_why, \
     t.started_unix_us, t.byte_exact, t.recorder, e.ended_us, e.idle, e.exit_code, e.aborted, \
     coalesce((SELECT p.id FROM traces p WHERE p.key = t.parent), t.parent_id), \
     EXISTS (SELECT 1 FROM traces n WHERE n.id = t.id AND n.run > t.run), e.outcome, \
     t.timing, t.happened_unix_us, t.agent_version";

impl Reader {
    /// The one trace that `selector` names.
    pub fn find(&self, selector: &Selector) -> Result<TraceRow, FindError> {
        let key = match selector {
            Selector::Last(n) => self.nth_newest(selector, *n, TraceOrigin::Recordings)?,
            Selector::LastReplay(n) => self.nth_newest(selector, *n, TraceOrigin::Replays)?,
            Selector::Id { prefix, run } => self.by_prefix(selector, prefix, *run)?,
        };
        Ok(self.row(key)?)
    }

    /// The row of a trace that is known to be there.
    pub fn row(&self, key: TraceKey) -> Result<TraceRow, ReadError> {
        Ok(row(&self.connection, key)?)
    }

    /// How much of a trace's id tells it apart from all others, at least `at_least` characters.
    pub fn short_id(&self, id: &TraceId, at_least: usize) -> Result<String, ReadError> {
        let mut needed = at_least;
        for sql in [
            "SELECT id FROM traces WHERE id < ?1 ORDER BY id DESC LIMIT 1",
            "SELECT id FROM traces WHERE id > ?1 ORDER BY id LIMIT 1",
        ] {
            let neighbour: Option<String> =
                self.connection.prepare_cached(sql)?.query_row([id.as_str()], |r| r.get(0)).optional()?;
            needed = needed.max(neighbour.map_or(0, |other| shared(&other, id.as_str()) + 1));
        }
        // Ids are ASCII. One that is the beginning of another is found by itself: exact matches win.
        Ok(id.as_str().chars().take(needed).collect())
    }

    fn nth_newest(&self, selector: &Selector, n: u32, of: TraceOrigin) -> Result<TraceKey, FindError> {
        let is_replay = of == TraceOrigin::Replays;
        let key = self
            .connection
            .prepare_cached(
                "SELECT key FROM traces WHERE (source = 'replay') = ?2 AND source <> 'load' \
                 ORDER BY started_unix_us DESC, key DESC LIMIT 1 OFFSET ?1",
            )?
            .query_row(params![n, is_replay], |r| r.get(0))
            .optional()?;
        let count = "SELECT count(*) FROM traces WHERE (source = 'replay') = ?1 AND source <> 'load'";
        match key {
            Some(key) => Ok(TraceKey(key)),
            None => match self.connection.query_row(count, [is_replay], |r| r.get(0))? {
                0 if is_replay => Err(FindError::NoReplay),
                0 => Err(FindError::Empty),
                count => Err(FindError::TooFarBack { wanted: selector.clone(), count }),
            },
        }
    }

    fn by_prefix(&self, wanted: &Selector, prefix: &str, run: Option<u32>) -> Result<TraceKey, FindError> {
        let exact = self
            .connection
            .prepare_cached(
                "SELECT key FROM traces WHERE id = ?1 AND (?2 IS NULL OR run = ?2) ORDER BY run DESC LIMIT 1",
            )?
            .query_row(params![prefix, run], |r| r.get(0))
            .optional()?;
        if let Some(key) = exact {
            return Ok(TraceKey(key));
        }
        // Ids hold no character above `~`, so every id with this prefix lies below it.
        let mut ids: Vec<String> = self
            .connection
            .prepare_cached("SELECT DISTINCT id FROM traces WHERE id >= ?1 AND id < ?1 || '~' LIMIT 6")?
            .query_map([prefix], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        if prefix.is_empty() {
            ids.clear();
        }
        match ids.as_slice() {
            [] => Err(FindError::Unknown { wanted: wanted.clone(), nearest: self.nearest(prefix)? }),
            [only] => {
                let key = self
                    .connection
                    .prepare_cached("SELECT key FROM traces WHERE id = ?1 AND (?2 IS NULL OR run = ?2) ORDER BY run DESC LIMIT 1")?
                    .query_row(params![only, run], |r| r.get(0))
                    .optional()?;
                key.map(TraceKey)
                    .ok_or_else(|| FindError::Unknown { wanted: wanted.clone(), nearest: vec![only.clone()] })
            }
            many => Err(FindError::Ambiguous {
                wanted: wanted.clone(),
                candidates: many.iter().take(5).cloned().collect(),
                more: many.len() > 5,
            }),
        }
    }

    /// The ids that share most of their beginning with `text`: its neighbours in the index.
    fn nearest(&self, text: &str) -> Result<Vec<String>, FindError> {
        let mut ids = Vec::new();
        for sql in [
            "SELECT DISTINCT id FROM traces WHERE id < ?1 ORDER BY id DESC LIMIT 2",
            "SELECT DISTINCT id FROM traces WHERE id >= ?1 ORDER BY id LIMIT 2",
        ] {
            let mut statement = self.connection.prepare_cached(sql)?;
            for id in statement.query_map([text], |r| r.get::<_, String>(0))? {
                ids.push(id?);
            }
        }
        ids.retain(|id| shared(id, text) >= 2);
        ids.sort_by_key(|id| std::cmp::Reverse(shared(id, text)));
        ids.truncate(3);
        Ok(ids)
    }
}

/// How many bytes two texts begin with in common.
fn shared(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// The row of a trace that is known to be there.
pub(crate) fn row(connection: &Connection, key: TraceKey) -> rusqlite::Result<TraceRow> {
    let sql =
        format!("SELECT {COLUMNS} FROM traces t LEFT JOIN trace_ends e ON e.trace = t.key WHERE t.key = ?1");
    connection.prepare_cached(&sql)?.query_row([key.0], |r| trace_row(connection, r))
}

pub(super) fn trace_row(connection: &Connection, r: &Row<'_>) -> rusqlite::Result<TraceRow> {
    let key = TraceKey(r.get(0)?);
    let end = match r.get::<_, Option<i64>>(12)? {
        Some(ended_us) => {
            let outcome: Option<String> = r.get(18)?;
            let outcome = outcome.as_deref().and_then(LoopOutcome::parse);
            Some(TraceEnd { ended_us, idle: r.get(13)?, exit_code: r.get(14)?, outcome })
        }
        None => None,
    };
    let aborted: Option<String> = r.get(15)?;
    let status = status(connection, key, r.get(11)?, end.is_some(), aborted)?;
    let id: String = r.get(1)?;
    let parent: Option<String> = r.get(16)?;
    let why: Option<String> = r.get(8)?;
    Ok(TraceRow {
        key,
        id: TraceId::parse(&id).map_err(|e| conversion(1, e))?,
        run: r.get(2)?,
        superseded: r.get(17)?,
        source: r.get(3)?,
        name: r.get(4)?,
        agent: r.get(5)?,
        agent_version: r.get(21)?,
        tags: json(6, &r.get::<_, String>(6)?)?,
        command: json(7, &r.get::<_, String>(7)?)?,
        parent: parent.zip(why),
        started_unix_us: r.get(9)?,
        // A word of a newer version: what it means is not known, so no time is believed.
        timing: Timing::parse(&r.get::<_, String>(19)?).unwrap_or(Timing::OrderOnly),
        happened_unix_us: r.get(20)?,
        byte_exact: r.get(10)?,
        end,
        status,
    })
}

fn status(
    connection: &Connection,
    key: TraceKey,
    recorder: i64,
    ended: bool,
    aborted: Option<String>,
) -> rusqlite::Result<TraceStatus> {
    let mut reasons: Vec<String> = connection
        .prepare_cached("SELECT reason, count FROM trace_gaps WHERE trace = ?1 ORDER BY reason")?
        .query_map([key.0], |r| {
            let (reason, count): (String, i64) = (r.get(0)?, r.get(1)?);
            Ok(if count == 1 { reason } else { format!("{reason} ({count} times)") })
        })?
        .collect::<Result<_, _>>()?;
    if let Some(why) = aborted {
        reasons.insert(0, why);
        return Ok(TraceStatus::Aborted(reasons));
    }
    Ok(match ended {
        true if reasons.is_empty() => TraceStatus::Complete,
        true => TraceStatus::Incomplete(reasons),
        false if Process::load(connection, recorder)?.is_alive() => TraceStatus::Recording,
        false => {
            reasons.insert(
                0,
                "the recorder ended without closing the trace (killed, or its disk was full)".into(),
            );
            TraceStatus::Aborted(reasons)
        }
    })
}

fn json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| conversion(column, e))
}

fn conversion(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
