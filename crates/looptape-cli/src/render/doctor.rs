//! What `doctor` says.

use super::figures::plural;
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit};
use crate::commands::{Finding, Level};

/// A line for each finding, what to do under it, and a closing line.
pub(crate) fn text(findings: &[Finding], style: Style) -> String {
    let mut out = String::new();
    for finding in findings {
        let (word, tone) = match finding.level {
            Level::Ok => ("ok", Tone::Good),
            Level::Warning => ("warning", Tone::Warning),
            Level::Problem => ("problem", Tone::Bad),
        };
        // Messages of several lines, as TOML's with the line that is wrong, stay readable.
        let mut lines = finding.says.lines().map(escape);
        let first = lines.next().unwrap_or_default();
        let head = format!("{} {}  {first}", style.paint(tone, &fit(word, 7)), fit(finding.check, 13));
        out.push_str(head.trim_end());
        out.push('\n');
        for line in lines {
            out.push_str(format!("{}{line}", " ".repeat(23)).trim_end());
            out.push('\n');
        }
        if let Some(to_do) = &finding.to_do {
            out.push_str(&format!("{}→ {}\n", " ".repeat(23), escape(to_do)));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count() as u32;
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    out.push_str(&format!(
        "\n{}, {}\n",
        plural(problems, "problem", "problems"),
        plural(warnings, "warning", "warnings")
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;

    #[test]
    fn findings() {
        let finding = |check, level, says: &str, to_do: Option<&str>| Finding {
            check,
            level,
            says: says.to_owned(),
            to_do: to_do.map(str::to_owned),
        };
        let findings = [
            finding("database", Level::Ok, "/tmp/x.db (1.2 MB)", None),
            finding("recordings", Level::Warning, "job\u{1b}[2J is aborted: killed", Some("record again")),
            finding(
                "looptape.toml",
                Level::Problem,
                "line 2, column 1\n  |\n2 | max_agee = 1",
                Some("correct it"),
            ),
        ];
        insta::assert_snapshot!(text(&findings, Style { color: Color::Off, width: 80 }), @r"
        ok      database       /tmp/x.db (1.2 MB)
        warning recordings     job\u{1b}[2J is aborted: killed
                               → record again
        problem looptape.toml  line 2, column 1
                                 |
                               2 | max_agee = 1
                               → correct it

        1 problem, 1 warning
        ");
    }
}
