//! A run under load, as tables: loops, steps and money by phase, then steps by their size, what went wrong, and the run
//! over time.

use super::figures::{count, duration, percent, plural};
use super::groups;
use super::limits::evidence;
use super::sparkline::sparkline_within;
use super::stats::{ENDLESS, cost, ms, percentile, rate, whole};
use super::style::{Style, Tone};
use super::table;
use super::terminal_text::{escape, fit};
use looptape_core::cost::Usd;
use looptape_core::limits::{FittedAccount, FittedLimit};
use looptape_core::load::{Ended, LoadFigures, LoadReport, LoadSeries, PriceNote, Progress, RunTime};
use looptape_core::metrics::{Distribution, Health, Method, Ms, PricedSteps, Segment};
use looptape_load::Live;

pub(crate) fn text(report: &LoadReport, style: Style) -> String {
    let mut lines = heading(report, style);
    for table in [loops(report), steps(report), money(report), sizes(&report.segments.by_input_tokens)] {
        lines.extend(shown(&table, style));
    }
    lines.push(String::new());
    lines.extend(troubles(&report.total, style));
    lines.extend(limits(&report.limits));
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
    let retried = live.retries as f64 / live.calls.max(1) as f64;
    format!(
        "{}: {} loops ended ({}/min), {} under way, {} retried, {} spent",
        duration(at),
        count(live.loops_ended),
        rate(Some(a_minute)),
        live.loops_running,
        percent(retried),
        live.spent
    )
}

/// A blank line, the titles, the rows; nothing of a table without rows.
fn shown(table: &[String], style: Style) -> Vec<String> {
    match table {
        [] | [_] => Vec::new(),
        [titles, rows @ ..] => [String::new(), style.paint(Tone::Quiet, titles)]
            .into_iter()
            .chain(rows.iter().cloned())
            .collect(),
    }
}

fn heading(report: &LoadReport, style: Style) -> Vec<String> {
    let stats = &report.total.stats;
    let name = report.scenario.as_deref().map_or("load".to_owned(), escape);
    let length = stats.window_s.map_or("no time".to_owned(), |s| duration(Ms::from_us((s * 1e6) as i64)));
    let clock = match report.time {
        RunTime::Virtual => "virtual time",
        RunTime::Real => "real time",
    };
    let models: Vec<String> = report.prices.iter().map(|note| escape(&note.model)).collect();
    let streamed = if report.stream { "streamed" } else { "not streamed" };
    let again = match report.retry.max {
        0 => "no retries".to_owned(),
        max => format!("retried as {} does, {}", report.retry.profile.as_str(), times(max)),
    };
    let loops = plural(stats.loops.started, "loop", "loops");
    let by = match &report.command {
        Some(command) if models.is_empty() => format!("each loop runs {}", escape(command)),
        Some(command) => format!("{}: each loop runs {}", models.join(", "), escape(command)),
        None => format!("{} over {}, {streamed}; {again}", models.join(", "), report.wire),
    };
    vec![
        style.paint(Tone::Strong, &format!("{name}: {length} of {clock}, {loops}, seed {}", report.seed)),
        by,
    ]
}

fn times(max: u32) -> String {
    match max {
        1 => "once at most".to_owned(),
        2 => "twice at most".to_owned(),
        max => format!("{max} times at most"),
    }
}

/// Each phase, and all of them where there are several.
fn parts(report: &LoadReport) -> impl Iterator<Item = (String, &LoadFigures)> {
    let phases = report.phases.iter().map(|phase| (escape(&phase.name), &phase.figures));
    let all = (report.phases.len() > 1).then_some(("all".to_owned(), &report.total));
    phases.chain(all)
}

fn table_of<const N: usize>(
    report: &LoadReport,
    titles: [&str; N],
    cells: fn(&LoadFigures) -> [String; N],
) -> Vec<String> {
    let row = |(name, figures): (String, &LoadFigures)| {
        let mut row = cells(figures);
        row[0] = name;
        row
    };
    table::lines(titles, 1, &parts(report).map(row).collect::<Vec<_>>())
}

