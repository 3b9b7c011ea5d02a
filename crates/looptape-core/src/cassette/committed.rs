//! For tests: the recordings of the repository's `traces/`.

use super::{Cassette, FileName, Files, TapedCall};
use std::path::Path;

/// The calls of one of them.
#[allow(clippy::disallowed_methods, reason = "a test reads what is committed")]
pub(crate) fn committed(name: &str) -> Vec<TapedCall> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces").join(name);
    let mut files = Files::new();
    for below in ["", "calls/", "content/"] {
        for entry in folder.join(below).read_dir().unwrap().flatten() {
            let name = FileName::parse(&format!("{below}{}", entry.file_name().to_string_lossy()));
            files.extend(name.map(|name| (name, std::fs::read(entry.path()).unwrap().into())));
        }
    }
    let cassette = Cassette::open(files).unwrap_or_else(|error| panic!("{name}: {error}"));
    cassette.calls().map(|call| call.unwrap()).collect()
}
