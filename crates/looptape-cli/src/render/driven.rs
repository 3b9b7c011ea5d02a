//! What every replay without a command says: rates, latencies, money, what was refused.

use super::figures::{duration, percent, plural};
use super::terminal_text::escape;
use looptape_core::cost::Usd;
use looptape_core::metrics::{Distribution, Ms, Percentile};
use looptape_core::replay::driven::Figures;
use looptape_core::replay::render_text;

pub(super) fn rates(figures: &Figures) -> String {
    let mut of = plural(figures.loops, "loop", "loops");
    if figures.runs.len() > 1 {
        let (traces, runs) = (figures.traces as u32, figures.runs.len() as u32);
        of = format!("{of}, {} of {}", plural(runs, "run", "runs"), plural(traces, "trace", "traces"));
    }
    format!(
        "{of} in {}: {} loops/min, {} steps per loop (median), retry rate {}",
        duration(figures.elapsed_ms),
        figures.loops_per_min.map_or("–".to_owned(), |rate| format!("{rate:.0}")),
        figures.steps_per_loop.p50().map_or("–".to_owned(), |p| format!("{:.0}", p.value)),
        figures.retry_rate.map_or("–".to_owned(), percent),
    )
}

/// Percentiles that the sample supports.
pub(super) fn latencies(figures: &Figures) -> Option<String> {
    let stats = &figures.stats;
    let of = |name: &str, of: &Distribution| {
        let named = [("p50", of.p50()), ("p95", of.p95()), ("p99", of.p99())];
        let certified = |(name, p): (&str, Option<Percentile>)| {
            let p = p.filter(|p| p.certified)?;
            Some(format!("{name} {}", duration(Ms::from_us((p.value * 1000.0) as i64))))
        };
        let shown: Vec<String> = named.into_iter().filter_map(certified).collect();
        (!shown.is_empty()).then(|| format!("{name} {}", shown.join(", ")))
    };
    let (ttft, latency) = (
        of("time to first token", &stats.of_steps.ttft_ms),
        of("step latency", &stats.of_steps.step_latency_ms),
    );
    let shown: Vec<String> = ttft.into_iter().chain(latency).collect();
    (!shown.is_empty()).then(|| shown.join(" · "))
}

pub(super) fn money(figures: &Figures) -> String {
    let shown = |usd: Option<Usd>| usd.map_or("an unknown amount".to_owned(), |usd| usd.to_string());
    let at_least = if figures.money.at_least { " (at least)" } else { "" };
    let (spent, recorded) = (shown(figures.money.spent_usd), shown(figures.money.recorded_usd));
    format!("spent {spent}; recorded, this cost {recorded}{at_least}")
}

pub(super) fn refused(figures: &Figures) -> impl Iterator<Item = String> {
    figures.refused.iter().map(|one| format!("refused: trace {}: {}", one.trace, escape(&one.why)))
}

/// What the servers report of divergences.
pub(super) fn divergences(figures: &Figures) -> String {
    let replays = figures.runs.iter().filter_map(|run| run.replay.as_ref());
    match figures.divergences() {
        0 => String::new(),
        _ => replays.filter(|replay| !replay.divergences.is_empty()).map(render_text).collect(),
    }
}
