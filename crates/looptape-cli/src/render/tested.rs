//! What `looptape test` says in a terminal.

use super::figures::{count, duration, plural};
use super::gates;
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit};
use crate::test_entry::{Mode, Test};
use crate::test_report::{Recorded, TestReport, TestResult, TestVerdict};
use looptape_core::replay::render_text;
use serde::Serialize;

/// Columns of a test's name.
const NAME_COLUMNS: usize = 28;

/// One test: a line, and what there is to know of a failure.
pub(crate) fn result(test: &TestResult, style: Style) -> String {
    let mut out = format!("{}\n", line(test, style));
    if test.verdict.is_failure() && test.verdict != TestVerdict::Interrupted {
        for line in details(test).lines() {
            out.push_str(format!("    {line}").trim_end());
            out.push('\n');
        }
    }
    let gates = gates::text(&test.ran.gates, style);
    gates.lines().for_each(|line| out.push_str(&format!("    {line}\n")));
    out
}

fn line(test: &TestResult, style: Style) -> String {
    let (mark, tone) = match &test.verdict {
        TestVerdict::Passed => ("✓", Tone::Good),
        TestVerdict::NotRun => ("–", Tone::Quiet),
        _ => ("✗", Tone::Bad),
    };
    let mut parts = Vec::new();
    match &test.verdict {
        TestVerdict::Passed => {
            let calls = plural(u32::try_from(test.ran.calls).unwrap_or(u32::MAX), "call", "calls");
            parts.push(format!("{calls} · {}", duration(test.duration_ms)));
        }
        verdict => parts.push(escape(verdict.why())),
    }
    if test.is_flaky() {
        parts.push(style.paint(Tone::Warning, &format!("passed at try {} of {}", test.runs, test.runs)));
    }
    parts.extend(remarks(test).iter().map(|remark| style.paint(Tone::Warning, remark)));
    format!("{} {}  {}", style.paint(tone, mark), fit(&escape(&test.name), NAME_COLUMNS), parts.join(" · "))
}

/// What is not as it should be, though it fails nothing.
pub(crate) fn remarks(test: &TestResult) -> Vec<String> {
    let mut remarks = Vec::new();
    match test.recorded {
        Recorded::Before => {}
        Recorded::New => remarks.push("recorded now".to_owned()),
        Recorded::Again => remarks.push("recorded again".to_owned()),
    }
    if let (true, Some(days)) = (test.stale, test.age_days) {
        remarks.push(format!("recorded {days:.0} days ago: older than --max-age"));
    }
    remarks
}

/// Everything about a failure, plain and escaped.
pub(crate) fn details(test: &TestResult) -> String {
    let replay = test.ran.replay.as_ref().filter(|replay| !replay.divergences.is_empty());
    replay.map(render_text).unwrap_or_default() + &besides_replay(test)
}

/// What there is to say of a failure beside the replay's own report.
pub(crate) fn besides_replay(test: &TestResult) -> String {
    let mut out = test.ran.differences.clone();
    let output = test.ran.output.trim_end();
    if !output.is_empty() {
        out.push_str("the agent wrote (its end):\n");
        output.lines().for_each(|line| out.push_str(&format!("  │ {}\n", escape(line))));
    }
    out.push_str(&format!("again: {}\n", escape(&test.again)));
    out
}

/// The gates of all tests, and how many passed.
pub(crate) fn closing(report: &TestReport, style: Style) -> String {
    let mut out = String::from("\n");
    if !report.gates.gates.is_empty() {
        out.push_str(&style.paint(Tone::Strong, "gates over all tests"));
        out.push('\n');
        out.push_str(&gates::text(&report.gates, style));
        report.notes.iter().for_each(|note| out.push_str(&format!("note: {}\n", escape(note))));
        out.push('\n');
    }
    let tone = if report.exit_code == 0 { Tone::Good } else { Tone::Bad };
    out.push_str(&style.paint(tone, &summary(report)));
    out.push('\n');
    out
}

/// `3 passed, 1 failed in 1.23 s`.
pub(crate) fn summary(report: &TestReport) -> String {
    let counts = report.counts;
    let mut parts = vec![format!("{} passed", counts.passed)];
    for (n, what) in [
        (counts.failed, "failed"),
        (counts.flaky, "flaky"),
        (counts.not_run, "not run"),
        (counts.stale, "with an old recording"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    format!("{} in {}", parts.join(", "), duration(report.elapsed_ms))
}

/// A test as `--list` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<'a> {
    name: &'a str,
    recording: String,
    mode: Mode,
    tags: Vec<&'a str>,
    gates: Vec<String>,
}

impl<'a> Listed<'a> {
    pub(crate) fn all(tests: &'a [Test]) -> Vec<Self> {
        let listed = |test: &'a Test| Self {
            name: &test.name,
            recording: test.recording.label(),
            mode: test.drive.mode(),
            tags: test.tags.iter().map(String::as_str).collect(),
            gates: test.gates.iter().map(ToString::to_string).collect(),
        };
        tests.iter().map(listed).collect()
    }
}

/// A line a test.
pub(crate) fn list(tests: &[Test]) -> String {
    let line = |test: &Listed<'_>| {
        let tags: Vec<String> = test.tags.iter().map(|tag| format!("#{}", escape(tag))).collect();
        let (name, mode) = (fit(&escape(test.name), NAME_COLUMNS), fit(test.mode.as_str(), 14));
        format!("{name}  {mode}  {}  {}", escape(&test.recording), tags.join(" ")).trim_end().to_owned()
            + "\n"
    };
    let mut out: String = Listed::all(tests).iter().map(line).collect();
    out.push_str(&format!("{} tests\n", count(tests.len() as u64)));
    out
}
