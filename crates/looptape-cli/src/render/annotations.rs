//! What went wrong in a replay, as annotations of a GitHub action: one a cause.
//!
//! The runner reads commands from the output, line by line. So what is recorded is escaped as its data and as
//! its properties ask, and never begins a line.

use super::gates;
use super::junit::Case;
use crate::exit::Exit;
use looptape_core::gates::{GateReport, GateResult};
use looptape_core::replay::{Report, report_text};

/// GitHub shows ten annotations of one step.
const MOST: usize = 10;
/// Characters of one annotation.
const MOST_CHARS: usize = 3_500;

/// One line for each cause of a failure.
pub(crate) fn lines(case: &Case<'_>) -> Vec<String> {
    if case.exit == Exit::Success {
        return Vec::new();
    }
    let causes = case.causes();
    if causes.is_empty() {
        return vec![command("error", &case.name(), &case.other_failure())];
    }
    causes
        .iter()
        .take(MOST)
        .map(|report| command("error", &title(case, report), &report_text::of(report)))
        .collect()
}

fn title(case: &Case<'_>, report: &Report) -> String {
    match report.step {
        Some(step) => format!("{} at step {step} of {}", report.code, case.trace),
        None => format!("{} in the replay of {}", report.code, case.trace),
    }
}

/// A line that fails nothing.
pub(crate) fn warning(title: &str, message: &str) -> String {
    command("warning", title, message)
}

/// One line for each gate that failed.
pub(crate) fn of_gates(report: &GateReport) -> Vec<String> {
    let line = |gate: &GateResult| {
        let message = format!("{}: {} {}", gate.gate, gates::figure(gate), gates::remarks(gate));
        command("error", &format!("gate on {}", gate.metric), &message)
    };
    report.failures().map(line).collect()
}

fn command(level: &str, title: &str, message: &str) -> String {
    let message = looptape_core::text_diff::beginning(message.trim_end(), MOST_CHARS);
    format!("::{level} title={}::{}", property(title), data(&message))
}

/// As the runner wants a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the runner wants a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::junit;
    use super::*;
    use looptape_core::replay::Summary;
    use serde_json::json;

    fn summary(sent: &str) -> Summary {
        let report = json!({"code": "VOLATILE_TOOL_RESULT", "root": true, "step": 3, "lane": 0,
            "message": format!("The result of {sent} is not the recorded one."), "endpoint": "POST /v1/messages",
            "nearest": null, "requests": 1, "next_step": "Look."});
        let follows = json!({"code": "UNUSED_RECORDING", "root": false, "step": 4, "lane": 0, "message": "One is left.",
            "endpoint": "", "nearest": null, "requests": 0});
        serde_json::from_value(json!({"verdict": "diverged", "recorded_calls": 4,
            "served": {"bytes": 2, "canonical": 0, "renamed": 0, "masked": 0, "by_arrival": 0},
            "collapsed_attempts": 0, "side_calls": 0, "billing_differences": [], "unused": [],
            "divergences": [report, follows]}))
        .unwrap()
    }

    fn case<'a>(summary: &'a Summary, exit: Exit) -> Case<'a> {
        Case {
            trace: "job,1",
            agent: None,
            exit,
            agent_code: Some(0),
            summary: Some(summary),
            remarks: "",
            test: None,
        }
    }

    const HOSTILE: &str = "a%0Ab\n::warning::<b>\u{1b}[2J\u{0}]]>&\"";

    #[test]
    fn recorded_text_stays_inside_its_annotation() {
        let summary = summary(HOSTILE);
        let lines = lines(&case(&summary, Exit::Diverged));
        assert_eq!(lines.len(), 1, "the cause, not what follows from it");
        assert!(
            lines[0].starts_with("::error title=VOLATILE_TOOL_RESULT at step 3 of job%2C1::VOLATILE"),
            "{lines:?}"
        );
        assert!(lines[0].contains("a%250Ab\\n::warning::"), "{lines:?}");
        assert!(
            !lines[0].contains(|c: char| c.is_control()) && lines[0].contains("%0A  next      Look."),
            "{lines:?}"
        );
        assert!(super::lines(&case(&summary, Exit::Success)).is_empty());
    }

    #[test]
    fn recorded_text_stays_inside_its_test_case() {
        let summary = summary(HOSTILE);
        let xml = junit::text(&[case(&summary, Exit::Diverged)]).unwrap();
        assert!(xml.contains(r#"<testcase name="job,1" classname="replay">"#), "{xml}");
        assert!(
            xml.contains(r#"type="VOLATILE_TOOL_RESULT""#) && xml.contains("UNUSED_RECORDING: One is left."),
            "{xml}"
        );
        assert!(
            xml.contains("&lt;b&gt;")
                && !xml.contains("<b>")
                && !xml.contains('\u{1b}')
                && !xml.contains('\0'),
            "{xml}"
        );
        assert!(
            xml.contains(r#"tests="1" skipped="0" failures="1" errors="0""#) && !xml.contains("time"),
            "{xml}"
        );
        let passed = junit::text(&[case(&summary, Exit::Success)]).unwrap();
        assert!(passed.contains(r#"failures="0""#) && !passed.contains("VOLATILE"), "{passed}");
        let failed = Case { agent_code: Some(7), summary: None, ..case(&summary, Exit::Child(7)) };
        let xml = junit::text(&[failed]).unwrap();
        assert!(xml.contains("the agent ended with code 7") && xml.contains(r#"errors="1""#), "{xml}");
    }
}