fn loops(report: &LoadReport) -> Vec<String> {
    let titles = [
        "loops",
        "offered",
        "success",
        "failed",
        "dropped",
        "loops/min",
        "p50",
        "p95",
        "p99",
        "at once",
        "most",
    ];
    table_of(report, titles, |figures| {
        let (stats, loops) = (&figures.stats, &figures.stats.loops);
        let took = &stats.loop_duration_ms;
        let at_once = stats.concurrency;
        [
            String::new(),
            loops.offered.map_or("–".to_owned(), |n| count(u64::from(n))),
            count(u64::from(loops.success)),
            count(u64::from(loops.failure)),
            loops.dropped.map_or("–".to_owned(), |n| count(u64::from(n))),
            rate(stats.loops_per_min),
            percentile(took.p50(), ms),
            percentile(took.p95(), ms),
            percentile(took.p99(), ms),
            at_once.map_or("–".to_owned(), |one| format!("{:.1}", one.loops_mean)),
            at_once.map_or("–".to_owned(), |one| one.loops_peak.to_string()),
        ]
    })
}

fn steps(report: &LoadReport) -> Vec<String> {
    let titles = [
        "steps",
        "n",
        "a loop p50",
        "p95",
        "latency p50",
        "p95",
        "p99",
        "TTFT p50",
        "p95",
        "retries",
        "calls/loop",
    ];
    table_of(report, titles, |figures| {
        let (stats, steps) = (&figures.stats, &figures.stats.of_steps);
        [
            String::new(),
            count(u64::from(steps.steps)),
            percentile(stats.steps_per_loop.p50(), whole),
            percentile(stats.steps_per_loop.p95(), whole),
            percentile(steps.step_latency_ms.p50(), ms),
            percentile(steps.step_latency_ms.p95(), ms),
            percentile(steps.step_latency_ms.p99(), ms),
            percentile(steps.ttft_ms.p50(), ms),
            percentile(steps.ttft_ms.p95(), ms),
            groups::ratio(steps.retry_rate, Health::of_retry_rate),
            stats.amplification.map_or("–".to_owned(), |n| format!("{n:.2}")),
        ]
    })
}

fn money(report: &LoadReport) -> Vec<String> {
    let titles =
        ["cost", "all", "a loop", "loops/$", "in", "cached", "out", "wasted tokens", "wasted", "a month"];
    table_of(report, titles, |figures| {
        let (stats, tokens) = (&figures.stats, &figures.stats.of_steps.tokens);
        let known = |n: Option<f64>, show: fn(f64) -> String| n.map_or("–".to_owned(), show);
        [
            String::new(),
            cost(&stats.cost),
            known(figures.usd_per_loop(), usd),
            known(stats.loops_per_usd, |n| format!("{n:.1}")),
            super::stats::tokens(tokens.input_total, tokens.at_least),
            stats.of_steps.cache_hit_ratio.map_or("–".to_owned(), percent),
            super::stats::tokens(tokens.output_total, tokens.at_least),
            count(figures.wasted.tokens),
            figures.wasted.usd.map_or("–".to_owned(), |usd| usd.to_string()),
            known(figures.month_usd, usd),
        ]
    })
}

/// Where there is more than one size.
fn sizes(segments: &[Segment<PricedSteps>]) -> Vec<String> {
    match segments {
        [] | [_] => Vec::new(),
        several => groups::lines("input tokens", groups::STEPS, several, groups::of_steps),
    }
}

/// Attempts that failed, by kind and by limit.
fn troubles(total: &LoadFigures, style: Style) -> Vec<String> {
    let errors = &total.stats.errors.0;
    if errors.is_empty() {
        return Vec::new();
    }
    let kinds: Vec<String> =
        errors.iter().map(|(kind, n)| format!("{} × {}", count(u64::from(*n)), escape(kind))).collect();
    let share =
        total.stats.error_rate.map_or(String::new(), |share| format!(" ({} of calls)", percent(share)));
    let mut lines =
        vec![style.paint(Tone::Warning, &format!("{}  {}{share}", fit("errors", NAME), kinds.join(", ")))];
    if !total.limited.is_empty() {
        let limits: Vec<String> = total
            .limited
            .iter()
            .map(|(limit, n)| format!("{} × {}", count(u64::from(*n)), limit.replace('_', " ")))
            .collect();
        lines.push(format!("{}  {}", fit("refused by", NAME), limits.join(", ")));
    }
    lines
}

