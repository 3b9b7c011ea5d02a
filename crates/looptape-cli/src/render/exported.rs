//! What `export` and `pull` say of a trace.

use super::figures::plural;
use super::terminal_text::escape;
use crate::commands::{Exported, ExportedPage, FormatArg, LARGE_BYTES, Pulled};

/// Where the cassette is and what it holds.
pub(crate) fn text(exported: &Exported) -> String {
    let size = size(exported.bytes);
    let files = match exported.format {
        FormatArg::Folder => format!(", {}", plural(exported.files as u32, "file", "files")),
        FormatArg::File => String::new(),
    };
    let path = escape(&exported.path.to_string_lossy());
    let calls = plural(exported.calls as u32, "call", "calls");
    format!("{path}: trace {}, {calls}{files}, {size}\n{}", exported.trace, lacks(&exported.missing))
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 10_000 => format!("{bytes} bytes"),
        bytes if bytes < 10_000_000 => format!("{} KB", bytes / 1000),
        bytes => format!("{} MB", bytes / 1_000_000),
    }
}

/// Where the page is, how large, and what is in it.
pub(crate) fn page(exported: &ExportedPage) -> String {
    let path = escape(&exported.path.to_string_lossy());
    let holds = if exported.bodies { "with what was said" } else { "without what was said" };
    let size = size(exported.bytes);
    let large = match exported.bytes > LARGE_BYTES {
        true => "browsers open so large a page slowly: --without-bodies makes it smaller\n",
        false => "",
    };
    format!("{path}: trace {}, {holds}, {size}\n{large}", exported.trace)
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
