//! What `replay` without a command says.

use super::driven;
use super::figures::plural;
use super::terminal_text::escape;
use looptape_core::replay::driven::{Coverage, Exactness, Finding, ResentReport, RunLine};

/// Differences that are shown; all of them are in the JSON.
const SHOWN: usize = 12;

/// The result, the figures, the differences, the worst first.
pub(crate) fn text(report: &ResentReport) -> String {
    let mut lines = vec![verdict(report)];
    lines.extend(classes(report));
    lines.extend(left_out(report));
    lines.push(driven::rates(&report.figures));
    lines.extend(driven::latencies(&report.figures));
    lines.push(driven::money(&report.figures));
    lines.extend(driven::refused(&report.figures));
    lines.extend(report.differences.iter().take(SHOWN).map(|finding| difference(report, finding)));
    if report.differences.len() > SHOWN {
        lines.push(format!("  and {} more: --json has them all", report.differences.len() - SHOWN));
    }
    let mut out: String = lines.iter().map(|line| format!("{line}\n")).collect();
    out.push_str(&driven::divergences(&report.figures));
    out.push_str(&format!("diff: {}\n", report.differences.len() + report.figures.divergences()));
    out
}

/// The differences of one run's answers, a line each.
pub(crate) fn remarks(report: &ResentReport, run: &RunLine) -> String {
    let of_run = |finding: &&Finding| finding.trace == run.trace && finding.run == run.run;
    let line = |finding: &Finding| escape(&format!("{}: {}", finding.label, finding.what)) + "\n";
    report.differences.iter().filter(of_run).map(line).collect()
}

fn verdict(report: &ResentReport) -> String {
    let word = match report.figures.coverage {
        Coverage::Interrupted => "interrupted",
        Coverage::Whole if report.is_as_recorded() => "identical",
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
fn classes(report: &ResentReport) -> Option<String> {
    let of_class = |(class, count): (&_, &usize)| format!("{count} {class}");
    let classes: Vec<String> = report.classes.iter().map(of_class).collect();
    (report.identical < report.calls).then(|| format!("answers: {}", classes.join(", ")))
}

fn left_out(report: &ResentReport) -> Vec<String> {
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

fn difference(report: &ResentReport, finding: &Finding) -> String {
    let mut place = String::new();
    if report.figures.traces > 1 {
        place.push_str(&format!("trace {} ", finding.trace));
    }
    if report.figures.runs.len() > report.figures.traces {
        place.push_str(&format!("run {} ", finding.run));
    }
    escape(&format!("  {place}{}: {}", finding.label, finding.what))
}
