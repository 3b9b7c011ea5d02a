//! What `replay TRACE` without a command says.

use super::figures::{percent, plural};
use crate::commands::SelfCheck;
use looptape_core::metrics::{Ms, Percentile};
use looptape_core::replay::render_text;

/// The result, the figures, the differences.
pub(crate) fn text(check: &SelfCheck) -> String {
    let mut out = String::new();
    let word = if check.is_clean() { "identical" } else { "DIFFERENT" };
    out.push_str(&format!(
        "{word}: {} of {} recorded answers came back bit for bit\n",
        check.identical, check.calls
    ));
    if check.unanswered > 0 {
        out.push_str(&format!(
            "{} had no recorded end and were left out\n",
            plural(check.unanswered as u32, "call", "calls")
        ));
    }
    let elapsed = super::figures::duration(Ms::from_us((check.elapsed_ms * 1000.0) as i64));
    let rate = check.loops_per_min.map_or("–".to_owned(), |rate| format!("{rate:.0}"));
    out.push_str(&format!(
        "{} in {elapsed}: {rate} loops/min, {} steps per loop (median), retry rate {}\n",
        plural(check.loops, "loop", "loops"),
        check.steps_per_loop.p50.as_ref().map_or("–".to_owned(), steps),
        check.retry_rate.map_or("–".to_owned(), percent),
    ));
    for difference in &check.differences {
        out.push_str(&format!("  call {}: {}\n", difference.call, difference.what));
    }
    if !check.replay.divergences.is_empty() {
        out.push_str(&render_text(&check.replay));
    }
    out.push_str(&format!("diff: {}\n", check.differences.len() + check.replay.divergences.len()));
    out
}

fn steps(p: &Percentile) -> String {
    format!("{:.0}", p.value)
}
