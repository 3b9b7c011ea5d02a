//! What `replay -- CMD` says when it is done.

use crate::child::process::{Ended, Interruption};
use crate::money::Money;
use looptape_core::TraceId;
use looptape_core::replay::{Summary, render_text};
use std::collections::BTreeMap;

/// What there is to say.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) summary: &'a Summary,
    pub(crate) child: Ended,
    /// The replay's own trace.
    pub(crate) own: Option<&'a TraceId>,
    /// What that trace lacks, with how often.
    pub(crate) money: &'a Money,
    pub(crate) gaps: &'a BTreeMap<String, u64>,
}

/// The verdict first, then what led to it, then the agent's own end, then where it is written down.
pub(crate) fn text(told: &Told<'_>) -> String {
    let mut lines: Vec<String> = render_text(told.summary).lines().map(str::to_owned).collect();
    lines.extend(told.money.lines());
    lines.extend(told.child.interrupted.map(Interruption::as_str).map(str::to_owned));
    if told.child.code != 0 {
        lines.push(format!("the agent ended with code {}", told.child.code));
    }
    let mut out: String = lines.iter().map(|line| format!("looptape: {line}\n")).collect();
    told.gaps.iter().for_each(|(why, times)| out.push_str(&format!("{}\n", gap(why, *times))));
    if let Some(own) = told.own {
        out.push_str(&format!("looptape: stored as {own} (`looptape show last-replay`)\n"));
    }
    out
}

/// What is missing of a replay's own trace.
pub(crate) fn gap(why: &str, times: u64) -> String {
    format!("looptape: what is stored of this replay lacks something: {why} ({times} ×)")
}
