//! Lists of traces: which ones, in which order.

use super::find::{COLUMNS, trace_row};
use super::{ReadError, Reader, TraceRow};
use crate::ids::TraceKey;
use looptape_core::assembly::LoopOutcome;
use looptape_core::cost::Usd;
use looptape_core::labels::{Cohort, InvalidLabel, Tag};
use looptape_core::view;
use rusqlite::{Row, params};

/// Recordings, what came of replaying them, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceOrigin {
    /// What was recorded; loops of load runs only where a tag is asked for, since a run has thousands.
    #[default]
    Recordings,
    Replays,
    All,
}

/// What a trace's tags have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// There is a tag of this key, whatever its value.
    Key(String),
    Value(Tag),
}

/// Which traces a list shows, newest first if nothing else is said.
#[derive(Clone, Debug, Default)]
pub struct TraceFilter {
    /// Not more than this many.
    pub limit: Option<u32>,
    /// So many are passed over before.
    pub offset: u32,
    pub order: TraceOrder,
    /// Found in its id, name, agent, version, tags, command or models; case does not matter in ASCII.
    pub text: Option<String>,
    /// How it turned out, as far as that was known when it ended.
    pub outcome: Option<LoopOutcome>,
    /// Started before, µs since the Unix epoch.
    pub before_unix_us: Option<i64>,
    /// Started at or after, µs since the Unix epoch.
    pub since_unix_us: Option<i64>,
    pub agent: Option<String>,
    pub agent_version: Option<String>,
    /// A model that any of its calls asked for or got.
    pub model: Option<String>,
    /// Every one of these.
    pub tags: Vec<TagFilter>,
    pub status: Option<view::TraceStatus>,
    pub origin: TraceOrigin,
}

/// In which order traces are listed. By figures: as they were when the trace ended; those without come last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceOrder {
    pub by: OrderBy,
    pub direction: Direction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderBy {
    #[default]
    Start,
    Cost,
    Steps,
    Duration,
    Retries,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The newest, the most.
    #[default]
    Down,
    Up,
}

impl TraceOrder {
    /// As SQL.
    fn sql(self) -> String {
        let figure = match self.by {
            OrderBy::Start => "t.started_unix_us",
            OrderBy::Cost => "f.cost_usd",
            OrderBy::Steps => "f.steps",
            OrderBy::Duration => "f.duration_us",
            OrderBy::Retries => "f.retries",
        };
        let direction = match self.direction {
            Direction::Down => "DESC",
            Direction::Up => "ASC",
        };
        match self.by {
            OrderBy::Start => format!("{figure} {direction}, t.key {direction}"),
            _ => format!("{figure} {direction} NULLS LAST, t.started_unix_us DESC, t.key DESC"),
        }
    }
}

impl TagFilter {
    /// From `KEY=VALUE`, or `KEY` for any value.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let tag = Tag::parse(text)?;
        Ok(if text.contains('=') { Self::Value(tag) } else { Self::Key(tag.key) })
    }

    /// A string that is in the tags of every trace that passes.
    fn word(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Value(tag) => &tag.value,
        }
    }

    fn as_pair(&self) -> [Option<&str>; 2] {
        match self {
            Self::Key(key) => [Some(key), None],
            Self::Value(tag) => [Some(&tag.key), Some(&tag.value)],
        }
    }
}

impl TraceFilter {
    /// What is asked of a trace `t`, its end `e` and what it was summed up to, `f`, as SQL. Only what is asked for: a list of
    /// a hundred thousand traces looks at no column in vain. ?12 and ?13 are the limit and the offset.
    fn conditions(&self, ended_but: Option<TraceKey>) -> String {
        use view::TraceStatus::{Aborted, Complete, Incomplete, Recording};
        let mut all = vec![match self.origin {
            TraceOrigin::Recordings if self.tags.is_empty() => "t.source NOT IN ('replay', 'load')",
            TraceOrigin::Recordings => "t.source <> 'replay'",
            TraceOrigin::Replays => "t.source = 'replay'",
            TraceOrigin::All => "1",
        }];
        let mut asked = |is_asked: bool, condition: &'static str| {
            if is_asked {
                all.push(condition);
            }
        };
        asked(self.since_unix_us.is_some(), "t.started_unix_us >= ?1");
        asked(self.before_unix_us.is_some(), "t.started_unix_us < ?2");
        asked(self.agent.is_some(), "t.agent = ?3");
        asked(self.agent_version.is_some(), "t.agent_version = ?4");
        asked(
            self.model.is_some(),
            "CASE WHEN f.models IS NULL \
             THEN EXISTS (SELECT 1 FROM calls c WHERE c.trace = t.key AND (c.model = ?5 OR c.response_model = ?5)) \
             ELSE instr(f.models, ?6) OR instr(f.answered_by, ?6) END",
        );
        // One word of them first: that is looked up sooner than JSON is read.
        asked(!self.tags.is_empty(), "instr(t.tags, ?11)");
        asked(
            !self.tags.is_empty(),
            "NOT EXISTS (SELECT 1 FROM json_each(?7) w WHERE NOT EXISTS (SELECT 1 FROM json_each(t.tags) k \
             WHERE k.key = w.value ->> 0 AND (w.value ->> 1 IS NULL OR k.value = w.value ->> 1)))",
        );
        let has_gaps = "e.aborted IS NULL AND EXISTS (SELECT 1 FROM trace_gaps g WHERE g.trace = t.key)";
        let has_none = "e.aborted IS NULL AND NOT EXISTS (SELECT 1 FROM trace_gaps g WHERE g.trace = t.key)";
        asked(matches!(self.status, Some(Complete | Incomplete)), "e.trace IS NOT NULL");
        asked(self.status == Some(Complete), has_none);
        asked(self.status == Some(Incomplete), has_gaps);
        asked(self.status == Some(Aborted), "(e.trace IS NULL OR e.aborted IS NOT NULL)");
        asked(self.status == Some(Recording), "e.trace IS NULL");
        asked(
            self.text.is_some(),
            "t.id || char(10) || coalesce(t.name, '') || char(10) || coalesce(t.agent, '') || char(10) || \
             coalesce(t.agent_version, '') || char(10) || t.tags || char(10) || t.command || char(10) || \
             coalesce(f.models, '') LIKE ?8 ESCAPE '!'",
        );
        asked(
            self.outcome.is_some(),
            "?9 = coalesce(f.outcome, e.outcome, \
             CASE WHEN e.exit_code = 0 THEN 'success' WHEN e.exit_code IS NOT NULL THEN 'failure' END, 'unknown')",
        );
        asked(ended_but.is_some(), "t.key <> ?10 AND e.trace IS NOT NULL");
        all.join(" AND ")
    }
}

