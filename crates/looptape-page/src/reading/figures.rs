//! The metrics of many traces: read in one pass, on all cores if there are many.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use looptape_core::gates::{Conditions, Judged, Observations};
use looptape_core::metrics::{
    Bucket, GroupBy, GroupTally, Groups, HealthReport, METRICS, PHASE, Sample, Stats, THRESHOLDS,
    TallyOptions, Threshold, Window, WindowBasis, select,
};
use looptape_store::{ReadError, Reader, ScannedTrace, TraceFilter, TraceRow};
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// Whose days they are.
    pub zone: TimeZone,
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
) -> Result<Figures, ReadError> {
    let empty = || GroupTally::new(wanted.group_by.clone(), wanted.options);
    let parts = reader.fold(rows, empty, |tally, scanned| {
        add(tally, &scanned, &wanted.zone);
        each();
    })?;
    let mut whole = empty();
    parts.into_iter().for_each(|part| whole.merge(part));
    let (stats, groups) = whole.finish(wanted.window);
    let judged = Judged::of(conditions, &Observations::of(stats.clone()));
    Ok(Figures {
        format: 1,
        health: HealthReport::of(&stats),
        health_thresholds: THRESHOLDS,
        group_by: wanted.group_by.as_ref().map(GroupBy::to_string),
        groups,
        histograms: histograms(&stats),
        judged,
        stats,
    })
}

fn histograms(stats: &Stats) -> BTreeMap<&'static str, Vec<Bucket>> {
    let each = METRICS.iter().filter_map(|metric| {
        let histogram = select(stats, metric.name)?.distribution?.histogram(COLUMNS);
        (!histogram.is_empty()).then_some((metric.name, histogram))
    });
    each.collect()
}

/// Imports have the times that their files state.
fn add(tally: &mut GroupTally, scanned: &ScannedTrace, zone: &TimeZone) {
    let row = &scanned.trace.row;
    let started_unix_us = row.happened_unix_us();
    let day =
        |us| Timestamp::from_microsecond(us).map(|at| at.to_zoned(zone.clone()).date().to_string()).ok();
    let measured = scanned.measure();
    let sample = Sample {
        started_unix_us,
        phase: row.tags.get(PHASE).map(String::as_str),
        metrics: &measured.metrics,
    };
    tally.add(&sample, &row.labels(), started_unix_us.and_then(day).as_deref());
}
