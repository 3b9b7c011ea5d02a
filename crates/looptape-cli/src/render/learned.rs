//! What `learn` says: the masks as they are pasted, and that they are enough; or why there are none.

use super::terminal_text::escape;
use crate::commands::Learned;
use looptape_core::replay::ServedCounts;

pub(crate) fn text(learned: &Learned) -> String {
    let Learned { first, second, masks, checks, written, .. } = learned;
    if let Some(report) = &learned.difference {
        let mut out = format!(
            "{first} and {second} differ in more than volatile values: no masks are proposed.\n{}: {}\n",
            report.code,
            escape(&report.message)
        );
        if let Some(difference) = &report.difference {
            out.push_str(&format!("  {}\n", escape(&difference.diff.to_string())));
        }
        out.push_str("Record the same program twice with the same input, or see `looptape diff`.\n");
        return out;
    }
    if masks.is_empty() {
        return format!("nothing to learn: {first} and {second} match as they are ({})\n", served(checks));
    }
    let mut out = String::new();
    for mask in masks {
        mask.to_toml().lines().for_each(|line| out.push_str(&(escape(line) + "\n")));
        out.push('\n');
    }
    let noun = if masks.len() == 1 { "this mask" } else { "these masks" };
    out.push_str(&format!("with {noun} {first} and {second} match each other ({})\n", served(checks)));
    out.push_str(&match written {
        Some(path) => format!("added to {}\n", path.display()),
        None => "add them to looptape.toml, or run the command again with --write\n".to_owned(),
    });
    out
}

fn served(checks: &[ServedCounts]) -> String {
    let counts: Vec<String> = checks
        .iter()
        .map(|served| format!("{} calls, {} with volatile values masked", served.total(), served.masked))
        .collect();
    counts.join("; the other way round ")
}
