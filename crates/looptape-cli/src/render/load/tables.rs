//! The figures of a run as tables: loops, steps and money by phase, steps by what they are.

use super::super::figures::{count, percent};
use super::super::groups;
use super::super::stats::{cost, ms, percentile, rate, usd, whole};
use super::super::table::Table;
use super::super::terminal_text::escape;
use looptape_core::load::{LoadFigures, LoadReport, Wasted};
use looptape_core::metrics::{Health, PricedSteps, Segment};

/// Each phase, and all of them where there are several.
pub(super) fn parts(report: &LoadReport) -> impl Iterator<Item = (String, &LoadFigures)> {
    let phases = report.phases.iter().map(|phase| (escape(&phase.name), &phase.figures));
    let all = (report.phases.len() > 1).then_some(("all".to_owned(), &report.total));
    phases.chain(all)
}

fn table_of<const N: usize>(
    report: &LoadReport,
    titles: [&str; N],
    cells: fn(&LoadFigures) -> [String; N],
) -> Table {
    let row = |(name, figures): (String, &LoadFigures)| {
        let mut row = cells(figures);
        row[0] = name;
        row
    };
    Table::new(titles, 1, parts(report).map(row).collect())
}

pub(super) fn loops(report: &LoadReport) -> Table {
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

pub(super) fn steps(report: &LoadReport) -> Table {
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

pub(super) fn money(report: &LoadReport) -> Table {
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
            super::super::stats::tokens(tokens.input_total, tokens.at_least),
            stats.of_steps.cache_hit_ratio.map_or("–".to_owned(), percent),
            super::super::stats::tokens(tokens.output_total, tokens.at_least),
            super::super::stats::tokens(Some(figures.wasted.tokens), figures.wasted.at_least),
            wasted(figures.wasted),
            known(figures.month_usd, usd),
        ]
    })
}

pub(super) fn wasted(Wasted { usd, at_least, .. }: Wasted) -> String {
    let sign = if at_least { "≥" } else { "" };
    usd.map_or("–".to_owned(), |usd| format!("{sign}{usd}"))
}

pub(super) fn by_input(report: &LoadReport) -> Table {
    by("input tokens", &report.segments.by_input_tokens)
}

pub(super) fn by_output(report: &LoadReport) -> Table {
    by("output tokens", &report.segments.by_output_tokens)
}

pub(super) fn by_model(report: &LoadReport) -> Table {
    by("model", &report.segments.by_model)
}

/// Where there is more than one of them.
fn by(what: &str, segments: &[Segment<PricedSteps>]) -> Table {
    match segments {
        [] | [_] => Table::new(groups::STEPS, 1, Vec::new()),
        several => groups::table(what, groups::STEPS, several, groups::of_steps),
    }
}
