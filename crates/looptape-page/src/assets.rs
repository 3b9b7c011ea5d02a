//! What the browser gets: one script, one style sheet, and the document that names both.
//!
//! The script is made of the modules in `assets/`. Each is a plain ES module, so that editors and Node understand
//! it by itself; here their imports and the word `export` are taken out and the modules put one after the other, inside one
//! function, so that a page with its data in one file is made of the same bytes. So no name is used at the top level of two modules.

use crate::vendor::{UPLOT_CSS, UPLOT_JS};
use std::sync::LazyLock;

/// The modules, each after those that it needs while it is read.
const MODULES: &[&str] = &[
    include_str!("../assets/dom.js"),
    include_str!("../assets/recorded.js"),
    include_str!("../assets/format.js"),
    include_str!("../assets/place.js"),
    include_str!("../assets/unpack.js"),
    include_str!("../assets/api.js"),
    include_str!("../assets/parts.js"),
    include_str!("../assets/chart.js"),
    include_str!("../assets/live.js"),
    include_str!("../assets/trace/leaves.js"),
    include_str!("../assets/trace/rows.js"),
    include_str!("../assets/trace/overview.js"),
    include_str!("../assets/trace/conversation.js"),
    include_str!("../assets/trace/step.js"),
    include_str!("../assets/trace/summary.js"),
    include_str!("../assets/trace/context.js"),
    include_str!("../assets/trace/money.js"),
    include_str!("../assets/views/traces.js"),
    include_str!("../assets/views/trace.js"),
    include_str!("../assets/views/diff.js"),
    include_str!("../assets/views/audit.js"),
    include_str!("../assets/numbers/over_time.js"),
    include_str!("../assets/views/numbers.js"),
    include_str!("../assets/views/load.js"),
    include_str!("../assets/views/replay.js"),
    include_str!("../assets/app.js"),
];

const STYLES: &[&str] =
    &[UPLOT_CSS, include_str!("../assets/page.css"), include_str!("../assets/numbers.css")];

/// All that the page runs.
pub(crate) static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let mut script = format!("{UPLOT_JS}\n(() => {{\n'use strict';\n");
    for line in MODULES.iter().flat_map(|module| module.lines()) {
        if !line.starts_with("import ") {
            script.push_str(line.strip_prefix("export ").unwrap_or(line));
            script.push('\n');
        }
    }
    script.push_str("})();\n");
    script
});

/// What everything looks like.
pub(crate) static STYLE: LazyLock<String> = LazyLock::new(|| STYLES.join("\n"));

const DOCUMENT: &str = include_str!("../assets/page.html");

/// The document at a path below `/ui`: assets are named relative to it, since a gateway may serve it behind a token in the path.
pub(crate) fn document(path: &str) -> String {
    let below = path.strip_prefix("/ui").unwrap_or_default();
    let base = match below.matches('/').count() {
        0 => "ui/".to_owned(),
        depth => "../".repeat(depth - 1),
    };
    DOCUMENT.replace("{base}", &base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_found_from_every_depth() {
        let script = |path: &str| {
            let document = document(path);
            let (_, after) = document.split_once("<script src=\"").expect("a script");
            after.split_once('"').expect("an end").0.to_owned()
        };
        assert_eq!(script("/ui"), "ui/assets/page.js");
        assert_eq!(script("/ui/"), "assets/page.js");
        assert_eq!(script("/ui/numbers"), "assets/page.js");
        assert_eq!(script("/ui/trace/last"), "../assets/page.js");
    }

    #[test]
    fn the_script_is_one_without_imports() {
        for line in SCRIPT.lines() {
            assert!(!line.starts_with("import ") && !line.starts_with("export "), "{line}");
        }
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(MODULES.iter().all(|module| !module.contains(word)), "{word}");
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names = std::collections::HashSet::new();
        for line in MODULES.iter().flat_map(|module| module.lines()) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let line = line.strip_prefix("async ").unwrap_or(line);
            let kinds = ["const ", "let ", "function ", "class "];
            let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) else { continue };
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || "_$".contains(*c)).collect();
            assert!(names.insert(name.clone()), "`{name}` is at the top level of two modules");
        }
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        for own in MODULES.iter().chain(&[include_str!("../assets/page.css"), DOCUMENT]) {
            let own = own.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains("http:") && !own.contains("https:") && !own.contains("url("), "{own}");
        }
    }
}
