//! What `replay -- CMD` says when it is done.

use looptape_core::replay::{Summary, render_text};

/// The verdict first, then what led to it, then the agent's own end.
pub(crate) fn text(summary: &Summary, child_code: i32, requests: u64) -> String {
    let mut out = String::new();
    for line in render_text(summary).lines() {
        out.push_str(&format!("looptape: {line}\n"));
    }
    if requests == 0 && summary.recorded_calls > 0 {
        out.push_str(
            "looptape: no model call reached the replay. Does the program take its base URL from the environment?\n",
        );
    }
    if child_code != 0 {
        out.push_str(&format!("looptape: the agent ended with code {child_code}\n"));
    }
    out
}
