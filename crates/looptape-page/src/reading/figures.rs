//! The metrics of many traces: read in one pass, on all cores if there are many.

use jiff::tz::TimeZone;
use looptape_core::gates::{Conditions, Judged, Observations};
use looptape_core::metrics::{
    Bucket, GroupBy, GroupTally, Groups, HealthReport, METRICS, OverTime, OverTimeTally, PHASE, Sample,
    Stats, THRESHOLDS, TallyOptions, Threshold, TimeUnit, Window, WindowBasis, select,
};
use looptape_store::{ReadError, Reader, ScannedTrace, TraceFilter, TraceRow};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Figures, how healthy they are, what that is judged by, and what gates say.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub format: u32,
    #[serde(flatten)]
    pub stats: Stats,
    pub health: HealthReport,
    pub health_thresholds: [Threshold; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// Of every minute, hour or day, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_time: Option<OverTime>,
    /// How the values of each metric lie, of those that have many.
    pub histograms: BTreeMap<&'static str, Vec<Bucket>>,
    #[serde(flatten)]
    pub judged: Judged,
}

/// Columns of a histogram at most.
const COLUMNS: usize = 24;

/// What is asked of the traces.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub group_by: Option<GroupBy>,
    pub options: TallyOptions,
    /// The time that rates are over, if not that of the traces themselves.
    pub window: Option<Window>,
    /// How finely they are looked at over time, and when it is now.
    pub over_time: Option<(Fineness, i64)>,
    /// Whose days they are.
    pub zone: TimeZone,
}

/// How finely time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fineness {
    /// As fits the time from the first trace to the last, or the time that was asked for.
    Fitting,
    Stated(TimeUnit),
}

/// Figures of so many stretches at most.
const MOST_STRETCHES: usize = 2000;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    #[error("traces began in more than {MOST_STRETCHES} {0}s: take longer stretches, or less time")]
    TooFine(TimeUnit),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What one pass over the traces collects.
struct Tallies {
    groups: GroupTally,
    over_time: Option<OverTimeTally>,
}

/// The time that a filter asks for, until now.
pub fn window(filter: &TraceFilter, now_unix_us: i64) -> Option<Window> {
    let since = filter.since_unix_us?;
    Some(Window { start_unix_us: since, end_unix_us: now_unix_us, basis: WindowBasis::Given })
}

/// The figures of these traces. `each` is told after each of them.
pub fn of(
    reader: &Reader,
    rows: Vec<TraceRow>,
    wanted: &Wanted,
    conditions: &Conditions,
    each: impl Fn() + Sync,
) -> Result<Figures, FiguresError> {
    let unit = wanted.unit(&rows)?;
    let empty = || Tallies {
        groups: GroupTally::new(wanted.group_by.clone(), wanted.options),
        over_time: unit.map(|unit| OverTimeTally::new(unit, wanted.zone.clone(), wanted.options)),
    };
    let parts = reader.fold(rows, empty, |tallies, scanned| {
        tallies.add(&scanned, &wanted.zone);
        each();
    })?;
    let mut whole = empty();
    parts.into_iter().for_each(|part| whole.merge(part));
    let (stats, groups) = whole.groups.finish(wanted.window);
    let judged = Judged::of(conditions, &Observations::of(stats.clone()));
    Ok(Figures {
        format: 1,
        health: HealthReport::of(&stats),
        health_thresholds: THRESHOLDS,
        group_by: wanted.group_by.as_ref().map(GroupBy::to_string),
        groups,
        over_time: whole.over_time.map(|over_time| over_time.finish(wanted.within())),
        histograms: histograms(&stats),
        judged,
        stats,
    })
}

impl Wanted {
    /// How finely these traces are looked at over time, if at all.
    fn unit(&self, rows: &[TraceRow]) -> Result<Option<TimeUnit>, FiguresError> {
        let starts = || rows.iter().filter_map(TraceRow::happened_unix_us);
        match self.over_time.map(|(fineness, _)| fineness) {
            None => Ok(None),
            Some(Fineness::Fitting) => {
                // Imported traces began when their files say, which may be long before the time that is asked for.
                let given = self.window.map(|window| [window.start_unix_us, window.end_unix_us]);
                let moments = || starts().chain(given.into_iter().flatten());
                let (start, end) = (moments().min().unwrap_or(0), moments().max().unwrap_or(0));
                Ok(Some(TimeUnit::fitting(end.saturating_sub(start))))
            }
            Some(Fineness::Stated(unit)) => {
                let stretch = |at| Some(unit.stretch(at, &self.zone)?.start_unix_us);
                let stretches: BTreeSet<i64> = starts().filter_map(stretch).collect();
                (stretches.len() <= MOST_STRETCHES).then_some(Some(unit)).ok_or(FiguresError::TooFine(unit))
            }
        }
    }

    /// The time that is looked at: as asked for, else until now.
    fn within(&self) -> Window {
        let now = self.over_time.map_or(i64::MAX, |(_, now)| now);
        let all = Window { start_unix_us: i64::MIN, end_unix_us: now, basis: WindowBasis::Observed };
        self.window.unwrap_or(all)
    }
}

fn histograms(stats: &Stats) -> BTreeMap<&'static str, Vec<Bucket>> {
    let each = METRICS.iter().filter_map(|metric| {
        let histogram = select(stats, metric.name)?.distribution?.histogram(COLUMNS);
        (!histogram.is_empty()).then_some((metric.name, histogram))
    });
    each.collect()
}

impl Tallies {
    /// Imports have the times that their files state.
    fn add(&mut self, scanned: &ScannedTrace, zone: &TimeZone) {
        let row = &scanned.trace.row;
        let measured = scanned.measure();
        let sample = Sample {
            started_unix_us: row.happened_unix_us(),
            phase: row.tags.get(PHASE).map(String::as_str),
            metrics: &measured.metrics,
        };
        self.groups.add(&sample, &row.labels(), zone);
        if let Some(over_time) = &mut self.over_time {
            over_time.add(&sample);
        }
    }

    fn merge(&mut self, more: Self) {
        self.groups.merge(more.groups);
        if let (Some(own), Some(more)) = (&mut self.over_time, more.over_time) {
            own.merge(more);
        }
    }
}
