//! A run under load, as tables: loops, steps and money by phase, then steps by their size, what went wrong, and the run
//! over time.

mod page;
mod page_capacity;
mod page_vary;
mod plots;
mod tables;
mod words;

pub(crate) use page::of_run as page;
pub(crate) use page_capacity::of_search as capacity_page;
pub(crate) use page_vary::of_runs as vary_page;
pub(super) use words::ended;

use super::figures::{count, duration, percent};
use super::sparkline::sparkline_within;
use super::stats::{ms, percentile, rate};
use super::style::{Style, Tone};
use super::table::Table;
use super::terminal_text::fit;
use looptape_core::load::{LoadReport, LoadSeries, Progress};
use looptape_core::metrics::Ms;
use looptape_load::Live;

pub(crate) fn text(report: &LoadReport, style: Style) -> String {
    let mut lines = words::heading(report);
    if let Some(first) = lines.first_mut() {
        *first = style.paint(Tone::Strong, first);
    }
    for table in
        [tables::loops(report), tables::steps(report), tables::money(report), tables::by_input(report)]
    {
        lines.extend(shown(&table, style));
    }
    lines.push(String::new());
    lines.extend(troubles(report, style));
    lines.extend(named(words::limits(&report.limits)));
    lines.extend(report.outage.iter().flat_map(|outage| named(words::outage(outage))));
    lines.extend(over_time(&report.series));
    lines.extend(remarks(report).into_iter().map(|line| style.paint(Tone::Quiet, &line)));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What a run that is under way has done.
pub(crate) fn progress(progress: Progress) -> String {
    let Progress { at_us, loops_ended, loops_running } = progress;
    let at = duration(Ms::from_us(i64::try_from(at_us).unwrap_or(i64::MAX)));
    format!("{at} of virtual time: {} loops ended, {loops_running} under way", count(loops_ended))
}

/// The same of one in real time.
pub(crate) fn live(live: Live) -> String {
    let at = Ms::from_us(i64::try_from(live.at_us).unwrap_or(i64::MAX));
    let a_minute = live.loops_ended as f64 / (live.at_us.max(1) as f64 / 60e6);
    // All calls but the retries began a step.
    let steps = live.calls.saturating_sub(live.retries);
    format!(
        "{}: {} loops ended ({}/min), {} under way, p95 {}, retry rate {}, {} spent",
        duration(at),
        count(live.loops_ended),
        rate(Some(a_minute)),
        live.loops_running,
        percentile(live.loop_p95, ms),
        percent(live.retries as f64 / steps.max(1) as f64),
        live.spent
    )
}

/// A blank line, the titles, the rows; nothing of a table without rows.
fn shown(table: &Table, style: Style) -> Vec<String> {
    if table.is_empty() {
        return Vec::new();
    }
    let mut lines = table.lines();
    lines[0] = style.paint(Tone::Quiet, &lines[0]);
    lines.insert(0, String::new());
    lines
}

fn named(lines: Vec<(&'static str, String)>) -> Vec<String> {
    lines.into_iter().map(|(name, what)| format!("{}  {what}", fit(name, NAME))).collect()
}

fn troubles(report: &LoadReport, style: Style) -> Vec<String> {
    let mut lines = named(words::troubles(&report.total));
    if let Some(errors) = lines.first_mut() {
        *errors = style.paint(Tone::Warning, errors);
    }
    lines
}

/// Below a blank line, if there are any.
fn remarks(report: &LoadReport) -> Vec<String> {
    let ended = words::ended(&report.ended);
    let client = words::lag(report).into_iter().chain(words::invalid(report));
    let mut lines: Vec<String> = ended.into_iter().chain(client).chain(words::legend(report)).collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

const NAME: usize = 10;
/// Columns of a rate over time.
const COLUMNS: usize = 60;

fn over_time(series: &LoadSeries) -> Vec<String> {
    if series.offered.len() < 2 {
        return Vec::new();
    }
    let per_column = series.offered.len().div_ceil(COLUMNS);
    let each = duration(Ms::from_us((series.bucket_s * 1_000_000) as i64 * per_column as i64));
    let line = |(name, counts, what): (&str, &[u32], &str)| {
        let values: Vec<f64> = counts.iter().copied().map(f64::from).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let most = match what {
            "" => format!("{most:.0} at most"),
            per => format!("{} {per} at most", rate(Some(most * 60.0 / series.bucket_s as f64))),
        };
        (values.iter().any(|value| *value > 0.0))
            .then(|| format!("{}  |{}| {most}", fit(name, NAME), sparkline_within(&values, COLUMNS)))
    };
    let rows = [
        ("offered", series.offered.as_slice(), "loops/min"),
        ("succeeded", &series.succeeded, "loops/min"),
        ("at once", &series.running, ""),
        ("retries", &series.retries, "a minute"),
    ];
    let mut lines: Vec<String> = rows.into_iter().filter_map(line).collect();
    if let Some(first) = lines.first_mut() {
        first.push_str(&format!(", {each} a column"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use looptape_core::cost::Usd;
    use looptape_core::metrics::Percentile;

    #[test]
    fn a_run_under_way_in_a_line() {
        let so_far = Live {
            at_us: 90_000_000,
            loops_ended: 60,
            loops_running: 3,
            loop_p95: Some(Percentile { value: 2_345.0, n: 60, certified: false }),
            calls: 220,
            retries: 20,
            spent: Usd::from_f64(0.125).unwrap(),
        };
        insta::assert_snapshot!(live(so_far), @"1m30s: 60 loops ended (40.0/min), 3 under way, p95 2.35 s?, retry rate 10 %, $0.125 spent");
        let failing = Percentile { value: f64::INFINITY, n: 200, certified: true };
        assert!(live(Live { loop_p95: Some(failing), ..so_far }).contains("p95 ∞,"));
        assert!(live(Live { loop_p95: None, ..so_far }).contains("p95 –,"));
    }
}
