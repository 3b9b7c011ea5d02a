//! What `mcp --check` prints.

use super::style::{Style, Tone};
use super::terminal_text::escape;
use crate::commands::Checked;
use looptape_core::mcp::drift::Drift;

/// One line that says whether anything changed, then one for each change.
pub(crate) fn checked(checked: &Checked, style: Style) -> String {
    let Checked { server, trace, recorded_tools, tools, drift } = checked;
    let head = match drift.is_empty() {
        true => {
            style.paint(Tone::Good, &format!("✓ {server} offers the {tools} tools that {trace} recorded"))
        }
        false => {
            let count = drift.len();
            let noun = if count == 1 { "change" } else { "changes" };
            let text = format!(
                "✗ {server} drifted from {trace}: {count} {noun}, {recorded_tools} tools then, {tools} now"
            );
            style.paint(Tone::Bad, &text)
        }
    };
    let line = |drift: &Drift| {
        let tone = match drift {
            Drift::Added { .. } => Tone::Good,
            Drift::Removed { .. } => Tone::Bad,
            Drift::Changed { .. } => Tone::Warning,
        };
        style.paint(tone, &format!("  {}", escape(&drift.to_string())))
    };
    let lines: Vec<String> = std::iter::once(head).chain(drift.iter().map(line)).collect();
    lines.join("\n") + "\n"
}
