//! What `verify` says.

use super::figures::plural;
use super::style::{Style, Tone};
use super::terminal_text::escape;
use looptape_store::VerifyReport;

/// What was checked, then what is damaged.
pub(crate) fn text(report: &VerifyReport, style: Style) -> String {
    let checked = format!(
        "{}, {}",
        plural(report.traces as u32, "trace", "traces"),
        plural(report.exchanges as u32, "call", "calls")
    );
    let parts = match report.blobs {
        0 => String::new(),
        blobs => format!(", {blobs} contents, {} chain nodes", report.nodes),
    };
    let runs = match report.load_runs {
        0 => String::new(),
        runs => format!(", {}", plural(runs as u32, "load run", "load runs")),
    };
    let parts = parts + &runs;
    if report.damage.is_empty() {
        return format!("{}: {checked}{parts}\n", style.paint(Tone::Good, "intact"));
    }
    let damaged = plural(report.damage.len() as u32, "damage", "damages");
    let mut out = format!("{}: {damaged} in {checked}{parts}\n", style.paint(Tone::Bad, "DAMAGED"));
    for damage in &report.damage {
        out.push_str(&format!("  {}\n", escape(&damage.to_string())));
    }
    out.push_str("What is not listed is intact. A damaged trace cannot be replayed; the others can.\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_store::Damage;

    #[test]
    fn intact_and_damaged() {
        let style = Style { color: Color::Off, width: 80 };
        let mut report =
            VerifyReport { traces: 1, exchanges: 3, blobs: 9, nodes: 4, load_runs: 0, damage: Vec::new() };
        assert_eq!(text(&report, style), "intact: 1 trace, 3 calls, 9 contents, 4 chain nodes\n");
        report.load_runs = 2;
        report.damage.push(Damage::Node { id: 7 });
        report.damage.push(Damage::LoadRun { id: "4bf92f35".to_owned() });
        insta::assert_snapshot!(text(&report, style), @r"
        DAMAGED: 2 damages in 1 trace, 3 calls, 9 contents, 4 chain nodes, 2 load runs
          chain node 7 points to something that is not there
          load run 4bf92f35: its report cannot be read
        What is not listed is intact. A damaged trace cannot be replayed; the others can.
        ");
    }
}