/// What finds a text anywhere in another, for LIKE.
fn pattern(text: &str) -> String {
    let escaped =
        text.chars().flat_map(|c| matches!(c, '%' | '_' | '!').then_some('!').into_iter().chain([c]));
    format!("%{}%", escaped.collect::<String>())
}

fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and lists of them are JSON")
}

/// What a trace cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunCost {
    pub trace: TraceKey,
    pub usd: Option<Usd>,
}

impl Reader {
    /// Traces that pass `filter`, in its order.
    pub fn traces(&self, filter: &TraceFilter) -> Result<Vec<TraceRow>, ReadError> {
        let limit = filter.limit.map_or(-1, i64::from);
        let Some(status @ (view::TraceStatus::Aborted | view::TraceStatus::Recording)) = filter.status else {
            return self.select(filter, None, (limit, filter.offset));
        };
        // Only the row itself knows whether its recorder still lives. Of traces without an end there are few.
        let mut rows = self.select(filter, None, (-1, 0))?;
        rows.retain(|row| row.status.as_str() == status.as_str());
        rows.drain(..rows.len().min(filter.offset as usize));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    /// Of the traces that pass `filter`, in its order, so many (-1: all) after so many others. With `ended_but` only those
    /// that have ended, that one left out.
    fn select(
        &self,
        filter: &TraceFilter,
        ended_but: Option<TraceKey>,
        (limit, offset): (i64, u32),
    ) -> Result<Vec<TraceRow>, ReadError> {
        let (conditions, order) = (filter.conditions(ended_but), filter.order.sql());
        let joined =
            "traces t LEFT JOIN trace_ends e ON e.trace = t.key LEFT JOIN trace_facts f ON f.trace = t.key";
        let chosen = format!("{joined} WHERE {conditions} ORDER BY {order} LIMIT ?12 OFFSET ?13");
        let sql = match filter.order.by {
            OrderBy::Start => format!("SELECT {COLUMNS} FROM {chosen}"),
            // What has to be sorted is keys alone: a row has columns that take time.
            _ => format!(
                "SELECT {COLUMNS} FROM {joined} WHERE t.key IN (SELECT t.key FROM {chosen}) ORDER BY {order}"
            ),
        };
        let tags: Vec<[Option<&str>; 2]> = filter.tags.iter().map(TagFilter::as_pair).collect();
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(
            params![
                filter.since_unix_us,
                filter.before_unix_us,
                filter.agent,
                filter.agent_version,
                filter.model,
                filter.model.as_ref().map(json_text),
                json_text(&tags),
                filter.text.as_deref().map(pattern),
                filter.outcome.map(LoopOutcome::as_str),
                ended_but.map(|key| key.0),
                filter.tags.first().map(|tag| json_text(&tag.word())),
                limit,
                offset,
            ],
            |r| trace_row(&self.connection, r),
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest `last_n` recordings of a cohort that have ended, `but` left out, newest first.
    pub fn cohort(&self, cohort: &Cohort, but: TraceKey, last_n: u32) -> Result<Vec<TraceRow>, ReadError> {
        let tag = |(key, value): (&String, &String)| {
            TagFilter::Value(Tag { key: key.clone(), value: value.clone() })
        };
        let filter = TraceFilter {
            agent: Some(cohort.agent.clone()),
            agent_version: cohort.agent_version.clone(),
            tags: cohort.tags.iter().map(tag).collect(),
            ..TraceFilter::default()
        };
        self.select(&filter, Some(but), (i64::from(last_n), 0))
    }

    /// What the newest `last_n` recordings of an agent cost that have ended, as it was summed up then; oldest first.
    pub fn costs_of_agent(&self, agent: &str, last_n: u32) -> Result<Vec<RunCost>, ReadError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.key, f.cost_usd FROM traces t JOIN trace_facts f ON f.trace = t.key \
             WHERE t.agent = ?1 AND t.source NOT IN ('replay', 'load') \
             ORDER BY t.started_unix_us DESC, t.key DESC LIMIT ?2",
        )?;
        let cost = |r: &Row<'_>| {
            Ok(RunCost {
                trace: TraceKey(r.get(0)?),
                usd: r.get::<_, Option<f64>>(1)?.and_then(Usd::from_f64),
            })
        };
        let mut costs: Vec<RunCost> =
            statement.query_map(params![agent, last_n], cost)?.collect::<Result<_, _>>()?;
        costs.reverse();
        Ok(costs)
    }
}
