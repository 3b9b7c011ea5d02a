//! What `prune` says.

use super::figures::plural;
use super::terminal_text::escape;
use crate::commands::Pruned;

/// Ids that are listed one by one.
const LISTED: usize = 20;

/// What went and what that freed.
pub(crate) fn text(pruned: &Pruned) -> String {
    let (before, after) = (bytes(pruned.bytes_before), bytes(pruned.bytes_after));
    if pruned.traces.is_empty() && pruned.load_runs.is_empty() {
        return format!("nothing to delete: nothing is beyond the limits ({before})\n");
    }
    let counts = [(&pruned.traces, "trace", "traces"), (&pruned.load_runs, "load run", "load runs")];
    let counts = counts.into_iter().filter(|(ids, ..)| !ids.is_empty());
    let counts: Vec<String> = counts.map(|(ids, one, many)| plural(ids.len() as u32, one, many)).collect();
    let verb = if pruned.dry_run { "would delete" } else { "deleted" };
    let freed = bytes(pruned.bytes_freed);
    let mut out = format!("{verb} {}, freeing {freed} ({before} → {after})\n", counts.join(" and "));
    list(&mut out, &pruned.traces, "");
    list(&mut out, &pruned.load_runs, "load run ");
    out
}

fn list(out: &mut String, ids: &[String], what: &str) {
    for id in ids.iter().take(LISTED) {
        out.push_str(&format!("  {what}{}\n", escape(id)));
    }
    if let Some(more) = ids.len().checked_sub(LISTED).filter(|n| *n > 0) {
        out.push_str(&format!("  and {more} more\n"));
    }
}

/// `950 B`, `12.3 kB`, `1.2 GB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went() {
        let mut pruned = Pruned {
            dry_run: false,
            traces: vec!["a".into(), "b".into()],
            load_runs: Vec::new(),
            bytes_before: 3_000_000,
            bytes_after: 1_200_000,
            bytes_freed: 1_800_000,
        };
        assert_eq!(text(&pruned), "deleted 2 traces, freeing 1.8 MB (3.0 MB → 1.2 MB)\n  a\n  b\n");
        pruned.load_runs = vec!["r".into()];
        assert!(text(&pruned).starts_with("deleted 2 traces and 1 load run, "), "{}", text(&pruned));
        assert!(text(&pruned).ends_with("  b\n  load run r\n"), "{}", text(&pruned));
        pruned.load_runs.clear();
        (pruned.dry_run, pruned.traces) = (true, (0..21).map(|n| n.to_string()).collect());
        let shown = text(&pruned);
        assert!(shown.starts_with("would delete 21 traces") && shown.ends_with("  and 1 more\n"), "{shown}");
        pruned.traces.clear();
        assert!(text(&pruned).starts_with("nothing to delete"));
    }
}
