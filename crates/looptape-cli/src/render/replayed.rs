//! What `replay -- CMD` says when it is done.

use crate::child::process::{Ended, Interruption};
use crate::replay_trace::Stored;
use looptape_core::replay::{Summary, render_text};

/// What there is to say.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) summary: &'a Summary,
    pub(crate) child: Ended,
    /// Requests that reached the tape server.
    pub(crate) requests: u64,
    /// The replay's own trace.
    pub(crate) stored: Option<&'a Stored>,
}

/// The verdict first, then what led to it, then the agent's own end, then where it is written down.
pub(crate) fn text(told: &Told<'_>) -> String {
    let mut lines: Vec<String> = render_text(told.summary).lines().map(str::to_owned).collect();
    if told.requests == 0 && told.summary.recorded_calls > 0 {
        lines.push(NOTHING_CAME.to_owned());
    }
    lines.extend(told.child.interrupted.map(Interruption::as_str).map(str::to_owned));
    if told.child.code != 0 {
        lines.push(format!("the agent ended with code {}", told.child.code));
    }
    if let Some(stored) = told.stored {
        let gaps = stored.gaps.iter();
        lines.extend(
            gaps.map(|(why, times)| {
                format!("what is stored of this replay lacks something: {why} ({times} ×)")
            }),
        );
        lines.push(format!("stored as {} (`looptape show last-replay`)", stored.id));
    }
    lines.iter().map(|line| format!("looptape: {line}\n")).collect()
}

const NOTHING_CAME: &str =
    "no model call reached the replay. Does the program take its base URL from the environment?";
