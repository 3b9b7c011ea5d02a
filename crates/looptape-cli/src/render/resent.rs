//! What `replay` without a command says.

use super::figures::{duration, percent, plural};
use super::terminal_text::escape;
use looptape_core::cost::Usd;
use looptape_core::metrics::{Ms, Percentile, Percentiles};
use looptape_core::replay::driven::{Coverage, DrivenReport, Exactness, Finding, RunLine};
use looptape_core::replay::render_text;

/// Differences that are shown; all of them are in the JSON.
const SHOWN: usize = 12;

/// The result, the figures, the differences, the worst first.
pub(crate) fn text(report: &DrivenReport) -> String {
    let mut lines = vec![verdict(report)];
    lines.extend(classes(report));
    lines.extend(left_out(report));
    lines.push(rates(report));
    lines.extend(latencies(report));
    lines.push(money(report));
    for refused in &report.refused {
        lines.push(format!("refused: trace {}: {}", refused.trace, escape(&refused.why)));
    }
    lines.extend(report.differences.iter().take(SHOWN).map(|finding| difference(report, finding)));
    if report.differences.len() > SHOWN {
        lines.push(format!("  and {} more: --json has them all", report.differences.len() - SHOWN));
    }
    let mut out: String = lines.iter().map(|line| format!("{line}\n")).collect();
    for replay in report.runs.iter().filter_map(|run| run.replay.as_ref()) {
        if !replay.divergences.is_empty() {
            out.push_str(&render_text(replay));
        }
    }
    out.push_str(&format!("diff: {}\n", report.differences.len() + report.divergences()));
    out
}

/// The differences of one run's answers, a line each.
pub(crate) fn remarks(report: &DrivenReport, run: &RunLine) -> String {
    let of_run = |finding: &&Finding| finding.trace == run.trace && finding.run == run.run;
    let line = |finding: &Finding| escape(&format!("{}: {}", finding.label, finding.what)) + "\n";
    report.differences.iter().filter(of_run).map(line).collect()
}

fn verdict(report: &DrivenReport) -> String {
    let word = match report.coverage {
        Coverage::Interrupted => "interrupted",
        Coverage::Whole if report.differences.is_empty() && report.divergences() == 0 => "identical",
        Coverage::Whole => "DIFFERENT",
    };
    match report.exactness {
        Exactness::Bytes => {
            let (identical, calls) = (report.identical, report.calls);
            format!("{word}: {identical} of {calls} recorded answers came back bit for bit")
        }
        Exactness::Meaning => {
            let word = if word == "identical" { "the same" } else { word };
            format!("{word}: {} of {} answers say what was recorded", report.same, report.calls)
        }
    }
}

/// How many answers there are of each class, unless they are all identical.
fn classes(report: &DrivenReport) -> Option<String> {
    let of_class = |(class, count): (&_, &usize)| format!("{count} {class}");
    let classes: Vec<String> = report.classes.iter().map(of_class).collect();
    (report.identical < report.calls).then(|| format!("answers: {}", classes.join(", ")))
}

fn left_out(report: &DrivenReport) -> Vec<String> {
    let calls = |n: usize| plural(n as u32, "call", "calls");
    let mut lines = Vec::new();
    if report.unanswered > 0 {
        lines.push(format!("{} had no recorded end and were left out", calls(report.unanswered)));
    }
    if report.not_sent > 0 {
        let why = "recorded retries, and calls that ask no model";
        lines.push(format!("{} were not sent again: {why}", calls(report.not_sent)));
    }
    lines
}

fn rates(report: &DrivenReport) -> String {
    let mut of = plural(report.loops, "loop", "loops");
    if report.runs.len() > 1 {
        let (traces, runs) = (report.traces as u32, report.runs.len() as u32);
        of = format!("{of}, {} of {}", plural(runs, "run", "runs"), plural(traces, "trace", "traces"));
    }
    format!(
        "{of} in {}: {} loops/min, {} steps per loop (median), retry rate {}",
        duration(report.elapsed_ms),
        report.loops_per_min.map_or("–".to_owned(), |rate| format!("{rate:.0}")),
        report.steps_per_loop.p50.map_or("–".to_owned(), |p| format!("{:.0}", p.value)),
        report.retry_rate.map_or("–".to_owned(), percent),
    )
}

/// Percentiles that the sample supports.
fn latencies(report: &DrivenReport) -> Option<String> {
    let stats = &report.stats;
    let of = |name: &str, percentiles: &Percentiles| {
        let named = [("p50", percentiles.p50), ("p95", percentiles.p95), ("p99", percentiles.p99)];
        let certified = |(name, p): (&str, Option<Percentile>)| {
            let p = p.filter(|p| p.certified)?;
            Some(format!("{name} {}", duration(Ms::from_us((p.value * 1000.0) as i64))))
        };
        let shown: Vec<String> = named.into_iter().filter_map(certified).collect();
        (!shown.is_empty()).then(|| format!("{name} {}", shown.join(", ")))
    };
    let shown: Vec<String> =
        [of("time to first token", &stats.ttft_ms), of("step latency", &stats.step_latency_ms)]
            .into_iter()
            .flatten()
            .collect();
    (!shown.is_empty()).then(|| shown.join(" · "))
}

fn money(report: &DrivenReport) -> String {
    let shown = |usd: Option<Usd>| usd.map_or("an unknown amount".to_owned(), |usd| usd.to_string());
    let at_least = if report.money.at_least { " (at least)" } else { "" };
    let (spent, recorded) = (shown(report.money.spent_usd), shown(report.money.recorded_usd));
    format!("spent {spent}; recorded, this cost {recorded}{at_least}")
}

fn difference(report: &DrivenReport, finding: &Finding) -> String {
    let mut place = String::new();
    if report.traces > 1 {
        place.push_str(&format!("trace {} ", finding.trace));
    }
    if report.runs.len() > report.traces {
        place.push_str(&format!("run {} ", finding.run));
    }
    escape(&format!("  {place}{}: {}", finding.label, finding.what))
}
