//! What `looptape test` came to, as Markdown: for `$GITHUB_STEP_SUMMARY` and comments on pull requests.
//!
//! Recorded text is hostile here too: in a table it is escaped, in a block the fence is longer than any in the text.

use super::figures::duration;
use super::gates;
use super::tested;
use crate::test_report::{TestReport, TestResult, TestVerdict};
use looptape_core::gates::{GateReport, GateVerdict};

/// Characters of one failure's details: GitHub takes a megabyte for a whole step.
const MOST_CHARS: usize = 8_000;
/// Failures that are told in full.
const MOST_DETAILS: usize = 30;

/// The whole page.
pub(crate) fn text(report: &TestReport) -> String {
    let mark = if report.exit_code == 0 { "✅" } else { "❌" };
    let mut out = format!("### {mark} looptape test: {}\n\n", cell(&tested::summary(report)));
    out.push_str("| | test | result | calls | time |\n|---|---|---|--:|--:|\n");
    report.tests.iter().for_each(|test| out.push_str(&row(test)));
    out.push_str(&table(&report.gates, "gates over all tests"));
    report.notes.iter().for_each(|note| out.push_str(&format!("\n{}\n", cell(note))));
    for test in report.tests.iter().filter(|test| !test.ran.gates.gates.is_empty()) {
        out.push_str(&table(&test.ran.gates, &format!("gates of {}", test.name)));
    }
    let failed: Vec<&TestResult> = report.tests.iter().filter(|test| test.verdict.is_failure()).collect();
    failed.iter().take(MOST_DETAILS).for_each(|test| out.push_str(&details(test)));
    if failed.len() > MOST_DETAILS {
        out.push_str(&format!("\nand {} more failures\n", failed.len() - MOST_DETAILS));
    }
    out
}

fn row(test: &TestResult) -> String {
    let mark = match &test.verdict {
        TestVerdict::Passed => "✅",
        TestVerdict::NotRun => "⏭️",
        _ => "❌",
    };
    let mut what = match &test.verdict {
        TestVerdict::Passed => "passed".to_owned(),
        verdict => verdict.why().to_owned(),
    };
    if test.is_flaky() {
        what.push_str(&format!(", but only at try {}", test.runs));
    }
    tested::remarks(test).iter().for_each(|remark| what.push_str(&format!("; ⚠️ {remark}")));
    let (name, what) = (cell(&test.name), cell(&what));
    format!("| {mark} | {name} | {what} | {} | {} |\n", test.ran.calls, duration(test.duration_ms))
}

fn table(report: &GateReport, title: &str) -> String {
    if report.gates.is_empty() {
        return String::new();
    }
    let mut out = format!("\n| | {} | figure | |\n|---|---|--:|---|\n", cell(title));
    for gate in &report.gates {
        let mark = match gate.verdict {
            GateVerdict::Passed => "✅",
            GateVerdict::Failed => "❌",
            GateVerdict::Unknown => "❓",
            GateVerdict::UnknownAccepted => "⚠️",
        };
        let (condition, figure) = (cell(&gate.gate), cell(&gates::figure(gate)));
        out.push_str(&format!("| {mark} | {condition} | {figure} | {} |\n", cell(&gates::remarks(gate))));
    }
    out
}

fn details(test: &TestResult) -> String {
    let text = tested::details(test);
    let text = looptape_core::text_diff::beginning(text.trim_end(), MOST_CHARS);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let name = cell(&test.name);
    format!(
        "\n<details><summary>{name}: {}</summary>\n\n{fence}text\n{text}\n{fence}\n</details>\n",
        test.verdict.word()
    )
}

/// Text that stays in its cell: no markup, no line of its own.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '@' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
