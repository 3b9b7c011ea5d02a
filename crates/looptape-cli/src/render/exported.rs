//! What `export` and `pull` say of a trace.

use super::figures::plural;
use super::terminal_text::escape;
use crate::commands::{Exported, FormatArg, Pulled};

/// Where the cassette is and what it holds.
pub(crate) fn text(exported: &Exported) -> String {
    let size = match exported.bytes {
        bytes if bytes < 10_000 => format!("{bytes} bytes"),
        bytes if bytes < 10_000_000 => format!("{} KB", bytes / 1000),
        bytes => format!("{} MB", bytes / 1_000_000),
    };
    let files = match exported.format {
        FormatArg::Folder => format!(", {}", plural(exported.files as u32, "file", "files")),
        FormatArg::File => String::new(),
    };
    let path = escape(&exported.path.to_string_lossy());
    let calls = plural(exported.calls as u32, "call", "calls");
    format!("{path}: trace {}, {calls}{files}, {size}\n{}", exported.trace, lacks(&exported.missing))
}

/// What is here now.
pub(crate) fn pulled(pulled: &Pulled) -> String {
    let calls = plural(pulled.calls as u32, "call", "calls");
    let already = if pulled.already_here { ", already here" } else { "" };
    format!("trace {}, {calls}{already}\n{}", pulled.trace, lacks(&pulled.missing))
}

fn lacks(missing: &[String]) -> String {
    missing.iter().map(|missing| format!("incomplete: {}\n", escape(missing))).collect()
}
