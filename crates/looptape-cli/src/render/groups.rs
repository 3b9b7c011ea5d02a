//! The groups of a set of traces, as a table.

use super::figures::percent;
use super::stats::{cost, heading, ms, percentile, rate, tokens, whole};
use super::style::{Style, Tone};
use super::table::Table;
use super::terminal_text::escape;
use looptape_core::metrics::{
    GroupBy, Groups, Health, HealthReport, KindFigures, PricedSteps, Segment, Stats, THRESHOLDS, Threshold,
    ToolFigures,
};

/// The set, then a line for each group.
pub(crate) fn text(stats: &Stats, by: &GroupBy, groups: &Groups, style: Style) -> String {
    let by = by.to_string();
    let table = match groups {
        Groups::Traces(groups) => table(&by, TRACES, groups, of_traces).lines(),
        Groups::Steps(groups) => table(&by, STEPS, groups, of_steps).lines(),
        Groups::Tools(groups) => table(&by, TOOLS, groups, of_tools).lines(),
        Groups::Kinds(groups) => table(&by, KINDS, groups, of_kind).lines(),
    };
    let mut lines = heading(stats);
    lines.push(String::new());
    match table.len() {
        0 | 1 => lines.push(format!("nothing to group by {}", escape(&by))),
        _ => {
            lines.push(style.paint(Tone::Quiet, &table[0]));
            lines.extend_from_slice(&table[1..]);
            lines.push(String::new());
            lines.extend(legend(&table).map(|line| style.paint(Tone::Quiet, &line)));
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What the marks in a table mean, those that are there.
pub(super) fn legend(table: &[String]) -> impl Iterator<Item = String> {
    let is_there = |mark: &str| table.iter().any(|line| line.contains(mark));
    let uncertified =
        is_there("?").then(|| "? uncertified: the sample is too small for this percentile".to_owned());
    let held_to = |one: Threshold| {
        let critical = one.critical.map_or(String::new(), |critical| format!(", critical {critical}"));
        format!("  {}: warn {}{critical}", one.metric, one.warn)
    };
    let judged = is_there(" !").then(|| THRESHOLDS.map(held_to)).into_iter().flatten();
    let heading = is_there(" !").then(|| "! warn, !! critical:".to_owned());
    uncertified.into_iter().chain(heading).chain(judged)
}

/// A table with the groups' keys on the left.
pub(super) fn table<F, const N: usize>(
    by: &str,
    titles: [&str; N],
    groups: &[Segment<F>],
    cells: fn(&F) -> [String; N],
) -> Table {
    let by = escape(by);
    let mut titles: [&str; N] = titles;
    titles[0] = &by;
    let row = |group: &Segment<F>| {
        let mut row = cells(&group.figures);
        row[0] = escape(&group.key);
        row
    };
    Table::new(titles, 1, groups.iter().map(row).collect())
}

/// A figure with the mark of its health.
fn marked(text: String, health: Option<Health>) -> String {
    match health {
        Some(Health::Critical) => format!("{text} !!"),
        Some(Health::Warn) => format!("{text} !"),
        Some(Health::Healthy) | None => text,
    }
}

pub(super) fn ratio(share: Option<f64>, judge: fn(f64) -> Health) -> String {
    marked(share.map_or("–".to_owned(), percent), share.map(judge))
}

/// The first column is the group's key.
const TRACES: [&str; 12] = [
    "",
    "loops",
    "loops/min",
    "steps",
    "latency p50",
    "p95",
    "TTFT p50",
    "retries",
    "context",
    "in",
    "out",
    "cost",
];

fn of_traces(of: &Stats) -> [String; 12] {
    let (steps, health) = (&of.of_steps, HealthReport::of(of));
    [
        String::new(),
        of.loops.started.to_string(),
        rate(of.loops_per_min),
        marked(percentile(of.steps_per_loop.p50(), whole), health.steps_per_loop),
        marked(percentile(steps.step_latency_ms.p50(), ms), health.step_latency_ms),
        percentile(steps.step_latency_ms.p95(), ms),
        percentile(steps.ttft_ms.p50(), ms),
        ratio(steps.retry_rate, Health::of_retry_rate),
        ratio(steps.context.context_used_peak, Health::of_context),
        tokens(steps.tokens.input_total, steps.tokens.at_least),
        tokens(steps.tokens.output_total, steps.tokens.at_least),
        cost(&of.cost),
    ]
}

pub(super) const STEPS: [&str; 12] = [
    "",
    "steps",
    "latency p50",
    "p95",
    "TTFT p50",
    "TPOT p50",
    "retries",
    "context",
    "in",
    "cached",
    "out",
    "cost",
];

pub(super) fn of_steps(of: &PricedSteps) -> [String; 12] {
    let steps = &of.steps;
    [
        String::new(),
        steps.steps.to_string(),
        percentile(steps.step_latency_ms.p50(), ms),
        percentile(steps.step_latency_ms.p95(), ms),
        percentile(steps.ttft_ms.p50(), ms),
        percentile(steps.tpot_ms.p50(), ms),
        ratio(steps.retry_rate, Health::of_retry_rate),
        ratio(steps.context.context_used_peak, Health::of_context),
        tokens(steps.tokens.input_total, steps.tokens.at_least),
        steps.cache_hit_ratio.map_or("–".to_owned(), percent),
        tokens(steps.tokens.output_total, steps.tokens.at_least),
        cost(&of.cost),
    ]
}

const TOOLS: [&str; 7] = ["", "calls", "errors", "p50", "p95", "p99", "of the loop"];

/// Calls that were not measured are known by an upper bound.
fn of_tools(of: &ToolFigures) -> [String; 7] {
    let is_measured = of.measured > 0;
    let took = if is_measured { &of.tool_ms } else { &of.tool_inferred_ms };
    let at_most = if is_measured { "" } else { "≤" };
    let [p50, p95, p99] = [took.p50(), took.p95(), took.p99()].map(|p| match percentile(p, ms) {
        known if p.is_some() => format!("{at_most}{known}"),
        unknown => unknown,
    });
    let unknown = || "–".to_owned();
    let failed = of.errors + of.timeouts + of.aborted;
    let errors = of.error_rate.map_or_else(unknown, |rate| format!("{failed} ({})", percent(rate)));
    let calls = match of.measured {
        0 => of.calls.to_string(),
        measured if measured == of.calls => of.calls.to_string(),
        measured => format!("{} ({measured} measured)", of.calls),
    };
    let share = of.loop_share.map_or_else(unknown, percent);
    [String::new(), calls, errors, p50, p95, p99, share]
}

const KINDS: [&str; 5] = ["", "calls", "latency p50", "p95", "p99"];

fn of_kind(of: &KindFigures) -> [String; 5] {
    let took = &of.latency_ms;
    let [p50, p95, p99] = [took.p50(), took.p95(), took.p99()].map(|p| percentile(p, ms));
    [String::new(), of.calls.to_string(), p50, p95, p99]
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_core::cost::Usd;
    use looptape_core::metrics::{CostFigures, Distribution, Ms, StepFigures, TokenSums};

    #[test]
    fn a_line_for_each_group() {
        let group = |key: &str, retries: u32| {
            let latencies = (1..=12).map(|n| Ms::from_us(n * 100_000));
            let steps = StepFigures {
                steps: 12,
                retries,
                retry_rate: Some(f64::from(retries) / 12.0),
                step_latency_ms: Distribution::of_ms(latencies),
                tokens: TokenSums {
                    input_total: Some(12_345),
                    output_total: Some(678),
                    ..TokenSums::default()
                },
                ..StepFigures::default()
            };
            let cost = CostFigures { usd: Usd::from_f64(0.012), at_least: retries > 0, by_leaf: None };
            Segment { key: key.to_owned(), figures: PricedSteps { steps, cost } }
        };
        let groups = Groups::Steps(vec![group("gpt-4o", 0), group("odd\u{1b}[2J", 3)]);
        let style = Style { color: Color::Off, width: 120 };
        insta::assert_snapshot!(text(&Stats::default(), &GroupBy::Model, &groups, style), @r"
        0 traces · 0 loops · 0 steps · 0 tool calls · 0 attempts
        window: none, no trace has times of its own

        model         steps  latency p50      p95  TTFT p50  TPOT p50  retries  context     in  cached  out     cost
        gpt-4o           12       600 ms  1.20 s?         –         –      0 %        –  12.3k       –  678   $0.012
        odd\u{1b}[2J     12       600 ms  1.20 s?         –         –  25 % !!        –  12.3k       –  678  ≥$0.012

        ? uncertified: the sample is too small for this percentile
        ! warn, !! critical:
          retry_rate: warn above 5 %, critical above 10 %
          steps_per_loop: warn p95 from 2 × p50
          step_latency_ms: warn p99 from 2 × p50
          context_used: warn above 75 %, critical above 90 %
        ");
        let none = text(&Stats::default(), &GroupBy::Tool, &Groups::Tools(Vec::new()), style);
        assert!(none.contains("nothing to group by tool"), "{none}");
    }
}