/// What calls showed of the target's limits: a line each.
fn limits(accounts: &[FittedAccount]) -> Vec<String> {
    let several = accounts.len() > 1;
    let line = |account: &FittedAccount, limit: &FittedLimit| {
        let of = if several { format!(" ({})", escape(&account.account)) } else { String::new() };
        let name = format!("{} {}{of}", limit.which.as_str(), count(limit.limit));
        format!("{}  {name}: {}", fit("limit", NAME), evidence(limit))
    };
    accounts.iter().flat_map(|account| account.limits.iter().map(move |limit| line(account, limit))).collect()
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

fn remarks(report: &LoadReport) -> Vec<String> {
    let mut lines = Vec::new();
    match &report.ended {
        Ended::Completed => {}
        Ended::TargetDown { at_s, calls, error } => lines.push(format!(
            "stopped after {}: {calls} calls in a row had no answer ({}): see whether the target is up",
            seconds(*at_s),
            escape(error)
        )),
        Ended::OverBudget { at_s, max_usd } => lines.push(format!(
            "stopped after {}: the next call would have cost more than the {max_usd} of [budget]",
            seconds(*at_s)
        )),
        Ended::GateFailed { at_s, gate, figure } => lines.push(format!(
            "stopped after {}: {gate} failed{}",
            seconds(*at_s),
            figure.map_or(String::new(), |figure| format!(" ({figure:.4})"))
        )),
        Ended::CommandFailed { at_s, loops: 1, error } => {
            lines.push(format!("stopped after {}: {}", seconds(*at_s), escape(error)));
        }
        Ended::CommandFailed { at_s, loops, error } => lines.push(format!(
            "stopped after {}: {loops} loops in a row ended with an error before they asked a model ({})",
            seconds(*at_s),
            escape(error)
        )),
        Ended::RecordingUnreadable { at_s, error } => lines.push(format!(
            "stopped after {}: a recorded request cannot be read: {}",
            seconds(*at_s),
            escape(error)
        )),
        Ended::Interrupted { at_s } => lines.push(format!("interrupted after {}", seconds(*at_s))),
    }
    if let Some(client) = &report.client {
        let lag = client.schedule_lag_ms.p99();
        lines.push(format!("loops began {} late in the worst of a hundred", percentile(lag, ms)));
        lines.extend(client.invalid_because.iter().map(|why| format!("INVALID: {why}")));
    }
    let all = || parts(report).flat_map(|(_, figures)| distributions(figures));
    if all().any(|of| [of.p50(), of.p95(), of.p99()].iter().flatten().any(|p| !p.certified)) {
        lines.push(
            "? uncertified: the sample is too small for this percentile (p50 needs 11, p95 130, p99 662)"
                .to_owned(),
        );
    }
    if all().any(|of| of.endless() > 0) {
        lines.push(format!("{ENDLESS} a loop that failed counts as longer than any other"));
    }
    if all().any(|of| of.method() == Method::Hdr3Digits) {
        lines.push("percentiles of more than 16,384 values are from a histogram of three digits".to_owned());
    }
    lines.extend(report.prices.iter().filter_map(unpriced));
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

fn unpriced(note: &PriceNote) -> Option<String> {
    let why = super::prices::why_unpriced(note.unpriced?);
    Some(format!("no price is known of {}: {why}", escape(&note.model)))
}

fn distributions(figures: &LoadFigures) -> [&Distribution; 4] {
    let stats = &figures.stats;
    [&stats.loop_duration_ms, &stats.steps_per_loop, &stats.of_steps.step_latency_ms, &stats.of_steps.ttft_ms]
}

fn seconds(s: f64) -> String {
    duration(Ms::from_us((s * 1e6) as i64))
}

pub(super) fn usd(n: f64) -> String {
    Usd::from_f64(n).map_or("–".to_owned(), |usd| usd.to_string())
}
