//! What `import` says of its files.

use super::figures::plural;
use super::terminal_text::escape;
use crate::commands::{FileImport, Novelty};
use std::path::Path;

/// A file's name, fit for a terminal.
pub(crate) fn file(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// Why a file was refused.
pub(crate) fn refused(path: &Path, reason: &str) -> String {
    format!("{}: refused: {}", file(path), escape(reason))
}

/// What was imported from a file; `None` if it was refused.
pub(crate) fn line(import: &FileImport) -> Option<String> {
    let trace = import.result.as_ref().ok()?;
    let mut line = format!(
        "{}: trace {}, {}",
        file(&import.path),
        trace.label,
        plural(trace.llm_calls, "model call", "model calls")
    );
    if trace.other_calls > 0 {
        line.push_str(&format!(", {}", plural(trace.other_calls, "other call", "other calls")));
    }
    if !trace.byte_exact {
        line.push_str(", bodies written anew (the file holds them parsed)");
    }
    if trace.novelty == Novelty::AlreadyImported {
        line.push_str(", already imported");
    }
    for missing in &trace.missing {
        line.push_str(&format!(", incomplete: {}", escape(missing)));
    }
    line.push('\n');
    Some(line)
}

/// One line of figures for many files.
pub(crate) fn summary(imported: usize, refused: usize, passed_over: u32) -> String {
    let mut parts = vec![format!("{} imported", plural(imported as u32, "file", "files"))];
    if refused > 0 {
        parts.push(format!("{refused} refused"));
    }
    if passed_over > 0 {
        parts.push(format!("{passed_over} passed over (no recordings)"));
    }
    format!("looptape: {}", parts.join(", "))
}
