//! A divergence as plain text: a sentence, the place, the change, the nearest recorded call, what to do next.
//!
//! Recorded text is made visible. No line of it begins with recorded text, so that nothing in it can pass for
//! a line of ours or for a command to whatever reads the output.

use super::components::Component;
use super::difference::Difference;
use super::report::{Nearest, Report};
use crate::visible_text::escape;

/// A value of at most so many characters is shown beside the other one.
const SHORT_CHARS: usize = 60;

/// The text of one report, each line ended.
pub fn of(report: &Report) -> String {
    let mut out = String::new();
    push_line(&mut out, 0, &format!("{}: {}", report.code, report.message));
    if !report.endpoint.is_empty() {
        push_fact(&mut out, "request", &report.endpoint);
    }
    if let Some(difference) = &report.difference {
        push_difference(&mut out, difference);
    }
    if let Some(nearest) = &report.nearest {
        push_fact(&mut out, "nearest", &likeness(nearest));
    }
    if !report.candidates.is_empty() {
        let labels: Vec<String> = report.candidates.iter().map(ToString::to_string).collect();
        push_fact(&mut out, "candidates", &labels.join(", "));
    }
    if report.requests > 1 {
        push_fact(&mut out, "met by", &format!("{} identical requests", report.requests));
    }
    if !report.next_step.is_empty() {
        push_fact(&mut out, "next", &report.next_step);
    }
    if let Some(mask) = &report.mask {
        push_fact(&mut out, "mask", "for looptape.toml, if this is to differ from run to run:");
        mask.lines().for_each(|line| push_line(&mut out, 4, line));
    }
    out
}

fn push_difference(out: &mut String, difference: &Difference) {
    if !difference.pointer.is_empty() {
        push_fact(out, "at", &difference.pointer);
    }
    let (recorded, sent) = (difference.expected.as_deref(), difference.actual.as_deref());
    let is_short = |side: Option<&str>| {
        side.is_none_or(|text| text.chars().nth(SHORT_CHARS).is_none() && !text.contains('\n'))
    };
    if is_short(recorded) && is_short(sent) {
        push_fact(out, "recorded", recorded.unwrap_or("(nothing)"));
        push_fact(out, "sent", sent.unwrap_or("(nothing)"));
        return;
    }
    let what = match (recorded, sent) {
        (Some(_), None) => "recorded and not sent",
        (None, Some(_)) => "sent and not recorded",
        _ => "[-recorded-]{+sent+}",
    };
    push_fact(out, "change", what);
    for line in difference.diff.to_string().split('\n') {
        push_line(out, 4, &format!("| {line}"));
    }
}

fn likeness(nearest: &Nearest) -> String {
    let names = |components: &[Component]| {
        components.iter().map(|component| component.as_str()).collect::<Vec<_>>().join(", ")
    };
    let lane =
        if nearest.label.lane == 0 { String::new() } else { format!(" (lane {})", nearest.label.lane) };
    let mut parts = vec![format!(
        "{}{lane}: {} of {} messages in common",
        nearest.label, nearest.common_messages, nearest.live_messages
    )];
    for (what, components) in [("same", &nearest.same), ("different", &nearest.different)] {
        if !components.is_empty() {
            parts.push(format!("{what} {}", names(components)));
        }
    }
    parts.join("; ")
}

fn push_fact(out: &mut String, name: &str, value: &str) {
    push_line(out, 2, &format!("{name:<9} {value}"));
}

/// A line of our own that may hold recorded text.
pub(super) fn push_line(out: &mut String, indent: usize, line: &str) {
    out.extend(std::iter::repeat_n(' ', indent));
    out.push_str(escape(line).trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::report::DivergenceCode;
    use crate::replay::tape::CallLabel;

    fn report(recorded: Option<&str>, sent: Option<&str>) -> Report {
        let at = CallLabel { seq: 4, step: Some(3), lane: 0 };
        let difference = Difference::of_texts("/messages/2/content".to_owned(), recorded, sent);
        let message = "The result of search sent at step 3 is not the recorded one.".to_owned();
        let report = Report::new(DivergenceCode::VolatileToolResult, Some(at), message);
        Report { difference: Some(difference), next_step: "Do something.".to_owned(), ..report }
    }

    #[test]
    fn short_values_stand_below_each_other() {
        insta::assert_snapshot!(of(&report(Some("12 °C"), Some("13 °C"))), @r"
        VOLATILE_TOOL_RESULT: The result of search sent at step 3 is not the recorded one.
          at        /messages/2/content
          recorded  12 °C
          sent      13 °C
          next      Do something.
        ");
        assert!(of(&report(None, Some("13 °C"))).contains("recorded  (nothing)\n  sent      13 °C\n"));
    }

    #[test]
    fn long_values_are_one_text_that_cannot_pass_for_ours() {
        let text = |word: &str| {
            format!("first line\n::error::{word}\n\u{1b}[2Jlast line, which is long enough for a block")
        };
        insta::assert_snapshot!(of(&report(Some(&text("old")), Some(&text("new")))), @r"
        VOLATILE_TOOL_RESULT: The result of search sent at step 3 is not the recorded one.
          at        /messages/2/content
          change    [-recorded-]{+sent+}
            | first line
            | ::error::[-old-]{+new+}
            | \u{1b}[2Jlast line, which is long enough for a block
          next      Do something.
        ");
    }

    #[test]
    fn candidates_are_listed() {
        let label = |seq| CallLabel { seq, step: Some(seq + 1), lane: seq };
        let report = Report { candidates: vec![label(1), label(2)], ..report(None, None) };
        assert!(of(&report).contains("candidates step 2, step 3\n"));
    }
}
