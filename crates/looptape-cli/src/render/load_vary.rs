//! Runs with different values, side by side: a table, and bars.

use super::figures::percent;
use super::groups;
use super::stats::{ENDLESS, ms, percentile, rate, usd};
use super::style::{Style, Tone};
use super::table::Table;
use super::terminal_text::{escape, fit, fit_right, width};
use crate::commands::Varied;
use looptape_core::load::LoadFigures;
use looptape_core::metrics::Health;

/// A row a run, then how loops per minute and their p95 compare.
pub(crate) fn text(runs: &[Varied], style: Style) -> String {
    let mut lines = table(runs).lines();
    lines[0] = style.paint(Tone::Quiet, &lines[0]);
    let has_some = |(_, value, _): &&Plot| {
        runs.iter().any(|run| value(&run.run.report.total).is_some_and(f64::is_finite))
    };
    for (title, value, show) in PLOTS.iter().filter(has_some) {
        lines.push(String::new());
        lines.push(style.paint(Tone::Quiet, title));
        lines.extend(bars(runs, *value, *show));
    }
    let legend = legend(runs);
    lines.extend((!legend.is_empty()).then(String::new));
    lines.extend(legend.iter().map(|line| style.paint(Tone::Quiet, line)));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A figure that is drawn: its title, where it is, how it is written.
type Plot = (&'static str, fn(&LoadFigures) -> Option<f64>, fn(f64) -> String);

const PLOTS: &[Plot] = &[
    ("successful loops/min", |figures| figures.stats.successful_loops_per_min, |per_min| rate(Some(per_min))),
    ("loop p95", |figures| figures.stats.loop_duration_ms.p95().map(|p| p.value), ms),
];

/// Columns of the longest bar.
const BAR: usize = 40;

/// What was set.
pub(super) fn name(run: &Varied) -> String {
    let settings: Vec<String> =
        run.settings.iter().map(|one| format!("{}={}", escape(&one.key), escape(&one.written))).collect();
    settings.join(" ")
}

pub(super) fn table(runs: &[Varied]) -> Table {
    let titles = [
        "",
        "success",
        "failed",
        "dropped",
        "loops/min",
        "loop p50",
        "p95",
        "p99",
        "retries",
        "calls/loop",
        "a loop",
        "gates",
    ];
    let row = |run: &Varied| {
        let figures = &run.run.report.total;
        let (stats, loops) = (&figures.stats, &figures.stats.loops);
        let took = &stats.loop_duration_ms;
        let share = |n: u32| match loops.started {
            0 => "–".to_owned(),
            started => percent(f64::from(n) / f64::from(started)),
        };
        let gates = run.run.gates();
        let gates = match (gates.gates.is_empty(), gates.failures().count()) {
            (true, _) => String::new(),
            (false, 0) => "hold".to_owned(),
            (false, failed) => format!("{failed} failed"),
        };
        [
            name(run),
            share(loops.success),
            share(loops.failure),
            loops.dropped.map_or("–".to_owned(), |n| n.to_string()),
            rate(stats.loops_per_min),
            percentile(took.p50(), ms),
            percentile(took.p95(), ms),
            percentile(took.p99(), ms),
            groups::ratio(stats.of_steps.retry_rate, Health::of_retry_rate),
            stats.amplification.map_or("–".to_owned(), |n| format!("{n:.2}")),
            figures.usd_per_loop().map_or("–".to_owned(), usd),
            gates,
        ]
    };
    Table::new(titles, 1, runs.iter().map(row).collect())
}

/// A bar a run; what has no end has none that fits.
fn bars(runs: &[Varied], value: fn(&LoadFigures) -> Option<f64>, show: fn(f64) -> String) -> Vec<String> {
    let values: Vec<Option<f64>> = runs.iter().map(|run| value(&run.run.report.total)).collect();
    let most = values.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let names: Vec<String> = runs.iter().map(name).collect();
    let columns = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let bar = |value: f64| match value {
        endless if endless.is_infinite() => "░".repeat(BAR),
        value if most > 0.0 => "█".repeat(((value / most * BAR as f64).round() as usize).min(BAR)),
        _ => String::new(),
    };
    let line = |(name, value): (&String, &Option<f64>)| match value {
        Some(value) => {
            format!("  {}  {}  {}", fit(name, columns), fit_right(&show(*value), 9), bar(*value))
        }
        None => format!("  {}  {}", fit(name, columns), fit_right("–", 9)),
    };
    names.iter().zip(&values).map(line).collect()
}

/// What the marks mean that are there.
pub(super) fn legend(runs: &[Varied]) -> Vec<String> {
    let took = || runs.iter().map(|run| &run.run.report.total.stats.loop_duration_ms);
    let mut lines = Vec::new();
    if took().any(|of| [of.p50(), of.p95(), of.p99()].iter().flatten().any(|p| !p.certified)) {
        lines.push("? uncertified: the sample is too small for this percentile".to_owned());
    }
    if took().any(|of| of.endless() > 0) {
        lines.push(format!("{ENDLESS} a loop that failed counts as longer than any other"));
    }
    lines
}
